//! Arrays that change.
//!
//! A [`Value`] is immutable, so that contexts can be shared between renders. A method such as `push` therefore writes to
//! the render's heap: it maps the identity of an array to its present contents. All aliases see the change, other
//! renders don't, and however arrays are pushed into one another, no value ever owns itself.

use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Interp;
use super::env::Env;
use crate::error::{Fault, Res};
use crate::regex::Regex;
use crate::shape::Shape;
use crate::string::Str;
use crate::value::{Array, MAX_VALUE_DEPTH, Record, Value, too_deep};

/// How many elements an array or record may have.
pub(crate) const MAX_CONTAINER_ENTRIES: usize = 100_000;

/// The arrays that were changed. Each is kept alive, since its identity is its address.
#[derive(Default)]
pub(super) struct Heap {
    changed: HashMap<usize, (Array, Rc<Vec<Value>>)>,
    /// Where the last `test` of a regular expression ended, likewise by identity.
    last_indices: HashMap<usize, (Arc<Regex>, usize)>,
    /// What the arrays that tell of a match have beside their elements, likewise by identity.
    match_details: HashMap<usize, (Array, Record)>,
    /// The regular expressions that were made of texts, by text and flags.
    patterns: HashMap<(Str, &'static str), Regex>,
}

/// The present elements of an array.
pub(crate) enum Items {
    Original(Array),
    Changed(Rc<Vec<Value>>),
}

impl Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        match self {
            Self::Original(array) => array.items(),
            Self::Changed(items) => items,
        }
    }
}

impl Heap {
    #[inline]
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }
}

impl Env<'_> {
    /// The present elements of `array`. They stay the same while the result is held, whatever is done to the array.
    #[inline]
    pub(crate) fn items(&self, array: &Array) -> Items {
        match self.changed_items(array) {
            Some(items) => Items::Changed(items.clone()),
            None => Items::Original(array.clone()),
        }
    }

    /// The present elements of `array`, if they are not those it was made with.
    #[inline]
    pub(super) fn changed_items(&self, array: &Array) -> Option<&Rc<Vec<Value>>> {
        if self.heap.changed.is_empty() {
            return None;
        }
        self.heap.changed.get(&array.identity()).map(|(_, items)| items)
    }

    /// An array whose elements are those it was made with, where a key that a record doesn't have is `undefined`.
    pub(crate) fn plain_array<'v>(&self, value: &'v Value) -> Option<&'v Array> {
        match value {
            Value::Array(array) if self.is_plain && self.changed_items(array).is_none() => Some(array),
            _ => None,
        }
    }

    pub(super) fn element(&self, array: &Array, index: usize) -> Value {
        let item = match self.changed_items(array) {
            Some(items) => items.get(index),
            None => array.get(index),
        };
        item.cloned().unwrap_or_default()
    }

    pub(crate) fn item_count(&self, array: &Array) -> usize {
        self.changed_items(array).map_or(array.len(), |items| items.len())
    }

    /// Where the next `test` of a regular expression starts, in code units.
    pub(crate) fn last_index(&mut self, regex: &Arc<Regex>) -> &mut usize {
        let identity = Arc::as_ptr(regex).addr();
        &mut self.heap.last_indices.entry(identity).or_insert_with(|| (regex.clone(), 0)).1
    }

    /// As [`last_index`](Self::last_index), without a reason to remember it.
    pub(crate) fn known_last_index(&self, regex: &Arc<Regex>) -> usize {
        self.heap.last_indices.get(&Arc::as_ptr(regex).addr()).map_or(0, |(_, last)| *last)
    }

    /// The regular expression that a text means. Compiling one may take milliseconds, so a render can't have many; one
    /// that it has already is as good as free.
    pub(crate) fn pattern(&mut self, source: &Str, flags: &'static str) -> Res<Regex> {
        const WORK: usize = 20_000;
        let key = (source.clone(), flags);
        if let Some(known) = self.heap.patterns.get(&key) {
            return Ok(known.clone());
        }
        self.charge(WORK)?;
        self.charge_bytes(source.byte_len().saturating_mul(64))?;
        let regex = Regex::new(&source.to_lossy(), flags)?;
        self.heap.patterns.insert(key, regex.clone());
        Ok(regex)
    }

    /// What an array that tells of a match has beside its elements.
    pub(crate) fn match_details(&self, array: &Array) -> Option<&Record> {
        self.heap.match_details.get(&array.identity()).map(|(_, details)| details)
    }

    pub(crate) fn set_match_details(&mut self, array: &Array, details: Record) {
        self.heap.match_details.insert(array.identity(), (array.clone(), details));
    }

    /// Notes that a walk goes into `array`; the caller pops the path when it comes out.
    pub(crate) fn step_into(&self, array: &Array, path: &mut Vec<usize>) -> Res<()> {
        let identity = array.identity();
        if path.contains(&identity) {
            return Err(Fault::evaluation("Cyclic template values are not supported"));
        }
        if path.len() >= usize::from(MAX_VALUE_DEPTH) {
            return Err(Fault::evaluation(too_deep()));
        }
        path.push(identity);
        Ok(())
    }
}

