//! The task engine: what happens between `POST /v2/tasks` and the completion event.
//!
//! [`TaskService`] is what the API calls. Behind it: [`spec`] makes a [`TaskSpec`](crate::model::TaskSpec) of a template
//! and a form, `worker` claims tasks and runs them in slots, [`runner`] and `step` are the step algorithm, `events`
//! carries events to live subscribers, `follow` hears what other processes do, `recovery` brings back the tasks of dead processes, `dry_run` and [`local`] run
//! templates without a store. [`beta2`] is what differs in templates of `backstage.io/v1beta2`.

pub mod beta2;
mod directory;
mod dry_run;
mod events;
mod follow;
pub mod limits;
pub mod local;
pub mod log;
pub mod observe;
mod persist;
pub mod plugin_actions;
pub mod policy;
mod queue;
mod recovery;
mod redact;
mod render;
pub mod runner;
mod saved;
pub mod schedule;
mod schema_example;
pub mod spec;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use camino::Utf8PathBuf;
use futures_util::Stream;
use serde_json::{Map, Value};
use tokio::{runtime::Handle, sync::Notify};
use understudy_actions_core::templating::Templating;
use understudy_sdk::{LogLevel, Registry, Secrets};

use self::{
    events::EventLog,
    observe::TaskObserver,
    plugin_actions::PluginActions,
    policy::ActionPolicy,
    runner::{Runner, StopReason},
    schedule::Schedule,
    worker::Worker,
};
use crate::{
    audit::Auditor,
    auth::Credentials,
    catalog::CatalogFactory,
    config::{Config, DatabaseConfig},
    model::{SerializedTask, TaskEvent, TaskId, TaskStatus},
    store::{NewTask, StoreError, TaskFilter, TaskPage, TaskStore},
    workspaces::Workspaces,
};

/// How long a shutdown waits for heartbeats and other loops to end; they look up every second.
const LOOPS_GRACE: Duration = Duration::from_secs(2);

/// Batches of a task's events: first what is stored, then what happens, without gaps or duplicates; never an empty one.
/// Ends when the service shuts down.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Vec<TaskEvent>, StoreError>> + Send>>;

/// The engine's settings.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Workspaces are made here, one for each running task.
    pub working_directory: Utf8PathBuf,
    /// How many tasks may work at the same time; waiting ones don't count. 0: this process runs no tasks.
    pub concurrency: usize,
    /// Whether tasks of dead processes are run again, and completed steps are kept for that.
    pub recovery: bool,
    /// Whether no other process uses the database: then tasks that a killed process left are taken up at start.
    pub sole_process: bool,
    /// Without a heartbeat for so long a task counts as orphaned.
    pub stale_timeout: Duration,
    /// Without a heartbeat for so long a task is failed.
    pub task_timeout: Duration,
    /// How often the latter is checked, and what is old removed.
    pub janitor_frequency: Duration,
    /// How long the workspace of a task that failed or was cancelled is kept for another try.
    pub failed_workspace_retention: Duration,
    /// How long tasks are kept after they ended; `None` for ever.
    pub retention_max_age: Option<Duration>,
    /// How many tasks that ended are kept; `None` for all.
    pub retention_max_tasks: Option<u64>,
    /// What templates see as `environment.parameters`.
    pub environment_parameters: Map<String, Value>,
    /// What step inputs see as `environment.secrets`.
    pub environment_secrets: Secrets,
    /// Lines below this level don't go to task logs.
    pub log_level: LogLevel,
}

impl EngineSettings {
    /// The settings of a configuration; the level of task logs is that of the environment's `LOG_LEVEL`
    /// ([`log::log_level`]).
    pub fn from_config(config: &Config, log_level: LogLevel) -> Self {
        let scaffolder = &config.scaffolder;
        Self {
            working_directory: config.backend.working_directory.clone(),
            concurrency: scaffolder.concurrent_tasks_limit,
            recovery: scaffolder.recovery_enabled,
            sole_process: !matches!(config.backend.database, DatabaseConfig::Postgres(_)),
            stale_timeout: scaffolder.stale_timeout,
            task_timeout: scaffolder.task_timeout,
            janitor_frequency: scaffolder.janitor_frequency,
            failed_workspace_retention: scaffolder.failed_workspace_retention,
            retention_max_age: scaffolder.retention_max_age,
            retention_max_tasks: scaffolder.retention_max_tasks,
            environment_parameters: scaffolder.environment_parameters.clone(),
            environment_secrets: scaffolder.environment_secrets.clone(),
            log_level,
        }
    }
}

