//! Who did what: one line of the log when something that matters begins, and one when it has succeeded or failed.
//!
//! Events, their details, and the lines are those of `@backstage/plugin-scaffolder-backend` 4.2.0 (router, `TaskWorker`)
//! and of the auditor in `@backstage/backend-defaults` 0.18.0. Other than upstream, an event that has begun always has an
//! end, and only one: also when the client goes away in between, or when a retried task turns out not to have ended.
//!
//! Lines have the target [`AUDIT_TARGET`]; their field `event` is the whole line as Backstage writes it in production, which
//! the log then writes as it stands.

mod origin;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value};
use understudy_sdk::Redactor;

pub use self::origin::{Origin, shown_url};
use crate::{
    auth::{Credentials, Principal},
    config::{AuditConfig, AuditLevel},
    telemetry::AUDIT_TARGET,
};

/// Who does what nobody asked for at the moment, such as running tasks.
const OURSELVES: &str = "plugin:scaffolder";
/// What comes after a parameter's text that was cut.
const TRUNCATED: &str = "...<truncated>";

/// What is audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A template's form is read.
    ReadForm,
    /// The actions are listed.
    ListActions,
    /// A task is created.
    Create,
    /// Tasks are listed.
    List,
    /// A task is read.
    Get,
    /// A task is asked to stop.
    Cancel,
    /// A task is put back into the queue.
    Retry,
    /// A task's log is followed.
    Stream,
    /// A task's log is polled.
    Events,
    /// A template is run without a task.
    DryRun,
    /// A task is run.
    Execution,
    /// A task is ended because its worker gave no sign of life for longer than a task may take. (Upstream has this event,
    /// and its own janitor does not write it.)
    StaleCancel,
}

/// How much an act matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// Something was read.
    Low,
    /// Something was changed or started.
    Medium,
}

impl Act {
    /// The event's id, and the detail `actionType` of those of tasks.
    fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::ReadForm => ("template-parameter-schema", None),
            Self::ListActions => ("action-fetch", None),
            Self::Create => ("task", Some("create")),
            Self::List => ("task", Some("list")),
            Self::Get => ("task", Some("get")),
            Self::Cancel => ("task", Some("cancel")),
            Self::Retry => ("task", Some("retry")),
            Self::Stream => ("task", Some("stream")),
            Self::Events => ("task", Some("events")),
            Self::DryRun => ("task", Some("dry-run")),
            Self::Execution => ("task", Some("execution")),
            Self::StaleCancel => ("task", Some("stale-cancel")),
        }
    }
    fn severity(self) -> Severity {
        match self {
            Self::Create | Self::Cancel | Self::Retry | Self::Execution | Self::StaleCancel => Severity::Medium,
            Self::ReadForm
            | Self::ListActions
            | Self::List
            | Self::Get
            | Self::Stream
            | Self::Events
            | Self::DryRun => Severity::Low,
        }
    }
}

/// Details of an event; those that are `null` are left out.
pub type Details<const N: usize> = [(&'static str, Value); N];

/// Writes audit events into the log; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Auditor(Arc<AuditConfig>);

impl Auditor {
    /// An auditor with these rules.
    pub fn new(config: &AuditConfig) -> Self {
        Self(Arc::new(config.clone()))
    }
    /// Writes that somebody's request begins to be done. `asked` gives the details, and who asked how; it is called only
    /// when the log takes such lines.
    pub fn requested<const N: usize>(
        &self,
        act: Act,
        credentials: &Credentials,
        asked: impl FnOnce() -> (Origin, Details<N>),
    ) -> Pending {
        self.begin(act, || {
            let (origin, details) = asked();
            let actor = match &credentials.principal {
                Principal::None => None,
                Principal::User { entity_ref, .. } => Some(entity_ref.clone()),
                Principal::Service { subject, .. } => Some(subject.clone()),
            };
            Event { act, actor, origin: Some(origin), details: details_of(details) }
        })
    }
    /// Writes that the service begins something of its own accord.
    pub fn own<const N: usize>(&self, act: Act, details: impl FnOnce() -> Details<N>) -> Pending {
        self.begin(act, || Event {
            act,
            actor: Some(OURSELVES.to_string()),
            origin: None,
            details: details_of(details()),
        })
    }
    /// A task's parameters as events show them: without secrets, and with texts cut to
    /// `scaffolder.auditor.taskParameterMaxLength`.
    pub fn shown(&self, parameters: &Map<String, Value>, secrets: &Redactor) -> Value {
        let longest = self.0.task_parameter_max_length;
        shown_members(parameters, &|text| truncated(&secrets.redact(text), longest))
    }

    fn begin(&self, act: Act, event: impl FnOnce() -> Event) -> Pending {
        let level = match act.severity() {
            Severity::Low => self.0.low,
            Severity::Medium => self.0.medium,
        };
        let event = is_written(level).then(|| Box::new((level, event())));
        let pending = Pending(event);
        pending.write("initiated", None);
        pending
    }
}

fn details_of<const N: usize>(details: Details<N>) -> Map<String, Value> {
    let given = details.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.to_string(), value)).collect()
}

