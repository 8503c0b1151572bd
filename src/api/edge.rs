//! What every answer passes on its way out, and every request on its way in.
//!
//! In: cross-origin preflights, and the gate that closes when the service shuts down. Out: error bodies, entity tags and
//! 304, compression, security and cross-origin headers. Matches what Express 4, helmet, `cors` and `compression` do in
//! `@backstage/backend-defaults` 0.18.0.

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use sha1::{Digest, Sha1};

use super::{ApiState, barrier, cors::add_vary, error::ApiError};

/// Bodies below this many bytes are not worth compressing (`compression`'s default).
const COMPRESS_FROM: usize = 1024;
/// Bodies from this many bytes on are compressed away from the threads that serve requests.
const COMPRESS_ELSEWHERE_FROM: usize = 256 * 1024;

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
];

/// The outermost middleware.
pub async fn edge(
    state: Data<ApiState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(answer) = state.cors.as_ref().and_then(|cors| cors.preflight(request.request())) {
        return Ok(with_security_headers(request.into_response(answer)));
    }
    let (request, response) = if state.is_stopping() && request.path().starts_with("/api/") {
        let answer = ApiError::new("ServiceUnavailableError", "Service is shutting down").answer(request.request());
        let (request, _) = request.into_parts();
        (request, answer)
    } else if let Err(refused) = barrier::check(&state, request.request()).await {
        let answer = refused.answer(request.request());
        let (request, _) = request.into_parts();
        (request, answer)
    } else {
        let (request, response) = next.call(request).await?.map_into_boxed_body().into_parts();
        let answer =
            response.error().and_then(|error| error.as_error::<ApiError>()).map(|error| error.answer(&request));
        (request, answer.unwrap_or(response))
    };
    let mut response = finish(&request, response).await;
    if let Some(cors) = &state.cors {
        cors.mark(&request, response.headers_mut());
    }
    if response.headers().contains_key(header::CONTENT_TYPE) {
        add_vary(response.headers_mut(), "Accept-Encoding");
    }
    Ok(with_security_headers(ServiceResponse::new(request, response)))
}

fn with_security_headers(mut response: ServiceResponse) -> ServiceResponse {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Entity tag, 304 and compression, for bodies that are complete. Streams go through untouched.
async fn finish(request: &HttpRequest, response: HttpResponse) -> HttpResponse {
    let (mut response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(body) if !body.is_empty() => body,
        Ok(body) => return response.set_body(BoxBody::new(body)),
        Err(stream) => return response.set_body(stream),
    };
    let tag = entity_tag(&body);
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if safe && response.status().is_success() && is_fresh(request, &tag) {
        let mut unchanged = HttpResponse::new(StatusCode::NOT_MODIFIED);
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            unchanged.headers_mut().insert(header::ETAG, tag);
        }
        return unchanged;
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if body.len() < COMPRESS_FROM || !accepts_gzip(request) {
        return response.set_body(BoxBody::new(body));
    }
    let packed = if body.len() < COMPRESS_ELSEWHERE_FROM {
        gzip(&body)
    } else {
        let body = body.clone();
        actix_web::web::block(move || gzip(&body)).await.ok().flatten()
    };
    match packed {
        Some(packed) => {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.set_body(BoxBody::new(packed))
        }
        None => response.set_body(BoxBody::new(body)),
    }
}

fn gzip(body: &Bytes) -> Option<Vec<u8>> {
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// A weak tag as npm `etag` 1 makes it: length in hexadecimal and 27 characters of the body's SHA-1.
fn entity_tag(body: &[u8]) -> String {
    let hash = STANDARD.encode(Sha1::digest(body));
    format!("W/\"{:x}-{}\"", body.len(), hash.get(..27).unwrap_or(&hash))
}

/// Whether the client's copy is current (npm `fresh` 0.5).
fn is_fresh(request: &HttpRequest, tag: &str) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(known) = header(header::IF_NONE_MATCH) else { return false };
    if header(header::CACHE_CONTROL).is_some_and(|control| control.contains("no-cache")) {
        return false;
    }
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_string();
    known.trim() == "*" || known.split(',').any(|known| strong(known) == strong(tag))
}

/// Whether `Accept-Encoding` allows gzip.
pub(super) fn accepts_gzip(request: &HttpRequest) -> bool {
    let Some(accepted) = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    accepted.split(',').any(|item| {
        let (coding, quality) = item.split_once(';').unwrap_or((item, ""));
        let refused =
            quality.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0));
        matches!(coding.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip" | "*") && !refused
    })
}
