//! Pull requests, and the GraphQL query that looks for them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    GithubDouble, Shared,
    render::{Urls, merged},
    state::{Repo, State, folded, timestamp},
};
use crate::Result;

/// A pull request.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: Option<String>,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it is open.
    pub open: bool,
    /// Owner and name of the repository its branch is in.
    pub head_repo: (String, String),
    /// Its branch.
    pub head: String,
    /// The branch it is for.
    pub base: String,
    /// Who opened it.
    pub author: String,
    /// Logins that were asked for a review.
    pub reviewers: Vec<String>,
    /// Slugs of teams that were asked for a review.
    pub team_reviewers: Vec<String>,
    /// Logins of assignees.
    pub assignees: Vec<String>,
    pub(super) created: DateTime<Utc>,
}

impl State {
    pub(super) fn pulls_of(&self, owner: &str, name: &str) -> &[PullRequest] {
        self.pulls.get(&(folded(owner), folded(name))).map_or(&[], Vec::as_slice)
    }

    pub(super) fn pull_mut(&mut self, owner: &str, name: &str, number: &str) -> Option<&mut PullRequest> {
        let pulls = self.pulls.get_mut(&(folded(owner), folded(name)))?;
        pulls.iter_mut().find(|pull| pull.number.to_string() == number)
    }

    /// Issues and pull requests are counted together.
    pub(super) fn add_pull(&mut self, owner: &str, name: &str, mut pull: PullRequest) -> PullRequest {
        let issues = self.repo(owner, name).map_or(0, |repo| repo.issues.len());
        pull.number = (issues + self.pulls_of(owner, name).len()) as u64 + 1;
        self.pulls.entry((folded(owner), folded(name))).or_default().push(pull.clone());
        pull
    }

    /// The open pull request of a branch, in any repository.
    fn open_pull(&self, head_repo: (&str, &str), head: &str) -> Option<(&(String, String), &PullRequest)> {
        let same = |pull: &&PullRequest| {
            pull.open
                && pull.head == head
                && (folded(&pull.head_repo.0), folded(&pull.head_repo.1)) == (folded(head_repo.0), folded(head_repo.1))
        };
        self.pulls.iter().find_map(|(place, pulls)| Some((place, pulls.iter().find(same)?)))
    }
}

impl GithubDouble {
    /// The pull requests of a repository, oldest first.
    #[must_use]
    pub fn pull_requests(&self, owner: &str, repo: &str) -> Vec<PullRequest> {
        self.shared.state().pulls_of(owner, repo).to_vec()
    }

    /// Closes a pull request.
    pub fn close_pull_request(&self, owner: &str, repo: &str, number: u64) {
        if let Some(pull) = self.shared.state().pull_mut(owner, repo, &number.to_string()) {
            pull.open = false;
        }
    }
}

/// Answers a GraphQL request: the one query that looks for the open pull request of a branch. `None` for others.
pub(super) async fn graphql(shared: &Shared, login: &str, body: &Value) -> Result<Option<Value>> {
    if !body["query"].as_str().is_some_and(|query| query.contains("associatedPullRequests")) {
        return Ok(None);
    }
    let variable = |name: &str| body["variables"][name].as_str().unwrap_or_default().to_owned();
    let (owner, name, head) = (variable("owner"), variable("repo"), variable("head"));
    let visible = {
        let state = shared.state();
        state.repo(&owner, &name).is_some_and(|repo| state.access(Some(login), repo).is_some())
    };
    if !visible {
        let message = format!("Could not resolve to a Repository with the name '{owner}/{name}'.");
        let error = json!({"type": "NOT_FOUND", "path": ["repository"], "message": message});
        return Ok(Some(json!({"data": {"repository": null}, "errors": [error]})));
    }
    let branch = head.trim_start_matches("refs/heads/").to_owned();
    if !shared.store.branches(&owner, &name).await?.iter().any(|(known, _)| *known == branch) {
        return Ok(Some(json!({"data": {"repository": {"ref": null}}})));
    }
    let state = shared.state();
    let edges: Vec<_> = state
        .open_pull((&owner, &name), &branch)
        .map(|((owner, name), pull)| {
            let url = format!("{}/{owner}/{name}/pull/{}", shared.urls.web, pull.number);
            json!({"node": {"id": format!("PR_{}", pull.number), "number": pull.number, "url": url}})
        })
        .into_iter()
        .collect();
    Ok(Some(json!({"data": {"repository": {"ref": {"associatedPullRequests": {"edges": edges}}}}})))
}

