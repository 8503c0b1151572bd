//! The catalog of a Backstage backend, asked over HTTP in the caller's name.
//!
//! Paths and bodies are those of `@backstage/catalog-client` 1.16.2. A refusal of the catalog keeps its status on the way to
//! our client, as upstream's `ResponseError` does.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use understudy_scm::{BodyError, COMPONENT};
use understudy_sdk::{ActionError, Catalog, Entity, EntityRef, ErrorName, LocationAnswer};

use super::CatalogFactory;
use crate::{
    auth::{Auth, Credentials},
    discovery::Discovery,
};

/// The plugin that is asked.
const PLUGIN: &str = "catalog";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to add a location: the catalog reads it meanwhile, and what it names.
const LOCATION_PATIENCE: Duration = Duration::from_secs(120);
/// The largest answer that is read.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What the catalog answered when it refused: the source of the [`ActionError`] that tells of it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .cause["name"].as_str().unwrap_or("Error"), .cause["message"].as_str().unwrap_or_default())]
pub struct Refusal {
    /// The `error` member of its body, or one made of the status.
    pub cause: Value,
}

/// A Backstage catalog. Cheap to clone.
#[derive(Clone)]
pub struct RemoteCatalog(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    /// Base URL without a slash at its end.
    url: String,
    auth: Auth,
    patience: Duration,
}

impl std::fmt::Debug for RemoteCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RemoteCatalog").field(&self.0.url).finish()
    }
}

impl RemoteCatalog {
    /// The catalog where `discovery` says it is. `http` follows no redirects.
    pub fn new(discovery: &Discovery, auth: Auth, http: reqwest::Client) -> Self {
        Self(Arc::new(Inner { http, url: discovery.internal(PLUGIN), auth, patience: PATIENCE }))
    }
    /// Makes the catalog as somebody sees it.
    pub fn factory(self) -> CatalogFactory {
        Arc::new(move |credentials| Arc::new(AsSeen { catalog: self.clone(), credentials: credentials.clone() }))
    }
    /// Where it is.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Sends a request; gives status and body of a success.
    async fn call(
        &self,
        credentials: &Credentials,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<(u16, Value), ActionError> {
        let inner = &self.0;
        let token = inner.auth.plugin_token(credentials, PLUGIN).await?;
        let mut request = inner.http.request(method, format!("{}{path}", inner.url)).timeout(patience);
        if let Some(token) = &token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error, patience))?;
        let status = response.status();
        let is_json = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let bytes = understudy_scm::read_body(response, MAX_BYTES).await.map_err(|error| match error {
            BodyError::Broken(error) => self.unreachable(error, patience),
            other => self.unusable(&other.to_string()),
        })?;
        if !status.is_success() {
            return Err(self.refused(status, is_json, &bytes));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| self.unusable(&format!("is no JSON: {error}")))?;
        Ok((status.as_u16(), value))
    }

    /// `ResponseError.fromResponse` of `@backstage/errors` 1.3.2.
    fn refused(&self, status: reqwest::StatusCode, is_json: bool, body: &[u8]) -> ActionError {
        let reason = status.canonical_reason().unwrap_or_default();
        let told: Option<Value> = if is_json { serde_json::from_slice(body).ok() } else { None };
        let told = told.filter(|body| body["error"].is_object() && body["response"].is_object());
        let (code, cause) = match told {
            Some(mut told) => {
                let code = told["response"]["statusCode"].as_u64().and_then(|code| u16::try_from(code).ok());
                (code.filter(|code| (400..600).contains(code)), told["error"].take())
            }
            None => {
                let text = String::from_utf8_lossy(body);
                let text = if text.is_empty() { String::new() } else { format!(", {text}") };
                let message = format!("Request failed with status {} {reason}{text}", status.as_u16());
                (None, json!({"name": "Error", "message": message}))
            }
        };
        let code = code.unwrap_or(status.as_u16());
        let refusal = Refusal { cause };
        if status == reqwest::StatusCode::NOT_FOUND {
            // As a rule somebody asked for an entity that doesn't exist.
            tracing::debug!(url = self.0.url, reason = %refusal, "the catalog knows no such thing");
        } else if status == reqwest::StatusCode::UNAUTHORIZED {
            tracing::warn!(
                url = self.0.url,
                reason = %refusal,
                "the catalog does not accept this service's tokens; Backstage verifies them with the keys it finds at its \
                 discovery.endpoints for scaffolder, so that must name this service"
            );
        } else {
            tracing::warn!(url = self.0.url, status = code, reason = %refusal, "the catalog refused");
        }
        ActionError::new(ErrorName::ResponseError, format!("Request failed with {code} {reason}"))
            .with_status(code)
            .with_source(refusal)
    }

    fn unreachable(&self, error: reqwest::Error, patience: Duration) -> ActionError {
        let reason = if error.is_timeout() {
            format!("it did not answer within {} seconds", patience.as_secs_f64())
        } else {
            understudy_scm::request_failure(error)
        };
        tracing::warn!(url = self.0.url, reason, "the catalog can't be asked");
        ActionError::new(
            ErrorName::Other("ServiceUnavailableError".into()),
            format!("The catalog at {} can't be asked: {reason}", self.0.url),
        )
    }

    fn unusable(&self, what: &str) -> ActionError {
        ActionError::failed(format!("The answer of the catalog at {} {what}", self.0.url))
    }
}

/// The catalog in somebody's name.
struct AsSeen {
    catalog: RemoteCatalog,
    credentials: Credentials,
}

