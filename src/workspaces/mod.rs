//! Workspaces outside the machine that runs a task, so that any replica can go on with it.
//!
//! A saved workspace is an archive in chunks, and a record in the database. The chunks are in the database as well, or in an
//! object store; the record says which of them the task goes on with, and only who holds the task's claim can change that.
//! What is being saved lies beside what was saved before until it is complete.

mod archive;
mod s3;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use camino::Utf8Path;
use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;
use understudy_sdk::{Workspace, workspace::Entry};
use uuid::Uuid;

pub use self::{archive::ArchiveError, s3::S3Error};
use self::{
    archive::{Packed, hex},
    s3::S3,
};
use crate::{
    config::WorkspaceProvider,
    store::{Claim, SavedContent, SavedWorkspace, StoreError, WorkspaceStore},
};

/// What records call the database.
const DATABASE: &str = "database";
/// What they call the object store.
const OBJECTS: &str = "s3";
/// Bytes of a chunk in the database: a statement holds one in memory several times.
const DATABASE_CHUNK: usize = 1 << 20;
/// Bytes of an object.
const OBJECT: usize = 8 << 20;
/// A file that changed so shortly before it was looked at may change again without a later time.
const TICK: Duration = Duration::from_secs(1);
/// How long the end of a task waits for the removal; the janitor makes up for what did not come to an end.
const REMOVAL_LIMIT: Duration = Duration::from_secs(5);
/// How many leftovers one look finds.
const LEFTOVERS_AT_ONCE: u32 = 100;

/// Why a workspace can't be saved or brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkspacesError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store.
    #[error(transparent)]
    Objects(#[from] S3Error),
    /// The object store, for too long.
    #[error("{0}; no longer waiting for it")]
    GaveUp(#[source] S3Error),
    /// The files.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What was saved is not complete, or not what was saved.
    #[error("the saved workspace is damaged: {0}")]
    Damaged(String),
    /// It is kept by somebody that this process knows nothing of.
    #[error(
        "the workspace was saved by the provider {0}, which scaffolder.taskRecovery of this process does not configure"
    )]
    Elsewhere(String),
}

impl WorkspacesError {
    /// Whether the same call may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Objects(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// How a workspace looked when it was saved or brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// SHA-256 of names, modes, sizes, inodes and times of change.
    looks: String,
    /// No file can have changed since without looking different.
    is_certain: bool,
    /// Tells its content from other content.
    fingerprint: String,
}

/// What a look at a workspace tells.
struct Look {
    entries: Vec<Entry>,
    looks: String,
    is_certain: bool,
}

impl Look {
    /// Blocks.
    fn at(workspace: &Workspace) -> Result<Self, ArchiveError> {
        let now = SystemTime::now();
        let entries = workspace.walk("")?;
        let mut hash = Context::new(&SHA256);
        let mut newest = 0;
        for Entry { path, mode, size, identity, changed, .. } in &entries {
            hash.update(path.as_str().as_bytes());
            let numbers = [u64::from(*mode), *size, identity.1, changed.0.cast_unsigned(), changed.1.cast_unsigned()];
            hash.update(&[0]);
            for number in numbers {
                hash.update(&number.to_be_bytes());
            }
            newest = newest.max(changed.0.cast_unsigned());
        }
        let newest = SystemTime::UNIX_EPOCH + Duration::from_secs(newest) + Duration::from_secs(1);
        Ok(Self { entries, looks: hex(hash), is_certain: newest + TICK < now })
    }
    fn snapshot(self, fingerprint: String) -> Snapshot {
        Snapshot { looks: self.looks, is_certain: self.is_certain, fingerprint }
    }
}

/// Keeps workspaces where the configuration says.
pub struct Workspaces {
    store: Arc<dyn WorkspaceStore>,
    objects: Option<S3>,
}

impl Workspaces {
    /// For this provider; `None` where workspaces stay on the machine's disk.
    ///
    /// # Errors
    /// The configuration of the object store can't be right.
    pub fn new(
        provider: &WorkspaceProvider,
        store: Arc<dyn WorkspaceStore>,
        http: reqwest::Client,
    ) -> Result<Option<Self>, S3Error> {
        Ok(match provider {
            WorkspaceProvider::Local => None,
            WorkspaceProvider::Database => Some(Self { store, objects: None }),
            WorkspaceProvider::S3(config) => Some(Self { store, objects: Some(S3::new(config, http)?) }),
        })
    }

