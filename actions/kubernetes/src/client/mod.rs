//! What all actions of this crate talk to clusters through.
//!
//! [`Clusters`] knows the configured clusters and connects on first use; a [`Cluster`] finds kinds by discovery, reads,
//! applies and deletes objects, and follows them by watch through outages. Every error is a [`KubeError`] in words for
//! the person who reads the task's log.

mod apply;
mod clusters;
mod config;
mod diff;
mod discovery;
mod error;
mod manifest;
mod names;
mod objects;
mod ownership;
mod proxy;
mod watch;

pub(crate) use apply::{Applied, ApplyOptions, FIELD_MANAGER, Outcome, as_value};
pub(crate) use clusters::Cluster;
pub use clusters::Clusters;
pub(crate) use diff::changes;
pub(crate) use discovery::Kind;
pub(crate) use error::KubeError;
pub(crate) use manifest::{Manifest, parse_manifests};
pub(crate) use names::{check_label, label, short_subdomain, subdomain};
pub(crate) use objects::{DeleteOptions, Target};
pub(crate) use watch::{Patience, Progress, Watch};
