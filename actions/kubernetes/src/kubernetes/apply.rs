//! `kubernetes:apply`

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, fingerprint, schema};

use super::inputs::{ManifestInput, ObjectOutput, Source, examples};
use crate::client::{
    ApplyOptions, Cluster, Clusters, FIELD_MANAGER, KubeError, Manifest, Outcome, Patience, Progress, Target, as_value,
};

/// How long a CRD may take until it can be used.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);

/// The input of `kubernetes:apply`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// What to apply: YAML or JSON with one document or several, an object, or a list of objects.
    manifest: Option<ManifestInput>,
    /// What to apply, as a text.
    manifest_string: Option<String>,
    /// What to apply, as an object or a list of objects.
    manifest_object: Option<ManifestInput>,
    /// What to apply, as a file of the workspace.
    manifest_path: Option<String>,
    /// Accepted for templates of older actions; the cluster says which kinds live in namespaces.
    namespaced: Option<bool>,
    /// The namespace of objects that name none; the cluster's default one when left out.
    namespace: Option<String>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
    /// Who manages the fields of the manifest; understudy when left out.
    field_manager: Option<String>,
    /// Whether fields that others manage are taken over; otherwise they are an error.
    #[serde(default)]
    force: bool,
}

/// The output of `kubernetes:apply`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// The first object.
    #[serde(flatten)]
    first: ObjectOutput,
    /// All objects, in the manifest's order.
    objects: Vec<ObjectOutput>,
}

/// Applies manifests.
#[derive(Debug)]
pub(crate) struct Apply {
    clusters: Clusters,
}

impl Apply {
    pub(crate) fn new(clusters: &Clusters) -> Self {
        Self { clusters: clusters.clone() }
    }
}

#[async_trait]
impl Action for Apply {
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "kubernetes:apply"
    }
    fn aliases(&self) -> &'static [&'static str] {
        &["kube:apply", "cnoe:kubernetes:apply"]
    }
    fn description(&self) -> &'static str {
        "Makes objects in a Kubernetes cluster as a manifest has them (server-side apply), and logs what changed. Objects with \
         generateName are created. In a dry run the cluster only checks. Needs the RBAC verbs get, create and patch of each \
         kind."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "A manifest in the template",
                "steps:\n  - id: apply\n    name: Settings\n    action: kubernetes:apply\n    input:\n      manifest: |\n        apiVersion: v1\n        kind: ConfigMap\n        metadata:\n          name: settings\n          namespace: team-a\n        data:\n          greeting: hello\n",
            ),
            (
                "A file of the workspace, in a cluster of the configuration",
                "steps:\n  - id: apply\n    name: Deploy\n    action: kubernetes:apply\n    input:\n      manifestPath: deploy/all.yaml\n      namespace: team-a\n      clusterName: production\n",
            ),
            (
                "An object, taking over fields that others manage",
                "steps:\n  - id: apply\n    name: Quota\n    action: kubernetes:apply\n    input:\n      manifestObject:\n        apiVersion: v1\n        kind: ResourceQuota\n        metadata:\n          name: quota\n          namespace: team-a\n        spec:\n          hard:\n            pods: '10'\n      force: true\n",
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
        let manifests = source.read(ctx)?;
        let cluster = self.clusters.get(input.cluster_name.as_deref())?;
        let options = ApplyOptions {
            field_manager: manager(input.field_manager)?,
            force: input.force,
            dry_run: ctx.is_dry_run,
            namespace: input.namespace,
        };
        check_all(ctx, &cluster, &manifests, &options, input.namespaced).await?;
        let mut objects = Vec::with_capacity(manifests.len());
        for manifest in &manifests {
            ctx.check_cancelled()?;
            objects.push(one(ctx, &cluster, manifest, &options, defines_kinds(&manifests)).await?);
        }
        match objects.first() {
            Some(first) => Ok(Output { first: first.clone(), objects }),
            None => Err(ActionError::input("the manifest has no object in it")),
        }
    }
}

fn manager(name: Option<String>) -> Result<String, ActionError> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| FIELD_MANAGER.to_string());
    if name.chars().count() > 128 || name.chars().any(char::is_control) {
        return Err(ActionError::input("fieldManager is longer than 128 characters or has control characters in it"));
    }
    Ok(name)
}

fn is_crd(manifest: &Manifest) -> bool {
    manifest.kind() == "CustomResourceDefinition" && manifest.api_version().starts_with("apiextensions.k8s.io/")
}

fn defines_kinds(manifests: &[Manifest]) -> bool {
    manifests.iter().any(is_crd)
}

