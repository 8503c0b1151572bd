//! Suggestions for form fields, from the providers that come with the actions.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};
use serde::Serialize;
use understudy_sdk::{Secret, autocomplete::Suggestion};

use super::{
    ApiState,
    caller::Caller,
    error::ApiError,
    reply,
    request::{self, Place},
};

/// What can be chosen.
#[derive(Serialize)]
struct Suggestions {
    results: Vec<Suggestion>,
}

pub(super) async fn complete(
    _caller: Caller,
    state: Data<ApiState>,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let provider = request::segment(&http, "provider")?;
    let resource = request::segment(&http, "resource")?;
    let body = request::body(&http, payload, false).await?;
    request::no_query(&http)?;
    let place = Place::body();
    let mut members = place.object(body, &["token", "context"])?;
    let token = place.at("token").string(members.shift_remove("token").unwrap_or_default())?;
    let context = place.at("context").strings(members.shift_remove("context"))?;
    if token.is_empty() {
        return Err(ApiError::input("Missing token query parameter"));
    }
    let Some(provider) = state.actions.autocomplete(&provider) else {
        return Err(ApiError::input(format!("Unsupported provider: {provider}")));
    };
    let results = provider.suggest(&resource, &Secret::new(token), &context).await?;
    Ok(reply::json(StatusCode::OK, &Suggestions { results }))
}
