//! Where the service is between its start and its end, and what that means for requests.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

/// A stage of the service's life; each is followed by the next or a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It listens already, but isn't ready: requests wait.
    Starting,
    /// It serves.
    Up,
    /// It serves, but tells load balancers to send nothing more.
    Draining,
    /// It refuses requests; those it has come to an end.
    Down,
}

/// The service's stage, shared by all who need to know it.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<watch::Sender<Phase>>);

impl Lifecycle {
    /// At the start.
    pub fn starting() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Starting)))
    }
    /// Goes on to a later stage; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }
    /// The present stage.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
    /// Lets a request in, after waiting for the end of the start for at most `patience`. The error is what a refused
    /// request is told (`@backstage/backend-defaults` 0.18.0, `createLifecycleMiddleware`).
    pub(super) async fn admit(&self, patience: Duration) -> Result<(), &'static str> {
        let mut phase = self.phase();
        if phase == Phase::Starting {
            let mut changes = self.0.subscribe();
            let started = changes.wait_for(|phase| *phase != Phase::Starting);
            phase = match tokio::time::timeout(patience, started).await {
                // The sender lives as long as `self`.
                Ok(Ok(phase)) => *phase,
                Ok(Err(_)) | Err(_) => return Err("Service has not started up yet"),
            };
        }
        if phase == Phase::Down { Err("Service is shutting down") } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_the_start_but_not_for_ever() {
        let lifecycle = Lifecycle::starting();
        let started = Instant::now();
        assert_eq!(lifecycle.admit(Duration::from_secs(5)).await, Err("Service has not started up yet"));
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        let waiting = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.admit(Duration::from_secs(5)).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        lifecycle.enter(Phase::Up);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn the_end_is_for_good() {
        let lifecycle = Lifecycle::starting();
        lifecycle.enter(Phase::Draining);
        assert_eq!(lifecycle.admit(Duration::ZERO).await, Ok(()));
        lifecycle.enter(Phase::Down);
        lifecycle.enter(Phase::Up);
        assert_eq!(lifecycle.phase(), Phase::Down);
        assert_eq!(lifecycle.admit(Duration::ZERO).await, Err("Service is shutting down"));
    }
}
