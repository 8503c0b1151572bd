//! Reading the `Authorization` header.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::options::Token;

/// What a request brought.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// The scheme, as written.
    pub(super) scheme: Option<String>,
    /// The token, when it is a known one.
    pub(super) token: Option<Token>,
}

/// Finds the token of a header among `tokens`: `token X`, `Bearer X`, or `Basic` with it as password (any user name) or,
/// without a password, as user name.
pub(super) fn credentials(header: Option<&str>, tokens: &[Token]) -> Credentials {
    let Some((scheme, rest)) = header.map(|header| header.split_once(' ').unwrap_or((header, ""))) else {
        return Credentials { scheme: None, token: None };
    };
    let known = |value: &str| tokens.iter().find(|token| !value.is_empty() && token.value == value).cloned();
    let token = match scheme.to_ascii_lowercase().as_str() {
        "token" | "bearer" => known(rest.trim()),
        "basic" => STANDARD.decode(rest.trim()).ok().and_then(|decoded| {
            let decoded = String::from_utf8(decoded).ok()?;
            let (user, password) = decoded.split_once(':')?;
            if matches!(password, "" | "x-oauth-basic") { known(user) } else { known(password) }
        }),
        _ => None,
    };
    Credentials { scheme: Some(scheme.to_owned()), token }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn schemes() {
        let tokens = [Token::new("t1", "u1"), Token::new("t2", "u2")];
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let table = [
            (Some("token t1".to_owned()), Some("u1")),
            (Some("Bearer t2".to_owned()), Some("u2")),
            (Some("bearer t3".to_owned()), None),
            (Some("token ".to_owned()), None),
            (Some(basic("x-access-token:t1")), Some("u1")),
            (Some(basic("t2:")), Some("u2")),
            (Some(basic("t2:x-oauth-basic")), Some("u2")),
            (Some(basic("t1:wrong")), None),
            (Some("Basic !".to_owned()), None),
            (Some("Digest t1".to_owned()), None),
            (None, None),
        ];
        for (header, wanted) in table {
            let found = credentials(header.as_deref(), &tokens);
            assert_eq!(found.token.map(|token| token.login).as_deref(), wanted, "{header:?}");
            assert_eq!(found.scheme.is_some(), header.is_some());
        }
    }
}
