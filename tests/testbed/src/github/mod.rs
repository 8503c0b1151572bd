//! A GitHub of our own: REST state in memory, real bare repositories behind `git http-backend`, TLS, tokens.
//!
//! ```no_run
//! # async fn example() -> understudy_testbed::Result<()> {
//! use understudy_testbed::github::{GithubDouble, GithubOptions};
//!
//! let github = GithubDouble::start(GithubOptions::default()).await?;
//! github.seed_repo("acme", "templates", &[("template.yaml", "kind: Template\n")]).await?;
//! // … run what is to be tested with `github.app_config()` and NODE_EXTRA_CA_CERTS = `github.ca_file()` …
//! assert_eq!(github.violations(), Vec::<String>::new());
//! # Ok(())
//! # }
//! ```
//!
//! Every API request and every answer is held against GitHub's published OpenAPI description (fetched once through `npm`,
//! then kept in `~/.cache/understudy`). What does not fit is answered with status 500 and listed by
//! [`GithubDouble::violations`]; so is a request for an operation that the double does not offer. A test whose double has seen
//! any fails when the double is dropped.

mod app;
mod attachments;
mod auth;
mod cgi;
mod fault;
mod git;
mod git_objects;
mod log;
mod openapi;
mod options;
mod pulls;
mod render;
mod routes;
mod server;
mod state;
pub(crate) mod tls;
mod workflow_runs;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use chrono::Utc;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use self::{
    app::App as GithubApp,
    fault::Fault,
    git::{Seed, SeedFile},
    log::Request,
    options::{DEFAULT_ORG, DEFAULT_TOKEN, DEFAULT_USER, GithubOptions, Token},
    pulls::PullRequest,
    state::Access,
    workflow_runs::{Job, Play, RunState, WorkflowRun},
};
use self::{git::Store, openapi::Contract, render::Urls, state::State};
use crate::{Error, Result, http::Client};

/// HEAD of a new repository.
const DEFAULT_BRANCH: &str = "main";
const SEEDER: (&str, &str) = ("Testbed", "testbed@understudy.invalid");

/// What the listener's workers share.
struct Shared {
    urls: Urls,
    state: Mutex<State>,
    store: Store,
    contract: Arc<Contract>,
    requests: Mutex<Vec<Request>>,
    violations: Mutex<Vec<String>>,
    faults: Mutex<Vec<Fault>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, request: Request) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    fn violation(&self, text: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// Takes notice of a push.
    async fn pushed(&self, owner: &str, name: &str) -> Result<()> {
        self.default_branch(owner, name).await?;
        workflow_runs::pushed(self, owner, name).await
    }

    /// The first branch of an empty repository becomes its default branch.
    async fn default_branch(&self, owner: &str, name: &str) -> Result<()> {
        let branches = self.store.branches(owner, name).await?;
        let head = {
            let mut state = self.state();
            let Some(repo) = state.repo_mut(owner, name) else { return Ok(()) };
            repo.pushed = Utc::now();
            match branches.first() {
                Some((first, _)) if !branches.iter().any(|(branch, _)| *branch == repo.default_branch) => {
                    repo.default_branch.clone_from(first);
                    first.clone()
                }
                _ => return Ok(()),
            }
        };
        self.store.set_head(owner, name, &head).await
    }
}

/// What the double knows of a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `owner/name`
    pub full_name: String,
    /// `public`, `private` or `internal`.
    pub visibility: String,
    /// Name of the default branch.
    pub default_branch: String,
    /// Members of the creating body over GitHub's defaults (`description`, `homepage`, `has_wiki`, `allow_auto_merge` …).
    pub settings: BTreeMap<String, Value>,
    /// Topics.
    pub topics: Vec<String>,
    /// Accounts with access of their own, lower-cased; invitations included.
    pub collaborators: BTreeMap<String, Access>,
    /// Teams with access, by slug.
    pub teams: BTreeMap<String, Access>,
    /// Variables of Actions.
    pub variables: BTreeMap<String, String>,
    /// Secrets of Actions, opened with the repository's key.
    pub secrets: BTreeMap<String, String>,
    /// The body that customised the OIDC subject.
    pub oidc: Option<Value>,
    /// The caller's subscription.
    pub subscription: Option<Value>,
    /// `access_level` of Actions.
    pub workflow_access: Option<String>,
    /// Bodies that protected branches, by branch.
    pub protection: BTreeMap<String, Value>,
    /// Protected branches that require signed commits.
    pub signed_branches: Vec<String>,
    /// Webhooks.
    pub hooks: Vec<Value>,
    /// Issues.
    pub issues: Vec<Value>,
    /// Deploy keys.
    pub deploy_keys: Vec<Value>,
    /// Autolinks.
    pub autolinks: Vec<Value>,
    /// The site of GitHub Pages.
    pub pages: Option<Value>,
    /// Environments by name.
    pub environments: BTreeMap<String, Environment>,
    /// Workflow runs that were asked for: `workflow`, `ref`, `sha`, `inputs`.
    pub dispatches: Vec<Value>,
}

