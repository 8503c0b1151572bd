//! The catalog's query language: filters, fields, order, pages and facets, as `@backstage/plugin-catalog-backend` reads
//! them from query parameters.

use std::{cmp::Ordering, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use understudy_sdk::ActionError;

use super::index::Indexed;

/// Which entities: any of the sets must hold; of a set all keys must.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityFilter(Vec<Vec<Condition>>);

/// A key that must be there, or have one of these values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Condition {
    key: String,
    values: Option<Vec<String>>,
}

impl EntityFilter {
    /// Reads the values of the parameter `filter`: each `key=value,key=value,key`, with the same key again for another
    /// value. Without any, everything matches.
    ///
    /// # Errors
    /// `InputError`: a filter without a key.
    pub fn parse<S: AsRef<str>>(parameters: &[S]) -> Result<Self, ActionError> {
        let mut sets = Vec::new();
        for parameter in parameters {
            let parameter = parameter.as_ref();
            let mut set: Vec<Condition> = Vec::new();
            for statement in parameter.split(',').map(str::trim).filter(|statement| !statement.is_empty()) {
                let (key, value) = match statement.split_once('=') {
                    Some((key, value)) => (key.trim().to_lowercase(), Some(value.trim().to_lowercase())),
                    None => (statement.to_lowercase(), None),
                };
                if key.is_empty() {
                    return Err(ActionError::input(format!(
                        "Invalid filter, '{statement}' is not a valid statement (expected a string on the form a=b or a)"
                    )));
                }
                match set.iter_mut().find(|condition| condition.key == key) {
                    Some(condition) => {
                        if let Some(value) = value {
                            condition.values.get_or_insert_default().push(value);
                        }
                    }
                    None => set.push(Condition { key, values: value.map(|value| vec![value]) }),
                }
            }
            if !set.is_empty() {
                sets.push(set);
            }
        }
        Ok(Self(sets))
    }

    pub(super) fn matches(&self, indexed: &Indexed) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|set| {
                set.iter().all(|condition| match &condition.values {
                    None => indexed.values(&condition.key).next().is_some(),
                    Some(values) => indexed
                        .values(&condition.key)
                        .any(|found| found.is_some_and(|found| values.iter().any(|value| value == found))),
                })
            })
    }
}

/// Which members of the entities to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<String>);

impl Fields {
    /// Reads the values of the parameter `fields`: dotted paths, separated by commas. Without any, all members are sent.
    pub fn parse<S: AsRef<str>>(parameters: &[S]) -> Self {
        Self(
            parameters
                .iter()
                .flat_map(|parameter| parameter.as_ref().split(','))
                .map(|field| field.trim().to_string())
                .filter(|field| !field.is_empty())
                .collect(),
        )
    }
    /// The chosen members of an entity.
    pub fn pick(&self, entity: &Value) -> Value {
        if self.0.is_empty() {
            return entity.clone();
        }
        let mut picked = Value::Object(Map::new());
        for field in &self.0 {
            copy(entity, &mut picked, field);
        }
        picked
    }
}

/// Copies the member at a dotted path; names may hold dots themselves, as those of annotations do.
fn copy(from: &Value, to: &mut Value, path: &str) {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return };
    if let Some(value) = from.get(path) {
        to.insert(path.to_string(), value.clone());
        return;
    }
    for (at, _) in path.match_indices('.') {
        let (name, rest) = (&path[..at], &path[at + 1..]);
        if let Some(child @ Value::Object(_)) = from.get(name) {
            let mut picked = to.get(name).cloned().unwrap_or_else(|| Value::Object(Map::new()));
            copy(child, &mut picked, rest);
            if picked.as_object().is_some_and(|picked| !picked.is_empty()) {
                to.insert(name.to_string(), picked);
            }
            return;
        }
    }
}

/// What to sort by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderField {
    /// A dotted path, lower case.
    field: String,
    descending: bool,
}

