//! `github:environment:create`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use http::Method;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, EntityRef, NoOutput, Secret};

use crate::{
    GithubDeps,
    client::Route,
    differences::Differences,
    inputs::whole,
    seal::put_secrets,
    session::{Session, examples},
};

/// GitHub needs a moment to see a repository that was just made.
const REPOSITORY_DELAY: Duration = Duration::from_secs(2);

/// The input of `github:environment:create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EnvironmentInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// The environment's name.
    name: String,
    /// Which branches may be deployed; all of them when left out.
    deployment_branch_policy: Option<BranchPolicy>,
    /// Patterns of branches that may be deployed (with `custom_branch_policies`).
    custom_branch_policy_names: Option<Vec<String>>,
    /// Patterns of tags that may be deployed (with `custom_branch_policies`).
    custom_tag_policy_names: Option<Vec<String>>,
    /// Variables for workflows that deploy here.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    environment_variables: Option<IndexMap<String, String>>,
    /// Secrets for workflows that deploy here.
    #[schemars(with = "Option<BTreeMap<String, Secret>>")]
    secrets: Option<IndexMap<String, Secret>>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
    /// Minutes that a deployment waits.
    wait_timer: Option<Number>,
    /// Whether nobody may approve a deployment of their own.
    prevent_self_review: Option<bool>,
    /// Who must approve deployments: entity references of users and groups whose names are logins and team slugs.
    reviewers: Option<Vec<String>>,
}

/// Which branches may be deployed: protected ones, or those named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BranchPolicy {
    /// Whether all protected branches may be.
    protected_branches: bool,
    /// Whether branches and tags that fit a pattern may be.
    custom_branch_policies: bool,
}

/// What an environment is to be like: the body that sets it.
#[derive(Debug, Serialize)]
struct Rules {
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment_branch_policy: Option<BranchPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_timer: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prevent_self_review: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reviewers: Vec<Reviewer>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Reviewer {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
}

/// An environment as GitHub tells of it.
#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    protection_rules: Vec<KnownRule>,
    deployment_branch_policy: Option<KnownBranchPolicy>,
}

#[derive(Deserialize)]
struct KnownBranchPolicy {
    protected_branches: bool,
    custom_branch_policies: bool,
}

#[derive(Deserialize)]
struct KnownRule {
    #[serde(rename = "type")]
    kind: String,
    wait_timer: Option<Number>,
    prevent_self_review: Option<bool>,
    #[serde(default)]
    reviewers: Vec<KnownReviewer>,
}

