//! The HTTP API: thin handlers, one file a resource. Each parses, calls the engine or the catalog, and answers.
//!
//! Routes, answers and errors are those of `@backstage/plugin-scaffolder-backend` 4.2.0, so that Backstage's frontend and
//! other clients don't notice the difference.

mod actions;
mod audited;
mod autocomplete;
mod barrier;
mod caller;
mod catalog;
mod cookie;
mod dry_run;
mod edge;
mod error;
mod events;
mod extensions;
pub(crate) mod form;
mod health;
mod json_syntax;
pub mod openapi;
mod permissions;
mod registry;
mod reply;
mod request;
mod scheduler;
mod tasks;
mod templates;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use actix_web::{
    Handler, HttpResponse, Resource, Responder, Route, guard,
    http::{Method, header},
    web::{self, ServiceConfig},
};
use serde_json::Value;
use understudy_sdk::{Catalog, Registry};
use url::Url;

pub use actions::ActionItem;
pub use edge::{ConnectionGuard, Edge, Lifecycle, Phase, edge};
pub use error::ApiError;

use self::caller::Caller;
use crate::{
    audit::Auditor,
    auth::Auth,
    catalog::{CatalogFactory, EmbeddedCatalog},
    config::ActionsConfig,
    permission::Permissions,
    store::TaskStore,
    tasks::TaskService,
};

/// What an API is made of.
pub struct ApiParts {
    /// The engine.
    pub tasks: TaskService,
    /// The actions templates can use.
    pub actions: Registry,
    /// Where templates come from, as somebody sees it.
    pub catalog: CatalogFactory,
    /// Our own catalog, where it is in use; its routes answer only then.
    pub embedded: Option<Arc<EmbeddedCatalog>>,
    /// Who asks.
    pub auth: Auth,
    /// What they may do.
    pub permissions: Permissions,
    /// Writes who did what.
    pub auditor: Auditor,
    /// `backend.actions`
    pub offered_actions: ActionsConfig,
    /// The URL below which browsers reach this plugin.
    pub external_url: String,
    /// The database, asked whether it answers.
    pub store: Arc<dyn TaskStore>,
    /// Where the service is between start and end.
    pub lifecycle: Lifecycle,
}

/// What the handlers work with.
pub struct ApiState {
    tasks: TaskService,
    actions: Registry,
    /// These as `GET /v2/actions` answers.
    listed: actions::Listed,
    catalog: CatalogFactory,
    embedded: Option<Arc<EmbeddedCatalog>>,
    auth: Auth,
    permissions: Permissions,
    auditor: Auditor,
    offered_actions: ActionsConfig,
    external_url: Option<Url>,
    store: Arc<dyn TaskStore>,
    /// What the template language has beyond its own.
    extensions: Value,
    lifecycle: Lifecycle,
}

impl ApiState {
    /// The state of an API.
    pub fn new(parts: ApiParts) -> Self {
        Self {
            extensions: extensions::of(parts.tasks.templating().language()),
            listed: actions::Listed::of(&parts.actions),
            tasks: parts.tasks,
            actions: parts.actions,
            catalog: parts.catalog,
            embedded: parts.embedded,
            auth: parts.auth,
            permissions: parts.permissions,
            auditor: parts.auditor,
            offered_actions: parts.offered_actions,
            external_url: Url::parse(&parts.external_url).ok(),
            store: parts.store,
            lifecycle: parts.lifecycle,
        }
    }
    /// The catalog as the caller sees it.
    fn catalog_for(&self, caller: &Caller) -> Arc<dyn Catalog> {
        (self.catalog)(caller.credentials())
    }
}

