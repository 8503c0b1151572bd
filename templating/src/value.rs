//! The closed set of values a template works with.

use std::fmt;
use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::error::Error;
use crate::function::{Callable, Kind};
use crate::number::js_number_to_string;
use crate::regex::Regex;
use crate::shape::{Shape, Shapes};
use crate::string::Str;

/// How deep arrays and records may nest in one another.
pub(crate) const MAX_VALUE_DEPTH: u16 = 256;

/// A value of the template language. Cloning is cheap: compound values are shared.
///
/// The set is JavaScript's, closed: there are no host objects, prototypes or accessors.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Value {
    /// What a missing name or key gives.
    #[default]
    Undefined,
    /// JSON's `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A double; every number of the language is one.
    Number(f64),
    /// Text.
    String(Str),
    /// Text that a filter has marked as escaped (`safe`, `escape`).
    Safe(Arc<Str>),
    /// A list.
    Array(Array),
    /// Keys with values, in insertion order.
    Record(Record),
    /// A regular expression literal.
    Regex(Arc<Regex>),
    /// A macro, a global function, a method of a value.
    Function(Callable),
}

/// A shared, immutable list of values.
///
/// Methods that change an array (`push`, …) do so within one render only: the render keeps the changed contents by the
/// identity of the array.
#[derive(Clone)]
pub struct Array(Arc<ArrayData>);

struct ArrayData {
    elements: Elements,
    depth: u16,
    has_functions: bool,
}

enum Elements {
    Own(Vec<Value>),
    /// Some elements of another array, by their positions: what sorting and selecting make without touching the elements.
    /// `all` has them in a row, once somebody has asked for that.
    Chosen {
        base: Arc<ArrayData>,
        positions: Vec<u32>,
        all: OnceLock<Vec<Value>>,
    },
}

impl Elements {
    #[inline]
    fn get(&self, index: usize) -> Option<&Value> {
        match self {
            Self::Own(items) => items.get(index),
            Self::Chosen { base, positions, .. } => base.elements.get(*positions.get(index)? as usize),
        }
    }
}

/// A shared, immutable, insertion-ordered map from names to values.
#[derive(Clone)]
pub struct Record(Arc<RecordData>);

struct RecordData {
    shape: Arc<Shape>,
    /// That of the shape, so that a look-up need not go there.
    shape_id: u64,
    values: Box<[Value]>,
    depth: u16,
    has_functions: bool,
}

impl Array {
    /// Makes an array.
    pub fn new(items: Vec<Value>) -> Self {
        let (depth, has_functions) = traits(items.iter());
        Self(Arc::new(ArrayData { elements: Elements::Own(items), depth, has_functions }))
    }

    /// An array of the elements of this one at `positions`. Positions that there are not give `undefined`.
    pub(crate) fn choose(&self, positions: Vec<u32>) -> Self {
        let (base, positions) = match &self.0.elements {
            Elements::Own(_) => (self.0.clone(), positions),
            Elements::Chosen { base, positions: inner, .. } => {
                let through = |position: u32| inner.get(position as usize).copied().unwrap_or(u32::MAX);
                (base.clone(), positions.into_iter().map(through).collect())
            }
        };
        let mut chosen = positions.iter().filter_map(|position| base.elements.get(*position as usize));
        let (depth, has_functions) = match base.has_functions {
            true => traits(chosen),
            // Nothing chosen is deeper than the deepest element there is.
            false => {
                let deepest = base.depth.saturating_sub(1);
                let is_deepest = |depth: &u16, item: &Value| match (*depth).max(item.depth()) {
                    depth if depth >= deepest => Err(depth),
                    depth => Ok(depth),
                };
                let (Ok(depth) | Err(depth)) = chosen.try_fold(0, |depth, item| is_deepest(&depth, item));
                (depth.saturating_add(1), false)
            }
        };
        Self(Arc::new(ArrayData {
            elements: Elements::Chosen { base, positions, all: OnceLock::new() },
            depth,
            has_functions,
        }))
    }

    /// The elements as they were when the array was made.
    pub fn items(&self) -> &[Value] {
        match &self.0.elements {
            Elements::Own(items) => items,
            Elements::Chosen { base, positions, all } => all.get_or_init(|| {
                let item = |position: &u32| base.elements.get(*position as usize).cloned().unwrap_or_default();
                positions.iter().map(item).collect()
            }),
        }
    }

