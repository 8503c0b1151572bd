//! Work that is done from time to time, as others see it and can hurry it.
//!
//! What is shown and told is that of the scheduler in `@backstage/backend-defaults` 0.18.0 (`PluginTaskSchedulerImpl`,
//! `TaskWorker`). Other than there, each process keeps its own schedule: what a janitor finds done already costs it nothing.

use std::{sync::Mutex, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::lock;

/// After so long a run counts as lost and is given up.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Work that is done again and again.
#[derive(Debug)]
pub struct Schedule {
    id: &'static str,
    cadence: Duration,
    state: Mutex<State>,
    hurry: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// When the next run begins, between runs.
    next: Option<DateTime<Utc>>,
    /// The run that is on its way, and what gives it up.
    running: Option<(DateTime<Utc>, CancellationToken)>,
    ended: Option<DateTime<Utc>>,
    /// Why the last run did not come to its end.
    error: Option<&'static str>,
}

/// What can't be done with a schedule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// There is none of this name.
    #[error("Task {0} does not exist")]
    Unknown(String),
    /// It can't be hurried: it is done at the moment.
    #[error("Task {0} is currently running")]
    Running(&'static str),
    /// It can't be given up: it is not done at the moment.
    #[error("Task {0} is not running")]
    Idle(&'static str),
}

/// A schedule as the route shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleState {
    /// E.g. `close_stale_tasks`.
    task_id: &'static str,
    /// `scaffolder`.
    plugin_id: &'static str,
    /// `global`.
    scope: &'static str,
    /// `{version, cadence, timeoutAfterDuration}`, durations in ISO 8601.
    #[schema(value_type = Object)]
    settings: Value,
    /// `{status: idle, startsAt}` or `{status: running, startedAt, timesOutAt}`, with `lastRunEndedAt` and `lastRunError`.
    #[schema(value_type = Object)]
    task_state: Value,
    /// `{status}`: `idle` or `running`.
    #[schema(value_type = Object)]
    worker_state: Value,
}

impl Schedule {
    /// Work to be done as often as that, at first when [`Schedule::keep`] is called.
    pub(super) fn new(id: &'static str, cadence: Duration) -> Self {
        Self { id, cadence, state: Mutex::default(), hurry: Notify::new() }
    }

    /// Does the work, again and again until `stopping`.
    pub(super) async fn keep<F: Future<Output = ()>>(&self, stopping: &CancellationToken, work: impl Fn() -> F) {
        while !stopping.is_cancelled() {
            let given_up = CancellationToken::new();
            {
                let mut state = lock(&self.state);
                state.next = None;
                state.running = Some((Utc::now(), given_up.clone()));
            }
            let error = tokio::select! {
                biased;
                () = given_up.cancelled() => Some("Task was cancelled"),
                done = tokio::time::timeout(TIMEOUT, work()) => done.err().map(|_| "Task timed out"),
            };
            if let Some(reason) = error {
                tracing::warn!(task = self.id, reason, "work of the schedule did not come to its end");
            }
            {
                let now = Utc::now();
                let mut state = lock(&self.state);
                *state = State { next: Some(now + self.pause()), running: None, ended: Some(now), error };
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = self.hurry.notified() => {}
                () = tokio::time::sleep(self.cadence) => {}
            }
        }
    }

    fn pause(&self) -> TimeDelta {
        // As far away as times go.
        TimeDelta::from_std(self.cadence).unwrap_or_else(|_| TimeDelta::days(365_000))
    }

    /// Does the work now rather than later.
    ///
    /// # Errors
    /// It is being done.
    pub fn trigger(&self) -> Result<(), ScheduleError> {
        let mut state = lock(&self.state);
        if state.running.is_some() {
            return Err(ScheduleError::Running(self.id));
        }
        state.next = Some(Utc::now());
        self.hurry.notify_one();
        Ok(())
    }

    /// Gives up the run that is on its way; the next one comes in due course.
    ///
    /// # Errors
    /// There is none.
    pub fn cancel(&self) -> Result<(), ScheduleError> {
        let state = lock(&self.state);
        let (_, given_up) = state.running.as_ref().ok_or(ScheduleError::Idle(self.id))?;
        given_up.cancel();
        Ok(())
    }

    /// Its name.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// How it is.
    pub fn show(&self) -> ScheduleState {
        let state = lock(&self.state);
        let mut shown = match &state.running {
            Some((since, _)) => json!({
                "status": "running", "startedAt": time(*since),
                "timesOutAt": time(*since + TimeDelta::from_std(TIMEOUT).unwrap_or_default()),
            }),
            None => json!({"status": "idle", "startsAt": state.next.map(time)}),
        };
        let error = state.error.map(|message| json!({"name": "Error", "message": message}).to_string());
        for (name, value) in [("lastRunEndedAt", state.ended.map(time)), ("lastRunError", error)] {
            if let Some(value) = value {
                shown[name] = value.into();
            }
        }
        let status = shown["status"].clone();
        ScheduleState {
            task_id: self.id,
            plugin_id: "scaffolder",
            scope: "global",
            settings: json!({
                "version": 2, "cadence": iso(self.cadence), "timeoutAfterDuration": iso(TIMEOUT),
            }),
            task_state: shown,
            worker_state: json!({ "status": status }),
        }
    }
}

/// A time as luxon writes it.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, false)
}

