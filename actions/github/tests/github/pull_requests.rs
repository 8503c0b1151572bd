//! `publish:github:pull-request`, committed for real and cloned back.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use understudy_testbed::github::{DEFAULT_TOKEN, Fault, GithubOptions, PullRequest, Token};

use crate::double::Case;

const CASE: (&str, &str) = ("gone.txt", "old\n");

fn input(extra: Value) -> Value {
    let mut input = json!({"branchName": "change", "title": "Change it", "description": "As asked for"});
    input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    input
}

async fn with(options: GithubOptions, extra: Value) -> Case {
    let mut case = Case::with(options, "acme", input(extra)).await;
    case.job.action = "publish:github:pull-request".into();
    case.github.seed_repo("acme", "shop", &[CASE, ("kept.txt", "kept\n"), ("README.md", "old\n")]).await.unwrap();
    case
}

async fn case(extra: Value) -> Case {
    with(GithubOptions::default(), extra).await
}

fn only_pull(case: &Case) -> PullRequest {
    let pulls = case.github.pull_requests("acme", "shop");
    assert_eq!(pulls.len(), 1, "{pulls:?}");
    pulls.into_iter().next().unwrap()
}

async fn clone(case: &Case, owner: &str, branch: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    case.github.clone_to(dir.path(), owner, "shop", Some(branch)).await.unwrap();
    dir
}

async fn git(case: &Case, dir: &Path, args: &[&str]) -> String {
    let output = case.github.git("").arg("-C").arg(dir).args(args).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

fn count(case: &Case, call: &str) -> usize {
    case.calls().iter().filter(|known| known.starts_with(call)).count()
}

#[tokio::test]
async fn requests_are_upstreams() {
    let options = GithubOptions::default().user("octocat").team("acme", "tt", &["a"]).user("a").user("z");
    let case = with(
        options,
        json!({
            "filesToDelete": ["gone.txt", "never-there.txt"], "sourcePath": "bin", "targetPath": "tools",
            "gitAuthorName": "N", "reviewers": ["a", "a"], "teamReviewers": ["tt"], "assignees": ["a"],
        }),
    )
    .await;
    case.github.clear_requests();
    let output = case.succeed().await;
    let pull = only_pull(&case);
    assert_eq!(
        Value::Object(output),
        json!({
            "targetBranchName": "main",
            "remoteUrl": format!("{}/acme/shop/pull/{}", case.github.web_url(), pull.number),
            "pullRequestNumber": pull.number,
        })
    );
    let n = pull.number;
    let calls = case.calls();
    let start = case.github.branches("acme", "shop").await.unwrap().into_iter().find(|it| it.0 == "main").unwrap().1;
    assert_eq!(
        calls,
        [
            "GET /repos/acme/shop".to_string(),
            "GET /repos/acme/shop/commits?sha=main&per_page=1".into(),
            "POST /repos/acme/shop/git/blobs".into(),
            format!("HEAD /repos/acme/shop/contents/gone.txt?ref={start}"),
            format!("HEAD /repos/acme/shop/contents/never-there.txt?ref={start}"),
            "POST /repos/acme/shop/git/trees".into(),
            "POST /repos/acme/shop/git/commits".into(),
            "POST /graphql".into(),
            "POST /repos/acme/shop/git/refs".into(),
            "POST /repos/acme/shop/pulls".into(),
            format!("POST /repos/acme/shop/pulls/{n}/requested_reviewers"),
            format!("POST /repos/acme/shop/issues/{n}/assignees"),
        ]
    );
    let requests = case.github.requests();
    let body = |call: &str| requests.iter().find(|it| it.line() == call).unwrap().body.clone().unwrap();
    assert_eq!(
        body("POST /repos/acme/shop/git/blobs"),
        json!({"mode": "100755", "encoding": "base64", "content": "IyEvYmluL3NoCg=="})
    );
    let tree = body("POST /repos/acme/shop/git/trees");
    assert_eq!(tree["tree"][0]["path"], "tools/start");
    assert_eq!(tree["tree"][1], json!({"path": "gone.txt", "mode": "100644", "sha": null}));
    let commit = body("POST /repos/acme/shop/git/commits");
    assert_eq!(commit["message"], "Change it");
    assert_eq!(commit["author"], json!({"name": "N", "email": "scaffolder@backstage.io"}));
    assert_eq!(commit["parents"], json!([start]));
    assert_eq!(body("POST /graphql")["variables"], json!({"owner": "acme", "repo": "shop", "head": "change"}));
    assert_eq!(
        body("POST /repos/acme/shop/pulls"),
        json!({"head": "acme:change", "base": "main", "title": "Change it", "body": "As asked for", "draft": false})
    );
    assert_eq!(
        body(&format!("POST /repos/acme/shop/pulls/{n}/requested_reviewers")),
        json!({"reviewers": ["a"], "team_reviewers": ["tt"]})
    );
    assert_eq!(
        (pull.reviewers, pull.team_reviewers, pull.assignees),
        (vec!["a".into()], vec!["tt".into()], vec!["a".into()])
    );
}

#[tokio::test]
async fn the_branch_holds_the_workspace() {
    let case = case(json!({"filesToDelete": ["gone.txt"], "draft": true, "commitMessage": "fix: all of it"})).await;
    let workspace = case.dir.path().join("workspace");
    symlink("README.md", workspace.join("link")).unwrap();
    fs::write(workspace.join("binary"), [0, 159, 146, 150]).unwrap();
    fs::create_dir_all(workspace.join("deep/ä b")).unwrap();
    fs::write(workspace.join("deep/ä b/c#d.txt"), "x").unwrap();
    case.succeed().await;
    assert!(only_pull(&case).draft);
    let there = clone(&case, "acme", "change").await;
    let at = |path: &str| there.path().join(path);
    assert_eq!(fs::read_to_string(at("README.md")).unwrap(), "# Shop\n");
    assert_eq!(fs::read(at("binary")).unwrap(), [0, 159, 146, 150]);
    assert_eq!(fs::read_to_string(at("deep/ä b/c#d.txt")).unwrap(), "x");
    assert_eq!(fs::read_to_string(at("kept.txt")).unwrap(), "kept\n");
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("README.md"));
    assert!(!at("gone.txt").exists() && !at("debug.log").exists());
    let modes = git(&case, there.path(), &["ls-tree", "HEAD", "bin/start"]).await;
    assert!(modes.starts_with("100755"), "{modes}");
    let log = git(&case, there.path(), &["log", "--format=%an|%s"]).await;
    assert_eq!(log, "octocat|fix: all of it\nTestbed|Seed", "without a configured author it is the token's user");
}

