//! The actions over Roadie's Argo CD service: `argocd:create-resources` (`@roadiehq/scaffolder-backend-argocd` 1.8.1) and
//! `cnoe:create-argocd-app`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample};

use super::{IN_CLUSTER, check, report};
use crate::{
    argocd::{
        api::{ApiClient, ApiError},
        backend::{Argocd, Backend, Mode, Reach, WriteOptions},
        crd::{FIELD_MANAGER, RESOURCES_FINALIZER},
        output::AppOutput,
    },
    client::{changes, subdomain},
};

/// What these actions vary of an Application.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) project: Option<&'a str>,
    /// Of the destination.
    pub(super) namespace: Option<&'a str>,
    pub(super) repo_url: &'a str,
    pub(super) path: &'a str,
    pub(super) label: &'a str,
}

/// The Application that Roadie's service writes (`@roadiehq/backstage-plugin-argo-cd-node` 2.0.0).
pub(super) fn application(parts: &Parts<'_>) -> Value {
    let mut destination = json!({ "server": IN_CLUSTER });
    if let Some(namespace) = parts.namespace {
        destination["namespace"] = namespace.into();
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": parts.name,
            "labels": { "backstage-name": parts.label },
            "finalizers": [RESOURCES_FINALIZER],
        },
        "spec": {
            "destination": destination,
            "project": parts.project.unwrap_or("default"),
            "revisionHistoryLimit": 10,
            "source": { "path": parts.path, "repoURL": parts.repo_url },
            "syncPolicy": {
                "automated": { "allowEmpty": true, "prune": true, "selfHeal": true },
                "retry": { "backoff": { "duration": "5s", "factor": 2, "maxDuration": "5m" }, "limit": 10 },
                "syncOptions": ["CreateNamespace=false", "FailOnSharedResource=true", "ServerSideApply=true"],
            },
        },
    })
}

/// The project that Roadie's service writes: one namespace of Argo CD's own cluster, one repository.
fn project(name: &str, namespace: &str, repo_url: &str, settings: &Map<String, Value>) -> Value {
    let mut spec = json!({
        "destinations": [{ "name": "local", "namespace": namespace, "server": IN_CLUSTER }],
        "sourceRepos": [repo_url],
    });
    if let Some(spec) = spec.as_object_mut() {
        spec.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    json!({ "metadata": { "name": name, "finalizers": [RESOURCES_FINALIZER] }, "spec": spec })
}

/// Makes a project and an application in it.
#[derive(Debug)]
pub(crate) struct CreateResources(pub(crate) Arc<Argocd>);

/// The input of [`CreateResources`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ResourcesInput {
    /// The application's name.
    app_name: String,
    /// The Argo CD instance, by its name in `argocd.appLocatorMethods`.
    argo_instance: String,
    /// The namespace that it is installed in.
    namespace: String,
    /// The Git repository.
    repo_url: String,
    /// The folder of the Git repository.
    path: String,
    /// The value of the label `backstage-name`; the application's name when left out.
    label_value: Option<String>,
    /// The project's name; the application's when left out.
    project_name: Option<String>,
}

#[async_trait]
impl Action for CreateResources {
    type Input = ResourcesInput;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "argocd:create-resources"
    }
    fn description(&self) -> &'static str {
        "Creates an Argo CD project for one repository and one namespace, and an application in it, through an Argo CD API \
         server. Run again it finds both and changes nothing; others of the same names are errors. The account may have to \
         create projects and applications, and should be allowed to get them (`p, <account>, projects, create, <project>, \
         allow`, `p, <account>, applications, create, <project>/<name>, allow`, and the same with get)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "Make a project and an application".into(),
            example: "steps:\n  - id: create-argocd-resources\n    name: Create Argo CD resources\n    action: argocd:create-resources\n    input:\n      appName: shop\n      argoInstance: main\n      namespace: shop\n      repoUrl: https://github.com/acme/shop.git\n      labelValue: shop\n      path: deploy\n".into(),
        }]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(AppOutput::schema())
    }

    async fn run(&self, ctx: &ActionContext, input: ResourcesInput) -> Result<AppOutput, ActionError> {
        let client = self.0.instances.get(&input.argo_instance)?;
        let project_name = input.project_name.as_deref().unwrap_or(&input.app_name);
        let app = application(&Parts {
            name: &input.app_name,
            project: Some(project_name),
            namespace: Some(&input.namespace),
            repo_url: &input.repo_url,
            path: &input.path,
            label: input.label_value.as_deref().unwrap_or(&input.app_name),
        });
        check(&app, Vec::new())?;
        let project = project(project_name, &input.namespace, &input.repo_url, &self.0.project_settings.0);
        if ctx.is_dry_run {
            subdomain(project_name).map_err(ActionError::input)?;
            ctx.log.info(format!("Dry run: the project {project_name} would be created"));
        } else {
            write_project(ctx, &client, project_name, &project).await?;
        }
        write_application(&self.0, ctx, &input.argo_instance, &app).await
    }
}

