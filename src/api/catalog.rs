//! The embedded catalog's routes, a subset of those of `@backstage/plugin-catalog-backend`: what Backstage's frontend and
//! the scaffolder's clients use.

use std::{
    collections::BTreeMap,
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, http::StatusCode, web, web::Data};
use serde::Serialize;
use serde_json::Value;
use understudy_sdk::{Entity, EntityRef};
use utoipa::ToSchema;

use super::{
    ApiState,
    caller::Caller,
    error::{ApiError, ErrorBody},
    reply,
    request::{self, Place, Query},
};
use crate::catalog::{
    AddedLocation, EmbeddedCatalog, LocationView,
    query::{Cursor, EntityFilter, EntityQuery, Facet, Fields, FullText, OrderField},
};

/// Entities on a page of `entities/by-query` when no limit is asked for, as upstream.
const PAGE: usize = 20;

/// The embedded catalog; not found where a Backstage catalog is used.
pub(super) struct Embedded(Arc<EmbeddedCatalog>);

impl FromRequest for Embedded {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(http: &HttpRequest, _: &mut Payload) -> Self::Future {
        let embedded = http.app_data::<Data<ApiState>>().and_then(|state| state.embedded.clone());
        ready(
            embedded
                .map(Self)
                .ok_or_else(|| ApiError::not_found("This service uses the catalog of a Backstage backend")),
        )
    }
}

/// What `POST entities/by-refs` is given.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "documents the body, which is read member by member")]
pub(super) struct EntitiesByRefs {
    /// Entity references.
    entity_refs: Vec<String>,
    /// Dotted paths of the members to send; all when absent.
    fields: Option<Vec<String>>,
}

/// Entities, `null` where one does not exist.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntityItems {
    /// In the order of the references.
    #[schema(value_type = Vec<Option<Object>>)]
    items: Vec<Option<Entity>>,
}

/// A location to be added.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "documents the body, which is read member by member")]
pub(super) struct NewLocation {
    /// `url`.
    #[schema(example = "url")]
    r#type: String,
    /// The URL of a catalog file or template.
    target: String,
}

/// A registered location in the list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LocationItem {
    /// The location.
    data: LocationView,
}

/// What `POST refresh` is given.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "documents the body, which is read member by member")]
pub(super) struct Refresh {
    /// The entity whose location is to be read again.
    entity_ref: String,
}

/// A page of entities.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "documents the answer, which the catalog makes")]
pub(super) struct PageOfEntities {
    /// The entities.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Entity>,
    /// How many match in all.
    total_items: usize,
    /// `nextCursor` and `prevCursor`, each absent where there is no such page.
    #[schema(value_type = Object)]
    page_info: Value,
}

/// How often values occur.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Facets {
    /// Values and their counts by dotted path.
    #[schema(value_type = Object)]
    facets: BTreeMap<String, Vec<Facet>>,
}

/// An entity.
#[utoipa::path(
    get, path = "/api/catalog/entities/by-name/{kind}/{namespace}/{name}", operation_id = "getEntityByName", tag = "catalog",
    params(("kind" = String, Path), ("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = Object, description = "The entity"),
        (status = 404, body = ErrorBody, description = "No such entity"),
    ),
)]
pub(super) async fn entity_by_name(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let part = |name| request::segment(&http, name);
    Ok(reply::ok(&catalog.entity_by_name(&part("kind")?, &part("namespace")?, &part("name")?)?))
}

/// The entity with this `metadata.uid`.
#[utoipa::path(
    get, path = "/api/catalog/entities/by-uid/{uid}", operation_id = "getEntityByUid", tag = "catalog",
    params(("uid" = String, Path)),
    responses(
        (status = 200, body = Object, description = "The entity"),
        (status = 404, body = ErrorBody, description = "No such entity"),
    ),
)]
pub(super) async fn entity_by_uid(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Ok(reply::ok(&catalog.entity_by_uid(&request::segment(&http, "uid")?)?))
}

