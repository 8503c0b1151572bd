#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::json;
use tokio::{sync::mpsc::Receiver, time::timeout};
use understudy_sdk::Secret;
use understudy_testbed::postgres::{Database, Postgres};

use super::{schema::DIALECT, *};
use crate::{
    config::PostgresTls,
    model::{EventType, TaskStatus},
    store::{
        CatalogStore, StoredEntity, TaskStore,
        contract::{contract, log, secrets_at_rest, task, vault},
    },
};

const LIMIT: Duration = Duration::from_secs(60);

async fn database() -> Database {
    Postgres::shared().await.unwrap().database().await.unwrap()
}

fn config(database: &Database) -> PostgresConfig {
    PostgresConfig {
        host: "127.0.0.1".into(),
        port: database.server.port(),
        user: database.server.user().into(),
        password: Some(Secret::new(database.server.password())),
        database: database.name.clone(),
        application_name: "test".into(),
        tls: None,
        schema: None,
        role: None,
        ensure_exists: true,
        ensure_schema_exists: true,
        pool_min: 0,
        pool_max: 4,
    }
}

async fn open(config: &PostgresConfig) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(config, false, Vault::default()).await
}

async fn reason(config: &PostgresConfig) -> String {
    match open(config).await.unwrap_err() {
        StoreError::Open { path, reason } => {
            assert!(path.contains(&config.database), "{path}");
            let password = config.password.as_ref().map_or("none", Secret::expose);
            assert!(!format!("{path} {reason}").contains(password), "{path} {reason}");
            reason
        }
        other => panic!("{other}"),
    }
}

mod store {
    use super::*;
    async fn make() -> (PostgresStore, Database) {
        let database = database().await;
        let vault = vault(&["k"], true, &[]);
        (PostgresStore::open(&config(&database), false, vault).await.unwrap(), database)
    }
    contract!(make);
}

#[tokio::test]
async fn secrets_are_encrypted_and_bound_to_their_task() {
    let database = database().await;
    let config = config(&database);
    let open = async |vault| PostgresStore::open(&config, false, vault).await;
    let sql = async |statement: String| database.sql(&statement).await.unwrap();
    secrets_at_rest(open, sql).await;
}

const STEPS: &str = "20210120143715_init.js\n20210409225200_secrets.js\n20220129100000_created_by.js\n\
                     20240203232000_state.js\n20240401213200_workspace.js";

#[tokio::test]
async fn a_new_database_is_one_that_backstage_can_take_over() {
    let server = Postgres::shared().await.unwrap();
    let name = format!("made_{}", uuid::Uuid::new_v4().simple());
    let database = Database { server, name };
    let mut config = config(&database);
    let pending = pending(&config).await.unwrap();
    assert_eq!(pending[0].to_string(), format!("create the database {}", database.name));
    assert_eq!(pending.len(), 1 + 5 + 1 + DIALECT.ours.len());
    config.ensure_exists = false;
    assert!(reason(&config).await.contains("ensureExists is false"));
    config.ensure_exists = true;
    let store = open(&config).await.unwrap();
    store.create_task(task()).await.unwrap();
    store.close().await;
    assert!(store.create_task(task()).await.is_err());
    assert!(super::pending(&config).await.unwrap().is_empty());

    assert_eq!(database.sql("SELECT name FROM knex_migrations WHERE batch = 1 ORDER BY id").await.unwrap(), STEPS);
    assert_eq!(database.sql("SELECT is_locked FROM knex_migrations_lock").await.unwrap(), "0");
    let columns = "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns \
                   WHERE table_name = 'TABLE' ORDER BY ordinal_position";
    assert_eq!(
        database.sql(&columns.replace("TABLE", "tasks")).await.unwrap(),
        "id|uuid|NO|\nspec|text|NO|\nstatus|text|NO|\ncreated_at|timestamp with time zone|NO|CURRENT_TIMESTAMP\n\
         last_heartbeat_at|timestamp with time zone|YES|\nsecrets|text|YES|\ncreated_by|text|YES|\nstate|text|YES|\n\
         workspace|bytea|YES|"
    );
    assert_eq!(
        database.sql(&columns.replace("TABLE", "task_events")).await.unwrap(),
        "id|bigint|NO|nextval('task_events_id_seq'::regclass)\ntask_id|uuid|NO|\nbody|text|NO|\nevent_type|text|NO|\n\
         created_at|timestamp with time zone|NO|CURRENT_TIMESTAMP"
    );
    let constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint \
                       WHERE conrelid IN ('tasks'::regclass, 'task_events'::regclass) ORDER BY 1";
    assert_eq!(
        database.sql(constraints).await.unwrap(),
        "task_events_pkey|PRIMARY KEY (id)\n\
         task_events_task_id_foreign|FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE\n\
         tasks_pkey|PRIMARY KEY (id)"
    );
    let uncommented = "SELECT count(*) FROM pg_attribute WHERE attnum > 0 AND col_description(attrelid, attnum) IS NULL \
                       AND attrelid IN ('tasks'::regclass, 'task_events'::regclass)";
    assert_eq!(database.sql(uncommented).await.unwrap(), "0");
    // All that is ours says so.
    let others = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i', 'S') \
                  AND relname NOT LIKE 'understudy%' AND relname NOT LIKE 'backstage\\_backend\\_%' ORDER BY 1";
    assert_eq!(
        database.sql(others).await.unwrap(),
        "knex_migrations\nknex_migrations_id_seq\nknex_migrations_lock\nknex_migrations_lock_index_seq\n\
         knex_migrations_lock_pkey\nknex_migrations_pkey\ntask_events\ntask_events_id_seq\ntask_events_pkey\n\
         task_events_task_id_idx\ntasks\ntasks_pkey"
    );
}

