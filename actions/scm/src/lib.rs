//! Source code hosts: integrations, URL arithmetic, reading files and trees, git push.
//!
//! [`Scm`] is the one object actions and the service share: built once from the configuration, cheap to clone.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use understudy_sdk::{ActionContext, ActionError, Secret, Workspace};
use url::Url;

pub mod git;
mod github_apps;
mod http;
pub mod integrations;
mod reading;
mod repo_url;
mod resolve;
pub mod throttle;

use github_apps::Apps;
pub use github_apps::is_out_of_reach;
pub use http::{BodyError, COMPONENT, read_body, request_failure};
use integrations::{Integration, Integrations, config::Node};
use reading::{Reader, allow::AllowList};

/// Integrations, credentials and readers.
#[derive(Clone, Debug)]
pub struct Scm {
    inner: Arc<Inner>,
    as_service: bool,
    /// The step on whose behalf things are read.
    step: Option<ActionContext>,
}

#[derive(Debug)]
struct Inner {
    integrations: Integrations,
    /// By host.
    apps: HashMap<String, Arc<Apps>>,
    allow: AllowList,
    require_user_credentials: bool,
}

/// A parsed `repoUrl` (`github.com?owner=o&repo=r`).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RepoUrl {
    /// Host, port included.
    pub host: String,
    /// `owner`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// `repo`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// `organization`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// `workspace`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// `project`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl RepoUrl {
    /// `owner/repo`, what the filter `projectSlug` gives.
    pub fn project_slug(&self) -> String {
        format!("{}/{}", self.owner.as_deref().unwrap_or_default(), self.repo.as_deref().unwrap_or_default())
    }
}

/// What reading a tree brought.
#[derive(Debug, Clone, Default)]
pub struct TreeSummary {
    /// Number of files written, links not counted.
    pub files: usize,
    /// Things left out (e.g. links that lead outside), one sentence each.
    pub warnings: Vec<String>,
}

/// How to reach a GitHub host.
#[derive(Debug, Clone)]
pub struct GithubAccess {
    /// E.g. `https://api.github.com`.
    pub api_base_url: String,
    /// A token for the repository; see [`GithubAccess::current_token`].
    pub token: Secret,
    /// Where an App's token comes from.
    renewal: Option<Renewal>,
}

#[derive(Debug, Clone)]
struct Renewal {
    apps: Arc<Apps>,
    owner: String,
    repo: Option<String>,
}

impl GithubAccess {
    /// With a token that stays the same.
    pub fn with_token(api_base_url: impl Into<String>, token: Secret) -> Self {
        Self { api_base_url: api_base_url.into(), token, renewal: None }
    }
    /// The token to use now. That of a GitHub App expires after an hour: who works longer asks before each use, which costs
    /// nothing while the known one is good.
    ///
    /// # Errors
    /// GitHub gives no new token.
    pub async fn current_token(&self) -> Result<Secret, ActionError> {
        match &self.renewal {
            Some(renewal) => Ok(renewal.token().await?.unwrap_or_else(|| self.token.clone())),
            None => Ok(self.token.clone()),
        }
    }
    /// Another token after GitHub refused `refused` (401); `None` when there is none.
    ///
    /// # Errors
    /// GitHub gives no new token.
    pub async fn renewed_token(&self, refused: &Secret) -> Result<Option<Secret>, ActionError> {
        let Some(renewal) = &self.renewal else { return Ok(None) };
        renewal.apps.forget(refused).await;
        let token = renewal.token().await?;
        Ok(token.filter(|token| token.expose() != refused.expose()))
    }
}

impl Renewal {
    async fn token(&self) -> Result<Option<Secret>, ActionError> {
        self.apps.token(&self.owner, self.repo.as_deref()).await
    }
}

