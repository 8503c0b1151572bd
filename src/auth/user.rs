//! Tokens of users, issued by Backstage's auth backend (`@backstage/backend-defaults` 0.18.0, `UserTokenHandler`).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use understudy_sdk::Secret;

use super::{
    AuthError,
    jwt::{Expected, JwtError, Unverified},
    key_set::KeySet,
};

const USER: &str = "vnd.backstage.user";
const LIMITED_USER: &str = "vnd.backstage.limited-user";
/// The audience of users' tokens; those without a type are known by it.
const AUDIENCE: &str = "backstage";
const REQUIRED: [&str; 3] = ["iat", "exp", "sub"];

/// A user whose token was verified.
pub(super) struct VerifiedUser {
    /// Who.
    pub(super) entity_ref: String,
    /// When the token ends.
    pub(super) expires_at: DateTime<Utc>,
    /// Whether it is good for little: cookies and `obo` claims.
    pub(super) is_limited: bool,
}

/// A token that shows who a user is, and no more. It can be made of a user's token without any key.
#[derive(Debug, Clone)]
pub struct LimitedToken {
    /// The token.
    pub token: Secret,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Verifies users' tokens.
pub(super) struct UserTokens(Option<KeySet>);

impl UserTokens {
    /// `keys`: those of the auth backend, where one is known.
    pub(super) fn new(keys: Option<KeySet>) -> Self {
        Self(keys)
    }

    /// The user a token names; `None` when it is no token of a user.
    pub(super) async fn verify(&self, token: &str) -> Result<Option<VerifiedUser>, AuthError> {
        let Ok(token) = Unverified::parse(token) else { return Ok(None) };
        let audience = [AUDIENCE.to_string()];
        let typ = token.typ().filter(|typ| [USER, LIMITED_USER].contains(typ));
        let expected = match typ {
            Some(typ) => Expected { typ: Some(typ), required: &REQUIRED, ..Expected::default() },
            None if token.text("aud") == Some(AUDIENCE) => Expected { audiences: &audience, ..Expected::default() },
            None => return Ok(None),
        };
        if let Err(reason) = self.check(&token, &expected).await {
            tracing::warn!(%reason, "a user's token was refused");
            return Err(AuthError::unknown_caller("Failed user token verification"));
        }
        let Some(entity_ref) = token.text("sub").filter(|sub| !sub.is_empty()) else {
            return Err(AuthError::unknown_caller("No user sub found in token"));
        };
        let expires_at =
            token.expires_at().ok_or_else(|| AuthError::unknown_caller("User token is missing expiration"))?;
        let is_limited = typ == Some(LIMITED_USER);
        Ok(Some(VerifiedUser { entity_ref: entity_ref.to_string(), expires_at, is_limited }))
    }