/// Entities by reference.
#[utoipa::path(
    post, path = "/api/catalog/entities/by-refs", operation_id = "getEntitiesByRefs", tag = "catalog",
    params(("filter" = Option<Vec<String>>, Query, description = "`key=value,key`, any of")),
    request_body = EntitiesByRefs,
    responses(
        (status = 200, body = EntityItems, description = "One item for each reference"),
        (status = 400, body = ErrorBody, description = "The body is wrong"),
    ),
)]
pub(super) async fn entities_by_refs(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::body(&http, payload, false).await?;
    let place = Place::body();
    let mut members = place.object(body, &["entityRefs"])?;
    let mut texts = |name: &str| {
        let place = place.at(name);
        let items = members.shift_remove(name).map_or(Ok(Vec::new()), |value| place.array(value))?;
        items.into_iter().enumerate().map(|(index, item)| place.at(index).string(item)).collect::<Result<Vec<_>, _>>()
    };
    let refs = texts("entityRefs")?;
    let fields = Fields::parse(&texts("fields")?);
    let filter = EntityFilter::parse(Query::parse(&http).all("filter"))?;
    Ok(reply::ok(&EntityItems { items: catalog.entities_by_refs(&refs, &filter, &fields) }))
}

/// All entities that match.
#[utoipa::path(
    get, path = "/api/catalog/entities", operation_id = "getEntities", tag = "catalog",
    params(
        ("filter" = Option<Vec<String>>, Query, description = "`key=value,key`, any of"),
        ("fields" = Option<Vec<String>>, Query, description = "Dotted paths of the members to send"),
        ("order" = Option<Vec<String>>, Query, description = "`asc:` or `desc:` followed by a dotted path"),
        ("limit" = Option<u64>, Query),
        ("offset" = Option<u64>, Query),
    ),
    responses(
        (status = 200, body = Vec<Object>, description = "The entities"),
        (status = 400, body = ErrorBody, description = "A parameter is wrong"),
    ),
)]
pub(super) async fn entities(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(&http);
    let order = query.all("order").iter().map(|text| OrderField::parse_prefixed(text)).collect::<Result<_, _>>()?;
    let filter = EntityFilter::parse(query.all("filter"))?;
    let fields = Fields::parse(query.all("fields"));
    let (limit, offset) = (count(&query, "limit")?, count(&query, "offset")?.unwrap_or(0));
    let wanted = EntityQuery { filter, order, full_text: None };
    Ok(reply::ok(&catalog.entities(&wanted, &fields, offset, limit)))
}

/// A page of the entities that match.
#[utoipa::path(
    get, path = "/api/catalog/entities/by-query", operation_id = "queryEntities", tag = "catalog",
    params(
        ("filter" = Option<Vec<String>>, Query, description = "`key=value,key`, any of"),
        ("fields" = Option<Vec<String>>, Query, description = "Dotted paths of the members to send"),
        ("orderField" = Option<Vec<String>>, Query, description = "A dotted path followed by `,asc` or `,desc`"),
        ("fullTextFilterTerm" = Option<String>, Query, description = "A text to be found"),
        ("fullTextFilterFields" = Option<Vec<String>>, Query, description = "Where to look for it"),
        ("limit" = Option<u64>, Query, description = "20 when absent"),
        ("offset" = Option<u64>, Query),
        ("cursor" = Option<String>, Query, description = "Of another page; takes the place of everything but fields and limit"),
    ),
    responses(
        (status = 200, body = PageOfEntities, description = "The page"),
        (status = 400, body = ErrorBody, description = "A parameter is wrong"),
    ),
)]
pub(super) async fn entities_by_query(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(&http);
    let cursor = match query.one("cursor") {
        Some(text) => Cursor::decode(text)?,
        None => Cursor {
            query: EntityQuery {
                filter: EntityFilter::parse(query.all("filter"))?,
                order: query.all("orderField").iter().map(|text| OrderField::parse(text)).collect::<Result<_, _>>()?,
                full_text: query
                    .one("fullTextFilterTerm")
                    .map(|term| FullText::new(term, query.all("fullTextFilterFields"))),
            },
            offset: count(&query, "offset")?.unwrap_or(0),
        },
    };
    let limit = count(&query, "limit")?.unwrap_or(PAGE);
    Ok(reply::ok(&catalog.page(&cursor, &Fields::parse(query.all("fields")), limit)))
}

/// How often values occur among the entities that match.
#[utoipa::path(
    get, path = "/api/catalog/entity-facets", operation_id = "getEntityFacets", tag = "catalog",
    params(
        ("facet" = Vec<String>, Query, description = "Dotted paths"),
        ("filter" = Option<Vec<String>>, Query, description = "`key=value,key`, any of"),
    ),
    responses(
        (status = 200, body = Facets, description = "Values and their counts"),
        (status = 400, body = ErrorBody, description = "No facet is asked for"),
    ),
)]
pub(super) async fn facets(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(&http);
    if query.all("facet").is_empty() {
        return Err(ApiError::input("Missing facet parameter"));
    }
    let filter = EntityFilter::parse(query.all("filter"))?;
    Ok(reply::ok(&Facets { facets: catalog.facets(&filter, query.all("facet")) }))
}

