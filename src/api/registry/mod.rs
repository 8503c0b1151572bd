//! The actions registry: what agents and other plugins can do with the scaffolder.
//!
//! The routes of `@backstage/backend-defaults` 0.18.0 (`DefaultActionsRegistryService`), versions 1 and 2 of invoking:
//! the second takes `{input, secrets?}`, the first the input alone.

mod calls;
mod definitions;

use actix_web::{HttpRequest, HttpResponse, web, web::Data};
use serde_json::{Map, Value, json};

use self::definitions::Offered;
use super::{ApiState, caller::Caller, error::ApiError, reply, request};
use crate::{
    permission::{Decision, Permission},
    zod,
};

/// The plugin that offers the actions.
const PLUGIN: &str = "scaffolder";

/// Those that the configuration offers to anybody.
fn configured(state: &ApiState) -> impl Iterator<Item = &'static Offered> {
    let config = &state.offered_actions;
    definitions::all().iter().filter(move |action| config.offers(PLUGIN, &action.id, action.attributes))
}

/// The actions that the caller may see.
pub(super) async fn list(state: Data<ApiState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let actions: Vec<&Offered> = configured(&state).collect();
    let asked: Vec<Permission> = actions.iter().filter_map(|action| action.visible_with).collect();
    let decisions =
        if asked.is_empty() { Vec::new() } else { state.permissions.decide(caller.credentials(), &asked).await? };
    let mut decisions = decisions.into_iter();
    let visible: Vec<&Offered> = actions
        .into_iter()
        .filter(|action| action.visible_with.is_none() || decisions.next() == Some(Decision::Allow))
        .collect();
    Ok(reply::ok(&json!({ "actions": visible })))
}

/// Runs an action; the body is its input.
pub(super) async fn invoke(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (action, body) = asked(&state, &caller, &http, payload).await?;
    run(&state, &caller, action, Some(&body), None).await
}

/// Runs an action; the body is `{input, secrets?}`.
pub(super) async fn invoke_wrapped(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (action, body) = asked(&state, &caller, &http, payload).await?;
    run(&state, &caller, action, body.get("input"), body.get("secrets")).await
}

async fn asked(
    state: &ApiState,
    caller: &Caller,
    http: &HttpRequest,
    payload: web::Payload,
) -> Result<(&'static Offered, Value), ApiError> {
    let body = request::body(http, payload, true).await?;
    if caller.not_anonymous().is_err() {
        return Err(ApiError::new(
            "NotAllowedError",
            "Actions must be invoked by an authenticated principal, not an anonymous request",
        ));
    }
    let id = request::segment(http, "actionId")?;
    let not_found = || ApiError::not_found(format!("Action \"{id}\" not found"));
    let action = configured(state).find(|action| action.id == id).ok_or_else(not_found)?;
    if let Some(permission) = action.visible_with
        && state.permissions.decide(caller.credentials(), &[permission]).await? != [Decision::Allow]
    {
        return Err(not_found());
    }
    Ok((action, body))
}

async fn run(
    state: &ApiState,
    caller: &Caller,
    action: &Offered,
    input: Option<&Value>,
    secrets: Option<&Value>,
) -> Result<HttpResponse, ApiError> {
    let input = zod::parse(&action.schema.input, input)
        .map_err(|error| ApiError::zod(&format!("Invalid input to action \"{}\"", action.id), &error))?;
    if secrets.is_some_and(is_given) {
        return Err(ApiError::input(format!("Action \"{}\" does not accept secrets", action.id)));
    }
    let input = match input {
        Value::Object(members) => members,
        // The schemas of all inputs are those of objects.
        _ => Map::new(),
    };
    let output = calls::call(state, caller, action.call, input).await?;
    let output = zod::parse(&action.schema.output, Some(&output))
        .map_err(|error| ApiError::zod(&format!("Invalid output from action \"{}\"", action.id), &error))?;
    Ok(reply::ok(&json!({ "output": output })))
}

/// JavaScript's truth of a value.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => true,
    }
}
