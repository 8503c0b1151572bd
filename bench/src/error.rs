//! What can go wrong while something is measured.

use std::path::Path;

/// Result of this crate's functions.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A counterpart can't be started, or answered something else than it should.
    #[error(transparent)]
    Testbed(#[from] understudy_testbed::Error),
    /// A file, socket or process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A database that is filled for a measurement refused.
    #[error("filling a database: {0}")]
    Database(#[from] sqlx::Error),
    /// The two sides do not do the same.
    #[error("the two sides differ in {what}: {detail}")]
    Differ {
        /// What was compared.
        what: String,
        /// Where they differ first.
        detail: String,
    },
    /// Something else did not go as it must.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(path.display().to_string())
    }
}
