//! Whether the service lives and is ready for traffic.

use std::time::Duration;

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

/// How long the database may take to answer.
const PING_LIMIT: Duration = Duration::from_secs(3);
/// For how long claims may fail.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

const OK: Health = Health { message: None, status: "ok" };

/// Whether requests can be served: started, not shutting down, the database answers, and tasks can be claimed from it.
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
    let reason = match tokio::time::timeout(PING_LIMIT, state.store.ping()).await {
        Ok(Ok(())) => match state.tasks.claims_fail_for() {
            Some(time) if time >= CLAIM_PATIENCE => {
                return unavailable("No worker has been able to claim a task for a while; the log says why");
            }
            _ => return reply::ok(&OK),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PING_LIMIT.as_secs()),
    };
    tracing::error!(reason, "not ready: the database does not answer");
    unavailable("The database does not answer")
}

/// Whether the process lives.
#[utoipa::path(get, path = "/.backstage/health/v1/liveness", operation_id = "getLiveness", tag = "health", responses((status = 200, body = Health, description = "Alive")))]
pub(super) async fn liveness() -> HttpResponse {
    reply::ok(&OK)
}
