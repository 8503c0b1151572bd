//! Hears what other processes do, by `LISTEN` on a connection of its own.
//!
//! Notifications may be lost: the connection breaks, or a pooler between here and the server strips them. So a probe goes
//! through the other connections from time to time, and as long as it is not heard everybody is told to ask instead.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgNotification},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::connect;
use crate::{config::PostgresConfig, store::Signal};

/// How often a probe is sent.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How long it may take.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The most bytes of a channel's name.
const MAX_NAME: usize = 63;

/// The names of the channels. Notifications go to a whole database: schemas in it have their own names.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    /// A task waits in the queue; its id.
    pub(super) open: String,
    /// An event was stored; ids of its task and its own.
    pub(super) event: String,
    /// Somebody asked to cancel; the task's id.
    pub(super) cancel: String,
    /// The catalog changed.
    pub(super) catalog: String,
    probe: String,
}

impl Channels {
    pub(super) async fn of(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let schema: Option<String> = sqlx::query_scalar("SELECT current_schema()::text").fetch_one(pool).await?;
        let name = |what: &str| {
            let mut name = format!("understudy_{what}_{}", schema.as_deref().unwrap_or_default());
            while name.len() > MAX_NAME {
                name.pop();
            }
            name
        };
        Ok(Self {
            open: name("open"),
            event: name("event"),
            cancel: name("cancel"),
            catalog: name("catalog"),
            probe: name("probe"),
        })
    }

    fn signal(&self, notification: &PgNotification) -> Option<Signal> {
        let channel = notification.channel();
        let task = || notification.payload().split(' ').next().unwrap_or_default().to_string();
        if channel == self.open {
            Some(Signal::Open)
        } else if channel == self.event {
            Some(Signal::Event(task()))
        } else if channel == self.cancel {
            Some(Signal::Cancelled(task()))
        } else if channel == self.catalog {
            Some(Signal::Catalog)
        } else {
            None
        }
    }
}

struct Listener {
    config: PostgresConfig,
    others: PgPool,
    channels: Channels,
    signals: mpsc::Sender<Signal>,
    /// The last probe heard.
    heard: watch::Sender<String>,
    /// A connection listens: it is time for a probe.
    connected: Notify,
    /// Asks for a new connection.
    restart: Notify,
    is_hearing: AtomicBool,
}

/// Starts to listen, until `closing`.
pub(super) fn start(
    config: PostgresConfig,
    others: PgPool,
    channels: Channels,
    signals: mpsc::Sender<Signal>,
    closing: CancellationToken,
) -> JoinHandle<()> {
    let listener = Listener {
        config,
        others,
        channels,
        signals,
        heard: watch::Sender::new(String::new()),
        connected: Notify::new(),
        restart: Notify::new(),
        is_hearing: AtomicBool::new(false),
    };
    tokio::spawn(async move {
        let work = async { tokio::join!(listener.listen(), listener.probe()) };
        // Neither of them ends by itself.
        let _ = closing.run_until_cancelled(work).await;
    })
}

impl Listener {
    async fn tell(&self, signal: Signal) {
        // Nobody left to tell: the engine has ended before the store.
        let _ = self.signals.send(signal).await;
    }

    async fn set_hearing(&self, is_hearing: bool) {
        if self.is_hearing.swap(is_hearing, Ordering::Relaxed) != is_hearing {
            self.tell(Signal::Hearing(is_hearing)).await;
        }
    }

    /// Keeps a connection that listens.
    async fn listen(&self) {
        let mut pause = PAUSES.0;
        loop {
            let error = tokio::select! {
                error = self.listen_once(&mut pause) => error,
                () = self.restart.notified() => None,
            };
            if let Some(error) = error {
                tracing::warn!(%error, "the connection for notifications is lost; asking the database instead");
            }
            self.set_hearing(false).await;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn listen_once(&self, pause: &mut Duration) -> Option<sqlx::Error> {
        let Channels { open, event, cancel, catalog, probe } = &self.channels;
        // A pool for each connection: one that hangs must not keep its successor waiting.
        let mut listener = match PgListener::connect_with(&connect::listener_pool(&self.config)).await {
            Ok(listener) => listener,
            Err(error) => return Some(error),
        };
        listener.eager_reconnect(false);
        let names = [open, event, cancel, catalog, probe].map(String::as_str);
        if let Err(error) = listener.listen_all(names).await {
            return Some(error);
        }
        *pause = PAUSES.0;
        self.connected.notify_one();
        loop {
            match listener.try_recv().await {
                Ok(Some(notification)) if notification.channel() == *probe => {
                    self.heard.send_replace(notification.payload().to_string());
                }
                Ok(Some(notification)) => {
                    if let Some(signal) = self.channels.signal(&notification) {
                        self.tell(signal).await;
                    }
                }
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Finds out whether notifications arrive. What happened before the first one is found by whoever is told that they
    /// do; what happens from then on is heard.
    async fn probe(&self) {
        let mut told = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {}
                () = self.connected.notified() => {}
            }
            let text = uuid::Uuid::new_v4().simple().to_string();
            let mut heard = self.heard.subscribe();
            let sent = sqlx::query("SELECT pg_notify($1, $2)")
                .bind(&self.channels.probe)
                .bind(&text)
                .execute(&self.others)
                .await;
            if sent.is_err() {
                // The database is out of reach, which others report; it says nothing about notifications.
                continue;
            }
            let arrived = timeout(PROBE_LIMIT, heard.wait_for(|last| *last == text)).await.is_ok();
            self.set_hearing(arrived).await;
            if !arrived {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        "notifications of the database don't arrive (a pooler in transaction mode?); asking it every second"
                    );
                }
                self.restart.notify_one();
            } else {
                told = false;
            }
        }
    }
}
