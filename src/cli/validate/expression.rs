//! What can be said of an expression without evaluating it.

use std::collections::HashSet;

use understudy_templating::{Engine, Error, Guard, Lookup, NameUse, closest_name};

use super::{finding::Severity, form::Names};

/// Something that is wrong with an expression, at a byte of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) offset: usize,
    pub(super) severity: Severity,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Remark {
    pub(super) fn error(used: &NameUse, code: &'static str, message: impl Into<String>) -> Self {
        Self { offset: used.offset, severity: Severity::Error, code, message: message.into(), hint: None }
    }
    pub(super) fn warning(used: &NameUse, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(used, code, message) }
    }
    #[must_use]
    pub(super) fn hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
    /// What a template is prepared for is not as bad; and where it takes something else in place of what is missing, only
    /// a slip of the pen is worth telling.
    pub(super) fn guarded(self, guard: Guard) -> Option<Self> {
        match guard {
            Guard::None => Some(self),
            Guard::Condition => Some(Self { severity: Severity::Warning, ..self }),
            Guard::Default if self.hint.is_some() => Some(Self { severity: Severity::Warning, ..self }),
            Guard::Default => None,
        }
    }
}

/// `did you mean "a"?` for the name that comes closest.
pub(super) fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    closest_name(name, known).map(|name| format!("did you mean \"{name}\"?"))
}

/// What the expressions of one engine may say.
pub(super) struct Language {
    engine: Engine,
    globals: HashSet<String>,
    methods: HashSet<&'static str>,
}

impl Language {
    pub(super) fn new(engine: Engine) -> Self {
        let globals = engine.global_names().into_iter().collect();
        // The last two belong to what `cycler` gives.
        let methods = engine.method_names().into_iter().chain(["next", "reset"]).collect();
        Self { engine, globals, methods }
    }

    pub(super) fn has_global(&self, name: &str) -> bool {
        // A name that nothing has is as good as JavaScript's.
        self.globals.contains(name) || name == "undefined"
    }

    /// All that is wrong with a template; `look` judges its look-ups, except those that start at a global.
    pub(super) fn inspect(&self, text: &str, look: impl Fn(&Lookup) -> Option<Remark>) -> Vec<Remark> {
        let inspection = self.engine.inspect(text);
        let facts = &inspection.facts;
        let mut remarks: Vec<Remark> = inspection.errors.iter().map(of_error).collect();
        for call in facts.calls.iter().filter(|call| !self.globals.contains(&call.name)) {
            let hint = did_you_mean(&call.name, self.globals.iter().map(String::as_str));
            let message = format!("there is no function \"{}\" to call", call.name);
            remarks.push(Remark::error(call, "function-unknown", message).hint(hint));
        }
        for method in facts.methods.iter().filter(|method| !self.methods.contains(&*method.name)) {
            let hint = did_you_mean(&method.name, self.methods.iter().copied());
            let message = format!("no value has a method \"{}\"", method.name);
            remarks.push(Remark::error(method, "method-unknown", message).hint(hint));
        }
        let lookups = facts.lookups.iter().filter(|lookup| !(lookup.is_call && lookup.path.len() == 1));
        remarks.extend(lookups.filter(|lookup| !self.has_global(&lookup.path[0].name)).filter_map(look));
        explain_dashes(text, &mut remarks);
        remarks
    }
}

