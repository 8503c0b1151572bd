//! Making a branch with one commit, and a pull request for it, through GitHub's API.
//!
//! The requests and their order are those of `octokit-plugin-create-pull-request` 5, which upstream uses. Other than there, a
//! branch that exists is left alone unless it holds what this step would put there, or the step may update it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use understudy_sdk::{ActionContext, ActionError, Workspace};

use crate::{
    client::{Client, Route},
    error::ApiError,
    target::Target,
};

/// GitHub refuses larger blobs.
const MAX_FILE: u64 = 100 * 1024 * 1024;
/// A fork is made in the background.
const FORK_PAUSE: Duration = Duration::from_secs(2);
const FORK_LOOKS: usize = 150;
const QUERY: &str = "query ($owner: String!, $repo: String!, $head: String!) { repository(name: $repo, owner: $owner) { \
                     ref(qualifiedName: $head) { associatedPullRequests(first: 1, states: OPEN) { edges { node { id \
                     number url } } } } } }";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Executable,
    Link,
}

impl Kind {
    fn mode(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }
}

/// A file to write or to delete.
#[derive(Debug)]
pub(super) struct Change {
    /// In the repository.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Where it is; `None`: it is to be deleted.
    pub(super) source: Option<(Workspace, String)>,
    /// Bytes.
    pub(super) size: u64,
}

/// What is to be proposed, and where.
pub(super) struct Proposal<'a> {
    pub(super) ctx: &'a ActionContext,
    pub(super) client: &'a Client<'a>,
    pub(super) target: &'a Target,
    pub(super) changes: &'a [Change],
    pub(super) branch: &'a str,
    /// `None`: the default branch.
    pub(super) base: Option<&'a str>,
    pub(super) title: &'a str,
    pub(super) body: &'a str,
    pub(super) draft: bool,
    pub(super) message: &'a str,
    /// `None`: the token's user.
    pub(super) author: Option<(String, String)>,
    pub(super) update: bool,
    pub(super) force_fork: bool,
    pub(super) create_when_empty: bool,
}

/// What came of it.
pub(super) enum Outcome {
    /// It is new, or was changed.
    Made(PullRequest),
    /// It was there, with the same changes.
    Unchanged(PullRequest),
    /// There was nothing to propose.
    Nothing,
}

/// A pull request, as GitHub shows it.
#[derive(Debug, Deserialize)]
pub(super) struct PullRequest {
    pub(super) number: u64,
    pub(super) html_url: String,
    pub(super) base: Base,
    title: String,
    body: Option<String>,
}

/// The branch a pull request is for.
#[derive(Debug, Deserialize)]
pub(super) struct Base {
    #[serde(rename = "ref")]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
struct Repository {
    default_branch: String,
    permissions: Option<Permissions>,
}

#[derive(Debug, Deserialize)]
struct Permissions {
    push: bool,
}

#[derive(Debug, Deserialize)]
struct Listed {
    sha: String,
    commit: ListedCommit,
}

#[derive(Debug, Deserialize)]
struct ListedCommit {
    tree: Object,
}

#[derive(Debug, Deserialize)]
struct Object {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Fork {
    name: String,
    owner: Account,
}

#[derive(Debug, Deserialize)]
struct Account {
    login: String,
}

/// A branch that is there.
struct Existing {
    pull: Option<u64>,
}

impl Proposal<'_> {
    /// Proposes the changes.
    ///
    /// # Errors
    /// What GitHub refuses, or a branch with other content that must not be updated.
    pub(super) async fn make(&self) -> Result<Outcome, ActionError> {
        let repository: Repository = self.client.get(&self.target.route(&[])?).await?;
        let may_push = repository.permissions.is_none_or(|permissions| permissions.push);
        let fork = if may_push && !self.force_fork { None } else { Some(self.fork().await?) };
        let home = fork.as_ref().unwrap_or(self.target);
        let base = self.base.unwrap_or(&repository.default_branch);
        let start = self.head(self.target, base).await?.ok_or_else(|| {
            ActionError::not_found(format!(
                "The branch '{base}' of {} has no commits to base a pull request on",
                self.target
            ))
        })?;

        let entries = self.entries(home, &start.sha).await?;
        let tree = if entries.is_empty() {
            start.commit.tree.sha.clone()
        } else {
            let body = json!({"base_tree": start.commit.tree.sha, "tree": entries});
            let tree: Object = self.client.post(&home.route(&["git", "trees"])?, &body).await?;
            tree.sha
        };
        if tree == start.commit.tree.sha && !self.create_when_empty {
            return Ok(Outcome::Nothing);
        }
        let commit = self.commit(home, &tree, &start.sha).await?;

        match self.existing(home).await? {
            None => {
                let body = json!({"sha": commit, "ref": format!("refs/heads/{}", self.branch)});
                self.client.send(&Method::POST, &home.route(&["git", "refs"])?, Some(&body)).await?;
                Ok(Outcome::Made(self.open(home, base).await?))
            }
            Some(existing) => self.build_on(home, base, &existing, &entries, (&tree, &commit)).await,
        }
    }

