//! Permissions end to end: what is asked, and what comes of the answers.
//!
//! The permission backend is played by a server that answers as it is told and remembers what it was asked; the real one
//! is asked in the tests with Backstage's frontend.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::path};

use crate::support::{Reply, Running, TASKS, TempDir, completion, messages, write};

const LIMIT: Duration = Duration::from_secs(30);
const SCAFFOLDER: &str = "/api/scaffolder";

/// A permission backend.
struct Backend {
    server: MockServer,
    policy: Policy,
}

/// Answers by permission; what is not named is allowed. A number answers the whole request with that status.
#[derive(Clone, Default)]
struct Policy {
    answers: Arc<Mutex<BTreeMap<&'static str, Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Respond for Policy {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).expect("a JSON body");
        let items = body["items"].as_array().expect("a list of items");
        let names: Vec<&str> = items.iter().map(|item| item["permission"]["name"].as_str().expect("a name")).collect();
        self.asked.lock().unwrap().push(names.join(" + "));
        let answers = self.answers.lock().unwrap();
        let mut answered = Vec::new();
        for (item, name) in items.iter().zip(names) {
            let mut answer = answers.get(name).cloned().unwrap_or_else(|| json!({"result": "ALLOW"}));
            if let Some(status) = answer.as_u64() {
                return ResponseTemplate::new(u16::try_from(status).unwrap());
            }
            answer["id"] = item["id"].clone();
            answered.push(answer);
        }
        ResponseTemplate::new(200).set_body_json(json!({ "items": answered }))
    }
}

impl Backend {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let policy = Policy::default();
        Mock::given(path("/api/permission/authorize")).respond_with(policy.clone()).mount(&server).await;
        Self { server, policy }
    }
    fn answer(&self, permission: &'static str, answer: Value) {
        self.policy.answers.lock().unwrap().insert(permission, answer);
    }
    fn deny(&self, permission: &'static str) {
        self.answer(permission, json!({"result": "DENY"}));
    }
    fn allow_all(&self) {
        self.policy.answers.lock().unwrap().clear();
    }
    /// What was asked since the last look: one text a request, the names joined by ` + `.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.policy.asked.lock().unwrap())
    }
}

fn conditional(resource_type: &str, conditions: Value) -> Value {
    json!({"result": "CONDITIONAL", "pluginId": "scaffolder", "resourceType": resource_type, "conditions": conditions})
}

fn rule(resource_type: &str, name: &str, params: Value) -> Value {
    json!({"rule": name, "resourceType": resource_type, "params": params})
}

/// A service that asks a backend of ours, without authentication: its callers are asked about without a token.
struct Setup {
    backend: Backend,
    running: Running,
    _dir: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let backend = Backend::start().await;
        let dir = TempDir::new();
        let secret = json!({"tags": ["secret"]});
        let spec = json!({
            "owner": "user:guest", "type": "service",
            "parameters": [
                {"title": "For all", "required": ["name"], "properties": {"name": {"type": "string"}}},
                {"title": "For some", "required": ["size"], "properties": {"size": {"type": "string"}}, "backstage:permissions": secret},
            ],
            "steps": [
                {"id": "greet", "name": "Greet", "action": "debug:log", "input": {"message": "hello {{ parameters.name }}"}},
                {"id": "hidden", "name": "Hidden", "action": "debug:log", "input": {"message": "psst"}, "backstage:permissions": secret},
            ],
        });
        let mut locations = Vec::new();
        for (name, version, open) in
            [("new", "scaffolder.backstage.io/v1beta3", "${{"), ("old", "backstage.io/v1beta2", "{{")]
        {
            let text = json!({"apiVersion": version, "kind": "Template", "metadata": {"name": name}, "spec": spec});
            let file = dir.path.join(format!("{name}.yaml"));
            write(&file, text.to_string().replace("{{ parameters", &format!("{open} parameters")));
            locations.push(json!({"type": "file", "target": file.as_str()}));
        }
        let config = json!({
            "backend": {"auth": {"dangerouslyDisableDefaultAuthPolicy": true}},
            "permission": {"enabled": true},
            "discovery": {"endpoints": [
                {"target": format!("{}/api/{{{{pluginId}}}}", backend.server.uri()), "plugins": ["permission"]},
            ]},
            "catalog": {"locations": locations},
        });
        let running = Running::start(&config.to_string()).await;
        Self { backend, running, _dir: dir }
    }

    async fn form(&self, template: &str) -> Reply {
        self.running.get(&format!("{SCAFFOLDER}/v2/templates/default/template/{template}/parameter-schema")).await
    }
    async fn start(&self, template: &str, values: Value) -> Reply {
        self.running.post(TASKS, &json!({"templateRef": template, "values": values})).await
    }
    async fn dry_run(&self, steps: Value) -> Reply {
        let template = json!({
            "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "dry"},
            "spec": {"type": "service", "steps": steps},
        });
        let body = json!({"template": template, "values": {}, "directoryContents": []});
        self.running.post(&format!("{SCAFFOLDER}/v2/dry-run"), &body).await
    }
    /// A task that has ended.
    async fn ended(&self) -> String {
        let id = self.running.create_task(&json!({"templateRef": "new", "values": {"name": "x", "size": "y"}})).await;
        self.running.finish(&id, LIMIT).await;
        self.backend.asked();
        id
    }
}

