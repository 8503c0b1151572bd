//! Saved workspaces: a record of each in the database, so that only who holds a task's claim replaces it, wherever its
//! content is.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::{Claim, StoreError};
use crate::model::TaskId;

/// What was saved of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedWorkspace {
    /// The task's id.
    pub task_id: TaskId,
    /// Tells it from what was saved of the same task before and after.
    pub version: Uuid,
    /// Who keeps the content.
    pub provider: String,
    /// In how many chunks, as far as is known: one that was never completed may have one less.
    pub chunks: u32,
    /// What they hold.
    pub content: SavedContent,
}

/// The content of a saved workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedContent {
    /// Bytes of all chunks.
    pub bytes: u64,
    /// SHA-256 of all chunks, hexadecimal.
    pub sha256: String,
    /// Bytes when it is unpacked.
    pub unpacked: u64,
    /// What tells it from other content.
    pub fingerprint: String,
}

/// Saved workspaces. Whatever shows a claim is refused with [`StoreError::LostClaim`] once that is gone.
#[async_trait]
pub trait WorkspaceStore: Send + Sync + 'static {
    /// Records that a workspace is about to be saved.
    async fn begin_workspace(&self, claim: &Claim, version: Uuid, provider: &str) -> Result<(), StoreError>;
    /// Takes note of a chunk, numbered from 0 and about to be kept elsewhere, or keeps it here. The same may be said twice.
    async fn put_chunk(
        &self,
        claim: &Claim,
        version: Uuid,
        number: u32,
        content: Option<Bytes>,
    ) -> Result<(), StoreError>;
    /// Makes it the one that the task goes on with; gives those it replaces, and what was never completed.
    async fn commit_workspace(
        &self,
        claim: &Claim,
        version: Uuid,
        content: &SavedContent,
    ) -> Result<Vec<SavedWorkspace>, StoreError>;
    /// What was saved of a running task is not what the task goes on with.
    async fn disown_workspace(&self, claim: &Claim) -> Result<(), StoreError>;
    /// What the task goes on with.
    async fn saved_workspace(&self, id: &str) -> Result<Option<SavedWorkspace>, StoreError>;
    /// A chunk that is kept here.
    async fn chunk(&self, workspace: &SavedWorkspace, number: u32) -> Result<Option<Bytes>, StoreError>;
    /// All that was saved of a task, to be removed: from now on it does not go on with any of it. Nothing while the task
    /// waits or runs.
    async fn retire_workspaces(&self, id: &str) -> Result<Vec<SavedWorkspace>, StoreError>;
    /// Forgets one, with the chunks that are kept here.
    async fn forget_workspace(&self, workspace: &SavedWorkspace) -> Result<(), StoreError>;
    /// Tasks that have ended and of which something is still saved: completed ones, and those whose last sign of life is
    /// at least `kept_for` old; also those that no longer exist. At most so many.
    async fn leftover_workspaces(&self, kept_for: Duration, limit: u32) -> Result<Vec<TaskId>, StoreError>;
}
