//! `scaffolder.secrets`: how tasks' secrets are kept in the database.

use camino::Utf8PathBuf;
use understudy_sdk::Secret;

use super::{AuthConfig, ConfigError, ExternalKind, LoadOptions, reader::Reader};

/// The fewest characters a key's secret is made of: 24 random bytes in base64.
const MIN_LENGTH: usize = 32;
/// The most characters of a key's id.
const MAX_ID: usize = 64;

/// `scaffolder.secrets.encryption`
#[derive(Debug, Clone)]
pub struct SecretsConfig {
    /// Whether secrets are written encrypted, if there is a key. Those that are encrypted are read in any case.
    pub encrypt: bool,
    /// The first encrypts, all decrypt. Empty: nothing is configured.
    pub keys: Vec<EncryptionKey>,
    /// Keys that are known to be gone: tasks whose secrets need one of them fail, instead of keeping the service from
    /// starting.
    pub lost_keys: Vec<String>,
    /// The shared secrets of `backend.auth` (`externalAccess` of the type `legacy`, and `keys`), in order: all replicas
    /// have them, so keys can be derived where none are configured.
    pub shared: Vec<SharedSecret>,
}

/// A secret that all replicas have.
#[derive(Clone)]
pub struct SharedSecret(pub zeroize::Zeroizing<Vec<u8>>);

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(***)")
    }
}

impl Default for SecretsConfig {
    /// Encrypted, if a key can be had.
    fn default() -> Self {
        Self { encrypt: true, keys: Vec::new(), lost_keys: Vec::new(), shared: Vec::new() }
    }
}

/// An item of `keys`.
#[derive(Debug, Clone)]
pub struct EncryptionKey {
    /// `id`: stored with what was encrypted.
    pub id: String,
    /// What the key is derived from.
    pub source: KeySource,
}

/// Where a key comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// `secret`: a text of 32 characters or more.
    Text(Secret),
    /// `file`: a file that holds such a text. White space around it does not count.
    File(Utf8PathBuf),
}

/// Why a text can't be the secret of a key.
///
/// # Errors
/// It is too short.
pub fn check_key_text(text: &str) -> Result<(), String> {
    if text.chars().count() < MIN_LENGTH {
        return Err(format!("a key has at least {MIN_LENGTH} characters; `openssl rand -base64 32` makes a good one"));
    }
    Ok(())
}

pub(super) fn read(
    scaffolder: &Reader<'_>,
    auth: &AuthConfig,
    options: &LoadOptions,
) -> Result<SecretsConfig, ConfigError> {
    let shared = auth.external.iter().filter_map(|access| match &access.kind {
        ExternalKind::Legacy { secret, .. } => Some(SharedSecret(secret.clone())),
        _ => None,
    });
    let mut config = SecretsConfig { shared: shared.collect(), ..SecretsConfig::default() };
    let place = scaffolder.at("secrets.encryption")?;
    match place.value() {
        None => return Ok(config),
        Some(serde_json::Value::Object(_)) => {}
        Some(_) => {
            let encrypt = place.boolean().map_err(|_| place.expected("true, false, or an object with keys"))?;
            config.encrypt = encrypt.unwrap_or(true);
            return Ok(config);
        }
    }
    for (name, member) in place.members()? {
        if !["enabled", "keys", "lostKeys"].contains(&name.as_str()) {
            return Err(member.wrong("not known here; enabled, keys, lostKeys may stand here"));
        }
    }
    config.encrypt = place.at("enabled")?.boolean()?.unwrap_or(true);
    config.lost_keys = place.at("lostKeys")?.strings()?.unwrap_or_default();
    for item in place.at("keys")?.items()? {
        let key = key(&item, options)?;
        if config.keys.iter().any(|other| other.id == key.id) {
            return Err(item.at("id")?.wrong(&format!("the id {} is given to two keys", key.id)));
        }
        config.keys.push(key);
    }
    Ok(config)
}

fn key(item: &Reader<'_>, options: &LoadOptions) -> Result<EncryptionKey, ConfigError> {
    let place = item.at("id")?;
    let id = place.string()?.ok_or_else(|| place.expected("a text"))?;
    if id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(place.wrong("an id has up to 64 letters, digits, '.', '_' and '-'"));
    }
    let (secret, file) = (item.at("secret")?, item.at("file")?);
    let source = match (secret.string()?, file.string()?) {
        (Some(text), None) => {
            check_key_text(text).map_err(|reason| secret.wrong(&reason))?;
            KeySource::Text(Secret::new(text))
        }
        (None, Some(path)) => KeySource::File(options.root.join(path)),
        _ => return Err(item.wrong("a key has either a secret or a file")),
    };
    Ok(EncryptionKey { id: id.to_string(), source })
}
