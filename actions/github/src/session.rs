//! A step's repository, and a client that may work on it.

use understudy_scm::GithubAccess;
use understudy_sdk::{ActionContext, ActionError, ActionExample, Secret};

use crate::{
    GithubDeps,
    client::{Client, Route},
    target::{self, Target},
};

/// What every action begins with.
pub(crate) struct Session<'c> {
    pub(crate) client: Client<'c>,
    pub(crate) target: Target,
    pub(crate) access: GithubAccess,
}

impl<'c> Session<'c> {
    /// Reads the step's `repoUrl` and finds credentials for it: the step's `token`, else the integration's.
    ///
    /// # Errors
    /// `InputError`: no repository of a known host, or no credentials for it.
    pub(crate) async fn open(
        ctx: &'c ActionContext,
        deps: &GithubDeps,
        repo_url: &str,
        token: Option<&Secret>,
        allowed_hosts: Option<&[String]>,
    ) -> Result<Self, ActionError> {
        let url = target::repo_url(&deps.scm, repo_url, allowed_hosts)?;
        let access = deps.scm.github_access(&url, token).await?;
        let target = Target::of(&url)?;
        let client = Client::new(deps.scm.http_client()?.clone(), &access, ctx)?;
        Ok(Self { client, target, access })
    }
}

impl Target {
    /// `/repos/<owner>/<repo>` and what is below it.
    ///
    /// # Errors
    /// As [`Route::new`].
    pub(crate) fn route(&self, below: &[&str]) -> Result<Route, ActionError> {
        Route::new(&[&["repos", self.owner.as_str(), self.repo.as_str()], below].concat())
    }
}

/// Worked examples: what each shows, and its steps as YAML.
pub(crate) fn examples(list: &[(&str, &str)]) -> Vec<ActionExample> {
    let example = |(description, steps): &(&str, &str)| ActionExample {
        description: (*description).to_string(),
        example: (*steps).to_string(),
    };
    list.iter().map(example).collect()
}
