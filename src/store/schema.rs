//! What a database must be like, and which steps lead there.
//!
//! Backstage's steps are recorded in `knex_migrations` under the names Backstage gives them, so that it can take over
//! again; knex refuses to start when it finds a name it doesn't know, so ours are recorded in `understudy_migrations`.
//! Steps only ever go forward.

use std::collections::HashSet;

/// A step of `@backstage/plugin-scaffolder-backend` 4.2.0: its name in `knex_migrations`, and the column of `tasks` it
/// brings; the first step brings the tables.
const BACKSTAGE: [(&str, Option<&str>); 5] = [
    ("20210120143715_init.js", None),
    ("20210409225200_secrets.js", Some("secrets")),
    ("20220129100000_created_by.js", Some("created_by")),
    ("20240203232000_state.js", Some("state")),
    ("20240401213200_workspace.js", Some("workspace")),
];

/// The tables of Backstage's steps, and their columns.
pub(super) const TABLES: [(&str, &[&str]); 2] = [
    (
        "tasks",
        &["id", "spec", "status", "created_at", "last_heartbeat_at", "secrets", "created_by", "state", "workspace"],
    ),
    ("task_events", &["id", "task_id", "body", "event_type", "created_at"]),
];

/// The steps in one database's SQL.
pub(super) struct Dialect {
    /// Backstage's, in order.
    pub(super) backstage: [&'static str; 5],
    /// The table of public keys.
    pub(super) keys: &'static str,
    /// Ours, in order, with their names.
    pub(super) ours: &'static [(&'static str, &'static str)],
}

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(
        "it holds other tables ({0}) and none of the scaffolder's; name a database that doesn't exist yet, or the \
         scaffolder's own one of a Backstage installation"
    )]
    Foreign(String),
    #[error(
        "its knex_migrations names {0}, which this version doesn't know, so a newer Backstage has changed it; use a \
         newer version of this service or another database"
    )]
    NewerBackstage(String),
    #[error(
        "its understudy_migrations names {0}, which this version doesn't know, so a newer version of this service has \
         changed it; use that version or another database"
    )]
    Newer(String),
    #[error("its table {table} lacks the column {column}; name a scaffolder database, or one that doesn't exist yet")]
    Column { table: &'static str, column: &'static str },
    #[error(
        "Backstage's migrations are not complete and knex_migrations_lock is set: let Backstage finish them, or, when \
         none is running, set is_locked to 0"
    )]
    Locked,
    #[error(
        "it lacks {0}, and backend.database.skipMigrations forbids to add it; run `understudy migrate`, or remove the key"
    )]
    Skipped(String),
    #[error("damaged: {0}; restore it from a backup or try `sqlite3 <file> .recover`")]
    Damaged(String),
    #[error("it does not exist, and backend.database.ensureExists is false; create it, or remove the key")]
    Missing,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What is found in a database.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Its tables and views.
    pub(super) tables: HashSet<String>,
    /// The columns of `tasks`.
    pub(super) task_columns: HashSet<String>,
    /// Names in `knex_migrations`.
    pub(super) backstage: Vec<String>,
    /// Whether `knex_migrations_lock` is set.
    pub(super) is_locked: bool,
    /// Names in `understudy_migrations`.
    pub(super) ours: Vec<String>,
}

/// A step that is still to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingStep {
    /// The table where it is recorded: one of knex', or `understudy_migrations`; `None` for what has no record (making the
    /// database or its schema).
    pub recorded_in: Option<&'static str>,
    /// Its name.
    pub name: String,
    /// Its SQL; empty when its columns are there already and it is only recorded.
    pub(super) sql: &'static str,
}

impl std::fmt::Display for PendingStep {
    /// One line for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.recorded_in {
            Some(table) if self.sql.is_empty() => write!(f, "record {} in {table}: it is done already", self.name),
            Some(table) => write!(f, "apply {}, record it in {table}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Where Backstage's steps are recorded.
pub(super) const KNEX: &str = "knex_migrations";
/// Where the step of Backstage's framework is that keeps public keys in each plugin's database
/// (`@backstage/backend-defaults` 0.18.0, `migrations/auth`); its SQL records it, too.
pub(super) const KEYS: &str = "backstage_backend_public_keys__knex_migrations";
/// Where ours are.
pub(super) const OURS: &str = "understudy_migrations";

/// The steps that lead from what is found to the newest schema.
pub(super) fn plan(found: &Found, dialect: &Dialect) -> Result<Vec<PendingStep>, SchemaError> {
    refuse_foreign(&found.tables)?;
    let known = |name: &String| BACKSTAGE.iter().any(|(known, _)| known == name);
    if let Some(unknown) = found.backstage.iter().find(|name| !known(name)) {
        return Err(if found.backstage.iter().any(known) {
            SchemaError::NewerBackstage(unknown.clone())
        } else {
            SchemaError::Foreign(format!("knex migration {unknown}"))
        });
    }
    if let Some(unknown) = found.ours.iter().find(|name| dialect.ours.iter().all(|(ours, _)| ours != name)) {
        return Err(SchemaError::Newer(unknown.clone()));
    }
    if found.tables.contains("tasks") {
        let (table, columns) = TABLES[0];
        // What the first step brings; the others may be missing.
        if let Some(column) = columns[..5].iter().find(|column| !found.task_columns.contains(**column)) {
            return Err(SchemaError::Column { table, column });
        }
    }
    let mut steps = Vec::new();
    for ((name, column), sql) in BACKSTAGE.iter().zip(dialect.backstage) {
        if !found.backstage.iter().any(|done| done == name) {
            let present = match column {
                Some(column) => found.task_columns.contains(*column),
                None => found.tables.contains("tasks") && found.tables.contains("task_events"),
            };
            let sql = if present { "" } else { sql };
            steps.push(PendingStep { recorded_in: Some(KNEX), name: (*name).to_string(), sql });
        }
    }
    if !steps.is_empty() && found.is_locked {
        return Err(SchemaError::Locked);
    }
    if !found.tables.contains("backstage_backend_public_keys__keys") {
        let name = "20240327104803_public_keys.js".to_string();
        steps.push(PendingStep { recorded_in: Some(KEYS), name, sql: dialect.keys });
    }
    for (name, sql) in dialect.ours {
        if !found.ours.iter().any(|done| done == name) {
            steps.push(PendingStep { recorded_in: Some(OURS), name: (*name).to_string(), sql });
        }
    }
    Ok(steps)
}

/// Refuses to take steps where that is forbidden.
pub(super) fn refuse_skipped(steps: &[PendingStep]) -> Result<(), SchemaError> {
    if steps.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    Err(SchemaError::Skipped(names.join(", ")))
}

fn refuse_foreign(tables: &HashSet<String>) -> Result<(), SchemaError> {
    let known = ["tasks", "task_events", KNEX, OURS];
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

/// A table called `tasks` may be somebody else's.
pub(super) fn check_columns(table: &'static str, present: &HashSet<String>) -> Result<(), SchemaError> {
    let expected = TABLES.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, columns)| columns);
    match expected.iter().find(|column| !present.contains(**column)) {
        Some(column) => Err(SchemaError::Column { table, column }),
        None => Ok(()),
    }
}
