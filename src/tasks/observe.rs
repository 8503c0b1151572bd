//! What the engine tells those who count and measure.

use std::time::Duration;

/// How a step or a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Ok,
    /// With an error.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It was not run.
    Skipped,
}

impl Outcome {
    /// The text upstream uses as the label `result` of its metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// Told when steps and tasks end. Calls come from the run itself: be quick. `template` is the template's reference, empty
/// when a task has none.
pub trait TaskObserver: Send + Sync + 'static {
    /// A step ended.
    fn step_ended(&self, template: &str, step: &str, outcome: Outcome, took: Duration);
    /// A task ended.
    fn task_ended(&self, template: &str, task_id: &str, outcome: Outcome, took: Duration);
    /// A worker took a task that had been in the queue for so long.
    fn task_claimed(&self, _queued: Duration) {}
    /// No task could be asked for: the database refused, or did not answer.
    fn claim_failed(&self) {}
    /// This process put so many tasks of others, who gave no sign of life, back into the queue.
    fn tasks_recovered(&self, _count: usize) {}
    /// A task that ran here is no longer ours.
    fn claim_lost(&self) {}
    /// How the queue and this process's places to work look at the moment; told every few seconds.
    fn queue(&self, _figures: &QueueFigures) {}
}

/// The queue, which all replicas share, and this process's places to work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct QueueFigures {
    /// Tasks that wait for a worker.
    pub open: u64,
    /// For how many seconds the oldest of them exists; 0 without any.
    pub oldest_seconds: f64,
    /// Places to work.
    pub slots: usize,
    /// Places taken.
    pub busy: usize,
    /// Tasks that run here and wait for something else, which takes no place.
    pub waiting: usize,
}

/// Writes to the service's own log.
#[derive(Debug, Clone, Copy)]
pub struct LogObserver;

impl TaskObserver for LogObserver {
    fn step_ended(&self, template: &str, step: &str, outcome: Outcome, took: Duration) {
        tracing::debug!(template, step, result = outcome.as_str(), seconds = took.as_secs_f64(), "step ended");
    }
    fn task_ended(&self, template: &str, task_id: &str, outcome: Outcome, took: Duration) {
        tracing::info!(template, task_id, result = outcome.as_str(), seconds = took.as_secs_f64(), "task ended");
    }
}
