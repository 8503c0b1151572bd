//! A process may die at any moment; its tasks and what was acknowledged of them do not.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::support::{Running, TempDir, binary, completion, locations, messages, template, write};

fn steps() -> Value {
    json!([
        {"id": "one", "name": "One", "action": "debug:log", "input": {"message": "first"}},
        {"id": "two", "name": "Two", "action": "debug:wait", "input": {"seconds": 2}},
        {"id": "three", "name": "Three", "action": "debug:log", "input": {"message": "${{ secrets.word | length | string }}"}},
    ])
}

async fn start(dir: &TempDir) -> Running {
    write(dir.path.join("template.yaml"), template("three-steps", &steps()));
    let config = locations(&[&dir.path.join("template.yaml")]);
    Running::with(ServiceOptions::new(binary()).config(config).data_dir(dir.path.join("data"))).await
}

/// Starts a task and waits until its second step is running; gives the id and the events seen so far.
async fn task_in_mid_step(running: &Running) -> (String, Vec<Value>) {
    let id = running
        .create_task(&json!({"templateRef": "three-steps", "values": {}, "secrets": {"word": "hush-hush"}}))
        .await;
    running.wait_event(&id, |event| event["body"]["message"] == "Beginning step Two").await;
    let seen = running.events(&id).await;
    (id, seen)
}

fn assert_continued(seen: &[Value], status: &str, events: &[Value]) {
    let log = messages(events);
    assert_eq!(status, "completed", "{log}");
    assert_eq!(&events[..seen.len()], seen, "an event that had been acknowledged is gone or changed");
    assert!(events.windows(2).all(|pair| pair[0]["id"].as_i64() < pair[1]["id"].as_i64()), "ids do not ascend");
    assert_eq!(log.matches("Beginning step One").count(), 1, "a completed step ran again:\n{log}");
    assert_eq!(log.matches("Beginning step Three").count(), 1, "{log}");
    assert!(events.iter().any(|event| event["type"] == "recovered"), "no recovered event:\n{log}");
    // One digit is not redacted: the length of the secret that the second run still had.
    assert!(
        log.ends_with("\u{1b}[32minfo\u{1b}[39m: 9\nFinished step Three\nRun completed with status: completed"),
        "{log}"
    );
    completion(events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_survives_kill_9_in_mid_step() {
    let dir = TempDir::new();
    let mut running = start(&dir).await;
    let (id, seen) = task_in_mid_step(&running).await;
    running.service.kill().await.unwrap();
    running.service.restart().await.unwrap();
    let (status, events) = running.finish(&id, Duration::from_secs(30)).await;
    assert_continued(&seen, &status, &events);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_hands_a_running_task_over() {
    let dir = TempDir::new();
    let mut running = start(&dir).await;
    let (id, seen) = task_in_mid_step(&running).await;
    let status = running.service.terminate(Duration::from_secs(15)).await.unwrap();
    assert!(status.success(), "{status}: {}", running.service.logs());
    running.service.restart().await.unwrap();
    let (status, events) = running.finish(&id, Duration::from_secs(30)).await;
    assert_continued(&seen, &status, &events);
    assert!(!messages(&events).contains("cancelled"), "a hand-over is no cancellation:\n{}", messages(&events));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_tasks_survive_a_flood_and_a_kill() {
    let dir = TempDir::new();
    let mut running = start(&dir).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        let body = json!({"templateRef": "three-steps", "values": {}, "secrets": {"word": "w0rd"}});
        ids.push(running.create_task(&body).await);
    }
    running.service.kill().await.unwrap();
    running.service.restart().await.unwrap();
    for id in ids {
        let (status, events) = running.finish(&id, Duration::from_secs(60)).await;
        assert_eq!(status, "completed", "{}", messages(&events));
        completion(&events);
    }
    running.stop().await;
}
