//! The catalog that lives in our own database.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use understudy_scm::Scm;
use understudy_sdk::{ActionError, Catalog, Entity, EntityRef, LocationAnswer};

use super::{
    annotate::annotate,
    discover::{Discovery, Found, Item, Problem, discover},
    index::{Index, Indexed},
    location::{Location, LocationKind},
    query::{Cursor, EntityFilter, EntityPage, EntityQuery, Facet, Fields, PageInfo, facet},
};
use crate::{
    config::LocationConfig,
    form_schema,
    store::{CatalogStore, StoreError, StoredEntity, StoredLocation},
};

/// A registered location as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocationView {
    /// UUID; in a dry run `<type>:<target>`.
    pub id: String,
    /// `url`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The URL.
    pub target: String,
    /// The reference of the `Location` entity Backstage would make.
    pub entity_ref: String,
    /// What was wrong when the location was last read; absent when nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What `POST /api/catalog/locations` answers.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddedLocation {
    /// The location.
    pub location: LocationView,
    /// The entities found there; in a dry run with the `Location` entities that led to them, in Backstage's order.
    #[schema(value_type = Vec<Object>)]
    pub entities: Vec<Entity>,
    /// Whether the location was registered before; in a dry run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

/// Templates and other entities, registered by URL or named in the configuration. Cheap to clone.
///
/// Reading answers from memory. What is added by URL is taken whole or refused; `file` locations come from
/// `catalog.locations` of the configuration only, because whoever may register a location must not read the machine's
/// files.
#[derive(Clone)]
pub struct EmbeddedCatalog(Arc<Inner>);

struct Inner {
    store: Arc<dyn CatalogStore>,
    scm: Scm,
    configured: Vec<Location>,
    index: RwLock<Arc<Index>>,
    problems: Mutex<BTreeMap<Location, Vec<Problem>>>,
    /// Held while the entities change.
    changing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for EmbeddedCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedCatalog").field("entities", &self.index().all().len()).finish_non_exhaustive()
    }
}

impl EmbeddedCatalog {
    /// Loads what is stored. Nothing is read from the locations yet: see [`EmbeddedCatalog::refresh_configured`].
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn open(
        store: Arc<dyn CatalogStore>,
        scm: Scm,
        configured: &[LocationConfig],
    ) -> Result<Self, StoreError> {
        let configured: Vec<Location> = configured
            .iter()
            .filter_map(|location| {
                let kind = LocationKind::parse(&location.kind)?;
                let target = match kind {
                    LocationKind::File => super::discover::normal(location.target.as_str().into()),
                    LocationKind::Url => location.target.clone(),
                };
                Some(Location { kind, target })
            })
            .collect();
        // What a location brought that is no longer in the configuration goes with it.
        let registered = store.locations().await?;
        let known: HashSet<String> = registered
            .iter()
            .map(|location| format!("{}:{}", location.kind, location.target))
            .chain(configured.iter().map(ToString::to_string))
            .collect();
        let stored = store.entities().await?;
        let gone: HashSet<&str> =
            stored.iter().map(|entity| entity.origin.as_str()).filter(|origin| !known.contains(*origin)).collect();
        for origin in &gone {
            store.replace_origin(origin, &[]).await?;
        }
        let gone: HashSet<String> = gone.into_iter().map(String::from).collect();
        let index = Index::new(stored.into_iter().filter(|entity| !gone.contains(&entity.origin)).collect());
        Ok(Self(Arc::new(Inner {
            store,
            scm,
            configured,
            index: RwLock::new(Arc::new(index)),
            problems: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        })))
    }

