//! `github:actions:dispatch`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use http::Method;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, Secret, fingerprint, schema};

use crate::{
    GithubDeps,
    session::{Session, examples},
    target::Target,
};

/// The input of `github:actions:dispatch`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DispatchInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// The workflow's file name, e.g. `ci.yml`, or its id.
    workflow_id: String,
    /// The branch or tag to run it on.
    branch_or_tag_name: String,
    /// Inputs of the workflow.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    workflow_inputs: Option<IndexMap<String, String>>,
    /// Whether to give the run's id and addresses as outputs.
    return_workflow_run_details: Option<bool>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

/// The output of `github:actions:dispatch`, empty unless details were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DispatchOutput {
    /// The run's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Number>")]
    workflow_run_id: Option<u64>,
    /// The run in GitHub's API.
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_run_url: Option<String>,
    /// The run in the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_run_html_url: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "ref")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<&'a IndexMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_run_details: Option<bool>,
}

#[derive(Deserialize)]
struct Run {
    workflow_run_id: u64,
    run_url: String,
    html_url: String,
}

/// Asks for a run of a workflow.
#[derive(Debug)]
pub(crate) struct ActionsDispatch {
    deps: Arc<GithubDeps>,
}

impl ActionsDispatch {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for ActionsDispatch {
    type Input = DispatchInput;
    type Output = DispatchOutput;

    fn id(&self) -> &'static str {
        "github:actions:dispatch"
    }
    fn description(&self) -> &'static str {
        "Runs a workflow of a GitHub repository that has the trigger `workflow_dispatch`, once per task, without waiting for \
         its end (`wait-workflow` does). Least permissions of the token: `Actions: write` (fine-grained, GitHub App) or the \
         scope `repo` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "Run a workflow on the branch main",
                "steps:\n  - id: dispatch\n    name: Run CI\n    action: github:actions:dispatch\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      workflowId: ci.yml\n      branchOrTagName: main\n",
            ),
            (
                "With inputs, giving the run's address to later steps",
                "steps:\n  - id: dispatch\n    name: Deploy\n    action: github:actions:dispatch\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      workflowId: deploy.yml\n      branchOrTagName: v1.0.0\n      workflowInputs:\n        environment: staging\n      returnWorkflowRunDetails: true\n",
            ),
        ])
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<DispatchOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let DispatchInput { workflow_id, branch_or_tag_name, .. } = &input;
        let Target { owner, repo, .. } = &session.target;
        let key = format!(
            "dispatch.github.workflow.{owner}.{repo}.{workflow_id}.{branch_or_tag_name}.{}",
            fingerprint(&input.workflow_inputs)
        );
        if ctx.checkpoints.load(&key).await?.is_some() {
            ctx.log.info(format!(
                "An earlier run of this task asked for {workflow_id} already; it is not asked for again"
            ));
        }
        ctx.checkpoint(&key, || dispatch(ctx, &session, &input)).await
    }
}

async fn dispatch(
    ctx: &ActionContext,
    session: &Session<'_>,
    input: &DispatchInput,
) -> Result<DispatchOutput, ActionError> {
    let DispatchInput { workflow_id, branch_or_tag_name, .. } = input;
    let target = &session.target;
    let route = target.route(&["actions", "workflows", workflow_id, "dispatches"])?;
    let details = input.return_workflow_run_details.filter(|details| *details);
    let body =
        Body { reference: branch_or_tag_name, inputs: input.workflow_inputs.as_ref(), return_run_details: details };
    let output = if details.is_some() {
        let run: Run = session.client.post(&route, &body).await?;
        DispatchOutput {
            workflow_run_id: Some(run.workflow_run_id),
            workflow_run_url: Some(run.run_url),
            workflow_run_html_url: Some(run.html_url),
        }
    } else {
        session.client.send(&Method::POST, &route, Some(&body)).await?;
        DispatchOutput::default()
    };
    let link = output.workflow_run_html_url.as_deref().map(|url| format!(": {url}")).unwrap_or_default();
    ctx.log.info(format!("Asked for a run of {workflow_id} of {target} on {branch_or_tag_name}{link}"));
    Ok(output)
}
