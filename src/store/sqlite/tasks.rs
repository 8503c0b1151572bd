//! Tasks and their events.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, locked, writer::Write};
use crate::{
    model::{EventType, NewEvent, SerializedTask, TaskEvent, TaskId, TaskSpec, TaskStatus},
    store::{
        ClaimedTask, Direction, NewTask, OrderField, StoreError, TaskFilter, TaskPage, TaskStore,
        rows::{parse_state, parse_time, recover_strategy, starts_over, trim_events},
        visible,
    },
};

/// Columns of [`serialized`]. Backstage declares timestamps as `datetime` and writes text; the cast makes what other
/// writers may have left there readable too.
const TASK_COLUMNS: &str = "id, spec, status, CAST(created_at AS TEXT) AS created_at, \
                            CAST(last_heartbeat_at AS TEXT) AS last_heartbeat_at, created_by";

#[async_trait]
impl TaskStore for SqliteStore {
    async fn create_task(&self, task: NewTask) -> Result<TaskId, StoreError> {
        let id = uuid::Uuid::new_v4().to_string();
        self.remember_recoverable(&id, task.spec.starts_over());
        let write = CreateTask {
            id: id.clone(),
            spec: to_json(&task.spec)?,
            secrets: task.secrets.as_ref().map(to_json).transpose()?,
            created_by: task.created_by,
        };
        self.write(write).await?;
        Ok(id)
    }

    async fn get_task(&self, id: &str) -> Result<SerializedTask, StoreError> {
        let row = sqlx::query(
            "SELECT id, spec, status, CAST(created_at AS TEXT) AS created_at, \
             CAST(last_heartbeat_at AS TEXT) AS last_heartbeat_at, created_by FROM tasks WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.0.readers)
        .await?
        .ok_or_else(|| StoreError::NoTask(id.to_string()))?;
        serialized(&row)
    }

    async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        let mut count = QueryBuilder::<Sqlite>::new("SELECT COUNT(*) FROM tasks");
        push_filter(&mut count, filter);
        let total: i64 = count.build_query_scalar().fetch_one(&self.0.readers).await?;

        let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
        query.push(TASK_COLUMNS).push(" FROM tasks");
        push_filter(&mut query, filter);
        query.push(" ORDER BY ");
        for (field, direction) in &filter.order {
            query.push(column(*field)).push(keyword(*direction)).push(", ");
        }
        if filter.order.is_empty() {
            query.push("created_at DESC, ");
        }
        // Times are whole seconds, so without this the pages of a busy second would overlap.
        let last = filter.order.last().map_or(Direction::Desc, |(_, direction)| *direction);
        query.push("rowid").push(keyword(last));
        if filter.limit.is_some() || filter.offset.is_some() {
            let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
            query.push(" LIMIT ").push_bind(limit);
            query.push(" OFFSET ").push_bind(i64::try_from(filter.offset.unwrap_or(0)).unwrap_or(i64::MAX));
        }
        let rows = query.build().fetch_all(&self.0.readers).await?;
        let mut tasks = Vec::with_capacity(rows.len());
        for row in &rows {
            match serialized(row) {
                Ok(task) => tasks.push(task),
                // One damaged row must not hide all the others.
                Err(StoreError::Corrupt { what, reason }) => {
                    tracing::warn!(%what, %reason, "left out of the list of tasks")
                }
                Err(other) => return Err(other),
            }
        }
        Ok(TaskPage { tasks, total: u64::try_from(total).unwrap_or(0) })
    }

