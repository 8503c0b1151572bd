//! The workspace of one run, kept outside this machine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Mutex;
use understudy_sdk::Workspace;

use super::{
    directory::RunDirectory,
    log::StorageFailed,
    persist::persist,
    runner::{StopReason, StopSignal},
};
use crate::{
    store::{Claim, StoreError},
    workspaces::{Snapshot, Workspaces, WorkspacesError},
};

/// How long a step waits for an object store that does not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Saves the workspace of a run whenever what is known of its steps is saved: the two belong together.
pub(super) struct SavedCopy {
    workspaces: Arc<Workspaces>,
    claim: Claim,
    directory: RunDirectory,
    stop: Arc<StopSignal>,
    last: Mutex<Option<Snapshot>>,
    /// The object store kept a step waiting for nothing: the next one asks it once.
    is_away: AtomicBool,
}

/// What became of an earlier run's workspace.
pub(super) enum Restored {
    /// It is there again.
    Back(Snapshot),
    /// It is not, for this reason.
    Gone(String),
}

impl SavedCopy {
    /// `last`: how the directory looked when it was brought back.
    pub(super) fn new(
        workspaces: Arc<Workspaces>,
        claim: Claim,
        directory: RunDirectory,
        stop: Arc<StopSignal>,
        last: Option<Snapshot>,
    ) -> Self {
        Self { workspaces, claim, directory, stop, last: Mutex::new(last), is_away: AtomicBool::new(false) }
    }

    /// Saves the workspace unless it is as it was. One that can't be saved does not keep the task from going on: what was
    /// saved before is given up, and the task would start over if this process died now.
    ///
    /// # Errors
    /// The database can't be reached, or the task is no longer ours.
    pub(super) async fn save(&self) -> Result<(), StorageFailed> {
        let mut last = self.last.lock().await;
        let (started, is_away) = (Instant::now(), self.is_away.load(Ordering::Relaxed));
        let saved = persist("the workspace of a task", &self.stop, || async {
            let workspace = Workspace::open(self.directory.path()).map_err(crate::workspaces::ArchiveError::from)?;
            match self.workspaces.save(&self.claim, &workspace, last.clone()).await {
                Err(WorkspacesError::Objects(error)) if is_away || started.elapsed() >= PATIENCE => {
                    Err(WorkspacesError::GaveUp(error))
                }
                other => other,
            }
        });
        match saved.await {
            Ok(snapshot) => {
                self.is_away.store(false, Ordering::Relaxed);
                *last = Some(snapshot);
            }
            Err(WorkspacesError::Store(error)) => return Err(self.failed(&error)),
            Err(error) => {
                self.is_away.store(matches!(error, WorkspacesError::GaveUp(_)), Ordering::Relaxed);
                let task_id = &self.claim.task_id;
                tracing::warn!(task_id, %error, "the workspace can't be saved; if this process dies, the task starts over");
                let disowned = persist("the workspace of a task", &self.stop, || self.workspaces.disown(&self.claim));
                disowned.await.map_err(|error| self.failed(&error))?;
                *last = None;
            }
        }
        Ok(())
    }

    fn failed(&self, error: &StoreError) -> StorageFailed {
        if matches!(error, StoreError::LostClaim(_)) {
            self.stop.stop(StopReason::Lost);
        }
        StorageFailed { what: "workspace", reason: error.to_string() }
    }
}

/// Brings the workspace of an earlier run back into an empty place.
///
/// # Errors
/// It can't be reached at present.
pub(super) async fn restore(
    workspaces: &Workspaces,
    task_id: &str,
    directory: &RunDirectory,
    stop: &StopSignal,
) -> Result<Restored, StorageFailed> {
    let restored = persist("the workspace of a task", stop, || async {
        // Also what an attempt before this one left.
        directory.remove().map_err(crate::workspaces::ArchiveError::from)?;
        workspaces.restore(task_id, directory.path()).await
    });
    match restored.await {
        Ok(Some(snapshot)) => Ok(Restored::Back(snapshot)),
        Ok(None) => Ok(Restored::Gone("is gone".to_string())),
        Err(error) if error.is_passing() => Err(StorageFailed { what: "workspace", reason: error.to_string() }),
        Err(error) => Ok(Restored::Gone(format!("can't be brought back ({error})"))),
    }
}
