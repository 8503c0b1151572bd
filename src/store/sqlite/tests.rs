#![allow(clippy::unwrap_used, clippy::expect_used)]

use camino::Utf8PathBuf;
use serde_json::json;
use sqlx::{Connection, Row, SqliteConnection};

use super::*;
use crate::{
    model::TaskStatus,
    store::{
        TaskStore,
        contract::{contract, log, secrets_at_rest, task, vault},
    },
};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.0.path().join(name)).unwrap()
    }
}

async fn open(path: &Utf8Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&DatabaseConfig::SqliteFile(path.to_owned())).await
}

async fn reason(path: &Utf8Path) -> String {
    match open(path).await.unwrap_err() {
        StoreError::Open { path: named, reason } => {
            assert_eq!(named, path);
            reason
        }
        other => panic!("{other}"),
    }
}

async fn raw(path: &Utf8Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn names(conn: &mut SqliteConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(conn).await.unwrap()
}

mod file {
    use super::*;
    async fn make() -> (SqliteStore, Dir) {
        let dir = Dir::new();
        (open(&dir.path("db.sqlite")).await.unwrap(), dir)
    }
    contract!(make);
}

mod encrypted {
    use super::*;
    async fn make() -> (SqliteStore, Dir) {
        let dir = Dir::new();
        let file = DatabaseConfig::SqliteFile(dir.path("db.sqlite"));
        (SqliteStore::open_with(&file, false, vault(&["k"], true, &[])).await.unwrap(), dir)
    }
    contract!(make);
}

#[tokio::test]
async fn secrets_are_encrypted_and_bound_to_their_task() {
    let dir = Dir::new();
    let path = dir.path("db.sqlite");
    let open = async |vault| SqliteStore::open_with(&DatabaseConfig::SqliteFile(path.clone()), false, vault).await;
    let sql = async |statement: String| {
        let mut conn = raw(&path).await;
        let value: Option<Option<String>> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(if statement.starts_with("SELECT") {
                format!("SELECT CAST(({statement}) AS TEXT)")
            } else {
                statement
            }))
            .fetch_optional(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
        value.flatten().unwrap_or_default()
    };
    secrets_at_rest(open, sql).await;
}

mod memory {
    use super::*;
    async fn make() -> (SqliteStore, ()) {
        (SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap(), ())
    }
    contract!(make);
}

const STEPS: [&str; 5] = [
    "20210120143715_init.js",
    "20210409225200_secrets.js",
    "20220129100000_created_by.js",
    "20240203232000_state.js",
    "20240401213200_workspace.js",
];

#[tokio::test]
async fn a_new_database_is_one_that_backstage_can_take_over() {
    let dir = Dir::new();
    let path = dir.path("deep/down/new.sqlite");
    let store = open(&path).await.unwrap();
    store.create_task(task()).await.unwrap();
    store.close().await;
    let mut conn = raw(&path).await;
    assert_eq!(names(&mut conn, "SELECT name FROM knex_migrations WHERE batch = 1 ORDER BY id").await, STEPS);
    let time: i64 =
        sqlx::query_scalar("SELECT migration_time FROM knex_migrations").fetch_one(&mut conn).await.unwrap();
    assert!((chrono::Utc::now().timestamp_millis() - time).abs() < 60_000);
    let locks: Vec<i64> =
        sqlx::query_scalar("SELECT is_locked FROM knex_migrations_lock").fetch_all(&mut conn).await.unwrap();
    assert_eq!(locks, [0]);
    assert_eq!(
        names(&mut conn, "SELECT name || ' ' || lower(type) FROM pragma_table_info('tasks')").await,
        [
            "id char(36)",
            "spec text",
            "status text",
            "created_at datetime",
            "last_heartbeat_at datetime",
            "secrets text",
            "created_by text",
            "state text",
            "workspace blob"
        ]
    );
    assert_eq!(
        names(&mut conn, "SELECT name || ' ' || lower(type) FROM pragma_table_info('task_events')").await,
        ["id integer", "task_id char(36)", "body text", "event_type text", "created_at datetime"]
    );
    let row = sqlx::query("SELECT created_at, typeof(created_at), length(created_at) FROM tasks")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!((row.get::<String, _>(1).as_str(), row.get::<i64, _>(2)), ("text", 19));
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let path = dir.path("data/new.sqlite");
    let store = open(&path).await.unwrap();
    store.create_task(task()).await.unwrap();
    for (name, mode) in [("data", 0o700), ("data/new.sqlite", 0o600), ("data/new.sqlite-wal", 0o600)] {
        assert_eq!(std::fs::metadata(dir.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
}

/// What a running 4.2.0 leaves behind: the tables of knex, of the framework and a few rows.
const BACKSTAGE: &str = "
    create table `knex_migrations` (`id` integer not null primary key autoincrement, `name` varchar(255), `batch` integer, `migration_time` datetime);
    create table `knex_migrations_lock` (`index` integer not null primary key autoincrement, `is_locked` integer);
    insert into knex_migrations_lock (is_locked) values (0);
    insert into knex_migrations (name, batch, migration_time) values ('20210120143715_init.js', 1, 1700000000000);
    create table `tasks` (`id` char(36), `spec` text not null, `status` text not null, `created_at` datetime not null default CURRENT_TIMESTAMP, `last_heartbeat_at` datetime null, primary key (`id`));
    create table `task_events` (`id` integer not null primary key autoincrement, `task_id` char(36) not null, `body` text not null, `event_type` text not null, `created_at` datetime not null default CURRENT_TIMESTAMP, foreign key(`task_id`) references `tasks`(`id`) on delete CASCADE);
    create index `task_events_task_id_idx` on `task_events` (`task_id`);
    create table `backstage_backend_public_keys__keys` (`id` varchar(255) primary key, `key` text, `expires_at` varchar(255));
    insert into tasks (id, spec, status, created_at) values ('11111111-1111-4111-8111-111111111111', '{\"apiVersion\":\"scaffolder.backstage.io/v1beta3\",\"steps\":[],\"output\":{},\"parameters\":{},\"user\":{}}', 'completed', '2024-05-06 07:08:09');
    insert into task_events (task_id, body, event_type, created_at) values ('11111111-1111-4111-8111-111111111111', '{\"message\":\"old\"}', 'log', '2024-05-06 07:08:09');
";
const REMAINING: &str = "
    alter table `tasks` add column `secrets` text null;
    alter table `tasks` add column `created_by` text null;
    alter table `tasks` add column `state` text null;
    alter table `tasks` add column `workspace` blob null;
    insert into knex_migrations (name, batch, migration_time) values ('20210409225200_secrets.js', 1, 1700000000000), ('20220129100000_created_by.js', 1, 1700000000000), ('20240203232000_state.js', 1, 1700000000000), ('20240401213200_workspace.js', 1, 1700000000000);
";
const OLD_TASK: &str = "11111111-1111-4111-8111-111111111111";

#[tokio::test]
async fn a_backstage_database_opens_with_its_history() {
    let dir = Dir::new();
    // Complete, and as an old version of Backstage left it.
    for (name, complete) in [("full.sqlite", true), ("old.sqlite", false)] {
        let path = dir.path(name);
        let mut conn = raw(&path).await;
        sqlx::raw_sql(BACKSTAGE).execute(&mut conn).await.unwrap();
        if complete {
            sqlx::raw_sql(REMAINING).execute(&mut conn).await.unwrap();
        }
        let before = names(&mut conn, "SELECT name || batch || migration_time FROM knex_migrations ORDER BY id").await;
        conn.close().await.unwrap();
        for _ in 0..2 {
            let store = open(&path).await.unwrap();
            let old = store.get_task(OLD_TASK).await.unwrap();
            assert_eq!(old.status, TaskStatus::Completed);
            assert_eq!(old.created_at.to_rfc3339(), "2024-05-06T07:08:09+00:00");
            assert_eq!(store.list_events(OLD_TASK, None).await.unwrap()[0].body, json!({"message": "old"}));
            let id = store.create_task(task()).await.unwrap();
            assert_eq!(store.claim_task(false).await.unwrap().unwrap().claim.task_id, id);
            store.close().await;
        }
        let mut conn = raw(&path).await;
        let after = names(&mut conn, "SELECT name || batch || migration_time FROM knex_migrations ORDER BY id").await;
        assert_eq!(after[..before.len()], before);
        assert_eq!(names(&mut conn, "SELECT name FROM knex_migrations ORDER BY id").await, STEPS);
        if complete {
            assert_eq!(after, before);
        } else {
            let batches = names(&mut conn, "SELECT DISTINCT CAST(batch AS TEXT) FROM knex_migrations ORDER BY 1").await;
            assert_eq!(batches, ["1", "2"]);
        }
    }
}

#[tokio::test]
async fn refused_databases() {
    let dir = Dir::new();
    for (name, sql, expected) in [
        ("other", "CREATE TABLE customers (id integer)", "it holds other tables (customers)"),
        (
            "catalog",
            "CREATE TABLE knex_migrations (id integer, name text, batch integer, migration_time datetime);
             INSERT INTO knex_migrations VALUES (1, '20200511113813_init.js', 1, 0)",
            "it holds other tables (knex migration 20200511113813_init.js)",
        ),
        ("tasks", "CREATE TABLE tasks (id integer, title text)", "its table tasks lacks the column spec"),
        (
            "newer",
            "CREATE TABLE knex_migrations (id integer, name text, batch integer, migration_time datetime);
             INSERT INTO knex_migrations VALUES (1, '20210120143715_init.js', 1, 0), (2, '20990101000000_x.js', 1, 0)",
            "its knex_migrations names 20990101000000_x.js",
        ),
        (
            "locked",
            "CREATE TABLE knex_migrations (id integer, name text, batch integer, migration_time datetime);
             INSERT INTO knex_migrations VALUES (1, '20210120143715_init.js', 1, 0);
             CREATE TABLE knex_migrations_lock (`index` integer, is_locked integer);
             INSERT INTO knex_migrations_lock VALUES (1, 1)",
            "knex_migrations_lock is set",
        ),
        (
            "ours",
            "CREATE TABLE understudy_migrations (name text, applied_at text);
             INSERT INTO understudy_migrations VALUES ('9999_future', '')",
            "its understudy_migrations names 9999_future",
        ),
    ] {
        let path = dir.path(name);
        let mut conn = raw(&path).await;
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        let before = names(&mut conn, "SELECT sql FROM sqlite_master ORDER BY name").await;
        conn.close().await.unwrap();
        let found = reason(&path).await;
        assert!(found.starts_with(expected) || found.contains(expected), "{name}: {found}");
        let after = names(&mut raw(&path).await, "SELECT sql FROM sqlite_master ORDER BY name").await;
        assert_eq!(after, before, "{name}");
    }
}

#[tokio::test]
async fn unusable_files() {
    let dir = Dir::new();
    std::fs::write(dir.path("text"), "this is not a database, it is a text").unwrap();
    assert!(reason(&dir.path("text")).await.contains("no SQLite database"));
    assert!(reason(&dir.path("")).await.contains("directory"));
    std::fs::write(dir.path("file"), "").unwrap();
    assert!(reason(&dir.path("file/below.sqlite")).await.contains("directory can't be made"));
    // An empty file is a new database, as SQLite has it.
    open(&dir.path("file")).await.unwrap().close().await;

    let path = dir.path("damaged.sqlite");
    let store = open(&path).await.unwrap();
    for _ in 0..200 {
        store.create_task(task()).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let third = bytes.len() / 3;
    bytes[4096..third].fill(0xab);
    std::fs::write(&path, bytes).unwrap();
    let found = reason(&path).await;
    assert!(found.contains("damaged") && found.contains("backup"), "{found}");
}

#[tokio::test]
async fn a_second_instance_is_told_who_is_in_the_way() {
    let dir = Dir::new();
    let path = dir.path("db.sqlite");
    let first = open(&path).await.unwrap();
    let found = reason(&path).await;
    let expected = format!("another instance of this service is using it (process {})", std::process::id());
    assert!(found.starts_with(&expected), "{found}");
    first.close().await;
    let second = open(&path).await.unwrap();
    assert!(first.create_task(task()).await.is_err());
    second.create_task(task()).await.unwrap();
}

#[tokio::test]
async fn acknowledged_writes_survive_a_killed_process() {
    let dir = Dir::new();
    let path = dir.path("db.sqlite");
    let store = open(&path).await.unwrap();
    let id = store.create_task(task()).await.unwrap();
    let claim = store.claim_task(true).await.unwrap().unwrap().claim;
    let events = store.append_events(&claim, 1, (0..50).map(|n| log(&n.to_string())).collect()).await.unwrap();
    // A killed process leaves exactly these files behind: nothing was closed, nothing folded into the database.
    for suffix in ["", "-wal"] {
        std::fs::copy(format!("{path}{suffix}"), dir.path(&format!("copy.sqlite{suffix}"))).unwrap();
    }
    let copy = open(&dir.path("copy.sqlite")).await.unwrap();
    assert_eq!(copy.get_task(&id).await.unwrap().status, TaskStatus::Processing);
    assert_eq!(copy.list_events(&id, None).await.unwrap(), events);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_passes() {
    let dir = Dir::new();
    let store = open(&dir.path("db.sqlite")).await.unwrap();
    let id = store.create_task(task()).await.unwrap();
    let claim = store.claim_task(true).await.unwrap().unwrap().claim;
    store.create_task(task()).await.unwrap();
    let other = store.claim_task(true).await.unwrap().unwrap().claim;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.0.write_pool).await.unwrap();
    let limit = |pages: i64| sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")));
    limit(pages + 2).execute(&store.0.write_pool).await.unwrap();
    let large = "x".repeat(100_000);
    let error = store.append_events(&claim, 1, vec![log("fits"), log(&large)]).await.unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
    assert!(store.list_events(&id, None).await.unwrap().is_empty());
    store.create_task(task()).await.unwrap();
    let third = store.claim_task(true).await.unwrap().unwrap().claim;
    // Neighbours of a write that fails are stored, in whatever batch they meet.
    let (small, failing, other) = tokio::join!(
        store.append_events(&claim, 2, vec![log("small")]),
        store.append_events(&other, 1, vec![log(&large)]),
        store.append_events(&third, 1, vec![log("other")]),
    );
    small.unwrap();
    failing.unwrap_err();
    other.unwrap();
    limit(1_000_000).execute(&store.0.write_pool).await.unwrap();
    store.append_events(&claim, 3, vec![log(&large)]).await.unwrap();
    assert_eq!(store.list_events(&id, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn damaged_rows_stay_alone() {
    let dir = Dir::new();
    let path = dir.path("db.sqlite");
    let store = open(&path).await.unwrap();
    let good = store.create_task(task()).await.unwrap();
    for sql in [
        "INSERT INTO tasks (id, spec, status, created_at) VALUES ('bad', 'not json', 'open', '2020-01-01 00:00:00')",
        "INSERT INTO tasks (id, spec, status, created_at) VALUES ('odd', '{}', 'sleeping', '2020-01-01 00:00:00')",
        "INSERT INTO task_events (task_id, body, event_type) VALUES ('bad', '{', 'log')",
    ] {
        sqlx::query(sql).execute(&store.0.write_pool).await.unwrap();
    }
    let error = store.get_task("bad").await.unwrap_err().to_string();
    assert!(error.contains("Failed to parse spec of task 'bad'"), "{error}");
    assert!(store.get_task("odd").await.unwrap_err().to_string().contains("'sleeping'"));
    assert!(store.list_events("bad", None).await.unwrap_err().to_string().contains("event 1 of task 'bad'"));
    let page = store.list_tasks(&crate::store::TaskFilter::default()).await.unwrap();
    assert_eq!(page.tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>(), [good]);
    // The worker gets it, so that it can be failed with the reason.
    let claimed = store.claim_task(true).await.unwrap().unwrap();
    assert_eq!(claimed.claim.task_id, "bad");
    assert!(claimed.spec.unwrap_err().starts_with("Failed to parse spec of task 'bad', "));
    store.complete_task(&claimed.claim, TaskStatus::Failed, json!({})).await.unwrap().unwrap();
}

/// `cargo test --release -p understudy --lib a_million_tasks -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of minutes"]
async fn a_million_tasks() {
    let dir = Dir::new();
    let store = open(&dir.path("db.sqlite")).await.unwrap();
    let spec = serde_json::to_string(&task().spec).unwrap();
    sqlx::query(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
         INSERT INTO tasks (id, spec, status, created_at, created_by)
         SELECT lower(hex(randomblob(16))), ?, CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'completed' END,
                datetime('now', '-' || n || ' minutes'), 'user:default/u' || n % 500 FROM n",
    )
    .bind(spec)
    .execute(&store.0.write_pool)
    .await
    .unwrap();
    crate::store::million::measure(&store, "SQLite").await;
    for query in [
        "EXPLAIN QUERY PLAN SELECT id FROM tasks ORDER BY created_at DESC, rowid DESC LIMIT 20",
        "EXPLAIN QUERY PLAN SELECT COUNT(*) FROM tasks",
        "EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE created_by IN ('u') ORDER BY created_at DESC, rowid DESC LIMIT 20",
        "EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE status = 'open' ORDER BY created_at, rowid LIMIT 1",
    ] {
        let rows = sqlx::query(query).fetch_all(&store.0.readers).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        println!("{query}\n{}\n", plan.join("\n"));
    }
}
