//! Makes sure that a database has the tables, or says why it can't be used.
//!
//! Backstage's steps are recorded in `knex_migrations` under the names Backstage gives them, so that it can take over
//! again; knex refuses to start when it finds a name it doesn't know, so ours are recorded in `understudy_migrations`.

use std::collections::HashSet;

use sqlx::{Row, SqliteConnection};

/// A step of `@backstage/plugin-scaffolder-backend` 4.2.0.
struct BackstageStep {
    /// Its name in `knex_migrations`.
    name: &'static str,
    /// The column of `tasks` it brings; the first step brings the tables.
    column: Option<&'static str>,
    sql: &'static str,
}

const BACKSTAGE: [BackstageStep; 5] = [
    BackstageStep {
        name: "20210120143715_init.js",
        column: None,
        sql: include_str!("../migrations/backstage/20210120143715_init.sql"),
    },
    BackstageStep {
        name: "20210409225200_secrets.js",
        column: Some("secrets"),
        sql: include_str!("../migrations/backstage/20210409225200_secrets.sql"),
    },
    BackstageStep {
        name: "20220129100000_created_by.js",
        column: Some("created_by"),
        sql: include_str!("../migrations/backstage/20220129100000_created_by.sql"),
    },
    BackstageStep {
        name: "20240203232000_state.js",
        column: Some("state"),
        sql: include_str!("../migrations/backstage/20240203232000_state.sql"),
    },
    BackstageStep {
        name: "20240401213200_workspace.js",
        column: Some("workspace"),
        sql: include_str!("../migrations/backstage/20240401213200_workspace.sql"),
    },
];

const BOOKKEEPING: &str = include_str!("../migrations/backstage/bookkeeping.sql");

/// The table of public keys, which Backstage's framework keeps in each plugin's database, with its own bookkeeping
/// (`@backstage/backend-defaults` 0.18.0, `migrations/auth`).
const PUBLIC_KEYS: &str = include_str!("../migrations/backstage/public_keys.sql");

