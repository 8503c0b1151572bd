//! The public tutorial's third and fourth templates, unmodified: repository, workflow run, Argo CD application, catalog.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::{
    github::{Play, RunState},
    kubernetes::{Cluster, crds},
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, TempDir, binary, completion, messages, write},
    tutorial::{TOKEN, double, expected, files, in_place_of_github, tutorial},
};

#[tokio::test(flavor = "multi_thread")]
async fn repository_run_application_and_component() {
    walk("03-argocd", "hello-world-gitops").await;
}

/// The claim is a file of its chart; `crossplane` holds it against the XRD and has it made.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_bucket_in_the_chart() {
    walk("04-crossplane", "nodejs-with-bucket").await;
}

async fn walk(folder: &str, template: &str) {
    let cluster = Cluster::shared().await.unwrap();
    cluster.install_crds(&crds().join("argocd.yaml")).await.unwrap();
    // The tutorial's service account: everything on applications in its own namespace.
    let namespace = cluster.namespace("heroku").await.unwrap();
    let rules = json!([{"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["*"]}]);
    let token = cluster.service_account(&namespace, "backstage", &rules).await.unwrap();

    let source = tutorial().join(folder);
    let github = double().await;
    github.play_workflows(Play::Manual);
    github.seed_repo("octo", "templates", source.as_std_path()).await.unwrap();
    let dir = TempDir::new();
    let kubeconfig = dir.path.join("kubeconfig");
    write(&kubeconfig, cluster.kubeconfig(&token, &namespace));
    let options = ServiceOptions::new(binary())
        .config(in_place_of_github(&github))
        .extra_ca(github.ca_file())
        .env("KUBECONFIG", kubeconfig.as_str())
        .env("POD_NAMESPACE", &namespace);
    let running = Running::with(options).await;

    let target = "https://github.com/octo/templates/blob/main/template.yaml";
    let answer = running.post("/api/catalog/locations", &json!({"type": "url", "target": target})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = running
        .create_task(&json!({"templateRef": format!("template:default/{template}"), "values": {
            "serviceName": "my-service", "owner": "team-a",
            "repoUrl": "github.com?owner=octo&repo=my-service",
        }}))
        .await;
    // The push starts the run; the task waits for it, and nothing of the steps after it happens before.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let run = loop {
        if let Some(run) = github.workflow_runs("octo", "my-service").first() {
            break run.clone();
        }
        assert!(std::time::Instant::now() < deadline, "no run; log:\n{}", messages(&running.events(&id).await));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let waits = |event: &Value| event["body"]["stepId"] == "github-wait" && event["body"]["status"] == "processing";
    running.wait_event(&id, waits).await;
    let application = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications/my-service");
    assert!(cluster.get(&application).await.unwrap().is_none(), "the application is there before the run has ended");
    github.advance_run("octo", "my-service", run.id, RunState::InProgress).unwrap();
    github.advance_run("octo", "my-service", run.id, RunState::completed("success")).unwrap();

    let mut stream = running.service.client().events(&format!("{TASKS}/{id}/eventstream")).await.unwrap();
    let frames = stream.until(Duration::from_secs(60), |frame| frame.name() == "completion").await.unwrap();
    let events: Vec<Value> =
        frames.iter().filter(|frame| !frame.is_comment()).map(|frame| frame.json().unwrap()).collect();
    let log = messages(&events);
    assert_eq!(completion(&events)["message"], "Run completed with status: completed", "{log}");
    for step in ["fetch-base", "publish", "github-wait", "argocd-create", "register"] {
        let statuses: Vec<&str> = events
            .iter()
            .filter(|event| event["body"]["stepId"] == step)
            .filter_map(|event| event["body"]["status"].as_str())
            .collect();
        assert_eq!(statuses, ["processing", "completed"], "step {step}:\n{log}");
    }

    let clone = dir.path.join("clone");
    github.clone_to(clone.as_std_path(), "octo", "my-service", "main").await.unwrap();
    let (wanted, found) = (expected(&source.join("skeleton")), files(&clone));
    for (name, (content, executable)) in &wanted {
        let (pushed, pushed_executable) = found.get(name).unwrap_or_else(|| panic!("{name} was not pushed"));
        assert_eq!(String::from_utf8_lossy(pushed), String::from_utf8_lossy(content), "{name}");
        assert_eq!(pushed_executable, executable, "the mode of {name}");
    }
    assert_eq!(wanted.len(), found.len(), "the pushed tree has other files than the skeleton");

    let application = cluster.get(&application).await.unwrap().expect("the application is in the cluster");
    let spec = &application["spec"];
    assert_eq!(spec["source"]["chart"], "my-service-chart", "{spec}");
    assert_eq!(spec["source"]["repoURL"], "ghcr.io/octo", "{spec}");
    assert_eq!(spec["source"]["targetRevision"], "9.9.9", "{spec}");
    assert_eq!(spec["destination"]["namespace"], "my-service", "{spec}");
    assert_eq!(spec["project"], "default", "{spec}");

    let entity = running.get("/api/catalog/entities/by-name/component/default/my-service").await;
    assert_eq!(entity.status, 200, "{}", entity.text());
    for secret in [TOKEN, &token] {
        assert!(!log.contains(secret) && !running.service.logs().contains(secret), "a token is in a log");
    }
    assert_eq!(github.violations(), Vec::<String>::new());
    running.stop().await;
}