    async fn claim_task(&self, keep_secrets: bool) -> Result<Option<ClaimedTask>, StoreError> {
        // Most calls find nothing; they need not queue behind the writes.
        let open: Option<i64> = sqlx::query_scalar("SELECT 1 FROM tasks WHERE status = 'open' LIMIT 1")
            .fetch_optional(&self.0.readers)
            .await?;
        if open.is_none() {
            return Ok(None);
        }
        let Some(claimed) = self.write(ClaimTask { keep_secrets }).await? else {
            return Ok(None);
        };
        self.remember_recoverable(&claimed.id, starts_over(&claimed.spec));
        let secrets = match &claimed.secrets {
            Some(text) => serde_json::from_str(text).map_err(|error| format!("its secrets can't be read: {error}")),
            None => Ok(Map::new()),
        };
        let state = parse_state(claimed.state.as_deref()).map_err(|error| format!("its state can't be read: {error}"));
        let spec = serde_json::from_str::<TaskSpec>(&claimed.spec)
            .map_err(|error| format!("Failed to parse spec of task '{}', {error}", claimed.id));
        // A task whose row is damaged is handed out all the same, so that the worker ends it with the reason.
        let (secrets, state, spec) = match (secrets, state) {
            (Ok(secrets), Ok(state)) => (secrets, state, spec),
            (Err(reason), _) | (_, Err(reason)) => {
                (Map::new(), Map::new(), Err(format!("Failed to read task '{}', {reason}", claimed.id)))
            }
        };
        Ok(Some(ClaimedTask { id: claimed.id, spec, secrets, created_by: claimed.created_by, state }))
    }

    async fn heartbeat(&self, id: &str) -> Result<(), StoreError> {
        self.write(Heartbeat { id: id.to_string() }).await
    }

    async fn append_events(&self, id: &str, events: Vec<NewEvent>) -> Result<Vec<TaskEvent>, StoreError> {
        let recoverable = self.is_recoverable(id).await?;
        let bodies = events.iter().map(|event| to_json(&event.body)).collect::<Result<Vec<_>, _>>()?;
        let kinds = events.iter().map(|event| event.kind).collect();
        let stored = self.write(AppendEvents { id: id.to_string(), kinds, bodies }).await?;
        Ok(stored
            .into_iter()
            .zip(events)
            .map(|((event_id, created_at), event)| TaskEvent {
                id: event_id,
                is_task_recoverable: recoverable,
                task_id: id.to_string(),
                body: event.body,
                kind: event.kind,
                created_at,
            })
            .collect())
    }

    async fn list_events(&self, id: &str, after: Option<i64>) -> Result<Vec<TaskEvent>, StoreError> {
        let query = match after {
            Some(after) => sqlx::query(
                "SELECT id, body, event_type, CAST(created_at AS TEXT) AS created_at FROM task_events \
                 WHERE task_id = ?1 AND id > ?2 \
                 UNION ALL \
                 SELECT id, body, event_type, CAST(created_at AS TEXT) AS created_at FROM task_events \
                 WHERE task_id = ?1 AND event_type = 'completion' AND id <= ?2 \
                 ORDER BY id",
            )
            .bind(id)
            .bind(after),
            None => sqlx::query(
                "SELECT id, body, event_type, CAST(created_at AS TEXT) AS created_at FROM task_events \
                 WHERE task_id = ?1 ORDER BY id",
            )
            .bind(id),
        };
        let rows = query.fetch_all(&self.0.readers).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let recoverable = self.is_recoverable(id).await?;
        let events = rows.iter().map(|row| event(row, id, recoverable)).collect::<Result<Vec<_>, _>>()?;
        Ok(trim_events(events))
    }

    async fn complete_task(&self, id: &str, status: TaskStatus, body: Value) -> Result<Option<TaskEvent>, StoreError> {
        let stored = self.write(CompleteTask { id: id.to_string(), status, body: to_json(&body)? }).await?;
        match stored {
            Some(stored) => Ok(Some(self.stored_event(id, EventType::Completion, body, stored).await?)),
            None => Ok(None),
        }
    }

    async fn cancel_task(&self, id: &str, body: Value) -> Result<TaskEvent, StoreError> {
        let stored = self.write(CancelTask { id: id.to_string(), body: to_json(&body)? }).await?;
        self.stored_event(id, EventType::Cancelled, body, stored).await
    }

