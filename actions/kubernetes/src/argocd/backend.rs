//! The two ways to an Application, behind one face.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use understudy_sdk::{ActionContext, ActionError};

use super::{
    ArgocdDeps,
    api::{ApiClient, ApiError, Instances},
    application::{AppRef, Application, tidy},
    config::ProjectSettings,
    crd::CrdClient,
    output::AppOutput,
    watch::Watcher,
};
use crate::client::{Clusters, Patience, changes};

/// Where Argo CD's own manifests install it.
const ARGOCD_NAMESPACE: &str = "argocd";

/// How the Application is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    // As a resource, through the cluster's API.
    Crd,
    // Through an Argo CD API server.
    Api,
}

/// What all actions share.
#[derive(Debug)]
pub(crate) struct Argocd {
    pub(crate) instances: Instances,
    pub(crate) project_settings: ProjectSettings,
    pub(crate) clusters: Clusters,
    namespace: Option<String>,
    pod_namespace: Option<String>,
    base_url: Option<String>,
}

/// The inputs by which a step says how an application is reached.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reach<'a> {
    pub(crate) mode: Option<Mode>,
    pub(crate) instance: Option<&'a str>,
    pub(crate) cluster: Option<&'a str>,
}

/// One of the two ways.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Api(Arc<ApiClient>),
    Crd(CrdClient),
}

/// How an application is written.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    /// Whether an existing one that differs is changed.
    pub(crate) upsert: bool,
    /// Whether Argo CD tries to read the sources first (mode api).
    pub(crate) validate: bool,
    /// Who owns the fields (mode crd).
    pub(crate) field_manager: &'static str,
    /// Whether fields that others own are taken over (mode crd).
    pub(crate) force: bool,
}

/// What writing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was none.
    Created,
    /// There was one just like this.
    Unchanged,
    /// There was another one; these are the differences.
    Updated(Vec<String>),
}

impl Argocd {
    pub(crate) fn new(clusters: &Clusters, deps: &ArgocdDeps) -> Self {
        Self {
            instances: Instances::new(&deps.config, &deps.http),
            project_settings: deps.config.project_settings.clone(),
            clusters: clusters.clone(),
            namespace: deps.config.namespace.clone(),
            pod_namespace: deps.pod_namespace.clone().filter(|namespace| !namespace.is_empty()),
            base_url: deps.config.base_url.clone(),
        }
    }

    /// The way a step asks for: its mode, or else the API server it names, or else the cluster.
    ///
    /// # Errors
    /// There is no such instance or cluster, or the inputs contradict each other.
    pub(crate) fn backend(&self, reach: Reach<'_>) -> Result<Backend, ActionError> {
        let mode = reach.mode.unwrap_or(if reach.instance.is_some() { Mode::Api } else { Mode::Crd });
        match mode {
            Mode::Crd => {
                if let Some(name) = reach.instance {
                    // For the link only; a name that nobody knows is a mistake all the same.
                    self.instances.get(name)?;
                }
                Ok(Backend::Crd(CrdClient::new(self.clusters.get(reach.cluster)?)))
            }
            Mode::Api if reach.cluster.is_some() => Err(ActionError::input(
                "clusterName is for mode crd; in mode api argoInstance says which Argo CD is meant, and the destination \
                 which cluster the application goes to",
            )),
            Mode::Api => match (reach.instance, self.instances.only()) {
                (Some(name), _) => Ok(Backend::Api(self.instances.get(name)?)),
                (None, Some(only)) => Ok(Backend::Api(Arc::clone(only))),
                (None, None) => Err(ActionError::input(
                    "mode api needs an argoInstance: argocd.appLocatorMethods of the configuration doesn't have just one \
                     instance",
                )),
            },
        }
    }

    /// The namespace of Applications that name none: `argocd.namespace` of the configuration; in mode crd, where one is
    /// needed, `argocd` after that.
    pub(crate) fn namespace(&self, backend: &Backend) -> Option<String> {
        let fallback = match backend {
            Backend::Api(_) => None,
            Backend::Crd(_) => Some(ARGOCD_NAMESPACE.to_owned()),
        };
        self.namespace.clone().or(fallback)
    }

