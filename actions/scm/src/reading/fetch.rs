//! One GET with redirects followed under control: at most five, each hop agreed to by the caller, credentials never sent to
//! another origin.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION},
};
use understudy_sdk::{ActionError, Secret};
use url::Url;

use crate::http;

const MAX_REDIRECTS: usize = 5;
/// Until the answer begins; hosts need a while to pack a large repository.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two pieces of an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What to get.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) url: Url,
    pub(super) accept: Option<&'static str>,
    pub(super) token: Option<&'a Secret>,
    /// How the text about an error status begins.
    pub(super) failure: &'static str,
}

/// Sends the request; `may_follow` judges the target of every redirect. The answer has a success status.
pub(super) async fn get(
    request: Request<'_>,
    may_follow: impl Fn(&Url) -> Result<(), ActionError>,
) -> Result<Response, ActionError> {
    let client = http::client().map_err(ActionError::failed)?;
    let start = request.url;
    let origin = start.origin();
    let mut url = start.clone();
    let mut redirects = 0;
    loop {
        let mut builder = client.get(url.clone());
        if let Some(accept) = request.accept {
            builder = builder.header(ACCEPT, accept);
        }
        if let Some(token) = request.token
            && url.origin() == origin
        {
            builder = builder.header(AUTHORIZATION, bearer(token)?);
        }
        let response = tokio::time::timeout(ANSWER_TIMEOUT, builder.send())
            .await
            .map_err(|_| unreadable(&url, &format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs())))?
            .map_err(|error| unreadable(&url, &http::request_failure(error)))?;
        if !is_redirect(response.status()) {
            return if response.status().is_success() {
                Ok(response)
            } else {
                Err(refusal(request.failure, &url, &response))
            };
        }
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(target) = target.and_then(|target| url.join(target).ok()) else {
            return Err(unreadable(&url, "it redirects to nowhere"));
        };
        redirects += 1;
        if redirects > MAX_REDIRECTS {
            return Err(ActionError::failed(format!(
                "Too many redirects (max {MAX_REDIRECTS}) when reading {}",
                shown(&start)
            )));
        }
        may_follow(&target)?;
        url = target;
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn bearer(token: &Secret) -> Result<HeaderValue, ActionError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose().trim()))
        .map_err(|_| ActionError::input("The token holds characters that can't be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL fit for texts.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither fails on a URL that has a host; on others there is nothing to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

pub(super) fn unreadable(url: &Url, reason: &str) -> ActionError {
    ActionError::failed(format!("Unable to read {}, {reason}", shown(url)))
}

/// What an error status means; the texts are upstream's.
fn refusal(failure: &str, url: &Url, response: &Response) -> ActionError {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut message = format!("{failure} {}, {} {reason}", shown(url), status.as_u16());
    let exhausted = response.headers().get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    match status {
        StatusCode::NOT_FOUND => return ActionError::not_found(message),
        StatusCode::TOO_MANY_REQUESTS => message.push_str(" (rate limit exceeded)"),
        StatusCode::FORBIDDEN if exhausted => message.push_str(" (rate limit exceeded)"),
        StatusCode::UNAUTHORIZED => message.push_str(" (the token was not accepted)"),
        _ => {}
    }
    ActionError::failed(message)
}

/// The whole content, up to `limit` bytes.
pub(super) async fn content(mut response: Response, limit: usize) -> Result<Vec<u8>, ActionError> {
    let url = response.url().clone();
    let too_large = || unreadable(&url, &format!("it is larger than {limit} bytes, which is the limit"));
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut content = Vec::new();
    while let Some(chunk) = next_chunk(&mut response).await.map_err(|reason| unreadable(&url, &reason))? {
        if content.len() + chunk.len() > limit {
            return Err(too_large());
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

/// The content piece by piece.
pub(super) fn chunks(response: Response) -> impl Stream<Item = Result<Bytes, String>> + Send {
    futures_util::stream::try_unfold(response, |mut response| async {
        Ok(next_chunk(&mut response).await?.map(|chunk| (chunk, response)))
    })
}

async fn next_chunk(response: &mut Response) -> Result<Option<Bytes>, String> {
    match tokio::time::timeout(IDLE_TIMEOUT, response.chunk()).await {
        Ok(result) => result.map_err(http::request_failure),
        Err(_) => Err(format!("nothing came for {} seconds", IDLE_TIMEOUT.as_secs())),
    }
}
