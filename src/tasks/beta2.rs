//! Templates of `backstage.io/v1beta2`: their strings are Handlebars.
//!
//! The rules are those of `@backstage/plugin-scaffolder-backend` 0.15 to 1.0 (`HandlebarsWorkflowRunner`): templates see
//! `parameters` and `steps` and nothing else, a string that can't be rendered fails the step, and what a string becomes
//! depends on where it stands (`Part`).

use std::{collections::HashMap, sync::Mutex};

use serde_json::{Map, Value};
use understudy_handlebars::{Error, Helpers, Template};
use understudy_scm::{RepoUrl, Scm};
use understudy_sdk::ActionError;

use super::{lock, render::js_string};
use crate::model::{TaskSpec, TemplateInfoSpec};

/// The version of these templates.
pub const API_VERSION: &str = "backstage.io/v1beta2";

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A step's `if`: any JSON is read as such, nothing is nothing.
    Condition,
    /// A step's `input`: what looks like a JSON text, list or object is read as such, nothing is the empty text.
    Input,
    /// `output`: as in `input`, but nothing is nothing.
    Output,
}

impl Part {
    fn key(self) -> &'static str {
        match self {
            Self::Condition => "if",
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// The rendering of one task.
pub(super) struct Handlebars {
    helpers: Helpers,
    compiled: Mutex<HashMap<String, Result<Template, Error>>>,
}

/// The helpers of these templates; repository URLs are understood as the integrations say.
pub fn helpers(scm: &Scm) -> Helpers {
    let (repos, slugs) = (scm.clone(), scm.clone());
    Helpers::default()
        .with("parseRepoUrl", move |arguments| {
            let repo = repo_url(&repos, arguments)?;
            serde_json::to_string(&repo).map(|text| Some(text.into())).map_err(|error| error.to_string())
        })
        .with("projectSlug", move |arguments| Ok(Some(repo_url(&slugs, arguments)?.project_slug().into())))
}

fn repo_url(scm: &Scm, arguments: &[Option<&Value>]) -> Result<RepoUrl, String> {
    let text = arguments.first().copied().flatten().map_or_else(|| "undefined".to_string(), js_string);
    scm.parse_repo_url(&text).map_err(|error| error.message().to_string())
}

/// What is wrong with a string of such a template as far as that can be told without its data.
pub fn mistakes(text: &str, helpers: &Helpers) -> Vec<Error> {
    if Template::is_plain(text) {
        return Vec::new();
    }
    match Template::parse(text) {
        Ok(template) => template.missing_helpers(helpers),
        Err(error) => vec![error],
    }
}

impl Handlebars {
    pub(super) fn new(scm: &Scm) -> Self {
        Self { helpers: helpers(scm), compiled: Mutex::default() }
    }
    /// The value with every string in it rendered; `None` is JavaScript's `undefined`.
    ///
    /// # Errors
    /// A string that can't be rendered, with its place in the step or the output.
    pub(super) fn render(&self, part: Part, value: &Value, data: &Value) -> Result<Option<Value>, ActionError> {
        self.render_value(part, value, data, &mut part.key().to_string())
    }
    fn render_value(
        &self,
        part: Part,
        value: &Value,
        data: &Value,
        path: &mut String,
    ) -> Result<Option<Value>, ActionError> {
        let length = path.len();
        Ok(Some(match value {
            Value::String(text) => {
                return self.render_string(part, text, data).map_err(|error| {
                    ActionError::failed(format!("{path} can't be rendered. {error}")).with_source(error)
                });
            }
            Value::Array(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    rendered.push(self.render_value(part, item, data, path)?.unwrap_or_default());
                    path.truncate(length);
                }
                Value::Array(rendered)
            }
            Value::Object(members) => {
                let mut rendered = Map::new();
                for (name, member) in members {
                    path.push_str(&format!(".{name}"));
                    if let Some(member) = self.render_value(part, member, data, path)? {
                        rendered.insert(name.clone(), member);
                    }
                    path.truncate(length);
                }
                Value::Object(rendered)
            }
            other => other.clone(),
        }))
    }
    fn render_string(&self, part: Part, text: &str, data: &Value) -> Result<Option<Value>, Error> {
        let text = if Template::is_plain(text) {
            text.to_string()
        } else {
            self.template(text)?.render(data, &self.helpers)?
        };
        if text.is_empty() && part != Part::Input {
            return Ok(None);
        }
        let is_json = match part {
            Part::Condition => true,
            Part::Input | Part::Output => [('"', '"'), ('{', '}'), ('[', ']')]
                .iter()
                .any(|(first, last)| text.starts_with(*first) && text.ends_with(*last)),
        };
        let read = if is_json { serde_json::from_str(&text).ok() } else { None };
        Ok(Some(read.unwrap_or(Value::String(text))))
    }
    fn template(&self, text: &str) -> Result<Template, Error> {
        if let Some(known) = lock(&self.compiled).get(text) {
            return known.clone();
        }
        let template = Template::parse(text);
        lock(&self.compiled).insert(text.to_string(), template.clone());
        template
    }
}

/// A step's `if` in the terms of today's engine: what isn't a text counts by JavaScript's truthiness.
pub(super) fn condition(condition: Option<&Value>) -> Option<&Value> {
    static NEVER: Value = Value::Bool(false);
    match condition? {
        text @ Value::String(_) => Some(text),
        Value::Null | Value::Bool(false) => Some(&NEVER),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(&NEVER),
        _ => None,
    }
}

/// A task that a Backstage of that time stored has its values and its place elsewhere.
pub(super) fn modernise(mut spec: TaskSpec) -> TaskSpec {
    if spec.api_version != API_VERSION {
        return spec;
    }
    if spec.parameters.is_empty()
        && let Some(Value::Object(values)) = spec.rest.get("values")
    {
        spec.parameters = values.clone();
    }
    if let Some(base_url) = spec.rest.get("baseUrl").and_then(Value::as_str) {
        let info = spec.template_info.get_or_insert_with(|| TemplateInfoSpec {
            entity_ref: String::new(),
            base_url: None,
            entity: None,
        });
        info.base_url.get_or_insert_with(|| base_url.to_string());
    }
    spec
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn handlebars() -> Handlebars {
        Handlebars::new(&Scm::from_config(&json!({})).unwrap())
    }

    #[test]
    fn a_rendered_text_is_read_as_its_place_has_it() {
        let data = json!({
            "parameters": {
                "name": "a", "list": ["x", 1], "flag": true, "off": false, "zero": 0, "empty": "", "none": [],
                "repo": "github.com?owner=o&repo=r", "object": {"k": "v"}, "quoted": "\"q\"", "odd": "{x}",
            },
            "steps": {"one": {"output": {"url": "http://u", "nothing": null}}},
        });
        let undefined = Value::String("undefined".into());
        for (text, condition, input, output) in [
            ("{{ parameters.name }}", json!("a"), json!("a"), json!("a")),
            ("{{ json parameters.list }}", json!(["x", 1]), json!(["x", 1]), json!(["x", 1])),
            ("{{ parameters.list }}", json!("x,1"), json!("x,1"), json!("x,1")),
            ("{{ parameters.flag }}", json!(true), json!("true"), json!("true")),
            ("{{ parameters.off }}", json!(false), json!("false"), json!("false")),
            ("{{ parameters.zero }}", json!(0), json!("0"), json!("0")),
            ("{{ parameters.nope }}", undefined.clone(), json!(""), undefined.clone()),
            ("", undefined.clone(), json!(""), undefined.clone()),
            ("plain", json!("plain"), json!("plain"), json!("plain")),
            ("{\"a\": [1]}", json!({"a": [1]}), json!({"a": [1]}), json!({"a": [1]})),
            ("{\"not valid\"}", json!("{\"not valid\"}"), json!("{\"not valid\"}"), json!("{\"not valid\"}")),
            ("{{ parameters.quoted }}", json!("q"), json!("q"), json!("q")),
            ("{{ parameters.odd }}", json!("{x}"), json!("{x}"), json!("{x}")),
            ("\"", json!("\""), json!("\""), json!("\"")),
            (" [1] ", json!([1]), json!(" [1] "), json!(" [1] ")),
            ("{{ not parameters.none }}", json!(true), json!("true"), json!("true")),
            ("{{ eq parameters.name 'a' }}", json!(true), json!("true"), json!("true")),
            ("{{ steps.one.output.url }}/x", json!("http://u/x"), json!("http://u/x"), json!("http://u/x")),
            ("{{ projectSlug parameters.repo }}", json!("o/r"), json!("o/r"), json!("o/r")),
            (
                "{{ parseRepoUrl parameters.repo }}",
                json!({"host": "github.com", "owner": "o", "repo": "r"}),
                json!({"host": "github.com", "owner": "o", "repo": "r"}),
                json!({"host": "github.com", "owner": "o", "repo": "r"}),
            ),
            ("${{ parameters.name }}", json!("$a"), json!("$a"), json!("$a")),
        ] {
            for (part, expected) in [(Part::Condition, condition), (Part::Input, input), (Part::Output, output)] {
                let rendered = handlebars().render(part, &json!(text), &data).unwrap();
                assert_eq!(rendered.unwrap_or_else(|| undefined.clone()), expected, "{text} at {part:?}");
            }
        }
        let nested = json!({"a": ["{{ parameters.nope }}", {"b": ""}], "{{ parameters.name }}": 5, "c": "{{ json parameters.object }}"});
        assert_eq!(
            handlebars().render(Part::Output, &nested, &data).unwrap(),
            Some(json!({"a": [null, {}], "{{ parameters.name }}": 5, "c": {"k": "v"}}))
        );
    }

    #[test]
    fn what_cannot_be_rendered_is_told_with_its_place() {
        let value = json!({"a": ["ok", {"b": "x\n {{ nope parameters.x }}"}]});
        let error = handlebars().render(Part::Input, &value, &json!({})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error: input.a[1].b can't be rendered. Handlebars error at line 2, column 2: Missing helper: \"nope\""
        );
        let value = json!({"if": "{{ projectSlug parameters.x }}"});
        let error = handlebars().render(Part::Condition, &value["if"], &json!({})).unwrap_err();
        assert_eq!(
            error.message(),
            "if can't be rendered. Handlebars error at line 1, column 1: No matching integration configuration for host undefined, please check your integrations config"
        );
        let helpers = helpers(&Scm::from_config(&json!({})).unwrap());
        assert!(mistakes("{{ json parameters.x }}{{ projectSlug x }}{{ anything }}", &helpers).is_empty());
        let found: Vec<_> = mistakes("{{ a 1 }}\n{{#if (b 2)}}{{ c 3 }}{{/if}}", &helpers);
        let found: Vec<_> = found.iter().map(|error| (error.line(), error.column(), error.message())).collect();
        assert_eq!(
            found,
            [
                (Some(1), Some(1), "Missing helper: \"a\""),
                (Some(2), Some(1), "Missing helper: \"b\""),
                (Some(2), Some(14), "Missing helper: \"c\"")
            ]
        );
    }

    #[test]
    fn conditions_that_are_no_texts() {
        for (value, runs) in
            [(json!(false), false), (json!(null), false), (json!(0), false), (json!(true), true), (json!([]), true)]
        {
            assert_eq!(condition(Some(&value)).is_none(), runs, "{value}");
        }
        assert!(condition(None).is_none());
        assert_eq!(condition(Some(&json!("x"))), Some(&json!("x")));
    }

    #[test]
    fn tasks_of_that_time_are_understood() {
        let stored = json!({
            "apiVersion": "backstage.io/v1beta2", "baseUrl": "https://h/t/", "values": {"a": 1}, "steps": [], "output": {},
        });
        let spec = modernise(serde_json::from_value(stored).unwrap());
        assert_eq!(Value::Object(spec.parameters), json!({"a": 1}));
        assert_eq!(spec.template_info.unwrap().base_url.as_deref(), Some("https://h/t/"));
    }
}
