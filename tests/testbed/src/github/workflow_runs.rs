//! Runs of workflows: made by pushes, advanced by the test.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    GithubDouble, Shared,
    git::Commit,
    render::Urls,
    state::{Repo, State, folded, timestamp},
};
use crate::{Error, Result};

const WORKFLOWS: &str = ".github/workflows";

/// What becomes of workflows by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Play {
    /// A push makes queued runs, the test advances them.
    #[default]
    Manual,
    /// A push makes no runs; the test makes them with [`GithubDouble::start_runs`].
    Withheld,
    /// A push makes queued runs, which go one step further each time they are listed, to this conclusion.
    Automatic(String),
}

/// How a run or a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Waits for a runner.
    Queued,
    /// Runs.
    InProgress,
    /// Waits for an approval.
    Waiting,
    /// Has ended with this conclusion (`success`, `failure`, `cancelled`, `timed_out`, `action_required` …).
    Completed(String),
}

impl RunState {
    /// Ended with a conclusion.
    #[must_use]
    pub fn completed(conclusion: &str) -> Self {
        Self::Completed(conclusion.to_owned())
    }

    fn status(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Waiting => "waiting",
            Self::Completed(_) => "completed",
        }
    }

    fn conclusion(&self) -> Option<&str> {
        match self {
            Self::Completed(conclusion) => Some(conclusion),
            _ => None,
        }
    }
}

/// A run of a workflow.
#[derive(Debug, Clone)]
pub struct WorkflowRun {
    /// GitHub's number of it.
    pub id: u64,
    /// The workflow's name.
    pub name: String,
    /// The workflow's file.
    pub path: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub head_sha: String,
    /// What triggered it.
    pub event: String,
    /// Counted by workflow.
    pub number: u64,
    /// Counted by run.
    pub attempt: u64,
    /// How it stands.
    pub state: RunState,
    /// Its jobs.
    pub jobs: Vec<Job>,
    workflow_id: u64,
    actor: String,
    created: DateTime<Utc>,
}

/// A job of a run.
#[derive(Debug, Clone)]
pub struct Job {
    /// GitHub's number of it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: RunState,
    /// Names of its steps, and how each ended.
    pub steps: Vec<(String, RunState)>,
}

/// What a workflow's file says.
struct Workflow {
    path: String,
    name: String,
    jobs: Vec<(String, Vec<String>)>,
}

impl WorkflowRun {
    /// Sets the state of the run with that of its jobs: a failed run has a failed last step in its first job.
    fn set(&mut self, state: RunState) {
        for (index, job) in self.jobs.iter_mut().enumerate() {
            job.state = match &state {
                RunState::Completed(conclusion) if index > 0 && conclusion == "failure" => {
                    RunState::completed("skipped")
                }
                RunState::Completed(conclusion) if conclusion == "startup_failure" => RunState::completed("skipped"),
                state => state.clone(),
            };
            let last = job.steps.len().saturating_sub(1);
            for (index, (_, step)) in job.steps.iter_mut().enumerate() {
                *step = match &job.state {
                    RunState::Completed(conclusion) if conclusion == "failure" && index < last => {
                        RunState::completed("success")
                    }
                    state => state.clone(),
                };
            }
        }
        self.state = state;
    }
}

