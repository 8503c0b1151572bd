//! Tasks: created, listed, read, cancelled, tried again.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web, web::Data};
use serde::Serialize;
use serde_json::{Map, Value};
use understudy_sdk::EntityRef;
use utoipa::ToSchema;

use super::{
    ApiState,
    caller::Caller,
    error::{ApiError, ErrorBody, ViolationsBody},
    reply,
    request::{self, Place, Query},
    templates,
};
use crate::{
    audit::{Act, Details, Pending},
    model::{SerializedTask, TaskStatus},
    permission::{Permission, Resource, known},
    store::{CreatorFilter, Direction, NewTask, OrderField, TaskFilter, TaskPage},
    tasks::spec::build_task_spec,
};

/// What `POST /v2/tasks` is given.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateTask {
    /// `[template:][namespace/]name`.
    #[schema(example = "template:default/my-template")]
    template_ref: String,
    /// The form's values. No defaults are filled in.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Secrets by name; never stored longer than the task needs them.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    secrets: Map<String, Value>,
}

/// What `POST /v2/tasks/{taskId}/retry` is given.
#[derive(Debug, ToSchema)]
pub(super) struct RetryTask {
    /// Secrets by name.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    #[allow(dead_code, reason = "documents the body, which is read member by member")]
    secrets: Map<String, Value>,
}

/// A task's id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskCreated {
    /// UUID.
    id: String,
}

/// The answer to a cancellation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskCancelled {
    /// `cancelled`.
    #[schema(example = "cancelled")]
    status: &'static str,
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskList {
    /// The page.
    tasks: Vec<SerializedTask>,
    /// How many there are on all pages.
    total_tasks: u64,
}

impl CreateTask {
    pub(super) fn read(body: Value) -> Result<Self, ApiError> {
        let place = Place::body();
        let mut members = place.object(body, &["templateRef", "values"])?;
        let mut take = |name: &str| members.shift_remove(name);
        Ok(Self {
            template_ref: place.at("templateRef").string(take("templateRef").unwrap_or_default())?,
            values: place.at("values").object(take("values").unwrap_or_default(), &[])?,
            secrets: place.at("secrets").strings(take("secrets"))?,
        })
    }
}

/// Creates a task from a template; it starts as soon as a worker is free.
#[utoipa::path(
    post, path = "/api/scaffolder/v2/tasks", operation_id = "createTask", tag = "tasks", request_body = CreateTask,
    responses(
        (status = 201, body = TaskCreated, description = "The task is in the queue"),
        (status = 403, body = ErrorBody, description = "The policy does not allow it"),
        (status = 400, body = ViolationsBody, description = "Values or secrets violate the template's schemas; any other mistake has the usual error body"),
        (status = 404, body = ErrorBody, description = "No such template"),
    ),
)]
pub(super) async fn create(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::body(&http, payload, false).await?;
    request::no_query(&http)?;
    let id = start(&state, &caller, CreateTask::read(body)?).await?;
    Ok(reply::json(StatusCode::CREATED, &TaskCreated { id }))
}

/// Creates a task for the caller; gives its id.
pub(super) async fn start(state: &ApiState, caller: &Caller, task: CreateTask) -> Result<String, ApiError> {
    let CreateTask { template_ref, values, secrets } = task;
    let entity_ref = EntityRef::parse(&template_ref, Some("template"), Some("default"))?;
    let create = async |pending: &mut Pending| {
        state.permissions.require(caller.credentials(), &[known::TASK_CREATE]).await?;
        let user = caller.user_spec(state).await?;
        let template = templates::authorized(state, caller, &entity_ref).await?;
        templates::check_values(&template, &values)?;
        templates::check_secrets(&template, &secrets)?;
        let spec = build_task_spec(&template, values, user).map_err(|error| ApiError::input(error.to_string()))?;
        let task = NewTask {
            spec,
            secrets: Some(caller.task_secrets(secrets)),
            created_by: caller.user_ref().map(str::to_string),
        };
        let id = state.tasks.create(task).await?;
        pending.note("taskId", || id.as_str().into());
        Ok(id)
    };
    state.audited(caller, Act::Create, || [("templateRef", template_ref.as_str().into())], create).await
}

