//! GitHub actions: publish:github and friends.
//!
//! Each action has a file of its own and is put together from parts that it shares with its neighbours: `create` makes a
//! repository with all that belongs to it, `push` fills it (by way of `api_commit` where git can't get through),
//! `protection` guards its default branch. They talk to GitHub through `client`, which knows about rate limits and outages,
//! and word its refusals as upstream does (`error`).
//!
//! Behaviour follows `@backstage/plugin-scaffolder-backend-module-github` 0.10.0.

mod api_commit;
mod client;
mod create;
mod error;
mod inputs;
mod protection;
mod publish;
mod push;
mod seal;
mod target;
#[cfg(test)]
mod testing;
mod throttle;

use std::sync::Arc;

use understudy_scm::Scm;
use understudy_sdk::Registry;

use publish::PublishGithub;

/// What the GitHub actions need from the service.
#[derive(Debug, Clone)]
pub struct GithubDeps {
    /// Integrations and credentials.
    pub scm: Scm,
    /// Name and e-mail of the commit author where the step gives none (`scaffolder.defaultAuthor`).
    pub default_author: (String, String),
    /// The commit message where the step gives none (`scaffolder.defaultCommitMessage`).
    pub default_commit_message: Option<String>,
}

/// Adds all GitHub actions.
pub fn register(registry: &mut Registry, deps: GithubDeps) {
    let deps = Arc::new(deps);
    registry.register(PublishGithub::new(deps));
}
