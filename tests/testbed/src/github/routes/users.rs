//! `/user` and `/users`.

use super::{Answer, Call, Outcome, Refusal};

pub(super) async fn authenticated(call: Call) -> Outcome {
    let state = call.state();
    let account = state.account(&call.login).ok_or_else(Refusal::not_found)?;
    Ok(Answer::Json(200, call.urls().public_user(&state, account)))
}

pub(super) async fn by_name(call: Call) -> Outcome {
    let state = call.state();
    let account = state.account(call.param("username")).ok_or_else(Refusal::not_found)?;
    Ok(Answer::Json(200, call.urls().public_user(&state, account)))
}
