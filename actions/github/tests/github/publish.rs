//! What is asked of GitHub, and what becomes of it.

use serde_json::{Value, json};
use understudy_testbed::github::{Access, DEFAULT_TOKEN, GithubOptions, Token};

use crate::double::{Case, is_git};

/// Requests that upstream was recorded making, in order, and the inputs that belong to them.
fn recorded() -> Vec<Value> {
    let text = include_str!("../../testdata/publish-github.requests.json");
    serde_json::from_str::<Value>(text).unwrap()["cases"].as_array().unwrap().clone()
}

#[tokio::test]
async fn requests_are_upstreams() {
    for recorded in recorded() {
        let name = &recorded["name"];
        let owner = recorded["owner"].as_str().unwrap();
        let options = GithubOptions::default().user("octocat").user("u1").team("acme", "t2", &["octocat"]);
        let case = Case::with(options, owner, recorded["input"].clone()).await;
        case.succeed().await;
        assert_eq!(case.warnings(), Vec::<String>::new(), "{name}");
        let mut expected = recorded["requests"].as_array().unwrap().iter();
        let requests = case.github.requests();
        let mut pushed = false;
        for request in &requests {
            if is_git(&request.path) {
                pushed = true;
                continue;
            }
            let expected = expected.next().unwrap_or_else(|| panic!("{name}: {} is too many", request.line()));
            assert_eq!(expected["request"], request.line(), "{name}");
            assert_eq!(expected["after_push"].as_bool().unwrap_or(false), pushed, "{name}: {}", request.line());
            let mut body = request.body.clone().unwrap_or_default();
            // Sealing is never twice the same; what was sealed is checked elsewhere.
            if let Some(sealed) = body.as_object_mut().and_then(|body| body.get_mut("encrypted_value")) {
                *sealed = "sealed".into();
                body["key_id"] = "key".into();
            }
            assert_eq!(expected["body"], body, "{name}: {}", request.line());
        }
        assert_eq!(expected.next(), None, "{name}");
        assert!(pushed, "{name}");
    }
}

#[tokio::test]
async fn the_workspace_is_cloned_back() {
    let mut case = Case::new("acme", json!({"protectDefaultBranch": false, "gitAuthorName": "Jane"})).await;
    case.job.default_commit_message = Some("Start the shop".into());
    let output = case.succeed().await;

    let clone = case.dir.path().join("clone");
    case.github.clone_to(&clone, "acme", "shop", None).await.unwrap();
    let read = |path: &str| std::fs::read_to_string(clone.join(path)).unwrap();
    assert_eq!(read("README.md"), "# Shop\n");
    assert_eq!(read(".github/workflows/ci.yaml"), "on: push # ${{ github.sha }}\n");
    assert!(!clone.join("debug.log").exists(), ".gitignore is honoured");
    let mode = std::os::unix::fs::PermissionsExt::mode(&clone.join("bin/start").metadata().unwrap().permissions());
    assert_eq!(mode & 0o111, 0o111);

    let log = case.github.git("").arg("-C").arg(&clone).args(["log", "--format=%H|%an|%ae|%cn|%s"]).output();
    let log = String::from_utf8(log.await.unwrap().stdout).unwrap();
    let hash = output["commitHash"].as_str().unwrap();
    assert_eq!(log.trim(), format!("{hash}|Jane|scaffolder@backstage.io|Jane|Start the shop"));

    let web = case.github.web_url();
    assert_eq!(output["remoteUrl"], format!("{web}/acme/shop.git"));
    assert_eq!(output["repoContentsUrl"], format!("{web}/acme/shop/blob/main"));
    assert_eq!(case.github.branches("acme", "shop").await.unwrap(), [("main".to_string(), hash.to_string())]);
    assert_eq!(case.github.repository("acme", "shop").unwrap().visibility, "private");
}

#[tokio::test]
async fn settings_arrive() {
    let input = json!({
        "description": "The shop's front door",
        "homepage": "https://shop.example.com",
        "repoVisibility": "public",
        "access": "acme/platform",
        "collaborators": [{"access": "push", "user": "user:default/u1"}],
        "topics": ["Shop", "frontend"],
        "hasWiki": false,
        "repoVariables": {"REGION": "eu"},
        "secrets": {"REGISTRY": "hünter2"},
        "oidcCustomization": {"useDefault": false, "includeClaimKeys": ["repo"]},
        "subscribe": true,
        "defaultBranch": "trunk/main",
        "sourcePath": "./bin",
        "requiredApprovingReviewCount": 2.0,
        "restrictions": {"users": ["octocat"], "teams": ["platform"]},
        "bypassPullRequestAllowances": {"teams": ["platform"]},
        "requiredCommitSigning": true,
        "requiredLinearHistory": true,
    });
    let case = Case::with(GithubOptions::default().user("octocat").user("u1"), "acme", input).await;
    let output = case.succeed().await;
    assert_eq!(case.warnings(), Vec::<String>::new());
    assert!(output["repoContentsUrl"].as_str().unwrap().ends_with("/acme/shop/blob/trunk/main"));
    let repository = case.github.repository("acme", "shop").unwrap();
    assert_eq!(repository.visibility, "public");
    assert_eq!(repository.settings["has_wiki"], false);
    assert_eq!(repository.settings["homepage"], "https://shop.example.com");
    assert_eq!(repository.topics, ["shop", "frontend"]);
    assert_eq!(repository.teams.get("platform"), Some(&Access::Admin));
    assert_eq!(repository.collaborators.get("u1"), Some(&Access::Write));
    assert_eq!(repository.variables["REGION"], "eu");
    assert_eq!(repository.secrets["REGISTRY"], "hünter2");
    assert_eq!(repository.oidc, Some(json!({"use_default": false, "include_claim_keys": ["repo"]})));
    assert_eq!(repository.subscription.unwrap()["subscribed"], true);
    assert_eq!(repository.signed_branches, ["trunk/main"]);
    let protection = &repository.protection["trunk/main"];
    assert_eq!(protection["required_pull_request_reviews"]["required_approving_review_count"], 2);
    assert_eq!(protection["restrictions"], json!({"users": ["octocat"], "teams": ["platform"]}));
    assert_eq!(protection["required_linear_history"], true);
    let clone = case.dir.path().join("clone");
    case.github.clone_to(&clone, "acme", "shop", Some("trunk/main")).await.unwrap();
    assert!(clone.join("start").exists() && !clone.join("README.md").exists());
}

#[tokio::test]
async fn a_token_of_the_step_is_used() {
    let of_the_step = Token::new("ghp_of_the_step", "jane");
    let options = GithubOptions::default().token(Token::new(DEFAULT_TOKEN, "octocat")).token(of_the_step);
    let case = Case::with(options, "jane", json!({"token": "ghp_of_the_step"})).await;
    case.succeed().await;
    let requests = case.github.requests();
    assert!(
        requests.iter().filter(|request| request.status != 401).all(|request| request.login.as_deref() == Some("jane"))
    );
    assert!(!format!("{:?}", case.job.log()).contains("ghp_of_the_step"));
}