#[derive(Deserialize)]
struct KnownReviewer {
    #[serde(rename = "type", default)]
    kind: String,
    reviewer: Option<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

impl Known {
    fn differences(&self, rules: &Rules) -> Differences {
        let mut found = Differences::default();
        let rule = |kind: &str| self.protection_rules.iter().find(|rule| rule.kind == kind);
        let zero = Number::from(0);
        let wait = rule("wait_timer").and_then(|rule| rule.wait_timer.clone());
        found.compare("waitTimer", &wait.as_ref().unwrap_or(&zero), &rules.wait_timer.as_ref().unwrap_or(&zero));
        let approval = rule("required_reviewers");
        let there = approval.into_iter().flat_map(|rule| &rule.reviewers);
        let there = there.filter_map(|known| Some((known.kind.as_str(), known.reviewer.as_ref()?.id)));
        found.compare_sets("reviewers", there, rules.reviewers.iter().map(|reviewer| (reviewer.kind, reviewer.id)));
        // Where nobody approves GitHub doesn't tell.
        if let Some(rule) = approval {
            let there = rule.prevent_self_review.unwrap_or(false);
            found.compare("preventSelfReview", &there, &rules.prevent_self_review.unwrap_or(false));
        }
        let there = self.deployment_branch_policy.as_ref().map(|there| BranchPolicy {
            protected_branches: there.protected_branches,
            custom_branch_policies: there.custom_branch_policies,
        });
        found.compare("deploymentBranchPolicy", &there, &rules.deployment_branch_policy);
        found
    }
}

/// A pattern of branches or tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
struct Policy {
    name: String,
    #[serde(rename = "type", default = "branch")]
    kind: String,
}

fn branch() -> String {
    "branch".into()
}

/// Makes an environment.
#[derive(Debug)]
pub(crate) struct EnvironmentCreate {
    deps: Arc<GithubDeps>,
}

impl EnvironmentCreate {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for EnvironmentCreate {
    type Input = EnvironmentInput;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "github:environment:create"
    }
    fn description(&self) -> &'static str {
        "Creates an environment of a GitHub repository with its rules, variables and secrets. An environment that exists \
         with the same rules is left as it is, with what is missing added; one with other rules or variables is an error. \
         Secrets are set again, since GitHub never tells their values. Least permissions of the token: `Administration: \
         write`, `Environments: write`, `Actions: read`, and `Members: read` of the organization where groups are \
         reviewers (fine-grained, GitHub App) or the scope `repo`, and `read:org` in the same case (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "A name is enough",
                "steps:\n  - id: staging\n    name: Create staging\n    action: github:environment:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      name: staging\n",
            ),
            (
                "Only the branch main and release tags, approved by a team, after ten minutes",
                "steps:\n  - id: production\n    name: Create production\n    action: github:environment:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      name: production\n      deploymentBranchPolicy:\n        protected_branches: false\n        custom_branch_policies: true\n      customBranchPolicyNames: [main]\n      customTagPolicyNames: ['v*']\n      reviewers: [group:default/shop-owners]\n      preventSelfReview: true\n      waitTimer: 10\n",
            ),
            (
                "With a variable and a secret",
                "steps:\n  - id: staging\n    name: Create staging\n    action: github:environment:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      name: staging\n      environmentVariables:\n        REGION: eu-central-1\n      secrets:\n        DEPLOY_TOKEN: ${{ secrets.deployToken }}\n",
            ),
        ])
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let (client, target) = (&session.client, &session.target);
        find_repository(ctx, &session).await?;
        let rules = Rules {
            deployment_branch_policy: input.deployment_branch_policy,
            wait_timer: input.wait_timer.clone().map(whole),
            prevent_self_review: input.prevent_self_review,
            reviewers: reviewers(ctx, &session, input.reviewers.as_deref().unwrap_or_default()).await?,
        };
        let route = target.route(&["environments", &input.name])?;
        let what = format!("The environment {} of {target}", input.name);
        let known: Option<Known> = match client.get(&route).await {
            Ok(known) => Some(known),
            Err(error) if error.is_status(404) => None,
            Err(error) => return Err(error.into()),
        };
        let policies = missing_policies(&session, &route, &input, known.as_ref(), &rules, &what).await?;
        if known.is_some() {
            ctx.log.info(format!("{what} exists already with the same rules; they are not changed"));
        } else {
            client.put(&route, &rules).await?;
            ctx.log.info(format!("Created the environment {} of {target}", input.name));
        }
        for policy in policies {
            client.send(&Method::POST, &route.below("deployment-branch-policies")?, Some(&policy)).await?;
        }
        set_variables(ctx, &session, &route, &input, &what).await?;
        let secrets = input.secrets.unwrap_or_default();
        put_secrets(ctx, client, &route.below("secrets")?, &secrets).await?;
        Ok(NoOutput {})
    }
}

async fn find_repository(ctx: &ActionContext, session: &Session<'_>) -> Result<(), ActionError> {
    let route = session.target.route(&[])?;
    match session.client.send(&Method::GET, &route, None::<&()>).await {
        Err(error) if error.is_status(404) => {
            ctx.waiting(tokio::time::sleep(REPOSITORY_DELAY)).await?;
            session.client.send(&Method::GET, &route, None::<&()>).await?;
        }
        result => {
            result?;
        }
    }
    Ok(())
}

