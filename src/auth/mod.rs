//! Who asks, and in whose name we ask others.
//!
//! [`Auth`] verifies what callers show ([`Auth::authenticate`]) and makes the tokens for calls to other plugins of
//! Backstage ([`Auth::plugin_token`]). Order, texts and rules are those of `@backstage/backend-defaults` 0.18.0
//! (`DefaultAuthService`): a token of a plugin, of a user, of external access, in this order.

mod credentials;
mod external;
mod jwk;
mod jwt;
mod key_set;
mod plugin;
mod signing;
#[cfg(test)]
mod tests;
mod user;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ring::digest;
use serde_json::{Value, json};
use understudy_sdk::{ActionError, ErrorName, Secret};

pub use credentials::{
    AccessRestrictions, Credentials, CredentialsError, INITIATOR_SECRET, Principal, RestrictionsByPlugin, TOKEN_SECRET,
};
pub use signing::KeyFileError;
pub use user::LimitedToken;

use self::{
    external::ExternalTokens,
    key_set::KeySet,
    plugin::PluginTokens,
    signing::{KEY_LIFETIME, SigningKeys},
    user::UserTokens,
};
use crate::{
    config::{AuthConfig, AuthPolicy},
    discovery::{Discovery, OWN_PLUGIN},
    store::KeyStore,
};

/// A token that we made is used again until this much of its time is left.
const REUSE_MARGIN: TimeDelta = TimeDelta::minutes(1);
/// How many of them are kept.
const KEPT_TOKENS: usize = 1000;

/// Why a caller is refused, or a call can't be made in somebody's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The credentials show nobody we know (`AuthenticationError`, 401); upstream's texts.
    #[error("{0}")]
    UnknownCaller(Cow<'static, str>),
    /// The credentials are not good for this (`NotAllowedError`, 403); upstream's texts.
    #[error("{0}")]
    NotAllowed(String),
    /// The user's token has ended meanwhile, as a rule while a task was waiting or running (`AuthenticationError`, 401).
    #[error(
        "the token of {user} expired at {expired_at}, so the plugin '{target}' can't be asked on their behalf any more; \
         retry the task to run it with a fresh token. To avoid this, let tokens live longer \
         (auth.backstageTokenExpiration in Backstage's configuration), or start long tasks with a token of \
         backend.auth.externalAccess, whose access does not end"
    )]
    Expired {
        /// Who.
        user: String,
        /// When, ISO 8601.
        expired_at: String,
        /// Whom we wanted to ask.
        target: String,
    },
    /// Our own keys can't be made, kept or read.
    #[error("the keys this service signs with can't be used: {0}")]
    Keys(Cow<'static, str>),
}

impl AuthError {
    fn unknown_caller(message: impl Into<Cow<'static, str>>) -> Self {
        Self::UnknownCaller(message.into())
    }
    /// The class name of upstream's error.
    pub fn name(&self) -> ErrorName {
        match self {
            Self::UnknownCaller(_) | Self::Expired { .. } => ErrorName::AuthenticationError,
            Self::NotAllowed(_) => ErrorName::NotAllowedError,
            Self::Keys(_) => ErrorName::Error,
        }
    }
}

impl From<AuthError> for ActionError {
    fn from(error: AuthError) -> Self {
        Self::new(error.name(), error.to_string())
    }
}

/// Verifies credentials and makes tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    policy: AuthPolicy,
    users: UserTokens,
    plugins: PluginTokens,
    external: ExternalTokens,
    keys: Arc<SigningKeys>,
    made: Mutex<MadeTokens>,
}

/// Tokens for other plugins, by a digest of the user's token (`None`: our own name) and target.
type MadeTokens = HashMap<(Option<[u8; 32]>, String), MadeToken>;

#[derive(Clone)]
struct MadeToken {
    token: Secret,
    expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}

