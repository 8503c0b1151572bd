//! `crossplane:claim`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration, schema};

use super::{
    definition::{Offer, Wanted, find},
    follow::{Presence, until_ready},
    inputs::{CompositionSelector, Named, SecretReference, UpdatePolicy},
    manifest::{Built, Wish, build},
    source::{of_cluster, of_file},
    state::{Condition, conditions},
    validate::check_spec,
};
use crate::client::{Applied, ApplyOptions, Cluster, Clusters, KubeError, Manifest, Outcome, Patience, Target};

/// How long is waited where the step doesn't say.
pub(super) const TIMEOUT: HumanDuration = HumanDuration::from_secs(10 * 60);
/// The largest file that is looked at before it is written again.
const LARGEST: u64 = 10 << 20;

/// Where the claim goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    // Into the cluster.
    #[default]
    Cluster,
    // Into a file of the workspace.
    Manifest,
}

/// The input of `crossplane:claim`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ClaimInput {
    /// Group and version of what to make, e.g. `platform.example.org/v1alpha1`.
    api_version: Option<String>,
    /// Kind of what to make: a claim's or a composite resource's; the XRD says which it is.
    kind: Option<String>,
    /// The XRD's name, in place of apiVersion and kind or to make sure; its claim is made if it offers one.
    xrd: Option<String>,
    /// Its name.
    name: String,
    /// Its namespace; the cluster's default one when left out. Not used where the kind is cluster-wide.
    namespace: Option<String>,
    /// Its spec, checked against the XRD's schema before anything is written.
    spec: Option<Map<String, Value>>,
    /// Another name for spec.
    values: Option<Map<String, Value>>,
    /// The Composition to use, by name.
    composition_ref: Option<Named>,
    /// The Composition to use, by its labels.
    composition_selector: Option<CompositionSelector>,
    /// Whether new revisions of the Composition take effect by themselves.
    composition_update_policy: Option<UpdatePolicy>,
    /// The Secret that gets the connection details. Composite resources of Crossplane 2 have no such field: there it is left
    /// out, and the Composition makes the Secret.
    write_connection_secret_to_ref: Option<SecretReference>,
    /// The name at the cloud of what exists already and is to be taken over (annotation crossplane.io/external-name).
    external_name: Option<String>,
    /// Labels.
    labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    annotations: Option<BTreeMap<String, String>>,
    /// Whether to wait until it is synced and ready.
    #[serde(default = "yes")]
    wait: bool,
    /// How long to wait; 10 minutes when left out.
    timeout: Option<HumanDuration>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
    /// Whether to write it into the cluster, or as YAML into the workspace.
    #[serde(default)]
    mode: Mode,
    /// The file for mode manifest; `<kind>-<name>.yaml` when left out.
    path: Option<String>,
    /// A file of the workspace with the XRD, for mode manifest; the cluster's XRDs are used when left out.
    xrd_path: Option<String>,
    /// Whether one that exists is changed to what the step asks for; otherwise a difference is an error.
    #[serde(default = "yes")]
    upsert: bool,
    /// Whether fields that others manage are taken over.
    #[serde(default)]
    force: bool,
}

pub(super) fn yes() -> bool {
    true
}

/// The output of `crossplane:claim` and `crossplane:wait`.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimOutput {
    /// Its name.
    name: String,
    /// Its namespace, unless it is cluster-wide.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// The UID that the cluster gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// Group and version.
    api_version: String,
    /// Kind.
    kind: String,
    /// What it is: claim, legacy-composite, namespaced-composite or cluster-composite.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    /// Its conditions, as they were last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<BTreeMap<String, String>>>")]
    conditions: Option<Vec<Condition>>,
    /// The name of the Secret with the connection details, as asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_secret_name: Option<String>,
    /// The file that was written, in mode manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl ClaimOutput {
    /// What a dry run can say of an object.
    pub(super) fn planned(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            namespace: target.namespace.clone(),
            api_version: target.kind.api_version().to_string(),
            kind: target.kind.kind().to_string(),
            ..Self::default()
        }
    }
    /// What the cluster says of an object.
    pub(super) fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(ToString::to_string);
        Self {
            name: text("/metadata/name").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            uid: text("/metadata/uid"),
            api_version: text("/apiVersion").unwrap_or_default(),
            kind: text("/kind").unwrap_or_default(),
            generation: None,
            conditions: Some(conditions(object)),
            connection_secret_name: text("/spec/writeConnectionSecretToRef/name"),
            path: None,
        }
    }
}

/// Makes a claim or composite resource.
#[derive(Debug)]
pub(crate) struct Claim {
    clusters: Clusters,
}

impl Claim {
    pub(crate) fn new(clusters: &Clusters) -> Self {
        Self { clusters: clusters.clone() }
    }
}

#[async_trait]
impl Action for Claim {
    type Input = ClaimInput;
    type Output = ClaimOutput;

