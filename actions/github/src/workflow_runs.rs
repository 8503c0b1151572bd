//! Following the workflow runs of a commit to their conclusions.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use understudy_scm::throttle::UNNAMED_LIMIT;
use understudy_sdk::{ActionContext, ActionError, ErrorName, HumanDuration};

use crate::{
    client::{Client, Route, Trouble},
    error::ApiError,
    target::Target,
};

/// GitHub's largest page.
const PAGE: usize = 100;
/// More runs than this have never been seen on one commit.
const MAX_PAGES: usize = 10;
/// The longest pause between attempts while GitHub is out of reach.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Which runs, and how patiently.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    pub(crate) target: &'a Target,
    pub(crate) commit: Commit<'a>,
    /// File name, path, name or id of the only workflow that counts.
    pub(crate) workflow: Option<&'a str>,
    pub(crate) timeout: HumanDuration,
    pub(crate) poll_interval: Duration,
    /// How long a first run may take to appear.
    pub(crate) appearance: HumanDuration,
    /// Whether it is a failure that none appears.
    pub(crate) required: bool,
}

/// Whose runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Commit<'a> {
    /// The last one of a branch.
    Branch(&'a str),
    /// The last one of the default branch.
    DefaultBranch,
    /// This one.
    Sha(&'a str),
}

/// One run of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WorkflowRun {
    /// GitHub's number of the run.
    pub(crate) id: u64,
    /// The workflow's name.
    pub(crate) name: String,
    /// The workflow's file, e.g. `.github/workflows/ci.yaml`.
    pub(crate) workflow: String,
    /// The run in the browser.
    pub(crate) url: String,
    /// `completed` once it has ended.
    pub(crate) status: String,
    /// `success`, `neutral` or `skipped`; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conclusion: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) sha: String,
    pub(crate) runs: Vec<WorkflowRun>,
}

#[derive(Debug, Deserialize)]
struct RunsPage {
    total_count: usize,
    workflow_runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    id: u64,
    name: Option<String>,
    path: String,
    workflow_id: u64,
    run_number: u64,
    run_attempt: Option<u64>,
    status: Option<String>,
    conclusion: Option<String>,
    html_url: String,
}

#[derive(Debug, Deserialize)]
struct Known {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct JobsPage {
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    name: String,
    conclusion: Option<String>,
    html_url: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    name: String,
    conclusion: Option<String>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ongoing,
    Fine,
    Failed,
}

impl Run {
    fn title(&self) -> String {
        let name = self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.path);
        match self.run_attempt {
            Some(attempt) if attempt > 1 => format!("{name} #{} (attempt {attempt})", self.run_number),
            _ => format!("{name} #{}", self.run_number),
        }
    }
    /// Path without the reference that GitHub appends to the paths of reusable workflows.
    fn file(&self) -> &str {
        self.path.split('@').next().unwrap_or_default()
    }
    fn is_of(&self, workflow: &str) -> bool {
        let file = self.file();
        file == workflow
            || file.rsplit('/').next() == Some(workflow)
            || self.name.as_deref() == Some(workflow)
            || self.workflow_id.to_string() == workflow
    }
    /// The word for where it stands: the conclusion once there is one.
    fn state(&self) -> &str {
        let status = self.status.as_deref().unwrap_or("unknown");
        match &self.conclusion {
            Some(conclusion) if status == "completed" => conclusion,
            _ => status,
        }
    }
    fn verdict(&self) -> Verdict {
        match self.state() {
            "queued" | "in_progress" | "requested" | "waiting" | "pending" | "unknown" => Verdict::Ongoing,
            "success" | "neutral" | "skipped" => Verdict::Fine,
            // `failure`, `cancelled`, `timed_out`, `action_required`, `startup_failure`, `stale` and what may be added.
            _ => Verdict::Failed,
        }
    }
    fn into_output(self) -> WorkflowRun {
        WorkflowRun {
            id: self.id,
            workflow: self.file().to_string(),
            name: self.name.unwrap_or(self.path),
            url: self.html_url,
            status: self.status.unwrap_or_else(|| "unknown".into()),
            conclusion: self.conclusion,
        }
    }
}

