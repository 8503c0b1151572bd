//! Waiting for a claim or composite resource, with an eye on all it is made of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};
use understudy_sdk::{ActionContext, ActionError, ActionLogger, HumanDuration};

use super::state::{Reference, State, references, state};
use crate::client::{Cluster, KubeError, Patience, Target};

/// What a resource is made of is looked at this often at first, and less often while nothing changes there.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A resource may be made of resources that are made of resources.
const DEEPEST: usize = 4;
/// The most resources that are looked at.
const MOST: usize = 100;
/// How many are asked for at the same time.
const AT_ONCE: usize = 8;
/// How long the last look before a failure may take.
const LAST_LOOK: Duration = Duration::from_secs(15);

/// Whether the object is there when the wait begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The object was just written: that it is missing is a failure.
    Written,
    /// Somebody else will write it.
    Expected,
}

/// Waits until the object is synced and ready, without a worker slot; gives it as it is then. State changes of it and of all
/// it is made of go to the log, once each.
///
/// # Errors
/// The timeout, with the messages of all that isn't ready; a state that doesn't pass by itself (deleted, paused); the
/// cluster's refusal.
pub(super) async fn until_ready(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    target: &Target,
    presence: Presence,
    patience: Patience,
) -> Result<Value, ActionError> {
    let mut tree = Tree::default();
    let mut wait = Wait { log: ctx.log.clone(), target: target.clone(), presence, last: None, object: None };
    match cluster.get(target).await {
        Ok(object) => {
            if wait.judge(object.as_ref().map(as_value))? {
                return wait.finished(cluster, &mut tree).await;
            }
        }
        // The watch waits for the cluster to come back.
        Err(error) if error.is_passing() => {}
        Err(error) => return Err(error.into()),
    }
    let Patience { limit, deadline } = patience;
    let mut watch = cluster.watch(target, &ctx.log);
    let followed = async {
        let mut pause = SHORTEST_PAUSE;
        let mut next_look = Instant::now();
        loop {
            tokio::select! {
                next = watch.next() => {
                    if wait.judge(next?.as_ref().map(as_value))? {
                        return Ok(());
                    }
                    // Something happens, so look soon; but not for each of many changes in a row.
                    pause = SHORTEST_PAUSE;
                    next_look = next_look.min(Instant::now() + Duration::from_millis(250));
                }
                () = sleep_until(next_look) => {
                    let changed = match &wait.object {
                        Some(object) => tree.look(cluster, object, &ctx.log, false).await,
                        None => false,
                    };
                    pause = if changed { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                    next_look = Instant::now() + pause;
                }
            }
        }
    };
    let outcome: Option<Result<(), ActionError>> =
        ctx.waiting(async { timeout_at(deadline, followed).await.ok() }).await?;
    match outcome {
        Some(Ok(())) => wait.finished(cluster, &mut tree).await,
        Some(Err(error)) => Err(error),
        None => {
            let outage = watch.outage();
            let mut text = format!("{target} was not ready within {}", HumanDuration::from(limit));
            match (&outage, &wait.last) {
                (Some(outage), _) => text.push_str(&format!("; the cluster is {outage}")),
                (None, Some(state)) => text.push_str(&format!(": {state}")),
                (None, None) => text.push_str(": there is no such object"),
            }
            if outage.is_none()
                && let Some(object) = &wait.object
            {
                // A cluster that hangs must not hold the failure up.
                let _ = timeout_at(Instant::now() + LAST_LOOK, tree.look(cluster, object, &ctx.log, true)).await;
            }
            for line in tree.unready() {
                text.push_str("\n  ");
                text.push_str(&line);
            }
            text.push_str("\nA retry of the task goes on waiting; a longer timeout waits longer");
            Err(ActionError::failed(text))
        }
    }
}

/// The object that is waited for.
struct Wait {
    log: ActionLogger,
    target: Target,
    presence: Presence,
    /// Its state when last seen, in words.
    last: Option<String>,
    object: Option<Value>,
}

impl Wait {
    /// Whether the wait is over.
    ///
    /// # Errors
    /// It won't become ready any more.
    fn judge(&mut self, object: Option<Value>) -> Result<bool, ActionError> {
        let Some(object) = object else {
            if self.object.is_some() || self.presence == Presence::Written {
                return Err(ActionError::conflict(format!("{} was deleted while it was waited for", self.target)));
            }
            self.tell("there is no such object yet".to_string(), false);
            return Ok(false);
        };
        let state = state(&object).unwrap_or(State::Unseen);
        self.object = Some(object);
        match &state {
            State::Ready => {
                self.log.info(format!("{} is synced and ready", self.target));
                Ok(true)
            }
            State::Deleting => Err(ActionError::conflict(format!(
                "{} is being deleted, so it won't become ready; run the step again when it is gone",
                self.target
            ))),
            State::Paused => Err(ActionError::conflict(format!(
                "{} is {}, so nothing is going to happen; remove the annotation and retry",
                self.target,
                state.describe()
            ))),
            State::Unseen | State::Waiting(_) | State::NotSynced(_) => {
                self.tell(state.describe(), matches!(state, State::NotSynced(_)));
                Ok(false)
            }
        }
    }

    fn tell(&mut self, state: String, is_warning: bool) {
        if self.last.as_ref() == Some(&state) {
            return;
        }
        let line = format!("{}: {state}", self.target);
        if is_warning {
            self.log.warn(line)
        } else {
            self.log.info(line)
        }
        self.last = Some(state);
    }

    /// What the resource is made of has become ready before it; the log says so.
    async fn finished(self, cluster: &Arc<Cluster>, tree: &mut Tree) -> Result<Value, ActionError> {
        let object = self.object.unwrap_or_default();
        let _ = timeout_at(Instant::now() + LAST_LOOK, tree.look(cluster, &object, &self.log, false)).await;
        Ok(object)
    }
}

/// What a resource is made of, as far as it was seen.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<Place, Node>,
    /// Kinds that can't be read, and were said to be.
    closed: Vec<(String, String)>,
}

