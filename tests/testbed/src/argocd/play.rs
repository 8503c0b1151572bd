//! What Argo CD's application controller does with an Application, one step at a time.
//!
//! A step looks at the object alone, as the controller does, so any number of changes in between does no harm. The same
//! steps are played on the double's applications and on resources of a real API server.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

const REFRESH: &str = "argocd.argoproj.io/refresh";
const DEPLOYMENT_WAIT: &str = "waiting for healthy state of apps/Deployment/";

/// What becomes of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Its syncs succeed and its Deployment becomes healthy.
    #[default]
    Healthy,
    /// Its syncs succeed; its Deployment is Degraded with this message.
    Degraded(String),
    /// Its Deployment stays Progressing.
    Progressing,
    /// Its Deployment is Suspended.
    Suspended,
    /// Its syncs fail: its Deployment can't be applied, for this reason.
    SyncFails(String),
    /// Its syncs stay Running.
    SyncHangs,
    /// Argo CD finds its spec invalid, for this reason.
    Invalid(String),
    /// Its sources can't be read, for this reason.
    Unreadable(String),
    /// The controller doesn't look at it.
    Unnoticed,
    /// Its resources can't be deleted, for this reason.
    Undeletable(String),
}

/// Does the next thing there is to do; gives the object as it is then, or `None` when there is nothing to do.
pub(super) fn step(app: &Value, behaviour: &Behaviour, commit: &str) -> Option<Value> {
    if *behaviour == Behaviour::Unnoticed {
        return None;
    }
    let mut next = app.clone();
    if !text(app, "/metadata/deletionTimestamp").is_empty() {
        return deletion(&mut next, behaviour).then_some(next);
    }
    let refresh = app.pointer("/metadata/annotations").is_some_and(|annotations| annotations.get(REFRESH).is_some());
    if refresh && let Some(annotations) = next.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(REFRESH);
    }
    match behaviour {
        Behaviour::Invalid(reason) => return unknown(&mut next, "InvalidSpecError", reason).then_some(next),
        Behaviour::Unreadable(reason) => return unknown(&mut next, "ComparisonError", reason).then_some(next),
        _ => {}
    }
    let changed = operation(&mut next, behaviour, commit) || comparison(&mut next, behaviour, commit, refresh);
    (changed || refresh).then_some(next)
}

/// The revision an application is at: a chart's version, or the commit the repository is at.
fn revision(app: &Value, commit: &str) -> String {
    let source = app.pointer("/spec/source");
    match source.filter(|source| source.get("chart").is_some()) {
        Some(source) => source["targetRevision"].as_str().unwrap_or_default().to_owned(),
        None => commit.to_owned(),
    }
}

/// `revision` and `source`, or their plurals.
fn set_sources(app: &Value, commit: &str, into: &mut Value) {
    match app.pointer("/spec/sources").and_then(Value::as_array).filter(|sources| !sources.is_empty()) {
        Some(sources) => {
            into["revisions"] = sources
                .iter()
                .map(|source| source.get("chart").and(source.get("targetRevision")).cloned().unwrap_or(commit.into()))
                .collect();
            into["sources"] = json!(sources);
        }
        None => {
            into["revision"] = revision(app, commit).into();
            into["source"] = app["spec"]["source"].clone();
        }
    }
}

fn unknown(app: &mut Value, kind: &str, reason: &str) -> bool {
    if text(app, "/status/conditions/0/message") == reason {
        return false;
    }
    app["status"]["conditions"] = json!([{ "type": kind, "message": reason, "lastTransitionTime": now() }]);
    app["status"]["sync"] = json!({ "status": "Unknown", "comparedTo": compared_to(app) });
    app["status"]["health"] = json!({ "status": "Unknown", "lastTransitionTime": now() });
    app["status"]["reconciledAt"] = now().into();
    true
}

fn compared_to(app: &Value) -> Value {
    let mut compared = json!({ "destination": app["spec"]["destination"] });
    for member in ["source", "sources", "ignoreDifferences"] {
        if let Some(value) = app["spec"].get(member) {
            compared[member] = value.clone();
        }
    }
    compared
}

