//! What the offered actions do: what the routes of the API do, for the caller and within the caller's permissions.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{
    super::{
        ApiState, actions,
        caller::Caller,
        dry_run,
        error::ApiError,
        events,
        tasks::{self, CreateTask},
    },
    definitions::Call,
};
use crate::{
    model::{EventType, TaskEvent, TaskStatus},
    store::TaskFilter,
    yaml,
};

/// Files with more UTF-16 units are not carried into a dry run.
const LARGEST_FILE: usize = 64 * 1024;

/// Runs the action with an input that its schema accepts; gives the output.
pub(super) async fn call(
    state: &ApiState,
    caller: &Caller,
    call: Call,
    input: Map<String, Value>,
) -> Result<Value, ApiError> {
    let result = match call {
        Call::ListTasks => list_tasks(state, caller, &input).await,
        Call::DryRun => dry_run(state, caller, input).await,
        Call::ListActions => Ok(list_actions(state, caller).await),
        Call::Execute => execute(state, caller, input).await,
        Call::TaskLogs => task_logs(state, caller, &input).await,
    };
    result.map_err(in_one_message)
}

/// Callers of actions are shown an error's message, so a list of violations becomes one.
fn in_one_message(error: ApiError) -> ApiError {
    match error {
        ApiError::Violations(violations) | ApiError::SecretViolations(violations) => {
            // Messages about secrets name the property themselves.
            let texts: Vec<_> = violations
                .iter()
                .map(|violation| match violation.message.starts_with(&violation.property) {
                    true => violation.message.clone(),
                    false => format!("{} {}", violation.property, violation.message),
                })
                .collect();
            ApiError::input(format!("The template does not accept what it is given: {}", texts.join(", ")))
        }
        other => other,
    }
}

async fn list_tasks(state: &ApiState, caller: &Caller, input: &Map<String, Value>) -> Result<Value, ApiError> {
    let created_by = match (input.get("owned") == Some(&Value::Bool(true)), caller.user_ref()) {
        (false, _) => Vec::new(),
        (true, Some(user)) => vec![user.to_string()],
        (true, None) => {
            return Err(ApiError::new("NotAllowedError", "Filtering by owned tasks requires a user identity."));
        }
    };
    let statuses = match input.get("status") {
        Some(Value::Array(statuses)) => statuses.as_slice(),
        Some(status) => std::slice::from_ref(status),
        None => &[],
    };
    let number = |name: &str| input.get(name).and_then(Value::as_f64).map(|number| number as u64);
    let filter = TaskFilter {
        created_by,
        status: statuses.iter().filter_map(Value::as_str).filter_map(TaskStatus::parse).collect(),
        limit: number("limit"),
        offset: number("offset"),
        ..TaskFilter::default()
    };
    let page = tasks::page(state, caller, || Ok(filter)).await?;
    let tasks: Vec<Value> = page
        .tasks
        .iter()
        .map(|task| {
            let mut task = serde_json::to_value(task).unwrap_or_default();
            // A task that no worker has taken yet has given no sign of life.
            if let Some(members) =
                task.as_object_mut().filter(|members| members.get("lastHeartbeatAt") == Some(&Value::Null))
            {
                members.shift_remove("lastHeartbeatAt");
            }
            task
        })
        .collect();
    Ok(json!({"tasks": tasks, "totalTasks": page.total}))
}

async fn dry_run(state: &ApiState, caller: &Caller, mut input: Map<String, Value>) -> Result<Value, ApiError> {
    let text = input.get("templateYaml").and_then(Value::as_str).unwrap_or_default();
    let template = match yaml::parse_yaml(text) {
        Ok(template) => template,
        Err(error) => return Ok(no_yaml(text, &error)),
    };
    let files = input.get("files").and_then(Value::as_array);
    let files: Vec<Value> = files
        .into_iter()
        .flatten()
        .map(|file| {
            let content = file.get("content").and_then(Value::as_str).unwrap_or_default();
            let content = if content.encode_utf16().count() > LARGEST_FILE { "<file too large>" } else { content };
            json!({"path": file.get("path"), "base64Content": BASE64_STANDARD.encode(content)})
        })
        .collect();
    let values = input.shift_remove("values").unwrap_or_else(|| json!({}));
    let body = json!({"template": template, "values": values, "directoryContents": files});
    let result = dry_run::dry_run(state, caller, body).await?;
    let log: Vec<&Value> = result.log.iter().filter_map(|line| line.get("body")).collect();
    Ok(json!({
        "valid": true,
        "message": "Template validation successful",
        "log": log,
        "output": result.output,
        "steps": result.steps,
    }))
}

/// The answer to a text that is no YAML, with the place marked.
fn no_yaml(text: &str, error: &yaml::YamlError) -> Value {
    let message = "Failed to parse YAML template";
    let line =
        usize::try_from(error.line).ok().and_then(|line| line.checked_sub(1)).and_then(|at| text.lines().nth(at));
    let Some(line) = line else {
        return json!({"valid": false, "message": message, "errors": [format!("YAML parsing error: {}", error.message)]});
    };
    let place = format!("line {}, column {}", error.line, error.column);
    let indent = " ".repeat(usize::try_from(error.column).unwrap_or(1).saturating_sub(1).min(line.chars().count()));
    json!({
        "valid": false,
        "message": message,
        "errors": [
            format!("YAML parsing error: {} at {place}:\n\n{line}\n{indent}^\n", error.message),
            format!("At {place}"),
        ],
    })
}

async fn list_actions(state: &ApiState, caller: &Caller) -> Value {
    let actions: Vec<Value> = actions::all(state, caller)
        .await
        .iter()
        .map(|action| {
            let action = serde_json::to_value(action).unwrap_or_default();
            let schema = |part: &str| action.pointer(&format!("/schema/{part}")).cloned().unwrap_or_else(|| json!({}));
            json!({
                "id": action.get("id"),
                "description": action.get("description").cloned().unwrap_or_else(|| "".into()),
                "schema": {"input": schema("input"), "output": schema("output")},
                "examples": action.get("examples").cloned().unwrap_or_else(|| json!([])),
            })
        })
        .collect();
    json!({ "actions": actions })
}

async fn execute(state: &ApiState, caller: &Caller, input: Map<String, Value>) -> Result<Value, ApiError> {
    let id = tasks::start(state, caller, CreateTask::read(Value::Object(input))?).await?;
    Ok(json!({ "taskId": id }))
}

async fn task_logs(state: &ApiState, caller: &Caller, input: &Map<String, Value>) -> Result<Value, ApiError> {
    let id = input.get("taskId").and_then(Value::as_str).unwrap_or_default();
    // Saturates: no event has such an id.
    let after = input.get("after").and_then(Value::as_f64).map(|after| after as i64);
    let events: Vec<Value> = events::poll(state, caller, id, after).await?.iter().map(event).collect();
    Ok(json!({ "events": events }))
}

fn event(event: &TaskEvent) -> Value {
    let mut shown = serde_json::to_value(event).unwrap_or_default();
    if event.kind == EventType::Recovered {
        // Such events have no message of their own, and the schema wants one.
        shown["body"]["message"] = "The task was put back into the queue".into();
    }
    shown
}
