//! Applications as resources of a cluster.

use std::sync::Arc;

use serde_json::{Value, json};
use understudy_sdk::{ActionContext, ActionError};

use super::{
    application::{AppRef, Application},
    backend::{Outcome, WriteOptions, being_deleted, differences, differs, reference},
};
use crate::client::{
    ApplyOptions, Cluster, DeleteOptions, KubeError, Manifest, Outcome as Applying, Patience, Target, Watch, as_value,
};

const API_VERSION: &str = "argoproj.io/v1alpha1";
const KIND: &str = "Application";
/// Owns the fields that steps write.
pub(crate) const FIELD_MANAGER: &str = "understudy";
/// Makes Argo CD delete an application's resources before the application goes.
pub(crate) const RESOURCES_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
/// How Argo CD is asked to compare an application at once; it takes the annotation away when it has.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// The Applications of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct CrdClient {
    cluster: Arc<Cluster>,
}

impl CrdClient {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    async fn target(&self, at: &AppRef) -> Result<Target, KubeError> {
        let kind = self.cluster.kind(API_VERSION, KIND).await?;
        self.cluster.target(&kind, at.namespace.as_deref(), &at.name).await
    }

    pub(crate) async fn find(&self, at: &AppRef) -> Result<Option<Application>, ActionError> {
        let target = self.target(at).await?;
        let found = self.cluster.get(&target).await?.map(|object| Application::new(as_value(&object)));
        Ok(found.filter(|app| at.is(app)))
    }

    pub(crate) async fn write(
        &self,
        ctx: &ActionContext,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<(Application, Outcome), ActionError> {
        let at = reference(object);
        let existing = self.find(&at).await?;
        if let Some(existing) = &existing {
            let differences = differences(existing, object);
            if !options.upsert {
                return if differences.is_empty() {
                    Ok((existing.clone(), Outcome::Unchanged))
                } else {
                    Err(differs(&at, &differences))
                };
            }
            if existing.is_deleting() {
                return Err(being_deleted(&at));
            }
        }
        let manifest = Manifest::new(object.clone(), "the Application")?;
        let apply = ApplyOptions {
            field_manager: options.field_manager.to_owned(),
            force: options.force,
            dry_run: ctx.is_dry_run,
            ..ApplyOptions::default()
        };
        let applied = self.cluster.apply(&manifest, &apply).await?;
        let outcome = match applied.outcome {
            Applying::Created => Outcome::Created,
            Applying::Unchanged => Outcome::Unchanged,
            Applying::Configured => Outcome::Updated(applied.changes),
        };
        Ok((Application::new(as_value(&applied.object)), outcome))
    }

    pub(crate) async fn watch(
        &self,
        ctx: &ActionContext,
        at: &AppRef,
        patience: Patience,
    ) -> Result<Watch, ActionError> {
        let target = self.cluster.when_reachable(ctx, patience, || self.target(at)).await?;
        Ok(self.cluster.watch(&target, &ctx.log))
    }

    /// Asks Argo CD to compare the application with its sources.
    pub(crate) async fn request_refresh(&self, at: &AppRef) -> Result<Application, KubeError> {
        self.merge(at, &json!({ "metadata": { "annotations": { REFRESH: "normal" } } })).await
    }

    /// Asks Argo CD for an operation, which must not run yet.
    pub(crate) async fn request_operation(
        &self,
        app: &Application,
        at: &AppRef,
        operation: &Value,
    ) -> Result<Application, KubeError> {
        let version = app.object().pointer("/metadata/resourceVersion");
        // With the version, somebody else's operation isn't overwritten; without the last operation's state, nobody takes
        // its end for the new one's.
        let patch = json!({
            "metadata": { "resourceVersion": version },
            "operation": operation,
            "status": { "operationState": null },
        });
        self.merge(at, &patch).await
    }

    /// Deletes the application; with `cascade` Argo CD deletes its resources first.
    pub(crate) async fn delete(&self, app: &Application, at: &AppRef, cascade: Option<&str>) -> Result<(), KubeError> {
        let target = self.target(at).await?;
        let present =
            app.object().pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut finalizers: Vec<Value> = present
            .iter()
            .filter(|name| !name.as_str().is_some_and(|name| name.starts_with(RESOURCES_FINALIZER)))
            .cloned()
            .collect();
        finalizers.extend(cascade.map(|suffix| json!(format!("{RESOURCES_FINALIZER}{suffix}"))));
        // Finalizers can't be added to what is being deleted.
        if finalizers != present && !app.is_deleting() {
            self.merge(at, &json!({ "metadata": { "finalizers": finalizers } })).await?;
        }
        self.cluster.delete(&target, &DeleteOptions::default()).await.map(drop)
    }

    async fn merge(&self, at: &AppRef, patch: &Value) -> Result<Application, KubeError> {
        let target = self.target(at).await?;
        let object = self.cluster.merge(&target, patch, FIELD_MANAGER, false).await?;
        Ok(Application::new(as_value(&object)))
    }
}

/// Whether Argo CD has yet to answer a request to compare.
pub(crate) fn is_refreshing(app: &Application) -> bool {
    app.object().pointer("/metadata/annotations").and_then(|annotations| annotations.get(REFRESH)).is_some()
}
