//! PostgreSQL: one queue that any number of processes work through.
//!
//! Whatever writes something of a task locks the task's row first. So what is seen of a task behind that lock is what
//! counts, events of a task become visible in the order of their ids, and two writers of one task never deadlock.

mod catalog;
mod connect;
mod keys;
mod listener;
mod schema;
mod tasks;
#[cfg(test)]
mod tests;
mod workspaces;

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgPool;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{connect::Failure, listener::Channels};
use super::{recoverable::Recoverable, schema::SchemaError};
use crate::{
    config::PostgresConfig,
    store::{PendingStep, Signal, StoreError, Vault},
    together::Together,
};

/// Tasks, events and catalog entities in a PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    pool: PgPool,
    /// Names this process in `understudy_claims`.
    replica: String,
    channels: Channels,
    recoverable: Recoverable,
    vault: Vault,
    /// Counts of lists: with a million tasks each takes a while.
    counts: Together<i64>,
    signals: Mutex<Option<mpsc::Receiver<Signal>>>,
    closing: CancellationToken,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("replica", &self.0.replica).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects; secrets of tasks are kept in this vault. Makes database, schema and tables where they are missing and the configuration allows it. Then listens
    /// for what other processes do.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the server can't be reached or refuses, when the database is no scaffolder's, or was
    /// changed by a newer version, or when a key is missing that secrets of waiting or running tasks were encrypted with.
    pub async fn open(config: &PostgresConfig, skip_migrations: bool, vault: Vault) -> Result<Self, StoreError> {
        let store = Self::open_inner(config, skip_migrations, vault).await;
        let store = store.map_err(|failure| open_error(config, &failure))?;
        let checked = store.check_secrets().await;
        if checked.is_err() {
            store.finish().await;
        }
        checked.map_err(|reason| StoreError::Open { path: connect::shown(config), reason })?;
        Ok(store)
    }

    async fn check_secrets(&self) -> Result<(), String> {
        let sealed = sqlx::query_as(
            "SELECT id::text, secrets FROM tasks WHERE status IN ('open', 'processing') AND secrets IS NOT NULL",
        );
        let sealed: Vec<(String, String)> = sealed.fetch_all(&self.0.pool).await.map_err(|error| error.to_string())?;
        self.0.vault.check(&sealed)
    }

    async fn open_inner(config: &PostgresConfig, skip_migrations: bool, vault: Vault) -> Result<Self, Failure> {
        connect::ensure(config).await?;
        let pool = connect::pool(config).await?;
        schema::migrate(&mut *pool.acquire().await?, skip_migrations).await?;
        let channels = Channels::of(&pool).await?;
        let closing = CancellationToken::new();
        let (signals, receiver) = mpsc::channel(1024);
        let listening = listener::start(config.clone(), pool.clone(), channels.clone(), signals, closing.clone());
        Ok(Self(Arc::new(Inner {
            pool,
            replica: replica(),
            channels,
            recoverable: Recoverable::default(),
            vault,
            counts: Together::default(),
            signals: Mutex::new(Some(receiver)),
            closing,
            listening: Mutex::new(Some(listening)),
        })))
    }

    async fn finish(&self) {
        self.0.closing.cancel();
        let listening = locked(&self.0.listening).take();
        if let Some(listening) = listening {
            // An error means that it panicked; there is nothing left to wait for.
            let _ = listening.await;
        }
        self.0.pool.close().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Host, process and a number of its own: a process id may come again.
fn replica() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let number = uuid::Uuid::new_v4().simple().to_string();
    format!("{}/{}/{}", host.trim(), std::process::id(), &number[..8])
}

/// The data behind these locks is valid after any panic: each is changed by a single call.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The steps that opening this database would take.
pub(super) async fn pending(config: &PostgresConfig) -> Result<Vec<PendingStep>, StoreError> {
    connect::pending(config).await.map_err(|failure| open_error(config, &failure))
}

fn open_error(config: &PostgresConfig, failure: &Failure) -> StoreError {
    StoreError::Open { path: connect::shown(config), reason: connect::reason(config, failure) }
}
