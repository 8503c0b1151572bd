//! `wait-workflow` and `github:wait-last-workflow`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;
use understudy_scm::RepoUrl;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration, Secret, schema};

use crate::{
    GithubDeps,
    client::Client,
    target::{self, Target},
    workflow_runs::{Commit, Watch, WorkflowRun, follow},
};

const HOST: &str = "github.com";
const TIMEOUT: HumanDuration = HumanDuration::from_secs(30 * 60);
const POLL_INTERVAL: HumanDuration = HumanDuration::from_secs(10);
/// GitHub shows a run seconds after the push; minutes on a bad day.
const APPEARANCE: HumanDuration = HumanDuration::from_secs(2 * 60);
/// How long to look for a run where none is required.
const OPTIONAL_APPEARANCE: HumanDuration = HumanDuration::from_secs(30);
/// Anything faster would be a flood.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Whether a commit must have a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequireRun {
    /// One has to appear, in the usual time.
    Yes,
    /// One has to appear in this time.
    Within(HumanDuration),
    /// A commit without runs is fine.
    No,
}

impl<'de> Deserialize<'de> for RequireRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match &value {
            Value::Bool(true) => Ok(Self::Yes),
            Value::Bool(false) => Ok(Self::No),
            other => HumanDuration::from_json(other).map(Self::Within).ok_or_else(|| {
                D::Error::custom(format!(
                    "expected true, false or {}; found {other}",
                    understudy_sdk::duration::EXPECTED
                ))
            }),
        }
    }
}

impl JsonSchema for RequireRun {
    fn schema_name() -> Cow<'static, str> {
        "RequireRun".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = HumanDuration::json_schema(generator);
        let mut forms = vec![serde_json::json!({"type": "boolean"})];
        forms.extend(duration.get("anyOf").and_then(Value::as_array).cloned().unwrap_or_default());
        json_schema!({"anyOf": forms})
    }
}

impl RequireRun {
    fn appearance(self) -> HumanDuration {
        match self {
            Self::Yes => APPEARANCE,
            Self::Within(time) => time,
            Self::No => OPTIONAL_APPEARANCE,
        }
    }
}

/// The input of `wait-workflow`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WaitWorkflowInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`. Or give `owner` and `repo`.
    pub(crate) repo_url: Option<String>,
    /// Owner of a repository on github.com.
    pub(crate) owner: Option<String>,
    /// Name of the repository.
    pub(crate) repo: Option<String>,
    /// The branch whose last commit is looked at; the default branch when neither this nor `sha` is given.
    pub(crate) branch: Option<String>,
    /// The commit, instead of a branch.
    pub(crate) sha: Option<String>,
    /// Only the runs of this workflow: its file (`ci.yaml`) or its name. Left out, all runs of the commit count.
    pub(crate) workflow: Option<String>,
    /// How long to wait for the runs to end, as a number of seconds or a text like `10m`; 30 minutes when left out.
    pub(crate) timeout: Option<HumanDuration>,
    /// How often to ask; every 10 seconds when left out.
    pub(crate) poll_interval: Option<HumanDuration>,
    /// How long a first run may take to appear before the step fails; 2 minutes when left out or `true`. `false`: a commit
    /// for which no run appears within 30 seconds is fine.
    pub(crate) require_run: Option<RequireRun>,
    /// A token to use instead of the integration's.
    pub(crate) token: Option<Secret>,
}

/// The output of both actions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WaitWorkflowOutput {
    /// The commit.
    pub(crate) sha: String,
    /// Its runs.
    pub(crate) runs: Vec<WorkflowRun>,
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

