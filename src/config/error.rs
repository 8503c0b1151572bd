//! Why a configuration can't be used.

use crate::yaml::YamlError;

/// An error of the configuration: always with the file and, where there is one, the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file can't be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file holds no acceptable YAML.
    #[error("{}", error.in_file(path))]
    Yaml {
        /// The file.
        path: String,
        /// Where and why.
        error: YamlError,
    },
    /// An `$env`, `$file` or `$include` can't be followed.
    #[error("{path}: {key}: {reason}")]
    Include {
        /// The file.
        path: String,
        /// The key, dotted.
        key: String,
        /// Why.
        reason: String,
    },
    /// A value is wrong.
    #[error("{origin}: {key}: {reason}")]
    Value {
        /// The file or environment variable it came from.
        origin: String,
        /// The key, dotted.
        key: String,
        /// What was expected.
        reason: String,
    },
}
