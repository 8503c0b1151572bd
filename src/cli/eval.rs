//! `understudy eval`: templates on standard input, one JSON object a line; what they render to on standard output.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, BufRead, Write},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use understudy_actions_core::templating::{Syntax, Templating};
use understudy_templating::{Context, Dialect, Engine, Error};

/// One line of the input.
#[derive(Deserialize)]
struct Request {
    template: String,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    mode: Mode,
    /// The generation of the language, where it is not the configured one.
    language: Option<String>,
    #[serde(flatten)]
    syntax: Switches,
}

/// What is asked for.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// A native value where the template is one interpolation, as in step inputs.
    #[default]
    Value,
    /// Always text, as in files.
    Text,
}

/// The switches of `fetch:template`.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "camelCase", default)]
struct Switches {
    cookiecutter: bool,
    trim_blocks: bool,
    lstrip_blocks: bool,
}

/// Answers each line until the input ends; an error is an answer too.
///
/// # Errors
/// Input or output can't be used any more.
pub(super) fn run(templating: &Templating, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut others: HashMap<Dialect, Templating> = HashMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => match in_language(templating, &mut others, request.language.as_deref()) {
                Ok(templating) => answer(templating.files(request.syntax.into()), &request).unwrap_or_else(|error| {
                    json!({"error": {"message": error.to_string(), "line": error.line(), "column": error.column()}})
                }),
                Err(message) => json!({"error": {"message": message, "line": null, "column": null}}),
            },
            Err(error) => {
                json!({"error": {"message": format!("the line is no request: {error}"), "line": null, "column": null}})
            }
        };
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
}

fn answer(engine: &Engine, request: &Request) -> Result<Value, Error> {
    let context = Context::from_json(&request.context)?;
    let template = engine.parse(&request.template)?;
    Ok(match request.mode {
        Mode::Text => json!({"value": template.render(&context)?}),
        Mode::Value => match template.render_value(&context)?.to_json() {
            Some(value) => json!({"value": value}),
            None => json!({"undefined": true}),
        },
    })
}

/// The language of a line.
fn in_language<'t>(
    configured: &'t Templating,
    others: &'t mut HashMap<Dialect, Templating>,
    name: Option<&str>,
) -> Result<&'t Templating, String> {
    let dialect = match name {
        Some(name) => name.parse::<Dialect>().map_err(|error| error.to_string())?,
        None => return Ok(configured),
    };
    Ok(match others.entry(dialect) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(configured.in_dialect(dialect).map_err(|errors| {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            texts.join("; ")
        })?),
    })
}

impl From<Switches> for Syntax {
    fn from(Switches { cookiecutter, trim_blocks, lstrip_blocks }: Switches) -> Self {
        Self { cookiecutter, trim_blocks, lstrip_blocks }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answers(lines: &[&str]) -> Vec<String> {
        let templating = Templating::new(&understudy_scm::Scm::from_config(&json!({})).unwrap());
        let mut output = Vec::new();
        run(&templating, (lines.join("\n") + "\n").as_bytes(), &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(str::to_string).collect()
    }

    #[test]
    fn each_line_gets_its_answer() {
        for (line, expected) in [
            (r#"{"template":"${{ a + 1 }}","context":{"a":2}}"#, r#"{"value":3}"#),
            (r#"{"template":"${{ a }}","context":{"a":{"b":[1,null]}},"mode":"value"}"#, r#"{"value":{"b":[1,null]}}"#),
            (r#"{"template":"x${{ a }}","context":{"a":[1,2]},"mode":"text"}"#, r#"{"value":"x1,2"}"#),
            (r#"{"template":"${{ nothing }}"}"#, r#"{"undefined":true}"#),
            (r#"{"template":"${{ nothing }}","mode":"text"}"#, r#"{"value":""}"#),
            (
                r#"{"template":"{{ cookiecutter.a }}","context":{"cookiecutter":{"a":true}},"mode":"text","cookiecutter":true}"#,
                r#"{"value":"true"}"#,
            ),
            (
                r#"{"template":"  {% if true %}\na\n  {% endif %}\n","mode":"text","trimBlocks":true,"lstripBlocks":true}"#,
                r#"{"value":"a\n"}"#,
            ),
            (r#"{"template":"${{ nothing }}x${{ '' }}","language":"nunjucks-3"}"#, r#"{"value":"x"}"#),
            (r#"{"template":"","language":"nunjucks-3"}"#, r#"{"undefined":true}"#),
            (
                r#"{"template":"1","language":"jinja"}"#,
                r#"{"error":{"message":"unknown template language \"jinja\"; it is one of \"nunjitsu\" (the default) and \"nunjucks-3\"","line":null,"column":null}}"#,
            ),
            (r#"{"template":"${{ 'github.com?owner=o&repo=r' | projectSlug }}"}"#, r#"{"value":"o/r"}"#),
        ] {
            assert_eq!(answers(&[line]), [expected], "{line}");
        }
    }

    #[test]
    fn errors_are_answers_and_work_goes_on() {
        let answers = answers(&[
            r#"{"template":"line\n${{ a | }}"}"#,
            "not json",
            "",
            "[]",
            r#"{"template":"x","mode":"both"}"#,
            r#"{"template":"${{ 1 }}"}"#,
        ]);
        assert_eq!(answers.len(), 5);
        let parsed: Vec<Value> = answers.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed[0]["error"]["line"], 2, "{}", parsed[0]);
        assert!(parsed[0]["error"]["column"].is_u64(), "{}", parsed[0]);
        assert!(parsed[1..4].iter().all(|answer| answer["error"]["message"].is_string()), "{answers:?}");
        assert_eq!(parsed[4], json!({"value": 1}));
    }
}
