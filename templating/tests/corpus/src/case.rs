//! One template, and what became of it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

/// A template with all that its result depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The template.
    pub source: String,
    /// The data, a JSON object.
    pub context: Arc<Json>,
    /// How the engine is set up.
    pub options: Options,
}

/// How the engine is set up for a [`Case`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Options {
    /// What is asked for.
    pub mode: Mode,
    /// Cookiecutter mode: `{{ }}` and the words and methods of Python.
    pub cookiecutter: bool,
    /// Whether the line break after a block tag is dropped.
    pub trim_blocks: bool,
    /// Whether the indentation before a block tag is dropped.
    pub lstrip_blocks: bool,
}

/// What a template is rendered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// A value, as for the inputs of a step.
    #[default]
    Value,
    /// Text, as for a file.
    Text,
}

/// What became of a [`Case`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A value in [`notation`](crate::notation()). Text is a string.
    Value(String),
    /// A failure.
    Error {
        /// The class of the error, as JavaScript names it.
        name: String,
        /// The whole message.
        message: String,
    },
    /// The implementation did not answer in time.
    Timeout,
    /// The implementation died: out of memory.
    Died,
}

impl Outcome {
    /// Whether the template failed.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => f.write_str(value),
            Self::Error { name, message } => write!(f, "{name}: {message}"),
            Self::Timeout => f.write_str("(no answer in time)"),
            Self::Died => f.write_str("(ran out of memory)"),
        }
    }
}
