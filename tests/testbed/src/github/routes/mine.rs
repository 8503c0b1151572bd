//! What belongs to a token's user.

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, branches::page};
use crate::github::state::{Access, folded};

pub(super) async fn repos(call: Call) -> Outcome {
    let (skip, count) = page(&call);
    let state = call.state();
    // What is merely public is not listed.
    let mine = state.repos().filter(|repo| state.access(Some(&call.login), repo) > Some(Access::Read));
    let shown = mine.map(|repo| {
        let mut shown = call.urls().full_repository(&state, repo, &call.login);
        shown["temp_clone_token"] = json!("");
        shown
    });
    Ok(Answer::Json(200, shown.skip(skip).take(count).collect()))
}

pub(super) async fn orgs(call: Call) -> Outcome {
    let (skip, count) = page(&call);
    let state = call.state();
    let login = folded(&call.login);
    let mine = state.accounts.values().filter(|account| account.organization && account.members.contains_key(&login));
    let shown: Vec<Value> =
        mine.map(|account| call.urls().organization(&state, account)).skip(skip).take(count).collect();
    Ok(Answer::Json(200, Value::Array(shown)))
}
