//! How a GitHub App proves who it is: a JSON Web Token signed with its private key (RS256).

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::{
    SignatureScheme,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use serde_json::json;
use understudy_sdk::Secret;

/// GitHub's clock may be behind ours.
const BACKDATED: u64 = 60;
/// GitHub allows ten minutes from issue to expiry.
const LIFETIME: u64 = 9 * 60;

/// An App's private key.
#[derive(Clone)]
pub(super) struct AppKey(Arc<dyn SigningKey>);

impl AppKey {
    /// Reads a PEM text (PKCS #1, as GitHub hands it out, or PKCS #8). Line breaks may be written as `\n`, which is how
    /// keys survive in environment variables.
    ///
    /// # Errors
    /// What is wrong with it, without showing any of it.
    pub(super) fn from_pem(pem: &Secret) -> Result<Self, String> {
        let text = pem.expose().replace("\\n", "\n");
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| "it is not a private key in PEM ('-----BEGIN RSA PRIVATE KEY-----' …)".to_string())?;
        let key = ring::sign::any_supported_type(&der)
            .map_err(|_| "it is not an RSA key of at least 2048 bits".to_string())?;
        let key = Self(key);
        key.sign(b"").map(|_| key)
    }

    /// A token of the App that can be used for some minutes.
    ///
    /// # Errors
    /// The key can't sign.
    pub(super) fn token(&self, app_id: u64) -> Result<Secret, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "RS256", "typ": "JWT"}));
        // As text: that is what GitHub's own libraries send, and every GitHub Enterprise Server takes it.
        let issuer = app_id.to_string();
        let claims = part(json!({"iat": now.saturating_sub(BACKDATED), "exp": now + LIFETIME, "iss": issuer}));
        let message = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())?);
        Ok(Secret::new(format!("{message}.{signature}")))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signer = self.0.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signer = signer.ok_or_else(|| "it is not an RSA key".to_string())?;
        signer.sign(message).map_err(|error| format!("it can't sign: {error}"))
    }
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppKey")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_rsa_key_is_refused_without_showing_it() {
        let curve = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n";
        for (pem, reason) in [
            ("hunter2", "it is not a private key in PEM"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\naGk=\n-----END RSA PRIVATE KEY-----\n",
                "it is not an RSA key of at least",
            ),
            (curve, "it is not an RSA key"),
        ] {
            let error = AppKey::from_pem(&Secret::new(pem)).unwrap_err();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
