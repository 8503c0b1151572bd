//! Tokens of other plugins (`@backstage/backend-defaults` 0.18.0, `DefaultPluginTokenHandler`).

use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use indexmap::IndexMap;
use tokio::sync::Semaphore;

use super::{
    AuthError,
    jwk::{self, Jwk},
    jwt::{Expected, JwtError, Unverified},
    key_set::KeySet,
    signing::SigningKeys,
};
use crate::discovery::{Discovery, OWN_PLUGIN};

/// The type of such tokens.
pub(super) const PLUGIN: &str = "vnd.backstage.plugin";
const REQUIRED: [&str; 4] = ["iat", "exp", "sub", "aud"];
/// How many plugins' keys are kept.
const KEPT: usize = 100;
/// How many plugins that nobody has heard of may be looked for at the same time: anybody can name one.
const FIRST_CONTACTS: usize = 8;

/// A plugin whose token was verified.
pub(super) struct VerifiedPlugin {
    /// `plugin:<id>`
    pub(super) subject: String,
    /// The limited token of the user it acts for.
    pub(super) on_behalf_of: Option<String>,
}

/// Verifies tokens of plugins.
pub(super) struct PluginTokens {
    http: reqwest::Client,
    discovery: Discovery,
    keys: Arc<SigningKeys>,
    known: Mutex<IndexMap<String, Arc<KeySet>>>,
    first_contacts: Semaphore,
}

impl PluginTokens {
    /// `keys`: our own, for tokens that we issued ourselves.
    pub(super) fn new(http: reqwest::Client, discovery: Discovery, keys: Arc<SigningKeys>) -> Self {
        Self { http, discovery, keys, known: Mutex::default(), first_contacts: Semaphore::new(FIRST_CONTACTS) }
    }

    /// The plugin a token names; `None` when it is no token of a plugin.
    pub(super) async fn verify(&self, token: &str) -> Result<Option<VerifiedPlugin>, AuthError> {
        let Ok(token) = Unverified::parse(token) else { return Ok(None) };
        if token.typ() != Some(PLUGIN) {
            return Ok(None);
        }
        let Some(plugin) = token.text("sub").filter(|sub| !sub.is_empty()) else {
            return Err(AuthError::unknown_caller("Invalid plugin token: missing subject"));
        };
        if !plugin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            return Err(AuthError::unknown_caller("Invalid plugin token: forbidden subject format"));
        }
        let ours = [OWN_PLUGIN.to_string()];
        let expected = Expected { typ: Some(PLUGIN), audiences: &ours, required: &REQUIRED, ..Expected::default() };
        // The claims cost nothing, so they come first: no keys are fetched for what is refused anyway.
        let outcome = match token.check(&expected, Utc::now()) {
            Ok(()) if plugin == OWN_PLUGIN => self.verify_own(&token).await,
            Ok(()) => self.verify_others(plugin, &token).await?,
            refused => refused,
        };
        if let Err(reason) = outcome {
            tracing::warn!(plugin, %reason, "a plugin's token was refused");
            return Err(AuthError::unknown_caller("Failed plugin token verification"));
        }
        let on_behalf_of = match token.claims.get("obo") {
            None | Some(serde_json::Value::Null) => None,
            Some(obo) => Some(obo.as_str().unwrap_or_default().to_string()),
        };
        Ok(Some(VerifiedPlugin { subject: format!("plugin:{plugin}"), on_behalf_of }))
    }

    async fn verify_own(&self, token: &Unverified<'_>) -> Result<(), JwtError> {
        let keys = self.keys.public().await.map_err(|error| JwtError::Keys(error.to_string()))?;
        let keys = Jwk::of_set(&serde_json::json!({ "keys": keys })).unwrap_or_default();
        jwk::verify(&keys, token, "this service")
    }

    async fn verify_others(&self, plugin: &str, token: &Unverified<'_>) -> Result<Result<(), JwtError>, AuthError> {
        let known = self.known().get(plugin).cloned();
        if let Some(keys) = known {
            return Ok(keys.verify(token).await);
        }
        let unreachable = || {
            AuthError::unknown_caller(format!(
                "Received a plugin token where the source '{plugin}' plugin unexpectedly does not have a JWKS endpoint. The \
                 target plugin needs to be migrated to be installed in an app using the new backend system."
            ))
        };
        if !self.discovery.is_elsewhere(plugin) {
            return Err(unreachable());
        }
        // The semaphore is never closed; without a permit the token is as good as unknown.
        let Ok(_contact) = self.first_contacts.acquire().await else { return Err(unreachable()) };
        let url = format!("{}/.backstage/auth/v1/jwks.json", self.discovery.internal(plugin));
        let keys = Arc::new(KeySet::of_backstage(self.http.clone(), url));
        let outcome = keys.verify(token).await;
        if keys.has_keys() {
            let mut known = self.known();
            if known.len() >= KEPT {
                known.shift_remove_index(0);
            }
            known.insert(plugin.to_string(), keys);
            return Ok(outcome);
        }
        match outcome {
            Err(JwtError::Keys(reason)) => {
                tracing::warn!(plugin, reason, "a plugin's token can't be verified");
                Err(unreachable())
            }
            other => Ok(other),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, IndexMap<String, Arc<KeySet>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
