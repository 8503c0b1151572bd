//! A workbench for the actions' tests: a workspace in a temporary directory, a log that is kept, a catalog in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use understudy_scm::Scm;
use understudy_sdk::{
    ActionContext, ActionError, ActionLogger, Catalog, CheckpointStore, Entity, EntityRef, LocationAnswer, LogLevel,
    LogSink, Registry, Secrets, TemplateInfo, UserInfo, WorkerSlot, Workspace, schema::Validator,
};

use crate::CoreDeps;

#[derive(Default)]
struct State {
    lines: Mutex<Vec<String>>,
    entities: Mutex<BTreeMap<String, Entity>>,
    locations: Mutex<BTreeMap<String, Entity>>,
    registered: Mutex<Vec<(String, bool)>>,
}

pub(crate) struct Bench {
    dir: tempfile::TempDir,
    root: Utf8PathBuf,
    pub(crate) registry: Registry,
    pub(crate) cancel: CancellationToken,
    pub(crate) base_url: Option<String>,
    state: Arc<State>,
}

#[allow(clippy::unwrap_used)]
impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().canonicalize_utf8().unwrap().join("workspace");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(root.with_file_name("temp")).unwrap();
        let mut registry = Registry::new();
        crate::register(&mut registry, CoreDeps::new(Scm::from_config(&json!({})).unwrap()));
        Self { dir, root, registry, cancel: CancellationToken::new(), base_url: None, state: Arc::default() }
    }
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }
    /// A directory beside the workspace, for templates.
    pub(crate) fn beside(&self, name: &str) -> Utf8PathBuf {
        let path = Utf8Path::from_path(self.dir.path()).unwrap().canonicalize_utf8().unwrap().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
    pub(crate) fn file(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lines.lock().unwrap().clone()
    }
    pub(crate) fn entity(&self, kind: &str, namespace: &str, name: &str) -> Entity {
        let entity = json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}});
        let reference = EntityRef::of(&entity).unwrap().canonical();
        self.state.entities.lock().unwrap().insert(reference, entity.clone());
        entity
    }
    pub(crate) fn location(&self, url: &str, entity: Entity) {
        self.state.locations.lock().unwrap().insert(url.to_string(), entity);
    }
    pub(crate) fn registered(&self) -> Vec<(String, bool)> {
        self.state.registered.lock().unwrap().clone()
    }
    pub(crate) fn context(&self) -> ActionContext {
        ActionContext {
            workspace: Workspace::open(&self.root).unwrap(),
            log: ActionLogger::new(self.state.clone()),
            secrets: Secrets::default(),
            user: UserInfo::default(),
            template: Some(TemplateInfo {
                entity_ref: "template:default/bench".into(),
                base_url: self.base_url.clone(),
                entity: None,
            }),
            task_id: "task".into(),
            step_id: "step".into(),
            iteration: None,
            step_name: "Step".into(),
            is_dry_run: false,
            cancel: self.cancel.clone(),
            catalog: self.state.clone(),
            checkpoints: self.state.clone(),
            slot: self.state.clone(),
            temp_root: self.root.with_file_name("temp"),
        }
    }
    /// Runs an action as the engine does: the input is checked against the schema first.
    pub(crate) async fn run(&self, id: &str, input: Value) -> Result<Map<String, Value>, ActionError> {
        let action = self.registry.get(id)?;
        let violations = Validator::new(&action.input_schema().unwrap()).unwrap().validate(&input);
        assert!(violations.is_empty(), "{violations:#?}");
        action.run(&self.context(), input).await
    }
}

#[allow(clippy::unwrap_used)]
impl LogSink for State {
    fn log(&self, level: LogLevel, message: &str) {
        let level = format!("{level:?}").to_lowercase();
        self.lines.lock().unwrap().push(format!("{level}: {message}"));
    }
}

#[async_trait]
#[allow(clippy::unwrap_used)]
impl Catalog for State {
    async fn entity_by_ref(&self, entity_ref: &EntityRef) -> Result<Option<Entity>, ActionError> {
        Ok(self.entities.lock().unwrap().get(&entity_ref.to_string()).cloned())
    }
    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        let entities = self.entities.lock().unwrap();
        Ok(refs.iter().map(|reference| entities.get(reference).cloned()).collect())
    }
    async fn add_location(&self, kind: &str, target: &str, dry_run: bool) -> Result<LocationAnswer, ActionError> {
        assert_eq!(kind, "url");
        self.registered.lock().unwrap().push((target.to_string(), dry_run));
        match self.locations.lock().unwrap().get(target) {
            Some(entity) => Ok(LocationAnswer { entities: vec![entity.clone()], exists: None }),
            None => Err(ActionError::not_found(format!("no location {target}"))),
        }
    }
}

#[async_trait]
impl CheckpointStore for State {
    async fn load(&self, _key: &str) -> Result<Option<Value>, ActionError> {
        Ok(None)
    }
    async fn succeeded(&self, _key: &str, _value: &Value) -> Result<(), ActionError> {
        Ok(())
    }
    async fn failed(&self, _key: &str, _reason: &str) -> Result<(), ActionError> {
        Ok(())
    }
}

#[async_trait]
impl WorkerSlot for State {
    fn release(&self) {}
    async fn acquire(&self) {}
}