impl Auth {
    /// For `backend.auth`. Nothing is fetched and no key is made before it is needed. `http` follows no redirects.
    ///
    /// # Errors
    /// A key file of `pluginKeyStore` can't be used.
    pub fn new(
        config: &AuthConfig,
        discovery: &Discovery,
        store: Arc<dyn KeyStore>,
        http: &reqwest::Client,
    ) -> Result<Self, KeyFileError> {
        let keys = Arc::new(SigningKeys::new(&config.key_store, store)?);
        let user_keys = discovery.is_elsewhere("auth").then(|| {
            KeySet::of_backstage(http.clone(), format!("{}/.well-known/jwks.json", discovery.internal("auth")))
        });
        Ok(Self(Arc::new(Inner {
            policy: config.policy,
            users: UserTokens::new(user_keys),
            plugins: PluginTokens::new(http.clone(), discovery.clone(), Arc::clone(&keys)),
            external: ExternalTokens::new(&config.external, http),
            keys,
            made: Mutex::default(),
        })))
    }

    /// Whether requests without credentials are refused.
    pub fn requires_credentials(&self) -> bool {
        self.0.policy == AuthPolicy::Required
    }

    /// Whose token this is. A token that is sent must be good even where none is needed.
    ///
    /// # Errors
    /// [`AuthError::UnknownCaller`], [`AuthError::NotAllowed`] in upstream's words.
    pub async fn authenticate(&self, bearer: Option<&str>) -> Result<Credentials, AuthError> {
        match bearer {
            Some(token) => self.verify(token, false).await,
            None if self.requires_credentials() => Err(AuthError::unknown_caller("Missing credentials")),
            None => Ok(Credentials::none()),
        }
    }

    async fn verify(&self, token: &str, limited_allowed: bool) -> Result<Credentials, AuthError> {
        let inner = &self.0;
        if let Some(plugin) = inner.plugins.verify(token).await? {
            let Some(obo) = plugin.on_behalf_of else { return Ok(Credentials::service(plugin.subject)) };
            let user = inner.users.verify(&obo).await?;
            let user = user.ok_or_else(|| AuthError::unknown_caller("Invalid user token in plugin token obo claim"))?;
            return Ok(Credentials::user(
                user.entity_ref,
                Some(plugin.subject),
                Secret::new(obo),
                Some(user.expires_at),
            ));
        }
        if let Some(user) = inner.users.verify(token).await? {
            if user.is_limited && !limited_allowed {
                return Err(AuthError::unknown_caller("Illegal limited user token"));
            }
            return Ok(Credentials::user(user.entity_ref, None, Secret::new(token), Some(user.expires_at)));
        }
        match inner.external.verify(token).await? {
            Some(credentials) => Ok(credentials),
            None => Err(AuthError::unknown_caller("Illegal token")),
        }
    }

    /// This service itself.
    pub fn own_credentials(&self) -> Credentials {
        Credentials::service(format!("plugin:{OWN_PLUGIN}"))
    }

    /// A token for a call to another plugin in somebody's name; `None` for nobody, where nobody needs credentials.
    ///
    /// # Errors
    /// [`AuthError::Expired`], [`AuthError::NotAllowed`] when the caller's access can't be passed on,
    /// [`AuthError::UnknownCaller`], [`AuthError::Keys`].
    pub async fn plugin_token(
        &self,
        on_behalf_of: &Credentials,
        target_plugin: &str,
    ) -> Result<Option<Secret>, AuthError> {
        let (name, limited) = match &on_behalf_of.principal {
            Principal::None if self.requires_credentials() => {
                return Err(AuthError::unknown_caller("Refused to issue service token for credential type 'none'"));
            }
            Principal::None => return Ok(None),
            Principal::Service { restrictions, .. } => {
                if restrictions.is_some() {
                    may_delegate(on_behalf_of, target_plugin)?;
                }
                (None, None)
            }
            Principal::User { entity_ref, .. } => {
                if let Some(end) = on_behalf_of.expires_at.filter(|_| on_behalf_of.have_expired()) {
                    return Err(AuthError::Expired {
                        user: entity_ref.clone(),
                        expired_at: end.to_rfc3339_opts(SecondsFormat::Secs, true),
                        target: target_plugin.to_string(),
                    });
                }
                let limited = self.limited_user_token(on_behalf_of)?;
                let digest = digest::digest(&digest::SHA256, limited.token.expose().as_bytes());
                (<[u8; 32]>::try_from(digest.as_ref()).ok(), Some(limited))
            }
        };
        let key = (name, target_plugin.to_string());
        let now = Utc::now();
        let known = self.made().get(&key).filter(|known| known.expires_at - REUSE_MARGIN > now).cloned();
        if let Some(known) = known {
            return Ok(Some(known.token));
        }
        let made = self.make(target_plugin, limited, now).await?;
        let token = made.token.clone();
        let mut kept = self.made();
        if kept.len() >= KEPT_TOKENS {
            kept.retain(|_, made| made.expires_at - REUSE_MARGIN > now);
            if kept.len() >= KEPT_TOKENS {
                kept.clear();
            }
        }
        kept.insert(key, made);
        Ok(Some(token))
    }