    /// The element at `index`, as it was when the array was made.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.0.elements.get(index)
    }

    /// The elements that those of this array were chosen from, and which they are.
    pub(crate) fn chosen_from(&self) -> Option<(&[Value], &[u32])> {
        match &self.0.elements {
            Elements::Own(_) => None,
            Elements::Chosen { base, positions, .. } => match &base.elements {
                Elements::Own(items) => Some((items, positions)),
                Elements::Chosen { .. } => None,
            },
        }
    }

    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0.elements {
            Elements::Own(items) => items.len(),
            Elements::Chosen { positions, .. } => positions.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both are the same array, not merely equal ones.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What tells this array from every other that is alive.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// How deep a container of these values nests, and whether a function is in it.
fn traits<'v>(values: impl Iterator<Item = &'v Value>) -> (u16, bool) {
    let (mut depth, mut has_functions) = (0, false);
    for value in values {
        depth = depth.max(value.depth());
        has_functions |= value.has_functions();
    }
    (depth.saturating_add(1), has_functions)
}

impl Record {
    /// Makes a record. Keys that are array indices come first, in ascending order, as in JavaScript.
    pub fn new(mut entries: IndexMap<Arc<str>, Value>) -> Self {
        if entries.keys().any(|key| array_index(key).is_some()) {
            let order = |key: &str| array_index(key).map_or(u64::MAX, u64::from);
            entries.sort_by(|a, _, b, _| order(a).cmp(&order(b)));
        }
        let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        Self::with_shape(Shape::new(keys.into()), values)
    }

    /// A record with the keys of `shape`, and as many values.
    pub(crate) fn with_shape(shape: Arc<Shape>, values: Vec<Value>) -> Self {
        let (depth, has_functions) = traits(values.iter());
        let shape_id = shape.id();
        Self(Arc::new(RecordData { shape, shape_id, values: values.into(), depth, has_functions }))
    }

    /// The same record with one value added or replaced.
    pub(crate) fn with(&self, key: &str, value: Value) -> Self {
        match self.0.shape.position(key) {
            Some(position) => {
                let others = self.0.values.iter().enumerate();
                let values = others.map(|(at, old)| if at == position { value.clone() } else { old.clone() }).collect();
                Self::with_shape(self.0.shape.clone(), values)
            }
            None => {
                let entries = self.iter().map(|(key, value)| (key.clone(), value.clone()));
                Self::new(entries.chain([(Arc::from(key), value)]).collect())
            }
        }
    }

    /// The value at `key`, when the record has it.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.values.get(self.0.shape.position(key)?)
    }

    pub(crate) fn shape(&self) -> &Arc<Shape> {
        &self.0.shape
    }

    #[inline]
    pub(crate) fn shape_id(&self) -> u64 {
        self.0.shape_id
    }

    /// The value of the key at this position of the shape.
    #[inline]
    pub(crate) fn value_at(&self, position: usize) -> Option<&Value> {
        self.0.values.get(position)
    }

    /// The keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Value)> {
        self.0.shape.keys().iter().zip(&self.0.values)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.values.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.values.is_empty()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new(IndexMap::new())
    }
}

