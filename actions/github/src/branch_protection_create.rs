//! `github:branch-protection:create`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Number;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{
    GithubDeps,
    inputs::{Allowances, Restrictions, whole},
    protection::{ProtectionRules, update_protection},
    session::{Session, examples},
};

/// The input of `github:branch-protection:create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProtectionInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// The branch; the repository's default branch when left out.
    branch: Option<String>,
    /// Whether the protection binds administrators too.
    #[serde(default = "yes")]
    enforce_admins: bool,
    /// How many approvals a pull request needs; 1 when left out.
    required_approving_review_count: Option<Number>,
    /// Whether code owners must approve.
    require_code_owner_reviews: Option<bool>,
    /// Whether new commits dismiss approvals.
    dismiss_stale_reviews: Option<bool>,
    /// Who may merge without the required pull request.
    bypass_pull_request_allowances: Option<Allowances>,
    /// Who alone may push to the branch.
    restrictions: Option<Restrictions>,
    /// Status checks that must pass before merging.
    required_status_check_contexts: Option<Vec<String>>,
    /// Whether a branch must be up to date before merging.
    #[serde(default = "yes")]
    require_branches_to_be_up_to_date: bool,
    /// Whether all conversations must be resolved before merging.
    required_conversation_resolution: Option<bool>,
    /// Whether somebody other than the last pusher must approve.
    #[serde(default)]
    require_last_push_approval: bool,
    /// Whether commits must be signed.
    required_commit_signing: Option<bool>,
    /// Whether merge commits are refused.
    required_linear_history: Option<bool>,
    /// Whether the restrictions also apply to making branches that the rule matches.
    #[serde(default)]
    block_creations: bool,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

fn yes() -> bool {
    true
}

impl ProtectionInput {
    fn into_rules(self) -> ProtectionRules {
        ProtectionRules {
            enforce_admins: self.enforce_admins,
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
            block_creations: self.block_creations,
            commit_signing: self.required_commit_signing.unwrap_or(false),
        }
    }
}

#[derive(Deserialize)]
struct Repository {
    default_branch: String,
}

/// Protects a branch.
#[derive(Debug)]
pub(crate) struct BranchProtectionCreate {
    deps: Arc<GithubDeps>,
}

impl BranchProtectionCreate {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for BranchProtectionCreate {
    type Input = ProtectionInput;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "github:branch-protection:create"
    }
    fn description(&self) -> &'static str {
        "Protects a branch of a GitHub repository. A branch that is protected in the same way is left as it is; other rules \
         are replaced, and the log says how they differed. Least permissions of the token: `Administration: write` \
         (fine-grained, GitHub App) or the scope `repo` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "The default branch, as upstream protects it",
                "steps:\n  - id: protect\n    name: Protect the default branch\n    action: github:branch-protection:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n",
            ),
            (
                "Two approvals, a check and signed commits on a release branch",
                "steps:\n  - id: protect\n    name: Protect the release branch\n    action: github:branch-protection:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      branch: release\n      requiredApprovingReviewCount: 2\n      requiredStatusCheckContexts: [test]\n      requiredCommitSigning: true\n",
            ),
        ])
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let Session { client, target, .. } = &session;
        let repository: Repository = client.get(&target.route(&[])?).await?;
        let branch = input.branch.clone().filter(|branch| !branch.is_empty()).unwrap_or(repository.default_branch);
        update_protection(ctx, client, target, &branch, &input.into_rules()).await?;
        Ok(NoOutput {})
    }
}
