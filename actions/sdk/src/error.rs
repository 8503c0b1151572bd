//! The error a step ends with.

use std::fmt;

/// The class names of upstream's errors (`@backstage/errors` 1.3.2). Clients and people read them in the task log and in
/// HTTP bodies, so they are part of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorName {
    /// A plain failure without a class of its own.
    Error,
    /// What the user gave is wrong.
    InputError,
    /// The caller may not do this, or a path or URL lies outside what is allowed.
    NotAllowedError,
    /// Something named does not exist.
    NotFoundError,
    /// The thing exists already or is in the wrong state.
    ConflictError,
    /// The caller is not known.
    AuthenticationError,
    /// Another service answered with an error status.
    ResponseError,
    /// A class name of another library that clients know by name, e.g. `HttpError`.
    Other(String),
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "Error",
            Self::InputError => "InputError",
            Self::NotAllowedError => "NotAllowedError",
            Self::NotFoundError => "NotFoundError",
            Self::ConflictError => "ConflictError",
            Self::AuthenticationError => "AuthenticationError",
            Self::ResponseError => "ResponseError",
            Self::Other(name) => name,
        })
    }
}

/// Why a step failed: a name clients know, and a message that says what was wrong, where, and what to do.
///
/// `Display` gives `<name>: <message>`, the first line of a JavaScript stack, which is what the task log shows.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {message}")]
pub struct ActionError {
    name: ErrorName,
    message: String,
    status: Option<u16>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ActionError {
    /// An error of the given class.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), status: None, source: None }
    }
    /// A plain `Error`.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorName::Error, message)
    }
    /// An `InputError`.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorName::InputError, message)
    }
    /// A `NotAllowedError`.
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(ErrorName::NotAllowedError, message)
    }
    /// A `NotFoundError`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorName::NotFoundError, message)
    }
    /// A `ConflictError`.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorName::ConflictError, message)
    }
    /// What an action returns after it noticed that its task was cancelled. The engine reports the cancellation in its
    /// own words; this text is only seen when a caller runs an action by itself.
    pub fn cancelled() -> Self {
        Self::new(ErrorName::Error, "the task was cancelled")
    }
    /// Keeps the cause for the service's own log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
    /// The HTTP status with which another service answered. Who asked for what failed gets the same status, as upstream
    /// does with a `ResponseError`.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
    /// The HTTP status with which another service answered, if that is what went wrong.
    pub fn status(&self) -> Option<u16> {
        self.status
    }
    /// The error's class name.
    pub fn name(&self) -> &ErrorName {
        &self.name
    }
    /// The message without the class name.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// The same error with its message rewritten, as redaction does.
    #[must_use]
    pub fn map_message(mut self, f: impl FnOnce(&str) -> String) -> Self {
        self.message = f(&self.message);
        self
    }
}

impl From<std::io::Error> for ActionError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string()).with_source(error)
    }
}
