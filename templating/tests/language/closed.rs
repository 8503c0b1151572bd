//! What is not registered can't be reached: neither by names that JavaScript reserves, nor by keys put together, nor by
//! data that says the names of filters and functions.

use serde_json::json;
use understudy_templating::{Context, Dialect, Engine, Value};

const RESERVED: [&str; 3] = ["constructor", "prototype", "__proto__"];

fn engine(dialect: Dialect, cookiecutter: bool) -> Engine {
    Engine::builder().dialect(dialect).cookiecutter(cookiecutter).tags("${{", "}}").build()
}

fn context() -> Context {
    let data = json!({
        "s": "text", "n": 1, "list": [{"a": {"b": 2}}, {"a": {"b": 1}}], "record": {"a": {"b": 1}},
        "word": "constructor", "filters": ["upper", "dump"], "name": "range", "code": "${{ n }}",
    });
    Context::try_from(&data).unwrap()
}

/// What a template gives in each engine; errors as `None`.
fn everywhere(template: &str) -> Vec<(Dialect, Option<String>)> {
    let mut results = Vec::new();
    for dialect in Dialect::ALL {
        for cookiecutter in [false, true] {
            results.push((dialect, engine(dialect, cookiecutter).render_str(template, &context()).ok()));
        }
    }
    results
}

#[test]
fn reserved_names_give_nothing() {
    // However the name gets there, nothing comes back, or it is refused.
    let values = [
        "s",
        "n",
        "list",
        "record",
        "range",
        "cycler(1)",
        "joiner()",
        "r/a/",
        "(s | safe)",
        "s.trim",
        "nothing",
        "[]",
        "{}",
        "true",
    ];
    let ways = [
        "${{ VALUE.NAME }}",
        "${{ VALUE['NAME'] }}",
        "${{ VALUE[('NAME' | upper) | lower] }}",
        "${{ VALUE['NAME'.slice(0, 3) ~ 'NAME'.slice(3)] }}",
        "${{ VALUE[['NAME']] }}",
        "${{ VALUE[[['NAME']]] }}",
        "${{ VALUE['NAME' | safe] }}",
        "{% set key = 'NAME' %}${{ VALUE[key] }}",
        "{% for key in ['NAME'] %}${{ VALUE[key] }}{% endfor %}",
        "{% macro m(key) %}${{ VALUE[key] }}{% endmacro %}${{ m('NAME') }}",
        "${{ [VALUE] | map('NAME') }}",
        "${{ [VALUE] | join('', 'NAME') }}",
        "${{ VALUE | attr('NAME') }}",
    ];
    for name in RESERVED {
        for value in values {
            for way in ways {
                let template = way.replace("VALUE", value).replace("NAME", name);
                for (dialect, result) in everywhere(&template) {
                    let text = result.unwrap_or_default();
                    assert!(text.is_empty(), "{template} in {dialect} gives {text:?}");
                }
            }
        }
    }
}

#[test]
fn reserved_names_are_called_by_nobody() {
    for name in RESERVED {
        for template in [
            "${{ s.NAME('return 1')() }}",
            "${{ s.NAME.NAME('return 1')() }}",
            "${{ s['NAME']('return 1') }}",
            "${{ [].NAME('x') }}",
            "${{ range.NAME('return 1')() }}",
            "${{ NAME('x') }}",
            "{% macro m() %}x{% endmacro %}${{ m.NAME('return 1')() }}",
            "${{ cycler(1).next.NAME('x') }}",
            "${{ s | NAME }}",
            "${{ s | NAME('x') }}",
            "${{ s | s.NAME }}",
            "{% filter NAME %}x{% endfilter %}",
            "{% call NAME() %}x{% endcall %}",
            "${{ s is NAME }}",
            "${{ list | select('NAME') }}",
            "${{ ({}).NAME.NAME('x') }}",
        ] {
            let template = template.replace("NAME", name);
            for (dialect, result) in everywhere(&template) {
                assert_eq!(result, None, "{template} in {dialect}");
            }
        }
    }
}

/// Where a template would make a thing of that name: refused by today's engine, and harmless in the older one.
#[test]
fn nothing_is_given_a_reserved_name() {
    for name in RESERVED {
        for template in [
            "{% set NAME = 1 %}x",
            "{% set a, NAME = 1 %}x",
            "{% set NAME %}1{% endset %}x",
            "{% for NAME in [1] %}x{% endfor %}",
            "{% for k, NAME in record %}x{% endfor %}",
            "{% macro NAME() %}{% endmacro %}x",
            "{% macro m(NAME) %}{% endmacro %}x",
            "{% macro m(NAME=1) %}{% endmacro %}x",
            "{% macro m(a) %}{% endmacro %}${{ m(NAME=1) }}x",
            "{% call(NAME) m() %}{% endcall %}x",
            "${{ {NAME: 1} | length }}",
            "${{ {'NAME': 1} | length }}",
            "${{ range(NAME=1) }}x",
            "${{ s | replace(NAME='x') }}x",
            "${{ NAME }}",
            "${{ record.NAME }}",
            "{% block NAME %}x{% endblock %}",
        ] {
            let template = template.replace("NAME", name);
            let today = engine(Dialect::Nunjitsu, false).render_str(&template, &context());
            if let Ok(text) = today {
                assert!(
                    template.contains("record.") || template.contains("block") || template.starts_with("${{ NAME"),
                    "{template} gives {text:?}"
                );
                assert!(text.is_empty() || text == "x", "{template} gives {text:?}");
            }
            // The older engine may allow it; but then all that is there is what the template put there.
            let probe = format!("{template}${{{{ s.{name} }}}}${{{{ ({{}}).{name} }}}}${{{{ [].{name} }}}}");
            if let Ok(text) = engine(Dialect::Nunjucks3, false).render_str(&probe, &context()) {
                assert!(text.len() <= 2, "{probe} gives {text:?}");
            }
        }
    }
}

