//! Takes the steps of [`super::super::schema`] in a SQLite database.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::store::schema::{
    Dialect, Found, KNEX, OURS, PendingStep, SchemaError, TABLES, check_columns, plan, refuse_skipped,
};

const DIALECT: Dialect = Dialect {
    backstage: [
        include_str!("../migrations/sqlite/backstage/20210120143715_init.sql"),
        include_str!("../migrations/sqlite/backstage/20210409225200_secrets.sql"),
        include_str!("../migrations/sqlite/backstage/20220129100000_created_by.sql"),
        include_str!("../migrations/sqlite/backstage/20240203232000_state.sql"),
        include_str!("../migrations/sqlite/backstage/20240401213200_workspace.sql"),
    ],
    keys: include_str!("../migrations/sqlite/backstage/public_keys.sql"),
    ours: &[
        ("0001_catalog", include_str!("../migrations/sqlite/understudy/0001_catalog.sql")),
        ("0002_indexes", include_str!("../migrations/sqlite/understudy/0002_indexes.sql")),
        ("0003_claims", include_str!("../migrations/sqlite/understudy/0003_claims.sql")),
        ("0004_templates", include_str!("../migrations/sqlite/understudy/0004_templates.sql")),
        ("0005_workspaces", include_str!("../migrations/sqlite/understudy/0005_workspaces.sql")),
    ],
};

const KNEX_TABLES: &str = include_str!("../migrations/sqlite/backstage/bookkeeping.sql");
const OUR_TABLE: &str = "CREATE TABLE IF NOT EXISTS understudy_migrations (
  name text NOT NULL PRIMARY KEY,
  applied_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
)";

/// Brings the database to the newest schema, all or nothing; the transaction keeps out whoever else would do so.
pub(super) async fn migrate(conn: &mut SqliteConnection, skip: bool) -> Result<(), SchemaError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
    let outcome = migrate_within(conn, skip).await;
    match outcome {
        Ok(()) => {
            sqlx::query("COMMIT").execute(&mut *conn).await?;
            Ok(())
        }
        Err(error) => {
            // The first error is the one to report; an open transaction ends with the connection anyway.
            let _ = sqlx::query("ROLLBACK").execute(&mut *conn).await;
            Err(error)
        }
    }
}

async fn migrate_within(conn: &mut SqliteConnection, skip: bool) -> Result<(), SchemaError> {
    let steps = pending(conn).await?;
    if skip {
        refuse_skipped(&steps)?;
    }
    if steps.iter().any(|step| step.recorded_in == Some(KNEX)) {
        sqlx::raw_sql(KNEX_TABLES).execute(&mut *conn).await?;
    }
    if !steps.is_empty() {
        sqlx::raw_sql(OUR_TABLE).execute(&mut *conn).await?;
        let batch: i64 = match steps.iter().any(|step| step.recorded_in == Some(KNEX)) {
            true => {
                sqlx::query_scalar("SELECT COALESCE(MAX(batch), 0) + 1 FROM knex_migrations")
                    .fetch_one(&mut *conn)
                    .await?
            }
            false => 0,
        };
        for step in &steps {
            take(conn, step, batch).await?;
        }
    }
    for (table, _) in TABLES {
        check_columns(table, &columns(conn, table).await?)?;
    }
    Ok(())
}

async fn take(conn: &mut SqliteConnection, step: &PendingStep, batch: i64) -> Result<(), SchemaError> {
    if !step.sql.is_empty() {
        sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&mut *conn).await?;
    }
    if step.recorded_in == Some(KNEX) {
        sqlx::query("INSERT INTO knex_migrations (name, batch, migration_time) VALUES (?, ?, ?)")
            .bind(step.name.clone())
            .bind(batch)
            .bind(chrono::Utc::now().timestamp_millis())
            .execute(conn)
            .await?;
    } else if step.recorded_in == Some(OURS) {
        sqlx::query("INSERT INTO understudy_migrations (name) VALUES (?)")
            .bind(step.name.clone())
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// The steps to take.
pub(super) async fn pending(conn: &mut SqliteConnection) -> Result<Vec<PendingStep>, SchemaError> {
    plan(&look(conn).await?, &DIALECT)
}

/// The steps that make a new database.
pub(super) fn all() -> Result<Vec<PendingStep>, SchemaError> {
    plan(&Found::default(), &DIALECT)
}

async fn look(conn: &mut SqliteConnection) -> Result<Found, SchemaError> {
    let tables: HashSet<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        .fetch_all(&mut *conn)
        .await?
        .into_iter()
        .collect();
    let mut found = Found { task_columns: columns(conn, "tasks").await?, ..Found::default() };
    if tables.contains(KNEX) {
        found.backstage = sqlx::query_scalar("SELECT name FROM knex_migrations WHERE name IS NOT NULL ORDER BY id")
            .fetch_all(&mut *conn)
            .await?;
    }
    if tables.contains("knex_migrations_lock") {
        let locked: Option<i64> =
            sqlx::query_scalar("SELECT is_locked FROM knex_migrations_lock LIMIT 1").fetch_optional(&mut *conn).await?;
        found.is_locked = locked.unwrap_or(0) != 0;
    }
    if tables.contains("understudy_migrations") {
        found.ours = sqlx::query_scalar("SELECT name FROM understudy_migrations").fetch_all(&mut *conn).await?;
    }
    found.tables = tables;
    Ok(found)
}

async fn columns(conn: &mut SqliteConnection, table: &str) -> Result<HashSet<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT name FROM pragma_table_info(?)").bind(table.to_string()).fetch_all(conn).await?;
    rows.into_iter().map(|row| row.try_get(0)).collect()
}

/// Looks for damage; reads the whole file, so only for small ones.
pub(super) async fn quick_check(conn: &mut SqliteConnection) -> Result<(), SchemaError> {
    let found: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_all(conn).await?;
    match found.first() {
        Some(text) if text != "ok" => Err(SchemaError::Damaged(text.clone())),
        _ => Ok(()),
    }
}
