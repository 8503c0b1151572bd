//! Steps that are run again by another task: what is there and is the same stays, what differs is an error that says how.

use std::fs;

use serde_json::{Map, Value, json};
use understudy_testbed::github::{Fault, GithubOptions, Repository};

use crate::double::{Case, is_git};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmTnA8XWUhQGzEHbvTDjZsMHh1dnZ1fKk1WPuQ0mZqT";
const FILES: &[(&str, &str)] = &[("README.md", "# Shop\n"), (".github/workflows/ci.yml", "on: workflow_dispatch\n")];

struct Row {
    action: &'static str,
    input: Value,
    /// Part of a line of the second run's log.
    says: &'static str,
    /// Changing requests that GitHub carries out the second time, too: they set what is there already.
    repeated: &'static [&'static str],
    /// Changes to the input, and a part of the error.
    differs: Vec<(Value, &'static str)>,
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            action: "github:webhook",
            input: json!({"webhookUrl": "https://ci.example.com", "webhookSecret": "s", "events": ["push", "release"]}),
            says: "A webhook of acme/shop for https://ci.example.com exists already with the same settings",
            repeated: &[],
            differs: vec![
                (json!({"events": ["push"]}), "events is [\"push\",\"release\"] there, [\"push\"] was asked for"),
                (json!({"active": false}), "active is true there, false was asked for"),
            ],
        },
        Row {
            action: "github:issues:label",
            input: json!({"number": 1, "labels": ["bug"]}),
            says: "Issue #1 of acme/shop has the labels bug",
            repeated: &["POST /repos/acme/shop/issues/1/labels"],
            differs: vec![],
        },
        Row {
            action: "github:autolinks:create",
            input: json!({"keyPrefix": "T-", "urlTemplate": "https://t.example.com/<num>", "isAlphanumeric": false}),
            says: "The autolink T- of acme/shop exists already and is the same",
            repeated: &[],
            differs: vec![
                (
                    json!({"urlTemplate": "https://u.example.com/<num>"}),
                    "urlTemplate is \"https://t.example.com/<num>\" there",
                ),
                (json!({"isAlphanumeric": true}), "isAlphanumeric is false there, true was asked for"),
                (json!({"keyPrefix": "T"}), "already_exists"),
            ],
        },
        Row {
            action: "github:pages:enable",
            input: json!({"buildType": "legacy", "sourcePath": "/docs"}),
            says: "acme.github.io/shop/) exists already with the same settings",
            repeated: &[],
            differs: vec![
                (json!({"buildType": "workflow"}), "buildType is \"legacy\" there, \"workflow\" was asked for"),
                (json!({"sourcePath": "/"}), "sourcePath is \"/docs\" there, \"/\" was asked for"),
            ],
        },
        Row {
            action: "github:deployKey:create",
            input: json!({"publicKey": format!("{KEY} me@home"), "privateKey": "private", "deployKeyName": "Argo CD"}),
            says: "The deploy key 'Argo CD' of acme/shop exists already and is the same",
            repeated: &["PUT /repos/acme/shop/actions/secrets/ARGO_CD_PRIVATE_KEY"],
            differs: vec![(
                json!({"deployKeyName": "Flux"}),
                "deployKeyName is \"Argo CD\" there, \"Flux\" was asked for",
            )],
        },
        Row {
            action: "github:environment:create",
            input: json!({
                "name": "prod",
                "deploymentBranchPolicy": {"protected_branches": false, "custom_branch_policies": true},
                "customBranchPolicyNames": ["main"],
                "customTagPolicyNames": ["v*"],
                "environmentVariables": {"REGION": "eu"},
                "secrets": {"TOKEN": "x"},
                "waitTimer": 10.0,
                "preventSelfReview": true,
                "reviewers": ["octocat", "group:platform"],
            }),
            says: "The environment prod of acme/shop exists already with the same rules",
            repeated: &["PUT /repos/acme/shop/environments/prod/secrets/TOKEN"],
            differs: vec![
                (json!({"waitTimer": 0}), "waitTimer is 10 there, 0 was asked for"),
                (json!({"reviewers": []}), "reviewers is [[\"Team\","),
                (json!({"preventSelfReview": false}), "preventSelfReview is true there"),
                (json!({"customTagPolicyNames": []}), "the tag v* may be deployed"),
                (
                    json!({"deploymentBranchPolicy": {"protected_branches": true, "custom_branch_policies": false}}),
                    "deploymentBranchPolicy is {",
                ),
                (json!({"environmentVariables": {"REGION": "us"}}), "the variable REGION has another value"),
            ],
        },
        Row {
            action: "github:branch-protection:create",
            input: json!({
                "requiredStatusCheckContexts": ["b", "a"],
                "requiredCommitSigning": true,
                "restrictions": {"users": ["octocat"], "teams": ["platform"]},
                "bypassPullRequestAllowances": {"users": ["octocat"]},
                "requiredApprovingReviewCount": 2,
            }),
            says: "The branch main of acme/shop is protected in the same way already",
            repeated: &[],
            differs: vec![],
        },
    ]
}

