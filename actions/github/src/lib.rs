//! GitHub actions: publish:github and friends.
//!
//! Each action has a file of its own and is put together from parts that it shares with its neighbours: `create` makes a
//! repository with all that belongs to it, `push` fills it (by way of `api_commit` where git can't get through),
//! `protection` guards its default branch. They talk to GitHub through `client`, which knows about rate limits and outages,
//! and word its refusals as upstream does (`error`).
//!
//! Behaviour follows `@backstage/plugin-scaffolder-backend-module-github` 0.10.0.

mod actions_dispatch;
mod api_commit;
mod autocomplete;
mod autolinks_create;
mod branch_protection_create;
mod client;
#[cfg(test)]
mod contract;
mod create;
mod deploy_key_create;
mod differences;
mod environment_create;
mod error;
mod existing;
mod inputs;
mod issues_create;
mod issues_label;
mod pages_enable;
mod protection;
mod publish;
mod pull_request;
mod push;
mod repo_create;
mod repo_push;
mod seal;
mod session;
mod target;
#[cfg(test)]
mod testing;
mod wait_workflow;
mod webhook;
mod workflow_runs;

use std::sync::Arc;

use understudy_scm::Scm;
use understudy_sdk::Registry;

use actions_dispatch::ActionsDispatch;
use autocomplete::GithubAutocomplete;
use autolinks_create::AutolinksCreate;
use branch_protection_create::BranchProtectionCreate;
use deploy_key_create::DeployKeyCreate;
use environment_create::EnvironmentCreate;
use issues_create::IssuesCreate;
use issues_label::IssuesLabel;
use pages_enable::PagesEnable;
use publish::PublishGithub;
use pull_request::PublishPullRequest;
use repo_create::RepoCreate;
use repo_push::RepoPush;
use wait_workflow::{WaitLastWorkflow, WaitWorkflow};
use webhook::Webhook;

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

/// Adds all GitHub actions, and suggestions for forms.
pub fn register(registry: &mut Registry, deps: GithubDeps) {
    registry.register_autocomplete(Arc::new(GithubAutocomplete::new(deps.scm.clone())));
    let deps = Arc::new(deps);
    registry
        .register(ActionsDispatch::new(deps.clone()))
        .register(AutolinksCreate::new(deps.clone()))
        .register(BranchProtectionCreate::new(deps.clone()))
        .register(DeployKeyCreate::new(deps.clone()))
        .register(EnvironmentCreate::new(deps.clone()))
        .register(IssuesCreate::new(deps.clone()))
        .register(IssuesLabel::new(deps.clone()))
        .register(PagesEnable::new(deps.clone()))
        .register(PublishGithub::new(deps.clone()))
        .register(PublishPullRequest::new(deps.clone()))
        .register(RepoCreate::new(deps.clone()))
        .register(RepoPush::new(deps.clone()))
        .register(WaitLastWorkflow::new(deps.clone()))
        .register(WaitWorkflow::new(deps.clone()))
        .register(Webhook::new(deps));
}
