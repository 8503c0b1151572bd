//! The actions registry as agents use it, and the actions of other plugins as templates use them.

use std::time::Duration;

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, method, path},
};

use crate::support::{Reply, Running, TempDir, completion, messages, template, write};

const LIMIT: Duration = Duration::from_secs(30);
const REGISTRY: &str = "/api/scaffolder/.backstage/actions";
const TOKEN: &str = "agent-token-0123456789";

/// A service with a template `greet` and a static token; `actions` is `backend.actions`.
async fn service(dir: &TempDir, actions: Value) -> Running {
    let file = dir.path.join("greet.yaml");
    let mut document: Value = serde_json::from_str(&template(
        "greet",
        &json!([{"id": "log", "action": "debug:log", "input": {"message": "hi ${{ parameters.name }}"}}]),
    ))
    .unwrap();
    document["spec"]["parameters"] = json!({"required": ["name"], "properties": {"name": {"type": "string"}}});
    write(&file, document.to_string());
    let config = json!({
        "backend": {
            "auth": {"externalAccess": [{"type": "static", "options": {"token": TOKEN, "subject": "agent"}}]},
            "actions": actions,
        },
        "catalog": {"locations": [{"type": "file", "target": file.as_str()}]},
    });
    Running::start(&config.to_string()).await
}

fn headers(token: Option<&str>) -> Vec<(String, String)> {
    let mut headers = vec![("content-type".to_string(), "application/json".to_string())];
    headers.extend(token.map(|token| ("authorization".to_string(), format!("Bearer {token}"))));
    headers
}

async fn invoke(running: &Running, action: &str, input: &Value) -> Reply {
    let path = format!("{REGISTRY}/v1/actions/scaffolder:{action}/invoke");
    running.request("POST", &path, &headers(Some(TOKEN)), Some(&input.to_string())).await
}

fn output(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json().unwrap()["output"].clone()
}