impl Urls {
    /// `pull-request`, which also satisfies `pull-request-simple`; `(base, head)` are the branches' commits.
    pub(super) fn pull_request(&self, state: &State, repo: &Repo, pull: &PullRequest, shas: (&str, &str)) -> Value {
        let (api, page) = (self.repo(repo), self.page(repo));
        let (url, issue) = (format!("{api}/pulls/{}", pull.number), format!("{api}/issues/{}", pull.number));
        let html = format!("{page}/pull/{}", pull.number);
        let statuses = format!("{api}/statuses/{}", shas.1);
        let user = self.user_or_null(state, &pull.author);
        let link = |href: String| json!({"href": href});
        let end = |repo: &Repo, branch: &str, sha: &str| {
            let mut shown = self.full_repository(state, repo, &pull.author);
            // Null elsewhere, but text in this description.
            shown["temp_clone_token"] = json!("");
            json!({
                "label": format!("{}:{branch}", repo.owner),
                "ref": branch,
                "sha": sha,
                "user": self.user_or_null(state, &repo.owner),
                "repo": shown,
            })
        };
        let head_repo = state.repo(&pull.head_repo.0, &pull.head_repo.1).unwrap_or(repo);
        let users = |logins: &[String]| -> Vec<_> {
            logins.iter().filter_map(|login| state.account(login)).map(|account| self.simple_user(account)).collect()
        };
        let org = state.account(&repo.owner);
        let teams: Vec<_> = pull
            .team_reviewers
            .iter()
            .filter_map(|slug| Some(self.team(org?, state.team(&repo.owner, slug)?)))
            .collect();
        let assignees = users(&pull.assignees);
        let people = json!({
            "id": pull.number,
            "node_id": format!("PR_{}", pull.number),
            "number": pull.number,
            "url": url,
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "issue_url": issue,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue}/comments"),
            "statuses_url": statuses,
            "state": if pull.open { "open" } else { "closed" },
            "locked": false,
            "title": pull.title,
            "user": user,
            "body": pull.body,
            "labels": [],
            "milestone": null,
            "created_at": timestamp(pull.created),
            "updated_at": timestamp(pull.created),
            "closed_at": null,
            "merged_at": null,
            "merge_commit_sha": null,
            "assignee": assignees.first(),
            "assignees": assignees,
            "requested_reviewers": users(&pull.reviewers),
            "requested_teams": teams,
        });
        let rest = json!({
            "head": end(head_repo, &pull.head, shas.1),
            "base": end(repo, &pull.base, shas.0),
            "_links": {
                "self": link(url.clone()),
                "html": link(html.clone()),
                "issue": link(issue.clone()),
                "comments": link(format!("{issue}/comments")),
                "review_comments": link(format!("{url}/comments")),
                "review_comment": link(format!("{api}/pulls/comments{{/number}}")),
                "commits": link(format!("{url}/commits")),
                "statuses": link(statuses.clone()),
            },
            "author_association": "OWNER",
            "auto_merge": null,
            "draft": pull.draft,
            "merged": false,
            "mergeable": true,
            "rebaseable": true,
            "mergeable_state": "clean",
            "merged_by": null,
            "comments": 0,
            "review_comments": 0,
            "maintainer_can_modify": false,
            "commits": 1,
            "additions": 1,
            "deletions": 0,
            "changed_files": 1,
        });
        merged(people, rest)
    }

    /// `issue`, as which a pull request shows too.
    pub(super) fn pull_as_issue(&self, state: &State, repo: &Repo, pull: &PullRequest) -> Value {
        let api = self.repo(repo);
        let url = format!("{api}/issues/{}", pull.number);
        let html = format!("{}/pull/{}", self.page(repo), pull.number);
        let assignees: Vec<_> = pull
            .assignees
            .iter()
            .filter_map(|login| state.account(login))
            .map(|account| self.simple_user(account))
            .collect();
        json!({
            "id": pull.number,
            "node_id": format!("PR_{}", pull.number),
            "url": url,
            "repository_url": api,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "html_url": html,
            "number": pull.number,
            "state": if pull.open { "open" } else { "closed" },
            "title": pull.title,
            "body": pull.body,
            "user": self.user_or_null(state, &pull.author),
            "labels": [],
            "assignee": assignees.first(),
            "assignees": assignees,
            "milestone": null,
            "locked": false,
            "comments": 0,
            "created_at": timestamp(pull.created),
            "updated_at": timestamp(pull.created),
            "closed_at": null,
            "author_association": "OWNER",
        })
    }
}
