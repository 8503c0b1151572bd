//! The catalog as actions see it.

use std::fmt;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::ActionError;

/// An entity as JSON: `apiVersion`, `kind`, `metadata`, `spec`, `relations`.
pub type Entity = Value;

/// A full entity reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityRef {
    /// E.g. `component`; case as given.
    pub kind: String,
    /// E.g. `default`.
    pub namespace: String,
    /// The entity's name.
    pub name: String,
}

impl EntityRef {
    /// Parses `[kind:][namespace/]name` as `parseEntityRef` of `@backstage/catalog-model` 1.10.1 does: the first `:` ends
    /// the kind unless a `/` comes before it, the first `/` after that ends the namespace.
    ///
    /// # Errors
    /// The texts are upstream's: `Entity reference must not be empty` (`Error`), `Entity reference "…" was not on the
    /// form [<kind>:][<namespace>/]<name>` (`TypeError`), and `… had missing or empty kind …` (`Error`) where neither
    /// the reference nor the default gives a kind.
    pub fn parse(text: &str, default_kind: Option<&str>, default_namespace: Option<&str>) -> Result<Self, ActionError> {
        if text.is_empty() {
            return Err(ActionError::failed("Entity reference must not be empty"));
        }
        let malformed = || {
            ActionError::new(
                crate::error::ErrorName::Other("TypeError".into()),
                format!("Entity reference \"{text}\" was not on the form [<kind>:][<namespace>/]<name>"),
            )
        };
        let colon = text.find(':');
        let mut slash = text.find('/');
        let colon = colon.filter(|colon| slash.is_none_or(|slash| slash > *colon));
        if let Some(colon) = colon {
            slash = text[colon + 1..].find('/').map(|at| at + colon + 1);
        }
        let kind = colon.map(|colon| &text[..colon]);
        let rest_from = colon.map_or(0, |colon| colon + 1);
        let (namespace, name) = match slash {
            Some(slash) => (Some(&text[rest_from..slash]), &text[slash + 1..]),
            None => (None, &text[rest_from..]),
        };
        if kind == Some("") || namespace == Some("") || name.is_empty() {
            return Err(malformed());
        }
        let Some(kind) = kind.or(default_kind).filter(|kind| !kind.is_empty()) else {
            return Err(ActionError::failed(format!(
                "Entity reference \"{text}\" had missing or empty kind (e.g. did not start with \"component:\" or similar)"
            )));
        };
        Ok(Self {
            kind: kind.to_string(),
            namespace: namespace.or(default_namespace).unwrap_or("default").to_string(),
            name: name.to_string(),
        })
    }
    /// The reference of an entity document; `None` when it lacks a kind or name.
    pub fn of(entity: &Entity) -> Option<Self> {
        Some(Self {
            kind: entity.get("kind")?.as_str()?.to_string(),
            namespace: entity.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default").to_string(),
            name: entity.pointer("/metadata/name")?.as_str()?.to_string(),
        })
    }
    /// `kind:namespace/name`, lower case (upstream's `stringifyEntityRef`).
    pub fn canonical(&self) -> String {
        self.to_string().to_lowercase()
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind, self.namespace, self.name)
    }
}

/// What the catalog says of a location that was added or tried.
#[derive(Debug, Clone)]
pub struct LocationAnswer {
    /// The entities found there.
    pub entities: Vec<Entity>,
    /// Whether the location was known already (dry run only).
    pub exists: Option<bool>,
}

/// The catalog, with the credentials of the task's initiator.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// The entity, or `None`.
    ///
    /// # Errors
    /// The catalog can't be reached or refuses.
    async fn entity_by_ref(&self, entity_ref: &EntityRef) -> Result<Option<Entity>, ActionError>;
    /// One item for each reference (canonical strings), `None` where it doesn't exist.
    ///
    /// # Errors
    /// As [`Catalog::entity_by_ref`].
    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError>;
    /// Adds a location (`type` is `url` or `file`), or only tries it.
    ///
    /// # Errors
    /// The location can't be read, holds invalid entities, or exists already (`ConflictError`).
    async fn add_location(&self, kind: &str, target: &str, dry_run: bool) -> Result<LocationAnswer, ActionError>;
}
