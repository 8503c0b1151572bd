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
