//! Tasks and their events.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::mpsc;

use super::{SqliteStore, writer::Write};
use crate::{
    model::{EventType, NewEvent, SerializedTask, TaskEvent, TaskId, TaskStatus},
    store::{
        Beat, Claim, ClaimedTask, NewTask, QueueDepth, Signal, StoreError, TaskFilter, TaskPage, TaskStore,
        rows::{
            ClaimedRow, EventRow, Stored, TaskRow, for_retry, parse_state, parse_time, push_filter, push_order,
            readable, recover_strategy, recovered_body, refuse_completion, refuse_retry, starts_over, state_json,
            stored_event, to_json, trim_events,
        },
    },
};

/// Columns of [`task_row`]. Backstage declares timestamps as `datetime` and writes text; the cast makes what other
/// writers may have left there readable too.
const TASK_COLUMNS: &str = "id, spec, status, CAST(created_at AS TEXT) AS created_at, \
                            CAST(last_heartbeat_at AS TEXT) AS last_heartbeat_at, created_by";

/// The expression of the index on templates.
const TEMPLATE_REF: &str = "CASE WHEN json_valid(spec) THEN json_extract(spec, '$.templateInfo.entityRef') END";

#[async_trait]
impl TaskStore for SqliteStore {
    async fn create_task(&self, task: NewTask) -> Result<TaskId, StoreError> {
        let id = uuid::Uuid::new_v4().to_string();
        self.0.recoverable.remember(&id, task.spec.starts_over());
        let write = CreateTask {
            spec: to_json(&task.spec)?,
            secrets: task.secrets.as_ref().map(|secrets| self.0.vault.seal(&id, secrets)).transpose()?,
            created_by: task.created_by,
            id: id.clone(),
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
        task_row(&row)?.serialized()
    }

    async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        let mut count = QueryBuilder::<Sqlite>::new("SELECT COUNT(*) FROM tasks");
        push_filter(&mut count, filter, TEMPLATE_REF);
        let total = async || count.build_query_scalar::<i64>().fetch_one(&self.0.readers).await;
        let total = self.0.counts.get(filter.question(), total).await?;

        let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
        query.push(TASK_COLUMNS).push(" FROM tasks");
        push_filter(&mut query, filter, TEMPLATE_REF);
        push_order(&mut query, filter, "rowid");
        if filter.limit.is_some() || filter.offset.is_some() {
            let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
            query.push(" LIMIT ").push_bind(limit);
            query.push(" OFFSET ").push_bind(i64::try_from(filter.offset.unwrap_or(0)).unwrap_or(i64::MAX));
        }
        let rows = query.build().fetch_all(&self.0.readers).await?;
        let tasks = readable(rows.iter().map(|row| task_row(row)?.serialized()))?;
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
        self.0.recoverable.remember(&claimed.claim.task_id, starts_over(&claimed.spec));
        Ok(Some(claimed.task(&self.0.vault)))
    }

    async fn heartbeat(&self, claims: &[Claim]) -> Result<Vec<Beat>, StoreError> {
        self.write(Heartbeats { claims: claims.to_vec() }).await
    }

