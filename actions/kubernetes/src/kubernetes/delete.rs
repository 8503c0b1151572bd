//! `kubernetes:delete`

use std::sync::Arc;

use async_trait::async_trait;
use kube::api::PropagationPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration, schema};

use super::inputs::{ManifestInput, ObjectOutput, Source, examples};
use crate::client::{Cluster, Clusters, DeleteOptions, KubeError, Patience, Progress, Target, as_value};

/// How long is waited where the step doesn't say.
const TIMEOUT: HumanDuration = HumanDuration::from_secs(5 * 60);

/// What happens to what a deleted object owns.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Propagation {
    // It is deleted afterwards.
    Background,
    // It is deleted first.
    Foreground,
    // It stays.
    Orphan,
}

/// The input of `kubernetes:delete`: what to delete by kind and name, or as a manifest.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// Group and version, e.g. `apps/v1`.
    api_version: Option<String>,
    /// Kind.
    kind: Option<String>,
    /// Name.
    name: Option<String>,
    /// Namespace; the cluster's default one when left out. Not used where the kind is cluster-wide.
    namespace: Option<String>,
    /// The objects to delete: YAML or JSON, an object, or a list of objects.
    manifest: Option<ManifestInput>,
    /// The objects to delete, as a text.
    manifest_string: Option<String>,
    /// The objects to delete, as an object or a list of objects.
    manifest_object: Option<ManifestInput>,
    /// The objects to delete, as a file of the workspace.
    manifest_path: Option<String>,
    /// Accepted for templates of older actions; the cluster says which kinds live in namespaces.
    #[allow(dead_code)]
    namespaced: Option<bool>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
    /// What happens to what the objects own; the kind's default when left out.
    propagation_policy: Option<Propagation>,
    /// Whether to wait until the objects are gone.
    wait: Option<bool>,
    /// How long to wait; 5 minutes when left out.
    timeout: Option<HumanDuration>,
}

/// The output of `kubernetes:delete`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// Whether there was anything to delete.
    deleted: bool,
    /// The objects that were there.
    objects: Vec<ObjectOutput>,
}

/// Deletes objects.
#[derive(Debug)]
pub(crate) struct Delete {
    clusters: Clusters,
}

impl Delete {
    pub(crate) fn new(clusters: &Clusters) -> Self {
        Self { clusters: clusters.clone() }
    }
}

#[async_trait]
impl Action for Delete {
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "kubernetes:delete"
    }
    fn aliases(&self) -> &'static [&'static str] {
        &["kube:delete"]
    }
    fn description(&self) -> &'static str {
        "Deletes objects of a Kubernetes cluster, the last of a manifest first, and waits until they are gone. What is not \
         there is no error. Needs the RBAC verb delete of each kind, and get, list and watch for waiting."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "By kind and name",
                "steps:\n  - id: delete\n    name: Remove\n    action: kubernetes:delete\n    input:\n      apiVersion: apps/v1\n      kind: Deployment\n      name: web\n      namespace: team-a\n",
            ),
            (
                "All of a file, without waiting",
                "steps:\n  - id: delete\n    name: Remove\n    action: kubernetes:delete\n    input:\n      manifestPath: deploy/all.yaml\n      wait: false\n",
            ),
        ])
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<Output>())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let source = Source {
            manifest: input.manifest,
            text: input.manifest_string,
            object: input.manifest_object,
            path: input.manifest_path,
        };
        let cluster = self.clusters.get(input.cluster_name.as_deref())?;
        let mut targets = Vec::new();
        match (input.api_version, input.kind, input.name, source.is_none()) {
            (Some(api_version), Some(kind), Some(name), true) => {
                let kind = cluster.kind(&api_version, &kind).await?;
                targets.push(cluster.target(&kind, input.namespace.as_deref(), &name).await?);
            }
            (None, None, None, false) => {
                for manifest in source.read(ctx)? {
                    if manifest.name().is_none() {
                        return Err(ActionError::input(format!("{}: metadata.name is missing", manifest.origin())));
                    }
                    match cluster.prepare(&manifest, input.namespace.as_deref()).await {
                        Ok((target, _)) => targets.push(target),
                        // Without its kind there can't be an object.
                        Err(error @ KubeError::UnknownKind { .. }) => {
                            ctx.log.info(format!("nothing to delete: {error}"));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            _ => {
                return Err(ActionError::input(
                    "give apiVersion, kind and name of what to delete, or one of manifest, manifestString, manifestObject \
                     and manifestPath",
                ));
            }
        }
        let options = DeleteOptions {
            propagation: input.propagation_policy.map(|policy| match policy {
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
            dry_run: ctx.is_dry_run,
        };
        let wait = input.wait.unwrap_or(true) && !ctx.is_dry_run;
        let timeout = input.timeout.unwrap_or(TIMEOUT);
        let mut objects = Vec::new();
        for target in targets.iter().rev() {
            ctx.check_cancelled()?;
            if !cluster.delete(target, &options).await? {
                ctx.log.info(format!("{target} is not there: nothing to delete"));
                continue;
            }
            objects.push(ObjectOutput::of(target, None, None));
            if wait {
                gone(ctx, &cluster, target, timeout).await?;
                ctx.log.info(format!("{target} deleted"));
            } else {
                let how = if ctx.is_dry_run { "would be deleted (checked by the cluster)" } else { "is being deleted" };
                ctx.log.info(format!("{target} {how}"));
            }
        }
        Ok(Output { deleted: !objects.is_empty(), objects })
    }
}

async fn gone(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    target: &Target,
    timeout: HumanDuration,
) -> Result<(), ActionError> {
    cluster
        .wait(ctx, target, Patience::new(timeout.get()), "to be gone", |object| match object {
            // Namespaces have their finalizers in the spec, and say what holds them up.
            Some(object) => {
                let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
                let text = if finalizers.is_empty() {
                    "is being deleted".to_string()
                } else {
                    format!("is being deleted; finalizers to be done: {}", finalizers.join(", "))
                };
                let value = as_value(object);
                let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
                let remaining = conditions.into_iter().flatten().find(|condition| {
                    condition["type"] == "NamespaceContentRemaining" && condition["status"] == "True"
                });
                match remaining.and_then(|condition| condition["message"].as_str()) {
                    Some(message) => Progress::Pending(format!("{text} ({message})")),
                    None => Progress::Pending(text),
                }
            }
            None => Progress::Done,
        })
        .await?;
    Ok(())
}
