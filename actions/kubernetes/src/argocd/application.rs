//! An Argo CD Application as its API and its resource give it.

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Where an application is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppRef {
    pub(crate) name: String,
    /// Argo CD's own namespace where absent.
    pub(crate) namespace: Option<String>,
    /// Only in this project, where given.
    pub(crate) project: Option<String>,
}

impl AppRef {
    /// Whether this is the application meant.
    pub(crate) fn is(&self, app: &Application) -> bool {
        app.name() == self.name
            && self.namespace.as_deref().is_none_or(|namespace| app.namespace().is_none_or(|own| own == namespace))
            && self.project.as_deref().is_none_or(|project| project == app.project())
    }
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An Application object. Whatever is missing in it reads as absent: its status is written in steps, and older versions of
/// Argo CD write less of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Application(Value);

impl Application {
    pub(crate) fn new(object: Value) -> Self {
        Self(object)
    }
    /// The whole object.
    pub(crate) fn object(&self) -> &Value {
        &self.0
    }
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace")
    }
    pub(crate) fn project(&self) -> &str {
        self.text("/spec/project").unwrap_or("default")
    }
    /// Whether it has been told to go.
    pub(crate) fn is_deleting(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }
    /// `Synced`, `OutOfSync` or `Unknown`; absent before Argo CD has looked at it.
    pub(crate) fn sync(&self) -> Option<&str> {
        self.text("/status/sync/status")
    }
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    pub(crate) fn health(&self) -> Option<&str> {
        self.text("/status/health/status")
    }
    pub(crate) fn health_message(&self) -> Option<&str> {
        self.text("/status/health/message")
    }
    /// What the sources were at the last comparison: commits or chart versions, one per source.
    pub(crate) fn revisions(&self) -> Vec<&str> {
        revisions(self.0.pointer("/status/sync"))
    }
    /// The revisions as one text, absent before the first comparison.
    pub(crate) fn revision(&self) -> Option<String> {
        let revisions = self.revisions();
        (!revisions.is_empty()).then(|| revisions.join(", "))
    }
    /// Whether Argo CD syncs it by itself.
    pub(crate) fn is_automated(&self) -> bool {
        self.0.pointer("/spec/syncPolicy/automated").is_some_and(|automated| {
            automated.is_object() && automated.get("enabled").and_then(Value::as_bool).unwrap_or(true)
        })
    }
    /// Whether an operation has been asked for that Argo CD hasn't taken up.
    pub(crate) fn is_operation_requested(&self) -> bool {
        self.0.get("operation").is_some_and(|operation| !operation.is_null())
    }
    /// The operation that runs or ran last.
    pub(crate) fn operation(&self) -> Option<Operation<'_>> {
        self.0.pointer("/status/operationState").filter(|state| state.is_object()).map(Operation)
    }
    /// When Argo CD last compared it with its sources.
    pub(crate) fn reconciled_at(&self) -> Option<DateTime<Utc>> {
        time(self.text("/status/reconciledAt")?)
    }
    /// Whether the last comparison was about the sources and the destination that the spec has now. True where Argo CD
    /// doesn't say.
    pub(crate) fn is_compared_with_spec(&self) -> bool {
        let Some(compared) = self.0.pointer("/status/sync/comparedTo").filter(|value| value.is_object()) else {
            return true;
        };
        let empty = json!({});
        let spec = self.0.get("spec").unwrap_or(&empty);
        let same = |name: &str| tidy(compared.get(name)) == tidy(spec.get(name));
        // Older versions write the server of a destination that was given by name.
        let destination = |value: &Value| {
            let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let by_name =
                spec.pointer("/destination/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
            (if by_name { part("name") } else { part("server") }, part("namespace"))
        };
        let sources = if tidy(spec.get("sources")).is_some() { same("sources") } else { same("source") };
        sources
            && destination(compared.get("destination").unwrap_or(&empty))
                == destination(spec.get("destination").unwrap_or(&empty))
    }
    /// `type: message` of each condition of one of these types, or of all.
    pub(crate) fn conditions(&self, types: &[&str]) -> Vec<String> {
        self.list("/status/conditions")
            .filter_map(|condition| {
                let kind = condition.get("type")?.as_str()?;
                let message = condition.get("message").and_then(Value::as_str).unwrap_or_default();
                (types.is_empty() || types.contains(&kind)).then(|| format!("{kind}: {message}"))
            })
            .collect()
    }
    /// The resources whose health is one of these, each `kind namespace/name: health: message`.
    pub(crate) fn resources_in_health(&self, healths: &[&str]) -> Vec<String> {
        self.list("/status/resources")
            .filter_map(|resource| {
                let health = resource.pointer("/health/status")?.as_str().filter(|health| healths.contains(health))?;
                let message = resource.pointer("/health/message").and_then(Value::as_str).unwrap_or_default();
                let colon = if message.is_empty() { "" } else { ": " };
                Some(format!("{} is {health}{colon}{message}", resource_name(resource)))
            })
            .collect()
    }
    /// The resources that aren't as their sources say.
    pub(crate) fn resources_out_of_sync(&self) -> Vec<String> {
        self.list("/status/resources")
            .filter(|resource| resource.get("status").and_then(Value::as_str) == Some("OutOfSync"))
            .map(resource_name)
            .collect()
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
    }
    fn list(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
    }
}

