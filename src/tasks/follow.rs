//! What other processes do to the tasks we run or show.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{runner::StopReason, worker::Worker};
use crate::store::Signal;

/// How often the store is asked for news of watched tasks where signals come at once, in case one is lost; and where they
/// don't.
const ASK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

impl Worker {
    /// Acts on signals, and asks for what may have been missed, until the service stops.
    pub(super) async fn follow(self: Arc<Self>, mut signals: mpsc::Receiver<Signal>) {
        let mut ticks = tokio::time::interval(ASK.1);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut quiet = Duration::ZERO;
        loop {
            let signal = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                signal = signals.recv() => signal,
                _ = ticks.tick() => {
                    quiet += ASK.1;
                    if quiet >= ASK.0 || !self.is_hearing.load(Ordering::Relaxed) {
                        quiet = Duration::ZERO;
                        self.ask().await;
                    }
                    continue;
                }
            };
            match signal {
                Some(Signal::Open) => self.wake.notify_one(),
                Some(Signal::Event(id)) => {
                    if let Err(error) = self.log.catch_up(&id).await {
                        tracing::warn!(task_id = id, %error, "new events of a task could not be read");
                    }
                }
                // Heartbeats find out, too; this is only sooner.
                Some(Signal::Cancelled(id)) => self.stop(&id, StopReason::Cancelled),
                Some(Signal::Catalog) => self.catalog_changed.notify_one(),
                Some(Signal::Hearing(is_hearing)) => {
                    self.is_hearing.store(is_hearing, Ordering::Relaxed);
                    self.catalog_changed.notify_one();
                    self.ask().await;
                }
                // The store is closed.
                None => return,
            }
        }
    }

    /// Asks for what signals would have told.
    async fn ask(&self) {
        self.wake.notify_one();
        if let Err(error) = self.log.catch_up_all().await {
            tracing::warn!(%error, "new events of watched tasks could not be read");
        }
    }
}