    fn id(&self) -> &'static str {
        "crossplane:claim"
    }
    fn description(&self) -> &'static str {
        "Orders infrastructure from Crossplane: makes a claim or composite resource, of Crossplane 1 or 2, whichever the XRD \
         defines. The spec is checked against the XRD's schema before anything is written. Waits until it is synced and \
         ready, and logs the states of all it is made of. In mode manifest it writes YAML into the workspace instead. Needs \
         the RBAC verbs list of compositeresourcedefinitions.apiextensions.crossplane.io, and get, create, patch, list and \
         watch of the kind itself; get of the composite and composed kinds shows their states."
    }
    fn examples(&self) -> Vec<ActionExample> {
        [
            (
                "A bucket, waited for",
                "steps:\n  - id: bucket\n    name: Order the bucket\n    action: crossplane:claim\n    input:\n      apiVersion: platform.example.org/v1alpha1\n      kind: Bucket\n      name: photos\n      namespace: team-a\n      spec:\n        region: eu-central-1\n      writeConnectionSecretToRef:\n        name: photos-bucket\n      timeout: 15m\n",
            ),
            (
                "By the XRD's name, with a Composition chosen by labels; another step waits for it",
                "steps:\n  - id: database\n    name: Order the database\n    action: crossplane:claim\n    input:\n      xrd: xpostgresqlinstances.database.example.org\n      name: orders\n      namespace: team-a\n      values:\n        storageGB: 20\n      compositionSelector:\n        matchLabels:\n          provider: aws\n      wait: false\n",
            ),
            (
                "A bucket that exists at the cloud is taken over",
                "steps:\n  - id: bucket\n    name: Take the bucket over\n    action: crossplane:claim\n    input:\n      apiVersion: platform.example.org/v1alpha1\n      kind: Bucket\n      name: photos\n      namespace: team-a\n      spec:\n        region: eu-central-1\n      externalName: acme-photos-2019\n",
            ),
            (
                "A manifest for a chart or a GitOps repository",
                "steps:\n  - id: bucket\n    name: Write the claim\n    action: crossplane:claim\n    input:\n      mode: manifest\n      path: chart/templates/bucket.yaml\n      xrdPath: crossplane/xrd.yaml\n      apiVersion: platform.example.org/v1alpha1\n      kind: Bucket\n      name: photos\n      spec:\n        region: eu-central-1\n",
            ),
        ]
        .map(|(description, example)| ActionExample { description: description.into(), example: example.into() })
        .into()
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<ClaimOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let spec = match (input.spec, input.values) {
            (Some(_), Some(_)) => {
                return Err(ActionError::input("spec and values are the same under two names; give one of them"));
            }
            (spec, values) => spec.or(values).unwrap_or_default(),
        };
        if input.mode == Mode::Cluster && (input.path.is_some() || input.xrd_path.is_some()) {
            return Err(ActionError::input("path and xrdPath are for mode: manifest; leave them out, or set the mode"));
        }
        let wanted = Wanted {
            api_version: input.api_version.as_deref(),
            kind: input.kind.as_deref(),
            xrd: input.xrd.as_deref(),
        };
        let mut wish = Wish {
            name: input.name,
            namespace: input.namespace,
            spec,
            labels: input.labels.unwrap_or_default(),
            annotations: input.annotations.unwrap_or_default(),
            composition: input.composition_ref,
            selector: input.composition_selector,
            update_policy: input.composition_update_policy,
            secret: input.write_connection_secret_to_ref.map(|secret| (secret.name, secret.namespace)),
            external_name: input.external_name,
        };
        if let (Mode::Manifest, Some(xrd)) = (input.mode, &input.xrd_path) {
            let definitions = of_file(&ctx.workspace, xrd)?;
            let offer = find(&definitions, &wanted, xrd)?;
            let built = checked(ctx, &offer, wish)?;
            return write(ctx, &offer, built, input.path, input.upsert);
        }
        let cluster = self.clusters.get(input.cluster_name.as_deref()).map_err(|error| match error {
            KubeError::NotConfigured { .. } if input.mode == Mode::Manifest => ActionError::failed(format!(
                "{error}; or give the XRD as a file of the workspace in xrdPath, then no cluster is needed"
            )),
            error => error.into(),
        })?;
        let definitions = of_cluster(ctx, &cluster).await?;
        let offer = find(&definitions, &wanted, &cluster.label().await?)?;
        if input.mode == Mode::Manifest {
            let built = checked(ctx, &offer, wish)?;
            return write(ctx, &offer, built, input.path, input.upsert);
        }
        if offer.generation.is_namespaced() && wish.namespace.as_deref().unwrap_or_default().is_empty() {
            wish.namespace = Some(cluster.default_namespace().await?);
        }
        let built = checked(ctx, &offer, wish)?;
        let options = ApplyOptions { force: input.force, ..ApplyOptions::default() };
        let limit = input.wait.then(|| input.timeout.unwrap_or(TIMEOUT).get());
        apply(ctx, &cluster, &offer, built, options, input.upsert, limit).await
    }
}

/// The object, its spec in order.
fn checked(ctx: &ActionContext, offer: &Offer<'_>, wish: Wish) -> Result<Built, ActionError> {
    let built = build(offer, wish)?;
    ctx.log.info(format!(
        "{} {} is {} (XRD {})",
        offer.names.kind,
        offer.api_version(),
        offer.generation.describe(),
        offer.definition.name
    ));
    check_spec(offer, &built.object["spec"])?;
    for note in &built.notes {
        ctx.log.info(note);
    }
    Ok(built)
}