/// Waits until all runs of a commit have ended well. Holds no worker slot meanwhile, survives outages of GitHub, and logs
/// only what changes.
///
/// # Errors
/// A run failed, none appeared in time, they took too long, or GitHub refuses to tell.
pub(crate) async fn follow(
    ctx: &ActionContext,
    client: impl FnOnce(&ActionContext) -> Result<Client<'_>, ActionError> + Send,
    watch: &Watch<'_>,
) -> Result<Followed, ActionError> {
    let quiet = ctx.without_slot();
    let client = client(&quiet)?;
    let mut follower =
        Follower { ctx: &quiet, client: &client, watch, sha: None, runs: BTreeMap::new(), trouble: None };
    let outcome = ctx.waiting(timeout(watch.timeout.get(), follower.follow())).await?;
    match outcome {
        Ok(Ok(sha)) => {
            let runs = follower.runs.into_values().map(Run::into_output).collect();
            Ok(Followed { sha, runs })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(follower.late()),
    }
}

struct Follower<'a> {
    ctx: &'a ActionContext,
    client: &'a Client<'a>,
    watch: &'a Watch<'a>,
    sha: Option<String>,
    runs: BTreeMap<u64, Run>,
    /// Why GitHub does not answer at the moment.
    trouble: Option<String>,
}

