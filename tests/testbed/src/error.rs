//! What can go wrong while a counterpart is started or used.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a counterpart could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program the testbed runs is not installed.
    #[error("the program `{program}` is needed and was not found on PATH; {install}")]
    MissingProgram {
        /// Its name.
        program: String,
        /// How to install it.
        install: &'static str,
    },
    /// A program ran and reported failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Program {
        /// Program and arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// A file or socket operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with the path or address.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A process ended before it answered.
    #[error("{program} ended with {status} before it was ready; its output:\n{logs}")]
    EndedEarly {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Everything it wrote.
        logs: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}; {detail}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// For how long.
        limit: Duration,
        /// What was seen instead.
        detail: String,
    },
    /// An HTTP exchange failed.
    #[error("{what}: {source}")]
    Http {
        /// Method and URL, or what was being built.
        what: String,
        /// Why it failed.
        source: reqwest::Error,
    },
    /// An answer was not what the caller asked for.
    #[error("{what}: {detail}")]
    Unexpected {
        /// What was read.
        what: String,
        /// What was wrong with it.
        detail: String,
    },
    /// A file is missing or has the wrong content.
    #[error("{path}: {detail}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn http(what: impl Into<String>) -> impl FnOnce(reqwest::Error) -> Self {
        let what = what.into();
        move |source| Self::Http { what, source }
    }

    pub(crate) fn unexpected(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into(), detail: detail.into() }
    }
}
