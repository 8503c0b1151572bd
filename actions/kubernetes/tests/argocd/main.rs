//! The Argo CD actions, driven through the registry: against an Argo CD API server double and against a real
//! kube-apiserver with a controller that plays Argo CD's.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod api;
mod bench;
mod crd;
mod wait;
