//! The embedded database: one SQLite file, nothing to set up.

mod catalog;
mod keys;
mod schema;
mod tasks;
#[cfg(test)]
mod tests;
mod workspaces;
mod writer;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use self::writer::Writer;
use super::{recoverable::Recoverable, schema::SchemaError};
use crate::{
    config::DatabaseConfig,
    store::{PendingStep, StoreError, Vault},
    together::Together,
};

/// How long a connection waits for another process (Backstage, `sqlite3`) that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read beside the writer.
const READERS: u32 = 4;
/// Databases up to this size are checked for damage at start: it takes well under a second.
const QUICK_CHECK_LIMIT: u64 = 16 * 1024 * 1024;

/// Tasks, events and catalog entities in a SQLite database. Cheap to clone.
///
/// Writes are durable when their future resolves: the journal is a write-ahead log with `synchronous = FULL`, which
/// flushes the log at every commit. (`NORMAL` flushes only at checkpoints: after a power failure events that a client has
/// already seen would be gone, and ids would be given out twice.)
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    writer: Mutex<Option<Writer>>,
    writing: Mutex<Option<tokio::task::JoinHandle<()>>>,
    write_pool: SqlitePool,
    readers: SqlitePool,
    recoverable: Recoverable,
    vault: Vault,
    /// Counts of lists: with a million tasks each takes a while.
    counts: Together<i64>,
    /// Held as long as the store is in use.
    lock: Mutex<Option<FileLock>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database, with secrets written as they are; makes file, directories and tables where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Open`] when another process uses the file, when it is damaged, no scaffolder database, changed by a
    /// newer version, or can't be written.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        Self::open_with(config, false, Vault::default()).await
    }

    /// As [`SqliteStore::open`], with secrets kept in this vault; with `skip_migrations` tables that are missing are an
    /// error.
    ///
    /// # Errors
    /// As there; also when a key is missing that secrets of waiting or running tasks were encrypted with.
    pub async fn open_with(config: &DatabaseConfig, skip_migrations: bool, vault: Vault) -> Result<Self, StoreError> {
        match config {
            // Nobody else could have made the tables of a database in memory.
            DatabaseConfig::SqliteMemory => Self::open_memory(vault).await,
            DatabaseConfig::SqliteFile(path) => Self::open_file(path, skip_migrations, vault).await,
            DatabaseConfig::Postgres(_) => {
                Err(StoreError::Open { path: "PostgreSQL".to_string(), reason: "it is no SQLite database".to_string() })
            }
        }
    }

    async fn open_memory(vault: Vault) -> Result<Self, StoreError> {
        let open_error = |error: SchemaError| open_error(":memory:", &error);
        let options = SqliteConnectOptions::new().filename(":memory:").foreign_keys(true);
        // The database lives as long as its only connection.
        let pool = pool_options(1).connect_with(options).await.map_err(|error| open_error(error.into()))?;
        let mut conn = pool.acquire().await?;
        schema::migrate(&mut conn, false).await.map_err(open_error)?;
        drop(conn);
        Ok(Self::start(pool.clone(), pool, vault, None))
    }

    async fn open_file(path: &Utf8Path, skip_migrations: bool, vault: Vault) -> Result<Self, StoreError> {
        let lock = prepare_file(path)?;
        let open_error = |error: SchemaError| open_error(path.as_str(), &error);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let write_pool =
            pool_options(1).connect_with(options.clone()).await.map_err(|error| open_error(error.into()))?;
        let mut conn = write_pool.acquire().await?;
        let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if length <= QUICK_CHECK_LIMIT {
            schema::quick_check(&mut conn).await.map_err(open_error)?;
        }
        schema::migrate(&mut conn, skip_migrations).await.map_err(open_error)?;
        let sealed = sqlx::query_as(
            "SELECT id, secrets FROM tasks WHERE status IN ('open', 'processing') AND secrets IS NOT NULL",
        );
        let sealed: Vec<(String, String)> =
            sealed.fetch_all(&mut *conn).await.map_err(|error| open_error(error.into()))?;
        vault.check(&sealed).map_err(|reason| StoreError::Open { path: path.to_string(), reason })?;
        drop(conn);
        let readers = pool_options(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(|error| open_error(error.into()))?;
        Ok(Self::start(write_pool, readers, vault, Some(lock)))
    }

    fn start(write_pool: SqlitePool, readers: SqlitePool, vault: Vault, lock: Option<FileLock>) -> Self {
        let (writer, writing) = Writer::start(write_pool.clone());
        Self(Arc::new(Inner {
            writer: Mutex::new(Some(writer)),
            writing: Mutex::new(Some(writing)),
            write_pool,
            readers,
            recoverable: Recoverable::default(),
            vault,
            counts: Together::default(),
            lock: Mutex::new(lock),
        }))
    }

    async fn write<W: writer::Write>(&self, write: W) -> Result<W::Output, StoreError> {
        let writer = locked(&self.0.writer).clone();
        match writer {
            Some(writer) => writer.write(write).await,
            None => Err(StoreError::NotWritten("the store has been closed".to_string())),
        }
    }

    async fn finish(&self) {
        drop(locked(&self.0.writer).take());
        let writing = locked(&self.0.writing).take();
        if let Some(writing) = writing {
            // An error means that the writing task panicked; there is nothing left to wait for.
            let _ = writing.await;
        }
        self.0.readers.close().await;
        // The last connection folds the write-ahead log into the file.
        self.0.write_pool.close().await;
        drop(locked(&self.0.lock).take());
    }
}

/// The steps that opening this file would take.
pub(super) async fn pending(path: &Utf8Path) -> Result<Vec<PendingStep>, StoreError> {
    let open_error = |error: SchemaError| open_error(path.as_str(), &error);
    if !path.exists() {
        let steps = schema::all().map_err(open_error)?;
        let create = PendingStep { recorded_in: None, name: format!("create the file {path}"), sql: "" };
        return Ok(std::iter::once(create).chain(steps).collect());
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(|error| open_error(error.into()))?;
    let steps = schema::pending(&mut conn).await.map_err(open_error);
    // Nothing was written.
    let _ = conn.close().await;
    steps
}

/// The data behind these locks is valid after any panic: each is changed by a single call.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool_options(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(60))
}

fn open_error(path: &str, error: &SchemaError) -> StoreError {
    let reason = match error {
        SchemaError::Database(sqlx::Error::Database(database)) => {
            // Extended result codes keep the primary one in the low byte.
            let code = database.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
            match code {
                Some(11 | 26) => format!(
                    "it is damaged or no SQLite database ({}); restore it from a backup, try `sqlite3 <file> .recover`, or \
                     name another file",
                    database.message()
                ),
                Some(5 | 6) => format!(
                    "another process holds it ({}); stop it (a Backstage backend, a sqlite3 shell) and start again",
                    database.message()
                ),
                Some(8) => {
                    format!("it can't be written ({}); check the permissions of file and directory", database.message())
                }
                Some(13) => "the disk is full; free some space and start again".to_string(),
                Some(14) => format!("it can't be opened ({}); check path and permissions", database.message()),
                _ => database.message().to_string(),
            }
        }
        other => other.to_string(),
    };
    StoreError::Open { path: path.to_string(), reason }
}

/// An advisory lock on `<database>.lock`: SQLite itself would let two services run the same tasks.
struct FileLock(File);

impl Drop for FileLock {
    fn drop(&mut self) {
        // The system drops the lock with the process in any case. The file stays: removing it would let a third process
        // lock a name that a second one holds.
        let _ = self.0.unlock();
    }
}

/// Makes directory and file (readable for this user only: the database holds secrets) and takes the lock.
fn prepare_file(path: &Utf8Path) -> Result<FileLock, StoreError> {
    let failed = |reason: String| StoreError::Open { path: path.to_string(), reason };
    if path.is_dir() {
        return Err(failed("it is a directory; name a file in it".to_string()));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_str().is_empty()) {
        make_directory(parent).map_err(|error| failed(format!("its directory can't be made: {error}")))?;
    }
    let lock = lock_file(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private(&mut options);
    let mut file = options.open(path).map_err(|error| {
        failed(format!("it can't be opened for reading and writing: {error}; check the permissions"))
    })?;
    let mut head = Vec::new();
    Read::by_ref(&mut file)
        .take(16)
        .read_to_end(&mut head)
        .map_err(|error| failed(format!("it can't be read: {error}")))?;
    if !head.is_empty() && head != b"SQLite format 3\0" {
        return Err(failed("it is no SQLite database; name another file, or one that doesn't exist yet".to_string()));
    }
    Ok(lock)
}

fn lock_file(path: &Utf8Path) -> Result<FileLock, StoreError> {
    let failed = |reason: String| StoreError::Open { path: path.to_string(), reason };
    let lock_path = Utf8PathBuf::from(format!("{path}.lock"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private(&mut options);
    let mut file = options
        .open(&lock_path)
        .map_err(|error| failed(format!("its lock file {lock_path} can't be opened: {error}")))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Only to name the owner; a lock file that can't be read is no reason to say less than the rest.
            let _ = Read::by_ref(&mut file).take(64).read_to_string(&mut owner);
            let owner = owner.trim();
            let owner = if owner.is_empty() { String::new() } else { format!(" (process {owner})") };
            return Err(failed(format!(
                "another instance of this service is using it{owner}; stop that one or name another file"
            )));
        }
        Err(TryLockError::Error(error)) => {
            return Err(failed(format!("its lock file {lock_path} can't be locked: {error}")));
        }
    }
    // Information for people; the lock is what counts.
    let _ = file.set_len(0);
    let _ = file.rewind();
    let _ = writeln!(file, "{}", std::process::id());
    Ok(FileLock(file))
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

pub(super) fn make_directory(path: &Utf8Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}
