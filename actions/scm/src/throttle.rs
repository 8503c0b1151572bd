//! When to try a request to GitHub again.

use std::time::Duration;

use reqwest::{Method, StatusCode, header::HeaderMap};

/// The most time one request may spend waiting for rate limits.
const MAX_LIMITED: Duration = Duration::from_secs(15 * 60);
/// What to wait at first where GitHub names no time; doubled every time, as GitHub's documentation asks for.
pub const UNNAMED_LIMIT: Duration = Duration::from_secs(60);
/// Pauses before each repetition after an outage.
const OUTAGE_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(9)];

/// How often one request was tried again, and why.
#[derive(Debug, Default)]
pub struct Retries {
    limited: Duration,
    unnamed: u32,
    outages: usize,
}

impl Retries {
    /// How long to wait for a rate limit.
    ///
    /// # Errors
    /// The wait that would be too long.
    pub fn limited(&mut self, limit: RateLimit) -> Result<Duration, Duration> {
        let wait = limit.wait.unwrap_or_else(|| {
            self.unnamed += 1;
            UNNAMED_LIMIT * 2_u32.saturating_pow(self.unnamed - 1)
        });
        self.limited += wait;
        if self.limited > MAX_LIMITED { Err(wait) } else { Ok(wait) }
    }
    /// How long to wait after an outage; `None` when it lasts too long.
    pub fn outage(&mut self) -> Option<Duration> {
        let pause = OUTAGE_PAUSES.get(self.outages).copied();
        self.outages += 1;
        pause
    }
}

/// A limit that GitHub says we have hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// For texts.
    pub kind: &'static str,
    /// When to come back, if GitHub says so.
    pub wait: Option<Duration>,
}

/// Reads GitHub's signs of a rate limit from an answer; `now` in seconds since the epoch.
/// See <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
pub fn rate_limit(status: StatusCode, headers: &HeaderMap, message: &str, now: u64) -> Option<RateLimit> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let number = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if let Some(seconds) = number("retry-after") {
        return Some(RateLimit { kind: "secondary rate limit", wait: Some(Duration::from_secs(seconds)) });
    }
    if number("x-ratelimit-remaining") == Some(0) {
        // One more second, since the reset is given in whole ones.
        let wait = number("x-ratelimit-reset").map(|reset| Duration::from_secs(reset.saturating_sub(now) + 1));
        return Some(RateLimit { kind: "rate limit", wait });
    }
    let secondary = status == StatusCode::TOO_MANY_REQUESTS || message.to_lowercase().contains("secondary rate limit");
    secondary.then_some(RateLimit { kind: "secondary rate limit", wait: None })
}

/// Whether an answer with this status says nothing about the request itself, so that it may be repeated.
pub fn is_outage(method: &Method, status: StatusCode) -> bool {
    // A POST may have been carried out before the gateway gave up.
    method != Method::POST && matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn waits_are_bounded() {
        let limit = |seconds: Option<u64>| RateLimit { kind: "rate limit", wait: seconds.map(Duration::from_secs) };
        let mut retries = Retries::default();
        assert_eq!(retries.limited(limit(Some(100))), Ok(Duration::from_secs(100)));
        assert_eq!(retries.limited(limit(None)), Ok(Duration::from_secs(60)));
        assert_eq!(retries.limited(limit(None)), Ok(Duration::from_secs(120)));
        assert_eq!(retries.limited(limit(Some(621))), Err(Duration::from_secs(621)));
        let pauses: Vec<_> = std::iter::from_fn(|| retries.outage()).collect();
        assert_eq!(pauses, OUTAGE_PAUSES);
    }

    type Case<'a> = (u16, &'a [(&'static str, &'a str)], &'a str, Option<Option<Duration>>);

    #[test]
    fn reads_githubs_signs() {
        let secs = |n| Some(Duration::from_secs(n));
        let cases: &[Case<'_>] = &[
            (403, &[("retry-after", "7")], "You have exceeded a secondary rate limit", Some(secs(7))),
            (
                403,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1010")],
                "API rate limit exceeded",
                Some(secs(11)),
            ),
            (429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")], "", Some(secs(1))),
            (429, &[], "", Some(None)),
            (403, &[("x-ratelimit-remaining", "12")], "You have exceeded a secondary rate limit.", Some(None)),
            (403, &[("x-ratelimit-remaining", "12")], "Resource not accessible by integration", None),
            (404, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1010")], "Not Found", None),
        ];
        for (status, list, message, expected) in cases {
            let found = rate_limit(StatusCode::from_u16(*status).unwrap(), &headers(list), message, 1000);
            assert_eq!(found.map(|limit| limit.wait), *expected, "{status} {list:?} {message}");
        }
    }

    #[test]
    fn a_post_is_not_repeated_after_an_outage() {
        assert!(is_outage(&Method::PUT, StatusCode::BAD_GATEWAY));
        assert!(!is_outage(&Method::POST, StatusCode::BAD_GATEWAY));
        assert!(!is_outage(&Method::GET, StatusCode::NOT_FOUND));
    }
}
