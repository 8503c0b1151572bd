//! Tasks and their events.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use sqlx::{
    PgConnection, Postgres, QueryBuilder, Row, Transaction,
    postgres::{PgRow, types::PgInterval},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{PostgresStore, locked};
use crate::{
    model::{EventType, NewEvent, SerializedTask, TaskEvent, TaskId, TaskStatus},
    store::{
        Beat, Claim, ClaimedTask, NewTask, QueueDepth, Signal, StoreError, TaskFilter, TaskPage, TaskStore,
        rows::{
            ClaimedRow, EventRow, Stored, TaskRow, for_retry, parse_state, push_filter, push_order, readable,
            recover_strategy, recovered_body, refuse_completion, refuse_retry, starts_over, state_json, stored_event,
            to_json, trim_events,
        },
    },
};

/// Columns of [`task_row`].
const TASK_COLUMNS: &str = "id, spec, status, created_at, last_heartbeat_at, created_by";
/// The expression of the index on templates.
const TEMPLATE_REF: &str = r#"left(substring(spec from '.*"templateInfo":{"entityRef":"([^"\\]+)"'), 255)"#;
/// How many tasks are recovered in one transaction.
const RECOVERED_AT_ONCE: i64 = 200;

type Tx = Transaction<'static, Postgres>;

/// The id as the column has it; what is no UUID is nobody's id.
pub(super) fn uuid(id: &str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(id).map_err(|_| StoreError::NoTask(id.to_string()))
}

#[async_trait]
impl TaskStore for PostgresStore {
    async fn create_task(&self, task: NewTask) -> Result<TaskId, StoreError> {
        let id = Uuid::new_v4();
        let spec = to_json(&task.spec)?;
        let secrets = task.secrets.as_ref().map(|secrets| self.0.vault.seal(&id.to_string(), secrets)).transpose()?;
        let mut tx = self.0.pool.begin().await?;
        sqlx::query("INSERT INTO tasks (id, spec, secrets, created_by, status) VALUES ($1, $2, $3, $4, 'open')")
            .bind(id)
            .bind(spec)
            .bind(secrets)
            .bind(task.created_by)
            .execute(&mut *tx)
            .await?;
        self.notify(&mut tx, &self.0.channels.open, id.to_string()).await?;
        tx.commit().await?;
        let id = id.to_string();
        self.0.recoverable.remember(&id, task.spec.starts_over());
        Ok(id)
    }

    async fn get_task(&self, id: &str) -> Result<SerializedTask, StoreError> {
        let row =
            sqlx::query("SELECT id, spec, status, created_at, last_heartbeat_at, created_by FROM tasks WHERE id = $1")
                .bind(uuid(id)?)
                .fetch_optional(&self.0.pool)
                .await?
                .ok_or_else(|| StoreError::NoTask(id.to_string()))?;
        task_row(&row)?.serialized()
    }

