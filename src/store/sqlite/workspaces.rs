//! Saved workspaces.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    SqliteStore,
    tasks::{age, current_status, held},
    writer::Write,
};
use crate::{
    model::TaskId,
    store::{Claim, SavedContent, SavedWorkspace, StoreError, WorkspaceStore, rows::is_over},
};

#[async_trait]
impl WorkspaceStore for SqliteStore {
    async fn begin_workspace(&self, claim: &Claim, version: Uuid, provider: &str) -> Result<(), StoreError> {
        self.write(Begin { claim: claim.clone(), version, provider: provider.to_string() }).await
    }

    async fn put_chunk(
        &self,
        claim: &Claim,
        version: Uuid,
        number: u32,
        content: Option<Bytes>,
    ) -> Result<(), StoreError> {
        self.write(PutChunk { claim: claim.clone(), version, number, content }).await
    }

    async fn commit_workspace(
        &self,
        claim: &Claim,
        version: Uuid,
        content: &SavedContent,
    ) -> Result<Vec<SavedWorkspace>, StoreError> {
        self.write(Commit { claim: claim.clone(), version, content: content.clone() }).await
    }

    async fn disown_workspace(&self, claim: &Claim) -> Result<(), StoreError> {
        self.write(Disown { claim: claim.clone() }).await
    }

    async fn saved_workspace(&self, id: &str) -> Result<Option<SavedWorkspace>, StoreError> {
        let row = sqlx::query("SELECT * FROM understudy_workspaces WHERE task_id = ? AND is_current")
            .bind(id)
            .fetch_optional(&self.0.readers)
            .await?;
        row.as_ref().map(saved).transpose()
    }

    async fn chunk(&self, workspace: &SavedWorkspace, number: u32) -> Result<Option<Bytes>, StoreError> {
        let content: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT content FROM understudy_workspace_chunks WHERE task_id = ? AND version = ? AND number = ?",
        )
        .bind(&workspace.task_id)
        .bind(workspace.version.to_string())
        .bind(number)
        .fetch_optional(&self.0.readers)
        .await?;
        Ok(content.map(Bytes::from))
    }

    async fn retire_workspaces(&self, id: &str) -> Result<Vec<SavedWorkspace>, StoreError> {
        self.write(Retire { id: id.to_string() }).await
    }

    async fn forget_workspace(&self, workspace: &SavedWorkspace) -> Result<(), StoreError> {
        self.write(Forget { id: workspace.task_id.clone(), version: workspace.version }).await
    }

    async fn leftover_workspaces(&self, kept_for: Duration, limit: u32) -> Result<Vec<TaskId>, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT DISTINCT w.task_id FROM understudy_workspaces w LEFT JOIN tasks t ON t.id = w.task_id \
             WHERE t.id IS NULL OR t.status = 'completed' OR (t.status NOT IN ('open', 'processing') \
             AND COALESCE(t.last_heartbeat_at, t.created_at) <= datetime('now', ?)) LIMIT ?",
        )
        .bind(age(kept_for))
        .bind(limit)
        .fetch_all(&self.0.readers)
        .await?)
    }
}

struct Begin {
    claim: Claim,
    version: Uuid,
    provider: String,
}

#[async_trait]
impl Write for Begin {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        held(conn, &self.claim).await?;
        sqlx::query("INSERT OR IGNORE INTO understudy_workspaces (task_id, version, provider) VALUES (?, ?, ?)")
            .bind(self.claim.task_id.clone())
            .bind(self.version.to_string())
            .bind(self.provider.clone())
            .execute(conn)
            .await?;
        Ok(())
    }
}

struct PutChunk {
    claim: Claim,
    version: Uuid,
    number: u32,
    content: Option<Bytes>,
}