/// In `a.b-c` the name `c` is not what somebody got wrong.
fn explain_dashes(text: &str, remarks: &mut Vec<Remark>) {
    let is_told = remarks.iter().any(|remark| remark.hint.as_ref().is_some_and(|hint| hint.ends_with(DASHES)));
    remarks.retain_mut(|remark| {
        let before = text[..text.floor_char_boundary(remark.offset)].strip_suffix('-');
        let is_part = before.is_some_and(|before| before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
        if remark.code != "name-unknown" || !is_part {
            return true;
        }
        remark.hint = Some(format!("\"-\" is a minus; write \"['a-b']\" {DASHES}"));
        !is_told
    });
}

/// Ends the hint about such names.
const DASHES: &str = "for a name with dashes";

fn of_error(error: &Error) -> Remark {
    let message = error.message();
    let code = match message {
        _ if message.starts_with("Unknown template filter ") => "filter-unknown",
        _ if message.starts_with("Unknown template test ") => "test-unknown",
        _ if message.starts_with("Unknown template tag ") || message.starts_with("Unsupported template-loading") => {
            "tag-unknown"
        }
        _ => "syntax",
    };
    Remark {
        offset: error.offset().unwrap_or_default(),
        severity: Severity::Error,
        code,
        message: message.to_string(),
        hint: error.hint().map(str::to_string),
    }
}

/// Whether the runner renders a text at all.
pub(super) fn is_template(text: &str) -> bool {
    ["${{", "{%", "{#"].iter().any(|tag| text.contains(tag))
}

/// A name where an expression begins that stands for nothing.
pub(super) fn unknown_root(lookup: &Lookup, meant: Option<String>, known: &[&str]) -> Option<Remark> {
    let root = &lookup.path[0];
    let hint = meant.or_else(|| match &*root.name {
        "True" | "False" | "None" | "Null" | "TRUE" | "FALSE" | "NULL" => {
            Some(format!("write \"{}\"", root.name.to_ascii_lowercase()))
        }
        name => did_you_mean(name, known.iter().copied()),
    });
    let message = format!("\"{}\" is not defined", root.name);
    let remark = match hint {
        Some(_) => Remark::error(root, "name-unknown", message),
        None => Remark::warning(root, "name-unknown", message),
    };
    remark.hint(hint).guarded(lookup.guard)
}

/// Where a step's expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    If,
    Each,
    Input,
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In a step, by its index.
    Step(usize, Field),
    Output,
}

/// A step as expressions may speak of it.
pub(super) struct Step {
    pub(super) id: String,
    pub(super) has_each: bool,
    /// The names of its outputs; `None` when nobody can tell.
    pub(super) outputs: Option<Names>,
}

/// What a template's expressions may speak of.
pub(super) struct Scope<'a> {
    pub(super) parameters: &'a Names,
    pub(super) secrets: &'a Names,
    pub(super) steps: &'a [Step],
    /// Whether there are steps nobody can see, in another file.
    pub(super) has_more_steps: bool,
}

const ROOTS: [&str; 7] = ["parameters", "steps", "user", "secrets", "environment", "context", "each"];

