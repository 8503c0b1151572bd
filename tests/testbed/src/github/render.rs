//! The objects of GitHub's API, complete as its description demands.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    git::{Commit, Entry, Person, Reference},
    openapi::segment,
    state::{Access, Account, Protection, Repo, State, Team, timestamp},
};

/// Where the double is: base of its pages and of its API.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    /// `https://localhost:<port>`
    pub(super) web: String,
    /// `https://localhost:<port>/api/v3`
    pub(super) api: String,
    /// `https://127.0.0.1:<port>/codeload`: another host, as with github.com
    pub(super) archives: String,
}

fn node_id(kind: &str, id: u64) -> String {
    STANDARD.encode(format!("{kind}:{id}"))
}

pub(super) fn merged(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

impl Urls {
    /// The API's URL of a repository.
    pub(super) fn repo(&self, repo: &Repo) -> String {
        format!("{}/repos/{}/{}", self.api, repo.owner, repo.name)
    }

    /// The URL of a repository's page.
    pub(super) fn page(&self, repo: &Repo) -> String {
        format!("{}/{}/{}", self.web, repo.owner, repo.name)
    }

    /// `simple-user`
    pub(super) fn simple_user(&self, account: &Account) -> Value {
        let Account { id, login, .. } = account;
        let url = format!("{}/users/{login}", self.api);
        json!({
            "login": login,
            "id": id,
            "node_id": node_id("User", *id),
            "avatar_url": format!("{}/avatars/u/{id}", self.web),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("{}/{login}", self.web),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": if account.organization { "Organization" } else { "User" },
            "site_admin": false,
        })
    }

    /// `simple-user`, or null for an account that does not exist.
    pub(super) fn user_or_null(&self, state: &State, login: &str) -> Value {
        state.account(login).map_or(Value::Null, |account| self.simple_user(account))
    }

    /// `public-user`
    pub(super) fn public_user(&self, state: &State, account: &Account) -> Value {
        let repos = state.repos().filter(|repo| repo.owner == account.login && !repo.private()).count();
        let more = json!({
            "name": account.login,
            "company": null,
            "blog": "",
            "location": null,
            "email": null,
            "hireable": null,
            "bio": null,
            "public_repos": repos,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "created_at": timestamp(account.created),
            "updated_at": timestamp(account.created),
        });
        merged(self.simple_user(account), more)
    }

    /// `organization-full`; `team-organization` has the same members.
    pub(super) fn organization(&self, state: &State, account: &Account) -> Value {
        let Account { id, login, .. } = account;
        let url = format!("{}/orgs/{login}", self.api);
        json!({
            "login": login,
            "id": id,
            "node_id": node_id("Organization", *id),
            "url": url,
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events"),
            "hooks_url": format!("{url}/hooks"),
            "issues_url": format!("{url}/issues"),
            "members_url": format!("{url}/members{{/member}}"),
            "public_members_url": format!("{url}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{id}", self.web),
            "description": null,
            "has_organization_projects": true,
            "has_repository_projects": true,
            "public_repos": state.repos().filter(|repo| repo.owner == *login && !repo.private()).count(),
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "html_url": format!("{}/{login}", self.web),
            "type": "Organization",
            "created_at": timestamp(account.created),
            "updated_at": timestamp(account.created),
            "archived_at": null,
        })
    }

    /// `team`
    pub(super) fn team(&self, org: &Account, team: &Team) -> Value {
        let url = format!("{}/organizations/{}/team/{}", self.api, org.id, team.id);
        json!({
            "id": team.id,
            "node_id": node_id("Team", team.id),
            "name": team.slug,
            "slug": team.slug,
            "description": null,
            "privacy": "closed",
            "notification_setting": "notifications_enabled",
            "permission": "pull",
            "url": url,
            "html_url": format!("{}/orgs/{}/teams/{}", self.web, org.login, team.slug),
            "members_url": format!("{url}/members{{/member}}"),
            "repositories_url": format!("{url}/repos"),
            "type": "organization",
            "organization_id": org.id,
            "parent": null,
        })
    }

    /// `team-full`
    pub(super) fn full_team(&self, state: &State, org: &Account, team: &Team) -> Value {
        let repos = state.repos().filter(|repo| repo.owner == org.login && repo.teams.contains_key(&team.slug)).count();
        let more = json!({
            "members_count": team.members.len(),
            "repos_count": repos,
            "created_at": timestamp(team.created),
            "updated_at": timestamp(team.created),
            "organization": self.organization(state, org),
        });
        merged(self.team(org, team), more)
    }

    /// `minimal-repository`
    pub(super) fn minimal_repository(&self, state: &State, repo: &Repo) -> Value {
        let url = self.repo(repo);
        let page = self.page(repo);
        let mut object = json!({
            "id": repo.id,
            "node_id": node_id("Repository", repo.id),
            "name": repo.name,
            "full_name": repo.full_name(),
            "owner": self.user_or_null(state, &repo.owner),
            "private": repo.private(),
            "html_url": page,
            "description": repo.setting("description"),
            "fork": false,
            "url": url,
        });
        // Name of the member, without `_url`, and its path.
        let urls = [
            ("archive", "/{archive_format}{/ref}"),
            ("assignees", "/assignees{/user}"),
            ("blobs", "/git/blobs{/sha}"),
            ("branches", "/branches{/branch}"),
            ("collaborators", "/collaborators{/collaborator}"),
            ("comments", "/comments{/number}"),
            ("commits", "/commits{/sha}"),
            ("compare", "/compare/{base}...{head}"),
            ("contents", "/contents/{+path}"),
            ("contributors", "/contributors"),
            ("deployments", "/deployments"),
            ("downloads", "/downloads"),
            ("events", "/events"),
            ("forks", "/forks"),
            ("git_commits", "/git/commits{/sha}"),
            ("git_refs", "/git/refs{/sha}"),
            ("git_tags", "/git/tags{/sha}"),
            ("hooks", "/hooks"),
            ("issue_comment", "/issues/comments{/number}"),
            ("issue_events", "/issues/events{/number}"),
            ("issues", "/issues{/number}"),
            ("keys", "/keys{/key_id}"),
            ("labels", "/labels{/name}"),
            ("languages", "/languages"),
            ("merges", "/merges"),
            ("milestones", "/milestones{/number}"),
            ("notifications", "/notifications{?since,all,participating}"),
            ("pulls", "/pulls{/number}"),
            ("releases", "/releases{/id}"),
            ("stargazers", "/stargazers"),
            ("statuses", "/statuses/{sha}"),
            ("subscribers", "/subscribers"),
            ("subscription", "/subscription"),
            ("tags", "/tags"),
            ("teams", "/teams"),
            ("trees", "/git/trees{/sha}"),
        ];
        let urls: Map<_, _> =
            urls.iter().map(|(name, path)| (format!("{name}_url"), json!(format!("{url}{path}")))).collect();
        object = merged(object, Value::Object(urls));
        let host = self.web.trim_start_matches("https://");
        let name = repo.full_name();
        let more = json!({
            "git_url": format!("git://{host}/{name}.git"),
            "ssh_url": format!("ssh://git@{host}/{name}.git"),
            "clone_url": format!("{page}.git"),
            "svn_url": page,
            "homepage": repo.setting("homepage"),
            "language": null,
            "forks_count": 0,
            "stargazers_count": 0,
            "watchers_count": 0,
            "size": 0,
            "default_branch": repo.default_branch,
            "open_issues_count": repo.issues.len(),
            "is_template": repo.setting("is_template") == true,
            "topics": repo.topics,
            "has_issues": repo.setting("has_issues"),
            "has_projects": repo.setting("has_projects"),
            "has_wiki": repo.setting("has_wiki"),
            "has_pages": false,
            "has_downloads": true,
            "has_discussions": repo.setting("has_discussions") == true,
            "archived": false,
            "disabled": false,
            "visibility": repo.visibility,
            "pushed_at": timestamp(repo.pushed),
            "created_at": timestamp(repo.created),
            "updated_at": timestamp(repo.pushed),
            "license": null,
            "forks": 0,
            "open_issues": repo.issues.len(),
            "watchers": 0,
        });
        merged(object, more)
    }

    /// `full-repository`, as `login` sees it.
    pub(super) fn full_repository(&self, state: &State, repo: &Repo, login: &str) -> Value {
        let access = state.access(Some(login), repo);
        let may = |wanted| access.is_some_and(|access| access >= wanted);
        let mut more = json!({
            "mirror_url": null,
            "permissions": {
                "admin": may(Access::Admin),
                "maintain": may(Access::Maintain),
                "push": may(Access::Write),
                "triage": may(Access::Triage),
                "pull": may(Access::Read),
            },
            "temp_clone_token": null,
            "allow_forking": true,
            "web_commit_signoff_required": false,
            "subscribers_count": 0,
            "network_count": 0,
        });
        for name in [
            "allow_rebase_merge",
            "allow_squash_merge",
            "allow_merge_commit",
            "allow_auto_merge",
            "allow_update_branch",
            "delete_branch_on_merge",
            "squash_merge_commit_title",
            "squash_merge_commit_message",
            "merge_commit_title",
            "merge_commit_message",
        ] {
            more[name] = repo.setting(name);
        }
        if let Some(properties) = repo.settings.get("custom_properties") {
            more["custom_properties"] = properties.clone();
        }
        let owner = state.account(&repo.owner);
        if let Some(owner) = owner.filter(|owner| owner.organization) {
            more["organization"] = self.simple_user(owner);
        }
        merged(self.minimal_repository(state, repo), more)
    }

    /// `repository-invitation`
    pub(super) fn invitation(&self, state: &State, repo: &Repo, id: u64, by: &str, to: &str, access: Access) -> Value {
        json!({
            "id": id,
            "node_id": node_id("RepositoryInvitation", id),
            "repository": self.minimal_repository(state, repo),
            "invitee": self.user_or_null(state, to),
            "inviter": self.user_or_null(state, by),
            "permissions": access.invitation(),
            "created_at": timestamp(chrono::Utc::now()),
            "expired": false,
            "url": format!("{}/user/repository_invitations/{id}", self.api),
            "html_url": format!("{}/invitations", self.page(repo)),
        })
    }

    fn branch_url(&self, repo: &Repo, branch: &str) -> String {
        format!("{}/branches/{}", self.repo(repo), segment(branch))
    }

    /// The URL of a branch's protection.
    pub(super) fn protection_url(&self, repo: &Repo, branch: &str) -> String {
        format!("{}/protection", self.branch_url(repo, branch))
    }

    /// `protected-branch`, which also satisfies `branch-protection`.
    pub(super) fn protection(&self, state: &State, repo: &Repo, branch: &str, protection: &Protection) -> Value {
        let url = self.protection_url(repo, branch);
        let rules = &protection.rules;
        let enabled = |name: &str| json!({"enabled": rules[name] == true});
        let mut object = json!({
            "url": url,
            "enforce_admins": {"url": format!("{url}/enforce_admins"), "enabled": rules["enforce_admins"] == true},
            "required_signatures": {"url": format!("{url}/required_signatures"), "enabled": protection.signatures},
            "required_linear_history": enabled("required_linear_history"),
            "allow_force_pushes": enabled("allow_force_pushes"),
            "allow_deletions": enabled("allow_deletions"),
            "block_creations": enabled("block_creations"),
            "required_conversation_resolution": enabled("required_conversation_resolution"),
            "lock_branch": enabled("lock_branch"),
            "allow_fork_syncing": enabled("allow_fork_syncing"),
        });
        let checks = &rules["required_status_checks"];
        if checks.is_object() {
            let url = format!("{url}/required_status_checks");
            let contexts = checks["contexts"].as_array().cloned().unwrap_or_default();
            let checks_of: Vec<_> =
                contexts.iter().map(|context| json!({"context": context, "app_id": null})).collect();
            object["required_status_checks"] = json!({
                "url": url,
                "strict": checks["strict"] == true,
                "contexts": contexts,
                "contexts_url": format!("{url}/contexts"),
                "checks": checks_of,
            });
        }
        let reviews = &rules["required_pull_request_reviews"];
        if reviews.is_object() {
            let mut shown = json!({
                "url": format!("{url}/required_pull_request_reviews"),
                "dismiss_stale_reviews": reviews["dismiss_stale_reviews"] == true,
                "require_code_owner_reviews": reviews["require_code_owner_reviews"] == true,
                "require_last_push_approval": reviews["require_last_push_approval"] == true,
                "required_approving_review_count": reviews["required_approving_review_count"].as_u64().unwrap_or(1),
            });
            let bypass = &reviews["bypass_pull_request_allowances"];
            if bypass.is_object() {
                shown["bypass_pull_request_allowances"] = self.actors(state, repo, bypass);
            }
            object["required_pull_request_reviews"] = shown;
        }
        let restrictions = &rules["restrictions"];
        if restrictions.is_object() {
            let url = format!("{url}/restrictions");
            let urls = json!({
                "url": url,
                "users_url": format!("{url}/users"),
                "teams_url": format!("{url}/teams"),
                "apps_url": format!("{url}/apps"),
            });
            object["restrictions"] = merged(urls, self.actors(state, repo, restrictions));
        }
        object
    }

    /// Users and teams named in a rule, those that exist.
    fn actors(&self, state: &State, repo: &Repo, named: &Value) -> Value {
        let names = |kind: &str| -> Vec<String> {
            named[kind].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let users: Vec<_> = names("users")
            .iter()
            .filter_map(|login| state.account(login))
            .map(|account| self.simple_user(account))
            .collect();
        let org = state.account(&repo.owner);
        let teams: Vec<_> =
            names("teams").iter().filter_map(|slug| Some(self.team(org?, state.team(&repo.owner, slug)?))).collect();
        json!({"users": users, "teams": teams, "apps": []})
    }

    /// `commit`
    pub(super) fn commit(&self, repo: &Repo, commit: &Commit) -> Value {
        let url = self.repo(repo);
        let page = self.page(repo);
        let sha = &commit.sha;
        json!({
            "sha": sha,
            "node_id": STANDARD.encode(format!("Commit:{}:{sha}", repo.id)),
            "url": format!("{url}/commits/{sha}"),
            "html_url": format!("{page}/commit/{sha}"),
            "comments_url": format!("{url}/commits/{sha}/comments"),
            "commit": {
                "url": format!("{url}/git/commits/{sha}"),
                "author": person(&commit.author),
                "committer": person(&commit.committer),
                "message": commit.message,
                "tree": {"sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree)},
                "comment_count": 0,
                "verification": unsigned(),
            },
            "author": null,
            "committer": null,
            "parents": self.parents(repo, commit),
        })
    }

    /// The `commit` of `file-commit`.
    pub(super) fn git_commit(&self, repo: &Repo, commit: &Commit) -> Value {
        let url = self.repo(repo);
        json!({
            "sha": commit.sha,
            "node_id": STANDARD.encode(format!("Commit:{}:{}", repo.id, commit.sha)),
            "url": format!("{url}/git/commits/{}", commit.sha),
            "html_url": format!("{}/commit/{}", self.page(repo), commit.sha),
            "author": person(&commit.author),
            "committer": person(&commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree)},
            "parents": self.parents(repo, commit),
            "verification": unsigned(),
        })
    }

    fn parents(&self, repo: &Repo, commit: &Commit) -> Vec<Value> {
        let (url, page) = (self.repo(repo), self.page(repo));
        let parent = |sha: &String| json!({"sha": sha, "url": format!("{url}/commits/{sha}"), "html_url": format!("{page}/commit/{sha}")});
        commit.parents.iter().map(parent).collect()
    }

    /// `short-branch`
    pub(super) fn short_branch(&self, repo: &Repo, branch: &str, sha: &str) -> Value {
        json!({
            "name": branch,
            "commit": {"sha": sha, "url": format!("{}/commits/{sha}", self.repo(repo))},
            "protected": repo.protection.contains_key(branch),
        })
    }

    /// `branch-with-protection`
    pub(super) fn branch(&self, state: &State, repo: &Repo, branch: &str, commit: &Commit) -> Value {
        let protection = repo.protection.get(branch);
        let shown = match protection {
            Some(protection) => merged(json!({"enabled": true}), self.protection(state, repo, branch, protection)),
            None => {
                json!({"enabled": false, "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []}})
            }
        };
        json!({
            "name": branch,
            "commit": self.commit(repo, commit),
            "_links": {
                "self": self.branch_url(repo, branch),
                "html": format!("{}/tree/{branch}", self.page(repo)),
            },
            "protected": protection.is_some(),
            "protection": shown,
            "protection_url": self.protection_url(repo, branch),
        })
    }

    /// The members that all content objects share.
    pub(super) fn content(&self, repo: &Repo, reference: &str, path: &str, entry: &Entry) -> Value {
        let kind = match (entry.kind.as_str(), entry.mode.as_str()) {
            ("tree", _) => "dir",
            ("commit", _) => "submodule",
            (_, "120000") => "symlink",
            _ => "file",
        };
        let (git_kind, page_kind) = if kind == "dir" { ("trees", "tree") } else { ("blobs", "blob") };
        let encoded: Vec<_> = path.split('/').map(segment).collect();
        let encoded = encoded.join("/");
        let url = format!("{}/contents/{encoded}?ref={}", self.repo(repo), segment(reference));
        let git = format!("{}/git/{git_kind}/{}", self.repo(repo), entry.sha);
        let html = format!("{}/{page_kind}/{}/{encoded}", self.page(repo), segment(reference));
        let download = match kind {
            "file" | "symlink" => {
                json!(format!("{}/raw/{}/{}/{encoded}", self.web, repo.full_name(), segment(reference)))
            }
            _ => Value::Null,
        };
        json!({
            "type": kind,
            "size": entry.size,
            "name": entry.name,
            "path": path,
            "sha": entry.sha,
            "url": url,
            "git_url": git,
            "html_url": html,
            "download_url": download,
            "_links": {"self": url, "git": git, "html": html},
        })
    }

    /// `git-ref`
    pub(super) fn reference(&self, repo: &Repo, reference: &Reference) -> Value {
        let Reference { name, kind, sha } = reference;
        let path: Vec<_> = name.split('/').map(segment).collect();
        json!({
            "ref": name,
            "node_id": STANDARD.encode(format!("Ref:{}:{name}", repo.id)),
            "url": format!("{}/git/{}", self.repo(repo), path.join("/")),
            "object": {"type": kind, "sha": sha, "url": format!("{}/git/{kind}s/{sha}", self.repo(repo))},
        })
    }

    /// `label`
    pub(super) fn label(&self, repo: &Repo, id: u64, name: &str) -> Value {
        json!({
            "id": id,
            "node_id": node_id("Label", id),
            "url": format!("{}/labels/{}", self.repo(repo), segment(name)),
            "name": name,
            "description": null,
            "color": "ededed",
            "default": false,
        })
    }
}

fn person(person: &Person) -> Value {
    json!({"name": person.name, "email": person.email, "date": person.date})
}

fn unsigned() -> Value {
    json!({"verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null})
}
