//! What stands before all routes of plugins: who asks must be known, unless the configuration lets everybody in
//! (`@backstage/backend-defaults` 0.18.0, `createCredentialsBarrier`).

use actix_web::{HttpMessage, HttpRequest, http::header};

use super::{ApiState, edge::routed_path, error::ApiError};

/// What anybody may read: keys that others verify our tokens with, and the description of the API.
const OPEN: [&str; 2] = ["/api/scaffolder/.backstage/auth/v1/jwks.json", "/api/scaffolder/docs"];

/// Finds out who asks and leaves it with the request, for [`Caller`](super::caller::Caller).
///
/// # Errors
/// Credentials are missing or not good.
pub(super) async fn check(state: &ApiState, request: &HttpRequest) -> Result<(), ApiError> {
    let path = routed_path(request);
    if !path.starts_with("/api/") || OPEN.contains(&path.trim_end_matches('/')) {
        return Ok(());
    }
    let credentials = state.auth.authenticate(bearer(request)).await?;
    request.extensions_mut().insert(credentials);
    Ok(())
}

/// The token of `Authorization: Bearer <token>`; another scheme counts as no credentials.
fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(char::is_whitespace))
        .then_some(token)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_bearer_tokens_are_credentials() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer   a.b.c", Some("a.b.c")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer a b", None),
            ("Bearera", None),
            ("", None),
        ] {
            let request = TestRequest::default().insert_header((header::AUTHORIZATION, value)).to_http_request();
            assert_eq!(bearer(&request), expected, "{value}");
        }
        assert_eq!(bearer(&TestRequest::default().to_http_request()), None);
    }
}
