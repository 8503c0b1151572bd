//! Server-side apply, and what it changed.

use kube::{
    api::{DynamicObject, Patch, PatchParams},
    core::Status,
};
use serde::Serialize;
use serde_json::Value;
use understudy_sdk::ActionLogger;

use super::{Cluster, KubeError, Manifest, Target, diff::changes, error::manager, ownership::applied_by};

/// The field manager of steps that name none.
pub(crate) const FIELD_MANAGER: &str = "understudy";

/// How a manifest is applied.
#[derive(Debug, Clone)]
pub(crate) struct ApplyOptions {
    /// Who owns the fields of the manifest.
    pub(crate) field_manager: String,
    /// Whether fields that others own are taken over.
    pub(crate) force: bool,
    /// Whether the server only checks (`dryRun=All`).
    pub(crate) dry_run: bool,
    /// The namespace of objects that name none.
    pub(crate) namespace: Option<String>,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { field_manager: FIELD_MANAGER.to_string(), force: false, dry_run: false, namespace: None }
    }
}

/// What applying a manifest came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// There was no such object.
    Created,
    /// The object was changed.
    Configured,
    /// The object was as the manifest has it.
    Unchanged,
}

/// An applied object.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// Which object.
    pub(crate) target: Target,
    /// As it is now.
    pub(crate) object: DynamicObject,
    /// What happened.
    pub(crate) outcome: Outcome,
    /// What changed, one line a path; empty when it was created or is unchanged.
    pub(crate) changes: Vec<String>,
    /// Whether the server only checked.
    pub(crate) dry_run: bool,
}

impl Applied {
    /// Tells the task log: one line, and one more for each change.
    pub(crate) fn log(&self, log: &ActionLogger) {
        let target = &self.target;
        match (self.outcome, self.dry_run) {
            (Outcome::Created, false) => log.info(format!("{target} created")),
            (Outcome::Created, true) => log.info(format!("{target} would be created (checked by the cluster)")),
            (Outcome::Configured, false) => log.info(format!("{target} configured")),
            (Outcome::Configured, true) => log.info(format!("{target} would be configured (checked by the cluster)")),
            (Outcome::Unchanged, _) => {
                log.info(format!("{target} unchanged: it is in the cluster as the manifest has it"))
            }
        }
        for change in &self.changes {
            log.info(format!("  {change}"));
        }
    }
}

impl Cluster {
    /// Makes the object as the manifest has it (server-side apply). Needs the verbs `get`, `patch` and, for a new object,
    /// `create`.
    ///
    /// # Errors
    /// The manifest is not valid ([`KubeError::Invalid`] with every cause), others manage fields of it
    /// ([`KubeError::Conflict`] with managers and fields), its kind is unknown, or the cluster refuses or can't be reached.
    pub(crate) async fn apply(&self, manifest: &Manifest, options: &ApplyOptions) -> Result<Applied, KubeError> {
        let (target, value) = self.prepare(manifest, options.namespace.as_deref()).await?;
        let before = self.get(&target).await?;
        let mut params = PatchParams::apply(&options.field_manager);
        params.force = options.force;
        params.dry_run = options.dry_run;
        let (patch, params, named) = (&Patch::Apply(&value), &params, &target);
        let object = self
            .call(
                |connection| named.request(connection, "patch"),
                |client| async move {
                    let api = named.api(client);
                    match api.patch(&named.name, params, patch).await {
                        Err(kube::Error::Api(status)) if is_of_predecessors(&status) => {
                            api.patch(&named.name, &params.clone().force(), patch).await
                        }
                        answer => answer,
                    }
                },
            )
            .await?;
        let changes = match &before {
            // A Secret's stringData, which we apply, arrives in data, which we don't.
            Some(before) if target.kind.is_secret() => changes(&as_value(before), &as_value(&object), true),
            Some(before) => {
                let (before, after) = applied_by(&options.field_manager, &as_value(before), &as_value(&object));
                changes(&before, &after, false)
            }
            None => Vec::new(),
        };
        let outcome = match (&before, changes.is_empty()) {
            (None, _) => Outcome::Created,
            (Some(_), true) => Outcome::Unchanged,
            (Some(_), false) => Outcome::Configured,
        };
        Ok(Applied { target, object, outcome, changes, dry_run: options.dry_run })
    }
}

/// The field managers of the actions this service takes the place of.
const PREDECESSORS: [&str; 2] = ["backstage", "backstage-scaffolder"];

/// Whether the only others that manage the fields are what wrote them for the same portal before.
fn is_of_predecessors(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    status.code == 409
        && !causes.is_empty()
        && causes.iter().all(|cause| cause.reason == "FieldManagerConflict" && PREDECESSORS.contains(&manager(cause)))
}

/// The object as JSON.
pub(crate) fn as_value(object: &DynamicObject) -> Value {
    // Maps with text keys and plain values only.
    serde_json::to_value(object).unwrap_or_default()
}
