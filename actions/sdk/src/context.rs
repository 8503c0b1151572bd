//! What an action gets to work with.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Catalog, Entity},
    error::ActionError,
    secrets::Secrets,
    workspace::Workspace,
};

/// Severity of a line in the task log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for the author of an action.
    Debug,
    /// What happens.
    Info,
    /// Something was skipped or worked around.
    Warn,
    /// Something failed.
    Error,
}

/// Where an action's log lines go. The engine redacts secrets and keeps the order.
pub trait LogSink: Send + Sync {
    /// Takes one line. Returns at once, unless lines come faster than they can be stored: then it waits for room.
    fn log(&self, level: LogLevel, message: &str);
}

/// Writes to the task log under the running step.
#[derive(Clone)]
pub struct ActionLogger(Arc<dyn LogSink>);

impl ActionLogger {
    /// A logger over a sink.
    pub fn new(sink: Arc<dyn LogSink>) -> Self {
        Self(sink)
    }
    /// Logs at level info.
    pub fn info(&self, message: impl AsRef<str>) {
        self.0.log(LogLevel::Info, message.as_ref());
    }
    /// Logs at level warn.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.0.log(LogLevel::Warn, message.as_ref());
    }
    /// Logs at level error.
    pub fn error(&self, message: impl AsRef<str>) {
        self.0.log(LogLevel::Error, message.as_ref());
    }
    /// Logs at level debug.
    pub fn debug(&self, message: impl AsRef<str>) {
        self.0.log(LogLevel::Debug, message.as_ref());
    }
}

impl std::fmt::Debug for ActionLogger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ActionLogger")
    }
}

/// Keeps results of a step's parts across runs of the same task (upstream's `ctx.checkpoint`, column `tasks.state`).
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// The value of an earlier success under this key, if any.
    ///
    /// # Errors
    /// The state can't be read.
    async fn load(&self, key: &str) -> Result<Option<Value>, ActionError>;
    /// Keeps a success.
    ///
    /// # Errors
    /// The state can't be written.
    async fn succeeded(&self, key: &str, value: &Value) -> Result<(), ActionError>;
    /// Keeps a failure (its reason is redacted by the store).
    ///
    /// # Errors
    /// The state can't be written.
    async fn failed(&self, key: &str, reason: &str) -> Result<(), ActionError>;
}

/// The worker slot a running step occupies; a waiting step gives it back so that other tasks can run.
#[async_trait]
pub trait WorkerSlot: Send + Sync {
    /// Gives the slot back.
    fn release(&self);
    /// Takes a slot again, waiting for a free one.
    async fn acquire(&self);
    /// Makes sure that the step's task is still this worker's: one that was away for a while (a paused machine, a cut
    /// network) may have lost it to another.
    ///
    /// # Errors
    /// It is not, or that can't be found out.
    async fn confirm(&self) -> Result<(), ActionError> {
        Ok(())
    }
}

/// The user who started the task.
#[derive(Debug, Clone, Default)]
pub struct UserInfo {
    /// `user:default/jane`; absent for services.
    pub entity_ref: Option<String>,
    /// The catalog's entity of the user.
    pub entity: Option<Entity>,
}

/// The template a task runs.
#[derive(Debug, Clone, Default)]
pub struct TemplateInfo {
    /// `template:default/name`.
    pub entity_ref: String,
    /// Where the template file lives: an `https://` or `file://` URL; relative URLs of `fetch:*` start here.
    pub base_url: Option<String>,
    /// The template entity (at least its `metadata`).
    pub entity: Option<Entity>,
}

/// Everything a running action may touch.
#[derive(Clone)]
pub struct ActionContext {
    /// The task's files.
    pub workspace: Workspace,
    /// The task log.
    pub log: ActionLogger,
    /// The task's secrets, `backstageToken` among them.
    pub secrets: Secrets,
    /// Who started the task.
    pub user: UserInfo,
    /// The template, absent when an action is run by itself.
    pub template: Option<TemplateInfo>,
    /// The task's id.
    pub task_id: String,
    /// The step's id.
    pub step_id: String,
    /// Which of the calls that the step's `each` makes: the entry's key; absent without `each`.
    pub iteration: Option<String>,
    /// The step's name.
    pub step_name: String,
    /// Whether this is a dry run: no effects outside the workspace.
    pub is_dry_run: bool,
    /// Fires when the task is cancelled or the service shuts down.
    pub cancel: CancellationToken,
    /// The catalog, with the initiator's credentials.
    pub catalog: Arc<dyn Catalog>,
    /// Results kept across runs of this task.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// The worker slot of this step.
    pub slot: Arc<dyn WorkerSlot>,
    /// A directory for temporary files beside the workspace, removed when the step ends.
    pub temp_root: Utf8PathBuf,
}

