//! GitHub's REST API over octocrab: requests with rate limits and outages taken into account.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header, request};
use octocrab::{
    AuthState, FromResponse, Octocrab, OctocrabBuilder,
    service::middleware::{extra_headers::ExtraHeadersLayer, reqwest_connector::ReqwestConnector},
};
use percent_encoding::utf8_percent_encode;
use serde::{Serialize, de::DeserializeOwned};
use understudy_scm::{
    COMPONENT, GithubAccess, is_out_of_reach,
    throttle::{self, RateLimit, Retries},
};
use understudy_sdk::{ActionContext, ActionError, Secret};

use crate::error::{ApiError, octokit_message, with_causes};

const USER_AGENT: &str = concat!("understudy/", env!("CARGO_PKG_VERSION"));

/// For one exchange; upstream's Octokit has the same.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A commit's files travel in one GraphQL request.
const GRAPHQL_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// As many as browsers' `fetch` follows for us elsewhere.
const MAX_REDIRECTS: usize = 5;

/// Items a page, the most that GitHub gives.
const PAGE: &str = "100";
/// A hundred thousand items are no list that a step should look through.
const MAX_PAGES: usize = 100;

/// The version of the API that requests are written for.
const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");

/// Where in the API a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A path below the base URL.
    Rest(String),
    /// The GraphQL API.
    Graphql,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest(path) => path,
            Self::Graphql => "/graphql",
        })
    }
}

impl Route {
    /// Joins segments, each percent-encoded as a whole: a branch `a/b` stays one segment.
    ///
    /// # Errors
    /// `InputError` for segments that would change the path's meaning.
    pub(crate) fn new(segments: &[&str]) -> Result<Self, ActionError> {
        let mut path = String::new();
        for segment in segments {
            if matches!(*segment, "" | "." | "..") {
                return Err(ActionError::input(format!(
                    "'{segment}' can't be part of a GitHub API path ({}); give a real name",
                    segments.join("/")
                )));
            }
            path.push('/');
            path.extend(utf8_percent_encode(segment, COMPONENT));
        }
        Ok(Self::Rest(path))
    }

    /// The same path with (more) query parameters.
    pub(crate) fn with_query(self, parameters: &[(&str, &str)]) -> Self {
        let Self::Rest(mut path) = self else { return self };
        for (name, value) in parameters {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(name);
            path.push('=');
            path.extend(utf8_percent_encode(value, COMPONENT));
        }
        Self::Rest(path)
    }
    /// One more segment below this path.
    ///
    /// # Errors
    /// As [`Route::new`].
    pub(crate) fn below(&self, segment: &str) -> Result<Self, ActionError> {
        match (self, Self::new(&[segment])?) {
            (Self::Rest(path), Self::Rest(more)) => Ok(Self::Rest(format!("{path}{more}"))),
            (other, _) => Ok(other.clone()),
        }
    }

    fn url(&self, base: &Uri) -> String {
        let base = base.to_string();
        let base = base.trim_end_matches('/');
        match self {
            Self::Rest(path) => format!("{base}{path}"),
            // On GitHub Enterprise Server it is not below the REST API's base but beside it.
            Self::Graphql => format!("{}/graphql", base.strip_suffix("/v3").unwrap_or(base)),
        }
    }

    fn timeout(&self) -> Duration {
        match self {
            Self::Rest(_) => REQUEST_TIMEOUT,
            Self::Graphql => GRAPHQL_TIMEOUT,
        }
    }
}

/// A client for one step: one host, one token.
pub(crate) struct Client<'c> {
    crab: Octocrab,
    base: Uri,
    access: GithubAccess,
    ctx: &'c ActionContext,
}

