//! JSON Web Keys: which algorithm a key may be used with, and signatures checked with it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::jwt::{JwtError, Unverified};

/// A public key of a set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: String,
    x: String,
    y: String,
    n: String,
    e: String,
}

/// What an algorithm needs of its key. Shared secrets are not among them: a published key never verifies an HMAC.
enum Scheme {
    Ec { curve: &'static str, length: usize, algorithm: &'static dyn signature::VerificationAlgorithm },
    Rsa(&'static signature::RsaParameters),
    Ed25519,
}

impl Scheme {
    fn of(algorithm: &str) -> Option<Self> {
        Some(match algorithm {
            "ES256" => Self::Ec { curve: "P-256", length: 32, algorithm: &signature::ECDSA_P256_SHA256_FIXED },
            "ES384" => Self::Ec { curve: "P-384", length: 48, algorithm: &signature::ECDSA_P384_SHA384_FIXED },
            "RS256" => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            "PS384" => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            "PS512" => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            "EdDSA" => Self::Ed25519,
            _ => return None,
        })
    }
}

impl Jwk {
    /// The keys of a set; what can't be read is left out, it may be meant for others.
    pub(super) fn of_set(set: &Value) -> Option<Vec<Self>> {
        let keys = set.get("keys")?.as_array()?;
        Some(keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect())
    }

    /// Whether a token with this header could be signed with the key.
    fn fits(&self, scheme: &Scheme, token: &Unverified<'_>) -> bool {
        let kind = match scheme {
            Scheme::Ec { curve, .. } => self.kty == "EC" && self.crv == *curve,
            Scheme::Rsa(_) => self.kty == "RSA",
            Scheme::Ed25519 => self.kty == "OKP" && self.crv == "Ed25519",
        };
        kind && token.key_id().is_none_or(|id| self.kid.as_deref() == Some(id))
            && self.alg.as_deref().is_none_or(|algorithm| algorithm == token.algorithm())
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|name| name == "verify"))
    }

    fn verify(&self, scheme: &Scheme, token: &Unverified<'_>) -> Result<(), JwtError> {
        let bytes = |text: &str| BASE64.decode(text).map_err(|_| JwtError::Keys("a key is no base64url".into()));
        let verified = match scheme {
            Scheme::Ec { length, algorithm, .. } => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                if x.len() != *length || y.len() != *length {
                    return Err(JwtError::Keys("a key has coordinates of another length than its curve".into()));
                }
                let point = [&[4], x.as_slice(), &y].concat();
                UnparsedPublicKey::new(*algorithm, point).verify(token.signed(), token.signature())
            }
            Scheme::Rsa(parameters) => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                let strip = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
                let key = RsaPublicKeyComponents { n: strip(&n), e: strip(&e) };
                key.verify(parameters, token.signed(), token.signature())
            }
            Scheme::Ed25519 => {
                UnparsedPublicKey::new(&signature::ED25519, bytes(&self.x)?).verify(token.signed(), token.signature())
            }
        };
        verified.map_err(|_| JwtError::Signature)
    }
}

/// Whether an algorithm can be checked with public keys.
pub(super) fn is_known(algorithm: &str) -> bool {
    Scheme::of(algorithm).is_some()
}

/// Checks a token's signature with the key of these that fits.
///
/// # Errors
/// [`JwtError::NoKey`] when none does; `place` says whose keys they are. Several that fit are an error too: the token must
/// name the one it means, as npm `jose` 5 has it.
pub(super) fn verify(keys: &[Jwk], token: &Unverified<'_>, place: &str) -> Result<(), JwtError> {
    let algorithm = token.algorithm();
    let scheme = Scheme::of(algorithm).ok_or_else(|| JwtError::Algorithm(algorithm.to_string()))?;
    let mut fitting = keys.iter().filter(|key| key.fits(&scheme, token));
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(JwtError::NoKey(place.to_string())),
        (Some(key), None) => key.verify(&scheme, token),
        (Some(_), Some(_)) => Err(JwtError::Keys(format!("several of the keys at {place} fit"))),
    }
}