    async fn retry_task(&self, id: &str, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError> {
        let secrets = secrets.as_ref().map(to_json).transpose()?;
        let (strategy, stored) = self.write(RetryTask { id: id.to_string(), secrets }).await?;
        self.stored_event(id, EventType::Recovered, recovered_body(&strategy), stored).await
    }

    async fn release_task(&self, id: &str, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError> {
        let secrets = secrets.as_ref().map(to_json).transpose()?;
        let (strategy, stored) = self.write(ReleaseTask { id: id.to_string(), secrets }).await?;
        self.stored_event(id, EventType::Recovered, recovered_body(&strategy), stored).await
    }

    async fn recover_stale(&self, older_than: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        if self.list_stale(older_than).await?.is_empty() {
            return Ok(Vec::new());
        }
        let recovered = self.write(RecoverStale { age: age(older_than) }).await?;
        let mut events = Vec::with_capacity(recovered.len());
        for (id, strategy, stored) in recovered {
            events.push(self.stored_event(&id, EventType::Recovered, recovered_body(&strategy), stored).await?);
        }
        Ok(events)
    }

    async fn list_stale(&self, older_than: Duration) -> Result<Vec<TaskId>, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT id FROM tasks WHERE status = 'processing' AND last_heartbeat_at <= datetime('now', ?) \
             ORDER BY created_at, rowid",
        )
        .bind(age(older_than))
        .fetch_all(&self.0.readers)
        .await?)
    }

    async fn load_state(&self, id: &str) -> Result<Map<String, Value>, StoreError> {
        let state: Option<Option<String>> =
            sqlx::query_scalar("SELECT state FROM tasks WHERE id = ?").bind(id).fetch_optional(&self.0.readers).await?;
        let state = state.ok_or_else(|| StoreError::NoTask(id.to_string()))?;
        parse_state(state.as_deref()).map_err(|error| StoreError::Corrupt {
            what: format!("the state of task '{id}'"),
            reason: error.to_string(),
        })
    }

    async fn save_state(&self, id: &str, state: &Map<String, Value>) -> Result<(), StoreError> {
        self.write(SaveState { id: id.to_string(), state: to_json(&json!({ "state": state }))? }).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.0.readers).await?;
        Ok(())
    }
}

impl SqliteStore {
    async fn is_recoverable(&self, id: &str) -> Result<bool, StoreError> {
        if let Some(recoverable) = locked(&self.0.recoverable).get(id) {
            return Ok(*recoverable);
        }
        let spec: Option<String> =
            sqlx::query_scalar("SELECT spec FROM tasks WHERE id = ?").bind(id).fetch_optional(&self.0.readers).await?;
        let recoverable = starts_over(&spec.ok_or_else(|| StoreError::NoTask(id.to_string()))?);
        self.remember_recoverable(id, recoverable);
        Ok(recoverable)
    }

    async fn stored_event(
        &self,
        id: &str,
        kind: EventType,
        body: Value,
        (event_id, created_at): Stored,
    ) -> Result<TaskEvent, StoreError> {
        let is_task_recoverable = self.is_recoverable(id).await?;
        Ok(TaskEvent { id: event_id, is_task_recoverable, task_id: id.to_string(), body, kind, created_at })
    }
}

/// Id and time of an event that was just stored.
type Stored = (i64, chrono::DateTime<chrono::Utc>);

struct CreateTask {
    id: String,
    spec: String,
    secrets: Option<String>,
    created_by: Option<String>,
}

#[async_trait]
impl Write for CreateTask {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO tasks (id, spec, secrets, created_by, status) VALUES (?, ?, ?, ?, 'open')")
            .bind(self.id.clone())
            .bind(self.spec.clone())
            .bind(self.secrets.clone())
            .bind(self.created_by.clone())
            .execute(conn)
            .await?;
        Ok(())
    }
}

struct ClaimTask {
    keep_secrets: bool,
}