impl Scope<'_> {
    pub(super) fn look(&self, lookup: &Lookup, at: Where) -> Option<Remark> {
        match &*lookup.path[0].name {
            "parameters" => self.parameter(lookup),
            "steps" => self.step(lookup, at),
            "each" => self.each(lookup, at),
            "secrets" => self.secret(lookup, at),
            "environment" => {
                let member = lookup.path.get(1)?;
                if matches!(&*member.name, "parameters" | "secrets") {
                    return None;
                }
                let message = format!("\"environment\" has no \"{}\"", member.name);
                let hint = did_you_mean(&member.name, ["parameters", "secrets"])
                    .or_else(|| Some("it has \"parameters\" and \"secrets\"".into()));
                Remark::error(member, "name-unknown", message).hint(hint).guarded(lookup.guard)
            }
            "user" | "context" => None,
            _ => unknown_root(lookup, self.meant(lookup), &ROOTS),
        }
    }

    /// What somebody may have meant who began with this name.
    fn meant(&self, lookup: &Lookup) -> Option<String> {
        let name = &*lookup.path[0].name;
        if matches!(name, "values" | "cookiecutter") {
            return Some("only the files of a skeleton have that; did you mean \"parameters\"?".into());
        }
        let ids = || self.steps.iter().map(|step| &*step.id);
        if lookup.path.get(1).is_some_and(|member| member.name == "output") && ids().any(|id| id == name) {
            return Some(format!("did you mean \"steps['{name}']\"?"));
        }
        let is_parameter = self.parameters.names.contains(name);
        is_parameter.then(|| format!("did you mean \"parameters.{name}\"?"))
    }

    fn parameter(&self, lookup: &Lookup) -> Option<Remark> {
        let member = lookup.path.get(1)?;
        if self.parameters.has(&member.name) || (lookup.is_call && lookup.path.len() == 2) {
            return None;
        }
        if !self.parameters.has_schema {
            let message = format!("the template has no form, so nobody is asked for the parameter \"{}\"", member.name);
            return Remark::warning(member, "parameter-undeclared", message).guarded(lookup.guard);
        }
        let hint = did_you_mean(&member.name, self.parameters.names.iter().map(String::as_str));
        let message = format!("the form declares no parameter \"{}\"", member.name);
        Remark::error(member, "parameter-undeclared", message).hint(hint).guarded(lookup.guard)
    }

    fn step(&self, lookup: &Lookup, at: Where) -> Option<Remark> {
        let id = lookup.path.get(1)?;
        let found = || self.steps.iter().enumerate().filter(|(_, step)| step.id == id.name);
        if found().next().is_none() {
            if self.has_more_steps {
                return None;
            }
            let ids = || self.steps.iter().map(|step| &*step.id);
            // `steps.a-b` is a difference.
            let dashed = ids().find(|known| known.strip_prefix(&*id.name).is_some_and(|rest| rest.starts_with('-')));
            let hint = match dashed {
                Some(known) => Some(format!("write \"steps['{known}']\" {DASHES}")),
                None => did_you_mean(&id.name, ids()),
            };
            let message = format!("there is no step \"{}\"", id.name);
            return Some(Remark::error(id, "step-unknown", message).hint(hint));
        }
        if let Where::Step(here, _) = at
            && found().all(|(index, _)| index >= here)
        {
            return Some(if found().any(|(index, _)| index == here) {
                Remark::error(id, "step-self", format!("the step \"{}\" has no output before it has run", id.name))
            } else {
                let number = found().next().map_or(0, |(index, _)| index + 1);
                let message = format!("the step \"{}\" comes later: it is step {number}", id.name);
                Remark::error(id, "step-later", message)
            });
        }
        let member = lookup.path.get(2)?;
        if member.name != "output" {
            let message = format!("a step has no \"{}\", only \"output\"", member.name);
            let hint = did_you_mean(&member.name, ["output"]);
            return Remark::error(member, "step-member", message).hint(hint).guarded(lookup.guard);
        }
        let output = lookup.path.get(3)?;
        if lookup.is_call && lookup.path.len() == 4 {
            return None;
        }
        let outputs: Vec<&Names> = found().map(|(_, step)| step.outputs.as_ref()).collect::<Option<_>>()?;
        if outputs.iter().any(|names| names.has(&output.name)) {
            return None;
        }
        let known = || outputs.iter().flat_map(|names| names.names.iter().map(String::as_str));
        let hint = did_you_mean(&output.name, known());
        let message = format!("the action of step \"{}\" has no output \"{}\"", id.name, output.name);
        Remark::warning(output, "output-unknown", message).hint(hint).guarded(lookup.guard)
    }

    fn each(&self, lookup: &Lookup, at: Where) -> Option<Remark> {
        let root = &lookup.path[0];
        let is_there = match at {
            Where::Step(index, field) => field != Field::Each && self.steps.get(index)?.has_each,
            Where::Output => false,
        };
        if !is_there {
            let message = match at {
                Where::Step(_, Field::Each) => "\"each\" is not there yet where it is said what to iterate over",
                Where::Step(..) => "\"each\" is there only in a step that has an \"each\"",
                Where::Output => "\"each\" is there only in steps",
            };
            return Remark::error(root, "each-outside", message).guarded(lookup.guard);
        }
        let member = lookup.path.get(1)?;
        if matches!(&*member.name, "key" | "value") {
            return None;
        }
        let hint = did_you_mean(&member.name, ["key", "value"])
            .or_else(|| Some(format!("it has \"key\" and \"value\"; did you mean \"each.value.{}\"?", member.name)));
        let message = format!("\"each\" has no \"{}\"", member.name);
        Remark::error(member, "name-unknown", message).hint(hint).guarded(lookup.guard)
    }

    fn secret(&self, lookup: &Lookup, at: Where) -> Option<Remark> {
        let has_secrets = match at {
            Where::Step(index, Field::If) => self.steps.get(index)?.has_each,
            Where::Step(..) => true,
            Where::Output => false,
        };
        if !has_secrets {
            let place = if at == Where::Output { "the output" } else { "the condition of a step without \"each\"" };
            let message = format!("{place} can't see secrets: they are empty there");
            return Remark::warning(&lookup.path[0], "secret-invisible", message).guarded(lookup.guard);
        }
        let member = lookup.path.get(1)?;
        if !self.secrets.has_schema || self.secrets.has(&member.name) {
            return None;
        }
        let hint = did_you_mean(&member.name, self.secrets.names.iter().map(String::as_str));
        let message = format!("spec.secrets.schema declares no secret \"{}\"", member.name);
        Remark::error(member, "secret-undeclared", message).hint(hint).guarded(lookup.guard)
    }
}
