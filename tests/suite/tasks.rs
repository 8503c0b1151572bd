//! Tasks over HTTP: a step's timeout and retries, another try, finding tasks, removing old ones.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::support::{Running, TASKS, TempDir, binary, completion, locations, messages, template, write};

const LIMIT: Duration = Duration::from_secs(90);

async fn start(dir: &TempDir, templates: &[(&str, Value)], config: Value) -> Running {
    let mut paths = Vec::new();
    for (name, steps) in templates {
        let path = dir.path.join(format!("{name}.yaml"));
        write(&path, template(name, steps));
        paths.push(path);
    }
    let locations = locations(&paths.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    let data = dir.path.join("data");
    std::fs::create_dir_all(&data).unwrap();
    Running::with(ServiceOptions::new(binary()).config(locations).config(config.to_string()).data_dir(data)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_try_goes_on_with_the_step_that_failed() {
    let dir = TempDir::new();
    write(dir.path.join("first/a.txt"), "a");
    let steps = json!([
        {"id": "first", "name": "First", "action": "fetch:plain", "input": {"url": "./first"}},
        {"id": "second", "name": "Second", "action": "fetch:plain", "input": {"url": "./second"}},
        {"id": "third", "name": "Third", "action": "fs:rename",
            "input": {"files": [{"from": "a.txt", "to": "b.txt"}, {"from": "c.txt", "to": "d.txt"}]}},
    ]);
    let mut running = start(&dir, &[("tried", steps)], json!({})).await;
    let id = running.create_task(&json!({"templateRef": "tried", "values": {}})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "failed", "{}", messages(&events));

    // Another process goes on as well as this one.
    assert!(running.service.terminate(Duration::from_secs(20)).await.unwrap().success());
    running.service.restart().await.unwrap();
    write(dir.path.join("second/c.txt"), "c");
    let retried = running.post(&format!("{TASKS}/{id}/retry"), &json!({})).await;
    assert_eq!(retried.status, 201, "{}", retried.text());
    let (status, events) = running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    assert_eq!(log.matches("Beginning step First").count(), 1, "{log}");
    assert_eq!(log.matches("Beginning step Second").count(), 2, "{log}");
    assert!(log.contains("resuming from last known good state. 1 step(s) already completed."), "{log}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_keeps_to_its_timeout() {
    let dir = TempDir::new();
    let wait = |limits: Value| {
        let mut step = json!({"id": "w", "action": "debug:wait", "input": {"minutes": 5}});
        step.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        json!([step])
    };
    let templates = [
        ("slow", wait(json!({"timeout": "1s", "retry": {"attempts": 2, "backoff": "100ms"}}))),
        ("wrong", wait(json!({"timeout": "soon"}))),
    ];
    let running = start(&dir, &templates, json!({})).await;
    let run = async |name: &str| {
        let id = running.create_task(&json!({"templateRef": name, "values": {}})).await;
        running.finish(&id, LIMIT).await
    };
    let (status, events) = run("slow").await;
    let (log, error) = (messages(&events), &completion(&events)["error"]);
    assert_eq!((status.as_str(), error["name"].as_str()), ("failed", Some("TimeoutError")), "{log}");
    assert_eq!(error["message"], "Step w did not finish within 1 s, its timeout, and was stopped");
    assert!(log.contains("Attempt 1 of 2 failed: TimeoutError") && log.contains("trying again in 0.1 s"), "{log}");
    let (status, events) = run("wrong").await;
    let error = completion(&events)["error"]["message"].as_str().unwrap_or_default().to_string();
    assert_eq!(status, "failed");
    assert!(error.contains("steps.w.timeout: expected a duration") && error.contains("found \"soon\""), "{error}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_found_by_template_and_text() {
    let dir = TempDir::new();
    let steps = json!([]);
    let running = start(&dir, &[("shop", steps.clone()), ("blog", steps)], json!({})).await;
    let mut ids = Vec::new();
    for (template, name) in [("shop", "Alpha"), ("blog", "alphabet"), ("shop", "beta")] {
        let id = running.create_task(&json!({"templateRef": template, "values": {"name": name}})).await;
        running.finish(&id, LIMIT).await;
        ids.push(id);
    }
    let found = async |query: &str| {
        let answer = running.get(&format!("{TASKS}?order=asc:created_at&{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json().unwrap();
        let tasks = page["tasks"].as_array().unwrap();
        assert_eq!(page["totalTasks"], tasks.len());
        let mut found: Vec<_> =
            tasks.iter().map(|task| ids.iter().position(|id| task["id"] == **id).unwrap()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(found("templateRef=shop").await, [0, 2]);
    assert_eq!(found("templateRef=template:default/Shop&templateRef=blog").await, [0, 1, 2]);
    assert_eq!(found("text=ALPHA").await, [0, 1]);
    assert_eq!(found("text=alpha&templateRef=blog&status=completed").await, [1]);
    assert_eq!(found("text=alpha&templateRef=other").await, [0; 0]);
    for (query, expected) in [
        ("templateRef=%3A", "Entity reference"),
        ("text=", "Empty value found for query parameter 'text'"),
        ("text=a&text=b", "request/query/text must be given once"),
    ] {
        let answer = running.get(&format!("{TASKS}?{query}")).await;
        assert!(answer.status == 400 && answer.text().contains(expected), "{query}: {}", answer.text());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tasks_go_as_the_configuration_says() {
    let dir = TempDir::new();
    let config = json!({"scaffolder": {"taskTimeoutJanitorFrequency": "1s", "retention": {"maxTasks": 2}}});
    let running = start(&dir, &[("short", json!([]))], config).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = running.create_task(&json!({"templateRef": "short", "values": {}})).await;
        running.finish(&id, LIMIT).await;
        ids.push(id);
    }
    let deadline = std::time::Instant::now() + LIMIT;
    while running.get(&format!("{TASKS}/{}", ids[1])).await.status != 404 {
        assert!(std::time::Instant::now() < deadline, "nothing is deleted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(running.get(&format!("{TASKS}/{}", ids[0])).await.status, 404);
    for id in &ids[2..] {
        assert_eq!(running.get(&format!("{TASKS}/{id}")).await.status, 200);
    }
    running.stop().await;
}
