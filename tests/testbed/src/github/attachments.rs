//! What hangs on a repository beside its code: keys, autolinks, a site, environments, runs that were asked for.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a repository has of these.
#[derive(Clone, Default)]
pub(super) struct Attachments {
    pub(super) keys: Vec<Value>,
    pub(super) autolinks: Vec<Value>,
    pub(super) pages: Option<Value>,
    /// By name.
    pub(super) environments: BTreeMap<String, Environment>,
    pub(super) dispatches: Vec<Value>,
}

/// An environment that workflows deploy to.
#[derive(Clone)]
pub(super) struct Environment {
    pub(super) id: u64,
    /// The body of the request that set it.
    pub(super) rules: Value,
    /// Branches and tags that may be deployed.
    pub(super) policies: Vec<Value>,
    pub(super) variables: BTreeMap<String, String>,
    /// Sealed boxes, still closed.
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
}
