//! How fast the list of tasks is with a million of them: a measurement, run by hand (docs/storage.md shows the figures).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use super::*;

const ROUNDS: usize = 200;

/// The filters that are measured, by name.
fn filters() -> Vec<(&'static str, TaskFilter)> {
    let page = TaskFilter { limit: Some(20), ..TaskFilter::default() };
    vec![
        ("limit=20", page.clone()),
        ("limit=20&createdBy", TaskFilter { created_by: vec!["user:default/u7".into()], ..page.clone() }),
        ("limit=20&status=failed", TaskFilter { status: vec![TaskStatus::Failed], ..page.clone() }),
        ("limit=20&offset=1000", TaskFilter { offset: Some(1000), ..page }),
    ]
}

/// Measures each filter; prints median, p99 and the longest.
pub(super) async fn measure<S: TaskStore>(store: &S, what: &str) {
    for (name, filter) in filters() {
        let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let page = store.list_tasks(&filter).await.unwrap();
            times.push(began.elapsed());
            assert_eq!(page.tasks.len(), 20);
        }
        times.sort_unstable();
        println!(
            "{what} {name}: p50 {:?}, p99 {:?}, longest {:?}",
            times[ROUNDS / 2],
            times[ROUNDS * 99 / 100],
            times[ROUNDS - 1]
        );
    }
}
