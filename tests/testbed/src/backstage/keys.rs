//! Tokens of Backstage: made, taken apart, verified. Independent of the service's own code, which is what they test.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json};

use crate::{Error, Result};

/// A key pair for ES256.
pub(super) struct Key {
    pub(super) id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(super) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let failed = |detail: &dyn std::fmt::Display| Error::unexpected("making a key", detail.to_string());
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|error| failed(&error))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|error| failed(&error))?;
        Ok(Self { id: uuid::Uuid::new_v4().to_string(), pair })
    }

    /// The public half.
    pub(super) fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.id, "alg": "ES256",
            "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
        })
    }

    /// A token of this type.
    pub(super) fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = json!({"typ": typ, "alg": "ES256", "kid": self.id});
        let signed = unsigned(&header, claims);
        format!("{signed}.{}", self.signature(&signed))
    }

    /// A signature's text.
    pub(super) fn signature(&self, signed: &str) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        // Signing fails only when the system has no random numbers.
        signature.map(|signature| BASE64.encode(signature)).unwrap_or_default()
    }
}

/// Header and claims, encoded.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

/// Header and claims of a token; nobody has checked its signature.
pub(super) fn parts(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.').map(|part| serde_json::from_slice(&BASE64.decode(part).ok()?).ok());
    Some((parts.next()??, parts.next()??))
}

/// Whether a token is signed with one of these public keys.
pub(super) fn is_signed(token: &str, keys: &[Value]) -> bool {
    let Some((header, _)) = parts(token) else { return false };
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let Some(key) = keys.iter().find(|key| key["kid"] == header["kid"] && header["alg"] == "ES256") else {
        return false;
    };
    let part = |name: &str| BASE64.decode(key[name].as_str().unwrap_or_default()).unwrap_or_default();
    let point = [&[4][..], &part("x"), &part("y")].concat();
    let signature = BASE64.decode(signature).unwrap_or_default();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
}
