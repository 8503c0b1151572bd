//! Streams of events: complete, in order, live.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::bench::Bench;
use crate::model::{EventType, TaskEvent};

async fn read_to_end(mut stream: crate::tasks::EventStream) -> Vec<TaskEvent> {
    let mut all: Vec<TaskEvent> = Vec::new();
    while all.last().is_none_or(|event| event.kind != EventType::Completion) {
        all.extend(stream.next().await.unwrap().unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_arrives_complete_and_in_order_at_all_listeners() {
    for input in [json!({"lines": 10_000}), json!({"lines": 10_000, "blocking": true})] {
        let bench = Bench::idle(|_| {}).await;
        let id = bench.create(json!([{"id": "f", "action": "test:flood", "input": input}])).await;
        let quick = tokio::spawn(read_to_end(bench.service.subscribe(&id, None)));
        // Falls behind so far that it has to read from the store.
        let slow = {
            let mut stream = bench.service.subscribe(&id, None);
            tokio::spawn(async move {
                let mut all: Vec<TaskEvent> = stream.next().await.unwrap().unwrap();
                while all.last().is_none_or(|event| event.kind != EventType::Completion) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    all.extend(stream.next().await.unwrap().unwrap());
                }
                all
            })
        };
        bench.service.start_workers();
        let quick = quick.await.unwrap();
        let slow = slow.await.unwrap();
        assert_eq!(quick, slow);
        assert_eq!(quick, read_to_end(bench.service.subscribe(&id, None)).await);
        let expected = (0..10_000).map(|n| format!("\u{1b}[32minfo\u{1b}[39m: line {n}"));
        let found = quick[2..10_002].iter().map(|event| event.body["message"].as_str().unwrap().to_string());
        assert!(found.eq(expected));
        assert_eq!(quick[10_002].body["status"], "completed");
        assert_eq!(quick.len(), 10_004);
    }
}

#[tokio::test]
async fn one_thread_is_not_blocked_by_a_flood() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"id": "f", "action": "test:flood", "input": {"lines": 10_000}}])).await;
    let events = bench.finish(&id).await;
    let note = events.iter().find(|event| {
        event.body["message"].as_str().is_some_and(|message| {
            message.ends_with("lines were left out here: they came faster than they could be stored")
        })
    });
    let note = note.expect("what did not fit is counted");
    let left_out: usize = note.body["message"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    // Start, beginning, end of the step, completion, and the note itself.
    assert_eq!(events.len() - 5 + left_out, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_who_come_in_between_miss_nothing() {
    let bench = Bench::start().await;
    let id = bench
        .create(json!([{"each": (0..300).collect::<Vec<_>>(), "action": "debug:log", "input": {"message": "m"}}]))
        .await;
    let mut readers = Vec::new();
    for _ in 0..40 {
        readers.push(tokio::spawn(read_to_end(bench.service.subscribe(&id, None))));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let all = bench.finish(&id).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all);
    }
    assert_eq!(all.iter().map(|event| event.id).collect::<BTreeSet<_>>().len(), all.len());
    let middle = all[all.len() / 2].id;
    let rest = read_to_end(bench.service.subscribe(&id, Some(middle))).await;
    assert_eq!(rest, all[all.len() / 2 + 1..]);
    // After the end the end is told again, and then nothing.
    let last = all.last().unwrap();
    let mut stream = bench.service.subscribe(&id, Some(last.id));
    assert_eq!(stream.next().await.unwrap().unwrap(), std::slice::from_ref(last));
    assert!(tokio::time::timeout(Duration::from_millis(50), stream.next()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_see_a_retry() {
    let bench = Bench::start().await;
    let id = bench.create(json!([{"action": "test:fail", "input": {"message": "no"}}])).await;
    let mut stream = bench.service.subscribe(&id, None);
    let mut kinds: Vec<(EventType, Value)> = Vec::new();
    while kinds.last().is_none_or(|(kind, _)| *kind != EventType::Completion) {
        kinds.extend(stream.next().await.unwrap().unwrap().into_iter().map(|event| (event.kind, event.body)));
    }
    bench.service.retry(&id, None).await.unwrap();
    let before = kinds.len();
    while kinds.len() == before || kinds.last().is_none_or(|(kind, _)| *kind != EventType::Completion) {
        kinds.extend(stream.next().await.unwrap().unwrap().into_iter().map(|event| (event.kind, event.body)));
    }
    assert_eq!(kinds[before], (EventType::Recovered, json!({"recoverStrategy": "none"})));
    assert_eq!(kinds.len(), before * 2 + 1);
}

#[test]
fn channels_are_gone_when_nobody_uses_them() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store =
        runtime.block_on(crate::store::SqliteStore::open(&crate::config::DatabaseConfig::SqliteMemory)).unwrap();
    let log = std::sync::Arc::new(crate::tasks::events::EventLog::new(std::sync::Arc::new(store)));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..20_000 {
                    drop(log.channel(&n.to_string()));
                }
            });
        }
    });
    assert_eq!(log.open_channels(), 0);
}