/// An operation's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation<'a>(&'a Value);

impl<'a> Operation<'a> {
    /// `Running`, `Terminating`, `Succeeded`, `Failed` or `Error`.
    pub(crate) fn phase(&self) -> &'a str {
        self.0.get("phase").and_then(Value::as_str).unwrap_or_default()
    }
    pub(crate) fn message(&self) -> &'a str {
        self.0.get("message").and_then(Value::as_str).unwrap_or_default()
    }
    pub(crate) fn finished_at(&self) -> Option<DateTime<Utc>> {
        time(self.0.get("finishedAt")?.as_str()?)
    }
    pub(crate) fn is_finished(&self) -> bool {
        self.finished_at().is_some() || matches!(self.phase(), "Succeeded" | "Failed" | "Error")
    }
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.phase(), "Failed" | "Error")
    }
    pub(crate) fn is_dry_run(&self) -> bool {
        self.0.pointer("/operation/sync/dryRun").and_then(Value::as_bool).unwrap_or_default()
    }
    /// Whether it was about what the application is to be now: the spec's sources at the revisions last seen.
    pub(crate) fn is_about(&self, app: &Application) -> bool {
        let result = self.0.get("syncResult");
        let sources = |name: &str| tidy(result.and_then(|result| result.get(name)));
        let spec = |name: &str| tidy(app.0.pointer(&format!("/spec/{name}")));
        let same_sources = match (sources("sources"), sources("source")) {
            (Some(sources), _) => Some(sources) == spec("sources"),
            (None, Some(source)) => Some(source) == spec("source"),
            // It failed before it had a result: only its request says what it was about.
            (None, None) => true,
        };
        let own = match revisions(result) {
            own if own.is_empty() => revisions(self.0.pointer("/operation/sync")),
            own => own,
        };
        let seen = app.revisions();
        same_sources && (own.is_empty() || seen.is_empty() || own == seen)
    }
    /// The resources and hooks that could not be applied, each with the reason.
    pub(crate) fn failures(&self) -> Vec<String> {
        let resources = self.0.pointer("/syncResult/resources").and_then(Value::as_array).into_iter().flatten();
        resources
            .filter_map(|resource| {
                let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
                let hook = matches!(text("hookPhase"), "Failed" | "Error");
                let failed = hook || text("status") == "SyncFailed";
                failed.then(|| {
                    let role = if hook { format!(" (hook {})", text("hookType")) } else { String::new() };
                    format!("{}{role}: {}", resource_name(resource), text("message"))
                })
            })
            .collect()
    }
}