    /// Writes, reads and deletes an object, where there is an object store.
    ///
    /// # Errors
    /// It can't be reached, or refuses.
    pub async fn probe(&self) -> Result<(), S3Error> {
        let Some(objects) = &self.objects else { return Ok(()) };
        let (name, content) = (format!("probe-{}", Uuid::new_v4()), Bytes::from_static(b"understudy"));
        objects.put(&name, content.clone()).await?;
        let found = objects.get(&name).await?;
        objects.delete(&name).await?;
        if found.as_ref() == Some(&content) {
            return Ok(());
        }
        Err(S3Error::Config(
            "the object store does not give back what was stored; is it one that S3's clients use?".into(),
        ))
    }

    /// Saves a workspace unless it is as it was at `last`.
    ///
    /// # Errors
    /// It can't be read or stored; then what was saved before stays.
    pub async fn save(
        &self,
        claim: &Claim,
        workspace: &Workspace,
        last: Option<Snapshot>,
    ) -> Result<Snapshot, WorkspacesError> {
        let (size, provider) = if self.objects.is_some() { (OBJECT, OBJECTS) } else { (DATABASE_CHUNK, DATABASE) };
        let at = workspace.clone();
        let look = blocking(move || {
            let look = Look::at(&at)?;
            let Some(last) = last else { return Ok(Err(look)) };
            if look.looks == last.looks && last.is_certain {
                return Ok(Ok(last));
            }
            // Reading everything costs less than storing it.
            let packed = archive::fingerprint(&at, &look.entries)?;
            Ok(if packed.fingerprint == last.fingerprint { Ok(look.snapshot(packed.fingerprint)) } else { Err(look) })
        })
        .await?;
        let look = match look {
            Ok(unchanged) => return Ok(unchanged),
            Err(look) => look,
        };
        let version = Uuid::new_v4();
        self.store.begin_workspace(claim, version, provider).await?;
        let (sender, mut chunks) = mpsc::channel(1);
        let at = workspace.clone();
        let packing = tokio::task::spawn_blocking(move || {
            let mut out = Chunks { sender, size, chunk: BytesMut::with_capacity(size) };
            let packed = archive::pack(&at, &look.entries, &mut out)?;
            Ok::<_, ArchiveError>((look.snapshot(packed.fingerprint.clone()), packed))
        });
        let mut hash = Context::new(&SHA256);
        let (mut number, mut bytes) = (0, 0);
        while let Some(chunk) = chunks.recv().await {
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            if let Err(error) = self.put(claim, version, number, chunk).await {
                self.withdraw(claim, version, number, &error).await;
                return Err(error);
            }
            number += 1;
        }
        let (snapshot, Packed { fingerprint, unpacked }) = joined(packing.await)?;
        let content = SavedContent { bytes, sha256: hex(hash), unpacked, fingerprint };
        let replaced = self.store.commit_workspace(claim, version, &content).await?;
        tracing::debug!(task_id = claim.task_id, bytes, unpacked, provider, "a workspace was saved");
        for old in replaced {
            self.discard(&old).await;
        }
        Ok(snapshot)
    }

    async fn put(&self, claim: &Claim, version: Uuid, number: u32, chunk: Bytes) -> Result<(), WorkspacesError> {
        let Some(objects) = &self.objects else {
            return Ok(self.store.put_chunk(claim, version, number, Some(chunk)).await?);
        };
        // Its name must be known before it is there, or nobody would remove it if this process died now.
        self.store.put_chunk(claim, version, number, None).await?;
        Ok(objects.put(&object(&claim.task_id, version, number), chunk).await?)
    }

    /// Removes the objects of a version that nobody knows any more: whoever has the task now may have forgotten it before
    /// the last of them came.
    async fn withdraw(&self, claim: &Claim, version: Uuid, last: u32, error: &WorkspacesError) {
        let (Some(objects), WorkspacesError::Store(StoreError::LostClaim(id))) = (&self.objects, error) else { return };
        for number in 0..=last {
            if let Err(error) = objects.delete(&object(&claim.task_id, version, number)).await {
                tracing::warn!(task_id = id, %error, "an object of a workspace that is no longer ours remains");
            }
        }
    }

    /// What the task goes on with is none of what was saved: the next run starts over.
    ///
    /// # Errors
    /// It can't be stored, or the claim is gone.
    pub async fn disown(&self, claim: &Claim) -> Result<(), StoreError> {
        self.store.disown_workspace(claim).await
    }

