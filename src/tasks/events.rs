//! A task's events: stored first, then published to those who listen.
//!
//! Each task that somebody writes to or listens to has a channel. Whoever stores an event of a task does it under the
//! channel's lock and publishes before letting go, so listeners see events in the order of their ids.
//!
//! Where other processes write to the same database, an event of theirs may lie between two of ours. There, what is
//! published is not what was written but what the store has beyond the last event published: the store shows events of a
//! task in the order of their ids, so nothing can appear before that later.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{EventStream, lock};
use crate::{
    model::{EventType, NewEvent, TaskEvent, TaskId, TaskStatus},
    store::{Claim, StoreError, TaskStore},
};

/// How many events a listener that has fallen behind gets at once. What it has not taken stays in the store, so that a
/// listener that does not listen costs no more than this.
const PAGE: usize = 100;
/// How many batches a listener may lag behind before it reads from the store again.
const CHANNEL_BATCHES: usize = 32;

struct Channel {
    /// How many [`ChannelRef`]s there are; changed under the lock of the list only.
    users: AtomicUsize,
    /// Held while an event is stored and published. In it, where others write too: the last event that was published;
    /// `None`: nothing was, or nobody listened for a while.
    published: tokio::sync::Mutex<Option<i64>>,
    live: broadcast::Sender<Arc<Vec<TaskEvent>>>,
}

/// Writes events of tasks and tells the listeners.
pub(super) struct EventLog {
    store: Arc<dyn TaskStore>,
    channels: Mutex<HashMap<TaskId, Arc<Channel>>>,
    closed: CancellationToken,
}

/// Holds a task's channel open; the last one to go removes it.
pub(super) struct ChannelRef {
    log: Arc<EventLog>,
    id: TaskId,
    channel: Arc<Channel>,
}

impl Drop for ChannelRef {
    fn drop(&mut self) {
        let mut channels = lock(&self.log.channels);
        if self.channel.users.fetch_sub(1, Ordering::Relaxed) == 1 {
            channels.remove(&self.id);
        }
    }
}

impl ChannelRef {
    /// Stores by `write` and publishes what it gives, in order with all other events of the task.
    async fn write(&self, write: impl Future<Output = Result<Vec<TaskEvent>, StoreError>>) -> Result<(), StoreError> {
        let mut published = self.channel.published.lock().await;
        let events = write.await?;
        if self.log.store.is_shared() {
            if let Err(error) = self.publish_stored(&mut published).await {
                // It is stored; listeners get it with what comes next, or when the store is asked for news.
                tracing::warn!(task_id = self.id, %error, "an event could not be published at once");
            }
        } else if !events.is_empty() && self.channel.live.receiver_count() > 0 {
            // An error says that the last listener has just left.
            let _ = self.channel.live.send(Arc::new(events));
        }
        Ok(())
    }
    /// Publishes what the store has beyond the last event published.
    async fn publish_stored(&self, published: &mut Option<i64>) -> Result<(), StoreError> {
        if self.channel.live.receiver_count() == 0 {
            *published = None;
            return Ok(());
        }
        let events = self.log.store.events_after(&self.id, published.unwrap_or(0), usize::MAX).await?;
        if let Some(last) = events.last() {
            *published = Some(last.id);
            let _ = self.channel.live.send(Arc::new(events));
        }
        Ok(())
    }
    /// What a listener begins with, and the last event that it takes account of. Where others write too, the first one
    /// settles from where on events are published, so that a long log is not read again for each of them.
    async fn begin(&self, after: Option<i64>) -> Result<(Vec<TaskEvent>, Option<i64>), StoreError> {
        let store = &self.log.store;
        let mut known = after;
        if store.is_shared() {
            let mut published = self.channel.published.lock().await;
            let newest = match *published {
                Some(newest) => newest,
                None => {
                    let newest = store.newest_events(std::slice::from_ref(&self.id)).await?;
                    newest.first().map_or(0, |(_, event)| *event)
                }
            };
            *published = Some(newest);
            // It is stored, so it is among those read below, unless a start-over hides it.
            known = known.max(Some(newest));
        }
        let events = store.list_events(&self.id, after).await?;
        let known = events.iter().map(|event| event.id).chain(known).max();
        Ok((events, known))
    }
    /// Appends events of a run; `batch` as for [`TaskStore::append_events`].
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn append(&self, claim: &Claim, batch: i64, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.write(self.log.store.append_events(claim, batch, events)).await
    }
    /// Ends the task. `before_publishing` runs between storing and publishing.
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn complete(
        &self,
        claim: &Claim,
        status: TaskStatus,
        body: Value,
        before_publishing: impl Future<Output = ()>,
    ) -> Result<(), StoreError> {
        self.write(async {
            let event = self.log.store.complete_task(claim, status, body).await?;
            before_publishing.await;
            Ok(event.into_iter().collect())
        })
        .await
    }
}

