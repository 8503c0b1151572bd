//! The harness itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use understudy_corpus::{Case, Mode, Options, Outcome};
use understudy_oracle::Oracle;
use understudy_templating::Dialect;

fn case(source: &str) -> Case {
    Case {
        source: source.to_owned(),
        context: Arc::new(json!({"name": "world", "items": [1, 2], "emoji": "a😀"})),
        options: Options::default(),
    }
}

fn value(text: &str) -> Outcome {
    Outcome::Value(text.to_owned())
}

#[test]
fn values_arrive_without_loss() {
    let mut oracle = Oracle::start().unwrap();
    let cases = [
        ("${{ nope }}", "undefined"),
        ("${{ 0 / 0 }}", "NaN"),
        ("${{ -1 / 0 }}", "-Infinity"),
        ("${{ -0 }}", "-0"),
        ("${{ emoji[1] }}", r#""\ud83d""#),
        ("${{ [nope, 1.5, none, 'é\n'] }}", r#"[null,1.5,null,"é\n"]"#),
        ("${{ {a: 'x'} }}", r#"{"a":"x"}"#),
        ("Hello ${{ name }}", r#""Hello world""#),
    ];
    let sources: Vec<Case> = cases.iter().map(|(source, _)| case(source)).collect();
    let found = oracle.evaluate(Dialect::Nunjitsu, &sources).unwrap();
    for ((source, expected), found) in cases.iter().zip(&found) {
        assert_eq!(found, &value(expected), "{source}");
        assert_eq!(&understudy_corpus::evaluate(Dialect::Nunjitsu, &case(source)), found, "{source}");
    }
}

#[test]
fn the_older_language_parses_what_it_rendered() {
    let mut oracle = Oracle::start().unwrap();
    let text =
        Case { options: Options { mode: Mode::Text, ..Options::default() }, ..case("{% if name %}true{% endif %}") };
    let compat = Case {
        options: Options { mode: Mode::Text, cookiecutter: true, ..Options::default() },
        ..case("{{ items | jsonify }}{{ True }}{{ items[-1:] }}")
    };
    let cases = [
        (case("{% if name %}true{% endif %}"), value("true")),
        (text, value(r#""true""#)),
        (case("${{ items }}"), value("[1,2]")),
        (case("${{ nope }}"), value("undefined")),
        (case("a${{ name.padStart(7) }}"), value(r#""a  world""#)),
        (compat, value(r#""[1,2]true2""#)),
    ];
    let sources: Vec<Case> = cases.iter().map(|(case, _)| case.clone()).collect();
    let found = oracle.evaluate(Dialect::Nunjucks3, &sources).unwrap();
    for ((case, expected), found) in cases.iter().zip(&found) {
        assert_eq!(found, expected, "{}", case.source);
    }
    assert!(oracle.evaluate(Dialect::Nunjucks3, &[case("${{ x | nosuch }}")]).unwrap()[0].is_error());
}

#[test]
fn what_hangs_or_dies_costs_one_answer() {
    let mut oracle = Oracle::start().unwrap().with_patience(Duration::from_secs(2));
    let hangs = case("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}");
    let cases = [case("${{ 1 }}"), hangs, case("${{ 2 }}")];
    let found = oracle.evaluate(Dialect::Nunjucks3, &cases).unwrap();
    assert_eq!(found, [value("1"), Outcome::Timeout, value("2")]);
}
