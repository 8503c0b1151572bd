//! What every answer passes on its way out, and every request on its way in.
//!
//! In: cross-origin preflights, rate limits, the gate that is closed before the service has started and after it was asked
//! to end, who asks, and the time that a body may take. Out: error bodies, entity tags and 304, compression, security and
//! cross-origin headers. Matches what Express 4, helmet, `cors`, `compression` and express-rate-limit do in
//! `@backstage/backend-defaults` 0.18.0.

mod client;
mod connection;
mod cors;
mod encoding;
mod freshness;
mod lifecycle;
mod patience;
mod rate_limit;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

pub use connection::ConnectionGuard;
pub(super) use encoding::accepts_gzip;
pub use lifecycle::{Lifecycle, Phase};
pub(super) use patience::is_timeout;

use self::{
    connection::Busy,
    cors::{Cors, add_vary},
    rate_limit::{Count, RateLimit},
};
use super::{ApiState, barrier, error::ApiError};
use crate::{
    audit::{Origin, shown_url},
    config::{ServerConfig, TrustProxy},
    metrics::Metrics,
};

const HEALTH: &str = "/.backstage/health/";
/// Answers before the start is over and to everybody: others need it to verify what we send them.
const PUBLIC_KEYS: &str = "/api/scaffolder/.backstage/auth/v1/jwks.json";

