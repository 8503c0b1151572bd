//! Reading files and trees (`urlReader` of `@backstage/backend-defaults` 0.18.0).

use understudy_sdk::{ActionError, Secret, Workspace};
use url::Url;

pub(crate) mod allow;
mod archive;
mod fetch;
mod github;

use crate::{
    TreeSummary,
    integrations::{Integration, Integrations},
};
use allow::AllowList;
use github::GithubReader;

/// Bytes of a single file: templates and configuration, not artefacts.
pub(crate) const MAX_FILE: usize = 10 * 1024 * 1024;

/// Reads from whatever is configured.
pub(crate) struct Reader<'a> {
    pub(crate) integrations: &'a Integrations,
    pub(crate) allow: &'a AllowList,
    pub(crate) token: Option<&'a Secret>,
}

/// Who reads a URL.
enum Source<'a> {
    Github(GithubReader<'a>),
    /// A host of `backend.reading.allow`.
    Plain,
}

impl Reader<'_> {
    pub(crate) async fn read_file(&self, url: &str) -> Result<Vec<u8>, ActionError> {
        let url = parse(url)?;
        match self.source(&url)? {
            Source::Github(reader) => reader.read_file(&url).await,
            Source::Plain => {
                let request = fetch::Request { url, accept: None, token: self.token, failure: "could not read" };
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
            Source::Github(reader) => reader.read_tree(&url, target, dir).await,
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
            Some(Integration::Github(github)) => GithubReader::new(github, self.token).map(Source::Github),
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
