//! Why an oracle could not be installed or asked.

use std::path::PathBuf;

/// Why an oracle could not be installed or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no place for the installation.
    #[error(
        "no directory to install the oracles in; set UNDERSTUDY_CACHE to a directory that may be written, or HOME to an absolute path"
    )]
    NoCache,
    /// npm is missing.
    #[error("npm could not be started ({0}); install npm (Debian: `apt-get install npm`), which fetches the oracles")]
    NoNpm(std::io::Error),
    /// npm failed.
    #[error(
        "npm could not install the packages of tests/oracle/node/package-lock.json ({status}); check that a npm registry can be reached:\n{output}"
    )]
    Npm {
        /// How npm ended.
        status: std::process::ExitStatus,
        /// What it wrote.
        output: String,
    },
    /// The packages have no Node for this machine.
    #[error(
        "the pinned packages hold no Node for {0}; add the npm package that does to tests/oracle/node/package.json"
    )]
    NoNode(String),
    /// A file operation failed.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The corpus is not in order.
    #[error(transparent)]
    Corpus(#[from] understudy_corpus::Error),
    /// No case could be generated.
    #[error("the generator failed: {0}")]
    Generator(String),
    /// The oracle's process could not be started or talked to.
    #[error("the oracle's process failed: {0}")]
    Process(String),
    /// What the oracle wrote is not an answer.
    #[error("the oracle answered {line:?}, which is no answer: {detail}")]
    Answer {
        /// Its line.
        line: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