#[async_trait]
impl Write for PutChunk {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        held(conn, &self.claim).await?;
        sqlx::query(
            "UPDATE understudy_workspaces SET chunks = MAX(chunks, ?3 + 1) WHERE task_id = ?1 AND version = ?2",
        )
        .bind(self.claim.task_id.clone())
        .bind(self.version.to_string())
        .bind(self.number)
        .execute(&mut *conn)
        .await?;
        if let Some(content) = &self.content {
            sqlx::query(
                "INSERT OR IGNORE INTO understudy_workspace_chunks (task_id, version, number, content) \
                 VALUES (?, ?, ?, ?)",
            )
            .bind(self.claim.task_id.clone())
            .bind(self.version.to_string())
            .bind(self.number)
            .bind(content.to_vec())
            .execute(conn)
            .await?;
        }
        Ok(())
    }
}

struct Commit {
    claim: Claim,
    version: Uuid,
    content: SavedContent,
}

#[async_trait]
impl Write for Commit {
    type Output = Vec<SavedWorkspace>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Self::Output, StoreError> {
        held(conn, &self.claim).await?;
        let id = &self.claim.task_id;
        disown(conn, id).await?;
        sqlx::query(
            "UPDATE understudy_workspaces SET is_current = true, bytes = ?, sha256 = ?, unpacked = ?, fingerprint = ? \
             WHERE task_id = ? AND version = ?",
        )
        .bind(self.content.bytes.cast_signed())
        .bind(self.content.sha256.clone())
        .bind(self.content.unpacked.cast_signed())
        .bind(self.content.fingerprint.clone())
        .bind(id.clone())
        .bind(self.version.to_string())
        .execute(&mut *conn)
        .await?;
        let all = all(conn, id).await?;
        Ok(all.into_iter().filter(|other| other.version != self.version).collect())
    }
}

struct Disown {
    claim: Claim,
}

#[async_trait]
impl Write for Disown {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        held(conn, &self.claim).await?;
        disown(conn, &self.claim.task_id).await
    }
}

struct Retire {
    id: String,
}

#[async_trait]
impl Write for Retire {
    type Output = Vec<SavedWorkspace>;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<Self::Output, StoreError> {
        match current_status(conn, &self.id).await {
            Ok(status) if !is_over(&status) => return Ok(Vec::new()),
            Ok(_) | Err(StoreError::NoTask(_)) => {}
            Err(error) => return Err(error),
        }
        disown(conn, &self.id).await?;
        all(conn, &self.id).await
    }
}

struct Forget {
    id: String,
    version: Uuid,
}

#[async_trait]
impl Write for Forget {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM understudy_workspace_chunks WHERE task_id = ? AND version = ?",
            "DELETE FROM understudy_workspaces WHERE task_id = ? AND version = ?",
        ] {
            sqlx::query(statement).bind(self.id.clone()).bind(self.version.to_string()).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

async fn disown(conn: &mut SqliteConnection, id: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE understudy_workspaces SET is_current = false WHERE task_id = ? AND is_current")
        .bind(id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

async fn all(conn: &mut SqliteConnection, id: &str) -> Result<Vec<SavedWorkspace>, StoreError> {
    let rows = sqlx::query("SELECT * FROM understudy_workspaces WHERE task_id = ? ORDER BY created_at, version")
        .bind(id.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(saved).collect()
}

fn saved(row: &SqliteRow) -> Result<SavedWorkspace, StoreError> {
    let version: String = row.try_get("version")?;
    Ok(SavedWorkspace {
        task_id: row.try_get("task_id")?,
        version: version.parse().map_err(|_| StoreError::Corrupt {
            what: "a saved workspace".to_string(),
            reason: format!("its version {version} is no UUID"),
        })?,
        provider: row.try_get("provider")?,
        chunks: row.try_get("chunks")?,
        content: SavedContent {
            bytes: row.try_get::<i64, _>("bytes")?.cast_unsigned(),
            sha256: row.try_get("sha256")?,
            unpacked: row.try_get::<i64, _>("unpacked")?.cast_unsigned(),
            fingerprint: row.try_get("fingerprint")?,
        },
    })
}
