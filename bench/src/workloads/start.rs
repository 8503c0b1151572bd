//! Starting, and doing nothing afterwards.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    bench::{Bench, Recorder},
    error::Result,
    server::{ACTIONS, Plan, Server, Setup, Side, Store},
    templates,
    usage::{Watch, memory_mib},
};

const TEMPLATES: [u64; 4] = [1, 10, 100, 300];
/// Rounds at the smallest size, and at the others.
const ROUNDS: (usize, usize) = (5, 2);
const IDLE: Duration = Duration::from_secs(15);
const IDLE_END: Duration = Duration::from_secs(5);

/// A setup with so many templates.
fn setup(bench: &Bench, count: u64) -> Result<Setup> {
    let folder = bench.dir().join("templates");
    let names = (0..count).map(|number| {
        let steps = json!([templates::log_step(1), templates::log_step(2)]);
        templates::template(&folder, &format!("start-{number}"), &steps)
    });
    Ok(Setup::open(Store::File).templates(names.collect::<Result<Vec<_>>>()?).data(&format!("start{count}")))
}

fn most(bench: &Bench, size: u64) -> usize {
    // The smallest size is the one that aims are about: it gets more rounds than the others, unless it is to be quick.
    if size == TEMPLATES[0] { bench.rounds(ROUNDS.0) } else { bench.rounds(ROUNDS.1) }
}

/// Cold start.
pub(crate) async fn cold(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    for size in bench.sizes(&TEMPLATES) {
        let setup = setup(bench, *size)?;
        for side in [Side::Ours, Side::Upstream] {
            // Makes the files, and has the catalog read what there is.
            Server::start(bench, side, &setup).await?.stop().await?;
        }
        for side in bench.turns(most(bench, *size)) {
            let plan = Plan::new(bench, side, &setup).await?;
            let begun = Instant::now();
            let mut server = plan.spawn()?;
            let watch = Watch::start(&[server.pid])?;
            server.answers(ACTIONS, Duration::from_millis(1)).await?;
            let took = begun.elapsed();
            rec.push_with("first-answer", *size, side.name(), took.as_secs_f64() * 1000.0, watch.stop()?);
            server.stop().await?;
        }
    }
    rec.measured.notes.push("The start that makes the database is not counted.".to_owned());
    Ok(())
}

/// Idle memory and processor time.
pub(crate) async fn idle(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    for size in bench.sizes(&TEMPLATES) {
        let setup = setup(bench, *size)?;
        let rounds = if *size == TEMPLATES[0] { bench.rounds(2) } else { 1 };
        for side in bench.turns(rounds) {
            let server = Server::start(bench, side, &setup).await?;
            sleep(IDLE - IDLE_END).await;
            let watch = Watch::start(&[server.pid])?;
            sleep(IDLE_END).await;
            let usage = watch.stop()?;
            rec.push("pss", *size, side.name(), memory_mib(server.pid)?);
            rec.push("cpu", *size, side.name(), usage.cpu_seconds * 1000.0);
            server.stop().await?;
        }
    }
    Ok(())
}
