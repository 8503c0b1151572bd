//! `argocd:sync-app`

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample};

use super::{
    api::{ApiClient, ApiError},
    application::{AppRef, Application},
    backend::{Argocd, Backend, Mode, Reach, being_deleted, missing},
    crd::{CrdClient, is_refreshing},
    output::AppOutput,
    watch::Seen,
};
use crate::client::{KubeError, Patience, subdomain};

/// How long Argo CD gets to compare an application when it was asked to through the resource.
const REFRESH_WITHIN: Duration = Duration::from_secs(20);
/// Attempts to write an operation into a resource that others write, too.
const ATTEMPTS: usize = 5;
/// Who starts the syncs, as Argo CD shows it.
const INITIATOR: &str = "understudy";

/// Starts a sync.
#[derive(Debug)]
pub(crate) struct SyncApp(pub(crate) Arc<Argocd>);

/// The input of [`SyncApp`].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// The application's name.
    name: String,
    /// The namespace of the Application resource; Argo CD's own when left out.
    namespace: Option<String>,
    /// Only if it is in this project.
    project: Option<String>,
    /// `crd`: write the operation into the resource; `api`: through an Argo CD API server. Left out: `api` with an argoInstance, else `crd`.
    mode: Option<Mode>,
    /// The Argo CD instance, by its name in `argocd.appLocatorMethods`.
    argo_instance: Option<String>,
    /// The cluster with the Application resource, by its name in `kubernetes.clusterLocatorMethods` (mode crd).
    cluster_name: Option<String>,
    /// The commit, tag or chart version to sync to; the source's targetRevision when left out.
    revision: Option<String>,
    /// Whether resources that the sources no longer have are deleted.
    prune: Option<bool>,
    /// Options instead of those of the application's sync policy, e.g. `Replace=true`.
    sync_options: Option<Vec<String>>,
    /// Only these resources.
    resources: Option<Vec<Resource>>,
    /// Whether to sync an application that is in sync.
    force: Option<bool>,
}

/// A resource of an application.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Resource {
    /// The API group; empty or left out for the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The kind.
    kind: String,
    /// The name.
    name: String,
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

impl Input {
    fn reach(&self) -> Reach<'_> {
        Reach { mode: self.mode, instance: self.argo_instance.as_deref(), cluster: self.cluster_name.as_deref() }
    }
    fn revision(&self) -> Option<&str> {
        self.revision.as_deref().filter(|revision| !revision.is_empty())
    }
    /// Whether there is nothing to do for an application that was just compared with its sources.
    fn is_done(&self, app: &Application) -> bool {
        let failed = app.operation().is_some_and(|operation| operation.has_failed() && operation.is_about(app));
        let at_revision =
            self.revision().is_none_or(|wanted| app.revisions().iter().any(|revision| revision.starts_with(wanted)));
        app.sync() == Some("Synced")
            && app.is_compared_with_spec()
            && at_revision
            && !failed
            && self.resources.is_none()
            && !self.force.unwrap_or_default()
    }
}

#[async_trait]
impl Action for SyncApp {
    type Input = Input;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "argocd:sync-app"
    }
    fn description(&self) -> &'static str {
        "Has Argo CD compare an application with its sources and starts a sync unless it is in sync; waiting for its end is for \
         argocd:wait-app. Run again it finds the application in sync, or the sync under way, and starts nothing. Mode crd needs \
         the verbs get, list, watch and patch on applications.argoproj.io in the Application's namespace; mode api an account \
         that may get and sync the application (`p, <account>, applications, sync, <project>/<name>, allow`)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "Sync an application without an automated sync policy, and wait".into(),
            example: "steps:\n  - id: sync\n    name: Start the sync\n    action: argocd:sync-app\n    input:\n      name: shop\n      prune: true\n  - id: wait\n    name: Wait for it\n    action: argocd:wait-app\n    input:\n      name: shop\n".into(),
        }]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(AppOutput::schema())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<AppOutput, ActionError> {
        subdomain(&input.name).map_err(|reason| ActionError::input(format!("name: {reason}")))?;
        let backend = self.0.backend(input.reach())?;
        let at = AppRef {
            name: input.name.clone(),
            namespace: input.namespace.clone().or_else(|| self.0.namespace(&backend)),
            project: input.project.clone(),
        };
        if ctx.is_dry_run {
            ctx.log.info(format!("Dry run: a sync of the application {at} would be started"));
            return Ok(AppOutput { name: at.name, namespace: at.namespace, ..AppOutput::default() });
        }
        let app = match &backend {
            Backend::Api(client) => sync_by_api(ctx, client, &backend, &at, &input).await?,
            Backend::Crd(client) => sync_by_resource(ctx, client, &backend, &at, &input).await?,
        };
        Ok(self.0.output(input.reach(), &backend, &app))
    }
}

async fn found(ctx: &ActionContext, backend: &Backend, at: &AppRef, input: &Input) -> Result<Application, ActionError> {
    let app = backend.find(ctx, at).await?.ok_or_else(|| missing(at, backend))?;
    if app.is_deleting() {
        return Err(being_deleted(at));
    }
    let sources = app.object().pointer("/spec/sources").and_then(Value::as_array).map_or(0, Vec::len);
    if input.revision().is_some() && sources > 0 {
        return Err(ActionError::input(format!(
            "revision: the application {at} has {sources} sources, so one revision doesn't say which is meant; set the \
             targetRevision of the source with argocd:create-app"
        )));
    }
    Ok(app)
}

