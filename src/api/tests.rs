//! The routes over a real engine and store.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashMap, io::Read as _, sync::Arc, time::Duration};

use actix_web::{
    App,
    http::{Method, StatusCode},
    middleware::from_fn,
    test::{self, TestRequest},
    web::Data,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use understudy_actions_core::CoreDeps;
use understudy_scm::Scm;
use understudy_sdk::{ActionError, Catalog, Entity, EntityRef, LocationAnswer, LogLevel, Registry};

use super::{ApiParts, ApiState, Edge, Lifecycle, Phase, edge, routes};
use crate::{
    audit::Auditor,
    auth::Auth,
    catalog::CatalogFactory,
    config::{
        ActionsConfig, AuthConfig, AuthPolicy, Config, CorsConfig, DatabaseConfig, KeyStoreConfig, LoadOptions,
        ServerConfig,
    },
    discovery::Discovery,
    metrics::Metrics,
    permission::Permissions,
    store::{SqliteStore, TaskStore},
    tasks::{EngineDeps, EngineSettings, TaskService, observe::LogObserver, policy::AllowAll},
};

/// A catalog that holds what it is given.
struct Shelf(HashMap<String, Entity>);

#[async_trait]
impl Catalog for Shelf {
    async fn entity_by_ref(&self, entity_ref: &EntityRef) -> Result<Option<Entity>, ActionError> {
        Ok(self.0.get(&entity_ref.canonical()).cloned())
    }
    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        Ok(refs.iter().map(|entity_ref| self.0.get(entity_ref).cloned()).collect())
    }
    async fn add_location(&self, _: &str, target: &str, _: bool) -> Result<LocationAnswer, ActionError> {
        Err(ActionError::not_allowed(format!("{target} can't be added here")))
    }
}

fn template(name: &str, spec: Value) -> Entity {
    let mut spec = spec;
    spec["type"] = "service".into();
    json!({"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": name}, "spec": spec})
}

fn server_config(root: &std::path::Path) -> ServerConfig {
    let root = root.to_path_buf().try_into().unwrap();
    let config = Config::load(&LoadOptions { root, ..LoadOptions::default() }).unwrap();
    let cors =
        CorsConfig { origin: Some(vec!["http://LocalHost:*".into()]), credentials: true, ..CorsConfig::default() };
    ServerConfig { cors: Some(cors), ..config.server }
}

struct Api {
    state: Data<ApiState>,
    edge: Data<Edge>,
    lifecycle: Lifecycle,
    _work: tempfile::TempDir,
}

