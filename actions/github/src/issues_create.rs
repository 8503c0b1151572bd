//! `github:issues:create`.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, Secret, fingerprint, schema};

use crate::{
    GithubDeps,
    create::CLOCK_SKEW,
    inputs::whole,
    session::{Session, examples},
    target::{self, Target},
};

/// The number of a dry run's issue.
const DRY_RUN_NUMBER: u64 = 42;

/// The input of `github:issues:create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IssueInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// The issue's title.
    title: String,
    /// Its text, in Markdown.
    body: Option<String>,
    /// Logins of those who are to see to it.
    assignees: Option<Vec<String>>,
    /// Number of a milestone.
    milestone: Option<Milestone>,
    /// Labels; those that the repository lacks are made.
    labels: Option<Vec<String>>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Milestone {
    Text(String),
    Number(Number),
}

/// The output of `github:issues:create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IssueOutput {
    /// The issue in the browser.
    issue_url: String,
    /// The issue's number.
    #[schemars(with = "Number")]
    issue_number: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignees: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestone: Option<Milestone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [String]>,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    html_url: String,
}

#[derive(Deserialize)]
struct Known {
    title: String,
    body: Option<String>,
    created_at: DateTime<Utc>,
    #[serde(flatten)]
    issue: Issue,
}

impl From<Issue> for IssueOutput {
    fn from(issue: Issue) -> Self {
        Self { issue_url: issue.html_url, issue_number: issue.number }
    }
}

/// Opens an issue.
#[derive(Debug)]
pub(crate) struct IssuesCreate {
    deps: Arc<GithubDeps>,
}

impl IssuesCreate {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for IssuesCreate {
    type Input = IssueInput;
    type Output = IssueOutput;

    fn id(&self) -> &'static str {
        "github:issues:create"
    }
    fn description(&self) -> &'static str {
        "Opens an issue on GitHub, once per task: a retry finds the issue that an earlier run opened. Least permissions of \
         the token: `Issues: write` (fine-grained, GitHub App) or the scope `public_repo`, `repo` for private repositories \
         (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "A title is enough",
                "steps:\n  - id: issue\n    name: Open an issue\n    action: github:issues:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      title: Choose a database\n",
            ),
            (
                "With a text, labels, an assignee and a milestone",
                "steps:\n  - id: issue\n    name: Open an issue\n    action: github:issues:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      title: Go live\n      body: |\n        - [ ] alerts\n        - [ ] runbook\n      labels: [launch]\n      assignees: [jane]\n      milestone: 1\n",
            ),
        ])
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<IssueOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        if ctx.is_dry_run {
            let target = Target::of(&target::repo_url(&self.deps.scm, &input.repo_url, None)?)?;
            ctx.log.info(format!("Dry run: the issue '{}' would be opened in {target}", input.title));
            // Upstream's address, whatever the host.
            let issue_url = format!("https://github.com/{}/{}/issues/{DRY_RUN_NUMBER}", target.owner, target.repo);
            return Ok(IssueOutput { issue_url, issue_number: DRY_RUN_NUMBER });
        }
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let Target { owner, repo, .. } = &session.target;
        let content = fingerprint(&(&input.title, &input.body, &input.labels, &input.assignees));
        let key = format!("create.github.issue.{owner}.{repo}.{content}");
        if ctx.checkpoints.load(&key).await?.is_some() {
            ctx.log.info(format!("An earlier run of this task opened the issue '{}' already", input.title));
        }
        ctx.checkpoint(&key, || open(ctx, &session, &input, &key)).await
    }
}

async fn open(
    ctx: &ActionContext,
    session: &Session<'_>,
    input: &IssueInput,
    key: &str,
) -> Result<IssueOutput, ActionError> {
    let target = &session.target;
    // A run that ended before it heard GitHub's answer leaves only its intention behind.
    let intention = format!("{key}.intended");
    let earlier = ctx.checkpoints.load(&intention).await?.and_then(|value| serde_json::from_value(value).ok());
    match earlier {
        Some(since) => {
            if let Some(issue) = find_own(session, input, since).await? {
                ctx.log.info(format!(
                    "Going on with issue #{} of {target}, which an earlier run of this task opened",
                    issue.number
                ));
                return Ok(issue.into());
            }
        }
        None => {
            let now = serde_json::to_value(Utc::now()).map_err(|error| ActionError::failed(error.to_string()))?;
            ctx.checkpoints.succeeded(&intention, &now).await?;
        }
    }
    let body = Body {
        title: &input.title,
        body: input.body.as_deref(),
        assignees: input.assignees.as_deref(),
        milestone: input.milestone.clone().map(|milestone| match milestone {
            Milestone::Number(number) => Milestone::Number(whole(number)),
            text @ Milestone::Text(_) => text,
        }),
        labels: input.labels.as_deref(),
    };
    let issue: Issue = session.client.post(&target.route(&["issues"])?, &body).await?;
    ctx.log.info(format!("Opened issue #{} of {target}: {}", issue.number, issue.html_url));
    Ok(issue.into())
}

/// The issue that an earlier run of this task asked for.
async fn find_own(
    session: &Session<'_>,
    input: &IssueInput,
    since: DateTime<Utc>,
) -> Result<Option<Issue>, ActionError> {
    let since = since - CLOCK_SKEW;
    let time = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    let route = session.target.route(&["issues"])?.with_query(&[("state", "all"), ("since", &time)]);
    let known: Vec<Known> = session.client.list(&route).await?;
    let own = |known: &Known| {
        known.created_at >= since
            && known.title == input.title
            && known.body.as_deref().unwrap_or_default() == input.body.as_deref().unwrap_or_default()
    };
    Ok(known.into_iter().find(own).map(|known| known.issue))
}
