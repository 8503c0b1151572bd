//! Subscribers of a running task.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};
use understudy_testbed::sse::Events;

use crate::{
    bench::{Bench, Recorder},
    compare::{self, Outcome},
    error::{Error, Result},
    gate::Gate,
    server::{Server, Setup, Store, TASKS},
    stats::quantile,
    templates,
    usage::Watch,
};

/// Subscribers whose delays are measured, and those of one burst.
const FOR_DELAYS: [u64; 4] = [200, 1, 50, 500];
const FOR_BURSTS: [u64; 4] = [250, 500, 1000, 2000];
const STEPS: u64 = 40;
/// Between two steps, so that events don't come all at once.
const PACE: Duration = Duration::from_millis(75);
/// Iterations of the step that makes the burst.
const LINES: u64 = 100;
const LIMIT: Duration = Duration::from_secs(60);
/// Connections that are opened at a time.
const AT_A_TIME: usize = 50;

#[derive(Debug, Deserialize)]
struct Event {
    id: i64,
    body: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    message: String,
}

/// Connects so many subscribers to a task.
async fn connect(server: &Server, id: &str, count: u64) -> Result<Vec<Events>> {
    let path = format!("{TASKS}/{id}/eventstream");
    let mut streams = Vec::new();
    let mut left = usize::try_from(count).unwrap_or_default();
    while left > 0 {
        let now = left.min(AT_A_TIME);
        streams.extend(try_join_all((0..now).map(|_| server.client.events(&path))).await?);
        left -= now;
    }
    Ok(streams)
}

/// Reads a stream to the completion; gives each event with its arrival.
async fn read(mut stream: Events) -> Result<Vec<(Event, Instant)>> {
    let mut seen = Vec::new();
    loop {
        let Some(frame) = stream.next(LIMIT).await? else {
            return Err(Error::Failed("a stream ended before the completion".to_owned()));
        };
        if frame.is_comment() {
            continue;
        }
        let event =
            serde_json::from_str(&frame.data).map_err(|error| Error::Failed(format!("{error}: {}", frame.data)))?;
        seen.push((event, Instant::now()));
        if frame.name() == "completion" {
            return Ok(seen);
        }
    }
}

/// Reads all streams to their completions, on tasks of their own.
async fn read_all(streams: Vec<Events>) -> Result<Vec<Vec<(Event, Instant)>>> {
    let mut readers = JoinSet::new();
    for stream in streams {
        readers.spawn(read(stream));
    }
    let mut all = Vec::new();
    while let Some(ended) = readers.join_next().await {
        all.push(ended.map_err(|error| Error::Failed(error.to_string()))??);
    }
    Ok(all)
}

/// From the moment at which a step goes on to the arrival of its end at each of many subscribers.
pub(crate) async fn delays(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let gate = Gate::start(PACE).await?;
    let steps = (0..STEPS).map(|number| gate.step(number)).collect();
    let file = templates::template(&bench.dir().join("templates"), "paced", &steps)?;
    let setup = Setup::open(Store::File).templates([file]).config(gate.config());
    for side in bench.turns(3) {
        let server = Server::start(bench, side, &setup).await?;
        gate.open();
        server.run("paced", &json!({}), LIMIT).await?;
        for count in bench.sizes(&FOR_DELAYS) {
            gate.close();
            let id = server.create("paced", &json!({})).await?;
            let streams = connect(&server, &id, *count).await?;
            let watch = Watch::start(&[server.pid])?;
            gate.open();
            let seen = read_all(streams).await?;
            let usage = watch.stop()?;
            let mut delays = Vec::new();
            for number in 0..STEPS {
                let text = format!("Finished step Gate {number}");
                let went_on =
                    gate.answered(number).ok_or_else(|| Error::Failed(format!("gate {number} was not asked")))?;
                for events in &seen {
                    let found = events.iter().find(|(event, _)| event.body.message == text);
                    let (_, at) = found.ok_or_else(|| Error::Failed(format!("a subscriber missed `{text}`")))?;
                    delays.push(at.saturating_duration_since(went_on).as_secs_f64() * 1000.0);
                }
            }
            rec.push_with("p50", *count, side.name(), quantile(&delays, 0.5), usage);
            rec.push("p99", *count, side.name(), quantile(&delays, 0.99));
            rec.push("slowest", *count, side.name(), quantile(&delays, 1.0));
            if *count == FOR_DELAYS[0] {
                let events = compare::events(&server.events(&id).await?);
                rec.outcome("a task with paced steps", side, Outcome { events, ..Outcome::default() })?;
            }
        }
        server.stop().await?;
    }
    Ok(())
}

/// A burst of lines to thousands of subscribers.
pub(crate) async fn burst(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let gate = Gate::start(Duration::ZERO).await?;
    let list: Vec<u64> = (0..LINES).collect();
    let steps = json!([gate.step(0), {"id": "many", "name": "Many", "each": list, "action": "debug:log",
        "input": {"message": "line ${{ each.value }}"}}]);
    let file = templates::template(&bench.dir().join("templates"), "burst", &steps)?;
    let setup = Setup::open(Store::File).templates([file]).config(gate.config());
    for side in bench.turns(2) {
        let server = Server::start(bench, side, &setup).await?;
        gate.open();
        server.run("burst", &json!({}), LIMIT).await?;
        for count in bench.sizes(&FOR_BURSTS) {
            gate.close();
            let watch = Watch::start(&[server.pid])?;
            let id = server.create("burst", &json!({})).await?;
            let streams = connect(&server, &id, *count).await?;
            let begun = Instant::now();
            gate.open();
            let seen = timeout(LIMIT, read_all(streams)).await;
            let took = begun.elapsed();
            let usage = watch.stop()?;
            rec.push_with("all-received", *count, side.name(), took.as_secs_f64() * 1000.0, usage);
            rec.push("peak", *count, side.name(), usage.peak_mib);
            let Ok(seen) = seen else {
                rec.unfinished("all-received", *count, side.name());
                break;
            };
            let stored = server.events(&id).await?;
            let ids: Vec<i64> = stored.iter().filter_map(|event| event["id"].as_i64()).collect();
            for events in seen? {
                if !events.iter().map(|(event, _)| event.id).eq(ids.iter().copied()) {
                    let what =
                        format!("{}: a subscriber of {count} did not get each event once, in order", side.name());
                    return Err(Error::Failed(what));
                }
            }
            if *count == FOR_BURSTS[0] {
                let events = compare::events(&stored);
                rec.outcome("a task with a burst of lines", side, Outcome { events, ..Outcome::default() })?;
            }
        }
        server.stop().await?;
    }
    rec.measured.notes.push("Every subscriber got each event once, in order, or the run would have failed.".to_owned());
    Ok(())
}