    async fn append_events(
        &self,
        claim: &Claim,
        batch: i64,
        events: Vec<NewEvent>,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        let recoverable = self.is_recoverable(&claim.task_id).await?;
        let bodies = events.iter().map(|event| to_json(&event.body)).collect::<Result<Vec<_>, _>>()?;
        let kinds = events.iter().map(|event| event.kind).collect();
        let stored = self.write(AppendEvents { claim: claim.clone(), batch, kinds, bodies }).await?;
        Ok(stored
            .into_iter()
            .zip(events)
            .map(|(stored, event)| stored_event(&claim.task_id, event.kind, event.body, stored, recoverable))
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
        let events = rows.iter().map(|row| event_row(row)?.event(id, recoverable)).collect::<Result<Vec<_>, _>>()?;
        Ok(trim_events(events))
    }

    async fn events_after(&self, id: &str, after: i64, limit: usize) -> Result<Vec<TaskEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, body, event_type, CAST(created_at AS TEXT) AS created_at FROM task_events \
             WHERE task_id = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(id)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0.readers)
        .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let recoverable = self.is_recoverable(id).await?;
        rows.iter().map(|row| event_row(row)?.event(id, recoverable)).collect()
    }

    async fn newest_events(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, i64)>, StoreError> {
        let mut newest = Vec::with_capacity(ids.len());
        for id in ids {
            let event: Option<i64> = sqlx::query_scalar("SELECT MAX(id) FROM task_events WHERE task_id = ?")
                .bind(id)
                .fetch_one(&self.0.readers)
                .await?;
            newest.extend(event.map(|event| (id.clone(), event)));
        }
        Ok(newest)
    }

    async fn complete_task(
        &self,
        claim: &Claim,
        status: TaskStatus,
        body: Value,
    ) -> Result<Option<TaskEvent>, StoreError> {
        let stored = self.write(CompleteTask { claim: claim.clone(), status, body: to_json(&body)? }).await?;
        match stored {
            Some(stored) => Ok(Some(self.event(&claim.task_id, EventType::Completion, body, stored).await?)),
            None => Ok(None),
        }
    }

    async fn cancel_task(&self, id: &str, body: Value) -> Result<TaskEvent, StoreError> {
        let stored = self.write(CancelTask { id: id.to_string(), body: to_json(&body)? }).await?;
        self.event(id, EventType::Cancelled, body, stored).await
    }

    async fn retry_task(
        &self,
        id: &str,
        secrets: Option<Map<String, Value>>,
        from_start: bool,
    ) -> Result<TaskEvent, StoreError> {
        let secrets = secrets.as_ref().map(|secrets| self.0.vault.seal(id, secrets)).transpose()?;
        let (strategy, stored) = self.write(RetryTask { id: id.to_string(), secrets, from_start }).await?;
        self.event(id, EventType::Recovered, recovered_body(&strategy), stored).await
    }

    async fn release_task(&self, claim: &Claim, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError> {
        let secrets = secrets.as_ref().map(|secrets| self.0.vault.seal(&claim.task_id, secrets)).transpose()?;
        let (strategy, stored) = self.write(ReleaseTask { claim: claim.clone(), secrets }).await?;
        self.event(&claim.task_id, EventType::Recovered, recovered_body(&strategy), stored).await
    }

    async fn recover_stale(&self, older_than: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        if self.list_stale(older_than).await?.is_empty() {
            return Ok(Vec::new());
        }
        let recovered = self.write(RecoverStale { age: age(older_than) }).await?;
        let mut events = Vec::with_capacity(recovered.len());
        for (id, strategy, stored) in recovered {
            events.push(self.event(&id, EventType::Recovered, recovered_body(&strategy), stored).await?);
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

    async fn close_stale(
        &self,
        id: &str,
        older_than: Duration,
        events: Vec<NewEvent>,
        body: Value,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        let recoverable = self.is_recoverable(id).await?;
        let events: Vec<_> = events.into_iter().chain([NewEvent { kind: EventType::Completion, body }]).collect();
        let rows =
            events.iter().map(|event| Ok((event.kind, to_json(&event.body)?))).collect::<Result<_, StoreError>>()?;
        let stored = self.write(CloseStale { id: id.to_string(), age: age(older_than), events: rows }).await?;
        Ok(stored
            .into_iter()
            .zip(events)
            .map(|(stored, event)| stored_event(id, event.kind, event.body, stored, recoverable))
            .collect())
    }

    async fn delete_ended(
        &self,
        max_age: Option<Duration>,
        keep: Option<u64>,
        limit: u32,
    ) -> Result<Vec<TaskId>, StoreError> {
        let keep = keep.map(|keep| i64::try_from(keep).unwrap_or(i64::MAX));
        self.write(DeleteEnded { age: max_age.map(age), keep, limit }).await
    }

    async fn queue_depth(&self) -> Result<QueueDepth, StoreError> {
        let (tasks, oldest_seconds): (i64, f64) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE((julianday('now') - julianday(MIN(created_at))) * 86400.0, 0.0) \
             FROM tasks WHERE status = 'open'",
        )
        .fetch_one(&self.0.readers)
        .await?;
        Ok(QueueDepth { tasks: u64::try_from(tasks).unwrap_or(0), oldest_seconds: oldest_seconds.max(0.0) })
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

    async fn save_state(&self, claim: &Claim, state: &Map<String, Value>) -> Result<(), StoreError> {
        self.write(SaveState { claim: claim.clone(), state: state_json(state)? }).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.0.readers).await?;
        Ok(())
    }

    /// Its lock file keeps others out.
    fn is_shared(&self) -> bool {
        false
    }

    fn signals(&self) -> Option<mpsc::Receiver<Signal>> {
        None
    }

    async fn close(&self) {
        self.finish().await;
    }
}

impl SqliteStore {
    async fn is_recoverable(&self, id: &str) -> Result<bool, StoreError> {
        if let Some(recoverable) = self.0.recoverable.get(id) {
            return Ok(recoverable);
        }
        let spec: Option<String> =
            sqlx::query_scalar("SELECT spec FROM tasks WHERE id = ?").bind(id).fetch_optional(&self.0.readers).await?;
        let recoverable = starts_over(&spec.ok_or_else(|| StoreError::NoTask(id.to_string()))?);
        self.0.recoverable.remember(id, recoverable);
        Ok(recoverable)
    }

    async fn event(&self, id: &str, kind: EventType, body: Value, stored: Stored) -> Result<TaskEvent, StoreError> {
        Ok(stored_event(id, kind, body, stored, self.is_recoverable(id).await?))
    }
}

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

#[async_trait]
impl Write for ClaimTask {
    type Output = Option<ClaimedRow>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Option<ClaimedRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, spec, secrets, created_by, state, \
             COALESCE((julianday('now') - julianday(COALESCE(last_heartbeat_at, created_at))) * 86400.0, 0.0) AS queued \
             FROM tasks WHERE status = 'open' ORDER BY created_at, rowid LIMIT 1",
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (id, spec): (String, String) = (row.try_get("id")?, row.try_get("spec")?);
        let keep = self.keep_secrets || starts_over(&spec);
        // The guard on the status costs nothing here and keeps the statement right beside other writers.
        let changed = sqlx::query(
            "UPDATE tasks SET status = 'processing', last_heartbeat_at = CURRENT_TIMESTAMP, \
             secrets = CASE WHEN ? THEN secrets ELSE NULL END WHERE id = ? AND status = 'open'",
        )
        .bind(keep)
        .bind(id.clone())
        .execute(&mut *conn)
        .await?
        .rows_affected();
        if changed != 1 {
            return Ok(None);
        }
        // Replaces what a process left that was killed, or an older version.
        let token = sqlx::query_scalar(
            "INSERT OR REPLACE INTO understudy_claims (task_id, replica) VALUES (?, ?) RETURNING token",
        )
        .bind(id.clone())
        .bind(std::process::id().to_string())
        .fetch_one(conn)
        .await?;
        Ok(Some(ClaimedRow {
            claim: Claim { task_id: id, token },
            spec,
            secrets: row.try_get("secrets")?,
            created_by: row.try_get("created_by")?,
            state: row.try_get("state")?,
            queued_seconds: row.try_get("queued")?,
        }))
    }
}

