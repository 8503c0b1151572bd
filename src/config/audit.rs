//! The keys of audit events.

use serde_json::Value;

use super::{ConfigError, reader::Reader};

/// How audit events are written: `backend.auditor` and `scaffolder.auditor`, with upstream's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// `backend.auditor.severityLogLevelMappings.low`
    pub low: AuditLevel,
    /// `backend.auditor.severityLogLevelMappings.medium`
    pub medium: AuditLevel,
    /// `scaffolder.auditor.taskParameterMaxLength`, in UTF-16 units; `None`: whole.
    pub task_parameter_max_length: Option<usize>,
}

/// A level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditLevel {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `warn`
    Warn,
    /// `error`
    Error,
}

impl AuditLevel {
    /// E.g. `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { low: AuditLevel::Debug, medium: AuditLevel::Info, task_parameter_max_length: Some(256) }
    }
}

/// Reads it.
///
/// # Errors
/// A value is wrong.
pub(super) fn read(root: &Reader<'_>) -> Result<AuditConfig, ConfigError> {
    let defaults = AuditConfig::default();
    let levels = root.at("backend.auditor.severityLogLevelMappings")?;
    // The scaffolder has no events of these severities; their levels are checked all the same.
    for severity in ["high", "critical"] {
        level(&levels.at(severity)?)?;
    }
    let longest = root.at("scaffolder.auditor.taskParameterMaxLength")?;
    let task_parameter_max_length = match longest.value() {
        None => defaults.task_parameter_max_length,
        Some(Value::Number(number)) if number.as_i64() == Some(-1) => None,
        Some(Value::String(text)) if text.trim() == "-1" => None,
        Some(_) => {
            let wrong = || longest.wrong("expected a whole number, 0 or more, or -1 to show parameters whole");
            let number = longest.whole().map_err(|_| wrong())?.ok_or_else(wrong)?;
            Some(usize::try_from(number).map_err(|_| wrong())?)
        }
    };
    Ok(AuditConfig {
        low: level(&levels.at("low")?)?.unwrap_or(defaults.low),
        medium: level(&levels.at("medium")?)?.unwrap_or(defaults.medium),
        task_parameter_max_length,
    })
}

fn level(place: &Reader<'_>) -> Result<Option<AuditLevel>, ConfigError> {
    Ok(Some(match place.string()? {
        None => return Ok(None),
        Some("debug") => AuditLevel::Debug,
        Some("info") => AuditLevel::Info,
        Some("warn") => AuditLevel::Warn,
        Some("error") => AuditLevel::Error,
        Some(_) => return Err(place.wrong("expected debug, info, warn or error")),
    }))
}