/// The workflow of a file when `event` on `branch` runs it.
fn workflow(path: &str, text: &str, event: &str, branch: &str) -> Option<Workflow> {
    let parsed: Value = serde_saphyr::from_str(text).ok()?;
    let on = parsed.get("on").or_else(|| parsed.get("true"))?;
    let triggered = match on {
        Value::String(only) => only == event,
        Value::Array(all) => all.iter().any(|one| one == event),
        Value::Object(all) => all.get(event).is_some_and(|filter| {
            let names = filter["branches"].as_array();
            names.is_none_or(|names| names.iter().any(|name| name == branch || name == "*" || name == "**"))
        }),
        _ => false,
    };
    if !triggered {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let step = |step: &Value| {
        let does = || step["uses"].as_str().or_else(|| step["run"].as_str()?.lines().next());
        let named = || does().map(|what| format!("Run {what}"));
        text(&step["name"]).or_else(named).unwrap_or_else(|| "Run".to_owned())
    };
    let jobs = parsed["jobs"].as_object().into_iter().flatten().map(|(id, job)| {
        let steps = job["steps"].as_array().into_iter().flatten().map(step).collect();
        (text(&job["name"]).unwrap_or_else(|| id.clone()), steps)
    });
    let name = text(&parsed["name"]).unwrap_or_else(|| path.to_owned());
    Some(Workflow { path: path.to_owned(), name, jobs: jobs.collect() })
}

/// Makes the queued runs that `event` triggers for the heads of all branches, those that exist already left out; gives
/// their numbers.
pub(super) async fn trigger(shared: &Shared, owner: &str, name: &str, event: &str) -> Result<Vec<u64>> {
    let mut made = Vec::new();
    for (branch, sha) in shared.store.branches(owner, name).await? {
        let files = shared.store.tree(owner, name, &sha, WORKFLOWS).await?.unwrap_or_default();
        for file in files.iter().filter(|file| file.name.ends_with(".yaml") || file.name.ends_with(".yml")) {
            let path = format!("{WORKFLOWS}/{}", file.name);
            let text = shared.store.blob(owner, name, &file.sha).await?;
            let Some(workflow) = workflow(&path, &String::from_utf8_lossy(&text), event, &branch) else { continue };
            made.extend(shared.state().add_run((owner, name), workflow, (&branch, &sha), event));
        }
    }
    Ok(made)
}

/// Called after every push.
pub(super) async fn pushed(shared: &Shared, owner: &str, name: &str) -> Result<()> {
    if shared.state().play == Play::Withheld {
        return Ok(());
    }
    trigger(shared, owner, name, "push").await.map(|_| ())
}

impl State {
    fn add_run(
        &mut self,
        (owner, name): (&str, &str),
        workflow: Workflow,
        (branch, sha): (&str, &str),
        event: &str,
    ) -> Option<u64> {
        let place = (folded(owner), folded(name));
        let known = self.runs.get(&place).cloned().unwrap_or_default();
        let same = |run: &&WorkflowRun| run.path == workflow.path;
        if known.iter().filter(same).any(|run| run.head_sha == sha && run.branch == branch && run.event == event) {
            return None;
        }
        let number = known.iter().filter(same).count() as u64 + 1;
        let workflow_id = known.iter().find(same).map(|run| run.workflow_id);
        let workflow_id = workflow_id.unwrap_or_else(|| self.next_id());
        let id = self.next_id();
        let jobs = workflow.jobs.into_iter().map(|(name, steps)| Job {
            id: self.next_id(),
            name,
            state: RunState::Queued,
            steps: steps.into_iter().map(|step| (step, RunState::Queued)).collect(),
        });
        let run = WorkflowRun {
            id,
            name: workflow.name,
            path: workflow.path,
            branch: branch.to_owned(),
            head_sha: sha.to_owned(),
            event: event.to_owned(),
            number,
            attempt: 1,
            state: RunState::Queued,
            jobs: jobs.collect(),
            workflow_id,
            actor: owner.to_owned(),
            created: Utc::now(),
        };
        self.runs.entry(place).or_default().push(run);
        Some(id)
    }

    pub(super) fn runs_of(&self, owner: &str, name: &str) -> Vec<WorkflowRun> {
        self.runs.get(&(folded(owner), folded(name))).cloned().unwrap_or_default()
    }

    fn run_mut(&mut self, owner: &str, name: &str, id: u64) -> Option<&mut WorkflowRun> {
        self.runs.get_mut(&(folded(owner), folded(name)))?.iter_mut().find(|run| run.id == id)
    }

    /// One step further for each of these runs, with [`Play::Automatic`].
    pub(super) fn play_on(&mut self, owner: &str, name: &str, ids: &[u64]) {
        let Play::Automatic(conclusion) = self.play.clone() else { return };
        for id in ids {
            if let Some(run) = self.run_mut(owner, name, *id) {
                match run.state {
                    RunState::Queued | RunState::Waiting => run.set(RunState::InProgress),
                    RunState::InProgress => run.set(RunState::Completed(conclusion.clone())),
                    RunState::Completed(_) => {}
                }
            }
        }
    }
}

impl GithubDouble {
    /// What becomes of workflows by themselves from now on.
    pub fn play_workflows(&self, play: Play) {
        self.shared.state().play = play;
    }

    /// The runs of a repository's workflows, oldest first.
    #[must_use]
    pub fn workflow_runs(&self, owner: &str, repo: &str) -> Vec<WorkflowRun> {
        self.shared.state().runs_of(owner, repo)
    }

    /// Makes the queued runs that a push of all branches triggers; gives their numbers.
    ///
    /// # Errors
    /// [`Error::Program`] when there is no such repository.
    pub async fn start_runs(&self, owner: &str, repo: &str) -> Result<Vec<u64>> {
        trigger(&self.shared, owner, repo, "push").await
    }

    /// Sets the state of a run and of its jobs.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when there is no such run.
    pub fn advance_run(&self, owner: &str, repo: &str, id: u64, state: RunState) -> Result<()> {
        self.change_run(owner, repo, id, |run| run.set(state))
    }

    /// Ends a run: this step of this job has failed.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when there is no such run, job or step.
    pub fn fail_run(&self, owner: &str, repo: &str, id: u64, job: &str, step: &str) -> Result<()> {
        let found = self.change_run(owner, repo, id, |run| {
            run.set(RunState::completed("success"));
            run.state = RunState::completed("failure");
            let job = run.jobs.iter_mut().find(|known| known.name == job)?;
            job.state = RunState::completed("failure");
            let at = job.steps.iter().position(|(name, _)| name == step)?;
            job.steps[at].1 = RunState::completed("failure");
            job.steps[at + 1..].iter_mut().for_each(|(_, state)| *state = RunState::completed("skipped"));
            Some(())
        })?;
        found.ok_or_else(|| Error::unexpected(format!("failing run {id}"), format!("no step '{step}' in job '{job}'")))
    }

    /// Queues another attempt of a run.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when there is no such run.
    pub fn rerun(&self, owner: &str, repo: &str, id: u64) -> Result<()> {
        self.change_run(owner, repo, id, |run| {
            run.attempt += 1;
            run.set(RunState::Queued);
        })
    }

    fn change_run<T>(&self, owner: &str, repo: &str, id: u64, change: impl FnOnce(&mut WorkflowRun) -> T) -> Result<T> {
        let mut state = self.shared.state();
        let run = state.run_mut(owner, repo, id);
        run.map(change).ok_or_else(|| Error::unexpected(format!("changing run {id}"), "there is no such run"))
    }
}

impl Urls {
    /// `workflow-run`
    pub(super) fn workflow_run(&self, state: &State, repo: &Repo, run: &WorkflowRun, commit: &Commit) -> Value {
        let api = self.repo(repo);
        let url = format!("{api}/actions/runs/{}", run.id);
        let actor = self.user_or_null(state, &run.actor);
        let repository = self.minimal_repository(state, repo);
        json!({
            "id": run.id,
            "name": run.name,
            "node_id": format!("WFR_{}", run.id),
            "head_branch": run.branch,
            "head_sha": run.head_sha,
            "path": run.path,
            "display_title": commit.message.lines().next().unwrap_or_default(),
            "run_number": run.number,
            "run_attempt": run.attempt,
            "event": run.event,
            "status": run.state.status(),
            "conclusion": run.state.conclusion(),
            "workflow_id": run.workflow_id,
            "check_suite_id": run.id,
            "check_suite_node_id": format!("CS_{}", run.id),
            "url": url,
            "html_url": format!("{}/actions/runs/{}", self.page(repo), run.id),
            "pull_requests": [],
            "created_at": timestamp(run.created),
            "updated_at": timestamp(run.created),
            "run_started_at": timestamp(run.created),
            "actor": actor,
            "triggering_actor": actor,
            "jobs_url": format!("{url}/jobs"),
            "logs_url": format!("{url}/logs"),
            "check_suite_url": format!("{api}/check-suites/{}", run.id),
            "artifacts_url": format!("{url}/artifacts"),
            "cancel_url": format!("{url}/cancel"),
            "rerun_url": format!("{url}/rerun"),
            "previous_attempt_url": null,
            "workflow_url": format!("{api}/actions/workflows/{}", run.workflow_id),
            "head_commit": {
                "id": commit.sha,
                "tree_id": commit.tree,
                "message": commit.message,
                "timestamp": commit.committer.date,
                "author": {"name": commit.author.name, "email": commit.author.email},
                "committer": {"name": commit.committer.name, "email": commit.committer.email},
            },
            "repository": repository,
            "head_repository": repository,
        })
    }

    /// `job`
    pub(super) fn job(&self, repo: &Repo, run: &WorkflowRun, job: &Job) -> Value {
        let api = self.repo(repo);
        let ended = |state: &RunState| state.conclusion().map(|_| timestamp(run.created));
        let steps: Vec<_> = job
            .steps
            .iter()
            .enumerate()
            .map(|(index, (name, state))| {
                json!({
                    "name": name,
                    "status": match state { RunState::Waiting => "queued", state => state.status() },
                    "conclusion": state.conclusion(),
                    "number": index + 1,
                    "started_at": timestamp(run.created),
                    "completed_at": ended(state),
                })
            })
            .collect();
        json!({
            "id": job.id,
            "run_id": run.id,
            "run_url": format!("{api}/actions/runs/{}", run.id),
            "run_attempt": run.attempt,
            "node_id": format!("CR_{}", job.id),
            "head_sha": run.head_sha,
            "url": format!("{api}/actions/jobs/{}", job.id),
            "html_url": format!("{}/actions/runs/{}/job/{}", self.page(repo), run.id, job.id),
            "status": job.state.status(),
            "conclusion": job.state.conclusion(),
            "created_at": timestamp(run.created),
            "started_at": timestamp(run.created),
            "completed_at": ended(&job.state),
            "name": job.name,
            "steps": steps,
            "check_run_url": format!("{api}/check-runs/{}", job.id),
            "labels": ["ubuntu-latest"],
            "runner_id": 1,
            "runner_name": "GitHub Actions 1",
            "runner_group_id": 1,
            "runner_group_name": "GitHub Actions",
            "workflow_name": run.name,
            "head_branch": run.branch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CI: &str = "name: CI\non:\n  push:\n    branches: [main]\njobs:\n  build:\n    steps:\n      - uses: actions/checkout@v4\n      - name: Test\n        run: cargo test\n      - run: |\n          make\n          make install\n";

    #[test]
    fn triggers() {
        for (text, event, branch, wanted) in [
            ("on: push", "push", "x", true),
            ("on: [pull_request, push]", "push", "x", true),
            ("on: workflow_dispatch", "push", "x", false),
            ("on: {push: }", "push", "x", true),
            (CI, "push", "main", true),
            (CI, "push", "other", false),
            ("on: [", "push", "main", false),
            ("jobs: {}", "push", "main", false),
        ] {
            assert_eq!(workflow("ci.yaml", text, event, branch).is_some(), wanted, "{text} {event} {branch}");
        }
    }

    #[test]
    fn jobs_and_steps_are_named_as_github_names_them() {
        let found = workflow("ci.yaml", CI, "push", "main").map(|it| (it.name, it.jobs));
        let steps = ["Run actions/checkout@v4", "Test", "Run make"].map(str::to_owned).to_vec();
        assert_eq!(found, Some(("CI".to_owned(), vec![("build".to_owned(), steps)])));
    }
}