/// Tasks, newest first unless asked otherwise.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/tasks", operation_id = "listTasks", tag = "tasks",
    params(
        ("createdBy" = Option<Vec<String>>, Query, description = "Entity references of users, any of"),
        ("status" = Option<Vec<TaskStatus>>, Query, description = "Any of"),
        ("order" = Option<Vec<String>>, Query, description = "`asc:` or `desc:` followed by `created_at`, `status` or `created_by`"),
        ("templateRef" = Option<Vec<String>>, Query, description = "`[template:][namespace/]name`, any of; not in Backstage"),
        ("text" = Option<String>, Query, description = "Part of the id, the creator or the stored spec, in whatever case; not in Backstage"),
        ("limit" = Option<u64>, Query),
        ("offset" = Option<u64>, Query),
    ),
    responses((status = 200, body = TaskList, description = "The page"), (status = 403, body = ErrorBody, description = "The policy does not allow it"), (status = 400, body = ErrorBody, description = "A parameter is wrong")),
)]
pub(super) async fn list(state: Data<ApiState>, caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::documented(&http, &["createdBy", "status", "templateRef", "text", "order", "limit", "offset"])?;
    let limit = query.integer("limit", Some(0))?.map(i64::unsigned_abs);
    let offset = query.integer("offset", Some(0))?.map(i64::unsigned_abs);
    let status: Vec<_> = query.all("status").iter().filter_map(|text| TaskStatus::parse(text)).collect();
    let created_by = query.all("createdBy").to_vec();
    let template_ref = query
        .all("templateRef")
        .iter()
        .map(|text| EntityRef::parse(text, Some("template"), Some("default")).map(|template| template.canonical()))
        .collect::<Result<_, _>>()
        .map_err(|error| ApiError::input(error.to_string()))?;
    let text = match query.all("text") {
        [] => None,
        [text] => Some(text.clone()),
        _ => return Err(ApiError::input("request/query/text must be given once")),
    };
    // Only statuses that no task can have: only creators that no task has.
    let nothing = status.is_empty() && !query.all("status").is_empty();
    let visible = nothing.then(|| CreatorFilter::Creators(Vec::new()));
    let filter = || {
        let order = query.all("order").iter().map(|text| order(text)).collect::<Result<_, _>>()?;
        Ok(TaskFilter { created_by, status, template_ref, text, visible, order, limit, offset })
    };
    let page = page(&state, &caller, filter).await?;
    Ok(reply::ok(&TaskList { tasks: page.tasks, total_tasks: page.total }))
}

/// The tasks that match and that the caller may see.
pub(super) async fn page(
    state: &ApiState,
    caller: &Caller,
    filter: impl FnOnce() -> Result<TaskFilter, ApiError>,
) -> Result<TaskPage, ApiError> {
    let list = async |_: &mut Pending| {
        let mut filter = filter()?;
        let readable = state.permissions.readable_tasks(caller.credentials()).await?;
        filter.visible = match (filter.visible, readable) {
            (Some(asked), Some(readable)) => Some(CreatorFilter::All(vec![asked, readable])),
            (asked, readable) => asked.or(readable),
        };
        Ok(state.tasks.list(&filter).await?)
    };
    state.audited(caller, Act::List, || [], list).await
}

/// The task, if the caller has these permissions on it. That there is none comes to light before.
pub(super) async fn permitted(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    permissions: &[Permission],
) -> Result<SerializedTask, ApiError> {
    let task = state.tasks.get(id).await?;
    let resource = Resource::Task { created_by: task.created_by.as_deref() };
    state.permissions.require_on(caller.credentials(), permissions, &resource).await?;
    Ok(task)
}

/// The detail of audit events about one task.
pub(super) fn of_task(id: &str) -> Details<1> {
    [("taskId", id.into())]
}

fn order(text: &str) -> Result<(OrderField, Direction), ApiError> {
    let parsed = match text.split_once(':') {
        Some(("asc", field)) => Some((Direction::Asc, field)),
        Some(("desc", field)) => Some((Direction::Desc, field)),
        _ => None,
    };
    let Some((direction, field)) = parsed.filter(|(_, field)| !field.is_empty()) else {
        return Err(ApiError::input(format!(
            "Invalid order parameter \"{text}\", expected \"<asc or desc>:<field name>\""
        )));
    };
    let field = match field {
        "created_at" => OrderField::CreatedAt,
        "status" => OrderField::Status,
        "created_by" => OrderField::CreatedBy,
        other => return Err(ApiError::input(format!("Invalid order field \"{other}\""))),
    };
    Ok((field, direction))
}

