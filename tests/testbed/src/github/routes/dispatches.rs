//! Workflow runs that are asked for.

use serde_json::json;

use super::{Answer, Call, Outcome, Refusal};
use crate::github::state::Access;

pub(super) async fn create(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let workflow = call.param("workflow_id");
    let invalid = |message: String| Refusal::Http { status: 422, message, errors: None };
    let store = &call.shared.store;
    let path = format!(".github/workflows/{workflow}");
    let source = store.file(&repo.owner, &repo.name, &repo.default_branch, &path).await?;
    let source = source.ok_or_else(Refusal::not_found)?;
    let reference = call.body["ref"].as_str().unwrap_or_default();
    let Some(sha) = store.resolve(&repo.owner, &repo.name, reference).await? else {
        return Err(invalid(format!("No ref found for: {reference}")));
    };
    if !String::from_utf8_lossy(&source).contains("workflow_dispatch") {
        return Err(invalid("Workflow does not have 'workflow_dispatch' trigger".to_owned()));
    }
    let id = call.state().next_id();
    let asked = json!({
        "id": id,
        "workflow": workflow,
        "ref": reference,
        "sha": sha,
        "inputs": call.body.get("inputs").cloned().unwrap_or_else(|| json!({})),
    });
    call.change(Access::Write, |repo| repo.attachments.dispatches.push(asked))?;
    if call.body["return_run_details"] != true {
        return Ok(Answer::Empty(204));
    }
    let run = json!({
        "workflow_run_id": id,
        "run_url": format!("{}/actions/runs/{id}", call.urls().repo(&repo)),
        "html_url": format!("{}/actions/runs/{id}", call.urls().page(&repo)),
    });
    Ok(Answer::Json(200, run))
}
