//! Pull requests and forks.

use chrono::Utc;
use serde_json::Value;

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::{
    pulls::PullRequest,
    state::{Access, Repo, folded},
};

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

async fn rendered(call: &Call, repo: &Repo, pull: &PullRequest) -> Result<Value, Refusal> {
    let store = &call.shared.store;
    let base = store.resolve(&repo.owner, &repo.name, &format!("heads/{}", pull.base)).await?.unwrap_or_default();
    let (owner, name) = &pull.head_repo;
    let head = store.resolve(owner, name, &format!("heads/{}", pull.head)).await?.unwrap_or_default();
    let state = call.state();
    Ok(call.urls().pull_request(&state, repo, pull, (&base, &head)))
}

fn known(call: &Call, repo: &Repo, parameter: &str) -> Result<PullRequest, Refusal> {
    let state = call.state();
    let mut pulls = state.pulls_of(&repo.owner, &repo.name).iter();
    let found = pulls.find(|pull| pull.number.to_string() == call.param(parameter));
    found.cloned().ok_or_else(Refusal::not_found)
}

pub(super) async fn create(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    call.require_scope(repo.private())?;
    let invalid =
        |field: &str, detail: &str| Refusal::invalid("Validation Failed", "PullRequest", field, "custom", detail);
    let head = text(&call.body["head"]).unwrap_or_default();
    let (head_owner, head) = match head.split_once(':') {
        Some((owner, branch)) => (owner.to_owned(), branch.to_owned()),
        None => (repo.owner.clone(), head),
    };
    let head_repo = {
        let state = call.state();
        let same_owner = folded(&head_owner) == folded(&repo.owner);
        let fork = state
            .repos()
            .find(|fork| folded(&fork.owner) == folded(&head_owner) && fork.setting("fork_of") == repo.full_name());
        if same_owner { Some(repo.clone()) } else { fork.cloned() }
    };
    let head_repo = head_repo.ok_or_else(|| invalid("head", "invalid"))?;
    let base = text(&call.body["base"]).unwrap_or_default();
    let store = &call.shared.store;
    let head_sha = store.resolve(&head_repo.owner, &head_repo.name, &format!("heads/{head}")).await?;
    let head_sha = head_sha.ok_or_else(|| invalid("head", "invalid"))?;
    let base_sha = store.resolve(&repo.owner, &repo.name, &format!("heads/{base}")).await?;
    let base_sha = base_sha.ok_or_else(|| invalid("base", "invalid"))?;
    if head_sha == base_sha {
        return Err(invalid("base", &format!("No commits between {base} and {head}")));
    }
    let taken = {
        let state = call.state();
        let same = |pull: &PullRequest| {
            pull.open && pull.head == head && pull.base == base && pull.head_repo.0 == head_repo.owner
        };
        state.pulls_of(&repo.owner, &repo.name).iter().any(same)
    };
    if taken {
        return Err(invalid("head", &format!("A pull request already exists for {head_owner}:{head}.")));
    }
    let pull = PullRequest {
        number: 0,
        title: text(&call.body["title"]).unwrap_or_default(),
        body: text(&call.body["body"]),
        draft: call.body["draft"] == true,
        open: true,
        head_repo: (head_repo.owner, head_repo.name),
        head,
        base,
        author: call.login.clone(),
        reviewers: Vec::new(),
        team_reviewers: Vec::new(),
        assignees: Vec::new(),
        created: Utc::now(),
    };
    let pull = call.state().add_pull(&repo.owner, &repo.name, pull);
    Ok(Answer::Json(201, rendered(&call, &repo, &pull).await?))
}

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let pull = known(&call, &repo, "pull_number")?;
    Ok(Answer::Json(200, rendered(&call, &repo, &pull).await?))
}

pub(super) async fn update(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    known(&call, &repo, "pull_number")?;
    {
        let mut state = call.state();
        let pull = state.pull_mut(&repo.owner, &repo.name, call.param("pull_number")).ok_or_else(Refusal::not_found)?;
        if let Some(title) = text(&call.body["title"]) {
            pull.title = title;
        }
        if let Some(body) = text(&call.body["body"]) {
            pull.body = Some(body);
        }
        if let Some(state) = text(&call.body["state"]) {
            pull.open = state == "open";
        }
    }
    get(call).await
}

pub(super) async fn request_reviewers(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let pull = known(&call, &repo, "pull_number")?;
    let (users, teams) = (texts(&call.body["reviewers"]), texts(&call.body["team_reviewers"]));
    {
        let mut state = call.state();
        let collaborates = |login: &String| state.access(Some(login), &repo) >= Some(Access::Read);
        let known_team = |slug: &String| state.team(&repo.owner, slug).is_some();
        let refusal = if users.iter().any(|login| folded(login) == folded(&pull.author)) {
            Some("Review cannot be requested from pull request author.")
        } else if !users.iter().all(|login| state.account(login).is_some() && collaborates(login))
            || !teams.iter().all(known_team)
        {
            Some(
                "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the repository.",
            )
        } else {
            None
        };
        if let Some(message) = refusal {
            return Err(Refusal::Http { status: 422, message: message.to_owned(), errors: None });
        }
        let number = call.param("pull_number");
        let pull = state.pull_mut(&repo.owner, &repo.name, number).ok_or_else(Refusal::not_found)?;
        pull.reviewers.extend(users);
        pull.team_reviewers.extend(teams);
    }
    let pull = known(&call, &repo, "pull_number")?;
    Ok(Answer::Json(201, rendered(&call, &repo, &pull).await?))
}

/// Of pull requests only; who has no access is left out without a word, as with github.com.
pub(super) async fn assign(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    known(&call, &repo, "issue_number")?;
    let mut state = call.state();
    let assignees = texts(&call.body["assignees"]);
    let assignees: Vec<_> =
        assignees.into_iter().filter(|login| state.access(Some(login), &repo) >= Some(Access::Read)).collect();
    let number = call.param("issue_number");
    let pull = state.pull_mut(&repo.owner, &repo.name, number).ok_or_else(Refusal::not_found)?;
    pull.assignees.extend(assignees.into_iter().take(10));
    let pull = pull.clone();
    Ok(Answer::Json(201, call.urls().pull_as_issue(&state, &repo, &pull)))
}

pub(super) async fn forks(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let (skip, count) = page(&call);
    let state = call.state();
    let forks = state.repos().filter(|fork| fork.setting("fork_of") == repo.full_name());
    let shown = forks.map(|fork| call.urls().minimal_repository(&state, fork));
    Ok(Answer::Json(200, shown.skip(skip).take(count).collect()))
}

pub(super) async fn fork(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let mut settings = repo.settings.clone();
    settings.insert("fork_of".to_owned(), Value::from(repo.full_name()));
    let owner = call.login.clone();
    let added = call.state().add_repo(&owner, &repo.name, &repo.visibility, settings, &repo.default_branch);
    let fork = added.ok_or_else(|| Refusal::new(403, "A repository of this name exists already"))?;
    call.shared.store.fork((&repo.owner, &repo.name), (&fork.owner, &fork.name)).await?;
    let state = call.state();
    Ok(Answer::Json(202, call.urls().full_repository(&state, &fork, &call.login)))
}