    async fn list_tasks(&self, filter: &TaskFilter) -> Result<TaskPage, StoreError> {
        let mut count = QueryBuilder::<Postgres>::new("SELECT COUNT(*) FROM tasks");
        push_filter(&mut count, filter, TEMPLATE_REF);
        let total = async || count.build_query_scalar::<i64>().fetch_one(&self.0.pool).await;
        let total = self.0.counts.get(filter.question(), total).await?;

        let mut query = QueryBuilder::<Postgres>::new("SELECT ");
        query.push(TASK_COLUMNS).push(" FROM tasks");
        push_filter(&mut query, filter, TEMPLATE_REF);
        push_order(&mut query, filter, "id");
        if let Some(limit) = filter.limit {
            query.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        if let Some(offset) = filter.offset {
            query.push(" OFFSET ").push_bind(i64::try_from(offset).unwrap_or(i64::MAX));
        }
        let rows = query.build().fetch_all(&self.0.pool).await?;
        let tasks = readable(rows.iter().map(|row| task_row(row)?.serialized()))?;
        Ok(TaskPage { tasks, total: u64::try_from(total).unwrap_or(0) })
    }

    async fn claim_task(&self, keep_secrets: bool) -> Result<Option<ClaimedTask>, StoreError> {
        // Most calls find nothing; they need no transaction.
        let open: Option<i32> = sqlx::query_scalar("SELECT 1 FROM tasks WHERE status = 'open' LIMIT 1")
            .fetch_optional(&self.0.pool)
            .await?;
        if open.is_none() {
            return Ok(None);
        }
        let mut tx = self.0.pool.begin().await?;
        let row = sqlx::query(
            "SELECT id, spec, secrets, created_by, state, \
             EXTRACT(EPOCH FROM now() - COALESCE(last_heartbeat_at, created_at))::float8 AS queued \
             FROM tasks WHERE status = 'open' \
             ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            tx.rollback().await?;
            return Ok(None);
        };
        let (id, spec): (Uuid, String) = (row.try_get("id")?, row.try_get("spec")?);
        let keep = keep_secrets || starts_over(&spec);
        sqlx::query(
            "UPDATE tasks SET status = 'processing', last_heartbeat_at = now(), \
             secrets = CASE WHEN $2 THEN secrets END WHERE id = $1",
        )
        .bind(id)
        .bind(keep)
        .execute(&mut *tx)
        .await?;
        // Replaces what an upstream worker's recovery left.
        let token: i64 = sqlx::query_scalar(
            "INSERT INTO understudy_claims (task_id, replica) VALUES ($1, $2) ON CONFLICT (task_id) DO UPDATE \
             SET token = EXCLUDED.token, replica = EXCLUDED.replica, batch = 0, claimed_at = now() RETURNING token",
        )
        .bind(id)
        .bind(&self.0.replica)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        let task_id = id.to_string();
        self.0.recoverable.remember(&task_id, starts_over(&spec));
        let claimed = ClaimedRow {
            claim: Claim { task_id, token },
            spec,
            secrets: row.try_get("secrets")?,
            created_by: row.try_get("created_by")?,
            state: row.try_get("state")?,
            queued_seconds: row.try_get("queued")?,
        };
        Ok(Some(claimed.task(&self.0.vault)))
    }

    async fn heartbeat(&self, claims: &[Claim]) -> Result<Vec<Beat>, StoreError> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids = Vec::with_capacity(claims.len());
        for claim in claims {
            ids.push(uuid(&claim.task_id)?);
        }
        let tokens: Vec<i64> = claims.iter().map(|claim| claim.token).collect();
        // Locked in the order of their ids, as everybody does who locks several. A claim that is lost between the two
        // halves of the statement got one sign of life too many, which does no harm.
        let alive: Vec<(Uuid, i64, bool)> = sqlx::query_as(
            "WITH held AS ( \
               SELECT t.id, c.token FROM unnest($1::uuid[], $2::bigint[]) AS mine (id, token) \
               JOIN understudy_claims c ON c.task_id = mine.id AND c.token = mine.token \
               JOIN tasks t ON t.id = mine.id AND t.status = 'processing' \
               ORDER BY t.id FOR NO KEY UPDATE OF t \
             ) \
             UPDATE tasks SET last_heartbeat_at = now() FROM held WHERE tasks.id = held.id AND tasks.status = 'processing' \
             RETURNING held.id, held.token, EXISTS ( \
               SELECT 1 FROM task_events e WHERE e.task_id = tasks.id AND e.event_type = 'cancelled')",
        )
        .bind(&ids)
        .bind(&tokens)
        .fetch_all(&self.0.pool)
        .await?;
        let beat = |(id, token): (&Uuid, &i64)| match alive.iter().find(|(known, of, _)| (known, of) == (id, token)) {
            Some((_, _, true)) => Beat::Cancelled,
            Some((_, _, false)) => Beat::Alive,
            None => Beat::Lost,
        };
        Ok(ids.iter().zip(&tokens).map(beat).collect())
    }