    /// Reads the locations of the configuration. What can't be read is logged and kept in [`EmbeddedCatalog::problems`];
    /// what it brought before stays.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn refresh_configured(&self) -> Result<(), StoreError> {
        for location in &self.0.configured {
            self.refresh_location(location).await?;
        }
        Ok(())
    }

    /// Reads all locations again, registered ones included.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn refresh_all(&self) -> Result<(), StoreError> {
        self.refresh_configured().await?;
        for location in self.0.store.locations().await? {
            if let Some(kind) = LocationKind::parse(&location.kind) {
                self.refresh_location(&Location { kind, target: location.target }).await?;
            }
        }
        Ok(())
    }

    /// What was wrong when the locations were last read, by registered or configured location.
    pub fn problems(&self) -> Vec<(Location, Vec<Problem>)> {
        self.problems_map().iter().map(|(location, problems)| (location.clone(), problems.clone())).collect()
    }

    /// Adds a location, or only tries it.
    ///
    /// # Errors
    /// `InputError` when the type isn't `url`, the location can't be read, or something there is no valid entity;
    /// `ConflictError` when it is registered already or holds a template that another location provides.
    pub async fn register(&self, kind: &str, target: &str, dry_run: bool) -> Result<AddedLocation, ActionError> {
        let location = checked_location(kind, target)?;
        let exists = self.is_known(&location).await.map_err(store_error)?;
        let conflict = || ActionError::conflict(format!("Location {location} already exists"));
        if exists && !dry_run {
            return Err(conflict());
        }
        let discovery = discover(&self.0.scm, &location).await;
        refuse(&discovery.problems)?;
        if dry_run {
            let entities = self.tried(&discovery, &location);
            return Ok(AddedLocation { location: view(None, &location, Vec::new()), entities, exists: Some(exists) });
        }
        let _changing = self.0.changing.lock().await;
        let index = self.index();
        let (found, shadowed) = without_others(&index, &discovery, &location);
        let template = |problem: &&(Problem, String)| problem.1.starts_with("template:");
        if let Some((problem, _)) = shadowed.iter().find(template) {
            return Err(ActionError::conflict(problem.message.clone()));
        }
        let stored = self.stored(&index, found, &location);
        let id = uuid::Uuid::new_v4().to_string();
        let row = StoredLocation {
            id: id.clone(),
            kind: location.kind.as_str().to_string(),
            target: location.target.clone(),
        };
        self.0.store.put_location(&row, &stored).await.map_err(store_error)?;
        warn_of_forms(&stored);
        self.reload().await.map_err(store_error)?;
        let problems = shadowed.into_iter().map(|(problem, _)| problem).collect();
        self.remember(&location, problems);
        let index = self.index();
        let mut entities: Vec<Entity> = Vec::new();
        for entity in &stored {
            entities.extend(index.get(&entity.entity_ref).map(|indexed| indexed.entity.clone()));
        }
        let problems = self.messages(&location);
        Ok(AddedLocation { location: view(Some(id), &location, problems), entities, exists: None })
    }

    /// The registered locations, oldest first; those of the configuration are not among them.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn locations(&self) -> Result<Vec<LocationView>, ActionError> {
        let registered = self.0.store.locations().await.map_err(store_error)?;
        Ok(registered.iter().filter_map(|row| self.view_of(row)).collect())
    }

    /// A registered location.
    ///
    /// # Errors
    /// `NotFoundError`.
    pub async fn location(&self, id: &str) -> Result<LocationView, ActionError> {
        let registered = self.0.store.locations().await.map_err(store_error)?;
        registered
            .iter()
            .find(|row| row.id == id)
            .and_then(|row| self.view_of(row))
            .ok_or_else(|| ActionError::not_found(format!("Found no location with ID {id}")))
    }

    /// Removes a location and what came from it.
    ///
    /// # Errors
    /// `NotFoundError`.
    pub async fn remove_location(&self, id: &str) -> Result<(), ActionError> {
        let location = self.location(id).await?;
        let _changing = self.0.changing.lock().await;
        if !self.0.store.remove_location(id).await.map_err(store_error)? {
            return Err(ActionError::not_found(format!("Found no location with ID {id}")));
        }
        if let Some(kind) = LocationKind::parse(&location.kind) {
            self.problems_map().remove(&Location { kind, target: location.target });
        }
        self.reload().await.map_err(store_error)
    }

    /// The registered location an entity came from.
    ///
    /// # Errors
    /// `NotFoundError`: no such entity, or it came from the configuration.
    pub async fn location_of_entity(&self, entity_ref: &EntityRef) -> Result<LocationView, ActionError> {
        let canonical = entity_ref.canonical();
        let missing = || ActionError::not_found(format!("found no location for entity {canonical}"));
        let origin = self.index().get(&canonical).map(|indexed| indexed.origin.clone()).ok_or_else(missing)?;
        let registered = self.0.store.locations().await.map_err(store_error)?;
        registered
            .iter()
            .find(|row| format!("{}:{}", row.kind, row.target) == origin)
            .and_then(|row| self.view_of(row))
            .ok_or_else(missing)
    }

    /// The entity, or upstream's `NotFoundError`.
    ///
    /// # Errors
    /// `NotFoundError`.
    pub fn entity_by_name(&self, kind: &str, namespace: &str, name: &str) -> Result<Entity, ActionError> {
        let entity_ref = EntityRef { kind: kind.into(), namespace: namespace.into(), name: name.into() };
        self.index().get(&entity_ref.canonical()).map(|indexed| indexed.entity.clone()).ok_or_else(|| {
            ActionError::not_found(format!(
                "No entity named '{name}' found, with kind '{kind}' in namespace '{namespace}'"
            ))
        })
    }

    /// The entity with this `metadata.uid`.
    ///
    /// # Errors
    /// `NotFoundError`.
    pub fn entity_by_uid(&self, uid: &str) -> Result<Entity, ActionError> {
        let index = self.index();
        let found = index
            .all()
            .iter()
            .find(|indexed| indexed.entity.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid));
        found
            .map(|indexed| indexed.entity.clone())
            .ok_or_else(|| ActionError::not_found(format!("No entity with uid {uid}")))
    }

    /// One item for each reference: `None` where there is no such entity, or where the filter doesn't hold.
    pub fn entities_by_refs(&self, refs: &[String], filter: &EntityFilter, fields: &Fields) -> Vec<Option<Entity>> {
        let index = self.index();
        refs.iter()
            .map(|text| {
                let entity_ref = EntityRef::parse(text, None, None).ok()?;
                let indexed = index.get(&entity_ref.canonical())?;
                filter.matches(indexed).then(|| fields.pick(&indexed.entity))
            })
            .collect()
    }

    /// The entities that match, for `GET entities`.
    pub fn entities(&self, query: &EntityQuery, fields: &Fields, offset: usize, limit: Option<usize>) -> Vec<Entity> {
        let index = self.index();
        query
            .run(index.all())
            .into_iter()
            .skip(offset)
            .take(limit.unwrap_or(usize::MAX))
            .map(|indexed| fields.pick(&indexed.entity))
            .collect()
    }

    /// A page of the entities that match, for `GET entities/by-query`. Upstream's default limit is 20.
    pub fn page(&self, cursor: &Cursor, fields: &Fields, limit: usize) -> EntityPage {
        let index = self.index();
        let found = cursor.query.run(index.all());
        let at = |offset: usize| Cursor { query: cursor.query.clone(), offset }.encode();
        let end = cursor.offset.saturating_add(limit);
        EntityPage {
            items: found.iter().skip(cursor.offset).take(limit).map(|indexed| fields.pick(&indexed.entity)).collect(),
            total_items: found.len(),
            page_info: PageInfo {
                next_cursor: (limit > 0 && end < found.len()).then(|| at(end)),
                prev_cursor: (limit > 0 && cursor.offset > 0).then(|| at(cursor.offset.saturating_sub(limit))),
            },
        }
    }

    /// How often values occur at dotted paths, for `GET entity-facets`.
    pub fn facets(&self, filter: &EntityFilter, names: &[String]) -> BTreeMap<String, Vec<Facet>> {
        let index = self.index();
        let query = EntityQuery { filter: filter.clone(), ..EntityQuery::default() };
        let found = query.run(index.all());
        names.iter().map(|name| (name.clone(), facet(&found, name))).collect()
    }

    /// Reads the location again that an entity (or its `Location` entity) came from.
    ///
    /// # Errors
    /// `NotFoundError`: no such entity; `InputError`: something there can't be used any more, what it brought before stays.
    pub async fn refresh(&self, entity_ref: &str) -> Result<(), ActionError> {
        let canonical = EntityRef::parse(entity_ref, None, None)?.canonical();
        let origin = self.index().get(&canonical).and_then(|indexed| Location::parse(&indexed.origin));
        let origin = match origin {
            Some(origin) => Some(origin),
            None => {
                let registered = self.0.store.locations().await.map_err(store_error)?;
                let rows = registered.iter().filter_map(|row| {
                    Some(Location { kind: LocationKind::parse(&row.kind)?, target: row.target.clone() })
                });
                self.0.configured.iter().cloned().chain(rows).find(|location| location.entity_ref() == canonical)
            }
        };
        let origin = origin.ok_or_else(|| ActionError::not_found(format!("Entity {canonical} not found")))?;
        let problems = self.refresh_location(&origin).await.map_err(store_error)?;
        refuse(&problems)
    }

    /// Reads a location again. Files that can't be used keep what they brought before.
    async fn refresh_location(&self, origin: &Location) -> Result<Vec<Problem>, StoreError> {
        let discovery = discover(&self.0.scm, origin).await;
        let _changing = self.0.changing.lock().await;
        if !self.is_known(origin).await? {
            // It was removed while it was read: what was found must not outlive it.
            return Ok(Vec::new());
        }
        let index = self.index();
        let (found, shadowed) = without_others(&index, &discovery, origin);
        let read: HashSet<String> = discovery.entities().map(|found| found.location.to_string()).collect();
        let mut stored = self.stored(&index, found, origin);
        let mut problems = discovery.problems;
        if !problems.is_empty() {
            let refs: HashSet<String> = stored.iter().map(|entity| entity.entity_ref.clone()).collect();
            let kept = index
                .of_origin(origin)
                .filter(|indexed| !read.contains(&indexed.location) && !refs.contains(&indexed.entity_ref));
            stored.extend(kept.map(as_stored));
        }
        problems.extend(shadowed.into_iter().map(|(problem, _)| problem));
        for problem in &problems {
            tracing::warn!(location = %origin, problem = %problem.message, "a catalog location can't be used as it is");
        }
        // Most of the time nothing has changed, and there is nothing to be written: with hundreds of locations that would be most
        // of the start.
        if !is_stored(&index, origin, &stored) {
            self.0.store.replace_origin(&origin.to_string(), &stored).await?;
            self.reload().await?;
        }
        warn_of_forms(&stored);
        self.remember(origin, problems.clone());
        Ok(problems)
    }

    /// Whether a location is configured or registered.
    async fn is_known(&self, location: &Location) -> Result<bool, StoreError> {
        Ok(self.0.configured.contains(location)
            || self.0.store.locations().await?.iter().any(|row| is_at(row, location)))
    }

    /// The entities of a dry run.
    fn tried(&self, discovery: &Discovery, origin: &Location) -> Vec<Entity> {
        let visited = discovery.items.iter().map(|item| match item {
            Item::Visited { location, parent } => location.generated_entity(parent, origin),
            Item::Entity(found) => {
                let mut entity = annotate(&self.0.scm, &found.entity, &found.location, origin, "");
                if let Some(Value::Object(metadata)) = entity.get_mut("metadata") {
                    metadata.shift_remove("uid");
                    metadata.shift_remove("etag");
                }
                entity
            }
        });
        visited.collect()
    }

    fn stored(&self, index: &Index, found: Vec<&Found>, origin: &Location) -> Vec<StoredEntity> {
        found
            .into_iter()
            .map(|found| {
                let known = index.get(&found.entity_ref).and_then(|indexed| indexed.entity.pointer("/metadata/uid"));
                let uid = known.and_then(Value::as_str).map_or_else(|| uuid::Uuid::new_v4().to_string(), String::from);
                StoredEntity {
                    entity_ref: found.entity_ref.clone(),
                    location: found.location.to_string(),
                    origin: origin.to_string(),
                    entity: annotate(&self.0.scm, &found.entity, &found.location, origin, &uid),
                }
            })
            .collect()
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.0.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads again what is stored.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let index = Arc::new(Index::new(self.0.store.entities().await?));
        *self.0.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        Ok(())
    }

    fn problems_map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Location, Vec<Problem>>> {
        self.0.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, location: &Location, problems: Vec<Problem>) {
        let mut map = self.problems_map();
        if problems.is_empty() {
            map.remove(location);
        } else {
            map.insert(location.clone(), problems);
        }
    }

    fn messages(&self, location: &Location) -> Vec<String> {
        let map = self.problems_map();
        map.get(location).into_iter().flatten().map(|problem| problem.message.clone()).collect()
    }

    fn view_of(&self, row: &StoredLocation) -> Option<LocationView> {
        let location = Location { kind: LocationKind::parse(&row.kind)?, target: row.target.clone() };
        let problems = self.messages(&location);
        Some(view(Some(row.id.clone()), &location, problems))
    }
}