struct Heartbeats {
    claims: Vec<Claim>,
}

#[async_trait]
impl Write for Heartbeats {
    type Output = Vec<Beat>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Vec<Beat>, StoreError> {
        let mut beats = Vec::with_capacity(self.claims.len());
        for claim in &self.claims {
            let changed = sqlx::query(
                "UPDATE tasks SET last_heartbeat_at = CURRENT_TIMESTAMP WHERE id = ?1 AND status = 'processing' \
                 AND EXISTS (SELECT 1 FROM understudy_claims WHERE task_id = ?1 AND token = ?2)",
            )
            .bind(claim.task_id.clone())
            .bind(claim.token)
            .execute(&mut *conn)
            .await?
            .rows_affected();
            let beat = if changed == 0 {
                Beat::Lost
            } else {
                let cancelled: bool = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM task_events WHERE task_id = ? AND event_type = 'cancelled')",
                )
                .bind(claim.task_id.clone())
                .fetch_one(&mut *conn)
                .await?;
                if cancelled { Beat::Cancelled } else { Beat::Alive }
            };
            beats.push(beat);
        }
        Ok(beats)
    }
}

struct AppendEvents {
    claim: Claim,
    batch: i64,
    kinds: Vec<EventType>,
    bodies: Vec<String>,
}