/// Which object: the reference, with the namespace that it means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    reference: Reference,
    namespace: Option<String>,
}

#[derive(Debug, Default)]
struct Node {
    state: Option<State>,
    /// Whether it was there when last looked at.
    is_there: bool,
    /// Where it is: what it refers to without a namespace is there too.
    namespace: Option<String>,
    references: Vec<Reference>,
}

/// What asking for an object came to.
enum Seen {
    Object(Box<Value>),
    Missing,
    Closed(String),
    /// The cluster is away; the watch says so.
    Away,
}

impl Tree {
    /// Looks at what `root` is made of and logs what has changed; says whether anything has. What is ready is not looked at
    /// again unless `afresh`.
    pub(super) async fn look(
        &mut self,
        cluster: &Arc<Cluster>,
        root: &Value,
        log: &ActionLogger,
        afresh: bool,
    ) -> bool {
        let mut changed = false;
        let mut level = places(root);
        for _ in 0..DEEPEST {
            level.sort();
            level.dedup();
            let known = self.nodes.len();
            let mut room = MOST.saturating_sub(known);
            level.retain(|place| {
                let is_known = self.nodes.contains_key(place);
                room = room.saturating_sub(usize::from(!is_known && room > 0));
                is_known || room > 0
            });
            if level.is_empty() {
                break;
            }
            let to_ask: Vec<Place> = level
                .iter()
                .filter(|place| !self.is_closed(place))
                .filter(|place| afresh || self.nodes.get(place).is_none_or(|node| node.state != Some(State::Ready)))
                .cloned()
                .collect();
            let answers: Vec<(Place, Seen)> = stream::iter(to_ask)
                .map(|place| async move {
                    let seen = ask(cluster, &place).await;
                    (place, seen)
                })
                .buffered(AT_ONCE)
                .collect()
                .await;
            for (place, seen) in answers {
                changed |= self.note(place, seen, log);
            }
            level = level
                .iter()
                .filter_map(|place| self.nodes.get(place))
                .flat_map(|node| below(&node.references, node.namespace.as_deref()))
                .collect();
        }
        changed
    }

    fn is_closed(&self, place: &Place) -> bool {
        let Reference { api_version, kind, .. } = &place.reference;
        self.closed.iter().any(|(closed_version, closed_kind)| closed_version == api_version && closed_kind == kind)
    }

    fn note(&mut self, place: Place, seen: Seen, log: &ActionLogger) -> bool {
        let describe = place.reference.describe();
        match seen {
            Seen::Away => false,
            // A server that has just started refuses what it allowed before, until it has read its rules.
            Seen::Closed(_) if self.nodes.get(&place).is_some_and(|node| node.is_there) => false,
            Seen::Closed(why) => {
                if !self.is_closed(&place) {
                    let Reference { api_version, kind, .. } = place.reference;
                    log.info(format!("  {describe}: its state can't be shown: {why}"));
                    self.closed.push((api_version, kind));
                }
                false
            }
            Seen::Missing => {
                let node = self.nodes.entry(place).or_default();
                let changed = node.is_there;
                if changed {
                    log.warn(format!("  {describe}: is gone"));
                }
                node.is_there = false;
                node.state = None;
                changed
            }
            Seen::Object(object) => {
                let node = self.nodes.entry(place).or_default();
                node.references = references(&object);
                node.namespace = namespace_of(&object);
                let state = state(&object);
                let changed = !node.is_there || node.state != state;
                if changed {
                    match &state {
                        Some(state @ (State::NotSynced(_) | State::Paused)) => {
                            log.warn(format!("  {describe}: {}", state.describe()));
                        }
                        Some(state) => log.info(format!("  {describe}: {}", state.describe())),
                        None => log.info(format!("  {describe}: there")),
                    }
                }
                node.is_there = true;
                node.state = state;
                changed
            }
        }
    }