fn operation(app: &mut Value, behaviour: &Behaviour, commit: &str) -> bool {
    if let Some(requested) = app.get("operation").filter(|operation| !operation.is_null()).cloned() {
        if let Some(object) = app.as_object_mut() {
            object.shift_remove("operation");
        }
        app["status"]["operationState"] =
            json!({ "operation": requested, "phase": "Running", "startedAt": now(), "retryCount": 0 });
        return true;
    }
    if text(app, "/status/operationState/phase") != "Running" {
        return false;
    }
    let name = name(app);
    if text(app, "/status/operationState/message").is_empty() {
        app["status"]["operationState"]["message"] = format!("{DEPLOYMENT_WAIT}{name}").into();
        return true;
    }
    let (phase, message, status, resource_message) = match behaviour {
        Behaviour::SyncHangs => return false,
        Behaviour::SyncFails(reason) => (
            "Failed",
            "one or more objects failed to apply, reason: ".to_owned() + reason,
            "SyncFailed",
            reason.clone(),
        ),
        _ => (
            "Succeeded",
            "successfully synced (all tasks run)".to_owned(),
            "Synced",
            format!("deployment.apps/{name} created"),
        ),
    };
    let mut result = json!({ "resources": [
        { "group": "apps", "version": "v1", "kind": "Deployment", "namespace": namespace(app), "name": name,
          "status": status, "message": resource_message, "hookPhase": "Running", "syncPhase": "Sync" },
    ] });
    set_sources(app, commit, &mut result);
    if result.get("revision").is_none() {
        // Argo CD writes an empty text besides `revisions`; the test cluster's API server takes that for null.
        result["revision"] = result["revisions"][0].clone();
    }
    let dry_run = app.pointer("/status/operationState/operation/sync/dryRun") == Some(&Value::Bool(true));
    let state = &mut app["status"]["operationState"];
    state["phase"] = phase.into();
    state["message"] = message.into();
    state["finishedAt"] = now().into();
    state["syncResult"] = result.clone();
    if phase == "Succeeded" && !dry_run {
        result.as_object_mut().map(|result| result.shift_remove("resources"));
        result["id"] = 0.into();
        result["deployedAt"] = now().into();
        app["status"]["history"] = json!([result]);
    }
    true
}

fn comparison(app: &mut Value, behaviour: &Behaviour, commit: &str, refresh: bool) -> bool {
    let mut wanted = json!({});
    set_sources(app, commit, &mut wanted);
    let fresh = |value: Option<&Value>| {
        value.is_some_and(|value| {
            ["revision", "revisions", "source", "sources"].iter().all(|member| {
                // Results have a revision besides revisions.
                wanted.get(member).is_none_or(|wanted| value.get(member) == Some(wanted))
            })
        })
    };
    let finished = text(app, "/status/operationState/phase") != "Running";
    let succeeded = text(app, "/status/operationState/phase") == "Succeeded"
        && fresh(app.pointer("/status/operationState/syncResult"));
    let mut sync = json!({ "status": if succeeded { "Synced" } else { "OutOfSync" }, "comparedTo": compared_to(app) });
    for member in ["revision", "revisions"] {
        if let Some(value) = wanted.get(member) {
            sync[member] = value.clone();
        }
    }
    let before = app.pointer("/status/health/status").and_then(Value::as_str).unwrap_or("Missing").to_owned();
    let (health, message) = match (succeeded, before.as_str(), behaviour) {
        // A new state of the Deployment is rolled out.
        (true, _, _) if app.pointer("/status/sync/status") != Some(&json!("Synced")) => ("Progressing", ""),
        (true, _, Behaviour::Degraded(message)) => ("Degraded", message.as_str()),
        (true, _, Behaviour::Progressing) => ("Progressing", ""),
        (true, _, Behaviour::Suspended) => ("Suspended", "Deployment is paused"),
        (true, _, _) => ("Healthy", ""),
        (false, before, _) => (if before == "Unknown" { "Missing" } else { before }, ""),
    };
    let resource = json!([{
        "group": "apps", "version": "v1", "kind": "Deployment", "namespace": namespace(app), "name": name(app),
        "status": sync["status"], "health": if message.is_empty() { json!({ "status": health }) } else { json!({ "status": health, "message": message }) },
    }]);
    let now_healthy = json!(health);
    if app.pointer("/status/sync") == Some(&sync)
        && app.pointer("/status/health/status") == Some(&now_healthy)
        && !refresh
    {
        // Somebody must start the sync of an application that isn't automated.
        let failed = matches!(text(app, "/status/operationState/phase"), "Failed" | "Error")
            && fresh(app.pointer("/status/operationState/syncResult"));
        let automated = app.pointer("/spec/syncPolicy/automated").filter(|automated| automated.is_object());
        let automated = automated.is_some_and(|automated| automated["enabled"] != Value::Bool(false));
        if automated && finished && !succeeded && !failed {
            let mut request = json!({ "prune": app.pointer("/spec/syncPolicy/automated/prune").and_then(Value::as_bool).unwrap_or_default() });
            if let Some(revision) = wanted.get("revision") {
                request["revision"] = revision.clone();
            }
            app["operation"] = json!({ "initiatedBy": { "automated": true }, "sync": request });
            return true;
        }
        return false;
    }
    let status = &mut app["status"];
    if let Some(status) = status.as_object_mut() {
        status.shift_remove("conditions");
    }
    status["sync"] = sync;
    if status.pointer("/health/status") != Some(&now_healthy) {
        status["health"] = json!({ "status": health, "lastTransitionTime": now() });
    }
    status["resources"] = resource;
    status["reconciledAt"] = now().into();
    status["sourceType"] = "Helm".into();
    status["controllerNamespace"] = "argocd".into();
    true
}

