//! `understudy validate`: everything that can be said about templates without running them.

use std::io::Write;

use serde_json::Value;
use understudy_actions_core::templating::Templating;
use understudy_sdk::{
    Registry,
    schema::{Validator, Violation},
};
use understudy_templating::Engine;

use super::{
    Failure,
    positions::{self, Place, Positions, escape},
    source::{self, Source},
};
use crate::{api::form, app::Parts, form_schema, yaml};

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: Place,
    message: String,
}

/// Checks each template; all findings go to standard error, one a line, as `file:line:column: message`.
///
/// # Errors
/// [`Failure::Input`] when there is a finding.
pub(super) async fn run(parts: &Parts, templates: &[String]) -> Result<(), Failure> {
    let checker = Checker::new(parts.registry().clone(), parts.templating());
    let mut wrong = 0;
    for argument in templates {
        let texts = match source::read(parts.scm(), argument).await {
            Ok(source) => checker.check(&source),
            Err(Failure::Input(text) | Failure::Task(text)) => vec![text],
        };
        if texts.is_empty() {
            // Nobody is left to be told when standard output is gone.
            let _ = writeln!(std::io::stdout(), "{argument}: ok");
        } else {
            wrong += 1;
            for text in texts {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::Input("1 template is not valid".into())),
        _ => Err(Failure::Input(format!("{wrong} templates are not valid"))),
    }
}

struct Checker {
    registry: Registry,
    templating: Engine,
}

impl Checker {
    fn new(registry: Registry, templating: &Templating) -> Self {
        let status = |_: &[understudy_templating::Value]| Ok(understudy_templating::Value::Undefined);
        let templating = templating.values().with_global_fn("always", status).with_global_fn("failure", status);
        Self { registry, templating }
    }

    fn check(&self, source: &Source) -> Vec<String> {
        let documents = match yaml::parse_documents(&source.text) {
            Ok(documents) if documents.is_empty() => return vec![format!("{}: the file is empty", source.shown)],
            Ok(documents) => documents,
            Err(error) => return vec![error.in_file(&source.shown)],
        };
        let positions = Positions::of_documents(&source.text);
        let unknown = Positions::default();
        let mut findings = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let positions = positions.get(index).unwrap_or(&unknown);
            let mut check = Check { text: &source.text, positions, findings: &mut findings };
            check.entity(&document.value);
            if document.value["kind"] == "Template" {
                check.template(self, &document.value);
            }
        }
        findings.sort();
        findings.dedup();
        findings
            .into_iter()
            .map(|Finding { place, message }| format!("{}:{}:{}: {message}", source.shown, place.line, place.column))
            .collect()
    }
}

/// The check of one document.
struct Check<'a> {
    text: &'a str,
    positions: &'a Positions,
    findings: &'a mut Vec<Finding>,
}