    async fn append_events(
        &self,
        claim: &Claim,
        batch: i64,
        events: Vec<NewEvent>,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        let id = uuid(&claim.task_id)?;
        let recoverable = self.is_recoverable(&claim.task_id).await?;
        let rows = event_rows(&events)?;
        let mut tx = self.hold(claim).await?;
        let is_new = sqlx::query("UPDATE understudy_claims SET batch = $2 WHERE task_id = $1 AND batch < $2")
            .bind(id)
            .bind(batch)
            .execute(&mut *tx)
            .await?
            .rows_affected()
            == 1;
        let stored = if is_new { self.insert_events(&mut tx, id, rows).await? } else { Vec::new() };
        tx.commit().await?;
        Ok(stored
            .into_iter()
            .zip(events)
            .map(|(stored, event)| stored_event(&claim.task_id, event.kind, event.body, stored, recoverable))
            .collect())
    }

    async fn list_events(&self, id: &str, after: Option<i64>) -> Result<Vec<TaskEvent>, StoreError> {
        let Ok(key) = uuid(id) else { return Ok(Vec::new()) };
        let query = match after {
            Some(after) => sqlx::query(
                "SELECT id, body, event_type, created_at FROM task_events WHERE task_id = $1 AND id > $2 \
                 UNION ALL \
                 SELECT id, body, event_type, created_at FROM task_events \
                 WHERE task_id = $1 AND event_type = 'completion' AND id <= $2 \
                 ORDER BY id",
            )
            .bind(key)
            .bind(after),
            None => {
                sqlx::query("SELECT id, body, event_type, created_at FROM task_events WHERE task_id = $1 ORDER BY id")
                    .bind(key)
            }
        };
        let rows = query.fetch_all(&self.0.pool).await?;
        Ok(trim_events(self.events(id, &rows).await?))
    }