impl Api {
    async fn new() -> Self {
        let mut old = template("old", json!({"steps": []}));
        old["apiVersion"] = "backstage.io/v1beta1".into();
        let templates = [
            template(
                "hello",
                json!({
                    "parameters": {"title": "One", "required": ["name"], "properties": {"name": {"type": "string"}}},
                    "steps": [{"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "hello"}}],
                    "output": {"greeting": "done"},
                }),
            ),
            template("wait", json!({"steps": [{"id": "w", "action": "debug:wait", "input": {"seconds": 60}}]})),
            template(
                "secret",
                json!({
                    "secrets": {"schema": {"type": "object", "required": ["apiKey"], "properties": {"apiKey": {"type": "string", "minLength": 3}}}},
                    "steps": [],
                }),
            ),
            old,
        ];
        let shelf: Arc<dyn Catalog> = Arc::new(Shelf(
            templates.into_iter().map(|entity| (EntityRef::of(&entity).unwrap().canonical(), entity)).collect(),
        ));
        let mut registry = Registry::new();
        let scm = Scm::from_config(&json!({})).unwrap();
        let scm_http = scm.http_client().unwrap();
        let deps = CoreDeps::new(scm);
        let templating = deps.templating.clone();
        understudy_actions_core::register(&mut registry, deps);
        let database = Arc::new(SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap());
        let store: Arc<dyn TaskStore> = database.clone();
        let work = tempfile::tempdir().unwrap();
        let catalog: CatalogFactory = Arc::new(move |_| shelf.clone());
        let auth = Auth::new(
            &AuthConfig { policy: AuthPolicy::Standalone, external: Vec::new(), key_store: KeyStoreConfig::Database },
            &Discovery::new(&[], "http://localhost", ([127, 0, 0, 1], 7007).into()),
            database,
            scm_http,
        )
        .unwrap();
        let tasks = TaskService::new(EngineDeps {
            workspaces: None,
            store: store.clone(),
            registry: registry.clone(),
            templating,
            catalog: catalog.clone(),
            config: EngineSettings {
                working_directory: camino::Utf8PathBuf::from_path_buf(work.path().canonicalize().unwrap()).unwrap(),
                concurrency: 4,
                recovery: false,
                sole_process: true,
                stale_timeout: Duration::from_secs(30),
                task_timeout: Duration::from_secs(3600),
                janitor_frequency: Duration::from_secs(300),
                failed_workspace_retention: Duration::from_secs(86_400),
                retention_max_age: None,
                retention_max_tasks: None,
                environment_parameters: serde_json::Map::new(),
                environment_secrets: understudy_sdk::Secrets::default(),
                log_level: LogLevel::Info,
            },
            plugin_actions: None,
            policy: Arc::new(AllowAll),
            observer: Arc::new(LogObserver),
            auditor: Auditor::default(),
            runtime: Handle::current(),
        });
        tasks.start_workers();
        let lifecycle = Lifecycle::starting();
        lifecycle.enter(Phase::Up);
        let edge =
            Edge::new(&server_config(work.path()), lifecycle.clone(), Arc::new(Metrics::new().unwrap())).unwrap();
        let state = ApiState::new(ApiParts {
            tasks,
            actions: registry,
            catalog,
            embedded: None,
            permissions: Permissions::disabled(auth.clone()),
            auditor: Auditor::default(),
            offered_actions: ActionsConfig::default(),
            external_url: "http://localhost:7007/api/scaffolder".into(),
            auth,
            store,
            lifecycle: lifecycle.clone(),
        });
        Self { state: Data::new(state), edge: Data::new(edge), lifecycle, _work: work }
    }

    async fn send(&self, request: TestRequest) -> Answer {
        let app =
            App::new().app_data(self.state.clone()).app_data(self.edge.clone()).configure(routes).wrap(from_fn(edge));
        let answer = test::call_service(&test::init_service(app).await, request.to_request()).await;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_string()))
            .collect();
        Answer { status, headers, body: test::read_body(answer).await.to_vec() }
    }
    async fn get(&self, path: &str) -> Answer {
        self.send(TestRequest::get().uri(&at(path))).await
    }
    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(TestRequest::post().uri(&at(path)).set_json(body)).await
    }
    async fn create(&self, template: &str, values: Value) -> String {
        let answer = self.post("/v2/tasks", json!({"templateRef": template, "values": values})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_string()
    }
}

