//! Tasks whose process died, and tasks that take too long.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use super::bench::{Bench, bodies, messages};
use crate::{
    model::{EventType, TaskStatus},
    store::TaskStore,
    tasks::state::completed_steps,
};

/// Leaves a task as a killed process does: claimed, its first steps done, nothing more written.
async fn killed(bench: &Bench, more: Value) -> String {
    let steps = json!([
        {"id": "e", "action": "test:effect"},
        {"id": "w", "action": "test:write", "input": {"path": "f", "content": "kept"}},
        {"id": "r", "action": "test:read", "input": {"path": "f"}}
    ]);
    let mut spec = json!({"output": {"f": "${{ steps.r.output.content }}", "w": "${{ steps.w.output }}"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let id = bench.create_with(steps, json!({}), spec).await;
    let claimed = bench.store.claim_task(true).await.unwrap().unwrap();
    assert_eq!(claimed.claim.task_id, id);
    let done = |output: Value| json!({"status": "completed", "output": output});
    let state = json!({"checkpoints": {}, "steps": {"e": done(json!({})), "w": done(json!({"from": "before"}))}});
    bench.store.save_state(&claimed.claim, state.as_object().unwrap()).await.unwrap();
    let event = |body: Value| crate::model::NewEvent { kind: EventType::Log, body };
    bench.store.append_events(&claimed.claim, 1, vec![event(json!({"message": "before"}))]).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_killed_process_goes_on() {
    let bench = Bench::idle(|_| {}).await;
    let id = killed(&bench, json!({})).await;
    std::fs::create_dir(bench.workspace(&id)).unwrap();
    std::fs::write(bench.workspace(&id).join("f"), "from before").unwrap();
    std::fs::create_dir(format!("{}_step-r-xyz", bench.workspace(&id))).unwrap();
    bench.service.start_workers();
    let events = bench.finish(&id).await;
    let found = bodies(&events);
    assert_eq!(
        found,
        [
            json!({"message": "before"}),
            json!({"recoverStrategy": "none"}),
            json!({"message": "Starting up task with 3 steps"}),
            json!({"message": "Task recovered - resuming from last known good state. 2 step(s) already completed."}),
            json!({"message": "Skipping step e because it was already completed in a previous run", "stepId": "e", "status": "completed"}),
            json!({"message": "Skipping step w because it was already completed in a previous run", "stepId": "w", "status": "completed"}),
            json!({"message": "Beginning step test:read", "stepId": "r", "status": "processing"}),
            json!({"message": "Finished step test:read", "stepId": "r", "status": "completed"}),
            json!({"message": "Run completed with status: completed", "output": {"f": "from before", "w": {"from": "before"}}}),
        ]
    );
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 0);
    assert!(bench.left_behind().is_empty(), "{:?}", bench.left_behind());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_workspace_it_starts_over() {
    let bench = Bench::idle(|_| {}).await;
    let id = killed(&bench, json!({})).await;
    bench.service.start_workers();
    let found = bodies(&bench.finish(&id).await);
    let messages = messages(&found);
    assert!(messages[3].contains("workspace of the previous run is gone"), "{messages:#?}");
    assert_eq!(messages[4], "Beginning step test:effect");
    assert_eq!(found.last().unwrap()["output"], json!({"f": "kept", "w": {}}));
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_over_is_not_taken_for_progress() {
    let bench = Bench::idle(|_| {}).await;
    let id = bench.create(json!([{"id": "wait", "action": "test:wait"}, {"id": "e", "action": "test:effect"}])).await;
    let claimed = bench.store.claim_task(true).await.unwrap().unwrap();
    let state = json!({"steps": {"wait": {"status": "completed", "output": {}}}});
    bench.store.save_state(&claimed.claim, state.as_object().unwrap()).await.unwrap();
    bench.service.start_workers();
    bench.until_inside(1).await;
    // A process that dies here leaves a workspace, but not that of the completed step.
    let state = bench.store.load_state(&id).await.unwrap();
    assert!(completed_steps(&state).is_empty(), "{state:?}");
    bench.stage.go.notify_waiters();
    assert_eq!(bodies(&bench.finish(&id).await).last().unwrap()["message"], "Run completed with status: completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_start_over_do() {
    let bench = Bench::idle(|_| {}).await;
    let id = killed(&bench, json!({"EXPERIMENTAL_recovery": {"EXPERIMENTAL_strategy": "startOver"}})).await;
    // A directory where the step writes its file: it fails unless the workspace is made anew.
    std::fs::create_dir_all(bench.workspace(&id).join("f/old")).unwrap();
    bench.service.start_workers();
    let events = bench.finish(&id).await;
    let listed = bench.store.list_events(&id, None).await.unwrap();
    assert_eq!(listed[0].body, json!({"recoverStrategy": "startOver"}));
    assert!(events.iter().all(|event| event.is_task_recoverable));
    assert_eq!(events.last().unwrap().body["output"]["f"], "kept");
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recovered_where_that_is_off() {
    let bench = Bench::idle(|settings| settings.recovery = false).await;
    let id = killed(&bench, json!({})).await;
    bench.service.start_workers();
    let other = bench.create(json!([{"action": "test:output"}])).await;
    bench.finish(&other).await;
    assert_eq!(bench.status(&id).await, TaskStatus::Processing);
    assert_eq!(bench.store.load_state(&other).await.unwrap().get("steps"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn completed_steps_and_checkpoints_are_kept() {
    let bench = Bench::start().await;
    let id = bench
        .create(json!([
            {"id": "o", "action": "test:output", "input": {"a": 1}},
            {"id": "skipped", "if": false, "action": "test:output"},
            {"id": "c", "action": "test:checkpoint", "input": {"fail": "hunter2 failed"}}
        ]))
        .await;
    bench.finish(&id).await;
    let state = bench.store.load_state(&id).await.unwrap();
    assert_eq!(
        Value::Object(state),
        json!({
            "steps": {"o": {"status": "completed", "output": {"a": 1}}, "c": {"status": "failed"}},
            "checkpoints": {
                "v1.task.checkpoint.c.made": {"status": "success", "value": 1},
                "v1.task.checkpoint.c.nothing": {"status": "success", "value": null},
                "v1.task.checkpoint.c.failing": {"status": "failed", "reason": "Error: *** failed"}
            }
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_closes_what_takes_too_long() {
    let bench = Bench::idle(|settings| {
        settings.concurrency = 0;
        settings.task_timeout = Duration::ZERO;
    })
    .await;
    let id = bench.create(json!([{"action": "test:output"}])).await;
    let claim = bench.store.claim_task(true).await.unwrap().unwrap().claim;
    let event = |step: &str, status: &str| crate::model::NewEvent {
        kind: EventType::Log,
        body: json!({"message": "m", "stepId": step, "status": status}),
    };
    let events = vec![event("a", "processing"), event("a", "completed"), event("b", "processing")];
    bench.store.append_events(&claim, 1, events).await.unwrap();
    bench.service.start_workers();
    let found = bodies(&bench.finish(&id).await);
    let text = "This task was marked as stale as it exceeded its timeout";
    assert_eq!(found[3..], [json!({"message": text, "stepId": "b", "status": "failed"}), json!({"message": text})]);
    assert_eq!(bench.status(&id).await, TaskStatus::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_taken_away_is_left_alone() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"id": "w", "action": "test:work"}])).await;
    bench.until_inside(1).await;
    // Somebody else puts it back into the queue: the old run ends without an outcome, a new one begins.
    bench.store.recover_stale(Duration::ZERO).await.unwrap();
    bench.until_inside(0).await;
    // Wakes the worker.
    bench.create(json!([])).await;
    bench.until_inside(1).await;
    bench.stage.go.notify_waiters();
    let found = bodies(&bench.finish(&id).await);
    assert!(!found.iter().any(|body| body["status"] == "failed"), "{found:#?}");
    assert_eq!(bench.status(&id).await, TaskStatus::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lost_its_task_comes_to_no_effect() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"action": "test:late"}])).await;
    bench.until_inside(1).await;
    // Somebody else takes it for dead; this process takes it up again, and its old run is still on its way.
    assert_eq!(bench.store.recover_stale(Duration::ZERO).await.unwrap().len(), 1);
    bench.until(async || bench.status(&id).await == TaskStatus::Processing).await;
    bench.stage.go.notify_waiters();
    let begun = async || {
        let events = bodies(&bench.store.list_events(&id, None).await.unwrap());
        messages(&events).iter().filter(|message| *message == "Beginning step test:late").count()
    };
    bench.until(async || begun().await == 2).await;
    bench.until_inside(1).await;
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 0, "the old run had its effect");
    bench.stage.go.notify_waiters();
    bench.finish(&id).await;
    assert_eq!((bench.status(&id).await, bench.stage.effects.load(Ordering::SeqCst)), (TaskStatus::Completed, 1));
}
