//! Who asks.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use serde_json::{Map, Value};
use understudy_sdk::{EntityRef, Secret};

use super::{ApiState, edge, error::ApiError};
use crate::{
    audit::Origin,
    auth::{Credentials, INITIATOR_SECRET, Principal, TOKEN_SECRET},
    model::UserSpec,
};

/// The plugin whose token a retried task gets as its `backstageToken`.
const CATALOG: &str = "catalog";

/// The principal behind a request, as the [barrier](super::barrier) found it. Every handler takes one.
pub(super) struct Caller {
    credentials: Credentials,
    http: HttpRequest,
}

impl Caller {
    /// What the caller has shown.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }
    /// How the caller asks, for the audit log.
    pub(super) fn origin(&self) -> Origin {
        edge::origin(&self.http)
    }
    /// The user's entity reference, `None` for services and anonymous callers.
    pub(super) fn user_ref(&self) -> Option<&str> {
        self.credentials.user_ref()
    }
    /// Refuses anonymous callers, also where the rest of the API serves them.
    pub(super) fn not_anonymous(&self) -> Result<(), ApiError> {
        match self.credentials.principal {
            Principal::None => Err(ApiError::new("AuthenticationError", "Missing credentials")),
            _ => Ok(()),
        }
    }
    /// Refuses all but users.
    pub(super) fn only_users(&self) -> Result<(), ApiError> {
        self.not_anonymous()?;
        match self.credentials.principal {
            Principal::User { .. } => Ok(()),
            _ => Err(ApiError::new("NotAllowedError", "This endpoint does not allow 'service' credentials")),
        }
    }
    /// Whether a user asks without a plugin in between.
    pub(super) fn is_user_directly(&self) -> bool {
        matches!(self.credentials.principal, Principal::User { actor: None, .. })
    }
    /// The caller as a task's spec keeps it.
    ///
    /// # Errors
    /// The catalog can't be asked for the user's entity; that it has none is no error.
    pub(super) async fn user_spec(&self, state: &ApiState) -> Result<UserSpec, ApiError> {
        let Some(user_ref) = self.user_ref() else { return Ok(UserSpec::default()) };
        let entity_ref = EntityRef::parse(user_ref, Some("user"), None)?;
        let entity = state.catalog_for(self).entity_by_ref(&entity_ref).await?;
        Ok(UserSpec { entity, entity_ref: Some(user_ref.to_string()) })
    }
    /// The secrets of a new task: the caller's own ones joined with what the engine needs to act for the caller later
    /// (`@backstage/plugin-scaffolder-backend` 4.2.0, router).
    pub(super) fn task_secrets(&self, secrets: Map<String, Value>) -> Map<String, Value> {
        self.joined(secrets, self.credentials.token.as_ref())
    }
    /// The secrets of a task that is tried again. Upstream gives it a token for the catalog in the place of the caller's.
    ///
    /// # Errors
    /// No such token can be made.
    pub(super) async fn retry_secrets(
        &self,
        state: &ApiState,
        secrets: Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        let token = state.auth.plugin_token(&self.credentials, CATALOG).await?;
        Ok(self.joined(secrets, token.as_ref()))
    }

    /// The secrets of a dry run, which is over before anybody needs to act for the caller later.
    pub(super) fn dry_run_secrets(&self, mut secrets: Map<String, Value>) -> Map<String, Value> {
        if let Some(token) = &self.credentials.token {
            secrets.insert(TOKEN_SECRET.into(), token.expose().into());
        }
        secrets
    }

    fn joined(&self, mut secrets: Map<String, Value>, token: Option<&Secret>) -> Map<String, Value> {
        secrets.shift_remove(TOKEN_SECRET);
        if let Some(token) = token {
            secrets.insert(TOKEN_SECRET.into(), token.expose().into());
        }
        secrets.insert(INITIATOR_SECRET.into(), self.credentials.to_stored().expose().into());
        secrets
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(http: &HttpRequest, _: &mut Payload) -> Self::Future {
        let credentials = http.extensions().get::<Credentials>().cloned();
        // Nobody came through the barrier: better no answer than one to a stranger.
        let missing = || ApiError::new("AuthenticationError", "Missing credentials");
        ready(credentials.map(|credentials| Self { credentials, http: http.clone() }).ok_or_else(missing))
    }
}
