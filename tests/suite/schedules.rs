//! What the service does from time to time can be looked at, hurried and given up.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::support::{Running, TempDir, binary, completion, locations, messages, template, write};

const SCHEDULES: &str = "/api/scaffolder/.backstage/scheduler/v1/tasks";
const LIMIT: Duration = Duration::from_secs(60);

async fn schedule(running: &Running) -> Value {
    let shown = running.get(SCHEDULES).await.json().unwrap();
    let [schedule] = &shown["tasks"].as_array().unwrap()[..] else { panic!("{shown}") };
    schedule.clone()
}

/// A task whose process was killed is ended when the janitor is hurried, not an hour later; the audit log tells of it.
#[tokio::test(flavor = "multi_thread")]
async fn stale_tasks_are_closed_when_the_janitor_is_hurried() {
    let dir = TempDir::new();
    let wait = json!([{"id": "w", "name": "W", "action": "debug:wait", "input": {"minutes": 10}}]);
    write(dir.path.join("a.yaml"), template("slow", &wait));
    let config = json!({"scaffolder": {
        "taskTimeout": "4s", "taskTimeoutJanitorFrequency": "1h", "taskRecovery": {"enabled": false},
    }});
    let options = ServiceOptions::new(binary())
        .config(config.to_string())
        .config(locations(&[&dir.path.join("a.yaml")]))
        .env("NODE_ENV", "production");
    let mut running = Running::with(options).await;
    let id = running.create_task(&json!({"templateRef": "slow", "values": {}})).await;
    running.wait_event(&id, |event| event["body"]["status"] == "processing").await;
    running.service.kill().await.unwrap();
    running.service.restart().await.unwrap();

    let shown = schedule(&running).await;
    assert_eq!(
        (&shown["taskId"], &shown["pluginId"], &shown["settings"]),
        (
            &json!("close_stale_tasks"),
            &json!("scaffolder"),
            &json!({"version": 2, "cadence": "PT1H", "timeoutAfterDuration": "PT15M"})
        )
    );
    // Its first run found nothing that old, unless the start took long; the next one finds it.
    let mut runs = 0;
    while running.task(&id).await["status"] == "processing" {
        assert!(runs < 60, "the task is not closed: {}", schedule(&running).await);
        runs += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = running.post(&format!("{SCHEDULES}/close_stale_tasks/trigger"), &json!({})).await;
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
    }
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "failed");
    assert!(completion(&events)["message"].as_str().unwrap().contains("marked as stale"), "{}", messages(&events));
    let logs = running.service.logs();
    let audit: Vec<Value> = logs
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["meta"] == json!({"actionType": "stale-cancel", "taskId": id}))
        .collect();
    let statuses: Vec<&Value> = audit.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, ["initiated", "succeeded"], "{logs}");

    // Nothing is being done that could be given up, and others are not known.
    let after = schedule(&running).await;
    assert_eq!((&after["taskState"]["status"], &after["workerState"]), (&json!("idle"), &json!({"status": "idle"})));
    assert!(after["taskState"]["lastRunEndedAt"].is_string() && after["taskState"].get("lastRunError").is_none());
    for (name, verb, status, message) in [
        ("close_stale_tasks", "cancel", 409, "Task close_stale_tasks is not running"),
        ("nope", "cancel", 404, "Task nope does not exist"),
        ("nope", "trigger", 404, "Task nope does not exist"),
    ] {
        let answer = running.post(&format!("{SCHEDULES}/{name}/{verb}"), &json!({})).await;
        assert_eq!((answer.status, answer.error_message()), (status, message.to_string()));
    }
    running.stop().await;
}
