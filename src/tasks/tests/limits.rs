//! A step's timeout and retries.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;

use super::bench::{Bench, bodies, messages};
use crate::model::TaskStatus;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_fails_whether_it_listens_or_not() {
    // One place to work: what a step left behind must not keep it from the next task.
    let bench = Bench::with(|settings| settings.concurrency = 1).await;
    for action in ["test:wait", "test:work", "test:deaf"] {
        let id = bench
            .create(json!([
                {"id": "slow", "action": action, "timeout": "200ms"},
                {"id": "then", "if": "${{ failure() }}", "action": "test:effect"}
            ]))
            .await;
        let found = messages(&bodies(&bench.finish(&id).await));
        let expected = [
            "Starting up task with 2 steps",
            &format!("Beginning step {action}"),
            "TimeoutError: Step slow did not finish within 0.2 s, its timeout, and was stopped",
            "Beginning step test:effect",
            "Finished step test:effect",
            "Run completed with status: failed",
        ];
        assert_eq!(found, expected, "{action}");
        assert!(bench.left_behind().iter().all(|name| !name.contains("_step-")), "{:?}", bench.left_behind());
    }
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_time_is_not_disturbed() {
    let bench = Bench::start().await;
    let id = bench
        .create(
            json!([{"action": "test:output", "timeout": {"hours": 1}, "retry": {"attempts": 5}, "input": {"a": 1}}]),
        )
        .await;
    let found = messages(&bodies(&bench.finish(&id).await));
    assert_eq!(found[2..], ["Finished step test:output", "Run completed with status: completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_tried_as_often_as_it_says() {
    let bench = Bench::start().await;
    let step = |attempts: u64| {
        json!([{
            "id": "s", "action": "test:flaky", "retry": {"attempts": attempts, "backoff": "20ms"},
            "input": {"failures": 2, "secret": "${{ secrets.apiKey }}"}
        }])
    };
    let id = bench.create(step(3)).await;
    let found = messages(&bodies(&bench.finish(&id).await));
    assert_eq!(found.len(), 6, "{found:#?}");
    for (number, pause) in [(1, "0.02 s"), (2, "0.0")] {
        let attempt = format!("Attempt {number} of 3 failed: Error: not yet, ***; trying again in {pause}");
        assert!(found[number + 1].contains(&attempt), "{found:#?}");
    }
    assert_eq!(found[4..], ["Finished step test:flaky", "Run completed with status: completed"]);
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 3);

    // The last failure is the step's.
    bench.stage.effects.store(0, Ordering::SeqCst);
    let id = bench.create(step(2)).await;
    let found = messages(&bodies(&bench.finish(&id).await));
    assert_eq!(found[3..], ["Error: not yet, ***", "Run completed with status: failed"], "{found:#?}");
    assert_eq!(bench.status(&id).await, TaskStatus::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_get_better_is_not_tried_again() {
    let bench = Bench::start().await;
    let id = bench
        .create(json!([{"action": "test:fail", "input": {"message": "no"}, "retry": {"attempts": 3, "backoff": "1h"}}]))
        .await;
    let found = messages(&bodies(&bench.finish(&id).await));
    assert_eq!(found[2..], ["NotAllowedError: no", "Run completed with status: failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_between_attempts_takes_no_place_and_ends_with_the_task() {
    let bench = Bench::with(|settings| settings.concurrency = 1).await;
    let id = bench
        .create(json!([{"action": "test:flaky", "input": {"failures": 9}, "retry": {"attempts": 3, "backoff": "1h"}}]))
        .await;
    bench.until(async || bench.stage.effects.load(Ordering::SeqCst) == 1).await;
    let other = bench.run(json!([{"action": "test:output"}])).await;
    assert_eq!(other.last().unwrap()["message"], "Run completed with status: completed");
    bench.service.cancel(&id).await.unwrap();
    bench.finish(&id).await;
    assert_eq!(bench.status(&id).await, TaskStatus::Failed);
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 1);
    bench.service.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_can_not_be_read_fail_the_step() {
    let bench = Bench::start().await;
    let found = bench.run(json!([{"id": "s", "action": "test:effect", "timeout": "soon"}])).await;
    let text = found[2]["message"].as_str().unwrap();
    assert!(text.starts_with("InputError: steps.s.timeout: expected a duration"), "{text}");
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 0);
}
