//! Environments, with the branches that may be deployed to them, their variables and their secrets.

use serde_json::{Value, json};

use super::{
    Answer, Call, Outcome, Refusal,
    actions::{fine_name, opened_box},
};
use crate::github::{
    attachments::Environment,
    state::{Access, Repo, State, timestamp},
};

fn environment<'r>(call: &Call, repo: &'r Repo) -> Result<&'r Environment, Refusal> {
    repo.attachments.environments.get(call.param("environment_name")).ok_or_else(Refusal::not_found)
}

/// Changes the path's environment.
fn change<T>(call: &Call, wanted: Access, change: impl FnOnce(&mut Environment) -> T) -> Result<T, Refusal> {
    let name = call.param("environment_name").to_owned();
    call.change(wanted, |repo| repo.attachments.environments.get_mut(&name).map(change))?.ok_or_else(Refusal::not_found)
}

/// `environment`
fn shown(call: &Call, state: &State, repo: &Repo, name: &str, it: &Environment) -> Value {
    let mut rules = Vec::new();
    let mut rule = |kind: &str, more: Value| {
        let mut rule = json!({"id": it.id * 10 + rules.len() as u64, "node_id": format!("GA_{}", it.id), "type": kind});
        if let (Some(rule), Value::Object(more)) = (rule.as_object_mut(), more) {
            rule.extend(more);
        }
        rules.push(rule);
    };
    if let Some(minutes) = it.rules["wait_timer"].as_u64().filter(|minutes| *minutes > 0) {
        rule("wait_timer", json!({"wait_timer": minutes}));
    }
    let reviewers: Vec<_> = it.rules["reviewers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|given| {
            let id = given["id"].as_u64()?;
            let reviewer = if given["type"] == "Team" {
                call.urls().team(state.account(&repo.owner)?, state.team_by_id(id)?)
            } else {
                call.urls().simple_user(state.account_by_id(id)?)
            };
            Some(json!({"type": given["type"], "reviewer": reviewer}))
        })
        .collect();
    if !reviewers.is_empty() {
        let self_review = it.rules["prevent_self_review"] == true;
        rule("required_reviewers", json!({"prevent_self_review": self_review, "reviewers": reviewers}));
    }
    let policy = &it.rules["deployment_branch_policy"];
    if policy.is_object() {
        rule("branch_policy", json!({}));
    }
    let url = format!("{}/environments/{name}", call.urls().repo(repo));
    json!({
        "id": it.id,
        "node_id": format!("EN_{}", it.id),
        "name": name,
        "url": url,
        "html_url": format!("{}/deployments/activity_log?environments_filter={name}", call.urls().page(repo)),
        "created_at": timestamp(repo.created),
        "updated_at": timestamp(repo.created),
        "protection_rules": rules,
        "deployment_branch_policy": policy,
    })
}

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let it = environment(&call, &repo)?;
    let state = call.state();
    Ok(Answer::Json(200, shown(&call, &state, &repo, call.param("environment_name"), it)))
}

pub(super) async fn put(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let refused = |message: &str| Err(Refusal::Http { status: 422, message: message.to_owned(), errors: None });
    let name = call.param("environment_name").to_owned();
    let policy = &call.body["deployment_branch_policy"];
    if policy.is_object() && policy["protected_branches"] == policy["custom_branch_policies"] {
        return refused("custom_branch_policies and protected_branches cannot have the same value");
    }
    let mut state = call.state();
    for given in call.body["reviewers"].as_array().into_iter().flatten() {
        let id = given["id"].as_u64().unwrap_or_default();
        let known = match given["type"].as_str() {
            Some("Team") => state.team_by_id(id).is_some(),
            _ => state.account_by_id(id).is_some(),
        };
        if !known {
            return refused("Reviewers must be collaborators of the repository");
        }
    }
    let id = state.next_id();
    let kept = state.repo_mut(&repo.owner, &repo.name).ok_or_else(Refusal::not_found)?;
    let it = kept.attachments.environments.entry(name.clone()).or_insert_with(|| Environment {
        id,
        rules: Value::Null,
        policies: Vec::new(),
        variables: Default::default(),
        secrets: Default::default(),
    });
    it.rules.clone_from(&call.body);
    let it = it.clone();
    Ok(Answer::Json(200, shown(&call, &state, &repo, &name, &it)))
}

pub(super) async fn policies(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let policies = &environment(&call, &repo)?.policies;
    Ok(Answer::Json(200, json!({"total_count": policies.len(), "branch_policies": policies})))
}

pub(super) async fn create_policy(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let it = environment(&call, &repo)?;
    if it.rules["deployment_branch_policy"]["custom_branch_policies"] != true {
        return Err(Refusal::not_found());
    }
    let kind = call.body["type"].as_str().unwrap_or("branch");
    let name = &call.body["name"];
    if it.policies.iter().any(|known| known["name"] == *name && known["type"] == kind) {
        return Ok(Answer::Empty(303));
    }
    let id = call.state().next_id();
    let made = json!({"id": id, "node_id": format!("DBP_{id}"), "name": name, "type": kind});
    change(&call, Access::Admin, |it| it.policies.push(made.clone()))?;
    Ok(Answer::Json(200, made))
}

pub(super) async fn create_variable(call: Call) -> Outcome {
    let text = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
    let (name, value) = (text("name").to_ascii_uppercase(), text("value"));
    if !fine_name(&name) {
        let message = "Variable names can only contain alphanumeric characters and underscores, must not begin with a number, and must not begin with GITHUB_.";
        return Err(Refusal::invalid("Validation Failed", "Variable", "name", "invalid", message));
    }
    let added = change(&call, Access::Write, |it| {
        let free = !it.variables.contains_key(&name);
        if free {
            it.variables.insert(name, value);
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
    let value = environment(&call, &repo)?.variables.get(&name).ok_or_else(Refusal::not_found)?;
    let changed = timestamp(repo.created);
    Ok(Answer::Json(200, json!({"name": name, "value": value, "created_at": changed, "updated_at": changed})))
}

pub(super) async fn public_key(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    environment(&call, &repo)?;
    super::actions::public_key(call).await
}

pub(super) async fn put_secret(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    environment(&call, &repo)?;
    let (name, sealed) = opened_box(&call, &repo)?;
    let before = change(&call, Access::Write, |it| it.secrets.insert(name, sealed))?;
    Ok(if before.is_some() { Answer::Empty(204) } else { Answer::Json(201, json!({})) })
}