    /// The namespace of Applications that `argocd:create-helm-application` writes.
    ///
    /// # Errors
    /// None is known; in the words of `@muvaf/create-argocd-application` 0.4.1.
    pub(crate) fn own_namespace(&self) -> Result<String, ActionError> {
        self.namespace.clone().or_else(|| self.pod_namespace.clone()).ok_or_else(|| {
            ActionError::failed(
                "POD_NAMESPACE is not set. Set it to the namespace Argo CD takes Applications from, or set argocd.namespace \
                 in the configuration",
            )
        })
    }

    /// An application's page, where Argo CD's URL is known.
    pub(crate) fn url(&self, reach: Reach<'_>, backend: &Backend, app: &Application) -> Option<String> {
        let only = self.instances.only();
        let instance = match (backend, reach.instance) {
            (Backend::Api(client), _) => Some(Arc::clone(client)),
            (Backend::Crd(_), Some(name)) => self.instances.get(name).ok(),
            (Backend::Crd(_), None) => only.cloned(),
        };
        // With several instances their common page can't be that of all of them.
        let common = self.base_url.as_deref().filter(|_| only.is_some() || instance.is_none());
        let base = common.or_else(|| instance.as_deref().map(ApiClient::url))?;
        Some(match app.namespace() {
            Some(namespace) => format!("{base}/applications/{namespace}/{}", app.name()),
            None => format!("{base}/applications/{}", app.name()),
        })
    }

    /// An action's output.
    pub(crate) fn output(&self, reach: Reach<'_>, backend: &Backend, app: &Application) -> AppOutput {
        AppOutput::of(app, self.url(reach, backend, app))
    }
}

impl Backend {
    /// The application, if there is one.
    ///
    /// # Errors
    /// It can't be asked for.
    pub(crate) async fn find(&self, ctx: &ActionContext, at: &AppRef) -> Result<Option<Application>, ActionError> {
        match self {
            Self::Api(client) => client.find(ctx, at).await,
            Self::Crd(client) => client.find(at).await,
        }
    }

    /// Writes an application whose object has been validated. In a dry run the cluster only checks it (mode crd), or
    /// nothing is asked at all (mode api, whose server has no dry run) and the object itself is the answer.
    ///
    /// # Errors
    /// It exists and differs, where it may not be changed; or it is refused.
    pub(crate) async fn write(
        &self,
        ctx: &ActionContext,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<(Application, Outcome), ActionError> {
        match self {
            Self::Crd(client) => client.write(ctx, object, options).await,
            Self::Api(_) if ctx.is_dry_run => Ok((Application::new(object.clone()), Outcome::Created)),
            Self::Api(client) => write_by_api(ctx, client, object, options).await,
        }
    }

    /// Follows an application.
    ///
    /// # Errors
    /// The cluster can't be asked which kinds it has.
    pub(crate) async fn watch(
        &self,
        ctx: &ActionContext,
        at: &AppRef,
        patience: Patience,
    ) -> Result<Watcher, ActionError> {
        Ok(match self {
            Self::Api(client) => Watcher::api(Arc::clone(client), at.clone()),
            Self::Crd(client) => Watcher::crd(client.watch(ctx, at, patience).await?),
        })
    }
}

async fn write_by_api(
    ctx: &ActionContext,
    client: &ApiClient,
    object: &Value,
    options: &WriteOptions,
) -> Result<(Application, Outcome), ActionError> {
    let at = reference(object);
    let mut wanted = object.clone();
    if let Some(existing) = client.find(ctx, &at).await? {
        keep_finalizers(&existing, &mut wanted);
        let differences = differences(&existing, &wanted);
        if differences.is_empty() {
            return Ok((existing, Outcome::Unchanged));
        }
        if existing.is_deleting() {
            return Err(being_deleted(&at));
        }
        if !options.upsert {
            return Err(differs(&at, &differences));
        }
        let app = client.create(ctx, &wanted, true, options.validate).await?;
        return Ok((app, Outcome::Updated(differences)));
    }
    match client.create(ctx, &wanted, options.upsert, options.validate).await {
        Ok(app) => Ok((app, Outcome::Created)),
        Err(error) => {
            let said = matches!(&error, ApiError::Refused { message, .. } if message.contains("spec is different"));
            if !said {
                return Err(error.into());
            }
            // It came into being meanwhile, or the account may not see it.
            let existing = client.find(ctx, &at).await?;
            let differences = existing.map(|existing| differences(&existing, &wanted)).unwrap_or_default();
            Err(differs(&at, &differences).with_source(error))
        }
    }
}

/// Where an object says that it is.
pub(crate) fn reference(object: &Value) -> AppRef {
    let app = Application::new(object.clone());
    AppRef { name: app.name().to_owned(), namespace: app.namespace().map(str::to_owned), project: None }
}

/// Argo CD replaces the finalizers with those sent, so those of an application that nothing is said about are sent back.
fn keep_finalizers(existing: &Application, wanted: &mut Value) {
    let Some(finalizers) = existing.object().pointer("/metadata/finalizers") else { return };
    if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("finalizers").or_insert_with(|| finalizers.clone());
    }
}

