//! `kubernetes:create-namespace`

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, EntityRef, Secret, schema};

use super::inputs::examples;
use crate::client::{Cluster, Clusters, FIELD_MANAGER, Kind, KubeError, Manifest, Outcome, Target, check_label};

const API_SERVER: &str = "kubernetes.io/api-server";
const API_SERVER_CA: &str = "kubernetes.io/api-server-certificate-authority";

/// The input of `kubernetes:create-namespace`: that of the community's action, whose token and address are not needed for
/// clusters of the configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// Name of the namespace.
    namespace: String,
    /// A bearer token, for clusterRef or url.
    token: Option<Secret>,
    /// The cluster as a Resource of the catalog with the annotation kubernetes.io/api-server.
    cluster_ref: Option<String>,
    /// Address of the cluster's API server.
    url: Option<String>,
    /// Whether any certificate of the server is accepted, for clusterRef or url.
    #[serde(default, rename = "skipTLSVerify")]
    skip_tls_verify: bool,
    /// The CA of the server's certificate, PEM in base64, for clusterRef or url.
    ca_data: Option<String>,
    /// Labels, as `app=web;team=a`.
    labels: Option<String>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it, in place of clusterRef and url; the default one when
    /// nothing is given.
    cluster_name: Option<String>,
}

/// The output of `kubernetes:create-namespace`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// Name of the namespace.
    name: String,
    /// The UID that the cluster gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// What happened: created or unchanged.
    result: Outcome,
}

/// Creates a namespace.
#[derive(Debug)]
pub(crate) struct CreateNamespace {
    clusters: Clusters,
}

impl CreateNamespace {
    pub(crate) fn new(clusters: &Clusters) -> Self {
        Self { clusters: clusters.clone() }
    }

    async fn cluster(&self, ctx: &ActionContext, input: &Input) -> Result<Arc<Cluster>, ActionError> {
        let reference = input.cluster_ref.as_deref().filter(|text| !text.is_empty());
        let url = input.url.as_deref().filter(|text| !text.is_empty());
        if let Some(name) = &input.cluster_name {
            if reference.is_some() || url.is_some() || input.token.is_some() {
                return Err(ActionError::input(
                    "clusterName excludes clusterRef, url and token: the configuration has address and credentials",
                ));
            }
            return Ok(self.clusters.get(Some(name))?);
        }
        // The texts are those of @backstage-community/plugin-scaffolder-backend-module-kubernetes 2.21.0.
        let (url, ca) = match (reference, url) {
            (Some(_), Some(_)) => {
                return Err(ActionError::failed("Cluster reference and url can't be specified at the same time"));
            }
            (None, None) if input.token.is_some() => {
                return Err(ActionError::failed("Cluster reference or url are required"));
            }
            (None, None) => return Ok(self.clusters.get(None)?),
            (None, Some(url)) => (url.to_string(), None),
            (Some(reference), None) => {
                let reference = EntityRef::parse(reference, Some("resource"), Some("default"))?;
                let entity = ctx.catalog.entity_by_ref(&reference).await?;
                let entity = entity.ok_or_else(|| ActionError::failed("Resource not found"))?;
                let annotation = |name: &str| {
                    let text = entity.get("metadata")?.get("annotations")?.get(name)?.as_str()?;
                    Some(text.to_string()).filter(|text| !text.is_empty())
                };
                let url = annotation(API_SERVER).ok_or_else(|| {
                    ActionError::failed("Cluster resource is missing kubernetes.io/api-server annotation")
                })?;
                (url, annotation(API_SERVER_CA))
            }
        };
        let Some(token) = input.token.clone() else {
            return Err(ActionError::input(
                "url and clusterRef need a token; clusterName names a cluster of the configuration, which has its own",
            ));
        };
        let ca = input.ca_data.clone().or(ca);
        Ok(Clusters::ad_hoc(&url, token, input.skip_tls_verify, ca.as_deref())?)
    }
}

