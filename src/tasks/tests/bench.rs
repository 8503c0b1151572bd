//! What the tests work with: an engine over a store in memory, and actions that do as they are told.

use std::{
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, futures::Notified};
use understudy_actions_core::templating::Templating;
use understudy_scm::Scm;
use understudy_sdk::{
    ActionContext, ActionError, ActionExample, Catalog, DynAction, Entity, EntityRef, LocationAnswer, LogLevel,
    Registry, Secret,
};

use super::failures::{FailingStore, Refusals};
use crate::{
    audit::Auditor,
    auth::Credentials,
    config::DatabaseConfig,
    model::{EventType, SerializedTask, TaskEvent, TaskId, TaskStatus, UserSpec},
    store::{NewTask, SqliteStore, TaskStore},
    tasks::{EngineDeps, EngineSettings, TaskService, observe::LogObserver, policy::AllowAll, spec::build_task_spec},
};

/// A catalog without entities.
pub(super) struct NoCatalog;

#[async_trait]
impl Catalog for NoCatalog {
    async fn entity_by_ref(&self, _: &EntityRef) -> Result<Option<Entity>, ActionError> {
        Ok(None)
    }
    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        Ok(vec![None; refs.len()])
    }
    async fn add_location(&self, _: &str, _: &str, _: bool) -> Result<LocationAnswer, ActionError> {
        Err(ActionError::not_found("there is no catalog here"))
    }
}

/// What the tests watch and steer.
#[derive(Default)]
pub(super) struct Stage {
    /// How often an action with an effect ran.
    pub(super) effects: AtomicUsize,
    /// How many steps wait or work at the moment.
    pub(super) inside: AtomicUsize,
    /// Lets `test:wait` and `test:work` go on.
    pub(super) go: Notify,
}

impl Stage {
    /// Counts a step as inside, once it is sure to hear the next `go`.
    fn enter(&self) -> Pin<Box<Notified<'_>>> {
        let mut go = Box::pin(self.go.notified());
        go.as_mut().enable();
        self.inside.fetch_add(1, Ordering::SeqCst);
        go
    }
}

/// One action of the tests.
pub(super) struct TestAction {
    id: &'static str,
    stage: Arc<Stage>,
}

#[async_trait]
impl DynAction for TestAction {
    fn id(&self) -> &str {
        self.id
    }
    fn aliases(&self) -> Vec<String> {
        if self.id == "test:output" { vec!["test:out".into()] } else { Vec::new() }
    }
    fn description(&self) -> &'static str {
        "For tests."
    }
    fn examples(&self) -> Vec<ActionExample> {
        Vec::new()
    }
    fn supports_dry_run(&self) -> bool {
        self.id != "test:effect"
    }
    fn input_schema(&self) -> Option<Value> {
        (self.id == "debug:log").then(
            || json!({"type": "object", "properties": {"message": {"type": "string"}}, "additionalProperties": false}),
        )
    }
    fn output_schema(&self) -> Option<Value> {
        (self.id == "test:effect")
            .then(|| json!({"type": "object", "properties": {"url": {"type": "string"}, "count": {"type": "number"}}}))
    }
    async fn run(&self, ctx: &ActionContext, input: Value) -> Result<Map<String, Value>, ActionError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        match self.id {
            // As upstream's action of this name logs.
            "debug:log" => {
                ctx.log.info(serde_json::to_string_pretty(&input).unwrap());
                if let Some(message) = input.get("message").and_then(Value::as_str) {
                    ctx.log.info(message);
                }
            }
            "test:output" => return Ok(input.as_object().cloned().unwrap_or_default()),
            "test:levels" => {
                ctx.log.debug("d");
                ctx.log.info("i");
                ctx.log.warn("w");
                ctx.log.error("e");
            }
            "test:fail" => return Err(ActionError::not_allowed(text("message"))),
            "test:panic" => panic!("{}", text("message")),
            "test:write" => ctx.workspace.write(&text("path"), text("content").as_bytes(), 0o644)?,
            "test:read" => {
                let content = String::from_utf8(ctx.workspace.read(&text("path"))?).unwrap();
                return Ok([("content".to_string(), content.into())].into_iter().collect());
            }
            "test:effect" => {
                self.stage.effects.fetch_add(1, Ordering::SeqCst);
            }
            // Fails the first times.
            "test:flaky" => {
                let failures = input.get("failures").and_then(Value::as_u64).unwrap();
                let count = self.stage.effects.fetch_add(1, Ordering::SeqCst) as u64 + 1;
                if count <= failures {
                    return Err(ActionError::failed(format!("not yet, {}", text("secret"))));
                }
            }
            "test:checkpoint" => {
                let stage = Arc::clone(&self.stage);
                let count: usize = ctx
                    .checkpoint("made", || async move { Ok(stage.effects.fetch_add(1, Ordering::SeqCst) + 1) })
                    .await?;
                ctx.checkpoint("nothing", || async { Ok(()) }).await?;
                if input.get("fail").is_some() {
                    let failing = || async { Err::<(), _>(ActionError::failed(text("fail"))) };
                    ctx.checkpoint("failing", failing).await?;
                }
                return Ok([("count".to_string(), count.into())].into_iter().collect());
            }
            // Gives its slot back.
            "test:wait" => {
                let go = self.stage.enter();
                let waited = ctx.waiting(go).await;
                self.stage.inside.fetch_sub(1, Ordering::SeqCst);
                waited?;
            }
            // Keeps its slot.
            "test:work" => {
                let go = self.stage.enter();
                let done = tokio::select! {
                    () = go => Ok(()),
                    () = ctx.cancel.cancelled() => Err(ActionError::cancelled()),
                };
                self.stage.inside.fetch_sub(1, Ordering::SeqCst);
                done?;
            }
            // Hears nothing, and comes to its effect at last.
            "test:late" => {
                self.stage.enter().await;
                self.stage.inside.fetch_sub(1, Ordering::SeqCst);
                let effect = || async { Ok(self.stage.effects.fetch_add(1, Ordering::SeqCst)) };
                ctx.checkpoint("effect", effect).await?;
            }
            "test:deaf" => {
                self.stage.inside.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
            }
            // Holds its thread.
            "test:block" => {
                self.stage.inside.fetch_add(1, Ordering::SeqCst);
                while self.stage.effects.load(Ordering::SeqCst) == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            "test:flood" => {
                let lines = input.get("lines").and_then(Value::as_u64).unwrap();
                if input.get("blocking").is_some() {
                    let log = ctx.log.clone();
                    tokio::task::spawn_blocking(move || (0..lines).for_each(|n| log.info(format!("line {n}"))))
                        .await
                        .unwrap();
                } else {
                    (0..lines).for_each(|n| ctx.log.info(format!("line {n}")));
                }
            }
            "test:temp" => {
                std::fs::write(ctx.temp_root.join("x"), "x")?;
                return Ok([("path".to_string(), ctx.temp_root.to_string().into())].into_iter().collect());
            }
            other => return Err(ActionError::failed(format!("{other} is not an action of the tests"))),
        }
        Ok(Map::new())
    }
}

