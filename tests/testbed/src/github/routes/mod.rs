//! GitHub's operations, as far as the double offers them.

mod actions;
mod app;
mod branches;
mod contents;
mod dispatches;
mod environments;
mod git_data;
mod hooks;
mod issues;
mod keys;
mod mine;
mod orgs;
mod pages;
mod pulls;
mod repos;
mod users;
mod workflow_runs;

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, MutexGuard},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Shared,
    openapi::Operation,
    render::Urls,
    state::{Access, Repo, State},
};
use crate::Error;

/// A request that passed the checks.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) operation: Arc<Operation>,
    pub(super) login: String,
    pub(super) scopes: Vec<String>,
    pub(super) params: HashMap<String, String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    pub(super) accept: String,
}

/// What a handler answers with.
#[derive(Debug)]
pub(super) enum Answer {
    Json(u16, Value),
    Empty(u16),
    Found(String),
    Raw(&'static str, Bytes),
}

/// Why a handler does not do what was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An answer of GitHub's.
    Http { status: u16, message: String, errors: Option<Value> },
    /// The double itself failed.
    Internal(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Internal(error)
    }
}

impl Refusal {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self::Http { status, message: message.into(), errors: None }
    }

    fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// 422 with one error of `validation-error`.
    fn invalid(message: &str, resource: &str, field: &str, code: &str, detail: &str) -> Self {
        let error = json!({"resource": resource, "field": field, "code": code, "message": detail});
        Self::Http { status: 422, message: message.to_owned(), errors: Some(json!([error])) }
    }
}

pub(super) type Outcome = Result<Answer, Refusal>;
type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Outcome>>>;

macro_rules! routes {
    ($($method:literal $path:literal => $handler:path;)*) => {
        /// Method and path template of every operation the double offers.
        pub(super) const ROUTES: &[(&str, &str)] = &[$(($method, $path)),*];

        fn handler(method: &str, path: &str) -> Option<Handler> {
            match (method, path) {
                $(($method, $path) => Some(|call| Box::pin($handler(call))),)*
                _ => None,
            }
        }
    };
}

routes! {
    "GET" "/user" => users::authenticated;
    "GET" "/app/installations" => app::installations;
    "POST" "/app/installations/{installation_id}/access_tokens" => app::access_token;
    "GET" "/repos/{owner}/{repo}/installation" => app::repo_installation;
    "GET" "/user/repos" => mine::repos;
    "GET" "/user/orgs" => mine::orgs;
    "GET" "/users/{username}" => users::by_name;
    "GET" "/orgs/{org}" => orgs::get;
    "GET" "/orgs/{org}/teams/{team_slug}" => orgs::team;
    "PUT" "/orgs/{org}/teams/{team_slug}/repos/{owner}/{repo}" => orgs::add_team_to_repo;
    "POST" "/user/repos" => repos::create_for_user;
    "POST" "/orgs/{org}/repos" => repos::create_in_org;
    "GET" "/repos/{owner}/{repo}" => repos::get;
    "DELETE" "/repos/{owner}/{repo}" => repos::delete;
    "PUT" "/repos/{owner}/{repo}/collaborators/{username}" => repos::add_collaborator;
    "PUT" "/repos/{owner}/{repo}/topics" => repos::replace_topics;
    "PUT" "/repos/{owner}/{repo}/subscription" => repos::subscribe;
    "GET" "/repos/{owner}/{repo}/hooks" => hooks::list;
    "POST" "/repos/{owner}/{repo}/hooks" => hooks::create;
    "GET" "/repos/{owner}/{repo}/keys" => keys::list;
    "POST" "/repos/{owner}/{repo}/keys" => keys::create;
    "GET" "/repos/{owner}/{repo}/autolinks" => keys::autolinks;
    "POST" "/repos/{owner}/{repo}/autolinks" => keys::create_autolink;
    "GET" "/repos/{owner}/{repo}/pages" => pages::get;
    "POST" "/repos/{owner}/{repo}/pages" => pages::create;
    "GET" "/repos/{owner}/{repo}/environments/{environment_name}" => environments::get;
    "PUT" "/repos/{owner}/{repo}/environments/{environment_name}" => environments::put;
    "GET" "/repos/{owner}/{repo}/environments/{environment_name}/deployment-branch-policies" => environments::policies;
    "POST" "/repos/{owner}/{repo}/environments/{environment_name}/deployment-branch-policies" => environments::create_policy;
    "POST" "/repos/{owner}/{repo}/environments/{environment_name}/variables" => environments::create_variable;
    "GET" "/repos/{owner}/{repo}/environments/{environment_name}/variables/{name}" => environments::variable;
    "GET" "/repos/{owner}/{repo}/environments/{environment_name}/secrets/public-key" => environments::public_key;
    "PUT" "/repos/{owner}/{repo}/environments/{environment_name}/secrets/{secret_name}" => environments::put_secret;
    "POST" "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches" => dispatches::create;
    "POST" "/repos/{owner}/{repo}/actions/variables" => actions::create_variable;
    "GET" "/repos/{owner}/{repo}/actions/variables/{name}" => actions::variable;
    "PATCH" "/repos/{owner}/{repo}/actions/variables/{name}" => actions::update_variable;
    "GET" "/repos/{owner}/{repo}/actions/secrets/public-key" => actions::public_key;
    "GET" "/repos/{owner}/{repo}/actions/secrets/{secret_name}" => actions::secret;
    "PUT" "/repos/{owner}/{repo}/actions/secrets/{secret_name}" => actions::put_secret;
    "PUT" "/repos/{owner}/{repo}/actions/oidc/customization/sub" => actions::customize_oidc;
    "PUT" "/repos/{owner}/{repo}/actions/permissions/access" => actions::set_access;
    "GET" "/repos/{owner}/{repo}/actions/runs" => workflow_runs::list;
    "GET" "/repos/{owner}/{repo}/actions/runs/{run_id}" => workflow_runs::get;
    "GET" "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs" => workflow_runs::jobs;
    "POST" "/repos/{owner}/{repo}/git/blobs" => git_data::create_blob;
    "POST" "/repos/{owner}/{repo}/git/trees" => git_data::create_tree;
    "POST" "/repos/{owner}/{repo}/git/commits" => git_data::create_commit;
    "POST" "/repos/{owner}/{repo}/git/refs" => git_data::create_ref;
    "PATCH" "/repos/{owner}/{repo}/git/refs/{ref}" => git_data::update_ref;
    "POST" "/repos/{owner}/{repo}/pulls" => pulls::create;
    "GET" "/repos/{owner}/{repo}/pulls/{pull_number}" => pulls::get;
    "PATCH" "/repos/{owner}/{repo}/pulls/{pull_number}" => pulls::update;
    "POST" "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers" => pulls::request_reviewers;
    "POST" "/repos/{owner}/{repo}/issues/{issue_number}/assignees" => pulls::assign;
    "GET" "/repos/{owner}/{repo}/forks" => pulls::forks;
    "POST" "/repos/{owner}/{repo}/forks" => pulls::fork;
    "GET" "/repos/{owner}/{repo}/branches" => branches::list;
    "GET" "/repos/{owner}/{repo}/branches/{branch}" => branches::get;
    "PUT" "/repos/{owner}/{repo}/branches/{branch}/protection" => branches::protect;
    "GET" "/repos/{owner}/{repo}/branches/{branch}/protection" => branches::protection;
    "POST" "/repos/{owner}/{repo}/branches/{branch}/protection/required_signatures" => branches::require_signatures;
    "GET" "/repos/{owner}/{repo}/git/ref/{ref}" => branches::reference;
    "GET" "/repos/{owner}/{repo}/git/matching-refs/{ref}" => branches::matching_references;
    "GET" "/repos/{owner}/{repo}/commits" => contents::commits;
    "GET" "/repos/{owner}/{repo}/commits/{ref}" => contents::commit;
    "GET" "/repos/{owner}/{repo}/commits/{ref}/status" => contents::status;
    "GET" "/repos/{owner}/{repo}/tarball/{ref}" => contents::tarball;
    "GET" "/repos/{owner}/{repo}/contents/{path}" => contents::get;
    "PUT" "/repos/{owner}/{repo}/contents/{path}" => contents::put;
    "GET" "/repos/{owner}/{repo}/issues" => issues::list;
    "POST" "/repos/{owner}/{repo}/issues" => issues::create;
    "POST" "/repos/{owner}/{repo}/issues/{issue_number}/labels" => issues::add_labels;
}

