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