/// What the engine is built from.
pub struct EngineDeps {
    /// Where tasks and events are kept.
    pub store: Arc<dyn TaskStore>,
    /// The actions.
    pub registry: Registry,
    /// The template language.
    pub templating: Templating,
    /// Makes the catalog actions see.
    pub catalog: CatalogFactory,
    /// Where workspaces are saved for other replicas; `None` where they stay on this machine.
    pub workspaces: Option<Arc<Workspaces>>,
    /// Settings.
    pub config: EngineSettings,
    /// The actions of other plugins, where there are any.
    pub plugin_actions: Option<PluginActions>,
    /// Who decides whether an action may run; [`policy::AllowAll`] where nobody does.
    pub policy: Arc<dyn ActionPolicy>,
    /// Who is told when steps and tasks end; [`observe::LogObserver`] writes to the service's log.
    pub observer: Arc<dyn TaskObserver>,
    /// Writes which tasks are run, and how they end.
    pub auditor: Auditor,
    /// A runtime with several threads, on which tasks run. Not one of actix's own, which have a single thread.
    pub runtime: Handle,
}

/// The engine as the API sees it. Cheap to clone.
#[derive(Clone)]
pub struct TaskService {
    store: Arc<dyn TaskStore>,
    log: Arc<EventLog>,
    worker: Arc<Worker>,
    runner: Arc<Runner>,
    settings: Arc<EngineSettings>,
    runtime: Handle,
}

/// What a dry run is asked.
#[derive(Debug, Clone)]
pub struct DryRunRequest {
    /// The template entity.
    pub template: Value,
    /// The form's values.
    pub values: Map<String, Value>,
    /// Secrets, `backstageToken` included.
    pub secrets: Map<String, Value>,
    /// Uploaded files: relative path and content.
    pub directory_contents: Vec<(String, Vec<u8>)>,
    /// Who asks, as templates see it.
    pub user: crate::model::UserSpec,
    /// Who asks; the catalog and others are asked in this name.
    pub initiator: Credentials,
}

/// What a dry run gives; serialises as `POST /v2/dry-run` answers (spec/01 §2.10).
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRunResult {
    /// `[{body: {message, stepId?, status?}}]`.
    #[schema(value_type = Vec<Object>)]
    pub log: Vec<Value>,
    /// `[{path, executable, base64Content}]`.
    #[schema(value_type = Vec<Object>)]
    pub directory_contents: Vec<Value>,
    /// The rendered output.
    #[schema(value_type = Object)]
    pub output: Value,
    /// The steps with ids and names.
    #[schema(value_type = Vec<Object>)]
    pub steps: Vec<Value>,
}

