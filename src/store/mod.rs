//! Where tasks, events and catalog entities are kept.
//!
//! The tables are those of `@backstage/plugin-scaffolder-backend` 4.2.0, so that a company can point the service at its
//! existing database and go back; what is ours lives in tables whose names start with `understudy_`.

#[cfg(test)]
mod contract;
mod error;
mod keys;
#[cfg(test)]
mod million;
mod postgres;
mod recoverable;
mod rows;
mod schema;
mod sqlite;
mod vault;
mod visible;
mod workspaces;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

pub use error::StoreError;
pub use keys::{KeyStore, StoredKey};
pub use postgres::PostgresStore;
pub use schema::PendingStep;
pub use sqlite::SqliteStore;
pub use vault::Vault;
pub use visible::CreatorFilter;
pub use workspaces::{SavedContent, SavedWorkspace, WorkspaceStore};

use crate::{
    config::{BackendConfig, DatabaseConfig, SecretsConfig},
    model::{NewEvent, SerializedTask, TaskEvent, TaskId, TaskSpec, TaskStatus},
};

/// The stores over one database.
#[derive(Clone)]
pub struct Stores {
    /// Tasks and events.
    pub tasks: Arc<dyn TaskStore>,
    /// The embedded catalog.
    pub catalog: Arc<dyn CatalogStore>,
    /// Public keys.
    pub keys: Arc<dyn KeyStore>,
    /// Saved workspaces.
    pub workspaces: Arc<dyn WorkspaceStore>,
}

impl Stores {
    /// Opens the configured database, makes what is missing of it. Secrets of tasks are kept there as `secrets` says.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Key`] with the reason, and with what to do.
    pub async fn open(config: &BackendConfig, secrets: &SecretsConfig) -> Result<Self, StoreError> {
        let vault = Vault::of(secrets, &config.database)?;
        match &config.database {
            DatabaseConfig::Postgres(database) => {
                Ok(Self::over(Arc::new(PostgresStore::open(database, config.skip_migrations, vault).await?)))
            }
            sqlite => Ok(Self::over(Arc::new(SqliteStore::open_with(sqlite, config.skip_migrations, vault).await?))),
        }
    }
    fn over<S: TaskStore + CatalogStore + KeyStore + WorkspaceStore>(store: Arc<S>) -> Self {
        Self { tasks: store.clone(), catalog: store.clone(), keys: store.clone(), workspaces: store }
    }
}

/// What would have to be done to the configured database before the service can use it, in order; nothing is changed.
///
/// # Errors
/// [`StoreError::Open`] when it can't be used, whatever is done.
pub async fn pending_migrations(config: &DatabaseConfig) -> Result<Vec<PendingStep>, StoreError> {
    match config {
        DatabaseConfig::SqliteMemory => Ok(Vec::new()),
        DatabaseConfig::SqliteFile(path) => sqlite::pending(path).await,
        DatabaseConfig::Postgres(config) => postgres::pending(config).await,
    }
}

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

/// The right to run a task. It ends when the task ends or goes back to the queue, whoever puts it there; from then on
/// every write that shows it is refused with [`StoreError::LostClaim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task_id: TaskId,
    /// Larger than that of every claim before it.
    pub token: i64,
}

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The task is still ours.
    Alive,
    /// It is, and somebody asked to cancel it.
    Cancelled,
    /// It no longer is.
    Lost,
}

/// What another process that uses the same database did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A task waits in the queue.
    Open,
    /// An event of this task was stored.
    Event(TaskId),
    /// Somebody asked to cancel this task.
    Cancelled(TaskId),
    /// Locations or entities of the catalog changed.
    Catalog,
    /// Signals come at once (`true`), or they don't, and whoever wants to know has to ask. Some may have been missed.
    Hearing(bool),
}

/// The tasks that wait for a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct QueueDepth {
    /// How many there are.
    pub tasks: u64,
    /// For how many seconds the oldest exists; 0 without any.
    pub oldest_seconds: f64,
}

/// A task taken by a worker.
#[derive(Debug, Clone)]
pub struct ClaimedTask {
    /// The claim, with the task's id.
    pub claim: Claim,
    /// What to run; an error text when the stored spec can't be read (the task must then be failed with it).
    pub spec: Result<TaskSpec, String>,
    /// The secrets.
    pub secrets: Map<String, Value>,
    /// Who created it.
    pub created_by: Option<String>,
    /// `tasks.state`: `{"checkpoints": …, "steps": …}` or empty.
    pub state: Map<String, Value>,
    /// For how long it was in the queue, since it was created or put back. SQLite counts whole seconds.
    pub queued: Duration,
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Any of these creators; empty means all.
    pub created_by: Vec<String>,
    /// Any of these statuses; empty means all.
    pub status: Vec<TaskStatus>,
    /// Any of these templates, by canonical reference; empty means all.
    pub template_ref: Vec<String>,
    /// Only those with this text, in whatever case, in their id, their creator or their spec (parameters, template, steps).
    pub text: Option<String>,
    /// Only those that this lets through (what the caller may see); `None` means all.
    pub visible: Option<CreatorFilter>,
    /// Fields and directions; default newest first.
    pub order: Vec<(OrderField, Direction)>,
    /// At most so many.
    pub limit: Option<u64>,
    /// After so many.
    pub offset: Option<u64>,
}

