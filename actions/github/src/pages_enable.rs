//! `github:pages:enable`.

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

/// The input of `github:pages:enable`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PagesInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// Who builds the site: a workflow of the repository, or GitHub from a branch (`legacy`).
    #[serde(default)]
    build_type: BuildType,
    /// The branch that `legacy` builds from.
    #[serde(default = "main_branch")]
    source_branch: String,
    /// The directory that `legacy` builds from.
    #[serde(default)]
    source_path: SourcePath,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

fn main_branch() -> String {
    "main".into()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum BuildType {
    Legacy,
    #[default]
    Workflow,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
enum SourcePath {
    #[default]
    #[serde(rename = "/")]
    Root,
    #[serde(rename = "/docs")]
    Docs,
}

#[derive(Serialize)]
struct Body<'a> {
    build_type: BuildType,
    source: Source<'a>,
}

#[derive(Serialize)]
struct Source<'a> {
    branch: &'a str,
    path: SourcePath,
}

/// A site as GitHub tells of it.
#[derive(Deserialize)]
struct Known {
    /// Absent where an old server knows only one way.
    build_type: Option<BuildType>,
    source: Option<KnownSource>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct KnownSource {
    branch: String,
    path: String,
}

/// Turns GitHub Pages on.
#[derive(Debug)]
pub(crate) struct PagesEnable {
    deps: Arc<GithubDeps>,
}

impl PagesEnable {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for PagesEnable {
    type Input = PagesInput;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "github:pages:enable"
    }
    fn description(&self) -> &'static str {
        "Turns on GitHub Pages for a repository. A site that is on with the same settings is left as it is. Least \
         permissions of the token: `Pages: write` and `Administration: write` (fine-grained, GitHub App) or the scope \
         `repo` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "A site that a workflow builds",
                "steps:\n  - id: pages\n    name: Turn on Pages\n    action: github:pages:enable\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n",
            ),
            (
                "A site built from the directory docs of the branch main",
                "steps:\n  - id: pages\n    name: Turn on Pages\n    action: github:pages:enable\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      buildType: legacy\n      sourceBranch: main\n      sourcePath: /docs\n",
            ),
        ])
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let target = &session.target;
        let route = target.route(&["pages"])?;
        let source = Source { branch: &input.source_branch, path: input.source_path };
        let body = Body { build_type: input.build_type, source };
        match session.client.send(&Method::POST, &route, Some(&body)).await {
            Ok(_) => {
                ctx.log.info(format!("Turned on GitHub Pages for {target}"));
                return Ok(NoOutput {});
            }
            Err(error) if error.is_status(409) => {}
            Err(error) => return Err(error.into()),
        }
        let known: Known = session.client.get(&route).await?;
        let mut differences = Differences::default();
        differences.compare("buildType", &known.build_type.unwrap_or(BuildType::Legacy), &input.build_type);
        // A workflow builds from wherever it likes.
        if input.build_type == BuildType::Legacy
            && let Some(source) = &known.source
        {
            differences.compare("sourceBranch", &source.branch, &input.source_branch);
            let path = if input.source_path == SourcePath::Docs { "/docs" } else { "/" };
            differences.compare("sourcePath", &source.path.as_str(), &path);
        }
        let site = known.html_url.map(|url| format!(" ({url})")).unwrap_or_default();
        let what = format!("The GitHub Pages site of {target}{site}");
        differences.refuse(&what)?;
        ctx.log.info(format!("{what} exists already with the same settings; nothing is changed"));
        Ok(NoOutput {})
    }
}
