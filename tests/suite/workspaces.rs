//! Replicas that share nothing but the database go on with one another's tasks: their files come along.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use understudy_testbed::{
    Error,
    object_store::ObjectStore,
    postgres::{Database, Postgres},
    process::{Service, ServiceOptions},
};

use crate::support::{Running, TASKS, TempDir, binary, locations, messages, template, write};

const LIMIT: Duration = Duration::from_secs(120);

struct Setup {
    dir: TempDir,
    database: Database,
    /// `scaffolder.taskRecovery`
    recovery: Value,
}

impl Setup {
    async fn new(provider: &str, more: Value) -> Self {
        let dir = TempDir::new();
        let fetch = |id: &str, name: &str, url: &str| json!({"id": id, "name": name, "action": "fetch:plain", "input": {"url": url, "targetPath": id}});
        let log = json!({"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "nothing changes"}});
        let wait = json!({"id": "wait", "name": "Wait", "action": "debug:wait", "input": {"seconds": 4}});
        let list = json!({"id": "list", "name": "List", "action": "debug:log", "input": {
            "message": "${{ secrets.word | length | string }}", "listWorkspace": "with-filenames",
        }});
        let steps = |name: &str| match name {
            "carried" => json!([fetch("one", "Fetch", "./skeleton"), log, wait, list]),
            _ => json!([fetch("one", "Fetch", "./skeleton"), fetch("two", "Later", "./later"), list]),
        };
        for name in ["carried", "failing"] {
            write(dir.path.join(format!("{name}.yaml")), template(name, &steps(name)));
        }
        write(dir.path.join("skeleton/README.md"), "# hello\n");
        write(dir.path.join("skeleton/bin/run.sh"), "#!/bin/sh\n");
        std::fs::set_permissions(dir.path.join("skeleton/bin/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut recovery = json!({"workspaceProvider": provider, "staleTimeout": {"seconds": 3}});
        for (key, value) in more.as_object().unwrap() {
            recovery[key] = value.clone();
        }
        Self { dir, database: Postgres::shared().await.unwrap().database().await.unwrap(), recovery }
    }
    fn options(&self) -> ServiceOptions {
        let files = ["carried.yaml", "failing.yaml"].map(|name| self.dir.path.join(name));
        let scaffolder = json!({
            "taskRecovery": self.recovery,
            "secrets": {"encryption": {"keys": [{"id": "main", "secret": "0123456789abcdef0123456789abcdef"}]}},
        });
        ServiceOptions::new(binary())
            .config(locations(&files.each_ref().map(|file| file.as_path())))
            .config(self.database.app_config())
            .config(json!({"scaffolder": scaffolder}).to_string())
    }
    /// A replica with a working directory of its own.
    async fn replica(&self) -> Running {
        Running::with(self.options()).await
    }
    async fn sql(&self, statement: &str) -> String {
        self.database.sql(statement).await.unwrap()
    }
}

async fn create(running: &Running, name: &str) -> String {
    let body =
        json!({"templateRef": format!("template:default/{name}"), "values": {}, "secrets": {"word": "hush-hush"}});
    running.create_task(&body).await
}

async fn begins(running: &Running, id: &str, step: &str, times: usize) {
    let deadline = std::time::Instant::now() + LIMIT;
    let message = format!("Beginning step {step}");
    while running.events(id).await.iter().filter(|event| event["body"]["message"] == message).count() < times {
        assert!(std::time::Instant::now() < deadline, "{}", messages(&running.events(id).await));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Path, mode and content of each file below a directory.
fn files(root: &Utf8Path) -> BTreeMap<Utf8PathBuf, (u32, Vec<u8>)> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = pending.pop() {
        for entry in dir.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                let content = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_owned(), (mode, content));
            }
        }
    }
    found
}

/// How much a replica's memory may grow by a workspace of whatever size, in MiB; 64 MiB are saved and brought back.
const MAX_GROWTH: u64 = 56;

/// The most memory that a replica used so far, in MiB.
fn peak(running: &Running) -> u64 {
    running.service.memory().unwrap().peak_kib / 1024
}

/// A task whose replica is killed in its third step, and that another one takes over.
async fn is_carried_over(setup: &Setup) {
    let mut here = setup.replica().await;
    let at_first = peak(&here);
    let id = create(&here, "carried").await;
    begins(&here, &id, "Wait", 1).await;
    let saving = peak(&here) - at_first;
    let before = files(&here.working_directory().join(&id));
    assert!(before.contains_key(Utf8Path::new("one/bin/run.sh")), "{:?}", before.keys());
    // Saved when the first step changed something, and not again when the second changed nothing.
    let saved_at_once = "SELECT count(*), bool_and(w.is_current), bool_and(w.created_at < e.created_at) \
                         FROM understudy_workspaces w, task_events e WHERE e.body LIKE '%Beginning step Log%'";
    assert_eq!(setup.sql(saved_at_once).await, "1|t|t");
    let secrets = setup.sql("SELECT secrets FROM tasks").await;
    assert!(secrets.contains(r#""key":"main""#) && !secrets.contains("hush"), "{secrets}");

    let there = setup.replica().await;
    let at_first = peak(&there);
    here.service.kill().await.unwrap();
    begins(&there, &id, "Wait", 2).await;
    let after = files(&there.working_directory().join(&id));
    assert!(after == before, "{:?} instead of {:?}", after.keys(), before.keys());
    let restoring = peak(&there) - at_first;
    let size: usize = before.values().map(|(_, content)| content.len()).sum();
    println!("{} KiB: saving took {saving} MiB of memory, bringing back {restoring} MiB", size / 1024);
    assert!(saving <= MAX_GROWTH && restoring <= MAX_GROWTH, "{saving} and {restoring} MiB");
    let (status, events) = there.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    for step in ["Fetch", "Log", "List"] {
        assert_eq!(log.matches(&format!("Beginning step {step}\n")).count(), 1, "{step}:\n{log}");
    }
    assert!(log.contains(": 9\n") && log.contains("one/bin/run.sh"), "{log}");
    // Nothing is left of it.
    assert!(!there.working_directory().join(&id).exists());
    let left = "SELECT (SELECT count(*) FROM understudy_workspaces) + (SELECT count(*) FROM understudy_workspace_chunks) \
                + (SELECT count(*) FROM tasks WHERE secrets IS NOT NULL)";
    assert_eq!(setup.sql(left).await, "0");
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_in_the_database_follows_its_task() {
    is_carried_over(&Setup::new("database", json!({})).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_larger_than_sixty_megabytes_follows_its_task() {
    let setup = Setup::new("database", json!({})).await;
    make_large(&setup);
    is_carried_over(&setup).await;
}

/// Adds 64 MiB that don't compress to what the template fetches.
fn make_large(setup: &Setup) {
    let mut noise = Vec::with_capacity(64 << 20);
    while noise.len() < 64 << 20 {
        noise.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    write(setup.dir.path.join("skeleton/large.bin"), noise);
}

fn s3(store: &ObjectStore, secret: &str) -> Value {
    json!({"s3": {
        "endpoint": store.url(), "bucketName": ObjectStore::BUCKET, "bucketRootPath": "tasks",
        "credentials": {"accessKeyId": ObjectStore::ACCESS_KEY, "secretAccessKey": secret},
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_in_an_object_store_follows_its_task() {
    let store = ObjectStore::start().await.unwrap();
    let setup = Setup::new("s3", s3(&store, store.secret())).await;
    make_large(&setup);
    is_carried_over(&setup).await;
    assert_eq!(store.objects().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_refuses_stops_the_start() {
    let store = ObjectStore::start().await.unwrap();
    let setup = Setup::new("s3", s3(&store, "not-the-secret")).await;
    match Service::start(setup.options()).await {
        Err(Error::EndedEarly { logs, .. }) => {
            assert!(logs.contains("scaffolder.taskRecovery.s3: the bucket workspaces at 127.0.0.1"), "{logs}");
            assert!(logs.contains("SignatureDoesNotMatch") && !logs.contains("not-the-secret"), "{logs}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_is_away_holds_no_task_up_for_long() {
    let store = ObjectStore::start().await.unwrap();
    let setup = Setup::new("s3", s3(&store, store.secret())).await;
    let running = setup.replica().await;
    store.stop().await.unwrap();
    let id = create(&running, "carried").await;
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    let log = running.service.logs();
    assert!(log.contains("the workspace can't be saved") && log.contains("can't be reached"), "{log}");
    assert!(!log.contains("X-Amz-Signature"), "{log}");
    assert_eq!(setup.sql("SELECT count(*) FROM understudy_workspaces WHERE is_current").await, "0");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_try_on_another_replica_goes_on_with_the_step_that_failed() {
    let setup = Setup::new("database", json!({})).await;
    let mut here = setup.replica().await;
    let id = create(&here, "failing").await;
    let (status, events) = here.finish(&id, LIMIT).await;
    assert_eq!(status, "failed", "{}", messages(&events));
    here.service.kill().await.unwrap();
    write(setup.dir.path.join("later/file"), "x");
    let there = setup.replica().await;
    let retried = there.post(&format!("{TASKS}/{id}/retry"), &json!({"secrets": {"word": "hush-hush"}})).await;
    assert!(retried.status < 300, "{}", retried.text());
    let (status, events) = there.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    assert_eq!(log.matches("Beginning step Fetch\n").count(), 1, "{log}");
    assert_eq!(log.matches("Beginning step Later\n").count(), 2, "{log}");
    assert!(log.contains("one/bin/run.sh") && log.contains("two/file"), "{log}");
    assert_eq!(setup.sql("SELECT count(*) FROM understudy_workspaces").await, "0");
    there.stop().await;
}
