//! The older dialect, held against `nunjucks` 3.2.4 as the scaffolder used it.

use super::{check_with, context};
use serde_json::json;
use understudy_templating::{Dialect, Engine};

/// Checks rows of templates and values.
fn check(rows: &[(&str, &str)]) {
    let engine = Engine::builder().dialect(Dialect::Nunjucks3).build();
    for (template, expected) in rows {
        check_with(&engine, &context(), template, expected);
    }
}

#[test]
fn one_tag_is_read_as_json() {
    check(&[
        ("${{ n }}", "3"),
        ("${{ obj }}", r#"{"a":1,"b":"x","c":{"d":[10,20]}}"#),
        ("${{ '10' }}", r#""10""#),
        ("${{ nil }}", "null"),
        ("${{ n / 0 }}", "null"),
        ("${{ [n / 0, undef, range] }}", "[null,null,null]"),
        ("${{ {a: undef, b: range, c: 1} }}", r#"{"c":1}"#),
        ("${{ undef }}", "undefined"),
        ("${{ range }}", "undefined"),
        ("${{ 'x' | safe }}", r#"{"val":"x","length":1}"#),
        ("${{ '<' | escape }}", r#"{"val":"&lt;","length":4}"#),
        ("${{ emoji[1] }}", r#""�""#),
        ("${{ undef if false }}", r#""""#),
        ("{% if t %}true{% endif %}", "true"),
        ("{% if t %}tru{% endif %}", r#""tru""#),
        ("{% if t %} [1, {\"a\": 1, \"a\": 2}] {% endif %}", r#"[1,{"a":2}]"#),
        ("{% if t %}1e400{% endif %}", "Infinity"),
        ("{% if t %}-0{% endif %}", "-0"),
        ("{% if t %}12345678901234567890{% endif %}", "12345678901234567000"),
        ("{% if t %}${{ name }}{% endif %}", r#""world""#),
        ("{% if t %}[${{ name }},\n${{ n }}]{% endif %}", r#"["world",3]"#),
        ("{% for i in arr %}${{ i }}{% endfor %}", "123"),
        ("{% filter trim %} 1 {% endfilter %}", "1"),
        ("{# c #}${{ n }}{# d #}", "3"),
        ("{% raw %}1{% endraw %}", r#""1""#),
        ("1", r#""1""#),
    ]);
}

#[test]
fn anything_else_is_a_text() {
    check(&[
        (" ${{ n }}", r#"" 3""#),
        ("${{ n }}\n", r#""3\n""#),
        ("${{ n -}}\n", r#""3""#),
        ("{% raw %}{% endraw %}${{ n }}", r#""3""#),
        ("${{ n }}${{ n }}", r#""33""#),
        ("{% set x = 1 %}${{ x }}", r#""1""#),
    ]);
}

#[test]
fn accidents_of_the_replacement() {
    check(&[
        ("${{- n }}", "-3"),
        ("${{- n -}}", r#""3""#),
        ("${{\nname\n}}", r#""world""#),
        ("${{\nn\n}}", "3"),
        ("${{ [\n1] }}", "1"),
        ("{% if t %}${{ n }}${{ n }}{% endif %}", r#""33""#),
        ("${{ 'a}}b' }}", r#""a}}b""#),
        ("${{ n | dump }}", r#""3""#),
        ("{% if t %}${{ '${{ n }}' }}{% endif %}", r#""${{ n }}""#),
    ]);
}

#[test]
fn an_empty_text_is_no_value() {
    check(&[
        ("", "undefined"),
        ("{# c #}", "undefined"),
        ("${{ undef }}${{ undef }}", "undefined"),
        ("{% if z %}x{% endif %}", "undefined"),
        ("{% set x = 1 %}", "undefined"),
        ("${{ '' }}", r#""""#),
        ("${{ empty }}${{ empty }}", "undefined"),
    ]);
}

#[test]
fn what_is_no_value_is_kept_from_the_result() {
    let engine = Engine::builder().dialect(Dialect::Nunjucks3).build();
    // `constructor` in a text that would be JSON: the text stays one.
    check_with(&engine, &json!({}), r#"{% if true %}{"constructor":1}{% endif %}"#, r#""{\"constructor\":1}""#);
    assert!(engine.parse("${{ 1 }}").unwrap().is_sole_interpolation());
}