/// What the double knows of an environment.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The body that set it.
    pub rules: Value,
    /// Branches (`branch:<name>`) and tags (`tag:<name>`) that may be deployed.
    pub policies: Vec<String>,
    /// Variables.
    pub variables: BTreeMap<String, String>,
    /// Secrets, opened with the repository's key.
    pub secrets: BTreeMap<String, String>,
}

/// A running double. Dropping it stops the listener, removes its directory, and panics when there were violations that nobody
/// took ([`GithubDouble::take_violations`]).
pub struct GithubDouble {
    shared: Arc<Shared>,
    port: u16,
    token: String,
    ca_path: PathBuf,
    ca_pem: String,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    dir: TempDir,
}

impl GithubDouble {
    /// Starts a double.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] without `git`, or without `npm` when GitHub's description is not in the cache yet;
    /// [`Error::Io`] when the port is taken.
    pub async fn start(options: GithubOptions) -> Result<Self> {
        crate::http::install_crypto_provider();
        let options = options.filled();
        let dir = tempfile::Builder::new()
            .prefix("understudy-github-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?;
        let store = Store::new(dir.path())?;
        let contract = Contract::load(routes::ROUTES).await?;
        let identity = tls::identity(dir.path())?;
        let what = format!("listening on 127.0.0.1:{}", options.port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).map_err(Error::io(&what))?;
        let port = listener.local_addr().map_err(Error::io(what))?.port();
        let web = format!("https://localhost:{port}");
        let shared = Arc::new(Shared {
            urls: Urls { api: format!("{web}/api/v3"), archives: format!("https://127.0.0.1:{port}/codeload"), web },
            state: Mutex::new(State::new(&options)),
            store,
            contract,
            requests: Mutex::default(),
            violations: Mutex::default(),
            faults: Mutex::default(),
        });
        let (handle, thread) = listen(listener, identity.server, Arc::clone(&shared)).await?;
        let (ca_path, ca_pem) = (identity.ca_path, identity.ca_pem);
        let token = options.tokens.first().map(|token| token.value.clone()).unwrap_or_default();
        Ok(Self { shared, port, token, ca_path, ca_pem, handle, thread: Some(thread), dir })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `localhost:<port>`, the host of an integration and of `repoUrl`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// `https://localhost:<port>`
    #[must_use]
    pub fn web_url(&self) -> &str {
        &self.shared.urls.web
    }

    /// `https://localhost:<port>/api/v3`
    #[must_use]
    pub fn api_url(&self) -> &str {
        &self.shared.urls.api
    }

    /// PEM file of the CA, for `NODE_EXTRA_CA_CERTS`, `GIT_SSL_CAINFO`, `curl --cacert`.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_path
    }

    /// The CA as PEM text.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The first token of the options.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `repoUrl` of a repository: `localhost:<port>?owner=…&repo=…`.
    #[must_use]
    pub fn repo_url(&self, owner: &str, repo: &str) -> String {
        format!("{}?owner={owner}&repo={repo}", self.host())
    }

    /// The URL of a file as users write it, such as `https://localhost:<port>/acme/templates/blob/main/template.yaml`.
    #[must_use]
    pub fn blob_url(&self, owner: &str, repo: &str, branch: &str, path: &str) -> String {
        format!("{}/{owner}/{repo}/blob/{branch}/{path}", self.web_url())
    }

    /// An `app-config.yaml` with this GitHub as an integration, using the first token.
    #[must_use]
    pub fn app_config(&self) -> String {
        let (host, api) = (self.host(), self.api_url());
        let token = self.token();
        format!("integrations:\n  github:\n    - host: {host}\n      apiBaseUrl: {api}\n      token: {token}\n")
    }

    /// A client for [`GithubDouble::api_url`] that sends the first token.
    ///
    /// # Errors
    /// As [`Client::with_ca`].
    pub fn client(&self) -> Result<Client> {
        Ok(Client::with_ca(self.api_url(), &self.ca_pem)?.authorized(format!("token {}", self.token)))
    }

    /// A real `git` client that trusts the double and sends `token`; add its arguments and run it.
    #[must_use]
    pub fn git(&self, token: &str) -> tokio::process::Command {
        self.shared.store.client(&self.ca_path, token)
    }

    /// Creates a public repository (when it does not exist) and commits `seed` as the whole tree of its default branch;
    /// returns the commit's hash. A seed is a directory's path (its files, links and modes; a `.git` in it is left out), a
    /// list of paths and texts, or a list of [`SeedFile`]s.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when there is no such owner, [`Error::Io`] when a file cannot be read, [`Error::Program`] when
    /// `git` fails.
    pub async fn seed_repo(&self, owner: &str, repo: &str, seed: impl Into<Seed>) -> Result<String> {
        let seed = match seed.into() {
            Seed::Directory(dir) => {
                Seed::Directory(fs::canonicalize(&dir).map_err(Error::io(format!("reading {}", dir.display())))?)
            }
            files => files,
        };
        let branch = self.ensure_repo(owner, repo).await?;
        let store = &self.shared.store;
        let sha = match seed {
            Seed::Directory(dir) => store.commit_dir((owner, repo), &branch, &dir, "Seed", SEEDER).await?,
            Seed::Files(files) => store.commit((owner, repo), &branch, &files, "Seed", SEEDER).await?,
        };
        self.shared.pushed(owner, repo).await?;
        Ok(sha)
    }

    /// The default branch of a repository, which is made when it does not exist.
    async fn ensure_repo(&self, owner: &str, repo: &str) -> Result<String> {
        let known = self.shared.state().repo(owner, repo).map(|repo| repo.default_branch.clone());
        if let Some(branch) = known {
            return Ok(branch);
        }
        if self.shared.state().account(owner).is_none() {
            let detail = "there is no such user or organisation; add it to the options";
            return Err(Error::unexpected(format!("seeding {owner}/{repo}"), detail));
        }
        self.shared.state().add_repo(owner, repo, "public", state::default_settings(), DEFAULT_BRANCH);
        self.shared.store.create(owner, repo, DEFAULT_BRANCH).await?;
        Ok(DEFAULT_BRANCH.to_owned())
    }

    /// Clones with the real client over HTTPS into `dir`, which must not exist or be empty: that branch, or the default one.
    ///
    /// # Errors
    /// [`Error::Program`] with `git`'s words when it fails.
    pub async fn clone_to<'b>(
        &self,
        dir: &Path,
        owner: &str,
        repo: &str,
        branch: impl Into<Option<&'b str>>,
    ) -> Result<()> {
        let url = format!("{}/{owner}/{repo}.git", self.web_url());
        self.shared.store.clone(&url, branch.into(), &self.ca_path, &self.token, dir).await
    }

