//! Real counterparts for end-to-end tests, started on free loopback ports and gone when dropped.
//!
//! * [`github::GithubDouble`] is a GitHub: REST API, Git over HTTPS, archives.
//! * [`kubernetes::Cluster`] is a kube-apiserver with etcd.
//! * [`argocd::ArgocdDouble`] is an Argo CD API server, [`argocd::ArgocdController`] plays its controller in a cluster.
//! * [`backstage::BackstageDouble`] is the backend of a Backstage: its auth, catalog and permission plugins.
//! * [`crossplane::Crossplane`] plays Crossplane's controllers there.
//! * [`object_store::ObjectStore`] is an S3-compatible server that checks signatures.
//! * [`portal::Portal`] is a stock Backstage portal without a scaffolder, and people who use it with a browser.
//! * [`postgres::Postgres`] is a PostgreSQL server with a database for each test.
//! * [`process::Service`] runs the `understudy` binary with a configuration of the test's own.
//! * [`http::Client`] talks to it and reads its event streams.
//! * [`helm::Helm`] has Helm and kubectl, to judge charts and manifests with.
//! * [`linters::Linters`] judges workflows and Dockerfiles.
//! * [`upstream::Upstream`] is Backstage's own scaffolder backend.
//! * [`memory`] tells how much memory and processor time a process used.
//!
//! Nothing here is skipped silently: a missing program is an [`Error::MissingProgram`] that says how to install it.

pub mod argocd;
pub mod backstage;
pub mod cache;
pub mod crossplane;
pub mod error;
pub mod github;
pub mod helm;
pub mod http;
pub mod kubernetes;
pub mod linters;
pub mod memory;
pub mod object_store;
pub mod portal;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod sse;
mod supervisor;
pub mod upstream;

pub use error::{Error, Result};
