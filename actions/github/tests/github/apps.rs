//! GitHub Apps in place of tokens.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::github::{Fault, GithubApp, RunState};

use crate::double::{Case, is_git};

const CI: (&str, &str) = (".github/workflows/ci.yaml", "name: CI\non: push\njobs: {build: {steps: [{run: make}]}}\n");

/// A case whose integration has an App, installed at `acme`, and no token.
async fn case(input: Value) -> (Case, GithubApp) {
    let mut case = Case::new("acme", input).await;
    let app = case.github.add_app("deployer", &["acme"]).await.unwrap();
    let integration = case.job.config["integrations"]["github"][0].as_object_mut().unwrap();
    integration.remove("token");
    integration.insert("apps".into(), json!([of(&app)]));
    (case, app)
}

fn of(app: &GithubApp) -> Value {
    json!({
        "appId": app.id,
        "clientId": app.client_id,
        "clientSecret": "unused",
        "webhookSecret": "unused",
        // As it comes out of an environment variable.
        "privateKey": app.private_key.replace('\n', "\\n"),
    })
}

/// No token of the App may show anywhere.
fn nothing_shows(case: &Case, app: &GithubApp) {
    let texts = format!("{:?} {:?}", case.job.log(), case.job.checkpoints());
    for secret in case.github.app_tokens(app).iter().map(String::as_str).chain(app.private_key.lines().skip(1).take(3))
    {
        assert!(!texts.contains(secret), "{texts}");
    }
}

#[tokio::test]
async fn a_repository_is_published_as_the_app() {
    let (case, app) = case(json!({"topics": ["a"], "protectDefaultBranch": true})).await;
    case.succeed().await;
    let calls = case.calls();
    assert_eq!(calls[0], "GET /app/installations?per_page=100&page=1");
    assert!(calls[1].starts_with("POST /app/installations/") && calls[1].ends_with("/access_tokens"), "{calls:?}");
    let asked = |part: &str| calls.iter().filter(|call| call.contains(part)).count();
    assert_eq!((asked("/app/installations?"), asked("/access_tokens")), (1, 1), "one token serves the whole step");
    let requests = case.github.requests();
    let pushes: Vec<_> = requests.iter().filter(|request| is_git(&request.path) && request.method == "POST").collect();
    assert_eq!(pushes[0].login.as_deref(), Some("deployer[bot]"));
    assert!(
        requests.iter().skip(2).filter(|it| it.login.is_some()).all(|it| it.login.as_deref() == Some("deployer[bot]"))
    );
    nothing_shows(&case, &app);
}

