//! The data that rows speak of by name.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value as Json;

const CONTEXTS: &str = include_str!("../contexts.json");

static NAMED: LazyLock<BTreeMap<String, Arc<Json>>> = LazyLock::new(|| {
    let contexts: BTreeMap<String, Json> = serde_json::from_str(CONTEXTS).unwrap_or_default();
    contexts.into_iter().map(|(name, data)| (name, Arc::new(data))).collect()
});

/// The data called `name` in `contexts.json`.
pub(crate) fn named(name: &str) -> Option<Arc<Json>> {
    NAMED.get(name).cloned()
}