    /// Branches of a repository and their commits.
    ///
    /// # Errors
    /// [`Error::Program`] when there is no such repository.
    pub async fn branches(&self, owner: &str, repo: &str) -> Result<Vec<(String, String)>> {
        self.shared.store.branches(owner, repo).await
    }

    /// What the double knows of a repository; `None` when there is none.
    #[must_use]
    pub fn repository(&self, owner: &str, repo: &str) -> Option<Repository> {
        let state = self.shared.state();
        let repo = state.repo(owner, repo)?;
        let opened = |sealed: &Vec<u8>| {
            // Boxes are opened when they are stored, so that this one opens.
            repo.key.unseal(sealed).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        let environment = |it: &attachments::Environment| {
            let text = |policy: &Value, member: &str| policy[member].as_str().unwrap_or_default().to_owned();
            Environment {
                rules: it.rules.clone(),
                policies: it.policies.iter().map(|it| format!("{}:{}", text(it, "type"), text(it, "name"))).collect(),
                variables: it.variables.clone(),
                secrets: it.secrets.iter().map(|(name, sealed)| (name.clone(), opened(sealed))).collect(),
            }
        };
        let mut collaborators = repo.invitations.clone();
        collaborators.extend(repo.collaborators.clone());
        Some(Repository {
            full_name: repo.full_name(),
            visibility: repo.visibility.clone(),
            default_branch: repo.default_branch.clone(),
            settings: repo.settings.clone(),
            topics: repo.topics.clone(),
            collaborators,
            teams: repo.teams.clone(),
            variables: repo.variables.clone(),
            secrets: repo.secrets.iter().map(|(name, sealed)| (name.clone(), opened(sealed))).collect(),
            oidc: repo.oidc.clone(),
            subscription: repo.subscription.clone(),
            workflow_access: repo.workflow_access.clone(),
            protection: repo.protection.iter().map(|(branch, it)| (branch.clone(), it.rules.clone())).collect(),
            signed_branches: repo
                .protection
                .iter()
                .filter(|(_, it)| it.signatures)
                .map(|(branch, _)| branch.clone())
                .collect(),
            hooks: repo.hooks.clone(),
            issues: repo.issues.clone(),
            deploy_keys: repo.attachments.keys.clone(),
            autolinks: repo.attachments.autolinks.clone(),
            pages: repo.attachments.pages.clone(),
            environments: repo
                .attachments
                .environments
                .iter()
                .map(|(name, it)| (name.clone(), environment(it)))
                .collect(),
            dispatches: repo.attachments.dispatches.clone(),
        })
    }

    /// Adds a token while the double runs.
    pub fn add_token(&self, token: Token) {
        self.shared.state().tokens.push(token);
    }

    /// Makes a token unknown from now on.
    pub fn revoke_token(&self, value: &str) {
        self.shared.state().tokens.retain(|token| token.value != value);
    }

    /// Puts a fault in the way; the first one that applies to a request counts.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().push(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Requests in the order of their answers.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes note of [`GithubDouble::violations`], so that they no longer make the test fail, and forgets them.
    #[must_use]
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.violations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a request or an answer broke GitHub's description. A double that is dropped with any of them makes its test
    /// fail, unless they were taken.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs the listener on a thread with an actix system of its own, so that it lives in any runtime.
async fn listen(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    shared: Arc<Shared>,
) -> Result<(ServerHandle, JoinHandle<()>)> {
    let data = web::Data::from(shared);
    let (started, starts) = oneshot::channel();
    let thread = std::thread::Builder::new().name("github-double".to_owned()).spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let bound =
                HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(server::serve)))
                    .workers(2)
                    .disable_signals()
                    .shutdown_timeout(server::SHUTDOWN.as_secs())
                    .on_connect(server::keep_connection)
                    .listen_rustls_0_23(listener, tls);
            let running = match bound {
                Ok(server) => server.run(),
                Err(error) => {
                    // Whoever waits for the start gets the reason; nobody waiting means that it was given up.
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(running.handle()));
            // It ends when the handle stops it.
            let _ = running.await;
        });
    });
    let thread = thread.map_err(Error::io("starting the listener's thread"))?;
    match starts.await {
        Ok(Ok(handle)) => Ok((handle, thread)),
        Ok(Err(error)) => Err(Error::io("starting the listener")(error)),
        Err(_) => Err(Error::unexpected("the listener", "its thread ended at once")),
    }
}

impl Drop for GithubDouble {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic of the listener has been reported by its thread already.
            let _ = thread.join();
        }
        let violations = self.take_violations();
        // A test that fails already says why.
        if !violations.is_empty() && !std::thread::panicking() {
            panic!("not as GitHub describes it:\n{}", violations.join("\n"));
        }
    }
}

impl std::fmt::Debug for GithubDouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GithubDouble").field("port", &self.port).field("dir", &self.dir.path()).finish_non_exhaustive()
    }
}
