//! Argo CD's API server: sessions, projects, applications.

mod error;
mod stream;

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use understudy_sdk::{ActionContext, ActionError, Secret};
use url::Url;

pub(crate) use self::{
    error::ApiError,
    stream::{AppEvent, EventStream},
};
use super::{
    application::{AppRef, Application},
    config::{ArgocdConfig, Credentials, Instance},
};

/// For one exchange. Argo CD renders an application's manifests while it validates one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// Waits before a request is sent again to a server that is away for a moment.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];
/// A list of applications with their status can be long, but not endless.
const LONGEST_ANSWER: usize = 64 << 20;

/// The configured instances, with their sessions.
#[derive(Debug, Clone)]
pub(crate) struct Instances {
    clients: Vec<Arc<ApiClient>>,
}

impl Instances {
    pub(crate) fn new(config: &ArgocdConfig, http: &reqwest::Client) -> Self {
        let client = |instance: &Instance| Arc::new(ApiClient::new(instance.clone(), http.clone()));
        Self { clients: config.instances.iter().map(client).collect() }
    }

    /// The instance with this name.
    ///
    /// # Errors
    /// In the words of `@roadiehq/scaffolder-backend-argocd` 1.8.1.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<ApiClient>, ActionError> {
        self.clients.iter().find(|client| client.instance.name == name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.clients.iter().map(|client| client.instance.name.as_str()).collect();
            let known = if known.is_empty() {
                "none is configured; argocd.appLocatorMethods is where they are".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            ActionError::input(format!("Unable to find Argo instance named '{name}' ({known})"))
        })
    }

    /// The only instance, if there is just one.
    pub(crate) fn only(&self) -> Option<&Arc<ApiClient>> {
        match self.clients.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// A client of one instance. Its session is shared by all steps of this process.
#[derive(Debug)]
pub(crate) struct ApiClient {
    instance: Instance,
    http: reqwest::Client,
    session: Mutex<Option<Secret>>,
}

/// A request to be sent, perhaps more than once.
struct Call {
    /// Completes "refused to …".
    what: String,
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    fn get(what: impl Into<String>, path: &[&str]) -> Self {
        Self { what: what.into(), method: Method::GET, path: owned(path), query: Vec::new(), body: None }
    }
    fn post(what: impl Into<String>, path: &[&str], body: Value) -> Self {
        Self { what: what.into(), method: Method::POST, path: owned(path), query: Vec::new(), body: Some(body) }
    }
    fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
    fn maybe(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }
}

impl ApiClient {
    fn new(instance: Instance, http: reqwest::Client) -> Self {
        Self { instance, http, session: Mutex::new(None) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.instance.name
    }
    /// The server's URL, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.instance.url
    }

    /// The application, or `None` when there is none that the account may see. (A plain read answers "permission denied"
    /// for what doesn't exist, so the list is asked.)
    ///
    /// # Errors
    /// The server can't be asked, or several namespaces have an application of that name.
    pub(crate) async fn find(&self, ctx: &ActionContext, at: &AppRef) -> Result<Option<Application>, ActionError> {
        let list = self.send(ctx, &find_call(at)).await?;
        self.pick(at, list)
    }

    /// As [`ApiClient::find`], without a second attempt: for callers who come again anyway.
    pub(crate) async fn find_once(&self, at: &AppRef) -> Result<Result<Option<Application>, ActionError>, ApiError> {
        let list = self.exchange(&find_call(at)).await?;
        Ok(self.pick(at, list))
    }

    fn pick(&self, at: &AppRef, list: Value) -> Result<Option<Application>, ActionError> {
        let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<_> =
            items.iter().map(|item| Application::new(item.clone())).filter(|app| at.is(app)).collect();
        if found.len() > 1 {
            let namespaces: Vec<_> = found.iter().filter_map(Application::namespace).collect();
            return Err(ActionError::input(format!(
                "Argo CD instance '{}' has applications named '{}' in the namespaces {}; give the one that is meant as \
                 namespace",
                self.instance.name,
                at.name,
                namespaces.join(", ")
            )));
        }
        Ok(found.pop())
    }

    /// Reads an application that is known to exist, with the health of its resources.
    pub(crate) async fn details(&self, app: &Application) -> Result<Application, ApiError> {
        self.exchange(&details_call(app, None)).await.map(Application::new)
    }

    /// Has Argo CD compare the application with its sources now; gives it as it is then.
    pub(crate) async fn refresh(&self, ctx: &ActionContext, app: &Application) -> Result<Application, ApiError> {
        self.send(ctx, &details_call(app, Some("normal"))).await.map(Application::new)
    }

    /// Writes an application: creates it, or with `upsert` replaces an existing one's spec.
    pub(crate) async fn create(
        &self,
        ctx: &ActionContext,
        object: &Value,
        upsert: bool,
        validate: bool,
    ) -> Result<Application, ApiError> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let call = Call::post(format!("write the application '{name}'"), &["applications"], object.clone())
            .query("upsert", upsert.to_string())
            .query("validate", validate.to_string());
        self.send(ctx, &call).await.map(Application::new)
    }

    /// Starts a sync.
    pub(crate) async fn sync(
        &self,
        ctx: &ActionContext,
        app: &Application,
        mut request: Value,
    ) -> Result<Application, ApiError> {
        if let Some(request) = request.as_object_mut() {
            request.insert("name".into(), json!(app.name()));
            request.insert("project".into(), json!(app.project()));
            if let Some(namespace) = app.namespace() {
                request.insert("appNamespace".into(), json!(namespace));
            }
        }
        let path = ["applications", app.name(), "sync"];
        let call = Call::post(format!("sync the application '{}'", app.name()), &path, request);
        self.send(ctx, &call).await.map(Application::new)
    }

    /// Deletes an application, its resources too with `cascade`.
    pub(crate) async fn delete(
        &self,
        ctx: &ActionContext,
        app: &Application,
        cascade: bool,
        policy: Option<&str>,
    ) -> Result<(), ApiError> {
        let path = ["applications", app.name()];
        let mut call = Call::get(format!("delete the application '{}'", app.name()), &path)
            .query("cascade", cascade.to_string())
            .maybe("propagationPolicy", policy)
            .maybe("appNamespace", app.namespace())
            .query("project", app.project());
        call.method = Method::DELETE;
        self.send(ctx, &call).await.map(drop)
    }

    /// The project, or `None` when the account may not see one of that name.
    pub(crate) async fn project(&self, ctx: &ActionContext, name: &str) -> Result<Option<Value>, ApiError> {
        match self.send(ctx, &Call::get(format!("read the project '{name}'"), &["projects", name])).await {
            Ok(project) => Ok(Some(project)),
            Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a project; one that exists with the same spec is taken for it.
    pub(crate) async fn create_project(&self, ctx: &ActionContext, project: &Value) -> Result<Value, ApiError> {
        let name = project.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let what = format!("create the project '{name}'");
        self.send(ctx, &Call::post(what, &["projects"], json!({ "project": project }))).await
    }

    /// Opens the stream of an application's changes; it begins with the application as it is.
    pub(crate) async fn stream(&self, at: &AppRef) -> Result<EventStream, ApiError> {
        let what = format!("watch the application '{}'", at.name);
        let call = query_of(at, Call::get(what.clone(), &["stream", "applications"]));
        let response = self.authorized(&call, false).await?;
        Ok(EventStream::new(self.instance.name.clone(), what, response))
    }

    /// Sends a request, again when the server is away for a moment.
    async fn send(&self, ctx: &ActionContext, call: &Call) -> Result<Value, ApiError> {
        let mut waits = RETRIES.iter();
        loop {
            let error = match self.exchange(call).await {
                Err(error) if error.is_passing() => error,
                done => return done,
            };
            let Some(wait) = waits.next() else { return Err(error) };
            ctx.log.warn(format!("{error}; trying again in {} s", wait.as_secs_f64()));
            if ctx.waiting(tokio::time::sleep(*wait)).await.is_err() {
                return Err(error);
            }
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Value, ApiError> {
        let response = self.authorized(call, true).await?;
        let body = self.body(&call.what, response).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Foreign {
            instance: self.instance.name.clone(),
            what: call.what.clone(),
            reason: error.to_string(),
        })
    }

    /// Sends with a token. A session that has ended is renewed once.
    async fn authorized(&self, call: &Call, bounded: bool) -> Result<Response, ApiError> {
        let mut renewed = false;
        loop {
            let token = self.token().await?;
            let mut request = self.request(call.method.clone(), &call.path, &call.query).bearer_auth(token.expose());
            if let Some(body) = &call.body {
                request = request.json(body);
            }
            if bounded {
                request = request.timeout(REQUEST_TIMEOUT);
            }
            let response = request.send().await.map_err(|error| self.unreachable(&call.what, error))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let session = matches!(self.instance.credentials, Credentials::Password { .. });
            if status.as_u16() == 401 && session && !renewed {
                renewed = true;
                self.forget(&token).await;
                continue;
            }
            let body = self.body(&call.what, response).await?;
            return Err(self.refused(&call.what, status.as_u16(), &body));
        }
    }

    async fn token(&self) -> Result<Secret, ApiError> {
        let (username, password) = match &self.instance.credentials {
            Credentials::Token(token) => return Ok(token.clone()),
            Credentials::Missing => return Err(ApiError::NoCredentials { instance: self.instance.name.clone() }),
            Credentials::Password { username, password } => (username, password),
        };
        // Held during the login, so that many steps at once log in once.
        let mut session = self.session.lock().await;
        if let Some(token) = &*session {
            return Ok(token.clone());
        }
        let what = "log in";
        let body = json!({ "username": username, "password": password.expose() });
        let request = self.request(Method::POST, &owned(&["session"]), &[]).json(&body).timeout(REQUEST_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(what, error))?;
        let status = response.status();
        let body = self.body(what, response).await?;
        if !status.is_success() {
            return Err(self.refused(what, status.as_u16(), &body));
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let Some(token) = answer.get("token").and_then(Value::as_str).filter(|token| !token.is_empty()) else {
            return Err(ApiError::Foreign {
                instance: self.instance.name.clone(),
                what: what.to_owned(),
                reason: "no token in its answer".to_owned(),
            });
        };
        let token = Secret::new(token);
        *session = Some(token.clone());
        Ok(token)
    }

    /// Drops the session unless somebody has renewed it already.
    async fn forget(&self, used: &Secret) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|token| token.expose() == used.expose()) {
            *session = None;
        }
    }

    fn request(&self, method: Method, path: &[String], query: &[(&'static str, String)]) -> RequestBuilder {
        // The base has been parsed when the configuration was read, so it can be extended.
        let url = Url::parse(&self.instance.url).map(|mut url| {
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(["api", "v1"]).extend(path);
            }
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            url
        });
        match url {
            Ok(url) => self.http.request(method, url),
            Err(_) => self.http.request(method, &self.instance.url),
        }
    }

    async fn body(&self, what: &str, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(what, error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(ApiError::Foreign {
                    instance: self.instance.name.clone(),
                    what: what.to_owned(),
                    reason: format!("more than {} MiB", LONGEST_ANSWER >> 20),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn refused(&self, what: &str, status: u16, body: &[u8]) -> ApiError {
        let message = error::message_of(status, body);
        if status != 401 {
            return ApiError::Refused { instance: self.instance.name.clone(), what: what.to_owned(), status, message };
        }
        let advice = match self.instance.credentials {
            Credentials::Token(_) => {
                "The token in argocd.appLocatorMethods has expired or was revoked; make a new one with 'argocd account \
                 generate-token' or for a role of a project"
            }
            _ => "Check the username and the password in the argocd section of the configuration",
        };
        ApiError::Unauthorized { url: self.instance.url.clone(), message, advice }
    }

    fn unreachable(&self, what: &str, error: reqwest::Error) -> ApiError {
        ApiError::Unreachable { instance: self.instance.name.clone(), what: what.to_owned(), reason: causes(error) }
    }
}

fn find_call(at: &AppRef) -> Call {
    query_of(at, Call::get(format!("look up the application '{}'", at.name), &["applications"]))
}

fn query_of(at: &AppRef, call: Call) -> Call {
    call.query("name", at.name.as_str())
        .maybe("appNamespace", at.namespace.as_deref())
        .maybe("projects", at.project.as_deref())
}

fn details_call(app: &Application, refresh: Option<&str>) -> Call {
    Call::get(format!("read the application '{}'", app.name()), &["applications", app.name()])
        .maybe("refresh", refresh)
        .maybe("appNamespace", app.namespace())
        .query("project", app.project())
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

/// An error with its causes, without the URL.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