/// Whether an operation is under way; says so.
fn is_busy(ctx: &ActionContext, at: &AppRef, app: &Application) -> bool {
    let running = app.operation().filter(|operation| !operation.is_finished());
    let phase = match running {
        Some(operation) => operation.phase(),
        None if app.is_operation_requested() => "requested",
        None => return false,
    };
    ctx.log.info(format!("The application {at} has an operation under way already ({phase}); no other is started"));
    true
}

fn report_done(ctx: &ActionContext, at: &AppRef, app: &Application) {
    let revision = app.revision().map(|revision| format!(" at revision {revision}")).unwrap_or_default();
    ctx.log.info(format!("The application {at} is in sync already{revision}; nothing to do"));
}

fn report_started(ctx: &ActionContext, at: &AppRef, app: &Application, input: &Input) {
    let to = input.revision().map(|revision| format!(" to {revision}")).unwrap_or_default();
    let out_of_sync = app.resources_out_of_sync();
    let what = if out_of_sync.is_empty() { String::new() } else { format!(" ({})", out_of_sync.join(", ")) };
    ctx.log.info(format!("Started a sync of the application {at}{to}{what}"));
}

async fn sync_by_api(
    ctx: &ActionContext,
    client: &ApiClient,
    backend: &Backend,
    at: &AppRef,
    input: &Input,
) -> Result<Application, ActionError> {
    let app = found(ctx, backend, at, input).await?;
    if is_busy(ctx, at, &app) {
        return Ok(app);
    }
    let app = client.refresh(ctx, &app).await?;
    if input.is_done(&app) {
        report_done(ctx, at, &app);
        return Ok(app);
    }
    let mut request = json!({ "prune": input.prune.unwrap_or_default(), "dryRun": false });
    if let Some(revision) = input.revision() {
        request["revision"] = revision.into();
    }
    if let Some(options) = &input.sync_options {
        request["syncOptions"] = json!({ "items": options });
    }
    if let Some(resources) = &input.resources {
        request["resources"] = json!(resources);
    }
    match client.sync(ctx, &app, request).await {
        Ok(started) => {
            report_started(ctx, at, &app, input);
            Ok(started)
        }
        Err(ApiError::Refused { message, .. }) if message.contains("another operation is already in progress") => {
            ctx.log.info(format!("The application {at} has an operation under way already; no other is started"));
            Ok(app)
        }
        Err(error) => Err(error.into()),
    }
}

async fn sync_by_resource(
    ctx: &ActionContext,
    client: &CrdClient,
    backend: &Backend,
    at: &AppRef,
    input: &Input,
) -> Result<Application, ActionError> {
    let app = found(ctx, backend, at, input).await?;
    if is_busy(ctx, at, &app) {
        return Ok(app);
    }
    let mut app = refreshed(ctx, client, backend, at).await?;
    for _ in 0..ATTEMPTS {
        if is_busy(ctx, at, &app) {
            return Ok(app);
        }
        if input.is_done(&app) {
            report_done(ctx, at, &app);
            return Ok(app);
        }
        match client.request_operation(&app, at, &operation(&app, input)).await {
            Ok(started) => {
                report_started(ctx, at, &app, input);
                return Ok(started);
            }
            Err(KubeError::Conflict(_)) => app = found(ctx, backend, at, input).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ActionError::conflict(format!(
        "The application {at} changes so fast that no operation could be written into it; try again"
    )))
}

/// The operation that the API server would write.
fn operation(app: &Application, input: &Input) -> Value {
    let policy =
        |name: &str| app.object().pointer(&format!("/spec/syncPolicy/{name}")).filter(|value| !value.is_null());
    let mut sync = json!({ "prune": input.prune.unwrap_or_default() });
    if let Some(revision) = input.revision() {
        sync["revision"] = revision.into();
    }
    if let Some(options) =
        input.sync_options.as_ref().map(|options| json!(options)).or_else(|| policy("syncOptions").cloned())
    {
        sync["syncOptions"] = options;
    }
    if let Some(resources) = &input.resources {
        sync["resources"] = json!(resources);
    }
    let mut operation = json!({ "initiatedBy": { "username": INITIATOR }, "sync": sync });
    if let Some(retry) = policy("retry") {
        operation["retry"] = retry.clone();
    }
    operation
}

/// Has Argo CD compare the application, and waits for that for a while.
async fn refreshed(
    ctx: &ActionContext,
    client: &CrdClient,
    backend: &Backend,
    at: &AppRef,
) -> Result<Application, ActionError> {
    let asked = client.request_refresh(at).await?;
    let mut watcher = backend.watch(ctx, at, Patience::new(REFRESH_WITHIN)).await?;
    let answered = async {
        loop {
            match watcher.next().await? {
                Seen::Is(app) if !is_refreshing(&app) => return Ok::<_, ActionError>(Some(*app)),
                Seen::Absent => return Ok(None),
                _ => {}
            }
        }
    };
    match ctx.waiting(timeout(REFRESH_WITHIN, answered)).await? {
        Ok(Ok(Some(app))) => Ok(app),
        Ok(Ok(None)) => Err(missing(at, backend)),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            ctx.log.warn(format!(
                "Argo CD hasn't compared the application {at} with its sources within {} s; going on with what it last found",
                REFRESH_WITHIN.as_secs()
            ));
            Ok(backend.find(ctx, at).await?.unwrap_or(asked))
        }
    }
}