    /// Goes on from a branch that is there: an earlier run's, or somebody else's.
    async fn build_on(
        &self,
        home: &Target,
        base: &str,
        existing: &Existing,
        entries: &[Value],
        (tree, commit): (&str, &str),
    ) -> Result<Outcome, ActionError> {
        let known = self.head(home, self.branch).await?;
        let mut same = known.is_some_and(|known| known.commit.tree.sha == tree);
        if !same && !self.update {
            same = self.made_earlier(home, entries).await?;
        }
        let pull = match existing.pull {
            Some(number) => {
                Some(self.client.get::<PullRequest>(&self.target.route(&["pulls", &number.to_string()])?).await?)
            }
            None => None,
        };
        if !same && !self.update {
            let what = match &pull {
                Some(pull) => format!("Pull request already exists: {}", pull.html_url),
                None => format!("The branch '{}' of {home} exists already", self.branch),
            };
            return Err(ActionError::conflict(format!(
                "{what}. Its files differ from those of this step; set update: true to replace them, or choose another \
                 branchName"
            )));
        }
        if !same {
            let body = json!({"sha": commit, "force": true});
            let route = home.route(&["git", "refs", "heads"])?;
            let route = self.branch.split('/').try_fold(route, |route, part| route.below(part))?;
            self.client.send(&Method::PATCH, &route, Some(&body)).await?;
            self.ctx.log.info(format!("The branch '{}' of {home} is updated", self.branch));
        }
        let Some(pull) = pull else { return Ok(Outcome::Made(self.open(home, base).await?)) };
        let described = pull.title == self.title && pull.body.as_deref().unwrap_or_default() == self.body;
        if !described && self.update {
            let route = self.target.route(&["pulls", &pull.number.to_string()])?;
            let body = json!({"title": self.title, "body": self.body});
            return Ok(Outcome::Made(self.client.patch(&route, &body).await?));
        }
        Ok(if same { Outcome::Unchanged(pull) } else { Outcome::Made(pull) })
    }

