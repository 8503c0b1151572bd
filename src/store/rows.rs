//! What the columns' texts mean, and which rows are asked for: the same for every database.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::{
    model::{EventType, SerializedTask, TaskEvent, TaskSpec, TaskStatus},
    store::{Claim, ClaimedTask, Direction, OrderField, StoreError, StoredEntity, TaskFilter, Vault, visible},
};

/// A row of `tasks`, without what only workers see.
pub(super) struct TaskRow {
    pub(super) id: String,
    pub(super) spec: String,
    pub(super) status: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_heartbeat_at: Option<DateTime<Utc>>,
    pub(super) created_by: Option<String>,
}

impl TaskRow {
    pub(super) fn serialized(self) -> Result<SerializedTask, StoreError> {
        let Self { id, spec, status, created_at, last_heartbeat_at, created_by } = self;
        let corrupt = |reason: String| StoreError::Corrupt { what: format!("task '{id}'"), reason };
        let spec = serde_json::from_str(&spec)
            .map_err(|error| corrupt(format!("Failed to parse spec of task '{id}', {error}")))?;
        let status =
            TaskStatus::parse(&status).ok_or_else(|| corrupt(format!("its status '{status}' is not known")))?;
        Ok(SerializedTask { spec, status, created_at, last_heartbeat_at, created_by, id })
    }
}

/// The tasks of a list; one damaged row must not hide all the others.
pub(super) fn readable(
    rows: impl Iterator<Item = Result<SerializedTask, StoreError>>,
) -> Result<Vec<SerializedTask>, StoreError> {
    let mut tasks = Vec::new();
    for row in rows {
        match row {
            Ok(task) => tasks.push(task),
            Err(StoreError::Corrupt { what, reason }) => {
                tracing::warn!(%what, %reason, "left out of the list of tasks");
            }
            Err(other) => return Err(other),
        }
    }
    Ok(tasks)
}

/// What a worker sees of a row of `tasks`.
pub(super) struct ClaimedRow {
    pub(super) claim: Claim,
    pub(super) spec: String,
    pub(super) secrets: Option<String>,
    pub(super) created_by: Option<String>,
    pub(super) state: Option<String>,
    pub(super) queued_seconds: f64,
}

impl ClaimedRow {
    /// A task whose row is damaged is handed out all the same, so that the worker ends it with the reason.
    pub(super) fn task(self, vault: &Vault) -> ClaimedTask {
        let id = &self.claim.task_id;
        let secrets = match &self.secrets {
            Some(text) => vault.open(id, text).map_err(|error| error.to_string()),
            None => Ok(Map::new()),
        };
        let state = parse_state(self.state.as_deref()).map_err(|error| format!("its state can't be read: {error}"));
        let spec = serde_json::from_str::<TaskSpec>(&self.spec)
            .map_err(|error| format!("Failed to parse spec of task '{id}', {error}"));
        let (secrets, state, spec) = match (secrets, state) {
            (Ok(secrets), Ok(state)) => (secrets, state, spec),
            (Err(reason), _) | (_, Err(reason)) => {
                (Map::new(), Map::new(), Err(format!("Failed to read task '{id}', {reason}")))
            }
        };
        let queued = Duration::try_from_secs_f64(self.queued_seconds).unwrap_or_default();
        ClaimedTask { claim: self.claim, spec, secrets, created_by: self.created_by, state, queued }
    }
}

/// A row of `task_events`.
pub(super) struct EventRow {
    pub(super) id: i64,
    pub(super) body: String,
    pub(super) kind: String,
    pub(super) created_at: DateTime<Utc>,
}

impl EventRow {
    pub(super) fn event(self, task_id: &str, is_task_recoverable: bool) -> Result<TaskEvent, StoreError> {
        let Self { id, body, kind, created_at } = self;
        let corrupt = |reason: String| StoreError::Corrupt { what: format!("event {id} of task '{task_id}'"), reason };
        let body = serde_json::from_str(&body).map_err(|error| {
            corrupt(format!("Failed to parse event body from event taskId={task_id} id={id}, {error}"))
        })?;
        let kind = EventType::parse(&kind).ok_or_else(|| corrupt(format!("its type '{kind}' is not known")))?;
        Ok(TaskEvent { id, is_task_recoverable, task_id: task_id.to_string(), body, kind, created_at })
    }
}

/// Id and time of an event that was just stored.
pub(super) type Stored = (i64, DateTime<Utc>);

/// The event of a [`Stored`].
pub(super) fn stored_event(
    task_id: &str,
    kind: EventType,
    body: Value,
    (id, created_at): Stored,
    is_task_recoverable: bool,
) -> TaskEvent {
    TaskEvent { id, is_task_recoverable, task_id: task_id.to_string(), body, kind, created_at }
}

/// The body of a `recovered` event.
pub(super) fn recovered_body(strategy: &str) -> Value {
    json!({ "recoverStrategy": strategy })
}

/// A value as its column has it.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    // Maps of strings always serialise; kept as an error so that no input can end the process.
    serde_json::to_string(value)
        .map_err(|error| StoreError::Corrupt { what: "a value".to_string(), reason: error.to_string() })
}

/// `tasks.state` for this inner object.
pub(super) fn state_json(state: &Map<String, Value>) -> Result<String, StoreError> {
    to_json(&json!({ "state": state }))
}

/// `tasks.state` for another try: without the step that failed and those that ran after it, or without any; `None` when
/// nothing changes.
pub(super) fn for_retry(state: Option<&str>, from_start: bool) -> Option<String> {
    let mut state = parse_state(state).ok()?;
    if from_start {
        state.shift_remove("steps")?;
    } else {
        // Members are in the order in which the steps ended.
        let steps = state.get_mut("steps")?.as_object_mut()?;
        let failed = steps.values().position(|step| step.get("status").and_then(Value::as_str) == Some("failed"))?;
        *steps = std::mem::take(steps).into_iter().take(failed).collect();
    }
    state_json(&state).ok()
}

