//! `publish:github`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, Secret, schema};

use crate::{
    GithubDeps,
    create::{CreateKey, RepositorySettings, create_repository},
    existing::Content,
    inputs::{
        Allowances, Collaborator, CustomProperty, OidcCustomization, Restrictions, SquashMessage, SquashTitle,
        Visibility, whole,
    },
    protection::{ProtectionRules, protect_default_branch},
    push::{PushSettings, push_workspace, source_directory},
    session::Session,
};

const DEFAULT_BRANCH: &str = "main";

/// The input of `publish:github`.
///
/// Where the schema shows another default than the one that applies (`defaultBranch`), it is upstream's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PublishGithubInput {
    /// The repository to make, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    pub(crate) repo_url: String,
    /// Hosts that `repoUrl` may name; anything else is refused. Leave out to allow every configured GitHub host.
    pub(crate) allowed_hosts: Option<Vec<String>>,
    /// One line about the repository.
    pub(crate) description: Option<String>,
    /// A web address shown beside the description.
    pub(crate) homepage: Option<String>,
    /// Who becomes administrator: a login, or `organization/team`.
    pub(crate) access: Option<String>,
    /// Who may merge without the required pull request.
    pub(crate) bypass_pull_request_allowances: Option<Allowances>,
    /// How many approvals a pull request into the default branch needs; 1 when left out.
    pub(crate) required_approving_review_count: Option<Number>,
    /// Who alone may push to the default branch.
    pub(crate) restrictions: Option<Restrictions>,
    /// Whether code owners must approve.
    pub(crate) require_code_owner_reviews: Option<bool>,
    /// Whether new commits dismiss approvals.
    pub(crate) dismiss_stale_reviews: Option<bool>,
    /// Status checks that must pass before merging.
    pub(crate) required_status_check_contexts: Option<Vec<String>>,
    /// Whether a branch must be up to date before merging.
    #[serde(default = "yes")]
    pub(crate) require_branches_to_be_up_to_date: bool,
    /// Whether all conversations must be resolved before merging.
    pub(crate) required_conversation_resolution: Option<bool>,
    /// Whether somebody other than the last pusher must approve.
    #[serde(default)]
    pub(crate) require_last_push_approval: bool,
    /// Who sees the repository; `private` when left out.
    pub(crate) repo_visibility: Option<Visibility>,
    /// The branch to push to; `main` when left out.
    #[schemars(extend("default" = "master"))]
    pub(crate) default_branch: Option<String>,
    /// Whether to protect the default branch after the push.
    #[serde(default = "yes")]
    pub(crate) protect_default_branch: bool,
    /// Whether the protection binds administrators too.
    #[serde(default = "yes")]
    pub(crate) protect_enforce_admins: bool,
    /// Whether branches are deleted after merging.
    #[serde(default)]
    pub(crate) delete_branch_on_merge: bool,
    /// The commit's message.
    #[schemars(extend("default" = "initial commit"))]
    pub(crate) git_commit_message: Option<String>,
    /// The commit's author.
    #[schemars(extend("default" = "Scaffolder"))]
    pub(crate) git_author_name: Option<String>,
    /// The commit author's e-mail address.
    pub(crate) git_author_email: Option<String>,
    /// Whether pull requests may be merged with a merge commit.
    #[serde(default = "yes")]
    pub(crate) allow_merge_commit: bool,
    /// Whether pull requests may be squashed.
    #[serde(default = "yes")]
    pub(crate) allow_squash_merge: bool,
    /// What the title of a squashed commit is made of.
    #[serde(default)]
    pub(crate) squash_merge_commit_title: SquashTitle,
    /// What the message of a squashed commit is made of.
    #[serde(default)]
    pub(crate) squash_merge_commit_message: SquashMessage,
    /// Whether pull requests may be rebased.
    #[serde(default = "yes")]
    pub(crate) allow_rebase_merge: bool,
    /// Whether pull requests may be merged as soon as their checks pass.
    #[serde(default)]
    pub(crate) allow_auto_merge: bool,
    /// Whether GitHub offers to update a pull request's branch.
    #[serde(default)]
    pub(crate) allow_update_branch: bool,
    /// The directory of the workspace to publish; all of it when left out.
    pub(crate) source_path: Option<String>,
    /// Who gets access, in this order.
    pub(crate) collaborators: Option<Vec<Collaborator>>,
    /// Whether the repository has projects.
    pub(crate) has_projects: Option<bool>,
    /// Whether the repository has a wiki.
    #[schemars(extend("default" = true))]
    pub(crate) has_wiki: Option<bool>,
    /// Whether the repository has issues.
    #[schemars(extend("default" = true))]
    pub(crate) has_issues: Option<bool>,
    /// A token to use instead of the integration's.
    pub(crate) token: Option<Secret>,
    /// Topics, put in lower case.
    pub(crate) topics: Option<Vec<String>>,
    /// Variables for workflows.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) repo_variables: Option<IndexMap<String, String>>,
    /// Secrets for workflows.
    #[schemars(with = "Option<BTreeMap<String, Secret>>")]
    pub(crate) secrets: Option<IndexMap<String, Secret>>,
    /// What the subject claim of workflows' OIDC tokens is made of.
    pub(crate) oidc_customization: Option<OidcCustomization>,
    /// Whether commits on the default branch must be signed.
    pub(crate) required_commit_signing: Option<bool>,
    /// Whether merge commits are refused on the default branch.
    pub(crate) required_linear_history: Option<bool>,
    /// Values of the organization's custom properties.
    #[schemars(with = "Option<BTreeMap<String, CustomProperty>>")]
    pub(crate) custom_properties: Option<IndexMap<String, CustomProperty>>,
    /// Whether the token's user watches the repository.
    pub(crate) subscribe: Option<bool>,
}