#[tokio::test]
async fn older_databases_of_backstage_are_brought_forward() {
    let database = database().await;
    let step = |name: &str| {
        let path = format!("{}/src/store/migrations/postgres/backstage/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let old = "11111111-2222-4333-8444-555555555555";
    let sql = [
        step("bookkeeping.sql"),
        step("20210120143715_init.sql"),
        step("20210409225200_secrets.sql"),
        "INSERT INTO knex_migrations (name, batch, migration_time) VALUES \
         ('20210120143715_init.js', 1, '2024-01-01'), ('20210409225200_secrets.js', 1, '2024-01-01');"
            .to_string(),
        format!(
            "INSERT INTO tasks (id, spec, status, created_at) VALUES ('{old}', '{{\"steps\": []}}', 'completed', \
             '2024-05-06 07:08:09.123+00');
             INSERT INTO task_events (task_id, body, event_type) VALUES ('{old}', '{{\"message\": \"old\"}}', 'log');"
        ),
    ];
    database.sql(&sql.join("\n")).await.unwrap();
    let config = config(&database);
    let pending: Vec<_> = pending(&config).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(pending[0], "apply 20220129100000_created_by.js, record it in knex_migrations");
    assert_eq!(pending[6], "apply 0003_claims, record it in understudy_migrations");
    let error = PostgresStore::open(&config, true, Vault::default()).await.unwrap_err().to_string();
    assert!(error.contains("it lacks 20220129100000_created_by.js") && error.contains("skipMigrations"), "{error}");
    for _ in 0..2 {
        let store = open(&config).await.unwrap();
        let task = store.get_task(old).await.unwrap();
        assert_eq!(task.created_at.to_rfc3339(), "2024-05-06T07:08:09.123+00:00");
        assert_eq!(store.list_events(old, None).await.unwrap()[0].body, json!({"message": "old"}));
        store.close().await;
    }
    assert_eq!(database.sql("SELECT name FROM knex_migrations ORDER BY id").await.unwrap(), STEPS);
    assert_eq!(database.sql("SELECT DISTINCT batch FROM knex_migrations ORDER BY 1").await.unwrap(), "1\n2");
    PostgresStore::open(&config, true, Vault::default()).await.unwrap().close().await;
}

#[tokio::test]
async fn processes_that_start_at_once_make_one_database() {
    let server = Postgres::shared().await.unwrap();
    let database = Database { server, name: format!("raced_{}", uuid::Uuid::new_v4().simple()) };
    let config = PostgresConfig { schema: Some("Sca\"ff".into()), ..config(&database) };
    let starts = (0..6).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { open(&config).await })
    });
    let starts: Vec<_> = starts.collect();
    for start in starts {
        start.await.unwrap().unwrap().close().await;
    }
    let sql = "SELECT count(*), count(DISTINCT name) FROM \"Sca\"\"ff\".";
    assert_eq!(database.sql(&format!("{sql}knex_migrations")).await.unwrap(), "5|5");
    let ours = DIALECT.ours.len();
    assert_eq!(database.sql(&format!("{sql}understudy_migrations")).await.unwrap(), format!("{ours}|{ours}"));
}