    async fn events_after(&self, id: &str, after: i64, limit: usize) -> Result<Vec<TaskEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, body, event_type, created_at FROM task_events WHERE task_id = $1 AND id > $2 \
             ORDER BY id LIMIT $3",
        )
        .bind(uuid(id)?)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0.pool)
        .await?;
        self.events(id, &rows).await
    }

    async fn newest_events(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, i64)>, StoreError> {
        let keys: Vec<Uuid> = ids.iter().filter_map(|id| uuid(id).ok()).collect();
        let newest: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT t.id, e.id FROM unnest($1::uuid[]) AS t (id) CROSS JOIN LATERAL \
             (SELECT id FROM task_events WHERE task_id = t.id ORDER BY id DESC LIMIT 1) AS e",
        )
        .bind(keys)
        .fetch_all(&self.0.pool)
        .await?;
        Ok(newest.into_iter().map(|(id, event)| (id.to_string(), event)).collect())
    }

    async fn complete_task(
        &self,
        claim: &Claim,
        status: TaskStatus,
        body: Value,
    ) -> Result<Option<TaskEvent>, StoreError> {
        let id = uuid(&claim.task_id)?;
        let mut tx = self.0.pool.begin().await?;
        let current = lock(&mut tx, &claim.task_id).await?;
        if current == TaskStatus::Cancelled.as_str() {
            tx.rollback().await?;
            return Ok(None);
        }
        if current != TaskStatus::Processing.as_str() {
            return refuse(tx, refuse_completion(&claim.task_id, status, &current)).await;
        }
        if let Err(error) = check(&mut tx, claim).await {
            return refuse(tx, error).await;
        }
        end(&mut tx, id, status).await?;
        let stored = self.insert_event(&mut tx, id, EventType::Completion, &body).await?;
        tx.commit().await?;
        self.event(&claim.task_id, EventType::Completion, body, stored).await.map(Some)
    }

    async fn cancel_task(&self, id: &str, body: Value) -> Result<TaskEvent, StoreError> {
        let key = uuid(id)?;
        let mut tx = self.0.pool.begin().await?;
        lock(&mut tx, id).await?;
        sqlx::query("UPDATE tasks SET secrets = NULL WHERE id = $1").bind(key).execute(&mut *tx).await?;
        let stored = self.insert_event(&mut tx, key, EventType::Cancelled, &body).await?;
        self.notify(&mut tx, &self.0.channels.cancel, id.to_string()).await?;
        tx.commit().await?;
        self.event(id, EventType::Cancelled, body, stored).await
    }

    async fn retry_task(
        &self,
        id: &str,
        secrets: Option<Map<String, Value>>,
        from_start: bool,
    ) -> Result<TaskEvent, StoreError> {
        let key = uuid(id)?;
        // As the column has it: that is what a claim gives, and what the ciphertext is bound to.
        let task_id = key.to_string();
        let secrets = secrets.as_ref().map(|secrets| self.0.vault.seal(&task_id, secrets)).transpose()?;
        let mut tx = self.0.pool.begin().await?;
        lock(&mut tx, id).await?;
        let row: Option<(String, Option<String>)> = sqlx::query_as(
            "UPDATE tasks SET secrets = COALESCE($2, secrets), status = 'open', last_heartbeat_at = now() \
             WHERE id = $1 AND status IN ('cancelled', 'completed', 'failed', 'skipped') RETURNING spec, state",
        )
        .bind(key)
        .bind(secrets)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((spec, state)) = row else { return refuse(tx, refuse_retry(id)).await };
        if let Some(state) = for_retry(state.as_deref(), from_start) {
            sqlx::query("UPDATE tasks SET state = $2 WHERE id = $1").bind(key).bind(state).execute(&mut *tx).await?;
        }
        sqlx::query("DELETE FROM task_events WHERE task_id = $1 AND event_type IN ('cancelled', 'completion')")
            .bind(key)
            .execute(&mut *tx)
            .await?;
        self.reopened(tx, id, key, &spec).await
    }

    async fn release_task(&self, claim: &Claim, secrets: Option<Map<String, Value>>) -> Result<TaskEvent, StoreError> {
        let key = uuid(&claim.task_id)?;
        let secrets = secrets.as_ref().map(|secrets| self.0.vault.seal(&claim.task_id, secrets)).transpose()?;
        let mut tx = self.hold(claim).await?;
        let spec: String = sqlx::query_scalar(
            "UPDATE tasks SET secrets = COALESCE($2, secrets), status = 'open', last_heartbeat_at = now() \
             WHERE id = $1 RETURNING spec",
        )
        .bind(key)
        .bind(secrets)
        .fetch_one(&mut *tx)
        .await?;
        forget_claims(&mut tx, &[key]).await?;
        self.reopened(tx, &claim.task_id, key, &spec).await
    }

    async fn recover_stale(&self, older_than: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        let mut recovered = Vec::new();
        loop {
            let mut tx = self.0.pool.begin().await?;
            // A row that somebody holds is one of a task whose worker lives, or that another process recovers just now.
            let rows: Vec<(Uuid, String)> = sqlx::query_as(
                "WITH stale AS ( \
                   SELECT id FROM tasks WHERE status = 'processing' AND last_heartbeat_at <= now() - $1 \
                   ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED \
                 ) \
                 UPDATE tasks SET status = 'open', last_heartbeat_at = now() FROM stale WHERE tasks.id = stale.id \
                 RETURNING tasks.id, tasks.spec",
            )
            .bind(age(older_than))
            .bind(RECOVERED_AT_ONCE)
            .fetch_all(&mut *tx)
            .await?;
            if rows.is_empty() {
                tx.rollback().await?;
                return Ok(recovered);
            }
            let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
            forget_claims(&mut tx, &ids).await?;
            let mut stored = Vec::with_capacity(rows.len());
            for (id, spec) in rows {
                let body = recovered_body(&recover_strategy(&spec));
                let event = self.insert_event(&mut tx, id, EventType::Recovered, &body).await?;
                stored.push((id.to_string(), body, event));
            }
            self.notify(&mut tx, &self.0.channels.open, String::new()).await?;
            tx.commit().await?;
            for (id, body, event) in stored {
                recovered.push(self.event(&id, EventType::Recovered, body, event).await?);
            }
        }
    }

    async fn list_stale(&self, older_than: Duration) -> Result<Vec<TaskId>, StoreError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM tasks WHERE status = 'processing' AND last_heartbeat_at <= now() - $1 \
             ORDER BY created_at, id",
        )
        .bind(age(older_than))
        .fetch_all(&self.0.pool)
        .await?;
        Ok(ids.into_iter().map(|id| id.to_string()).collect())
    }

    async fn close_stale(
        &self,
        id: &str,
        older_than: Duration,
        events: Vec<NewEvent>,
        body: Value,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        let key = uuid(id)?;
        let recoverable = self.is_recoverable(id).await?;
        let events: Vec<_> = events.into_iter().chain([NewEvent { kind: EventType::Completion, body }]).collect();
        let rows = event_rows(&events)?;
        let mut tx = self.0.pool.begin().await?;
        lock(&mut tx, id).await?;
        let is_stale: bool = sqlx::query_scalar(
            "SELECT status = 'processing' AND last_heartbeat_at <= now() - $2 FROM tasks WHERE id = $1",
        )
        .bind(key)
        .bind(age(older_than))
        .fetch_one(&mut *tx)
        .await?;
        if !is_stale {
            tx.rollback().await?;
            return Ok(Vec::new());
        }
        let stored = self.insert_events(&mut tx, key, rows).await?;
        end(&mut tx, key, TaskStatus::Failed).await?;
        tx.commit().await?;
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
        let mut deleted: Vec<Uuid> = Vec::new();
        // Their events go with them. A row that somebody holds is left for the next time.
        if let Some(max_age) = max_age {
            // Nothing is younger than its sign of life: the first comparison lets the index find the old ones.
            let old = sqlx::query_scalar(
                "DELETE FROM tasks WHERE id IN ( \
                   SELECT id FROM tasks WHERE status IN ('cancelled', 'completed', 'failed', 'skipped') \
                   AND created_at <= now() - $1 AND COALESCE(last_heartbeat_at, created_at) <= now() - $1 \
                   ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id",
            )
            .bind(age(max_age))
            .bind(i64::from(limit))
            .fetch_all(&self.0.pool)
            .await?;
            deleted.extend::<Vec<Uuid>>(old);
        }
        if let Some(keep) = keep {
            let beyond = sqlx::query_scalar(
                "DELETE FROM tasks WHERE id IN ( \
                   SELECT id FROM tasks WHERE status IN ('cancelled', 'completed', 'failed', 'skipped') \
                   AND (created_at, id) <= ( \
                     SELECT created_at, id FROM tasks WHERE status IN ('cancelled', 'completed', 'failed', 'skipped') \
                     ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET $2) \
                   ORDER BY created_at, id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id",
            )
            .bind(i64::from(limit))
            .bind(i64::try_from(keep).unwrap_or(i64::MAX))
            .fetch_all(&self.0.pool)
            .await?;
            deleted.extend::<Vec<Uuid>>(beyond);
        }
        Ok(deleted.into_iter().map(|id| id.to_string()).collect())
    }

    async fn queue_depth(&self) -> Result<QueueDepth, StoreError> {
        let (tasks, oldest_seconds): (i64, f64) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE(EXTRACT(EPOCH FROM now() - MIN(created_at))::float8, 0) \
             FROM tasks WHERE status = 'open'",
        )
        .fetch_one(&self.0.pool)
        .await?;
        Ok(QueueDepth { tasks: u64::try_from(tasks).unwrap_or(0), oldest_seconds: oldest_seconds.max(0.0) })
    }

    async fn load_state(&self, id: &str) -> Result<Map<String, Value>, StoreError> {
        let state: Option<Option<String>> = sqlx::query_scalar("SELECT state FROM tasks WHERE id = $1")
            .bind(uuid(id)?)
            .fetch_optional(&self.0.pool)
            .await?;
        let state = state.ok_or_else(|| StoreError::NoTask(id.to_string()))?;
        parse_state(state.as_deref()).map_err(|error| StoreError::Corrupt {
            what: format!("the state of task '{id}'"),
            reason: error.to_string(),
        })
    }

    async fn save_state(&self, claim: &Claim, state: &Map<String, Value>) -> Result<(), StoreError> {
        let text = state_json(state)?;
        let mut tx = self.hold(claim).await?;
        sqlx::query("UPDATE tasks SET state = $2 WHERE id = $1")
            .bind(uuid(&claim.task_id)?)
            .bind(text)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.0.pool).await?;
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn signals(&self) -> Option<mpsc::Receiver<Signal>> {
        locked(&self.0.signals).take()
    }

    async fn close(&self) {
        self.finish().await;
    }
}

