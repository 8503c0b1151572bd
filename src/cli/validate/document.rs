//! A document of a YAML file: an entity, and what more there is to a template.

use serde_json::{Map, Value};
use understudy_actions_core::sources::Sources;
use understudy_handlebars::Helpers;
use understudy_sdk::{
    Registry,
    schema::{Validator, Violation},
};

use super::{
    expression::{Field, Language, Remark, Scope, Step, Where, did_you_mean, is_template},
    finding::{Finding, Severity},
    form::{Form, Names, is_elsewhere},
    positions::{Place, Positions, escape},
    skeleton::{Skeleton, Values},
};
use crate::{
    api::form,
    catalog, form_schema,
    tasks::{
        beta2,
        limits::{LimitError, StepLimits},
    },
};

/// The members of a step that the service reads.
const STEP_FIELDS: [&str; 9] =
    ["id", "name", "action", "input", "if", "each", "timeout", "retry", "backstage:permissions"];

/// What documents are checked with.
pub(super) struct Checker {
    pub(super) registry: Registry,
    /// The language of step values.
    pub(super) values: Language,
    /// The helpers of older templates.
    pub(super) helpers: Helpers,
}

/// The check of one document.
pub(super) struct Check<'a> {
    pub(super) checker: &'a Checker,
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) positions: &'a Positions,
    pub(super) findings: Vec<Finding>,
    pub(super) skeletons: Vec<Skeleton>,
}

/// Something to tell, before its place is known.
struct Report {
    severity: Severity,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

fn error(code: &'static str, message: impl Into<String>) -> Report {
    Report { severity: Severity::Error, code, message: message.into(), hint: None }
}

fn warning(code: &'static str, message: impl Into<String>) -> Report {
    Report { severity: Severity::Warning, ..error(code, message) }
}

impl Report {
    fn hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

impl Check<'_> {
    fn add(&mut self, place: Place, report: Report) {
        let Report { severity, code, message, hint } = report;
        let source = self.line(place);
        let finding = Finding { file: self.file.into(), place: Some(place), severity, code, message, hint, source };
        self.findings.push(finding);
    }

    fn line(&self, place: Place) -> Option<String> {
        let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
        Some(self.text.lines().nth(line)?.trim_start_matches('\u{feff}').to_string())
    }

    /// At a value.
    fn value(&mut self, pointer: &str, report: Report) {
        self.add(self.positions.at(pointer), report);
    }

    /// At a member's name.
    fn name(&mut self, pointer: &str, report: Report) {
        self.add(self.positions.key_at(pointer), report);
    }

    pub(super) fn document(&mut self, entity: &Value) {
        for duplicate in &self.positions.duplicates {
            let message = format!("the key \"{}\" is there already, in line {}", duplicate.key, duplicate.first.line);
            self.add(duplicate.again, error("yaml", message));
        }
        for problem in catalog::problems(entity) {
            let around = problem.pointer.rsplit_once('/').and_then(|(around, _)| entity.pointer(around)?.as_object());
            let placeholder = around.and_then(|around| around.keys().find(|name| is_elsewhere(name)));
            let hint = placeholder.map(|name| format!("\"{name}\" is not replaced by this service's own catalog"));
            let report = error("entity", problem.message).hint(hint);
            match problem.is_name {
                true => self.name(&problem.pointer, report),
                false => self.value(&problem.pointer, report),
            }
        }
        if entity["kind"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("template")) {
            self.template(entity);
        }
    }

