//! Variables, secrets and settings of GitHub Actions.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{Answer, Call, Outcome, Refusal};
use crate::github::state::{Access, Repo, timestamp};

/// Whether a variable or secret may be called this.
pub(super) fn fine_name(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    begins
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.to_ascii_uppercase().starts_with("GITHUB_")
}

pub(super) async fn create_variable(call: Call) -> Outcome {
    let text = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
    let (name, value) = (text("name").to_ascii_uppercase(), text("value"));
    if !fine_name(&name) {
        let message = "Variable names can only contain alphanumeric characters and underscores, must not begin with a number, and must not begin with GITHUB_.";
        return Err(Refusal::invalid("Validation Failed", "Variable", "name", "invalid", message));
    }
    let added = call.change(Access::Write, |repo| {
        let free = !repo.variables.contains_key(&name);
        if free {
            repo.variables.insert(name, value);
        }
        free
    })?;
    if added {
        Ok(Answer::Json(201, json!({})))
    } else {
        Err(Refusal::new(409, "Already exists - Variable already exists"))
    }
}

pub(super) async fn variable(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let name = call.param("name").to_ascii_uppercase();
    let value = repo.variables.get(&name).ok_or_else(Refusal::not_found)?;
    let changed = timestamp(repo.created);
    Ok(Answer::Json(200, json!({"name": name, "value": value, "created_at": changed, "updated_at": changed})))
}

/// Changes a variable's value, its name, or both.
pub(super) async fn update_variable(call: Call) -> Outcome {
    let name = call.param("name").to_ascii_uppercase();
    let renamed = call.body["name"].as_str().map_or_else(|| name.clone(), str::to_ascii_uppercase);
    let value = call.body["value"].as_str().map(str::to_owned);
    let changed = call.change(Access::Write, |repo| {
        let before = repo.variables.remove(&name)?;
        repo.variables.insert(renamed, value.unwrap_or(before));
        Some(())
    })?;
    changed.map(|()| Answer::Empty(204)).ok_or_else(Refusal::not_found)
}

pub(super) async fn public_key(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let key = STANDARD.encode(repo.key.public_key().as_bytes());
    Ok(Answer::Json(200, json!({"key_id": repo.key_id(), "key": key})))
}

/// The path's name and the body's box, which the repository's key must open.
pub(super) fn opened_box(call: &Call, repo: &Repo) -> Result<(String, Vec<u8>), Refusal> {
    let name = call.param("secret_name").to_ascii_uppercase();
    let refused =
        |field, message: &str| Err(Refusal::invalid("Validation Failed", "Secret", field, "invalid", message));
    if !fine_name(&name) {
        return refused("name", "Secret names can only contain alphanumeric characters and underscores.");
    }
    if call.body["key_id"] != repo.key_id() {
        return refused("key_id", "The given key_id is not the repository's current one");
    }
    let sealed = STANDARD.decode(call.body["encrypted_value"].as_str().unwrap_or_default()).unwrap_or_default();
    if repo.key.unseal(&sealed).is_err() {
        return refused("encrypted_value", "The value is no box sealed with the repository's public key");
    }
    Ok((name, sealed))
}

pub(super) async fn put_secret(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let (name, sealed) = opened_box(&call, &repo)?;
    let before = call.change(Access::Write, |repo| repo.secrets.insert(name, sealed))?;
    Ok(if before.is_some() { Answer::Empty(204) } else { Answer::Json(201, json!({})) })
}

/// A secret's name and times; never its value.
pub(super) async fn secret(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let name = call.param("secret_name").to_ascii_uppercase();
    if !repo.secrets.contains_key(&name) {
        return Err(Refusal::not_found());
    }
    let changed = timestamp(repo.created);
    Ok(Answer::Json(200, json!({"name": name, "created_at": changed, "updated_at": changed})))
}

pub(super) async fn customize_oidc(call: Call) -> Outcome {
    let custom = call.body.clone();
    call.change(Access::Admin, |repo| repo.oidc = Some(custom))?;
    Ok(Answer::Json(201, json!({})))
}

pub(super) async fn set_access(call: Call) -> Outcome {
    let level = call.body["access_level"].as_str().map(str::to_owned);
    call.change(Access::Admin, |repo| repo.workflow_access = level)?;
    Ok(Answer::Empty(204))
}