impl EventLog {
    /// A log over a store.
    pub(super) fn new(store: Arc<dyn TaskStore>) -> Self {
        Self { store, channels: Mutex::default(), closed: CancellationToken::new() }
    }
    /// How many tasks have a channel at the moment.
    #[cfg(test)]
    pub(super) fn open_channels(&self) -> usize {
        lock(&self.channels).len()
    }
    /// The channel of a task.
    pub(super) fn channel(self: &Arc<Self>, id: &str) -> ChannelRef {
        let mut channels = lock(&self.channels);
        let channel = channels.entry(id.to_string()).or_insert_with(|| {
            Arc::new(Channel {
                users: AtomicUsize::new(0),
                published: tokio::sync::Mutex::default(),
                live: broadcast::channel(CHANNEL_BATCHES).0,
            })
        });
        channel.users.fetch_add(1, Ordering::Relaxed);
        ChannelRef { log: Arc::clone(self), id: id.to_string(), channel: Arc::clone(channel) }
    }
    /// Stores that somebody asked to cancel the task. The event names the step of the newest event that has one, `0`
    /// where none has (upstream 4.2.0, `StorageTaskBroker.cancel`).
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn cancel(self: &Arc<Self>, id: &str) -> Result<(), StoreError> {
        let channel = self.channel(id);
        channel
            .write(async {
                let events = self.store.list_events(id, None).await?;
                let step = events
                    .iter()
                    .rev()
                    .find_map(|event| event.body.get("stepId").filter(|step| step.is_string()).cloned())
                    .unwrap_or_else(|| 0.into());
                let shown = step.as_str().unwrap_or("0");
                let body = json!({
                    "message": format!("Step {shown} has been cancelled."), "stepId": step, "status": "cancelled"
                });
                Ok(vec![self.store.cancel_task(id, body).await?])
            })
            .await
    }
    /// Puts an ended task back into the queue; see [`TaskStore::retry_task`].
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn retry(
        self: &Arc<Self>,
        id: &str,
        secrets: Option<Map<String, Value>>,
        from_start: bool,
    ) -> Result<(), StoreError> {
        let channel = self.channel(id);
        channel.write(async { Ok(vec![self.store.retry_task(id, secrets, from_start).await?]) }).await
    }
    /// Puts a running task back into the queue.
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn release(
        self: &Arc<Self>,
        claim: &Claim,
        secrets: Option<Map<String, Value>>,
    ) -> Result<(), StoreError> {
        let channel = self.channel(&claim.task_id);
        channel.write(async { Ok(vec![self.store.release_task(claim, secrets).await?]) }).await
    }
    /// Puts tasks without a sign of life back into the queue; gives their number.
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn recover(self: &Arc<Self>, older_than: Duration) -> Result<usize, StoreError> {
        let events = self.store.recover_stale(older_than).await?;
        let count = events.len();
        for event in events {
            let channel = self.channel(&event.task_id);
            channel.write(async { Ok(vec![event]) }).await?;
        }
        Ok(count)
    }
    /// Fails a task without a sign of life for so long; these events come before the completion.
    ///
    /// # Errors
    /// As the store.
    pub(super) async fn close_stale(
        self: &Arc<Self>,
        id: &str,
        older_than: Duration,
        events: Vec<NewEvent>,
        body: Value,
    ) -> Result<(), StoreError> {
        self.channel(id).write(self.store.close_stale(id, older_than, events, body)).await
    }
    /// Publishes events of a task that another process stored, if anybody listens here.
    ///
    /// # Errors
    /// The store can't be read.
    pub(super) async fn catch_up(self: &Arc<Self>, id: &str) -> Result<(), StoreError> {
        let listeners = lock(&self.channels).get(id).map_or(0, |channel| channel.live.receiver_count());
        if listeners == 0 {
            return Ok(());
        }
        let channel = self.channel(id);
        let mut published = channel.channel.published.lock().await;
        channel.publish_stored(&mut published).await
    }
    /// As [`EventLog::catch_up`], for every task that somebody listens to, as far as the store has news of it.
    ///
    /// # Errors
    /// The store can't be read.
    pub(super) async fn catch_up_all(self: &Arc<Self>) -> Result<(), StoreError> {
        let watched: Vec<(TaskId, Arc<Channel>)> = lock(&self.channels)
            .iter()
            .filter(|(_, channel)| channel.live.receiver_count() > 0)
            .map(|(id, channel)| (id.clone(), Arc::clone(channel)))
            .collect();
        if watched.is_empty() {
            return Ok(());
        }
        let ids: Vec<TaskId> = watched.iter().map(|(id, _)| id.clone()).collect();
        let newest: HashMap<TaskId, i64> = self.store.newest_events(&ids).await?.into_iter().collect();
        for (id, channel) in watched {
            let Some(newest) = newest.get(&id) else { continue };
            // Whoever holds the lock is about to publish.
            let is_behind =
                channel.published.try_lock().is_ok_and(|published| published.is_none_or(|last| last < *newest));
            if is_behind {
                self.catch_up(&id).await?;
            }
        }
        Ok(())
    }
    /// Ends all streams.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }
    /// The task's events with `id > after`: first those stored, in one batch, then those to come.
    pub(super) fn subscribe(self: &Arc<Self>, id: &str, after: Option<i64>) -> EventStream {
        self.listen(id, after, usize::MAX)
    }
    /// As [`EventLog::subscribe`], in batches of a bounded size.
    pub(super) fn follow(self: &Arc<Self>, id: &str, after: Option<i64>) -> EventStream {
        self.listen(id, after, PAGE)
    }
    fn listen(self: &Arc<Self>, id: &str, after: Option<i64>, page: usize) -> EventStream {
        let channel = self.channel(id);
        let live = channel.channel.live.subscribe();
        let listener = Listener { live, channel, last: after, page, started: false, behind: false };
        Box::pin(stream::unfold(listener, |mut listener| async move {
            let batch = listener.next().await?;
            Some((batch, listener))
        }))
    }
}

