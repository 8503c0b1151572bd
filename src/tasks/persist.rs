//! Writes of a run outlive an interruption of the database.

use std::{future::Future, time::Duration};

use super::runner::{StopReason, StopSignal};
use crate::{store::StoreError, workspaces::WorkspacesError};

/// Pauses between attempts. Together longer than a database takes to restart; a run whose lease ends meanwhile is told to
/// stop, and gives up.
const PAUSES: [u64; 9] = [100, 300, 600, 1000, 2000, 3000, 5000, 5000, 5000];

/// An error that may be gone a moment later.
pub(super) trait Passing: std::fmt::Display {
    /// Whether the same call may succeed then.
    fn is_passing(&self) -> bool;
}

impl Passing for StoreError {
    fn is_passing(&self) -> bool {
        Self::is_passing(self)
    }
}

impl Passing for WorkspacesError {
    fn is_passing(&self) -> bool {
        Self::is_passing(self)
    }
}

/// Calls `write` until it succeeds, refuses, or has failed too often. `what` is for the log.
///
/// # Errors
/// That of the last attempt.
pub(super) async fn persist<T, E, F>(what: &str, stop: &StopSignal, write: impl Fn() -> F) -> Result<T, E>
where
    E: Passing,
    F: Future<Output = Result<T, E>>,
{
    let mut pauses = PAUSES.iter();
    loop {
        match write().await {
            Err(error) if error.is_passing() && stop.reason() != Some(StopReason::Lost) => match pauses.next() {
                Some(pause) => {
                    tracing::warn!(%error, "{what} could not be stored, trying again");
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                }
                None => return Err(error),
            },
            other => return other,
        }
    }
}