const ACTIONS: [&str; 17] = [
    "debug:log",
    "test:output",
    "test:levels",
    "test:fail",
    "test:panic",
    "test:write",
    "test:read",
    "test:effect",
    "test:flaky",
    "test:checkpoint",
    "test:wait",
    "test:work",
    "test:late",
    "test:deaf",
    "test:block",
    "test:flood",
    "test:temp",
];

pub(super) fn registry(stage: &Arc<Stage>) -> Registry {
    let mut registry = Registry::new();
    for id in ACTIONS {
        registry.register_dyn(Arc::new(TestAction { id, stage: Arc::clone(stage) }));
    }
    registry
}

/// An engine with its store; more than one engine can be made over the same store, one after the other.
pub(super) struct Bench {
    pub(super) service: TaskService,
    pub(super) store: Arc<SqliteStore>,
    pub(super) stage: Arc<Stage>,
    pub(super) root: Arc<tempfile::TempDir>,
    settings: EngineSettings,
}

pub(super) fn settings(root: &tempfile::TempDir) -> EngineSettings {
    EngineSettings {
        working_directory: Utf8PathBuf::from_path_buf(root.path().canonicalize().unwrap()).unwrap(),
        concurrency: 2,
        recovery: true,
        sole_process: true,
        stale_timeout: Duration::from_secs(30),
        task_timeout: Duration::from_secs(86_400),
        janitor_frequency: Duration::from_secs(300),
        failed_workspace_retention: Duration::from_secs(86_400),
        retention_max_age: None,
        retention_max_tasks: None,
        environment_parameters: json!({"region": "eu"}).as_object().unwrap().clone(),
        environment_secrets: [("envToken", "env-hidden")].into_iter().collect(),
        log_level: LogLevel::Info,
    }
}

fn service(
    store: Arc<dyn TaskStore>,
    registry: Registry,
    settings: &EngineSettings,
    policy: Arc<dyn crate::tasks::policy::ActionPolicy>,
    workspaces: Option<Arc<crate::workspaces::Workspaces>>,
) -> TaskService {
    TaskService::new(EngineDeps {
        store,
        workspaces,
        registry,
        templating: Templating::new(&Scm::from_config(&json!({})).unwrap()),
        catalog: Arc::new(|_: &Credentials| Arc::new(NoCatalog) as _),
        config: settings.clone(),
        plugin_actions: None,
        policy,
        observer: Arc::new(LogObserver),
        auditor: Auditor::default(),
        runtime: tokio::runtime::Handle::current(),
    })
}