/// Whether a task of this status neither waits nor runs.
pub(super) fn is_over(status: &str) -> bool {
    ![TaskStatus::Open, TaskStatus::Processing].map(TaskStatus::as_str).contains(&status)
}

/// Why a task that isn't processing can't be ended, in upstream's words (4.2.0, `completeTask`).
pub(super) fn refuse_completion(id: &str, wanted: TaskStatus, current: &str) -> StoreError {
    StoreError::Conflict(format!(
        "Refusing to update status of run '{id}' to status '{}' as it is currently '{current}', expected 'processing'",
        wanted.as_str()
    ))
}

/// Why a task can't be retried, in upstream's words (4.2.0, `retryTask`).
pub(super) fn refuse_retry(id: &str) -> StoreError {
    StoreError::Conflict(format!("Task with taskId {id} cannot be retried"))
}

/// Why a location can't be added, in upstream's words.
pub(super) fn refuse_location(kind: &str, target: &str) -> StoreError {
    StoreError::Conflict(format!("Location {kind}:{target} already exists"))
}

/// Reference, location and JSON text of an entity.
pub(super) type EntityRow = (String, String, String);

/// The rows of entities.
pub(super) fn entity_rows(entities: &[StoredEntity]) -> Result<Vec<EntityRow>, StoreError> {
    let row =
        |entity: &StoredEntity| Ok((entity.entity_ref.clone(), entity.location.clone(), to_json(&entity.entity)?));
    entities.iter().map(row).collect()
}

/// The entity of `(entity_ref, location, origin, entity)`.
pub(super) fn entity(
    (entity_ref, location, origin, entity): (String, String, String, String),
) -> Result<StoredEntity, StoreError> {
    match serde_json::from_str(&entity) {
        Ok(entity) => Ok(StoredEntity { entity_ref, location, origin, entity }),
        Err(error) => Err(StoreError::Corrupt { what: format!("entity '{entity_ref}'"), reason: error.to_string() }),
    }
}

/// Adds the `WHERE` clause of a filter. `template_ref` is the database's expression for the reference of a row's template.
pub(super) fn push_filter<DB: Database>(query: &mut QueryBuilder<DB>, filter: &TaskFilter, template_ref: &str)
where
    String: Type<DB> + for<'q> Encode<'q, DB>,
{
    let statuses: Vec<String> = filter.status.iter().map(|status| status.as_str().to_string()).collect();
    let mut joint = " WHERE ";
    let lists = [("created_by", &filter.created_by), ("status", &statuses), (template_ref, &filter.template_ref)];
    for (column, values) in lists {
        if values.is_empty() {
            continue;
        }
        query.push(joint).push(column).push(" IN (");
        let mut list = query.separated(", ");
        for value in values {
            list.push_bind(value.clone());
        }
        query.push(")");
        joint = " AND ";
    }
    if let Some(text) = &filter.text {
        let pattern = format!("%{}%", text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_").to_lowercase());
        query.push(joint).push("(");
        for (index, column) in ["spec", "COALESCE(created_by, '')", "CAST(id AS text)"].iter().enumerate() {
            query.push(if index > 0 { " OR " } else { "" }).push("LOWER(").push(column).push(") LIKE ");
            query.push_bind(pattern.clone()).push(r" ESCAPE '\'");
        }
        query.push(")");
        joint = " AND ";
    }
    if let Some(visible) = &filter.visible {
        query.push(joint);
        visible::push(query, visible);
    }
}

/// Adds the `ORDER BY` clause of a filter. `tie` is a column without equals: times alone would let pages overlap.
pub(super) fn push_order<DB: Database>(query: &mut QueryBuilder<DB>, filter: &TaskFilter, tie: &str) {
    let column = |field| match field {
        OrderField::CreatedAt => "created_at",
        OrderField::Status => "status",
        OrderField::CreatedBy => "created_by",
    };
    let keyword = |direction| match direction {
        Direction::Asc => " ASC",
        Direction::Desc => " DESC",
    };
    query.push(" ORDER BY ");
    for (field, direction) in &filter.order {
        query.push(column(*field)).push(keyword(*direction)).push(", ");
    }
    if filter.order.is_empty() {
        query.push("created_at DESC, ");
    }
    let last = filter.order.last().map_or(Direction::Desc, |(_, direction)| *direction);
    query.push(tie).push(keyword(last));
}

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
    fn another_try_begins_at_the_step_that_failed() {
        let state = |steps: &str| format!(r#"{{"state":{{"checkpoints":{{"k":1}},"steps":{steps}}}}}"#);
        let (a, b, c) =
            (r#""a":{"status":"completed"}"#, r#""b":{"status":"failed"}"#, r#""c":{"status":"completed"}"#);
        let ran = state(&format!("{{{a},{b},{c}}}"));
        assert_eq!(for_retry(Some(&ran), false), Some(state(&format!("{{{a}}}"))));
        assert_eq!(for_retry(Some(&ran), true), Some(r#"{"state":{"checkpoints":{"k":1}}}"#.to_string()));
        assert_eq!(for_retry(Some(&state(&format!("{{{a},{c}}}"))), false), None);
        for nothing in [None, Some("null"), Some(r#"{"state":{"steps":[]}}"#), Some("no JSON")] {
            assert_eq!(for_retry(nothing, false), None, "{nothing:?}");
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