impl Interp<'_> {
    /// Makes sure that `value` may become an element of `array`: that it isn't, and doesn't contain, the array itself.
    pub(crate) fn check_insertable(&mut self, array: &Array, value: &Value) -> Res<()> {
        self.check_free_of(value, &mut vec![array.identity()])
    }

    fn check_free_of(&mut self, value: &Value, path: &mut Vec<usize>) -> Res<()> {
        self.charge(1)?;
        match value {
            Value::Array(array) => {
                self.step_into(array, path)?;
                self.items(array).iter().try_for_each(|item| self.check_free_of(item, path))?;
                path.pop();
                Ok(())
            }
            Value::Record(record) => record.iter().try_for_each(|(_, value)| self.check_free_of(value, path)),
            _ => Ok(()),
        }
    }

    /// Changes an array for the rest of the render.
    pub(crate) fn change<T>(&mut self, array: &Array, change: impl FnOnce(&mut Vec<Value>) -> T) -> Res<T> {
        let (_, items) = self
            .heap
            .changed
            .entry(array.identity())
            .or_insert_with(|| (array.clone(), Rc::new(array.items().to_vec())));
        let items = Rc::make_mut(items);
        let result = change(items);
        let length = items.len();
        if length > MAX_CONTAINER_ENTRIES {
            return Err(too_many());
        }
        self.charge(length)?;
        Ok(result)
    }

    pub(crate) fn array(&mut self, items: Vec<Value>) -> Res<Value> {
        self.check_length(items.len())?;
        checked(Value::array(items))
    }

    /// Pays for a container of so many elements, and refuses it when that is too many.
    pub(super) fn check_length(&self, length: usize) -> Res<()> {
        self.charge(length)?;
        if length > MAX_CONTAINER_ENTRIES {
            return Err(too_many());
        }
        Ok(())
    }

    /// An array of the elements of `array` at these positions.
    pub(crate) fn chosen(&mut self, array: &Array, positions: Vec<u32>) -> Res<Value> {
        self.check_length(positions.len())?;
        checked(Value::Array(array.choose(positions)))
    }

    /// A record with the keys of `shape`.
    pub(super) fn shaped(&mut self, shape: Arc<Shape>, values: Vec<Value>) -> Res<Value> {
        self.check_length(values.len())?;
        checked(Value::Record(Record::with_shape(shape, values)))
    }

    pub(crate) fn record(&mut self, entries: IndexMap<Arc<str>, Value>) -> Res<Value> {
        self.check_length(entries.len())?;
        checked(Value::Record(Record::new(entries)))
    }

    /// The value as plain data that means the same outside of this render.
    pub(super) fn export(&mut self, value: &Value) -> Res<Value> {
        if self.heap.changed.is_empty() && !value.has_functions() {
            return Ok(value.clone());
        }
        self.export_within(value, &mut Vec::new())
    }

    fn export_within(&mut self, value: &Value, path: &mut Vec<usize>) -> Res<Value> {
        self.charge(1)?;
        match value {
            Value::Function(_) => Err(not_text()),
            Value::Array(array) => {
                self.step_into(array, path)?;
                let items = self.items(array);
                let items = items.iter().map(|item| self.export_within(item, path)).collect::<Res<_>>()?;
                path.pop();
                Ok(Value::array(items))
            }
            Value::Record(record) => {
                let mut entries = IndexMap::with_capacity(record.len());
                for (key, value) in record.iter() {
                    entries.insert(key.clone(), self.export_within(value, path)?);
                }
                Ok(Value::Record(Record::new(entries)))
            }
            other => Ok(other.clone()),
        }
    }
}

fn checked(value: Value) -> Res<Value> {
    if value.depth() > MAX_VALUE_DEPTH {
        return Err(Fault::evaluation(too_deep()));
    }
    Ok(value)
}

fn too_many() -> Box<Fault> {
    Fault::evaluation(format!("Template value containers cannot exceed {MAX_CONTAINER_ENTRIES} entries"))
}

pub(crate) fn not_text() -> Box<Fault> {
    Fault::evaluation("Callable values cannot be coerced")
}
