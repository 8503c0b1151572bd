//! `github:repo:push`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, Secret, schema};

use crate::{
    GithubDeps,
    inputs::{Allowances, Restrictions, whole},
    protection::{ProtectionRules, protect_default_branch},
    push::{PushSettings, push_workspace},
    session::{Session, examples},
};

const DEFAULT_BRANCH: &str = "main";

/// The input of `github:repo:push`.
///
/// Where the schema shows another default than the one that applies (`defaultBranch`), it is upstream's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RepoPushInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// Whether code owners must approve.
    require_code_owner_reviews: Option<bool>,
    /// Whether new commits dismiss approvals.
    dismiss_stale_reviews: Option<bool>,
    /// Status checks that must pass before merging.
    required_status_check_contexts: Option<Vec<String>>,
    /// Who may merge without the required pull request.
    bypass_pull_request_allowances: Option<Allowances>,
    /// How many approvals a pull request into the default branch needs; 1 when left out.
    required_approving_review_count: Option<Number>,
    /// Who alone may push to the default branch.
    restrictions: Option<Restrictions>,
    /// Whether a branch must be up to date before merging.
    #[serde(default = "yes")]
    require_branches_to_be_up_to_date: bool,
    /// Whether all conversations must be resolved before merging.
    required_conversation_resolution: Option<bool>,
    /// Whether somebody other than the last pusher must approve.
    #[serde(default)]
    require_last_push_approval: bool,
    /// The branch to push to; `main` when left out.
    #[schemars(extend("default" = "master"))]
    default_branch: Option<String>,
    /// Whether to protect the default branch after the push.
    #[serde(default = "yes")]
    protect_default_branch: bool,
    /// Whether the protection binds administrators too.
    #[serde(default = "yes")]
    protect_enforce_admins: bool,
    /// The commit's message.
    #[schemars(extend("default" = "initial commit"))]
    git_commit_message: Option<String>,
    /// The commit's author.
    #[schemars(extend("default" = "Scaffolder"))]
    git_author_name: Option<String>,
    /// The commit author's e-mail address.
    git_author_email: Option<String>,
    /// The directory of the workspace to push; all of it when left out.
    source_path: Option<String>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
    /// Whether commits on the default branch must be signed.
    required_commit_signing: Option<bool>,
    /// Whether merge commits are refused on the default branch.
    required_linear_history: Option<bool>,
}

fn yes() -> bool {
    true
}

impl RepoPushInput {
    fn push(&self) -> PushSettings {
        let branch = self.default_branch.as_deref().filter(|branch| !branch.is_empty()).unwrap_or(DEFAULT_BRANCH);
        PushSettings {
            source_path: self.source_path.clone(),
            default_branch: branch.to_string(),
            message: self.git_commit_message.clone(),
            author_name: self.git_author_name.clone(),
            author_email: self.git_author_email.clone(),
        }
    }
    fn into_protection(self) -> ProtectionRules {
        ProtectionRules {
            enforce_admins: self.protect_enforce_admins,
            status_check_contexts: self.required_status_check_contexts.unwrap_or_default(),
            up_to_date: self.require_branches_to_be_up_to_date,
            restrictions: self.restrictions,
            approving_review_count: self.required_approving_review_count.map_or_else(|| 1.into(), whole),
            code_owner_reviews: self.require_code_owner_reviews.unwrap_or(false),
            bypass_allowances: self.bypass_pull_request_allowances,
            dismiss_stale_reviews: self.dismiss_stale_reviews.unwrap_or(false),
            last_push_approval: self.require_last_push_approval,
            conversation_resolution: self.required_conversation_resolution.unwrap_or(false),
            linear_history: self.required_linear_history.unwrap_or(false),
            block_creations: false,
            commit_signing: self.required_commit_signing.unwrap_or(false),
        }
    }
}

/// The output of `github:repo:push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RepoPushOutput {
    /// Where to clone from.
    remote_url: String,
    /// The repository's files in the browser.
    repo_contents_url: String,
    /// The pushed commit.
    commit_hash: String,
}

#[derive(Deserialize)]
struct Repository {
    clone_url: String,
    html_url: String,
}

/// Pushes the workspace to a repository that exists.
#[derive(Debug)]
pub(crate) struct RepoPush {
    deps: Arc<GithubDeps>,
}

impl RepoPush {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for RepoPush {
    type Input = RepoPushInput;
    type Output = RepoPushOutput;

    fn id(&self) -> &'static str {
        "github:repo:push"
    }
    fn description(&self) -> &'static str {
        "Pushes the workspace to a GitHub repository that exists, as the first commit of a branch. A branch that has the \
         same content already is left as it is, one with other content is never overwritten. Least permissions of the \
         token: `Contents: write`, `Workflows: write` where files lie below `.github/workflows`, and `Administration: \
         write` for the branch protection (fine-grained, GitHub App) or the scopes `repo` and, in that case, `workflow` \
         (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "The whole workspace",
                "steps:\n  - id: push\n    name: Push\n    action: github:repo:push\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n",
            ),
            (
                "A directory, with a message and an author of its own, without branch protection",
                "steps:\n  - id: push\n    name: Push\n    action: github:repo:push\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      sourcePath: ./service\n      gitCommitMessage: Start the service\n      gitAuthorName: Platform Team\n      gitAuthorEmail: platform@example.com\n      protectDefaultBranch: false\n",
            ),
        ])
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<RepoPushOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let Session { client, target, .. } = &session;
        let repository: Repository = client.get(&target.route(&[])?).await?;
        let settings = input.push();
        // Upstream's key, a slip of its included, so that a task that it began isn't pushed again.
        let key = format!("init.repo.publish.{}.[object Object].{}", target.owner, target.repo);
        let pushed = push_workspace(ctx, &self.deps, &session, &settings, &repository.clone_url, &key).await?;
        if input.protect_default_branch {
            protect_default_branch(
                ctx,
                client,
                target,
                &settings.default_branch,
                &input.into_protection(),
                pushed.unchanged,
            )
            .await?;
        }
        Ok(RepoPushOutput {
            repo_contents_url: format!("{}/blob/{}", repository.html_url, settings.default_branch),
            remote_url: repository.clone_url,
            commit_hash: pushed.commit,
        })
    }
}
