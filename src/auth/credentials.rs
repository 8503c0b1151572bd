//! Who asks, as Backstage describes it.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use understudy_sdk::{Secret, Secrets};

pub use crate::model::{AccessRestrictions, RestrictionsByPlugin};

/// The secret of a task that holds its initiator's credentials.
pub const INITIATOR_SECRET: &str = "__initiatorCredentials";
/// The secret of a task that holds a token of its initiator.
pub const TOKEN_SECRET: &str = "backstageToken";

/// Somebody, or something, or nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular; only where no credentials are asked for.
    None,
    /// A user.
    User {
        /// `user:default/jane`
        entity_ref: String,
        /// The service that acts for the user: `plugin:<id>`.
        actor: Option<String>,
    },
    /// Another plugin (`plugin:<id>`) or a client with external access.
    Service {
        /// `plugin:catalog`, or what `backend.auth.externalAccess` says.
        subject: String,
        /// What it may do here; `None`: everything.
        restrictions: Option<AccessRestrictions>,
    },
}

/// A principal with the token that shows it.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who.
    pub principal: Principal,
    /// The user's token; services have none (their calls are made in our own name).
    pub token: Option<Secret>,
    /// When the token ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// What a restricted service may do with each plugin.
    pub(super) all_restrictions: Option<Arc<RestrictionsByPlugin>>,
}

/// Why stored credentials can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the stored credentials of the task's initiator can't be read: {0}")]
pub struct CredentialsError(String);

impl Credentials {
    /// A text that differs where anything of the credentials does. It does not tell the token.
    pub fn fingerprint(&self) -> String {
        let Self { principal, token, expires_at, all_restrictions } = self;
        let token = token.as_ref().map(|token| ring::digest::digest(&ring::digest::SHA256, token.expose().as_bytes()));
        format!("{:?}", (principal, token, expires_at, all_restrictions))
    }
    /// Nobody's.
    pub fn none() -> Self {
        Self::of(Principal::None)
    }
    /// A user's.
    pub fn user(
        entity_ref: impl Into<String>,
        actor: Option<String>,
        token: Secret,
        expires_at: Option<DateTime<Utc>>,
    ) -> Self {
        let principal = Principal::User { entity_ref: entity_ref.into(), actor };
        Self { token: Some(token), expires_at, ..Self::of(principal) }
    }
    /// A service's; it may do everything.
    pub fn service(subject: impl Into<String>) -> Self {
        Self::of(Principal::Service { subject: subject.into(), restrictions: None })
    }
    /// A service's that may do with `plugin` what the restrictions say of it.
    pub fn restricted_service(
        subject: impl Into<String>,
        plugin: &str,
        restrictions: Arc<RestrictionsByPlugin>,
    ) -> Self {
        let own = restrictions.get(plugin).cloned();
        Self {
            all_restrictions: Some(restrictions),
            ..Self::of(Principal::Service { subject: subject.into(), restrictions: own })
        }
    }
    fn of(principal: Principal) -> Self {
        Self { principal, token: None, expires_at: None, all_restrictions: None }
    }

    /// The user's entity reference.
    pub fn user_ref(&self) -> Option<&str> {
        match &self.principal {
            Principal::User { entity_ref, .. } => Some(entity_ref),
            _ => None,
        }
    }
    /// `user`, `service` or `none`.
    pub fn kind(&self) -> &'static str {
        match self.principal {
            Principal::None => "none",
            Principal::User { .. } => "user",
            Principal::Service { .. } => "service",
        }
    }
    /// Whether the token's time is over.
    pub fn have_expired(&self) -> bool {
        self.expires_at.is_some_and(|end| end <= Utc::now())
    }

    /// The text that tasks keep among their secrets (`@backstage/plugin-scaffolder-backend` 4.2.0, router: the credentials
    /// as JSON, with their token). `allAccessRestrictions` is ours; Backstage does not look at it.
    pub fn to_stored(&self) -> Secret {
        let mut stored = Map::new();
        stored.insert("$$type".into(), "@backstage/BackstageCredentials".into());
        stored.insert("version".into(), "v1".into());
        if let Some(end) = self.expires_at {
            stored.insert("expiresAt".into(), end.to_rfc3339_opts(SecondsFormat::Millis, true).into());
        }
        stored.insert("principal".into(), self.principal.to_json());
        if let Some(restrictions) = &self.all_restrictions {
            stored.insert("allAccessRestrictions".into(), json!(**restrictions));
        }
        if let Some(token) = &self.token {
            stored.insert("token".into(), token.expose().into());
        }
        Secret::new(Value::Object(stored).to_string())
    }
    /// Reads what [`Credentials::to_stored`] or Backstage wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_stored(text: &Secret) -> Result<Self, CredentialsError> {
        let wrong = |reason: &str| CredentialsError(reason.to_string());
        // The parser's own words could quote the token.
        let stored: Stored = serde_json::from_str(text.expose()).map_err(|_| wrong("it is no JSON of credentials"))?;
        if stored.kind != "@backstage/BackstageCredentials" || stored.version != "v1" {
            return Err(wrong("it is not of the type @backstage/BackstageCredentials v1"));
        }
        let principal = match stored.principal {
            StoredPrincipal::None => Principal::None,
            StoredPrincipal::User { user_entity_ref, actor } => {
                Principal::User { entity_ref: user_entity_ref, actor: actor.map(|actor| actor.subject) }
            }
            StoredPrincipal::Service { subject, access_restrictions } => {
                Principal::Service { subject, restrictions: access_restrictions }
            }
        };
        Ok(Self {
            principal,
            token: stored.token,
            expires_at: stored.expires_at,
            all_restrictions: stored.all_access_restrictions.map(Arc::new),
        })
    }
    /// The credentials among a task's secrets; nobody's where there are none.
    ///
    /// # Errors
    /// They can't be read.
    pub fn of_task(secrets: &Secrets) -> Result<Self, CredentialsError> {
        secrets.get(INITIATOR_SECRET).map_or_else(|| Ok(Self::none()), Self::from_stored)
    }
}

