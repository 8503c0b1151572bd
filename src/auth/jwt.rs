//! JSON Web Tokens in their compact form: taken apart, judged, made.
//!
//! The judgement is that of npm `jose` 5, which Backstage uses, except that clocks may differ by [`CLOCK_SKEW`]. The
//! signature is checked by the key ([`super::jwk`]), which alone decides with which algorithms it may be used.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// How far the clocks of those who make tokens may be from ours, in seconds.
const CLOCK_SKEW: f64 = 5.0;

/// Why a token is not accepted; for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    /// It has not the form of a token.
    #[error("it is no JSON Web Token: {0}")]
    Malformed(&'static str),
    /// A claim or header member is missing or wrong.
    #[error("{0}")]
    Claim(String),
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// The algorithm is not known, or not one for these keys.
    #[error("the algorithm {0:?} is not accepted")]
    Algorithm(String),
    /// No key fits.
    #[error("none of the keys at {0} fits")]
    NoKey(String),
    /// Keys can't be had.
    #[error("{0}")]
    Keys(String),
    /// The signature is wrong.
    #[error("the signature does not match")]
    Signature,
}

/// A token whose signature nobody has checked.
pub(super) struct Unverified<'t> {
    /// The header.
    pub(super) header: Map<String, Value>,
    /// The claims.
    pub(super) claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

/// What is asked of the claims.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// `typ` of the header.
    pub(super) typ: Option<&'a str>,
    /// Any of these must be among `aud`; empty: any.
    pub(super) audiences: &'a [String],
    /// Any of these must be `iss`; empty: any.
    pub(super) issuers: &'a [String],
    /// Claims that must be there.
    pub(super) required: &'a [&'a str],
}

impl<'t> Unverified<'t> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'t str) -> Result<Self, JwtError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed("it has no dots"))?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed("it has one dot"))?;
        let signature = BASE64.decode(signature).map_err(|_| JwtError::Malformed("its signature is no base64url"))?;
        Ok(Self { header: object(header)?, claims: object(claims)?, signed, signature })
    }
    /// `typ` of the header.
    pub(super) fn typ(&self) -> Option<&str> {
        self.header.get("typ").and_then(Value::as_str)
    }
    /// `alg` of the header.
    pub(super) fn algorithm(&self) -> &str {
        self.header.get("alg").and_then(Value::as_str).unwrap_or_default()
    }
    /// `kid` of the header.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }
    /// A claim that is a text.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }
    /// When it ends.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        // Milliseconds, as JavaScript reckons.
        let milliseconds = self.claims.get("exp")?.as_f64()? * 1000.0;
        DateTime::from_timestamp_millis(milliseconds as i64)
    }
    /// What the signature is of.
    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }
    /// The signature.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Judges header and claims. The signature is somebody else's business.
    pub(super) fn check(&self, expected: &Expected<'_>, now: DateTime<Utc>) -> Result<(), JwtError> {
        let wrong = |text: String| Err(JwtError::Claim(text));
        // Extensions that a token insists on and nobody here knows.
        if self.header.contains_key("crit") || self.header.contains_key("b64") {
            return wrong("its header asks for extensions".into());
        }
        if let Some(typ) = expected.typ
            && self.typ() != Some(typ)
        {
            return wrong(format!("its typ is not {typ}"));
        }
        let lists = [("iss", expected.issuers), ("aud", expected.audiences)];
        let listed = lists.iter().filter(|(_, accepted)| !accepted.is_empty()).map(|(claim, _)| claim);
        if let Some(claim) = expected.required.iter().chain(listed).find(|claim| !self.claims.contains_key(**claim)) {
            return wrong(format!("the claim {claim} is missing"));
        }
        for (claim, accepted) in lists {
            if accepted.is_empty() {
                continue;
            }
            let is_accepted =
                |value: &Value| value.as_str().is_some_and(|text| accepted.iter().any(|known| known == text));
            let fits = match self.claims.get(claim) {
                Some(Value::Array(values)) if claim == "aud" => values.iter().any(is_accepted),
                Some(value) => is_accepted(value),
                None => false,
            };
            if !fits {
                return wrong(format!("the claim {claim} is not one of {}", accepted.join(", ")));
            }
        }
        let time = |claim: &str| match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(time) => Ok(Some(time)),
                None => Err(JwtError::Claim(format!("the claim {claim} is no number"))),
            },
        };
        time("iat")?;
        let now = now.timestamp_millis() as f64 / 1000.0;
        if time("nbf")?.is_some_and(|start| start > now + CLOCK_SKEW) {
            return wrong("it is not valid yet (nbf)".into());
        }
        if time("exp")?.is_some_and(|end| end <= now - CLOCK_SKEW) {
            return Err(JwtError::Expired);
        }
        Ok(())
    }
}

fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    let bytes = BASE64.decode(part).map_err(|_| JwtError::Malformed("it is no base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed("it holds no JSON object"))
}

/// Header and claims, encoded: what is to be signed.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

/// The whole token.
pub(super) fn with_signature(unsigned: String, signature: &[u8]) -> String {
    unsigned + "." + &BASE64.encode(signature)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        with_signature(unsigned(header, claims), b"x")
    }

    fn check(header: Value, claims: Value, expected: &Expected<'_>) -> Result<(), JwtError> {
        let token = token(&header, &claims);
        Unverified::parse(&token)?.check(expected, DateTime::from_timestamp(1000, 0).unwrap())
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in
            ["", "a", "a.b", "a.b.c", "..", "e30.e30.*", "e30.W10.x", "e30.e30.e30.e30", "bnVsbA.e30.x", "e30=.e30.eA"]
        {
            assert!(matches!(Unverified::parse(text), Err(JwtError::Malformed(_))), "{text}");
        }
        assert!(Unverified::parse("e30.e30.").is_ok());
    }

    #[test]
    fn times_are_compared_with_some_patience() {
        let at = |claims: Value| check(json!({}), claims, &Expected::default());
        for good in [json!({}), json!({"exp": 1001}), json!({"exp": 996}), json!({"nbf": 1004.5}), json!({"iat": 5000})]
        {
            assert_eq!(at(good.clone()), Ok(()), "{good}");
        }
        assert_eq!(at(json!({"exp": 995})), Err(JwtError::Expired));
        assert_eq!(at(json!({"exp": -1e300})), Err(JwtError::Expired));
        for bad in [json!({"nbf": 1006}), json!({"exp": "1001"}), json!({"iat": null}), json!({"nbf": true})] {
            assert!(matches!(at(bad.clone()), Err(JwtError::Claim(_))), "{bad}");
        }
    }

    #[test]
    fn claims_are_required_and_compared() {
        let ours = ["scaffolder".to_string()];
        let expected = Expected { typ: Some("vnd.x"), audiences: &ours, required: &["sub"], ..Expected::default() };
        let header = || json!({"typ": "vnd.x"});
        let good = [json!({"sub": "a", "aud": "scaffolder"}), json!({"sub": "a", "aud": ["catalog", "scaffolder"]})];
        for claims in good {
            assert_eq!(check(header(), claims.clone(), &expected), Ok(()), "{claims}");
        }
        for (header, claims) in [
            (json!({"typ": "vnd.y"}), json!({"sub": "a", "aud": "scaffolder"})),
            (json!({}), json!({"sub": "a", "aud": "scaffolder"})),
            (json!({"typ": "vnd.x", "crit": ["b64"]}), json!({"sub": "a", "aud": "scaffolder"})),
            (header(), json!({"aud": "scaffolder"})),
            (header(), json!({"sub": "a"})),
            (header(), json!({"sub": "a", "aud": "catalog"})),
            (header(), json!({"sub": "a", "aud": ["catalog"]})),
            (header(), json!({"sub": "a", "aud": {"scaffolder": 1}})),
        ] {
            let outcome = check(header.clone(), claims.clone(), &expected);
            assert!(matches!(outcome, Err(JwtError::Claim(_))), "{header} {claims}: {outcome:?}");
        }
    }
}