#[async_trait]
impl Write for AppendEvents {
    type Output = Vec<Stored>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Vec<Stored>, StoreError> {
        held(conn, &self.claim).await?;
        let id = &self.claim.task_id;
        let is_new =
            sqlx::query("UPDATE understudy_claims SET batch = ?3 WHERE token = ?1 AND task_id = ?2 AND batch < ?3")
                .bind(self.claim.token)
                .bind(id.clone())
                .bind(self.batch)
                .execute(&mut *conn)
                .await?
                .rows_affected()
                == 1;
        let mut stored = Vec::with_capacity(self.bodies.len());
        if is_new {
            for (kind, body) in self.kinds.iter().zip(&self.bodies) {
                stored.push(insert_event(conn, id, *kind, body).await?);
            }
        }
        Ok(stored)
    }
}

struct CompleteTask {
    claim: Claim,
    status: TaskStatus,
    body: String,
}

#[async_trait]
impl Write for CompleteTask {
    type Output = Option<Stored>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Option<Stored>, StoreError> {
        let id = &self.claim.task_id;
        let status = current_status(conn, id).await?;
        if status == TaskStatus::Cancelled.as_str() {
            return Ok(None);
        }
        if status != TaskStatus::Processing.as_str() {
            return Err(refuse_completion(id, self.status, &status));
        }
        held(conn, &self.claim).await?;
        end(conn, id, self.status).await?;
        insert_event(conn, id, EventType::Completion, &self.body).await.map(Some)
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
    from_start: bool,
}

#[async_trait]
impl Write for RetryTask {
    type Output = (String, Stored);
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(String, Stored), StoreError> {
        current_status(conn, &self.id).await?;
        let row: Option<(String, Option<String>)> = sqlx::query_as(
            "UPDATE tasks SET secrets = COALESCE(?, secrets), status = 'open', last_heartbeat_at = CURRENT_TIMESTAMP \
             WHERE id = ? AND status IN ('cancelled', 'completed', 'failed', 'skipped') RETURNING spec, state",
        )
        .bind(self.secrets.clone())
        .bind(self.id.clone())
        .fetch_optional(&mut *conn)
        .await?;
        let Some((spec, state)) = row else { return Err(refuse_retry(&self.id)) };
        if let Some(state) = for_retry(state.as_deref(), self.from_start) {
            sqlx::query("UPDATE tasks SET state = ? WHERE id = ?")
                .bind(state)
                .bind(self.id.clone())
                .execute(&mut *conn)
                .await?;
        }
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
    claim: Claim,
    secrets: Option<String>,
}

#[async_trait]
impl Write for ReleaseTask {
    type Output = (String, Stored);
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(String, Stored), StoreError> {
        held(conn, &self.claim).await?;
        let id = &self.claim.task_id;
        let spec: String = sqlx::query_scalar(
            "UPDATE tasks SET secrets = COALESCE(?, secrets), status = 'open', last_heartbeat_at = CURRENT_TIMESTAMP \
             WHERE id = ? RETURNING spec",
        )
        .bind(self.secrets.clone())
        .bind(id.clone())
        .fetch_one(&mut *conn)
        .await?;
        forget_claim(conn, id).await?;
        let strategy = recover_strategy(&spec);
        let stored = insert_recovered(conn, id, &strategy).await?;
        Ok((strategy, stored))
    }
}

struct CloseStale {
    id: String,
    age: String,
    events: Vec<(EventType, String)>,
}

#[async_trait]
impl Write for CloseStale {
    type Output = Vec<Stored>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Vec<Stored>, StoreError> {
        let is_stale: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ? AND status = 'processing' \
             AND last_heartbeat_at <= datetime('now', ?))",
        )
        .bind(self.id.clone())
        .bind(self.age.clone())
        .fetch_one(&mut *conn)
        .await?;
        let mut stored = Vec::new();
        if is_stale {
            for (kind, body) in &self.events {
                stored.push(insert_event(conn, &self.id, *kind, body).await?);
            }
            end(conn, &self.id, TaskStatus::Failed).await?;
        }
        Ok(stored)
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
            forget_claim(conn, &id).await?;
            let strategy = recover_strategy(&spec);
            let stored = insert_recovered(conn, &id, &strategy).await?;
            recovered.push((id, strategy, stored));
        }
        Ok(recovered)
    }
}

