//! Request bodies that must have arrived within a time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpMessage as _,
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    http::Method,
    web::Bytes,
};
use futures_util::Stream;
use tokio::time::{Sleep, sleep};

/// Gives the request's body `limit` to arrive; then reading it fails with [`io::ErrorKind::TimedOut`].
pub(super) fn limit_body(request: &mut ServiceRequest, limit: Duration) {
    if limit.is_zero() || matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    let body = request.take_payload();
    let timed = Timed { body, deadline: Box::pin(sleep(limit)) };
    request.set_payload(Payload::Stream { payload: Box::pin(timed) });
}

struct Timed {
    body: Payload,
    deadline: Pin<Box<Sleep>>,
}

impl Stream for Timed {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Asked first, so that a client that sends a byte every now and then gains nothing by it.
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))));
        }
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// Whether reading a body failed because it did not arrive in time.
pub(in crate::api) fn is_timeout(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