/// Headers of every answer that nothing changes (helmet 6 as Backstage sets it up).
const SECURITY_HEADERS: [(&str, &str); 7] = [
    ("strict-transport-security", "max-age=15552000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

/// The rules for all requests and answers, shared by all threads that serve.
pub struct Edge {
    security: Vec<(HeaderName, HeaderValue)>,
    health: Vec<(HeaderName, HeaderValue)>,
    cors: Option<Cors>,
    rate_limit: Option<RateLimit>,
    plugin_rate_limit: Option<RateLimit>,
    trust_proxy: TrustProxy,
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    startup_pause: Duration,
    body_timeout: Duration,
}

impl Edge {
    /// The rules of a configuration.
    ///
    /// # Errors
    /// A pattern of `backend.cors.origin` can't be read.
    pub fn new(config: &ServerConfig, lifecycle: Lifecycle, metrics: Arc<Metrics>) -> Result<Self, String> {
        let cors = config.cors.as_ref().map(Cors::new).transpose();
        let mut security: Vec<(HeaderName, HeaderValue)> = Vec::new();
        if let Some(policy) = &config.content_security_policy {
            security.push((header::CONTENT_SECURITY_POLICY, policy.clone()));
        }
        security.push((header::REFERRER_POLICY, config.referrer_policy.clone()));
        security.extend(
            SECURITY_HEADERS
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        Ok(Self {
            security,
            health: config.health_headers.clone(),
            cors: cors.map_err(|error| format!("backend.cors.origin holds a pattern that can't be read: {error}"))?,
            rate_limit: config.rate_limit.as_ref().map(RateLimit::new),
            plugin_rate_limit: config.plugin_rate_limit.as_ref().map(RateLimit::new),
            trust_proxy: config.trust_proxy.clone(),
            lifecycle,
            metrics,
            startup_pause: config.startup_pause,
            body_timeout: config.timeouts.body,
        })
    }

    /// Counts the request where it is limited; the first limit that is exceeded is the last one asked.
    fn count(&self, request: &HttpRequest) -> Vec<(&RateLimit, Count)> {
        let mut counts = Vec::new();
        // Whoever asks often whether the service lives must get an answer.
        let path = routed_path(request);
        let global = self.rate_limit.as_ref().filter(|_| !path.starts_with(HEALTH));
        let plugin = self.plugin_rate_limit.as_ref().filter(|_| is_below(path, "/api/scaffolder"));
        for limit in [global, plugin].into_iter().flatten() {
            if let Some(count) = limit.count(request, &self.trust_proxy) {
                counts.push((limit, count));
                if count.is_exceeded() {
                    break;
                }
            }
        }
        counts
    }

    /// Holds the request at the gate, and finds out who asks; an answer refuses it.
    async fn refusal(&self, state: &ApiState, request: &HttpRequest) -> Option<HttpResponse> {
        let path = routed_path(request);
        let is_plugins = is_below(path, "/api/scaffolder") || is_below(path, "/api/catalog");
        if !is_plugins || path.trim_end_matches('/') == PUBLIC_KEYS {
            return None;
        }
        if let Err(refused) = self.lifecycle.admit(self.startup_pause).await {
            return Some(ApiError::new("ServiceUnavailableError", refused).answer(request));
        }
        barrier::check(state, request).await.err().map(|refused| refused.answer(request))
    }

    /// The answer of whoever is first to have one.
    async fn answer(
        &self,
        state: &ApiState,
        request: ServiceRequest,
        next: Next<impl MessageBody + 'static>,
    ) -> Result<(HttpRequest, HttpResponse), Error> {
        let counts = self.count(request.request());
        let refusal = match counts.last().filter(|(_, count)| count.is_exceeded()) {
            Some((_, count)) => Some(count.refusal()),
            None => self.refusal(state, request.request()).await,
        };
        let (request, mut response) = match refusal {
            Some(refusal) => (request.into_parts().0, refusal),
            None => {
                let (request, response) = next.call(request).await?.map_into_boxed_body().into_parts();
                let error = response.error().and_then(|error| error.as_error::<ApiError>());
                let answer = error.map(|error| error.answer(&request));
                (request, answer.unwrap_or(response))
            }
        };
        for (limit, count) in counts {
            limit.answered(&count, response.status());
            count.mark(response.headers_mut());
        }
        Ok((request, response))
    }

    /// Counts an answer.
    fn measure(&self, request: &HttpRequest, status: StatusCode, started: Instant) {
        let method = match *request.method() {
            Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS => request.method().as_str(),
            _ => "other",
        };
        let route = request.match_pattern();
        let route = route.as_deref().map_or("other", |route| route.trim_end_matches('/'));
        self.metrics.request_answered(method, route, status.as_u16(), started.elapsed());
    }

    /// Adds the headers that every answer has.
    fn mark(&self, request: &HttpRequest, response: &mut HttpResponse) {
        let headers = response.headers_mut();
        if request.path().starts_with(HEALTH) {
            for (name, value) in &self.health {
                headers.insert(name.clone(), value.clone());
            }
        }
        if let Some(cors) = &self.cors {
            cors.mark(request, headers);
        }
        if headers.contains_key(header::CONTENT_TYPE) {
            add_vary(headers, "Accept-Encoding");
        }
        for (name, value) in &self.security {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// The path as the routes are matched with it: `%73` is an `s` there. Whoever decides by the path who is let in must look at
/// this one, or an address that is written in another way leads past.
pub(super) fn routed_path(request: &HttpRequest) -> &str {
    request.match_info().as_str()
}

/// Whether a path is this one or one below it.
fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the audit log tells of a request; address and host as Express 4 gives them.
pub(super) fn origin(request: &HttpRequest) -> Origin {
    let trust = request.app_data::<Data<Edge>>().map_or(&TrustProxy::Nobody, |edge| &edge.trust_proxy);
    let agent = request.headers().get(header::USER_AGENT);
    Origin {
        ip: client::address(request, trust).map(|address| address.to_string()),
        hostname: client::hostname(request, trust),
        user_agent: agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()),
        url: shown_url(request.uri().path(), request.uri().query()),
        method: request.method().to_string(),
    }
}

/// The outermost middleware.
pub async fn edge(
    edge: Data<Edge>,
    state: Data<ApiState>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let busy = Busy::on(&request);
    patience::limit_body(&mut request, edge.body_timeout);
    let preflight = edge.cors.as_ref().and_then(|cors| cors.preflight(request.request()));
    let (request, mut response) = match preflight {
        Some(answer) => (request.into_parts().0, answer),
        None => {
            let (request, response) = edge.answer(&state, request, next).await?;
            let response = finish(&request, response).await;
            (request, response)
        }
    };
    edge.mark(&request, &mut response);
    edge.measure(&request, response.status(), started);
    if response.status() == StatusCode::REQUEST_TIMEOUT {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    let response = match busy {
        Some(busy) => response.map_body(|_, body| busy.until_sent(body)),
        None => response,
    };
    Ok(ServiceResponse::new(request, response))
}

/// Entity tag, 304 and compression, for bodies that are complete. Streams go through untouched.
async fn finish(request: &HttpRequest, response: HttpResponse) -> HttpResponse {
    let (mut response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(body) if !body.is_empty() => body,
        Ok(body) => return response.set_body(BoxBody::new(body)),
        Err(stream) => return response.set_body(stream),
    };
    let tag = freshness::entity_tag(&body);
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let header = HeaderValue::from_str(&tag);
    if is_safe && response.status().is_success() && freshness::is_fresh(request, &tag) {
        let mut unchanged = HttpResponse::new(StatusCode::NOT_MODIFIED);
        if let Ok(tag) = header {
            unchanged.headers_mut().insert(header::ETAG, tag);
        }
        return unchanged;
    }
    if let Ok(tag) = header {
        response.headers_mut().insert(header::ETAG, tag);
    }
    match encoding::compressed(request, &body).await {
        Some(packed) => {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.set_body(BoxBody::new(packed))
        }
        None => response.set_body(BoxBody::new(body)),
    }
}
