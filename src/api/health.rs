//! Whether the service lives and is ready for traffic.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, Phase, reply};

/// What the health routes answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Why not, when the status is `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    /// `ok` or `error`.
    #[schema(example = "ok")]
    status: &'static str,
}

const OK: Health = Health { message: None, status: "ok" };

/// Whether requests can be served: started, not shutting down, and the database answers.
#[utoipa::path(
    get, path = "/.backstage/health/v1/readiness", operation_id = "getReadiness", tag = "health",
    responses((status = 200, body = Health, description = "Ready"), (status = 503, body = Health, description = "Not ready")),
)]
pub(super) async fn readiness(state: Data<ApiState>) -> HttpResponse {
    let unavailable =
        |message| reply::json(StatusCode::SERVICE_UNAVAILABLE, &Health { message: Some(message), status: "error" });
    match state.lifecycle.phase() {
        Phase::Starting => return unavailable("Backend has not started yet"),
        Phase::Draining | Phase::Down => return unavailable("Backend is shutting down"),
        Phase::Up => {}
    }
    match state.store.ping().await {
        Ok(()) => reply::ok(&OK),
        Err(error) => {
            tracing::error!(%error, "not ready: the database does not answer");
            unavailable("The database does not answer")
        }
    }
}

/// Whether the process lives.
#[utoipa::path(get, path = "/.backstage/health/v1/liveness", operation_id = "getLiveness", tag = "health", responses((status = 200, body = Health, description = "Alive")))]
pub(super) async fn liveness() -> HttpResponse {
    reply::ok(&OK)
}