fn output(offer: &Offer<'_>, built: &Built) -> ClaimOutput {
    ClaimOutput {
        name: built.object["metadata"]["name"].as_str().unwrap_or_default().to_string(),
        namespace: built.namespace.clone(),
        api_version: offer.api_version(),
        kind: offer.names.kind.clone(),
        generation: Some(offer.generation.id().to_string()),
        connection_secret_name: built.secret.clone(),
        ..ClaimOutput::default()
    }
}

fn write(
    ctx: &ActionContext,
    offer: &Offer<'_>,
    built: Built,
    path: Option<String>,
    upsert: bool,
) -> Result<ClaimOutput, ActionError> {
    let mut output = output(offer, &built);
    let path = path.unwrap_or_else(|| format!("{}-{}.yaml", output.kind.to_lowercase(), output.name));
    let text = yaml(&built.object)?;
    let entry = if ctx.workspace.exists(&path)? { Some(ctx.workspace.open_file(&path)?) } else { None };
    let there = match entry {
        Some(file) if file.size() <= LARGEST => Some(ctx.workspace.read(&path)?),
        Some(_) => Some(Vec::new()),
        None => None,
    };
    match there {
        Some(there) if there == text.as_bytes() => ctx.log.info(format!("{path} unchanged: it holds this manifest")),
        Some(_) if !upsert => {
            return Err(ActionError::conflict(format!(
                "{path} exists and holds something else; choose another path, or set upsert: true to replace it"
            )));
        }
        there => {
            ctx.workspace.write(&path, text.as_bytes(), 0o666)?;
            let what = if there.is_some() { "replaced" } else { "written" };
            ctx.log.info(format!("{path} {what}: {} {}", output.kind, output.name));
        }
    }
    output.path = Some(path);
    Ok(output)
}

/// The manifest as a file, quoted for readers of YAML 1.1 too.
fn yaml(object: &Value) -> Result<String, ActionError> {
    let options = serde_saphyr::ser_options! {
        no_lang_directive: true,
        folded_wrap_chars: 1_000_000,
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, object, options)
        .map_err(|error| ActionError::failed(format!("the manifest can't be written as YAML: {error}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

async fn apply(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    offer: &Offer<'_>,
    built: Built,
    options: ApplyOptions,
    upsert: bool,
    limit: Option<Duration>,
) -> Result<ClaimOutput, ActionError> {
    let mut output = output(offer, &built);
    let manifest = Manifest::new(built.object, format!("{} {}", output.kind, output.name))?;
    let dry = ApplyOptions { dry_run: true, ..options.clone() };
    if !upsert {
        let checked = applied(cluster, offer, &manifest, &dry).await;
        match checked {
            Ok(applied) if applied.outcome == Outcome::Configured => {
                return Err(ActionError::conflict(format!(
                    "{} exists and differs from what the step asks for:\n  {}\nIt is left as it is, for upsert is false",
                    applied.target,
                    applied.changes.join("\n  ")
                )));
            }
            Err(error) if !ctx.is_dry_run => return Err(error),
            _ => {}
        }
    }
    if ctx.is_dry_run {
        match applied(cluster, offer, &manifest, &dry).await {
            Ok(applied) => applied.log(&ctx.log),
            // A step before this one may make the namespace.
            Err(error) if *error.name() == understudy_sdk::ErrorName::NotFoundError && output.namespace.is_some() => {
                ctx.log.warn(format!("The spec fits the XRD; the cluster could not check it: {}", error.message()));
            }
            Err(error) => return Err(error),
        }
        return Ok(output);
    }
    let applied = applied(cluster, offer, &manifest, &options).await?;
    applied.log(&ctx.log);
    let mut object = serde_json::to_value(&applied.object).unwrap_or_default();
    if let Some(limit) = limit {
        object = until_ready(ctx, cluster, &applied.target, Presence::Written, Patience::new(limit)).await?;
        if let Some(secret) = &output.connection_secret_name {
            ctx.log.info(format!("The connection details are in the Secret {secret}"));
        }
    }
    let found = ClaimOutput::of(&object);
    output.uid = found.uid;
    output.conditions = found.conditions;
    Ok(output)
}

/// Applies, with words for what only Crossplane's kinds meet.
async fn applied(
    cluster: &Arc<Cluster>,
    offer: &Offer<'_>,
    manifest: &Manifest,
    options: &ApplyOptions,
) -> Result<Applied, ActionError> {
    match cluster.apply(manifest, options).await {
        Ok(applied) if applied.object.metadata.deletion_timestamp.is_some() => Err(ActionError::conflict(format!(
            "{} is being deleted; retry when it is gone, or give the new one another name",
            applied.target
        ))),
        Ok(applied) => Ok(applied),
        // Crossplane serves the kind when it has accepted the XRD.
        Err(error @ KubeError::UnknownKind { .. }) => match offer.not_offered() {
            Some(why) => Err(ActionError::failed(format!("{error} ({why})"))),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
