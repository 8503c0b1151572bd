//! `wait-workflow` and `github:wait-last-workflow` against runs that the test advances.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understudy_testbed::github::{Fault, Play, RunState};

use crate::{double::Case, driver::Outcome};

const CI: (&str, &str) = (
    ".github/workflows/ci.yaml",
    "name: CI\non: push\njobs:\n  build:\n    steps:\n      - uses: actions/checkout@v4\n      - name: Unit tests\n        run: make test\n",
);
const LINT: (&str, &str) =
    (".github/workflows/lint.yaml", "name: Lint\non: [push]\njobs:\n  lint:\n    steps:\n      - run: make lint\n");
const RUNS: &str = "/repos/*/*/actions/runs";

/// A step that waits for `acme/shop`, which holds these files.
async fn case(files: &[(&str, &str)], mut input: Value) -> (Case, String) {
    input["pollInterval"] = "200ms".into();
    let mut case = Case::new("acme", input).await;
    case.job.action = "wait-workflow".into();
    let sha = case.github.seed_repo("acme", "shop", files).await.unwrap();
    (case, sha)
}

/// Runs the step while `script` plays GitHub; gives what came of it and how long it took after the script's end.
async fn play(case: &Case, script: impl AsyncFnOnce(&Case)) -> (Outcome, Duration) {
    let ended = std::cell::Cell::new(Instant::now());
    let scripted = async {
        script(case).await;
        ended.set(Instant::now());
    };
    let (outcome, ()) = tokio::join!(case.run(), scripted);
    (outcome, ended.get().elapsed())
}