/// Adds all routes. The application must be wrapped in [`edge()`] as well, and have an [`Edge`].
pub fn routes(config: &mut ServiceConfig) {
    let scaffolder = |path: &str, routes: &[&'static str]| resource(&format!("/api/scaffolder{path}"), routes);
    let get_only = &["GET", "HEAD"];
    let post_only = &["POST"];
    config
        .service(resource("/.backstage/health/v1/readiness", get_only).route(get(health::readiness)))
        .service(resource("/.backstage/health/v1/liveness", get_only).route(get(health::liveness)))
        .service(scaffolder("/.backstage/auth/v1/jwks.json", get_only).route(get(key_set)))
        .service(
            scaffolder("/v2/templates/{namespace}/{kind}/{name}/parameter-schema", get_only)
                .route(get(templates::parameter_schema)),
        )
        .service(scaffolder("/v2/actions", get_only).route(get(actions::list)))
        .service(scaffolder("/v2/tasks", &["POST", "GET", "HEAD"]).route(get(tasks::list)).route(post(tasks::create)))
        .service(scaffolder("/v2/tasks/{taskId}", get_only).route(get(tasks::get)))
        .service(scaffolder("/v2/tasks/{taskId}/cancel", post_only).route(post(tasks::cancel)))
        .service(scaffolder("/v2/tasks/{taskId}/retry", post_only).route(post(tasks::retry)))
        .service(scaffolder("/v2/tasks/{taskId}/eventstream", get_only).route(get(events::stream)))
        .service(scaffolder("/v2/tasks/{taskId}/events", get_only).route(get(events::long_poll)))
        .service(scaffolder("/v2/dry-run", post_only).route(post(dry_run::run)))
        .service(scaffolder("/v2/autocomplete/{provider}/{resource}", post_only).route(post(autocomplete::complete)))
        .service(scaffolder("/v2/templating-extensions", get_only).route(get(extensions::list)))
        .service(scaffolder("/openapi.json", get_only).route(get(openapi::json)))
        .service(
            scaffolder("/.backstage/auth/v1/cookie", &["GET", "HEAD", "DELETE"])
                .route(get(cookie::issue))
                .route(web::delete().to(cookie::clear)),
        )
        .service(scaffolder("/.well-known/backstage/permissions/metadata", get_only).route(get(permissions::metadata)))
        .service(
            scaffolder("/.well-known/backstage/permissions/apply-conditions", post_only)
                .route(post(permissions::apply_conditions)),
        )
        .service(scaffolder("/.backstage/actions/v1/actions", get_only).route(get(registry::list)))
        .service(
            scaffolder("/.backstage/actions/v1/actions/{actionId}/invoke", post_only).route(post(registry::invoke)),
        )
        .service(
            scaffolder("/.backstage/actions/v2/actions/{actionId}/invoke", post_only)
                .route(post(registry::invoke_wrapped)),
        )
        .service(scaffolder("/.backstage/scheduler/v1/tasks", get_only).route(get(scheduler::list)))
        .service(scaffolder("/.backstage/scheduler/v1/tasks/{id}/trigger", post_only).route(post(scheduler::trigger)))
        .service(scaffolder("/.backstage/scheduler/v1/tasks/{id}/cancel", post_only).route(post(scheduler::cancel)))
        .service(scaffolder("/docs", get_only).route(get(openapi::page)))
        .configure(catalog_routes)
        .default_service(web::to(not_found));
}

fn catalog_routes(config: &mut ServiceConfig) {
    let catalog = |path: &str, routes: &[&'static str]| resource(&format!("/api/catalog{path}"), routes);
    let get_only = &["GET", "HEAD"];
    config
        .service(catalog("/entities", get_only).route(get(catalog::entities)))
        .service(catalog("/entities/by-query", get_only).route(get(catalog::entities_by_query)))
        .service(catalog("/entities/by-refs", &["POST"]).route(post(catalog::entities_by_refs)))
        .service(catalog("/entities/by-name/{kind}/{namespace}/{name}", get_only).route(get(catalog::entity_by_name)))
        .service(catalog("/entities/by-uid/{uid}", get_only).route(get(catalog::entity_by_uid)))
        .service(catalog("/entity-facets", get_only).route(get(catalog::facets)))
        .service(
            catalog("/locations", &["POST", "GET", "HEAD"])
                .route(get(catalog::locations))
                .route(post(catalog::add_location)),
        )
        .service(
            catalog("/locations/by-entity/{kind}/{namespace}/{name}", get_only).route(get(catalog::location_by_entity)),
        )
        .service(
            catalog("/locations/{id}", &["GET", "HEAD", "DELETE"])
                .route(get(catalog::location))
                .route(web::delete().to(catalog::remove_location)),
        )
        .service(catalog("/refresh", &["POST"]).route(post(catalog::refresh)));
}

/// A path, with or without a slash at its end as in Express; methods without a route are not found.
fn resource(path: &str, methods: &[&'static str]) -> Resource {
    let allowed = methods.join(",");
    let options = move || {
        let allowed = allowed.clone();
        async move {
            HttpResponse::Ok()
                .insert_header((header::ALLOW, allowed.clone()))
                .content_type("text/html; charset=utf-8")
                .body(allowed)
        }
    };
    web::resource([path.to_string(), format!("{path}/")])
        .route(web::method(Method::OPTIONS).to(options))
        .default_service(web::to(not_found))
}

fn get<F, Args>(handler: F) -> Route
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler)
}

fn post<F, Args>(handler: F) -> Route
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::post().to(handler)
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().finish()
}

/// The public keys of the tokens we sign.
async fn key_set(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    Ok(reply::ok(&serde_json::json!({ "keys": state.auth.public_keys().await? })))
}
