//! The controllers: what they do with claims, composite and composed resources.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    Behaviour, SECRET_MARK, Script,
    crd::{Definition, plural},
    locked,
};
use crate::{Result, kubernetes::Cluster};

const CLAIM_FINALIZER: &str = "finalizer.apiextensions.crossplane.io";
const COMPOSITE_FINALIZER: &str = "composite.apiextensions.crossplane.io";
const MANAGED_FINALIZER: &str = "finalizer.managedresource.crossplane.io";

/// A kind of a composed resource.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) is_namespaced: bool,
}

impl Kind {
    /// Managed resources of Crossplane 1 are cluster-wide, those of Crossplane 2 namespaced.
    pub(super) fn of(base: &Value, is_legacy: bool) -> Self {
        let api_version = base["apiVersion"].as_str().unwrap_or_default().to_string();
        let is_native = !api_version.contains('/');
        Self {
            kind: base["kind"].as_str().unwrap_or_default().to_string(),
            is_namespaced: is_native || !is_legacy,
            api_version,
        }
    }
    /// Kinds of Kubernetes itself have no provider that says how they are.
    fn is_managed(&self) -> bool {
        self.api_version.contains('/')
    }
    fn path(&self, namespace: Option<&str>, name: &str) -> String {
        path(&self.api_version, &plural(&self.kind), namespace.filter(|_| self.is_namespaced), name)
    }
}

/// The path of an object, or of a collection where `name` is empty.
fn path(api_version: &str, plural: &str, namespace: Option<&str>, name: &str) -> String {
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let name = if name.is_empty() { String::new() } else { format!("/{name}") };
    format!("/{root}/{api_version}{namespace}/{plural}{name}")
}

/// Name and base of what a Composition lists, of either mode.
pub(super) fn resources(composition: &Value) -> Vec<(String, Value)> {
    let spec = &composition["spec"];
    let inline = spec["resources"].as_array().into_iter().flatten();
    let piped = spec["pipeline"].as_array().into_iter().flatten();
    inline
        .chain(piped.filter_map(|step| step["input"]["resources"].as_array()).flatten())
        .map(|resource| (resource["name"].as_str().unwrap_or_default().to_string(), resource["base"].clone()))
        .collect()
}

/// Tells in the XRD's status that its kinds are served.
pub(super) async fn offer(cluster: &Cluster, path: &str, has_claim: bool) -> Result<()> {
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now()});
    let mut conditions = vec![condition("Established", "WatchingCompositeResource")];
    if has_claim {
        conditions.push(condition("Offered", "WatchingCompositeResourceClaim"));
    }
    cluster.patch(&format!("{path}/status"), &json!({"status": {"conditions": conditions}})).await?;
    Ok(())
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn text<'v>(object: &'v Value, pointer: &str) -> Option<&'v str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

fn namespace(object: &Value) -> Option<&str> {
    text(object, "/metadata/namespace")
}

fn is_deleted(object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_some()
}

fn is_paused(object: &Value) -> bool {
    object["metadata"]["annotations"]["crossplane.io/paused"] == "true"
}

