//! The entities in memory, ready to be asked.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    location::Location,
    relations::{self, Relations},
};
use crate::store::StoredEntity;

/// An entity and what is asked of it.
#[derive(Debug)]
pub(super) struct Indexed {
    /// The entity as it is sent.
    pub(super) entity: Value,
    pub(super) entity_ref: String,
    /// The file it came from.
    pub(super) location: String,
    /// The registered location that led there.
    pub(super) origin: String,
    /// Flattened members: dotted path and value, both lower case; no value for objects, lists and `null`.
    search: Vec<(String, Option<String>)>,
}

impl Indexed {
    /// The values at a path (lower case).
    pub(super) fn values<'a>(&'a self, path: &'a str) -> impl Iterator<Item = Option<&'a str>> {
        self.search.iter().filter(move |(key, _)| key == path).map(|(_, value)| value.as_deref())
    }
    /// The first value at a path, to sort by.
    pub(super) fn first(&self, path: &str) -> Option<&str> {
        self.search.iter().find(|(key, _)| key == path).and_then(|(_, value)| value.as_deref())
    }
    /// All paths with their values.
    pub(super) fn search(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.search.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }
}

/// All entities, by reference in ascending order.
#[derive(Debug, Default)]
pub(super) struct Index {
    entities: Vec<Indexed>,
    by_ref: HashMap<String, usize>,
}

impl Index {
    /// Of two entities with the same reference the first counts.
    pub(super) fn new(stored: Vec<StoredEntity>) -> Self {
        let mut relations = Relations::new();
        let mut entities: Vec<StoredEntity> = Vec::with_capacity(stored.len());
        let mut seen = std::collections::HashSet::new();
        for entity in stored {
            if seen.insert(entity.entity_ref.clone()) {
                relations::collect(&mut relations, &entity.entity_ref, &entity.entity);
                entities.push(entity);
            }
        }
        entities.sort_by(|a, b| a.entity_ref.cmp(&b.entity_ref));
        let by_ref = entities.iter().enumerate().map(|(at, entity)| (entity.entity_ref.clone(), at)).collect();
        let entities = entities
            .into_iter()
            .map(|StoredEntity { entity_ref, location, origin, mut entity }| {
                let related = relations::of(&relations, &entity_ref);
                if let Value::Object(members) = &mut entity {
                    members.insert("relations".to_string(), related);
                }
                Indexed { search: flatten(&entity), entity, entity_ref, location, origin }
            })
            .collect();
        Self { entities, by_ref }
    }

    pub(super) fn all(&self) -> &[Indexed] {
        &self.entities
    }
    /// The entity with this canonical reference.
    pub(super) fn get(&self, entity_ref: &str) -> Option<&Indexed> {
        self.by_ref.get(entity_ref).map(|at| &self.entities[*at])
    }
    /// The entities an origin led to.
    pub(super) fn of_origin<'a>(&'a self, origin: &'a Location) -> impl Iterator<Item = &'a Indexed> {
        let origin = origin.to_string();
        self.entities.iter().filter(move |indexed| indexed.origin == origin)
    }
}

/// The search table's rows (`buildEntitySearch` of `@backstage/plugin-catalog-backend`).
fn flatten(entity: &Value) -> Vec<(String, Option<String>)> {
    let mut rows = Vec::new();
    if let Value::Object(members) = entity {
        for (name, value) in members {
            if name != "relations" {
                visit(&mut rows, name, value);
            }
        }
    }
    for relation in entity.get("relations").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(kind), Some(target)) =
            (relation.get("type").and_then(Value::as_str), relation.get("targetRef").and_then(Value::as_str))
        {
            rows.push((format!("relations.{kind}").to_lowercase(), Some(target.to_lowercase())));
        }
    }
    rows
}

fn visit(rows: &mut Vec<(String, Option<String>)>, path: &str, value: &Value) {
    let key = path.to_lowercase();
    match value {
        Value::Null => rows.push((key, None)),
        Value::Bool(flag) => rows.push((key, Some(flag.to_string()))),
        Value::Number(number) => rows.push((key, Some(number.to_string()))),
        Value::String(text) => rows.push((key, Some(text.to_lowercase()))),
        Value::Array(items) => {
            for item in items {
                visit(rows, path, item);
                if let Value::String(text) = item {
                    rows.push((format!("{path}.{text}").to_lowercase(), Some("true".to_string())));
                }
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                visit(rows, &format!("{path}.{name}"), member);
            }
        }
    }
}
