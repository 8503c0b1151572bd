//! Rendering skeletons.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    bench::{Bench, Recorder},
    compare::{self, Outcome},
    error::{Error, Result},
    server::{Server, Setup, Side, Store, remove, workspaces},
    templates,
    usage::Watch,
};

/// The limit's name.
pub(crate) const COPY: &str = "parallel copy";

const SIZES: [u64; 4] = [100, 1000, 10_000, 50_000];
/// Files as in services' templates.
const REAL: u64 = 1000;
/// Longer runs are not waited for.
const LIMIT: Duration = Duration::from_secs(90);
/// Sizes beyond are measured in one round.
const LARGE: u64 = 1000;
/// The size at which events and files are compared.
const COMPARED: u64 = 100;

fn fetch_step(folder: &str) -> Value {
    json!({"id": "fetch", "name": "Fetch", "action": "fetch:template",
        "input": {"url": format!("./{folder}"), "values": templates::values()}})
}

/// A template that fetches a folder, and one that then waits, so that its workspace can be looked at.
fn pair(folder: &Path, name: &str, skeleton: &str) -> Result<[PathBuf; 2]> {
    let hold = json!({"id": "hold", "name": "Hold", "action": "debug:wait", "input": {"minutes": 5}});
    Ok([
        templates::template(folder, &format!("{name}-held"), &json!([fetch_step(skeleton), hold]))?,
        templates::template(folder, name, &json!([fetch_step(skeleton)]))?,
    ])
}

/// Events and files of a task that waits after its step.
async fn look(bench: &Bench, server: &Server, template: &str) -> Result<Outcome> {
    let id = server.create(template, &json!({})).await?;
    let begun = Instant::now();
    loop {
        let events = server.events(&id).await?;
        if events.iter().any(|event| event["body"]["message"] == "Beginning step Hold") {
            let files = compare::files(&workspaces(bench).join(&id))?;
            let until =
                events.iter().position(|event| event["body"]["message"] == "Beginning step Hold").unwrap_or_default();
            server.cancel(&id).await?;
            return Ok(Outcome { events: compare::events_in_any_order(&events[..until]), files });
        }
        if begun.elapsed() > LIMIT {
            return Err(Error::Failed(format!("{template} was not fetched within {LIMIT:?}: {events:?}")));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let folder = bench.dir().join("templates");
    let sizes = bench.sizes(&SIZES);
    let mut files = Vec::new();
    for size in sizes {
        templates::skeleton(&folder.join(format!("skeleton-{size}")), *size)?;
        files.extend(pair(&folder, &format!("fetch-{size}"), &format!("skeleton-{size}"))?);
    }
    templates::real_skeleton(&folder.join("real"), REAL)?;
    files.extend(pair(&folder, "fetch-real", "real")?);
    let setup = Setup::open(Store::File).templates(files);
    let rounds = bench.rounds(3);
    for (turn, side) in bench.turns(rounds).enumerate() {
        let first_round = turn < 2;
        let server = Server::start(bench, side, &setup).await?;
        for _ in 0..2 {
            server.run("fetch-100", &json!({}), LIMIT).await?;
        }
        if first_round {
            for (what, name) in [
                ("fetch:template", format!("fetch-{COMPARED}-held")),
                ("fetch:template with real-life expressions", "fetch-real-held".into()),
            ] {
                rec.outcome(what, side, look(bench, &server, &name).await?)?;
            }
        }
        for size in sizes {
            if *size > LARGE && !first_round && (side == Side::Upstream || *size > 10 * LARGE) {
                continue;
            }
            measure(rec, &server, "time", *size, &format!("fetch-{size}")).await?;
            if side == Side::Ours {
                let took = copy(&folder.join(format!("skeleton-{size}")), &bench.dir().join("copy"))?;
                rec.push("time", *size, COPY, took.as_secs_f64() * 1000.0);
            }
            if rec.is_unfinished("time", *size, side.name()) {
                break;
            }
        }
        // Where a task may still be at work, a new process has to take the place of this one.
        if side == Side::Ours || !sizes.iter().any(|size| rec.measured.series("time", *size, side.name()).unfinished) {
            measure(rec, &server, "real", REAL, "fetch-real").await?;
        } else {
            let fresh = Server::start(bench, side, &setup).await?;
            fresh.run("fetch-100", &json!({}), LIMIT).await?;
            measure(rec, &fresh, "real", REAL, "fetch-real").await?;
            fresh.stop().await?;
        }
        if side == Side::Ours {
            let took = copy(&folder.join("real"), &bench.dir().join("copy"))?;
            rec.push("real", REAL, COPY, took.as_secs_f64() * 1000.0);
        }
        server.stop().await?;
    }
    rec.measured.notes.push(format!(
        "Upstream's runs beyond {LARGE} files, and ours beyond {}, are measured in the first round alone; what takes longer than \
         {} s is not waited for.",
        10 * LARGE,
        LIMIT.as_secs()
    ));
    Ok(())
}

async fn measure(rec: &mut Recorder, server: &Server, metric: &str, size: u64, template: &str) -> Result<()> {
    let side = server.side.name();
    let watch = Watch::start(&[server.pid])?;
    let (id, took) = server.run(template, &json!({}), LIMIT).await?;
    let usage = watch.stop()?;
    match took {
        Some(took) => rec.push_with(metric, size, side, took.as_secs_f64() * 1000.0, usage),
        None => {
            rec.push_with(metric, size, side, LIMIT.as_secs_f64() * 1000.0, usage);
            rec.unfinished(metric, size, side);
            server.cancel(&id).await?;
        }
    }
    Ok(())
}

/// Copies a folder of folders with files, with as many threads as there are processors; gives the time it took.
fn copy(from: &Path, to: &Path) -> Result<Duration> {
    remove(to)?;
    let begun = Instant::now();
    fs::create_dir(to).map_err(Error::at(to))?;
    let folders: Vec<PathBuf> =
        fs::read_dir(from).map_err(Error::at(from))?.flatten().map(|entry| entry.path()).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(folder) = folders.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let target = to.join(folder.file_name().unwrap_or_default());
            fs::create_dir(&target).map_err(Error::at(&target))?;
            for entry in fs::read_dir(folder).map_err(Error::at(folder))? {
                let entry = entry.map_err(Error::at(folder))?;
                fs::copy(entry.path(), target.join(entry.file_name())).map_err(Error::at(&target))?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| Error::Failed("a copying thread panicked".to_owned()))?)
    })?;
    let took = begun.elapsed();
    remove(to)?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_copy_is_whole_before_its_time_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        templates::skeleton(&from, 50).unwrap();
        let to = dir.path().join("to");
        assert!(copy(&from, &to).unwrap() > Duration::ZERO && !to.exists());
        assert!(copy(&dir.path().join("missing"), &to).is_err());
    }
}