/// How an existing application differs from what is wanted: the whole spec, and those labels, annotations and finalizers
/// that are wanted. One line each.
pub(crate) fn differences(existing: &Application, wanted: &Value) -> Vec<String> {
    let part = |object: &Value, kept: &Value| {
        let mut metadata = serde_json::Map::new();
        for name in ["labels", "annotations"] {
            let names = kept.pointer(&format!("/metadata/{name}")).and_then(Value::as_object);
            let have = object.pointer(&format!("/metadata/{name}")).and_then(Value::as_object);
            let (Some(names), Some(have)) = (names, have) else { continue };
            let members: serde_json::Map<_, _> =
                have.iter().filter(|(key, _)| names.contains_key(*key)).map(|(k, v)| (k.clone(), v.clone())).collect();
            metadata.insert(name.to_owned(), Value::Object(members));
        }
        if kept.pointer("/metadata/finalizers").is_some()
            && let Some(finalizers) = object.pointer("/metadata/finalizers")
        {
            metadata.insert("finalizers".to_owned(), finalizers.clone());
        }
        let mut spec = tidy(object.get("spec")).unwrap_or_else(|| serde_json::json!({}));
        if let Some(spec) = spec.as_object_mut() {
            spec.entry("project").or_insert_with(|| "default".into());
        }
        let metadata = tidy(Some(&Value::Object(metadata))).unwrap_or_else(|| serde_json::json!({}));
        serde_json::json!({ "metadata": metadata, "spec": spec })
    };
    changes(&part(existing.object(), wanted), &part(wanted, wanted), false)
}

/// The error for an application that isn't to be changed.
pub(crate) fn differs(at: &AppRef, differences: &[String]) -> ActionError {
    let list: String = differences.iter().map(|line| format!("\n  {line}")).collect();
    let how =
        if list.is_empty() { " (how is not for this account to see)" } else { ", and differs (there → wanted):" };
    ActionError::conflict(format!(
        "The application {at} exists already{how}{list}\nChoose another name, delete it, or let argocd:create-app change it with \
         upsert: true"
    ))
}

/// The error for an application that is on its way out.
pub(crate) fn being_deleted(at: &AppRef) -> ActionError {
    ActionError::conflict(format!(
        "The application {at} is being deleted. Try again when it is gone; a resource that can't be deleted, or an Argo CD \
         that isn't running, holds it up"
    ))
}

/// The error for an application that there should be.
pub(crate) fn missing(at: &AppRef, backend: &Backend) -> ActionError {
    let place = match backend {
        Backend::Api(client) => format!("Argo CD instance '{}' has none that its account may see", client.name()),
        Backend::Crd(_) => "the cluster has no such Application".to_owned(),
    };
    ActionError::not_found(format!("There is no application {at}: {place}. Check its name and namespace"))
}
