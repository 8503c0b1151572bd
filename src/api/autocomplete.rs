//! Suggestions for form fields. No provider is registered, so each request is refused as upstream refuses an unknown one.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    caller::Caller,
    error::ApiError,
    request::{self, Place},
};

pub(super) async fn complete(
    _caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let provider = request::segment(&http, "provider")?;
    let body = request::body(&http, payload, false).await?;
    request::no_query(&http)?;
    let place = Place::body();
    let mut members = place.object(body, &["token", "context"])?;
    let token = place.at("token").string(members.shift_remove("token").unwrap_or_default())?;
    place.at("context").strings(members.shift_remove("context"))?;
    if token.is_empty() {
        return Err(ApiError::input("Missing token query parameter"));
    }
    Err(ApiError::input(format!("Unsupported provider: {provider}")))
}
