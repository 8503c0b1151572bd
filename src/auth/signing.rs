//! The keys this service signs with: made here and changed every hour, or given by the operator.
//!
//! As `DatabasePluginKeySource` and `StaticConfigPluginKeySource` of `@backstage/backend-defaults` 0.18.0: a key is made
//! when it is needed, its public half stays published for three hours, so that what was signed with it can be verified as
//! long as it is valid.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use camino::Utf8Path;
use chrono::Utc;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use super::{
    AuthError,
    jwt::{unsigned, with_signature},
};
use crate::{
    config::{KeyStoreConfig, StaticKey},
    store::{KeyStore, StoredKey},
};

/// A key signs for so long; tokens are valid as long as that.
pub(super) const KEY_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long its public half is published.
const PUBLISHED: Duration = Duration::from_secs(3 * 60 * 60);
/// What stands before the point of a P-256 key in a SubjectPublicKeyInfo (RFC 5480).
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key of `backend.auth.pluginKeyStore.static` can't be used.
#[derive(Debug, thiserror::Error)]
#[error("backend.auth.pluginKeyStore: {path}: {reason}")]
pub struct KeyFileError {
    path: String,
    reason: String,
}

/// A key pair for ES256.
pub(super) struct SigningKey {
    id: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    fn generate() -> Result<Self, AuthError> {
        let failed = || AuthError::Keys("the system has no random numbers for a signing key".into());
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| failed())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|_| failed())?;
        Ok(Self { id: uuid::Uuid::new_v4().to_string(), pair })
    }

    fn public(&self) -> Value {
        jwk(&self.id, self.pair.public_key().as_ref())
    }

    /// A token of this type with these claims.
    pub(super) fn sign(&self, typ: &str, claims: &Value) -> Result<String, AuthError> {
        let header = json!({"typ": typ, "alg": "ES256", "kid": self.id});
        let unsigned = unsigned(&header, claims);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), unsigned.as_bytes())
            .map_err(|_| AuthError::Keys("the system has no random numbers for a signature".into()))?;
        Ok(with_signature(unsigned, signature.as_ref()))
    }
}

/// The key as JSON. A point of P-256 is 04, then x and y of 32 bytes each.
fn jwk(id: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(32);
    json!({"kty": "EC", "x": BASE64.encode(x), "y": BASE64.encode(y), "crv": "P-256", "kid": id, "alg": "ES256"})
}

/// Where keys come from.
pub(super) enum SigningKeys {
    /// Made here.
    Made { store: Arc<dyn KeyStore>, current: Mutex<Option<(Arc<SigningKey>, Instant)>> },
    /// Given.
    Given { signing: Arc<SigningKey>, public: Vec<Value> },
}

impl SigningKeys {
    pub(super) fn new(config: &KeyStoreConfig, store: Arc<dyn KeyStore>) -> Result<Self, KeyFileError> {
        match config {
            KeyStoreConfig::Database => Ok(Self::Made { store, current: Mutex::default() }),
            KeyStoreConfig::Static(keys) => Self::given(keys),
        }
    }

    fn given(keys: &[StaticKey]) -> Result<Self, KeyFileError> {
        let mut signing = None;
        let mut public = Vec::new();
        for key in keys {
            let jwk = jwk(&key.id, &public_point(&key.public_file)?);
            if let (None, Some(file)) = (&signing, &key.private_file) {
                let made = SigningKey { id: key.id.clone(), pair: private_key(file)? };
                if made.public() != jwk {
                    let reason = format!("it is not the private half of {}", key.public_file);
                    return Err(KeyFileError { path: file.to_string(), reason });
                }
                signing = Some(Arc::new(made));
            }
            public.push(jwk);
        }
        let signing = signing.ok_or_else(|| KeyFileError {
            path: "static.keys".to_string(),
            reason: "no key has a privateKeyFile to sign with".to_string(),
        })?;
        Ok(Self::Given { signing, public })
    }

    /// The key to sign with now.
    pub(super) async fn signing(&self) -> Result<Arc<SigningKey>, AuthError> {
        let (store, current) = match self {
            Self::Given { signing, .. } => return Ok(Arc::clone(signing)),
            Self::Made { store, current } => (store, current),
        };
        let mut current = current.lock().await;
        if let Some((key, made)) = &*current
            && made.elapsed() < KEY_LIFETIME
        {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SigningKey::generate()?);
        let stored = StoredKey { id: key.id.clone(), key: key.public(), expires_at: Utc::now() + PUBLISHED };
        let made = Instant::now();
        // Before the first signature: whoever gets a token can fetch its key.
        store.add_key(&stored).await.map_err(|error| AuthError::Keys(error.to_string().into()))?;
        tracing::info!(key_id = key.id, "made a new signing key");
        *current = Some((Arc::clone(&key), made));
        Ok(key)
    }

    /// The public keys, to be published.
    pub(super) async fn public(&self) -> Result<Vec<Value>, AuthError> {
        let store = match self {
            Self::Given { public, .. } => return Ok(public.clone()),
            Self::Made { store, .. } => store,
        };
        let keys = store.keys().await.map_err(|error| AuthError::Keys(error.to_string().into()))?;
        let now = Utc::now();
        let (expired, valid): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.expires_at < now);
        if !expired.is_empty() {
            let ids: Vec<_> = expired.into_iter().map(|key| key.id).collect();
            if let Err(error) = store.remove_keys(&ids).await {
                tracing::warn!(%error, "public keys that have expired could not be removed");
            }
        }
        Ok(valid.into_iter().map(|key| key.key).collect())
    }
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, KeyFileError> {
    std::fs::read(path).map_err(|error| KeyFileError { path: path.to_string(), reason: error.to_string() })
}

fn private_key(path: &Utf8Path) -> Result<EcdsaKeyPair, KeyFileError> {
    let failed = |reason: String| KeyFileError { path: path.to_string(), reason };
    let wanted = "a PEM file with a PRIVATE KEY (PKCS#8) for P-256 is wanted, as `openssl genpkey -algorithm EC -pkeyopt \
                  ec_paramgen_curve:P-256` writes it";
    let pem = zeroize::Zeroizing::new(read(path)?);
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| failed(wanted.to_string()))?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &SystemRandom::new())
        .map_err(|error| failed(format!("{error}; {wanted}")))
}

/// The 65 bytes of the public key's point.
fn public_point(path: &Utf8Path) -> Result<Vec<u8>, KeyFileError> {
    let wanted = || KeyFileError {
        path: path.to_string(),
        reason: "a PEM file with a PUBLIC KEY for P-256 is wanted, as `openssl pkey -pubout` writes it".to_string(),
    };
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&read(path)?).map_err(|_| wanted())?;
    match der.strip_prefix(&P256_INFO) {
        Some(point) if point.len() == 65 && point[0] == 4 => Ok(point.to_vec()),
        _ => Err(wanted()),
    }
}