impl AsSeen {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), ActionError> {
        self.catalog.call(&self.credentials, method, path, body, self.catalog.0.patience).await
    }
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Option<Entity>>,
}

#[async_trait]
impl Catalog for AsSeen {
    async fn entity_by_ref(&self, entity_ref: &EntityRef) -> Result<Option<Entity>, ActionError> {
        // Nothing is called so, and as segments of a path they would lead elsewhere in the catalog.
        if [&entity_ref.kind, &entity_ref.namespace, &entity_ref.name]
            .iter()
            .any(|part| matches!(part.as_str(), "" | "." | ".."))
        {
            return Ok(None);
        }
        let part = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
        let path = format!(
            "/entities/by-name/{}/{}/{}",
            part(&entity_ref.kind),
            part(&entity_ref.namespace),
            part(&entity_ref.name)
        );
        match self.call(Method::GET, &path, None).await {
            Ok((_, entity)) => Ok(Some(entity)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn entities_by_refs(&self, refs: &[String]) -> Result<Vec<Option<Entity>>, ActionError> {
        let (_, body) = self.call(Method::POST, "/entities/by-refs", Some(&json!({ "entityRefs": refs }))).await?;
        let Items { items } = serde_json::from_value(body)
            .map_err(|error| self.catalog.unusable(&format!("to entities/by-refs can't be read: {error}")))?;
        if items.len() != refs.len() {
            return Err(self.catalog.unusable("to entities/by-refs has another number of items than was asked for"));
        }
        Ok(items)
    }

    async fn add_location(&self, kind: &str, target: &str, dry_run: bool) -> Result<LocationAnswer, ActionError> {
        let path = if dry_run { "/locations?dryRun=true" } else { "/locations" };
        let body = json!({"type": kind, "target": target});
        let (status, answer) =
            self.catalog.call(&self.credentials, Method::POST, path, Some(&body), LOCATION_PATIENCE).await?;
        if status != 201 {
            let reason = reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            let reason = reason.unwrap_or_default();
            return Err(ActionError::new(ErrorName::ResponseError, format!("Request failed with {status} {reason}")));
        }
        if !answer["location"].is_object() {
            return Err(ActionError::failed(format!("Location wasn't added: {target}")));
        }
        let entities = answer["entities"].as_array().cloned().unwrap_or_default();
        Ok(LocationAnswer { entities, exists: answer["exists"].as_bool() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::{
        config::{AuthConfig, AuthPolicy, DatabaseConfig, KeyStoreConfig},
        discovery::Endpoint,
        store::SqliteStore,
    };

    async fn catalog(url: &str, patience: Duration) -> RemoteCatalog {
        let endpoint = Endpoint { internal: Some(url.into()), external: None, plugins: vec!["catalog".into()] };
        let discovery = Discovery::new(&[endpoint], "http://localhost:7007", ([127, 0, 0, 1], 7007).into());
        let config =
            AuthConfig { policy: AuthPolicy::Disabled, external: Vec::new(), key_store: KeyStoreConfig::Database };
        let scm = understudy_scm::Scm::from_config(&json!({})).unwrap();
        let http = scm.http_client().unwrap();
        let store = Arc::new(SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap());
        let auth = Auth::new(&config, &discovery, store, http).unwrap();
        let RemoteCatalog(inner) = RemoteCatalog::new(&discovery, auth.clone(), http.clone());
        RemoteCatalog(Arc::new(Inner { http: http.clone(), url: inner.url.clone(), auth, patience }))
    }

    #[tokio::test]
    async fn a_catalog_that_hangs_or_is_gone_is_unavailable() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/api/{{{{pluginId}}}}", listener.local_addr().unwrap());
        let entity_ref = EntityRef::parse("template:default/x", None, None).unwrap();
        let hanging = catalog(&url, Duration::from_millis(200)).await;
        assert!(hanging.url().ends_with("/api/catalog"));
        let seen = hanging.factory()(&Credentials::none());
        let error = seen.entity_by_ref(&entity_ref).await.unwrap_err();
        assert_eq!(error.name().to_string(), "ServiceUnavailableError");
        assert!(error.message().ends_with("can't be asked: it did not answer within 0.2 seconds"), "{error}");
        drop(listener);
        let gone = catalog(&url, Duration::from_secs(20)).await.factory()(&Credentials::none());
        let error = gone.entities_by_refs(&["a:b/c".into()]).await.unwrap_err();
        assert!(error.message().contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn refusals_keep_status_and_cause() {
        let catalog = catalog("http://localhost:1/api", PATIENCE).await;
        let body = json!({"error": {"name": "NotAllowedError", "message": "no"}, "response": {"statusCode": 403}});
        let error = catalog.refused(reqwest::StatusCode::FORBIDDEN, true, body.to_string().as_bytes());
        assert_eq!(
            (error.to_string(), error.status()),
            ("ResponseError: Request failed with 403 Forbidden".into(), Some(403))
        );
        let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Refusal>()).unwrap();
        assert_eq!(cause.to_string(), "NotAllowedError: no");
        let error = catalog.refused(reqwest::StatusCode::BAD_GATEWAY, false, b"<html>");
        assert_eq!(error.status(), Some(502));
        let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Refusal>()).unwrap();
        assert_eq!(cause.cause["message"], "Request failed with status 502 Bad Gateway, <html>");
        // Nobody may choose our status at will.
        let odd = json!({"error": {}, "response": {"statusCode": 200}});
        assert_eq!(
            catalog.refused(reqwest::StatusCode::NOT_FOUND, true, odd.to_string().as_bytes()).status(),
            Some(404)
        );
    }
}