struct Claimed {
    id: String,
    spec: String,
    secrets: Option<String>,
    created_by: Option<String>,
    state: Option<String>,
}

#[async_trait]
impl Write for ClaimTask {
    type Output = Option<Claimed>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Option<Claimed>, StoreError> {
        let row = sqlx::query(
            "SELECT id, spec, secrets, created_by, state FROM tasks WHERE status = 'open' \
             ORDER BY created_at, rowid LIMIT 1",
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let claimed = Claimed {
            id: row.try_get("id")?,
            spec: row.try_get("spec")?,
            secrets: row.try_get("secrets")?,
            created_by: row.try_get("created_by")?,
            state: row.try_get("state")?,
        };
        let keep = self.keep_secrets || starts_over(&claimed.spec);
        // The guard on the status costs nothing here and keeps the statement right beside other writers.
        let changed = sqlx::query(
            "UPDATE tasks SET status = 'processing', last_heartbeat_at = CURRENT_TIMESTAMP, \
             secrets = CASE WHEN ? THEN secrets ELSE NULL END WHERE id = ? AND status = 'open'",
        )
        .bind(keep)
        .bind(claimed.id.clone())
        .execute(conn)
        .await?
        .rows_affected();
        Ok((changed == 1).then_some(claimed))
    }
}

struct Heartbeat {
    id: String,
}

#[async_trait]
impl Write for Heartbeat {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let changed = sqlx::query(
            "UPDATE tasks SET last_heartbeat_at = CURRENT_TIMESTAMP WHERE id = ? AND status = 'processing'",
        )
        .bind(self.id.clone())
        .execute(conn)
        .await?
        .rows_affected();
        if changed == 0 {
            return Err(StoreError::Conflict(format!("No running task with taskId {} found", self.id)));
        }
        Ok(())
    }
}

struct AppendEvents {
    id: String,
    kinds: Vec<EventType>,
    bodies: Vec<String>,
}

#[async_trait]
impl Write for AppendEvents {
    type Output = Vec<Stored>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Vec<Stored>, StoreError> {
        let mut stored = Vec::with_capacity(self.bodies.len());
        for (kind, body) in self.kinds.iter().zip(&self.bodies) {
            stored.push(insert_event(conn, &self.id, *kind, body).await?);
        }
        Ok(stored)
    }
}

struct CompleteTask {
    id: String,
    status: TaskStatus,
    body: String,
}

#[async_trait]
impl Write for CompleteTask {
    type Output = Option<Stored>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Option<Stored>, StoreError> {
        let status = current_status(conn, &self.id).await?;
        if self.status != TaskStatus::Cancelled {
            if status == TaskStatus::Cancelled.as_str() {
                return Ok(None);
            }
            if status != TaskStatus::Processing.as_str() {
                return Err(StoreError::Conflict(format!(
                    "Refusing to update status of run '{}' to status '{}' as it is currently '{status}', expected \
                     'processing'",
                    self.id,
                    self.status.as_str()
                )));
            }
        }
        sqlx::query("UPDATE tasks SET status = ?, secrets = NULL WHERE id = ?")
            .bind(self.status.as_str())
            .bind(self.id.clone())
            .execute(&mut *conn)
            .await?;
        insert_event(conn, &self.id, EventType::Completion, &self.body).await.map(Some)
    }
}

struct CancelTask {
    id: String,
    body: String,
}

#[async_trait]
impl Write for CancelTask {
    type Output = Stored;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Stored, StoreError> {
        let changed = sqlx::query("UPDATE tasks SET secrets = NULL WHERE id = ?")
            .bind(self.id.clone())
            .execute(&mut *conn)
            .await?
            .rows_affected();
        if changed == 0 {
            return Err(StoreError::NoTask(self.id.clone()));
        }
        insert_event(conn, &self.id, EventType::Cancelled, &self.body).await
    }
}

struct RetryTask {
    id: String,
    secrets: Option<String>,
}

