//! The GitHub actions against the testbed's GitHub: real pushes over TLS, every request held against GitHub's description.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod apps;
mod double;
mod driver;
mod failures;
mod publish;
mod pull_requests;
mod recorded;
mod reruns;
mod twice;
mod workflows;
