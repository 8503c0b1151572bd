//! Filters and functions written in the language.

use serde_json::json;
use understudy_templating::{
    Context, Definition, DefinitionKind, Dialect, Engine, ErrorKind, LimitKind, Limits, Value,
};

fn filter<'a>(name: &'a str, expression: &'a str) -> Definition<'a> {
    Definition { kind: DefinitionKind::Filter, name, expression }
}

fn function<'a>(name: &'a str, expression: &'a str) -> Definition<'a> {
    Definition { kind: DefinitionKind::Function, name, expression }
}

fn with(definitions: &[Definition<'_>]) -> Engine {
    let base = Engine::builder()
        .filter("hosted", |_| Ok(Value::from("the host's")))
        .filter("refuse", |_| Err("no".to_owned()))
        .global("org", Value::from("acme"));
    base.build().with_definitions(definitions).unwrap()
}

#[test]
fn are_called_like_any_other() {
    let engine = with(&[
        filter("shout", "args[0] | upper ~ '!' * 1"),
        filter("loud", "(args[0] | upper) ~ (args[1] or '!')"),
        filter("ns.slug", "args[0] | lower | replace(r/[^a-z0-9]+/g, '-')"),
        filter("upper", "'mine'"),
        filter("hosted", "args"),
        filter("count", "args.length"),
        filter("nothing", "args[0].nothing"),
        filter("keep", "args[0]"),
        filter("changed", "(args[0].push(9), args[0])"),
        filter("markup", "args[0] | safe"),
        function("repo", "org ~ '/' ~ args[0] ~ (suffix(args[1]) if args[1])"),
        function("suffix", "'-' ~ args[0] | ns.slug"),
        function("record", "{name: args[0], of: org}"),
        function("range", "'shadowed'"),
    ]);
    let context = Context::try_from(&json!({"name": "My Svc", "list": [1], "args": "the template's"})).unwrap();
    for (template, expected) in [
        ("${{ name | loud }}", json!("mine!")),
        ("${{ name | loud('?') }}", json!("mine?")),
        ("${{ name | ns.slug }}", json!("my-svc")),
        ("${{ name | hosted(1, [2]) }}", json!(["My Svc", 1, [2]])),
        ("${{ missing | count(1, 2) }}", json!(3)),
        ("${{ name | keep }} ${{ args }}", json!("My Svc the template's")),
        ("${{ repo('x') }} ${{ repo('x', 'A B') }}", json!("acme/x acme/x-a-b")),
        ("${{ record(list) }}", json!({"name": [1], "of": "acme"})),
        ("${{ range(3) }}", json!("shadowed")),
        // What a definition does to its arguments stays there.
        ("${{ list | changed | dump }}${{ list | dump }}", json!("[1,9][1]")),
        (
            "{% set l = [1] %}{% if l.push(2) %}${{ l | changed | dump }}${{ l | dump }}{% endif %}",
            json!("[1,2,9][1,2]"),
        ),
        ("{% filter ns.slug %}A ${{ name }}{% endfilter %}", json!("a-my-svc")),
        ("${{ ['a', 'b'] | keep | join('+') }}", json!("a+b")),
        ("${{ 'x' | markup }}", json!("x")),
    ] {
        let value = engine.render_value_str(template, &context).unwrap_or_else(|error| panic!("{template}: {error}"));
        assert_eq!(value.to_json(), Some(expected), "{template}");
    }
    assert!(engine.render_value_str("${{ name | nothing }}", &context).unwrap().is_undefined());
    assert!(engine.filter_names().contains(&"ns.slug".to_owned()));
    let error = engine.render_value_str("${{ 1 | loudd }}", &context).unwrap_err();
    assert!(error.to_string().ends_with("Unknown template filter \"loudd\"; did you mean \"loud\"?"), "{error}");
}

#[test]
fn see_nothing_of_the_template() {
    let engine = with(&[filter("peek", "name"), function("peek", "[name, x, loop, args]")]);
    let context = Context::try_from(&json!({"name": "secret"})).unwrap();
    let template = "{% set x = 1 %}{% for i in [1] %}${{ name | peek }}${{ peek(2) | dump }}{% endfor %}";
    assert_eq!(engine.render_str(template, &context).unwrap(), "[null,null,null,[2]]");
    // Nor what a former call did.
    let engine = with(&[filter("grow", "(args[0].push(1), args[0].length)")]);
    let list = Context::try_from(&json!({"l": []})).unwrap();
    assert_eq!(engine.render_str("${{ l | grow }}${{ l | grow }}", &list).unwrap(), "11");
}

#[test]
fn mean_the_same_in_every_mode() {
    let definitions = [filter("last_one", "args[0].pop(0)"), filter("t", "True")];
    let engine = Engine::builder().cookiecutter(true).build().with_definitions(&definitions).unwrap();
    let context = Context::try_from(&json!({"l": [1, 2]})).unwrap();
    assert_eq!(engine.render_str("{{ l.pop(0) }}{{ True }}", &context).unwrap(), "1true");
    assert_eq!(engine.render_str("{{ 1 | t }}", &context).unwrap(), "");
    assert!(engine.render_str("{{ l | last_one }}", &context).is_err());
    // The generation of the language is the engine's.
    let older = Engine::builder().dialect(Dialect::Nunjucks3).build().with_definitions(&definitions).unwrap();
    assert_eq!(older.dialect(), Dialect::Nunjucks3);
    // There, keyword arguments come last, as a record.
    let count = [filter("count", "args.length")];
    let older = Engine::builder().dialect(Dialect::Nunjucks3).build().with_definitions(&count).unwrap();
    assert_eq!(older.render_str("${{ 1 | count(2, x=3) }}", &context).unwrap(), "3");
}

#[test]
fn failures_name_the_definition() {
    let engine = with(&[
        filter("bad", "args[0] | round | upper"),
        filter("outer", "args[0] | bad"),
        filter("refused", "args[0] | refuse"),
        function("fail", "args[0]()"),
        function("macros", "args[0]"),
    ]);
    for (template, expected) in [
        (
            "a\n ${{ 1 | bad }}",
            "Template error at line 2, column 10: Template filter \"bad\" failed: Filter \"upper\" failed for number input: Filter input must be a string",
        ),
        (
            "${{ 1 | outer }}",
            "Template error at line 1, column 9: Template filter \"outer\" failed: Template filter \"bad\" failed: Filter \"upper\" failed for number input: Filter input must be a string",
        ),
        (
            "${{ 1 | refused }}",
            "Template error at line 1, column 9: Template filter \"refused\" failed: Template filter \"refuse\" failed: no",
        ),
        (
            "${{ 1 | bad(x=1) }}",
            "Template error at line 1, column 9: Template filter \"bad\" does not accept keyword arguments",
        ),
        (
            "{% macro m() %}{% endmacro %}${{ macros(m) }}",
            "Template error at line 1, column 34: Callable values cannot be coerced",
        ),
        ("${{ macros }}", "Template error at line 1, column 1: Callable values cannot be coerced"),
    ] {
        let error = engine.render_str(template, &Context::new()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{template}");
    }
    let error = engine.render_str("${{ fail('x') }}", &Context::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Capability);
    assert!(error.message().starts_with("Template global \"fail\" failed: "), "{error}");
}

#[test]
fn recursion_and_work_end_in_a_limit() {
    let definitions = [
        filter("self", "args[0] | self"),
        filter("ping", "[pong(args[0])]"),
        function("pong", "args[0] | ping"),
        filter("countdown", "'done' if args[0] < 1 else (args[0] - 1) | countdown"),
        filter("double", "args[0] ~ args[0]"),
        filter("spin", "range(args[0]) | length"),
    ];
    let run = move |template: &str, limits: Limits| {
        let engine = Engine::builder().limits(limits).build().with_definitions(&definitions).unwrap();
        let template = template.to_owned();
        // The smallest stack that renders are run on.
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let run = move || engine.render_str(&template, &Context::new()).map_err(|error| error.kind());
        thread.spawn(run).unwrap().join().unwrap()
    };
    let depth = Err(ErrorKind::Limit(LimitKind::NestingDepth));
    assert_eq!(run("${{ 1 | self }}", Limits::default()), depth);
    assert_eq!(run("${{ 1 | ping }}", Limits::default()), depth);
    assert_eq!(run("${{ pong(1) }}", Limits::default()), depth);
    assert_eq!(run("${{ 20 | countdown }}", Limits::default()), Ok("done".to_owned()));
    // The budgets are those of the whole render.
    let calls = "{% for i in range(5000) %}${{ 'x' | double }}{% endfor %}";
    assert_eq!(run(calls, Limits::default()), Err(ErrorKind::Limit(LimitKind::CapabilityCalls)));
    let spin = "{% for i in range(20) %}${{ 60000 | spin }}{% endfor %}";
    assert_eq!(run(spin, Limits::default()), Err(ErrorKind::Limit(LimitKind::WorkUnits)));
    let grow = format!("{{% set a = 'x' %}}{}${{{{ a }}}}", "{% set a = a | double %}".repeat(40));
    assert!(matches!(run(&grow, Limits::default()), Err(ErrorKind::Limit(_))));
}

#[test]
fn mistakes_are_told_with_their_place_all_at_once() {
    let engine = Engine::default();
    let errors = engine
        .with_definitions(&[
            filter("a", "args[0] |\n  uper"),
            filter("b", "args[0] +"),
            filter("c", ""),
            function("d", "${{ args[0] }}"),
            filter("e", "args[0] args[1]"),
            filter("not a name", "1"),
            function("if", "1"),
            function("constructor", "1"),
            function("a.b", "1"),
            filter("fine", "1"),
        ])
        .unwrap_err();
    let told: Vec<String> =
        errors.iter().map(|error| format!("{} {}: {}", error.kind, error.name, error.error)).collect();
    assert_eq!(
        told,
        [
            "filter a: Template error at line 2, column 3: Unknown template filter \"uper\"; did you mean \"upper\"?",
            "filter b: Template error at line 1, column 10: Unexpected expression token at end of input",
            "filter c: Template error at line 1, column 1: Unexpected expression token at end of input",
            "global d: Template error at line 1, column 1: Expected an expression without delimiters around it",
            "filter e: Template error at line 1, column 9: Expected eof, received \"args\"",
            "filter not a name: \"not a name\" is not a name; use letters, digits and _, and no word of the language",
            "global if: \"if\" is not a name; use letters, digits and _, and no word of the language",
            "global constructor: the name \"constructor\" is reserved",
            "global a.b: \"a.b\" is not a name; use letters, digits and _, and no word of the language",
        ]
    );
    assert_eq!(errors[0].error.source_line(), Some("  uper"));
    assert_eq!(errors[0].to_string(), format!("the filter a can't be used: {}", errors[0].error));
}
