//! The cookie that lets a browser load what can't carry a header, as `@backstage/backend-defaults` 0.18.0 issues it
//! (`createCookieAuthRefreshMiddleware`). No route of this plugin accepts it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::Data,
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use url::Url;

use super::{ApiState, caller::Caller, error::ApiError, reply};

const NAME: &str = "backstage-auth";
/// A cookie that lasts longer than this is not made anew.
const SOON: TimeDelta = TimeDelta::minutes(5);

/// Sets the cookie to a limited user token; tells when it expires.
pub(super) async fn issue(state: Data<ApiState>, caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    caller.only_users()?;
    if let Some(token) = cookie(&http)
        && let Some(expires_at) = state.auth.limited_token_expiry(token).await?
        && expires_at > Utc::now() + SOON
    {
        return Ok(expires(expires_at));
    }
    let limited = state.auth.limited_user_token(caller.credentials())?;
    let mut answer = expires(limited.expires_at);
    let value = set_cookie(state.external_url.as_ref(), limited.token.expose(), limited.expires_at);
    let value = HeaderValue::from_str(&value)
        .map_err(|_| ApiError::new("Error", "the address in backend.baseUrl can't be written into a cookie"))?;
    answer.headers_mut().insert(header::SET_COOKIE, value);
    Ok(answer)
}

/// Takes the cookie away.
pub(super) async fn clear(state: Data<ApiState>, _caller: Caller) -> Result<HttpResponse, ApiError> {
    let value = set_cookie(state.external_url.as_ref(), "", DateTime::UNIX_EPOCH);
    let mut answer = HttpResponse::NoContent().finish();
    if let Ok(value) = HeaderValue::from_str(&value) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(answer)
}

fn expires(at: DateTime<Utc>) -> HttpResponse {
    reply::ok(&json!({"expiresAt": at.to_rfc3339_opts(SecondsFormat::Millis, true)}))
}

fn cookie(http: &HttpRequest) -> Option<&str> {
    http.headers()
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == NAME && !value.is_empty())
        .map(|(_, value)| value.trim_matches('"'))
}

/// `localhost` counts as secure, as browsers have it.
fn set_cookie(external_url: Option<&Url>, value: &str, expires_at: DateTime<Utc>) -> String {
    let host = external_url.and_then(Url::host_str).unwrap_or("localhost");
    let is_secure = host == "localhost" || external_url.is_some_and(|url| url.scheme() == "https");
    let (secure, same_site) = if is_secure { (" Secure;", "None") } else { ("", "Lax") };
    format!(
        "{NAME}={value}; Domain={host}; Path=/; Expires={}; HttpOnly;{secure} Priority=High; SameSite={same_site}",
        expires_at.format("%a, %d %b %Y %H:%M:%S GMT")
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn cookies_are_written_as_recorded() {
        for (url, value, expected) in [
            (
                "http://localhost:7007",
                "a.b.c",
                "backstage-auth=a.b.c; Domain=localhost; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Priority=High; SameSite=None",
            ),
            (
                "https://portal.example.com",
                "",
                "backstage-auth=; Domain=portal.example.com; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Priority=High; SameSite=None",
            ),
            (
                "http://portal.example.com",
                "",
                "backstage-auth=; Domain=portal.example.com; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Priority=High; SameSite=Lax",
            ),
        ] {
            assert_eq!(set_cookie(Some(&Url::parse(url).unwrap()), value, DateTime::UNIX_EPOCH), expected);
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        for (header, expected) in [
            ("backstage-auth=a.b.c", Some("a.b.c")),
            ("x=y; backstage-auth=\"a.b.c\"; z=", Some("a.b.c")),
            ("x=y", None),
            ("backstage-auth=", None),
        ] {
            let request = TestRequest::default().insert_header((header::COOKIE, header)).to_http_request();
            assert_eq!(cookie(&request), expected, "{header}");
        }
    }
}
