//! What a claim, a composite resource or a composed resource says about itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why nothing happens: the annotation `crossplane.io/paused`.
const PAUSED: &str = "ReconcilePaused";

/// An entry of `status.conditions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    /// E.g. `Ready`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    /// E.g. `Creating`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    /// When the status changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_transition_time: Option<String>,
    #[serde(default, skip_serializing)]
    observed_generation: Option<i64>,
}

impl Condition {
    /// `Creating: the bucket is being made`.
    pub(crate) fn why(&self) -> String {
        match (self.reason.as_str(), self.message.as_str()) {
            ("", "") => format!("{} is {}", self.kind, self.status),
            (reason, "") => reason.to_string(),
            ("", message) => message.to_string(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

/// How far a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has said anything about it, or only about an earlier form of it.
    Unseen,
    /// Synced, and being made; the reason and message of `Ready`.
    Waiting(String),
    /// It can't be brought to what is asked for; tried again by itself. The reason and message of `Synced`.
    NotSynced(String),
    /// Reconciliation is switched off.
    Paused,
    /// It is being deleted.
    Deleting,
    /// Synced and ready; of a kind without `Synced`, ready.
    Ready,
}

impl State {
    /// For the log, after the resource's name.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Unseen => "not seen by its controller yet".to_string(),
            Self::Waiting(why) => format!("not ready, {why}"),
            Self::NotSynced(why) => format!("not synced, {why}"),
            Self::Paused => "paused by the annotation crossplane.io/paused".to_string(),
            Self::Deleting => "being deleted".to_string(),
            Self::Ready => "ready".to_string(),
        }
    }
}

/// The object's conditions, in its order; entries that are none are left out.
pub(crate) fn conditions(object: &Value) -> Vec<Condition> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().filter_map(|condition| Condition::deserialize(condition).ok()).collect()
}

/// The state of a claim, a composite or a managed resource; `None` for composed objects that have no such conditions
/// (a ConfigMap).
///
/// A condition about an earlier generation of the object does not count: it tells nothing about what was asked for last.
pub(crate) fn state(object: &Value) -> Option<State> {
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
        return Some(State::Deleting);
    }
    let all = conditions(object);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    // Older controllers don't say what they saw, some say 0.
    let is_current = |condition: &&Condition| {
        condition.observed_generation.is_none_or(|observed| observed == 0 || observed >= generation)
    };
    let find = |kind: &str| all.iter().filter(is_current).find(|condition| condition.kind == kind);
    let (synced, ready) = (find("Synced"), find("Ready"));
    if synced.is_some_and(|synced| synced.status == "False" && synced.reason == PAUSED) {
        return Some(State::Paused);
    }
    if let Some(synced) = synced.filter(|synced| synced.status == "False") {
        return Some(State::NotSynced(synced.why()));
    }
    let is_true = |condition: Option<&Condition>| condition.is_some_and(|condition| condition.status == "True");
    match ready {
        Some(ready) if ready.status == "True" && is_true(synced) => Some(State::Ready),
        // Kinds of other makers know no Synced.
        Some(ready) if ready.status == "True" && !all.iter().any(|condition| condition.kind == "Synced") => {
            Some(State::Ready)
        }
        Some(ready) if ready.status != "True" => Some(State::Waiting(ready.why())),
        _ if all.iter().any(|condition| matches!(condition.kind.as_str(), "Synced" | "Ready")) => Some(State::Unseen),
        _ => None,
    }
}

/// An object that another is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// As the reference has it.
    pub(crate) namespace: Option<String>,
}

impl Reference {
    /// `Bucket.s3.aws.upbound.io photos-x7k2`, for logs.
    pub(crate) fn describe(&self) -> String {
        match self.api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group} {}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

/// What the object is made of: a claim's composite resource, a composite resource's composed ones. References to what has no
/// name yet are left out.
pub(crate) fn references(object: &Value) -> Vec<Reference> {
    let one = object.pointer("/spec/resourceRef").into_iter();
    let many = ["/spec/resourceRefs", "/spec/crossplane/resourceRefs"]
        .into_iter()
        .filter_map(|place| object.pointer(place).and_then(Value::as_array))
        .flatten();
    let text = |reference: &Value, name: &str| {
        reference.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(ToString::to_string)
    };
    one.chain(many)
        .filter_map(|reference| {
            Some(Reference {
                api_version: text(reference, "apiVersion")?,
                kind: text(reference, "kind")?,
                name: text(reference, "name")?,
                namespace: text(reference, "namespace"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
