#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use serde_json::json;
use tracing::{Subscriber, field::Visit};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use super::{origin::shown_url, *};

/// Keeps the lines that were written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Value>>>);

impl Lines {
    /// What is written while `work` runs; lines below `level` are not.
    fn of(level: tracing::Level, work: impl FnOnce()) -> Vec<Value> {
        let lines = Self::default();
        let filter = tracing_subscriber::filter::LevelFilter::from_level(level);
        let subscriber = tracing_subscriber::registry().with(lines.clone().with_filter(filter));
        tracing::subscriber::with_default(subscriber, work);
        let found = lines.0.lock().unwrap();
        found.clone()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Field(Option<Value>);
        impl Visit for Field {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "event" {
                    self.0 = serde_json::from_str(&format!("{value:?}")).ok();
                }
            }
        }
        if event.metadata().target() == AUDIT_TARGET {
            let mut field = Field(None);
            event.record(&mut field);
            let mut line = field.0.unwrap();
            assert_eq!(line["level"], event.metadata().level().as_str().to_lowercase());
            line.as_object_mut().unwrap().shift_remove("level");
            self.0.lock().unwrap().push(line);
        }
    }
}

fn origin() -> Origin {
    Origin {
        ip: Some("192.0.2.1".into()),
        hostname: Some("localhost".into()),
        user_agent: Some("curl/8".into()),
        url: "/api/scaffolder/v2/tasks".into(),
        method: "POST".into(),
    }
}

/// The shape of lines recorded from `@backstage/plugin-scaffolder-backend` 4.2.0 with `NODE_ENV=production`.
#[test]
fn lines_have_backstages_fields() {
    let auditor = Auditor::default();
    let lines = Lines::of(tracing::Level::INFO, || {
        let details = || (origin(), [("templateRef", "template:default/a".into())]);
        let mut pending = auditor.requested(Act::Create, &Credentials::service("external:ci"), details);
        pending.note("taskId", || "7".into());
        pending.succeed();
        auditor
            .own(Act::Execution, || [("taskId", "7".into()), ("createdBy", Value::Null)])
            .fail("NotFoundError", "no such\naction");
    });
    let started = json!({
        "message": "scaffolder.task", "service": "backstage", "plugin": "scaffolder", "isAuditEvent": true,
        "eventId": "task", "severityLevel": "medium", "status": "initiated",
        "actor": {"actorId": "external:ci", "ip": "192.0.2.1", "hostname": "localhost", "userAgent": "curl/8"},
        "request": {"url": "/api/scaffolder/v2/tasks", "method": "POST"},
        "meta": {"actionType": "create", "templateRef": "template:default/a"},
    });
    let mut created = started.clone();
    created["status"] = "succeeded".into();
    created["meta"]["taskId"] = "7".into();
    let running = json!({
        "message": "scaffolder.task", "service": "backstage", "plugin": "scaffolder", "isAuditEvent": true,
        "eventId": "task", "severityLevel": "medium", "status": "initiated",
        "actor": {"actorId": "plugin:scaffolder"}, "meta": {"actionType": "execution", "taskId": "7"},
    });
    let mut failed = running.clone();
    failed["status"] = "failed".into();
    failed["message"] = "scaffolder.task no such\naction".into();
    failed["name"] = "NotFoundError".into();
    failed["stack"] = "NotFoundError: no such\naction".into();
    assert_eq!(lines, [started, created, running, failed]);
}

#[test]
fn what_is_dropped_has_failed() {
    let auditor = Auditor::default();
    let lines = Lines::of(tracing::Level::INFO, || drop(auditor.own(Act::StaleCancel, || [])));
    let statuses: Vec<_> = lines.iter().map(|line| [line["status"].clone(), line["name"].clone()]).collect();
    assert_eq!(statuses, [[json!("initiated"), Value::Null], [json!("failed"), json!("AbortError")]]);
}

#[test]
fn severities_have_the_configured_levels_and_cost_nothing_where_they_are_not_written() {
    let write = |config: AuditConfig| {
        let lines = Lines::of(tracing::Level::INFO, || {
            let auditor = Auditor::new(&config);
            auditor.own(Act::ListActions, || [("a", 1.into())]).succeed();
            auditor.own(Act::Cancel, || []).succeed();
        });
        lines.iter().map(|line| line["eventId"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(write(AuditConfig::default()), ["task", "task"]);
    let all = AuditConfig { low: AuditLevel::Error, medium: AuditLevel::Warn, ..AuditConfig::default() };
    assert_eq!(write(all), ["action-fetch", "action-fetch", "task", "task"]);
    let none = AuditConfig { medium: AuditLevel::Debug, ..AuditConfig::default() };
    assert!(write(none).is_empty());
    Lines::of(tracing::Level::INFO, || {
        let details = || -> Details<0> { panic!("the details are made though nobody reads them") };
        Auditor::default().own(Act::List, details).succeed();
    });
}

#[test]
fn parameters_are_cut_and_without_secrets() {
    let parameters = json!({
        "a": "x".repeat(10), "b": ["y".repeat(11), 7, null], "c": {"d": "€€€€€"}, "e": "😀😀", "f": "is hunter2",
    });
    let shown = |longest, parameters: &Value| {
        let config = AuditConfig { task_parameter_max_length: longest, ..AuditConfig::default() };
        Auditor::new(&config).shown(parameters.as_object().unwrap(), &Redactor::new(["hunter2"]))
    };
    assert_eq!(
        shown(Some(10), &parameters),
        json!({
            "a": "x".repeat(10), "b": ["yyyyyyyyyy...<truncated>", 7, null], "c": {"d": "€€€€€"}, "e": "😀😀", "f": "is ***",
        })
    );
    assert_eq!(shown(Some(3), &json!({"a": "😀😀", "b": "hunter2"})), json!({"a": "😀...<truncated>", "b": "***"}));
    assert_eq!(shown(Some(0), &json!({"a": "a", "b": ""})), json!({"a": "...<truncated>", "b": ""}));
    assert_eq!(shown(None, &json!({"a": "z".repeat(999)})), json!({"a": "z".repeat(999)}));
}

#[test]
fn unknown_parameters_of_urls_are_not_shown() {
    for (query, expected) in [
        (None, "/v2/x"),
        (Some("after=3"), "/v2/x?after=3"),
        (Some("status[]=open&limit=2"), "/v2/x?status[]=open&limit=2"),
        (Some("token=hunter2&after=3&empty="), "/v2/x?token=***&after=3&empty="),
        (Some("status%5B0%5D=open"), "/v2/x?status%5B0%5D=open"),
    ] {
        assert_eq!(shown_url("/v2/x", query), expected);
    }
}
