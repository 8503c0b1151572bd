//! Connections whose other end is slow or gone.
//!
//! actix limits the time for the head of a connection's first request, but not for those that follow, and waits without
//! end for a client that takes nothing of an answer. So the system is told to drop connections whose other end takes
//! nothing ([`ConnectionGuard::on_connect`]), and a watch ends those that are open without a request being served for longer
//! than any well-behaved client needs.

use std::{
    any::Any,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::{Extensions, ServiceRequest},
    rt::net::TcpStream,
    web::Bytes,
};
use rustix::net::{Shutdown, shutdown, sockopt};
use tokio::time::Instant;

use crate::config::Timeouts;

/// After how much silence the system asks whether the other end is still there, and how often.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Watches over all connections of the server; cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionGuard {
    timeouts: Timeouts,
    open: Arc<Mutex<Vec<Weak<Connection>>>>,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    /// A second handle of the socket, to end the connection from outside.
    socket: OwnedFd,
    /// Requests being served.
    requests: AtomicUsize,
    idle_since: Mutex<Instant>,
}

impl ConnectionGuard {
    /// A guard that knows no connection yet.
    pub fn new(timeouts: &Timeouts) -> Self {
        Self { timeouts: timeouts.clone(), open: Arc::default() }
    }

    /// To be called with each new connection (`HttpServer::on_connect`).
    pub fn on_connect(&self, stream: &dyn Any, data: &mut Extensions) {
        let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
        if let Err(error) = self.set_up(stream) {
            tracing::debug!(%error, "a connection could not be set up to notice that its other end is gone");
        }
        match stream.as_fd().try_clone_to_owned() {
            Ok(socket) => {
                let connection =
                    Connection { socket, requests: AtomicUsize::new(0), idle_since: Mutex::new(Instant::now()) };
                let connection = Arc::new(connection);
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.push(Arc::downgrade(&connection));
                data.insert(connection);
            }
            Err(error) => tracing::warn!(%error, "a connection is not watched over"),
        }
    }

    fn set_up(&self, stream: &TcpStream) -> rustix::io::Result<()> {
        // Or an event would wait until the other end has acknowledged what was sent before it, which takes up to 40 ms.
        sockopt::set_tcp_nodelay(stream, true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
        sockopt::set_tcp_keepcnt(stream, PROBES)?;
        // Also counts while the other end says that it has no room (tcp(7), TCP_USER_TIMEOUT).
        let stalled = u32::try_from(self.timeouts.stalled.as_millis()).unwrap_or(0);
        sockopt::set_tcp_user_timeout(stream, stalled)
    }

    /// How long a connection may be open without a request being served: the pause that is allowed, the time for a head,
    /// and the time that a slow client may take for what is left of the answer before.
    fn patience(&self) -> Option<Duration> {
        let Timeouts { head, keep_alive, stalled, .. } = self.timeouts;
        (!head.is_zero()).then_some(head + keep_alive + stalled)
    }

    /// Ends connections that are open without a request for too long. Runs until it is dropped.
    pub async fn watch(self) {
        let Some(patience) = self.patience() else { return };
        let mut ticks = tokio::time::interval((patience / 4).max(Duration::from_millis(50)));
        loop {
            ticks.tick().await;
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|connection| {
                let Some(connection) = connection.upgrade() else { return false };
                let since = *connection.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
                if connection.requests.load(Ordering::Acquire) == 0 && since.elapsed() > patience {
                    // An error says that the connection has just gone.
                    let _ = shutdown(&connection.socket, Shutdown::Both);
                    return false;
                }
                true
            });
        }
    }
}

/// A request that is being served on a connection, until its answer is complete.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    /// Marks the request's connection as busy; `None` when it isn't watched.
    pub(super) fn on(request: &ServiceRequest) -> Option<Self> {
        let connection = request.conn_data::<Arc<Connection>>()?;
        connection.requests.fetch_add(1, Ordering::AcqRel);
        Some(Self(Arc::clone(connection)))
    }

    /// Keeps the connection busy until the body has been given out.
    pub(super) fn until_sent(self, body: BoxBody) -> BoxBody {
        match body.size() {
            BodySize::None | BodySize::Sized(0) => body,
            BodySize::Sized(_) | BodySize::Stream => BoxBody::new(BusyBody { body, _busy: self }),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

struct BusyBody {
    body: BoxBody,
    _busy: Busy,
}

impl MessageBody for BusyBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_sent_does_not_wait_for_what_was_sent_before() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!sockopt::tcp_nodelay(&stream).unwrap(), "the system's default has changed");
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { head: second, body: second, keep_alive: second, stalled: second };
        ConnectionGuard::new(&timeouts).on_connect(&stream, &mut Extensions::new());
        assert!(sockopt::tcp_nodelay(&stream).unwrap() && sockopt::socket_keepalive(&stream).unwrap());
        drop(client);
    }
}
