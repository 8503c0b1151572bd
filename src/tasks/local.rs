//! Running a template without a store: what `understudy run` does, and the base of dry runs.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};
use understudy_sdk::{ActionError, Entity, Secrets, WorkerSlot};

use super::{
    directory::RunDirectory,
    lock,
    log::{EventSink, LogEvent, StorageFailed},
    runner::{Job, RunEnd, Runner, StopReason, StopSignal},
    spec::build_task_spec,
    state::TaskState,
};
use crate::{auth::Credentials, model::UserSpec};

/// A template to be run here and now.
pub struct LocalRun {
    /// The template entity.
    pub template: Entity,
    /// The absolute path of the template file; relative URLs of `fetch:*` start there. Absent: where the entity's
    /// annotations say.
    pub template_file: Option<Utf8PathBuf>,
    /// The form's values.
    pub values: Map<String, Value>,
    /// The secrets.
    pub secrets: Secrets,
    /// Who runs it.
    pub user: UserSpec,
    /// The workspace: an absolute path, created where missing, kept afterwards. Temporary files go beside it.
    pub workspace: Utf8PathBuf,
    /// Whether actions without support for dry runs are skipped, and others leave no effects outside the workspace.
    pub dry_run: bool,
    /// Asks the run to stop.
    pub stop: Arc<StopSignal>,
}

/// Runs a template; `on_event` gets each event as it happens. Gives the rendered output.
///
/// # Errors
/// The entity is no template, or the first failing step's error.
pub async fn run_local(
    runner: &Runner,
    run: LocalRun,
    on_event: impl Fn(&LogEvent) + Send + Sync + 'static,
) -> Result<Value, ActionError> {
    let mut spec = build_task_spec(&run.template, run.values, run.user)
        .map_err(|error| ActionError::input(error.to_string()).with_source(error))?;
    if let (Some(info), Some(file)) = (&mut spec.template_info, &run.template_file) {
        info.base_url = Some(file_url(file));
    }
    let job = Job {
        initiator: Credentials::none(),
        task_id: uuid::Uuid::new_v4().to_string().into(),
        spec,
        secrets: run.secrets,
        directory: RunDirectory::at(run.workspace),
        restored: Map::new(),
        notice: None,
        dry_run: run.dry_run,
        hidden_steps: 0,
        sink: Arc::new(Callback(on_event)),
        state: Arc::new(TaskState::in_memory()),
        resumable: false,
        slot: Arc::new(NoSlot),
        stop: run.stop,
    };
    outcome(runner.run(&job).await, &job.stop)
}

/// The outcome of a run that nobody stores.
pub(super) fn outcome(end: Result<RunEnd, StorageFailed>, stop: &StopSignal) -> Result<Value, ActionError> {
    match end {
        Ok(RunEnd::Completed(output)) => Ok(output),
        Ok(RunEnd::Failed(error)) => Err(error),
        Ok(RunEnd::Interrupted) => Err(ActionError::failed(match stop.reason() {
            Some(StopReason::Shutdown) => "the run was interrupted by the end of the service",
            _ => "the run was interrupted",
        })),
        Err(error) => Err(ActionError::failed(error.to_string()).with_source(error)),
    }
}

/// The `file://` URL of an absolute path, as template locations are written: the path as it is.
pub(super) fn file_url(path: &Utf8Path) -> String {
    format!("file://{path}")
}

struct Callback<F>(F);

#[async_trait]
impl<F: Fn(&LogEvent) + Send + Sync + 'static> EventSink for Callback<F> {
    fn push(&self, event: LogEvent) {
        (self.0)(&event);
    }
    async fn flush(&self) -> Result<(), StorageFailed> {
        Ok(())
    }
}

/// Keeps the events in memory.
#[derive(Default)]
pub(super) struct Collected(Mutex<Vec<LogEvent>>);

impl Collected {
    pub(super) fn take(&self) -> Vec<LogEvent> {
        std::mem::take(&mut lock(&self.0))
    }
}

#[async_trait]
impl EventSink for Collected {
    fn push(&self, event: LogEvent) {
        lock(&self.0).push(event);
    }
    async fn flush(&self) -> Result<(), StorageFailed> {
        Ok(())
    }
}

/// A run outside the worker occupies no slot.
pub(super) struct NoSlot;

#[async_trait]
impl WorkerSlot for NoSlot {
    fn release(&self) {}
    async fn acquire(&self) {}
}