struct DeleteEnded {
    age: Option<String>,
    keep: Option<i64>,
    limit: u32,
}

#[async_trait]
impl Write for DeleteEnded {
    type Output = Vec<TaskId>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Vec<TaskId>, StoreError> {
        // Their events go with them.
        let mut deleted: Vec<TaskId> = Vec::new();
        if let Some(age) = &self.age {
            // Nothing is younger than its sign of life: the first comparison lets the index find the old ones.
            let old = sqlx::query_scalar(
                "DELETE FROM tasks WHERE id IN ( \
                   SELECT id FROM tasks WHERE status IN ('cancelled', 'completed', 'failed', 'skipped') \
                   AND created_at <= datetime('now', ?1) \
                   AND COALESCE(last_heartbeat_at, created_at) <= datetime('now', ?1) LIMIT ?2) RETURNING id",
            )
            .bind(age.clone())
            .bind(self.limit)
            .fetch_all(&mut *conn)
            .await?;
            deleted.extend(old);
        }
        if let Some(keep) = self.keep {
            let beyond = sqlx::query_scalar(
                "DELETE FROM tasks WHERE id IN ( \
                   SELECT id FROM tasks WHERE status IN ('cancelled', 'completed', 'failed', 'skipped') \
                   ORDER BY created_at DESC, rowid DESC LIMIT ?1 OFFSET ?2) RETURNING id",
            )
            .bind(self.limit)
            .bind(keep)
            .fetch_all(&mut *conn)
            .await?;
            deleted.extend(beyond);
        }
        Ok(deleted)
    }
}

struct SaveState {
    claim: Claim,
    state: String,
}

#[async_trait]
impl Write for SaveState {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        held(conn, &self.claim).await?;
        sqlx::query("UPDATE tasks SET state = ? WHERE id = ?")
            .bind(self.state.clone())
            .bind(self.claim.task_id.clone())
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Refuses the write of a worker whose claim is gone.
pub(super) async fn held(conn: &mut SqliteConnection, claim: &Claim) -> Result<(), StoreError> {
    let status = current_status(conn, &claim.task_id).await?;
    let held: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM understudy_claims WHERE token = ? AND task_id = ?)")
            .bind(claim.token)
            .bind(claim.task_id.clone())
            .fetch_one(conn)
            .await?;
    if held && status == TaskStatus::Processing.as_str() {
        return Ok(());
    }
    Err(StoreError::LostClaim(claim.task_id.clone()))
}

async fn forget_claim(conn: &mut SqliteConnection, id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM understudy_claims WHERE task_id = ?").bind(id.to_string()).execute(conn).await?;
    Ok(())
}

async fn end(conn: &mut SqliteConnection, id: &str, status: TaskStatus) -> Result<(), StoreError> {
    sqlx::query("UPDATE tasks SET status = ?, secrets = NULL WHERE id = ?")
        .bind(status.as_str())
        .bind(id.to_string())
        .execute(&mut *conn)
        .await?;
    forget_claim(conn, id).await
}

pub(super) async fn current_status(conn: &mut SqliteConnection, id: &str) -> Result<String, StoreError> {
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

/// SQLite's modifier for "so long ago"; whole seconds, as the timestamps are.
pub(super) fn age(older_than: Duration) -> String {
    format!("-{} seconds", older_than.as_secs())
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.as_deref().map(parse_time).transpose()
}

fn created_at(row: &SqliteRow) -> Result<DateTime<Utc>, StoreError> {
    let text: String = row.try_get("created_at")?;
    parse_time(&text)
}

fn task_row(row: &SqliteRow) -> Result<TaskRow, StoreError> {
    Ok(TaskRow {
        id: row.try_get("id")?,
        spec: row.try_get("spec")?,
        status: row.try_get("status")?,
        created_at: created_at(row)?,
        last_heartbeat_at: time(row, "last_heartbeat_at")?,
        created_by: row.try_get("created_by")?,
    })
}

fn event_row(row: &SqliteRow) -> Result<EventRow, StoreError> {
    Ok(EventRow {
        id: row.try_get("id")?,
        body: row.try_get("body")?,
        kind: row.try_get("event_type")?,
        created_at: created_at(row)?,
    })
}