    /// Brings the saved workspace of a task back into a directory that does not exist yet. `None`: nothing is saved.
    ///
    /// # Errors
    /// It can't be read, or not be written; what is in the directory then is not to be used.
    pub async fn restore(&self, task_id: &str, directory: &Utf8Path) -> Result<Option<Snapshot>, WorkspacesError> {
        let Some(saved) = self.store.saved_workspace(task_id).await? else { return Ok(None) };
        let (sender, receiver) = mpsc::channel(1);
        let (directory, unpacked) = (directory.to_owned(), saved.content.unpacked);
        let unpacking = tokio::task::spawn_blocking(move || {
            let workspace = Workspace::create(&directory)?;
            archive::unpack(Unchunked { receiver, chunk: Bytes::new() }, unpacked, &workspace)?;
            Look::at(&workspace)
        });
        let mut hash = Context::new(&SHA256);
        for number in 0..saved.chunks {
            let chunk = self.get(&saved, number).await?;
            let chunk = chunk.ok_or_else(|| WorkspacesError::Damaged(format!("chunk {number} is missing")))?;
            hash.update(&chunk);
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
        drop(sender);
        let look = joined(unpacking.await);
        let sha256 = hex(hash);
        if sha256 != saved.content.sha256 {
            let reason = match look {
                Ok(_) => "it is not what was saved".to_string(),
                Err(error) => error.to_string(),
            };
            return Err(WorkspacesError::Damaged(reason));
        }
        Ok(Some(look?.snapshot(saved.content.fingerprint)))
    }

    async fn get(&self, saved: &SavedWorkspace, number: u32) -> Result<Option<Bytes>, WorkspacesError> {
        if saved.provider == DATABASE {
            return Ok(self.store.chunk(saved, number).await?);
        }
        Ok(self.objects(saved)?.get(&object(&saved.task_id, saved.version, number)).await?)
    }

    fn objects(&self, saved: &SavedWorkspace) -> Result<&S3, WorkspacesError> {
        let objects = self.objects.as_ref().filter(|_| saved.provider == OBJECTS);
        objects.ok_or_else(|| WorkspacesError::Elsewhere(saved.provider.clone()))
    }

    /// Removes whatever is saved of a task that has ended; one that waits or runs is left alone. It gives up after a few
    /// seconds. Failures are logged, and made up for by [`Workspaces::remove_leftovers`].
    pub async fn remove(&self, task_id: &str) {
        if tokio::time::timeout(REMOVAL_LIMIT, self.remove_all(task_id)).await.is_err() {
            tracing::warn!(task_id, "removing a saved workspace takes too long; it is left for later");
        }
    }

    async fn remove_all(&self, task_id: &str) {
        match self.store.retire_workspaces(task_id).await {
            Ok(saved) => {
                for saved in saved {
                    self.discard(&saved).await;
                }
            }
            Err(error) => tracing::warn!(task_id, %error, "a saved workspace could not be removed"),
        }
    }

    async fn discard(&self, saved: &SavedWorkspace) {
        let discarded = async {
            if saved.provider != DATABASE {
                let objects = self.objects(saved)?;
                for number in 0..saved.chunks {
                    objects.delete(&object(&saved.task_id, saved.version, number)).await?;
                }
            }
            Ok::<_, WorkspacesError>(self.store.forget_workspace(saved).await?)
        };
        if let Err(error) = discarded.await {
            tracing::warn!(task_id = saved.task_id, %error, "a saved workspace could not be removed");
        }
    }

    /// Removes what is left of tasks that completed or no longer exist, and of those that ended otherwise `kept_for` ago.
    pub async fn remove_leftovers(&self, kept_for: Duration) {
        match self.store.leftover_workspaces(kept_for, LEFTOVERS_AT_ONCE).await {
            Ok(tasks) => {
                for id in tasks {
                    self.remove_all(&id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "saved workspaces of ended tasks could not be listed"),
        }
    }
}

/// An object's name below the configured root.
fn object(task_id: &str, version: Uuid, number: u32) -> String {
    format!("{task_id}/{version}/{number}")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// A panic is the archive's failure.
fn joined<T>(result: Result<Result<T, ArchiveError>, tokio::task::JoinError>) -> Result<T, ArchiveError> {
    result.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// Cuts what is written into chunks.
struct Chunks {
    sender: mpsc::Sender<Bytes>,
    size: usize,
    chunk: BytesMut,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, BytesMut::with_capacity(self.size)).freeze();
        // The other side has given up; it knows why.
        self.sender.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.size - self.chunk.len());
        self.chunk.extend_from_slice(&buffer[..n]);
        if self.chunk.len() == self.size {
            self.send()?;
        }
        Ok(n)
    }
    /// Called once, behind the last byte.
    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Reads chunks as one stream.
struct Unchunked {
    receiver: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Unchunked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.chunk.len());
        buffer[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}
