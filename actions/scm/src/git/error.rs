//! Why a push failed, and whether trying again can help.

use understudy_sdk::{ActionError, WorkspaceError};

/// Texts hold no credentials: they are built from the redacted URL and the server's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// Trying again gives the same.
    #[error("{0}")]
    Refused(String),
    /// What is to be pushed collides with what the server has.
    #[error("{0}")]
    Conflict(String),
    /// The repository isn't there, or not yet: GitHub needs a moment after creating one.
    #[error("{0}")]
    Missing(String),
    /// The network or the server had a bad moment.
    #[error("{0}")]
    Transient(String),
    /// The server refuses or resets connections.
    #[error("{0}")]
    Unreachable(String),
    /// The directory can't be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The caller may not do it any more.
    #[error(transparent)]
    NotAllowed(ActionError),
    /// The caller has lost interest.
    #[error("the task was cancelled")]
    Cancelled,
}

impl From<PushError> for ActionError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Workspace(error) => error.into(),
            PushError::NotAllowed(error) => error,
            PushError::Cancelled => Self::cancelled(),
            PushError::Conflict(text) => Self::conflict(text),
            PushError::Missing(text) => Self::not_found(text),
            PushError::Unreachable(_) => Self::failed(error.to_string()).with_source(error),
            PushError::Refused(_) | PushError::Transient(_) => Self::failed(error.to_string()),
        }
    }
}