impl PostgresStore {
    async fn is_recoverable(&self, id: &str) -> Result<bool, StoreError> {
        if let Some(recoverable) = self.0.recoverable.get(id) {
            return Ok(recoverable);
        }
        let spec: Option<String> = sqlx::query_scalar("SELECT spec FROM tasks WHERE id = $1")
            .bind(uuid(id)?)
            .fetch_optional(&self.0.pool)
            .await?;
        let recoverable = starts_over(&spec.ok_or_else(|| StoreError::NoTask(id.to_string()))?);
        self.0.recoverable.remember(id, recoverable);
        Ok(recoverable)
    }

    async fn event(&self, id: &str, kind: EventType, body: Value, stored: Stored) -> Result<TaskEvent, StoreError> {
        Ok(stored_event(id, kind, body, stored, self.is_recoverable(id).await?))
    }

    async fn events(&self, id: &str, rows: &[PgRow]) -> Result<Vec<TaskEvent>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let recoverable = self.is_recoverable(id).await?;
        rows.iter().map(|row| event_row(row)?.event(id, recoverable)).collect()
    }

    /// A transaction that holds a running task's row, for a worker whose claim is still good.
    pub(super) async fn hold(&self, claim: &Claim) -> Result<Tx, StoreError> {
        let mut tx = self.0.pool.begin().await?;
        let status = lock(&mut tx, &claim.task_id).await?;
        if status != TaskStatus::Processing.as_str() {
            return refuse(tx, StoreError::LostClaim(claim.task_id.clone())).await;
        }
        if let Err(error) = check(&mut tx, claim).await {
            return refuse(tx, error).await;
        }
        Ok(tx)
    }

    async fn notify(&self, conn: &mut PgConnection, channel: &str, payload: String) -> Result<(), StoreError> {
        sqlx::query("SELECT pg_notify($1, $2)").bind(channel).bind(payload).execute(conn).await?;
        Ok(())
    }

    /// Stores events of a task whose row is locked, and tells the others when they can be seen.
    async fn insert_events(
        &self,
        conn: &mut PgConnection,
        id: Uuid,
        (kinds, bodies): EventRows,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut stored: Vec<Stored> = sqlx::query_as(
            "INSERT INTO task_events (task_id, body, event_type) \
             SELECT $1, new.body, new.kind FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS new (body, kind, number) \
             ORDER BY new.number RETURNING id, created_at",
        )
        .bind(id)
        .bind(bodies)
        .bind(kinds)
        .fetch_all(&mut *conn)
        .await?;
        stored.sort_unstable_by_key(|(id, _)| *id);
        if let Some((last, _)) = stored.last() {
            self.notify(conn, &self.0.channels.event, format!("{id} {last}")).await?;
        }
        Ok(stored)
    }

    async fn insert_event(
        &self,
        conn: &mut PgConnection,
        id: Uuid,
        kind: EventType,
        body: &Value,
    ) -> Result<Stored, StoreError> {
        let rows = (vec![kind.as_str().to_string()], vec![to_json(body)?]);
        let stored = self.insert_events(conn, id, rows).await?;
        stored.into_iter().next().ok_or_else(|| StoreError::NotWritten("an event was not stored".to_string()))
    }

    /// Ends the transaction that put a task back into the queue.
    async fn reopened(&self, mut tx: Tx, id: &str, key: Uuid, spec: &str) -> Result<TaskEvent, StoreError> {
        let body = recovered_body(&recover_strategy(spec));
        let stored = self.insert_event(&mut tx, key, EventType::Recovered, &body).await?;
        self.notify(&mut tx, &self.0.channels.open, id.to_string()).await?;
        tx.commit().await?;
        self.event(id, EventType::Recovered, body, stored).await
    }
}