async fn logged(case: &Case, text: &str) {
    let began = Instant::now();
    while !case.job.log().iter().any(|line| line.contains(text)) {
        assert!(began.elapsed() < Duration::from_secs(30), "{text} was never logged: {:#?}", case.job.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn run_of(case: &Case, name: &str) -> u64 {
    case.github.workflow_runs("acme", "shop").into_iter().find(|run| run.name == name).unwrap().id
}

fn advance(case: &Case, name: &str, state: RunState) {
    case.github.advance_run("acme", "shop", run_of(case, name), state).unwrap();
}

fn url(case: &Case, name: &str) -> String {
    format!("{}/acme/shop/actions/runs/{}", case.github.web_url(), run_of(case, name))
}

#[tokio::test]
async fn all_runs_are_followed_to_their_conclusions() {
    let (case, sha) = case(&[CI, LINT], json!({"branch": "main"})).await;
    let (outcome, _) = play(&case, async |case| {
        logged(case, "Lint #1: queued").await;
        advance(case, "CI", RunState::InProgress);
        logged(case, "CI #1: in progress").await;
        advance(case, "CI", RunState::completed("success"));
        logged(case, "CI #1: succeeded").await;
        advance(case, "Lint", RunState::Waiting);
        logged(case, "Lint #1: waiting for an approval").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        advance(case, "Lint", RunState::completed("skipped"));
    })
    .await;
    let (ci, lint) = (url(&case, "CI"), url(&case, "Lint"));
    assert_eq!(
        Value::Object(outcome.result.unwrap()),
        json!({"sha": sha, "runs": [
            {"id": run_of(&case, "CI"), "name": "CI", "workflow": ".github/workflows/ci.yaml", "url": ci,
             "status": "completed", "conclusion": "success"},
            {"id": run_of(&case, "Lint"), "name": "Lint", "workflow": ".github/workflows/lint.yaml", "url": lint,
             "status": "completed", "conclusion": "skipped"},
        ]})
    );
    assert_eq!(outcome.releases, 1, "the worker slot is given back for the whole wait");
    assert_eq!(
        case.job.log(),
        [
            "Info Querying the last commit on main".to_string(),
            format!("Info Querying the status of the commit {sha}"),
            format!("Info Lint #1: queued, {lint}"),
            format!("Info CI #1: queued, {ci}"),
            format!("Info CI #1: in progress, {ci}"),
            format!("Info CI #1: succeeded, {ci}"),
            format!("Info Lint #1: waiting for an approval, {lint}"),
            format!("Info Lint #1: skipped, {lint}"),
            "Info Workflows finished.".to_string(),
        ]
    );
    let unchanged = case.github.requests().iter().filter(|request| request.status == 304).count();
    assert!(unchanged > 0, "what has not changed is not sent again");

    // A second step finds everything done.
    case.github.clear_requests();
    case.succeed().await;
    assert_eq!(case.calls().len(), 2, "{:?}", case.calls());
}

#[tokio::test]
async fn a_failed_run_ends_the_step_at_once_and_names_job_and_step() {
    let (case, _) = case(&[CI, LINT], json!({"branch": "main"})).await;
    let (outcome, after) = play(&case, async |case| {
        logged(case, "CI #1: queued").await;
        case.github.fail_run("acme", "shop", run_of(case, "CI"), "build", "Unit tests").unwrap();
    })
    .await;
    let ci = url(&case, "CI");
    assert_eq!(
        outcome.result.unwrap_err(),
        format!("Error: Workflow run failed: CI #1: failed (job 'build' failed at step 'Unit tests'), see {ci}")
    );
    assert!(after < Duration::from_secs(10), "{after:?}");
    let told = format!("Error CI #1: job 'build' failed at step 'Unit tests', {ci}/job/");
    assert!(case.job.log().iter().any(|line| line.starts_with(&told)), "{:#?}", case.job.log());

    // Somebody runs it again; the step, too.
    case.github.rerun("acme", "shop", run_of(&case, "CI")).unwrap();
    let (outcome, _) = play(&case, async |case| {
        logged(case, "CI #1 (attempt 2): queued").await;
        advance(case, "CI", RunState::completed("success"));
        advance(case, "Lint", RunState::completed("success"));
    })
    .await;
    assert_eq!(outcome.result.unwrap()["runs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn other_ways_to_fail() {
    for (conclusion, words) in [
        ("cancelled", "cancelled (job 'build' cancelled at step 'Run actions/checkout@v4')"),
        ("timed_out", "timed out (job 'build' timed out at step 'Run actions/checkout@v4')"),
        ("action_required", "needs an approval (job 'build' needs an approval at step 'Run actions/checkout@v4')"),
        ("startup_failure", "failed to start"),
    ] {
        let (case, _) = case(&[CI], json!({"branch": "main"})).await;
        advance(&case, "CI", RunState::completed(conclusion));
        assert_eq!(case.fail().await, format!("Error: Workflow run failed: CI #1: {words}, see {}", url(&case, "CI")));
    }
}

#[tokio::test]
async fn one_workflow_of_several() {
    for workflow in ["lint.yaml", "Lint", ".github/workflows/lint.yaml"] {
        let (case, sha) = case(&[CI, LINT], json!({"workflow": workflow})).await;
        advance(&case, "CI", RunState::completed("failure"));
        advance(&case, "Lint", RunState::completed("success"));
        let output = case.succeed().await;
        assert_eq!(output["sha"], sha);
        assert_eq!(output["runs"].as_array().unwrap().len(), 1);
        assert_eq!(output["runs"][0]["name"], "Lint");
    }
}

#[tokio::test]
async fn a_commit_without_runs() {
    let (without, sha) = case(&[("README.md", "x")], json!({"sha": "", "requireRun": "1s"})).await;
    assert_eq!(
        without.fail().await,
        format!(
            "Error: No workflow run appeared for the commit {sha} within 1 s: check that a file in .github/workflows of \
             acme/shop runs on this event and that Actions are enabled. Give 'requireRun' more time, or set it to false \
             where a commit needs no run"
        )
    );
    assert!(without.job.log().contains(&"Info Workflows not started yet...".to_string()));

    let (others, sha) = case(&[CI], json!({"workflow": "deploy.yaml", "requireRun": 0})).await;
    let error = others.fail().await;
    let expected = format!(
        "Error: No workflow run of the workflow 'deploy.yaml' appeared for the commit {sha} within 0 s: the commit has \
         runs of other workflows: CI #1 (.github/workflows/ci.yaml)."
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_run_that_takes_its_time_to_appear() {
    let (case, _) = case(&[("README.md", "x")], json!({"branch": "main"})).await;
    case.github.play_workflows(Play::Withheld);
    let sha = case.github.seed_repo("acme", "shop", &[CI]).await.unwrap();
    let (outcome, _) = play(&case, async |case| {
        logged(case, "Workflows not started yet...").await;
        case.github.play_workflows(Play::Automatic("success".to_string()));
        case.github.start_runs("acme", "shop").await.unwrap();
    })
    .await;
    assert_eq!(outcome.result.unwrap()["sha"], sha);
}

#[tokio::test]
async fn a_timeout_says_what_still_runs() {
    let (case, _) = case(&[CI, LINT], json!({"branch": "main", "timeout": 1.5})).await;
    advance(&case, "Lint", RunState::completed("success"));
    advance(&case, "CI", RunState::InProgress);
    assert_eq!(
        case.fail().await,
        format!(
            "Error: Timed out after 1.5 s: CI #1 is in progress, see {}. Run the task again to go on waiting",
            url(&case, "CI")
        )
    );
}

#[tokio::test]
async fn outages_are_survived() {
    let (case, _) = case(&[CI], json!({"branch": "main", "timeout": "1m"})).await;
    case.github.inject(Fault::error("GET", "/repos/*/*/commits", 503, "No server is available").times(2));
    case.github.inject(Fault::disconnect("GET", RUNS).after(1).times(3));
    let (outcome, _) = play(&case, async |case| {
        logged(case, "GitHub answers again").await;
        logged(case, "CI #1: queued").await;
        advance(case, "CI", RunState::completed("success"));
    })
    .await;
    outcome.result.unwrap();
    let warnings = case.warnings();
    assert!(warnings[0].starts_with("GitHub can't be asked at the moment, trying again: No server is available"));
    assert!(warnings.len() <= 3, "an outage is told once: {warnings:#?}");
}

#[tokio::test]
async fn an_outage_that_lasts_is_told_at_the_timeout() {
    let (case, _) = case(&[CI], json!({"branch": "main", "timeout": "2s"})).await;
    case.github.inject(Fault::error("GET", RUNS, 502, "Bad gateway"));
    let error = case.fail().await;
    assert!(error.starts_with("Error: Timed out after 2 s: no run of "), "{error}");
    assert!(error.contains("GitHub can't be asked: Bad gateway"), "{error}");
}

#[tokio::test]
async fn rate_limits_are_waited_for() {
    let (case, _) = case(&[CI], json!({"branch": "main", "timeout": "1m"})).await;
    advance(&case, "CI", RunState::completed("success"));
    case.github.inject(Fault::secondary_rate_limit("GET", RUNS, Duration::from_secs(1)).times(1));
    case.succeed().await;
    assert_eq!(case.warnings(), ["GitHub's secondary rate limit is reached; asking again in 1 s"]);
}

#[tokio::test]
async fn refusals_are_clear_and_at_once() {
    let (mut case, _) = case(&[CI], json!({"branch": "nowhere"})).await;
    assert_eq!(
        case.fail().await,
        "NotFoundError: GitHub shows no repository acme/shop, or no branch 'nowhere' in it; check the names, and that the \
         token may read it"
    );
    case.job.input["branch"] = "".into();
    case.job.input["sha"] = "0123456".into();
    assert!(case.fail().await.contains("or no commit '0123456' in it"));
    case.job.input["repoUrl"] = case.github.repo_url("acme", "nothing").into();
    assert!(case.fail().await.starts_with("NotFoundError: GitHub shows no repository acme/nothing"));
    case.job.input["token"] = "ghp_wrong".into();
    let error = case.fail().await;
    assert!(error.starts_with("AuthenticationError: GitHub does not accept the token (Bad credentials"), "{error}");
    assert!(!error.contains("ghp_wrong"));
}

#[tokio::test]
async fn a_cancelled_step_stops_at_once() {
    let (mut case, _) = case(&[CI], json!({"branch": "main", "pollInterval": "1m"})).await;
    case.job.input["pollInterval"] = "1m".into();
    case.job.cancel_after = Some(3000);
    let began = Instant::now();
    let error = case.fail().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(error.to_lowercase().contains("cancel"), "{error}");
}

#[tokio::test]
async fn the_tutorials_action() {
    let (mut case, sha) = case(&[CI], json!({})).await;
    case.job.action = "github:wait-last-workflow".into();
    case.job.config["integrations"]["github"][0]["host"] = "github.com".into();
    case.job.input = json!({"owner": "acme", "repo": "shop", "branch": "main"});
    advance(&case, "CI", RunState::completed("success"));
    let output = case.succeed().await;
    assert_eq!(output["runs"][0]["conclusion"], "success");
    assert_eq!(
        case.job.log(),
        [
            "Info Querying the last commit on main".to_string(),
            format!("Info Querying the status of the commit {sha}"),
            format!("Info CI #1: succeeded, {}", url(&case, "CI")),
            "Info Workflows finished.".to_string(),
        ]
    );
}
