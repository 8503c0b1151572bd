//! `argocd:*`: Argo CD Applications, written, synced, awaited and deleted.
//!
//! Every action works in two modes, which `backend` joins: `crd` writes the Application resource through the cluster's API
//! (`crd`), `api` talks to an Argo CD API server (`api`). What a status means is in `progress`, how one is followed in
//! `watch`; neither knows the mode.
//!
//! The ids `argocd:create-resources`, `cnoe:create-argocd-app` and `argocd:create-helm-application` are those of public
//! packages, whose inputs and configuration keys are kept.

mod api;
mod application;
mod backend;
mod config;
mod crd;
mod create;
mod delete;
mod names;
mod output;
mod progress;
mod sync;
mod wait;
mod watch;

use std::sync::Arc;

use understudy_sdk::Registry;

pub use self::config::ArgocdConfig;
use self::{backend::Argocd, create::*, delete::DeleteApp, sync::SyncApp, wait::WaitApp};
use crate::client::Clusters;

/// What the actions need from the service besides the clusters whose API takes Application resources.
#[derive(Debug, Clone)]
pub struct ArgocdDeps {
    /// The `argocd` section of the configuration.
    pub config: ArgocdConfig,
    /// Sends the requests to Argo CD API servers; should follow no redirects.
    pub http: reqwest::Client,
    /// The namespace this service runs in (`POD_NAMESPACE`).
    pub pod_namespace: Option<String>,
}

/// Adds the actions.
pub(crate) fn register(registry: &mut Registry, clusters: &Clusters, deps: &ArgocdDeps) {
    let argocd = Arc::new(Argocd::new(clusters, deps));
    registry
        .register(CreateApp(Arc::clone(&argocd)))
        .register(CreateHelmApplication(Arc::clone(&argocd)))
        .register(CreateResources(Arc::clone(&argocd)))
        .register(CnoeCreateApp(Arc::clone(&argocd)))
        .register(WaitApp(Arc::clone(&argocd)))
        .register(SyncApp(Arc::clone(&argocd)))
        .register(DeleteApp(argocd));
}
