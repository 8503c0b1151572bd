//! Where the keys come from.

use std::io::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use camino::{Utf8Path, Utf8PathBuf};
use ring::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf::{self, HKDF_SHA256, Prk, Salt},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    config::{EncryptionKey, KeySource, check_key_text},
    store::StoreError,
};

/// What ids of keys begin with that nobody configured.
const FILE: &str = "file-";
const SHARED: &str = "auth-";

/// A key with its id.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) key: LessSafeKey,
}

/// So many bytes.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What keys are derived from; the salt keeps them apart from other uses of the same secret.
fn derive(secret: &[u8]) -> Prk {
    Salt::new(HKDF_SHA256, b"understudy task secrets").extract(secret)
}

fn aead(derived: &Prk) -> Result<LessSafeKey, StoreError> {
    // HKDF refuses more than 255 blocks; this is one.
    let okm =
        derived.expand(&[b"key v1"], &AES_256_GCM).map_err(|_| StoreError::Key("no key can be derived".into()))?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

/// Eight digits that tell keys without a configured id apart, and say nothing about them.
fn fingerprint(derived: &Prk) -> Result<String, StoreError> {
    let failed = |_| StoreError::Key("no key can be derived".to_string());
    let mut digits = [0; 4];
    derived.expand(&[b"id v1"], Length(4)).and_then(|okm| okm.fill(&mut digits)).map_err(failed)?;
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Key {
    /// A key of `scaffolder.secrets.encryption.keys`.
    pub(super) fn configured(key: &EncryptionKey) -> Result<Self, StoreError> {
        let text = match &key.source {
            KeySource::Text(text) => Zeroizing::new(text.expose().to_string()),
            KeySource::File(path) => read(path)?,
        };
        Ok(Self { id: key.id.clone(), key: aead(&derive(text.as_bytes()))? })
    }

    /// The key in the file beside a SQLite database; `make`: made when it is missing.
    pub(super) fn beside(database: &Utf8Path, make: bool) -> Result<Option<Self>, StoreError> {
        let path = Utf8PathBuf::from(format!("{database}.key"));
        let exists = path.try_exists().map_err(|error| unusable(&path, &error.to_string()))?;
        if !exists {
            if !make {
                return Ok(None);
            }
            create(&path).map_err(|error| unusable(&path, &format!("it can't be made: {error}")))?;
        }
        let derived = derive(read(&path)?.as_bytes());
        Ok(Some(Self { id: format!("{FILE}{}", fingerprint(&derived)?), key: aead(&derived)? }))
    }

    /// A key derived from a secret of `backend.auth`.
    pub(super) fn shared(secret: &[u8]) -> Result<Self, StoreError> {
        let derived = derive(secret);
        Ok(Self { id: format!("{SHARED}{}", fingerprint(&derived)?), key: aead(&derived)? })
    }
}

/// Where the key with this id is to be looked for.
pub(super) fn source_of(id: &str) -> &'static str {
    if id.starts_with(FILE) {
        "the file <database>.key beside the SQLite database"
    } else if id.starts_with(SHARED) {
        "a secret of backend.auth (externalAccess of the type legacy, or keys)"
    } else {
        "scaffolder.secrets.encryption.keys"
    }
}

fn unusable(path: &Utf8Path, reason: &str) -> StoreError {
    StoreError::Key(format!("the key file {path} can't be used: {reason}"))
}

fn read(path: &Utf8Path) -> Result<Zeroizing<String>, StoreError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| unusable(path, &error.to_string()))?;
    let text = Zeroizing::new(text.trim().to_string());
    check_key_text(&text).map_err(|reason| unusable(path, &reason))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Container platforms mount secrets readable for a group; everybody is another matter.
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
            tracing::warn!(%path, "a key file is open to all users of this machine");
        }
    }
    Ok(text)
}

/// Writes a new key, readable for this user only, at once or not at all. One that somebody else made just now stays.
fn create(path: &Utf8Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    crate::store::sqlite::make_directory(dir)?;
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    // Such files have mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "{}", *Zeroizing::new(STANDARD.encode(*bytes)))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    // The name must survive as long as what it encrypts.
    std::fs::File::open(dir)?.sync_all()
}