#[async_trait]
impl Write for RetryTask {
    type Output = (String, Stored);
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(String, Stored), StoreError> {
        current_status(conn, &self.id).await?;
        let spec: Option<String> = sqlx::query_scalar(
            "UPDATE tasks SET secrets = COALESCE(?, secrets), status = 'open', last_heartbeat_at = CURRENT_TIMESTAMP \
             WHERE id = ? AND status IN ('cancelled', 'completed', 'failed', 'skipped') RETURNING spec",
        )
        .bind(self.secrets.clone())
        .bind(self.id.clone())
        .fetch_optional(&mut *conn)
        .await?;
        let Some(spec) = spec else {
            return Err(StoreError::Conflict(format!("Task with taskId {} cannot be retried", self.id)));
        };
        sqlx::query("DELETE FROM task_events WHERE task_id = ? AND event_type IN ('cancelled', 'completion')")
            .bind(self.id.clone())
            .execute(&mut *conn)
            .await?;
        let strategy = recover_strategy(&spec);
        let stored = insert_recovered(conn, &self.id, &strategy).await?;
        Ok((strategy, stored))
    }
}

struct ReleaseTask {
    id: String,
    secrets: Option<String>,
}

#[async_trait]
impl Write for ReleaseTask {
    type Output = (String, Stored);
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(String, Stored), StoreError> {
        let status = current_status(conn, &self.id).await?;
        let spec: Option<String> = sqlx::query_scalar(
            "UPDATE tasks SET secrets = COALESCE(?, secrets), status = 'open', last_heartbeat_at = CURRENT_TIMESTAMP \
             WHERE id = ? AND status = 'processing' RETURNING spec",
        )
        .bind(self.secrets.clone())
        .bind(self.id.clone())
        .fetch_optional(&mut *conn)
        .await?;
        let Some(spec) = spec else {
            return Err(StoreError::Conflict(format!(
                "Task with taskId {} cannot go back to the queue as it is currently '{status}', expected 'processing'",
                self.id
            )));
        };
        let strategy = recover_strategy(&spec);
        let stored = insert_recovered(conn, &self.id, &strategy).await?;
        Ok((strategy, stored))
    }
}

struct RecoverStale {
    age: String,
}

#[async_trait]
impl Write for RecoverStale {
    type Output = Vec<(TaskId, String, Stored)>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Self::Output, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "UPDATE tasks SET status = 'open', last_heartbeat_at = CURRENT_TIMESTAMP \
             WHERE status = 'processing' AND last_heartbeat_at <= datetime('now', ?) RETURNING id, spec",
        )
        .bind(self.age.clone())
        .fetch_all(&mut *conn)
        .await?;
        let mut recovered = Vec::with_capacity(rows.len());
        for (id, spec) in rows {
            let strategy = recover_strategy(&spec);
            let stored = insert_recovered(conn, &id, &strategy).await?;
            recovered.push((id, strategy, stored));
        }
        Ok(recovered)
    }
}

struct SaveState {
    id: String,
    state: String,
}

#[async_trait]
impl Write for SaveState {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let changed = sqlx::query("UPDATE tasks SET state = ? WHERE id = ?")
            .bind(self.state.clone())
            .bind(self.id.clone())
            .execute(conn)
            .await?
            .rows_affected();
        if changed == 0 {
            return Err(StoreError::NoTask(self.id.clone()));
        }
        Ok(())
    }
}

