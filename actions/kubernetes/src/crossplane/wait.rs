//! `crossplane:wait`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration, schema};

use super::{
    claim::{ClaimOutput, TIMEOUT},
    definition::Wanted,
    follow::{Presence, until_ready},
    source::target_of,
};
use crate::client::{Clusters, Patience};

/// The input of `crossplane:wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WaitInput {
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
    /// How long to wait; 10 minutes when left out.
    timeout: Option<HumanDuration>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
}

/// Waits for a claim or composite resource.
#[derive(Debug)]
pub(crate) struct Wait {
    clusters: Clusters,
}

impl Wait {
    pub(crate) fn new(clusters: &Clusters) -> Self {
        Self { clusters: clusters.clone() }
    }
}

#[async_trait]
impl Action for Wait {
    type Input = WaitInput;
    type Output = ClaimOutput;

    fn id(&self) -> &'static str {
        "crossplane:wait"
    }
    fn description(&self) -> &'static str {
        "Waits until a claim, a composite resource or a managed resource of Crossplane is synced and ready, without \
         occupying a worker; also for one that somebody else is still to write. Logs the states of all it is made of, and \
         on a timeout the messages of what isn't ready. Needs the RBAC verbs get, list and watch of the kind itself; get of \
         the composite and composed kinds shows their states."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "Until the bucket is there".into(),
            example: "steps:\n  - id: bucket\n    name: Wait for the bucket\n    action: crossplane:wait\n    input:\n      apiVersion: platform.example.org/v1alpha1\n      kind: Bucket\n      name: photos\n      namespace: team-a\n      timeout: 15m\n".into(),
        }]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<ClaimOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let cluster = self.clusters.get(input.cluster_name.as_deref())?;
        let wanted = Wanted {
            api_version: input.api_version.as_deref(),
            kind: input.kind.as_deref(),
            xrd: input.xrd.as_deref(),
        };
        let target = || target_of(ctx, &cluster, &wanted, &input.name, input.namespace.as_deref());
        let limit = input.timeout.unwrap_or(TIMEOUT);
        if ctx.is_dry_run {
            let target = target().await?;
            ctx.log.info(format!("Would wait until {target} is synced and ready, for {limit} at most"));
            return Ok(ClaimOutput::planned(&target));
        }
        let patience = Patience::new(limit.get());
        let target = cluster.when_reachable(ctx, patience, target).await?;
        let object = until_ready(ctx, &cluster, &target, Presence::Expected, patience).await?;
        Ok(ClaimOutput::of(&object))
    }
}
