//! Many trivial tasks at once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use super::latency::{WARM_UP, outcome};
use crate::{
    bench::{Bench, Recorder},
    error::{Error, Result},
    results::UPSTREAM,
    server::{Server, Setup, Side, Store},
    templates,
    usage::Watch,
};

const SIZES: [u64; 4] = [250, 500, 1000, 2000];
/// Upstream's default configuration takes minutes for 2,000.
const GUARDED_SIZES: [u64; 4] = [50, 100, 200, 400];
const CONNECTIONS: usize = 16;
const ASKED_EACH: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(300);
/// Processes of ours, and how many tasks they get.
const REPLICAS: [u64; 4] = [1, 2, 3, 4];
const FOR_REPLICAS: u64 = 1000;

/// Sends tasks to the servers in turn and waits until all are completed; gives tasks a second, and the first task's id.
async fn burst(servers: &[Server], count: u64) -> Result<(f64, String)> {
    let before = servers[0].count_completed().await?;
    let next = AtomicU64::new(0);
    let first = tokio::sync::Mutex::new(String::new());
    let begun = Instant::now();
    let send = async || -> Result<()> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(());
            }
            let server = &servers[usize::try_from(n).unwrap_or_default() % servers.len()];
            let id = server.create("trivial", &json!({"n": n})).await?;
            if n == 0 {
                *first.lock().await = id;
            }
        }
    };
    try_join_all((0..CONNECTIONS).map(|_| send())).await?;
    loop {
        let done = servers[0].count_completed().await? - before;
        if done >= count {
            return Ok((count as f64 / begun.elapsed().as_secs_f64(), first.into_inner()));
        }
        if begun.elapsed() > LIMIT {
            let what = format!("{}: only {done} of {count} tasks were completed", servers[0].side.name());
            return Err(Error::Failed(what));
        }
        sleep(ASKED_EACH).await;
    }
}

async fn warm_up(server: &Server) -> Result<()> {
    for n in 0..WARM_UP {
        server.run("trivial", &json!({"n": n}), LIMIT).await?;
    }
    burst(std::slice::from_ref(server), 50).await.map(drop)
}

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder, store: Store, guarded: bool) -> Result<()> {
    let file = templates::trivial(&bench.dir().join("templates"))?;
    let setup = if guarded { Setup::guarded(store) } else { Setup::open(store) }.templates([file]);
    let sizes = if guarded { &GUARDED_SIZES } else { &SIZES };
    for side in bench.turns(if guarded { 2 } else { 3 }) {
        let server = [Server::start(bench, side, &setup).await?];
        warm_up(&server[0]).await?;
        for size in bench.sizes(sizes) {
            let watch = Watch::start(&[server[0].pid])?;
            let (figure, first) = burst(&server, *size).await?;
            rec.push_with("tasks-per-second", *size, side.name(), figure, watch.stop()?);
            let outcome = outcome(&server[0].events(&first).await?, store);
            rec.outcome("a trivial task among many", side, outcome)?;
        }
        let [server] = server;
        server.stop().await?;
    }
    Ok(())
}

pub(crate) async fn replicas(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let file = templates::trivial(&bench.dir().join("templates"))?;
    let open = Setup::open(Store::Postgres).templates([file]);
    for (turn, side) in bench.turns(2).enumerate() {
        let sizes = if side == Side::Upstream { &REPLICAS[..1] } else { bench.sizes(&REPLICAS) };
        for size in sizes {
            let setup = open.clone().data(&format!("replicas{turn}_{size}"));
            let mut servers = Vec::new();
            for _ in 0..*size {
                servers.push(Server::start(bench, side, &setup).await?);
            }
            warm_up(&servers[0]).await?;
            let pids: Vec<u32> = servers.iter().map(|server| server.pid).collect();
            let watch = Watch::start(&pids)?;
            let (figure, first) = burst(&servers, FOR_REPLICAS).await?;
            rec.push_with("tasks-per-second", *size, side.name(), figure, watch.stop()?);
            if *size == 1 {
                let outcome = outcome(&servers[0].events(&first).await?, Store::Postgres);
                rec.outcome("a trivial task among many", side, outcome)?;
            }
            for server in servers {
                server.stop().await?;
            }
        }
    }
    rec.measured
        .notes
        .push(format!("`{UPSTREAM}` is one process in each row's ratio that has it; the aim compares three with it."));
    Ok(())
}
