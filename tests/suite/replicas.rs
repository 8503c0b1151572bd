//! Several processes on one PostgreSQL database, and what each hears of the others.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use understudy_testbed::{
    postgres::{Database, Postgres},
    process::ServiceOptions,
};

use crate::support::{Running, TASKS, TempDir, binary, completion, locations, messages, template, write};

const LIMIT: Duration = Duration::from_secs(60);

struct Setup {
    dir: TempDir,
    database: Database,
}

impl Setup {
    async fn new() -> Self {
        Self::on(&Postgres::shared().await.unwrap()).await
    }
    async fn on(server: &Postgres) -> Self {
        let dir = TempDir::new();
        let wait = |seconds: u32| {
            json!([
                {"id": "one", "name": "One", "action": "debug:log", "input": {"message": "first"}},
                {"id": "wait", "name": "Wait", "action": "debug:wait", "input": {"seconds": seconds}},
                {"id": "three", "name": "Three", "action": "debug:log", "input": {"message": "last"}},
            ])
        };
        let chatty = json!([{
            "id": "talk", "name": "Talk", "each": (0..100).collect::<Vec<_>>(), "action": "debug:wait",
            "input": {"milliseconds": 20},
        }]);
        write(dir.path.join("wait.yaml"), template("wait", &wait(10)));
        write(dir.path.join("long.yaml"), template("long", &wait(600)));
        write(dir.path.join("chatty.yaml"), template("chatty", &chatty));
        write(dir.path.join("added.yaml"), template("added", &wait(1)));
        std::fs::create_dir(dir.path.join("work")).unwrap();
        Self { dir, database: server.database().await.unwrap() }
    }
    /// A process; with no workers when `workers` is 0.
    async fn replica(&self, workers: u32) -> Running {
        self.replica_with(workers, "{}").await
    }
    async fn replica_with(&self, workers: u32, config: &str) -> Running {
        let path = |name: &str| self.dir.path.join(name);
        let more = json!({
            "backend": {"workingDirectory": path("work")}, "scaffolder": {"concurrentTasksLimit": workers},
        });
        let files = ["wait.yaml", "long.yaml", "chatty.yaml"].map(path);
        Running::with(
            ServiceOptions::new(binary())
                .config(locations(&files.each_ref().map(|file| file.as_path())))
                .config(self.database.app_config())
                .config(more.to_string())
                .config(config),
        )
        .await
    }
}

async fn create(running: &Running, name: &str) -> String {
    running.create_task(&json!({"templateRef": format!("template:default/{name}"), "values": {}})).await
}

