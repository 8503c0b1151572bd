//! What a task remembers across its runs: checkpoints and completed steps (`tasks.state`).

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use understudy_sdk::{ActionError, CheckpointStore};

use super::log::{StepLogger, StorageFailed};

/// Keeps the state of one task.
#[async_trait]
pub(super) trait StateSaver: Send + Sync + 'static {
    /// Replaces what is kept.
    ///
    /// # Errors
    /// It can't be stored.
    async fn save(&self, state: &Map<String, Value>) -> Result<(), StorageFailed>;
}

/// The state of one task: `{"checkpoints": …, "steps": …}`, the inner object of upstream's column.
pub(super) struct TaskState {
    inner: Mutex<Map<String, Value>>,
    saver: Option<Box<dyn StateSaver>>,
}

/// The outputs of completed steps in a stored state, by step id.
pub(super) fn completed_steps(state: &Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Object(steps)) = state.get("steps") else { return Map::new() };
    steps
        .iter()
        .filter(|(_, step)| step.get("status").and_then(Value::as_str) == Some("completed"))
        .map(|(id, step)| (id.clone(), step.get("output").cloned().unwrap_or_else(|| json!({}))))
        .collect()
}

impl TaskState {
    /// State that is kept.
    pub(super) fn stored(state: Map<String, Value>, saver: impl StateSaver) -> Self {
        Self { inner: Mutex::new(state), saver: Some(Box::new(saver)) }
    }
    /// State of a run that can't be resumed.
    pub(super) fn in_memory() -> Self {
        Self { inner: Mutex::default(), saver: None }
    }
    async fn set(&self, section: &str, key: String, value: Value) -> Result<(), StorageFailed> {
        let mut state = self.inner.lock().await;
        let entry = state.entry(section).or_insert_with(|| json!({}));
        if !entry.is_object() {
            *entry = json!({});
        }
        if let Value::Object(section) = entry {
            section.insert(key, value);
        }
        match &self.saver {
            Some(saver) => saver.save(&state).await,
            None => Ok(()),
        }
    }
    /// Keeps a completed step with its output.
    ///
    /// # Errors
    /// It can't be stored.
    pub(super) async fn step_completed(&self, step_id: &str, output: &Value) -> Result<(), StorageFailed> {
        self.set("steps", step_id.to_string(), json!({"status": "completed", "output": output})).await
    }
    /// Keeps that a step failed: another try begins there.
    ///
    /// # Errors
    /// It can't be stored.
    pub(super) async fn step_failed(&self, step_id: &str) -> Result<(), StorageFailed> {
        self.set("steps", step_id.to_string(), json!({"status": "failed"})).await
    }
    /// Whether a step has completed, in this run or an earlier one.
    pub(super) async fn has_completed_steps(&self) -> bool {
        !completed_steps(&*self.inner.lock().await).is_empty()
    }
}

/// The checkpoints of one step. Keys are upstream's: `v1.task.checkpoint.<step>.<key>`.
pub(super) struct StepCheckpoints {
    state: Arc<TaskState>,
    step_id: Arc<str>,
    logger: Arc<StepLogger>,
}

impl StepCheckpoints {
    /// The checkpoints of a step; reasons of failures are redacted as its log is.
    pub(super) fn new(state: Arc<TaskState>, step_id: Arc<str>, logger: Arc<StepLogger>) -> Self {
        Self { state, step_id, logger }
    }
    fn key(&self, key: &str) -> String {
        format!("v1.task.checkpoint.{}.{key}", self.step_id)
    }
    async fn set(&self, key: &str, value: Value) -> Result<(), ActionError> {
        let stored = self.state.set("checkpoints", self.key(key), value).await;
        stored.map_err(|error| ActionError::failed(error.to_string()).with_source(error))
    }
}

#[async_trait]
impl CheckpointStore for StepCheckpoints {
    async fn load(&self, key: &str) -> Result<Option<Value>, ActionError> {
        let state = self.state.inner.lock().await;
        Ok(state
            .get("checkpoints")
            .and_then(|checkpoints| checkpoints.get(self.key(key)))
            .filter(|checkpoint| checkpoint.get("status").and_then(Value::as_str) == Some("success"))
            .and_then(|checkpoint| checkpoint.get("value"))
            .cloned())
    }
    async fn succeeded(&self, key: &str, value: &Value) -> Result<(), ActionError> {
        self.set(key, json!({"status": "success", "value": value})).await
    }
    async fn failed(&self, key: &str, reason: &str) -> Result<(), ActionError> {
        self.set(key, json!({"status": "failed", "reason": self.logger.redact(reason)})).await
    }
}
