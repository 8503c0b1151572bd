//! What Apps ask as themselves.

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::state::Repo;

pub(super) async fn installations(call: Call) -> Outcome {
    let (skip, count) = page(&call);
    let all = call.state().installations(call.urls(), &call.login);
    Ok(Answer::Json(200, all.into_iter().skip(skip).take(count).collect()))
}

pub(super) async fn access_token(call: Call) -> Outcome {
    let issued = call.state().issue(&call.login, call.param("installation_id"));
    match issued.ok_or_else(Refusal::not_found)? {
        Ok(token) => Ok(Answer::Json(201, token)),
        Err(()) => Err(Refusal::new(403, "This installation has been suspended")),
    }
}

pub(super) async fn repo_installation(call: Call) -> Outcome {
    let state = call.state();
    let (owner, name) = call.place();
    let repo: &Repo = state.repo(owner, name).ok_or_else(Refusal::not_found)?;
    let found = state.installation_of(call.urls(), &call.login, repo).ok_or_else(Refusal::not_found)?;
    Ok(Answer::Json(200, found))
}
