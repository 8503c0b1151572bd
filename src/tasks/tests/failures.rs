//! A store that fails for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::bench::{Bench, bodies, messages};
use crate::{
    model::{NewEvent, SerializedTask, TaskEvent, TaskId, TaskStatus},
    store::{
        Beat, Claim, ClaimedTask, NewTask, QueueDepth, Signal, SqliteStore, StoreError, TaskFilter, TaskPage, TaskStore,
    },
};

/// Refuses as many calls as its counters say.
#[derive(Default)]
pub(super) struct Refusals {
    claims: AtomicUsize,
    appends: AtomicUsize,
    append_answers: AtomicUsize,
    states: AtomicUsize,
    completions: AtomicUsize,
    completion_answers: AtomicUsize,
}

fn refuse(counter: &AtomicUsize) -> Result<(), StoreError> {
    match counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => Err(StoreError::Database(sqlx::Error::PoolTimedOut)),
        Err(_) => Ok(()),
    }
}

pub(super) struct FailingStore {
    pub(super) store: Arc<SqliteStore>,
    pub(super) refusals: Arc<Refusals>,
}

#[async_trait]
impl TaskStore for FailingStore {
    async fn create_task(&self, task: NewTask) -> Result<TaskId, StoreError> {
        self.store.create_task(task).await
    }
    async fn get_task(&self, id: &str) -> Result<SerializedTask, StoreError> {
        self.store.get_task(id).await
    }
    async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        self.store.list_tasks(filter).await
    }
    async fn claim_task(&self, keep_secrets: bool) -> Result<Option<ClaimedTask>, StoreError> {
        refuse(&self.refusals.claims)?;
        self.store.claim_task(keep_secrets).await
    }
    async fn heartbeat(&self, claims: &[Claim]) -> Result<Vec<Beat>, StoreError> {
        self.store.heartbeat(claims).await
    }
    async fn append_events(
        &self,
        claim: &Claim,
        batch: i64,
        events: Vec<NewEvent>,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        refuse(&self.refusals.appends)?;
        let stored = self.store.append_events(claim, batch, events).await;
        // Stored, but the answer is lost.
        refuse(&self.refusals.append_answers)?;
        stored
    }
    async fn list_events(&self, id: &str, after: Option<i64>) -> Result<Vec<TaskEvent>, StoreError> {
        self.store.list_events(id, after).await
    }
    async fn events_after(&self, id: &str, after: i64, limit: usize) -> Result<Vec<TaskEvent>, StoreError> {
        self.store.events_after(id, after, limit).await
    }
    async fn newest_events(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, i64)>, StoreError> {
        self.store.newest_events(ids).await
    }
    async fn complete_task(
        &self,
        claim: &Claim,
        status: TaskStatus,
        body: Value,
    ) -> Result<Option<TaskEvent>, StoreError> {
        refuse(&self.refusals.completions)?;
        let completed = self.store.complete_task(claim, status, body).await;
        refuse(&self.refusals.completion_answers)?;
        completed
    }
    async fn cancel_task(&self, id: &str, body: Value) -> Result<TaskEvent, StoreError> {
        self.store.cancel_task(id, body).await
    }
    async fn retry_task(
        &self,
        id: &str,
        secrets: Option<Map<String, Value>>,
        from_start: bool,
    ) -> Result<TaskEvent, StoreError> {
        self.store.retry_task(id, secrets, from_start).await
    }
    async fn release_task(&self, claim: &Claim, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError> {
        self.store.release_task(claim, secrets).await
    }
    async fn recover_stale(&self, older_than: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        self.store.recover_stale(older_than).await
    }
    async fn list_stale(&self, older_than: Duration) -> Result<Vec<TaskId>, StoreError> {
        self.store.list_stale(older_than).await
    }
    async fn close_stale(
        &self,
        id: &str,
        older_than: Duration,
        events: Vec<NewEvent>,
        body: Value,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        self.store.close_stale(id, older_than, events, body).await
    }
    async fn delete_ended(
        &self,
        max_age: Option<Duration>,
        keep: Option<u64>,
        limit: u32,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.store.delete_ended(max_age, keep, limit).await
    }
    async fn queue_depth(&self) -> Result<QueueDepth, StoreError> {
        self.store.queue_depth().await
    }
    async fn load_state(&self, id: &str) -> Result<Map<String, Value>, StoreError> {
        self.store.load_state(id).await
    }
    async fn save_state(&self, claim: &Claim, state: &Map<String, Value>) -> Result<(), StoreError> {
        // An error that does not pass.
        refuse(&self.refusals.states)
            .map_err(|error| StoreError::Corrupt { what: "a state".into(), reason: error.to_string() })?;
        self.store.save_state(claim, state).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
    // As if others wrote, too: what is published is then read from the store.
    fn is_shared(&self) -> bool {
        true
    }
    fn signals(&self) -> Option<mpsc::Receiver<Signal>> {
        None
    }
    async fn close(&self) {
        self.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_a_while_loses_nothing() {
    let (bench, refusals) = Bench::failing().await;
    refusals.claims.store(1, Ordering::SeqCst);
    refusals.appends.store(2, Ordering::SeqCst);
    refusals.append_answers.store(2, Ordering::SeqCst);
    refusals.completions.store(2, Ordering::SeqCst);
    refusals.completion_answers.store(1, Ordering::SeqCst);
    bench.service.start_workers();
    let found = bench.run(json!([{"id": "o", "action": "test:output"}])).await;
    assert_eq!(
        messages(&found),
        [
            "Starting up task with 1 steps",
            "Beginning step test:output",
            "Finished step test:output",
            "Run completed with status: completed",
        ]
    );
    let gone = async {
        while !bench.service.is_idle() || !bench.left_behind().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the workspace is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_fail_are_told() {
    let (bench, refusals) = Bench::failing().await;
    assert_eq!(bench.service.claims_fail_for(), None);
    refusals.claims.store(2, Ordering::SeqCst);
    bench.service.start_workers();
    let until = async |failing: bool| {
        while bench.service.claims_fail_for().is_some() != failing {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let both = async {
        until(true).await;
        until(false).await;
    };
    tokio::time::timeout(Duration::from_secs(30), both).await.expect("claims fail, then succeed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_state_can_not_be_stored_is_left_for_recovery() {
    let (bench, refusals) = Bench::failing().await;
    refusals.states.store(1, Ordering::SeqCst);
    bench.service.start_workers();
    let id = bench.create(json!([{"id": "e", "action": "test:effect"}, {"id": "o", "action": "test:output"}])).await;
    let ended = async {
        while !bench.service.is_idle() || bench.stage.effects.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    // Not failed, because nothing is wrong with the task; without heartbeats it goes back to the queue.
    assert_eq!(bench.status(&id).await, TaskStatus::Processing);
    let found = bodies(&bench.store.list_events(&id, None).await.unwrap());
    assert!(!found.iter().any(|body| body["status"] == "failed"), "{found:#?}");
    let next = bench.restarted(|_| {});
    next.finish(&id).await;
    assert_eq!(next.status(&id).await, TaskStatus::Completed);
}

/// What is stored must be readable again: the reader of JSON stops at a depth.
#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_are_nested_too_deeply_are_refused() {
    let bench = Bench::start().await;
    let deep = |levels: usize| {
        serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
    };
    let echo = json!([{"id": "o", "action": "test:output", "input": {"v": "${{ parameters.v }}"}}]);
    for (levels, steps, message) in [
        (98, echo.clone(), None),
        (125, echo, Some("the output of step o is nested more than 100 levels deep")),
        (125, json!([]), Some("the output of the template is nested more than 100 levels deep")),
    ] {
        let output = json!({"output": {"x": {"v": "${{ parameters.v }}"}}});
        let id = bench.create_with(steps, json!({"v": deep(levels)}), output).await;
        let found = bench.finish(&id).await.pop().unwrap().body;
        assert_eq!(found.pointer("/error/message").and_then(Value::as_str), message, "{levels}");
        bench.store.load_state(&id).await.unwrap();
    }
}
