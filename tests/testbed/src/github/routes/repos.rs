//! Repositories, and what hangs on them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal};
use crate::github::{
    DEFAULT_BRANCH,
    git::SeedFile,
    state::{Access, Repo, State, default_settings, folded, timestamp},
};

const LONGEST_NAME: usize = 100;
const MOST_TOPICS: usize = 20;
const LONGEST_TOPIC: usize = 50;

pub(super) async fn create_for_user(call: Call) -> Outcome {
    let owner = call.login.clone();
    create(call, &owner).await
}

pub(super) async fn create_in_org(call: Call) -> Outcome {
    let owner = {
        let state = call.state();
        let org =
            state.account(call.param("org")).filter(|account| account.organization).ok_or_else(Refusal::not_found)?;
        let is_app = state.installed(&call.login, &org.login, None);
        if !is_app && !org.members.contains_key(&folded(&call.login)) {
            let message = "You need admin access to the organization before adding a repository to it.";
            return Err(Refusal::new(403, message));
        }
        org.login.clone()
    };
    create(call, &owner).await
}

async fn create(call: Call, owner: &str) -> Outcome {
    let body = &call.body;
    let visibility = match body["visibility"].as_str() {
        Some(named) => named.to_owned(),
        None => if body["private"] == true { "private" } else { "public" }.to_owned(),
    };
    call.require_scope(visibility != "public")?;
    let name = checked_name(body["name"].as_str().unwrap_or_default())?;
    let added = call.state().add_repo(owner, &name, &visibility, settings(body), DEFAULT_BRANCH);
    let Some(repo) = added else {
        let (message, detail) = ("Repository creation failed.", "name already exists on this account");
        return Err(Refusal::invalid(message, "Repository", "name", "custom", detail));
    };
    let made = make(&call, &repo).await;
    if made.is_err() {
        call.state().remove_repo(owner, &name);
    }
    made?;
    let state = call.state();
    Ok(Answer::Json(201, call.urls().full_repository(&state, &repo, &call.login)))
}

async fn make(call: &Call, repo: &Repo) -> crate::Result<()> {
    let store = &call.shared.store;
    store.create(&repo.owner, &repo.name, &repo.default_branch).await?;
    if call.body["auto_init"] == true {
        let description = repo.setting("description");
        let text = format!("# {}\n{}\n", repo.name, description.as_str().unwrap_or_default());
        let readme =
            SeedFile { path: "README.md".to_owned(), content: text.trim_end().as_bytes().to_vec(), executable: false };
        let email = format!("{}@users.noreply.github.com", call.login);
        let place = (repo.owner.as_str(), repo.name.as_str());
        store.commit(place, &repo.default_branch, &[readme], "Initial commit", (&call.login, &email)).await?;
    }
    Ok(())
}

/// GitHub puts `-` for what may not be in a name.
fn checked_name(name: &str) -> Result<String, Refusal> {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().map(|c| if kept(c) { c } else { '-' }).collect();
    let refused =
        |code, detail: &str| Err(Refusal::invalid("Repository creation failed.", "Repository", "name", code, detail));
    match name.as_str() {
        "" => refused("missing_field", "name is required"),
        "." | ".." => refused("custom", "name is reserved"),
        long if long.len() > LONGEST_NAME => refused("custom", "name is too long (maximum is 100 characters)"),
        git if git.ends_with(".git") => refused("custom", "name cannot end with .git"),
        _ => Ok(name),
    }
}

/// The body's members over GitHub's defaults.
fn settings(body: &Value) -> BTreeMap<String, Value> {
    let mut settings = default_settings();
    for (name, value) in body.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        if settings.contains_key(name) || name == "custom_properties" {
            settings.insert(name.clone(), value.clone());
        }
    }
    if settings.get("homepage").is_some_and(|homepage| homepage == "") {
        settings.insert("homepage".to_owned(), Value::Null);
    }
    settings
}

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let state = call.state();
    Ok(Answer::Json(200, call.urls().full_repository(&state, &repo, &call.login)))
}

pub(super) async fn delete(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    call.state().remove_repo(&repo.owner, &repo.name);
    call.shared.store.remove(&repo.owner, &repo.name)?;
    Ok(Answer::Empty(204))
}

pub(super) async fn add_collaborator(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let named = call.body["permission"].as_str().unwrap_or("push");
    let Some(access) = Access::named(named) else {
        let message = format!("`{named}` is no permission of this repository");
        return Err(Refusal::invalid("Validation Failed", "Repository", "permission", "invalid", &message));
    };
    let mut state = call.state();
    let user = state.account(call.param("username")).filter(|account| !account.organization);
    let login = user.ok_or_else(Refusal::not_found)?.login.clone();
    if login == repo.owner {
        let message = "Repository owner cannot be a collaborator";
        return Err(Refusal::invalid(message, "Repository", "collaborator", "custom", message));
    }
    if has_access_already(&state, &repo, &login) {
        change(&mut state, &repo, |repo| repo.collaborators.insert(folded(&login), access));
        return Ok(Answer::Empty(204));
    }
    let id = state.next_id();
    change(&mut state, &repo, |repo| repo.invitations.insert(folded(&login), access));
    Ok(Answer::Json(201, call.urls().invitation(&state, &repo, id, &call.login, &login, access)))
}

/// Members of the organisation and collaborators are not invited but changed at once.
fn has_access_already(state: &State, repo: &Repo, login: &str) -> bool {
    let member = state.account(&repo.owner).is_some_and(|owner| owner.members.contains_key(&folded(login)));
    member || repo.collaborators.contains_key(&folded(login))
}

fn change<T>(state: &mut State, repo: &Repo, change: impl FnOnce(&mut Repo) -> T) -> Option<T> {
    state.repo_mut(&repo.owner, &repo.name).map(change)
}

pub(super) async fn replace_topics(call: Call) -> Outcome {
    call.repo(Access::Admin)?;
    let sent = call.body["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = sent.map(str::to_lowercase).collect();
    let fine = |name: &&String| {
        let ends = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        ends && name.len() <= LONGEST_TOPIC
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let mut errors: Vec<_> = names
        .iter()
        .filter(|name| !fine(name))
        .map(|name| {
            format!("Topic {name} must start with a lowercase letter or number, consist of {LONGEST_TOPIC} characters or less, and can include hyphens.")
        })
        .collect();
    if names.len() > MOST_TOPICS {
        errors.push(format!("A repository cannot have more than {MOST_TOPICS} topics."));
    }
    if !errors.is_empty() {
        return Err(Refusal::Http {
            status: 422,
            message: "Validation Failed".to_owned(),
            errors: Some(json!(errors)),
        });
    }
    call.change(Access::Admin, |repo| repo.topics.clone_from(&names))?;
    Ok(Answer::Json(200, json!({"names": names})))
}

pub(super) async fn subscribe(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let url = call.urls().repo(&repo);
    let subscription = json!({
        "subscribed": call.body["subscribed"] == true,
        "ignored": call.body["ignored"] == true,
        "reason": null,
        "created_at": timestamp(chrono::Utc::now()),
        "url": format!("{url}/subscription"),
        "repository_url": url,
    });
    call.change(Access::Read, |repo| repo.subscription = Some(subscription.clone()))?;
    Ok(Answer::Json(200, subscription))
}