/// The registered locations.
#[utoipa::path(
    get, path = "/api/catalog/locations", operation_id = "getLocations", tag = "catalog",
    responses((status = 200, body = Vec<LocationItem>, description = "Oldest first")),
)]
pub(super) async fn locations(_caller: Caller, Embedded(catalog): Embedded) -> Result<HttpResponse, ApiError> {
    let items: Vec<_> = catalog.locations().await?.into_iter().map(|data| LocationItem { data }).collect();
    Ok(reply::ok(&items))
}

/// A registered location.
#[utoipa::path(
    get, path = "/api/catalog/locations/{id}", operation_id = "getLocation", tag = "catalog",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = LocationView, description = "The location"),
        (status = 404, body = ErrorBody, description = "No such location"),
    ),
)]
pub(super) async fn location(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Ok(reply::ok(&catalog.location(&request::segment(&http, "id")?).await?))
}

/// The registered location that an entity came from.
#[utoipa::path(
    get, path = "/api/catalog/locations/by-entity/{kind}/{namespace}/{name}", operation_id = "getLocationByEntity",
    tag = "catalog",
    params(("kind" = String, Path), ("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = LocationView, description = "The location"),
        (status = 404, body = ErrorBody, description = "No such entity, or it came from the configuration"),
    ),
)]
pub(super) async fn location_by_entity(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let part = |name| request::segment(&http, name);
    let entity_ref = EntityRef { kind: part("kind")?, namespace: part("namespace")?, name: part("name")? };
    Ok(reply::ok(&catalog.location_of_entity(&entity_ref).await?))
}

/// Registers a location with everything found there, or nothing.
#[utoipa::path(
    post, path = "/api/catalog/locations", operation_id = "createLocation", tag = "catalog",
    params(("dryRun" = Option<bool>, Query, description = "Only say what would be found")),
    request_body = NewLocation,
    responses(
        (status = 201, body = AddedLocation, description = "The location and its entities"),
        (status = 400, body = ErrorBody, description = "It can't be read, or holds something invalid"),
        (status = 409, body = ErrorBody, description = "It is registered already"),
    ),
)]
pub(super) async fn add_location(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::body(&http, payload, false).await?;
    let place = Place::body();
    let mut members = place.object(body, &["type", "target"])?;
    let mut text = |name: &str| place.at(name).string(members.shift_remove(name).unwrap_or(Value::Null));
    let (kind, target) = (text("type")?, text("target")?);
    let dry_run = Query::parse(&http).one("dryRun").is_some_and(is_yes);
    Ok(reply::json(StatusCode::CREATED, &catalog.register(&kind, &target, dry_run).await?))
}

/// Removes a location and what came from it.
#[utoipa::path(
    delete, path = "/api/catalog/locations/{id}", operation_id = "deleteLocation", tag = "catalog",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, body = ErrorBody, description = "No such location"),
    ),
)]
pub(super) async fn remove_location(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    catalog.remove_location(&request::segment(&http, "id")?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Reads the location of an entity again.
#[utoipa::path(
    post, path = "/api/catalog/refresh", operation_id = "refreshEntity", tag = "catalog", request_body = Refresh,
    responses(
        (status = 200, description = "Read and taken over"),
        (status = 400, body = ErrorBody, description = "Something there is invalid; what was known before stays"),
        (status = 404, body = ErrorBody, description = "No such entity"),
    ),
)]
pub(super) async fn refresh(
    _caller: Caller,
    Embedded(catalog): Embedded,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::body(&http, payload, false).await?;
    let place = Place::body();
    let mut members = place.object(body, &["entityRef"])?;
    let entity_ref = place.at("entityRef").string(members.shift_remove("entityRef").unwrap_or(Value::Null))?;
    catalog.refresh(&entity_ref).await?;
    Ok(HttpResponse::Ok().finish())
}

fn count(query: &Query, name: &str) -> Result<Option<usize>, ApiError> {
    // Saturates: there are never as many.
    Ok(query.integer(name, Some(0))?.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
}

/// The texts that npm `yn` takes for yes.
fn is_yes(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "y" | "yes" | "true" | "1" | "on")
}