fn text(reply: &Reply, pointer: &str) -> String {
    let body = reply.json().unwrap_or_default();
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_what_backstage_asks_in_its_order() {
    let setup = Setup::new().await;
    let template = "scaffolder.template.parameter.read + scaffolder.template.step.read";
    let (create, read) = ("scaffolder.task.create", "scaffolder.task.read");
    let execute = "scaffolder.action.execute";
    let running = &setup.running;

    assert_eq!(setup.form("new").await.status, 200);
    assert_eq!(setup.backend.asked(), [template]);
    let created = setup.start("new", json!({"name": "x", "size": "y"})).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let id = text(&created, "/id");
    running.wait_status(&id, LIMIT, |status| status == "completed").await;
    let asked = setup.backend.asked();
    assert_eq!(asked[..2], [create, template]);
    assert_eq!(asked.iter().filter(|asked| *asked == execute).count(), 1, "{asked:?}");

    let task = format!("{TASKS}/{id}");
    for (method, path, expected) in [
        ("GET", TASKS.to_string(), &[read][..]),
        ("GET", task.clone(), &[read]),
        ("GET", format!("{task}/events"), &[read]),
        ("GET", format!("{task}/eventstream"), &[read]),
        ("POST", format!("{task}/cancel"), &["scaffolder.task.cancel + scaffolder.task.read"]),
        ("GET", format!("{SCAFFOLDER}/v2/actions"), &[]),
        ("GET", format!("{SCAFFOLDER}/v2/templating-extensions"), &[]),
        ("GET", format!("{SCAFFOLDER}/.backstage/actions/v1/actions"), &["scaffolder.template.dry-run"]),
        // That there is no such task needs no permission.
        ("GET", format!("{TASKS}/00000000-0000-0000-0000-000000000000"), &[]),
        ("POST", format!("{TASKS}/00000000-0000-0000-0000-000000000000/retry"), &[]),
    ] {
        running.request(method, &path, &[], None).await;
        assert_eq!(setup.backend.asked(), expected, "{method} {path}");
    }
    let retried = running.post(&format!("{task}/retry"), &json!({})).await;
    assert_eq!(retried.status, 201, "{}", retried.text());
    running.wait_status(&id, LIMIT, |status| status == "completed").await;
    assert_eq!(setup.backend.asked()[..3], [create, read, template]);

    let dry = setup.dry_run(json!([{"action": "debug:log", "input": {"message": "x"}}])).await;
    assert_eq!(dry.status, 200, "{}", dry.text());
    assert_eq!(setup.backend.asked(), ["scaffolder.task.create + scaffolder.template.dry-run", execute]);
    setup.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_403_and_says_nothing() {
    let setup = Setup::new().await;
    let id = setup.ended().await;
    let task = format!("{TASKS}/{id}");
    let new = json!({"templateRef": "new", "values": {"name": "x", "size": "y"}});
    let dry = json!({"template": {}, "values": {}, "directoryContents": [{}]});
    for (permission, method, path, body) in [
        ("scaffolder.task.create", "POST", TASKS.to_string(), Some(&new)),
        ("scaffolder.task.create", "POST", format!("{task}/retry"), Some(&json!({}))),
        ("scaffolder.task.create", "POST", format!("{SCAFFOLDER}/v2/dry-run"), Some(&dry)),
        ("scaffolder.template.dry-run", "POST", format!("{SCAFFOLDER}/v2/dry-run"), Some(&dry)),
        ("scaffolder.task.read", "GET", TASKS.to_string(), None),
        ("scaffolder.task.read", "GET", task.clone(), None),
        ("scaffolder.task.read", "GET", format!("{task}/events"), None),
        ("scaffolder.task.read", "GET", format!("{task}/eventstream"), None),
        ("scaffolder.task.read", "POST", format!("{task}/cancel"), None),
        ("scaffolder.task.cancel", "POST", format!("{task}/cancel"), None),
        ("scaffolder.task.read", "POST", format!("{task}/retry"), Some(&json!({}))),
    ] {
        setup.backend.allow_all();
        setup.backend.deny(permission);
        let headers = [("content-type".to_string(), "application/json".to_string())];
        let headers = if body.is_some() { &headers[..] } else { &[] };
        let reply = setup.running.request(method, &path, headers, body.map(Value::to_string).as_deref()).await;
        assert_eq!(reply.status, 403, "{permission} {method} {path}: {}", reply.text());
        assert_eq!(reply.json().unwrap()["error"], json!({"name": "NotAllowedError", "message": ""}), "{path}");
    }
    // What the body lacks by the API's description is told to anybody.
    let reply = setup.running.post(&format!("{SCAFFOLDER}/v2/dry-run"), &json!({})).await;
    assert_eq!((reply.status, &*reply.error_message()), (400, "request/body must have required property 'template'"));
    setup.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_steps_that_are_not_allowed_are_left_out() {
    let setup = Setup::new().await;
    let untagged = conditional(
        "scaffolder-template",
        json!({"not": rule("scaffolder-template", "HAS_TAG", json!({"tag": "secret"}))}),
    );
    setup.backend.answer("scaffolder.template.parameter.read", untagged.clone());
    setup.backend.answer("scaffolder.template.step.read", untagged);
    for template in ["new", "old"] {
        let form = setup.form(template).await.json().unwrap();
        let titles: Vec<_> = form["steps"].as_array().unwrap().iter().map(|page| page["title"].clone()).collect();
        assert_eq!(titles, ["For all"], "{template}");
        // The hidden page asks for a size; without it nobody does, and the hidden step is no part of the task.
        let id = text(&setup.start(template, json!({"name": "x"})).await, "/id");
        let (status, events) = setup.running.finish(&id, LIMIT).await;
        assert_eq!(status, "completed", "{}", messages(&events));
        let log = messages(&events);
        assert!(log.contains("hello x") && !log.contains("psst"), "{template}: {log}");
    }
    setup.backend.deny("scaffolder.template.parameter.read");
    setup.backend.deny("scaffolder.template.step.read");
    let form = setup.form("new").await;
    assert_eq!((form.status, form.json().unwrap()["steps"].clone()), (200, json!([])));
    let id = text(&setup.start("new", json!({})).await, "/id");
    let (status, events) = setup.running.finish(&id, LIMIT).await;
    assert_eq!((&*status, &*messages(&events[..1])), ("completed", "Starting up task with 0 steps"));
    setup.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_decided_by_their_rendered_input() {
    let setup = Setup::new().await;
    let action = |name: &str, params: Value| rule("scaffolder-action", name, params);
    setup.backend.answer(
        "scaffolder.action.execute",
        conditional(
            "scaffolder-action",
            json!({"allOf": [
                action("HAS_ACTION_ID", json!({"actionId": "debug:log"})),
                {"not": action("HAS_STRING_PROPERTY", json!({"key": "message", "value": "hello mallory"}))},
            ]}),
        ),
    );
    let run = async |name: &str| {
        let id = text(&setup.start("new", json!({"name": name, "size": "y"})).await, "/id");
        setup.running.finish(&id, LIMIT).await
    };
    let (status, events) = run("alice").await;
    assert_eq!(status, "completed", "{}", messages(&events));
    let (status, events) = run("mallory").await;
    assert_eq!(status, "failed");
    let refusal = "Unauthorized action: debug:log. The action is not allowed.";
    assert_eq!(completion(&events)["error"], json!({"name": "NotAllowedError", "message": refusal}));
    assert!(!messages(&events).contains("info\u{1b}[39m: hello mallory"), "{}", messages(&events));

    let reply = setup.dry_run(json!([{"action": "fs:delete", "input": {"files": []}}])).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.error_message(), "Unauthorized action: fs:delete. The action is not allowed.");

    setup.backend.deny("scaffolder.action.execute");
    let (status, events) = run("alice").await;
    assert_eq!((&*status, &completion(&events)["error"]["message"]), ("failed", &json!(refusal)));

    // A rule that only the company's own Backstage knows decides nothing.
    let own = conditional("scaffolder-action", action("OUR_OWN_RULE", json!({})));
    setup.backend.answer("scaffolder.action.execute", own);
    let (status, events) = run("alice").await;
    let message = &completion(&events)["error"]["message"];
    assert_eq!((&*status, message), ("failed", &json!("Unexpected permission rule: OUR_OWN_RULE")));
    setup.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_fails_allows_nothing() {
    let setup = Setup::new().await;
    let id = setup.ended().await;
    let task = format!("{TASKS}/{id}");
    let routes = ["GET", "GET", "GET", "POST", "POST"].into_iter().zip([
        TASKS.to_string(),
        task.clone(),
        format!("{task}/events"),
        format!("{task}/cancel"),
        format!("{task}/retry"),
    ]);
    for broken in [json!(500), json!({"result": "MAYBE"}), json!({}), json!({"result": "CONDITIONAL"})] {
        for permission in ["scaffolder.task.read", "scaffolder.task.cancel", "scaffolder.task.create"] {
            setup.backend.answer(permission, broken.clone());
        }
        for (method, path) in routes.clone() {
            let reply = setup.running.request(method, &path, &[], None).await;
            assert_eq!(reply.status, 503, "{broken} {method} {path}: {}", reply.text());
            assert_eq!(text(&reply, "/error/name"), "ServiceUnavailableError");
            assert!(reply.error_message().starts_with("The permission backend can't be asked"), "{}", reply.text());
        }
        let reply = setup.start("new", json!({"name": "x", "size": "y"})).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
    }
    // Our token is not accepted: that is told as it is.
    setup.backend.answer("scaffolder.task.read", json!(401));
    let reply = setup.running.get(&task).await;
    assert_eq!((reply.status, &*text(&reply, "/error/name")), (401, "ResponseError"));

    // It fails between the creation of a task and its first step.
    setup.backend.allow_all();
    setup.backend.answer("scaffolder.action.execute", json!(500));
    let id = text(&setup.start("new", json!({"name": "x", "size": "y"})).await, "/id");
    let (status, events) = setup.running.finish(&id, LIMIT).await;
    assert_eq!(status, "failed");
    let error = &completion(&events)["error"];
    assert_eq!(error["name"], "ServiceUnavailableError");
    assert!(error["message"].as_str().unwrap().contains("it answered with status 500"), "{error}");
    assert!(!messages(&events).contains("hello"), "{}", messages(&events));
    let logs = setup.running.service.logs();
    assert!(logs.contains("nothing is allowed") && logs.contains("scaffolder.action.execute"), "{logs}");
    setup.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_not_there_allows_nothing() {
    let config = json!({
        "backend": {"auth": {"dangerouslyDisableDefaultAuthPolicy": true}},
        "permission": {"enabled": true},
        "discovery": {"endpoints": [{"target": "http://127.0.0.1:1/api/{{pluginId}}", "plugins": ["permission"]}]},
    });
    let running = Running::start(&config.to_string()).await;
    let reply = running.get(TASKS).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(running.service.logs().contains("http://127.0.0.1:1/api/permission/authorize"));
    // What needs no permission goes on.
    assert_eq!(running.get(&format!("{SCAFFOLDER}/v2/actions")).await.status, 200);
    running.stop().await;
}
