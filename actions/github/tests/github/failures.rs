//! What GitHub refuses, and when it is tried again.

use std::time::Duration;

use serde_json::json;
use understudy_testbed::github::Fault;

use crate::double::Case;

#[tokio::test]
async fn a_taken_name_is_upstreams_error() {
    let case = Case::new("acme", json!({})).await;
    case.github.seed_repo("acme", "shop", &[("theirs", "1")]).await.unwrap();
    let error = case.fail().await;
    assert!(
        error.starts_with(
            "Error: Failed to create the Organization repository acme/shop, Repository creation failed.: {"
        ),
        "{error}"
    );
    assert!(error.contains("name already exists on this account"), "{error}");
    assert!(error.contains("It differs from what this step would make: visibility is \"public\" there"), "{error}");
    assert_eq!(case.calls(), ["GET /users/acme", "POST /orgs/acme/repos", "GET /repos/acme/shop"]);
    assert_eq!(case.github.branches("acme", "shop").await.unwrap().len(), 1);
}

#[tokio::test]
async fn inputs_are_checked_before_anything_is_asked() {
    for (input, expected) in [
        (json!({"allowedHosts": ["github.com"]}), "InputError: repoUrl is on the host 'localhost:"),
        (json!({"allowedHosts": []}), "InputError: repoUrl is on the host 'localhost:"),
        (json!({"repoUrl": "github.com?owner=a&repo=b"}), "InputError: No token available for host: github.com"),
        (json!({"repoUrl": "nowhere.example.com?owner=a&repo=b"}), "InputError: No matching integration configuration"),
        (json!({"repoUrl": "github.com?repo=b"}), "InputError: Invalid repo URL passed to publisher"),
        (json!({"token": "a\nb"}), "InputError: The GitHub token has characters"),
    ] {
        let case = Case::new("acme", input.clone()).await;
        let error = case.fail().await;
        assert!(error.starts_with(expected), "{input}: {error}");
        assert!(case.github.requests().is_empty());
    }
    let case = Case::new("acme", json!({"visibility": "public"})).await;
    assert!(case.fail().await.contains("unknown field `visibility`"));
}