impl WaitWorkflowInput {
    fn repository(&self, deps: &GithubDeps) -> Result<RepoUrl, ActionError> {
        match (given(self.repo_url.as_ref()), given(self.owner.as_ref()), given(self.repo.as_ref())) {
            (Some(url), None, None) => target::repo_url(&deps.scm, url, None),
            (None, Some(owner), Some(repo)) => Ok(RepoUrl {
                host: HOST.into(),
                owner: Some(owner.into()),
                repo: Some(repo.into()),
                ..RepoUrl::default()
            }),
            (Some(_), _, _) => Err(ActionError::input("Give either repoUrl or owner and repo, not both")),
            _ => Err(ActionError::input("Give repoUrl, or owner and repo")),
        }
    }
    fn commit(&self) -> Result<Commit<'_>, ActionError> {
        match (given(self.branch.as_ref()), given(self.sha.as_ref())) {
            (Some(_), Some(_)) => Err(ActionError::input("Give either branch or sha, not both")),
            (Some(branch), None) => Ok(Commit::Branch(branch.strip_prefix("refs/heads/").unwrap_or(branch))),
            (None, Some(sha)) => Ok(Commit::Sha(sha)),
            (None, None) => Ok(Commit::DefaultBranch),
        }
    }
}

async fn wait(
    deps: &GithubDeps,
    ctx: &ActionContext,
    input: &WaitWorkflowInput,
) -> Result<WaitWorkflowOutput, ActionError> {
    let repo_url = input.repository(deps)?;
    let access = deps.scm.github_access(&repo_url, input.token.as_ref()).await?;
    let target = Target::of(&repo_url)?;
    let require = input.require_run.unwrap_or(RequireRun::Yes);
    let watch = Watch {
        target: &target,
        commit: input.commit()?,
        workflow: given(input.workflow.as_ref()),
        timeout: input.timeout.unwrap_or(TIMEOUT),
        poll_interval: input.poll_interval.unwrap_or(POLL_INTERVAL).get().max(SHORTEST_INTERVAL),
        appearance: require.appearance(),
        required: require != RequireRun::No,
    };
    let http = deps.scm.http_client()?.clone();
    let followed = follow(ctx, |ctx| Client::new(http, &access, ctx), &watch).await?;
    Ok(WaitWorkflowOutput { sha: followed.sha, runs: followed.runs })
}

/// Waits for the workflow runs of a commit.
#[derive(Debug)]
pub(crate) struct WaitWorkflow {
    deps: Arc<GithubDeps>,
}

impl WaitWorkflow {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for WaitWorkflow {
    type Input = WaitWorkflowInput;
    type Output = WaitWorkflowOutput;

    fn id(&self) -> &'static str {
        "wait-workflow"
    }
    fn aliases(&self) -> &'static [&'static str] {
        &["github:wait-workflow"]
    }
    fn description(&self) -> &'static str {
        "Waits until all GitHub Actions workflow runs of a commit have ended. Fails at once when one fails, and names the \
         failed job and step. Skipped in a dry run. Least permissions of the token: \
         `Contents: read` and `Actions: read` (fine-grained, GitHub App) or the scope `repo`, none for public repositories \
         (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        [
            (
                "The runs of the last commit on main, in a template that has just published the repository",
                "steps:\n  - id: ci\n    name: Wait for CI\n    action: wait-workflow\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      branch: main\n",
            ),
            (
                "One workflow of a commit, with 20 minutes to end and 5 to appear",
                "steps:\n  - id: ci\n    name: Wait for the image\n    action: wait-workflow\n    input:\n      owner: acme\n      repo: shop\n      sha: 0123456789abcdef0123456789abcdef01234567\n      workflow: image.yaml\n      timeout: 20m\n      requireRun: 5m\n",
            ),
            (
                "Runs if there are any",
                "steps:\n  - id: ci\n    name: Wait for CI\n    action: wait-workflow\n    input:\n      repoUrl: github.com?owner=acme&repo=docs\n      requireRun: false\n",
            ),
        ]
        .map(|(description, example)| ActionExample { description: description.into(), example: example.into() })
        .into()
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<WaitWorkflowOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        wait(&self.deps, ctx, &input).await
    }
}