    fn template(&mut self, template: &Value) {
        let version = form::check_version(template);
        self.schemas(template);
        if let Err(reason) = version {
            return self.value("/apiVersion", error("entity", reason));
        }
        if template["apiVersion"] != form::API_VERSION {
            return self.older_template(template);
        }
        let form = Form::of(template);
        let steps = template.pointer("/spec/steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let known: Vec<Step> = steps.iter().enumerate().map(|(index, step)| self.known_step(step, index)).collect();
        let scope = Scope {
            parameters: &form.parameters,
            secrets: &form.secrets,
            has_more_steps: steps
                .iter()
                .any(|step| step.as_object().is_some_and(|step| step.keys().any(|key| is_elsewhere(key)))),
            steps: &known,
        };
        for (index, step) in steps.iter().enumerate() {
            let Value::Object(step) = step else { continue };
            let pointer = format!("/spec/steps/{index}");
            self.step_fields(step, &pointer);
            self.step_id(steps, &known, index, &pointer);
            self.action(step, &pointer);
            self.skeleton(step, &known[index].id, &pointer);
            for (name, field) in [("if", Field::If), ("each", Field::Each), ("input", Field::Input)] {
                if let Some(value) = step.get(name) {
                    self.strings(&scope, Where::Step(index, field), value, &format!("{pointer}/{name}"));
                }
            }
        }
        if let Some(output) = template.pointer("/spec/output") {
            self.strings(&scope, Where::Output, output, "/spec/output");
        }
    }

    /// A template of `backstage.io/v1beta2`, whose strings are Handlebars.
    fn older_template(&mut self, template: &Value) {
        let steps = template.pointer("/spec/steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let known: Vec<Step> = steps.iter().enumerate().map(|(index, step)| self.known_step(step, index)).collect();
        for (index, step) in steps.iter().enumerate() {
            let Value::Object(step) = step else { continue };
            let pointer = format!("/spec/steps/{index}");
            self.step_fields(step, &pointer);
            self.step_id(steps, &known, index, &pointer);
            self.action(step, &pointer);
            self.skeleton(step, &known[index].id, &pointer);
            for name in ["if", "input"] {
                if let Some(value) = step.get(name) {
                    self.older_strings(value, &format!("{pointer}/{name}"));
                }
            }
        }
        if let Some(output) = template.pointer("/spec/output") {
            self.older_strings(output, "/spec/output");
        }
    }

    fn older_strings(&mut self, value: &Value, pointer: &str) {
        self.each_string(value, pointer, &mut |check, text, pointer| {
            for mistake in beta2::mistakes(text, &check.checker.helpers) {
                let offset = offset_of(text, mistake.line().unwrap_or(1), mistake.column().unwrap_or(1));
                let place = check.positions.within(check.text, pointer, text, offset);
                check.add(place, error("syntax", mistake.message()));
            }
        });
    }

    /// The schemas of the form and the secrets: as the service will read them, then against the standard, which is
    /// stricter: such a form is used as it is.
    fn schemas(&mut self, template: &Value) {
        let problems = form_schema::problems(template);
        for (pointer, schema) in form_schema::schemas(template) {
            if let Err(reason) = Validator::new(schema) {
                let at = problems.iter().find(|problem| is_within(&problem.pointer, &pointer));
                let at = at.map_or_else(|| refused_at(&reason, &pointer), |problem| problem.pointer.clone());
                self.value(&at, error("schema", format!("not a valid JSON Schema: {reason}")));
            }
        }
        for problem in problems {
            let is_told = |finding: &&Finding| {
                finding.code == "schema" && finding.place == Some(self.positions.at(&problem.pointer))
            };
            if self.findings.iter().find(is_told).is_none() {
                let message = format!("not a valid JSON Schema: {}", problem.message);
                self.value(&problem.pointer, warning("schema", message));
            }
        }
    }

    fn known_step(&self, step: &Value, index: usize) -> Step {
        let id = match &step["id"] {
            Value::String(id) => id.clone(),
            _ => format!("step-{}", index + 1),
        };
        let action = step["action"].as_str().and_then(|action| self.checker.registry.find(action));
        let outputs = action.and_then(|action| action.output_schema()).map(|schema| Names::of_output(&schema));
        Step { id, has_each: step.get("each").is_some_and(|each| !each.is_null()), outputs }
    }

    fn step_fields(&mut self, step: &Map<String, Value>, pointer: &str) {
        for name in step.keys().filter(|name| !STEP_FIELDS.contains(&name.as_str()) && !is_elsewhere(name)) {
            let message = format!("a step has no \"{name}\"; it is ignored");
            let report = warning("step-field-unknown", message).hint(did_you_mean(name, STEP_FIELDS));
            self.name(&format!("{pointer}/{}", escape(name)), report);
        }
        if let Err(LimitError { path, reason }) = StepLimits::of(step) {
            self.value(&format!("{pointer}/{}", path.replace('.', "/")), error("step-limit", reason));
        }
    }

    /// A second step with the same id runs, and its output takes the place of the first one's. That is on purpose where
    /// conditions let only one of them run.
    fn step_id(&mut self, steps: &[Value], known: &[Step], index: usize, pointer: &str) {
        let has_condition = |index: usize| steps[index].get("if").is_some_and(Value::is_string);
        let Some(first) = known[..index].iter().position(|other| other.id == known[index].id) else { return };
        if has_condition(first) && has_condition(index) {
            return;
        }
        let message =
            format!("the id \"{}\" belongs to step {} already, whose output is lost", known[index].id, first + 1);
        self.value(&format!("{pointer}/id"), warning("step-id-duplicate", message));
    }

    fn action(&mut self, step: &Map<String, Value>, pointer: &str) {
        let registry = &self.checker.registry;
        let Some(id) = step.get("action").and_then(Value::as_str) else { return };
        let action = match registry.get(id) {
            Ok(action) => action,
            Err(reason) => {
                let hint = did_you_mean(id, registry.list().map(|action| action.id()));
                let message = reason.message().split(". ").next().unwrap_or_default();
                return self.value(&format!("{pointer}/action"), error("action-unknown", message).hint(hint));
            }
        };
        // Never run, never validated.
        if step.get("if") == Some(&Value::Bool(false)) {
            return;
        }
        let empty = Value::Object(Map::new());
        let input = step.get("input").filter(|input| !input.is_null()).unwrap_or(&empty);
        let Some(schema) = action.input_schema() else { return };
        let Ok(validator) = Validator::new(&schema) else { return };
        for violation in validator.validate(input) {
            if depends_on_rendering(&violation) {
                continue;
            }
            let path: String = violation.path.iter().map(|part| format!("/{}", escape(&text_of(part)))).collect();
            let at = format!("{pointer}/input{path}");
            let property = violation.property.replacen("instance", "input", 1);
            let message = format!("{id}: {property} {}", violation.message);
            match (&*violation.name, &violation.argument) {
                ("additionalProperties", Some(name)) => {
                    let name = text_of(name);
                    let known = violation.schema["properties"].as_object();
                    let hint = did_you_mean(&name, known.into_iter().flat_map(Map::keys).map(String::as_str));
                    self.name(&format!("{at}/{}", escape(&name)), error("input-unknown", message).hint(hint));
                }
                // At what lacks it; for a step without input, at the action that wants one.
                ("required", _) if path.is_empty() && !step.contains_key("input") => {
                    self.value(&format!("{pointer}/action"), error("input-missing", message));
                }
                ("required", _) => self.name(&at, error("input-missing", message)),
                _ => self.value(&at, error("input-invalid", message)),
            }
        }
    }

    /// Notes what the step renders, to be read later.
    fn skeleton(&mut self, step: &Map<String, Value>, id: &str, pointer: &str) {
        let (Some(action), Some(input)) =
            (step.get("action").and_then(Value::as_str), step.get("input").and_then(Value::as_object))
        else {
            return;
        };
        let is_template_action = matches!(action, "fetch:template" | "fetch:template:file");
        if is_template_action && input.contains_key("copyWithoutRender") {
            let message = "\"copyWithoutRender\" has no effect; the files are rendered";
            let hint = Some("write \"copyWithoutTemplating\"".to_string());
            self.name(&format!("{pointer}/input/copyWithoutRender"), warning("input-ignored", message).hint(hint));
        }
        if let Some(sources) = Sources::of(action, input) {
            let place = self.positions.at(&format!("{pointer}/input/url"));
            self.skeletons.push(Skeleton {
                step: id.to_string(),
                sources,
                values: Values::of(input),
                file: self.file.to_string(),
                place,
                source: self.line(place),
            });
        }
    }

    /// Every string that is a template.
    fn strings(&mut self, scope: &Scope<'_>, at: Where, value: &Value, pointer: &str) {
        self.each_string(value, pointer, &mut |check, text, pointer| {
            if !is_template(text) {
                return;
            }
            for remark in check.checker.values.inspect(text, |lookup| scope.look(lookup, at)) {
                let place = check.positions.within(check.text, pointer, text, remark.offset);
                let Remark { severity, code, message, hint, .. } = remark;
                check.add(place, Report { severity, code, message, hint });
            }
        });
    }

    fn each_string(&mut self, value: &Value, pointer: &str, visit: &mut dyn FnMut(&mut Self, &str, &str)) {
        match value {
            Value::String(text) => visit(self, text, pointer),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.each_string(item, &format!("{pointer}/{index}"), visit);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.each_string(member, &format!("{pointer}/{}", escape(name)), visit);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The byte at a line and a column of a text, both from 1, the column in characters.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start = match line.saturating_sub(1) {
        0 => 0,
        breaks => text.match_indices('\n').nth(breaks - 1).map_or(text.len(), |(at, _)| at + 1),
    };
    let rest = &text[start..];
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}

/// The place that the reason for refusing a schema names: `… is invalid at /properties/a: …`.
fn refused_at(reason: &str, schema: &str) -> String {
    let place = reason.split_once(" at ").and_then(|(_, rest)| rest.split_once(": ")).map(|(place, _)| place);
    let inner = place.filter(|place| place.starts_with('/')).unwrap_or_default();
    format!("{schema}{inner}")
}

/// Whether a JSON Pointer leads to a place in that of another.
fn is_within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
        // Those of older templates too.
        Value::String(text) => is_template(text) || text.contains("{{"),
        Value::Array(items) => items.iter().any(holds_template),
        Value::Object(members) => members.values().any(holds_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
