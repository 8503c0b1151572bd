//! Runs one action in a process of its own: trusted certificates come from the environment of the process, and a process
//! can be killed.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use understudy_actions_github::{GithubDeps, register};
use understudy_scm::Scm;
use understudy_sdk::{
    ActionContext, ActionError, ActionLogger, Catalog, CheckpointStore, Entity, EntityRef, LocationAnswer, LogLevel,
    LogSink, Registry, Secrets, UserInfo, WorkerSlot, Workspace,
};

const JOB: &str = "UNDERSTUDY_TEST_JOB";

/// What to run; files beside the job's own hold what outlives the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) config: Value,
    pub(crate) action: String,
    pub(crate) input: Value,
    pub(crate) dry_run: bool,
    /// The catalog, by entity reference.
    pub(crate) entities: Value,
    pub(crate) default_commit_message: Option<String>,
    /// Cancelled after this many milliseconds.
    pub(crate) cancel_after: Option<u64>,
    /// How many run the same at the same time.
    pub(crate) concurrency: usize,
    /// Holds `workspace/`, `job.json`, `log`, `checkpoints.json`, `result.json`.
    pub(crate) dir: PathBuf,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Map<String, Value>, String>,
    /// How often the worker slot was given back.
    pub(crate) releases: usize,
}

impl Job {
    /// Starts the process, trusting `ca`.
    pub(crate) fn spawn(&self, ca: &Path) -> Child {
        fs::create_dir_all(self.dir.join("workspace")).unwrap();
        let job = self.dir.join("job.json");
        fs::write(&job, serde_json::to_vec(self).unwrap()).unwrap();
        let _ = fs::remove_file(self.dir.join("result.json"));
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "driver::driver", "--ignored", "--nocapture"])
            .env(JOB, job)
            .env("NODE_EXTRA_CA_CERTS", ca)
            .env("NO_PROXY", "localhost")
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
    /// Runs to the end.
    pub(crate) async fn run(&self, ca: &Path) -> Outcome {
        let mut child = self.spawn(ca);
        let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "the driver failed: {status}");
        serde_json::from_slice(&fs::read(self.dir.join("result.json")).unwrap()).unwrap()
    }
    /// The task log, `LEVEL text` a line.
    pub(crate) fn log(&self) -> Vec<String> {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default().lines().map(str::to_string).collect()
    }
    pub(crate) fn checkpoints(&self) -> BTreeMap<String, Value> {
        FileCheckpoints(self.dir.join("checkpoints.json")).read()
    }
}

/// The other side; does nothing unless [`Job::spawn`] started it.
#[tokio::test]
#[ignore = "run by the other tests in a process of its own"]
async fn driver() {
    let Ok(path) = std::env::var(JOB) else { return };
    let job: Job = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut registry = Registry::new();
    let deps = GithubDeps {
        scm: Scm::from_config(&job.config).unwrap(),
        default_author: ("Scaffolder".into(), "scaffolder@backstage.io".into()),
        default_commit_message: job.default_commit_message.clone(),
    };
    register(&mut registry, deps);
    let slot = Arc::new(Slot::default());
    let ctx = context(&job, slot.clone());
    let cancel = ctx.cancel.clone();
    if let Some(millis) = job.cancel_after {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            cancel.cancel();
        });
    }
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..job.concurrency {
        let (action, ctx, input) = (registry.get(&job.action).unwrap(), ctx.clone(), job.input.clone());
        runs.spawn(async move { action.run(&ctx, input).await });
    }
    let mut results = runs.join_all().await;
    let result = match results.iter().position(Result::is_err) {
        Some(failed) => results.swap_remove(failed),
        None => results.swap_remove(0),
    };
    let releases = *slot.0.lock().unwrap();
    let outcome = Outcome { result: result.map_err(|error| error.to_string()), releases };
    fs::write(job.dir.join("result.json"), serde_json::to_vec(&outcome).unwrap()).unwrap();
}

fn context(job: &Job, slot: Arc<Slot>) -> ActionContext {
    let dir = Utf8PathBuf::from_path_buf(job.dir.clone()).unwrap();
    ActionContext {
        workspace: Workspace::open(dir.join("workspace")).unwrap(),
        log: ActionLogger::new(Arc::new(FileLog(job.dir.join("log")))),
        secrets: Secrets::default(),
        user: UserInfo::default(),
        template: None,
        task_id: "task".into(),
        step_id: "publish".into(),
        iteration: None,
        step_name: "Publish".into(),
        is_dry_run: job.dry_run,
        cancel: CancellationToken::new(),
        catalog: Arc::new(Entities(job.entities.clone())),
        checkpoints: Arc::new(FileCheckpoints(job.dir.join("checkpoints.json"))),
        slot,
        temp_root: dir,
    }
}

struct FileLog(PathBuf);

impl LogSink for FileLog {
    fn log(&self, level: LogLevel, message: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        writeln!(file, "{level:?} {message}").unwrap();
    }
}

struct FileCheckpoints(PathBuf);

impl FileCheckpoints {
    fn read(&self) -> BTreeMap<String, Value> {
        fs::read(&self.0).map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default()
    }
    fn write(&self, state: &BTreeMap<String, Value>) {
        // The process may be killed at any moment.
        let new = self.0.with_extension("new");
        fs::write(&new, serde_json::to_vec(state).unwrap()).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

#[async_trait]
impl CheckpointStore for FileCheckpoints {
    async fn load(&self, key: &str) -> Result<Option<Value>, ActionError> {
        Ok(self.read().remove(key))
    }
    async fn succeeded(&self, key: &str, value: &Value) -> Result<(), ActionError> {
        let mut state = self.read();
        state.insert(key.into(), value.clone());
        self.write(&state);
        Ok(())
    }
    async fn failed(&self, key: &str, _: &str) -> Result<(), ActionError> {
        let mut state = self.read();
        state.remove(key);
        self.write(&state);
        Ok(())
    }
}

#[derive(Default)]
struct Slot(Mutex<usize>);

#[async_trait]
impl WorkerSlot for Slot {
    fn release(&self) {
        *self.0.lock().unwrap() += 1;
    }
    async fn acquire(&self) {}
}

struct Entities(Value);

#[async_trait]
impl Catalog for Entities {
    async fn entity_by_ref(&self, _: &EntityRef) -> Result<Option<Entity>, ActionError> {
        Ok(None)
    }
    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        Ok(refs.iter().map(|reference| self.0.get(reference).cloned()).collect())
    }
    async fn add_location(&self, _: &str, _: &str, _: bool) -> Result<LocationAnswer, ActionError> {
        Err(ActionError::failed("there is no catalog here"))
    }
}