impl Follower<'_> {
    /// Gives the commit.
    async fn follow(&mut self) -> Result<String, ActionError> {
        let sha = self.commit().await?;
        self.sha = Some(sha.clone());
        let log = &self.ctx.log;
        log.info(format!("Querying the status of the commit {sha}"));
        let began = Instant::now();
        let mut etag = None;
        let mut others = Vec::new();
        let mut said_none = false;
        loop {
            let looked = Instant::now();
            if let Some(runs) = self.ask_for_runs(&sha, &mut etag).await? {
                let (ours, rest): (Vec<_>, Vec<_>) =
                    runs.into_iter().partition(|run| self.watch.workflow.is_none_or(|workflow| run.is_of(workflow)));
                others = rest;
                self.take_notice(ours);
            }
            let failed: Vec<u64> = self.with(Verdict::Failed).map(|run| run.id).collect();
            if !failed.is_empty() {
                return Err(self.failure(&failed).await);
            }
            if self.runs.is_empty() {
                if looked.duration_since(began) >= self.watch.appearance.get() {
                    return self.none_appeared(sha, &others);
                }
                if !said_none {
                    said_none = true;
                    log.info("Workflows not started yet...");
                }
            } else if self.with(Verdict::Ongoing).next().is_none() {
                log.info("Workflows finished.");
                return Ok(sha);
            }
            let mut next = looked + self.watch.poll_interval;
            if self.runs.is_empty() {
                next = next.min(began + self.watch.appearance.get());
            }
            sleep_until(next).await;
        }
    }

    async fn commit(&mut self) -> Result<String, ActionError> {
        let Target { owner, repo, .. } = self.watch.target;
        let log = &self.ctx.log;
        let (route, what) = match self.watch.commit {
            Commit::Sha(sha) if is_full_sha(sha) => return Ok(sha.to_ascii_lowercase()),
            Commit::Sha(sha) => {
                let route = Route::new(&["repos", owner, repo, "commits", sha])?;
                let known: Known = self.ask(&route).await.map_err(|error| self.no_commit(error, sha))?;
                return Ok(known.sha);
            }
            Commit::Branch(branch) => {
                log.info(format!("Querying the last commit on {branch}"));
                let route = Route::new(&["repos", owner, repo, "commits"])?;
                (route.with_query(&[("sha", branch), ("per_page", "1")]), branch)
            }
            Commit::DefaultBranch => {
                log.info("Querying the last commit on the default branch");
                let route = Route::new(&["repos", owner, repo, "commits"])?;
                (route.with_query(&[("per_page", "1")]), "")
            }
        };
        let known: Vec<Known> = self.ask(&route).await.map_err(|error| self.no_commit(error, what))?;
        match known.into_iter().next() {
            Some(known) => Ok(known.sha),
            None => Err(empty(owner, repo)),
        }
    }

    /// The runs of the commit, `None` when nothing has changed.
    async fn ask_for_runs(
        &mut self,
        sha: &str,
        etag: &mut Option<HeaderValue>,
    ) -> Result<Option<Vec<Run>>, ActionError> {
        let Target { owner, repo, .. } = self.watch.target;
        let per_page = PAGE.to_string();
        let first = Route::new(&["repos", owner, repo, "actions", "runs"])?
            .with_query(&[("head_sha", sha), ("per_page", &per_page)]);
        let refused = |error: Refusal| match error {
            Refusal::Api(ApiError::Refused { status: 404, .. }) => ActionError::not_found(format!(
                "GitHub shows no workflow runs of {owner}/{repo}: there is no such repository, or the token may not read \
                 its Actions (it needs the scope 'repo', or the permission 'Actions: read')"
            )),
            Refusal::Api(error) => explained(error),
            Refusal::Local(error) => error,
        };
        let Some(page) = self.ask_again::<RunsPage>(&first, etag).await.map_err(refused)? else { return Ok(None) };
        let mut runs = page.workflow_runs;
        for number in 2..=page.total_count.div_ceil(PAGE).min(MAX_PAGES) {
            // A change on a later page would not show in the first one's tag.
            *etag = None;
            let route = first.clone().with_query(&[("page", &number.to_string())]);
            runs.extend(self.ask::<RunsPage>(&route).await.map_err(refused)?.workflow_runs);
        }
        Ok(Some(runs))
    }

    async fn ask<R: DeserializeOwned + Send>(&mut self, route: &Route) -> Result<R, Refusal> {
        match self.ask_again(route, &mut None).await? {
            Some(answer) => Ok(answer),
            None => Err(Refusal::Local(ActionError::failed("GitHub answered that nothing has changed, unasked"))),
        }
    }

    /// Asks until there is an answer: outages and rate limits last until the step's timeout at most.
    async fn ask_again<R: DeserializeOwned + Send>(
        &mut self,
        route: &Route,
        etag: &mut Option<HeaderValue>,
    ) -> Result<Option<R>, Refusal> {
        let log = &self.ctx.log;
        let mut pause = self.watch.poll_interval;
        loop {
            match self.client.poll(route, etag).await {
                Ok(answer) => {
                    if self.trouble.take().is_some() {
                        log.info("GitHub answers again");
                    }
                    return Ok(answer);
                }
                Err(Trouble::Limit(limit)) => {
                    let wait = limit.wait.unwrap_or(UNNAMED_LIMIT);
                    let kind = limit.kind;
                    log.warn(format!("GitHub's {kind} is reached; asking again in {}", HumanDuration::from(wait)));
                    self.trouble = Some(format!("its {kind} is reached"));
                    sleep(wait).await;
                }
                Err(Trouble::Outage(error)) => {
                    let reason = error.to_string();
                    if self.trouble.as_ref() != Some(&reason) {
                        log.warn(format!("GitHub can't be asked at the moment, trying again: {reason}"));
                        self.trouble = Some(reason);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE.max(self.watch.poll_interval));
                }
                Err(Trouble::Refusal(error)) => return Err(Refusal::Api(error)),
            }
        }
    }

    /// Keeps the runs and logs those that changed.
    fn take_notice(&mut self, runs: Vec<Run>) {
        // Somebody may delete a run.
        self.runs.retain(|id, _| runs.iter().any(|run| run.id == *id));
        for run in runs {
            let known = self.runs.get(&run.id);
            let changed =
                known.is_none_or(|known| (known.state(), known.run_attempt) != (run.state(), run.run_attempt));
            if changed {
                self.ctx.log.info(format!("{}: {}, {}", run.title(), words(run.state()), run.html_url));
            }
            self.runs.insert(run.id, run);
        }
    }

    fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(move |run| run.verdict() == verdict)
    }

    /// The error for failed runs; their failed jobs go to the log.
    async fn failure(&mut self, failed: &[u64]) -> ActionError {
        let mut texts = Vec::new();
        for id in failed {
            let Some((title, state, url)) =
                self.runs.get(id).map(|run| (run.title(), run.state().to_string(), run.html_url.clone()))
            else {
                continue;
            };
            let culprits = match self.failed_jobs(*id).await {
                Ok(culprits) => culprits,
                Err(error) => {
                    self.ctx.log.warn(format!("GitHub doesn't tell which jobs of {title} failed: {error}"));
                    Vec::new()
                }
            };
            for culprit in &culprits {
                self.ctx.log.error(format!("{title}: {culprit}{}", culprit.link()));
            }
            let jobs: Vec<_> = culprits.iter().map(ToString::to_string).collect();
            let jobs = if jobs.is_empty() { String::new() } else { format!(" ({})", jobs.join("; ")) };
            texts.push(format!("{title}: {}{jobs}, see {url}", words(&state)));
        }
        ActionError::failed(format!("Workflow run failed: {}", texts.join("; ")))
    }

    async fn failed_jobs(&mut self, run: u64) -> Result<Vec<Culprit>, ActionError> {
        let Target { owner, repo, .. } = self.watch.target;
        let route = Route::new(&["repos", owner, repo, "actions", "runs", &run.to_string(), "jobs"])?
            .with_query(&[("filter", "latest"), ("per_page", &PAGE.to_string())]);
        let page: JobsPage = match self.ask(&route).await {
            Ok(page) => page,
            Err(Refusal::Api(error)) => return Err(error.into()),
            Err(Refusal::Local(error)) => return Err(error),
        };
        let bad = |conclusion: &Option<String>| {
            conclusion.as_deref().is_some_and(|it| !matches!(it, "success" | "neutral" | "skipped"))
        };
        let jobs = page.jobs.into_iter().filter(|job| bad(&job.conclusion));
        Ok(jobs
            .map(|job| Culprit {
                step: job.steps.iter().find(|step| bad(&step.conclusion)).map(|step| step.name.clone()),
                job: job.name,
                conclusion: job.conclusion.unwrap_or_default(),
                url: job.html_url,
            })
            .collect())
    }

    fn none_appeared(&self, sha: String, others: &[Run]) -> Result<String, ActionError> {
        let Target { owner, repo, .. } = self.watch.target;
        let which = self.watch.workflow.map_or_else(String::new, |workflow| format!(" of the workflow '{workflow}'"));
        let within = self.watch.appearance;
        if !self.watch.required {
            self.ctx.log.warn(format!("No workflow run{which} appeared for {sha} within {within}; none is required"));
            return Ok(sha);
        }
        let hint = if others.is_empty() {
            format!(
                "check that a file in .github/workflows of {owner}/{repo} runs on this event and that Actions are enabled"
            )
        } else {
            let others: Vec<_> = others.iter().map(|run| format!("{} ({})", run.title(), run.file())).collect();
            format!("the commit has runs of other workflows: {}", others.join(", "))
        };
        Err(ActionError::failed(format!(
            "No workflow run{which} appeared for the commit {sha} within {within}: {hint}. Give 'requireRun' more time, or \
             set it to false where a commit needs no run"
        )))
    }

    fn late(&self) -> ActionError {
        let waited = self.watch.timeout;
        let trouble = self.trouble.as_ref().map(|trouble| format!("GitHub can't be asked: {trouble}"));
        let ongoing: Vec<_> = self
            .with(Verdict::Ongoing)
            .map(|run| format!("{} is {}, see {}", run.title(), words(run.state()), run.html_url))
            .collect();
        let last = match (ongoing.is_empty(), &self.sha) {
            (false, _) => Some(ongoing.join("; ")),
            (true, Some(sha)) if self.runs.is_empty() => Some(format!("no run of {sha} has appeared")),
            _ => None,
        };
        let reasons: Vec<_> = last.into_iter().chain(trouble).collect();
        ActionError::failed(format!(
            "Timed out after {waited}: {}. Run the task again to go on waiting",
            if reasons.is_empty() { "GitHub has not answered yet".to_string() } else { reasons.join("; ") }
        ))
    }

    fn no_commit(&self, error: Refusal, what: &str) -> ActionError {
        let Target { owner, repo, .. } = self.watch.target;
        let what = match self.watch.commit {
            Commit::Branch(_) => format!("no branch '{what}' in it"),
            Commit::Sha(_) => format!("no commit '{what}' in it"),
            Commit::DefaultBranch => "nothing in it".to_string(),
        };
        match error {
            Refusal::Local(error) => error,
            Refusal::Api(ApiError::Refused { status: 404 | 422, .. }) => ActionError::not_found(format!(
                "GitHub shows no repository {owner}/{repo}, or {what}; check the names, and that the token may read it"
            )),
            Refusal::Api(ApiError::Refused { status: 409, .. }) => empty(owner, repo),
            Refusal::Api(error) => explained(error),
        }
    }
}

