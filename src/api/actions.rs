//! The list of actions.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use serde_json::Value;
use understudy_sdk::{ActionExample, DynAction};
use utoipa::ToSchema;

use super::{ApiState, caller::Caller, error::ApiError, reply, request};
use crate::audit::Act;

/// What templates can do in a step.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActionItem {
    /// The id used in `steps[].action`.
    #[schema(example = "fetch:template")]
    id: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Worked examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ExampleItem>>)]
    examples: Option<Vec<ActionExample>>,
    /// Input and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<ActionSchemas>,
}

/// A worked example.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExampleItem {
    /// What it shows.
    description: String,
    /// YAML with a `steps:` list.
    example: String,
}

/// JSON Schemas (draft-07) of an action.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionSchemas {
    /// Of the step's `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input: Option<Value>,
    /// Of `steps.<id>.output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    output: Option<Value>,
}

impl ActionItem {
    /// An action as the API and the command line show it.
    pub fn of(action: &dyn DynAction) -> Self {
        let (input, output) = (action.input_schema(), action.output_schema());
        Self {
            id: action.id().to_string(),
            description: Some(action.description().to_string()).filter(|text| !text.is_empty()),
            examples: Some(action.examples()).filter(|examples| !examples.is_empty()),
            schema: (input.is_some() || output.is_some()).then_some(ActionSchemas { input, output }),
        }
    }
}

/// The actions that templates can use.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/actions", operation_id = "listActions", tag = "actions",
    responses((status = 200, body = Vec<ActionItem>, description = "Sorted by id")),
)]
pub(super) async fn list(state: Data<ApiState>, caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    request::no_query(&http)?;
    Ok(reply::ok(&all(&state, &caller).await))
}

/// The actions that templates of the caller can use, sorted by id.
pub(super) async fn all(state: &ApiState, caller: &Caller) -> Vec<ActionItem> {
    let pending = state.audit(caller, Act::ListActions, || []);
    let mut actions: Vec<_> = state.actions.list().map(|action| ActionItem::of(action.as_ref())).collect();
    if let Some(plugins) = state.tasks.plugin_actions() {
        for action in plugins.list(caller.credentials()).await {
            if state.actions.find(action.id()).is_some() {
                tracing::warn!(action = action.id(), "another plugin offers an action with this id; ours stays");
            } else {
                actions.push(ActionItem::of(action.as_ref()));
            }
        }
        actions.sort_by(|a, b| a.id.cmp(&b.id));
    }
    pending.succeed();
    actions
}
