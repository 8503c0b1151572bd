//! What can go wrong between us and GitHub's API.

use std::{error::Error, time::Duration};

use octocrab::GitHubError;
use serde_json::Value;
use understudy_sdk::{ActionError, ErrorName};

/// Why a call to GitHub's API failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// GitHub answered with an error status.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The answer in the words of Octokit, which task logs have shown people so far.
        message: String,
    },
    /// The answer never came, or can't be read.
    #[error("{method} {route} at {base}: {reason}")]
    Unreachable {
        /// HTTP method.
        method: http::Method,
        /// Path below the base.
        route: String,
        /// The API's base URL.
        base: String,
        /// Cause and cause's cause.
        reason: String,
    },
    /// The task was cancelled, or a request can't be made from what the step gave.
    #[error("{}", .0.message())]
    Local(#[from] ActionError),
}

impl ApiError {
    /// Whether GitHub answered with this status.
    pub(crate) fn is_status(&self, expected: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == expected)
    }
    /// Whether GitHub refused because what was asked for is there already.
    pub(crate) fn says_exists(&self) -> bool {
        const SIGNS: [&str; 3] = ["already exists", "already_exists", "already in use"];
        matches!(self, Self::Refused { status: 422, message } if SIGNS.iter().any(|sign| message.contains(sign)))
    }
    /// The same error, saying that a rate limit lasts longer than a step waits.
    pub(crate) fn limited(self, kind: &str, wait: Duration) -> Self {
        match self {
            Self::Refused { status, message } => Self::Refused {
                status,
                message: format!(
                    "{message} (GitHub's {kind} would last another {} s, longer than a step waits; run the task again \
                     after that)",
                    wait.as_secs()
                ),
            },
            other => other,
        }
    }
    /// The error unless it says that the task was cancelled or the step's values can't be used; those must not be
    /// turned into a warning.
    pub(crate) fn survivable(self) -> Result<Self, ActionError> {
        match self {
            Self::Local(error) => Err(error),
            other => Ok(other),
        }
    }
}

impl From<ApiError> for ActionError {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::Local(error) => error,
            // Octokit's class for every answer that is no success.
            ApiError::Refused { .. } => Self::new(ErrorName::Other("HttpError".into()), message),
            ApiError::Unreachable { .. } => {
                Self::failed(format!("GitHub could not be reached: {message}")).with_source(error)
            }
        }
    }
}

/// GitHub's answer as one line, the way `@octokit/request` 8 words it: message, JSON of the single errors, link.
pub(crate) fn octokit_message(error: &GitHubError) -> String {
    let mut message = error.message.clone();
    if let Some(errors) = &error.errors {
        let list: Vec<String> = errors.iter().map(Value::to_string).collect();
        message = format!("{message}: {}", list.join(", "));
    }
    if let Some(url) = &error.documentation_url {
        message = format!("{message} - {url}");
    }
    message
}

/// An error with its causes, each said once.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}
