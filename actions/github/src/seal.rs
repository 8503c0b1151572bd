//! Secrets for GitHub Actions, encrypted so that only GitHub can read them.

use base64::{Engine, engine::general_purpose::STANDARD};
use crypto_box::{PublicKey, aead::OsRng};
use http::{Method, StatusCode};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use understudy_sdk::{ActionContext, ActionError, Secret};

use crate::{
    client::{Client, Route},
    error::ApiError,
};

/// The key GitHub gives for a repository or environment.
#[derive(Debug, Deserialize)]
pub(crate) struct SealingKey {
    key_id: String,
    key: String,
}

/// The body of a request that sets a secret.
#[derive(Debug, Serialize)]
pub(crate) struct SealedSecret {
    encrypted_value: String,
    key_id: String,
}

impl SealingKey {
    /// Seals a value (libsodium's `crypto_box_seal`).
    ///
    /// # Errors
    /// GitHub's key is none.
    pub(crate) fn seal(&self, value: &Secret) -> Result<SealedSecret, ActionError> {
        let unusable = |reason: String| {
            ActionError::failed(format!(
                "The public key '{}' that GitHub gave for secrets can't be used: {reason}",
                self.key_id
            ))
        };
        let bytes = STANDARD.decode(&self.key).map_err(|error| unusable(error.to_string()))?;
        let key = PublicKey::from_slice(&bytes)
            .map_err(|_| unusable(format!("it has {} bytes, 32 were expected", bytes.len())))?;
        let sealed = key
            .seal(&mut OsRng, value.expose().as_bytes())
            .map_err(|_| unusable("the value could not be encrypted with it".to_string()))?;
        Ok(SealedSecret { encrypted_value: STANDARD.encode(sealed), key_id: self.key_id.clone() })
    }
}

/// Sets secrets, each sealed with the key that GitHub gives below `route` (`…/secrets`). A secret that is there already gets
/// the value again: GitHub never tells what it was.
///
/// # Errors
/// What GitHub refuses, or its key can't be used.
pub(crate) async fn put_secrets(
    ctx: &ActionContext,
    client: &Client<'_>,
    route: &Route,
    secrets: &IndexMap<String, Secret>,
) -> Result<(), ApiError> {
    if secrets.is_empty() {
        return Ok(());
    }
    let key: SealingKey = client.get(&route.below("public-key")?).await?;
    for (name, value) in secrets {
        let sealed = key.seal(value)?;
        let status = client.send(&Method::PUT, &route.below(name)?, Some(&sealed)).await?;
        if status == StatusCode::NO_CONTENT {
            ctx.log.info(format!("The secret {name} was there already; its value is set again"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crypto_box::SecretKey;

    use super::*;

    #[test]
    fn the_owner_of_the_key_reads_it_back() {
        let secret = SecretKey::generate(&mut OsRng);
        let key = SealingKey { key_id: "k".into(), key: STANDARD.encode(secret.public_key().as_bytes()) };
        let sealed = key.seal(&Secret::new("grüße")).unwrap();
        assert_eq!(sealed.key_id, "k");
        let opened = secret.unseal(&STANDARD.decode(sealed.encrypted_value).unwrap()).unwrap();
        assert_eq!(opened, "grüße".as_bytes());
    }

    #[test]
    fn a_bad_key_is_named() {
        for (key, part) in [("!!", "k7"), ("AAAA", "3 bytes")] {
            let error = SealingKey { key_id: "k7".into(), key: key.into() }.seal(&Secret::new("x")).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }
}
