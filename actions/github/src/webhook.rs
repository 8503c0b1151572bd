//! `github:webhook`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{
    GithubDeps,
    differences::Differences,
    session::{Session, examples},
    target::{self, Target},
};

/// The events that upstream's schema names.
const EVENTS: &[&str] = &[
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "code_scanning_alert",
    "commit_comment",
    "create",
    "delete",
    "dependabot_alert",
    "deploy_key",
    "deployment",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "github_app_authorization",
    "gollum",
    "installation",
    "installation_repositories",
    "installation_target",
    "issue_comment",
    "issues",
    "label",
    "marketplace_purchase",
    "member",
    "membership",
    "merge_group",
    "meta",
    "milestone",
    "org_block",
    "organization",
    "package",
    "page_build",
    "ping",
    "project",
    "project_card",
    "project_column",
    "projects_v2_item",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "push",
    "registry_package",
    "release",
    "repository",
    "repository_dispatch",
    "repository_import",
    "repository_vulnerability_alert",
    "secret_scanning_alert",
    "security_advisory",
    "sponsorship",
    "star",
    "status",
    "team",
    "team_add",
    "watch",
    "workflow_dispatch",
    "workflow_job",
    "workflow_run",
];

/// The input of `github:webhook`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WebhookInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// Where GitHub delivers to.
    webhook_url: String,
    /// What GitHub signs deliveries with.
    webhook_secret: Option<Secret>,
    /// What is delivered; `*` is everything.
    #[serde(default = "push")]
    #[schemars(schema_with = "events_schema")]
    events: Vec<String>,
    /// Whether anything is delivered.
    #[serde(default = "yes")]
    active: bool,
    /// How deliveries are written.
    #[serde(default)]
    content_type: ContentType,
    /// Whether the receiver's certificate is left unchecked.
    #[serde(default)]
    insecure_ssl: bool,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

fn push() -> Vec<String> {
    vec!["push".into()]
}

fn yes() -> bool {
    true
}

fn events_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            {"type": "array", "items": {"type": "string", "enum": EVENTS}},
            {"type": "array", "items": {"type": "string", "const": "*"}},
        ],
    })
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ContentType {
    #[default]
    Form,
    Json,
}

#[derive(Serialize)]
struct Body<'a> {
    config: Config<'a>,
    events: &'a [String],
    active: bool,
}

#[derive(Serialize)]
struct Config<'a> {
    url: &'a str,
    content_type: ContentType,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    insecure_ssl: &'static str,
}

/// A webhook as GitHub tells of it.
#[derive(Deserialize)]
struct Known {
    active: bool,
    events: Vec<String>,
    config: KnownConfig,
}

#[derive(Deserialize)]
struct KnownConfig {
    url: Option<String>,
    content_type: Option<String>,
    insecure_ssl: Option<Value>,
}

impl KnownConfig {
    /// GitHub documents a text or a number.
    fn is_insecure(&self) -> bool {
        match &self.insecure_ssl {
            Some(Value::String(text)) => text == "1",
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            _ => false,
        }
    }
}

/// Makes a webhook.
#[derive(Debug)]
pub(crate) struct Webhook {
    deps: Arc<GithubDeps>,
}

impl Webhook {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for Webhook {
    type Input = WebhookInput;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "github:webhook"
    }
    fn description(&self) -> &'static str {
        "Creates a webhook of a GitHub repository. A webhook that exists with the same settings is left as it is; GitHub \
         never tells a webhook's secret, so that one is not compared. Least permissions of the token: `Webhooks: write` \
         (fine-grained, GitHub App) or the scope `write:repo_hook` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "Pushes, as a form",
                "steps:\n  - id: hook\n    name: Add a webhook\n    action: github:webhook\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      webhookUrl: https://ci.example.com/hooks\n",
            ),
            (
                "Pull requests and releases, signed, as JSON",
                "steps:\n  - id: hook\n    name: Add a webhook\n    action: github:webhook\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      webhookUrl: https://ci.example.com/hooks\n      webhookSecret: ${{ secrets.webhookSecret }}\n      events: [pull_request, release]\n      contentType: json\n",
            ),
            (
                "Everything",
                "steps:\n  - id: hook\n    name: Add a webhook\n    action: github:webhook\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      webhookUrl: https://audit.example.com/github\n      events: ['*']\n",
            ),
        ])
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        if ctx.is_dry_run {
            let target = Target::of(&target::repo_url(&self.deps.scm, &input.repo_url, None)?)?;
            ctx.log.info(format!("Dry run: a webhook for {} would be added to {target}", input.webhook_url));
            return Ok(NoOutput {});
        }
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let target = &session.target;
        let body = Body {
            config: Config {
                url: &input.webhook_url,
                content_type: input.content_type,
                // Templates render an absent secret to an empty text.
                secret: input.webhook_secret.as_ref().map(Secret::expose).filter(|secret| !secret.is_empty()),
                insecure_ssl: if input.insecure_ssl { "1" } else { "0" },
            },
            events: &input.events,
            active: input.active,
        };
        match session.client.send(&http::Method::POST, &target.route(&["hooks"])?, Some(&body)).await {
            Ok(_) => ctx.log.info(format!("Added a webhook for {} to {target}", input.webhook_url)),
            Err(error) if error.says_exists() => compare(ctx, &session, &input).await?,
            Err(error) => {
                let error = error.survivable()?;
                ctx.log.warn(format!(
                    "Failed: create webhook '{}' on repo: '{}', {error}",
                    input.webhook_url, target.repo
                ));
            }
        }
        Ok(NoOutput {})
    }
}

/// Looks at the webhook that is in the way.
async fn compare(ctx: &ActionContext, session: &Session<'_>, input: &WebhookInput) -> Result<(), ActionError> {
    let target = &session.target;
    let known: Vec<Known> = session.client.list(&target.route(&["hooks"])?).await?;
    let same_url = known.iter().filter(|hook| hook.config.url.as_deref() == Some(&input.webhook_url));
    let differences = same_url.map(|hook| {
        let mut found = Differences::default();
        found.compare_sets("events", &hook.events, &input.events);
        found.compare("active", &hook.active, &input.active);
        let content_type = if input.content_type == ContentType::Json { "json" } else { "form" };
        found.compare("contentType", &hook.config.content_type.as_deref().unwrap_or("form"), &content_type);
        found.compare("insecureSsl", &hook.config.is_insecure(), &input.insecure_ssl);
        found
    });
    let differences: Vec<_> = differences.collect();
    let what = format!("A webhook of {target} for {}", input.webhook_url);
    match differences.iter().find(|found| found.is_empty()).or(differences.first()) {
        Some(found) => found.refuse(&what)?,
        None => {
            return Err(ActionError::conflict(format!(
                "{what} exists already according to GitHub, which doesn't list it; look at the repository's webhooks"
            )));
        }
    }
    ctx.log.info(format!("{what} exists already with the same settings; nothing is changed"));
    Ok(())
}
