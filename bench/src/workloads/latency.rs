//! One task after the other on an idle server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tokio::time::sleep;

use crate::{
    bench::{Bench, Recorder},
    compare::{self, Outcome},
    error::{Error, Result},
    server::{Server, Setup, Side, Store, TASKS},
    stats::{quantile, range},
    templates,
};

/// Tasks before those that count.
pub(super) const WARM_UP: u64 = 20;
const TASKS_A_ROUND: u64 = 20;
/// Nothing here takes so long.
const LIMIT: Duration = Duration::from_secs(60);
const ROUND_TRIPS: usize = 500;

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder, store: Store, guarded: bool) -> Result<()> {
    let file = templates::trivial(&bench.dir().join("templates"))?;
    let setup = if guarded { Setup::guarded(store) } else { Setup::open(store) }.templates([file]);
    let count = if bench.quick() { 3 } else { TASKS_A_ROUND };
    for side in bench.turns(3) {
        let server = Server::start(bench, side, &setup).await?;
        for n in 0..WARM_UP {
            server.run("trivial", &json!({"n": n}), LIMIT).await?;
        }
        let (mut event, mut status, mut post) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..count {
            let begun = Instant::now();
            let id = server.create("trivial", &json!({"n": n})).await?;
            post.push(begun.elapsed().as_secs_f64() * 1000.0);
            let mut stream = server.client.events(&format!("{TASKS}/{id}/eventstream")).await?;
            stream.until(LIMIT, |frame| frame.name() == "completion").await?;
            event.push(begun.elapsed().as_secs_f64() * 1000.0);
            if n == 0 {
                let outcome = outcome(&server.events(&id).await?, store);
                rec.outcome("a trivial task", side, outcome)?;
            }
        }
        for n in 0..count {
            // What the task before left to do is over then.
            sleep(Duration::from_millis(50)).await;
            let (_, took) = server.run("trivial", &json!({"n": n}), LIMIT).await?;
            let took = took.ok_or_else(|| Error::Failed(format!("a trivial task took more than {LIMIT:?}")))?;
            status.push(took.as_secs_f64() * 1000.0);
        }
        for (metric, figure) in [
            ("event-p50", quantile(&event, 0.5)),
            ("event-p95", quantile(&event, 0.95)),
            ("event-max", range(&event).1),
            ("status-p50", quantile(&status, 0.5)),
            ("status-p95", quantile(&status, 0.95)),
            ("status-max", range(&status).1),
            ("post-p50", quantile(&post, 0.5)),
        ] {
            rec.push(metric, 1, side.name(), figure);
        }
        server.stop().await?;
        if side == Side::Ours {
            rec.push("store-round-trip", 1, "SELECT 1", round_trip(bench, store).await?);
        }
    }
    Ok(())
}

/// A trivial task's events, to be compared.
pub(super) fn outcome(events: &[Value], store: Store) -> Outcome {
    let normal = if store == Store::Postgres { compare::events_in_any_order } else { compare::events };
    Outcome { events: normal(events), ..Outcome::default() }
}

/// The median of round trips to the store, in milliseconds.
async fn round_trip(bench: &Bench, store: Store) -> Result<f64> {
    let mut times = Vec::new();
    if store == Store::Postgres {
        let server = bench.postgres().await?;
        let url = format!(
            "postgresql://{}:{}@127.0.0.1:{}/postgres?sslmode=disable",
            server.user(),
            server.password(),
            server.port()
        );
        let mut connection = PgConnection::connect(&url).await?;
        for _ in 0..ROUND_TRIPS {
            let begun = Instant::now();
            sqlx::query("SELECT 1").execute(&mut connection).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    } else {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
        for _ in 0..ROUND_TRIPS {
            let begun = Instant::now();
            sqlx::query("SELECT 1").execute(&mut connection).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(quantile(&times, 0.5))
}
