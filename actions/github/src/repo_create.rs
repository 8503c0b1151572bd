//! `github:repo:create`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, Secret, schema};

use crate::{
    GithubDeps,
    create::{CreateKey, RepositorySettings, create_repository},
    inputs::{Collaborator, CustomProperty, OidcCustomization, SquashMessage, SquashTitle, Visibility, WorkflowAccess},
    session::{Session, examples},
};

/// The input of `github:repo:create`, in upstream's order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RepoCreateInput {
    /// Who becomes administrator: a login, or `organization/team`.
    access: Option<String>,
    /// Whether pull requests may be merged as soon as their checks pass.
    #[serde(default)]
    allow_auto_merge: bool,
    /// Whether pull requests may be merged with a merge commit.
    #[serde(default = "yes")]
    allow_merge_commit: bool,
    /// Whether pull requests may be rebased.
    #[serde(default = "yes")]
    allow_rebase_merge: bool,
    /// Whether pull requests may be squashed.
    #[serde(default = "yes")]
    allow_squash_merge: bool,
    /// Whether GitHub offers to update a pull request's branch.
    #[serde(default)]
    allow_update_branch: bool,
    /// Whether GitHub makes a first commit with a README.
    #[schemars(extend("default" = false))]
    auto_init: Option<bool>,
    /// Who gets access, in this order.
    collaborators: Option<Vec<Collaborator>>,
    /// Values of the organization's custom properties.
    #[schemars(with = "Option<BTreeMap<String, CustomProperty>>")]
    custom_properties: Option<IndexMap<String, CustomProperty>>,
    /// Whether branches are deleted after merging.
    #[serde(default)]
    delete_branch_on_merge: bool,
    /// One line about the repository.
    description: Option<String>,
    /// Whether the repository has issues.
    #[schemars(extend("default" = true))]
    has_issues: Option<bool>,
    /// Whether the repository has projects.
    has_projects: Option<bool>,
    /// Whether the repository has a wiki.
    #[schemars(extend("default" = true))]
    has_wiki: Option<bool>,
    /// A web address shown beside the description.
    homepage: Option<String>,
    /// What the subject claim of workflows' OIDC tokens is made of.
    oidc_customization: Option<OidcCustomization>,
    /// The repository to make, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// Variables for workflows.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    repo_variables: Option<IndexMap<String, String>>,
    /// Who sees the repository; `private` when left out.
    repo_visibility: Option<Visibility>,
    /// Secrets for workflows.
    #[schemars(with = "Option<BTreeMap<String, Secret>>")]
    secrets: Option<IndexMap<String, Secret>>,
    /// What the message of a squashed commit is made of.
    #[serde(default)]
    squash_merge_commit_message: SquashMessage,
    /// What the title of a squashed commit is made of.
    #[serde(default)]
    squash_merge_commit_title: SquashTitle,
    /// Whether the token's user watches the repository.
    subscribe: Option<bool>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
    /// Topics, put in lower case.
    topics: Option<Vec<String>>,
    /// Which other repositories may use this one's actions and reusable workflows.
    workflow_access: Option<WorkflowAccess>,
}

fn yes() -> bool {
    true
}

impl RepoCreateInput {
    fn into_settings(self) -> RepositorySettings {
        RepositorySettings {
            visibility: self.repo_visibility.unwrap_or_default(),
            auto_init: self.auto_init,
            description: self.description,
            homepage: self.homepage,
            delete_branch_on_merge: self.delete_branch_on_merge,
            allow_merge_commit: self.allow_merge_commit,
            allow_squash_merge: self.allow_squash_merge,
            squash_merge_commit_title: self.squash_merge_commit_title,
            squash_merge_commit_message: self.squash_merge_commit_message,
            allow_rebase_merge: self.allow_rebase_merge,
            allow_auto_merge: self.allow_auto_merge,
            allow_update_branch: self.allow_update_branch,
            has_projects: self.has_projects,
            has_wiki: self.has_wiki,
            has_issues: self.has_issues,
            custom_properties: self.custom_properties,
            access: self.access,
            collaborators: self.collaborators.unwrap_or_default(),
            topics: self.topics,
            variables: self.repo_variables.unwrap_or_default(),
            secrets: self.secrets.unwrap_or_default(),
            oidc: self.oidc_customization,
            subscribe: self.subscribe.unwrap_or(false),
            workflow_access: self.workflow_access,
        }
    }
}

/// The output of `github:repo:create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RepoCreateOutput {
    /// Where to clone from.
    remote_url: String,
    /// The repository's files in the browser.
    repo_contents_url: String,
}

/// Makes a repository on GitHub.
#[derive(Debug)]
pub(crate) struct RepoCreate {
    deps: Arc<GithubDeps>,
}

impl RepoCreate {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for RepoCreate {
    type Input = RepoCreateInput;
    type Output = RepoCreateOutput;

    fn id(&self) -> &'static str {
        "github:repo:create"
    }
    fn description(&self) -> &'static str {
        "Creates a repository on GitHub without pushing anything to it (`github:repo:push` does). A repository that exists \
         with the same settings is left as it is. Least permissions of the token: `Administration: write`, `Variables: \
         write` and `Secrets: write` where the step sets any, `Members: read` of the organization where `access` or \
         `collaborators` name teams (fine-grained, GitHub App) or the scope `repo`, and `read:org` in the same case \
         (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "A private repository",
                "steps:\n  - id: create\n    name: Create the repository\n    action: github:repo:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n",
            ),
            (
                "With a README, topics and a team as administrator",
                "steps:\n  - id: create\n    name: Create the repository\n    action: github:repo:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      description: The shop's front door\n      repoVisibility: internal\n      access: acme/shop-owners\n      topics: [shop]\n      autoInit: true\n",
            ),
            (
                "Reusable workflows for the whole organization",
                "steps:\n  - id: create\n    name: Create the repository\n    action: github:repo:create\n    input:\n      repoUrl: github.com?owner=acme&repo=workflows\n      workflowAccess: organization\n",
            ),
        ])
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<RepoCreateOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let settings = input.into_settings();
        let made = create_repository(ctx, &session.client, &session.target, &settings, CreateKey::Repo, None).await?;
        Ok(RepoCreateOutput {
            repo_contents_url: format!("{}/blob/{}", made.html_url, made.default_branch.as_deref().unwrap_or("main")),
            remote_url: made.clone_url,
        })
    }
}
