//! Issues and their labels.

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::state::{Access, Repo, timestamp};

/// Labels come as strings or as objects with a name.
fn label_names(value: &Value) -> Vec<String> {
    let name = |label: &Value| label.as_str().or_else(|| label["name"].as_str()).map(str::to_owned);
    value.as_array().into_iter().flatten().filter_map(name).collect()
}

/// The label objects of `names`; labels that the repository lacks are made.
fn labels(call: &Call, repo: &Repo, names: &[String]) -> Vec<Value> {
    let mut state = call.state();
    let mut shown = Vec::new();
    for name in names {
        let fresh = state.next_id();
        let known =
            state.repo_mut(&repo.owner, &repo.name).map(|repo| *repo.labels.entry(name.clone()).or_insert(fresh));
        shown.push(call.urls().label(repo, known.unwrap_or(fresh), name));
    }
    shown
}

pub(super) async fn list(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let wanted = call.query("state").unwrap_or("open");
    let since = call.query("since").unwrap_or_default();
    let fits = |issue: &&Value| {
        (wanted == "all" || issue["state"] == wanted)
            && issue["updated_at"].as_str().is_some_and(|updated| updated >= since)
    };
    let (skip, count) = page(&call);
    Ok(Answer::Json(200, repo.issues.iter().rev().filter(fits).skip(skip).take(count).cloned().collect()))
}

pub(super) async fn create(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    call.require_scope(repo.private())?;
    if repo.setting("has_issues") == false {
        return Err(Refusal::new(410, "Issues has been disabled in this repository."));
    }
    let body = &call.body;
    let title = match &body["title"] {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(Refusal::invalid("Validation Failed", "Issue", "title", "missing_field", "title is required")),
    };
    let labels = labels(&call, &repo, &label_names(&body["labels"]));
    let mut state = call.state();
    let single = body["assignee"].as_str().into_iter();
    let named = body["assignees"].as_array().into_iter().flatten().filter_map(Value::as_str).chain(single);
    let assignees: Vec<_> =
        named.filter_map(|login| state.account(login)).map(|account| call.urls().simple_user(account)).collect();
    let number = state.repo(&repo.owner, &repo.name).map_or(0, |repo| repo.issues.len()) + 1;
    let id = state.next_id();
    let url = format!("{}/issues/{number}", call.urls().repo(&repo));
    let now = timestamp(chrono::Utc::now());
    let issue = json!({
        "id": id,
        "node_id": format!("I_{id}"),
        "url": url,
        "repository_url": call.urls().repo(&repo),
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"),
        "html_url": format!("{}/issues/{number}", call.urls().page(&repo)),
        "number": number,
        "state": "open",
        "state_reason": null,
        "title": title,
        "body": body["body"],
        "user": call.urls().user_or_null(&state, &call.login),
        "labels": labels,
        "assignee": assignees.first(),
        "assignees": assignees,
        "milestone": null,
        "locked": false,
        "active_lock_reason": null,
        "comments": 0,
        "closed_at": null,
        "created_at": now,
        "updated_at": now,
        "author_association": "OWNER",
    });
    if let Some(repo) = state.repo_mut(&repo.owner, &repo.name) {
        repo.issues.push(issue.clone());
    }
    Ok(Answer::Json(201, issue))
}

pub(super) async fn add_labels(call: Call) -> Outcome {
    let repo = call.repo(Access::Triage)?;
    let number: u64 = call.param("issue_number").parse().map_err(|_| Refusal::not_found())?;
    // The body is either the list itself or an object that holds it.
    let sent = if call.body.is_array() { &call.body } else { &call.body["labels"] };
    let added = labels(&call, &repo, &label_names(sent));
    let changed = call.change(Access::Triage, |repo| {
        let issue = repo.issues.iter_mut().find(|issue| issue["number"] == number)?;
        let labels = issue["labels"].as_array_mut()?;
        for label in added {
            if !labels.iter().any(|known| known["name"] == label["name"]) {
                labels.push(label);
            }
        }
        Some(Value::Array(labels.clone()))
    })?;
    changed.map(|labels| Answer::Json(200, labels)).ok_or_else(Refusal::not_found)
}
