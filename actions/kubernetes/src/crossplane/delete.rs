//! `crossplane:delete`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration, schema};

use super::{
    claim::{TIMEOUT, yes},
    definition::Wanted,
    follow::{Tree, until_gone},
    source::target_of,
};
use crate::client::{Clusters, DeleteOptions};

/// The input of `crossplane:delete`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeleteInput {
    /// Group and version, e.g. `platform.example.org/v1alpha1`.
    api_version: Option<String>,
    /// Kind of the claim or composite resource.
    kind: Option<String>,
    /// The XRD's name, in place of apiVersion and kind.
    xrd: Option<String>,
    /// Its name.
    name: String,
    /// Its namespace; the cluster's default one when left out. Not used where the kind is cluster-wide.
    namespace: Option<String>,
    /// Whether to wait until it and all it is made of are gone.
    #[serde(default = "yes")]
    wait: bool,
    /// How long to wait; 10 minutes when left out.
    timeout: Option<HumanDuration>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
}

/// The output of `crossplane:delete`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeleteOutput {
    /// Whether there was something to delete.
    deleted: bool,
}

/// Deletes a claim or composite resource.
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
    type Input = DeleteInput;
    type Output = DeleteOutput;

    fn id(&self) -> &'static str {
        "crossplane:delete"
    }
    fn description(&self) -> &'static str {
        "Deletes a claim or composite resource of Crossplane, and with it the infrastructure that its deletion policies \
         don't keep. Waits until it and all it is made of are gone. One that isn't there is no error. Needs the RBAC verbs \
         get, delete, list and watch of the kind itself; with get of the composite and composed kinds it waits for them too."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "A bucket with all that belongs to it".into(),
            example: "steps:\n  - id: bucket\n    name: Remove the bucket\n    action: crossplane:delete\n    input:\n      apiVersion: platform.example.org/v1alpha1\n      kind: Bucket\n      name: photos\n      namespace: team-a\n      timeout: 20m\n".into(),
        }]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<DeleteOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let cluster = self.clusters.get(input.cluster_name.as_deref())?;
        let wanted = Wanted {
            api_version: input.api_version.as_deref(),
            kind: input.kind.as_deref(),
            xrd: input.xrd.as_deref(),
        };
        let target = target_of(ctx, &cluster, &wanted, &input.name, input.namespace.as_deref()).await?;
        let Some(object) = cluster.get(&target).await? else {
            ctx.log.info(format!("{target} is not there, so there is nothing to delete"));
            return Ok(DeleteOutput { deleted: false });
        };
        let object = serde_json::to_value(&object).unwrap_or_default();
        let is_under_way = object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null());
        // What it is made of is known as long as it is there.
        let mut tree = Tree::default();
        if input.wait && !ctx.is_dry_run {
            ctx.log.info(format!("{target} is made of:"));
            tree.look(&cluster, &object, &ctx.log, true).await;
        }
        if is_under_way {
            ctx.log.info(format!("{target} is being deleted already"));
        } else {
            let options = DeleteOptions { dry_run: ctx.is_dry_run, ..DeleteOptions::default() };
            let was_there = cluster.delete(&target, &options).await?;
            ctx.log.info(match (ctx.is_dry_run, was_there) {
                (true, _) => format!("{target} would be deleted (checked by the cluster)"),
                (false, true) => format!("{target} is being deleted"),
                (false, false) => format!("{target} was deleted by somebody else"),
            });
        }
        if input.wait && !ctx.is_dry_run {
            until_gone(ctx, &cluster, &target, tree, input.timeout.unwrap_or(TIMEOUT).get()).await?;
        }
        Ok(DeleteOutput { deleted: true })
    }
}