fn deletion(app: &mut Value, behaviour: &Behaviour) -> bool {
    if let Behaviour::Undeletable(reason) = behaviour {
        if text(app, "/status/conditions/0/message") == reason {
            return false;
        }
        app["status"]["conditions"] =
            json!([{ "type": "DeletionError", "message": reason, "lastTransitionTime": now() }]);
        return true;
    }
    let Some(finalizers) = app.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) else { return false };
    let before = finalizers.len();
    finalizers
        .retain(|name| !name.as_str().is_some_and(|name| name.starts_with("resources-finalizer.argocd.argoproj.io")));
    finalizers.len() != before
}

fn name(app: &Value) -> String {
    text(app, "/metadata/name").to_owned()
}

fn namespace(app: &Value) -> String {
    text(app, "/spec/destination/namespace").to_owned()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn states(behaviour: &Behaviour, mut app: Value) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..30 {
            let Some(next) = step(&app, behaviour, "abc") else { return seen };
            app = next;
            seen.push(format!(
                "{} {} {}",
                text(&app, "/status/sync/status"),
                text(&app, "/status/health/status"),
                text(&app, "/status/operationState/phase")
            ));
            seen.dedup();
        }
        panic!("it never comes to rest: {seen:?}");
    }

    fn app(policy: Value) -> Value {
        json!({"metadata": {"name": "shop"}, "spec": {"project": "default", "syncPolicy": policy,
            "source": {"repoURL": "r", "path": "p"}, "destination": {"server": "s", "namespace": "n"}}})
    }

    #[test]
    fn applications_go_the_way_of_their_behaviour() {
        let automated = || app(json!({"automated": {}}));
        assert_eq!(
            states(&Behaviour::Healthy, automated()),
            [
                "OutOfSync Missing ",
                "OutOfSync Missing Running",
                "OutOfSync Missing Succeeded",
                "Synced Progressing Succeeded",
                "Synced Healthy Succeeded"
            ]
        );
        assert_eq!(states(&Behaviour::Healthy, app(json!(null))), ["OutOfSync Missing "]);
        assert_eq!(states(&Behaviour::Degraded("m".into()), automated()).last().unwrap(), "Synced Degraded Succeeded");
        assert_eq!(states(&Behaviour::SyncFails("m".into()), automated()).last().unwrap(), "OutOfSync Missing Failed");
        assert_eq!(states(&Behaviour::SyncHangs, automated()).last().unwrap(), "OutOfSync Missing Running");
        assert_eq!(states(&Behaviour::Invalid("m".into()), automated()), ["Unknown Unknown "]);
        assert!(states(&Behaviour::Unnoticed, automated()).is_empty());
    }
}
