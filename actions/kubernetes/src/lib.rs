//! Kubernetes, Argo CD and Crossplane actions.
//!
//! All of them talk to clusters through the module `client`: connections, discovery, server-side apply, watches, and errors
//! in words for the reader of a task's log. `kubernetes` has the actions for any object; `argocd` and `crossplane` know
//! what their objects mean.

pub mod argocd;
mod client;
mod crossplane;
mod kubernetes;

use understudy_sdk::Registry;

pub use client::Clusters;

/// What the actions of this crate need from the service.
#[derive(Debug, Clone)]
pub struct KubernetesDeps {
    /// The clusters of the configuration (`kubernetes.clusterLocatorMethods`) and of the environment.
    pub clusters: Clusters,
    /// What the `argocd:*` actions need besides.
    pub argocd: argocd::ArgocdDeps,
}

/// Adds all actions of this crate.
pub fn register(registry: &mut Registry, deps: KubernetesDeps) {
    argocd::register(registry, &deps.clusters, &deps.argocd);
    crossplane::register(registry, &deps.clusters);
    kubernetes::register(registry, &deps.clusters);
}