#[tokio::test]
async fn a_token_that_ends_during_a_wait_is_renewed() {
    let (mut case, app) = case(json!({"branch": "main", "pollInterval": "200ms"})).await;
    case.job.action = "wait-workflow".into();
    case.github.seed_repo("acme", "shop", &[CI]).await.unwrap();
    let scripted = async {
        while !case.job.log().iter().any(|line| line.contains("CI #1: queued")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A new one is not to be had at once.
        case.github.inject(Fault::error("POST", "/app/installations/*/access_tokens", 502, "Bad gateway").times(4));
        for token in case.github.app_tokens(&app) {
            case.github.revoke_token(&token);
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
        let run = case.github.workflow_runs("acme", "shop")[0].id;
        case.github.advance_run("acme", "shop", run, RunState::completed("success")).unwrap();
    };
    let (outcome, ()) = tokio::join!(case.run(), scripted);
    outcome.result.unwrap();
    let calls = case.calls();
    assert_eq!(calls.iter().filter(|call| call.ends_with("/access_tokens")).count(), 6, "{calls:?}");
    nothing_shows(&case, &app);
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_not_used() {
    let (mut case, app) = case(json!({"number": 1, "labels": ["a"]})).await;
    case.job.action = "wait-workflow".into();
    case.job.input =
        json!({"repoUrl": case.github.repo_url("acme", "shop"), "branch": "main", "pollInterval": "100ms"});
    case.github.set_app_token_lifetime(&app, chrono::TimeDelta::minutes(9));
    case.github.seed_repo("acme", "shop", &[CI]).await.unwrap();
    let run = case.github.workflow_runs("acme", "shop")[0].id;
    case.github.advance_run("acme", "shop", run, RunState::completed("success")).unwrap();
    case.succeed().await;
    let tokens = case.calls().iter().filter(|call| call.ends_with("/access_tokens")).count();
    assert!(tokens > 1, "{:?}", case.calls());
}

#[tokio::test]
async fn what_is_wrong_with_an_app_is_told() {
    let (mut case, app) = case(json!({})).await;
    let host = case.github.host();
    let prefix = format!("Error: The GitHub App {} of the integration for {host}: ", app.id);
    let config = case.job.config.clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = config.clone();
        change(&mut config["integrations"]["github"][0]);
        config
    };

    case.github.suspend_app(&app, "acme", true).unwrap();
    assert_eq!(case.fail().await, format!("{prefix}its installation for acme is suspended"));
    case.github.suspend_app(&app, "acme", false).unwrap();

    case.job.config = with(&|integration| integration["apps"][0]["privateKey"] = "hunter2".into());
    let error = case.fail().await;
    assert!(error.starts_with(&format!("{prefix}its privateKey can't be used: it is not a private key in PEM")));
    assert!(!error.contains("hunter2"));

    case.job.config = with(&|integration| integration["apps"][0]["appId"] = 4711.into());
    let error = case.fail().await;
    assert!(
        error.starts_with(&format!(
            "AuthenticationError: The GitHub App 4711 of the integration for {host}: GitHub does not accept its private key"
        )),
        "{error}"
    );

    // Where no App is installed there is no token, unless the integration has one.
    case.job.config = with(&|integration| integration["apps"][0]["allowedInstallationOwners"] = json!(["others"]));
    assert!(case.fail().await.starts_with("InputError: No token available for host: "));
    assert!(case.calls().iter().all(|call| call.contains("/app/")), "{:?}", case.calls());
    case.job.config["integrations"]["github"][0]["token"] = case.github.token().into();
    case.succeed().await;
}

#[tokio::test]
async fn a_selection_of_repositories_is_honoured() {
    let (mut case, app) = case(json!({"branch": "main"})).await;
    case.job.action = "wait-workflow".into();
    case.github.seed_repo("acme", "shop", &[CI]).await.unwrap();
    case.github.select_repositories(&app, "acme", &["other"]).unwrap();
    assert!(case.fail().await.ends_with(
        "The Backstage GitHub application used in the acme organization does not have access to a repository with the \
         name shop; add it to the App's installation"
    ));
    case.github.select_repositories(&app, "acme", &["other", "Shop"]).unwrap();
    let run = case.github.workflow_runs("acme", "shop")[0].id;
    case.github.advance_run("acme", "shop", run, RunState::completed("success")).unwrap();
    case.succeed().await;
}

#[tokio::test]
async fn an_outage_while_a_token_is_fetched_is_survived() {
    let (mut case, _) = case(json!({"branch": "main"})).await;
    case.job.action = "wait-workflow".into();
    case.github.seed_repo("acme", "shop", &[CI]).await.unwrap();
    let run = case.github.workflow_runs("acme", "shop")[0].id;
    case.github.advance_run("acme", "shop", run, RunState::completed("success")).unwrap();
    case.github.inject(Fault::error("POST", "/app/installations/*/access_tokens", 502, "Bad gateway").times(1));
    case.succeed().await;
}

#[tokio::test]
async fn many_that_need_a_token_at_once_wait_for_one_request() {
    let (mut case, _) = case(json!({"branch": "main"})).await;
    case.job.action = "wait-workflow".into();
    case.job.concurrency = 20;
    case.github.seed_repo("acme", "shop", &[CI]).await.unwrap();
    let run = case.github.workflow_runs("acme", "shop")[0].id;
    case.github.advance_run("acme", "shop", run, RunState::completed("success")).unwrap();
    case.github.inject(Fault::delay("POST", "/app/installations/*/access_tokens", Duration::from_millis(300)));
    case.succeed().await;
    let calls = case.calls();
    let asked = |part: &str| calls.iter().filter(|call| call.contains(part)).count();
    assert_eq!((asked("/app/installations?"), asked("/access_tokens"), asked("/actions/runs?")), (1, 1, 20));
}
