//! Compressed answers (npm `compression` 1.8 with its defaults, gzip alone).

use std::io::Write;

use actix_web::{
    HttpRequest,
    http::{Method, header},
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};

/// Bodies below this many bytes are not worth compressing (`compression`'s default).
const FROM: usize = 1024;
/// Bodies from this many bytes on are compressed away from the threads that serve requests.
const ELSEWHERE_FROM: usize = 256 * 1024;

/// The compressed body, where the client takes it and it pays.
pub(super) async fn compressed(request: &HttpRequest, body: &Bytes) -> Option<Vec<u8>> {
    if body.len() < FROM || request.method() == Method::HEAD || !accepts_gzip(request) {
        return None;
    }
    if body.len() < ELSEWHERE_FROM {
        return gzip(body);
    }
    let body = body.clone();
    actix_web::web::block(move || gzip(&body)).await.ok().flatten()
}

fn gzip(body: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether `Accept-Encoding` allows gzip.
pub(in crate::api) fn accepts_gzip(request: &HttpRequest) -> bool {
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
