//! Limits how many requests a client may send (`backend.rateLimit`), as express-rate-limit 8 with its store in memory
//! does for `@backstage/backend-defaults` 0.18.0.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use serde_json::json;
use tokio::time::Instant;

use super::client;
use crate::{
    api::reply,
    config::{RateLimitConfig, TrustProxy},
};

/// How many clients are remembered at once; beyond that, those whose window ends first are forgotten.
const CLIENTS: usize = 100_000;

/// Counts the requests of clients.
#[derive(Debug)]
pub(super) struct RateLimit {
    config: RateLimitConfig,
    allow: Vec<IpAddr>,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    count: u64,
    ends: Instant,
}

/// What a request is told about the limit; nothing when it doesn't count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    client: IpAddr,
    limit: u64,
    used: u64,
    rest: Duration,
}

impl RateLimit {
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        // Whatever is no address matches none.
        let allow = config.allow.iter().filter_map(|text| text.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
        Self { allow: allow.collect(), config: config.clone(), windows: Mutex::default() }
    }

    /// Counts a request.
    pub(super) fn count(&self, request: &HttpRequest, trust: &TrustProxy) -> Option<Count> {
        let client = client::address(request, trust)?;
        let peer = client::peer(request);
        if self.allow.contains(&client) || peer.is_some_and(|peer| self.allow.contains(&peer)) {
            return None;
        }
        let client = network(client);
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= CLIENTS && !windows.contains_key(&client) {
            make_room(&mut windows, now);
        }
        let window = windows.entry(client).or_insert(Window { count: 0, ends: now + self.config.window });
        if window.ends <= now {
            *window = Window { count: 0, ends: now + self.config.window };
        }
        window.count += 1;
        Some(Count { client, limit: self.config.limit, used: window.count, rest: window.ends - now })
    }

    /// Takes a request back that doesn't count because of how it was answered.
    pub(super) fn answered(&self, count: &Count, status: StatusCode) {
        let failed = status.as_u16() >= 400;
        if (failed && self.config.skip_failed) || (!failed && self.config.skip_successful) {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(window) = windows.get_mut(&count.client) {
                window.count = window.count.saturating_sub(1);
            }
        }
    }
}

impl Count {
    pub(super) fn is_exceeded(&self) -> bool {
        self.used > self.limit
    }

    /// Adds the headers that tell the client where it stands.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        let reset = SystemTime::now() + self.rest;
        let reset = reset.duration_since(UNIX_EPOCH).map_or(0, seconds_up);
        for (name, number) in [
            ("x-ratelimit-limit", self.limit),
            ("x-ratelimit-remaining", self.limit.saturating_sub(self.used)),
            ("x-ratelimit-reset", reset),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
        }
    }

    /// The answer to a request beyond the limit.
    pub(super) fn refusal(&self) -> HttpResponse {
        let body = json!({
            "error": {"name": "Error", "message": "Too many requests, please try again later"},
            "response": {"statusCode": 429},
        });
        let mut response = reply::json(StatusCode::TOO_MANY_REQUESTS, &body);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(self.rest)));
        response
    }
}

fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Whoever has an IPv6 address has a network of them: one client is a /56.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - 56)))),
    }
}

/// Forgets the windows that are over; where none is, the half that ends first.
fn make_room(windows: &mut HashMap<IpAddr, Window>, now: Instant) {
    windows.retain(|_, window| window.ends > now);
    if windows.len() >= CLIENTS {
        let mut ends: Vec<Instant> = windows.values().map(|window| window.ends).collect();
        ends.sort_unstable();
        let middle = ends[ends.len() / 2];
        windows.retain(|_, window| window.ends > middle);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn from(address: &str) -> HttpRequest {
        TestRequest::default().peer_addr(address.parse().unwrap()).to_http_request()
    }

    #[tokio::test(start_paused = true)]
    async fn windows_start_with_the_first_request_of_a_client() {
        let limit = RateLimit::new(&RateLimitConfig { limit: 2, ..RateLimitConfig::default() });
        let count = |address: &str| limit.count(&from(address), &TrustProxy::Nobody);
        assert!(count("127.0.0.1:1").is_none() && count("[::1]:1").is_none(), "loopback is not counted");
        assert!(!count("192.0.2.1:1").unwrap().is_exceeded());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!count("192.0.2.1:2").unwrap().is_exceeded());
        let third = count("192.0.2.1:3").unwrap();
        assert!(third.is_exceeded());
        let answer = third.refusal();
        assert_eq!(answer.status().as_u16(), 429);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "1");
        assert!(!count("192.0.2.2:3").unwrap().is_exceeded(), "another client has a window of its own");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!count("192.0.2.1:4").unwrap().is_exceeded(), "a new window");
        // All addresses of a network are one client.
        for (address, exceeded) in [
            ("[2001:db8::1]:1", false),
            ("[2001:db8:0:ff::1]:1", false),
            ("[2001:db8:0:1::1]:1", true),
            ("[2001:db8:0:100::]:1", false),
        ] {
            assert_eq!(count(address).unwrap().is_exceeded(), exceeded, "{address}");
        }
    }

    #[test]
    fn answers_can_be_left_out() {
        let config = RateLimitConfig { limit: 1, skip_failed: true, ..RateLimitConfig::default() };
        let limit = RateLimit::new(&config);
        for (status, used) in [(404, 1), (500, 1), (200, 1), (200, 2)] {
            let count = limit.count(&from("192.0.2.1:1"), &TrustProxy::Nobody).unwrap();
            assert_eq!(count.used, used);
            limit.answered(&count, StatusCode::from_u16(status).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_clients_is_bounded() {
        let limit = RateLimit::new(&RateLimitConfig::default());
        for number in 0..CLIENTS as u32 + 10 {
            let address = std::net::SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0b00_0000 + number), 1));
            let request = TestRequest::default().peer_addr(address).to_http_request();
            limit.count(&request, &TrustProxy::Nobody).unwrap();
        }
        assert!(limit.windows.lock().unwrap().len() <= CLIENTS);
    }
}