    /// A line for each resource that isn't ready.
    pub(super) fn unready(&self) -> Vec<String> {
        self.nodes
            .iter()
            .filter_map(|(place, node)| {
                let state = match (&node.state, node.is_there) {
                    (_, false) => "not there".to_string(),
                    (Some(State::Ready) | None, true) => return None,
                    (Some(state), true) => state.describe(),
                };
                Some(format!("{}: {state}", place.reference.describe()))
            })
            .collect()
    }

    /// The objects that were there when last looked at and may be asked for.
    async fn present(&self, cluster: &Arc<Cluster>) -> Vec<Target> {
        let mut targets = Vec::new();
        for (place, _) in self.nodes.iter().filter(|(_, node)| node.is_there) {
            if let Ok(target) = locate(cluster, place).await {
                targets.push(target);
            }
        }
        targets
    }
}

fn as_value(object: &kube::api::DynamicObject) -> Value {
    // Maps with text keys and plain values only.
    serde_json::to_value(object).unwrap_or_default()
}

fn namespace_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/namespace").and_then(Value::as_str).map(ToString::to_string)
}

fn places(object: &Value) -> Vec<Place> {
    below(&references(object), namespace_of(object).as_deref())
}

/// A reference without a namespace means the namespace of who refers, for kinds that live in one.
fn below(references: &[Reference], namespace: Option<&str>) -> Vec<Place> {
    references
        .iter()
        .map(|reference| Place {
            namespace: reference.namespace.clone().or_else(|| namespace.map(ToString::to_string)),
            reference: reference.clone(),
        })
        .collect()
}

async fn locate(cluster: &Arc<Cluster>, place: &Place) -> Result<Target, KubeError> {
    let Place { reference, namespace } = place;
    let kind = cluster.kind(&reference.api_version, &reference.kind).await?;
    let namespace = namespace.clone().filter(|_| kind.is_namespaced);
    if kind.is_namespaced && namespace.is_none() {
        return Err(KubeError::Input("the reference names no namespace".to_string()));
    }
    Ok(Target { kind, namespace, name: reference.name.clone() })
}

async fn ask(cluster: &Arc<Cluster>, place: &Place) -> Seen {
    let asked = async {
        let target = locate(cluster, place).await?;
        cluster.get(&target).await
    };
    match asked.await {
        Ok(Some(object)) => Seen::Object(Box::new(as_value(&object))),
        Ok(None) => Seen::Missing,
        Err(KubeError::Unreachable { .. } | KubeError::Unauthorized { .. } | KubeError::Api { .. }) => Seen::Away,
        Err(error) => Seen::Closed(error.to_string()),
    }
}

/// Waits until the objects that the tree saw are gone, and logs it once for each.
///
/// # Errors
/// The timeout, with what is still there and what it says.
pub(super) async fn until_gone(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    target: &Target,
    mut tree: Tree,
    limit: Duration,
) -> Result<(), ActionError> {
    let deadline = Instant::now() + limit;
    let mut watch = cluster.watch(target, &ctx.log);
    let mut left = tree.present(cluster).await;
    let mut last = None;
    let followed = async {
        while let Some(object) = watch.next().await? {
            // Its controller says why it can't be deleted.
            let object = as_value(&object);
            last = super::state::conditions(&object)
                .into_iter()
                .find(|condition| condition.kind == "Synced" && condition.status == "False")
                .map(|condition| condition.why());
        }
        ctx.log.info(format!("{target} is gone"));
        let mut pause = Duration::from_millis(500);
        loop {
            let mut still = Vec::new();
            for target in &left {
                match cluster.get(target).await {
                    Ok(None) => ctx.log.info(format!("  {target} is gone")),
                    Ok(Some(_)) | Err(KubeError::Unreachable { .. }) => still.push(target.clone()),
                    Err(error) => ctx.log.info(format!("  {target} can't be looked at: {error}")),
                }
            }
            left = still;
            if left.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let outcome: Option<Result<(), ActionError>> =
        ctx.waiting(async { timeout_at(deadline, followed).await.ok() }).await?;
    if let Some(result) = outcome {
        return result;
    }
    let mut text = format!("{target} and what it is made of were not gone within {}", HumanDuration::from(limit));
    if let Some(outage) = watch.outage() {
        text.push_str(&format!("; the cluster is {outage}"));
    } else {
        if let Some(last) = last {
            text.push_str(&format!(": {last}"));
        }
        if let Ok(Ok(Some(object))) = timeout_at(Instant::now() + LAST_LOOK, cluster.get(target)).await {
            let object = as_value(&object);
            let _ = timeout_at(Instant::now() + LAST_LOOK, tree.look(cluster, &object, &ctx.log, true)).await;
        }
        for target in &left {
            text.push_str(&format!("\n  {target} is still there"));
        }
        for line in tree.unready() {
            text.push_str("\n  ");
            text.push_str(&line);
        }
    }
    Err(ActionError::failed(text))
}