async fn current_status(conn: &mut SqliteConnection, id: &str) -> Result<String, StoreError> {
    sqlx::query_scalar("SELECT status FROM tasks WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| StoreError::NoTask(id.to_string()))
}

async fn insert_recovered(conn: &mut SqliteConnection, id: &str, strategy: &str) -> Result<Stored, StoreError> {
    insert_event(conn, id, EventType::Recovered, &to_json(&recovered_body(strategy))?).await
}

async fn insert_event(
    conn: &mut SqliteConnection,
    id: &str,
    kind: EventType,
    body: &str,
) -> Result<Stored, StoreError> {
    let inserted = sqlx::query_as::<_, (i64, String)>(
        "INSERT INTO task_events (task_id, body, event_type) VALUES (?, ?, ?) RETURNING id, CAST(created_at AS TEXT)",
    )
    .bind(id.to_string())
    .bind(body.to_string())
    .bind(kind.as_str())
    .fetch_one(conn)
    .await;
    match inserted {
        Ok((id, created_at)) => Ok((id, parse_time(&created_at)?)),
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::NoTask(id.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn recovered_body(strategy: &str) -> Value {
    json!({ "recoverStrategy": strategy })
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    // Maps of strings always serialise; kept as an error so that no input can end the process.
    serde_json::to_string(value)
        .map_err(|error| StoreError::Corrupt { what: "a value".to_string(), reason: error.to_string() })
}

/// SQLite's modifier for "so long ago"; whole seconds, as the timestamps are.
fn age(older_than: Duration) -> String {
    format!("-{} seconds", older_than.as_secs())
}

fn column(field: OrderField) -> &'static str {
    match field {
        OrderField::CreatedAt => "created_at",
        OrderField::Status => "status",
        OrderField::CreatedBy => "created_by",
    }
}

fn keyword(direction: Direction) -> &'static str {
    match direction {
        Direction::Asc => " ASC",
        Direction::Desc => " DESC",
    }
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &TaskFilter) {
    let mut joint = " WHERE ";
    if !filter.created_by.is_empty() {
        query.push(joint).push("created_by IN (");
        let mut list = query.separated(", ");
        for creator in &filter.created_by {
            list.push_bind(creator.clone());
        }
        query.push(")");
        joint = " AND ";
    }
    if let Some(visible) = &filter.visible {
        query.push(joint);
        visible::push(query, visible);
        joint = " AND ";
    }
    if !filter.status.is_empty() {
        query.push(joint).push("status IN (");
        let mut list = query.separated(", ");
        for status in &filter.status {
            list.push_bind(status.as_str());
        }
        query.push(")");
    }
}

fn serialized(row: &SqliteRow) -> Result<SerializedTask, StoreError> {
    let id: String = row.try_get("id")?;
    let corrupt = |reason: String| StoreError::Corrupt { what: format!("task '{id}'"), reason };
    let spec: String = row.try_get("spec")?;
    let spec = serde_json::from_str(&spec)
        .map_err(|error| corrupt(format!("Failed to parse spec of task '{id}', {error}")))?;
    let status: String = row.try_get("status")?;
    let status = TaskStatus::parse(&status).ok_or_else(|| corrupt(format!("its status '{status}' is not known")))?;
    let created_at: String = row.try_get("created_at")?;
    let last_heartbeat_at: Option<String> = row.try_get("last_heartbeat_at")?;
    Ok(SerializedTask {
        spec,
        status,
        created_at: parse_time(&created_at)?,
        last_heartbeat_at: last_heartbeat_at.as_deref().map(parse_time).transpose()?,
        created_by: row.try_get("created_by")?,
        id,
    })
}

fn event(row: &SqliteRow, task_id: &str, is_task_recoverable: bool) -> Result<TaskEvent, StoreError> {
    let id: i64 = row.try_get("id")?;
    let corrupt = |reason: String| StoreError::Corrupt { what: format!("event {id} of task '{task_id}'"), reason };
    let body: String = row.try_get("body")?;
    let body = serde_json::from_str(&body)
        .map_err(|error| corrupt(format!("Failed to parse event body from event taskId={task_id} id={id}, {error}")))?;
    let kind: String = row.try_get("event_type")?;
    let kind = EventType::parse(&kind).ok_or_else(|| corrupt(format!("its type '{kind}' is not known")))?;
    let created_at: String = row.try_get("created_at")?;
    Ok(TaskEvent {
        id,
        is_task_recoverable,
        task_id: task_id.to_string(),
        body,
        kind,
        created_at: parse_time(&created_at)?,
    })
}
