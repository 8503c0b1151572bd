//! What an App asks GitHub, as itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use understudy_sdk::{ActionError, ErrorName, Secret};
use url::Url;

use super::OutOfReach;
use crate::http;

const TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before each repetition after an outage.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
const PAGE: usize = 100;
const MAX_PAGES: usize = 100;

/// Whether an installation is for all of an owner's repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Selection {
    All,
    Selected,
}

/// Where the App is installed.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) suspended: bool,
}

/// A new token.
pub(super) struct Issued {
    pub(super) token: Secret,
    pub(super) expires: DateTime<Utc>,
    pub(super) selection: Selection,
}

/// GitHub's API for one App.
#[derive(Debug)]
pub(super) struct Api {
    base: String,
    app_id: u64,
}

impl Api {
    pub(super) fn new(base: &str, app_id: u64) -> Self {
        Self { base: base.to_string(), app_id }
    }

    /// All installations.
    pub(super) async fn installations(&self, jwt: &Secret) -> Result<Vec<Installation>, ActionError> {
        #[derive(Deserialize)]
        struct Listed {
            id: u64,
            account: Option<Account>,
            suspended_at: Option<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Account {
            login: Option<String>,
        }
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let mut url = self.url(&["app", "installations"])?;
            url.query_pairs_mut().append_pair("per_page", &PAGE.to_string()).append_pair("page", &page.to_string());
            let listed: Vec<Listed> = self.ask(Method::GET, url, jwt).await?;
            let full = listed.len() == PAGE;
            all.extend(listed.into_iter().filter_map(|it| {
                let owner = it.account?.login?;
                Some(Installation { id: it.id, owner, suspended: it.suspended_at.is_some_and(|at| !at.is_null()) })
            }));
            if !full {
                break;
            }
        }
        Ok(all)
    }

    /// A new token of an installation.
    pub(super) async fn issue(&self, jwt: &Secret, installation: u64) -> Result<Issued, ActionError> {
        #[derive(Deserialize)]
        struct Answer {
            token: String,
            expires_at: DateTime<Utc>,
            repository_selection: Option<Selection>,
        }
        let url = self.url(&["app", "installations", &installation.to_string(), "access_tokens"])?;
        let answer: Answer = self.ask(Method::POST, url, jwt).await?;
        Ok(Issued {
            token: Secret::new(answer.token),
            expires: answer.expires_at,
            selection: answer.repository_selection.unwrap_or(Selection::All),
        })
    }

    /// Whether a repository is within the App's installation.
    pub(super) async fn is_installed_on(&self, jwt: &Secret, owner: &str, repo: &str) -> Result<bool, ActionError> {
        let url = self.url(&["repos", owner, repo, "installation"])?;
        match self.ask::<serde_json::Value>(Method::GET, url, jwt).await {
            Ok(_) => Ok(true),
            Err(error) if *error.name() == ErrorName::NotFoundError => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn url(&self, parts: &[&str]) -> Result<Url, ActionError> {
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(ActionError::input(format!("'{}' is no name of a repository", parts.join("/"))));
        }
        let mut url = Url::parse(&self.base)
            .map_err(|error| ActionError::failed(format!("apiBaseUrl '{}' is not a URL: {error}", self.base)))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(parts);
        }
        Ok(url)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, url: Url, jwt: &Secret) -> Result<T, ActionError> {
        let mut pauses = PAUSES.iter();
        loop {
            let (again, error) = match self.once(&method, &url, jwt).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match pauses.next().filter(|_| again) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(error),
            }
        }
    }

    /// One exchange; with the error, whether trying again may help. A token too many does no harm, so this is so for
    /// `POST`, too.
    async fn once<T: DeserializeOwned>(
        &self,
        method: &Method,
        url: &Url,
        jwt: &Secret,
    ) -> Result<T, (bool, ActionError)> {
        let client = http::client().map_err(|error| (false, ActionError::failed(error)))?;
        let request = client
            .request(method.clone(), url.clone())
            .timeout(TIMEOUT)
            .bearer_auth(jwt.expose())
            .header(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        let unreachable = |reason: String| {
            ActionError::failed(format!("GitHub could not be reached: {method} {url}: {reason}"))
                .with_source(OutOfReach)
        };
        let response = request.send().await.map_err(|error| (true, unreachable(http::request_failure(error))))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| (true, unreachable(http::request_failure(error))))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                (
                    false,
                    ActionError::failed(format!("{method} {url}: the answer is not what GitHub documents: {error}")),
                )
            });
        }
        let refusal = self.refusal(method, url, status, &body);
        let again = status.is_server_error();
        Err((again, if again { refusal.with_source(OutOfReach) } else { refusal }))
    }

    fn refusal(&self, method: &Method, url: &Url, status: StatusCode, body: &[u8]) -> ActionError {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        let said = serde_json::from_slice::<Body>(body).map_or_else(|_| status.to_string(), |body| body.message);
        match status {
            StatusCode::UNAUTHORIZED => ActionError::new(
                ErrorName::AuthenticationError,
                format!(
                    "GitHub does not accept its private key ({said}); check that appId {} and privateKey belong together, and \
                     this machine's clock",
                    self.app_id
                ),
            ),
            StatusCode::NOT_FOUND => ActionError::not_found(format!("GitHub answers {said} to {method} {url}")),
            _ => ActionError::failed(format!("GitHub answers {} {said} to {method} {url}", status.as_u16())),
        }
    }
}
