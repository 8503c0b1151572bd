//! Webhooks.

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::state::{Access, timestamp};

/// The default events.
fn events(body: &Value) -> Value {
    body.get("events").cloned().unwrap_or_else(|| json!(["push"]))
}

/// Without the secret's text, as GitHub shows a webhook.
fn shown(hook: &Value) -> Value {
    let mut hook = hook.clone();
    if hook["config"].get("secret").is_some() {
        hook["config"]["secret"] = json!("********");
    }
    hook
}

/// Webhooks may share a configuration as long as their events don't overlap.
fn clash(one: &Value, config: &Value, events: &Value) -> bool {
    let same = |name: &str, default: Value| {
        let value = |config: &Value| match &config[name] {
            Value::Null => default.clone(),
            Value::Number(number) => json!(number.to_string()),
            other => other.clone(),
        };
        value(&one["config"]) == value(config)
    };
    let listed = |events: &Value| events.as_array().cloned().unwrap_or_default();
    let theirs = listed(&one["events"]);
    same("url", Value::Null)
        && same("content_type", json!("form"))
        && same("insecure_ssl", json!("0"))
        && listed(events).iter().any(|event| theirs.contains(event) || event == "*" || theirs.contains(&json!("*")))
}

pub(super) async fn list(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let (skip, count) = page(&call);
    Ok(Answer::Json(200, repo.hooks.iter().skip(skip).take(count).map(shown).collect()))
}

pub(super) async fn create(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let (config, events) = (&call.body["config"], events(&call.body));
    let refused = |message: &str| Err(Refusal::invalid("Validation Failed", "Hook", "config", "custom", message));
    if config["url"].as_str().is_none_or(str::is_empty) {
        return refused("Config must contain URL for webhooks");
    }
    if repo.hooks.iter().any(|hook| clash(hook, config, &events)) {
        return refused("Hook already exists on this repository");
    }
    let id = call.state().next_id();
    let url = format!("{}/hooks/{id}", call.urls().repo(&repo));
    let now = timestamp(chrono::Utc::now());
    let hook = json!({
        "type": "Repository",
        "id": id,
        "name": "web",
        "active": call.body.get("active").is_none_or(|active| *active == true),
        "events": events,
        "config": config,
        "updated_at": now,
        "created_at": now,
        "url": url,
        "test_url": format!("{url}/test"),
        "ping_url": format!("{url}/pings"),
        "deliveries_url": format!("{url}/deliveries"),
        "last_response": {"code": null, "status": "unused", "message": null},
    });
    call.change(Access::Admin, |repo| repo.hooks.push(hook.clone()))?;
    Ok(Answer::Json(201, shown(&hook)))
}