impl Bench {
    /// An engine whose workers run.
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }
    pub(super) async fn with(change: impl FnOnce(&mut EngineSettings)) -> Self {
        let bench = Self::idle(change).await;
        bench.service.start_workers();
        bench
    }
    /// An engine whose workers don't run yet.
    pub(super) async fn idle(change: impl FnOnce(&mut EngineSettings)) -> Self {
        Self::with_policy(change, Arc::new(AllowAll)).await
    }
    pub(super) async fn with_policy(
        change: impl FnOnce(&mut EngineSettings),
        policy: Arc<dyn crate::tasks::policy::ActionPolicy>,
    ) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut settings = settings(&root);
        change(&mut settings);
        let store = Arc::new(SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap());
        let stage = Arc::new(Stage::default());
        let service = service(Arc::clone(&store) as _, registry(&stage), &settings, policy, None);
        Self { service, store, stage, root: Arc::new(root), settings }
    }
    /// An engine with the built-in actions instead of those of the tests; its workers don't run yet.
    pub(super) async fn with_built_in_actions() -> Self {
        let mut bench = Self::idle(|_| {}).await;
        let mut registry = Registry::new();
        let deps = understudy_actions_core::CoreDeps::new(Scm::from_config(&json!({})).unwrap());
        understudy_actions_core::register(&mut registry, deps);
        bench.service = service(Arc::clone(&bench.store) as _, registry, &bench.settings, Arc::new(AllowAll), None);
        bench
    }
    /// An engine over a store that refuses calls when told to; its workers don't run yet.
    pub(super) async fn failing() -> (Self, Arc<Refusals>) {
        let mut bench = Self::idle(|_| {}).await;
        let refusals = Arc::new(Refusals::default());
        let store = FailingStore { store: Arc::clone(&bench.store), refusals: Arc::clone(&refusals) };
        bench.service = service(Arc::new(store), registry(&bench.stage), &bench.settings, Arc::new(AllowAll), None);
        (bench, refusals)
    }
    /// Another engine over the same store and working directory, as a new process would start it.
    pub(super) fn restarted(&self, change: impl FnOnce(&mut EngineSettings)) -> Self {
        let mut settings = self.settings.clone();
        change(&mut settings);
        let stage = Arc::new(Stage::default());
        let service = service(Arc::clone(&self.store) as _, registry(&stage), &settings, Arc::new(AllowAll), None);
        service.start_workers();
        Self { service, store: Arc::clone(&self.store), stage, root: Arc::clone(&self.root), settings }
    }
    pub(super) fn workspace(&self, id: &str) -> Utf8PathBuf {
        self.settings.working_directory.join(id)
    }
    /// Names in the working directory.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
    pub(super) async fn create(&self, steps: Value) -> TaskId {
        self.create_with(steps, json!({}), json!({})).await
    }
    /// `more` replaces members of the template's `spec`.
    pub(super) async fn create_with(&self, steps: Value, values: Value, more: Value) -> TaskId {
        let secrets = json!({
            "backstageToken": "plugin-token",
            "apiKey": "hunter2",
            "__initiatorCredentials": Credentials::user("user:default/jane", None, Secret::new("user-token"), None)
                .to_stored()
                .expose(),
        });
        let template = template(steps, more);
        let spec = build_task_spec(&template, values.as_object().unwrap().clone(), UserSpec::default()).unwrap();
        let task = NewTask { spec, secrets: secrets.as_object().cloned(), created_by: None };
        self.service.create(task).await.unwrap()
    }
    /// Waits for the outcome and gives all events.
    pub(super) async fn finish(&self, id: &str) -> Vec<TaskEvent> {
        let mut stream = self.service.subscribe(id, None);
        let mut all = Vec::new();
        let wait = async {
            while let Some(batch) = stream.next().await {
                all.extend(batch.unwrap());
                if all.last().is_some_and(|event: &TaskEvent| event.kind == EventType::Completion) {
                    return;
                }
            }
            panic!("the stream ended before the task: {all:#?}");
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the task does not end");
        all
    }
    /// Runs a task to its end and gives the bodies of its events.
    pub(super) async fn run(&self, steps: Value) -> Vec<Value> {
        let id = self.create(steps).await;
        bodies(&self.finish(&id).await)
    }
    pub(super) async fn status(&self, id: &str) -> TaskStatus {
        let SerializedTask { status, .. } = self.store.get_task(id).await.unwrap();
        status
    }
    /// Waits until something is the case.
    pub(super) async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let reached = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("it does not come to that");
    }
    /// Waits until so many steps wait or work.
    pub(super) async fn until_inside(&self, count: usize) {
        let reached = async {
            while self.stage.inside.load(Ordering::SeqCst) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the steps don't get there");
    }
}

pub(super) fn template(steps: Value, more: Value) -> Value {
    let mut spec = json!({"type": "service", "steps": steps});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "t"}, "spec": spec,
    })
}

pub(super) fn bodies(events: &[TaskEvent]) -> Vec<Value> {
    events.iter().map(|event| event.body.clone()).collect()
}

/// The messages of events, those of log lines without colour codes.
pub(super) fn messages(bodies: &[Value]) -> Vec<String> {
    let message = |body: &Value| body.get("message").and_then(Value::as_str).unwrap_or_default().to_string();
    bodies.iter().map(|body| message(body).replace("\u{1b}[32m", "").replace("\u{1b}[39m", "")).collect()
}
