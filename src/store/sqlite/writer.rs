//! The one place that writes.
//!
//! SQLite takes one writer at a time, and a durable commit costs a flush of the disk however much it holds. So all
//! writes go to one task that takes whatever has queued up, runs it in one transaction and acknowledges each write after
//! the commit: the more tasks log at once, the more writes share a flush.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// The most writes that share a transaction: bounds how long the first of them waits and how large the log grows.
const BATCH: usize = 256;
/// How many writes may queue up before callers wait.
const QUEUE: usize = 4096;

/// A write. It may run twice (after a rollback), and must refuse before it changes anything: any error other than
/// [`StoreError::Database`] leaves what it has written in the shared transaction.
#[async_trait]
pub(super) trait Write: Send + Sync + 'static {
    /// What the caller gets after the commit.
    type Output: Send + 'static;
    /// Runs within the transaction.
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Self::Output, StoreError>;
}

/// A queued write with its types erased.
#[async_trait]
trait Job: Send {
    /// Runs the write; `false` when the transaction must be rolled back.
    async fn run(&mut self, conn: &mut SqliteConnection) -> bool;
    /// Answers the caller: with what the run gave, or with the reason why nothing was written.
    fn answer(self: Box<Self>, failure: Option<&str>);
}

struct Pending<W: Write> {
    write: W,
    result: Option<Result<W::Output, StoreError>>,
    reply: oneshot::Sender<Result<W::Output, StoreError>>,
}

#[async_trait]
impl<W: Write> Job for Pending<W> {
    async fn run(&mut self, conn: &mut SqliteConnection) -> bool {
        let result = self.write.run(conn).await;
        let keep = !matches!(result, Err(StoreError::Database(_)));
        self.result = Some(result);
        keep
    }
    fn answer(self: Box<Self>, failure: Option<&str>) {
        let result = match (failure, self.result) {
            // A refusal stands whether or not the transaction it was found in was committed.
            (None, Some(result)) | (Some(_), Some(result @ Err(_))) => result,
            (Some(reason), _) => Err(StoreError::NotWritten(reason.to_string())),
            (None, None) => Err(StoreError::NotWritten("the write was not run".to_string())),
        };
        // Nobody to answer when the caller has gone away; the write stands all the same.
        let _ = self.reply.send(result);
    }
}

/// Hands writes to the writing task.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

impl Writer {
    /// Starts the writing task; it ends when the last handle is dropped and the queue is empty.
    pub(super) fn start(pool: SqlitePool) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(work(pool, receiver)))
    }

    /// Queues a write and waits until it is durable.
    pub(super) async fn write<W: Write>(&self, write: W) -> Result<W::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        let closed = || StoreError::NotWritten("the store has been closed".to_string());
        self.0.send(Box::new(Pending { write, result: None, reply })).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

async fn work(pool: SqlitePool, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut conn = match pool.acquire().await {
            Ok(conn) => conn,
            Err(error) => {
                let reason = error.to_string();
                batch.drain(..).for_each(|job| job.answer(Some(&reason)));
                continue;
            }
        };
        let mut alone = Vec::new();
        match transact(&mut conn, &mut batch).await {
            Ok(()) => batch.drain(..).for_each(|job| job.answer(None)),
            Err(Failure::Begin(reason)) => batch.drain(..).for_each(|job| job.answer(Some(&reason))),
            Err(Failure::RolledBack(reason)) if batch.len() == 1 => {
                batch.drain(..).for_each(|job| job.answer(Some(&reason)));
            }
            // One bad write must not take its neighbours along.
            Err(Failure::RolledBack(_)) => alone.append(&mut batch),
        }
        for job in alone {
            let mut single = vec![job];
            let failure = match transact(&mut conn, &mut single).await {
                Ok(()) => None,
                Err(Failure::Begin(reason) | Failure::RolledBack(reason)) => Some(reason),
            };
            single.into_iter().for_each(|job| job.answer(failure.as_deref()));
        }
    }
}

enum Failure {
    Begin(String),
    RolledBack(String),
}

async fn transact(conn: &mut SqliteConnection, batch: &mut [Box<dyn Job>]) -> Result<(), Failure> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await.map_err(|error| Failure::Begin(error.to_string()))?;
    for job in batch {
        if !job.run(conn).await {
            roll_back(conn).await;
            return Err(Failure::RolledBack("a write failed".to_string()));
        }
    }
    if let Err(error) = sqlx::query("COMMIT").execute(&mut *conn).await {
        roll_back(conn).await;
        return Err(Failure::RolledBack(error.to_string()));
    }
    Ok(())
}

async fn roll_back(conn: &mut SqliteConnection) {
    // SQLite has already rolled back by itself after some errors (full disk); then there is no transaction to end.
    let _ = sqlx::query("ROLLBACK").execute(conn).await;
}