impl TaskFilter {
    /// What it lets through, as a text: the same for filters that differ in order and page only.
    fn question(&self) -> String {
        let Self { created_by, status, template_ref, text, visible, order: _, limit: _, offset: _ } = self;
        format!("{:?}", (created_by, status, template_ref, text, visible))
    }
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
    /// Signs life for these claims; gives what was found, in the same order.
    async fn heartbeat(&self, claims: &[Claim]) -> Result<Vec<Beat>, StoreError>;
    /// Appends events of a running task in order, in one transaction. `batch` counts the calls of a claim from 1: one that
    /// was stored already is not stored again, and gives no events (the answer to the first attempt was lost).
    async fn append_events(
        &self,
        claim: &Claim,
        batch: i64,
        events: Vec<NewEvent>,
    ) -> Result<Vec<TaskEvent>, StoreError>;
    /// The events with `id > after` or of type completion (all when `after` is `None`), trimmed for templates that start
    /// over: upstream 4.2.0 `listEvents` + `trimEventsTillLastRecovery`.
    async fn list_events(&self, id: &str, after: Option<i64>) -> Result<Vec<TaskEvent>, StoreError>;
    /// The first `limit` events with `id > after`, as they are stored. An event that is stored later has a larger id than
    /// those given.
    async fn events_after(&self, id: &str, after: i64, limit: usize) -> Result<Vec<TaskEvent>, StoreError>;
    /// The id of each task's newest event; tasks without events are left out.
    async fn newest_events(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, i64)>, StoreError>;
    /// Ends a running task: status, secrets wiped, completion event. [`StoreError::Conflict`] when it isn't processing;
    /// `None` when it was cancelled meanwhile.
    async fn complete_task(
        &self,
        claim: &Claim,
        status: TaskStatus,
        body: Value,
    ) -> Result<Option<TaskEvent>, StoreError>;
    /// Wipes the secrets and stores a `cancelled` event with this body; the status stays.
    async fn cancel_task(&self, id: &str, body: Value) -> Result<TaskEvent, StoreError>;
    /// Puts an ended task back to `open`: secrets replaced, cancelled and completion events removed, `recovered` event
    /// stored. What is known of the step that failed and of those that ran after it is forgotten; with `from_start`, of all
    /// steps. [`StoreError::Conflict`] with upstream's
    /// text when the task has not ended.
    async fn retry_task(
        &self,
        id: &str,
        secrets: Option<Map<String, Value>>,
        from_start: bool,
    ) -> Result<TaskEvent, StoreError>;
    /// Puts a running task back to `open` with a `recovered` event: graceful shutdown hands it over. Secrets that were
    /// not kept when it was claimed can be given back; `None` leaves what is stored.
    async fn release_task(&self, claim: &Claim, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError>;
    /// Puts processing tasks whose heartbeat is at least this old back to `open`, each with a `recovered` event.
    async fn recover_stale(&self, older_than: Duration) -> Result<Vec<TaskEvent>, StoreError>;
    /// Processing tasks whose heartbeat is at least this old (the janitor closes them).
    async fn list_stale(&self, older_than: Duration) -> Result<Vec<TaskId>, StoreError>;
    /// Fails a processing task whose heartbeat is at least this old, with these events before the completion; gives all of
    /// them, or nothing when the task is no longer such a one.
    async fn close_stale(
        &self,
        id: &str,
        older_than: Duration,
        events: Vec<NewEvent>,
        body: Value,
    ) -> Result<Vec<TaskEvent>, StoreError>;
    /// Deletes tasks that have ended, with their events: those whose last sign of life is at least `max_age` old, and those
    /// beyond the `keep` newest that have ended; `limit` of each at most. Gives their ids.
    async fn delete_ended(
        &self,
        max_age: Option<Duration>,
        keep: Option<u64>,
        limit: u32,
    ) -> Result<Vec<TaskId>, StoreError>;
    /// The tasks that wait for a worker.
    async fn queue_depth(&self) -> Result<QueueDepth, StoreError>;
    /// `tasks.state`'s inner object.
    async fn load_state(&self, id: &str) -> Result<Map<String, Value>, StoreError>;
    /// Replaces that of a running task.
    async fn save_state(&self, claim: &Claim, state: &Map<String, Value>) -> Result<(), StoreError>;
    /// A round trip to the database, for the readiness route.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Whether other processes may use the database at the same time.
    fn is_shared(&self) -> bool;
    /// What the others do; nothing where there are none. Only the first caller gets it.
    fn signals(&self) -> Option<mpsc::Receiver<Signal>>;
    /// Ends what is on its way and closes the database; later calls fail.
    async fn close(&self);
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
#[derive(Debug, Clone, PartialEq)]
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