/// What another task finds: no checkpoints, no log.
fn forget(case: &Case) {
    for file in ["checkpoints.json", "log"] {
        let _ = fs::remove_file(case.job.dir.join(file));
    }
    case.github.clear_requests();
}

/// All that matters of a repository, but for what is never twice the same.
fn state(case: &Case) -> Repository {
    case.github.repository("acme", "shop").unwrap()
}

/// Changing requests that GitHub carried out.
fn changes(case: &Case) -> Vec<String> {
    let requests = case.github.requests();
    let done =
        requests.iter().filter(|request| request.method != "GET" && request.status < 300 && !is_git(&request.path));
    done.map(|request| request.line()).collect()
}

async fn prepare(action: &str, input: Value) -> Case {
    let options =
        GithubOptions::default().user("octocat").org("acme", &["octocat"]).team("acme", "platform", &["octocat"]);
    let mut case = Case::with(options, "acme", input).await;
    case.job.action = action.into();
    case.job.entities = json!({
        "user:default/octocat": {"kind": "User", "metadata": {"name": "octocat"}},
        "group:default/platform": {"kind": "Group", "metadata": {"name": "platform"}},
    });
    case
}

#[tokio::test]
async fn what_is_there_and_equal_stays() {
    for row in rows() {
        let action = row.action;
        let mut case = prepare(action, row.input.clone()).await;
        case.github.seed_repo("acme", "shop", FILES).await.unwrap();
        case.github.client().unwrap().post("/repos/acme/shop/issues", &json!({"title": "first"})).await.unwrap();
        let first = case.succeed().await;
        let before = state(&case);
        forget(&case);

        assert_eq!(case.succeed().await, first, "{action}");
        assert_eq!(format!("{before:?}"), format!("{:?}", state(&case)), "{action}");
        assert_eq!(changes(&case), row.repeated, "{action}");
        assert!(case.job.log().iter().any(|line| line.contains(row.says)), "{action}: {:#?}", case.job.log());

        for (change, says) in row.differs {
            forget(&case);
            let mut input = case.job.input.as_object().unwrap().clone();
            let original = std::mem::replace(&mut case.job.input, Value::Null);
            input.extend(change.as_object().unwrap().clone());
            case.job.input = Value::Object(input);
            let error = case.fail().await;
            assert!(error.contains(says), "{action} {change}: {error}");
            assert_eq!(format!("{before:?}"), format!("{:?}", state(&case)), "{action} {change}");
            case.job.input = original;
        }
    }
}

#[tokio::test]
async fn other_protection_is_replaced_and_said() {
    let mut case = prepare("github:branch-protection:create", json!({})).await;
    case.github.seed_repo("acme", "shop", FILES).await.unwrap();
    case.succeed().await;
    forget(&case);
    case.job.input["requiredApprovingReviewCount"] = json!(3);
    case.job.input["requireCodeOwnerReviews"] = json!(true);
    case.succeed().await;
    let says = "its rules are replaced: requiredApprovingReviewCount is 1 there, 3 was asked for; \
                requireCodeOwnerReviews is false there, true was asked for";
    assert!(case.job.log().iter().any(|line| line.ends_with(says)), "{:#?}", case.job.log());
    let reviews = &state(&case).protection["main"]["required_pull_request_reviews"];
    assert_eq!(reviews["required_approving_review_count"], 3);
}

fn publish() -> Value {
    json!({
        "description": "The shop", "repoVisibility": "internal", "topics": ["Shop"], "hasWiki": false,
        "repoVariables": {"A": "1"}, "secrets": {"S": "x"}, "access": "acme/platform",
    })
}

#[tokio::test]
async fn a_published_repository_is_published_once() {
    let mut case = prepare("publish:github", publish()).await;
    let first = case.succeed().await;
    let before = state(&case);
    forget(&case);
    assert_eq!(case.succeed().await, first);
    assert_eq!(changes(&case), Vec::<String>::new());
    assert_eq!(format!("{before:?}"), format!("{:?}", state(&case)));
    let log = case.job.log();
    for says in [
        "The repository acme/shop exists already with the same settings and the same content; nothing is changed",
        "nothing is pushed",
        "The branch main of acme/shop is protected in the same way already",
    ] {
        assert!(log.iter().any(|line| line.contains(says)), "{log:#?}");
    }

    for (change, says) in [
        (json!({"description": "Another"}), "description is \"The shop\" there, \"Another\" was asked for"),
        (json!({"repoVisibility": "public"}), "visibility is \"internal\" there, \"public\" was asked for"),
        (json!({"hasWiki": true}), "has_wiki is false there, true was asked for"),
        (json!({"allowSquashMerge": false}), "allow_squash_merge is true there, false was asked for"),
        (json!({"topics": ["a"]}), "topics is [\"shop\"] there, [\"a\"] was asked for"),
        (json!({"repoVariables": {"A": "2"}}), "the variable A has another value"),
        (json!({"repoVariables": {"B": "2"}}), "the variable B is missing"),
        (json!({"secrets": {"T": "2"}}), "the secret T is missing"),
        (json!({"sourcePath": "bin"}), "its branch main has other content"),
        (json!({"defaultBranch": "trunk"}), "it has no branch trunk"),
    ] {
        forget(&case);
        let original = case.job.input.clone();
        case.job.input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = case.fail().await;
        assert!(error.starts_with("Error: Failed to create the Organization repository acme/shop, "), "{error}");
        assert!(error.contains(says), "{change}: {error}");
        assert_eq!(changes(&case), Vec::<String>::new(), "{change}");
        case.job.input = original;
    }
}