#[async_trait]
impl Catalog for EmbeddedCatalog {
    async fn entity_by_ref(&self, entity_ref: &EntityRef) -> Result<Option<Entity>, ActionError> {
        Ok(self.index().get(&entity_ref.canonical()).map(|indexed| indexed.entity.clone()))
    }

    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        Ok(Self::entities_by_refs(self, refs, &EntityFilter::default(), &Fields::default()))
    }

    async fn add_location(&self, kind: &str, target: &str, dry_run: bool) -> Result<LocationAnswer, ActionError> {
        let added = self.register(kind, target, dry_run).await?;
        Ok(LocationAnswer { entities: added.entities, exists: added.exists })
    }
}

fn checked_location(kind: &str, target: &str) -> Result<Location, ActionError> {
    if kind != "url" {
        return Err(ActionError::input(format!(
            "Registered locations must be of an allowed type [\"url\"], not \"{kind}\"; files of this machine are read \
             from catalog.locations of the configuration only"
        )));
    }
    let target = target.trim();
    match url::Url::parse(target) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Location::url(target)),
        _ => Err(ActionError::input(format!("The target \"{target}\" is no http or https URL"))),
    }
}

/// One error of all problems.
fn refuse(problems: &[Problem]) -> Result<(), ActionError> {
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    Err(ActionError::input(messages.join("; ")))
}