/// One subscription. It listens before it reads the store, so nothing is missed; `last` keeps what both have from
/// being given twice.
struct Listener {
    live: broadcast::Receiver<Arc<Vec<TaskEvent>>>,
    channel: ChannelRef,
    last: Option<i64>,
    /// How many stored events are given at once.
    page: usize,
    started: bool,
    /// The store has more than was given.
    behind: bool,
}

impl Listener {
    /// The next batch, never empty; `None` when the service shuts down.
    async fn next(&mut self) -> Option<Result<Vec<TaskEvent>, StoreError>> {
        let closed = self.channel.log.closed.clone();
        if !self.started {
            self.started = true;
            // Completion events come whatever `after` says, here and only here: a client that asks again after the end
            // learns that it was the end.
            match self.channel.begin(self.last).await {
                Ok((mut events, known)) => {
                    self.behind = events.len() > self.page;
                    events.truncate(self.page);
                    if self.behind {
                        self.advance(&events);
                    } else {
                        self.last = known;
                    }
                    if !events.is_empty() {
                        return Some(Ok(events));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
        loop {
            if self.behind {
                let after = self.last.unwrap_or(0);
                let page = self.page.min(PAGE);
                let events = match self.channel.log.store.events_after(&self.channel.id, after, page).await {
                    Ok(events) => events,
                    Err(error) => return Some(Err(error)),
                };
                self.behind = events.len() == page;
                if !events.is_empty() {
                    self.advance(&events);
                    return Some(Ok(events));
                }
            }
            let events = tokio::select! {
                biased;
                received = self.live.recv() => match received {
                    Ok(events) => events.iter().filter(|event| self.is_new(event)).cloned().collect::<Vec<_>>(),
                    Err(RecvError::Lagged(_)) => {
                        self.behind = true;
                        continue;
                    }
                    Err(RecvError::Closed) => return None,
                },
                () = closed.cancelled() => return None,
            };
            if !events.is_empty() {
                self.advance(&events);
                return Some(Ok(events));
            }
        }
    }
    fn is_new(&self, event: &TaskEvent) -> bool {
        self.last.is_none_or(|last| event.id > last)
    }
    fn advance(&mut self, events: &[TaskEvent]) {
        self.last = events.iter().map(|event| event.id).chain(self.last).max();
    }
}

/// A log event to be stored.
pub(super) fn log_event(body: Value) -> NewEvent {
    NewEvent { kind: EventType::Log, body }
}