fn yes() -> bool {
    true
}

impl PublishGithubInput {
    fn branch(&self) -> &str {
        self.default_branch.as_deref().filter(|branch| !branch.is_empty()).unwrap_or(DEFAULT_BRANCH)
    }
    fn repository(&mut self) -> RepositorySettings {
        RepositorySettings {
            visibility: self.repo_visibility.unwrap_or_default(),
            auto_init: None,
            description: self.description.take(),
            homepage: self.homepage.take(),
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
            custom_properties: self.custom_properties.take(),
            access: self.access.take(),
            collaborators: self.collaborators.take().unwrap_or_default(),
            topics: self.topics.take(),
            variables: self.repo_variables.take().unwrap_or_default(),
            secrets: self.secrets.take().unwrap_or_default(),
            oidc: self.oidc_customization.take(),
            subscribe: self.subscribe.unwrap_or(false),
            workflow_access: None,
        }
    }
    fn push(&mut self) -> PushSettings {
        PushSettings {
            source_path: self.source_path.take(),
            default_branch: self.branch().to_string(),
            message: self.git_commit_message.take(),
            author_name: self.git_author_name.take(),
            author_email: self.git_author_email.take(),
        }
    }
    fn protection(&mut self) -> ProtectionRules {
        ProtectionRules {
            enforce_admins: self.protect_enforce_admins,
            status_check_contexts: self.required_status_check_contexts.take().unwrap_or_default(),
            up_to_date: self.require_branches_to_be_up_to_date,
            restrictions: self.restrictions.take(),
            approving_review_count: self.required_approving_review_count.take().map_or_else(|| 1.into(), whole),
            code_owner_reviews: self.require_code_owner_reviews.unwrap_or(false),
            bypass_allowances: self.bypass_pull_request_allowances.take(),
            dismiss_stale_reviews: self.dismiss_stale_reviews.unwrap_or(false),
            last_push_approval: self.require_last_push_approval,
            conversation_resolution: self.required_conversation_resolution.unwrap_or(false),
            linear_history: self.required_linear_history.unwrap_or(false),
            block_creations: false,
            commit_signing: self.required_commit_signing.unwrap_or(false),
        }
    }
}

/// The output of `publish:github`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PublishGithubOutput {
    /// Where to clone from.
    pub(crate) remote_url: String,
    /// The repository's files in the browser.
    pub(crate) repo_contents_url: String,
    /// The pushed commit.
    pub(crate) commit_hash: String,
}

/// Makes a repository on GitHub and pushes the workspace to it.
#[derive(Debug)]
pub(crate) struct PublishGithub {
    deps: Arc<GithubDeps>,
}

impl PublishGithub {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for PublishGithub {
    type Input = PublishGithubInput;
    type Output = PublishGithubOutput;