#[test]
fn paths_with_reserved_names_lead_nowhere() {
    for name in RESERVED {
        for filter in [
            "sort(attribute='NAME')",
            "sort(false, false, 'a.NAME')",
            "sort(false, false, 'NAME.a')",
            "groupby('NAME')",
            "groupby('a.NAME.b')",
            "sum('NAME')",
            "join(',', 'NAME')",
            "selectattr('NAME')",
            "selectattr('a.NAME')",
        ] {
            let template = format!("${{{{ list | {} | dump }}}}", filter.replace("NAME", name));
            for (dialect, result) in everywhere(&template) {
                let text = result.unwrap_or_default();
                assert!(
                    !text.contains("function") && !text.contains("native"),
                    "{template} in {dialect} gives {text:?}"
                );
                if dialect == Dialect::Nunjitsu && !filter.contains("a.NAME") {
                    assert!(
                        text.is_empty() || text == "[]" || text.starts_with("\"") || text == "null",
                        "{template} gives {text:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn data_with_reserved_keys_is_refused() {
    for name in RESERVED {
        for data in [json!({name: 1}), json!({"a": {name: 1}}), json!({"a": [[{name: {}}]]})] {
            for dialect in Dialect::ALL {
                let rendered = Context::try_from(&data)
                    .and_then(|context| engine(dialect, false).render_str("${{ a }}x", &context));
                assert!(rendered.is_err(), "{data} in {dialect}: {rendered:?}");
            }
        }
    }
}

/// Text from a context is text: no template, no name of a filter, function or variable.
#[test]
fn data_is_never_code() {
    for (template, expected) in [
        ("${{ code }}", Some("${{ n }}")),
        ("{% set x %}${{ code }}{% endset %}${{ x }}", Some("${{ n }}")),
        ("{% filter string %}${{ code }}{% endfilter %}", Some("${{ n }}")),
        ("${{ code | safe }}", Some("${{ n }}")),
        ("${{ name(3) }}", None),
        ("${{ 'range'(3) }}", None),
        ("${{ s | filters[0] }}", None),
        ("${{ s | name }}", None),
        ("${{ record[name] }}", Some("")),
        ("${{ s[filters[0]] }}", Some("")),
        ("${{ s | 'upper' }}", None),
        ("${{ upper(s) }}", None),
        ("${{ dump }}", Some("")),
        ("${{ this }}${{ globalThis }}${{ process }}${{ require }}${{ env }}${{ context }}${{ frame }}", Some("")),
        ("${{ self }}${{ arguments }}${{ eval }}${{ Function }}${{ Object }}${{ lookup }}${{ runtime }}", Some("")),
        ("${{ require('fs') }}", None),
        ("${{ range.call(1) }}", None),
        ("${{ range.apply(1) }}", None),
        ("${{ range.bind(1) }}", None),
        ("${{ s.trim.call('x') }}", None),
        ("${{ record.hasOwnProperty('a').toString.call(1) }}", None),
        ("${{ s.__defineGetter__('a', range) }}", None),
        ("${{ s.__lookupGetter__('a')() }}", None),
        ("${{ list.constructor.constructor('return process')() }}", None),
        ("{% include '/etc/passwd' %}", None),
        ("{% extends '/etc/passwd' %}", None),
        ("{% import '/etc/passwd' as x %}", None),
        ("{% from '/etc/passwd' import x %}", None),
        ("{% include name %}", None),
    ] {
        for (dialect, result) in everywhere(template) {
            assert_eq!(result.as_deref(), expected, "{template} in {dialect}");
        }
    }
}

/// What one template or engine has, another does not see.
#[test]
fn nothing_stays_for_the_next_template() {
    for dialect in Dialect::ALL {
        let plain = engine(dialect, false);
        let richer = plain.with_global_fn("secret", |_| Ok(Value::from("told")));
        assert_eq!(richer.render_str("${{ secret() }}", &context()).unwrap(), "told");
        assert!(plain.render_str("${{ secret() }}", &context()).is_err());
        let context = context();
        let changing = plain.parse("${{ list.push(1) }}{% set s = 'changed' %}{% macro m() %}{% endmacro %}").unwrap();
        changing.render(&context).unwrap();
        changing.render(&context).unwrap();
        assert_eq!(plain.render_str("${{ list.length }}${{ s }}${{ m }}", &context).unwrap(), "2text");
    }
}
