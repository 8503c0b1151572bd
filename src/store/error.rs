//! What can go wrong with the store.

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such task; upstream's text.
    #[error("No task with id '{0}' found")]
    NoTask(String),
    /// The task is in the wrong state; upstream's texts.
    #[error("{0}")]
    Conflict(String),
    /// The worker that writes no longer has the right to.
    #[error("task '{0}' is no longer this worker's: it ended, or went back to the queue")]
    LostClaim(String),
    /// The database holds something that can't be read.
    #[error("the database holds {what} that can't be read: {reason}")]
    Corrupt {
        /// What it is, with its id.
        what: String,
        /// Why.
        reason: String,
    },
    /// The database can't be opened or is not ours.
    #[error("the database {path} can't be used: {reason}")]
    Open {
        /// File or URL without credentials.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A key for tasks' secrets can't be had; the text says which, and why.
    #[error("{0}")]
    Key(String),
    /// Nothing was written.
    #[error("the database did not take the write: {0}")]
    NotWritten(String),
    /// The database refused or is out of reach.
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NotWritten(_) | Self::Database(_))
    }
}
