//! Answers.

use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;

/// JSON with the content type Express gives it.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(text) => json_text(status, text),
        Err(error) => {
            // Only maps with keys that are no strings can't be written; no answer of ours has one.
            tracing::error!(%error, "an answer could not be written as JSON");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// As [`json`], for a text that is JSON already.
pub(super) fn json_text(status: StatusCode, text: impl Into<bytes::Bytes>) -> HttpResponse {
    HttpResponse::build(status).content_type("application/json; charset=utf-8").body(text.into())
}

/// 200 with JSON.
pub(super) fn ok(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, body)
}
