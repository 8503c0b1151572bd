//! Which tasks start over when they are recovered: every event that is read says so.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// How many tasks are remembered.
const CAPACITY: usize = 10_000;

/// [`TaskSpec::starts_over`](crate::model::TaskSpec::starts_over) by task; a spec never changes.
#[derive(Debug, Default)]
pub(super) struct Recoverable(Mutex<HashMap<String, bool>>);

impl Recoverable {
    /// What is known of a task.
    pub(super) fn get(&self, id: &str) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }
    /// Remembers it.
    pub(super) fn remember(&self, id: &str, recoverable: bool) {
        // The map is valid after any panic: each call changes it at once.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(id.to_string(), recoverable);
    }
}