    /// Whether the branch's last commit makes these changes to its parent: the base may have moved on since.
    async fn made_earlier(&self, home: &Target, entries: &[Value]) -> Result<bool, ActionError> {
        let route = home.route(&["commits"])?.with_query(&[("sha", self.branch), ("per_page", "2")]);
        let commits: Vec<Listed> = self.client.get(&route).await?;
        let [last, parent] = &commits[..] else { return Ok(false) };
        let body = json!({"base_tree": parent.commit.tree.sha, "tree": entries});
        match self.client.post::<_, Object>(&home.route(&["git", "trees"])?, &body).await {
            Ok(tree) => Ok(tree.sha == last.commit.tree.sha),
            // A file to delete is not there.
            Err(error) if error.is_status(422) || error.is_status(404) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn open(&self, home: &Target, base: &str) -> Result<PullRequest, ActionError> {
        let body = json!({
            "head": format!("{}:{}", home.owner, self.branch),
            "base": base,
            "title": self.title,
            "body": self.body,
            "draft": self.draft,
        });
        Ok(self.client.post(&self.target.route(&["pulls"])?, &body).await?)
    }

    /// The last commit of a branch; `None` when there is no such branch.
    async fn head(&self, place: &Target, branch: &str) -> Result<Option<Listed>, ActionError> {
        let route = place.route(&["commits"])?.with_query(&[("sha", branch), ("per_page", "1")]);
        match self.client.get::<Vec<Listed>>(&route).await {
            Ok(commits) => Ok(commits.into_iter().next()),
            // No such branch, or a repository without commits.
            Err(error) if error.is_status(404) || error.is_status(409) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The changes as GitHub's trees have them; contents are sent ahead.
    async fn entries(&self, home: &Target, start: &str) -> Result<Vec<Value>, ActionError> {
        let mut entries = Vec::new();
        for change in self.changes {
            let (path, mode) = (&change.path, change.kind.mode());
            match &change.source {
                Some((dir, file)) => {
                    let sha = self.blob(home, change, dir.clone(), file.clone()).await?;
                    entries.push(json!({"path": path, "mode": mode, "sha": sha}));
                }
                None => {
                    let route = home.route(&["contents"])?;
                    let route = path.split('/').try_fold(route, |route, part| route.below(part))?;
                    if self.client.exists(&route.with_query(&[("ref", start)])).await? {
                        entries.push(json!({"path": path, "mode": mode, "sha": null}));
                    } else {
                        self.ctx.log.info(format!("'{path}' is not there, so that it need not be deleted"));
                    }
                }
            }
        }
        Ok(entries)
    }

    async fn blob(&self, home: &Target, change: &Change, dir: Workspace, file: String) -> Result<String, ActionError> {
        if change.size > MAX_FILE {
            return Err(ActionError::failed(format!(
                "'{file}' has {} bytes, GitHub's API takes {MAX_FILE} at most",
                change.size
            )));
        }
        let kind = change.kind;
        let read = move || match kind {
            Kind::Link => dir.read_link(&file).map(|target| ("utf-8", target.into_string())),
            _ => dir.read(&file).map(|content| ("base64", STANDARD.encode(content))),
        };
        let (encoding, content) = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ActionError::failed("reading the files to commit ended unexpectedly"))??;
        let body = json!({"mode": kind.mode(), "encoding": encoding, "content": content});
        let blob: Object = self.client.post(&home.route(&["git", "blobs"])?, &body).await?;
        Ok(blob.sha)
    }

    async fn commit(&self, home: &Target, tree: &str, parent: &str) -> Result<String, ActionError> {
        let mut body = json!({"message": self.message, "tree": tree, "parents": [parent]});
        if let Some((name, email)) = &self.author {
            body["author"] = json!({"name": name, "email": email});
        }
        let commit: Object = self.client.post(&home.route(&["git", "commits"])?, &body).await?;
        Ok(commit.sha)
    }

    /// The branch that is there already, and its open pull request.
    async fn existing(&self, home: &Target) -> Result<Option<Existing>, ActionError> {
        let variables = json!({"owner": home.owner, "repo": home.repo, "head": self.branch});
        let answer: Value = self.client.post(&Route::Graphql, &json!({"query": QUERY, "variables": variables})).await?;
        if let Some(errors) = answer.get("errors").and_then(Value::as_array).filter(|errors| !errors.is_empty()) {
            let texts: Vec<_> = errors.iter().filter_map(|error| error["message"].as_str()).collect();
            return Err(ActionError::failed(format!(
                "GitHub does not say whether the branch '{}' exists: {}",
                self.branch,
                texts.join("; ")
            )));
        }
        let found = &answer["data"]["repository"]["ref"];
        if found.is_null() {
            return Ok(None);
        }
        let pull = found["associatedPullRequests"]["edges"][0]["node"]["number"].as_u64();
        Ok(Some(Existing { pull }))
    }

    /// The token's user's fork of the repository, which is made where there is none.
    async fn fork(&self) -> Result<Target, ActionError> {
        let user: Account = self.client.get(&Route::new(&["user"])?).await?;
        let forks: Vec<Fork> = self.client.list(&self.target.route(&["forks"])?).await?;
        let place = |fork: Fork| Target { host: self.target.host.clone(), owner: fork.owner.login, repo: fork.name };
        if let Some(fork) = forks.into_iter().find(|fork| fork.owner.login.eq_ignore_ascii_case(&user.login)) {
            return Ok(place(fork));
        }
        let fork: Fork = self.client.post(&self.target.route(&["forks"])?, &json!({})).await?;
        let fork = place(fork);
        self.ctx.log.info(format!("Forked {} to {fork}", self.target));
        for _ in 0..FORK_LOOKS {
            match self.client.get::<Vec<Listed>>(&fork.route(&["commits"])?.with_query(&[("per_page", "1")])).await {
                Ok(_) => return Ok(fork),
                Err(ApiError::Refused { status: 404 | 409, .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.ctx.waiting(tokio::time::sleep(FORK_PAUSE)).await?;
        }
        Err(ActionError::failed(format!("The fork {fork} is not ready after five minutes; run the task again later")))
    }
}
