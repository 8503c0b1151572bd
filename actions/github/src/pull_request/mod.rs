//! `publish:github:pull-request`.

mod proposal;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use understudy_scm::git::{TrackedFile, tracked_files};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, ErrorName, Secret, schema};

use crate::{
    GithubDeps,
    session::{Session, examples},
    target::{self, Target},
};
use proposal::{Change, Kind, Outcome, Proposal, PullRequest};

/// The number of a dry run's pull request.
const DRY_RUN_NUMBER: u64 = 43;
/// GitHub takes no more.
const MAX_ASSIGNEES: usize = 10;
/// The author that the configuration's defaults name where nobody configured one; commits have the token's user then.
const NOBODY: (&str, &str) = ("Scaffolder", "scaffolder@backstage.io");

/// The input of `publish:github:pull-request`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PullRequestInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// The branch to make for the changes.
    branch_name: String,
    /// Files of the repository to delete.
    files_to_delete: Option<Vec<String>>,
    /// The branch to merge into; the default branch when left out.
    target_branch_name: Option<String>,
    /// The pull request's title.
    title: String,
    /// Its description, in Markdown.
    description: String,
    /// Whether it is a draft.
    draft: Option<bool>,
    /// The directory of the workspace with the changed files; all of it when left out.
    source_path: Option<String>,
    /// The directory of the repository that they go to; its root when left out.
    target_path: Option<String>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
    /// Logins of those who are asked for a review.
    reviewers: Option<Vec<String>>,
    /// Logins of those who are to see to it, ten at most.
    assignees: Option<Vec<String>>,
    /// Slugs of teams that are asked for a review.
    team_reviewers: Option<Vec<String>>,
    /// The commit's message; the configured one, else the title, when left out.
    commit_message: Option<String>,
    /// Whether to update the branch and its pull request when they exist.
    update: Option<bool>,
    /// Whether to work in a fork even with access to the repository.
    force_fork: Option<bool>,
    /// The commit's author.
    git_author_name: Option<String>,
    /// The commit author's e-mail address.
    git_author_email: Option<String>,
    /// Whether the commit has the token's user as its author, whatever else is configured.
    force_empty_git_author: Option<bool>,
    /// Whether to open a pull request that changes nothing; when left out, yes.
    create_when_empty: Option<bool>,
}

/// The output of `publish:github:pull-request`; nothing where nothing was to be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PullRequestOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    target_branch_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_request_number: Option<u64>,
}

/// What is published of it.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "it is a schema")]
struct PublishedOutput {
    /// The branch it is to be merged into.
    target_branch_name: String,
    /// The pull request in the browser.
    remote_url: String,
    /// The pull request's number.
    #[schemars(with = "Number")]
    pull_request_number: u64,
}

/// Opens a pull request with the workspace's files.
#[derive(Debug)]
pub(crate) struct PublishPullRequest {
    deps: Arc<GithubDeps>,
}

impl PublishPullRequest {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for PublishPullRequest {
    type Input = PullRequestInput;
    type Output = PullRequestOutput;