fn shown_members(members: &Map<String, Value>, text: &impl Fn(&str) -> String) -> Value {
    Value::Object(members.iter().map(|(name, value)| (name.clone(), shown_value(value, text))).collect())
}

fn shown_value(value: &Value, text: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(found) => Value::String(text(found)),
        Value::Array(items) => items.iter().map(|item| shown_value(item, text)).collect(),
        Value::Object(members) => shown_members(members, text),
        other => other.clone(),
    }
}

/// The text, cut to so many UTF-16 units.
fn truncated(text: &str, longest: Option<usize>) -> String {
    // No text has more UTF-16 units than bytes.
    let Some(longest) = longest.filter(|longest| text.len() > *longest) else { return text.to_string() };
    let mut units = 0;
    for (at, c) in text.char_indices() {
        units += c.len_utf16();
        if units > longest {
            return format!("{}{TRUNCATED}", &text[..at]);
        }
    }
    text.to_string()
}

/// What is written of an act.
#[derive(Debug)]
struct Event {
    act: Act,
    actor: Option<String>,
    origin: Option<Origin>,
    details: Map<String, Value>,
}

/// Something that has begun and has neither succeeded nor failed. When it is dropped so, it failed.
#[derive(Debug)]
#[must_use = "it would have failed at once"]
pub struct Pending(Option<Box<(AuditLevel, Event)>>);

impl Pending {
    /// Adds a detail to what will be written at the end, in the place of an earlier one of this name.
    pub fn note(&mut self, name: &str, value: impl FnOnce() -> Value) {
        if let Some(event) = &mut self.0 {
            event.1.details.insert(name.to_string(), value());
        }
    }
    /// Writes that it succeeded.
    pub fn succeed(mut self) {
        self.write("succeeded", None);
        self.0 = None;
    }
    /// Writes that it failed: the error's class and text.
    pub fn fail(mut self, name: &str, message: &str) {
        self.write("failed", Some((name, message)));
        self.0 = None;
    }

    fn write(&self, status: &str, error: Option<(&str, &str)>) {
        let Some((level, event)) = self.0.as_deref() else { return };
        let line = event.line(*level, status, error);
        // On the console each event is one line, whatever an error says.
        let message: String = line["message"].as_str().unwrap_or_default().chars().flat_map(shown_char).collect();
        match level {
            AuditLevel::Debug => tracing::debug!(target: AUDIT_TARGET, event = %line, "{message}"),
            AuditLevel::Info => tracing::info!(target: AUDIT_TARGET, event = %line, "{message}"),
            AuditLevel::Warn => tracing::warn!(target: AUDIT_TARGET, event = %line, "{message}"),
            AuditLevel::Error => tracing::error!(target: AUDIT_TARGET, event = %line, "{message}"),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.write("failed", Some(("AbortError", "it was given up before its end")));
    }
}

fn shown_char(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

fn is_written(level: AuditLevel) -> bool {
    match level {
        AuditLevel::Debug => tracing::enabled!(target: AUDIT_TARGET, tracing::Level::DEBUG),
        AuditLevel::Info => tracing::enabled!(target: AUDIT_TARGET, tracing::Level::INFO),
        AuditLevel::Warn => tracing::enabled!(target: AUDIT_TARGET, tracing::Level::WARN),
        AuditLevel::Error => tracing::enabled!(target: AUDIT_TARGET, tracing::Level::ERROR),
    }
}

impl Event {
    /// The line as winston writes it with `NODE_ENV=production`, but for the stack's frames.
    fn line(&self, level: AuditLevel, status: &str, error: Option<(&str, &str)>) -> Value {
        let (id, action_type) = self.act.names();
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| {
            line.insert(name.to_string(), value);
        };
        let message = error.map_or_else(|| format!("scaffolder.{id}"), |(_, text)| format!("scaffolder.{id} {text}"));
        put("level", level.as_str().into());
        put("message", message.into());
        put("service", "backstage".into());
        put("plugin", "scaffolder".into());
        put("isAuditEvent", true.into());
        put("eventId", id.into());
        put(
            "severityLevel",
            match self.act.severity() {
                Severity::Low => "low",
                Severity::Medium => "medium",
            }
            .into(),
        );
        put("status", status.into());
        let origin = self.origin.as_ref();
        let actor = [
            ("actorId", self.actor.as_ref()),
            ("ip", origin.and_then(|origin| origin.ip.as_ref())),
            ("hostname", origin.and_then(|origin| origin.hostname.as_ref())),
            ("userAgent", origin.and_then(|origin| origin.user_agent.as_ref())),
        ];
        let known = actor.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.clone().into())));
        put("actor", Value::Object(known.collect()));
        if let Some(origin) = origin {
            put("request", serde_json::json!({"url": origin.url, "method": origin.method}));
        }
        let action_type = action_type.map(|name| ("actionType".to_string(), Value::from(name)));
        let meta: Map<String, Value> = action_type.into_iter().chain(self.details.clone()).collect();
        if !meta.is_empty() {
            put("meta", Value::Object(meta));
        }
        if let Some((name, message)) = error {
            put("name", name.into());
            put("stack", format!("{name}: {message}").into());
        }
        Value::Object(line)
    }
}
