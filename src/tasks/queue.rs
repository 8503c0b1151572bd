//! The queue between a run and the store: events are taken one by one and stored in batches, in order.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{Notify, watch},
};

use super::{
    events::{ChannelRef, log_event},
    lock,
    log::{EventSink, LogEvent, StorageFailed},
    persist::persist,
    runner::{StopReason, StopSignal},
};
use crate::store::{Claim, StoreError};

/// From here on whoever pushes has to wait: so many events,
const CAPACITY: usize = 2048;
/// or so many bytes of text.
const CAPACITY_BYTES: usize = 8 << 20;
/// At most so many events are stored and published together,
const BATCH: usize = 512;
/// of about so many bytes: a slow listener keeps a number of batches in memory.
const BATCH_BYTES: usize = 1 << 20;
#[derive(Default)]
struct Pending {
    events: VecDeque<LogEvent>,
    bytes: usize,
    pushed: u64,
    left_out: u64,
    closed: bool,
}

impl Pending {
    fn is_full(&self) -> bool {
        self.events.len() >= CAPACITY || self.bytes >= CAPACITY_BYTES
    }
    fn push(&mut self, event: LogEvent) {
        self.pushed += 1;
        self.bytes += event.message.len();
        self.events.push_back(event);
    }
    /// The oldest events, as many as are stored together.
    fn take_batch(&mut self) -> Vec<LogEvent> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH
            && bytes < BATCH_BYTES
            && let Some(event) = self.events.pop_front()
        {
            bytes += event.message.len();
            batch.push(event);
        }
        self.bytes -= bytes;
        batch
    }
}

#[derive(Clone, Default)]
struct Progress {
    written: u64,
    failed: Option<StorageFailed>,
}

struct Shared {
    pending: Mutex<Pending>,
    room: Condvar,
    work: Notify,
    progress: watch::Sender<Progress>,
}

/// Takes events of one run and has them stored in the background. Dropping it lets the rest be written.
pub(super) struct EventQueue(Arc<Shared>);

impl EventQueue {
    /// Starts the writer on a runtime. A run whose claim is gone is told by `stop`.
    pub(super) fn start(runtime: &Handle, channel: ChannelRef, claim: Claim, stop: Arc<StopSignal>) -> Self {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            room: Condvar::new(),
            work: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
        });
        runtime.spawn(Arc::clone(&shared).write_all(BatchWriter { channel, claim, stop, batch: 0 }));
        Self(shared)
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        lock(&self.0.pending).closed = true;
        self.0.work.notify_one();
    }
}

#[async_trait]
impl EventSink for EventQueue {
    fn push(&self, event: LogEvent) {
        let mut pending = lock(&self.0.pending);
        if pending.is_full() && event.status.is_none() {
            drop(pending);
            let has_room = self.0.wait_for_room();
            pending = lock(&self.0.pending);
            if !has_room {
                pending.left_out += 1;
                return;
            }
        }
        if pending.left_out > 0 {
            let count = std::mem::take(&mut pending.left_out);
            let note = format!("{count} lines were left out here: they came faster than they could be stored");
            pending.push(LogEvent { message: note, step_id: event.step_id.clone(), status: None });
        }
        pending.push(event);
        drop(pending);
        self.0.work.notify_one();
    }
    async fn flush(&self) -> Result<(), StorageFailed> {
        let target = lock(&self.0.pending).pushed;
        let mut progress = self.0.progress.subscribe();
        // The sender lives as long as this queue.
        match progress.wait_for(|progress| progress.failed.is_some() || progress.written >= target).await {
            Ok(progress) => progress.failed.clone().map_or(Ok(()), Err),
            Err(_) => Err(StorageFailed { what: "log", reason: "its writer has ended".into() }),
        }
    }
}

impl Shared {
    /// Waits until the writer has made room. On a runtime with one thread the writer can't run meanwhile: then there is
    /// no room, and the line is counted instead of kept.
    fn wait_for_room(&self) -> bool {
        let wait = || {
            let pending = lock(&self.pending);
            let waited = self.room.wait_while(pending, |pending| pending.is_full());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            true
        };
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            Ok(_) => false,
            Err(_) => wait(),
        }
    }
    async fn write_all(self: Arc<Self>, mut writer: BatchWriter) {
        loop {
            let (batch, closed) = {
                let mut pending = lock(&self.pending);
                (pending.take_batch(), pending.closed)
            };
            self.room.notify_all();
            if batch.is_empty() {
                if closed {
                    return;
                }
                self.work.notified().await;
                continue;
            }
            let count = batch.len() as u64;
            let failed = if self.progress.borrow().failed.is_some() {
                None
            } else {
                let events: Vec<_> = batch.into_iter().map(|event| log_event(event.to_body())).collect();
                writer.store(events).await.err()
            };
            self.progress.send_modify(|progress| {
                progress.written += count;
                if progress.failed.is_none() {
                    progress.failed = failed;
                }
            });
        }
    }
}

/// Stores one run's batches.
struct BatchWriter {
    channel: ChannelRef,
    claim: Claim,
    stop: Arc<StopSignal>,
    batch: i64,
}

impl BatchWriter {
    async fn store(&mut self, events: Vec<crate::model::NewEvent>) -> Result<(), StorageFailed> {
        // The same number at every attempt: one that was stored, though nobody heard so, is not stored twice.
        self.batch += 1;
        let append = || self.channel.append(&self.claim, self.batch, events.clone());
        match persist("events of a task", &self.stop, append).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if matches!(error, StoreError::LostClaim(_)) {
                    self.stop.stop(StopReason::Lost);
                }
                Err(StorageFailed { what: "log", reason: error.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> LogEvent {
        LogEvent::task("x".repeat(bytes))
    }

    #[test]
    fn batches_are_bounded_by_number_and_by_size() {
        let mut pending = Pending::default();
        (0..BATCH + 1).for_each(|_| pending.push(event(1)));
        assert_eq!(pending.take_batch().len(), BATCH);
        assert_eq!(pending.take_batch().len(), 1);
        (0..3).for_each(|_| pending.push(event(BATCH_BYTES)));
        assert_eq!(pending.take_batch().len(), 1);
        assert_eq!((pending.take_batch().len(), pending.take_batch().len(), pending.bytes), (1, 1, 0));
        assert!(pending.take_batch().is_empty());
    }

    #[test]
    fn a_few_long_lines_fill_the_queue_too() {
        let mut pending = Pending::default();
        pending.push(event(CAPACITY_BYTES - 1));
        assert!(!pending.is_full());
        pending.push(event(1));
        assert!(pending.is_full());
        pending.take_batch();
        assert!(!pending.is_full());
    }
}