#[tokio::test]
async fn schemas_and_roles() {
    let database = database().await;
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    database.sql(&format!("CREATE ROLE {role}")).await.unwrap();
    let config = PostgresConfig { schema: Some("scaffolder".into()), role: Some(role.clone()), ..config(&database) };
    let missing = PostgresConfig { ensure_schema_exists: false, ..config.clone() };
    assert!(reason(&missing).await.contains("schema"));
    let pending = pending(&config).await.unwrap();
    assert_eq!(pending[0].to_string(), "create the schema scaffolder");
    let store = open(&config).await.unwrap();
    let id = store.create_task(task()).await.unwrap();
    let owner = "SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'tasks'";
    assert_eq!(database.sql(owner).await.unwrap(), format!("scaffolder|{role}"));
    assert_eq!(database.sql("SELECT id FROM scaffolder.tasks").await.unwrap(), id);
    // Another schema of the same database is another scaffolder, and does not hear this one.
    let other = PostgresConfig { schema: Some("other".into()), role: None, ..config.clone() };
    let other = open(&other).await.unwrap();
    let mut signals = other.signals().unwrap();
    heard(&mut signals, |signal| *signal == Signal::Hearing(true)).await;
    store.create_task(task()).await.unwrap();
    let own = other.create_task(task()).await.unwrap();
    assert_eq!(other.list_tasks(&crate::store::TaskFilter::default()).await.unwrap().tasks[0].id, own);
    assert_eq!(timeout(LIMIT, signals.recv()).await.unwrap(), Some(Signal::Open));
    assert!(timeout(Duration::from_millis(300), signals.recv()).await.is_err());
}

#[tokio::test]
async fn ways_to_the_server() {
    let database = database().await;
    let base = config(&database);
    let socket = PostgresConfig { host: database.server.socket_dir().to_str().unwrap().to_string(), ..base.clone() };
    let tls = |tls: PostgresTls| PostgresConfig { tls: Some(tls), ..base.clone() };
    let ca = Some(database.server.ca_pem().to_string());
    let verified = tls(PostgresTls { verify: true, ca: ca.clone(), ..PostgresTls::default() });
    let unverified = tls(PostgresTls::default());
    for (config, encrypted) in [(&base, "f"), (&socket, "f"), (&verified, "t"), (&unverified, "t")] {
        let store = open(config).await.unwrap();
        store.ping().await.unwrap();
        let found = database.sql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'test' AND datname = current_database()");
        assert_eq!(found.await.unwrap(), encrypted);
        store.close().await;
    }
    // A certificate of an authority that nobody knows.
    let unknown = tls(PostgresTls { verify: true, ..PostgresTls::default() });
    let found = reason(&unknown).await;
    assert!(found.contains("connection.ssl"), "{found}");
    let wrong = PostgresConfig { password: Some(Secret::new("wr0ng-password")), ..base.clone() };
    let found = reason(&wrong).await;
    assert!(found.contains("password authentication failed") && found.contains("check connection.user"), "{found}");
    let nowhere = PostgresConfig { port: 1, ..base.clone() };
    let found = reason(&nowhere).await;
    assert!(found.contains("is the server running"), "{found}");
}

#[tokio::test]
async fn refused_databases() {
    for (sql, expected) in [
        ("CREATE TABLE customers (id integer)", "it holds other tables (customers)"),
        (
            "CREATE TABLE knex_migrations (id serial, name text, batch integer, migration_time timestamptz);
             INSERT INTO knex_migrations (name) VALUES ('20200511113813_init.js')",
            "it holds other tables (knex migration 20200511113813_init.js)",
        ),
        ("CREATE TABLE tasks (id integer, title text)", "its table tasks lacks the column spec"),
        (
            "CREATE TABLE knex_migrations (id serial, name text, batch integer, migration_time timestamptz);
             INSERT INTO knex_migrations (name) VALUES ('20210120143715_init.js'), ('20990101000000_x.js')",
            "its knex_migrations names 20990101000000_x.js",
        ),
        (
            "CREATE TABLE knex_migrations (id serial, name text, batch integer, migration_time timestamptz);
             INSERT INTO knex_migrations (name) VALUES ('20210120143715_init.js');
             CREATE TABLE knex_migrations_lock (index serial, is_locked integer);
             INSERT INTO knex_migrations_lock (is_locked) VALUES (1)",
            "knex_migrations_lock is set",
        ),
        (
            "CREATE TABLE understudy_migrations (name text, applied_at timestamptz);
             INSERT INTO understudy_migrations VALUES ('9999_future', now())",
            "its understudy_migrations names 9999_future",
        ),
    ] {
        let database = database().await;
        database.sql(sql).await.unwrap();
        let before = database.schema().await.unwrap();
        let found = reason(&config(&database)).await;
        assert!(found.contains(expected), "{found}");
        assert_eq!(database.schema().await.unwrap(), before);
    }
}

