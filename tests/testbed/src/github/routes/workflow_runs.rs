//! Runs of workflows and their jobs.

use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::{
    state::{Access, Repo},
    workflow_runs::WorkflowRun,
};

async fn rendered(call: &Call, repo: &Repo, run: &WorkflowRun) -> Result<Value, Refusal> {
    let place = (repo.owner.as_str(), repo.name.as_str());
    let history = call.shared.store.history(place, &run.head_sha, None, 0, 1).await?;
    let commit = history.first().ok_or_else(Refusal::not_found)?;
    let state = call.state();
    Ok(call.urls().workflow_run(&state, repo, run, commit))
}

pub(super) async fn list(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let fits = |name: &str, value: &str| call.query(name).is_none_or(|wanted| wanted == value);
    let wanted =
        |run: &WorkflowRun| fits("head_sha", &run.head_sha) && fits("branch", &run.branch) && fits("event", &run.event);
    let (skip, count) = page(&call);
    let (total, shown) = {
        let mut state = call.state();
        let ids: Vec<_> =
            state.runs_of(&repo.owner, &repo.name).iter().filter(|run| wanted(run)).map(|run| run.id).collect();
        let runs: Vec<_> = state.runs_of(&repo.owner, &repo.name).into_iter().filter(|run| wanted(run)).collect();
        state.play_on(&repo.owner, &repo.name, &ids);
        (runs.len(), runs.into_iter().rev().skip(skip).take(count).collect::<Vec<_>>())
    };
    let mut list = Vec::new();
    for run in &shown {
        list.push(rendered(&call, &repo, run).await?);
    }
    Ok(Answer::Json(200, json!({"total_count": total, "workflow_runs": list})))
}

fn run_of(call: &Call, repo: &Repo) -> Result<WorkflowRun, Refusal> {
    let runs = call.state().runs_of(&repo.owner, &repo.name);
    runs.into_iter().find(|run| run.id.to_string() == call.param("run_id")).ok_or_else(Refusal::not_found)
}

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let run = run_of(&call, &repo)?;
    Ok(Answer::Json(200, rendered(&call, &repo, &run).await?))
}

pub(super) async fn jobs(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let run = run_of(&call, &repo)?;
    let (skip, count) = page(&call);
    let list: Vec<_> = run.jobs.iter().map(|job| call.urls().job(&repo, &run, job)).skip(skip).take(count).collect();
    Ok(Answer::Json(200, json!({"total_count": run.jobs.len(), "jobs": list})))
}
