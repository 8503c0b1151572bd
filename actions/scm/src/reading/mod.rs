//! Reading files and trees (`urlReader` of `@backstage/backend-defaults` 0.18.0).

use std::{collections::HashMap, sync::Arc};

use understudy_sdk::{ActionContext, ActionError, Secret, Workspace};
use url::Url;

pub(crate) mod allow;
mod archive;
mod fetch;
mod github;

use crate::{
    TreeSummary,
    github_apps::Apps,
    integrations::{Github, Integration, Integrations},
};
use allow::AllowList;
use github::GithubReader;

/// Bytes of a single file: templates and configuration, not artefacts.
pub(crate) const MAX_FILE: usize = 10 * 1024 * 1024;

/// Reads from whatever is configured.
pub(crate) struct Reader<'a> {
    pub(crate) integrations: &'a Integrations,
    /// By host.
    pub(crate) apps: &'a HashMap<String, Arc<Apps>>,
    pub(crate) allow: &'a AllowList,
    pub(crate) token: Option<&'a Secret>,
    /// The step that reads, if one does.
    pub(crate) step: Option<&'a ActionContext>,
}

/// Who reads a URL.
enum Source<'a> {
    Github(&'a Github),
    /// A host of `backend.reading.allow`.
    Plain,
}

impl Reader<'_> {
    pub(crate) async fn read_file(&self, url: &str) -> Result<Vec<u8>, ActionError> {
        let url = parse(url)?;
        match self.source(&url)? {
            Source::Github(github) => {
                let reader = self.github(github, &url).await?;
                match reader.read_file(&url).await {
                    Err(error) if self.forget(github, &reader, &error).await => {
                        self.github(github, &url).await?.read_file(&url).await
                    }
                    result => result,
                }
            }
            Source::Plain => {
                let (token, step) = (self.token, self.step);
                let request = fetch::Request { url, accept: None, token, step, failure: "could not read" };
                let response = fetch::get(request, |to| match self.allow.allows(to) {
                    true => Ok(()),
                    false => Err(ActionError::failed(format!(
                        "URL not allowed by backend.reading.allow configuration: {}",
                        fetch::shown(to)
                    ))),
                });
                fetch::content(response.await?, MAX_FILE).await
            }
        }
    }

    pub(crate) async fn read_tree(&self, url: &str, target: &Workspace, dir: &str) -> Result<TreeSummary, ActionError> {
        let url = parse(url)?;
        match self.source(&url)? {
            Source::Github(github) => {
                let reader = self.github(github, &url).await?;
                match reader.read_tree(&url, target, dir).await {
                    Err(error) if self.forget(github, &reader, &error).await => {
                        self.github(github, &url).await?.read_tree(&url, target, dir).await
                    }
                    result => result,
                }
            }
            Source::Plain => Err(ActionError::failed(format!(
                "FetchUrlReader does not implement readTree: directories can only be read from integrations, and {} is \
                 none; fetch single files instead",
                crate::host_of(&url)
            ))),
        }
    }

    fn source(&self, url: &Url) -> Result<Source<'_>, ActionError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(not_allowed(&fetch::shown(url)));
        }
        match self.integrations.by_host(&crate::host_of(url)) {
            Some(Integration::Github(github)) => Ok(Source::Github(github)),
            _ if self.allow.allows(url) => Ok(Source::Plain),
            Some(other) => Err(ActionError::failed(format!(
                "Unable to read {}: this version reads from GitHub and the hosts of 'backend.reading.allow', not from \
                 integrations of type {}",
                fetch::shown(url),
                other.kind()
            ))),
            None => Err(not_allowed(&fetch::shown(url))),
        }
    }

    /// With the given token, else one of the integration's Apps, else the integration's.
    async fn github<'g>(&'g self, github: &'g Github, url: &Url) -> Result<GithubReader<'g>, ActionError> {
        let given = self.token.cloned();
        let token = match (given, self.apps.get(&github.host)) {
            (Some(token), _) => Some(token),
            (None, Some(apps)) => {
                let (owner, repo) = github::repository_of(url)?;
                apps.token(&owner, Some(&repo)).await?
            }
            (None, None) => None,
        };
        Ok(GithubReader::new(github, token.or_else(|| github.token.clone()), self.step))
    }

    /// Forgets an App's token that GitHub refused; whether asking once more may help.
    async fn forget(&self, github: &Github, reader: &GithubReader<'_>, error: &ActionError) -> bool {
        let refused = error.message().contains(", 401 ") && self.token.is_none();
        match (self.apps.get(&github.host), &reader.token) {
            (Some(apps), Some(token)) if refused => {
                apps.forget(token).await;
                true
            }
            _ => false,
        }
    }
}

fn parse(url: &str) -> Result<Url, ActionError> {
    Url::parse(url).map_err(|error| {
        ActionError::input(format!("'{url}' is not a URL that can be read: {error}")).with_source(error)
    })
}

fn not_allowed(url: &str) -> ActionError {
    ActionError::not_allowed(format!(
        "Reading from '{url}' is not allowed. You may need to configure an integration for the target host, or add it to \
         the configured list of allowed hosts at 'backend.reading.allow'"
    ))
}