/// One task.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/tasks/{taskId}", operation_id = "getTask", tag = "tasks", params(("taskId" = String, Path)),
    responses((status = 200, body = SerializedTask, description = "The task"), (status = 403, body = ErrorBody, description = "The policy does not allow it"), (status = 404, body = ErrorBody, description = "No such task")),
)]
pub(super) async fn get(state: Data<ApiState>, caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = request::segment(&http, "taskId")?;
    request::no_query(&http)?;
    let read = async |_: &mut Pending| permitted(&state, &caller, &id, &[known::TASK_READ]).await;
    let task = state.audited(&caller, Act::Get, || of_task(&id), read).await?;
    Ok(reply::ok(&task))
}

/// Asks a task to stop. Ended tasks are left as they are.
#[utoipa::path(
    post, path = "/api/scaffolder/v2/tasks/{taskId}/cancel", operation_id = "cancelTask", tag = "tasks", params(("taskId" = String, Path)),
    responses((status = 200, body = TaskCancelled, description = "The task was asked to stop"), (status = 403, body = ErrorBody, description = "The policy does not allow it"), (status = 404, body = ErrorBody, description = "No such task")),
)]
pub(super) async fn cancel(state: Data<ApiState>, caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = request::segment(&http, "taskId")?;
    request::no_query(&http)?;
    let cancel = async |_: &mut Pending| {
        permitted(&state, &caller, &id, &[known::TASK_CANCEL, known::TASK_READ]).await?;
        Ok(state.tasks.cancel(&id).await?)
    };
    state.audited(&caller, Act::Cancel, || of_task(&id), cancel).await?;
    Ok(reply::ok(&TaskCancelled { status: "cancelled" }))
}

/// Puts an ended task back into the queue; steps that succeeded keep their checkpoints.
#[utoipa::path(
    post, path = "/api/scaffolder/v2/tasks/{taskId}/retry", operation_id = "retryTask", tag = "tasks", params(("taskId" = String, Path)),
    request_body = Option<RetryTask>,
    responses(
        (status = 201, body = TaskCreated, description = "The task is in the queue"),
        (status = 403, body = ErrorBody, description = "The policy does not allow it"),
        (status = 400, body = ViolationsBody, description = "The secrets violate the template's schema"),
        (status = 404, body = ErrorBody, description = "No such task, or its template is gone"),
        (status = 409, body = ErrorBody, description = "The task has not ended"),
    ),
)]
pub(super) async fn retry(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let id = request::segment(&http, "taskId")?;
    let body = request::body(&http, payload, true).await?;
    request::no_query(&http)?;
    let place = Place::body();
    let secrets = place.at("secrets").strings(place.object(body, &[])?.shift_remove("secrets"))?;
    let retry = async |_: &mut Pending| {
        let task = state.tasks.get(&id).await?;
        state.permissions.require(caller.credentials(), &[known::TASK_CREATE]).await?;
        let resource = Resource::Task { created_by: task.created_by.as_deref() };
        state.permissions.require_on(caller.credentials(), &[known::TASK_READ], &resource).await?;
        if let Some(template_ref) = task.spec.pointer("/templateInfo/entityRef").and_then(Value::as_str) {
            let entity_ref = EntityRef::parse(template_ref, Some("template"), Some("default"))?;
            let template = templates::authorized(&state, &caller, &entity_ref).await?;
            templates::check_secrets(&template, &secrets)?;
        }
        let secrets = caller.retry_secrets(&state, secrets).await?;
        Ok(state.tasks.retry(&id, Some(secrets)).await?)
    };
    state.audited(&caller, Act::Retry, || of_task(&id), retry).await?;
    Ok(reply::json(StatusCode::CREATED, &TaskCreated { id }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_refused_as_recorded() {
        assert_eq!(order("desc:created_by").unwrap(), (OrderField::CreatedBy, Direction::Desc));
        for (text, expected) in [
            ("asc:createdAt", "InputError: Invalid order field \"createdAt\""),
            (
                "created_at",
                "InputError: Invalid order parameter \"created_at\", expected \"<asc or desc>:<field name>\"",
            ),
            ("up:status", "InputError: Invalid order parameter \"up:status\", expected \"<asc or desc>:<field name>\""),
        ] {
            assert_eq!(order(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
