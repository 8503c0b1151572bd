//! What of the older dialect the corpus can't say.

use serde_json::json;
use understudy_templating::{Context, Dialect, Engine};

#[test]
fn a_sole_interpolation_is_one_in_both_dialects() {
    let engine = Engine::builder().dialect(Dialect::Nunjucks3).build();
    assert!(engine.parse("${{ 1 }}").unwrap().is_sole_interpolation());
}

/// Functions that call each other, texts that grow and patterns made while rendering end in an error as everything does.
#[test]
fn hostile_templates_end() {
    let engine = Engine::builder().dialect(Dialect::Nunjucks3).build();
    let context = Context::try_from(&json!({"name": "world"})).unwrap();
    for (template, expected) in [
        ("{% macro m(x) %}${{ [1].forEach(m) }}{% endmacro %}${{ m(1) }}", "nesting depth"),
        ("{% macro m(x) %}${{ 'a'.replace('a', m) }}{% endmacro %}${{ m(1) }}", "nesting depth"),
        ("{% macro m(x) %}${{ [2, 1].sort(m) }}{% endmacro %}${{ m(1) }}", "nesting depth"),
        ("${{ 'x'.padStart(1000000000) }}", "scratch byte"),
        ("${{ 'x'.repeat(1000000000) }}", "scratch byte"),
        ("{% set a = 'x' %}{% for i in range(99) %}{% set a = a.replaceAll('x', 'xx') %}{% endfor %}", "work unit"),
        ("{% for i in range(9999) %}${{ 'b'.match('(\\\\w{9}){9}' ~ i) }}{% endfor %}", "work unit"),
        ("{% set a = range(90000) %}${{ a.map(range) }}", "work unit"),
        ("${{ 'a'.repeat(1000000).matchAll(r/a/g) }}", "work unit"),
    ] {
        let message = engine.render_str(template, &context).unwrap_err().to_string();
        assert!(message.contains(expected), "{template}: {message}");
    }
    // A pattern that is made again and again is compiled once.
    let again = "{% for i in range(999) %}${{ name.search('o') }}{% endfor %}";
    assert_eq!(engine.render_str(again, &context).unwrap(), "1".repeat(999));
}
