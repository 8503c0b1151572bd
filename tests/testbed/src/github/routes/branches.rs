//! Branches and their protection.

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal};
use crate::github::state::{Access, Protection, Repo};

pub(super) async fn list(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let branches = call.shared.store.branches(&repo.owner, &repo.name).await?;
    let wanted = call.query("protected");
    let shown = branches
        .iter()
        .map(|(name, sha)| call.urls().short_branch(&repo, name, sha))
        .filter(|branch| wanted.is_none_or(|wanted| branch["protected"] == (wanted == "true")));
    let (skip, count) = page(&call);
    Ok(Answer::Json(200, shown.skip(skip).take(count).collect()))
}

/// How many elements to skip and to show.
pub(super) fn page(call: &Call) -> (usize, usize) {
    let number = |name, default| call.query(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let size = match number("per_page", 30_usize) {
        0 => 30,
        size => size.min(100),
    };
    (number("page", 1_usize).saturating_sub(1).saturating_mul(size), size)
}

/// The commit of the path's branch.
async fn head(call: &Call, repo: &Repo) -> Result<(String, String), Refusal> {
    let name = call.param("branch").to_owned();
    let branches = call.shared.store.branches(&repo.owner, &repo.name).await?;
    branches.into_iter().find(|(known, _)| *known == name).ok_or_else(|| Refusal::new(404, "Branch not found"))
}

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let (name, sha) = head(&call, &repo).await?;
    let commits = call.shared.store.history((&repo.owner, &repo.name), &sha, None, 0, 1).await?;
    let commit = commits.first().ok_or_else(Refusal::not_found)?;
    let state = call.state();
    Ok(Answer::Json(200, call.urls().branch(&state, &repo, &name, commit)))
}

pub(super) async fn protect(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let (branch, _) = head(&call, &repo).await?;
    let of_org = call.state().account(&repo.owner).is_some_and(|owner| owner.organization);
    let rules = call.body.clone();
    let names =
        |rule: &Value| ["users", "teams"].iter().any(|kind| rule[kind].as_array().is_some_and(|it| !it.is_empty()));
    if !of_org
        && (rules["restrictions"].is_object()
            || names(&rules["required_pull_request_reviews"]["bypass_pull_request_allowances"]))
    {
        let message = "Only organization repositories can have users and team restrictions";
        return Err(Refusal::Http {
            status: 422,
            message: "Validation Failed".to_owned(),
            errors: Some(json!([message])),
        });
    }
    let count = &rules["required_pull_request_reviews"]["required_approving_review_count"];
    if count.as_i64().is_some_and(|count| !(0..=6).contains(&count)) {
        let message = "required_approving_review_count must be between 0 and 6";
        return Err(Refusal::Http {
            status: 422,
            message: "Validation Failed".to_owned(),
            errors: Some(json!([message])),
        });
    }
    let protection = call.change(Access::Admin, |repo| {
        let signatures = repo.protection.get(&branch).is_some_and(|before| before.signatures);
        let protection = Protection { rules, signatures };
        repo.protection.insert(branch.clone(), protection.clone());
        protection
    })?;
    let state = call.state();
    Ok(Answer::Json(200, call.urls().protection(&state, &repo, &branch, &protection)))
}

pub(super) async fn protection(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let (branch, _) = head(&call, &repo).await?;
    let protection = repo.protection.get(&branch).ok_or_else(|| Refusal::new(404, "Branch not protected"))?;
    let state = call.state();
    Ok(Answer::Json(200, call.urls().protection(&state, &repo, &branch, protection)))
}

pub(super) async fn require_signatures(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    let (branch, _) = head(&call, &repo).await?;
    let set = call.change(Access::Admin, |repo| match repo.protection.get_mut(&branch) {
        Some(protection) => {
            protection.signatures = true;
            true
        }
        None => false,
    })?;
    if !set {
        return Err(Refusal::new(404, "Branch not protected"));
    }
    let url = format!("{}/required_signatures", call.urls().protection_url(&repo, &branch));
    Ok(Answer::Json(200, json!({"url": url, "enabled": true})))
}

/// References whose name below `refs/` is given.
async fn references(call: &Call, fits: impl Fn(&str) -> bool) -> Result<Vec<Value>, Refusal> {
    let repo = call.repo(Access::Read)?;
    let references = call.shared.store.references(&repo.owner, &repo.name).await?;
    let fitting = references.iter().filter(|reference| reference.name.strip_prefix("refs/").is_some_and(&fits));
    Ok(fitting.map(|reference| call.urls().reference(&repo, reference)).collect())
}

pub(super) async fn reference(call: Call) -> Outcome {
    let wanted = call.param("ref");
    let found = references(&call, |name| name == wanted).await?;
    found.into_iter().next().map(|found| Answer::Json(200, found)).ok_or_else(Refusal::not_found)
}

pub(super) async fn matching_references(call: Call) -> Outcome {
    let wanted = call.param("ref");
    Ok(Answer::Json(200, Value::Array(references(&call, |name| name.starts_with(wanted)).await?)))
}
