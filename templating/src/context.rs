//! The data a template is rendered with.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use crate::error::Error;
use crate::shape::Shapes;
use crate::value::{Record, Value, is_reserved};

/// How many keys and elements, at all levels together, a context may hold.
pub const MAX_CONTEXT_ENTRIES: usize = 100_000;

/// The names a template can speak of, with their values. Cloning is cheap, and so is deriving one from another.
#[derive(Debug, Clone, Default)]
pub struct Context {
    names: Record,
}

impl Context {
    /// A context without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a context of a JSON object.
    ///
    /// # Errors
    /// When a key at any level is `constructor`, `prototype` or `__proto__`, when there are more than
    /// [`MAX_CONTEXT_ENTRIES`] entries, or when the data nests more than 256 deep.
    pub fn from_json(data: &Map<String, Json>) -> Result<Self, Error> {
        let mut budget = MAX_CONTEXT_ENTRIES;
        let mut names = IndexMap::with_capacity(data.len());
        let mut shapes = Shapes::default();
        for (name, json) in data {
            check_key(name)?;
            take(&mut budget)?;
            // The depth is checked first, so that the walk over the entries is bounded too.
            let value = Value::from_json_sharing(json, &mut shapes)?;
            check_entries(json, &mut budget)?;
            names.insert(Arc::from(name.as_str()), value);
        }
        Ok(Self { names: Record::new(names) })
    }

    /// The same context with one name added or replaced.
    #[must_use]
    pub fn with(&self, name: &str, value: Value) -> Self {
        Self { names: self.names.with(name, value) }
    }

    /// The same context with the value at a path of names and keys added or replaced, without a copy of the rest. What
    /// is on the way and no record becomes one.
    #[must_use]
    pub fn with_path(&self, path: &[&str], value: Value) -> Self {
        match path {
            [] => self.clone(),
            path => Self { names: replaced(&self.names, path, value) },
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name)
    }
}

fn replaced(record: &Record, path: &[&str], value: Value) -> Record {
    match path {
        [] => record.clone(),
        [key] => record.with(key, value),
        [key, rest @ ..] => {
            let inner = match record.get(key) {
                Some(Value::Record(inner)) => replaced(inner, rest, value),
                _ => replaced(&Record::default(), rest, value),
            };
            record.with(key, Value::Record(inner))
        }
    }
}

impl TryFrom<&Json> for Context {
    type Error = Error;

    fn try_from(json: &Json) -> Result<Self, Error> {
        match json {
            Json::Object(data) => Self::from_json(data),
            _ => Err(Error::context("Template context must be a record")),
        }
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if is_reserved(key) {
        return Err(Error::context(format!("Template record key {key} is reserved")));
    }
    Ok(())
}

fn take(budget: &mut usize) -> Result<(), Error> {
    match budget.checked_sub(1) {
        Some(rest) => {
            *budget = rest;
            Ok(())
        }
        None => Err(Error::context(format!("Template context cannot exceed {MAX_CONTEXT_ENTRIES} entries"))),
    }
}

fn check_entries(json: &Json, budget: &mut usize) -> Result<(), Error> {
    match json {
        Json::Array(items) => items.iter().try_for_each(|item| {
            take(budget)?;
            check_entries(item, budget)
        }),
        Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            check_key(key)?;
            take(budget)?;
            check_entries(value, budget)
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn refuses_what_is_not_template_data() {
        let deep = (0..300).fold(json!(1), |inner, _| json!([inner]));
        let cases = [
            (json!({"a": {"constructor": 1}}), "Template record key constructor is reserved"),
            (json!({"__proto__": 1}), "Template record key __proto__ is reserved"),
            (json!({"a": vec![0; MAX_CONTEXT_ENTRIES]}), "Template context cannot exceed 100000 entries"),
            (json!({"a": deep}), "Template value nesting cannot exceed 256 levels"),
            (json!([1]), "Template context must be a record"),
        ];
        for (json, expected) in cases {
            assert_eq!(Context::try_from(&json).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn deriving_leaves_the_original_alone() {
        let context = Context::try_from(&json!({"a": 1})).unwrap();
        let derived = context.with("a", Value::from("x")).with("b", Value::Null);
        assert_eq!(context.get("a").unwrap().as_number(), Some(1.0));
        assert_eq!(derived.get("a").unwrap().as_str(), Some("x"));
        assert_eq!(derived.names().collect::<Vec<_>>(), ["a", "b"]);
        let derived = derived.with_path(&["a", "x"], Value::from("y")).with_path(&["a", "z"], Value::from("w"));
        assert_eq!(derived.get("a").unwrap().to_json(), Some(json!({"x": "y", "z": "w"})));
    }
}