    fn id(&self) -> &'static str {
        "publish:github:pull-request"
    }
    fn description(&self) -> &'static str {
        "Commits the workspace's files to a new branch of a GitHub repository and opens a pull request. Executable files and \
         links stay what they are, .gitignore is honoured. A pull request that has the same changes already is left as it \
         is; one with others is an error, unless `update` is set. Least permissions of the token: `Contents: write` and \
         `Pull requests: write`, with workflow files also `Workflows: write` (fine-grained, GitHub App) or the scope \
         `public_repo`, `repo` for private repositories, with workflow files also `workflow` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "The whole workspace on a new branch",
                "steps:\n  - id: pr\n    name: Open a pull request\n    action: publish:github:pull-request\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      branchName: add-catalog-info\n      title: Add catalog-info.yaml\n      description: Makes the shop known to the catalog.\n",
            ),
            (
                "Manifests into a directory of a GitOps repository, one file deleted, reviews asked for",
                "steps:\n  - id: pr\n    name: Open a pull request\n    action: publish:github:pull-request\n    input:\n      repoUrl: github.com?owner=acme&repo=gitops\n      branchName: deploy-shop\n      targetBranchName: production\n      title: Deploy the shop\n      description: Version 2\n      sourcePath: ./manifests\n      targetPath: apps/shop\n      filesToDelete: [apps/shop/old.yaml]\n      reviewers: [jane]\n      teamReviewers: [platform]\n      draft: true\n",
            ),
            (
                "A pull request that is kept up to date, and none where nothing changes",
                "steps:\n  - id: pr\n    name: Update the pull request\n    action: publish:github:pull-request\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      branchName: weekly-update\n      title: Weekly update\n      description: Made by a template\n      update: true\n      createWhenEmpty: false\n",
            ),
        ])
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<PublishedOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let url = target::repo_url(&self.deps.scm, &input.repo_url, None)?;
        if url.owner.as_deref().is_none_or(str::is_empty) {
            let (host, repo) = (&url.host, url.repo.as_deref().unwrap_or_default());
            return Err(ActionError::input(format!("No owner provided for host: {host}, and repo {repo}")));
        }
        let changes = changes(ctx, &input).await?;
        if ctx.is_dry_run {
            let target = Target::of(&url)?;
            let (branch, count) = (&input.branch_name, changes.len());
            ctx.log.info(format!(
                "Dry run: {count} changed files would be committed to the branch '{branch}' of {target}"
            ));
            return Ok(PullRequestOutput {
                target_branch_name: Some(input.branch_name),
                remote_url: Some(input.repo_url),
                pull_request_number: Some(DRY_RUN_NUMBER),
            });
        }
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let proposal = self.proposal(ctx, &session, &input, &changes);
        let outcome = proposal.make().await.map_err(|error| {
            if ctx.cancel.is_cancelled() {
                return error;
            }
            let name = ErrorName::Other("GithubResponseError".into());
            ActionError::new(name, format!("Pull request creation failed; caused by {error}"))
        })?;
        let pull = match outcome {
            Outcome::Nothing => {
                ctx.log.info("The repository has all of this already: no pull request is opened");
                return Ok(PullRequestOutput::default());
            }
            Outcome::Unchanged(pull) => {
                ctx.log.info(format!("The pull request has these changes already: {}", pull.html_url));
                pull
            }
            Outcome::Made(pull) => pull,
        };
        self.ask_for_reviews(ctx, &session, &input, &pull).await?;
        self.assign(ctx, &session, &input, &pull).await?;
        Ok(PullRequestOutput {
            target_branch_name: Some(pull.base.name),
            remote_url: Some(pull.html_url),
            pull_request_number: Some(pull.number),
        })
    }
}

impl PublishPullRequest {
    fn proposal<'a>(
        &'a self,
        ctx: &'a ActionContext,
        session: &'a Session<'a>,
        input: &'a PullRequestInput,
        changes: &'a [Change],
    ) -> Proposal<'a> {
        let given = |text: &'a Option<String>| text.as_deref().filter(|text| !text.is_empty());
        Proposal {
            ctx,
            client: &session.client,
            target: &session.target,
            changes,
            branch: &input.branch_name,
            base: given(&input.target_branch_name),
            title: &input.title,
            body: &input.description,
            draft: input.draft.unwrap_or(false),
            message: given(&input.commit_message)
                .or_else(|| given(&self.deps.default_commit_message))
                .unwrap_or(&input.title),
            author: self.author(input),
            update: input.update.unwrap_or(false),
            force_fork: input.force_fork.unwrap_or(false),
            create_when_empty: input.create_when_empty.unwrap_or(true),
        }
    }

    /// Name and e-mail; `None`: the token's user.
    fn author(&self, input: &PullRequestInput) -> Option<(String, String)> {
        let configured = &self.deps.default_author;
        let is_configured = (configured.0.as_str(), configured.1.as_str()) != NOBODY;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (name, email) = (given(&input.git_author_name), given(&input.git_author_email));
        let wanted = name.is_some() || email.is_some() || is_configured;
        let empty = input.force_empty_git_author.unwrap_or(false);
        (wanted && !empty)
            .then(|| (name.unwrap_or_else(|| configured.0.clone()), email.unwrap_or_else(|| configured.1.clone())))
    }

    /// Refusals are logged only: the pull request is there.
    async fn ask_for_reviews(
        &self,
        ctx: &ActionContext,
        session: &Session<'_>,
        input: &PullRequestInput,
        pull: &PullRequest,
    ) -> Result<(), ActionError> {
        let unique = |names: &Option<Vec<String>>| {
            let mut seen = BTreeSet::new();
            let names = names.iter().flatten().filter(|name| seen.insert(*name)).cloned().collect::<Vec<_>>();
            (!names.is_empty()).then_some(names)
        };
        let (users, teams) = (unique(&input.reviewers), unique(&input.team_reviewers));
        if users.is_none() && teams.is_none() {
            return Ok(());
        }
        let mut body = json!({});
        for (member, names) in [("reviewers", &users), ("team_reviewers", &teams)] {
            if let Some(names) = names {
                body[member] = json!(names);
            }
        }
        let number = pull.number.to_string();
        let route = session.target.route(&["pulls", &number, "requested_reviewers"])?;
        let named: Vec<_> = [users, teams].into_iter().flatten().flatten().collect();
        match session.client.send(&Method::POST, &route, Some(&body)).await {
            Ok(_) => {
                ctx.log.info(format!("Asked for reviews of pull request {number}: {}", named.join(", ")));
                Ok(())
            }
            Err(error) => {
                let error = error.survivable()?;
                ctx.log.error(format!(
                    "Could not ask for reviews of pull request {number} ({}): {error}",
                    named.join(", ")
                ));
                Ok(())
            }
        }
    }

    async fn assign(
        &self,
        ctx: &ActionContext,
        session: &Session<'_>,
        input: &PullRequestInput,
        pull: &PullRequest,
    ) -> Result<(), ActionError> {
        let mut assignees = input.assignees.clone().unwrap_or_default();
        if assignees.is_empty() {
            return Ok(());
        }
        if assignees.len() > MAX_ASSIGNEES {
            ctx.log.warn(format!(
                "GitHub takes {MAX_ASSIGNEES} assignees; left out: {}",
                assignees.split_off(MAX_ASSIGNEES).join(", ")
            ));
        }
        let number = pull.number.to_string();
        let route = session.target.route(&["issues", &number, "assignees"])?;
        if let Err(error) = session.client.send(&Method::POST, &route, Some(&json!({"assignees": assignees}))).await {
            let error = error.survivable()?;
            let names = assignees.join(", ");
            ctx.log.error(format!("Could not assign pull request {number} to {names}: {error}"));
        }
        Ok(())
    }
}