fn revisions(value: Option<&Value>) -> Vec<&str> {
    let Some(value) = value else { return Vec::new() };
    let many: Vec<_> =
        value.get("revisions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !many.is_empty() {
        return many;
    }
    value.get("revision").and_then(Value::as_str).filter(|text| !text.is_empty()).into_iter().collect()
}

fn resource_name(resource: &Value) -> String {
    let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("namespace") {
        "" => format!("{} {}", text("kind"), text("name")),
        namespace => format!("{} {namespace}/{}", text("kind"), text("name")),
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// A value without the members that Argo CD leaves out when it writes one: nulls, empty texts and lists, `false`, zero, and
/// objects that hold nothing else. Absent when nothing is left.
pub(crate) fn tidy(value: Option<&Value>) -> Option<Value> {
    match value? {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            Some(Value::Array(items.iter().map(|item| tidy(Some(item)).unwrap_or_else(|| item.clone())).collect()))
        }
        Value::Object(members) => {
            let kept: serde_json::Map<_, _> = members
                .iter()
                .filter_map(|(name, member)| match (name.as_str(), member) {
                    // Argo CD doesn't look into these.
                    ("valuesObject", member) => Some((name.clone(), member.clone())),
                    // Says something by being there.
                    ("automated", Value::Object(_)) => {
                        Some((name.clone(), tidy(Some(member)).unwrap_or_else(|| json!({}))))
                    }
                    _ => tidy(Some(member)).map(|member| (name.clone(), member)),
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_comparison_is_about_the_spec_or_not() {
        let app = |compared: Value| {
            Application::new(json!({
                "spec": {
                    "source": {"repoURL": "r", "path": "p", "helm": {"skipCrds": false}},
                    "destination": {"name": "prod", "namespace": "shop"},
                },
                "status": {"sync": {"status": "Synced", "comparedTo": compared}},
            }))
        };
        let cases = [
            (json!(null), true),
            (
                json!({"source": {"repoURL": "r", "path": "p"}, "destination": {"name": "prod", "namespace": "shop"}}),
                true,
            ),
            // As Argo CD 2 wrote it.
            (
                json!({"source": {"repoURL": "r", "path": "p"},
                    "destination": {"name": "prod", "server": "https://prod", "namespace": "shop"}}),
                true,
            ),
            (
                json!({"source": {"repoURL": "r", "path": "q"}, "destination": {"name": "prod", "namespace": "shop"}}),
                false,
            ),
            (
                json!({"source": {"repoURL": "r", "path": "p"}, "destination": {"name": "prod", "namespace": "other"}}),
                false,
            ),
            (json!({"source": {"repoURL": ""}, "destination": {}}), false),
        ];
        for (compared, expected) in cases {
            assert_eq!(app(compared.clone()).is_compared_with_spec(), expected, "{compared}");
        }
    }

    #[test]
    fn tidying_leaves_what_says_something() {
        let value = json!({
            "a": null, "b": "", "c": [], "d": false, "e": 0, "f": {"g": {}},
            "automated": {"prune": false}, "valuesObject": {"replicas": 0}, "list": [{"x": ""}, "y"],
        });
        assert_eq!(
            tidy(Some(&value)).unwrap(),
            json!({"automated": {}, "valuesObject": {"replicas": 0}, "list": [{"x": ""}, "y"]})
        );
        assert_eq!(tidy(Some(&json!({"a": {"b": null}}))), None);
    }

    #[test]
    fn an_application_is_found_by_name_namespace_and_project() {
        let app =
            Application::new(json!({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": {"project": "p"}}));
        let at = |namespace: Option<&str>, project: Option<&str>| AppRef {
            name: "shop".into(),
            namespace: namespace.map(Into::into),
            project: project.map(Into::into),
        };
        for (at, expected) in [
            (at(None, None), true),
            (at(Some("argocd"), Some("p")), true),
            (at(Some("other"), None), false),
            (at(None, Some("q")), false),
        ] {
            assert_eq!(at.is(&app), expected, "{at:?}");
        }
    }
}
