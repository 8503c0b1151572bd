//! From one step to the next, and steps that only wait.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use super::latency::{WARM_UP, outcome};
use crate::{
    bench::{Bench, Recorder},
    error::{Error, Result},
    server::{Server, Setup, Side, Store},
    stats::quantile,
    templates,
    usage::{Watch, memory_mib},
};

const STEPS: [u64; 4] = [1, 10, 50, 200];
const TASKS_A_SIZE: usize = 5;
const WAITING: [u64; 4] = [10, 30, 100, 1000];
/// How long each of them waits.
const WAIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(60);
/// Tasks that were run before the memory is looked at; upstream would take minutes for the larger ones.
const RUN: [u64; 5] = [1000, 2000, 5000, 10_000, 20_000];
const RUN_UPSTREAM: u64 = 5000;
const CONNECTIONS: u64 = 16;

/// Tasks of many steps that do hardly anything.
pub(crate) async fn transitions(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let folder = bench.dir().join("templates");
    let sizes = bench.sizes(&STEPS);
    let files = sizes.iter().map(|count| {
        let steps = (0..*count).map(templates::log_step).collect();
        templates::template(&folder, &format!("steps-{count}"), &steps)
    });
    let setup = Setup::open(Store::File).templates(files.collect::<Result<Vec<_>>>()?);
    for side in bench.turns(3) {
        let server = Server::start(bench, side, &setup).await?;
        for n in 0..WARM_UP {
            server.run("steps-1", &json!({"n": n}), LIMIT).await?;
        }
        for count in sizes {
            let mut times = Vec::new();
            let watch = Watch::start(&[server.pid])?;
            let mut last = String::new();
            for n in 0..TASKS_A_SIZE {
                let (id, took) = server.run(&format!("steps-{count}"), &json!({"n": n}), LIMIT).await?;
                let took = took.ok_or_else(|| Error::Failed(format!("{count} steps took more than {LIMIT:?}")))?;
                times.push(took.as_secs_f64() * 1000.0);
                last = id;
            }
            rec.push_with("time", *count, side.name(), quantile(&times, 0.5), watch.stop()?);
            let outcome = outcome(&server.events(&last).await?, Store::File);
            rec.outcome(&format!("a task of {count} steps"), side, outcome)?;
        }
        server.stop().await?;
    }
    Ok(())
}

/// Creates so many tasks over several connections.
async fn create(server: &Server, template: &str, count: u64) -> Result<()> {
    let some = async |from: u64| -> Result<()> {
        for n in (from..count).step_by(usize::try_from(CONNECTIONS).unwrap_or(1)) {
            server.create(template, &json!({"n": n})).await?;
        }
        Ok(())
    };
    try_join_all((0..CONNECTIONS).map(some)).await.map(drop)
}

/// Waits until so many tasks are completed; whether they were within the limit.
async fn all_completed(server: &Server, count: u64, begun: Instant, limit: Duration) -> Result<bool> {
    while server.count_completed().await? < count {
        if begun.elapsed() > limit {
            return Ok(false);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(true)
}

/// Many tasks that wait at the same time.
pub(crate) async fn waiting(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let steps = json!([{"id": "wait", "name": "Wait", "action": "debug:wait", "input": {"seconds": WAIT.as_secs()}}]);
    let file = templates::template(&bench.dir().join("templates"), "waiting", &steps)?;
    let setup = Setup::open(Store::File).templates([file]);
    for side in bench.turns(1) {
        let server = Server::start(bench, side, &setup).await?;
        let mut before = 0;
        for count in bench.sizes(&WAITING) {
            let watch = Watch::start(&[server.pid])?;
            let begun = Instant::now();
            create(&server, "waiting", *count).await?;
            let finished = all_completed(&server, before + count, begun, LIMIT).await?;
            rec.push_with("time", *count, side.name(), begun.elapsed().as_secs_f64() * 1000.0, watch.stop()?);
            if !finished {
                rec.unfinished("time", *count, side.name());
                break;
            }
            before += count;
        }
        server.stop().await?;
    }
    let seconds = (WAIT.as_secs(), LIMIT.as_secs());
    rec.measured.notes.push(format!(
        "Nothing can be faster than {} s. What takes longer than {} s is not waited for.",
        seconds.0, seconds.1
    ));
    Ok(())
}

/// Memory after many tasks.
pub(crate) async fn memory(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let file = templates::trivial(&bench.dir().join("templates"))?;
    let setup = Setup::open(Store::File).templates([file]);
    for side in bench.turns(1) {
        let server = Server::start(bench, side, &setup).await?;
        let mut before = 0;
        for count in bench.sizes(&RUN) {
            if *count > RUN_UPSTREAM && side == Side::Upstream {
                break;
            }
            let begun = Instant::now();
            create(&server, "trivial", count - before).await?;
            if !all_completed(&server, *count, begun, 5 * LIMIT).await? {
                return Err(Error::Failed(format!("{}: {count} tasks were not completed", side.name())));
            }
            before = *count;
            // What is done after the last task, and what an allocator gives back, is over then.
            sleep(Duration::from_secs(2)).await;
            rec.push("pss", *count, side.name(), memory_mib(server.pid)?);
        }
        server.stop().await?;
    }
    rec.measured.notes.push(format!("Upstream ran {RUN_UPSTREAM} tasks: it takes minutes for more."));
    Ok(())
}