impl Scm {
    /// Builds from the root configuration object (`integrations`, `backend.reading`,
    /// `scaffolder.requireScmUserCredentials`) and checks the environment's certificate files.
    ///
    /// # Errors
    /// A text naming key and reason.
    pub fn from_config(config: &Value) -> Result<Self, String> {
        let root = Node::root(config);
        http::check_environment()?;
        let integrations = Integrations::read(&root)?;
        let apps =
            integrations.all_github().filter_map(|github| Some((github.host.clone(), Arc::new(Apps::of(github)?))));
        let inner = Inner {
            apps: apps.collect(),
            integrations,
            allow: AllowList::read(&root)?,
            require_user_credentials: root
                .get("scaffolder")?
                .get("requireScmUserCredentials")?
                .boolean()?
                .unwrap_or(false),
        };
        Ok(Self { inner: Arc::new(inner), as_service: false, step: None })
    }
    /// The known hosts.
    pub fn integrations(&self) -> &Integrations {
        &self.inner.integrations
    }
    /// The HTTP client that all requests to source code hosts go through: proxies and certificate authorities as the
    /// environment says, no redirects.
    ///
    /// # Errors
    /// The client can't be set up; the text says what to do.
    pub fn http_client(&self) -> Result<&'static reqwest::Client, ActionError> {
        http::client().map_err(ActionError::failed)
    }
    /// Parses a `repoUrl` (`parseRepoUrl` of `@backstage/plugin-scaffolder-node` 0.13.7).
    ///
    /// # Errors
    /// `InputError` in upstream's words.
    pub fn parse_repo_url(&self, text: &str) -> Result<RepoUrl, ActionError> {
        repo_url::parse(text, &self.inner.integrations)
    }
    /// Resolves a URL relative to a base as the base's integration does (`resolveUrl`).
    ///
    /// # Errors
    /// `InputError` when no integration matches the base of a relative URL.
    pub fn resolve_url(&self, url: &str, base: &str) -> Result<String, ActionError> {
        resolve::resolve(url, base, &self.inner.integrations)
    }
    /// The type of the integration for a URL's host (`github`, …), if one matches.
    pub fn integration_type(&self, url: &str) -> Option<&'static str> {
        self.inner.integrations.by_url(url).map(Integration::kind)
    }
    /// The same for reading on the service's own account, e.g. templates registered by URL:
    /// `scaffolder.requireScmUserCredentials` is about steps and does not apply.
    #[must_use]
    pub fn as_service(&self) -> Self {
        Self { as_service: true, ..self.clone() }
    }
    /// The same for reading on behalf of a step: rate limits and outages are waited for, without a worker slot and until the
    /// task is cancelled; its log tells how long.
    #[must_use]
    pub fn in_step(&self, ctx: &ActionContext) -> Self {
        Self { step: Some(ctx.clone()), ..self.clone() }
    }
    /// Reads one file of at most 10 MiB.
    ///
    /// # Errors
    /// `NotAllowedError` outside the integrations and `backend.reading.allow`, `InputError` where the user's own token is
    /// required, `NotFoundError`, or what the host answered.
    pub async fn read_file(&self, url: &str, token: Option<&Secret>) -> Result<Vec<u8>, ActionError> {
        self.reader(url, token)?.read_file(url).await
    }
    /// Reads a directory into `target/dir` (created): at most 1 GiB and 200,000 files. What must not be unpacked (links
    /// that lead outside) is left out with a warning in the summary.
    ///
    /// # Errors
    /// As [`Scm::read_file`]; `NotFoundError` also when the repository holds no such directory.
    pub async fn read_tree(
        &self,
        url: &str,
        token: Option<&Secret>,
        target: &Workspace,
        dir: &str,
    ) -> Result<TreeSummary, ActionError> {
        self.reader(url, token)?.read_tree(url, target, dir).await
    }
    fn reader<'a>(&'a self, url: &str, token: Option<&'a Secret>) -> Result<Reader<'a>, ActionError> {
        let token = given(token);
        if token.is_none()
            && self.requires_user_credentials()
            && let Some(integration @ (Integration::Github(_) | Integration::Gitlab(_))) =
                self.inner.integrations.by_url(url)
        {
            return Err(credentials_required(integration.host()));
        }
        Ok(Reader {
            integrations: &self.inner.integrations,
            apps: &self.inner.apps,
            allow: &self.inner.allow,
            token,
            step: self.step.as_ref(),
        })
    }
    fn requires_user_credentials(&self) -> bool {
        self.inner.require_user_credentials && !self.as_service
    }
    /// Credentials for a GitHub repository: the step's own token, else (unless `scaffolder.requireScmUserCredentials`)
    /// the integration's: a token of the first of its GitHub Apps that is installed there, else its token.
    ///
    /// # Errors
    /// `InputError` in upstream's words: no integration for the host, user credentials required, no owner or repository,
    /// no token. What GitHub says about an App.
    pub async fn github_access(&self, repo: &RepoUrl, token: Option<&Secret>) -> Result<GithubAccess, ActionError> {
        let host = &repo.host;
        let Some(github) = self.inner.integrations.github(host) else {
            return Err(ActionError::input(format!("No integration for host {host}")));
        };
        let api_base_url = github.api_base_url.clone();
        if let Some(token) = given(token) {
            return Ok(GithubAccess::with_token(api_base_url, token.clone()));
        }
        if self.requires_user_credentials() {
            return Err(credentials_required(host));
        }
        let (Some(owner), Some(name)) = (&repo.owner, &repo.repo) else {
            return Err(ActionError::input(
                "No owner and/or repo provided, which is required if a token is not provided",
            ));
        };
        if let Some(apps) = self.inner.apps.get(host) {
            let renewal = Renewal { apps: Arc::clone(apps), owner: owner.clone(), repo: Some(name.clone()) };
            if let Some(token) = renewal.token().await? {
                return Ok(GithubAccess { api_base_url, token, renewal: Some(renewal) });
            }
        }
        match &github.token {
            Some(token) => Ok(GithubAccess::with_token(api_base_url, token.clone())),
            None => Err(ActionError::input(format!(
                "No token available for host: {host}, with owner {owner}, and repo {name}. Make sure GitHub auth is \
                 configured correctly. See https://backstage.io/docs/auth/github/provider for more details."
            ))),
        }
    }
}

