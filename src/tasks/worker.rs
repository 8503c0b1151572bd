//! Claims tasks, runs them in slots, keeps their heartbeats, and writes their outcome.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use understudy_sdk::{ActionError, Redactor, Secrets, WorkerSlot};

use super::{
    EngineSettings, beta2,
    directory::RunDirectory,
    events::{ChannelRef, EventLog},
    lock,
    log::{EventSink, StorageFailed},
    observe::QueueFigures,
    persist::persist,
    queue::EventQueue,
    runner::{Job, RunEnd, Runner, StopReason, StopSignal},
    saved::{self, Restored, SavedCopy},
    schedule::Schedule,
    state::{StateSaver, TaskState, completed_steps},
    step::panic_text,
};
use crate::{
    audit::{Act, Auditor, Pending},
    auth::Credentials,
    model::{EventType, TaskId, TaskStatus},
    store::{Beat, Claim, ClaimedTask, StoreError, TaskStore},
    workspaces::Workspaces,
};

/// The present version of templates.
const API_VERSION: &str = "scaffolder.backstage.io/v1beta3";
/// How often the store is asked for tasks that nobody announced.
const POLL: Duration = Duration::from_secs(5);
/// How long heartbeats may take before they count as failed.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
/// A sign of life younger than this needs no confirmation: stale timeouts are longer.
const FRESH: Duration = Duration::from_secs(2);

/// The end of a run whose task somebody else has put back or ended.
const LOST: &str = "the task is no longer this worker's";

/// One of the process's places to work, held by a running step and given back while it waits.
struct Slot {
    places: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    run: Arc<ActiveRun>,
    store: Arc<dyn TaskStore>,
}

#[async_trait]
impl WorkerSlot for Slot {
    fn release(&self) {
        lock(&self.held).take();
    }
    async fn acquire(&self) {
        if lock(&self.held).is_some() {
            return;
        }
        let stop = self.run.stop.token();
        tokio::select! {
            biased;
            // The run is on its way out and does no more work: it needs no place for that.
            () = stop.cancelled() => {}
            // The semaphore is never closed.
            permit = Arc::clone(&self.places).acquire_owned() => *lock(&self.held) = permit.ok(),
        }
    }
    async fn confirm(&self) -> Result<(), ActionError> {
        let run = &self.run;
        if run.stop.reason().is_some() {
            return Err(ActionError::cancelled());
        }
        if lock(&run.alive).elapsed() < FRESH {
            return Ok(());
        }
        // This process, or the database, was away for a while.
        let sent = Instant::now();
        let beat = || self.store.heartbeat(std::slice::from_ref(&run.claim));
        let beats = persist("a sign of life", &run.stop, beat).await.map_err(|error| {
            ActionError::failed(format!("whether the task is still this worker's can't be found out: {error}"))
        })?;
        for beat in beats {
            run.hear(beat, sent);
        }
        if run.stop.reason().is_some() { Err(ActionError::cancelled()) } else { Ok(()) }
    }
}

/// A task this process runs.
pub(super) struct ActiveRun {
    pub(super) stop: Arc<StopSignal>,
    claim: Claim,
    /// When the last sign of life that was taken was on its way; nobody takes the task from us before the stale timeout has
    /// passed since then.
    alive: Mutex<Instant>,
    /// The task's secrets where the store has not kept them: without them it can't go back to the queue.
    secrets: Option<Map<String, Value>>,
    /// The outcome is being stored: heartbeats may be refused from now on.
    ending: AtomicBool,
    /// The workspace is worth keeping should the task fail: another try can go on there.
    keeps_workspace: AtomicBool,
    done: CancellationToken,
    abort: OnceLock<AbortHandle>,
}