#[async_trait]
impl Action for CreateNamespace {
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "kubernetes:create-namespace"
    }
    fn description(&self) -> &'static str {
        "Creates a namespace in a Kubernetes cluster. One that is there with the labels asked for is left as it is. In a dry \
         run the cluster only checks. Needs the RBAC verbs create and get of namespaces."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "In the default cluster",
                "steps:\n  - id: namespace\n    name: Namespace\n    action: kubernetes:create-namespace\n    input:\n      namespace: team-a\n",
            ),
            (
                "In a cluster of the catalog, with a token of the task's secrets",
                "steps:\n  - id: namespace\n    name: Namespace\n    action: kubernetes:create-namespace\n    input:\n      namespace: team-a\n      clusterRef: resource:default/production\n      token: ${{ secrets.clusterToken }}\n      labels: team=a;stage=test\n",
            ),
            (
                "By the address of the API server",
                "steps:\n  - id: namespace\n    name: Namespace\n    action: kubernetes:create-namespace\n    input:\n      namespace: team-a\n      url: https://api.cluster.example.com:6443\n      token: ${{ secrets.clusterToken }}\n      skipTLSVerify: false\n",
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
        check_label("the namespace", &input.namespace)?;
        let labels = labels(input.labels.as_deref().unwrap_or_default())?;
        let cluster = self.cluster(ctx, &input).await?;
        let mut metadata = json!({"name": input.namespace});
        if !labels.is_empty() {
            metadata["labels"] = json!(labels);
        }
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        let manifest = Manifest::new(object, "namespace")?;
        // Every cluster has namespaces; a token that may only create them need not read what kinds there are.
        let target = Target { kind: Kind::namespace(), namespace: None, name: input.namespace.clone() };
        match cluster.create_at(&target, &manifest, FIELD_MANAGER, ctx.is_dry_run).await {
            Ok(created) => {
                let how = if ctx.is_dry_run { "would be created (checked by the cluster)" } else { "created" };
                ctx.log.info(format!("{target} {how}"));
                Ok(Output { name: input.namespace, uid: created.metadata.uid, result: Outcome::Created })
            }
            Err(KubeError::Exists(_)) => existing(ctx, &cluster, &target, &labels).await,
            Err(error) => Err(worded(error)),
        }
    }
}

/// The namespace is there: fine when it has the labels.
async fn existing(
    ctx: &ActionContext,
    cluster: &Cluster,
    target: &Target,
    labels: &BTreeMap<String, String>,
) -> Result<Output, ActionError> {
    let found = cluster.get(target).await.map_err(worded)?;
    let found = found
        .ok_or_else(|| ActionError::conflict(format!("{target} was deleted while it was looked at; try again")))?;
    let has = found.metadata.labels.unwrap_or_default();
    let different: Vec<String> = labels
        .iter()
        .filter(|(key, value)| has.get(*key) != Some(*value))
        .map(|(key, value)| match has.get(key) {
            Some(other) => format!("{key} is '{other}', not '{value}'"),
            None => format!("{key}={value} is missing"),
        })
        .collect();
    if !different.is_empty() {
        return Err(ActionError::conflict(format!(
            "{target} exists already, with other labels: {}. Choose another name, or change the labels with \
             kubernetes:apply",
            different.join(", ")
        )));
    }
    if found.metadata.deletion_timestamp.is_some() {
        return Err(ActionError::conflict(format!("{target} exists and is being deleted; wait until it is gone")));
    }
    ctx.log.info(format!("{target} unchanged: it is there already"));
    Ok(Output { name: target.name.clone(), uid: found.metadata.uid, result: Outcome::Unchanged })
}

/// An answer of the cluster in the community action's frame.
fn worded(error: KubeError) -> ActionError {
    let code = error.code();
    let error = ActionError::from(error);
    match code {
        Some(code) => {
            error.map_message(|message| format!("Failed to create kubernetes namespace, API code: {code} -- {message}"))
        }
        None => error,
    }
}

/// Reads `a=b;c=d`.
fn labels(text: &str) -> Result<BTreeMap<String, String>, ActionError> {
    let mut labels = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| ActionError::input(format!("labels: '{part}' is no label; expected app=web;team=a")))?;
        labels.insert(key.to_string(), value.to_string());
    }
    Ok(labels)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::labels;

    #[test]
    fn labels_are_pairs() {
        let found = labels(" a=b; c = d ;").unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("a".into(), "b".into()), ("c".into(), "d".into())]);
        assert!(labels("").unwrap().is_empty());
        assert!(labels("a;b=c").unwrap_err().to_string().contains("'a' is no label"));
        assert!(labels("=c").is_err());
    }
}
