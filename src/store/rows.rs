//! What the columns' texts mean, the same for every database.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    model::{EventType, TaskEvent},
    store::StoreError,
};

/// Reads a timestamp as upstream's `parseDatabaseTime` does (SQL format, UTC unless it names a zone); digits alone are
/// milliseconds, which is what knex makes of a JavaScript date on SQLite.
pub(super) fn parse_time(text: &str) -> Result<DateTime<Utc>, StoreError> {
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f") {
        return Ok(time.and_utc());
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    text.parse::<i64>().ok().and_then(DateTime::from_timestamp_millis).ok_or_else(|| StoreError::Corrupt {
        what: "a timestamp".to_string(),
        reason: format!("Failed to parse database timestamp '{text}'"),
    })
}

/// The part of a spec that decides how a task is recovered.
#[derive(Deserialize)]
struct RecoveryPart {
    #[serde(rename = "EXPERIMENTAL_recovery")]
    recovery: Option<Strategy>,
}

#[derive(Deserialize)]
struct Strategy {
    #[serde(rename = "EXPERIMENTAL_strategy")]
    strategy: Option<String>,
}

/// `recoverStrategy` of a spec's text; `none` when the spec doesn't say or can't be read.
pub(super) fn recover_strategy(spec: &str) -> String {
    serde_json::from_str::<RecoveryPart>(spec)
        .ok()
        .and_then(|part| part.recovery?.strategy)
        .unwrap_or_else(|| "none".to_string())
}

/// Whether the task of this spec starts over.
pub(super) fn starts_over(spec: &str) -> bool {
    recover_strategy(spec) == "startOver"
}

/// The inner object of `tasks.state`.
pub(super) fn parse_state(text: Option<&str>) -> Result<Map<String, Value>, serde_json::Error> {
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        state: Option<Map<String, Value>>,
    }
    match text {
        Some(text) => {
            Ok(serde_json::from_str::<Option<State>>(text)?.and_then(|state| state.state).unwrap_or_default())
        }
        None => Ok(Map::new()),
    }
}

/// Hides what happened before a task was started over: `trimEventsTillLastRecovery` of
/// `@backstage/plugin-scaffolder-backend` 4.2.0.
pub(super) fn trim_events(mut events: Vec<TaskEvent>) -> Vec<TaskEvent> {
    let Some(last) = events.iter().rposition(|event| event.kind == EventType::Recovered) else {
        return events;
    };
    if events[last].body.get("recoverStrategy").and_then(Value::as_str) != Some("startOver") {
        return events;
    }
    if last + 1 == events.len() {
        return Vec::new();
    }
    events.split_off(last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        for (text, expected) in [
            ("2026-01-02 03:04:05", "2026-01-02T03:04:05+00:00"),
            ("2026-01-02 03:04:05.678", "2026-01-02T03:04:05.678+00:00"),
            ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678+00:00"),
            ("1767323045000", "2026-01-02T03:04:05+00:00"),
        ] {
            assert_eq!(parse_time(text).unwrap().to_rfc3339(), expected, "{text}");
        }
        for text in ["", "yesterday", "2026-13-02 03:04:05"] {
            let error = parse_time(text).unwrap_err().to_string();
            assert!(error.contains(&format!("Failed to parse database timestamp '{text}'")), "{error}");
        }
    }

    #[test]
    fn strategies() {
        for (spec, expected) in [
            (r#"{"EXPERIMENTAL_recovery":{"EXPERIMENTAL_strategy":"startOver"}}"#, "startOver"),
            (r#"{"EXPERIMENTAL_recovery":{}}"#, "none"),
            (r#"{"EXPERIMENTAL_recovery":null}"#, "none"),
            ("{}", "none"),
            ("not json", "none"),
        ] {
            assert_eq!(recover_strategy(spec), expected, "{spec}");
        }
    }

    #[test]
    fn states() {
        assert!(parse_state(None).unwrap().is_empty());
        assert!(parse_state(Some("null")).unwrap().is_empty());
        assert!(parse_state(Some(r#"{"state":null}"#)).unwrap().is_empty());
        assert_eq!(parse_state(Some(r#"{"state":{"a":1}}"#)).unwrap()["a"], 1);
        assert!(parse_state(Some("[")).is_err());
    }
}
