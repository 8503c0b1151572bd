//! What the service does from time to time: shown, hurried and given up, on the routes of the scheduler in
//! `@backstage/backend-defaults` 0.18.0.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, caller::Caller, error::ApiError, error::ErrorBody, reply, request};
use crate::tasks::schedule::{Schedule, ScheduleError, ScheduleState};

/// All of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Schedules {
    /// In no particular order.
    tasks: Vec<ScheduleState>,
}

/// What is done from time to time, and when next.
#[utoipa::path(
    get, path = "/api/scaffolder/.backstage/scheduler/v1/tasks", operation_id = "listSchedules", tag = "scheduler",
    responses((status = 200, body = Schedules, description = "The schedules of this process")),
)]
pub(super) async fn list(state: Data<ApiState>, _caller: Caller) -> HttpResponse {
    reply::ok(&Schedules { tasks: state.tasks.schedules().into_iter().map(Schedule::show).collect() })
}

/// Does it now.
#[utoipa::path(
    post, path = "/api/scaffolder/.backstage/scheduler/v1/tasks/{id}/trigger", operation_id = "triggerSchedule", tag = "scheduler",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It begins"),
        (status = 404, body = ErrorBody, description = "No such schedule"),
        (status = 409, body = ErrorBody, description = "It is being done"),
    ),
)]
pub(super) async fn trigger(
    state: Data<ApiState>,
    _caller: Caller,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    found(&state, &http)?.trigger()?;
    Ok(HttpResponse::Ok().finish())
}

/// Gives up what is being done; it is done again in due course.
#[utoipa::path(
    post, path = "/api/scaffolder/.backstage/scheduler/v1/tasks/{id}/cancel", operation_id = "cancelSchedule", tag = "scheduler",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is given up"),
        (status = 404, body = ErrorBody, description = "No such schedule"),
        (status = 409, body = ErrorBody, description = "It is not being done"),
    ),
)]
pub(super) async fn cancel(
    state: Data<ApiState>,
    _caller: Caller,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    found(&state, &http)?.cancel()?;
    Ok(HttpResponse::Ok().finish())
}

fn found<'s>(state: &'s ApiState, http: &HttpRequest) -> Result<&'s Schedule, ApiError> {
    let id = request::segment(http, "id")?;
    let schedule = state.tasks.schedules().into_iter().find(|schedule| schedule.id() == id);
    Ok(schedule.ok_or(ScheduleError::Unknown(id))?)
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let name = match error {
            ScheduleError::Unknown(_) => "NotFoundError",
            ScheduleError::Running(_) | ScheduleError::Idle(_) => "ConflictError",
        };
        Self::new(name, error.to_string())
    }
}
