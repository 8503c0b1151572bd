//! `kubernetes:get`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, schema};

use super::inputs::examples;
use crate::client::{Clusters, Kind, as_value};

/// The input of `kubernetes:get`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// Group and version, e.g. `apps/v1`.
    api_version: String,
    /// Kind.
    kind: String,
    /// Name; all objects of the kind when left out.
    name: Option<String>,
    /// Namespace; the cluster's default one when left out. Not used where the kind is cluster-wide.
    namespace: Option<String>,
    /// Only objects with these labels, e.g. `app=web,tier!=cache`; in place of the name.
    label_selector: Option<String>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
    /// Whether the step succeeds although there is no such object.
    #[serde(default)]
    optional: bool,
}

/// The output of `kubernetes:get`.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// Whether there is such an object.
    exists: bool,
    /// Name of the (first) object.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Namespace of the (first) object.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// UID of the (first) object.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// The (first) object. A Secret's values are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Map<String, Value>>,
    /// All objects that were found. The values of Secrets are left out.
    objects: Vec<Map<String, Value>>,
}

/// Reads objects.
#[derive(Debug)]
pub(crate) struct Get {
    clusters: Clusters,
}

impl Get {
    pub(crate) fn new(clusters: &Clusters) -> Self {
        Self { clusters: clusters.clone() }
    }
}

#[async_trait]
impl Action for Get {
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "kubernetes:get"
    }
    fn description(&self) -> &'static str {
        "Reads an object of a Kubernetes cluster by its name, or objects by their labels. The values of Secrets are left out. \
         Needs the RBAC verb get of the kind, or list without a name."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "The address of a load balancer, in a later step: ${{ steps.get.output.object.status.loadBalancer.ingress[0].ip }}",
                "steps:\n  - id: get\n    name: Look up the address\n    action: kubernetes:get\n    input:\n      apiVersion: v1\n      kind: Service\n      name: web\n      namespace: team-a\n",
            ),
            (
                "Whether there is such a namespace: ${{ steps.get.output.exists }}",
                "steps:\n  - id: get\n    name: Look for the namespace\n    action: kubernetes:get\n    input:\n      apiVersion: v1\n      kind: Namespace\n      name: team-a\n      optional: true\n",
            ),
            (
                "All Deployments of a team",
                "steps:\n  - id: get\n    name: List\n    action: kubernetes:get\n    input:\n      apiVersion: apps/v1\n      kind: Deployment\n      namespace: team-a\n      labelSelector: owner=team-a\n",
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
        let cluster = self.clusters.get(input.cluster_name.as_deref())?;
        let kind = cluster.kind(&input.api_version, &input.kind).await?;
        let found = match (&input.name, &input.label_selector) {
            (Some(_), Some(_)) => {
                return Err(ActionError::input("name and labelSelector exclude each other: give one of them"));
            }
            (Some(name), None) => {
                let target = cluster.target(&kind, input.namespace.as_deref(), name).await?;
                let object = cluster.get(&target).await?;
                match (&object, input.optional) {
                    (Some(_), _) => ctx.log.info(format!("{target} found")),
                    (None, true) => ctx.log.info(format!("there is no {target}")),
                    (None, false) => {
                        return Err(ActionError::not_found(format!(
                            "there is no {target} in {}; with optional: true the step would succeed",
                            cluster.label().await?
                        )));
                    }
                }
                Vec::from_iter(object)
            }
            (None, selector) => {
                let namespace = match (&input.namespace, kind.is_namespaced) {
                    (Some(namespace), true) => Some(namespace.clone()),
                    (None, true) => Some(cluster.default_namespace().await?),
                    (_, false) => None,
                };
                let found = cluster.list(&kind, namespace.as_deref(), selector.as_deref()).await?;
                let place = namespace.map_or_else(String::new, |namespace| format!(" in the namespace '{namespace}'"));
                ctx.log.info(format!("{} of the kind {}{place} found", found.len(), kind.kind()));
                if found.is_empty() && !input.optional {
                    return Err(ActionError::not_found(format!(
                        "there is no {}{place} with the labels asked for in {}; with optional: true the step would succeed",
                        kind.kind(),
                        cluster.label().await?
                    )));
                }
                found
            }
        };
        let objects: Vec<_> = found.iter().map(|object| presentable(&kind, as_value(object))).collect();
        Ok(match found.first() {
            Some(first) => Output {
                exists: true,
                name: first.metadata.name.clone(),
                namespace: first.metadata.namespace.clone(),
                uid: first.metadata.uid.clone(),
                object: objects.first().cloned(),
                objects,
            },
            None => Output::default(),
        })
    }
}

/// The object without what only managers need, and without a Secret's values.
fn presentable(kind: &Kind, object: Value) -> Map<String, Value> {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let Value::Object(mut object) = object else { return Map::new() };
    // Members of lists lack these.
    object.insert("apiVersion".to_string(), Value::from(kind.api_version()));
    object.insert("kind".to_string(), Value::from(kind.kind()));
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.shift_remove("managedFields");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.shift_remove(LAST_APPLIED);
        }
    }
    if kind.is_secret() {
        for key in ["data", "stringData"] {
            if let Some(Value::Object(values)) = object.get_mut(key) {
                values.values_mut().for_each(|value| *value = Value::from("***"));
            }
        }
    }
    object
}
