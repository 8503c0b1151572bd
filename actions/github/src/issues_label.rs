//! `github:issues:label`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{
    GithubDeps,
    inputs::whole,
    session::{Session, examples},
};

/// The input of `github:issues:label`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LabelInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// Number of the issue or pull request.
    number: Number,
    /// Labels to add; those that the repository lacks are made.
    labels: Vec<String>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

/// Adds labels to an issue or pull request.
#[derive(Debug)]
pub(crate) struct IssuesLabel {
    deps: Arc<GithubDeps>,
}

impl IssuesLabel {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for IssuesLabel {
    type Input = LabelInput;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "github:issues:label"
    }
    fn description(&self) -> &'static str {
        "Adds labels to an issue or a pull request on GitHub. A refusal is only warned about. Least permissions of the token: \
         `Issues: write`, or `Pull requests: write` for pull requests (fine-grained, GitHub App), or the scope \
         `public_repo`, `repo` for private repositories (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "One label on issue 7",
                "steps:\n  - id: label\n    name: Label the issue\n    action: github:issues:label\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      number: 7\n      labels: [bug]\n",
            ),
            (
                "Two labels on the pull request of an earlier step",
                "steps:\n  - id: label\n    name: Label the pull request\n    action: github:issues:label\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      number: ${{ steps.pr.output.pullRequestNumber }}\n      labels: [scaffolded, needs-review]\n",
            ),
        ])
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let number = whole(input.number);
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let target = &session.target;
        let route = target.route(&["issues", &number.to_string(), "labels"])?;
        // GitHub adds no label twice, and answers with all that the issue has.
        match session.client.post::<_, Vec<Label>>(&route, &json!({ "labels": input.labels })).await {
            Ok(labels) => {
                let names: Vec<_> = labels.into_iter().map(|label| label.name).collect();
                ctx.log.info(format!("Issue #{number} of {target} has the labels {}", names.join(", ")));
            }
            Err(error) => {
                let error = error.survivable()?;
                ctx.log.warn(format!("Failed: adding labels to issue: '{number}' on repo: '{}', {error}", target.repo));
            }
        }
        Ok(NoOutput {})
    }
}