impl Check<'_> {
    fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.findings.push(Finding { place: self.positions.at(pointer), message: message.into() });
    }

    fn entity(&mut self, entity: &Value) {
        for problem in crate::catalog::validate(entity).err().unwrap_or_default() {
            self.add(&pointer_to(&problem), problem);
        }
    }

    fn template(&mut self, checker: &Checker, template: &Value) {
        if let Err(reason) = form::check_version(template) {
            self.add("/apiVersion", reason);
        }
        self.schemas(template);
        let mut ids = std::collections::HashMap::new();
        for (index, step) in template.pointer("/spec/steps").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            let pointer = format!("/spec/steps/{index}");
            if let Some(id) = step["id"].as_str()
                && let Some(first) = ids.insert(id, index)
            {
                self.add(&format!("{pointer}/id"), format!("the id {id:?} belongs to step {} already", first + 1));
            }
            self.action(&checker.registry, step, &pointer);
            self.strings(&checker.templating, step, &pointer);
        }
        if let Some(output) = template.pointer("/spec/output") {
            self.strings(&checker.templating, output, "/spec/output");
        }
    }

    /// The schemas of the form and the secrets: against the standard, then as the service will read them.
    fn schemas(&mut self, template: &Value) {
        let problems = form_schema::problems(template);
        for (pointer, schema) in form_schema::schemas(template) {
            let is_known = problems.iter().any(|problem| is_within(&problem.pointer, &pointer));
            if let Some(reason) = Validator::new(schema).err().filter(|_| !is_known) {
                self.add(&pointer, format!("not a valid JSON Schema: {reason}"));
            }
        }
        for problem in problems {
            self.add(&problem.pointer, format!("not a valid JSON Schema: {}", problem.message));
        }
    }

    fn action(&mut self, registry: &Registry, step: &Value, pointer: &str) {
        let Some(id) = step["action"].as_str() else { return };
        let action = match registry.get(id) {
            Ok(action) => action,
            Err(error) => return self.add(&format!("{pointer}/action"), error.message()),
        };
        let empty = Value::Object(serde_json::Map::new());
        let input = step.get("input").filter(|input| !input.is_null()).unwrap_or(&empty);
        let Some(Ok(validator)) = action.input_schema().map(|schema| Validator::new(&schema)) else { return };
        for violation in validator.validate(input) {
            if !depends_on_rendering(&violation) {
                let mut path: String =
                    violation.path.iter().map(|part| format!("/{}", escape(&text_of(part)))).collect();
                if let ("additionalProperties", Some(name)) = (&*violation.name, &violation.argument) {
                    path.push_str(&format!("/{}", escape(&text_of(name))));
                }
                let property = violation.property.replacen("instance", "input", 1);
                self.add(&format!("{pointer}/input{path}"), format!("{id}: {property} {}", violation.message));
            }
        }
    }

    /// The syntax of every string that is a template.
    fn strings(&mut self, engine: &Engine, value: &Value, pointer: &str) {
        match value {
            Value::String(text) => {
                if let Err(error) = engine.parse(text) {
                    let place = self.positions.at(pointer);
                    let place = match (error.line(), error.column()) {
                        (Some(line), Some(column)) => positions::within(self.text, place, line, column),
                        _ => place,
                    };
                    self.findings.push(Finding { place, message: error.message().to_string() });
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.strings(engine, item, &format!("{pointer}/{index}"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.strings(engine, member, &format!("{pointer}/{}", escape(name)));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Whether a JSON Pointer leads to a place in that of another.
fn is_within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The JSON Pointer to the field that a problem's text starts with: `spec.steps[0].action is missing`.
fn pointer_to(problem: &str) -> String {
    let path = problem.split(' ').next().unwrap_or_default();
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty());
    parts.map(|part| format!("/{}", escape(part))).collect()
}

fn text_of(part: &Value) -> String {
    part.as_str().map_or_else(|| part.to_string(), str::to_string)
}

/// Whether only the run can tell: the value in question is, or holds, a template. What is missing or unknown by name stays
/// so, whatever is rendered.
fn depends_on_rendering(violation: &Violation) -> bool {
    !matches!(&*violation.name, "required" | "additionalProperties")
        && violation.instance.as_ref().is_some_and(holds_template)
}

fn holds_template(value: &Value) -> bool {
    match value {
        Value::String(text) => ["${{", "{%", "{#"].iter().any(|tag| text.contains(tag)),
        Value::Array(items) => items.iter().any(holds_template),
        Value::Object(members) => members.values().any(holds_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::source::Origin;

    fn findings(text: &str) -> Vec<String> {
        let scm = understudy_scm::Scm::from_config(&serde_json::json!({})).unwrap();
        let mut registry = Registry::new();
        let deps = understudy_actions_core::CoreDeps::new(scm);
        let templating = deps.templating.clone();
        understudy_actions_core::register(&mut registry, deps);
        let source = Source { shown: "t.yaml".into(), text: text.into(), origin: Origin::File("/t.yaml".into()) };
        Checker::new(registry, &templating).check(&source)
    }

    const HEAD: &str =
        "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: t\nspec:\n  type: service\n";

    #[test]
    fn good_templates_have_no_findings() {
        let text = format!(
            "{HEAD}  parameters: {{properties: {{n: {{type: integer}}}}}}\n  steps:\n    - id: a\n      if: ${{{{ failure() or parameters.n }}}}\n      action: debug:wait\n      input: {{seconds: '${{{{ parameters.n }}}}'}}\n  output:\n    other: ${{{{ parameters.owner | parseEntityRef | pick('name') }}}}\n"
        );
        assert_eq!(findings(&text), Vec::<String>::new());
    }

    #[test]
    fn findings_have_places() {
        for (rest, expected) in [
            ("  steps:\n    - action: no:such\n", "t.yaml:8:15: Template action with ID 'no:such'"),
            (
                "  steps:\n    - action: debug:wait\n      input: {seconds: many}\n",
                "t.yaml:9:24: debug:wait: input.seconds is not of a type(s) number",
            ),
            (
                "  steps:\n    - action: debug:wait\n      input:\n        years: 1\n",
                "t.yaml:10:16: debug:wait: input is not allowed to have the additional property \"years\"",
            ),
            ("  steps:\n    - action: debug:log\n      input:\n        message: ${{ a | }}\n", "t.yaml:10:"),
            (
                "  steps:\n    - action: debug:log\n      input:\n        message: |\n          one\n          ${{ a | nosuch }}\n",
                "t.yaml:12:",
            ),
            (
                "  steps:\n    - {id: a, action: debug:wait}\n    - {id: a, action: debug:wait}\n",
                "t.yaml:9:12: the id \"a\" belongs to step 1 already",
            ),
            (
                "  parameters: {properties: {a: {pattern: '('}}}\n  steps: []\n",
                "t.yaml:7:42: not a valid JSON Schema: \"(\" is not a regular expression",
            ),
            (
                "  parameters:\n    - title: One\n      properties:\n        a:\n          type: strin\n  steps: []\n",
                "t.yaml:11:17: not a valid JSON Schema: \"strin\" is not one of array, boolean",
            ),
            (
                "  secrets:\n    schema:\n      required: token\n  steps: []\n",
                "t.yaml:9:17: not a valid JSON Schema: \"token\" is not of type \"array\"",
            ),
            ("  steps: 5\n", "t.yaml:7:10: spec.steps must be a list"),
            ("  owner: [\n", "t.yaml:"),
        ] {
            let found = findings(&format!("{HEAD}{rest}"));
            assert!(found.len() == 1 && found[0].starts_with(expected), "{rest}: {found:?}");
        }
        assert_eq!(findings(""), ["t.yaml: the file is empty"]);
    }

    #[test]
    fn texts_that_are_read_in_an_unusual_way_are_checked_too() {
        let wrong = format!("{HEAD}  steps: 5\n");
        assert_eq!(findings(&format!("\u{feff}{wrong}")), findings(&wrong));
        let deep = format!("{wrong}  deep: {}1{}\n", "[".repeat(95), "]".repeat(95));
        let found = std::thread::spawn(move || findings(&deep)).join().unwrap();
        assert_eq!(found, findings(&wrong));
    }
}