/// Why there will be no answer.
enum Refusal {
    Api(ApiError),
    Local(ActionError),
}

/// A job that did not end well.
struct Culprit {
    job: String,
    conclusion: String,
    step: Option<String>,
    url: Option<String>,
}

impl Culprit {
    fn link(&self) -> String {
        self.url.as_ref().map_or_else(String::new, |url| format!(", {url}"))
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job '{}' {}", self.job, words(&self.conclusion))?;
        match &self.step {
            Some(step) => write!(f, " at step '{step}'"),
            None => Ok(()),
        }
    }
}

fn empty(owner: &str, repo: &str) -> ActionError {
    ActionError::not_found(format!("The repository {owner}/{repo} has no commits, so there are no runs to wait for"))
}

fn explained(error: ApiError) -> ActionError {
    match &error {
        ApiError::Refused { status: 401, message } => ActionError::new(
            ErrorName::AuthenticationError,
            format!("GitHub does not accept the token ({message}); it may have expired or been revoked"),
        ),
        _ => error.into(),
    }
}

/// GitHub's word for a state, for people.
fn words(state: &str) -> String {
    match state {
        "success" => "succeeded".to_string(),
        "failure" => "failed".to_string(),
        "waiting" => "waiting for an approval".to_string(),
        "action_required" => "needs an approval".to_string(),
        "startup_failure" => "failed to start".to_string(),
        other => other.replace('_', " "),
    }
}

