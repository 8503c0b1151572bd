//! Loops that keep the queue healthy: heartbeats, recovery of tasks whose process died, the janitor for tasks that take
//! too long and for what is old.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::{
    directory::RunDirectory,
    log::{LogEvent, StepStatus},
    observe::QueueFigures,
    worker::Worker,
};
use crate::{
    audit::Act,
    model::{TaskEvent, TaskStatus},
    store::{QueueDepth, StoreError},
};

/// How often the queue is counted.
const QUEUE_WATCH: Duration = Duration::from_secs(5);
/// How many old tasks are deleted in one transaction.
const DELETED_AT_ONCE: u32 = 200;
/// A task that ended just now removes its workspace itself.
const LEFT_ALONE: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Stale tasks are looked for this often at most, and at least four times within the stale timeout.
const RECOVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
const STALE: &str = "This task was marked as stale as it exceeded its timeout";

impl Worker {
    /// Signs life until the service stops and the last run has ended.
    pub(super) async fn keep_heartbeats(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.stopping.is_cancelled() && self.is_idle() {
                return;
            }
            self.heartbeat().await;
        }
    }

    /// Puts tasks of dead processes back into the queue, until the service stops.
    pub(super) async fn recover_tasks(self: Arc<Self>) {
        let stale = self.settings.stale_timeout;
        let pause = (stale / 4).clamp(RECOVERY.0, RECOVERY.1);
        while self.pause(pause).await {
            // After an interruption of the database everybody's signs of life are old. Nobody is declared dead before all
            // had the time to give a new one.
            if self.database_trusted_for() >= stale.min(Duration::from_secs(10)) {
                self.recover(stale).await;
            }
        }
    }

    pub(super) async fn recover(&self, older_than: Duration) {
        match self.log.recover(older_than).await {
            Ok(0) => {}
            Ok(count) => {
                self.runner.observer.tasks_recovered(count);
                tracing::info!(count, "tasks of a process that is gone went back to the queue");
                self.wake.notify_one();
            }
            Err(error) => {
                self.database_failed();
                tracing::warn!(%error, "stale tasks could not be recovered");
            }
        }
    }

    /// Tells the observer how the queue looks, until the service stops.
    pub(super) async fn watch_queue(self: Arc<Self>) {
        loop {
            match self.store.queue_depth().await {
                Ok(QueueDepth { tasks, oldest_seconds }) => {
                    self.runner.observer.queue(&QueueFigures { open: tasks, oldest_seconds, ..self.slots() });
                }
                Err(error) => tracing::debug!(%error, "the queue could not be counted"),
            }
            if !self.pause(QUEUE_WATCH).await {
                return;
            }
        }
    }

    /// Ends tasks without a sign of life for longer than the task timeout and removes what is old, until the service stops.
    pub(super) async fn keep_order(self: Arc<Self>) {
        let work = || async {
            self.close_stale_tasks().await;
            self.delete_old_tasks().await;
            self.remove_old_workspaces().await;
            if let Some(workspaces) = &self.workspaces {
                workspaces.remove_leftovers(self.settings.failed_workspace_retention).await;
            }
        };
        self.housekeeping.keep(&self.stopping, work).await;
    }

    async fn close_stale_tasks(&self) {
        match self.store.list_stale(self.settings.task_timeout).await {
            Ok(stale) => {
                for id in stale {
                    let audit = self.auditor.own(Act::StaleCancel, || [("taskId", id.as_str().into())]);
                    match self.close_stale(&id).await {
                        Ok(()) => audit.succeed(),
                        Err(error) => {
                            tracing::warn!(task_id = id, %error, "a stale task could not be closed");
                            audit.fail("Error", &error.to_string());
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "stale tasks could not be listed"),
        }
    }

    /// Deletes tasks beyond the configured age and number, some at a time so that nobody waits for it.
    async fn delete_old_tasks(&self) {
        let (max_age, keep) = (self.settings.retention_max_age, self.settings.retention_max_tasks);
        if max_age.is_none() && keep.is_none() {
            return;
        }
        let mut count = 0;
        loop {
            match self.store.delete_ended(max_age, keep, DELETED_AT_ONCE).await {
                Ok(deleted) if deleted.is_empty() => break,
                Ok(deleted) => {
                    count += deleted.len();
                    for id in deleted {
                        self.remove_workspace(RunDirectory::new(&self.settings.working_directory, &id)).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "old tasks could not be deleted");
                    break;
                }
            }
            if self.stopping.is_cancelled() {
                break;
            }
        }
        if count > 0 {
            tracing::info!(count, "old tasks were deleted");
        }
    }

    /// Removes the workspaces that tasks left for another try, once they are old, and those that a killed process left.
    /// Directories of tasks that this database doesn't know belong to somebody else.
    async fn remove_old_workspaces(&self) {
        let root = self.settings.working_directory.clone();
        let found = tokio::task::spawn_blocking(move || RunDirectory::all(&root)).await;
        for (id, directory) in found.unwrap_or_default() {
            let Ok(task) = self.store.get_task(&id).await else { continue };
            let last_seen = task.last_heartbeat_at.unwrap_or(task.created_at);
            let age = (chrono::Utc::now() - last_seen).to_std().unwrap_or_default();
            let is_over = match task.status {
                TaskStatus::Open | TaskStatus::Processing => false,
                TaskStatus::Completed => age >= LEFT_ALONE,
                _ => age >= self.settings.failed_workspace_retention.max(LEFT_ALONE),
            };
            if is_over && !self.runs(&id) {
                self.remove_workspace(directory).await;
            }
        }
    }

    async fn close_stale(&self, id: &str) -> Result<(), StoreError> {
        let steps = unfinished_steps(&self.store.list_events(id, None).await?);
        let events = steps
            .into_iter()
            .map(|step| super::events::log_event(LogEvent::step(&step.into(), StepStatus::Failed, STALE).to_body()))
            .collect();
        self.log.close_stale(id, self.settings.task_timeout, events, json!({ "message": STALE })).await
    }

    /// Sleeps; `false` when the service stops.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

/// Steps that began and neither completed nor failed, in the order they began.
fn unfinished_steps(events: &[TaskEvent]) -> Vec<String> {
    let status_of = |event: &TaskEvent, wanted: &[&str]| -> Option<String> {
        let status = event.body.get("status")?.as_str()?;
        wanted.contains(&status).then(|| event.body.get("stepId")?.as_str().map(str::to_string)).flatten()
    };
    let ended: Vec<_> = events.iter().filter_map(|event| status_of(event, &["completed", "failed"])).collect();
    let mut unfinished: Vec<String> = Vec::new();
    for step in events.iter().filter_map(|event| status_of(event, &["processing"])) {
        if !ended.contains(&step) && !unfinished.contains(&step) {
            unfinished.push(step);
        }
    }
    unfinished
}
