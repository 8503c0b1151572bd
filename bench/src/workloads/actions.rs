//! The list of actions under load.

use std::time::Duration;

use super::{Figure, less, more};
use crate::{
    bare,
    bench::{Bench, Recorder},
    error::{Error, Result},
    load,
    server::{ACTIONS, Server, Setup, Side, Store},
    stats::quantile,
    templates,
    usage::Watch,
};

pub(super) const FIGURES: &[Figure] = &[
    more("per-second", "GET /v2/actions", "requests/s", "connections"),
    less("p50", "the same, p50", "ms", "connections"),
    less("p99", "the same, p99", "ms", "connections"),
];

const BARE: &str = "bare handler";
const CONNECTIONS: [u64; 4] = [32, 1, 8, 128];
const WARM_UP: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(4);

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder, guarded: bool) -> Result<()> {
    let file = templates::trivial(&bench.dir().join("templates"))?;
    let setup = if guarded { Setup::guarded(Store::File) } else { Setup::open(Store::File) }.templates([file]);
    for side in bench.turns(2) {
        let server = Server::start(bench, side, &setup).await?;
        let answer = server.client.get(ACTIONS).await?;
        let listed = answer.expect_json(200)?;
        let count = listed.as_array().map_or(0, Vec::len);
        if count == 0 {
            return Err(Error::Failed(format!("{} lists no actions", side.name())));
        }
        let note = format!("{}'s answer has {count} actions in {} bytes.", side.name(), answer.body.len());
        if !rec.measured.notes.contains(&note) {
            rec.measured.notes.push(note);
        }
        let token = server.token;
        load::run(server.port, ACTIONS, token, 8, WARM_UP).await?;
        for connections in bench.sizes(&CONNECTIONS) {
            let watch = Watch::start(&[server.pid])?;
            take(rec, server.port, token, *connections, side.name()).await?;
            let usage = watch.stop()?;
            let series = rec.measured.series("per-second", *connections, side.name());
            series.cpu_seconds.push(usage.cpu_seconds);
            series.peak_mib.push(usage.peak_mib);
        }
        server.stop().await?;
        if side == Side::Ours {
            let bare = bare::Bare::start(answer.body.clone())?;
            load::run(bare.port(), ACTIONS, None, 8, WARM_UP).await?;
            for connections in bench.sizes(&CONNECTIONS) {
                take(rec, bare.port(), None, *connections, BARE).await?;
            }
        }
    }
    Ok(())
}

async fn take(rec: &mut Recorder, port: u16, token: Option<&str>, connections: u64, series: &str) -> Result<()> {
    let count = usize::try_from(connections).unwrap_or(1);
    let load = load::run(port, ACTIONS, token, count, TIME).await?;
    rec.push("per-second", connections, series, load.per_second);
    rec.push("p50", connections, series, quantile(&load.milliseconds, 0.5));
    rec.push("p99", connections, series, quantile(&load.milliseconds, 0.99));
    Ok(())
}