/// Runs the operation's handler.
pub(super) async fn run(call: Call) -> Outcome {
    match handler(&call.operation.method, &call.operation.path) {
        Some(handler) => handler(call).await,
        None => {
            let what = format!("{} {}", call.operation.method, call.operation.path);
            Err(Error::unexpected(what, "the double has no handler for it").into())
        }
    }
}

impl Call {
    fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn place(&self) -> (&str, &str) {
        (self.param("owner"), self.param("repo"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn urls(&self) -> &Urls {
        &self.shared.urls
    }

    /// Refuses tokens that may not write (`repo`, or `public_repo` for what is public).
    fn require_scope(&self, private: bool) -> Result<(), Refusal> {
        let has = |wanted: &str| self.scopes.iter().any(|scope| scope == wanted);
        if has("repo") || (!private && has("public_repo")) {
            return Ok(());
        }
        Err(Refusal::new(403, "Resource not accessible by personal access token"))
    }

    /// The repository of the path when the user may do this with it.
    fn repo(&self, wanted: Access) -> Result<Repo, Refusal> {
        let state = self.state();
        let (owner, name) = self.place();
        let repo = state.repo(owner, name).ok_or_else(Refusal::not_found)?;
        let access = state.access(Some(&self.login), repo).ok_or_else(Refusal::not_found)?;
        if access < wanted {
            return Err(Refusal::new(403, "Must have admin rights to Repository."));
        }
        if wanted > Access::Read {
            self.require_scope(repo.private())?;
        }
        Ok(repo.clone())
    }

    /// Changes the repository of the path; see [`Call::repo`].
    fn change<T>(&self, wanted: Access, change: impl FnOnce(&mut Repo) -> T) -> Result<T, Refusal> {
        self.repo(wanted)?;
        let mut state = self.state();
        let (owner, name) = self.place();
        state.repo_mut(owner, name).map(change).ok_or_else(Refusal::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_is_listed_twice() {
        let unique: std::collections::BTreeSet<_> = ROUTES.iter().collect();
        assert_eq!(unique.len(), ROUTES.len());
    }
}