/// The files to commit and those to delete, by their paths in the repository.
async fn changes(ctx: &ActionContext, input: &PullRequestInput) -> Result<Vec<Change>, ActionError> {
    let source = match input.source_path.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => ctx.workspace.sub(path)?,
        None => ctx.workspace.clone(),
    };
    let prefix = repository_path(input.target_path.as_deref().unwrap_or_default())?;
    let files = tracked_files(&source, &ctx.log, &ctx.cancel).await?;
    let mut deletions = Vec::new();
    for path in input.files_to_delete.iter().flatten() {
        let path = repository_path(path)?;
        if path.is_empty() {
            return Err(ActionError::input("filesToDelete names the repository's root; name files"));
        }
        deletions.push(path);
    }
    let change = |file: TrackedFile| {
        let path = if prefix.is_empty() { file.path.to_string() } else { format!("{prefix}/{}", file.path) };
        let kind = if file.symlink {
            Kind::Link
        } else if file.executable {
            Kind::Executable
        } else {
            Kind::File
        };
        Change { path, kind, source: Some((source.clone(), file.path.into_string())), size: file.size }
    };
    let mut all: Vec<_> = files.into_iter().map(change).filter(|change| !deletions.contains(&change.path)).collect();
    all.extend(deletions.into_iter().map(|path| Change { path, kind: Kind::File, source: None, size: 0 }));
    Ok(all)
}

/// A path below a repository's root, without `.` and empty parts.
///
/// # Errors
/// `InputError`: it leads out of the repository.
fn repository_path(path: &str) -> Result<String, ActionError> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(ActionError::input(format!("'{path}' leads out of the repository")));
                }
            }
            ".git" => return Err(ActionError::input(format!("'{path}' names git's own directory"))),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_stay_in_the_repository() {
        for (given, expected) in [
            ("", Some("")),
            ("./", Some("")),
            ("/a//b/", Some("a/b")),
            ("a/./b/../c", Some("a/c")),
            ("..", None),
            ("a/../..", None),
            (".git/hooks", None),
        ] {
            assert_eq!(repository_path(given).ok().as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn who_signs() {
        let input = |extra: Value| {
            let mut input = json!({"repoUrl": "x", "branchName": "b", "title": "t", "description": "d"});
            input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            serde_json::from_value::<PullRequestInput>(input).unwrap()
        };
        let action = |author: (&str, &str)| {
            let scm = understudy_scm::Scm::from_config(&json!({})).unwrap();
            let default_author = (author.0.to_string(), author.1.to_string());
            PublishPullRequest::new(Arc::new(GithubDeps { scm, default_author, default_commit_message: None }))
        };
        let jane = json!({"gitAuthorName": "Jane"});
        let empty = json!({"gitAuthorName": "Jane", "forceEmptyGitAuthor": true});
        for (configured, given, expected) in [
            (NOBODY, json!({}), None),
            (NOBODY, jane.clone(), Some(("Jane", "scaffolder@backstage.io"))),
            (NOBODY, json!({"gitAuthorEmail": "j@x"}), Some(("Scaffolder", "j@x"))),
            (NOBODY, empty.clone(), None),
            (("Bot", "bot@x"), json!({}), Some(("Bot", "bot@x"))),
            (("Bot", "bot@x"), jane, Some(("Jane", "bot@x"))),
            (("Bot", "bot@x"), empty, None),
        ] {
            let author = action(configured).author(&input(given.clone()));
            let author = author.as_ref().map(|(name, email)| (name.as_str(), email.as_str()));
            assert_eq!(author, expected, "{configured:?} {given}");
        }
    }
}
