//! The public halves of the keys that this service signs with.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::StoreError;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its `kid`.
    pub id: String,
    /// The JSON Web Key.
    pub key: Value,
    /// From then on nobody needs it.
    pub expires_at: DateTime<Utc>,
}

/// The table `backstage_backend_public_keys__keys` of `@backstage/backend-defaults` 0.18.0 (`DatabaseKeyStore`): every
/// process that uses the database adds the keys it signs with, and publishes all of them.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Adds a key.
    async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError>;
    /// All keys, those that have expired too.
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError>;
    /// Removes keys by id.
    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError>;
}

impl StoredKey {
    /// A key of a row's texts; `expires_at` is written by JavaScript's `toISOString`.
    pub(super) fn from_row(id: String, key: &str, expires_at: &str) -> Result<Self, StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt { what: format!("the public key '{id}'"), reason };
        let key = serde_json::from_str(key).map_err(|error| corrupt(error.to_string()))?;
        let expires_at = DateTime::parse_from_rfc3339(expires_at).map_err(|error| corrupt(error.to_string()))?;
        Ok(Self { id, key, expires_at: expires_at.with_timezone(&Utc) })
    }
    /// `expires_at` as the column holds it.
    pub(super) fn expiry_text(&self) -> String {
        self.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }
}
