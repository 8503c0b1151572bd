//! Deploy keys and autolinks.

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::state::{Access, timestamp};

/// What GitHub takes for public keys.
const KEY_TYPES: [&str; 7] = [
    "ssh-rsa",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

pub(super) async fn list(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let (skip, count) = page(&call);
    Ok(Answer::Json(200, repo.attachments.keys.iter().skip(skip).take(count).cloned().collect()))
}

pub(super) async fn create(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let refused = |message: &str| Err(Refusal::invalid("Validation Failed", "PublicKey", "key", "custom", message));
    let mut parts = call.body["key"].as_str().unwrap_or_default().split_whitespace();
    let key = match (parts.next(), parts.next()) {
        // The comment is not kept.
        (Some(kind), Some(key)) if KEY_TYPES.contains(&kind) => format!("{kind} {key}"),
        _ => return refused("key is invalid. You must supply a key in OpenSSH public key format"),
    };
    // A key opens one repository of all.
    let taken = call.state().repos().any(|repo| repo.attachments.keys.iter().any(|known| known["key"] == key));
    if taken {
        return refused("key is already in use");
    }
    let id = call.state().next_id();
    let title = call.body["title"].as_str().map_or_else(|| key.clone(), str::to_owned);
    let made = json!({
        "id": id,
        "key": key,
        "url": format!("{}/keys/{id}", call.urls().repo(&repo)),
        "title": title,
        "verified": true,
        "created_at": timestamp(chrono::Utc::now()),
        "read_only": call.body["read_only"] == true,
        "added_by": call.login,
        "last_used": null,
        "enabled": true,
    });
    call.change(Access::Admin, |repo| repo.attachments.keys.push(made.clone()))?;
    Ok(Answer::Json(201, made))
}

pub(super) async fn autolinks(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    Ok(Answer::Json(200, Value::Array(repo.attachments.autolinks)))
}

pub(super) async fn create_autolink(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let text = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
    let (prefix, template) = (text("key_prefix"), text("url_template"));
    let refused =
        |field, code, message: &str| Err(Refusal::invalid("Validation Failed", "KeyLink", field, code, message));
    if prefix.is_empty() {
        return refused("key_prefix", "missing_field", "key_prefix is required");
    }
    if !template.contains("<num>") {
        return refused("url_template", "invalid", "url_template must contain <num>");
    }
    let known = |link: &Value| link["key_prefix"].as_str().is_some_and(|known| known.starts_with(&prefix));
    if repo.attachments.autolinks.iter().any(known) {
        return refused("key_prefix", "already_exists", "key_prefix is in use");
    }
    let made = json!({
        "id": call.state().next_id(),
        "key_prefix": prefix,
        "url_template": template,
        "is_alphanumeric": call.body.get("is_alphanumeric").is_none_or(|it| *it == true),
        "updated_at": timestamp(chrono::Utc::now()),
    });
    call.change(Access::Admin, |repo| repo.attachments.autolinks.push(made.clone()))?;
    Ok(Answer::Json(201, made))
}