/// Waits for a signal.
async fn heard(signals: &mut Receiver<Signal>, wanted: impl Fn(&Signal) -> bool) {
    let wait = async {
        while let Some(signal) = signals.recv().await {
            if wanted(&signal) {
                return;
            }
        }
        panic!("the store ended");
    };
    timeout(LIMIT, wait).await.expect("the signal never comes");
}

#[tokio::test]
async fn processes_hear_each_other() {
    let database = database().await;
    let (here, there) = (open(&config(&database)).await.unwrap(), open(&config(&database)).await.unwrap());
    let mut signals = there.signals().unwrap();
    assert!(there.signals().is_none());
    heard(&mut signals, |signal| *signal == Signal::Hearing(true)).await;
    let id = here.create_task(task()).await.unwrap();
    heard(&mut signals, |signal| *signal == Signal::Open).await;
    let claim = here.claim_task(true).await.unwrap().unwrap().claim;
    here.append_events(&claim, 1, vec![log("a"), log("b")]).await.unwrap();
    let event = |signal: &Signal| *signal == Signal::Event(id.clone());
    heard(&mut signals, event).await;
    here.cancel_task(&id, json!({})).await.unwrap();
    heard(&mut signals, event).await;
    heard(&mut signals, |signal| *signal == Signal::Cancelled(id.clone())).await;
    here.complete_task(&claim, TaskStatus::Failed, json!({})).await.unwrap();
    heard(&mut signals, event).await;
    here.retry_task(&id, None, true).await.unwrap();
    heard(&mut signals, |signal| *signal == Signal::Open).await;
    here.claim_task(true).await.unwrap();
    here.recover_stale(Duration::ZERO).await.unwrap();
    heard(&mut signals, |signal| *signal == Signal::Open).await;
    here.replace_origin("file:/x", &[]).await.unwrap();
    let entity = StoredEntity {
        entity_ref: "template:default/x".into(),
        location: "file:/x".into(),
        origin: "file:/x".into(),
        entity: json!({}),
    };
    here.replace_origin("file:/x", &[entity]).await.unwrap();
    heard(&mut signals, |signal| *signal == Signal::Catalog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_found_again() {
    let server = Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    let store = open(&config(&database)).await.unwrap();
    let mut signals = store.signals().unwrap();
    heard(&mut signals, |signal| *signal == Signal::Hearing(true)).await;
    let id = store.create_task(task()).await.unwrap();
    let claim = store.claim_task(true).await.unwrap().unwrap().claim;
    let stored = store.append_events(&claim, 1, vec![log("before")]).await.unwrap();
    for crash in [false, true] {
        if crash {
            server.crash().await.unwrap()
        } else {
            server.stop().await.unwrap()
        }
        let error = store.append_events(&claim, 2, vec![log("lost")]).await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert!(store.ping().await.is_err());
        heard(&mut signals, |signal| *signal == Signal::Hearing(false)).await;
        server.start_again().await.unwrap();
        heard(&mut signals, |signal| *signal == Signal::Hearing(true)).await;
        let again = async {
            while store.ping().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LIMIT, again).await.unwrap();
        assert_eq!(store.list_events(&id, None).await.unwrap(), stored);
    }
    assert_eq!(store.append_events(&claim, 2, vec![log("after")]).await.unwrap()[0].kind, EventType::Log);
}

/// `cargo test --release -p understudy --lib a_million_tasks -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of minutes"]
async fn a_million_tasks() {
    let database = database().await;
    let store = open(&config(&database)).await.unwrap();
    let spec = serde_json::to_string(&task().spec).unwrap();
    let fill = format!(
        "INSERT INTO tasks (id, spec, status, created_at, created_by)
         SELECT gen_random_uuid(), '{spec}', CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'completed' END,
                now() - n * interval '1 minute', 'user:default/u' || n % 500 FROM generate_series(1, 1000000) AS n;
         VACUUM ANALYZE tasks"
    );
    for statement in fill.split(';') {
        database.sql(statement).await.unwrap();
    }
    crate::store::million::measure(&store, "PostgreSQL").await;
    for query in [
        "SELECT id FROM tasks ORDER BY created_at DESC, id DESC LIMIT 20",
        "SELECT COUNT(*) FROM tasks",
        "SELECT id FROM tasks WHERE created_by IN ('user:default/u7') ORDER BY created_at DESC, id DESC LIMIT 20",
        "SELECT id FROM tasks WHERE status = 'open' ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
    ] {
        println!("{query}\n{}\n", database.sql(&format!("EXPLAIN {query}")).await.unwrap());
    }
}