    async fn make(
        &self,
        target_plugin: &str,
        on_behalf_of: Option<LimitedToken>,
        now: DateTime<Utc>,
    ) -> Result<MadeToken, AuthError> {
        let key = self.0.keys.signing().await?;
        let issued = now.timestamp();
        let lifetime = i64::try_from(KEY_LIFETIME.as_secs()).unwrap_or(i64::MAX);
        let mut end = issued.saturating_add(lifetime);
        if let Some(user) = &on_behalf_of {
            end = end.min(user.expires_at.timestamp());
        }
        let mut claims = json!({"sub": OWN_PLUGIN, "aud": target_plugin, "iat": issued, "exp": end});
        if let Some(user) = on_behalf_of {
            claims["obo"] = user.token.expose().into();
        }
        let token = Secret::new(key.sign(plugin::PLUGIN, &claims)?);
        Ok(MadeToken { token, expires_at: DateTime::from_timestamp(end, 0).unwrap_or(now) })
    }

    fn made(&self) -> std::sync::MutexGuard<'_, MadeTokens> {
        self.0.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that shows the user of these credentials and is good for cookies.
    ///
    /// # Errors
    /// They are no user's, or their token can't be made into one.
    pub fn limited_user_token(&self, credentials: &Credentials) -> Result<LimitedToken, AuthError> {
        match &credentials.token {
            Some(token) => user::limited(token),
            None => Err(AuthError::unknown_caller("User credentials is unexpectedly missing token")),
        }
    }

    /// When the token in a cookie ends; `None` when it is none of a user, or not a good one.
    ///
    /// # Errors
    /// [`AuthError::NotAllowed`], [`AuthError::Keys`].
    pub async fn limited_token_expiry(&self, cookie: &str) -> Result<Option<DateTime<Utc>>, AuthError> {
        match self.verify(cookie, true).await {
            Ok(credentials) => Ok(credentials.user_ref().and(credentials.expires_at)),
            Err(AuthError::UnknownCaller(_) | AuthError::Expired { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The public keys that verify our tokens, to be published.
    ///
    /// # Errors
    /// [`AuthError::Keys`].
    pub async fn public_keys(&self) -> Result<Vec<Value>, AuthError> {
        self.0.keys.public().await
    }
}

/// Whether a restricted service's access to us reaches as far as another plugin.
fn may_delegate(credentials: &Credentials, target: &str) -> Result<(), AuthError> {
    let of_target = credentials.all_restrictions.as_ref().and_then(|all| all.get(target));
    match of_target {
        None => Err(AuthError::NotAllowed(format!(
            "Access to target plugin '{target}' is not included in token's access restrictions"
        ))),
        Some(restrictions) if restrictions.are_partial() => Err(AuthError::NotAllowed(format!(
            "Access to target plugin '{target}' is restricted and cannot be delegated"
        ))),
        Some(_) => Ok(()),
    }
}