fn is_ready(object: &Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// A condition to be written: type, status, reason, message.
type Condition = (&'static str, bool, &'static str, String);

fn synced() -> Condition {
    ("Synced", true, "ReconcileSuccess", String::new())
}

fn failed(message: impl Into<String>) -> Condition {
    ("Synced", false, "ReconcileError", message.into())
}

fn paused() -> Condition {
    let message = "Reconciliation (including deletion) is paused via the pause annotation";
    ("Synced", false, "ReconcilePaused", message.to_string())
}

fn available() -> Condition {
    ("Ready", true, "Available", String::new())
}

/// The controllers of one player.
pub(super) struct State {
    cluster: Arc<Cluster>,
    script: Arc<Script>,
    /// Composed resources whose owner is gone: path to name in the Composition. The server has no garbage collector.
    orphans: BTreeMap<String, String>,
}

impl State {
    pub(super) fn new(cluster: Arc<Cluster>, script: Arc<Script>) -> Self {
        Self { cluster, script, orphans: BTreeMap::new() }
    }

    /// One look of all controllers.
    pub(super) async fn round(&mut self) -> Result<()> {
        let definitions = locked(&self.script.definitions).clone();
        for definition in &definitions {
            if let Some(claim) = &definition.claim {
                for object in self.list(&path(&definition.api_version(), &claim.plural, None, "")).await? {
                    // One that fails must not stop the others.
                    let _ = self.claim(definition, &object).await;
                }
            }
            let plural = &definition.composite.plural;
            for object in self.list(&path(&definition.api_version(), plural, None, "")).await? {
                let _ = self.composite(definition, &object).await;
            }
        }
        let orphans: Vec<(String, String)> =
            self.orphans.iter().map(|(path, resource)| (path.clone(), resource.clone())).collect();
        for (path, resource) in orphans {
            match self.cluster.get(&path).await? {
                Some(object) => self.managed(&path, &resource, &object).await?,
                None => {
                    self.orphans.remove(&path);
                }
            }
        }
        Ok(())
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.cluster.get(path).await?.unwrap_or_default();
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    async fn claim(&self, definition: &Definition, claim: &Value) -> Result<()> {
        let Some(names) = &definition.claim else { return Ok(()) };
        let at = path(&definition.api_version(), &names.plural, namespace(claim), name(claim));
        if is_paused(claim) {
            return self.tell(&at, claim, &[paused()]).await;
        }
        let composite_path = |name: &str| path(&definition.api_version(), &definition.composite.plural, None, name);
        if is_deleted(claim) {
            if let Some(composite) = text(claim, "/spec/resourceRef/name") {
                self.cluster.delete(&composite_path(composite)).await?;
            }
            return self.let_go(&at).await;
        }
        self.hold(&at, claim, CLAIM_FINALIZER).await?;
        let Some(composite_name) = text(claim, "/spec/resourceRef/name") else {
            let suffix: String = uuid::Uuid::new_v4().simple().to_string().chars().take(5).collect();
            let composite_name = format!("{}-{suffix}", name(claim));
            let reference = json!({
                "apiVersion": definition.api_version(), "kind": definition.composite.kind, "name": composite_name,
            });
            self.cluster.patch(&at, &json!({"spec": {"resourceRef": reference}})).await?;
            return Ok(());
        };
        let Some(composite) = self.cluster.get(&composite_path(composite_name)).await? else {
            let object = composite_of(definition, claim, composite_name);
            self.cluster.create(&composite_path(""), &object).await?;
            return self.tell(&at, claim, &[synced()]).await;
        };
        let wanted = composite_of(definition, claim, composite_name);
        let fields = wanted["spec"].as_object().cloned().unwrap_or_default();
        if fields.iter().any(|(field, value)| composite["spec"].get(field) != Some(value)) {
            self.cluster.patch(&composite_path(composite_name), &json!({"spec": fields})).await?;
            return Ok(());
        }
        if !is_ready(&composite) {
            let waiting = "Claim is waiting for composite resource to become Ready".to_string();
            return self.tell(&at, claim, &[synced(), ("Ready", false, "Waiting", waiting)]).await;
        }
        if let Some(secret) = text(claim, "/spec/writeConnectionSecretToRef/name") {
            self.publish(definition, claim, secret).await?;
        }
        self.tell(&at, claim, &[synced(), available()]).await
    }

    /// The connection secret of a claim.
    async fn publish(&self, definition: &Definition, claim: &Value, secret: &str) -> Result<()> {
        let place = path("v1", "secrets", namespace(claim), secret);
        if self.cluster.get(&place).await?.is_some() {
            return Ok(());
        }
        let data: BTreeMap<&str, String> = definition
            .secret_keys
            .iter()
            .map(|key| (key.as_str(), format!("{SECRET_MARK}{}", uuid::Uuid::new_v4().simple())))
            .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "connection.crossplane.io/v1alpha1",
            "metadata": {"name": secret}, "stringData": data,
        });
        self.cluster.create(&path("v1", "secrets", namespace(claim), ""), &object).await?;
        Ok(())
    }

    async fn composite(&mut self, definition: &Definition, composite: &Value) -> Result<()> {
        let at = path(&definition.api_version(), &definition.composite.plural, namespace(composite), name(composite));
        if is_paused(composite) {
            return self.tell(&at, composite, &[paused()]).await;
        }
        let place = if definition.is_legacy { "/spec" } else { "/spec/crossplane" };
        if is_deleted(composite) {
            self.release(composite, definition, place).await?;
            return self.let_go(&at).await;
        }
        self.hold(&at, composite, COMPOSITE_FINALIZER).await?;
        let composition = match self.select(definition, composite, place) {
            Ok(composition) => composition,
            Err(message) => return self.tell(&at, composite, &[failed(message)]).await,
        };
        let composing_fails = locked(&self.script.composing_fails).clone();
        if let Some(message) = composing_fails {
            return self.tell(&at, composite, &[failed(format!("cannot compose resources: {message}"))]).await;
        }
        let resources = resources(&composition);
        let references: Vec<Value> = resources
            .iter()
            .map(|(resource, base)| {
                let name = format!("{}-{resource}", name(composite));
                json!({"apiVersion": base["apiVersion"], "kind": base["kind"], "name": name})
            })
            .collect();
        let mut known = composite.pointer(&format!("{place}/resourceRefs")).cloned().unwrap_or_default();
        for reference in known.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            reference.remove("namespace");
        }
        if known != Value::Array(references.clone()) {
            let machinery = json!({
                "compositionRef": {"name": composition["metadata"]["name"]},
                "resourceRefs": references,
            });
            let spec = if definition.is_legacy { machinery } else { json!({"crossplane": machinery}) };
            self.cluster.patch(&at, &json!({"spec": spec})).await?;
            return Ok(());
        }
        let mut unready = Vec::new();
        for (resource, base) in &resources {
            let kind = Kind::of(base, definition.is_legacy);
            let composed = format!("{}-{resource}", name(composite));
            // What is namespaced in Crossplane 1 (a ConfigMap) has its namespace from a patch; here it has the claim's.
            let inside =
                namespace(composite).or_else(|| text(composite, "/spec/claimRef/namespace")).or(Some("default"));
            let place = kind.path(inside, &composed);
            match self.cluster.get(&place).await? {
                None => {
                    self.compose(&kind, base, &composed, inside, &place).await?;
                    unready.push(resource.as_str());
                }
                Some(_) if !kind.is_managed() => {}
                Some(object) => {
                    if !is_ready(&object) {
                        unready.push(resource.as_str());
                    }
                    self.managed(&place, resource, &object).await?;
                }
            }
        }
        let ready = if unready.is_empty() {
            available()
        } else {
            ("Ready", false, "Creating", format!("Unready resources: {}", unready.join(", ")))
        };
        self.tell(&at, composite, &[synced(), ready]).await
    }

    /// The Composition of a composite resource, or Crossplane's words for that there is none.
    fn select(&self, definition: &Definition, composite: &Value, place: &str) -> Result<Value, String> {
        let compositions = locked(&self.script.compositions);
        let mut fitting = compositions.iter().filter(|composition| {
            composition["spec"]["compositeTypeRef"]["kind"] == definition.composite.kind.as_str()
                && composition["spec"]["compositeTypeRef"]["apiVersion"] == definition.api_version()
        });
        if let Some(wanted) = text(composite, &format!("{place}/compositionRef/name")) {
            return fitting.find(|composition| name(composition) == wanted).cloned().ok_or_else(|| {
                format!(
                    "cannot select Composition: cannot get Composition: \
                     compositions.apiextensions.crossplane.io \"{wanted}\" not found"
                )
            });
        }
        let labels = composite.pointer(&format!("{place}/compositionSelector/matchLabels")).and_then(Value::as_object);
        fitting
            .find(|composition| {
                let theirs = &composition["metadata"]["labels"];
                labels.into_iter().flatten().all(|(label, value)| theirs.get(label) == Some(value))
            })
            .cloned()
            .ok_or_else(|| "cannot select Composition: no compatible Compositions found".to_string())
    }

    async fn compose(&self, kind: &Kind, base: &Value, name: &str, namespace: Option<&str>, place: &str) -> Result<()> {
        let mut object = base.clone();
        object["metadata"] = json!({"name": name});
        if kind.is_namespaced {
            object["metadata"]["namespace"] = namespace.into();
        }
        if kind.is_managed() {
            object["metadata"]["finalizers"] = json!([MANAGED_FINALIZER]);
        }
        let collection = place.rsplit_once('/').map_or(place, |(collection, _)| collection);
        self.cluster.create(collection, &object).await?;
        Ok(())
    }

    /// What the provider does with a managed resource: one step a round.
    async fn managed(&self, at: &str, resource: &str, object: &Value) -> Result<()> {
        let behaviour = locked(&self.script.behaviours).get(resource).cloned().unwrap_or_default();
        let creating: Condition = ("Ready", false, "Creating", String::new());
        if let Behaviour::Failing(message) = behaviour {
            let (what, ready) = if is_deleted(object) {
                ("delete failed", ("Ready", false, "Deleting", String::new()))
            } else {
                ("create failed", creating)
            };
            return self.tell(at, object, &[failed(format!("{what}: {message}")), ready]).await;
        }
        if is_deleted(object) {
            return self.let_go(at).await;
        }
        let has_status = object.pointer("/status/conditions").is_some();
        let ready = if has_status && behaviour == Behaviour::Ready { available() } else { creating };
        self.tell(at, object, &[synced(), ready]).await
    }

    /// Deletes what a composite resource is made of, as the garbage collector would.
    async fn release(&mut self, composite: &Value, definition: &Definition, place: &str) -> Result<()> {
        let references = composite.pointer(&format!("{place}/resourceRefs")).and_then(Value::as_array).cloned();
        let inside = namespace(composite).or_else(|| text(composite, "/spec/claimRef/namespace")).or(Some("default"));
        for reference in references.unwrap_or_default() {
            let kind = Kind::of(&reference, definition.is_legacy);
            let composed = text(&reference, "/name").unwrap_or_default();
            let resource = composed.strip_prefix(&format!("{}-", name(composite))).unwrap_or(composed);
            let at = kind.path(inside, composed);
            self.cluster.delete(&at).await?;
            self.orphans.insert(at, resource.to_string());
        }
        Ok(())
    }

    async fn hold(&self, at: &str, object: &Value, finalizer: &str) -> Result<()> {
        let held = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        if held.is_some_and(|held| held.iter().any(|one| one == finalizer)) {
            return Ok(());
        }
        self.cluster.patch(at, &json!({"metadata": {"finalizers": [finalizer]}})).await?;
        Ok(())
    }

    async fn let_go(&self, at: &str) -> Result<()> {
        self.cluster.patch(at, &json!({"metadata": {"finalizers": null}})).await?;
        Ok(())
    }

    /// Writes conditions, unless they are there.
    async fn tell(&self, at: &str, object: &Value, conditions: &[Condition]) -> Result<()> {
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        let known = object.pointer("/status/conditions").and_then(Value::as_array);
        let find = |kind: &str| known.into_iter().flatten().find(|condition| condition["type"] == kind);
        let is_same = |(kind, is_true, reason, message): &Condition| {
            find(kind).is_some_and(|condition| {
                condition["status"] == status(*is_true)
                    && condition["reason"] == *reason
                    && condition["message"].as_str().unwrap_or_default() == message
                    && condition["observedGeneration"] == generation
            })
        };
        if conditions.iter().all(is_same) {
            return Ok(());
        }
        let mut written: Vec<Value> = conditions
            .iter()
            .map(|(kind, is_true, reason, message)| {
                let mut condition = json!({
                    "type": kind, "status": status(*is_true), "reason": reason,
                    "lastTransitionTime": now(), "observedGeneration": generation,
                });
                // The server takes an empty text in such a list for null, and refuses it.
                if !message.is_empty() {
                    condition["message"] = message.as_str().into();
                }
                condition
            })
            .collect();
        // Those that are not touched stay.
        written.extend(
            known
                .into_iter()
                .flatten()
                .filter(|condition| !conditions.iter().any(|(kind, ..)| condition["type"] == *kind))
                .cloned(),
        );
        self.cluster.patch(&format!("{at}/status"), &json!({"status": {"conditions": written}})).await?;
        Ok(())
    }
}

fn status(is_true: bool) -> &'static str {
    if is_true { "True" } else { "False" }
}

/// The composite resource of a claim.
fn composite_of(definition: &Definition, claim: &Value, composite_name: &str) -> Value {
    let mut spec = claim["spec"].as_object().cloned().unwrap_or_default();
    for own in ["resourceRef", "writeConnectionSecretToRef", "compositeDeletePolicy"] {
        spec.remove(own);
    }
    let (claim_name, claim_namespace) = (name(claim), namespace(claim).unwrap_or_default());
    spec.insert(
        "claimRef".into(),
        json!({
            "apiVersion": claim["apiVersion"], "kind": claim["kind"],
            "namespace": claim_namespace, "name": claim_name,
        }),
    );
    let mut annotations = json!({});
    if let Some(external) = claim["metadata"]["annotations"].get("crossplane.io/external-name") {
        annotations["crossplane.io/external-name"] = external.clone();
    }
    json!({
        "apiVersion": definition.api_version(), "kind": definition.composite.kind,
        "metadata": {
            "name": composite_name,
            "annotations": annotations,
            "labels": {"crossplane.io/claim-name": claim_name, "crossplane.io/claim-namespace": claim_namespace},
        },
        "spec": spec,
    })
}
