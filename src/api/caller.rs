//! Who asks.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde_json::{Map, Value, json};

use understudy_sdk::EntityRef;

use super::{ApiState, error::ApiError};
use crate::model::UserSpec;

/// The principal behind a request. Every handler that reads or changes tasks takes one, so that authentication has one
/// place to happen: this extractor.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    principal: Principal,
}

/// Kinds of principals.
#[derive(Debug, Clone)]
enum Principal {
    /// Nobody in particular: the service runs without authentication.
    Anonymous,
}

impl Caller {
    /// The user's entity reference, `None` for services and anonymous callers.
    pub(super) fn user_ref(&self) -> Option<&str> {
        match self.principal {
            Principal::Anonymous => None,
        }
    }
    /// The caller as a task's spec keeps it.
    ///
    /// # Errors
    /// The catalog can't be asked for the user's entity; that it has none is no error.
    pub(super) async fn user_spec(&self, state: &ApiState) -> Result<UserSpec, ApiError> {
        let Some(user_ref) = self.user_ref() else { return Ok(UserSpec::default()) };
        let entity = state.catalog.entity_by_ref(&EntityRef::parse(user_ref, Some("user"), None)?).await?;
        Ok(UserSpec { entity, entity_ref: Some(user_ref.to_string()) })
    }
    /// The caller's own secrets joined with what the engine needs to act for the caller later
    /// (`@backstage/plugin-scaffolder-backend` 4.2.0, `createTask`).
    pub(super) fn task_secrets(&self, mut secrets: Map<String, Value>) -> Map<String, Value> {
        let principal = match self.principal {
            Principal::Anonymous => json!({"type": "none"}),
        };
        let credentials = json!({"$$type": "@backstage/BackstageCredentials", "version": "v1", "principal": principal});
        secrets.shift_remove("backstageToken");
        secrets.insert("__initiatorCredentials".into(), Value::String(credentials.to_string()));
        secrets
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self { principal: Principal::Anonymous }))
    }
}