fn at(path: &str) -> String {
    format!("/api/scaffolder{path}")
}

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
    /// Status, class and message of an error.
    fn error(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(body["response"]["statusCode"], self.status, "{body}");
        let text = |key: &str| body["error"][key].as_str().unwrap().to_string();
        (self.status, text("name"), text("message"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_from_creation_to_its_log() {
    let api = Api::new().await;
    let id = api.create("hello", json!({"name": "x"})).await;
    let stream = api.get(&format!("/v2/tasks/{id}/eventstream")).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), "text/event-stream");
    assert_eq!(stream.header("cache-control"), "no-cache");
    let text = stream.text();
    let frames: Vec<&str> = text.split_terminator("\n\n").collect();
    assert!(frames.iter().all(|frame| frame.lines().count() == 2), "{text}");
    let last = frames.last().unwrap().strip_prefix("event: completion\ndata: ").expect("a completion at the end");
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["body"]["output"], json!({"greeting": "done"}));

    let events = api.get(&format!("/v2/tasks/{id}/events")).await.json();
    assert_eq!(events.as_array().unwrap().len(), frames.len());
    let last_id = events.as_array().unwrap().last().unwrap()["id"].as_i64().unwrap();
    for after in [last_id.to_string(), "x".into()] {
        let rest = api.get(&format!("/v2/tasks/{id}/eventstream?after={after}")).await.text();
        assert!(rest.starts_with("event: completion\n") && rest.matches("event: ").count() == 1, "{after}: {rest}");
    }
    let task = api.get(&format!("/v2/tasks/{id}")).await.json();
    assert_eq!(task["status"], "completed");
    assert_eq!(task["spec"]["user"], json!({}));
    assert!(task.get("createdBy").is_none() && task.get("secrets").is_none(), "{task}");
    let list = api.get("/v2/tasks?limit=1&order=asc:created_at&status=completed").await.json();
    assert_eq!((&list["totalTasks"], &list["tasks"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(api.get("/v2/tasks?status=unheard-of").await.json(), json!({"tasks": [], "totalTasks": 0}));
    assert_eq!(api.get("/v2/tasks?limit=0").await.json(), json!({"tasks": [], "totalTasks": 1}));

    let retry = api.send(TestRequest::post().uri(&at(&format!("/v2/tasks/{id}/retry")))).await;
    assert_eq!((retry.status, retry.json()), (201, json!({"id": id})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_task_is_cancelled_and_not_retried_before_it_ends() {
    let api = Api::new().await;
    let id = api.create("wait", json!({})).await;
    loop {
        if api.get(&format!("/v2/tasks/{id}/events")).await.text().contains("Beginning step") {
            break;
        }
    }
    let busy = api.post(&format!("/v2/tasks/{id}/retry"), json!({})).await.error();
    assert_eq!(busy, (409, "ConflictError".into(), format!("Task with taskId {id} cannot be retried")));
    let cancelled = api.post(&format!("/v2/tasks/{id}/cancel"), json!({})).await;
    assert_eq!((cancelled.status, cancelled.json()), (200, json!({"status": "cancelled"})));
    let log = api.get(&format!("/v2/tasks/{id}/eventstream")).await.text();
    assert!(log.contains("event: cancelled\n") && log.contains("event: completion\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_as_recorded() {
    let api = Api::new().await;
    let input = |message: &str| (400, "InputError".to_string(), message.to_string());
    for (body, expected) in [
        (json!({"values": {}}), input("request/body must have required property 'templateRef'")),
        (json!([]), input("request/body must be object")),
        (json!({"templateRef": null, "values": {}}), input("request/body/templateRef must be string")),
        (json!({"templateRef": "hello", "values": []}), input("request/body/values must be object")),
        (
            json!({"templateRef": "hello", "values": {}, "secrets": {"a": 1}}),
            input("request/body/secrets/a must be string"),
        ),
        (json!({"templateRef": "a:b:c", "values": {}}), input("Invalid kind, only 'Template' kind is supported")),
        (json!({"templateRef": "", "values": {}}), (500, "Error".into(), "Entity reference must not be empty".into())),
        (
            json!({"templateRef": "a/", "values": {}}),
            (
                500,
                "TypeError".into(),
                "Entity reference \"a/\" was not on the form [<kind>:][<namespace>/]<name>".into(),
            ),
        ),
        (
            json!({"templateRef": "Nope", "values": {}}),
            (404, "NotFoundError".into(), "Template template:default/nope not found".into()),
        ),
        (
            json!({"templateRef": "old", "values": {}}),
            input("Unsupported apiVersion field in schema entity, backstage.io/v1beta1"),
        ),
    ] {
        assert_eq!(api.post("/v2/tasks", body.clone()).await.error(), expected, "{body}");
    }
    let raw = async |content_type: &str, body: &str| {
        let request = TestRequest::post().uri(&at("/v2/tasks")).set_payload(body.to_string());
        api.send(request.insert_header(("content-type", content_type))).await.error()
    };
    assert_eq!(raw("application/json", "{\"templateRef\": ").await, input("Unexpected end of JSON input"));
    assert_eq!(raw("text/plain", "{}").await, input("unsupported media type text/plain"));
    assert_eq!(raw("application/json", &" ".repeat(10 * 1024 * 1024 + 1)).await, input("request entity too large"));
    for (path, message) in [
        ("/v2/tasks?foo=bar", "Unknown query parameter 'foo'"),
        ("/v2/actions?foo=1", "Unknown query parameter 'foo'"),
        ("/v2/tasks/x/events?after=x", "request/query/after must be integer"),
        ("/v2/templates/default/user/guest/parameter-schema", "Invalid kind, only 'Template' kind is supported"),
        ("/v2/templates/default/template/%E0%A4%A/parameter-schema", "malformed uri'"),
    ] {
        assert_eq!(api.get(path).await.error(), input(message), "{path}");
    }
    let missing = "No task with id 'nope' found";
    for path in ["", "/events", "/eventstream?x=1"] {
        let error = api.get(&format!("/v2/tasks/nope{path}")).await.error();
        assert_eq!(error, (404, "NotFoundError".into(), missing.into()), "{path}");
    }
    for path in ["cancel", "retry"] {
        assert_eq!(api.post(&format!("/v2/tasks/nope/{path}"), json!({})).await.error().2, missing, "{path}");
    }
    let autocomplete = api.post("/v2/autocomplete/nope/things", json!({"token": "t", "context": {}})).await;
    assert_eq!(autocomplete.error(), input("Unsupported provider: nope"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_secrets_are_validated() {
    let api = Api::new().await;
    let missing = api.post("/v2/tasks", json!({"templateRef": "hello", "values": {}})).await;
    assert_eq!(missing.status, 400);
    let error = &missing.json()["errors"][0];
    assert_eq!((&error["stack"], &error["name"]), (&json!("instance requires property \"name\""), &json!("required")));
    let refused =
        api.post("/v2/tasks", json!({"templateRef": "secret", "values": {}, "secrets": {"apiKey": "qz"}})).await;
    assert_eq!(refused.json()["errors"][0]["message"], "secrets.apiKey does not meet minimum length of 3");
    assert!(!refused.text().contains("\"qz\""), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_answer_without_a_task() {
    let api = Api::new().await;
    let run = async |template: Value| {
        api.post("/v2/dry-run", json!({"template": template, "values": {}, "directoryContents": []})).await
    };
    let good = run(template(
        "t",
        json!({"steps": [{"id": "l", "name": "L", "action": "debug:log", "input": {"message": "m"}}]}),
    ))
    .await;
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(
        good.json().as_object().unwrap().keys().collect::<Vec<_>>(),
        ["log", "directoryContents", "output", "steps"]
    );
    assert_eq!(run(json!({"kind": "Component"})).await.error().2, "Input template is not a template");
    let shape = run(template("t", json!({}))).await.error();
    assert_eq!(
        shape,
        (500, "TypeError".into(), "/spec must have required property 'steps' - missingProperty: steps".into())
    );
    let unknown = run(template("t", json!({"steps": [{"id": "x", "action": "nope:nope"}]}))).await.error();
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "NotFoundError"));
    assert_eq!(api.get("/v2/tasks").await.json()["totalTasks"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_look_like_those_of_express() {
    let api = Api::new().await;
    for path in ["/", "/api/nope", "/api/scaffolder", "/api/scaffolder/", "/api/scaffolder/v1/actions", "/healthcheck"]
    {
        let answer = api.send(TestRequest::get().uri(path)).await;
        assert_eq!((answer.status, answer.text().as_str()), (404, ""), "{path}");
        assert_eq!(answer.header("x-frame-options"), "SAMEORIGIN");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = api.send(TestRequest::default().method(method.clone()).uri(&at("/v2/actions"))).await;
        assert_eq!((answer.status, answer.text().as_str()), (404, ""), "{method}");
    }
    let plain = api.get("/v2/actions/").await;
    assert_eq!(plain.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(plain.header("vary"), "Accept-Encoding");
    assert_eq!(plain.header("referrer-policy"), "no-referrer");
    assert_eq!(plain.header("x-content-type-options"), "nosniff");
    let actions = plain.json();
    let ids: Vec<&str> = actions.as_array().unwrap().iter().map(|action| action["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted() && ids.contains(&"debug:log"), "{ids:?}");
    for known in ["*", plain.header("etag")] {
        let request = TestRequest::get().uri(&at("/v2/actions")).insert_header(("if-none-match", known));
        let unchanged = api.send(request).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{known}");
        assert_eq!(unchanged.header("content-type"), "");
    }
    let packed =
        api.send(TestRequest::get().uri(&at("/v2/actions")).insert_header(("accept-encoding", "gzip, br"))).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert_eq!(api.get("/.backstage/auth/v1/jwks.json").await.json(), json!({"keys": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_origin_requests() {
    let api = Api::new().await;
    let preflight = |origin: &'static str| {
        TestRequest::default()
            .method(Method::OPTIONS)
            .uri(&at("/v2/tasks"))
            .insert_header(("origin", origin))
            .insert_header(("access-control-request-method", "POST"))
            .insert_header(("access-control-request-headers", "authorization,content-type"))
    };
    let allowed = api.send(preflight("http://localhost:3000")).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert_eq!(allowed.header("access-control-allow-headers"), "authorization,content-type");
    assert_eq!(allowed.header("vary"), "Origin, Access-Control-Request-Headers");
    let refused = api.send(preflight("http://evil.example")).await;
    assert_eq!((refused.status, refused.text().as_str()), (200, "POST,GET,HEAD"));
    assert_eq!(refused.header("allow"), "POST,GET,HEAD");
    assert_eq!(refused.header("access-control-allow-origin"), "");
    let get = TestRequest::get().uri(&at("/v2/tasks")).insert_header(("origin", "http://localhost:3000"));
    let get = api.send(get).await;
    assert_eq!(get.header("vary"), "Origin, Accept-Encoding");
    assert_eq!(get.header("access-control-allow-origin"), "http://localhost:3000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_refuses_new_work_only() {
    let api = Api::new().await;
    let ready = || TestRequest::get().uri("/.backstage/health/v1/readiness");
    assert_eq!(api.send(ready()).await.json(), json!({"status": "ok"}));
    api.lifecycle.enter(Phase::Down);
    assert_eq!(
        api.get("/v2/tasks").await.error(),
        (503, "ServiceUnavailableError".into(), "Service is shutting down".into())
    );
    let unready = api.send(ready()).await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE.as_u16());
    assert_eq!(unready.json(), json!({"message": "Backend is shutting down", "status": "error"}));
    let alive = api.send(TestRequest::get().uri("/.backstage/health/v1/liveness")).await;
    assert_eq!((alive.status, alive.json()), (200, json!({"status": "ok"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_page_needs_nothing_else() {
    let api = Api::new().await;
    let page = api.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    assert!(text.contains("/api/scaffolder/v2/tasks/{taskId}/eventstream") && text.contains("id=\"schema-TaskEvent\""));
    for outside in ["src=", "<script", "<link", "@import", "url("] {
        assert!(!text.contains(outside), "the page refers to something else by {outside}");
    }
    assert_eq!(api.get("/openapi.json").await.json(), super::openapi::document());
}

#[test]
fn the_document_is_complete_and_kept_in_the_repository() {
    let document = super::openapi::document();
    let mut ids = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_string());
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let described = answer["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{method} {path}: the answer {status} has no description");
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are not unique");
    let kept =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.yaml")).unwrap_or_default();
    let current = super::openapi::yaml().unwrap();
    assert!(kept == current, "openapi/openapi.yaml is out of date: cargo run -- openapi > openapi/openapi.yaml");
}