    fn id(&self) -> &'static str {
        "publish:github"
    }
    fn description(&self) -> &'static str {
        "Creates a repository on GitHub and pushes the workspace to it as the first commit of its default branch. Least \
         permissions of the token: `Administration: write`, `Contents: write`, `Workflows: write` where files lie below \
         `.github/workflows`, `Variables: write` and `Secrets: write` where the step sets any, `Members: read` of the \
         organization where `access` or `collaborators` name teams (fine-grained, GitHub App) or the scopes `repo`, and \
         `workflow`, `read:org` in the same cases (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        [
            (
                "A private repository with the whole workspace",
                "steps:\n  - id: publish\n    name: Publish\n    action: publish:github\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n",
            ),
            (
                "A public repository that a team administers, without branch protection",
                "steps:\n  - id: publish\n    name: Publish\n    action: publish:github\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      allowedHosts: [github.com]\n      description: The shop's front door\n      repoVisibility: public\n      access: acme/shop-owners\n      topics: [shop, frontend]\n      protectDefaultBranch: false\n",
            ),
            (
                "Variables and secrets for workflows, two required checks, merges by squash only",
                "steps:\n  - id: publish\n    name: Publish\n    action: publish:github\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      sourcePath: ./service\n      repoVariables:\n        REGION: eu-central-1\n      secrets:\n        REGISTRY_TOKEN: ${{ secrets.registryToken }}\n      allowMergeCommit: false\n      allowRebaseMerge: false\n      deleteBranchOnMerge: true\n      requiredStatusCheckContexts: [build, test]\n",
            ),
        ]
        .map(|(description, example)| ActionExample { description: description.into(), example: example.into() })
        .into()
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<PublishGithubOutput>())
    }

    async fn run(&self, ctx: &ActionContext, mut input: Self::Input) -> Result<Self::Output, ActionError> {
        let session =
            Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), input.allowed_hosts.as_deref())
                .await?;
        let Session { client, target, .. } = &session;

        let branch = input.branch().to_string();
        let settings = input.push();
        let dir = source_directory(&ctx.workspace, settings.source_path.as_deref())?;
        let content = Content { dir: &dir, branch: &branch };
        let repository =
            create_repository(ctx, client, target, &input.repository(), CreateKey::Publish, Some(content)).await?;
        ctx.check_cancelled()?;
        let key = format!("init.repo.publish.{}.{}", target.owner, target.repo);
        let pushed = push_workspace(ctx, &self.deps, &session, &settings, &repository.clone_url, &key).await?;
        if input.protect_default_branch {
            let unchanged = repository.unchanged && pushed.unchanged;
            protect_default_branch(ctx, client, target, &branch, &input.protection(), unchanged).await?;
        }
        Ok(PublishGithubOutput {
            repo_contents_url: format!("{}/blob/{branch}", repository.html_url),
            remote_url: repository.clone_url,
            commit_hash: pushed.commit,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use understudy_sdk::schema::Validator;

    use super::*;

    fn without_descriptions(schema: &mut Value) {
        match schema {
            Value::Object(map) => {
                map.retain(|key, value| !(key == "description" && value.is_string()));
                map.values_mut().for_each(without_descriptions);
            }
            Value::Array(items) => items.iter_mut().for_each(without_descriptions),
            _ => {}
        }
    }

    #[test]
    fn the_schema_is_upstreams_with_allowed_hosts() {
        let recorded: Value = serde_json::from_str(include_str!("../testdata/publish-github.schema.json")).unwrap();
        let mut input = schema::of::<PublishGithubInput>();
        without_descriptions(&mut input);
        let properties = input["properties"].as_object_mut().unwrap();
        assert_eq!(
            properties.shift_remove("allowedHosts"),
            Some(json!({"type": "array", "items": {"type": "string"}}))
        );
        let order: Vec<_> = properties.keys().collect();
        let recorded_order: Vec<_> = recorded["input"]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(order, recorded_order);
        let mut output = schema::of::<PublishGithubOutput>();
        without_descriptions(&mut output);
        for (ours, recorded) in [(&mut input, &recorded["input"]), (&mut output, &recorded["output"])] {
            ours.as_object_mut().unwrap().shift_remove("$schema");
            assert_eq!(ours, recorded);
        }
    }

    #[test]
    fn examples_are_valid() {
        #[derive(Deserialize)]
        struct Example {
            steps: Vec<Step>,
        }
        #[derive(Deserialize)]
        struct Step {
            action: String,
            input: Value,
        }
        let scm = understudy_scm::Scm::from_config(&json!({})).unwrap();
        let author = ("Scaffolder".into(), "scaffolder@backstage.io".into());
        let action =
            PublishGithub::new(Arc::new(GithubDeps { scm, default_author: author, default_commit_message: None }));
        let validator = Validator::new(&action.input_schema()).unwrap();
        let examples = action.examples();
        assert!(!examples.is_empty());
        for example in examples {
            let parsed: Example = serde_saphyr::from_str(&example.example).unwrap();
            for step in parsed.steps {
                assert_eq!(step.action, action.id());
                assert_eq!(validator.validate(&step.input), [], "{}", example.description);
                serde_json::from_value::<PublishGithubInput>(step.input).unwrap();
            }
        }
    }

    #[test]
    fn effective_defaults() {
        let mut input: PublishGithubInput =
            serde_json::from_value(json!({"repoUrl": "github.com?owner=o&repo=r"})).unwrap();
        assert_eq!(input.branch(), "main");
        assert!(input.protect_default_branch);
        let repository = input.repository();
        assert_eq!(repository.visibility, Visibility::Private);
        assert!(repository.allow_merge_commit && repository.allow_squash_merge && repository.allow_rebase_merge);
        assert_eq!((repository.has_wiki, repository.has_issues, repository.has_projects), (None, None, None));
        let rules = input.protection();
        assert_eq!(rules.approving_review_count, Number::from(1));
        assert!(rules.up_to_date && rules.enforce_admins && !rules.commit_signing);
    }
}