/// The entities that no other location provides, and for the others the problem and their reference.
fn without_others<'a>(
    index: &Index,
    discovery: &'a Discovery,
    origin: &Location,
) -> (Vec<&'a Found>, Vec<(Problem, String)>) {
    let own = origin.to_string();
    let mut found = Vec::new();
    let mut shadowed: Vec<(Problem, String)> = Vec::new();
    for entity in discovery.entities() {
        match index.get(&entity.entity_ref).filter(|indexed| indexed.origin != own) {
            None => found.push(entity),
            Some(other) => {
                let message = format!(
                    "{}: {} is provided by {} already, registered as {}",
                    entity.location.target, entity.entity_ref, other.location, other.origin
                );
                shadowed.push((Problem { location: entity.location.clone(), message }, entity.entity_ref.clone()));
            }
        }
    }
    (found, shadowed)
}

fn warn_of_forms(entities: &[StoredEntity]) {
    for entity in entities {
        form_schema::warn(&entity.entity_ref, &entity.location, &entity.entity);
    }
}

/// An entity as it is stored: what it is related to is worked out from all of them.
fn as_stored(indexed: &Indexed) -> StoredEntity {
    StoredEntity {
        entity_ref: indexed.entity_ref.clone(),
        location: indexed.location.clone(),
        origin: indexed.origin.clone(),
        entity: without_relations(&indexed.entity),
    }
}

/// Whether these are the very entities of an origin that are known already.
fn is_stored(index: &Index, origin: &Location, entities: &[StoredEntity]) -> bool {
    let known: HashMap<String, StoredEntity> =
        index.of_origin(origin).map(as_stored).map(|entity| (entity.entity_ref.clone(), entity)).collect();
    known.len() == entities.len() && entities.iter().all(|entity| known.get(&entity.entity_ref) == Some(entity))
}

fn without_relations(entity: &Value) -> Value {
    let mut entity = entity.clone();
    if let Value::Object(members) = &mut entity {
        members.shift_remove("relations");
    }
    entity
}

fn is_at(row: &StoredLocation, location: &Location) -> bool {
    row.kind == location.kind.as_str() && row.target == location.target
}

fn view(id: Option<String>, location: &Location, problems: Vec<String>) -> LocationView {
    LocationView {
        id: id.unwrap_or_else(|| location.to_string()),
        kind: location.kind.as_str().to_string(),
        target: location.target.clone(),
        entity_ref: location.entity_ref(),
        problems,
    }
}

fn store_error(error: StoreError) -> ActionError {
    match error {
        StoreError::Conflict(message) => ActionError::conflict(message),
        other => ActionError::failed(other.to_string()).with_source(other),
    }
}