    async fn check(&self, token: &Unverified<'_>, expected: &Expected<'_>) -> Result<(), JwtError> {
        let Some(keys) = &self.0 else {
            return Err(JwtError::Keys(
                "no auth backend is known; discovery.endpoints for the plugin auth names one".into(),
            ));
        };
        // The claims cost nothing, so they come first: no keys are fetched for what is refused anyway.
        token.check(expected, Utc::now())?;
        keys.verify(token).await
    }
}

/// Makes a limited token of a verified user's token. The auth backend has put its signature into the claim `uip`, so header
/// and payload must be written exactly as it did.
pub(super) fn limited(token: &Secret) -> Result<LimitedToken, AuthError> {
    let refused = |why: &str| AuthError::unknown_caller(format!("Failed to create limited user token, {why}"));
    let parsed = Unverified::parse(token.expose()).map_err(|_| refused("invalid token type"))?;
    let expires_at =
        parsed.expires_at().ok_or_else(|| AuthError::unknown_caller("User token is missing expiration"))?;
    match parsed.typ() {
        None | Some(LIMITED_USER) => return Ok(LimitedToken { token: token.clone(), expires_at }),
        Some(USER) => {}
        Some(_) => return Err(refused("invalid token type")),
    }
    let proof = parsed.text("uip").ok_or_else(|| refused("missing user identity proof"))?;
    let mut header = Map::from_iter([("typ".to_string(), Value::from(LIMITED_USER))]);
    header.extend(members(&parsed.header, &["alg", "kid"]));
    let payload = members(&parsed.claims, &["sub", "iat", "exp"]).collect();
    let part = |members: Map<String, Value>| BASE64.encode(Value::Object(members).to_string());
    Ok(LimitedToken { token: Secret::new(format!("{}.{}.{proof}", part(header), part(payload))), expires_at })
}

fn members<'m>(map: &'m Map<String, Value>, names: &'m [&str]) -> impl Iterator<Item = (String, Value)> + 'm {
    names.iter().filter_map(|name| Some(((*name).to_string(), map.get(*name)?.clone())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A token that the auth backend of Backstage 1.55 issued, and the limited token it put into a cookie for it.
    const RECORDED: (&str, &str) = (
        "eyJ0eXAiOiJ2bmQuYmFja3N0YWdlLnVzZXIiLCJhbGciOiJFUzI1NiIsImtpZCI6ImE0MGVlNzAwLWMzNTQtNDM5NC05OGY4LWVlNWNlY2M4ZDk0OCJ9.eyJpc3MiOiJodHRwOi8vbG9jYWxob3N0OjcwMDcvYXBpL2F1dGgiLCJzdWIiOiJ1c2VyOmRldmVsb3BtZW50L2d1ZXN0IiwiYXVkIjoiYmFja3N0YWdlIiwiaWF0IjoxNzk1MzUwMjM3LCJleHAiOjE3OTUzNTM4MzcsInVpcCI6InU3VEdETW9nVVJfODZpU2ZuUnptald4UDdobUt4a3JJLTlXcy0wUVNVZ011alRubFhuYlJoNGR5bktmekRieEdlNzNpcHM2ejRGTGVFTnRsbDlvSjZnIn0.CRqaeq714XE6I-vWHQ0UIlbHaQ4gJiPL5JHQqUc2r-rhCAfFLBruWAALhJHxOdYtP8PAEUZQiAJXLYfuJ7MiMQ",
        "eyJ0eXAiOiJ2bmQuYmFja3N0YWdlLmxpbWl0ZWQtdXNlciIsImFsZyI6IkVTMjU2Iiwia2lkIjoiYTQwZWU3MDAtYzM1NC00Mzk0LTk4ZjgtZWU1Y2VjYzhkOTQ4In0.eyJzdWIiOiJ1c2VyOmRldmVsb3BtZW50L2d1ZXN0IiwiaWF0IjoxNzk1MzUwMjM3LCJleHAiOjE3OTUzNTM4Mzd9.u7TGDMogUR_86iSfnRzmjWxP7hmKxkrI-9Ws-0QSUgMujTnlXnbRh4dynKfzDbxGe73ips6z4FLeENtll9oJ6g",
    );
    /// The key of both.
    const KEYS: &str = r#"{"keys":[{"kty":"EC","x":"Ot4g6hSo1HuXJT5W65YsWR6pzIGIFifL2EiT5K73qiU","y":"WTGUXm7FvcwkakOtN70kE0XJAU96oqyXKC-YWyuDklU","crv":"P-256","kid":"a40ee700-c354-4394-98f8-ee5cecc8d948","alg":"ES256"}]}"#;

    #[test]
    fn limited_tokens_are_those_of_backstage() {
        let (user, cookie) = RECORDED;
        let limited = limited(&Secret::new(user)).unwrap();
        assert_eq!(limited.token.expose(), cookie);
        assert_eq!(limited.expires_at.timestamp(), 1_795_353_837);
        // A limited token stays as it is.
        assert_eq!(super::limited(&limited.token).unwrap().token.expose(), cookie);
    }

    #[test]
    fn recorded_signatures_hold() {
        use super::super::jwk::{Jwk, verify};
        let keys = Jwk::of_set(&serde_json::from_str(KEYS).unwrap()).unwrap();
        for token in [RECORDED.0, RECORDED.1] {
            verify(&keys, &Unverified::parse(token).unwrap(), "here").unwrap();
            let tampered = format!("{}AAAA", &token[..token.len() - 4]);
            assert_eq!(verify(&keys, &Unverified::parse(&tampered).unwrap(), "here").unwrap_err(), JwtError::Signature);
        }
    }

    #[test]
    fn what_proves_nothing_makes_no_limited_token() {
        let token =
            |header: &str, claims: &str| Secret::new(format!("{}.{}.eA", BASE64.encode(header), BASE64.encode(claims)));
        for (header, claims, expected) in [
            (r#"{"typ":"vnd.backstage.plugin"}"#, r#"{"exp":1}"#, "invalid token type"),
            (r#"{"typ":"vnd.backstage.user"}"#, r#"{"exp":1}"#, "missing user identity proof"),
            (r#"{"typ":"vnd.backstage.user"}"#, r#"{}"#, "missing expiration"),
        ] {
            let error = limited(&token(header, claims)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
