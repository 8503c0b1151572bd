//! A Crossplane: plays its controllers against a real API server, as tests script it.
//!
//! Of an XRD it makes the CRDs of composite resource and claim. A claim gets a composite resource, that gets what its
//! Composition lists (the bases, without patches and functions), and each of these becomes ready in steps, or fails, as
//! [`Behaviour`] says. Conditions, reasons and messages, references, finalizers and the connection secret of a claim are
//! written where and as Crossplane does; nothing is made at any cloud.
//!
//! A player looks only after the XRDs it was given, so several can share a cluster when their groups differ.

mod crd;
mod objects;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{Error, Result, kubernetes::Cluster};
use crd::{Definition, managed};
use objects::{Kind, State};

/// What the values of connection secrets begin with, so that tests can look for them where they must not be.
pub const SECRET_MARK: &str = "connection-detail-";
/// The file with the CRDs of XRD and Composition.
const CRDS: &str = "crossplane.yaml";
/// How often the controllers look.
const TICK: Duration = Duration::from_millis(150);
const SERVED_WITHIN: Duration = Duration::from_secs(60);

/// What becomes of a composed resource, by its name in the Composition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It is being made, and then ready; it goes when it is deleted.
    #[default]
    Ready,
    /// It stays as it is being made.
    Creating,
    /// The cloud refuses it with this message, also to delete it.
    Failing(String),
}

/// The player; it ends when this is dropped.
#[derive(Debug)]
pub struct Crossplane {
    cluster: Arc<Cluster>,
    script: Arc<Script>,
    task: tokio::task::JoinHandle<()>,
}

/// What the test says, and what the controllers know.
#[derive(Debug, Default)]
struct Script {
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
    composing_fails: Mutex<Option<String>>,
    definitions: Mutex<Vec<Definition>>,
    compositions: Mutex<Vec<Value>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crossplane {
    /// Installs Crossplane's own CRDs and starts the controllers.
    ///
    /// # Errors
    /// The CRDs are refused.
    pub async fn start(cluster: &Arc<Cluster>) -> Result<Self> {
        cluster.install_crds(&crate::kubernetes::crds().join(CRDS)).await?;
        let script = Arc::new(Script::default());
        let mut state = State::new(Arc::clone(cluster), Arc::clone(&script));
        let task = tokio::spawn(async move {
            loop {
                // An outage of the cluster, or somebody else's write in between: the next round sees how things are.
                let _ = state.round().await;
                sleep(TICK).await;
            }
        });
        Ok(Self { cluster: Arc::clone(cluster), script, task })
    }

    /// Installs the XRDs and Compositions of a YAML text and waits until claims can be made.
    ///
    /// # Errors
    /// The text is no YAML, or the cluster refuses what is in it.
    pub async fn install(&self, yaml: &str) -> Result<()> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)
            .map_err(|error| Error::unexpected("a manifest of Crossplane", error.to_string()))?;
        let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind).cloned();
        for composition in of_kind("Composition") {
            let name = composition["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("/apis/apiextensions.crossplane.io/v1/compositions/{name}");
            self.cluster.apply(&path, &composition, "testbed").await?;
            let mut compositions = locked(&self.script.compositions);
            compositions.retain(|known| known["metadata"]["name"] != composition["metadata"]["name"]);
            compositions.push(composition);
        }
        for xrd in of_kind("CompositeResourceDefinition") {
            let api_version = xrd["apiVersion"].as_str().unwrap_or_default();
            let name = xrd["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("/apis/{api_version}/compositeresourcedefinitions/{name}");
            let stored = self.cluster.apply(&path, &xrd, "testbed").await?;
            self.serve(&path, Definition::read(&stored)).await?;
        }
        Ok(())
    }

    async fn serve(&self, path: &str, definition: Definition) -> Result<()> {
        for crd in definition.crds() {
            self.cluster.install_crd(&crd).await?;
        }
        let compositions = locked(&self.script.compositions).clone();
        for (_, base) in compositions.iter().flat_map(objects::resources) {
            let kind = Kind::of(&base, definition.is_legacy);
            if let Some(crd) = managed(&kind.api_version, &kind.kind, kind.is_namespaced) {
                self.cluster.install_crd(&crd).await?;
            }
        }
        objects::offer(&self.cluster, path, definition.claim.is_some()).await?;
        let mut definitions = locked(&self.script.definitions);
        definitions
            .retain(|known| (&known.group, &known.composite.kind) != (&definition.group, &definition.composite.kind));
        definitions.push(definition);
        Ok(())
    }

    /// Says what becomes of a composed resource, from now on.
    pub fn set(&self, resource: &str, behaviour: Behaviour) {
        locked(&self.script.behaviours).insert(resource.to_string(), behaviour);
    }

    /// Lets composing fail with this message (or work again), as a function that returns an error does.
    pub fn fail_composing(&self, message: Option<&str>) {
        *locked(&self.script.composing_fails) = message.map(ToString::to_string);
    }

    /// Waits until an object is as wanted; gives it.
    ///
    /// # Errors
    /// It isn't within a minute.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + SERVED_WITHIN;
        let mut last = None;
        while Instant::now() < deadline {
            last = self.cluster.get(path).await?;
            if let Some(object) = last.take_if(|object| wanted(object)) {
                return Ok(object);
            }
            sleep(Duration::from_millis(50)).await;
        }
        let detail = last.map_or_else(|| "it is not there".to_string(), |object| object.to_string());
        Err(Error::Timeout { what: format!("{path} as wanted"), limit: SERVED_WITHIN, detail })
    }
}

impl Drop for Crossplane {
    fn drop(&mut self) {
        self.task.abort();
    }
}
