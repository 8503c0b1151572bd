//! The task log: its events, its lines, and where they go.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use serde_json::{Map, Value};
use understudy_sdk::{LogLevel, LogSink, Redactor};

/// Why a run can't go on though none of its steps failed: its log or state can't be kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the task's {what} can't be stored: {reason}")]
pub(super) struct StorageFailed {
    /// `log` or `state`.
    pub(super) what: &'static str,
    /// What the store said.
    pub(super) reason: String,
}

/// What a log event says about its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// It began.
    Processing,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was not run.
    Skipped,
}

impl StepStatus {
    /// The text in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A line of the task log, or a step's change of status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// The text, redacted.
    pub message: String,
    /// The step it is about, none for the task as a whole.
    pub step_id: Option<Arc<str>>,
    /// The step's new status.
    pub status: Option<StepStatus>,
}

impl LogEvent {
    /// About the task as a whole.
    pub(super) fn task(message: impl Into<String>) -> Self {
        Self { message: message.into(), step_id: None, status: None }
    }
    /// A step's change of status.
    pub(super) fn step(step_id: &Arc<str>, status: StepStatus, message: impl Into<String>) -> Self {
        Self { message: message.into(), step_id: Some(Arc::clone(step_id)), status: Some(status) }
    }
    /// `{message, stepId?, status?}`, as stored and sent.
    pub fn to_body(&self) -> Value {
        let mut body = Map::new();
        body.insert("message".into(), self.message.as_str().into());
        self.add_step(&mut body);
        Value::Object(body)
    }
    /// `{stepId?, status?, message}`, as dry runs show it.
    pub(super) fn to_dry_run_body(&self) -> Value {
        let mut body = Map::new();
        self.add_step(&mut body);
        body.insert("message".into(), self.message.as_str().into());
        Value::Object(body)
    }
    fn add_step(&self, body: &mut Map<String, Value>) {
        if let Some(step_id) = &self.step_id {
            body.insert("stepId".into(), step_id.as_ref().into());
        }
        if let Some(status) = self.status {
            body.insert("status".into(), status.as_str().into());
        }
    }
}

/// Takes a run's events, in order.
#[async_trait]
pub(super) trait EventSink: Send + Sync + 'static {
    /// Takes an event. When events come faster than they can be kept, this makes the caller wait.
    fn push(&self, event: LogEvent);
    /// Resolves when everything taken so far is durable.
    ///
    /// # Errors
    /// It can't be stored.
    async fn flush(&self) -> Result<(), StorageFailed>;
}

/// A level's name and colour (SGR code) in task logs: winston's `simple` format with its default colours, which is what
/// `@backstage/plugin-scaffolder-backend` 4.2.0 stores.
fn label(level: LogLevel) -> (&'static str, u8) {
    match level {
        LogLevel::Debug => ("debug", 34),
        LogLevel::Info => ("info", 32),
        LogLevel::Warn => ("warn", 33),
        LogLevel::Error => ("error", 31),
    }
}

/// A message behind its level, as logs show it.
pub(super) fn labelled(level: LogLevel, message: &str) -> String {
    let (name, colour) = label(level);
    format!("\u{1b}[{colour}m{name}\u{1b}[39m: {message}")
}

/// The level named by an environment's `LOG_LEVEL`; `info` when absent or unknown.
pub fn log_level(name: Option<&str>) -> LogLevel {
    match name {
        Some("debug" | "silly") => LogLevel::Debug,
        Some("warn") => LogLevel::Warn,
        Some("error") => LogLevel::Error,
        _ => LogLevel::Info,
    }
}

/// The logger of one step: redacts, formats, and passes on.
pub(super) struct StepLogger {
    sink: Arc<dyn EventSink>,
    task_id: Arc<str>,
    step_id: Arc<str>,
    threshold: LogLevel,
    redactor: RwLock<Redactor>,
}

impl StepLogger {
    /// A logger that redacts these values.
    pub(super) fn new(
        sink: Arc<dyn EventSink>,
        task_id: Arc<str>,
        step_id: Arc<str>,
        threshold: LogLevel,
        redactor: Redactor,
    ) -> Self {
        Self { sink, task_id, step_id, threshold, redactor: RwLock::new(redactor) }
    }
    /// Redacts these values too from now on.
    pub(super) fn redact_also<'a>(&self, values: impl IntoIterator<Item = &'a str>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        self.redactor.write().unwrap_or_else(PoisonError::into_inner).extend(values);
    }
    /// The text without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        self.redactor.read().unwrap_or_else(PoisonError::into_inner).redact(text).into_owned()
    }
}

impl LogSink for StepLogger {
    fn log(&self, level: LogLevel, message: &str) {
        if level < self.threshold {
            return;
        }
        let message = self.redact(message);
        let (task, step) = (&*self.task_id, &*self.step_id);
        match level {
            LogLevel::Debug => tracing::debug!(target: "understudy::task_log", task, step, "{message}"),
            LogLevel::Info => tracing::info!(target: "understudy::task_log", task, step, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "understudy::task_log", task, step, "{message}"),
            LogLevel::Error => tracing::error!(target: "understudy::task_log", task, step, "{message}"),
        }
        self.sink.push(LogEvent {
            message: labelled(level, &message),
            step_id: Some(Arc::clone(&self.step_id)),
            status: None,
        });
    }
}
