//! Argo CD applications from templates: created, awaited and linked, through an API server and through the cluster.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::{
    argocd::{ArgocdController, ArgocdDouble, Behaviour, NAMESPACE},
    kubernetes::Cluster,
    process::ServiceOptions,
};

use crate::support::{Running, TempDir, binary, completion, messages, write};

const LIMIT: Duration = Duration::from_secs(90);

/// A template that creates an application, waits for it and links to it.
fn template(reach: &Value) -> Value {
    let input = |own: Value| {
        let mut input = own.as_object().cloned().unwrap();
        input.extend(reach.as_object().cloned().unwrap());
        Value::Object(input)
    };
    json!({
        "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "deploy"},
        "spec": {
            "owner": "user:guest", "type": "service",
            "parameters": {"required": ["name"], "properties": {"name": {"type": "string"}}},
            "steps": [
                {"id": "app", "name": "Create the application", "action": "argocd:create-app", "input": input(json!({
                    "name": "${{ parameters.name }}",
                    "source": {"repoURL": "ghcr.io/acme", "chart": "${{ parameters.name }}", "targetRevision": "1.0.0"},
                    "destination": {"namespace": "${{ parameters.name }}"},
                    "syncPolicy": {"automated": {}},
                }))},
                {"id": "wait", "name": "Wait for it", "action": "argocd:wait-app",
                    "input": input(json!({"name": "${{ steps.app.output.name }}", "timeout": "2m"}))},
            ],
            "output": {
                "links": [{"title": "Argo CD", "url": "${{ steps.wait.output.url }}"}],
                "health": "${{ steps.wait.output.health }}",
                "revision": "${{ steps.wait.output.revision }}",
            },
        },
    })
}

async fn started(mut config: Value, template: &Value, dir: &TempDir) -> Running {
    write(dir.path.join("deploy.yaml"), template.to_string());
    write(
        dir.path.join("hello.yaml"),
        crate::support::template("hello", &json!([{"action": "debug:log", "input": {"message": "hello"}}])),
    );
    let targets: Vec<Value> = ["deploy.yaml", "hello.yaml"]
        .iter()
        .map(|name| json!({"type": "file", "target": dir.path.join(name).as_str()}))
        .collect();
    config["catalog"] = json!({ "locations": targets });
    config["scaffolder"] = json!({"concurrentTasksLimit": 1});
    Running::with(ServiceOptions::new(binary()).config(config.to_string())).await
}

fn task(name: &str) -> Value {
    json!({"templateRef": "template:default/deploy", "values": {"name": name}})
}

#[tokio::test]
async fn through_an_api_server_with_a_wait_that_leaves_the_worker_free() {
    let double = ArgocdDouble::start().await.unwrap();
    let dir = TempDir::new();
    let config = json!({"argocd": {
        "username": "admin", "password": "admin-password",
        "appLocatorMethods": [{"type": "config", "instances": [{"name": "main", "url": double.url()}]}],
    }});
    let running = started(config, &template(&json!({"argoInstance": "main"})), &dir).await;
    double.set("shop", Behaviour::SyncHangs);
    let id = running.create_task(&task("shop")).await;
    running
        .wait_event(&id, |event| {
            event["body"]["message"].as_str().is_some_and(|text| text.contains("operation Running"))
        })
        .await;
    // The only worker is free while the task waits.
    let other = running.create_task(&json!({"templateRef": "template:default/hello", "values": {}})).await;
    let (status, _) = running.finish(&other, LIMIT).await;
    assert_eq!(status, "completed");
    assert_eq!(running.task(&id).await["status"], "processing");

    double.set("shop", Behaviour::Healthy);
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    let page = format!("{}/applications/argocd/shop", double.url());
    let output = &completion(&events)["output"];
    assert_eq!(output["links"], json!([{"title": "Argo CD", "url": page}]));
    assert_eq!((&output["health"], &output["revision"]), (&json!("Healthy"), &json!("1.0.0")));
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("admin-password") && !text.contains("session-admin"), "a credential is in the events");

    let (status, events) = running.finish(&running.create_task(&task("shop")).await, LIMIT).await;
    assert_eq!(status, "completed");
    assert!(messages(&events).contains("The application argocd/shop is unchanged"), "{}", messages(&events));

    double.set("broken", Behaviour::Degraded("Back-off pulling image \"ghcr.io/acme/broken\"".into()));
    let (status, events) = running.finish(&running.create_task(&task("broken")).await, LIMIT).await;
    assert_eq!(status, "failed");
    let error = completion(&events)["error"]["message"].as_str().unwrap_or_default();
    assert!(error.starts_with("The application broken won't get there: it is Degraded"), "{error}");
    assert!(error.contains("Deployment broken/broken is Degraded: Back-off pulling image"), "{error}");

    double.expire_tokens();
    double.set("late", Behaviour::Healthy);
    let (status, events) = running.finish(&running.create_task(&task("late")).await, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    assert!(double.app(NAMESPACE, "late").is_some());
    assert_eq!(double.violations(), Vec::<String>::new());
    running.stop().await;
}

#[tokio::test]
async fn through_the_cluster() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace("argo-e2e").await.unwrap();
    let controller = ArgocdController::start(&cluster, &namespace).await.unwrap();
    let rules = json!([{"apiGroups": ["argoproj.io"], "resources": ["applications"],
        "verbs": ["get", "list", "watch", "create", "patch"]}]);
    let token = cluster.service_account(&namespace, "portal", &rules).await.unwrap();
    let mut config = cluster.app_config("testbed", &token);
    config["argocd"] = json!({"namespace": namespace, "baseUrl": "https://argocd.example.org"});
    let dir = TempDir::new();
    let running = started(config, &template(&json!({"clusterName": "testbed"})), &dir).await;

    let (status, events) = running.finish(&running.create_task(&task("shop")).await, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    let output = &completion(&events)["output"];
    let page = format!("https://argocd.example.org/applications/{namespace}/shop");
    assert_eq!(output["links"], json!([{"title": "Argo CD", "url": page}]));
    assert!(messages(&events).contains("sync Synced, health Progressing"), "{}", messages(&events));
    assert!(!serde_json::to_string(&events).unwrap().contains(&token), "the token is in the events");
    let app = controller.app("shop").await.unwrap().unwrap();
    assert_eq!(app["spec"]["source"]["chart"], "shop");

    controller.set("broken", Behaviour::SyncFails("namespaces \"broken\" not found".into()));
    let (status, events) = running.finish(&running.create_task(&task("broken")).await, LIMIT).await;
    assert_eq!(status, "failed");
    let error = completion(&events)["error"]["message"].as_str().unwrap_or_default();
    assert!(
        error.contains("its operation ended as Failed") && error.contains("namespaces \"broken\" not found"),
        "{error}"
    );
    running.stop().await;
}