impl TaskService {
    /// Builds the engine. No task is run before [`TaskService::start_workers`].
    pub fn new(deps: EngineDeps) -> Self {
        let settings = Arc::new(deps.config);
        let runner = Arc::new(
            Runner::new(deps.registry, deps.templating, deps.catalog)
                .with_environment(settings.environment_parameters.clone(), settings.environment_secrets.clone())
                .with_log_level(settings.log_level)
                .with_policy(deps.policy)
                .with_plugin_actions(deps.plugin_actions)
                .with_observer(deps.observer),
        );
        let log = Arc::new(EventLog::new(Arc::clone(&deps.store)));
        let worker = Worker::new(
            Arc::clone(&deps.store),
            deps.workspaces,
            Arc::clone(&log),
            Arc::clone(&runner),
            Arc::clone(&settings),
            deps.auditor,
            deps.runtime.clone(),
        );
        Self { store: deps.store, log, worker: Arc::new(worker), runner, settings, runtime: deps.runtime }
    }
    /// Starts to claim and run tasks, and to look after those of others.
    pub fn start_workers(&self) {
        let worker = &self.worker;
        let spawn = |work: Pin<Box<dyn Future<Output = ()> + Send>>| {
            worker.loops.spawn_on(work, &self.runtime);
        };
        if self.settings.concurrency > 0 {
            spawn(Box::pin(Arc::clone(worker).keep_heartbeats()));
            if self.settings.recovery {
                spawn(Box::pin(Arc::clone(worker).recover_tasks()));
            }
            worker.claims.spawn_on(Arc::clone(worker).claim_tasks(), &self.runtime);
        }
        spawn(Box::pin(Arc::clone(worker).keep_order()));
        spawn(Box::pin(Arc::clone(worker).watch_queue()));
        if let Some(signals) = self.store.signals() {
            spawn(Box::pin(Arc::clone(worker).follow(signals)));
        }
    }
    /// The actions of other plugins, where there are any.
    pub fn plugin_actions(&self) -> Option<&PluginActions> {
        self.runner.plugin_actions.as_ref()
    }
    /// What the engine does from time to time.
    pub fn schedules(&self) -> [&Schedule; 1] {
        [&self.worker.housekeeping]
    }
    /// The template language.
    pub fn templating(&self) -> &Templating {
        &self.runner.templating
    }
    /// Stores a task and wakes a worker.
    pub async fn create(&self, task: NewTask) -> Result<TaskId, StoreError> {
        let id = self.store.create_task(task).await?;
        self.worker.wake.notify_one();
        Ok(id)
    }
    /// The task.
    pub async fn get(&self, id: &str) -> Result<SerializedTask, StoreError> {
        self.store.get_task(id).await
    }
    /// A page of tasks.
    pub async fn list(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        self.store.list_tasks(filter).await
    }
    /// Asks a task to stop. One that has ended gets the event all the same, as upstream.
    pub async fn cancel(&self, id: &str) -> Result<(), StoreError> {
        self.store.get_task(id).await?;
        self.log.cancel(id).await?;
        self.worker.stop(id, StopReason::Cancelled);
        Ok(())
    }
    /// Puts an ended task back into the queue. One that failed or was cancelled goes on with the step it ended in, as long as
    /// its workspace is there; any other runs from its first step on. What actions kept by checkpoints is not done again.
    pub async fn retry(&self, id: &str, secrets: Option<Map<String, Value>>) -> Result<(), StoreError> {
        // The workspace of a task that completed is gone.
        let from_start = self.store.get_task(id).await?.status == TaskStatus::Completed;
        self.log.retry(id, secrets, from_start).await?;
        self.worker.wake.notify_one();
        Ok(())
    }
    /// For how long every attempt of this process to claim a task has failed; `None` when the last one did not.
    pub fn claims_fail_for(&self) -> Option<Duration> {
        self.worker.claims_fail_for()
    }
    /// Told when another process has changed the stored catalog.
    pub fn catalog_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.worker.catalog_changed)
    }
    /// The task's events with `id > after`, live. Does not check that the task exists.
    pub fn subscribe(&self, id: &str, after: Option<i64>) -> EventStream {
        self.log.subscribe(id, after)
    }
    /// As [`TaskService::subscribe`], in batches of a bounded size, for listeners that may be slow.
    pub fn follow(&self, id: &str, after: Option<i64>) -> EventStream {
        self.log.follow(id, after)
    }
    /// Runs a template without storing anything.
    ///
    /// # Errors
    /// The first failing step's error.
    pub async fn dry_run(&self, request: DryRunRequest) -> Result<DryRunResult, understudy_sdk::ActionError> {
        // On the engine's runtime: the caller's may have a single thread, which rendering would keep busy.
        let run = dry_run::run(Arc::clone(&self.runner), Arc::clone(&self.settings), request);
        self.runtime.spawn(run).await.unwrap_or_else(|error| {
            Err(understudy_sdk::ActionError::failed(format!("the dry run did not come to its end: {error}")))
        })
    }
    /// Whether no stored task is running in this process at the moment, waiting ones included.
    pub fn is_idle(&self) -> bool {
        self.worker.is_idle()
    }
    /// Stops claiming, asks running steps to stop, hands their tasks back to the queue; gives up waiting for steps after
    /// `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let worker = &self.worker;
        let deadline = tokio::time::Instant::now() + grace;
        worker.stopping.cancel();
        // A claim on its way comes through before the runs are counted.
        worker.claims.close();
        if tokio::time::timeout_at(deadline, worker.claims.wait()).await.is_err() {
            tracing::warn!("the store did not answer a claim in time");
        }
        worker.hand_over(deadline).await;
        worker.loops.close();
        if tokio::time::timeout(LOOPS_GRACE, worker.loops.wait()).await.is_err() {
            tracing::warn!("heartbeats did not end in time");
        }
        self.log.close();
    }
}

/// Locks a mutex. Nothing that panics runs under the engine's locks, and what they guard is consistent at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