/// The worker of this process.
pub(super) struct Worker {
    pub(super) store: Arc<dyn TaskStore>,
    /// Where workspaces are saved for other replicas.
    pub(super) workspaces: Option<Arc<Workspaces>>,
    pub(super) log: Arc<EventLog>,
    pub(super) runner: Arc<Runner>,
    pub(super) settings: Arc<EngineSettings>,
    pub(super) auditor: Auditor,
    /// Stale and old tasks.
    pub(super) housekeeping: Schedule,
    pub(super) runtime: Handle,
    pub(super) wake: Notify,
    /// Whether signals of other processes come at once.
    pub(super) is_hearing: AtomicBool,
    /// Another process changed the catalog.
    pub(super) catalog_changed: Arc<Notify>,
    /// Since when the database answers without interruption.
    trusted_since: Mutex<Instant>,
    /// Since when no claim has succeeded, though there are places to work.
    failing_since: Mutex<Option<Instant>>,
    /// Ends the loops.
    pub(super) stopping: CancellationToken,
    pub(super) loops: TaskTracker,
    pub(super) claims: TaskTracker,
    runs: TaskTracker,
    running: Mutex<HashMap<TaskId, Arc<ActiveRun>>>,
    places: Arc<Semaphore>,
}

/// Removes a run from the list and tells who waits for its end, also when it is aborted.
struct RunGuard {
    worker: Arc<Worker>,
    id: TaskId,
    run: Arc<ActiveRun>,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let mut running = lock(&self.worker.running);
        if running.get(&self.id).is_some_and(|run| Arc::ptr_eq(run, &self.run)) {
            running.remove(&self.id);
        }
        drop(running);
        self.run.done.cancel();
    }
}

impl Worker {
    pub(super) fn new(
        store: Arc<dyn TaskStore>,
        workspaces: Option<Arc<Workspaces>>,
        log: Arc<EventLog>,
        runner: Arc<Runner>,
        settings: Arc<EngineSettings>,
        auditor: Auditor,
        runtime: Handle,
    ) -> Self {
        Self {
            store,
            workspaces,
            log,
            runner,
            auditor,
            // The name that upstream's router (4.2.0) gives it.
            housekeeping: Schedule::new("close_stale_tasks", settings.janitor_frequency),
            runtime,
            wake: Notify::new(),
            is_hearing: AtomicBool::new(false),
            catalog_changed: Arc::default(),
            trusted_since: Mutex::new(Instant::now()),
            failing_since: Mutex::default(),
            stopping: CancellationToken::new(),
            loops: TaskTracker::new(),
            claims: TaskTracker::new(),
            runs: TaskTracker::new(),
            running: Mutex::default(),
            places: Arc::new(Semaphore::new(settings.concurrency)),
            settings,
        }
    }

    /// Asks a task to stop if it runs here.
    pub(super) fn stop(&self, id: &str, reason: StopReason) {
        if let Some(run) = lock(&self.running).get(id) {
            run.stop.stop(reason);
        }
    }

    /// For how long the database has answered without interruption.
    pub(super) fn database_trusted_for(&self) -> Duration {
        lock(&self.trusted_since).elapsed()
    }

    /// For how long every attempt to claim a task has failed.
    pub(super) fn claims_fail_for(&self) -> Option<Duration> {
        lock(&self.failing_since).map(|since| since.elapsed())
    }

    /// The database did not answer.
    pub(super) fn database_failed(&self) {
        *lock(&self.trusted_since) = Instant::now();
    }

