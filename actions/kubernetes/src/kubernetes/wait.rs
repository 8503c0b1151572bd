//! `kubernetes:wait`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration, schema};

use super::{
    expression::Expression,
    inputs::{ObjectOutput, examples},
};
use crate::client::{Clusters, Patience, Progress, as_value};

/// How long is waited where the step doesn't say.
const TIMEOUT: HumanDuration = HumanDuration::from_secs(10 * 60);

/// One expression or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Expressions {
    // One.
    One(String),
    // Several.
    All(Vec<String>),
}

impl Expressions {
    fn parse(&self, input: &str) -> Result<Vec<Expression>, ActionError> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::All(texts) => texts,
        };
        texts
            .iter()
            .map(|text| Expression::parse(text).map_err(|reason| ActionError::input(format!("{input}: {reason}"))))
            .collect()
    }
    fn shown(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::All(texts) => texts.join(" and "),
        }
    }
}

/// The input of `kubernetes:wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// Group and version, e.g. `apps/v1`.
    api_version: String,
    /// Kind.
    kind: String,
    /// Name. An object that is not there yet is waited for.
    name: String,
    /// Namespace; the cluster's default one when left out. Not used where the kind is cluster-wide.
    namespace: Option<String>,
    /// What to wait for, as kubectl has it: `condition=Ready`, `condition=Ready=False`,
    /// `jsonpath={.status.phase}=Running`, `create` or `delete`; of several, for all.
    r#for: Expressions,
    /// What makes the step fail at once, e.g. `condition=Failed`.
    fail_on: Option<Expressions>,
    /// How long to wait; 10 minutes when left out.
    timeout: Option<HumanDuration>,
    /// The cluster, as kubernetes.clusterLocatorMethods names it; the default one when left out.
    cluster_name: Option<String>,
}

/// The output of `kubernetes:wait`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// The object.
    #[serde(flatten)]
    object: ObjectOutput,
    /// Its status, as it was when the wait ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Map<String, Value>>,
}

/// Waits for a state of an object.
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
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "kubernetes:wait"
    }
    fn description(&self) -> &'static str {
        "Waits for a state of an object of a Kubernetes cluster, logging its changes on the way. The wait occupies no worker, \
         outlives outages of the cluster and ends when the task is cancelled. In a dry run nothing is waited for. Needs the \
         RBAC verbs get, list and watch of the kind."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[
            (
                "Until a Deployment is available",
                "steps:\n  - id: wait\n    name: Wait for the rollout\n    action: kubernetes:wait\n    input:\n      apiVersion: apps/v1\n      kind: Deployment\n      name: web\n      namespace: team-a\n      for: condition=Available\n      timeout: 15m\n",
            ),
            (
                "Until a Job is complete; fails at once when the Job fails",
                "steps:\n  - id: wait\n    name: Wait for the migration\n    action: kubernetes:wait\n    input:\n      apiVersion: batch/v1\n      kind: Job\n      name: migrate\n      namespace: team-a\n      for: condition=Complete\n      failOn: condition=Failed\n",
            ),
            (
                "Until a load balancer has an address",
                "steps:\n  - id: wait\n    name: Wait for the address\n    action: kubernetes:wait\n    input:\n      apiVersion: v1\n      kind: Service\n      name: web\n      namespace: team-a\n      for: jsonpath={.status.loadBalancer.ingress[0].ip}\n",
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
        let wanted = input.r#for.parse("for")?;
        if wanted.is_empty() {
            return Err(ActionError::input("for: the list is empty, there is nothing to wait for"));
        }
        let failures = input.fail_on.as_ref().map(|texts| texts.parse("failOn")).transpose()?.unwrap_or_default();
        let cluster = self.clusters.get(input.cluster_name.as_deref())?;
        let timeout = input.timeout.unwrap_or(TIMEOUT);
        let patience = Patience::new(timeout.get());
        let target = || async {
            let kind = cluster.kind(&input.api_version, &input.kind).await?;
            cluster.target(&kind, input.namespace.as_deref(), &input.name).await
        };
        // A dry run waits for nothing.
        let target =
            if ctx.is_dry_run { target().await? } else { cluster.when_reachable(ctx, patience, target).await? };
        let shown = input.r#for.shown();
        if ctx.is_dry_run {
            ctx.log.info(format!("{target} would be waited for: {shown}"));
            return Ok(Output { object: ObjectOutput::of(&target, None, None), status: None });
        }
        let mut waited = false;
        let object = cluster
            .wait(ctx, &target, patience, &format!("for {shown}"), |object| {
                let value = object.map(as_value);
                let failed = failures.iter().find(|failure| failure.holds(value.as_ref()).is_ok());
                if let Some(failure) = failed {
                    let state = wanted.iter().find_map(|wanted| wanted.holds(value.as_ref()).err());
                    let state = state.map_or_else(String::new, |state| format!("; {state}"));
                    return Progress::Failed(ActionError::failed(format!(
                        "{target} has failed: {}{state}",
                        describe(failure, value.as_ref())
                    )));
                }
                match wanted.iter().find_map(|wanted| wanted.holds(value.as_ref()).err()) {
                    Some(state) => {
                        waited = true;
                        Progress::Pending(state)
                    }
                    None => Progress::Done,
                }
            })
            .await?;
        let how = if waited { "has come to" } else { "is at once as wanted:" };
        ctx.log.info(format!("{target} {how} {shown}"));
        let value = object.as_ref().map(as_value);
        let status = match value {
            Some(Value::Object(mut value)) => match value.shift_remove("status") {
                Some(Value::Object(status)) => Some(status),
                _ => None,
            },
            _ => None,
        };
        Ok(Output { object: ObjectOutput::of(&target, object.as_ref(), None), status })
    }
}

/// What a failure looks like, with the controller's words.
fn describe(failure: &Expression, object: Option<&Value>) -> String {
    match failure {
        Expression::Condition { kind, status } => {
            let conditions = object.and_then(|object| object.pointer("/status/conditions")?.as_array());
            let found = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition["type"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(kind)));
            let words: Vec<&str> = ["reason", "message"]
                .iter()
                .filter_map(|key| found?[*key].as_str().filter(|text| !text.is_empty()))
                .collect();
            let words = if words.is_empty() { String::new() } else { format!(" ({})", words.join(": ")) };
            format!("{kind} is {status}{words}")
        }
        Expression::JsonPath { shown, value: Some(value), .. } => format!("{shown} is {value}"),
        Expression::JsonPath { shown, value: None, .. } => format!("{shown} is there"),
        Expression::Exists => "it is there".to_string(),
        Expression::Gone => "it is gone".to_string(),
    }
}
