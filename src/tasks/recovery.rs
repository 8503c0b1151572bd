//! Loops that keep the queue healthy: heartbeats, recovery of tasks whose process died, the janitor for tasks that take
//! too long.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::{log::LogEvent, log::StepStatus, worker::Worker};
use crate::{model::TaskEvent, store::StoreError};

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
                tracing::info!(count, "tasks of a process that is gone went back to the queue");
                self.wake.notify_one();
            }
            Err(error) => {
                self.database_failed();
                tracing::warn!(%error, "stale tasks could not be recovered");
            }
        }
    }

    /// Ends tasks without a sign of life for longer than the task timeout, until the service stops.
    pub(super) async fn close_stale_tasks(self: Arc<Self>) {
        loop {
            match self.store.list_stale(self.settings.task_timeout).await {
                Ok(stale) => {
                    for id in stale {
                        if let Err(error) = self.close_stale(&id).await {
                            tracing::warn!(task_id = id, %error, "a stale task could not be closed");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "stale tasks could not be listed"),
            }
            if !self.pause(self.settings.janitor_frequency).await {
                return;
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