    /// Claims tasks as long as there are free places.
    pub(super) async fn claim_tasks(self: Arc<Self>) {
        let new_pauses = || {
            ExponentialBuilder::new()
                .with_min_delay(Duration::from_secs(1))
                .with_max_delay(Duration::from_secs(if self.store.is_shared() { 5 } else { 60 }))
                .with_jitter()
                .without_max_times()
                .build()
        };
        let mut pauses = new_pauses();
        if self.settings.recovery && self.settings.sole_process {
            // Nobody else uses the database: whatever runs there was run by a process that is gone. Before the first
            // claim, or it would take our own tasks from us.
            self.recover(Duration::ZERO).await;
        }
        loop {
            let place = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                place = Arc::clone(&self.places).acquire_owned() => place,
            };
            let Ok(place) = place else { return };
            // Not interrupted by the end of the service: what has been claimed must be known to have been claimed.
            let claimed = self.store.claim_task(self.settings.recovery).await;
            if claimed.is_ok() {
                lock(&self.failing_since).take();
            }
            let pause = match claimed {
                Ok(Some(task)) => {
                    self.runner.observer.task_claimed(task.queued);
                    pauses = new_pauses();
                    self.start(task, place);
                    continue;
                }
                Ok(None) => {
                    pauses = new_pauses();
                    POLL
                }
                Err(error) => {
                    self.database_failed();
                    lock(&self.failing_since).get_or_insert_with(Instant::now);
                    self.runner.observer.claim_failed();
                    let pause = pauses.next().unwrap_or(Duration::from_secs(60));
                    tracing::error!(%error, "Failed to claim task, retrying in {}ms", pause.as_millis());
                    pause
                }
            };
            drop(place);
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn start(self: &Arc<Self>, task: ClaimedTask, place: OwnedSemaphorePermit) {
        let id = task.claim.task_id.clone();
        let run = Arc::new(ActiveRun {
            stop: Arc::default(),
            claim: task.claim.clone(),
            alive: Mutex::new(Instant::now()),
            secrets: (!self.settings.recovery).then(|| task.secrets.clone()),
            ending: AtomicBool::new(false),
            keeps_workspace: AtomicBool::new(false),
            done: CancellationToken::new(),
            abort: OnceLock::new(),
        });
        let slot = Arc::new(Slot {
            places: Arc::clone(&self.places),
            held: Mutex::new(Some(place)),
            run: Arc::clone(&run),
            store: Arc::clone(&self.store),
        });
        let earlier = lock(&self.running).insert(id.clone(), Arc::clone(&run));
        let guard = RunGuard { worker: Arc::clone(self), id, run: Arc::clone(&run) };
        let handle = self.runs.spawn_on(Arc::clone(self).run(task, slot, guard, earlier), &self.runtime);
        // Set once, here.
        let _ = run.abort.set(handle.abort_handle());
    }

    /// Runs a claimed task and stores its outcome.
    async fn run(
        self: Arc<Self>,
        task: ClaimedTask,
        slot: Arc<Slot>,
        guard: RunGuard,
        earlier: Option<Arc<ActiveRun>>,
    ) {
        // The task was taken from us and came back while its old run is still on its way out.
        if let Some(earlier) = earlier {
            earlier.stop.stop(StopReason::Lost);
            earlier.done.cancelled().await;
        }
        let id = task.claim.task_id.clone();
        let directory = RunDirectory::new(&self.settings.working_directory, &id);
        let channel = self.log.channel(&id);
        let audit = self.audit(&task);
        let end = AssertUnwindSafe(self.execute(task, slot, &guard.run, &directory)).catch_unwind().await;
        let end = end.unwrap_or_else(|panic| {
            let reason = panic_text(&*panic);
            tracing::error!(task_id = id, reason, "a task's run panicked");
            Ok(RunEnd::Failed(ActionError::failed(
                "the run of this task stopped by a panic, which is a mistake in the service; its log says more",
            )))
        });
        match end {
            Ok(RunEnd::Completed(output)) => {
                let body = json!({"message": "Run completed with status: completed", "output": output});
                self.complete(&channel, &guard, TaskStatus::Completed, body, directory).await;
                audit.succeed();
            }
            Ok(RunEnd::Failed(error)) => {
                audit.fail(&error.name().to_string(), error.message());
                let body = json!({
                    "message": "Run completed with status: failed",
                    "error": {"name": error.name().to_string(), "message": error.message()},
                });
                self.complete(&channel, &guard, TaskStatus::Failed, body, directory).await;
            }
            Ok(RunEnd::Interrupted) if guard.run.stop.reason() == Some(StopReason::Shutdown) => {
                self.release(&guard.run).await;
                audit.fail("Error", "the service shuts down, and the task goes back to the queue");
            }
            Ok(RunEnd::Interrupted) => {
                self.runner.observer.claim_lost();
                tracing::warn!(task_id = id, "the task is no longer ours, its run has ended");
                audit.fail("Error", LOST);
            }
            Err(error) if guard.run.stop.reason() == Some(StopReason::Lost) => {
                self.runner.observer.claim_lost();
                tracing::warn!(task_id = id, %error, "the task is no longer ours, its run has ended");
                audit.fail("Error", LOST);
            }
            Err(error) => {
                audit.fail("Error", &error.to_string());
                tracing::error!(task_id = id, %error, "the task's run can't go on; it is left for recovery");
            }
        }
    }

    /// Writes that a task begins to run.
    fn audit(&self, task: &ClaimedTask) -> Pending {
        self.auditor.own(Act::Execution, || {
            let secrets = Redactor::new(task.secrets.values().filter_map(Value::as_str));
            let spec = task.spec.as_ref().ok();
            let template = spec.and_then(|spec| spec.template_info.as_ref());
            [
                ("createdBy", task.created_by.as_deref().into()),
                ("taskId", task.claim.task_id.as_str().into()),
                ("taskParameters", spec.map(|spec| self.auditor.shown(&spec.parameters, &secrets)).into()),
                ("templateRef", template.map(|template| template.entity_ref.as_str()).into()),
            ]
        })
    }

    async fn execute(
        &self,
        task: ClaimedTask,
        slot: Arc<Slot>,
        run: &Arc<ActiveRun>,
        directory: &RunDirectory,
    ) -> Result<RunEnd, StorageFailed> {
        let ClaimedTask { claim, spec, secrets: stored_secrets, mut state, .. } = task;
        let id = &claim.task_id;
        let stop = Arc::clone(&run.stop);
        let spec = match spec {
            Ok(spec) if [API_VERSION, beta2::API_VERSION].contains(&spec.api_version.as_str()) => {
                beta2::modernise(spec)
            }
            Ok(spec) => {
                return Ok(RunEnd::Failed(ActionError::failed(format!(
                    "Unsupported Template apiVersion {}",
                    spec.api_version
                ))));
            }
            Err(reason) => return Ok(RunEnd::Failed(ActionError::failed(reason))),
        };
        let task_secrets = secrets(&stored_secrets);
        let initiator = match Credentials::of_task(&task_secrets) {
            Ok(initiator) => initiator,
            Err(error) => return Ok(RunEnd::Failed(ActionError::failed(error.to_string()))),
        };
        let events = persist("the start of a task", &stop, || self.store.list_events(id, None))
            .await
            .map_err(|error| StorageFailed { what: "log", reason: error.to_string() })?;
        // Retrying removes these events: one that is there asks this run to stop.
        if events.iter().any(|event| event.kind == EventType::Cancelled) {
            stop.stop(StopReason::Cancelled);
        }
        let resumable = self.settings.recovery && !spec.starts_over();
        let (restored, notice, copy) =
            self.restore(&claim, resumable, &mut state, directory, &stop, !events.is_empty()).await?;
        let queue = EventQueue::start(&self.runtime, self.log.channel(id), claim.clone(), Arc::clone(&stop));
        let queue = Arc::new(queue);
        let saver = StoredState { store: Arc::clone(&self.store), copy, claim: claim.clone(), stop: Arc::clone(&stop) };
        let job = Job {
            resumable,
            spec,
            secrets: task_secrets,
            initiator,
            directory: directory.clone(),
            restored,
            notice,
            dry_run: false,
            hidden_steps: 0,
            sink: Arc::clone(&queue) as Arc<dyn EventSink>,
            state: Arc::new(TaskState::stored(state, saver)),
            slot,
            stop,
            task_id: claim.task_id.into(),
        };
        let end = AssertUnwindSafe(self.runner.run(&job)).catch_unwind().await;
        queue.flush().await?;
        let keeps = job.resumable
            && !self.settings.failed_workspace_retention.is_zero()
            && job.state.has_completed_steps().await;
        run.keeps_workspace.store(keeps, Ordering::Release);
        end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Decides whether a task goes on where an earlier run left it, and makes the directory fit that decision.
    async fn restore(
        &self,
        claim: &Claim,
        resumable: bool,
        state: &mut Map<String, Value>,
        directory: &RunDirectory,
        stop: &Arc<StopSignal>,
        is_rerun: bool,
    ) -> Result<(Map<String, Value>, Option<String>, Option<SavedCopy>), StorageFailed> {
        let completed = completed_steps(state);
        let wanted = resumable && !completed.is_empty();
        let workspaces = self.workspaces.as_ref().filter(|_| resumable);
        let copy = |last| {
            let copy = |workspaces: &Arc<Workspaces>| {
                SavedCopy::new(Arc::clone(workspaces), claim.clone(), directory.clone(), Arc::clone(stop), last)
            };
            workspaces.map(copy)
        };
        let mut missing = "is gone".to_string();
        if wanted && let Some(workspaces) = workspaces {
            // What lies here may be older: another process may have been further.
            match saved::restore(workspaces, &claim.task_id, directory, stop).await? {
                Restored::Back(last) => {
                    remove_leftovers(directory);
                    return Ok((completed, None, copy(Some(last))));
                }
                Restored::Gone(reason) => missing = reason,
            }
        } else if wanted && directory.exists() {
            remove_leftovers(directory);
            return Ok((completed, None, None));
        }
        state.shift_remove("steps");
        if wanted {
            // Now, or the next run would take what this one makes for the workspace of those steps.
            let saved = persist("the state of a task", stop, || self.store.save_state(claim, state)).await;
            saved.map_err(|error| StorageFailed { what: "state", reason: error.to_string() })?;
        }
        if (is_rerun || directory.exists())
            && let Err(error) = directory.remove().and_then(|()| directory.remove_leftovers())
        {
            tracing::warn!(path = %directory.path(), %error, "files of an earlier run remain");
        }
        let notice = wanted.then(|| {
            format!(
                "The workspace of the previous run {missing}, so its completed steps can't be reused: starting over."
            )
        });
        Ok((Map::new(), notice, copy(None)))
    }

    /// Stores the outcome; listeners hear of it when the workspace is gone.
    async fn complete(
        &self,
        channel: &ChannelRef,
        guard: &RunGuard,
        status: TaskStatus,
        body: Value,
        directory: RunDirectory,
    ) {
        guard.run.ending.store(true, Ordering::Release);
        let (claim, attempts) = (&guard.run.claim, AtomicUsize::new(0));
        let keeps = status != TaskStatus::Completed && guard.run.keeps_workspace.load(Ordering::Acquire);
        let clean_up = || {
            let directory = directory.clone();
            async move {
                if keeps && self.workspaces.is_none() {
                    return;
                }
                self.remove_workspace(directory).await;
                if let Some(workspaces) = self.workspaces.as_ref().filter(|_| !keeps) {
                    workspaces.remove(claim.task_id.as_str()).await;
                }
            }
        };
        let complete = || {
            attempts.fetch_add(1, Ordering::Relaxed);
            channel.complete(claim, status, body.clone(), clean_up())
        };
        match persist("the outcome of a task", &guard.run.stop, complete).await {
            Ok(()) => {}
            // The first attempt was successful, only its answer was lost: the task ended as it should.
            Err(StoreError::Conflict(_))
                if attempts.load(Ordering::Relaxed) > 1
                    && self.store.get_task(&guard.id).await.is_ok_and(|task| task.status == status) =>
            {
                clean_up().await;
                if let Err(error) = self.log.catch_up(&guard.id).await {
                    tracing::warn!(task_id = guard.id, %error, "the end of a task could not be published at once");
                }
            }
            Err(error @ (StoreError::Conflict(_) | StoreError::NoTask(_) | StoreError::LostClaim(_))) => {
                tracing::warn!(task_id = guard.id, %error, "the outcome of a task could not be stored");
            }
            Err(error) => tracing::error!(task_id = guard.id, %error, "the outcome of a task could not be stored"),
        }
    }

    async fn release(&self, run: &ActiveRun) {
        // A cancellation has wiped them.
        let secrets = run.secrets.clone().filter(|_| !run.stop.is_cancelled());
        let task_id = &run.claim.task_id;
        match self.log.release(&run.claim, secrets).await {
            Ok(()) => tracing::info!(task_id, "the task went back to the queue"),
            Err(error) => tracing::warn!(task_id, %error, "the task could not be put back into the queue"),
        }
    }

    /// Signs life for every running task; those that were taken from us are stopped, and those that somebody cancelled.
    pub(super) async fn heartbeat(&self) {
        let running: Vec<_> = lock(&self.running).values().map(Arc::clone).collect();
        let running: Vec<_> = running.into_iter().filter(|run| !run.ending.load(Ordering::Acquire)).collect();
        if running.is_empty() {
            return;
        }
        let claims: Vec<Claim> = running.iter().map(|run| run.claim.clone()).collect();
        let sent = Instant::now();
        let beats = tokio::time::timeout(HEARTBEAT_LIMIT, self.store.heartbeat(&claims)).await;
        let reason = match beats {
            Ok(Ok(beats)) => {
                for (run, beat) in running.iter().zip(beats) {
                    run.hear(beat, sent);
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", HEARTBEAT_LIMIT.as_secs()),
        };
        self.database_failed();
        tracing::warn!(tasks = running.len(), reason, "signs of life could not be stored");
        if !self.store.is_shared() {
            return;
        }
        for run in running.iter().filter(|run| lock(&run.alive).elapsed() >= self.settings.stale_timeout) {
            // Somebody who reaches the database may have taken it by now.
            run.stop.stop(StopReason::Lost);
        }
    }

    /// This process's places to work, and the tasks that wait without one.
    pub(super) fn slots(&self) -> QueueFigures {
        let slots = self.settings.concurrency;
        let busy = slots.saturating_sub(self.places.available_permits());
        let waiting = lock(&self.running).len().saturating_sub(busy);
        QueueFigures { slots, busy, waiting, ..QueueFigures::default() }
    }

    /// Whether this task runs here.
    pub(super) fn runs(&self, id: &str) -> bool {
        lock(&self.running).contains_key(id)
    }

    /// Removes a workspace; failures are only logged.
    pub(super) async fn remove_workspace(&self, directory: RunDirectory) {
        let path = directory.path().to_owned();
        let removed = tokio::task::spawn_blocking(move || directory.remove()).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(%path, %error, "a workspace could not be removed");
        }
    }

    /// Whether no task runs here.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.running).is_empty()
    }

    /// Asks all runs to stop and hand their tasks back, waits for that until `deadline`, and hands back the rest itself.
    pub(super) async fn hand_over(&self, deadline: Instant) {
        for run in lock(&self.running).values() {
            run.stop.stop(StopReason::Shutdown);
        }
        self.runs.close();
        if tokio::time::timeout_at(deadline, self.runs.wait()).await.is_ok() {
            return;
        }
        let left: Vec<_> = lock(&self.running).iter().map(|(id, run)| (id.clone(), Arc::clone(run))).collect();
        for (id, run) in left {
            tracing::warn!(task_id = id, "the running step did not stop in time");
            if let Some(abort) = run.abort.get() {
                abort.abort();
            }
            if !run.ending.load(Ordering::Acquire) {
                self.release(&run).await;
            }
            // A step that blocks its thread lives on; it needs no heartbeats any more.
            lock(&self.running).remove(&id);
        }
    }
}

/// The secrets of a stored task; what is no text is not a secret anybody can use.
pub(super) fn secrets(stored: &Map<String, Value>) -> Secrets {
    stored.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect()
}

impl ActiveRun {
    /// Takes account of the answer to a heartbeat that was sent then.
    fn hear(&self, beat: Beat, sent: Instant) {
        match beat {
            Beat::Alive => {}
            Beat::Cancelled => self.stop.stop(StopReason::Cancelled),
            // While the outcome is being stored the claim goes in due course.
            Beat::Lost if self.ending.load(Ordering::Acquire) => {}
            Beat::Lost => self.stop.stop(StopReason::Lost),
        }
        if beat != Beat::Lost {
            let mut alive = lock(&self.alive);
            *alive = sent.max(*alive);
        }
    }
}

fn remove_leftovers(directory: &RunDirectory) {
    if let Err(error) = directory.remove_leftovers() {
        tracing::warn!(path = %directory.path(), %error, "temporary directories of an earlier run remain");
    }
}

/// Keeps a task's state in the store.
struct StoredState {
    store: Arc<dyn TaskStore>,
    copy: Option<SavedCopy>,
    claim: Claim,
    stop: Arc<StopSignal>,
}

#[async_trait]
impl StateSaver for StoredState {
    async fn save(&self, state: &Map<String, Value>) -> Result<(), StorageFailed> {
        // First: what is known of the steps must not be ahead of what they did.
        if let Some(copy) = &self.copy {
            copy.save().await?;
        }
        let saved = persist("the state of a task", &self.stop, || self.store.save_state(&self.claim, state)).await;
        saved.map_err(|error| {
            if matches!(error, StoreError::LostClaim(_)) {
                self.stop.stop(StopReason::Lost);
            }
            StorageFailed { what: "state", reason: error.to_string() }
        })
    }
}