/// What a token is sent as.
fn authorization(token: &Secret) -> Result<HeaderValue, ActionError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
        ActionError::input(
            "The GitHub token has characters that can't be sent in an HTTP header; \
                     check it for line breaks and characters outside ASCII",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl<'c> Client<'c> {
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The token can't be sent in a header, or the base URL is none.
    pub(crate) fn new(
        http: reqwest::Client,
        access: &GithubAccess,
        ctx: &'c ActionContext,
    ) -> Result<Self, ActionError> {
        authorization(&access.token)?;
        let base: Uri = access.api_base_url.parse().map_err(|error| {
            ActionError::failed(format!(
                "The apiBaseUrl '{}' of the GitHub integration is not a URL: {error}",
                access.api_base_url
            ))
        })?;
        if base.scheme().is_none() || base.authority().is_none() {
            return Err(ActionError::failed(format!(
                "The apiBaseUrl '{}' of the GitHub integration must be an absolute URL such as https://api.github.com",
                access.api_base_url
            )));
        }
        let headers = vec![
            (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
            (header::ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
            (HeaderName::from_static(API_VERSION.0), HeaderValue::from_static(API_VERSION.1)),
        ];
        let crab = OctocrabBuilder::new_empty()
            .with_service(ReqwestConnector::new(http))
            .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
            .with_auth(AuthState::None)
            .build();
        let crab = match crab {
            Ok(crab) => crab,
            Err(never) => match never {},
        };
        Ok(Self { crab, base, access: access.clone(), ctx })
    }

    /// `GET`.
    pub(crate) async fn get<R: DeserializeOwned + Send>(&self, route: &Route) -> Result<R, ApiError> {
        self.call(&Method::GET, route, None::<&()>).await
    }
    /// All items of a list that GitHub gives page by page.
    pub(crate) async fn list<R: DeserializeOwned + Send>(&self, route: &Route) -> Result<Vec<R>, ApiError> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let route = route.clone().with_query(&[("per_page", PAGE), ("page", &page.to_string())]);
            let mut items: Vec<R> = self.get(&route).await?;
            let last = items.len().to_string() != PAGE;
            all.append(&mut items);
            if last {
                break;
            }
        }
        Ok(all)
    }
    /// `POST` with an answer that matters.
    pub(crate) async fn post<B, R>(&self, route: &Route, body: &B) -> Result<R, ApiError>
    where
        B: Serialize + Sync,
        R: DeserializeOwned + Send,
    {
        self.call(&Method::POST, route, Some(body)).await
    }
    /// `PUT` with an answer that matters.
    pub(crate) async fn put_for<B, R>(&self, route: &Route, body: &B) -> Result<R, ApiError>
    where
        B: Serialize + Sync,
        R: DeserializeOwned + Send,
    {
        self.call(&Method::PUT, route, Some(body)).await
    }
    /// A request whose answer doesn't matter beyond its status.
    pub(crate) async fn send<B>(&self, method: &Method, route: &Route, body: Option<&B>) -> Result<StatusCode, ApiError>
    where
        B: Serialize + Sync,
    {
        self.call::<B, Ignored>(method, route, body).await.map(|Ignored(status)| status)
    }
    /// `PATCH` with an answer that matters.
    pub(crate) async fn patch<B, R>(&self, route: &Route, body: &B) -> Result<R, ApiError>
    where
        B: Serialize + Sync,
        R: DeserializeOwned + Send,
    {
        self.call(&Method::PATCH, route, Some(body)).await
    }
    /// Whether there is something (`HEAD`).
    pub(crate) async fn exists(&self, route: &Route) -> Result<bool, ApiError> {
        match self.send(&Method::HEAD, route, None::<&()>).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_status(404) => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// `PUT` whose answer doesn't matter beyond its success.
    pub(crate) async fn put<B: Serialize + Sync>(&self, route: &Route, body: &B) -> Result<(), ApiError> {
        self.send(&Method::PUT, route, Some(body)).await.map(|_| ())
    }

    async fn call<B, R>(&self, method: &Method, route: &Route, body: Option<&B>) -> Result<R, ApiError>
    where
        B: Serialize + Sync,
        R: FromResponse + Send,
    {
        let mut retries = Retries::default();
        loop {
            self.ctx.check_cancelled()?;
            let failure = match self.once(method, route, body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let (wait, reason) = match failure.remedy(method) {
                Remedy::WaitForLimit(limit) => match retries.limited(limit) {
                    Ok(wait) => (wait, format!("GitHub's {} is reached", limit.kind)),
                    Err(wait) => return Err(self.api_error(failure, method, route).limited(limit.kind, wait)),
                },
                Remedy::Repeat => match retries.outage() {
                    Some(wait) => (wait, self.api_error(failure, method, route).to_string()),
                    None => return Err(self.api_error(failure, method, route)),
                },
                Remedy::None => return Err(self.api_error(failure, method, route)),
            };
            self.ctx.log.warn(format!("{reason}; trying {method} {route} again in {} s", wait.as_secs()));
            self.ctx.waiting(tokio::time::sleep(wait)).await?;
        }
    }

    /// Asks once, without repeating: for those who ask at intervals anyway. `None`: nothing has changed since the answer
    /// that `etag` came with (which GitHub doesn't count against the rate limit).
    ///
    /// # Errors
    /// What kept the answer away, and whether asking later may help.
    pub(crate) async fn poll<R>(&self, route: &Route, etag: &mut Option<HeaderValue>) -> Result<Option<R>, Trouble>
    where
        R: FromResponse,
    {
        let method = Method::GET;
        match self.exchange::<(), R>(&method, route, None, etag).await {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(match failure.remedy(&method) {
                Remedy::WaitForLimit(limit) => Trouble::Limit(limit),
                Remedy::Repeat => Trouble::Outage(self.api_error(failure, &method, route)),
                Remedy::None => Trouble::Refusal(self.api_error(failure, &method, route)),
            }),
        }
    }

    async fn once<B, R>(&self, method: &Method, route: &Route, body: Option<&B>) -> Result<R, Failure>
    where
        B: Serialize + Sync,
        R: FromResponse,
    {
        match self.exchange(method, route, body, &mut None).await? {
            Some(answer) => Ok(answer),
            None => Err(Failure::Unusable("it says that nothing has changed, which was not the question".into())),
        }
    }

    async fn exchange<B, R>(
        &self,
        method: &Method,
        route: &Route,
        body: Option<&B>,
        etag: &mut Option<HeaderValue>,
    ) -> Result<Option<R>, Failure>
    where
        B: Serialize + Sync,
        R: FromResponse,
    {
        let exchange = async {
            let mut uri = route.url(&self.base);
            // Tokens of GitHub Apps expire while a step waits.
            let mut token = self.access.current_token().await?;
            let mut renewed = false;
            for _ in 0..=MAX_REDIRECTS {
                let mut builder = request::Builder::new().method(method.clone()).uri(uri.as_str());
                builder = builder.header(header::AUTHORIZATION, authorization(&token)?);
                if let Some(etag) = etag.as_ref() {
                    builder = builder.header(header::IF_NONE_MATCH, etag);
                }
                let response = self.crab.execute(self.crab.build_request(builder, body)?).await?;
                if etag.is_some() && response.status() == StatusCode::NOT_MODIFIED {
                    return Ok(None);
                }
                if response.status() == StatusCode::UNAUTHORIZED
                    && !std::mem::replace(&mut renewed, true)
                    && let Some(another) = self.access.renewed_token(&token).await?
                {
                    token = another;
                    continue;
                }
                match self.redirection(method, &response) {
                    Some(location) => uri = location,
                    None if *method == Method::HEAD && !response.status().is_success() => {
                        return Err(Failure::Bare(response.status()));
                    }
                    None => {
                        let response = octocrab::map_github_error(response).await?;
                        let fresh = response.headers().get(header::ETAG).cloned();
                        let answer = R::from_response(response).await?;
                        *etag = fresh;
                        return Ok(Some(answer));
                    }
                }
            }
            Err(Failure::Unusable(format!("redirected more than {MAX_REDIRECTS} times, last to {uri}")))
        };
        let late = || Failure::Transport {
            never_sent: false,
            reason: format!("no answer within {} s", route.timeout().as_secs()),
        };
        tokio::time::timeout(route.timeout(), exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// Where to ask instead: GitHub redirects after a repository was renamed. Never to another host, and a changing
    /// request only where the answer says that its method stays.
    fn redirection<T>(&self, method: &Method, response: &http::Response<T>) -> Option<String> {
        let keeps_method = match response.status().as_u16() {
            301 | 302 => *method == Method::GET,
            307 | 308 => true,
            _ => false,
        };
        let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
        let target: Uri = location.parse().ok()?;
        if !keeps_method {
            return None;
        }
        match (target.scheme(), target.authority()) {
            (None, None) if location.starts_with('/') => {
                Some(format!("{}://{}{location}", self.base.scheme()?, self.base.authority()?))
            }
            to => (to == (self.base.scheme(), self.base.authority())).then(|| location.to_string()),
        }
    }

    fn api_error(&self, failure: Failure, method: &Method, route: &Route) -> ApiError {
        match failure {
            Failure::GitHub(refusal) => {
                ApiError::Refused { status: refusal.status_code.as_u16(), message: octokit_message(&refusal) }
            }
            Failure::Local(error) => ApiError::Local(error),
            Failure::Bare(status) => ApiError::Refused { status: status.as_u16(), message: status.to_string() },
            Failure::Transport { reason, .. } | Failure::Unusable(reason) => ApiError::Unreachable {
                method: method.clone(),
                route: route.to_string(),
                base: self.base.to_string(),
                reason,
            },
        }
    }
}

/// Why [`Client::poll`] brought no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A rate limit: ask again when it is over.
    Limit(RateLimit),
    /// GitHub could not be reached or is not well: asking later may help.
    Outage(ApiError),
    /// GitHub will answer the same again.
    Refusal(ApiError),
}

/// How one exchange failed.
enum Failure {
    GitHub(Box<octocrab::GitHubError>),
    Transport {
        /// The connection was never made, so GitHub can't have acted.
        never_sent: bool,
        reason: String,
    },
    /// An answer that can't be worked with.
    Unusable(String),
    /// An error status without a body to read.
    Bare(StatusCode),
    /// There is no token to ask with.
    Local(ActionError),
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        Self::Local(error)
    }
}

impl From<octocrab::Error> for Failure {
    fn from(error: octocrab::Error) -> Self {
        match error {
            octocrab::Error::GitHub { source, .. } => Self::GitHub(source),
            octocrab::Error::Json { source, .. } => Self::Unusable(format!(
                "the answer is not what GitHub documents: {} at {}",
                source.inner(),
                source.path()
            )),
            error => Self::transport(&error),
        }
    }
}

/// What may help after a failure.
enum Remedy {
    WaitForLimit(RateLimit),
    Repeat,
    None,
}

impl Failure {
    fn remedy(&self, method: &Method) -> Remedy {
        match self {
            Self::GitHub(refusal) => {
                let headers = refusal.headers.as_ref();
                let limit = headers.and_then(|headers| {
                    throttle::rate_limit(refusal.status_code, headers, &refusal.message, seconds_now())
                });
                match limit {
                    Some(limit) => Remedy::WaitForLimit(limit),
                    None if throttle::is_outage(method, refusal.status_code) => Remedy::Repeat,
                    None => Remedy::None,
                }
            }
            Self::Local(error) if is_out_of_reach(error) => Remedy::Repeat,
            Self::Bare(status) if throttle::is_outage(method, *status) => Remedy::Repeat,
            // A POST may have arrived.
            Self::Transport { never_sent, .. } if *never_sent || method != Method::POST => Remedy::Repeat,
            Self::Transport { .. } | Self::Unusable(_) | Self::Bare(_) | Self::Local(_) => Remedy::None,
        }
    }
    fn transport(error: &octocrab::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        let mut below = None;
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<reqwest::Error>() {
                below = Some(error);
            }
            cause = error.source();
        }
        match below {
            Some(error) => Self::Transport { never_sent: error.is_connect(), reason: with_causes(error) },
            None => Self::Transport { never_sent: false, reason: with_causes(error) },
        }
    }
}

/// An answer whose body is not looked at.
struct Ignored(StatusCode);

impl FromResponse for Ignored {
    async fn from_response<B>(response: http::Response<B>) -> octocrab::Result<Self>
    where
        B: Send,
    {
        Ok(Self(response.status()))
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn routes_become_urls() {
        let protection = Route::new(&["repos", "o", "r", "branches", "a/b", "protection"]).unwrap();
        for (base, rest, graphql) in [
            (
                "https://api.github.com",
                "https://api.github.com/repos/o/r/branches/a%2Fb/protection",
                "https://api.github.com/graphql",
            ),
            (
                "https://ghe.example.org/api/v3/",
                "https://ghe.example.org/api/v3/repos/o/r/branches/a%2Fb/protection",
                "https://ghe.example.org/api/graphql",
            ),
        ] {
            let base: Uri = base.parse().unwrap();
            assert_eq!((protection.url(&base).as_str(), Route::Graphql.url(&base).as_str()), (rest, graphql));
        }
    }

    #[test]
    fn routes_grow() {
        let route = Route::new(&["repos", "o", "r"]).unwrap().below("a b").unwrap();
        assert_eq!(route.to_string(), "/repos/o/r/a%20b");
        assert_eq!(
            route.with_query(&[("a", "1")]).with_query(&[("b", "x:y")]).to_string(),
            "/repos/o/r/a%20b?a=1&b=x%3Ay"
        );
    }

    #[test]
    fn segments_that_change_the_path_are_refused() {
        for segment in ["", ".", ".."] {
            assert!(Route::new(&["repos", segment, "r"]).is_err());
        }
        assert_eq!(Route::new(&["users", "a/../b?c#d"]).unwrap().to_string(), "/users/a%2F..%2Fb%3Fc%23d");
    }
}
