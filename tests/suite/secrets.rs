//! Secrets of tasks on disk.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use understudy_testbed::{Error, process::ServiceOptions};

use crate::support::{Running, TempDir, binary, locations, messages, template, write};

const LIMIT: Duration = Duration::from_secs(60);
/// What must not be found on disk.
const WORD: &str = "hUsh-hUsh";

struct Setup {
    dir: TempDir,
}

impl Setup {
    fn new() -> Self {
        let dir = TempDir::new();
        let steps = json!([
            {"id": "wait", "name": "Wait", "action": "debug:wait", "input": {"seconds": 2}},
            {"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "${{ secrets.word | length | string }}"}},
        ]);
        write(dir.path.join("template.yaml"), template("secretive", &steps));
        Self { dir }
    }
    fn options(&self, encryption: &Value) -> ServiceOptions {
        let mut config = json!({});
        if !encryption.is_null() {
            config = json!({"scaffolder": {"secrets": {"encryption": encryption}}});
        }
        ServiceOptions::new(binary())
            .config(locations(&[&self.dir.path.join("template.yaml")]))
            .config(config.to_string())
            .data_dir(self.data())
    }
    async fn start(&self, encryption: &Value) -> Running {
        Running::with(self.options(encryption)).await
    }
    fn data(&self) -> Utf8PathBuf {
        self.dir.path.join("data")
    }
    fn key_file(&self) -> Utf8PathBuf {
        self.data().join("scaffolder.sqlite.key")
    }
    /// Whether the word is in the database, its log, or whatever lies beside it.
    fn is_on_disk(&self) -> bool {
        let mut seen = 0;
        let found = self.data().read_dir_utf8().unwrap().any(|entry| {
            seen += 1;
            let content = std::fs::read(entry.unwrap().path()).unwrap();
            content.windows(WORD.len()).any(|window| window == WORD.as_bytes())
        });
        assert!(seen > 0);
        found
    }
}

/// A task in its first step.
async fn begin(running: &Running) -> String {
    let body = json!({"templateRef": "secretive", "values": {}, "secrets": {"word": WORD}});
    let id = running.create_task(&body).await;
    running.wait_event(&id, |event| event["body"]["message"] == "Beginning step Wait").await;
    id
}

async fn ends_well(running: &Running, id: &str) {
    let (status, events) = running.finish(id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    // One digit is not redacted.
    assert!(log.contains(": 9\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_no_secret_on_disk_and_loses_none() {
    let setup = Setup::new();
    let mut running = setup.start(&Value::Null).await;
    let id = begin(&running).await;
    assert!(!setup.is_on_disk());
    assert_eq!(std::fs::metadata(setup.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    running.service.kill().await.unwrap();
    assert!(!setup.is_on_disk());
    running.service.restart().await.unwrap();
    ends_well(&running, &id).await;
    running.stop().await;
    assert!(!setup.is_on_disk());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_turned_off_while_tasks_run() {
    let setup = Setup::new();
    let key = |id: &str| json!({"id": id, "secret": id.repeat(32)});
    // From the key beside the file, over one of the configuration, to another, to none, and back.
    let rotated = json!([key("b"), key("a")]);
    let ways = [
        Value::Null,
        json!({"keys": [key("a")]}),
        json!({"keys": rotated}),
        json!({"enabled": false, "keys": rotated}),
        json!({"keys": rotated}),
    ];
    let mut tasks = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        let mut running = setup.start(way).await;
        tasks.push(begin(&running).await);
        assert_eq!(setup.is_on_disk(), number >= 3, "{way}");
        if number + 1 < ways.len() {
            running.service.kill().await.unwrap();
        } else {
            for id in &tasks {
                ends_well(&running, id).await;
            }
            running.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_named_before_a_task_is_lost() {
    let setup = Setup::new();
    let mut running = setup.start(&Value::Null).await;
    let id = begin(&running).await;
    running.service.kill().await.unwrap();
    let key = std::fs::read_to_string(setup.key_file()).unwrap();
    std::fs::remove_file(setup.key_file()).unwrap();
    let logs = match running.service.restart().await {
        Err(Error::EndedEarly { logs, .. }) => logs,
        other => panic!("{other:?}"),
    };
    assert!(logs.contains("secrets encrypted with the key 'file-"), "{logs}");
    assert!(logs.contains("<database>.key") && logs.contains("scaffolder.secrets.encryption.lostKeys"), "{logs}");

    // Given back, all is well.
    std::fs::write(setup.key_file(), &key).unwrap();
    running.service.restart().await.unwrap();
    ends_well(&running, &id).await;
    let id = begin(&running).await;
    running.service.kill().await.unwrap();

    // Given up, the task ends, and says why.
    std::fs::remove_file(setup.key_file()).unwrap();
    let lost = logs.split("key 'file-").nth(1).unwrap().split('\'').next().unwrap();
    let running = setup.start(&json!({"lostKeys": [format!("file-{lost}")]})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "failed", "{log}");
    let error = events.last().unwrap()["body"]["error"]["message"].as_str().unwrap();
    assert!(error.contains(&format!("the key 'file-{lost}', which is lost")), "{error}");
    running.stop().await;
}
