//! Argo CD's controller for Application resources of a real API server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Behaviour, CRDS, play};
use crate::{Error, Result, kubernetes::Cluster};

/// How often it looks.
const TICK: Duration = Duration::from_millis(150);
const WITHIN: Duration = Duration::from_secs(60);

/// Plays the controller for the Applications of one namespace, as Argo CD does: it writes spec's neighbour status by plain
/// updates. Ends when dropped.
#[derive(Debug)]
pub struct ArgocdController {
    cluster: Arc<Cluster>,
    collection: String,
    script: Arc<Script>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Script {
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
    commit: Mutex<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ArgocdController {
    /// Installs the CRDs and starts to look after a namespace.
    ///
    /// # Errors
    /// The CRDs are refused.
    pub async fn start(cluster: &Arc<Cluster>, namespace: &str) -> Result<Self> {
        cluster.install_crds(&crate::kubernetes::crds().join(CRDS)).await?;
        let collection = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications");
        let commit = Mutex::new("53e28ff20cc530b9ada2173fbbd64d48338583ba".to_owned());
        let script = Arc::new(Script { behaviours: Mutex::default(), commit });
        let (playing, path, known) = (Arc::clone(cluster), collection.clone(), Arc::clone(&script));
        let task = tokio::spawn(async move {
            loop {
                // An outage, or somebody else's write in between: the next round sees how things are.
                let _ = round(&playing, &path, &known).await;
                sleep(TICK).await;
            }
        });
        Ok(Self { cluster: Arc::clone(cluster), collection, script, task })
    }

    /// Says what becomes of an application, from now on.
    pub fn set(&self, name: &str, behaviour: Behaviour) {
        locked(&self.script.behaviours).insert(name.to_owned(), behaviour);
    }

    /// Moves all repositories to this commit.
    pub fn push(&self, commit: &str) {
        commit.clone_into(&mut locked(&self.script.commit));
    }

    /// An application's path in the API.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.collection)
    }

    /// An application as it is.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn app(&self, name: &str) -> Result<Option<Value>> {
        self.cluster.get(&self.path(name)).await
    }

    /// Waits until an application is as wanted; gives it.
    ///
    /// # Errors
    /// It isn't within a minute.
    pub async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + WITHIN;
        let mut last = None;
        while Instant::now() < deadline {
            last = self.app(name).await?;
            if let Some(app) = last.take_if(|app| wanted(app)) {
                return Ok(app);
            }
            sleep(Duration::from_millis(50)).await;
        }
        let detail = last.map_or_else(|| "it is not there".to_owned(), |app| app.to_string());
        Err(Error::Timeout { what: format!("{name} as wanted"), limit: WITHIN, detail })
    }
}

impl Drop for ArgocdController {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn round(cluster: &Cluster, collection: &str, script: &Script) -> Result<()> {
    let list = cluster.get(collection).await?.unwrap_or_default();
    for app in list["items"].as_array().into_iter().flatten() {
        let name = app.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let behaviour = locked(&script.behaviours).get(name).cloned().unwrap_or_default();
        let commit = locked(&script.commit).clone();
        if let Some(mut next) = play::step(app, &behaviour, &commit) {
            next["apiVersion"] = "argoproj.io/v1alpha1".into();
            next["kind"] = "Application".into();
            let path = format!("{collection}/{name}");
            // Refused when it has changed since it was read.
            let (status, answer) =
                cluster.request(Method::PUT, &path, Some(("application/json", next.to_string()))).await?;
            // What the CRD refuses is a fault of the player; nobody would get to see it otherwise.
            if status == 422 {
                eprintln!("the player of Argo CD wrote what the CRD refuses: {}", answer["message"]);
            }
        }
    }
    Ok(())
}