impl Principal {
    fn to_json(&self) -> Value {
        match self {
            Self::None => json!({"type": "none"}),
            Self::User { entity_ref, actor: None } => json!({"type": "user", "userEntityRef": entity_ref}),
            Self::User { entity_ref, actor: Some(actor) } => {
                json!({"type": "user", "userEntityRef": entity_ref, "actor": {"type": "service", "subject": actor}})
            }
            Self::Service { subject, restrictions: None } => json!({"type": "service", "subject": subject}),
            Self::Service { subject, restrictions: Some(restrictions) } => {
                json!({"type": "service", "subject": subject, "accessRestrictions": restrictions})
            }
        }
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("nobody"),
            Self::User { entity_ref, actor: None } => f.write_str(entity_ref),
            Self::User { entity_ref, actor: Some(actor) } => write!(f, "{entity_ref} through {actor}"),
            Self::Service { subject, .. } => f.write_str(subject),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(rename = "$$type")]
    kind: String,
    version: String,
    principal: StoredPrincipal,
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    all_access_restrictions: Option<RestrictionsByPlugin>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum StoredPrincipal {
    None,
    User {
        user_entity_ref: String,
        #[serde(default)]
        actor: Option<StoredActor>,
    },
    Service {
        subject: String,
        #[serde(default)]
        access_restrictions: Option<AccessRestrictions>,
    },
}

#[derive(Deserialize)]
struct StoredActor {
    subject: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_stored_as_backstage_does() {
        let user = Credentials::user(
            "user:default/jane",
            Some("plugin:mcp-actions".into()),
            Secret::new("t.t.t"),
            DateTime::from_timestamp(1_795_353_837, 0),
        );
        let text = user.to_stored();
        assert_eq!(
            text.expose(),
            r#"{"$$type":"@backstage/BackstageCredentials","version":"v1","expiresAt":"2026-11-22T13:23:57.000Z","principal":{"type":"user","userEntityRef":"user:default/jane","actor":{"type":"service","subject":"plugin:mcp-actions"}},"token":"t.t.t"}"#
        );
        let read = Credentials::from_stored(&text).unwrap();
        assert_eq!((read.principal, read.expires_at), (user.principal, user.expires_at));
        assert_eq!(read.token.unwrap().expose(), "t.t.t");
    }

    #[test]
    fn what_is_stored_comes_back() {
        let by_plugin: RestrictionsByPlugin =
            serde_json::from_value(json!({"scaffolder": {"permissionNames": ["a"]}, "catalog": {}})).unwrap();
        for credentials in [
            Credentials::none(),
            Credentials::service("external:curl"),
            Credentials::restricted_service("ci", "scaffolder", Arc::new(by_plugin.clone())),
        ] {
            let read = Credentials::from_stored(&credentials.to_stored()).unwrap();
            assert_eq!(read.principal, credentials.principal);
            assert_eq!(read.all_restrictions, credentials.all_restrictions);
            assert!(read.token.is_none() && !read.have_expired());
        }
        for wrong in [
            "",
            "{}",
            r#"{"$$type":"x","version":"v1","principal":{"type":"none"}}"#,
            r#"{"$$type":"@backstage/BackstageCredentials","version":"v1","principal":{"type":"root"},"token":"hunter2"}"#,
        ] {
            let error = Credentials::from_stored(&Secret::new(wrong)).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
