//! The description of the API: as JSON, as the YAML file in the repository, and as a page for people.

use std::fmt::Write;

use actix_web::{HttpResponse, http::header};
use serde_json::{Map, Value};
use utoipa::OpenApi;

use super::{
    actions, caller::Caller, catalog, dry_run, error, events, extensions, health, reply, scheduler, tasks, templates,
};

/// The document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Understudy",
        description = "The scaffolder's HTTP API, compatible with `@backstage/plugin-scaffolder-backend` 4.2.0, and the embedded catalog's.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    paths(
        templates::parameter_schema, actions::list, tasks::create, tasks::list, tasks::get, tasks::cancel, tasks::retry,
        events::stream, events::long_poll, dry_run::run, extensions::list,
        catalog::entities, catalog::entities_by_query, catalog::entities_by_refs, catalog::entity_by_name,
        catalog::entity_by_uid, catalog::facets, catalog::locations, catalog::location, catalog::location_by_entity,
        catalog::add_location, catalog::remove_location, catalog::refresh,
        scheduler::list, scheduler::trigger, scheduler::cancel, health::readiness, health::liveness,
    ),
    components(schemas(error::ErrorBody, actions::ExampleItem, dry_run::DryRunFile)),
    tags(
        (name = "templates", description = "Templates and what they can use"),
        (name = "actions", description = "What a step can do"),
        (name = "tasks", description = "Runs of templates"),
        (name = "catalog", description = "The embedded catalog; absent where a Backstage catalog is used"),
        (name = "scheduler", description = "What the service does from time to time"),
        (name = "health", description = "For probes"),
    ),
)]
pub struct Document;

/// The document as JSON.
pub fn document() -> Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}

/// The document as YAML, as it is kept in `openapi/openapi.yaml`.
///
/// # Errors
/// The document can't be written, which is a mistake in the service.
pub fn yaml() -> Result<String, String> {
    serde_saphyr::to_string(&document()).map_err(|error| error.to_string())
}

/// The document for whoever may use the API: upstream's needs credentials, too.
pub(super) async fn json(_caller: Caller) -> HttpResponse {
    reply::ok(&document())
}

/// A page that needs nothing but itself: no script, no style sheet, no font from elsewhere.
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"))
        .body(render(&document()))
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f}\
code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:#f4f4f6;padding:.75rem;overflow:auto}\
details{border:1px solid #ddd;border-radius:6px;margin:.5rem 0;padding:.5rem .75rem}summary{cursor:pointer}\
summary b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}\
@media(prefers-color-scheme:dark){body{background:#17171a;color:#e6e6ea}pre{background:#222227}details{border-color:#3a3a40}a{color:#9ab8ff}}";

fn render(document: &Value) -> String {
    let mut page = String::new();
    let text = |pointer: &str| escape(document.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    // Writing to a String can't fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title} API</title><style>{STYLE}</style><h1>{title} API <small>{version}</small></h1><p>{description}</p>\
         <p>The same as a document for tools: <a href=\"/api/scaffolder/openapi.json\">openapi.json</a></p>",
        title = text("/info/title"),
        version = text("/info/version"),
        description = text("/info/description"),
    );
    let empty = Map::new();
    let object = |pointer: &str| document.pointer(pointer).and_then(Value::as_object).unwrap_or(&empty);
    for tag in document["tags"].as_array().into_iter().flatten() {
        let _ = write!(page, "<h2>{}</h2><p>{}</p>", plain(&tag["name"]), plain(&tag["description"]));
        for (path, operations) in object("/paths") {
            for (method, operation) in operations.as_object().unwrap_or(&empty) {
                if operation.pointer("/tags/0") == Some(&tag["name"]) {
                    operation_section(&mut page, method, path, operation);
                }
            }
        }
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in object("/components/schemas") {
        let _ = write!(page, "<h3 id=\"schema-{0}\">{0}</h3><pre>{1}</pre>", escape(name), pretty(schema));
    }
    page.push_str("</html>\n");
    page
}

fn operation_section(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        page,
        "<details><summary><b>{}</b> <code>{}</code> {}</summary>",
        escape(&method.to_uppercase()),
        escape(path),
        plain(&operation["summary"])
    );
    if let Some(description) = operation["description"].as_str() {
        let _ = write!(page, "<p>{}</p>", escape(description));
    }
    let mut rows = String::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let _ = write!(
            rows,
            "<tr><td><code>{}</code><td>{}<td>{}",
            plain(&parameter["name"]),
            plain(&parameter["in"]),
            plain(&parameter["description"])
        );
    }
    if !rows.is_empty() {
        let _ = write!(page, "<h4>Parameters</h4><table>{rows}</table>");
    }
    if let Some(content) = operation.pointer("/requestBody/content") {
        let _ = write!(page, "<h4>Body</h4>{}", content_section(content));
    }
    page.push_str("<h4>Answers</h4><table>");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let _ = write!(
            page,
            "<tr><td><code>{}</code><td>{}<td>{}",
            escape(status),
            plain(&answer["description"]),
            content_section(&answer["content"])
        );
    }
    page.push_str("</table></details>");
}

fn content_section(content: &Value) -> String {
    let mut out = String::new();
    for (media_type, body) in content.as_object().into_iter().flatten() {
        let schema = &body["schema"];
        let _ = match schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            Some(name) => write!(out, "<a href=\"#schema-{0}\">{0}</a> ", escape(name)),
            None => write!(out, "{} <pre>{}</pre>", escape(media_type), pretty(schema)),
        };
    }
    out
}

fn plain(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn pretty(value: &Value) -> String {
    escape(&serde_json::to_string_pretty(value).unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
