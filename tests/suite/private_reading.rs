//! Templates and skeletons in a private repository, on a branch with a slash in its name, read as a GitHub App.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::{
    github::{Fault, GithubDouble},
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, binary, completion, messages},
    tutorial::double,
};

const TEMPLATE: &str = "apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: private, title: Private}
spec:
  owner: team-a
  type: service
  steps:
    - id: fetch
      action: fetch:template
      input: {url: ./skeleton, values: {name: shop}}
    - id: one
      action: fetch:plain:file
      input: {url: ../NOTICE, targetPath: NOTICE}
    - id: show
      action: debug:log
      input: {listWorkspace: with-contents}
";

/// A private repository `acme/templates`: the branch `feature/x` has the template, `main` does not.
async fn private_repository() -> GithubDouble {
    let github = double().await;
    let client = github.client().unwrap();
    let made = client.post("/orgs/acme/repos", &json!({"name": "templates", "private": true})).await.unwrap();
    made.expect_json(201).unwrap();
    let files = [
        ("tpl/template.yaml", TEMPLATE),
        ("tpl/skeleton/README.md", "# ${{ values.name }}\n"),
        ("NOTICE", "(c) acme\n"),
    ];
    let sha = github.seed_repo("acme", "templates", &files).await.unwrap();
    let branch = json!({"ref": "refs/heads/feature/x", "sha": sha});
    client.post("/repos/acme/templates/git/refs", &branch).await.unwrap().expect_json(201).unwrap();
    github.seed_repo("acme", "templates", &[("other", "x")]).await.unwrap();
    github
}

async fn start(github: &GithubDouble, credentials: Value) -> Running {
    let mut integration = json!({"host": "github.com", "apiBaseUrl": github.api_url()});
    integration.as_object_mut().unwrap().extend(credentials.as_object().unwrap().clone());
    let config = json!({"integrations": {"github": [integration]}}).to_string();
    Running::with(ServiceOptions::new(binary()).config(config).extra_ca(github.ca_file())).await
}

async fn register(running: &Running) -> (u16, String) {
    let target = "https://github.com/acme/templates/blob/feature/x/tpl/template.yaml";
    let answer = running.post("/api/catalog/locations", &json!({"type": "url", "target": target})).await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn an_app_reads_a_template_and_waits_for_limits() {
    let github = private_repository().await;
    let app = github.add_app("reader", &["acme"]).await.unwrap();
    let apps = json!({"apps": [{
        "appId": app.id, "clientId": app.client_id, "clientSecret": "c", "webhookSecret": "w", "privateKey": app.private_key,
    }]});
    let running = start(&github, apps).await;
    let (status, text) = register(&running).await;
    assert_eq!(status, 201, "{text}");

    github.inject(Fault::secondary_rate_limit("GET", "/repos/*/*/tarball/*", Duration::from_secs(1)).times(1));
    github.inject(Fault::error("GET", "/repos/*/*/contents/NOTICE", 502, "Bad gateway").times(1));
    let id = running.create_task(&json!({"templateRef": "template:default/private", "values": {}})).await;
    let mut stream = running.service.client().events(&format!("{TASKS}/{id}/eventstream")).await.unwrap();
    let frames = stream.until(Duration::from_secs(60), |frame| frame.name() == "completion").await.unwrap();
    let events: Vec<Value> =
        frames.iter().filter(|frame| !frame.is_comment()).map(|frame| frame.json().unwrap()).collect();
    let log = messages(&events);
    assert_eq!(completion(&events)["message"], "Run completed with status: completed", "{log}");
    for text in ["# shop", "(c) acme", "The secondary rate limit of ", "trying again in 1 s", "502 Bad Gateway"] {
        assert!(log.contains(text), "{text} is missing: {log}");
    }
    for token in github.app_tokens(&app) {
        assert!(!log.contains(&token));
    }
    assert_eq!(github.app_tokens(&app).len(), 1, "one token serves everything");
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn without_credentials_it_is_not_there() {
    let github = private_repository().await;
    let running = start(&github, json!({"token": "ghp_of_nobody"})).await;
    let (status, text) = register(&running).await;
    assert!(status >= 400 && text.contains("401 Unauthorized (the token was not accepted)"), "{status} {text}");
}
