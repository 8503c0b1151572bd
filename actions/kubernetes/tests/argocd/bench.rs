//! Where actions are run: log, checkpoints and worker slot in memory.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use understudy_actions_kubernetes::{
    Clusters, KubernetesDeps,
    argocd::{ArgocdConfig, ArgocdDeps},
    register,
};
use understudy_sdk::{
    ActionContext, ActionError, ActionLogger, Catalog, CheckpointStore, Entity, EntityRef, LocationAnswer, LogLevel,
    LogSink, Registry, Secrets, UserInfo, WorkerSlot, Workspace, schema::Validator,
};
use understudy_testbed::argocd::ArgocdDouble;

pub(crate) struct Bench {
    pub(crate) ctx: ActionContext,
    pub(crate) registry: Registry,
    memory: Arc<Memory>,
    _dir: Arc<tempfile::TempDir>,
}

impl Bench {
    /// With this configuration; `POD_NAMESPACE` is `pod_namespace`.
    pub(crate) fn new(config: &Value, pod_namespace: Option<&str>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut registry = Registry::new();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let argocd = ArgocdDeps {
            config: ArgocdConfig::from_config(config).unwrap(),
            http,
            pod_namespace: pod_namespace.map(Into::into),
        };
        register(&mut registry, KubernetesDeps { clusters: Clusters::from_config(config).unwrap(), argocd });
        let dir = tempfile::tempdir().unwrap();
        let root = camino::Utf8Path::from_path(dir.path()).unwrap().to_owned();
        let memory = Arc::new(Memory::default());
        let ctx = ActionContext {
            workspace: Workspace::open(&root).unwrap(),
            log: ActionLogger::new(memory.clone()),
            secrets: Secrets::default(),
            user: UserInfo::default(),
            template: None,
            task_id: "task".into(),
            step_id: "step".into(),
            iteration: None,
            step_name: "Step".into(),
            is_dry_run: false,
            cancel: CancellationToken::new(),
            catalog: memory.clone(),
            checkpoints: memory.clone(),
            slot: memory.clone(),
            temp_root: root,
        };
        Self { ctx, registry, memory, _dir: Arc::new(dir) }
    }

    /// With the double as the instance `main`, by the account's token.
    pub(crate) fn with_token(double: &ArgocdDouble, account: &str) -> Self {
        Self::new(&instance(&json!({"name": "main", "url": double.url(), "token": format!("{account}-token")})), None)
    }

    /// With the double as the instance `main`, by the administrator's password.
    pub(crate) fn with_password(double: &ArgocdDouble) -> Self {
        let mut config = instance(&json!({"name": "main", "url": double.url()}));
        config["argocd"]["username"] = "admin".into();
        config["argocd"]["password"] = "admin-password".into();
        Self::new(&config, None)
    }

    pub(crate) async fn run(&self, id: &str, input: Value) -> Result<Map<String, Value>, ActionError> {
        let action = self.registry.get(id).unwrap();
        let schema = action.input_schema().unwrap();
        let violations = Validator::new(&schema).unwrap().validate(&input);
        assert!(violations.is_empty(), "{id}: {violations:?}");
        let output = action.run(&self.ctx, input).await?;
        let schema = action.output_schema().unwrap();
        let violations = Validator::new(&schema).unwrap().validate(&Value::Object(output.clone()));
        assert!(violations.is_empty(), "output of {id}: {violations:?}");
        Ok(output)
    }

    /// As [`Bench::run`], of an action that must fail; gives its message and looks for secrets.
    pub(crate) async fn fails(&self, id: &str, input: Value) -> String {
        let error = self.run(id, input).await.expect_err("it must fail").to_string();
        for text in [error.as_str(), &self.log()] {
            for secret in ["admin-password", "admin-token", "portal-token", "session-admin"] {
                assert!(!text.contains(secret), "a secret is shown: {text}");
            }
        }
        error
    }

    /// `LEVEL text` a line, since the last call.
    pub(crate) fn log(&self) -> String {
        std::mem::take(&mut *self.memory.lines.lock().unwrap()).join("\n")
    }

    /// How many worker slots were given back and not taken again.
    pub(crate) fn released(&self) -> usize {
        self.memory.released.load(Ordering::SeqCst)
    }

    /// Waits until the log has a line with this text.
    pub(crate) async fn until_logged(&self, text: &str) {
        for _ in 0..600 {
            if self.memory.lines.lock().unwrap().iter().any(|line| line.contains(text)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("'{text}' was never logged:\n{}", self.log());
    }
}

/// A configuration with one instance.
pub(crate) fn instance(instance: &Value) -> Value {
    json!({"argocd": {"appLocatorMethods": [{"type": "config", "instances": [instance]}]}})
}

#[derive(Default)]
struct Memory {
    lines: Mutex<Vec<String>>,
    released: AtomicUsize,
}

impl LogSink for Memory {
    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().unwrap().push(format!("{level:?} {message}"));
    }
}

#[async_trait]
impl CheckpointStore for Memory {
    async fn load(&self, _: &str) -> Result<Option<Value>, ActionError> {
        Ok(None)
    }
    async fn succeeded(&self, _: &str, _: &Value) -> Result<(), ActionError> {
        Ok(())
    }
    async fn failed(&self, _: &str, _: &str) -> Result<(), ActionError> {
        Ok(())
    }
}

#[async_trait]
impl WorkerSlot for Memory {
    fn release(&self) {
        assert_eq!(self.released.fetch_add(1, Ordering::SeqCst), 0, "a slot was released twice");
    }
    async fn acquire(&self) {
        self.released.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Catalog for Memory {
    async fn entity_by_ref(&self, _: &EntityRef) -> Result<Option<Entity>, ActionError> {
        Ok(None)
    }
    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        Ok(vec![None; refs.len()])
    }
    async fn add_location(&self, _: &str, _: &str, _: bool) -> Result<LocationAnswer, ActionError> {
        Err(ActionError::failed("there is no catalog here"))
    }
}