fn is_full_sha(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use understudy_scm::GithubAccess;
    use understudy_sdk::Secret;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn a_commit_that_needs_no_run() {
        let server = MockServer::start().await;
        let none = ResponseTemplate::new(200).set_body_json(json!({"total_count": 0, "workflow_runs": []}));
        Mock::given(method("GET")).respond_with(none).mount(&server).await;
        let access = GithubAccess::with_token(server.uri(), Secret::new("tok"));
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let watch = Watch {
            target: &Target { host: "github.com".into(), owner: "o".into(), repo: "r".into() },
            commit: Commit::Sha(sha),
            workflow: None,
            timeout: HumanDuration::from_secs(30),
            poll_interval: Duration::from_millis(50),
            appearance: Duration::from_millis(200).into(),
            required: false,
        };
        let bench = Bench::new();
        let followed =
            follow(&bench.ctx, |ctx| Client::new(reqwest::Client::new(), &access, ctx), &watch).await.unwrap();
        assert_eq!((followed.sha.as_str(), followed.runs.len()), (sha, 0));
        let last = format!("Warn No workflow run appeared for {sha} within 0.2 s; none is required");
        assert_eq!(bench.log().last(), Some(&last));
    }

    fn run(status: &str, conclusion: Option<&str>) -> Run {
        Run {
            id: 7,
            name: Some("CI".into()),
            path: ".github/workflows/ci.yaml@refs/heads/main".into(),
            workflow_id: 161_335,
            run_number: 3,
            run_attempt: Some(1),
            status: Some(status.into()),
            conclusion: conclusion.map(Into::into),
            html_url: "https://github.com/o/r/actions/runs/7".into(),
        }
    }

    #[test]
    fn verdicts() {
        for (status, conclusion, verdict) in [
            ("queued", None, Verdict::Ongoing),
            ("requested", None, Verdict::Ongoing),
            ("pending", None, Verdict::Ongoing),
            ("waiting", None, Verdict::Ongoing),
            ("in_progress", None, Verdict::Ongoing),
            ("completed", Some("success"), Verdict::Fine),
            ("completed", Some("neutral"), Verdict::Fine),
            ("completed", Some("skipped"), Verdict::Fine),
            ("completed", Some("failure"), Verdict::Failed),
            ("completed", Some("cancelled"), Verdict::Failed),
            ("completed", Some("timed_out"), Verdict::Failed),
            ("completed", Some("action_required"), Verdict::Failed),
            ("completed", Some("startup_failure"), Verdict::Failed),
            ("completed", Some("stale"), Verdict::Failed),
            ("completed", Some("something_new"), Verdict::Failed),
            // An earlier attempt's conclusion says nothing about a run that goes on.
            ("in_progress", Some("failure"), Verdict::Ongoing),
            ("failure", None, Verdict::Failed),
        ] {
            assert_eq!(run(status, conclusion).verdict(), verdict, "{status} {conclusion:?}");
        }
    }

    #[test]
    fn a_workflow_is_named_by_file_name_or_id() {
        let run = run("queued", None);
        for name in ["ci.yaml", ".github/workflows/ci.yaml", "CI", "161335"] {
            assert!(run.is_of(name), "{name}");
        }
        for name in ["ci", "i.yaml", "ci.yml", "7", ""] {
            assert!(!run.is_of(name), "{name}");
        }
    }
}