#[tokio::test]
async fn a_repository_is_created_and_filled_once() {
    let mut case =
        prepare("github:repo:create", json!({"description": "The shop", "workflowAccess": "organization"})).await;
    let made = case.succeed().await;
    assert_eq!(state(&case).workflow_access.as_deref(), Some("organization"));
    forget(&case);
    assert_eq!(case.succeed().await, made);
    assert_eq!(changes(&case), Vec::<String>::new());
    assert!(
        case.job.log().iter().any(|line| line.contains("acme/shop exists already with the same settings; nothing"))
    );

    let repo_url = case.job.input["repoUrl"].clone();
    case.job.action = "github:repo:push".into();
    case.job.input = json!({"repoUrl": repo_url, "gitCommitMessage": "Start"});
    forget(&case);
    let pushed = case.succeed().await;
    let branches = case.github.branches("acme", "shop").await.unwrap();
    forget(&case);
    assert_eq!(case.succeed().await, pushed);
    assert_eq!(changes(&case), Vec::<String>::new());
    assert_eq!(case.github.branches("acme", "shop").await.unwrap(), branches);
    // Within the same second even the commit is the same.
    let says = ["has the same content already (commit ", "is at this commit already ("];
    assert!(case.job.log().iter().any(|line| says.iter().any(|says| line.contains(says))));

    forget(&case);
    case.job.input["sourcePath"] = "bin".into();
    let error = case.fail().await;
    assert!(error.starts_with("ConflictError: the branch 'main' of https://localhost"), "{error}");
    assert!(error.ends_with("Its content is not what this step pushes"), "{error}");
    assert_eq!(case.github.branches("acme", "shop").await.unwrap(), branches);
}

/// Outputs of a task's second run, whose checkpoints are there.
async fn again(case: &Case) -> Map<String, Value> {
    case.github.clear_requests();
    case.succeed().await
}

#[tokio::test]
async fn issues_and_runs_are_asked_for_once_per_task() {
    let mut case = prepare("github:issues:create", json!({"title": "T", "labels": ["l"], "milestone": 3.0})).await;
    case.github.seed_repo("acme", "shop", FILES).await.unwrap();
    let first = case.succeed().await;
    assert_eq!(first["issueNumber"], 1);
    assert_eq!(again(&case).await, first);
    assert_eq!(changes(&case), Vec::<String>::new());
    assert!(case.job.log().iter().any(|line| line.contains("opened the issue 'T' already")));
    case.job.input["title"] = "U".into();
    assert_eq!(again(&case).await["issueNumber"], 2);

    case.job.action = "github:actions:dispatch".into();
    case.job.input = json!({
        "repoUrl": case.job.input["repoUrl"], "workflowId": "ci.yml", "branchOrTagName": "main",
        "workflowInputs": {"a": "b"}, "returnWorkflowRunDetails": true,
    });
    let first = again(&case).await;
    let run = first["workflowRunId"].as_u64().unwrap();
    assert!(first["workflowRunHtmlUrl"].as_str().unwrap().ends_with(&format!("/acme/shop/actions/runs/{run}")));
    assert_eq!(again(&case).await, first);
    assert_eq!(state(&case).dispatches.len(), 1);
}

#[tokio::test]
async fn a_repository_whose_answer_was_lost_is_found() {
    for auto_init in [true, false] {
        let case = prepare("github:repo:create", json!({"autoInit": auto_init, "secrets": {"S": "x"}})).await;
        case.github.inject(Fault::disconnect_after("POST", "/orgs/*/repos").times(1));
        case.fail().await;
        assert!(state(&case).secrets.is_empty());
        let output = again(&case).await;
        assert!(output["repoContentsUrl"].as_str().unwrap().ends_with("/acme/shop/blob/main"));
        assert_eq!(state(&case).secrets["S"], "x");
        let log = case.job.log();
        assert!(log.iter().any(|line| line.contains("Going on with the repository acme/shop")), "{log:#?}");
        assert_eq!(case.github.branches("acme", "shop").await.unwrap().len(), usize::from(auto_init));
    }
}

#[tokio::test]
async fn an_issue_whose_answer_was_lost_is_found() {
    let case = prepare("github:issues:create", json!({"title": "T", "body": "B"})).await;
    case.github.seed_repo("acme", "shop", FILES).await.unwrap();
    case.github.inject(Fault::disconnect_after("POST", "/repos/*/*/issues").times(1));
    case.fail().await;
    let output = again(&case).await;
    assert_eq!(output["issueNumber"], 1);
    assert_eq!(state(&case).issues.len(), 1);
    assert!(case.job.log().iter().any(|line| line.contains("Going on with issue #1 of acme/shop")));
}
