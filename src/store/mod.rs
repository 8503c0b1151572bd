//! Where tasks, events and catalog entities are kept.
//!
//! The tables are those of `@backstage/plugin-scaffolder-backend` 4.2.0, so that a company can point the service at its
//! existing database and go back; what is ours lives in tables whose names start with `understudy_`.

#[cfg(test)]
mod contract;
mod error;
mod keys;
mod rows;
mod sqlite;
mod visible;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use error::StoreError;
pub use keys::{KeyStore, StoredKey};
pub use sqlite::SqliteStore;
pub use visible::CreatorFilter;

use crate::model::{NewEvent, SerializedTask, TaskEvent, TaskId, TaskSpec, TaskStatus};

/// A task to be created.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// What to run.
    pub spec: TaskSpec,
    /// JSON object of secrets, `backstageToken` and `__initiatorCredentials` included.
    pub secrets: Option<Map<String, Value>>,
    /// The user's entity reference.
    pub created_by: Option<String>,
}

/// A task taken by a worker.
#[derive(Debug, Clone)]
pub struct ClaimedTask {
    /// The id.
    pub id: TaskId,
    /// What to run; an error text when the stored spec can't be read (the task must then be failed with it).
    pub spec: Result<TaskSpec, String>,
    /// The secrets.
    pub secrets: Map<String, Value>,
    /// Who created it.
    pub created_by: Option<String>,
    /// `tasks.state`: `{"checkpoints": …, "steps": …}` or empty.
    pub state: Map<String, Value>,
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Any of these creators; empty means all.
    pub created_by: Vec<String>,
    /// Any of these statuses; empty means all.
    pub status: Vec<TaskStatus>,
    /// Only those that this lets through (what the caller may see); `None` means all.
    pub visible: Option<CreatorFilter>,
    /// Fields and directions; default newest first.
    pub order: Vec<(OrderField, Direction)>,
    /// At most so many.
    pub limit: Option<u64>,
    /// After so many.
    pub offset: Option<u64>,
}

/// What tasks can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderField {
    /// `created_at`
    CreatedAt,
    /// `status`
    Status,
    /// `created_by`
    CreatedBy,
}

/// Ascending or descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// A page of tasks.
#[derive(Debug, Clone)]
pub struct TaskPage {
    /// The tasks of the page.
    pub tasks: Vec<SerializedTask>,
    /// How many match without limit and offset.
    pub total: u64,
}

/// Tasks and their events. Every write is durable when its future resolves.
#[async_trait]
pub trait TaskStore: Send + Sync + 'static {
    /// Stores a task with status `open`.
    async fn create_task(&self, task: NewTask) -> Result<TaskId, StoreError>;
    /// The task, or [`StoreError::NoTask`].
    async fn get_task(&self, id: &str) -> Result<SerializedTask, StoreError>;
    /// The page of tasks that match.
    async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError>;
    /// Takes the oldest open task, sets it to `processing` with a fresh heartbeat. Secrets stay in the row only when
    /// `keep_secrets` (recovery) or when the template starts over.
    async fn claim_task(&self, keep_secrets: bool) -> Result<Option<ClaimedTask>, StoreError>;
    /// Signs life; [`StoreError::Conflict`] when the task is no longer processing.
    async fn heartbeat(&self, id: &str) -> Result<(), StoreError>;
    /// Appends events in order, in one transaction.
    async fn append_events(&self, id: &str, events: Vec<NewEvent>) -> Result<Vec<TaskEvent>, StoreError>;
    /// The events with `id > after` or of type completion (all when `after` is `None`), trimmed for templates that start
    /// over: upstream 4.2.0 `listEvents` + `trimEventsTillLastRecovery`.
    async fn list_events(&self, id: &str, after: Option<i64>) -> Result<Vec<TaskEvent>, StoreError>;
    /// Ends a processing task: status, secrets wiped, completion event. [`StoreError::Conflict`] when it isn't
    /// processing; `None` when it was cancelled meanwhile.
    async fn complete_task(&self, id: &str, status: TaskStatus, body: Value) -> Result<Option<TaskEvent>, StoreError>;
    /// Wipes the secrets and stores a `cancelled` event with this body; the status stays.
    async fn cancel_task(&self, id: &str, body: Value) -> Result<TaskEvent, StoreError>;
    /// Puts an ended task back to `open`: secrets replaced, cancelled and completion events removed, `recovered` event
    /// stored. [`StoreError::Conflict`] with upstream's text when the task has not ended.
    async fn retry_task(&self, id: &str, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError>;
    /// Puts a processing task back to `open` with a `recovered` event: graceful shutdown hands it over. Secrets that were
    /// not kept when it was claimed can be given back; `None` leaves what is stored.
    async fn release_task(&self, id: &str, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError>;
    /// Puts processing tasks whose heartbeat is at least this old back to `open`, each with a `recovered` event.
    async fn recover_stale(&self, older_than: Duration) -> Result<Vec<TaskEvent>, StoreError>;
    /// Processing tasks whose heartbeat is at least this old (the janitor closes them).
    async fn list_stale(&self, older_than: Duration) -> Result<Vec<TaskId>, StoreError>;
    /// `tasks.state`'s inner object.
    async fn load_state(&self, id: &str) -> Result<Map<String, Value>, StoreError>;
    /// Replaces it.
    async fn save_state(&self, id: &str, state: &Map<String, Value>) -> Result<(), StoreError>;
    /// A round trip to the database, for the readiness route.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A location registered with the embedded catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLocation {
    /// UUID.
    pub id: String,
    /// `url` or `file`.
    pub kind: String,
    /// The URL or absolute path.
    pub target: String,
}

/// An entity of the embedded catalog.
#[derive(Debug, Clone)]
pub struct StoredEntity {
    /// Canonical reference.
    pub entity_ref: String,
    /// `type:target` of the file it was read from.
    pub location: String,
    /// `type:target` of the registered location that led there.
    pub origin: String,
    /// The entity.
    pub entity: Value,
}

/// Locations and entities of the embedded catalog.
#[async_trait]
pub trait CatalogStore: Send + Sync + 'static {
    /// All registered locations, oldest first.
    async fn locations(&self) -> Result<Vec<StoredLocation>, StoreError>;
    /// Adds a location together with what was found there, all or nothing; entities of the same origin are replaced.
    async fn put_location(&self, location: &StoredLocation, entities: &[StoredEntity]) -> Result<(), StoreError>;
    /// Removes a location and the entities that came from it; `false` when there is none.
    async fn remove_location(&self, id: &str) -> Result<bool, StoreError>;
    /// Replaces the entities of one origin (`type:target`), for refreshes and for locations from the configuration.
    async fn replace_origin(&self, origin: &str, entities: &[StoredEntity]) -> Result<(), StoreError>;
    /// All entities.
    async fn entities(&self) -> Result<Vec<StoredEntity>, StoreError>;
}
