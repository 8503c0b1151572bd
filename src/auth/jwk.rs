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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair},
    };
    use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
    use serde_json::json;

    use super::{
        super::jwt::{unsigned, with_signature},
        *,
    };

    fn check(keys: &Value, token: &str) -> Result<(), JwtError> {
        verify(&Jwk::of_set(&json!({ "keys": keys })).unwrap(), &Unverified::parse(token).unwrap(), "here")
    }

    fn rsa() -> (RsaKeyPair, Value) {
        let output = std::process::Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
            .output()
            .expect("openssl is needed: install it (Debian: openssl)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document = PrivatePkcs8KeyDer::from_pem_slice(&output.stdout).unwrap();
        let pair = RsaKeyPair::from_pkcs8(document.secret_pkcs8_der()).unwrap();
        let public: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
        (pair, json!({"kty": "RSA", "kid": "r", "n": BASE64.encode(&public.n), "e": BASE64.encode(&public.e)}))
    }

    fn rsa_token(pair: &RsaKeyPair, algorithm: &str, encoding: &'static dyn RsaEncoding) -> String {
        let text = unsigned(&json!({"alg": algorithm, "kid": "r"}), &json!({"sub": "x"}));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        with_signature(text, &signature)
    }

    #[test]
    fn keys_of_other_issuers() {
        let (pair, key) = rsa();
        let (pkcs1, pss) = (rsa_token(&pair, "RS256", &RSA_PKCS1_SHA256), rsa_token(&pair, "PS512", &RSA_PSS_SHA512));
        for token in [&pkcs1, &pss] {
            assert_eq!(check(&json!([key]), token), Ok(()));
        }
        // A key that says what it is for is for nothing else.
        let mut narrow = key.clone();
        narrow["alg"] = "RS256".into();
        assert_eq!(check(&json!([narrow]), &pkcs1), Ok(()));
        assert!(matches!(check(&json!([narrow]), &pss), Err(JwtError::NoKey(_))));
        for (member, value) in [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("kid", json!("other"))] {
            let mut other = key.clone();
            other[member] = value;
            assert!(matches!(check(&json!([other]), &pkcs1), Err(JwtError::NoKey(_))), "{member}");
        }
        assert!(matches!(check(&json!([key, key]), &pkcs1), Err(JwtError::Keys(_))));

        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.public_key())});
        let text = unsigned(&json!({"alg": "EdDSA"}), &json!({}));
        let token = with_signature(text.clone(), pair.sign(text.as_bytes()).as_ref());
        assert_eq!(check(&json!([{"kty": "oct", "k": "x"}, 5, key]), &token), Ok(()));
        assert_eq!(check(&json!([key]), &with_signature(text, b"x")), Err(JwtError::Signature));
    }

    #[test]
    fn no_key_is_used_with_another_kind_of_algorithm() {
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": "AA", "y": "AA"});
        for algorithm in ["none", "HS256", "HS512", "ES256K", "ES512", "", "es256"] {
            let token = with_signature(unsigned(&json!({"alg": algorithm, "kid": "k"}), &json!({})), b"x");
            assert_eq!(check(&json!([key]), &token), Err(JwtError::Algorithm(algorithm.to_string())));
        }
        let token = |algorithm: &str| with_signature(unsigned(&json!({"alg": algorithm}), &json!({})), b"x");
        for algorithm in ["RS256", "EdDSA", "ES384"] {
            assert!(matches!(check(&json!([key]), &token(algorithm)), Err(JwtError::NoKey(_))), "{algorithm}");
        }
        // Coordinates that are none.
        assert!(matches!(check(&json!([key]), &token("ES256")), Err(JwtError::Keys(_))));
    }
}
