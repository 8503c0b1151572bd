//! Live subscribers that never give up.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};
use understudy_testbed::http::Client;

use super::Random;
use crate::support::TASKS;

/// A stream that is silent for so long is left for another one: its replica may be frozen.
const SILENCE: Duration = Duration::from_secs(4);

/// Follows a task to its completion, from whatever replica answers; gives the events and how often it connected.
pub(super) async fn follow(clients: Vec<Client>, id: String, mut random: Random, limit: Duration) -> (Vec<Value>, u32) {
    let deadline = Instant::now() + limit;
    let mut seen: Vec<Value> = Vec::new();
    let mut connections = 0;
    loop {
        assert!(Instant::now() < deadline, "task {id} does not end for its subscriber: {seen:#?}");
        let client = random.choose(&clients);
        let after = seen.last().map(|event| format!("?after={}", event["id"])).unwrap_or_default();
        let connected = timeout(SILENCE, client.events(&format!("{TASKS}/{id}/eventstream{after}"))).await;
        let Ok(Ok(mut stream)) = connected else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        connections += 1;
        while let Ok(Some(frame)) = stream.next(SILENCE).await {
            if frame.is_comment() {
                continue;
            }
            let Ok(event) = frame.json() else { break };
            seen.push(event);
            if frame.name() == "completion" {
                return (seen, connections);
            }
        }
    }
}
