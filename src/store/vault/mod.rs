//! Tasks' secrets in the database: encrypted, each with the id of its key, and of use in the row of its task only.
//!
//! What is stored is a JSON object, as Backstage's is: Backstage's scaffolder parses the column of the next task in its
//! queue and would stop at anything else. Secrets that were stored unencrypted stay readable.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::keys::Key;
use super::{StoreError, rows::to_json};
use crate::config::{DatabaseConfig, SecretsConfig};

/// The only member of an encrypted column. No task has a secret of this name alone: `backstageToken` and
/// `__initiatorCredentials` are always there.
const MEMBER: &str = "understudy:sealed";
/// Stands before the task's id in what is authenticated but not encrypted.
const CONTEXT: &str = "understudy/tasks.secrets/v1/";

/// Encrypts and decrypts the secrets of tasks (AES-256-GCM, a random nonce each).
#[derive(Default)]
pub struct Vault {
    /// The key that encrypts; `None`: secrets are written as they are.
    sealing: Option<usize>,
    /// All that decrypt.
    keys: Vec<Key>,
    lost: Vec<String>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| key.id.as_str()).collect();
        f.debug_struct("Vault").field("sealing", &self.sealing).field("keys", &ids).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Version of the format.
    v: u32,
    /// The key's id.
    key: String,
    /// Base64 of nonce, ciphertext and tag.
    data: String,
}

/// Why secrets can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum VaultError {
    #[error(
        "its secrets were encrypted with the key '{0}', which this process does not have: give it to all replicas \
         (scaffolder.secrets.encryption.keys), then retry the task with its secrets"
    )]
    UnknownKey(String),
    #[error(
        "its secrets were encrypted with the key '{0}', which is lost (scaffolder.secrets.encryption.lostKeys); retry the \
         task with its secrets"
    )]
    LostKey(String),
    #[error(
        "its secrets can't be decrypted with the key '{0}': another key has this id, or the row was changed; retry the task \
         with its secrets"
    )]
    Refused(String),
    #[error("its secrets can't be read: {0}")]
    Malformed(String),
}

impl Vault {
    /// The vault that a configuration asks for. Without configured keys: for a SQLite file a key in the file
    /// `<database>.key`, which is made when it is missing; for PostgreSQL one derived from the first shared secret of
    /// `backend.auth`; else there is none, and secrets are written as they are.
    ///
    /// # Errors
    /// [`StoreError::Key`] when a key can't be read or made.
    pub fn of(config: &SecretsConfig, database: &DatabaseConfig) -> Result<Self, StoreError> {
        let mut keys = config.keys.iter().map(Key::configured).collect::<Result<Vec<_>, _>>()?;
        let configured = !keys.is_empty();
        if let DatabaseConfig::SqliteFile(path) = database {
            let make = config.encrypt && !configured;
            keys.extend(Key::beside(path, make)?);
        }
        if !matches!(database, DatabaseConfig::SqliteMemory) {
            for secret in &config.shared {
                keys.push(Key::shared(&secret.0)?);
            }
        }
        if config.encrypt && keys.is_empty() && !matches!(database, DatabaseConfig::SqliteMemory) {
            tracing::warn!(
                "secrets of tasks are stored unencrypted while a task waits or runs: there is no key that all replicas \
                 know. Set scaffolder.secrets.encryption.keys, or scaffolder.secrets.encryption: false to be content"
            );
        }
        let sealing = (config.encrypt && !keys.is_empty()).then_some(0);
        Ok(Self { sealing, keys, lost: config.lost_keys.clone() })
    }

