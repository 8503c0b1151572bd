//! Slots, cancellation, retry, shutdown.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::StreamExt;
use serde_json::{Map, json};

use super::bench::{Bench, bodies, messages};
use crate::{
    model::{EventType, TaskStatus},
    store::{NewTask, StoreError, TaskStore},
};

#[tokio::test(flavor = "multi_thread")]
async fn waiting_tasks_hold_no_slot() {
    let bench = Bench::start().await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(bench.create(json!([{"action": "test:wait"}, {"action": "test:effect"}])).await);
    }
    bench.until_inside(20).await;
    let found = bench.run(json!([{"action": "test:output"}])).await;
    assert_eq!(found.last().unwrap()["message"], "Run completed with status: completed");
    bench.stage.go.notify_waiters();
    for id in waiting {
        bench.finish(&id).await;
        assert_eq!(bench.status(&id).await, TaskStatus::Completed);
    }
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn working_tasks_hold_theirs() {
    let bench = Bench::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(bench.create(json!([{"action": "test:work"}])).await);
    }
    bench.until_inside(2).await;
    // The third can't have been claimed while the two hold both slots.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.status(&ids[2]).await, TaskStatus::Open);
    bench.stage.go.notify_waiters();
    bench.finish(&ids[0]).await;
    bench.until_inside(1).await;
    bench.stage.go.notify_waiters();
    bench.finish(&ids[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_task_is_cancelled_though_all_slots_are_taken() {
    let bench = Bench::with(|settings| settings.concurrency = 1).await;
    let waiting = bench.create(json!([{"action": "test:wait"}])).await;
    bench.until_inside(1).await;
    let working = bench.create(json!([{"action": "test:work"}])).await;
    bench.until_inside(2).await;
    bench.service.cancel(&waiting).await.unwrap();
    bench.finish(&waiting).await;
    assert_eq!(bench.status(&working).await, TaskStatus::Processing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled() {
    for action in ["test:work", "test:wait"] {
        let bench = Bench::start().await;
        let id = bench
            .create(json!([
                {"id": "a", "name": "Wait", "action": action},
                {"id": "b", "name": "After", "action": "test:output"},
                {"id": "c", "name": "Always", "if": "${{ always() }}", "action": "test:output"}
            ]))
            .await;
        bench.until_inside(1).await;
        bench.service.cancel(&id).await.unwrap();
        let found = bodies(&bench.finish(&id).await);
        let text = |step: &str, name: &str| format!("Step {step} ({name}) of task {id} has been cancelled.");
        assert_eq!(
            found,
            [
                json!({"message": "Starting up task with 3 steps"}),
                json!({"message": "Beginning step Wait", "stepId": "a", "status": "processing"}),
                json!({"message": "Step a has been cancelled.", "stepId": "a", "status": "cancelled"}),
                json!({"message": format!("Error: {}", text("a", "Wait")), "stepId": "a", "status": "failed"}),
                json!({"message": "Skipping step b because a previous step failed", "stepId": "b", "status": "skipped"}),
                json!({"message": "Beginning step Always", "stepId": "c", "status": "processing"}),
                json!({
                    "message": format!("Additional error occurred: {0}\nError: {0}", text("c", "Always")),
                    "stepId": "c", "status": "failed"
                }),
                json!({"message": "Run completed with status: failed", "error": {"name": "Error", "message": text("a", "Wait")}}),
            ]
        );
        assert_eq!(bench.status(&id).await, TaskStatus::Failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_task_is_cancelled_when_its_turn_comes() {
    let bench = Bench::idle(|_| {}).await;
    let id = bench
        .create(json!([{"id": "a", "name": "A", "action": "test:effect"}, {"id": "b", "action": "test:effect"}]))
        .await;
    bench.service.cancel(&id).await.unwrap();
    assert_eq!(bench.status(&id).await, TaskStatus::Open);
    bench.service.start_workers();
    let found = bodies(&bench.finish(&id).await);
    assert_eq!(
        found,
        [
            json!({"message": "Step 0 has been cancelled.", "stepId": 0, "status": "cancelled"}),
            json!({"message": "Starting up task with 2 steps"}),
            json!({"message": "Beginning step A", "stepId": "a", "status": "processing"}),
            json!({"message": "Skipping step b because a previous step failed", "stepId": "b", "status": "skipped"}),
            json!({
                "message": "Run completed with status: failed",
                "error": {"name": "Error", "message": format!("Step a (A) of task {id} has been cancelled.")}
            }),
        ]
    );
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_what_has_ended_only_leaves_an_event() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"id": "last", "action": "test:output"}])).await;
    bench.finish(&id).await;
    bench.service.cancel(&id).await.unwrap();
    let events = bench.store.list_events(&id, None).await.unwrap();
    assert_eq!(events.last().unwrap().kind, EventType::Cancelled);
    assert_eq!(events.last().unwrap().body["message"], "Step last has been cancelled.");
    assert_eq!(bench.status(&id).await, TaskStatus::Completed);
    assert!(matches!(bench.service.cancel("nope").await, Err(StoreError::NoTask(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_task_goes_on_with_the_step_that_failed() {
    let bench = Bench::start().await;
    let id = bench
        .create(json!([
            {"id": "c", "action": "test:checkpoint"},
            {"id": "w", "action": "test:write", "input": {"path": "f", "content": "${{ steps.c.output.count }}"}},
            {"id": "boom", "action": "test:fail", "input": {"message": "no"}},
            {"id": "after", "if": "${{ failure() }}", "action": "test:effect"}
        ]))
        .await;
    bench.finish(&id).await;
    assert_eq!(bench.status(&id).await, TaskStatus::Failed);
    assert!(bench.workspace(&id).join("f").is_file(), "the workspace is kept for another try");
    bench.service.cancel(&id).await.unwrap();
    bench.service.retry(&id, None).await.unwrap();
    let found = bodies(&bench.finish(&id).await);
    let expected = [
        "Starting up task with 4 steps",
        "Beginning step test:checkpoint",
        "Finished step test:checkpoint",
        "Beginning step test:write",
        "Finished step test:write",
        "Beginning step test:fail",
        "NotAllowedError: no",
        "Beginning step test:effect",
        "Finished step test:effect",
        "",
        "Starting up task with 4 steps",
        "Task recovered - resuming from last known good state. 2 step(s) already completed.",
        "Skipping step c because it was already completed in a previous run",
        "Skipping step w because it was already completed in a previous run",
        "Beginning step test:fail",
        "NotAllowedError: no",
        // What ran because of the failure runs because of this one, too.
        "Beginning step test:effect",
        "Finished step test:effect",
        "Run completed with status: failed",
    ];
    assert_eq!(messages(&found), expected);
    assert_eq!(found[9], json!({"recoverStrategy": "none"}));
    // The checkpoint's, and two of the step that runs on failures.
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_its_workspace_is_retried_from_the_start() {
    let bench = Bench::with(|settings| settings.failed_workspace_retention = Duration::ZERO).await;
    let id = bench
        .create(json!([
            {"id": "w", "action": "test:write", "input": {"path": "f", "content": "1"}},
            {"id": "boom", "action": "test:fail", "input": {"message": "no"}}
        ]))
        .await;
    bench.finish(&id).await;
    assert_eq!(bench.left_behind(), Vec::<String>::new());
    bench.service.retry(&id, None).await.unwrap();
    let found = messages(&bodies(&bench.finish(&id).await));
    let count = |text: &str| found.iter().filter(|message| *message == text).count();
    assert_eq!((count("Beginning step test:write"), count("Beginning step test:fail")), (2, 2), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_task_is_retried_from_the_start() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"id": "e", "action": "test:effect"}])).await;
    bench.finish(&id).await;
    bench.service.retry(&id, None).await.unwrap();
    bench.finish(&id).await;
    assert_eq!((bench.status(&id).await, bench.stage.effects.load(Ordering::SeqCst)), (TaskStatus::Completed, 2));
    assert_eq!(bench.left_behind(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_removes_what_is_old_and_nobody_elses() {
    let bench = Bench::idle(|settings| {
        settings.failed_workspace_retention = Duration::from_millis(1);
        settings.retention_max_tasks = Some(1);
    })
    .await;
    // Of a task that another database knows.
    let foreign = bench.workspace("7b7a4f0e-6f0c-4a39-8d1c-3f4c52d0a111");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::create_dir_all(bench.workspace("dry-run-1")).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = bench.create(json!([])).await;
        let claim = bench.store.claim_task(true).await.unwrap().unwrap().claim;
        bench.store.complete_task(&claim, TaskStatus::Failed, json!({"message": "x"})).await.unwrap();
        std::fs::create_dir_all(bench.workspace(&id)).unwrap();
        ids.push(id);
    }
    bench.service.start_workers();
    bench.until(async || bench.store.get_task(&ids[1]).await.is_err()).await;
    bench.until(async || !bench.workspace(&ids[1]).exists()).await;
    assert!(matches!(bench.service.get(&ids[0]).await, Err(StoreError::NoTask(_))));
    assert_eq!(bench.status(&ids[2]).await, TaskStatus::Failed);
    // It ended just now.
    let mut left = bench.left_behind();
    left.sort();
    let mut expected =
        vec!["7b7a4f0e-6f0c-4a39-8d1c-3f4c52d0a111".to_string(), "dry-run-1".to_string(), ids[2].clone()];
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_can_not_be_retried() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"action": "test:work"}])).await;
    bench.until_inside(1).await;
    let Err(StoreError::Conflict(text)) = bench.service.retry(&id, None).await else { panic!("no conflict") };
    assert_eq!(text, format!("Task with taskId {id} cannot be retried"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_versions_are_refused() {
    let bench = Bench::start().await;
    let mut spec = crate::tasks::spec::build_task_spec(
        &super::bench::template(json!([]), json!({})),
        Map::new(),
        crate::model::UserSpec::default(),
    )
    .unwrap();
    spec.api_version = "backstage.io/v1beta1".into();
    let id = bench.service.create(NewTask { spec, secrets: None, created_by: None }).await.unwrap();
    let found = bodies(&bench.finish(&id).await);
    assert_eq!(
        found,
        [json!({
            "message": "Run completed with status: failed",
            "error": {"name": "Error", "message": "Unsupported Template apiVersion backstage.io/v1beta1"}
        })]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_slots_nothing_runs() {
    let bench = Bench::with(|settings| settings.concurrency = 0).await;
    let id = bench.create(json!([{"action": "test:output"}])).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.status(&id).await, TaskStatus::Open);
    bench.service.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_hands_tasks_back_and_ends_streams() {
    let bench = Bench::start().await;
    let steps = json!([
        {"id": "e", "action": "test:effect"},
        {"id": "w", "action": "test:write", "input": {"path": "f", "content": "kept"}},
        {"id": "wait", "action": "test:wait"},
        {"id": "r", "action": "test:read", "input": {"path": "f"}}
    ]);
    let id = bench.create_with(steps, json!({}), json!({"output": {"f": "${{ steps.r.output.content }}"}})).await;
    let deaf = bench.create(json!([{"action": "test:deaf"}])).await;
    bench.until_inside(2).await;
    let stream = bench.service.subscribe(&id, None);
    bench.service.shutdown(Duration::from_millis(300)).await;
    let seen: Vec<_> = stream.map(Result::unwrap).concat().await;
    assert_eq!(seen.last().unwrap().body, json!({"recoverStrategy": "none"}));
    assert!(!seen.iter().any(|event| event.body["status"] == "failed"));
    assert_eq!(bench.status(&id).await, TaskStatus::Open);
    assert_eq!(bench.status(&deaf).await, TaskStatus::Open);
    assert!(bench.workspace(&id).join("f").exists());

    let next = bench.restarted(|_| {});
    next.until_inside(2).await;
    next.stage.go.notify_waiters();
    let found = bodies(&next.finish(&id).await);
    assert_eq!(found.last().unwrap()["output"], json!({"f": "kept"}));
    assert_eq!(next.stage.effects.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shutdown_does_not_wait_for_heartbeats_of_a_step_that_blocks() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"action": "test:block"}])).await;
    bench.until_inside(1).await;
    // The step ends only after the shutdown: were it counted as running, the loops would never end.
    let shutdown = bench.service.shutdown(Duration::from_millis(50));
    tokio::time::timeout(Duration::from_secs(30), shutdown).await.unwrap();
    assert!(bench.service.is_idle());
    assert_eq!(bench.status(&id).await, TaskStatus::Open);
    bench.stage.effects.store(1, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_handed_back_keeps_its_secrets_though_nothing_is_recovered() {
    let bench = Bench::with(|settings| settings.recovery = false).await;
    let secret = json!([{"action": "test:wait"}, {"id": "o", "action": "test:output", "input": {"is": "${{ secrets.apiKey == 'hunter2' }}"}}]);
    let output = json!({"output": {"is": "${{ steps.o.output.is }}"}});
    let id = bench.create_with(secret, json!({}), output).await;
    let deaf = bench.create(json!([{"action": "test:deaf"}])).await;
    bench.until_inside(2).await;
    bench.service.shutdown(Duration::from_millis(300)).await;
    for _ in 0..2 {
        let task = bench.store.claim_task(true).await.unwrap().unwrap();
        assert_eq!(task.secrets["apiKey"], "hunter2", "{} {deaf}", task.claim.task_id);
        bench.store.release_task(&task.claim, None).await.unwrap();
    }
    let next = bench.restarted(|settings| settings.recovery = false);
    next.until_inside(2).await;
    next.stage.go.notify_waiters();
    assert_eq!(bodies(&next.finish(&id).await).last().unwrap()["output"], json!({"is": true}));
}