#[tokio::test]
async fn twice_is_once() {
    let case = case(json!({})).await;
    let first = case.succeed().await;
    for moved in [false, true] {
        if moved {
            case.github.seed_repo("acme", "shop", &[CASE, ("more.txt", "the base has moved on\n")]).await.unwrap();
        }
        let branches = case.github.branches("acme", "shop").await.unwrap();
        assert_eq!(case.succeed().await, first);
        assert_eq!(case.github.branches("acme", "shop").await.unwrap(), branches);
        let said = format!("Info The pull request has these changes already: {}", first["remoteUrl"].as_str().unwrap());
        assert_eq!(case.job.log().last(), Some(&said));
    }
    only_pull(&case);
    assert_eq!(count(&case, "POST /repos/acme/shop/pulls"), 1);
}

#[tokio::test]
async fn a_run_that_ended_between_branch_and_pull_request_is_finished() {
    let case = case(json!({})).await;
    case.github.inject(Fault::error("POST", "/repos/*/*/pulls", 500, "Server Error").times(1));
    let error = case.fail().await;
    assert!(error.starts_with("GithubResponseError: Pull request creation failed; caused by HttpError: Server Error"));
    case.succeed().await;
    only_pull(&case);
}

#[tokio::test]
async fn other_content_is_replaced_only_when_asked_for() {
    let mut case = case(json!({})).await;
    case.succeed().await;
    fs::write(case.dir.path().join("workspace/README.md"), "# Shop 2\n").unwrap();
    let error = case.fail().await;
    let url = format!("{}/acme/shop/pull/1", case.github.web_url());
    assert_eq!(
        error,
        format!(
            "GithubResponseError: Pull request creation failed; caused by ConflictError: Pull request already exists: {url}. \
             Its files differ from those of this step; set update: true to replace them, or choose another branchName"
        )
    );
    case.job.input["update"] = true.into();
    case.job.input["title"] = "Change it again".into();
    let output = case.succeed().await;
    assert_eq!(output["remoteUrl"], url);
    assert_eq!(only_pull(&case).title, "Change it again");
    let there = clone(&case, "acme", "change").await;
    assert_eq!(fs::read_to_string(there.path().join("README.md")).unwrap(), "# Shop 2\n");
    // And again, with nothing new.
    case.github.clear_requests();
    case.succeed().await;
    assert_eq!(count(&case, "PATCH"), 0, "{:?}", case.calls());
}

