//! The task engine: what happens between `POST /v2/tasks` and the completion event.
//!
//! [`TaskService`] is what the API calls. Behind it: `spec` builds a [`TaskSpec`](crate::model::TaskSpec) from a
//! template and a form, `worker` claims tasks and keeps their heartbeats, `runner` is the step algorithm, `events`
//! carries events to live subscribers, `dry_run` runs a template without storing anything.

use std::{pin::Pin, time::Duration};

use futures_util::Stream;
use serde_json::{Map, Value};

use crate::{
    model::{SerializedTask, TaskEvent, TaskId},
    store::{NewTask, StoreError, TaskFilter, TaskPage},
};

/// Batches of a task's events: first what is stored, then what happens, without gaps or duplicates. Ends when the service
/// shuts down.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Vec<TaskEvent>, StoreError>> + Send>>;

/// The engine as the API sees it. Cheap to clone.
#[derive(Clone)]
pub struct TaskService {}

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
    /// Who asks.
    pub user: crate::model::UserSpec,
}

/// What a dry run gives; serialises as `POST /v2/dry-run` answers (spec/01 §2.10).
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRunResult {
    /// `[{body: {message, stepId?, status?}}]`.
    pub log: Vec<Value>,
    /// `[{path, executable, base64Content}]`.
    pub directory_contents: Vec<Value>,
    /// The rendered output.
    pub output: Value,
    /// The steps with ids and names.
    pub steps: Vec<Value>,
}

#[allow(clippy::unimplemented, unused_variables)]
impl TaskService {
    /// Stores a task and wakes a worker.
    pub async fn create(&self, task: NewTask) -> Result<TaskId, StoreError> {
        unimplemented!()
    }
    /// The task.
    pub async fn get(&self, id: &str) -> Result<SerializedTask, StoreError> {
        unimplemented!()
    }
    /// A page of tasks.
    pub async fn list(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        unimplemented!()
    }
    /// Asks a task to stop.
    pub async fn cancel(&self, id: &str) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Puts an ended task back into the queue.
    pub async fn retry(&self, id: &str, secrets: Option<Map<String, Value>>) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// The task's events with `id > after`, live. Does not check that the task exists.
    pub fn subscribe(&self, id: &str, after: Option<i64>) -> EventStream {
        unimplemented!()
    }
    /// Runs a template without storing anything.
    ///
    /// # Errors
    /// The first failing step's error.
    pub async fn dry_run(&self, request: DryRunRequest) -> Result<DryRunResult, understudy_sdk::ActionError> {
        unimplemented!()
    }
    /// Stops claiming, asks running steps to stop, hands their tasks back to the queue; gives up waiting after `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        unimplemented!()
    }
}
