//! Lists of tasks, with many stored.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::{
    bench::{Bench, Recorder},
    compare::Outcome,
    error::{Error, Result},
    load,
    server::{Server, Setup, Side, Store, TASKS, postgres_database, sqlite_file},
    stats::quantile,
    templates,
    usage::Watch,
};

const SIZES: [u64; 4] = [1000, 10_000, 100_000, 1_000_000];
const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(4);
const DATA: &str = "list";

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder, store: Store) -> Result<()> {
    let file = templates::trivial(&bench.dir().join("templates"))?;
    let setup = Setup::open(store).templates([file]).data(DATA);
    // Both sides make their tables; upstream's task is what all others are copies of.
    let mut spec = String::new();
    for side in [Side::Ours, Side::Upstream] {
        let server = Server::start(bench, side, &setup).await?;
        server.run("trivial", &json!({"n": 1}), Duration::from_secs(60)).await?;
        server.stop().await?;
        spec = Table::open(bench, side, store).await?.take_spec().await?;
    }
    let mut filled = 0;
    for size in bench.sizes(&SIZES) {
        for side in [Side::Ours, Side::Upstream] {
            Table::open(bench, side, store).await?.fill(filled + 1, *size, &spec).await?;
        }
        filled = *size;
        for side in bench.turns(2) {
            let server = Server::start(bench, side, &setup).await?;
            let path = format!("{TASKS}?limit=20");
            let page = server.get(&path).await?;
            if page["totalTasks"] != *size {
                return Err(Error::Failed(format!(
                    "{} tasks instead of {size} at {}",
                    page["totalTasks"],
                    side.name()
                )));
            }
            rec.outcome(
                &format!("a list of {size} tasks"),
                side,
                Outcome { events: vec![page], ..Outcome::default() },
            )?;
            load::run(server.port, &path, None, CONNECTIONS, WARM_UP).await?;
            let watch = Watch::start(&[server.pid])?;
            let load = load::run(server.port, &path, None, CONNECTIONS, TIME).await?;
            rec.push_with("per-second", *size, side.name(), load.per_second, watch.stop()?);
            rec.push("p50", *size, side.name(), quantile(&load.milliseconds, 0.5));
            rec.push("p99", *size, side.name(), quantile(&load.milliseconds, 0.99));
            server.stop().await?;
        }
    }
    Ok(())
}

/// The table of tasks of a side that is not running.
enum Table {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Table {
    async fn open(bench: &Bench, side: Side, store: Store) -> Result<Self> {
        if store == Store::Postgres {
            let server = bench.postgres().await?;
            let (user, password, port) = (server.user(), server.password(), server.port());
            let url = format!(
                "postgresql://{user}:{password}@127.0.0.1:{port}/{}?sslmode=disable",
                postgres_database(side, DATA)
            );
            return Ok(Self::Postgres(PgConnection::connect(&url).await?));
        }
        let file = sqlite_file(bench, side, DATA);
        Ok(Self::Sqlite(SqliteConnection::connect(&format!("sqlite:{}", file.display())).await?))
    }

    /// The spec of the one task that there is, which is removed.
    async fn take_spec(mut self) -> Result<String> {
        let (select, delete) = ("SELECT spec FROM tasks LIMIT 1", ["DELETE FROM task_events", "DELETE FROM tasks"]);
        match &mut self {
            Self::Sqlite(connection) => {
                let spec = sqlx::query_scalar(select).fetch_one(&mut *connection).await?;
                for statement in delete {
                    sqlx::query(statement).execute(&mut *connection).await?;
                }
                Ok(spec)
            }
            Self::Postgres(connection) => {
                let spec = sqlx::query_scalar(select).fetch_one(&mut *connection).await?;
                for statement in delete {
                    sqlx::query(statement).execute(&mut *connection).await?;
                }
                Ok(spec)
            }
        }
    }

    /// Adds completed tasks with these numbers, both included; the numbers make ids and times.
    async fn fill(mut self, first: u64, last: u64, spec: &str) -> Result<()> {
        let (first, last) = (first.cast_signed(), last.cast_signed());
        match &mut self {
            Self::Sqlite(connection) => {
                sqlx::query(
                    "WITH RECURSIVE numbers(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2) \
                     INSERT INTO tasks (id, spec, status, created_at, created_by) \
                     SELECT printf('%08x-0000-4000-8000-%012x', n * 2654435761 & 4294967295, n), ?3, 'completed', \
                     datetime('2026-01-01', '+' || n || ' seconds'), 'user:default/guest' FROM numbers",
                )
                .bind(first)
                .bind(last)
                .bind(spec)
                .execute(&mut *connection)
                .await?;
            }
            Self::Postgres(connection) => {
                sqlx::query(
                    "INSERT INTO tasks (id, spec, status, created_at, created_by) SELECT (lpad(to_hex(n * 2654435761 & \
                     4294967295), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $3, 'completed', \
                     timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second', 'user:default/guest' \
                     FROM generate_series($1::bigint, $2::bigint) AS n",
                )
                .bind(first)
                .bind(last)
                .bind(spec)
                .execute(&mut *connection)
                .await?;
                // What autovacuum would do within minutes.
                sqlx::query("VACUUM ANALYZE tasks").execute(&mut *connection).await?;
            }
        }
        Ok(())
    }
}
