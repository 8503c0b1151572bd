//! What an application's status means to somebody who waits for it.

use super::application::Application;

/// What is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// In sync with its sources.
    pub(crate) sync: bool,
    /// Healthy.
    pub(crate) health: bool,
    /// No operation under way, and the last one no failure.
    pub(crate) operation: bool,
    /// Suspended will do for healthy.
    pub(crate) suspended: bool,
    /// Degraded ends the wait.
    pub(crate) fail_on_degraded: bool,
    /// One of the sources is at a revision that begins with this.
    pub(crate) revision: Option<String>,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as wanted.
    Reached,
    /// It may still get there; this is what it lacks.
    Waiting(String),
    /// It won't get there unless somebody changes something soon; Argo CD may not have noticed yet that somebody has.
    Blocked(Failure),
    /// It won't get there by itself.
    Failed(Failure),
}

/// Why an application won't get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One sentence.
    pub(crate) summary: String,
    /// Lines about the resources concerned.
    pub(crate) details: Vec<String>,
}

/// Judges an application.
///
/// Its status follows its spec at a distance, so nothing is made of what is about an earlier spec: a comparison with other
/// sources, the outcome of an operation that wasn't about these revisions, health from before the last operation's end. A
/// new operation under way may yet mend what is broken.
pub(crate) fn judge(app: &Application, goal: &Goal) -> Verdict {
    if app.is_deleting() {
        return failed("it is being deleted", Vec::new());
    }
    if app.is_operation_requested() {
        return waiting("Argo CD is to start an operation");
    }
    let operation = app.operation();
    if let Some(operation) = operation
        && !operation.is_finished()
    {
        return Verdict::Waiting(with_message("its operation is under way", operation.message()));
    }
    let (Some(sync), Some(health)) = (app.sync(), app.health()) else {
        return waiting("Argo CD has not looked at it yet");
    };
    let mistakes = app.conditions(&["InvalidSpecError"]);
    if !mistakes.is_empty() {
        let summary = "Argo CD finds its spec invalid".to_owned();
        return Verdict::Blocked(Failure { summary, details: mistakes });
    }
    if !app.is_compared_with_spec() {
        return waiting("Argo CD has not compared it with its present spec yet");
    }
    let last = operation.filter(|operation| !operation.is_dry_run());
    let concerned = last.filter(|operation| operation.is_about(app));
    if let Some(operation) = concerned
        && operation.has_failed()
        && (goal.sync || goal.operation)
    {
        let summary = with_message(&format!("its operation ended as {}", operation.phase()), operation.message());
        return Verdict::Failed(Failure { summary, details: operation.failures() });
    }
    if let Some(finished) = last.and_then(|operation| operation.finished_at())
        && app.reconciled_at().is_none_or(|reconciled| reconciled < finished)
    {
        return waiting("Argo CD has not looked at the result of its operation yet");
    }
    let is_drifting = app.is_automated() && sync == "OutOfSync";
    if goal.health && goal.fail_on_degraded && health == "Degraded" && !(is_drifting && concerned.is_none()) {
        let summary = with_message("it is Degraded", app.health_message().unwrap_or_default());
        let failure = Failure { summary, details: app.resources_in_health(&["Degraded", "Missing"]) };
        // Times are whole seconds: a look in the second of the operation's end may have been before it.
        let unsure =
            last.and_then(|operation| operation.finished_at()).is_some_and(|end| app.reconciled_at() == Some(end));
        return if unsure || is_drifting { Verdict::Blocked(failure) } else { Verdict::Failed(failure) };
    }
    if let Some(wanted) = &goal.revision
        && !app.revisions().iter().any(|revision| revision.starts_with(wanted.as_str()))
    {
        return Verdict::Waiting(format!("it is not at revision {wanted} yet"));
    }
    if goal.sync && sync != "Synced" {
        if sync == "OutOfSync" && !app.is_automated() {
            return waiting(
                "it is OutOfSync and has no automated sync policy: argocd:sync-app or a person must start a sync",
            );
        }
        let problems = app.conditions(&["ComparisonError", "SyncError", "UnknownError"]);
        return Verdict::Waiting(with_message(&format!("it is {sync}"), &problems.join("; ")));
    }
    if goal.health && health != "Healthy" && !(goal.suspended && health == "Suspended") {
        let unready = app.resources_in_health(&["Degraded", "Missing", "Progressing", "Suspended"]);
        return Verdict::Waiting(with_message(&format!("it is {health}"), &unready.join("; ")));
    }
    Verdict::Reached
}