impl std::fmt::Debug for ActionContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActionContext")
            .field("task_id", &self.task_id)
            .field("step_id", &self.step_id)
            .finish_non_exhaustive()
    }
}

impl ActionContext {
    /// Names this call of the action, the same in every run of the task: `<task>/<step>`, and behind that `/<key>` for a
    /// call that `each` makes. A receiver that is told (`Idempotency-Key` in HTTP) can tell a repeated effect from a new
    /// one, whatever process repeats it.
    pub fn idempotency_key(&self) -> String {
        let Self { task_id, step_id, iteration, .. } = self;
        match iteration {
            Some(key) => format!("{task_id}/{step_id}/{key}"),
            None => format!("{task_id}/{step_id}"),
        }
    }
    /// Makes sure that the task is still this worker's. To be called before an effect that can't be taken back and comes
    /// long after the step or the checkpoint around it began; the engine does so before each call of an action, and
    /// [`ActionContext::checkpoint`] before its work.
    ///
    /// # Errors
    /// It no longer is, or that can't be found out: the effect must not be.
    pub async fn confirm_claim(&self) -> Result<(), ActionError> {
        self.slot.confirm().await
    }
    /// Runs `work` once per task: when an earlier run of this task got through it, its value is returned instead.
    /// `key` is unique within the step.
    ///
    /// # Errors
    /// The error of `work` (kept as a failed checkpoint), the state can't be read or written, or the task is no longer this
    /// worker's; then nothing is done.
    pub async fn checkpoint<T, F, Fut>(&self, key: &str, work: F) -> Result<T, ActionError>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, ActionError>> + Send,
    {
        if let Some(known) = self.checkpoints.load(key).await?
            && let Ok(value) = serde_json::from_value(known)
        {
            return Ok(value);
        }
        self.confirm_claim().await?;
        match work().await {
            Ok(value) => {
                let json = serde_json::to_value(&value).map_err(|error| {
                    ActionError::failed(format!("Checkpoint '{key}' has a value that can't be kept: {error}"))
                })?;
                self.checkpoints.succeeded(key, &json).await?;
                Ok(value)
            }
            Err(error) => {
                if let Err(lost) = self.checkpoints.failed(key, &error.to_string()).await {
                    return Err(ActionError::failed(format!(
                        "Checkpoint '{key}' failed and its failure state could not be persisted: {}; {}",
                        error.message(),
                        lost.message()
                    )));
                }
                Err(error)
            }
        }
    }

    /// Awaits something that is no work (a timer, somebody else's progress) without occupying a worker slot.
    ///
    /// # Errors
    /// [`ActionError::cancelled`] when the task is cancelled meanwhile.
    pub async fn waiting<T>(&self, wait: impl Future<Output = T> + Send) -> Result<T, ActionError> {
        self.slot.release();
        let result = tokio::select! {
            value = wait => Ok(value),
            () = self.cancel.cancelled() => Err(ActionError::cancelled()),
        };
        self.slot.acquire().await;
        result
    }

    /// A context for work that goes on inside [`ActionContext::waiting`], such as asking somebody at intervals: the worker
    /// slot has been given back already, so that waits within that work leave it alone.
    #[must_use]
    pub fn without_slot(&self) -> Self {
        Self { slot: Arc::new(NoSlot(Arc::clone(&self.slot))), ..self.clone() }
    }

    /// Fails when the task has been cancelled; long loops call it between their parts.
    ///
    /// # Errors
    /// [`ActionError::cancelled`].
    pub fn check_cancelled(&self) -> Result<(), ActionError> {
        if self.cancel.is_cancelled() { Err(ActionError::cancelled()) } else { Ok(()) }
    }
}

/// For work that occupies no worker slot.
struct NoSlot(Arc<dyn WorkerSlot>);

#[async_trait]
impl WorkerSlot for NoSlot {
    fn release(&self) {}
    async fn acquire(&self) {}
    async fn confirm(&self) -> Result<(), ActionError> {
        self.0.confirm().await
    }
}
