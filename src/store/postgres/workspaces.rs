//! Saved workspaces.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    PostgresStore,
    tasks::{age, lock, uuid},
};
use crate::{
    model::TaskId,
    store::{Claim, SavedContent, SavedWorkspace, StoreError, WorkspaceStore, rows::is_over},
};

/// Columns of [`saved`].
const COLUMNS: &str = "task_id, version, provider, chunks, bytes, sha256, unpacked, fingerprint";

#[async_trait]
impl WorkspaceStore for PostgresStore {
    async fn begin_workspace(&self, claim: &Claim, version: Uuid, provider: &str) -> Result<(), StoreError> {
        let mut tx = self.hold(claim).await?;
        sqlx::query(
            "INSERT INTO understudy_workspaces (task_id, version, provider) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(uuid(&claim.task_id)?)
        .bind(version)
        .bind(provider)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn put_chunk(
        &self,
        claim: &Claim,
        version: Uuid,
        number: u32,
        content: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let (id, number) = (uuid(&claim.task_id)?, number.cast_signed());
        let mut tx = self.hold(claim).await?;
        sqlx::query(
            "UPDATE understudy_workspaces SET chunks = GREATEST(chunks, $3 + 1) WHERE task_id = $1 AND version = $2",
        )
        .bind(id)
        .bind(version)
        .bind(number)
        .execute(&mut *tx)
        .await?;
        if let Some(content) = content {
            sqlx::query(
                "INSERT INTO understudy_workspace_chunks (task_id, version, number, content) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(id)
            .bind(version)
            .bind(number)
            .bind(&content[..])
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    async fn commit_workspace(
        &self,
        claim: &Claim,
        version: Uuid,
        content: &SavedContent,
    ) -> Result<Vec<SavedWorkspace>, StoreError> {
        let id = uuid(&claim.task_id)?;
        let mut tx = self.hold(claim).await?;
        disown(&mut tx, id).await?;
        sqlx::query(
            "UPDATE understudy_workspaces SET is_current = true, bytes = $3, sha256 = $4, unpacked = $5, fingerprint = $6 \
             WHERE task_id = $1 AND version = $2",
        )
        .bind(id)
        .bind(version)
        .bind(content.bytes.cast_signed())
        .bind(&content.sha256)
        .bind(content.unpacked.cast_signed())
        .bind(&content.fingerprint)
        .execute(&mut *tx)
        .await?;
        let others = all(&mut tx, id).await?;
        tx.commit().await?;
        Ok(others.into_iter().filter(|other| other.version != version).collect())
    }

    async fn disown_workspace(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut tx = self.hold(claim).await?;
        disown(&mut tx, uuid(&claim.task_id)?).await?;
        Ok(tx.commit().await?)
    }

    async fn saved_workspace(&self, id: &str) -> Result<Option<SavedWorkspace>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM understudy_workspaces WHERE task_id = $1 AND is_current"
        )))
        .bind(uuid(id)?)
        .fetch_optional(&self.0.pool)
        .await?;
        row.as_ref().map(saved).transpose()
    }

    async fn chunk(&self, workspace: &SavedWorkspace, number: u32) -> Result<Option<Bytes>, StoreError> {
        let content: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT content FROM understudy_workspace_chunks WHERE task_id = $1 AND version = $2 AND number = $3",
        )
        .bind(uuid(&workspace.task_id)?)
        .bind(workspace.version)
        .bind(number.cast_signed())
        .fetch_optional(&self.0.pool)
        .await?;
        Ok(content.map(Bytes::from))
    }

    async fn retire_workspaces(&self, id: &str) -> Result<Vec<SavedWorkspace>, StoreError> {
        let key = uuid(id)?;
        let mut tx = self.0.pool.begin().await?;
        let is_over = match lock(&mut tx, id).await {
            Ok(status) => is_over(&status),
            Err(StoreError::NoTask(_)) => true,
            Err(error) => return Err(error),
        };
        if !is_over {
            tx.rollback().await?;
            return Ok(Vec::new());
        }
        disown(&mut tx, key).await?;
        let all = all(&mut tx, key).await?;
        tx.commit().await?;
        Ok(all)
    }

    async fn forget_workspace(&self, workspace: &SavedWorkspace) -> Result<(), StoreError> {
        let mut tx = self.0.pool.begin().await?;
        for statement in [
            "DELETE FROM understudy_workspace_chunks WHERE task_id = $1 AND version = $2",
            "DELETE FROM understudy_workspaces WHERE task_id = $1 AND version = $2",
        ] {
            sqlx::query(statement).bind(uuid(&workspace.task_id)?).bind(workspace.version).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn leftover_workspaces(&self, kept_for: Duration, limit: u32) -> Result<Vec<TaskId>, StoreError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT w.task_id FROM understudy_workspaces w LEFT JOIN tasks t ON t.id = w.task_id \
             WHERE t.id IS NULL OR t.status = 'completed' OR (t.status NOT IN ('open', 'processing') \
             AND COALESCE(t.last_heartbeat_at, t.created_at) <= now() - $1) LIMIT $2",
        )
        .bind(age(kept_for))
        .bind(i64::from(limit))
        .fetch_all(&self.0.pool)
        .await?;
        Ok(ids.into_iter().map(|id| id.to_string()).collect())
    }
}

async fn disown(conn: &mut PgConnection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query("UPDATE understudy_workspaces SET is_current = false WHERE task_id = $1 AND is_current")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

async fn all(conn: &mut PgConnection, id: Uuid) -> Result<Vec<SavedWorkspace>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM understudy_workspaces WHERE task_id = $1 ORDER BY created_at, version"
    )))
    .bind(id)
    .fetch_all(conn)
    .await?;
    rows.iter().map(saved).collect()
}

fn saved(row: &PgRow) -> Result<SavedWorkspace, StoreError> {
    Ok(SavedWorkspace {
        task_id: row.try_get::<Uuid, _>("task_id")?.to_string(),
        version: row.try_get("version")?,
        provider: row.try_get("provider")?,
        chunks: row.try_get::<i32, _>("chunks")?.cast_unsigned(),
        content: SavedContent {
            bytes: row.try_get::<i64, _>("bytes")?.cast_unsigned(),
            sha256: row.try_get("sha256")?,
            unpacked: row.try_get::<i64, _>("unpacked")?.cast_unsigned(),
            fingerprint: row.try_get("fingerprint")?,
        },
    })
}
