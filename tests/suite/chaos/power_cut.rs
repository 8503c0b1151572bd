//! SQLite: a process that dies at any moment leaves a sound file with everything that was acknowledged.
//!
//! `kill -9` takes the process's memory as a power cut does; what the system has been given to write stays, so this says
//! nothing about disks that lie about flushing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use understudy_testbed::{
    http::Client,
    process::{Service, ServiceOptions},
};

use super::Random;
use crate::support::{TASKS, TempDir, binary, locations, messages, template, write};

const CREATORS: usize = 8;
const TASKS_EACH: usize = 125;

/// By task: the events that somebody has seen.
type Acknowledged = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

async fn create(client: Client, seen: Acknowledged) {
    for _ in 0..TASKS_EACH {
        let body = json!({"templateRef": "template:default/short", "values": {}});
        let id = loop {
            match timeout(Duration::from_secs(10), client.post(TASKS, &body)).await {
                Ok(Ok(answer)) if answer.status == 201 => {
                    break answer.json().unwrap()["id"].as_str().unwrap().to_string();
                }
                _ => sleep(Duration::from_millis(30)).await,
            }
        };
        seen.lock().await.insert(id.clone(), Vec::new());
        // Whatever is there of the log by now; nothing when the process is just away.
        if let Ok(Ok(answer)) = timeout(Duration::from_secs(10), client.get(&format!("{TASKS}/{id}/events"))).await
            && let Ok(Value::Array(events)) = answer.json()
        {
            seen.lock().await.insert(id, events);
        }
    }
}

/// What SQLite says about the file that the killed process left.
async fn integrity(dir: &TempDir) -> String {
    let copy = TempDir::new();
    let name = |suffix: &str| format!("scaffolder.sqlite{suffix}");
    for suffix in ["", "-wal"] {
        std::fs::copy(dir.path.join("data").join(name(suffix)), copy.path.join(name(suffix))).unwrap();
    }
    let options = SqliteConnectOptions::new().filename(copy.path.join(name("")));
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_short_tasks() {
    let mut random = Random::seeded("a_thousand_short_tasks");
    let dir = TempDir::new();
    let log = |text: &str| json!({"id": text, "name": text, "action": "debug:log", "input": {"message": text}});
    write(dir.path.join("short.yaml"), template("short", &json!([log("one"), log("two"), log("three")])));
    let config = locations(&[&dir.path.join("short.yaml")]);
    let options = ServiceOptions::new(binary())
        .config(config)
        .data_dir(dir.path.join("data"))
        .ready_within(Duration::from_secs(60));
    let mut service = Service::start(options).await.unwrap();
    let seen = Acknowledged::default();
    let creators: Vec<_> =
        (0..CREATORS).map(|_| tokio::spawn(create(service.client().clone(), Arc::clone(&seen)))).collect();
    let mut cuts = 0;
    while creators.iter().any(|creator| !creator.is_finished()) {
        sleep(Duration::from_millis(50 + random.next() % 700)).await;
        service.kill().await.unwrap();
        cuts += 1;
        assert_eq!(integrity(&dir).await, "ok", "after {cuts} cuts");
        service.restart().await.unwrap();
    }
    for creator in creators {
        creator.await.unwrap();
    }
    let client = service.client();
    let seen = seen.lock().await;
    assert_eq!(seen.len(), CREATORS * TASKS_EACH);
    let mut acknowledged = 0;
    for (id, before) in seen.iter() {
        let deadline = tokio::time::Instant::now() + super::FOR_TASKS;
        loop {
            let task = client.get(&format!("{TASKS}/{id}")).await.unwrap().expect_json(200).unwrap();
            if task["status"] == "completed" {
                break;
            }
            assert!(task["status"] != "failed" && tokio::time::Instant::now() < deadline, "{id}: {task}");
            sleep(Duration::from_millis(50)).await;
        }
        let events = client.get(&format!("{TASKS}/{id}/events")).await.unwrap().expect_json(200).unwrap();
        let events = events.as_array().unwrap();
        assert_eq!(&events[..before.len()], before, "events of {id} that were seen are gone or changed");
        assert_eq!(messages(events).matches("Run completed").count(), 1);
        acknowledged += before.len();
    }
    println!("{} tasks and {acknowledged} events acknowledged, all there after {cuts} cuts", seen.len());
    assert!(cuts >= 10, "only {cuts} cuts");
    assert!(service.terminate(Duration::from_secs(30)).await.unwrap().success());
}