impl<K: Into<Arc<str>>> FromIterator<(K, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        Self::new(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

/// The number a key stands for, when it is the canonical text of one below 2³² − 1.
pub(crate) fn array_index(key: &str) -> Option<u32> {
    let canonical = key == "0" || (!key.starts_with('0') && key.len() <= 10 && key.bytes().all(|b| b.is_ascii_digit()));
    if !canonical {
        return None;
    }
    key.parse::<u32>().ok().filter(|index| *index < u32::MAX)
}

/// Names that no record may have as a key and no template may speak of.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(name, "constructor" | "prototype" | "__proto__")
}

impl Value {
    /// A string.
    pub fn string(text: impl Into<Str>) -> Self {
        Self::String(text.into())
    }

    /// Text that counts as escaped.
    pub fn safe(text: impl Into<Str>) -> Self {
        Self::Safe(Arc::new(text.into()))
    }

    /// An array.
    pub fn array(items: Vec<Value>) -> Self {
        Self::Array(Array::new(items))
    }

    /// A function that templates can call, for use as a value of a [`Context`](crate::Context).
    pub fn function<F>(name: impl Into<Arc<str>>, function: F) -> Self
    where
        F: Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    {
        Self::Function(Callable::host(name, function))
    }

    /// The value of JSON data.
    ///
    /// # Errors
    /// When arrays and objects nest more than 256 deep.
    pub fn from_json(json: &Json) -> Result<Self, Error> {
        Shapes::with_recent(|shapes| Self::from_json_sharing(json, shapes))
    }

    /// As [`from_json`](Self::from_json), for one of several values that have shapes in common.
    pub(crate) fn from_json_sharing(json: &Json, shapes: &mut Shapes) -> Result<Self, Error> {
        Self::from_json_within(json, MAX_VALUE_DEPTH, shapes).ok_or_else(|| Error::context(too_deep()))
    }

    fn from_json_within(json: &Json, depth: u16, shapes: &mut Shapes) -> Option<Self> {
        Some(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::string(text.as_str()),
            Json::Array(items) => {
                let depth = depth.checked_sub(1)?;
                let item = |item| Self::from_json_within(item, depth, shapes);
                Self::array(items.iter().map(item).collect::<Option<_>>()?)
            }
            Json::Object(entries) => {
                let depth = depth.checked_sub(1)?;
                let shape = shapes.of(entries);
                let mut values = Vec::with_capacity(entries.len());
                for value in entries.values() {
                    values.push(Self::from_json_within(value, depth, shapes)?);
                }
                Self::Record(match shape {
                    Some(shape) => Record::with_shape(shape, values),
                    None => entries.keys().map(String::as_str).zip(values).collect(),
                })
            }
        })
    }

    /// The value as JSON data. `undefined` gives `None`, and as an element of an array `null`; NaN and the infinities
    /// give `null`; safe strings and regular expressions give their text; functions give `None`.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Undefined | Self::Function(_) => return None,
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(number) => json_number(*number),
            Self::String(text) => Json::String(text.to_lossy().into_owned()),
            Self::Safe(text) => Json::String(text.to_lossy().into_owned()),
            Self::Array(array) => {
                Json::Array(array.items().iter().map(|item| item.to_json().unwrap_or(Json::Null)).collect())
            }
            Self::Record(record) => {
                let entry = |(key, value): (&Arc<str>, &Value)| Some((key.to_string(), value.to_json()?));
                Json::Object(record.iter().filter_map(entry).collect())
            }
            Self::Regex(regex) => Json::String(regex.to_string()),
        })
    }

    /// Whether this is `undefined`.
    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    /// Whether this is `undefined` or `null`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// JavaScript's truthiness: everything but `undefined`, `null`, `false`, `0`, `NaN` and `""`.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Undefined | Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::String(text) => !text.is_empty(),
            Self::Safe(_) | Self::Array(_) | Self::Record(_) | Self::Regex(_) | Self::Function(_) => true,
        }
    }

    /// The text, when this is a string (safe or not) without lone surrogates.
    pub fn as_str(&self) -> Option<&str> {
        self.as_string().and_then(Str::as_str)
    }

    /// The string, safe or not.
    pub fn as_string(&self) -> Option<&Str> {
        match self {
            Self::String(text) => Some(text),
            Self::Safe(text) => Some(text),
            _ => None,
        }
    }

    /// The number, when this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The record, when this is one.
    pub fn as_record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The array, when this is one.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// What the language calls this kind of value in its messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Safe(_) => "safe string",
            Self::Array(_) => "array",
            Self::Record(_) => "record",
            Self::Regex(_) => "regular expression",
            Self::Function(_) => "callable",
        }
    }

    /// How many arrays and records lie in one another; a scalar has none.
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Self::Array(array) => array.0.depth,
            Self::Record(record) => record.0.depth,
            // A method holds on to the value it was taken from.
            Self::Function(Callable(Kind::Method(method))) => method.0.depth(),
            _ => 0,
        }
    }

    /// Whether this is a function or has one in it.
    pub(crate) fn has_functions(&self) -> bool {
        match self {
            Self::Function(_) => true,
            Self::Array(array) => array.0.has_functions,
            Self::Record(record) => record.0.has_functions,
            _ => false,
        }
    }

    fn write_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined | Self::Null => Ok(()),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => f.write_str(&js_number_to_string(*number)),
            Self::String(text) => fmt::Display::fmt(text, f),
            Self::Safe(text) => fmt::Display::fmt(text, f),
            Self::Array(array) => {
                for (index, item) in array.items().iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    item.write_text(f)?;
                }
                Ok(())
            }
            Self::Record(_) => f.write_str("[object Object]"),
            Self::Regex(regex) => fmt::Display::fmt(regex, f),
            Self::Function(_) => f.write_str("[function]"),
        }
    }
}