#[tokio::test]
async fn a_branch_of_somebody_else_is_left_alone() {
    let mut case = case(json!({"branchName": "feature/x"})).await;
    let client = case.github.client().unwrap();
    let main = case.github.branches("acme", "shop").await.unwrap()[0].1.clone();
    let body = json!({"ref": "refs/heads/feature/x", "sha": main});
    client.post("/repos/acme/shop/git/refs", &body).await.unwrap().expect_json(201).unwrap();
    let error = case.fail().await;
    assert!(error.contains("The branch 'feature/x' of acme/shop exists already. Its files differ"), "{error}");
    case.job.input["update"] = true.into();
    case.succeed().await;
    assert_eq!(only_pull(&case).head, "feature/x");
}

#[tokio::test]
async fn nothing_to_change() {
    let mut case = case(json!({"createWhenEmpty": false, "sourcePath": "empty"})).await;
    fs::create_dir(case.dir.path().join("workspace/empty")).unwrap();
    assert_eq!(Value::Object(case.succeed().await), json!({}));
    assert!(case.github.pull_requests("acme", "shop").is_empty());
    assert_eq!(
        case.job.log().last().unwrap(),
        "Info The repository has all of this already: no pull request is opened"
    );
    case.job.input["createWhenEmpty"] = true.into();
    assert_eq!(case.succeed().await["pullRequestNumber"], 1);
}

#[tokio::test]
async fn a_fork_serves_where_pushing_is_not_allowed() {
    let options = GithubOptions::default()
        .user("octocat")
        .token(Token::new(DEFAULT_TOKEN, "octocat"))
        .token(Token::new("ghp_of_jane", "jane"));
    let case = with(options, json!({"token": "ghp_of_jane"})).await;
    case.succeed().await;
    let pull = only_pull(&case);
    assert_eq!(pull.head_repo, ("jane".to_string(), "shop".to_string()));
    let there = clone(&case, "jane", "change").await;
    assert_eq!(fs::read_to_string(there.path().join("README.md")).unwrap(), "# Shop\n");
    assert_eq!(case.github.branches("acme", "shop").await.unwrap().len(), 1);
    assert!(case.job.log().contains(&"Info Forked acme/shop to jane/shop".to_string()));
    case.succeed().await;
    assert_eq!(count(&case, "POST /repos/acme/shop/forks"), 1, "the second run uses the fork");
}

#[tokio::test]
async fn refused_reviewers_and_too_many_assignees() {
    let assignees: Vec<String> = (0..12).map(|n| format!("u{n}")).collect();
    let case = case(json!({"reviewers": ["nobody"], "assignees": assignees, "targetBranchName": "main"})).await;
    case.succeed().await;
    assert_eq!(case.warnings(), ["GitHub takes 10 assignees; left out: u10, u11"]);
    let told =
        "Error Could not ask for reviews of pull request 1 (nobody): Reviews may only be requested from collaborators.";
    assert!(case.job.log().iter().any(|line| line.starts_with(told)), "{:?}", case.job.log());
}

#[tokio::test]
async fn bad_input_is_told_before_anything_is_asked() {
    for (extra, expected) in [
        (json!({"targetPath": "../.."}), "InputError: '../..' leads out of the repository"),
        (json!({"filesToDelete": ["../x"]}), "InputError: '../x' leads out of the repository"),
        (json!({"sourcePath": "../x"}), "NotAllowedError: "),
        (json!({"repoUrl": "github.com?owner=a&repo=b"}), "InputError: No token available for host: github.com"),
    ] {
        let case = case(extra.clone()).await;
        let error = case.fail().await;
        assert!(error.starts_with(expected), "{extra}: {error}");
        assert!(case.github.requests().is_empty());
    }
    let case = case(json!({"targetBranchName": "nowhere"})).await;
    let error = case.fail().await;
    assert!(error.contains("NotFoundError: The branch 'nowhere' of acme/shop has no commits"), "{error}");
}