#[tokio::test]
async fn paths_are_not_left() {
    for (owner, repo) in [("..", "shop"), ("acme", ".."), ("a/b", "shop")] {
        let mut case = Case::new("acme", json!({})).await;
        case.job.input["repoUrl"] = format!("{}?owner={owner}&repo={repo}", case.github.host()).into();
        case.violations_expected = true;
        case.fail().await;
        let calls = case.calls();
        assert!(
            calls.iter().all(|call| call.starts_with("GET /users/") || call == "POST /orgs/acme/repos"),
            "{calls:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_team_stops_the_step_early() {
    let case = Case::new("acme", json!({"access": "acme/nobody"})).await;
    assert_eq!(
        case.fail().await,
        "NotFoundError: Received 'Not Found' from the API; one of org: acme or team: nobody was not found within GitHub."
    );
    assert_eq!(case.calls(), ["GET /users/acme", "GET /orgs/acme/teams/nobody"]);
}

#[tokio::test]
async fn a_bad_token_is_told() {
    let case = Case::new("acme", json!({"token": "ghp_wrong"})).await;
    let error = case.fail().await;
    assert!(error.starts_with("HttpError: Bad credentials"), "{error}");
    assert!(!error.contains("ghp_wrong"));
}

#[tokio::test]
async fn collaborators_and_topics_are_only_warned_about() {
    let input = json!({
        "collaborators": [
            {"access": "push", "user": "user:default/nobody"},
            {"access": "admin", "team": "platform"},
        ],
        "topics": ["A"],
    });
    let case = Case::new("acme", input).await;
    case.github.inject(Fault::error("PUT", "/repos/*/*/topics", 422, "Topics are not for you"));
    case.succeed().await;
    let warnings = case.warnings();
    assert!(warnings[0].starts_with("Skipping push access for user:default/nobody, Not Found"), "{warnings:?}");
    assert!(warnings[1].starts_with("Skipping topics A, Topics are not for you - https://docs."), "{warnings:?}");
    assert_eq!(warnings.len(), 2);
    assert_eq!(case.github.repository("acme", "shop").unwrap().teams.len(), 1);
}

#[tokio::test]
async fn protection_that_is_refused_is_only_warned_about() {
    let upgrade = "Upgrade to GitHub Pro or make this repository public to enable this feature.";
    for (status, message, times, warnings) in [
        (
            403,
            upgrade,
            9,
            &["Branch protection was not enabled as it requires GitHub Pro for private repositories"][..],
        ),
        (404, "Branch not found", 1, &[]),
        (
            404,
            "Branch not found",
            9,
            &["Skipping: default branch protection on 'shop', Branch not found - https://docs.github.com/rest"],
        ),
        (
            422,
            "Validation Failed",
            9,
            &["Skipping: default branch protection on 'shop', Validation Failed - https://docs.github.com/rest"],
        ),
    ] {
        let case = Case::new("acme", json!({})).await;
        case.github.inject(Fault::error("PUT", "/repos/*/*/branches/*/protection", status, message).times(times));
        let output = case.succeed().await;
        assert!(output.contains_key("commitHash"));
        assert_eq!(case.warnings(), warnings, "{message}");
    }
}

#[tokio::test]
async fn other_refusals_end_the_step() {
    let case = Case::new("acme", json!({"repoVariables": {"GITHUB_X": "1"}})).await;
    let error = case.fail().await;
    assert!(error.starts_with("HttpError: Validation Failed: {"), "{error}");
    assert!(case.github.branches("acme", "shop").await.unwrap().is_empty());
}

#[tokio::test]
async fn rate_limits_are_waited_for_without_a_slot() {
    let case = Case::new("acme", json!({"topics": ["a"], "protectDefaultBranch": false})).await;
    let limit = Duration::from_secs(1);
    case.github.inject(Fault::secondary_rate_limit("POST", "/orgs/*/repos", limit).times(1));
    case.github.inject(Fault::rate_limited("PUT", "/repos/*/*/topics", 0).times(1));
    let outcome = case.run().await;
    outcome.result.unwrap();
    assert_eq!(outcome.releases, 2);
    assert_eq!(
        case.warnings(),
        [
            "GitHub's secondary rate limit is reached; trying POST /orgs/acme/repos again in 1 s",
            "GitHub's rate limit is reached; trying PUT /repos/acme/shop/topics again in 1 s",
        ]
    );
    assert_eq!(case.github.repository("acme", "shop").unwrap().topics, ["a"]);
}

#[tokio::test]
async fn a_long_rate_limit_ends_the_step() {
    let case = Case::new("acme", json!({})).await;
    case.github.inject(Fault::secondary_rate_limit("GET", "/users/*", Duration::from_secs(3600)));
    let error = case.fail().await;
    assert!(error.contains("(GitHub's secondary rate limit would last another 3600 s"), "{error}");
}

#[tokio::test]
async fn outages_are_waited_out_unless_the_request_may_have_been_done() {
    let case = Case::new("acme", json!({"topics": ["a"], "protectDefaultBranch": false})).await;
    case.github.inject(Fault::error("PUT", "/repos/*/*/topics", 502, "Server Error").times(1));
    case.github.inject(Fault::disconnect("GET", "/users/*").times(1));
    case.succeed().await;
    assert_eq!(case.github.repository("acme", "shop").unwrap().topics, ["a"]);
    assert_eq!(case.warnings().len(), 2, "{:?}", case.warnings());

    let case = Case::new("acme", json!({})).await;
    case.github.inject(Fault::error("POST", "/orgs/*/repos", 502, "Server Error").times(1));
    let error = case.fail().await;
    assert!(
        error.starts_with("Error: Failed to create the Organization repository acme/shop, Server Error"),
        "{error}"
    );
}

#[tokio::test]
async fn a_cancelled_task_asks_for_nothing_more() {
    let mut case = Case::new("acme", json!({})).await;
    case.github.inject(Fault::secondary_rate_limit("GET", "/users/*", Duration::from_secs(600)));
    case.job.cancel_after = Some(300);
    assert_eq!(case.fail().await, "Error: the task was cancelled");
    assert_eq!(case.calls(), ["GET /users/acme"]);
}

#[tokio::test]
async fn a_host_that_is_not_trusted_is_named() {
    let case = Case::new("acme", json!({})).await;
    let other = Case::new("acme", json!({})).await;
    let outcome = case.job.run(other.github.ca_file()).await;
    let error = outcome.result.unwrap_err();
    assert!(error.starts_with("Error: GitHub could not be reached: GET /users/acme at https://localhost:"), "{error}");
    assert!(error.contains("certificate"), "{error}");
}

/// An action on a repository that is there, with a workflow and one issue.
async fn on_a_repository(action: &str, input: serde_json::Value) -> Case {
    let mut case = Case::new("acme", input).await;
    case.job.action = action.into();
    let files = &[("README.md", "# Shop\n"), (".github/workflows/ci.yml", "on: push\n")];
    case.github.seed_repo("acme", "shop", files).await.unwrap();
    case
}

#[tokio::test]
async fn dry_runs_ask_for_nothing() {
    for (action, input, output) in [
        ("github:webhook", json!({"webhookUrl": "https://ci.example.com"}), json!({})),
        (
            "github:issues:create",
            json!({"title": "T"}),
            json!({"issueUrl": "https://github.com/acme/shop/issues/42", "issueNumber": 42}),
        ),
    ] {
        let mut case = on_a_repository(action, input).await;
        case.job.dry_run = true;
        case.github.clear_requests();
        assert_eq!(serde_json::Value::Object(case.succeed().await), output, "{action}");
        assert!(case.github.requests().is_empty(), "{action}");
        assert!(case.job.log()[0].starts_with("Info Dry run: "), "{:?}", case.job.log());
        case.job.input["repoUrl"] = "nowhere.example.com?owner=a&repo=b".into();
        assert!(case.fail().await.starts_with("InputError: No matching integration"), "{action}");
    }
}

#[tokio::test]
async fn webhooks_and_labels_that_are_refused_are_only_warned_about() {
    for (action, input, path, warning) in [
        (
            "github:webhook",
            json!({"webhookUrl": "https://ci.example.com"}),
            "/repos/*/*/hooks",
            "Failed: create webhook 'https://ci.example.com' on repo: 'shop', Not for you - https://docs.github.com/rest",
        ),
        (
            "github:issues:label",
            json!({"number": 7, "labels": ["bug"]}),
            "/repos/*/*/issues/*/labels",
            "Failed: adding labels to issue: '7' on repo: 'shop', Not for you - https://docs.github.com/rest",
        ),
    ] {
        let case = on_a_repository(action, input).await;
        case.github.inject(Fault::error("POST", path, 422, "Not for you"));
        case.succeed().await;
        assert_eq!(case.warnings(), [warning]);
    }
}

#[tokio::test]
async fn what_github_refuses_ends_the_step() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmTnA8XWUhQGzEHbvTDjZsMHh1dnZ1fKk1WPuQ0mZqT";
    for (action, input, expected) in [
        (
            "github:actions:dispatch",
            json!({"workflowId": "none.yml", "branchOrTagName": "main"}),
            "HttpError: Not Found",
        ),
        (
            "github:actions:dispatch",
            json!({"workflowId": "ci.yml", "branchOrTagName": "main"}),
            "HttpError: Workflow does not have 'workflow_dispatch' trigger",
        ),
        (
            "github:actions:dispatch",
            json!({"workflowId": "ci.yml", "branchOrTagName": "none"}),
            "HttpError: No ref found for: none",
        ),
        (
            "github:deployKey:create",
            json!({"publicKey": "pk", "privateKey": "x", "deployKeyName": "k"}),
            "HttpError: Validation Failed: {",
        ),
        (
            "github:autolinks:create",
            json!({"keyPrefix": "T-", "urlTemplate": "https://t.example.com"}),
            "HttpError: Validation Failed: {",
        ),
        (
            "github:pages:enable",
            json!({"buildType": "legacy", "sourceBranch": "none"}),
            "HttpError: Validation Failed: {",
        ),
        ("github:branch-protection:create", json!({"branch": "none"}), "HttpError: Branch not found"),
        (
            "github:environment:create",
            json!({"name": "prod", "reviewers": ["user:default/nobody"]}),
            "NotFoundError: The reviewer user:default/nobody is not in the catalog",
        ),
        (
            "github:environment:create",
            json!({"name": "prod", "reviewers": ["system:default/thing"]}),
            "InputError: The reviewer system:default/thing is a system; only users and groups can review",
        ),
        (
            "github:environment:create",
            json!({"name": "prod", "reviewers": ["group:default/ghosts"]}),
            "NotFoundError: GitHub knows no team for the reviewer group:default/ghosts (GET /orgs/acme/teams/ghosts)",
        ),
        (
            "github:environment:create",
            json!({"name": "prod", "deploymentBranchPolicy": {"protected_branches": true, "custom_branch_policies": true}}),
            "HttpError: custom_branch_policies and protected_branches cannot have the same value",
        ),
        (
            "github:environment:create",
            json!({"name": "prod", "environmentVariables": {"GITHUB_X": "1"}}),
            "HttpError: Validation Failed: {",
        ),
    ] {
        let mut case = on_a_repository(action, input.clone()).await;
        case.job.entities = json!({
            "system:default/thing": {"kind": "System", "metadata": {"name": "thing"}},
            "group:default/ghosts": {"kind": "Group", "metadata": {"name": "ghosts"}},
        });
        let error = case.fail().await;
        assert!(error.starts_with(expected), "{action} {input}: {error}");
    }

    // A deploy key opens one repository of all.
    let mut case =
        on_a_repository("github:deployKey:create", json!({"publicKey": KEY, "privateKey": "x", "deployKeyName": "k"}))
            .await;
    case.succeed().await;
    case.github.seed_repo("acme", "other", &[("f", "1")]).await.unwrap();
    case.job.input["repoUrl"] = case.github.repo_url("acme", "other").into();
    assert!(case.fail().await.contains("key is already in use"));
    assert!(case.github.repository("acme", "other").unwrap().secrets.is_empty());
}

#[tokio::test]
async fn an_environment_waits_for_its_repository() {
    let mut case = on_a_repository("github:environment:create", json!({"name": "prod"})).await;
    case.github.inject(Fault::error("GET", "/repos/*/*", 404, "Not Found").times(1));
    case.succeed().await;
    assert!(case.github.repository("acme", "shop").unwrap().environments.contains_key("prod"));
    case.job.input["repoUrl"] = case.github.repo_url("acme", "none").into();
    assert!(case.fail().await.starts_with("HttpError: Not Found"));
}

#[tokio::test]
async fn a_token_that_may_not_is_told() {
    use understudy_testbed::github::{DEFAULT_TOKEN, GithubOptions, Token};
    let options = GithubOptions::default()
        .token(Token::new(DEFAULT_TOKEN, "octocat"))
        .token(Token::new("ghp_readonly", "octocat").scopes(&["read:org"]));
    let mut case = Case::with(options, "acme", json!({"token": "ghp_readonly", "name": "prod"})).await;
    case.github.seed_repo("acme", "shop", &[("f", "1")]).await.unwrap();
    case.job.action = "github:environment:create".into();
    let error = case.fail().await;
    assert!(error.starts_with("HttpError: Resource not accessible by personal access token"), "{error}");
}

#[tokio::test]
async fn what_only_organizations_have() {
    let mut case = Case::new("octocat", json!({"repoVisibility": "internal"})).await;
    let error = case.fail().await;
    assert!(
        error.starts_with("InputError: repoVisibility is 'internal', but octocat is a personal account"),
        "{error}"
    );
    assert_eq!(case.calls(), ["GET /users/octocat"]);
    case.job.input["repoVisibility"] = "private".into();
    case.job.input["customProperties"] = json!({"team": "shop"});
    case.succeed().await;
    assert!(case.warnings()[0].starts_with("Skipping customProperties: octocat is a personal account"));

    let case = Case::new("acme", json!({"customProperties": {"team": "shop", "tags": ["a", "b"]}})).await;
    case.succeed().await;
    let settings = case.github.repository("acme", "shop").unwrap().settings;
    assert_eq!(settings["custom_properties"], json!({"team": "shop", "tags": ["a", "b"]}));
}