/// Types and bodies.
type EventRows = (Vec<String>, Vec<String>);

fn event_rows(events: &[NewEvent]) -> Result<EventRows, StoreError> {
    let bodies = events.iter().map(|event| to_json(&event.body)).collect::<Result<_, _>>()?;
    Ok((events.iter().map(|event| event.kind.as_str().to_string()).collect(), bodies))
}

/// Ends a transaction that found a reason not to write: a transaction that is only dropped keeps its locks for a moment, and
/// a claim would pass over the task.
async fn refuse<T>(tx: Tx, error: StoreError) -> Result<T, StoreError> {
    tx.rollback().await?;
    Err(error)
}

/// Locks a task's row until the end of the transaction; gives its status.
pub(super) async fn lock(conn: &mut PgConnection, id: &str) -> Result<String, StoreError> {
    sqlx::query_scalar("SELECT status FROM tasks WHERE id = $1 FOR NO KEY UPDATE")
        .bind(uuid(id)?)
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| StoreError::NoTask(id.to_string()))
}

/// Refuses the write of a worker whose claim is gone. The task's row is locked: a statement of its own sees every claim that
/// was made before that.
async fn check(conn: &mut PgConnection, claim: &Claim) -> Result<(), StoreError> {
    let token: Option<i64> = sqlx::query_scalar("SELECT token FROM understudy_claims WHERE task_id = $1")
        .bind(uuid(&claim.task_id)?)
        .fetch_optional(conn)
        .await?;
    if token == Some(claim.token) { Ok(()) } else { Err(StoreError::LostClaim(claim.task_id.clone())) }
}