pub(crate) fn too_deep() -> String {
    format!("Template value nesting cannot exceed {MAX_VALUE_DEPTH} levels")
}

/// A JSON number as `JSON.stringify` would choose it: whole numbers without a fraction, `null` for what JSON lacks.
fn json_number(number: f64) -> Json {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= SAFE {
        Json::from(number as i64)
    } else {
        serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number)
    }
}

impl fmt::Display for Value {
    /// The text JavaScript gives for the value, except that `undefined` and `null` are empty as in a template's output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_text(f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => f.write_str(&js_number_to_string(*number)),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Safe(text) => write!(f, "safe {text:?}"),
            Self::Array(array) => f.debug_list().entries(array.items()).finish(),
            Self::Record(record) => fmt::Debug::fmt(record, f),
            Self::Regex(regex) => write!(f, "{regex}"),
            Self::Function(callable) => write!(f, "{callable:?}"),
        }
    }
}

impl From<Json> for Value {
    /// As [`Value::from_json`], but data that nests too deep gives `undefined`.
    fn from(json: Json) -> Self {
        Self::from_json(&json).unwrap_or_default()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<Str> for Value {
    fn from(text: Str) -> Self {
        Self::String(text)
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

impl From<Record> for Value {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn json_there_and_back() {
        for json in
            [json!(null), json!(1), json!(1.5), json!("x"), json!([1, [true]]), json!({"b": 1, "a": {"c": null}})]
        {
            assert_eq!(Value::from(json.clone()).to_json(), Some(json));
        }
        assert_eq!(Value::Number(f64::NAN).to_json(), Some(Json::Null));
        assert_eq!(Value::array(vec![Value::Undefined]).to_json(), Some(json!([null])));
        assert_eq!(Value::safe("x").to_json(), Some(json!("x")));
    }

    #[test]
    fn index_keys_come_first() {
        let value = Value::from(json!({"b": 1, "10": 2, "9": 3, "a": 4, "01": 5}));
        let keys: Vec<_> = value.as_record().unwrap().iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["9", "10", "b", "a", "01"]);
    }

    #[test]
    fn stays_small() {
        // Values are copied and returned everywhere.
        assert_eq!(size_of::<Value>(), 24);
    }

    #[test]
    fn chosen_elements() {
        let array = Array::new((0..5).map(Value::from).collect());
        let twice = array.choose(vec![4, 2, 0]).choose(vec![2, 0]);
        assert_eq!((twice.len(), twice.get(1).and_then(Value::as_number)), (2, Some(4.0)));
        assert_eq!(Value::Array(twice).to_json(), Some(json!([0, 4])));
        let deep = Value::from(json!([1, [[2]]]));
        let deep = deep.as_array().unwrap();
        assert_eq!((deep.choose(vec![0]).0.depth, deep.choose(vec![1]).0.depth), (1, 3));
    }

    #[test]
    fn equal_keys_make_one_shape() {
        let value = Value::from(json!([{"a": 1, "b": {"c": 1}}, {"a": 2, "b": {"c": 2}}, {"b": 3, "a": 4}]));
        let ids: Vec<u64> =
            value.as_array().unwrap().items().iter().map(|item| item.as_record().unwrap().shape().id()).collect();
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
    }

    #[test]
    fn displays_like_output() {
        assert_eq!(Value::from(json!([1, null, [2, "x"], {}])).to_string(), "1,,2,x,[object Object]");
    }
}
