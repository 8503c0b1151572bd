//! `github:autolinks:create`.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{
    GithubDeps,
    differences::Differences,
    session::{Session, examples},
};

/// The input of `github:autolinks:create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AutolinkInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// What a reference begins with, e.g. `TICKET-`.
    key_prefix: String,
    /// Where it leads; `<num>` stands for what follows the prefix.
    url_template: String,
    /// Whether letters may follow the prefix; GitHub takes that for granted when it is left out.
    #[schemars(extend("default" = true))]
    is_alphanumeric: Option<bool>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

#[derive(Serialize)]
struct Body<'a> {
    key_prefix: &'a str,
    url_template: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_alphanumeric: Option<bool>,
}

/// An autolink as GitHub tells of it.
#[derive(Deserialize)]
struct Known {
    key_prefix: String,
    url_template: String,
    is_alphanumeric: bool,
}

/// Makes an autolink.
#[derive(Debug)]
pub(crate) struct AutolinksCreate {
    deps: Arc<GithubDeps>,
}

impl AutolinksCreate {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for AutolinksCreate {
    type Input = AutolinkInput;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "github:autolinks:create"
    }
    fn description(&self) -> &'static str {
        "Creates an autolink reference of a GitHub repository, which makes links of references such as `TICKET-123`. An \
         autolink that exists and is equal is left as it is. Least permissions of the token: `Administration: write` \
         (fine-grained, GitHub App) or the scope `repo` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[(
            "References to tickets",
            "steps:\n  - id: autolink\n    name: Link tickets\n    action: github:autolinks:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      keyPrefix: TICKET-\n      urlTemplate: https://tickets.example.com/browse/<num>\n      isAlphanumeric: false\n",
        )])
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let target = &session.target;
        let route = target.route(&["autolinks"])?;
        let body = Body {
            key_prefix: &input.key_prefix,
            url_template: &input.url_template,
            is_alphanumeric: input.is_alphanumeric,
        };
        let error = match session.client.send(&Method::POST, &route, Some(&body)).await {
            Ok(_) => {
                ctx.log.info(format!("Added the autolink {} to {target}", input.key_prefix));
                return Ok(NoOutput {});
            }
            Err(error) if error.says_exists() => error,
            Err(error) => return Err(error.into()),
        };
        let known: Vec<Known> = session.client.get(&route).await?;
        let Some(known) = known.into_iter().find(|known| known.key_prefix == input.key_prefix) else {
            // Another prefix that begins with this one is in the way.
            return Err(error.into());
        };
        let mut differences = Differences::default();
        differences.compare("urlTemplate", &known.url_template, &input.url_template);
        differences.compare("isAlphanumeric", &known.is_alphanumeric, &input.is_alphanumeric.unwrap_or(true));
        let what = format!("The autolink {} of {target}", input.key_prefix);
        differences.refuse(&what)?;
        ctx.log.info(format!("{what} exists already and is the same; nothing is changed"));
        Ok(NoOutput {})
    }
}