async fn offered(running: &Running) -> Vec<String> {
    let list = running.request("GET", &format!("{REGISTRY}/v1/actions"), &headers(Some(TOKEN)), None).await;
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.json().unwrap();
    list["actions"].as_array().unwrap().iter().map(|action| action["name"].as_str().unwrap().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_finds_tries_and_runs_a_template() {
    let dir = TempDir::new();
    let running = service(&dir, json!({})).await;
    assert_eq!(
        offered(&running).await,
        [
            "list-scaffolder-tasks",
            "dry-run-template",
            "list-scaffolder-actions",
            "execute-template",
            "get-scaffolder-task-logs"
        ]
    );

    let actions = output(&invoke(&running, "list-scaffolder-actions", &json!({})).await);
    let log = actions["actions"].as_array().unwrap().iter().find(|action| action["id"] == "debug:log").unwrap();
    assert_eq!(log["schema"]["input"]["type"], "object");

    let text = "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata: {name: t}\nspec:\n  type: service\n  \
                steps:\n    - id: read\n      action: fetch:plain:file\n      input: {url: ./a.txt, targetPath: b.txt}\n  \
                output: {said: '${{ parameters.word }}'}\n";
    let input = json!({"templateYaml": text, "values": {"word": "yes"}, "files": [{"path": "a.txt", "content": "a"}]});
    let tried = output(&invoke(&running, "dry-run-template", &input).await);
    assert_eq!((&tried["valid"], &tried["output"]), (&json!(true), &json!({"said": "yes"})), "{tried}");
    assert_eq!(tried["steps"], json!([{"id": "read", "name": "fetch:plain:file", "action": "fetch:plain:file"}]));
    assert!(
        tried["log"].as_array().unwrap().iter().any(|line| line["stepId"] == "read" && line["status"] == "completed")
    );

    let started = output(
        &invoke(&running, "execute-template", &json!({"templateRef": "greet", "values": {"name": "Ann"}})).await,
    );
    let id = started["taskId"].as_str().unwrap();
    let mut after = 0;
    let mut log = String::new();
    while !log.contains("Run completed with status") {
        let news = output(&invoke(&running, "get-scaffolder-task-logs", &json!({"taskId": id, "after": after})).await);
        for event in news["events"].as_array().unwrap() {
            after = event["id"].as_u64().unwrap();
            assert!(event["body"].get("output").is_none(), "only what the schema knows: {event}");
            log.push_str(event["body"]["message"].as_str().unwrap());
        }
    }
    assert!(log.contains("hi Ann"), "{log}");
    let listed =
        output(&invoke(&running, "list-scaffolder-tasks", &json!({"status": ["completed"], "limit": 1})).await);
    assert_eq!((&listed["totalTasks"], &listed["tasks"][0]["id"]), (&json!(1), &json!(id)));
    assert!(listed["tasks"][0].get("createdBy").is_none() && listed["tasks"][0]["spec"].is_object(), "{listed}");
    let none = output(&invoke(&running, "list-scaffolder-tasks", &json!({"status": "failed"})).await);
    assert_eq!(none, json!({"tasks": [], "totalTasks": 0}));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_does_wrong_is_said() {
    let dir = TempDir::new();
    let running = service(&dir, json!({})).await;
    for (action, input, status, expected) in [
        ("nope", json!({}), 404, "Action \"scaffolder:nope\" not found"),
        ("list-scaffolder-tasks", json!({"limit": "x"}), 400, "Expected number, received string"),
        ("list-scaffolder-tasks", json!({"owned": true}), 403, "Filtering by owned tasks requires a user identity."),
        ("execute-template", json!({"values": {}}), 400, "\"path\": [\n      \"templateRef\"\n    ]"),
        (
            "execute-template",
            json!({"templateRef": "nowhere", "values": {}}),
            404,
            "Template template:default/nowhere not found",
        ),
        ("execute-template", json!({"templateRef": "greet", "values": {}}), 400, "instance requires property \"name\""),
        ("dry-run-template", json!({"templateYaml": "kind: x"}), 400, "Input template is not a template"),
        ("dry-run-template", json!({"templateYaml": "just text"}), 400, "request/body/template must be object"),
        ("get-scaffolder-task-logs", json!({"taskId": "nope"}), 404, "No task with id 'nope' found"),
    ] {
        let reply = invoke(&running, action, &input).await;
        assert_eq!(reply.status, status, "{action} {input}: {}", reply.text());
        assert!(reply.error_message().contains(expected), "{action} {input}: {}", reply.error_message());
    }
    let broken = output(&invoke(&running, "dry-run-template", &json!({"templateYaml": "a: b\nc: [1"})).await);
    assert_eq!((&broken["valid"], &broken["message"]), (&json!(false), &json!("Failed to parse YAML template")));
    assert!(broken["errors"][0].as_str().unwrap().contains("\n\nc: [1\n"), "{broken}");
    assert!(broken["errors"][1].as_str().unwrap().starts_with("At line 2, column "), "{broken}");

    let wrapped = format!("{REGISTRY}/v2/actions/scaffolder:list-scaffolder-tasks/invoke");
    for (body, status, expected) in [
        (json!({"input": {"limit": 1}}), 200, "\"totalTasks\":0"),
        (json!({"limit": 1}), 400, "Required"),
        (json!({"input": {}, "secrets": {"a": "b"}}), 400, "does not accept secrets"),
    ] {
        let reply = running.request("POST", &wrapped, &headers(Some(TOKEN)), Some(&body.to_string())).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.text().contains(expected), "{}", reply.text());
    }
    for token in [None, Some("wrong-token-0123456789")] {
        let path = format!("{REGISTRY}/v1/actions/scaffolder:execute-template/invoke");
        let reply = running.request("POST", &path, &headers(token), Some("{}")).await;
        assert_eq!(reply.status, 401, "{}", reply.text());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_says_what_is_offered() {
    let dir = TempDir::new();
    for (actions, expected) in [
        (json!({"pluginSources": ["catalog"]}), &[][..]),
        (
            json!({"pluginSources": ["scaffolder"], "filter": {"exclude": [{"attributes": {"readOnly": true}}]}}),
            &["execute-template"],
        ),
        (
            json!({"filter": {"include": [{"id": "scaffolder:list-*"}, {"id": "*:get-*"}]}}),
            &["list-scaffolder-tasks", "list-scaffolder-actions", "get-scaffolder-task-logs"],
        ),
    ] {
        let running = service(&dir, actions.clone()).await;
        assert_eq!(offered(&running).await, expected, "{actions}");
        if !expected.contains(&"dry-run-template") {
            let reply = invoke(&running, "dry-run-template", &json!({"templateYaml": ""})).await;
            assert_eq!(reply.status, 404, "{}", reply.text());
        }
        running.stop().await;
    }
}

/// Another plugin with an action that reads and one that doesn't.
async fn plugin() -> MockServer {
    let server = MockServer::start().await;
    let action = |name: &str, read_only: bool| {
        json!({
            "id": name, "name": name, "title": name, "description": "does", "pluginId": "inventory",
            "attributes": {"destructive": !read_only, "idempotent": true, "readOnly": read_only},
            "schema": {
                "input": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": false},
                "output": {"type": "object", "properties": {"found": {"type": "string"}}},
            },
        })
    };
    let actions = [
        action("inventory:find", true),
        action("inventory:drop", false),
        action("debug:log", true),
        action("other:x", true),
    ];
    Mock::given(method("GET"))
        .and(path("/api/inventory/.backstage/actions/v1/actions"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "actions": actions })))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/inventory/.backstage/actions/v1/actions/inventory%3Afind/invoke"))
        .and(body_json(json!({"name": "lamp"})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"output": {"found": "shelf 7"}})))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/inventory/.backstage/actions/v1/actions/inventory%3Adrop/invoke"))
        .respond_with(
            ResponseTemplate::new(409)
                .set_body_json(json!({"error": {"name": "ConflictError", "message": "it is in use"}})),
        )
        .mount(&server)
        .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_of_other_plugins_are_steps_of_templates() {
    let (dir, server) = (TempDir::new(), plugin().await);
    let mut locations = Vec::new();
    for (name, action, input) in [
        ("find", "inventory:find", json!({"name": "${{ parameters.what }}"})),
        ("drop", "inventory:drop", json!({"name": "lamp"})),
        ("wrong", "inventory:find", json!({"name": "lamp", "nam": "lamp"})),
        ("nowhere", "inventory:nope", json!({})),
        ("gone", "gone:find", json!({})),
        ("stranger", "other:x", json!({"name": "x"})),
    ] {
        let mut document: Value =
            serde_json::from_str(&template(name, &json!([{"id": "s", "action": action, "input": input}]))).unwrap();
        document["spec"]["output"] = json!({"found": "${{ steps.s.output.found }}"});
        let file = dir.path.join(format!("{name}.yaml"));
        write(&file, document.to_string());
        locations.push(json!({"type": "file", "target": file.as_str()}));
    }
    let target =
        |base: &str, plugin: &str| json!({"target": format!("{base}/api/{{{{pluginId}}}}"), "plugins": [plugin]});
    let config = json!({
        "backend": {
            "auth": {"dangerouslyDisableDefaultAuthPolicy": true},
            "actions": {"pluginSources": ["scaffolder", "inventory", "gone"]},
        },
        "discovery": {"endpoints": [target(&server.uri(), "inventory"), target("http://127.0.0.1:1", "gone")]},
        "catalog": {"locations": locations},
    });
    let running = Running::start(&config.to_string()).await;

    let actions = running.get("/api/scaffolder/v2/actions").await.json().unwrap();
    let actions = actions.as_array().unwrap();
    let ids: Vec<&str> = actions.iter().map(|action| action["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for (id, times) in
        [("inventory:find", 1), ("debug:log", 1), ("other:x", 0), ("scaffolder:list-scaffolder-tasks", 1)]
    {
        assert_eq!(ids.iter().filter(|known| **known == id).count(), times, "{id} in {ids:?}");
    }
    assert!(running.service.logs().contains("its actions are left out"), "{}", running.service.logs());

    let run = async |name: &str, values: Value| {
        let id = running.create_task(&json!({"templateRef": name, "values": values})).await;
        let (_, events) = running.finish(&id, LIMIT).await;
        (completion(&events).clone(), messages(&events))
    };
    let (end, log) = run("find", json!({"what": "lamp"})).await;
    assert_eq!(end["output"], json!({"found": "shelf 7"}), "{log}");
    for (name, expected) in [
        ("drop", "Request failed with 409 Conflict: it is in use"),
        (
            "wrong",
            "Invalid input passed to action inventory:find, instance is not allowed to have the additional property \"nam\"",
        ),
        ("nowhere", "Template action with ID 'inventory:nope' is not registered."),
        (
            "gone",
            "Template action with ID 'gone:find' can't be found: the plugin 'gone' can't be asked for its actions",
        ),
        // A plugin speaks for itself only.
        ("stranger", "Template action with ID 'other:x' is not registered."),
    ] {
        let (end, _) = run(name, json!({})).await;
        let message = end["error"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(expected), "{name}: {message}");
    }

    // What only reads is called in a dry run, the rest is not.
    let steps = json!([
        {"id": "find", "action": "inventory:find", "input": {"name": "lamp"}},
        {"id": "drop", "action": "inventory:drop", "input": {"name": "lamp"}},
    ]);
    let mut dry: Value = serde_json::from_str(&template("dry", &steps)).unwrap();
    dry["spec"]["output"] = json!({"found": "${{ steps.find.output.found }}"});
    let body = json!({"template": dry, "values": {}, "directoryContents": []});
    let reply = running.post("/api/scaffolder/v2/dry-run", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json().unwrap()["output"], json!({"found": "shelf 7"}));
    assert!(reply.text().contains("Skipping because inventory:drop does not support dry-run"));
    running.stop().await;
}
