//! Suggestions for form fields: repositories, branches and owners that a user can see.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{
    StatusCode,
    header::{ACCEPT, LINK},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use understudy_scm::Scm;
use understudy_sdk::{ActionError, AutocompleteProvider, ErrorName, Secret, autocomplete::Suggestion};
use url::Url;

use crate::error::with_causes;

const HOST: &str = "github.com";
/// People wait in front of a form.
const TIMEOUT: Duration = Duration::from_secs(30);
const PAGE: &str = "100";
/// A list of more can't be chosen from.
const MAX_PAGES: usize = 20;

/// The provider `github`.
pub(crate) struct GithubAutocomplete {
    scm: Arc<Scm>,
}

impl GithubAutocomplete {
    pub(crate) fn new(scm: Scm) -> Self {
        Self { scm: Arc::new(scm) }
    }

    /// All items of a list.
    async fn list<R: DeserializeOwned>(
        &self,
        host: &str,
        path: &[&str],
        token: &Secret,
    ) -> Result<Vec<R>, ActionError> {
        let integrations = self.scm.integrations();
        let github =
            integrations.github(host).ok_or_else(|| ActionError::input(format!("No integration for host {host}")))?;
        let mut url = Url::parse(&github.api_base_url).map_err(|error| {
            ActionError::failed(format!("apiBaseUrl '{}' is not a URL: {error}", github.api_base_url))
        })?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("per_page", PAGE).append_pair("page", &page.to_string());
            let (items, more) = self.page(url, token).await?;
            all.extend::<Vec<R>>(items);
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// One page, and whether there is another.
    async fn page<R: DeserializeOwned>(&self, url: Url, token: &Secret) -> Result<(Vec<R>, bool), ActionError> {
        let unreachable = |error: reqwest::Error| {
            let error = error.without_url();
            let message = format!("GitHub could not be reached: GET {url}: {}", with_causes(&error));
            ActionError::new(ErrorName::Other("HttpError".into()), message)
        };
        let request = self.scm.http_client()?.get(url.clone()).timeout(TIMEOUT).bearer_auth(token.expose());
        let response = request.header(ACCEPT, "application/vnd.github+json").send().await.map_err(unreachable)?;
        let status = response.status();
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok()).unwrap_or_default();
        let more = link.contains("rel=\"next\"");
        let body = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        let items = serde_json::from_slice(&body).map_err(|error| {
            ActionError::failed(format!("GET {url}: the answer is not what GitHub documents: {error}"))
        })?;
        Ok((items, more))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ActionError {
    #[derive(Deserialize)]
    struct Body {
        message: String,
        documentation_url: Option<String>,
    }
    let message = match serde_json::from_slice::<Body>(body) {
        Ok(Body { message, documentation_url: Some(url) }) => format!("{message} - {url}"),
        Ok(Body { message, .. }) => message,
        Err(_) => status.to_string(),
    };
    let name = match status {
        StatusCode::UNAUTHORIZED => ErrorName::AuthenticationError,
        StatusCode::FORBIDDEN => ErrorName::NotAllowedError,
        StatusCode::NOT_FOUND => ErrorName::NotFoundError,
        _ => ErrorName::Other("HttpError".into()),
    };
    ActionError::new(name, message)
}

#[async_trait]
impl AutocompleteProvider for GithubAutocomplete {
    fn id(&self) -> &'static str {
        "github"
    }

    async fn suggest(
        &self,
        resource: &str,
        token: &Secret,
        context: &Map<String, Value>,
    ) -> Result<Vec<Suggestion>, ActionError> {
        #[derive(Deserialize)]
        struct Repository {
            full_name: String,
        }
        #[derive(Deserialize)]
        struct Branch {
            name: String,
        }
        #[derive(Deserialize)]
        struct Owner {
            login: String,
        }
        let given = |name: &str| context.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let host = given("host").unwrap_or(HOST);
        match resource {
            "repositoriesWithOwner" => {
                let all: Vec<Repository> = self.list(host, &["user", "repos"], token).await?;
                Ok(all.into_iter().map(|it| Suggestion::new(it.full_name)).collect())
            }
            "branches" => {
                let (Some(owner), Some(repository)) = (given("owner"), given("repository")) else {
                    return Err(ActionError::input("Missing owner and/or repository context parameter"));
                };
                if [owner, repository].iter().any(|name| matches!(*name, "." | "..")) {
                    return Err(ActionError::input(format!("{owner}/{repository} is no repository")));
                }
                let all: Vec<Branch> = self.list(host, &["repos", owner, repository, "branches"], token).await?;
                Ok(all.into_iter().map(|it| Suggestion::new(it.name)).collect())
            }
            "owners" => {
                let all: Vec<Owner> = self.list(host, &["user", "orgs"], token).await?;
                Ok(all.into_iter().map(|it| Suggestion::new(it.login)).collect())
            }
            other => Err(ActionError::input(format!("Invalid resource: {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{header, method, path, query_param},
    };

    use super::*;

    fn provider(server: &MockServer) -> GithubAutocomplete {
        let config = json!({"integrations": {"github": [{"apiBaseUrl": server.uri()}]}});
        GithubAutocomplete::new(Scm::from_config(&config).unwrap())
    }

    async fn suggest(server: &MockServer, resource: &str, context: Value) -> Result<Vec<String>, String> {
        let context = context.as_object().unwrap().clone();
        let found = provider(server).suggest(resource, &Secret::new("tok"), &context).await;
        let ids = |found: Vec<Suggestion>| found.into_iter().map(|suggestion| suggestion.id).collect();
        found.map(ids).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn lists_are_read_to_their_ends() {
        let server = MockServer::start().await;
        for (page, names, link) in
            [("1", ["o/a", "o/b"], "<x>; rel=\"next\""), ("2", ["o/c", "o/d"], "<x>; rel=\"prev\"")]
        {
            let body = names.map(|name| json!({"full_name": name}));
            let answer = ResponseTemplate::new(200).set_body_json(body).insert_header("link", link);
            let mock = Mock::given(method("GET")).and(path("/user/repos")).and(query_param("page", page));
            mock.and(header("authorization", "Bearer tok")).respond_with(answer).mount(&server).await;
        }
        let found = suggest(&server, "repositoriesWithOwner", json!({})).await;
        assert_eq!(found.unwrap(), ["o/a", "o/b", "o/c", "o/d"]);
    }

    #[tokio::test]
    async fn what_can_not_be_answered() {
        let server = MockServer::start().await;
        let refusal = |status: u16, message: &str| {
            ResponseTemplate::new(status).set_body_json(json!({"message": message, "documentation_url": "https://d"}))
        };
        Mock::given(path("/user/orgs")).respond_with(refusal(401, "Bad credentials")).mount(&server).await;
        Mock::given(path("/repos/o/r/branches")).respond_with(refusal(404, "Not Found")).mount(&server).await;
        let missing = "InputError: Missing owner and/or repository context parameter";
        for (resource, context, expected) in [
            ("nope", json!({}), "InputError: Invalid resource: nope"),
            ("branches", json!({"owner": "o"}), missing),
            ("branches", json!({"owner": "o", "repository": ""}), missing),
            ("branches", json!({"owner": "..", "repository": "r"}), "InputError: ../r is no repository"),
            ("owners", json!({"host": "evil.example.com"}), "InputError: No integration for host evil.example.com"),
            ("owners", json!({}), "AuthenticationError: Bad credentials - https://d"),
            ("branches", json!({"owner": "o", "repository": "r"}), "NotFoundError: Not Found - https://d"),
        ] {
            assert_eq!(suggest(&server, resource, context).await.unwrap_err(), expected);
        }
    }
}