/// The input of `github:wait-last-workflow`: what the tutorial's action takes, and how long to wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WaitLastWorkflowInput {
    /// Owner of a repository on github.com.
    pub(crate) owner: String,
    /// Name of the repository.
    pub(crate) repo: String,
    /// The branch whose last commit is looked at.
    pub(crate) branch: String,
    /// How long to wait for the runs to end, as a number of seconds or a text like `10m`; 30 minutes when left out.
    pub(crate) timeout: Option<HumanDuration>,
    /// How often to ask; every 10 seconds when left out.
    pub(crate) poll_interval: Option<HumanDuration>,
    /// How long a first run may take to appear before the step fails; 2 minutes when left out or `true`. `false`: a commit
    /// for which no run appears within 30 seconds is fine.
    pub(crate) require_run: Option<RequireRun>,
}

/// Waits for the workflow runs of a branch's last commit; `@muvaf/create-argocd-application` 0.4.1 had it first, and
/// never noticed failed runs.
#[derive(Debug)]
pub(crate) struct WaitLastWorkflow {
    deps: Arc<GithubDeps>,
}

impl WaitLastWorkflow {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for WaitLastWorkflow {
    type Input = WaitLastWorkflowInput;
    type Output = WaitWorkflowOutput;

    fn id(&self) -> &'static str {
        "github:wait-last-workflow"
    }
    fn description(&self) -> &'static str {
        "Waits until all GitHub Actions workflow runs of a branch's last commit have ended; fails at once when one fails. \
         The action of the cloud-native Heroku tutorial; `wait-workflow` can do more. Skipped in a dry run. Least \
         permissions of the token: `Contents: read` and `Actions: read` (fine-grained, GitHub App) or the scope `repo`, none \
         for public repositories (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "The runs of the last commit on main".into(),
            example: "steps:\n  - id: ci\n    name: Wait for CI\n    action: github:wait-last-workflow\n    input:\n      owner: acme\n      repo: shop\n      branch: main\n".into(),
        }]
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<WaitWorkflowOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let input = WaitWorkflowInput {
            owner: Some(input.owner),
            repo: Some(input.repo),
            branch: Some(input.branch),
            timeout: input.timeout,
            poll_interval: input.poll_interval,
            require_run: input.require_run,
            ..WaitWorkflowInput::default()
        };
        wait(&self.deps, ctx, &input).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use understudy_scm::Scm;

    use super::*;

    fn deps() -> GithubDeps {
        let scm = Scm::from_config(&json!({})).unwrap();
        GithubDeps { scm, default_author: ("S".into(), "s@x".into()), default_commit_message: None }
    }

    #[test]
    fn repository_and_commit_are_named_once() {
        for (input, expected) in [
            (json!({"repoUrl": "github.com?owner=o&repo=r"}), Ok("o/r")),
            (json!({"owner": "o", "repo": "r"}), Ok("o/r")),
            (json!({"owner": "o", "repo": "r", "repoUrl": ""}), Ok("o/r")),
            (json!({}), Err("Give repoUrl, or owner and repo")),
            (json!({"owner": "o"}), Err("Give repoUrl, or owner and repo")),
            (
                json!({"repoUrl": "github.com?owner=o&repo=r", "owner": "o"}),
                Err("Give either repoUrl or owner and repo, not both"),
            ),
        ] {
            let parsed: WaitWorkflowInput = serde_json::from_value(input.clone()).unwrap();
            let found = parsed.repository(&deps()).map(|url| url.project_slug());
            assert_eq!(found.as_deref().map_err(ActionError::message), expected, "{input}");
        }
        let both: WaitWorkflowInput = serde_json::from_value(json!({"branch": "a", "sha": "b"})).unwrap();
        assert_eq!(both.commit().unwrap_err().message(), "Give either branch or sha, not both");
    }

    #[test]
    fn requiring_a_run() {
        for (value, expected) in [
            (json!(true), RequireRun::Yes),
            (json!(false), RequireRun::No),
            (json!("5m"), RequireRun::Within(HumanDuration::from_secs(300))),
            (json!(0), RequireRun::Within(HumanDuration::from_secs(0))),
        ] {
            assert_eq!(serde_json::from_value::<RequireRun>(value).unwrap(), expected);
        }
        let error = serde_json::from_value::<RequireRun>(json!("maybe")).unwrap_err().to_string();
        assert!(error.starts_with("expected true, false or a duration"), "{error}");
    }
}