impl OrderField {
    /// Reads a value of `orderField` of `entities/by-query`: `metadata.name,asc`.
    ///
    /// # Errors
    /// `InputError`: no field, or another direction than `asc` and `desc`.
    pub fn parse(text: &str) -> Result<Self, ActionError> {
        let (field, direction) = text.split_once(',').unwrap_or((text, "asc"));
        Self::new(field, direction).ok_or_else(|| {
            ActionError::input(format!("Invalid order field '{text}', expected '<field>,<asc or desc>'"))
        })
    }
    /// Reads a value of `order` of `entities`: `asc:metadata.name`.
    ///
    /// # Errors
    /// As [`OrderField::parse`].
    pub fn parse_prefixed(text: &str) -> Result<Self, ActionError> {
        text.split_once(':').and_then(|(direction, field)| Self::new(field, direction)).ok_or_else(|| {
            ActionError::input(format!("Invalid order parameter \"{text}\", expected \"<asc or desc>:<field name>\""))
        })
    }
    fn new(field: &str, direction: &str) -> Option<Self> {
        let descending = match direction.trim() {
            "asc" => false,
            "desc" => true,
            _ => return None,
        };
        let field = field.trim().to_lowercase();
        (!field.is_empty()).then_some(Self { field, descending })
    }
    /// Entities without the field come last in either direction.
    fn compare(&self, a: &Indexed, b: &Indexed) -> Ordering {
        match (a.first(&self.field), b.first(&self.field)) {
            (Some(a), Some(b)) if self.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

/// A text to be found in some members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullText {
    term: String,
    fields: Vec<String>,
}

impl FullText {
    /// `fullTextFilterTerm` and `fullTextFilterFields` (dotted paths; without any, all members are looked at).
    pub fn new(term: &str, fields: &[String]) -> Self {
        let fields = fields.iter().flat_map(|field| field.split(',')).map(|field| field.trim().to_lowercase());
        Self { term: term.trim().to_lowercase(), fields: fields.filter(|field| !field.is_empty()).collect() }
    }
    fn matches(&self, indexed: &Indexed) -> bool {
        let contains = |value: Option<&str>| value.is_some_and(|value| value.contains(&self.term));
        if self.term.is_empty() {
            return true;
        }
        if self.fields.is_empty() {
            return indexed.search().any(|(_, value)| contains(value));
        }
        self.fields.iter().any(|field| indexed.values(field).any(contains))
    }
}

/// What to look for and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityQuery {
    /// Which entities.
    pub filter: EntityFilter,
    /// Sort keys, most significant first; ties and no keys at all: by reference.
    pub order: Vec<OrderField>,
    /// A text to find.
    pub full_text: Option<FullText>,
}

impl EntityQuery {
    pub(super) fn run<'a>(&self, entities: &'a [Indexed]) -> Vec<&'a Indexed> {
        let mut found: Vec<&Indexed> = entities
            .iter()
            .filter(|indexed| self.filter.matches(indexed))
            .filter(|indexed| self.full_text.as_ref().is_none_or(|text| text.matches(indexed)))
            .collect();
        if !self.order.is_empty() {
            // The entities come sorted by reference, and the sort is stable.
            found.sort_by(|a, b| {
                self.order
                    .iter()
                    .map(|order| order.compare(a, b))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            });
        }
        found
    }
}

/// Where a page begins, with the query it belongs to; opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The query of the first page.
    pub query: EntityQuery,
    /// How many entities come before the page.
    pub offset: usize,
}

impl Cursor {
    /// The cursor as clients see it.
    pub fn encode(&self) -> String {
        // A query is texts and lists, which always serialise.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
    /// Reads a cursor.
    ///
    /// # Errors
    /// `InputError`: the text is no cursor of this service.
    pub fn decode(text: &str) -> Result<Self, ActionError> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ActionError::input("Malformed cursor, could not be decoded"))
    }
}

/// A page of `entities/by-query`; serialises as the route answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityPage {
    /// The entities.
    pub items: Vec<Value>,
    /// How many match in all.
    pub total_items: usize,
    /// Cursors of the pages around this one.
    pub page_info: PageInfo,
}

/// Cursors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    /// Of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Of the page before; absent on the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_cursor: Option<String>,
}

/// A value of a member and how many entities have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facet {
    /// The value, as the entities write it.
    pub value: String,
    /// How many entities have it.
    pub count: usize,
}

/// Counts the values at a dotted path.
pub(super) fn facet(entities: &[&Indexed], path: &str) -> Vec<Facet> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for indexed in entities {
        let mut values = Vec::new();
        originals(&indexed.entity, path, &mut values);
        values.sort_unstable();
        values.dedup();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
    }
    counts.into_iter().map(|(value, count)| Facet { value, count }).collect()
}

/// The values at a path (names compared without case) as they were written.
fn originals(value: &Value, path: &str, values: &mut Vec<String>) {
    if let Some(kind) = path.strip_prefix("relations.").filter(|_| value.get("relations").is_some()) {
        for relation in value.get("relations").and_then(Value::as_array).into_iter().flatten() {
            if relation.get("type").and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(kind)) {
                values.extend(relation.get("targetRef").and_then(Value::as_str).map(String::from));
            }
        }
        return;
    }
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        if name.eq_ignore_ascii_case(path) {
            leaves(member, values);
        } else if path.len() > name.len()
            && path.is_char_boundary(name.len())
            && path[..name.len()].eq_ignore_ascii_case(name)
            && path.as_bytes()[name.len()] == b'.'
        {
            originals(member, &path[name.len() + 1..], values);
        }
    }
}

fn leaves(value: &Value, values: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, values)),
        Value::String(text) => values.push(text.clone()),
        Value::Number(number) => values.push(number.to_string()),
        Value::Bool(flag) => values.push(flag.to_string()),
        Value::Null | Value::Object(_) => {}
    }
}
