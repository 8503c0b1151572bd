//! Takes the steps of [`super::super::schema`] in a PostgreSQL database.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};

use crate::store::schema::{
    Dialect, Found, KNEX, OURS, PendingStep, SchemaError, TABLES, check_columns, plan, refuse_skipped,
};

pub(super) const DIALECT: Dialect = Dialect {
    backstage: [
        include_str!("../migrations/postgres/backstage/20210120143715_init.sql"),
        include_str!("../migrations/postgres/backstage/20210409225200_secrets.sql"),
        include_str!("../migrations/postgres/backstage/20220129100000_created_by.sql"),
        include_str!("../migrations/postgres/backstage/20240203232000_state.sql"),
        include_str!("../migrations/postgres/backstage/20240401213200_workspace.sql"),
    ],
    keys: include_str!("../migrations/postgres/backstage/public_keys.sql"),
    ours: &[
        ("0001_catalog", include_str!("../migrations/postgres/understudy/0001_catalog.sql")),
        ("0002_indexes", include_str!("../migrations/postgres/understudy/0002_indexes.sql")),
        ("0003_claims", include_str!("../migrations/postgres/understudy/0003_claims.sql")),
        ("0004_templates", include_str!("../migrations/postgres/understudy/0004_templates.sql")),
        ("0005_workspaces", include_str!("../migrations/postgres/understudy/0005_workspaces.sql")),
    ],
};

const KNEX_TABLES: &str = include_str!("../migrations/postgres/backstage/bookkeeping.sql");
const OUR_TABLE: &str = "CREATE TABLE IF NOT EXISTS understudy_migrations (
  name text NOT NULL PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
)";

/// Brings the database to the newest schema, all or nothing. Processes that start at the same time wait for each other.
pub(super) async fn migrate(conn: &mut PgConnection, skip: bool) -> Result<(), SchemaError> {
    let mut tx = conn.begin().await?;
    // Any number will do, as long as it is always the same; schemas of one database are made one after the other.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('understudy_migrations'))").execute(&mut *tx).await?;
    let steps = pending(&mut tx).await?;
    if skip {
        refuse_skipped(&steps)?;
    }
    let touches_backstage = steps.iter().any(|step| step.recorded_in == Some(KNEX));
    if touches_backstage {
        sqlx::raw_sql(KNEX_TABLES).execute(&mut *tx).await?;
    }
    if !steps.is_empty() {
        sqlx::raw_sql(OUR_TABLE).execute(&mut *tx).await?;
        let batch: i32 = if touches_backstage {
            sqlx::query_scalar("SELECT COALESCE(MAX(batch), 0) + 1 FROM knex_migrations").fetch_one(&mut *tx).await?
        } else {
            0
        };
        for step in &steps {
            take(&mut tx, step, batch).await?;
        }
    }
    for (table, _) in TABLES {
        check_columns(table, &columns(&mut tx, table).await?)?;
    }
    tx.commit().await?;
    Ok(())
}

async fn take(conn: &mut PgConnection, step: &PendingStep, batch: i32) -> Result<(), SchemaError> {
    if !step.sql.is_empty() {
        sqlx::raw_sql(step.sql).execute(&mut *conn).await?;
    }
    if step.recorded_in == Some(KNEX) {
        sqlx::query("INSERT INTO knex_migrations (name, batch, migration_time) VALUES ($1, $2, now())")
            .bind(&step.name)
            .bind(batch)
            .execute(conn)
            .await?;
    } else if step.recorded_in == Some(OURS) {
        sqlx::query("INSERT INTO understudy_migrations (name) VALUES ($1)").bind(&step.name).execute(conn).await?;
    }
    Ok(())
}

/// The steps to take.
pub(super) async fn pending(conn: &mut PgConnection) -> Result<Vec<PendingStep>, SchemaError> {
    plan(&look(conn).await?, &DIALECT)
}

/// The steps that make a new database.
pub(super) fn all() -> Result<Vec<PendingStep>, SchemaError> {
    plan(&Found::default(), &DIALECT)
}

async fn look(conn: &mut PgConnection) -> Result<Found, SchemaError> {
    let tables: HashSet<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'v', 'm', 'p', 'f')",
    )
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
        let locked: Option<Option<i32>> =
            sqlx::query_scalar("SELECT is_locked FROM knex_migrations_lock LIMIT 1").fetch_optional(&mut *conn).await?;
        found.is_locked = locked.flatten().unwrap_or(0) != 0;
    }
    if tables.contains("understudy_migrations") {
        found.ours = sqlx::query_scalar("SELECT name FROM understudy_migrations").fetch_all(&mut *conn).await?;
    }
    found.tables = tables;
    Ok(found)
}

async fn columns(conn: &mut PgConnection, table: &str) -> Result<HashSet<String>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1",
    )
    .bind(table)
    .fetch_all(conn)
    .await?;
    Ok(names.into_iter().collect())
}
