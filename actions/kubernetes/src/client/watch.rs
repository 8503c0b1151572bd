//! Following an object through its changes, and through the cluster's absences.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use kube::{
    api::DynamicObject,
    runtime::watcher::{self, Event},
};
use tokio::time::{Instant, sleep, timeout_at};
use understudy_sdk::{ActionContext, ActionError, ActionLogger};

use super::{
    Cluster, KubeError, Target,
    clusters::Connection,
    error::{Request, is_transient, is_unauthorized},
};

/// The longest pause between two tries to reach a cluster that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that has just come back may not know its users and roles yet.
const SETTLING: Duration = Duration::from_secs(30);

/// What the state of an object means to a wait.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Not yet; the text is the state, logged when it changes.
    Pending(String),
    /// The wait is over.
    Done,
    /// It won't come any more.
    Failed(ActionError),
}

/// The states of one object, as they come. An outage of the cluster is logged once and waited out. Needs the verbs `list`
/// and `watch` (a rule with `resourceNames` will do).
pub(crate) struct Watch {
    cluster: Arc<Cluster>,
    target: Target,
    log: ActionLogger,
    stream: Option<(BoxStream<'static, watcher::Result<Event<DynamicObject>>>, Connection)>,
    listed: Option<DynamicObject>,
    /// Since when the cluster is away, and why.
    lost: Option<(Instant, String)>,
    settled_at: Option<Instant>,
    pause: Duration,
    renewals: u32,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("target", &self.target).field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Watch {
    /// The next state: first the one there is, then each change. `None`: there is no such object (any more).
    ///
    /// Cancel-safe: dropped and called again, it goes on.
    ///
    /// # Errors
    /// The cluster refuses the credentials or the watch, for good.
    pub(crate) async fn next(&mut self) -> Result<Option<DynamicObject>, KubeError> {
        loop {
            if self.stream.is_none() {
                let connection = self.cluster.connection().await?;
                let config = watcher::Config::default().fields(&format!("metadata.name={}", self.target.name));
                let api = self.target.api(connection.client.clone());
                self.stream = Some((watcher::watcher(api, config).boxed(), connection));
            }
            let Some((stream, connection)) = &mut self.stream else { continue };
            match stream.next().await {
                Some(Ok(event)) => {
                    self.reached();
                    match event {
                        Event::Init => self.listed = None,
                        Event::InitApply(object) => self.listed = Some(object),
                        Event::InitDone => return Ok(self.listed.take()),
                        Event::Apply(object) => return Ok(Some(object)),
                        Event::Delete(_) => return Ok(None),
                    }
                }
                Some(Err(error)) => {
                    let connection = connection.clone();
                    self.failed(error, &connection).await?;
                }
                None => self.stream = None,
            }
        }
    }

    /// Why and since when the cluster is away, if it is.
    pub(crate) fn outage(&self) -> Option<String> {
        self.lost.as_ref().map(|(since, reason)| format!("away for {} s: {reason}", since.elapsed().as_secs()))
    }

    fn reached(&mut self) {
        self.pause = Duration::ZERO;
        self.renewals = 0;
        if let Some((since, _)) = self.lost.take() {
            self.settled_at = None;
            self.log.info(format!(
                "the cluster can be reached again after {} s; still waiting for {}",
                since.elapsed().as_secs().max(1),
                self.target
            ));
        }
    }

    async fn failed(&mut self, error: watcher::Error, connection: &Connection) -> Result<(), KubeError> {
        let error = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error,
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            watcher::Error::NoResourceVersion => {
                return Err(KubeError::Invalid(format!("{} can't be watched: its kind has no watch", self.target)));
            }
        };
        let is_settling = self.lost.is_some() && self.settled_at.is_none_or(|at| at.elapsed() < SETTLING);
        if is_unauthorized(&error) && self.renewals == 0 {
            self.renewals += 1;
            self.stream = None;
            self.cluster.renew(connection).await?;
            return Ok(());
        }
        let words = self.target.request(connection, "watch").fail(&error);
        if !is_transient(&error) {
            if !is_settling {
                return Err(words);
            }
            self.settled_at.get_or_insert_with(Instant::now);
        } else if is_expired(&error) {
            // The server has forgotten where the watch was; it begins again with a list.
            return Ok(());
        } else {
            self.settled_at = None;
        }
        if self.lost.is_none() {
            self.log.warn(format!("{words}; still waiting for {}", self.target));
        }
        let since = self.lost.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.lost = Some((since, words.to_string()));
        self.pause = (self.pause * 2).clamp(Duration::from_millis(500), LONGEST_PAUSE);
        sleep(self.pause).await;
        Ok(())
    }
}

fn is_expired(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

/// How long a wait may take in all, from the moment it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// As the step has it.
    pub(crate) limit: Duration,
    /// When it ends.
    pub(crate) deadline: Instant,
}

impl Patience {
    /// From now on.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, deadline: Instant::now() + limit }
    }
}