/// A token that was given and isn't empty (templates render an absent secret to `""`).
fn given(token: Option<&Secret>) -> Option<&Secret> {
    token.filter(|token| !token.expose().trim().is_empty())
}

fn credentials_required(host: &str) -> ActionError {
    ActionError::input(format!(
        "No user credentials provided for host {host}, but scaffolder.requireScmUserCredentials is enabled"
    ))
}

/// The host of a URL as integrations write it: port included unless it is the scheme's own (JavaScript's `URL.host`).
pub(crate) fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_string(),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn github_credentials() {
        let config = json!({"integrations": {"github": [
            {"token": "integration-token"},
            {"host": "anonymous.example.com"},
            {"host": "apps.example.com", "apps": [{"appId": 1, "privateKey": "pem"}]},
        ]}});
        let scm = Scm::from_config(&config).unwrap();
        let repo = |host: &str| RepoUrl {
            host: host.into(),
            owner: Some("o".into()),
            repo: Some("r".into()),
            ..RepoUrl::default()
        };
        let own = Secret::new("own");
        let access = scm.github_access(&repo("github.com"), Some(&own)).await.unwrap();
        assert_eq!((access.token.expose(), access.api_base_url.as_str()), ("own", "https://api.github.com"));
        let empty = Secret::new("");
        let access = scm.github_access(&repo("github.com"), Some(&empty)).await.unwrap();
        assert_eq!(access.token.expose(), "integration-token");
        let access = scm.github_access(&repo("apps.example.com"), Some(&own)).await.unwrap();
        assert_eq!(access.api_base_url, "https://apps.example.com/api/v3");

        let mut no_owner = repo("github.com");
        no_owner.owner = None;
        for (repo, message) in [
            (repo("gitlab.com"), "InputError: No integration for host gitlab.com"),
            (
                repo("anonymous.example.com"),
                "InputError: No token available for host: anonymous.example.com, with owner o, and repo r. Make sure \
                 GitHub auth is configured correctly. See https://backstage.io/docs/auth/github/provider for more \
                 details.",
            ),
            (no_owner, "InputError: No owner and/or repo provided, which is required if a token is not provided"),
            (
                repo("apps.example.com"),
                "Error: The GitHub App 1 of the integration for apps.example.com: its privateKey can't be used: it is not \
                 a private key in PEM ('-----BEGIN RSA PRIVATE KEY-----' …)",
            ),
        ] {
            assert_eq!(scm.github_access(&repo, None).await.unwrap_err().to_string(), message);
        }
    }

    #[tokio::test]
    async fn user_credentials_can_be_required() {
        let config = json!({
            "integrations": {"github": [{"token": "integration-token"}]},
            "scaffolder": {"requireScmUserCredentials": "true"},
        });
        let scm = Scm::from_config(&config).unwrap();
        let repo = scm.parse_repo_url("github.com?owner=o&repo=r").unwrap();
        assert_eq!(
            scm.github_access(&repo, None).await.unwrap_err().to_string(),
            "InputError: No user credentials provided for host github.com, but scaffolder.requireScmUserCredentials is \
             enabled"
        );
        assert!(scm.github_access(&repo, Some(&Secret::new("own"))).await.is_ok());
    }

    #[test]
    fn wrong_configuration_is_refused() {
        let error = Scm::from_config(&json!({"scaffolder": {"requireScmUserCredentials": "maybe"}})).unwrap_err();
        assert_eq!(
            error,
            "scaffolder.requireScmUserCredentials: expected true or false, found a string that isn't one"
        );
    }
}