/// Makes an application in a project that is there.
#[derive(Debug)]
pub(crate) struct CnoeCreateApp(pub(crate) Arc<Argocd>);

/// The input of [`CnoeCreateApp`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CnoeInput {
    /// The Git repository.
    repo_url: String,
    /// The project's name.
    project_name: String,
    /// The application's name.
    app_name: String,
    /// The Argo CD instance, by its name in `argocd.appLocatorMethods`.
    argo_instance: String,
    /// The folder of the Git repository.
    path: String,
    /// The value of the label `backstage-name`; the application's name when left out.
    label_value: Option<String>,
    /// The namespace that it is installed in.
    app_namespace: String,
}

#[async_trait]
impl Action for CnoeCreateApp {
    type Input = CnoeInput;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "cnoe:create-argocd-app"
    }
    fn description(&self) -> &'static str {
        "Creates an Argo CD application for a folder of a Git repository through an Argo CD API server. Run again it finds \
         the application and changes nothing; another one of the same name is an error. The account must be allowed to create \
         the application and should be allowed to get it (`p, <account>, applications, create, <project>/<name>, allow`, and \
         the same with get)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "Make an application in the project default".into(),
            example: "steps:\n  - id: create-argocd-app\n    name: Create the application\n    action: cnoe:create-argocd-app\n    input:\n      appName: shop\n      appNamespace: shop\n      argoInstance: in-cluster\n      projectName: default\n      repoUrl: https://cnoe.localtest.me/gitea/giteaAdmin/shop.git\n      path: kustomize/base\n".into(),
        }]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(AppOutput::schema())
    }

    async fn run(&self, ctx: &ActionContext, input: CnoeInput) -> Result<AppOutput, ActionError> {
        self.0.instances.get(&input.argo_instance)?;
        let app = application(&Parts {
            name: &input.app_name,
            project: Some(&input.project_name),
            namespace: Some(&input.app_namespace),
            repo_url: &input.repo_url,
            path: &input.path,
            label: input.label_value.as_deref().unwrap_or(&input.app_name),
        });
        check(&app, Vec::new())?;
        write_application(&self.0, ctx, &input.argo_instance, &app).await
    }
}

async fn write_project(
    ctx: &ActionContext,
    client: &ApiClient,
    name: &str,
    project: &Value,
) -> Result<(), ActionError> {
    let differences = |existing: &Value| {
        let spec = |object: &Value| json!({ "spec": object.get("spec").cloned().unwrap_or_default() });
        changes(&spec(existing), &spec(project), false)
    };
    let existing = client.project(ctx, name).await?;
    if let Some(existing) = &existing
        && differences(existing).is_empty()
    {
        ctx.log.info(format!("The project {name} is unchanged: it is there as it is to be"));
        return Ok(());
    }
    match client.create_project(ctx, project).await {
        Ok(_) if existing.is_none() => {
            ctx.log.info(format!("Created the project {name}"));
            Ok(())
        }
        // Argo CD finds them equal in its own way.
        Ok(_) => {
            ctx.log.info(format!("The project {name} is unchanged: it is there as it is to be"));
            Ok(())
        }
        Err(error) if is_different(&error) => {
            let differences = existing.as_ref().map(differences).unwrap_or_default();
            let list: String = differences.iter().map(|line| format!("\n  {line}")).collect();
            let list = if list.is_empty() { String::new() } else { format!("\nIt differs (there → wanted):{list}") };
            Err(ActionError::conflict(format!(
                "Duplicate project detected. Cannot overwrite existing. ({}){list}\nChoose another projectName, or delete the \
                 project {name}",
                error.argo_message()
            ))
            .with_source(error))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_different(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { message, .. } if message.contains("existing project spec is different"))
}

async fn write_application(
    argocd: &Argocd,
    ctx: &ActionContext,
    instance: &str,
    object: &Value,
) -> Result<AppOutput, ActionError> {
    let reach = Reach { mode: Some(Mode::Api), instance: Some(instance), cluster: None };
    let backend: Backend = argocd.backend(reach)?;
    let options = WriteOptions { upsert: false, validate: true, field_manager: FIELD_MANAGER, force: false };
    let (app, outcome) = backend
        .write(ctx, object, &options)
        .await
        .map_err(|error| error.map_message(|message| format!("Error creating argo app: {message}")))?;
    let output = argocd.output(reach, &backend, &app);
    report(ctx, &backend, &app, &outcome, output.url.as_deref());
    Ok(output)
}