/// Refuses names and kinds that can't be before the first object is written.
async fn check_all(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    manifests: &[Manifest],
    options: &ApplyOptions,
    namespaced: Option<bool>,
) -> Result<(), ActionError> {
    for manifest in manifests {
        match cluster.prepare(manifest, options.namespace.as_deref()).await {
            Ok((target, _)) => {
                if let Some(said) = namespaced
                    && said != target.kind.is_namespaced
                {
                    ctx.log.warn(format!(
                        "namespaced: {said} is not what the cluster says of {}; the cluster counts",
                        target.kind.kind()
                    ));
                }
            }
            // A CRD of the same manifest may bring it.
            Err(KubeError::UnknownKind { .. }) if defines_kinds(manifests) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn one(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    manifest: &Manifest,
    options: &ApplyOptions,
    defines_kinds: bool,
) -> Result<ObjectOutput, ActionError> {
    if manifest.name().is_none() {
        return generated(ctx, cluster, manifest, options).await;
    }
    let deadline = tokio::time::Instant::now() + ESTABLISHED_WITHIN;
    let applied = loop {
        match cluster.apply(manifest, options).await {
            Ok(applied) => break applied,
            Err(KubeError::NoNamespace(text)) if options.dry_run => {
                ctx.log.info(format!("{text}; until then the cluster can't check it"));
                let (target, _) = cluster.prepare(manifest, options.namespace.as_deref()).await?;
                return Ok(ObjectOutput::of(&target, None, Some(Outcome::Created)));
            }
            Err(error @ KubeError::UnknownKind { .. }) if defines_kinds => {
                if options.dry_run {
                    ctx.log.info(format!(
                        "{} {} is of a kind that this manifest defines; the cluster can't check it before that is there",
                        manifest.kind(),
                        manifest.name().unwrap_or_default()
                    ));
                    return Ok(unchecked(manifest));
                }
                // Discovery follows a new CRD within a moment.
                if tokio::time::Instant::now() > deadline {
                    return Err(error.into());
                }
                ctx.waiting(tokio::time::sleep(Duration::from_millis(250))).await?;
            }
            Err(error) => return Err(error.into()),
        }
    };
    applied.log(&ctx.log);
    if is_crd(manifest) && !options.dry_run {
        established(ctx, cluster, &applied.target).await?;
    }
    Ok(ObjectOutput::of(&applied.target, Some(&applied.object), Some(applied.outcome)))
}

fn unchecked(manifest: &Manifest) -> ObjectOutput {
    ObjectOutput {
        api_version: manifest.api_version().to_string(),
        kind: manifest.kind().to_string(),
        name: manifest.name().unwrap_or_default().to_string(),
        namespace: manifest.namespace().map(ToString::to_string),
        uid: None,
        result: Some(Outcome::Created),
    }
}

/// An object whose name the server makes up; a retry of the task finds the one it made.
async fn generated(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    manifest: &Manifest,
    options: &ApplyOptions,
) -> Result<ObjectOutput, ActionError> {
    let create = || async {
        let (target, object) =
            cluster.create(manifest, options.namespace.as_deref(), &options.field_manager, options.dry_run).await?;
        let verb = if options.dry_run { "would be created (checked by the cluster)" } else { "created" };
        ctx.log.info(format!("{target} {verb}"));
        Ok::<_, ActionError>((target.name.clone(), object.metadata.uid.clone()))
    };
    let (target, _) = cluster.prepare(manifest, options.namespace.as_deref()).await?;
    let content = fingerprint(&(options.namespace.as_deref(), manifest.clone().into_value()));
    let key = format!("created {} {content}", manifest.origin());
    let is_there = !options.dry_run && ctx.checkpoints.load(&key).await?.is_some();
    let (name, uid) = if options.dry_run { create().await? } else { ctx.checkpoint(&key, create).await? };
    let target = Target { name, ..target };
    if is_there {
        ctx.log.info(format!("{target} unchanged: an earlier run of this task created it"));
    }
    let outcome = if is_there { Outcome::Unchanged } else { Outcome::Created };
    let mut output = ObjectOutput::of(&target, None, Some(outcome));
    output.uid = uid;
    Ok(output)
}

/// Waits until the cluster serves a CRD.
async fn established(ctx: &ActionContext, cluster: &Arc<Cluster>, target: &Target) -> Result<(), ActionError> {
    cluster
        .wait(ctx, target, Patience::new(ESTABLISHED_WITHIN), "to be established", |object| {
            let object = object.map(as_value).unwrap_or_default();
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            let is = conditions.is_some_and(|conditions| {
                conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
            });
            if is { Progress::Done } else { Progress::Pending("not established yet".to_string()) }
        })
        .await?;
    Ok(())
}
