//! `argocd:delete-app`

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout_at;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration};

use super::{
    application::{AppRef, Application},
    backend::{Argocd, Backend, Mode, Reach},
    output::AppOutput,
    watch::{Seen, Watcher},
};
use crate::client::{Patience, subdomain};

const TIMEOUT: HumanDuration = HumanDuration::from_secs(600);

/// Deletes an application.
#[derive(Debug)]
pub(crate) struct DeleteApp(pub(crate) Arc<Argocd>);

/// What becomes of an application's resources, and when the application goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Propagation {
    // They go before it does, and what they own before them.
    Foreground,
    // They go before it does; what they own may go later.
    Background,
}

/// The input of [`DeleteApp`].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// The application's name.
    name: String,
    /// The namespace of the Application resource; Argo CD's own when left out.
    namespace: Option<String>,
    /// Only if it is in this project.
    project: Option<String>,
    /// `crd`: delete the resource; `api`: through an Argo CD API server. Left out: `api` with an argoInstance, else `crd`.
    mode: Option<Mode>,
    /// The Argo CD instance, by its name in `argocd.appLocatorMethods`.
    argo_instance: Option<String>,
    /// The cluster with the Application resource, by its name in `kubernetes.clusterLocatorMethods` (mode crd).
    cluster_name: Option<String>,
    /// Whether its resources are deleted, too; true when left out. Else they stay as they are.
    #[schemars(extend("default" = true))]
    cascade: Option<bool>,
    /// How its resources are deleted; `foreground` when left out.
    propagation_policy: Option<Propagation>,
    /// Whether to wait until it is gone; true when left out.
    #[schemars(extend("default" = true))]
    wait: Option<bool>,
    /// How long to wait at most, e.g. `15m`; ten minutes when left out.
    timeout: Option<HumanDuration>,
}

impl Input {
    fn reach(&self) -> Reach<'_> {
        Reach { mode: self.mode, instance: self.argo_instance.as_deref(), cluster: self.cluster_name.as_deref() }
    }
}

#[async_trait]
impl Action for DeleteApp {
    type Input = Input;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "argocd:delete-app"
    }
    fn description(&self) -> &'static str {
        "Deletes an Argo CD application, its resources with it unless cascade is false, and waits until it is gone without \
         occupying a worker. One that is gone already is fine. Mode crd needs the verbs get, patch and delete (and list and \
         watch for the wait) on applications.argoproj.io in the Application's namespace; mode api an account that may get and \
         delete the application (`p, <account>, applications, delete, <project>/<name>, allow`)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            ActionExample {
                description: "Delete an application with all that it deployed".into(),
                example: "steps:\n  - id: delete\n    name: Delete the application\n    action: argocd:delete-app\n    input:\n      name: shop\n      timeout: 5m\n".into(),
            },
            ActionExample {
                description: "Take an application out of Argo CD and leave its resources".into(),
                example: "steps:\n  - id: delete\n    name: Delete the application\n    action: argocd:delete-app\n    input:\n      name: shop\n      argoInstance: main\n      cascade: false\n".into(),
            },
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(AppOutput::schema())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<AppOutput, ActionError> {
        subdomain(&input.name).map_err(|reason| ActionError::input(format!("name: {reason}")))?;
        let cascade = input.cascade.unwrap_or(true);
        if !cascade && input.propagation_policy.is_some() {
            return Err(ActionError::input("propagationPolicy: says how resources are deleted, but cascade is false"));
        }
        let backend = self.0.backend(input.reach())?;
        let at = AppRef {
            name: input.name.clone(),
            namespace: input.namespace.clone().or_else(|| self.0.namespace(&backend)),
            project: input.project.clone(),
        };
        let gone = AppOutput { name: at.name.clone(), namespace: at.namespace.clone(), ..AppOutput::default() };
        let with = if cascade { "with its resources" } else { "without its resources" };
        if ctx.is_dry_run {
            ctx.log.info(format!("Dry run: the application {at} would be deleted {with}"));
            return Ok(gone);
        }
        let Some(app) = backend.find(ctx, &at).await? else {
            ctx.log.info(format!("There is no application {at} (any more); nothing to do"));
            return Ok(gone);
        };
        if app.is_deleting() {
            ctx.log.info(format!("The application {at} is being deleted already"));
        } else {
            delete(ctx, &backend, &at, &app, cascade, input.propagation_policy).await?;
            ctx.log.info(format!("Deleting the application {at} {with}"));
        }
        if input.wait.unwrap_or(true) {
            let limit = input.timeout.unwrap_or(TIMEOUT);
            let patience = Patience::new(limit.get());
            let mut watcher = backend.watch(ctx, &at, patience).await?;
            let mut last = None;
            let followed = until_gone(ctx, &at, &mut watcher, &mut last);
            let ended = ctx.waiting(timeout_at(patience.deadline, followed)).await?;
            match ended {
                Ok(result) => result?,
                Err(_) => return Err(still_there(&at, limit, last.as_ref(), watcher.outage())),
            }
            ctx.log.info(format!("The application {at} is gone"));
        }
        Ok(gone)
    }
}

async fn delete(
    ctx: &ActionContext,
    backend: &Backend,
    at: &AppRef,
    app: &Application,
    cascade: bool,
    propagation: Option<Propagation>,
) -> Result<(), ActionError> {
    match backend {
        Backend::Api(client) => {
            let policy = cascade.then_some(match propagation {
                Some(Propagation::Background) => "background",
                _ => "foreground",
            });
            match client.delete(ctx, app, cascade, policy).await {
                // Somebody was faster.
                Err(error) if error.status() == Some(404) => Ok(()),
                other => other.map_err(ActionError::from),
            }
        }
        Backend::Crd(client) => {
            let suffix = cascade.then_some(match propagation {
                Some(Propagation::Background) => "/background",
                _ => "",
            });
            client.delete(app, at, suffix).await.map_err(ActionError::from)
        }
    }
}

async fn until_gone(
    ctx: &ActionContext,
    at: &AppRef,
    watcher: &mut Watcher,
    last: &mut Option<Application>,
) -> Result<(), ActionError> {
    let mut told = String::new();
    loop {
        let line = match watcher.next().await? {
            Seen::Absent => return Ok(()),
            Seen::Is(app) if !app.is_deleting() => {
                // The stream began before the deletion, or another one of the name was made since.
                *last = Some(*app);
                continue;
            }
            Seen::Is(app) => {
                let line = remains(&app);
                *last = Some(*app);
                line
            }
            Seen::Outage(reason) => format!("{reason}; the wait goes on"),
        };
        if line != told && !line.is_empty() {
            ctx.log.info(format!("{at}: {line}"));
            told = line;
        }
    }
}

/// What is known about what holds a deletion up.
fn remains(app: &Application) -> String {
    app.conditions(&["DeletionError"]).join("; ")
}

fn still_there(at: &AppRef, limit: HumanDuration, last: Option<&Application>, outage: Option<String>) -> ActionError {
    let why = match (outage, last) {
        (Some(outage), _) => format!("the cluster is {outage}"),
        (None, Some(app)) if !app.is_deleting() => "it is there and not being deleted; was it created anew?".to_owned(),
        (None, Some(app)) if !remains(app).is_empty() => remains(app),
        _ => "Argo CD hasn't finished with its resources; its page shows which are left".to_owned(),
    };
    ActionError::failed(format!(
        "The application {at} wasn't gone within {limit}: {why}. A longer timeout waits longer; a retry of the task goes on \
         waiting"
    ))
}