    /// The column's text for a task's secrets.
    pub(super) fn seal(&self, task_id: &str, secrets: &Map<String, Value>) -> Result<String, StoreError> {
        let mut data = to_json(secrets)?.into_bytes();
        let Some(key) = self.sealing.and_then(|index| self.keys.get(index)) else {
            return to_json(secrets);
        };
        let failed = || StoreError::Key("the system gives no random numbers, so nothing can be encrypted".to_string());
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| failed())?;
        key.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), context(task_id), &mut data)
            .map_err(|_| failed())?;
        let data = STANDARD.encode([&nonce[..], &data].concat());
        let sealed = Sealed { v: 1, key: key.id.clone(), data };
        to_json(&BTreeMap::from([(MEMBER, sealed)]))
    }

    /// The secrets of a column's text.
    pub(super) fn open(&self, task_id: &str, text: &str) -> Result<Map<String, Value>, VaultError> {
        let malformed = |error: serde_json::Error| VaultError::Malformed(error.to_string());
        let mut stored: Map<String, Value> = serde_json::from_str(text).map_err(malformed)?;
        if stored.len() != 1 {
            return Ok(stored);
        }
        let Some(sealed) = stored.remove(MEMBER) else { return Ok(stored) };
        let sealed: Sealed = serde_json::from_value(sealed).map_err(malformed)?;
        if sealed.v != 1 {
            let reason = format!("they were encrypted by a newer version (format {})", sealed.v);
            return Err(VaultError::Malformed(reason));
        }
        let mut data = STANDARD.decode(&sealed.data).map_err(|error| VaultError::Malformed(error.to_string()))?;
        let Some(key) = self.keys.iter().find(|key| key.id == sealed.key) else {
            let is_lost = self.lost.contains(&sealed.key);
            return Err(if is_lost { VaultError::LostKey(sealed.key) } else { VaultError::UnknownKey(sealed.key) });
        };
        let plain = decrypt(&key.key, task_id, &mut data).ok_or(VaultError::Refused(sealed.key))?;
        serde_json::from_slice(plain).map_err(malformed)
    }

    /// Makes sure that the secrets of tasks that wait or run (id and column) can be read: without them these tasks could
    /// only fail.
    ///
    /// # Errors
    /// A key is unknown, or is another one than the one that encrypted.
    pub(super) fn check(&self, tasks: &[(String, String)]) -> Result<(), String> {
        let mut by_key: BTreeMap<String, (usize, usize, bool)> = BTreeMap::new();
        for (id, text) in tasks {
            let (key, known, is_good) = match self.open(id, text) {
                Err(VaultError::UnknownKey(key)) => (key, false, false),
                Err(VaultError::Refused(key)) => (key, true, false),
                Err(_) => continue,
                Ok(_) => match key_of(text) {
                    Some(key) => (key, true, true),
                    None => continue,
                },
            };
            let found = by_key.entry(key).or_insert((0, 0, known));
            found.0 += 1;
            found.1 += usize::from(is_good);
        }
        // One row that was tampered with is that task's problem; a key that opens none is ours.
        let Some((key, (count, _, known))) = by_key.iter().find(|(_, (_, good, _))| *good == 0) else { return Ok(()) };
        let (what, source) = if *known {
            ("is another one here", keys::source_of(key))
        } else {
            ("is not among this process's", keys::source_of(key))
        };
        Err(format!(
            "{count} tasks that wait or run have secrets encrypted with the key '{key}', which {what}. It comes from \
             {source}; give it back. If it is lost for good, add its id to scaffolder.secrets.encryption.lostKeys: these \
             tasks fail then, and can be retried with their secrets"
        ))
    }
}

fn context(task_id: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("{CONTEXT}{task_id}").into_bytes())
}

/// The plain text in `data` (nonce, ciphertext, tag).
fn decrypt<'d>(key: &LessSafeKey, task_id: &str, data: &'d mut [u8]) -> Option<&'d [u8]> {
    let (nonce, sealed) = data.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    key.open_in_place(nonce, context(task_id), sealed).ok().map(|plain| &*plain)
}

/// The id of the key that a column was encrypted with.
fn key_of(text: &str) -> Option<String> {
    let stored: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
    Some(stored.get(MEMBER)?.get("key")?.as_str()?.to_string())
}
