//! What a caller may do: questions to Backstage's permission backend, and its conditions applied.
//!
//! As `@backstage/plugin-permission-node` 0.11.4 does: users are decided by the permission backend, where
//! `permission.enabled` is set; services are decided here, by the access restrictions of their token; callers without
//! credentials, who only exist where authentication is off, are asked about without a token. A backend that can't be
//! asked, or whose answer can't be understood, allows nothing.

mod client;
mod condition;
pub mod known;
pub mod path;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;
use understudy_sdk::{ActionError, ErrorName};

pub use condition::{Condition, NoCondition};
pub use known::{Permission, ResourceType};
pub use rules::{Resource, Rule, RuleError};

use crate::{
    auth::{Auth, AuthError, Credentials, Principal},
    discovery::Discovery,
    store::CreatorFilter,
};

/// The plugin that decides.
const PLUGIN: &str = "permission";

/// An answer of the permission backend.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny,
    /// Yes for the resources for which this holds.
    Conditional(Condition),
}

/// Why something is not allowed, or can't be decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionError {
    /// The policy says no.
    #[error("the policy does not allow it")]
    Denied,
    /// The permission backend can't be asked, or its answer can't be understood.
    #[error("the permission backend at {url} can't be asked: {reason}")]
    Unavailable {
        /// What was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The permission backend does not accept our token.
    #[error("{message}")]
    Refused {
        /// 401 or 403.
        status: u16,
        /// Upstream's words.
        message: String,
    },
    /// The decision's conditions can't be applied.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// There is no token to ask with.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl From<PermissionError> for ActionError {
    fn from(error: PermissionError) -> Self {
        let name = match error {
            PermissionError::Rule(error) => return error.into(),
            PermissionError::Auth(error) => return error.into(),
            PermissionError::Denied => ErrorName::NotAllowedError,
            PermissionError::Unavailable { .. } => ErrorName::Other("ServiceUnavailableError".to_string()),
            PermissionError::Refused { status, message } => {
                return Self::new(ErrorName::ResponseError, message).with_status(status);
            }
        };
        Self::new(name, error.to_string())
    }
}

impl From<RuleError> for ActionError {
    fn from(error: RuleError) -> Self {
        match &error {
            RuleError::Params(issues) => Self::input(format!("{error}; caused by {issues}")),
            RuleError::Tags => Self::new(ErrorName::Other("TypeError".to_string()), error.to_string()),
            RuleError::Unknown { .. } => Self::failed(error.to_string()),
        }
    }
}

/// Decides what callers may do. Cheap to clone.
#[derive(Clone)]
pub struct Permissions {
    auth: Auth,
    backend: Option<Arc<Backend>>,
}

struct Backend {
    client: client::Client,
    discovery: Discovery,
}

impl Permissions {
    /// Users are decided by the permission backend.
    pub fn enabled(auth: Auth, discovery: Discovery, http: reqwest::Client) -> Self {
        Self { auth, backend: Some(Arc::new(Backend { client: client::Client::new(http), discovery })) }
    }

    /// Without `permission.enabled`: users may do everything, services what their token's restrictions say.
    pub fn disabled(auth: Auth) -> Self {
        Self { auth, backend: None }
    }

    /// One decision for each permission.
    ///
    /// # Errors
    /// They can't be decided; [`PermissionError::Denied`] is none of the reasons.
    pub async fn decide(
        &self,
        credentials: &Credentials,
        permissions: &[Permission],
    ) -> Result<Vec<Decision>, PermissionError> {
        if let Principal::Service { restrictions, .. } = &credentials.principal {
            return Ok(permissions
                .iter()
                .map(|permission| {
                    let allowed = restrictions
                        .as_ref()
                        .is_none_or(|restrictions| restrictions.allow(permission.name, permission.action));
                    if allowed { Decision::Allow } else { Decision::Deny }
                })
                .collect());
        }
        let Some(backend) = &self.backend else { return Ok(vec![Decision::Allow; permissions.len()]) };
        let token = match credentials.principal {
            Principal::None => None,
            _ => self.auth.plugin_token(credentials, PLUGIN).await?,
        };
        let url = backend.discovery.internal(PLUGIN);
        let decided = backend.client.authorize(&url, token.as_ref(), permissions).await;
        if let Err(error) = &decided {
            let names: Vec<_> = permissions.iter().map(|permission| permission.name).collect();
            tracing::error!(permissions = names.join(", "), "nothing is allowed: {error}");
        }
        decided
    }

    /// Whether basic permissions are all granted.
    ///
    /// # Errors
    /// [`PermissionError::Denied`] when one is not, and as [`Permissions::decide`].
    pub async fn require(&self, credentials: &Credentials, permissions: &[Permission]) -> Result<(), PermissionError> {
        let decisions = self.decide(credentials, permissions).await?;
        if decisions.iter().all(|decision| *decision == Decision::Allow) {
            Ok(())
        } else {
            Err(PermissionError::Denied)
        }
    }

    /// Whether the permissions are all granted for this resource.
    ///
    /// # Errors
    /// As [`Permissions::require`].
    pub async fn require_on(
        &self,
        credentials: &Credentials,
        permissions: &[Permission],
        resource: &Resource<'_>,
    ) -> Result<(), PermissionError> {
        for decision in self.decide(credentials, permissions).await? {
            if !decision.holds(resource)? {
                return Err(PermissionError::Denied);
            }
        }
        Ok(())
    }

    /// The tasks that the caller may read; `None` means all.
    ///
    /// # Errors
    /// As [`Permissions::require`].
    pub async fn readable_tasks(&self, credentials: &Credentials) -> Result<Option<CreatorFilter>, PermissionError> {
        match self.decide(credentials, &[known::TASK_READ]).await?.pop() {
            Some(Decision::Allow) => Ok(None),
            Some(Decision::Conditional(condition)) => Ok(Some(condition.creators()?)),
            Some(Decision::Deny) | None => Err(PermissionError::Denied),
        }
    }
}

impl Decision {
    /// Whether it allows this resource.
    ///
    /// # Errors
    /// Its conditions can't be applied.
    pub fn holds(&self, resource: &Resource<'_>) -> Result<bool, RuleError> {
        match self {
            Self::Allow => Ok(true),
            Self::Deny => Ok(false),
            Self::Conditional(condition) => condition.holds(resource),
        }
    }

    /// Whether it allows an action with this rendered input.
    ///
    /// An action on a group (`gitlab:group:ensureExists`) can be told the group by its number, which no rule about its
    /// path matches. Then the conditions must hold for each path they speak of, so that a number is no way around them
    /// (upstream 4.2.0, `NunjucksWorkflowRunner`).
    ///
    /// # Errors
    /// Its conditions can't be applied.
    pub fn allows_action(&self, id: &str, input: &Value) -> Result<bool, RuleError> {
        if !self.holds(&Resource::Action { id, input })? {
            return Ok(false);
        }
        let Self::Conditional(condition) = self else { return Ok(true) };
        let by_number = match input.get("path") {
            Some(Value::Number(_)) => true,
            Some(Value::String(text)) => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            _ => false,
        };
        if !by_number || !id.split(':').any(|segment| segment == "group") {
            return Ok(true);
        }
        for (rule, params) in condition.rules() {
            let param = |name: &str| params.and_then(|params| params.get(name)).and_then(Value::as_str);
            let (Some(key), Some(path)) = (param("key"), param("value")) else { continue };
            if rule != "HAS_STRING_PROPERTY" || path::parts(key).join(".") != "path" {
                continue;
            }
            let mut named = input.clone();
            named["path"] = path.into();
            if !condition.holds(&Resource::Action { id, input: &named })? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