/// The state in one line, the same text for the same state.
pub(crate) fn state_line(app: &Application) -> String {
    let mut line =
        format!("sync {}, health {}", app.sync().unwrap_or("not known yet"), app.health().unwrap_or("not known yet"));
    if app.is_operation_requested() {
        line.push_str(", operation requested");
    } else if let Some(operation) = app.operation()
        && !operation.phase().is_empty()
    {
        line.push_str(&with_message(&format!(", operation {}", operation.phase()), operation.message()));
    }
    for condition in app.conditions(&["InvalidSpecError", "ComparisonError", "SyncError", "UnknownError"]) {
        line.push_str("; ");
        line.push_str(&condition);
    }
    line
}

fn waiting(what: &str) -> Verdict {
    Verdict::Waiting(what.to_owned())
}

fn failed(summary: &str, details: Vec<String>) -> Verdict {
    Verdict::Failed(Failure { summary: summary.to_owned(), details })
}

fn with_message(text: &str, message: &str) -> String {
    if message.is_empty() { text.to_owned() } else { format!("{text}: {message}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn goal() -> Goal {
        Goal { sync: true, health: true, operation: true, suspended: false, fail_on_degraded: true, revision: None }
    }

    /// An automated application at revision `r2` with this status merged over a settled one.
    fn app(changes: Value) -> Application {
        let mut app = json!({
            "metadata": {"name": "shop", "namespace": "argocd"},
            "spec": {
                "project": "default",
                "source": {"repoURL": "repo", "path": "deploy"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
                "syncPolicy": {"automated": {}},
            },
            "status": {
                "reconciledAt": "2026-01-01T10:00:10Z",
                "sync": {
                    "status": "Synced", "revision": "r2",
                    "comparedTo": {
                        "source": {"repoURL": "repo", "path": "deploy"},
                        "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
                    },
                },
                "health": {"status": "Healthy"},
                "operationState": {
                    "phase": "Succeeded", "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:00:05Z",
                    "operation": {"sync": {"revision": "r2"}},
                    "syncResult": {"revision": "r2", "source": {"repoURL": "repo", "path": "deploy"}},
                },
            },
        });
        merge(&mut app, &changes);
        Application::new(app)
    }

    fn merge(into: &mut Value, changes: &Value) {
        match (into, changes) {
            (Value::Object(into), Value::Object(changes)) => {
                for (name, change) in changes {
                    if change.is_null() {
                        into.remove(name);
                    } else {
                        merge(into.entry(name).or_insert(Value::Null), change);
                    }
                }
            }
            (into, changes) => *into = changes.clone(),
        }
    }

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Reached => "reached",
            Verdict::Waiting(_) => "waiting",
            Verdict::Blocked(_) => "blocked",
            Verdict::Failed(_) => "failed",
        }
    }

    #[test]
    fn a_status_is_judged_by_what_it_is_about() {
        let failed_operation = json!({
            "phase": "Failed", "message": "one or more objects failed to apply",
            "syncResult": {"resources": [
                {"kind": "Deployment", "namespace": "shop", "name": "web", "status": "SyncFailed", "message": "field is immutable"},
                {"kind": "Service", "namespace": "shop", "name": "web", "status": "Synced", "message": "serverside-applied"},
            ]},
        });
        let cases = [
            ("settled", json!({}), "reached", ""),
            ("no status yet", json!({"status": null}), "waiting", "has not looked at it yet"),
            (
                "an empty status",
                json!({"status": {"sync": null, "health": null}}),
                "waiting",
                "has not looked at it yet",
            ),
            ("operation requested", json!({"operation": {"sync": {}}}), "waiting", "to start an operation"),
            (
                "operation running",
                json!({"status": {"operationState": {"phase": "Running", "finishedAt": null, "message": "waiting for healthy state"},
                    "health": {"status": "Degraded"}}}),
                "waiting",
                "under way: waiting for healthy state",
            ),
            (
                "the spec has changed since",
                json!({"spec": {"source": {"path": "other"}}, "status": {"health": {"status": "Degraded"}}}),
                "waiting",
                "present spec",
            ),
            (
                "the destination has changed since",
                json!({"spec": {"destination": {"namespace": "other"}}}),
                "waiting",
                "present spec",
            ),
            (
                "the operation has just ended",
                json!({"status": {"reconciledAt": "2026-01-01T10:00:04Z", "health": {"status": "Degraded"}}}),
                "waiting",
                "result of its operation",
            ),
            (
                "operation failed",
                json!({"status": {"operationState": failed_operation}}),
                "failed",
                "ended as Failed: one or more",
            ),
            (
                "operation failed and out of sync",
                json!({"status": {"operationState": failed_operation, "sync": {"status": "OutOfSync"}}}),
                "failed",
                "ended as Failed",
            ),
            (
                "an operation on an earlier commit failed, a new one is to come",
                json!({"status": {"operationState": failed_operation, "sync": {"status": "OutOfSync", "revision": "r3"}}}),
                "waiting",
                "it is OutOfSync",
            ),
            (
                "an operation with another source failed",
                json!({"status": {"sync": {"status": "OutOfSync"},
                    "operationState": {"phase": "Failed", "syncResult": {"source": {"path": "earlier"}}}}}),
                "waiting",
                "it is OutOfSync",
            ),
            (
                "a dry run failed",
                json!({"status": {"operationState": {"phase": "Failed", "operation": {"sync": {"dryRun": true}}}}}),
                "reached",
                "",
            ),
            ("degraded", json!({"status": {"health": {"status": "Degraded"}}}), "failed", "it is Degraded"),
            (
                "degraded, but a sync is to come",
                json!({"status": {"health": {"status": "Degraded"}, "sync": {"status": "OutOfSync", "revision": "r3"}}}),
                "waiting",
                "it is OutOfSync",
            ),
            (
                "degraded and out of sync, but nobody will sync it",
                json!({"spec": {"syncPolicy": null},
                    "status": {"health": {"status": "Degraded"}, "sync": {"status": "OutOfSync", "revision": "r3"}}}),
                "failed",
                "it is Degraded",
            ),
            (
                "degraded in the second in which the operation ended",
                json!({"status": {"reconciledAt": "2026-01-01T10:00:05Z", "health": {"status": "Degraded"}}}),
                "blocked",
                "it is Degraded",
            ),
            (
                "degraded, and out of sync after the operation that was to mend that",
                json!({"status": {"health": {"status": "Degraded"}, "sync": {"status": "OutOfSync"}}}),
                "blocked",
                "it is Degraded",
            ),
            ("progressing", json!({"status": {"health": {"status": "Progressing"}}}), "waiting", "it is Progressing"),
            ("suspended", json!({"status": {"health": {"status": "Suspended"}}}), "waiting", "it is Suspended"),
            (
                "not automated",
                json!({"spec": {"syncPolicy": null}, "status": {"sync": {"status": "OutOfSync"}, "operationState": null,
                    "health": {"status": "Missing"}}}),
                "waiting",
                "argocd:sync-app",
            ),
            (
                "automation switched off",
                json!({"spec": {"syncPolicy": {"automated": {"enabled": false}}}, "status": {"sync": {"status": "OutOfSync"}}}),
                "waiting",
                "argocd:sync-app",
            ),
            (
                "sources can't be read",
                json!({"status": {"sync": {"status": "Unknown"},
                    "conditions": [{"type": "ComparisonError", "message": "repository not found"}]}}),
                "waiting",
                "it is Unknown: ComparisonError: repository not found",
            ),
            (
                "invalid",
                json!({"status": {"sync": {"status": "Unknown"},
                    "conditions": [{"type": "InvalidSpecError", "message": "project nope does not exist"}]}}),
                "blocked",
                "invalid",
            ),
            ("deleted", json!({"metadata": {"deletionTimestamp": "2026-01-01T10:00:00Z"}}), "failed", "being deleted"),
        ];
        for (what, changes, expected, text) in cases {
            let verdict = judge(&app(changes), &goal());
            assert_eq!(word(&verdict), expected, "{what}: {verdict:?}");
            let said = match &verdict {
                Verdict::Reached => "",
                Verdict::Waiting(text) => text,
                Verdict::Blocked(failure) | Verdict::Failed(failure) => &failure.summary,
            };
            assert!(said.contains(text), "{what}: {said}");
        }
    }

    #[test]
    fn goals_choose_what_counts() {
        let out_of_sync = json!({"status": {"sync": {"status": "OutOfSync"}}});
        let progressing = json!({"status": {"health": {"status": "Progressing"}}});
        let degraded = json!({"status": {"health": {"status": "Degraded"}}});
        let suspended = json!({"status": {"health": {"status": "Suspended"}}});
        let failed = json!({"status": {"operationState": {"phase": "Error"}}});
        let cases: [(&Value, Goal, &str); 10] = [
            (&out_of_sync, Goal { sync: false, ..goal() }, "reached"),
            (&progressing, Goal { health: false, ..goal() }, "reached"),
            (&degraded, Goal { health: false, ..goal() }, "reached"),
            (&degraded, Goal { fail_on_degraded: false, ..goal() }, "waiting"),
            (&suspended, Goal { suspended: true, ..goal() }, "reached"),
            (&failed, goal(), "failed"),
            (&failed, Goal { sync: false, ..goal() }, "failed"),
            (&failed, Goal { sync: false, operation: false, ..goal() }, "reached"),
            (&json!({}), Goal { revision: Some("r".into()), ..goal() }, "reached"),
            (&json!({}), Goal { revision: Some("r3".into()), ..goal() }, "waiting"),
        ];
        for (changes, goal, expected) in cases {
            assert_eq!(word(&judge(&app(changes.clone()), &goal)), expected, "{changes} {goal:?}");
        }
    }

    #[test]
    fn failures_name_the_resources() {
        let degraded = app(json!({"status": {
            "health": {"status": "Degraded"},
            "resources": [
                {"kind": "Deployment", "namespace": "shop", "name": "web", "health": {"status": "Degraded", "message": "exceeded its progress deadline"}},
                {"kind": "Service", "namespace": "shop", "name": "web", "health": {"status": "Healthy"}},
                {"kind": "Namespace", "name": "shop", "health": {"status": "Missing"}},
            ],
        }}));
        let Verdict::Failed(failure) = judge(&degraded, &goal()) else { unreachable!("it is degraded") };
        assert_eq!(
            failure.details,
            ["Deployment shop/web is Degraded: exceeded its progress deadline", "Namespace shop is Missing"]
        );
        let failed = app(json!({"status": {"operationState": {"phase": "Failed", "syncResult": {"resources": [
            {"kind": "Job", "namespace": "shop", "name": "migrate", "hookPhase": "Failed", "hookType": "PreSync", "status": "", "message": "Job has reached the specified backoff limit"},
            {"kind": "Deployment", "namespace": "shop", "name": "web", "status": "SyncFailed", "message": "immutable"},
        ]}}}}));
        let Verdict::Failed(failure) = judge(&failed, &goal()) else { unreachable!("its operation failed") };
        assert_eq!(
            failure.details,
            [
                "Job shop/migrate (hook PreSync): Job has reached the specified backoff limit",
                "Deployment shop/web: immutable"
            ]
        );
    }

    #[test]
    fn the_line_says_what_is_known() {
        assert_eq!(state_line(&app(json!({"status": null}))), "sync not known yet, health not known yet");
        let running = app(json!({"status": {"sync": {"status": "OutOfSync"}, "health": {"status": "Missing"},
            "operationState": {"phase": "Running", "message": "waiting for completion of hook"}}}));
        assert_eq!(
            state_line(&running),
            "sync OutOfSync, health Missing, operation Running: waiting for completion of hook"
        );
        let requested =
            app(json!({"operation": {}, "status": {"conditions": [{"type": "ComparisonError", "message": "m"}]}}));
        assert_eq!(state_line(&requested), "sync Synced, health Healthy, operation requested; ComparisonError: m");
    }
}
