//! An action's surroundings for unit tests: a workspace, a log and checkpoints in memory.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use understudy_sdk::{
    ActionContext, ActionError, ActionLogger, Catalog, CheckpointStore, Entity, EntityRef, LocationAnswer, LogLevel,
    LogSink, Secrets, UserInfo, WorkerSlot, Workspace,
};

/// Where an action is tried.
pub(crate) struct Bench {
    pub(crate) ctx: ActionContext,
    memory: Arc<Memory>,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        // Fails only when a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let root = camino::Utf8Path::from_path(dir.path()).unwrap();
        let memory = Arc::new(Memory::default());
        let ctx = ActionContext {
            workspace: Workspace::open(root).unwrap(),
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
            temp_root: root.to_owned(),
        };
        Self { ctx, memory, _dir: dir }
    }
    /// `LEVEL text` a line.
    pub(crate) fn log(&self) -> Vec<String> {
        self.memory.lines.lock().unwrap().clone()
    }
}

#[derive(Default)]
struct Memory {
    lines: Mutex<Vec<String>>,
    checkpoints: Mutex<BTreeMap<String, Value>>,
}

impl LogSink for Memory {
    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().unwrap().push(format!("{level:?} {message}"));
    }
}

#[async_trait]
impl CheckpointStore for Memory {
    async fn load(&self, key: &str) -> Result<Option<Value>, ActionError> {
        Ok(self.checkpoints.lock().unwrap().get(key).cloned())
    }
    async fn succeeded(&self, key: &str, value: &Value) -> Result<(), ActionError> {
        self.checkpoints.lock().unwrap().insert(key.into(), value.clone());
        Ok(())
    }
    async fn failed(&self, key: &str, _: &str) -> Result<(), ActionError> {
        self.checkpoints.lock().unwrap().remove(key);
        Ok(())
    }
}

#[async_trait]
impl WorkerSlot for Memory {
    fn release(&self) {}
    async fn acquire(&self) {}
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
