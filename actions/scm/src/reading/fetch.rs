//! One GET with redirects followed under control: at most five, each hop agreed to by the caller, credentials never sent to
//! another origin.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION},
};
use understudy_sdk::{ActionContext, ActionError, HumanDuration, Secret};
use url::Url;

use crate::{
    http,
    throttle::{self, Retries},
};

const MAX_REDIRECTS: usize = 5;
/// Of an error's text.
const MAX_REFUSAL: usize = 64 * 1024;
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
    /// The step that reads: it waits for rate limits and after outages, everybody else gets the error.
    pub(super) step: Option<&'a ActionContext>,
    /// How the text about an error status begins.
    pub(super) failure: &'static str,
}

/// Sends the request; `may_follow` judges the target of every redirect. The answer has a success status.
pub(super) async fn get(
    request: Request<'_>,
    may_follow: impl Fn(&Url) -> Result<(), ActionError>,
) -> Result<Response, ActionError> {
    let start = request.url.clone();
    let origin = start.origin();
    let mut url = start.clone();
    let mut redirects = 0;
    let mut retries = Retries::default();
    loop {
        let token = request.token.filter(|_| url.origin() == origin);
        let response = send(&request, &url, token, &mut retries).await?;
        if !is_redirect(response.status()) {
            return Ok(response);
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

/// Sends the request; in a step again and again as long as it may help. The answer is a success or a redirect.
async fn send(
    request: &Request<'_>,
    url: &Url,
    token: Option<&Secret>,
    retries: &mut Retries,
) -> Result<Response, ActionError> {
    loop {
        let (wait, reason, error) = match once(request, url, token).await {
            Ok(response) if response.status().is_success() || is_redirect(response.status()) => return Ok(response),
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                let error = refusal(request.failure, url, &response);
                let said = content(response, MAX_REFUSAL).await.unwrap_or_default();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                match throttle::rate_limit(status, &headers, &String::from_utf8_lossy(&said), now) {
                    Some(limit) => {
                        let reason = format!("The {} of {} is reached", limit.kind, crate::host_of(url));
                        (retries.limited(limit).ok(), reason, error)
                    }
                    None if throttle::is_outage(&Method::GET, status) => {
                        (retries.outage(), error.message().to_string(), error)
                    }
                    None => return Err(error),
                }
            }
            Err((false, error)) => return Err(error),
            Err((true, error)) => (retries.outage(), error.message().to_string(), error),
        };
        let (Some(ctx), Some(wait)) = (request.step, wait) else { return Err(error) };
        ctx.log.warn(format!("{reason}; trying again in {}", HumanDuration::from(wait)));
        ctx.waiting(tokio::time::sleep(wait)).await?;
    }
}

/// One exchange; with an error, whether another may go better.
async fn once(request: &Request<'_>, url: &Url, token: Option<&Secret>) -> Result<Response, (bool, ActionError)> {
    let client = http::client().map_err(|error| (false, ActionError::failed(error)))?;
    let mut builder = client.get(url.clone());
    if let Some(accept) = request.accept {
        builder = builder.header(ACCEPT, accept);
    }
    if let Some(token) = token {
        builder = builder.header(AUTHORIZATION, bearer(token).map_err(|error| (false, error))?);
    }
    match tokio::time::timeout(ANSWER_TIMEOUT, builder.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let again = http::certificate_refused(&error).is_none();
            Err((again, unreadable(url, &http::request_failure(error))))
        }
        Err(_) => Err((true, unreadable(url, &format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs())))),
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
