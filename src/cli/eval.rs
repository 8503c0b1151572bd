//! `understudy eval`: templates on standard input, one JSON object a line; what they render to on standard output.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use understudy_scm::Scm;
use understudy_templating::{Context, Engine, Error};

/// One line of the input.
#[derive(Deserialize)]
struct Request {
    template: String,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    mode: Mode,
    #[serde(flatten)]
    dialect: Dialect,
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
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase", default)]
struct Dialect {
    cookiecutter: bool,
    trim_blocks: bool,
    lstrip_blocks: bool,
}

/// Answers each line until the input ends; an error is an answer too.
///
/// # Errors
/// Input or output can't be used any more.
pub(super) fn run(scm: &Scm, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut engines: HashMap<Dialect, Engine> = HashMap::new();
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
            Ok(request) => {
                let engine = engines.entry(request.dialect).or_insert_with(|| request.dialect.engine(scm));
                answer(engine, &request).unwrap_or_else(|error| {
                    json!({"error": {"message": error.to_string(), "line": error.line(), "column": error.column()}})
                })
            }
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

impl Dialect {
    fn engine(self, _scm: &Scm) -> Engine {
        understudy_templating::Engine::builder()
            .cookiecutter(self.cookiecutter)
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .build()
    }
}