/// The accounts and teams of entities. An entity that is missing is an error: a deployment must not be easier than asked.
async fn reviewers(
    ctx: &ActionContext,
    session: &Session<'_>,
    references: &[String],
) -> Result<Vec<Reviewer>, ActionError> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let parsed: Vec<_> = references
        .iter()
        .map(|text| EntityRef::parse(text, Some("User"), None).map(|parsed| parsed.canonical()))
        .collect::<Result<_, _>>()?;
    let entities = ctx.catalog.entities_by_refs(&parsed).await?;
    let mut found = Vec::new();
    for (reference, entity) in parsed.iter().zip(entities) {
        let entity = entity
            .as_ref()
            .and_then(EntityRef::of)
            .ok_or_else(|| ActionError::not_found(format!("The reviewer {reference} is not in the catalog")))?;
        let (kind, route) = match entity.kind.to_lowercase().as_str() {
            "user" => ("User", Route::new(&["users", &entity.name])?),
            "group" => ("Team", Route::new(&["orgs", &session.target.owner, "teams", &entity.name])?),
            other => {
                return Err(ActionError::input(format!(
                    "The reviewer {reference} is a {other}; only users and groups can review"
                )));
            }
        };
        let known: Numbered = match session.client.get(&route).await {
            Ok(known) => known,
            Err(error) if error.is_status(404) => {
                return Err(ActionError::not_found(format!(
                    "GitHub knows no {} for the reviewer {reference} (GET {route})",
                    kind.to_lowercase()
                )));
            }
            Err(error) => return Err(error.into()),
        };
        found.push(Reviewer { kind, id: known.id });
    }
    Ok(found)
}

/// The patterns that the environment lacks.
///
/// # Errors
/// `ConflictError` when the environment exists and differs.
async fn missing_policies(
    session: &Session<'_>,
    route: &Route,
    input: &EnvironmentInput,
    known: Option<&Known>,
    rules: &Rules,
    what: &str,
) -> Result<BTreeSet<Policy>, ActionError> {
    #[derive(Deserialize)]
    struct Policies {
        branch_policies: Vec<Policy>,
    }
    let named = |names: &Option<Vec<String>>, kind: &str| {
        let policy = |name: &String| Policy { name: name.clone(), kind: kind.to_string() };
        names.iter().flatten().map(policy).collect::<BTreeSet<_>>()
    };
    let mut asked = named(&input.custom_branch_policy_names, "branch");
    asked.extend(named(&input.custom_tag_policy_names, "tag"));
    let Some(known) = known else { return Ok(asked) };
    let mut found = known.differences(rules);
    if found.is_empty() && rules.deployment_branch_policy.is_some_and(|policy| policy.custom_branch_policies) {
        let list = route.below("deployment-branch-policies")?.with_query(&[("per_page", "100")]);
        let there: Policies = session.client.get(&list).await?;
        for policy in there.branch_policies {
            if !asked.remove(&policy) {
                found.add(format!("the {} {} may be deployed", policy.kind, policy.name));
            }
        }
    }
    found.refuse(what)?;
    Ok(asked)
}

async fn set_variables(
    ctx: &ActionContext,
    session: &Session<'_>,
    route: &Route,
    input: &EnvironmentInput,
    what: &str,
) -> Result<(), ActionError> {
    #[derive(Deserialize)]
    struct Variable {
        value: String,
    }
    let all = route.below("variables")?;
    for (name, value) in input.environment_variables.iter().flatten() {
        let body = json!({ "name": name, "value": value });
        match session.client.send(&Method::POST, &all, Some(&body)).await {
            Err(error) if error.is_status(409) => {
                let known: Variable = session.client.get(&all.below(name)?).await?;
                let mut found = Differences::default();
                if known.value != *value {
                    found.add(format!("the variable {name} has another value"));
                }
                found.refuse(what)?;
                ctx.log.info(format!("{what} has the variable {name} with this value already"));
            }
            result => {
                result?;
            }
        }
    }
    Ok(())
}