/// A duration in ISO 8601, in the largest unit that it is a whole number of.
fn iso(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (duration.subsec_nanos(), seconds % 3600, seconds % 60) {
        (0, 0, _) if seconds > 0 => format!("PT{}H", seconds / 3600),
        (0, _, 0) if seconds > 0 => format!("PT{}M", seconds / 60),
        _ => format!("PT{}S", duration.as_secs_f64()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn durations_are_written_as_luxon_does() {
        for (millis, expected) in
            [(300_000, "PT5M"), (3_600_000, "PT1H"), (90_000, "PT90S"), (1500, "PT1.5S"), (5_400_000, "PT90M")]
        {
            assert_eq!(iso(Duration::from_millis(millis)), expected);
        }
    }

    /// A schedule whose work counts how often it was begun and waits to be let on.
    struct Bench {
        schedule: Arc<Schedule>,
        begun: Arc<AtomicUsize>,
        go_on: Arc<Notify>,
        stopping: CancellationToken,
    }

    impl Bench {
        fn start() -> Self {
            let bench = Self {
                schedule: Arc::new(Schedule::new("sweep", Duration::from_secs(300))),
                begun: Arc::default(),
                go_on: Arc::default(),
                stopping: CancellationToken::new(),
            };
            let (schedule, begun, go_on) =
                (Arc::clone(&bench.schedule), Arc::clone(&bench.begun), Arc::clone(&bench.go_on));
            let stopping = bench.stopping.clone();
            tokio::spawn(async move {
                let work = || async {
                    begun.fetch_add(1, Ordering::SeqCst);
                    go_on.notified().await;
                };
                schedule.keep(&stopping, work).await;
            });
            bench
        }
        async fn begun(&self, count: usize) {
            while self.begun.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(self.begun.load(Ordering::SeqCst), count);
        }
        async fn idle(&self) -> Value {
            loop {
                let state = self.schedule.show().task_state;
                if state["status"] == "idle" {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_can_be_hurried_and_given_up() {
        let bench = Bench::start();
        bench.begun(1).await;
        let running = bench.schedule.show();
        assert_eq!(
            (&running.task_state["status"], &running.worker_state),
            (&"running".into(), &json!({"status": "running"}))
        );
        assert!(running.task_state["timesOutAt"].as_str() > running.task_state["startedAt"].as_str());
        assert_eq!(bench.schedule.trigger(), Err(ScheduleError::Running("sweep")));
        bench.go_on.notify_one();
        let state = bench.idle().await;
        assert!(state["startsAt"].as_str() > state["lastRunEndedAt"].as_str() && state.get("lastRunError").is_none());
        assert_eq!(bench.schedule.cancel(), Err(ScheduleError::Idle("sweep")));

        // In due course.
        let before = tokio::time::Instant::now();
        bench.begun(2).await;
        assert!(before.elapsed() >= Duration::from_secs(299));
        // Given up.
        bench.schedule.cancel().unwrap();
        let state = bench.idle().await;
        assert_eq!(state["lastRunError"], r#"{"name":"Error","message":"Task was cancelled"}"#);
        // At once.
        let before = tokio::time::Instant::now();
        bench.schedule.trigger().unwrap();
        bench.begun(3).await;
        assert!(before.elapsed() < Duration::from_secs(1));
        // Lost.
        let state = bench.idle().await;
        assert_eq!(state["lastRunError"], r#"{"name":"Error","message":"Task timed out"}"#);
        assert!(before.elapsed() >= TIMEOUT);
        // The end.
        bench.stopping.cancel();
        bench.schedule.trigger().unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        bench.begun(3).await;
    }
}
