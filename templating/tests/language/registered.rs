//! Filters, globals and functions that the host registers.

use serde_json::json;
use understudy_templating::{Context, Engine, ErrorKind, Value};

fn text(value: Option<&Value>) -> Result<&str, String> {
    value.and_then(Value::as_str).ok_or_else(|| "expected a string".to_owned())
}

fn engine() -> Engine {
    Engine::builder()
        .filter("shout", |values| Ok(Value::from(format!("{}!", text(values.first())?))))
        .filter("upper", |_| Ok(Value::from("mine")))
        .filter("count", |values| Ok(Value::from(values.len() as f64)))
        .global("version", Value::from("1.2"))
        .global_fn("add", |values| Ok(Value::Number(values.iter().filter_map(Value::as_number).sum())))
        .build()
}

#[test]
fn are_called_with_plain_values() {
    let context = Context::try_from(&json!({"name": "a", "shadow": 1})).unwrap();
    let cases = [
        ("${{ name | shout }}", json!("a!")),
        ("${{ name | upper }}", json!("mine")),
        ("${{ name | count(1, 2) }}", json!(3)),
        ("${{ version }}", json!("1.2")),
        ("${{ add(1, 2, 3) }}", json!(6)),
        ("{% filter shout %}x${{ name }}{% endfilter %}", json!("xa!")),
        ("{% set a = [1] %}{% if a.push(2) %}${{ a | count }}${{ add(a.length) }}{% endif %}", json!("12")),
    ];
    for (template, expected) in cases {
        let value = engine().render_value_str(template, &context).unwrap();
        assert_eq!(value.to_json(), Some(expected), "{template}");
    }
}

#[test]
fn failures_name_the_function() {
    let error = engine().render_str("x ${{ 1 | shout }}", &Context::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Capability);
    assert_eq!(
        error.to_string(),
        "Template error at line 1, column 11: Template filter \"shout\" failed: expected a string"
    );
    let error = engine().render_str("${{ 1 | shoutt }}", &Context::new()).unwrap_err();
    assert!(error.to_string().ends_with("Unknown template filter \"shoutt\"; did you mean \"shout\"?"), "{error}");
}

#[test]
fn a_derived_engine_has_one_more() {
    let base = engine();
    let derived = base.with_global_fn("always", |_| Ok(Value::from(true)));
    assert_eq!(derived.render_value_str("${{ always() }}", &Context::new()).unwrap().to_json(), Some(json!(true)));
    assert!(base.render_value_str("${{ always() }}", &Context::new()).is_err());
    let context = Context::new().with("failure", Value::function("failure", |_| Ok(Value::from(false))));
    assert_eq!(base.render_value_str("${{ failure() }}", &context).unwrap().to_json(), Some(json!(false)));
}

#[test]
fn a_template_is_shared_between_threads() {
    let template = engine().parse("{% set a = list %}${{ a.push(9) }}:${{ list }}").unwrap();
    let context = Context::try_from(&json!({"list": [1]})).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(template.render(&context).unwrap(), "2:1,9"));
        }
    });
    assert!(!template.is_sole_interpolation());
    assert!(engine().parse("{# c #}${{ x }}").unwrap().is_sole_interpolation());
}
