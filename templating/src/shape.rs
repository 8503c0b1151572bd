//! The keys of records, apart from their values.
//!
//! Records come in kinds: a thousand entries of a list have the same keys. They share one [`Shape`], so that a look-up
//! that has found its key in one of them knows where it is in all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value as Json};

use crate::string::is_same;
use crate::value::array_index;

/// The keys of some records, in order.
pub(crate) struct Shape {
    /// No two shapes of a process have the same number.
    id: u64,
    keys: Box<[Arc<str>]>,
    /// Where each key is, when there are too many to look at each.
    positions: Option<HashMap<Arc<str>, u32>>,
}

/// Up to so many keys are compared one after the other.
const FEW: usize = 8;

impl Shape {
    /// The shape with these keys, which must differ from each other and have those first that are array indices.
    pub(crate) fn new(keys: Box<[Arc<str>]>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let positions = (keys.len() > FEW).then(|| keys.iter().cloned().zip(0..).collect());
        Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), keys, positions })
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    #[inline]
    pub(crate) fn position(&self, key: &str) -> Option<usize> {
        match &self.positions {
            None => self.keys.iter().position(|known| is_same(known.as_bytes(), key.as_bytes())),
            Some(positions) => positions.get(key).map(|position| *position as usize),
        }
    }
}

/// The shapes of the records made so far while one piece of data is converted.
pub(crate) struct Shapes {
    recent: Vec<Arc<Shape>>,
    /// What is remembered has no more keys than this, and none longer than that.
    most_keys: usize,
    longest_key: usize,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { recent: Vec::new(), most_keys: usize::MAX, longest_key: usize::MAX }
    }
}

impl Shapes {
    /// How many shapes are remembered. Data with more kinds of records than this doesn't share all of them.
    const MOST: usize = 16;

    /// With the shapes of records made before by this thread, where these are small: values that replace one another
    /// mostly have the same keys.
    pub(crate) fn with_recent<R>(run: impl FnOnce(&mut Self) -> R) -> R {
        thread_local! {
            static RECENT: RefCell<Shapes> =
                const { RefCell::new(Shapes { recent: Vec::new(), most_keys: FEW, longest_key: 64 }) };
        }
        RECENT.with_borrow_mut(run)
    }

    /// The shape of an object; `None` when its keys are not in the order that records have.
    pub(crate) fn of(&mut self, object: &Map<String, Json>) -> Option<Arc<Shape>> {
        let fits = |shape: &Arc<Shape>| {
            shape.keys.len() == object.len()
                && shape.keys.iter().zip(object.keys()).all(|(known, key)| is_same(known.as_bytes(), key.as_bytes()))
        };
        if let Some(known) = self.recent.iter().find(|shape| fits(shape)) {
            return Some(known.clone());
        }
        if object.keys().any(|key| array_index(key).is_some()) {
            return None;
        }
        let is_kept = object.len() <= self.most_keys && object.keys().all(|key| key.len() <= self.longest_key);
        let shape = Shape::new(object.keys().map(|key| Arc::from(key.as_str())).collect());
        if !is_kept {
            return Some(shape);
        }
        if self.recent.len() == Self::MOST {
            self.recent.remove(0);
        }
        self.recent.push(shape.clone());
        Some(shape)
    }
}