async fn forget_claims(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM understudy_claims WHERE task_id = ANY($1)").bind(ids).execute(conn).await?;
    Ok(())
}

async fn end(conn: &mut PgConnection, id: Uuid, status: TaskStatus) -> Result<(), StoreError> {
    sqlx::query("UPDATE tasks SET status = $2, secrets = NULL WHERE id = $1")
        .bind(id)
        .bind(status.as_str())
        .execute(&mut *conn)
        .await?;
    forget_claims(conn, &[id]).await
}

pub(super) fn age(older_than: Duration) -> PgInterval {
    // A century is as good as for ever, and no timestamp overflows.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    let microseconds = i64::try_from(older_than.min(CENTURY).as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

fn task_row(row: &PgRow) -> Result<TaskRow, StoreError> {
    Ok(TaskRow {
        id: row.try_get::<Uuid, _>("id")?.to_string(),
        spec: row.try_get("spec")?,
        status: row.try_get("status")?,
        created_at: row.try_get("created_at")?,
        last_heartbeat_at: row.try_get("last_heartbeat_at")?,
        created_by: row.try_get("created_by")?,
    })
}

fn event_row(row: &PgRow) -> Result<EventRow, StoreError> {
    Ok(EventRow {
        id: row.try_get("id")?,
        body: row.try_get("body")?,
        kind: row.try_get("event_type")?,
        created_at: row.try_get("created_at")?,
    })
}
