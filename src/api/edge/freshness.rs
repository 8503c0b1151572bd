//! Entity tags, and answers that say that nothing has changed.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// A weak tag as npm `etag` 1 makes it: length in hexadecimal and 27 characters of the body's SHA-1.
pub(super) fn entity_tag(body: &[u8]) -> String {
    let hash = STANDARD.encode(Sha1::digest(body));
    format!("W/\"{:x}-{}\"", body.len(), hash.get(..27).unwrap_or(&hash))
}

/// Whether the client's copy is current (npm `fresh` 0.5).
pub(super) fn is_fresh(request: &HttpRequest, tag: &str) -> bool {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(known) = header(header::IF_NONE_MATCH) else { return false };
    if header(header::CACHE_CONTROL).is_some_and(|control| control.contains("no-cache")) {
        return false;
    }
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_string();
    known.trim() == "*" || known.split(',').any(|known| strong(known) == strong(tag))
}