impl Cluster {
    /// Asks what a wait has to know before it begins, e.g. what the kind is called: an outage of the cluster is logged once
    /// and waited out, without a worker slot.
    ///
    /// # Errors
    /// What `ask` fails with while the cluster answers, or at the end of the wait.
    pub(crate) async fn when_reachable<T, E, Fut>(
        &self,
        ctx: &ActionContext,
        patience: Patience,
        ask: impl Fn() -> Fut + Send + Sync,
    ) -> Result<T, ActionError>
    where
        T: Send,
        E: std::fmt::Display + Into<ActionError> + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let mut error = match ask().await {
            Ok(value) => return Ok(value),
            Err(error) if self.is_away().await => error,
            Err(error) => return Err(error.into()),
        };
        ctx.log.warn(format!("{error}; the wait begins when the cluster is back"));
        let since = Instant::now();
        let asked = async {
            let mut settled_at = None;
            let mut pause = Duration::from_millis(500);
            loop {
                if Instant::now() + pause >= patience.deadline {
                    return Err(error);
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                error = match ask().await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                if self.is_away().await {
                    settled_at = None;
                } else if settled_at.get_or_insert_with(Instant::now).elapsed() >= SETTLING {
                    return Err(error);
                }
            }
        };
        let value = ctx.waiting(asked).await?.map_err(Into::into)?;
        ctx.log.info(format!("the cluster can be reached again after {} s", since.elapsed().as_secs().max(1)));
        Ok(value)
    }

    /// Whether the cluster gives no answer, or none of its own.
    async fn is_away(&self) -> bool {
        let request = |connection: &Connection| Request::about("the cluster's version", connection);
        let answer = self.call(request, |client| async move { client.apiserver_version().await }).await;
        answer.is_err_and(|error| error.is_passing())
    }

    /// Follows an object. Nothing is sent before the first [`Watch::next`].
    pub(crate) fn watch(self: &Arc<Self>, target: &Target, log: &ActionLogger) -> Watch {
        Watch {
            cluster: Arc::clone(self),
            target: target.clone(),
            log: log.clone(),
            stream: None,
            listed: None,
            lost: None,
            settled_at: None,
            pause: Duration::ZERO,
            renewals: 0,
        }
    }

    /// Waits until an object is as wanted, without a worker slot; ends on cancel. `wanted` says in the timeout's message
    /// what was waited for (`to be Ready`). Gives the state that ended the wait; at once when it is there already.
    ///
    /// # Errors
    /// The judge's failure, the timeout with the last state, or the cluster refuses for good.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        ctx: &ActionContext,
        target: &Target,
        patience: Patience,
        wanted: &str,
        mut judge: impl FnMut(Option<&DynamicObject>) -> Progress + Send,
    ) -> Result<Option<DynamicObject>, ActionError> {
        let mut last = String::new();
        let mut judge = |object: Option<&DynamicObject>| -> Option<Result<(), ActionError>> {
            match judge(object) {
                Progress::Done => Some(Ok(())),
                Progress::Failed(error) => Some(Err(error)),
                Progress::Pending(state) => {
                    if state != last {
                        ctx.log.info(format!("{target}: {state}"));
                        last = state;
                    }
                    None
                }
            }
        };
        // What is there already needs no wait, and keeps its worker slot.
        match self.get(target).await {
            Ok(object) => {
                if let Some(result) = judge(object.as_ref()) {
                    return result.map(|()| object);
                }
            }
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
        let mut watch = self.watch(target, &ctx.log);
        let followed = async {
            loop {
                let object = watch.next().await?;
                if let Some(result) = judge(object.as_ref()) {
                    return result.map(|()| object);
                }
            }
        };
        let outcome = ctx.waiting(within(patience.deadline, followed)).await?;
        outcome.unwrap_or_else(|| {
            let state = match (watch.outage(), last.is_empty()) {
                (Some(outage), _) => format!("the cluster is {outage}"),
                (None, false) => format!("last state: {last}"),
                (None, true) => "nothing was seen of it".to_string(),
            };
            Err(KubeError::Timeout(format!(
                "{target} was waited for {} s {wanted}, in vain; {state}. A longer timeout waits longer; a retry of the \
                 task goes on waiting",
                patience.limit.as_secs()
            ))
            .into())
        })
    }
}

/// `None` when the deadline passes first.
async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, pin!(work)).await.ok()
}