/// Our own steps, in order.
const OURS: [(&str, &str); 2] = [
    ("0001_catalog", include_str!("../migrations/understudy/0001_catalog.sql")),
    ("0002_indexes", include_str!("../migrations/understudy/0002_indexes.sql")),
];

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(
        "it holds other tables ({0}) and none of the scaffolder's; name a file that doesn't exist yet, or the \
         scaffolder's own database of a Backstage installation (scaffolder.sqlite)"
    )]
    Foreign(String),
    #[error(
        "its knex_migrations names {0}, which this version doesn't know, so a newer Backstage has changed it; use a \
         newer version of this service or another file"
    )]
    NewerBackstage(String),
    #[error(
        "its understudy_migrations names {0}, which this version doesn't know, so a newer version of this service has \
         changed it; use that version or another file"
    )]
    Newer(String),
    #[error(
        "its table {table} lacks the column {column}; name a scaffolder database, or a file that doesn't exist yet"
    )]
    Column { table: &'static str, column: &'static str },
    #[error(
        "Backstage's migrations are not complete and knex_migrations_lock is set: let Backstage finish them, or, when \
         none is running, set is_locked to 0"
    )]
    Locked,
    #[error("damaged: {0}; restore it from a backup or try `sqlite3 <file> .recover`")]
    Damaged(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Brings the database to the newest schema, all or nothing.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<(), SchemaError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
    let outcome = migrate_within(conn).await;
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

async fn migrate_within(conn: &mut SqliteConnection) -> Result<(), SchemaError> {
    let tables: HashSet<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        .fetch_all(&mut *conn)
        .await?
        .into_iter()
        .collect();
    refuse_foreign(&tables)?;
    backstage_steps(conn, &tables).await?;
    sqlx::raw_sql(PUBLIC_KEYS).execute(&mut *conn).await?;
    our_steps(conn).await
}

fn refuse_foreign(tables: &HashSet<String>) -> Result<(), SchemaError> {
    let known = ["tasks", "task_events", "knex_migrations", "understudy_migrations"];
    if known.iter().any(|name| tables.contains(*name)) {
        return Ok(());
    }
    // Backstage's framework keeps tables of its own in each plugin's database and may have made them first.
    let mut foreign: Vec<&str> = tables
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with("sqlite_") && !name.starts_with("backstage_backend_"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    foreign.sort_unstable();
    foreign.truncate(5);
    Err(SchemaError::Foreign(foreign.join(", ")))
}

async fn backstage_steps(conn: &mut SqliteConnection, tables: &HashSet<String>) -> Result<(), SchemaError> {
    let recorded: Vec<String> = if tables.contains("knex_migrations") {
        sqlx::query_scalar("SELECT name FROM knex_migrations WHERE name IS NOT NULL ORDER BY id")
            .fetch_all(&mut *conn)
            .await?
    } else {
        Vec::new()
    };
    if let Some(unknown) = recorded.iter().find(|name| BACKSTAGE.iter().all(|step| step.name != name.as_str())) {
        let ours = recorded.iter().any(|name| BACKSTAGE.iter().any(|step| step.name == name.as_str()));
        return Err(if ours {
            SchemaError::NewerBackstage(unknown.clone())
        } else {
            SchemaError::Foreign(format!("knex migration {unknown}"))
        });
    }
    let missing: Vec<&BackstageStep> =
        BACKSTAGE.iter().filter(|step| !recorded.iter().any(|name| name == step.name)).collect();
    if !missing.is_empty() {
        if tables.contains("knex_migrations_lock") {
            let locked: Option<i64> = sqlx::query_scalar("SELECT is_locked FROM knex_migrations_lock LIMIT 1")
                .fetch_optional(&mut *conn)
                .await?;
            if locked.unwrap_or(0) != 0 {
                return Err(SchemaError::Locked);
            }
        }
        sqlx::raw_sql(BOOKKEEPING).execute(&mut *conn).await?;
        let batch: i64 =
            sqlx::query_scalar("SELECT COALESCE(MAX(batch), 0) + 1 FROM knex_migrations").fetch_one(&mut *conn).await?;
        for step in missing {
            let present = match step.column {
                Some(column) => columns(conn, "tasks").await?.contains(column),
                None => false,
            };
            if !present {
                sqlx::raw_sql(step.sql).execute(&mut *conn).await?;
            }
            sqlx::query("INSERT INTO knex_migrations (name, batch, migration_time) VALUES (?, ?, ?)")
                .bind(step.name)
                .bind(batch)
                .bind(chrono::Utc::now().timestamp_millis())
                .execute(&mut *conn)
                .await?;
        }
    }
    check_columns(conn).await
}

/// A table called `tasks` may be somebody else's.
async fn check_columns(conn: &mut SqliteConnection) -> Result<(), SchemaError> {
    const EXPECTED: [(&str, &[&str]); 2] = [
        (
            "tasks",
            &["id", "spec", "status", "created_at", "last_heartbeat_at", "secrets", "created_by", "state", "workspace"],
        ),
        ("task_events", &["id", "task_id", "body", "event_type", "created_at"]),
    ];
    for (table, expected) in EXPECTED {
        let present = columns(conn, table).await?;
        if let Some(column) = expected.iter().find(|column| !present.contains(**column)) {
            return Err(SchemaError::Column { table, column });
        }
    }
    Ok(())
}

async fn columns(conn: &mut SqliteConnection, table: &str) -> Result<HashSet<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT name FROM pragma_table_info(?)").bind(table).fetch_all(conn).await?;
    rows.into_iter().map(|row| row.try_get(0)).collect()
}

async fn our_steps(conn: &mut SqliteConnection) -> Result<(), SchemaError> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS understudy_migrations (
           name text NOT NULL PRIMARY KEY,
           applied_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
         )",
    )
    .execute(&mut *conn)
    .await?;
    let recorded: Vec<String> =
        sqlx::query_scalar("SELECT name FROM understudy_migrations").fetch_all(&mut *conn).await?;
    if let Some(unknown) = recorded.iter().find(|name| OURS.iter().all(|(ours, _)| ours != name)) {
        return Err(SchemaError::Newer(unknown.clone()));
    }
    for (name, sql) in OURS {
        if recorded.iter().any(|done| done == name) {
            continue;
        }
        sqlx::raw_sql(sql).execute(&mut *conn).await?;
        sqlx::query("INSERT INTO understudy_migrations (name) VALUES (?)").bind(name).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Looks for damage; reads the whole file, so only for small ones.
pub(super) async fn quick_check(conn: &mut SqliteConnection) -> Result<(), SchemaError> {
    let found: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_all(conn).await?;
    match found.first() {
        Some(text) if text != "ok" => Err(SchemaError::Damaged(text.clone())),
        _ => Ok(()),
    }
}
