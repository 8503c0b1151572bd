//! Tokens that the operator gave to clients: `backend.auth.externalAccess` (`@backstage/backend-defaults` 0.18.0,
//! `ExternalAuthTokenHandler`).

use std::sync::Arc;

use chrono::Utc;
use ring::{digest, hmac};
use subtle::ConstantTimeEq;

use super::{
    AuthError, Credentials, RestrictionsByPlugin,
    jwt::{Expected, JwtError, Unverified},
    key_set::KeySet,
};
use crate::{
    config::{ExternalAccess, ExternalKind},
    discovery::OWN_PLUGIN,
};

/// The subject of legacy tokens.
const LEGACY_SUBJECT: &str = "backstage-server";

/// Recognises external tokens.
pub(super) struct ExternalTokens(Vec<Handler>);

struct Handler {
    kind: Kind,
    restrictions: Option<Arc<RestrictionsByPlugin>>,
}

enum Kind {
    Static { digest: digest::Digest, subject: String },
    Legacy { key: hmac::Key, subject: String },
    Jwks { keys: KeySet, issuers: Vec<String>, algorithms: Vec<String>, audiences: Vec<String>, prefix: String },
}

impl ExternalTokens {
    pub(super) fn new(access: &[ExternalAccess], http: &reqwest::Client) -> Self {
        let handler = |access: &ExternalAccess| Handler {
            kind: Kind::of(&access.kind, http),
            restrictions: access.restrictions.clone().map(Arc::new),
        };
        Self(access.iter().map(handler).collect())
    }

    /// The first principal, in the order of the configuration, whose token this is.
    pub(super) async fn verify(&self, token: &str) -> Result<Option<Credentials>, AuthError> {
        for handler in &self.0 {
            let Some(subject) = handler.kind.subject(token).await else { continue };
            let Some(restrictions) = &handler.restrictions else { return Ok(Some(Credentials::service(subject))) };
            if !restrictions.contains_key(OWN_PLUGIN) {
                let plugins: Vec<_> = restrictions.keys().map(|plugin| format!("'{plugin}'")).collect();
                return Err(AuthError::NotAllowed(format!(
                    "This token's access is restricted to plugin(s) {}",
                    plugins.join(", ")
                )));
            }
            return Ok(Some(Credentials::restricted_service(subject, OWN_PLUGIN, Arc::clone(restrictions))));
        }
        Ok(None)
    }
}

impl Kind {
    fn of(kind: &ExternalKind, http: &reqwest::Client) -> Self {
        match kind {
            ExternalKind::Static { token, subject } => Self::Static {
                digest: digest::digest(&digest::SHA256, token.expose().as_bytes()),
                subject: subject.clone(),
            },
            ExternalKind::Legacy { secret, subject } => {
                Self::Legacy { key: hmac::Key::new(hmac::HMAC_SHA256, secret), subject: subject.clone() }
            }
            ExternalKind::Jwks { url, issuers, algorithms, audiences, subject_prefix } => Self::Jwks {
                keys: KeySet::of_others(http.clone(), url.to_string()),
                issuers: issuers.clone(),
                algorithms: algorithms.clone(),
                audiences: audiences.clone(),
                prefix: subject_prefix.as_ref().map_or_else(|| "external:".into(), |name| format!("external:{name}:")),
            },
        }
    }

    async fn subject(&self, token: &str) -> Option<String> {
        match self {
            Self::Static { digest, subject } => {
                // Digests have one length and are compared in constant time, so the time taken tells nothing of the token.
                let given = digest::digest(&digest::SHA256, token.as_bytes());
                bool::from(given.as_ref().ct_eq(digest.as_ref())).then(|| subject.clone())
            }
            Self::Legacy { key, subject } => {
                let token = Unverified::parse(token).ok()?;
                if token.algorithm() != "HS256"
                    || token.text("sub") != Some(LEGACY_SUBJECT)
                    || token.claims.contains_key("aud")
                {
                    return None;
                }
                let outcome = match hmac::verify(key, token.signed(), token.signature()) {
                    // Not an error: another secret may fit.
                    Err(_) => return None,
                    Ok(()) => token.check(&Expected::default(), Utc::now()),
                };
                told(outcome, "legacy").then(|| subject.clone())
            }
            Self::Jwks { keys, issuers, algorithms, audiences, prefix } => {
                let token = Unverified::parse(token).ok()?;
                let expected = Expected { audiences, issuers, ..Expected::default() };
                let outcome = if algorithms.is_empty() || algorithms.iter().any(|name| name == token.algorithm()) {
                    match token.check(&expected, Utc::now()) {
                        Ok(()) => keys.verify(&token).await,
                        refused => refused,
                    }
                } else {
                    Err(JwtError::Algorithm(token.algorithm().to_string()))
                };
                let subject = token.text("sub").filter(|subject| !subject.is_empty())?;
                told(outcome, "jwks").then(|| format!("{prefix}{subject}"))
            }
        }
    }
}

/// Whether a token is good; the log says why it is not.
fn told(outcome: Result<(), JwtError>, kind: &str) -> bool {
    if let Err(reason) = &outcome {
        tracing::info!(kind, %reason, "a token is none of this external access");
    }
    outcome.is_ok()
}
