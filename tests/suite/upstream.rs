//! There and back: a database that Backstage's scaffolder wrote is opened by the service, and by Backstage again.

use std::{process::Stdio, time::Duration};

use camino::Utf8PathBuf;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};
use understudy_testbed::{
    http::Client,
    postgres::Postgres,
    process::{ServiceOptions, free_port},
    upstream,
};

use crate::support::{Running, TASKS, TempDir, binary, completion, messages, write};

/// Starting Backstage takes seconds, on a busy machine many.
const LIMIT: Duration = Duration::from_secs(240);

/// A Backstage backend with the scaffolder 4.2.0.
struct Upstream {
    child: Child,
    client: Client,
    log: Utf8PathBuf,
}

impl Upstream {
    async fn start(dir: &TempDir, packages: &upstream::Upstream, database: &Value) -> Self {
        let port = free_port().unwrap();
        let home = dir.path.join("upstream");
        let config = json!({
            "app": {"baseUrl": format!("http://127.0.0.1:{port}")},
            "backend": {
                "baseUrl": format!("http://127.0.0.1:{port}"), "listen": {"port": port, "host": "127.0.0.1"},
                "database": database, "auth": {"dangerouslyDisableDefaultAuthPolicy": true},
            },
            "catalog": {
                "rules": [{"allow": ["Template"]}],
                "locations": [{"type": "file", "target": dir.path.join("template.yaml")}],
            },
        });
        write(home.join("app-config.yaml"), config.to_string());
        let log = home.join(format!("{port}.log"));
        let output = std::fs::File::create(&log).unwrap();
        let child = packages
            .backend(home.as_std_path(), &upstream::SMALLEST)
            .unwrap()
            .args(["--config", "app-config.yaml"])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = Client::new(format!("http://127.0.0.1:{port}")).unwrap();
        let mut upstream = Self { child, client, log };
        let deadline = Instant::now() + LIMIT;
        while !upstream.client.get("/.backstage/health/v1/readiness").await.is_ok_and(|answer| answer.status == 200) {
            let ended = upstream.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", upstream.logs());
            sleep(Duration::from_millis(200)).await;
        }
        upstream
    }
    fn logs(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
    /// Runs the template to its end; gives the task's id and status.
    async fn run(&self) -> (String, String) {
        let deadline = Instant::now() + LIMIT;
        let body = json!({"templateRef": "template:default/there-and-back", "values": {"name": "x"}});
        let id = loop {
            // The catalog finds the template in its own time.
            let answer = self.client.post(TASKS, &body).await.unwrap();
            if answer.status == 201 {
                break answer.json().unwrap()["id"].as_str().unwrap().to_string();
            }
            assert!(Instant::now() < deadline, "{}\n{}", answer.text(), self.logs());
            sleep(Duration::from_millis(300)).await;
        };
        loop {
            let task = self.task(&id).await;
            let status = task["status"].as_str().unwrap().to_string();
            if !matches!(&*status, "open" | "processing") {
                return (id, status);
            }
            assert!(Instant::now() < deadline, "{task}\n{}", self.logs());
            sleep(Duration::from_millis(200)).await;
        }
    }
    async fn task(&self, id: &str) -> Value {
        self.client.get(&format!("{TASKS}/{id}")).await.unwrap().expect_json(200).unwrap()
    }
    async fn events(&self, id: &str) -> Vec<Value> {
        let events = self.client.get(&format!("{TASKS}/{id}/events")).await.unwrap().expect_json(200).unwrap();
        events.as_array().unwrap().clone()
    }
    async fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        if tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.is_err() {
            self.child.kill().await.unwrap();
        }
    }
}

async fn there_and_back(dir: &TempDir, database: &Value, options: ServiceOptions) {
    let packages = upstream::Upstream::installed().await.expect("upstream's packages can be installed");
    let template = json!({
        "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "there-and-back"},
        "spec": {"owner": "user:guest", "type": "service", "output": {"text": [{"title": "Made for ${{ parameters.name }}"}]},
            "steps": [
                {"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "hello"},
                    // Ours; Backstage does not mind.
                    "timeout": "10m", "retry": {"attempts": 2, "backoff": "1s"}},
                {"id": "fetch", "name": "Fetch", "action": "fetch:plain", "input": {"url": "./skeleton"}},
            ]},
    });
    write(dir.path.join("template.yaml"), template.to_string());

    // Backstage makes the database; its task fails, as there is nothing to fetch.
    let upstream = Upstream::start(dir, &packages, database).await;
    let (id, status) = upstream.run().await;
    let theirs = upstream.events(&id).await;
    assert_eq!(status, "failed", "{}", messages(&theirs));
    let before = upstream.task(&id).await;
    upstream.stop().await;

    // We open it with its history, and retry the task now that there is something.
    write(dir.path.join("skeleton/README.md"), "# hello\n");
    let running = Running::with(options).await;
    let task = running.task(&id).await;
    for member in ["id", "spec", "status", "createdAt", "createdBy"] {
        assert_eq!(task[member], before[member], "{member}");
    }
    assert_eq!(running.events(&id).await, theirs);
    let retried = running.post(&format!("{TASKS}/{id}/retry"), &json!({})).await;
    assert!(retried.status < 300, "{}", retried.text());
    let (status, ours) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&ours));
    let new =
        running.create_task(&json!({"templateRef": "template:default/there-and-back", "values": {"name": "y"}})).await;
    assert_eq!(running.finish(&new, LIMIT).await.0, "completed");
    running.stop().await;

    // Backstage takes over again: it reads what we wrote, and goes on.
    let upstream = Upstream::start(dir, &packages, database).await;
    assert_eq!(upstream.task(&id).await["status"], "completed");
    assert_eq!(upstream.events(&id).await, ours);
    assert_eq!(completion(&upstream.events(&new).await)["output"], json!({"text": [{"title": "Made for y"}]}));
    let (_, status) = upstream.run().await;
    assert_eq!(status, "completed");
    let listed = upstream.client.get(&format!("{TASKS}?limit=10")).await.unwrap().expect_json(200).unwrap();
    assert_eq!(listed["totalTasks"], 3, "{listed}");
    assert!(!upstream.logs().contains("migration directory is corrupt"), "{}", upstream.logs());
    upstream.stop().await;
}

fn own_config(dir: &TempDir) -> String {
    json!({"catalog": {"locations": [{"type": "file", "target": dir.path.join("template.yaml")}]}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_database_goes_there_and_back() {
    let dir = TempDir::new();
    let data = dir.path.join("data");
    std::fs::create_dir(&data).unwrap();
    let database = json!({"client": "better-sqlite3", "connection": {"directory": data}});
    let options = ServiceOptions::new(binary()).config(own_config(&dir)).data_dir(data);
    there_and_back(&dir, &database, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_goes_there_and_back() {
    let dir = TempDir::new();
    let server = Postgres::shared().await.unwrap();
    let prefix = format!("back_{}_", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let database = json!({
        "client": "pg", "prefix": prefix,
        "connection": {"host": "127.0.0.1", "port": server.port(), "user": server.user(), "password": server.password()},
    });
    let options = ServiceOptions::new(binary())
        .config(own_config(&dir))
        .config(json!({"backend": {"database": database}}).to_string());
    there_and_back(&dir, &database, options).await;
    let names = server.sql(&format!("{prefix}scaffolder"), "SELECT count(*) FROM knex_migrations").await.unwrap();
    assert_eq!(names, "5");
}
