//! Tasks, their specs and their events, as stored and as sent.
//!
//! Source of the shapes: `@backstage/plugin-scaffolder-backend` 4.2.0 (`tasks.spec`, `task_events.body`, `GET /v2/tasks/:id`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A task's id: a UUID v4, lower case.
pub type TaskId = String;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Waiting for a worker.
    Open,
    /// A worker runs it.
    Processing,
    /// Ended well.
    Completed,
    /// Ended with an error, or cancelled while running.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Not run.
    Skipped,
}

impl TaskStatus {
    /// The text in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
    /// The status of a stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled, Self::Skipped]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
    /// Whether the task has ended.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Open | Self::Processing)
    }
}

/// What a worker runs. Member order is upstream's; steps are kept as the template wrote them (plus `id` and `name`), so
/// that a spec stored by upstream and one stored here are the same text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// `scaffolder.backstage.io/v1beta3`.
    pub api_version: String,
    /// The steps; each an object with at least `id`, `name` and `action`.
    pub steps: Vec<Map<String, Value>>,
    /// `spec.EXPERIMENTAL_recovery` of the template.
    #[serde(rename = "EXPERIMENTAL_recovery", skip_serializing_if = "Option::is_none", default)]
    pub recovery: Option<Recovery>,
    /// The template's `output`, unrendered.
    #[serde(default)]
    pub output: Value,
    /// The form's values, verbatim.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Who started it; empty for services.
    #[serde(default)]
    pub user: UserSpec,
    /// The template it came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub template_info: Option<TemplateInfoSpec>,
    /// Members that other versions of upstream wrote.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A template's wish about recovery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// `none` or `startOver`.
    #[serde(rename = "EXPERIMENTAL_strategy", skip_serializing_if = "Option::is_none", default)]
    pub strategy: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl TaskSpec {
    /// Whether the template asks to be started over (`EXPERIMENTAL_strategy: startOver`); its event streams stay open
    /// after a completion.
    pub fn starts_over(&self) -> bool {
        self.recovery.as_ref().and_then(|recovery| recovery.strategy.as_deref()) == Some("startOver")
    }
}

/// `spec.user`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The catalog's entity of the user.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entity: Option<Value>,
    /// `user:default/jane`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none", default)]
    pub entity_ref: Option<String>,
}

/// `spec.templateInfo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateInfoSpec {
    /// `template:default/name`, lower case.
    pub entity_ref: String,
    /// Where the template file lives.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_url: Option<String>,
    /// `{ "metadata": … }` of the template.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entity: Option<Value>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A line of the log, or a step's change of status.
    Log,
    /// The task ended.
    Completion,
    /// Somebody asked to cancel.
    Cancelled,
    /// The task went back to the queue.
    Recovered,
}

impl EventType {
    /// The text in the database, in JSON and in SSE frames.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Completion => "completion",
            Self::Cancelled => "cancelled",
            Self::Recovered => "recovered",
        }
    }
    /// The type of a stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Log, Self::Completion, Self::Cancelled, Self::Recovered].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An event that has been stored. Serialises as upstream sends it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskEvent {
    /// Ascending within the database.
    pub id: i64,
    /// See [`TaskSpec::starts_over`].
    pub is_task_recoverable: bool,
    /// The task.
    pub task_id: TaskId,
    /// `{message, stepId?, status?}` and others, by type.
    #[schema(value_type = Object)]
    pub body: Value,
    /// The kind.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it was stored; whole seconds on SQLite.
    #[serde(serialize_with = "iso_millis")]
    pub created_at: DateTime<Utc>,
}

/// An event to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The kind.
    pub kind: EventType,
    /// The body.
    pub body: Value,
}

/// A task as the API shows it: no secrets, no state.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SerializedTask {
    /// The id.
    pub id: TaskId,
    /// The spec, as stored.
    #[schema(value_type = Object)]
    pub spec: Value,
    /// The status.
    pub status: TaskStatus,
    /// When it was created.
    #[serde(serialize_with = "iso_millis")]
    pub created_at: DateTime<Utc>,
    /// The worker's last sign of life; `null` when none.
    #[serde(serialize_with = "iso_millis_or_null")]
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    /// The user's entity reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

fn iso_millis<S: serde::Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

fn iso_millis_or_null<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => iso_millis(time, serializer),
        None => serializer.serialize_none(),
    }
}