fn begun(name: &str) -> impl Fn(&Value) -> bool {
    move |event| event["body"]["message"] == format!("Beginning step {name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_subscribers_of_another_replica_at_once() {
    let setup = Setup::new().await;
    let (here, there) = (setup.replica(0).await, setup.replica(10).await);
    let id = create(&here, "chatty").await;
    let mut stream = here.service.client().events(&format!("{TASKS}/{id}/eventstream")).await.unwrap();
    let (mut seen, mut delays) = (Vec::new(), Vec::new());
    loop {
        let frame = stream.next(LIMIT).await.unwrap().expect("the stream goes on to the completion");
        if frame.is_comment() {
            continue;
        }
        let event = frame.json().unwrap();
        let stored: DateTime<Utc> = event["createdAt"].as_str().unwrap().parse().unwrap();
        delays.push((Utc::now() - stored).num_milliseconds());
        seen.push(event);
        if frame.name() == "completion" {
            break;
        }
    }
    assert_eq!(seen, there.events(&id).await, "each event once, in order");
    assert!(seen.len() > 100);
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!(
        "from an event's write (the start of its transaction) to its arrival at another replica's subscriber, {} events: \
         p50 {} ms, p95 {} ms, p99 {} ms, longest {} ms",
        delays.len(),
        at(50),
        at(95),
        at(99),
        at(100)
    );
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_interrupts_a_wait_on_another_replica() {
    let setup = Setup::new().await;
    let (here, there) = (setup.replica(0).await, setup.replica(10).await);
    let id = create(&here, "long").await;
    here.wait_event(&id, begun("Wait")).await;
    let cancelled = here.post(&format!("{TASKS}/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    // The wait would take ten minutes.
    let (status, events) = here.finish(&id, LIMIT).await;
    assert_eq!(status, "failed");
    let text = completion(&events)["error"]["message"].as_str().unwrap().to_string();
    assert!(text.ends_with("has been cancelled."), "{text}");
    let time = |event: &Value| event["createdAt"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let asked = events.iter().find(|event| event["type"] == "cancelled").unwrap();
    println!(
        "from a cancellation to the task's end on another replica: {}",
        time(events.last().unwrap()) - time(asked)
    );
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_a_wait_survives_a_rolling_restart() {
    // A wait begins again where it is taken up. One of ten minutes, and one that this test can see the end of.
    let setup = Setup::new().await;
    let mut replicas = [setup.replica(10).await, setup.replica(10).await, setup.replica(10).await];
    let long = create(&replicas[0], "long").await;
    let id = create(&replicas[0], "wait").await;
    for id in [&long, &id] {
        replicas[0].wait_event(id, begun("Wait")).await;
    }
    for replica in &mut replicas {
        let status = replica.service.terminate(Duration::from_secs(20)).await.unwrap();
        assert!(status.success(), "{status}");
        replica.service.restart().await.unwrap();
    }
    let (status, events) = replicas[0].finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    assert_eq!(log.matches("Beginning step One").count(), 1, "a completed step ran again:\n{log}");
    assert!(!log.contains("cancelled") && events.iter().any(|event| event["type"] == "recovered"), "{log}");
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let events = replicas[1].events(&long).await;
        let log = messages(&events);
        assert_eq!(log.matches("Beginning step One").count(), 1, "a completed step ran again:\n{log}");
        // It waits again, behind the last of the restarts that it lived through.
        let recovered = events.iter().rposition(|event| event["type"] == "recovered");
        let waits = events.iter().rposition(begun("Wait"));
        if recovered.is_some() && waits > recovered && replicas[1].task(&long).await["status"] == "processing" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(replicas[1].post(&format!("{TASKS}/{long}/cancel"), &json!({})).await.status, 200);
    assert_eq!(replicas[2].finish(&long, LIMIT).await.0, "failed");
    for replica in replicas {
        replica.stop().await;
    }
}

/// Serves a text at every URL; gives host and port.
async fn serve(text: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/yaml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
            // The request fits into one packet.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_registered_at_one_replica_is_known_to_all() {
    let setup = Setup::new().await;
    let host = serve(std::fs::read_to_string(setup.dir.path.join("added.yaml")).unwrap()).await;
    let reading = json!({"backend": {"reading": {"allow": [{"host": host}]}}}).to_string();
    let (here, there) = (setup.replica_with(0, &reading).await, setup.replica_with(0, &reading).await);
    let target = format!("http://{host}/added.yaml");
    let added = here.post("/api/catalog/locations", &json!({"type": "url", "target": target})).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let deadline = std::time::Instant::now() + LIMIT;
    let path = "/api/catalog/entities/by-name/template/default/added";
    while there.get(path).await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "{}", there.service.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_that_the_database_is_away() {
    let server = Postgres::start().await.unwrap();
    let setup = Setup::on(&server).await;
    let running = setup.replica(10).await;
    let ready = async || running.get("/.backstage/health/v1/readiness").await;
    assert_eq!(ready().await.status, 200);
    server.stop().await.unwrap();
    let answer = ready().await;
    assert_eq!(
        (answer.status, answer.json().unwrap()["message"].as_str()),
        (503, Some("The database does not answer"))
    );
    server.start_again().await.unwrap();
    let deadline = std::time::Instant::now() + LIMIT;
    while ready().await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "{}", running.service.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
}
