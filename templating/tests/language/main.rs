//! The language, held against its reference implementations.
//!
//! The expected results are what `nunjitsu` 0.7.0 gives for the same template and data, `nunjucks` 3.2.4 being the
//! reference behind it. A row is a template and its value in JSON, `undefined`, or `error: …`; a value is what
//! `render_value` gives, so a template that is more than one interpolation has a string.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod conversions;
mod definitions;
mod edges;
mod expressions;
mod filters;
mod filters_and_tests;
mod limits;
mod methods;
mod mixed;
mod modes;
mod nunjucks3;
mod registered;
mod statements;
mod surrogates;
mod syntax_errors;

use serde_json::{Value as Json, json};
use understudy_templating::{Context, Engine, Error, ErrorKind, Value, js_number_to_string};

fn engine() -> Engine {
    Engine::builder().build()
}

/// The data most rows are about.
fn context() -> Json {
    json!({
        "name": "world", "n": 3, "f": 1.5, "neg": -2, "t": true, "z": false, "nil": null,
        "arr": [1, 2, 3], "words": ["b", "a", "C"], "nested": [1, [2, [3]]],
        "obj": {"a": 1, "b": "x", "c": {"d": [10, 20]}},
        "objs": [{"k": "x", "v": 1}, {"k": "y", "v": 2}, {"k": "x", "v": 3}],
        "html": "<b>\"q\" & 's'</b>", "emoji": "a😀b", "empty": "", "ea": [], "eo": {},
        "multi": "l1\nl2\nl3", "items": ["i0", "i1"],
    })
}

/// Checks rows of templates and results.
fn check(rows: &[(&str, &str)]) {
    let engine = engine();
    let context = context();
    for (template, expected) in rows {
        check_with(&engine, &context, template, expected);
    }
}

fn check_with(engine: &Engine, context: &Json, template: &str, expected: &str) {
    assert_eq!(result(engine, context, template), expected, "of the template {template:?}");
}

fn result(engine: &Engine, context: &Json, template: &str) -> String {
    let rendered = Context::try_from(context).and_then(|context| engine.render_value_str(template, &context));
    match rendered {
        Ok(value) => shown(&value),
        Err(error) => shown_error(&error),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Number(number) if *number == 0.0 && number.is_sign_negative() => "-0".to_owned(),
        Value::Number(number) => js_number_to_string(*number),
        value => value.to_json().unwrap().to_string(),
    }
}

fn shown_error(error: &Error) -> String {
    let kind = match error.kind() {
        ErrorKind::Limit(_) => "limit",
        ErrorKind::Context => "context",
        _ => "error",
    };
    format!("{kind}: {error}")
}
