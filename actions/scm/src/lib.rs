//! Source code hosts: integrations, URL arithmetic, reading files and trees, git push.
//!
//! [`Scm`] is the one object actions and the service share: built once from the configuration, cheap to clone.

use std::sync::Arc;

use serde_json::Value;
use understudy_sdk::{ActionError, Secret, Workspace};

pub mod git;

/// Integrations, credentials and readers.
#[derive(Clone, Debug)]
pub struct Scm(Arc<()>);

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

/// What reading a tree brought.
#[derive(Debug, Clone, Default)]
pub struct TreeSummary {
    /// Number of files written.
    pub files: usize,
    /// Things left out (e.g. links that lead outside), one sentence each.
    pub warnings: Vec<String>,
}

/// How to reach a GitHub host.
#[derive(Debug, Clone)]
pub struct GithubAccess {
    /// E.g. `https://api.github.com`.
    pub api_base_url: String,
    /// A token for the repository.
    pub token: Secret,
}

#[allow(clippy::unimplemented, unused_variables)]
impl Scm {
    /// Builds from the root configuration object (`integrations`, `backend.reading`, `scaffolder.requireScmUserCredentials`).
    ///
    /// # Errors
    /// A text naming key and reason.
    pub fn from_config(config: &Value) -> Result<Self, String> {
        unimplemented!()
    }
    /// Parses a `repoUrl` (spec/04 §5).
    ///
    /// # Errors
    /// `InputError` in upstream's words.
    pub fn parse_repo_url(&self, text: &str) -> Result<RepoUrl, ActionError> {
        unimplemented!()
    }
    /// Resolves a URL relative to a base as the base's integration does (`resolveUrl`).
    ///
    /// # Errors
    /// `InputError` when no integration matches the base.
    pub fn resolve_url(&self, url: &str, base: &str) -> Result<String, ActionError> {
        unimplemented!()
    }
    /// The type of the integration for a URL's host (`github`, …), if one matches.
    pub fn integration_type(&self, url: &str) -> Option<&'static str> {
        unimplemented!()
    }
    /// Reads one file.
    ///
    /// # Errors
    /// `NotAllowedError` outside the integrations, `NotFoundError`, or what the host answered.
    pub async fn read_file(&self, url: &str, token: Option<&Secret>) -> Result<Vec<u8>, ActionError> {
        unimplemented!()
    }
    /// Reads a directory into `target/dir` (created).
    ///
    /// # Errors
    /// As [`Scm::read_file`].
    pub async fn read_tree(
        &self,
        url: &str,
        token: Option<&Secret>,
        target: &Workspace,
        dir: &str,
    ) -> Result<TreeSummary, ActionError> {
        unimplemented!()
    }
    /// Credentials for a GitHub repository: the step's own token, else the integration's.
    ///
    /// # Errors
    /// No integration, or no token.
    pub async fn github_access(&self, repo: &RepoUrl, token: Option<&Secret>) -> Result<GithubAccess, ActionError> {
        unimplemented!()
    }
}
