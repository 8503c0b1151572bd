//! A step that runs again after its process was killed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understudy_testbed::github::Fault;

use crate::double::Case;

const INPUT: &str =
    r#"{"repoVariables": {"A": "1"}, "secrets": {"S": "x"}, "topics": ["t"], "protectDefaultBranch": true}"#;

fn input() -> Value {
    serde_json::from_str(INPUT).unwrap()
}

fn creations(case: &Case) -> usize {
    case.calls().iter().filter(|call| call.ends_with("/repos") && call.starts_with("POST")).count()
}

#[tokio::test]
async fn a_finished_step_does_nothing_twice() {
    let case = Case::new("acme", input()).await;
    let first = case.succeed().await;
    case.github.clear_requests();
    assert_eq!(case.succeed().await, first);
    assert_eq!(case.calls(), ["PUT /repos/acme/shop/branches/main/protection"]);
    assert_eq!(case.github.requests().len(), 1, "nothing is pushed again");
    let keys: Vec<_> = case.job.checkpoints().into_keys().collect();
    assert!(keys.contains(&"create.github.repo.acme.shop".to_string()), "{keys:?}");
}

#[tokio::test]
async fn every_place_to_be_killed_at() {
    for (method, path) in [
        ("GET", "/users/*"),
        ("POST", "/orgs/*/repos"),
        ("PUT", "/repos/*/*/topics"),
        ("POST", "/repos/*/*/actions/variables"),
        ("PUT", "/repos/*/*/actions/secrets/*"),
        ("POST", "/*/*/git-receive-pack"),
        ("PUT", "/repos/*/*/branches/*/protection"),
    ] {
        let case = Case::new("acme", input()).await;
        // The request is carried out, its answer comes too late.
        case.github.inject(Fault::disconnect_after(method, path).times(1));
        case.github.inject(Fault::delay(method, path, Duration::from_secs(30)));
        let mut child = case.job.spawn(case.github.ca_file());
        let done = || case.github.requests().iter().any(|request| request.status == 0);
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(30), "{method} {path} was never asked: {:?}", case.calls());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        case.github.clear_faults();

        let output = case.succeed().await;
        let branches = case.github.branches("acme", "shop").await.unwrap();
        assert_eq!(branches, [("main".to_string(), output["commitHash"].as_str().unwrap().to_string())], "{path}");
        let repository = case.github.repository("acme", "shop").unwrap();
        assert_eq!(repository.topics, ["t"], "{path}");
        assert_eq!(repository.variables["A"], "1", "{path}");
        assert_eq!(repository.secrets["S"], "x", "{path}");
        assert!(repository.protection.contains_key("main"), "{path}");
        assert!(creations(&case) <= 2, "{path}");
    }
}

#[tokio::test]
async fn a_repository_of_somebody_else_is_not_taken_over() {
    let case = Case::new("acme", json!({})).await;
    // The first run ends before its request arrives; then somebody else makes and fills the repository.
    case.github.inject(Fault::error("POST", "/orgs/*/repos", 500, "Server Error").times(1));
    case.fail().await;
    case.github.seed_repo("acme", "shop", &[("theirs", "1")]).await.unwrap();
    let error = case.fail().await;
    assert!(error.contains("name already exists on this account"), "{error}");
    let files = case.dir.path().join("theirs");
    case.github.clone_to(&files, "acme", "shop", None).await.unwrap();
    assert!(files.join("theirs").exists() && !files.join("README.md").exists());
}
