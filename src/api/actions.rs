//! The list of actions.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use understudy_sdk::{ActionExample, DynAction, Registry};
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
    let others = others(&state, &caller).await;
    if others.is_empty() {
        return Ok(reply::json_text(StatusCode::OK, state.listed.text.clone()));
    }
    Ok(reply::ok(&state.listed.with(others)))
}

/// The actions that templates of the caller can use, sorted by id.
pub(super) async fn all(state: &ApiState, caller: &Caller) -> Vec<Arc<ActionItem>> {
    state.listed.with(others(state, caller).await)
}

/// The actions that other plugins offer to the caller, but for those with an id of ours. That the caller lists actions is told
/// to the audit log.
async fn others(state: &ApiState, caller: &Caller) -> Vec<ActionItem> {
    let pending = state.audit(caller, Act::ListActions, || []);
    let mut others = Vec::new();
    if let Some(plugins) = state.tasks.plugin_actions() {
        for action in plugins.list(caller.credentials()).await {
            if state.actions.find(action.id()).is_some() {
                tracing::warn!(action = action.id(), "another plugin offers an action with this id; ours stays");
            } else {
                others.push(ActionItem::of(action.as_ref()));
            }
        }
    }
    pending.succeed();
    others
}

/// The service's own actions as the list shows them. They stay the same as long as the service runs, so their schemas are made
/// and written once.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// Sorted by id.
    items: Arc<Vec<Arc<ActionItem>>>,
    /// All of them as JSON.
    text: Bytes,
}

impl Listed {
    pub(super) fn of(actions: &Registry) -> Self {
        let items: Vec<_> = actions.list().map(|action| Arc::new(ActionItem::of(action.as_ref()))).collect();
        // Only maps with keys that are no strings can't be written; a JSON Schema has none.
        let text = serde_json::to_vec(&items).unwrap_or_default().into();
        Self { items: Arc::new(items), text }
    }

    /// Ours and others, sorted by id.
    fn with(&self, others: Vec<ActionItem>) -> Vec<Arc<ActionItem>> {
        let mut actions = self.items.as_ref().clone();
        actions.extend(others.into_iter().map(Arc::new));
        actions.sort_by(|a, b| a.id.cmp(&b.id));
        actions
    }
}
