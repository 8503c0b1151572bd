//! `argocd:create-app`

mod helm;
mod inputs;
mod validate;
mod wrappers;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample};

use self::inputs::{Destination, IgnoreDifference, Info, Source, SyncPolicy, Texts};
pub(crate) use self::{
    helm::CreateHelmApplication,
    wrappers::{CnoeCreateApp, CreateResources},
};
use super::{
    application::Application,
    backend::{Argocd, Backend, Mode, Outcome, Reach, WriteOptions, reference},
    crd::FIELD_MANAGER,
    output::AppOutput,
};

/// Argo CD's own cluster.
pub(crate) const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// Writes an Application.
#[derive(Debug)]
pub(crate) struct CreateApp(pub(crate) Arc<Argocd>);

/// The input of [`CreateApp`].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// The application's name.
    name: Option<String>,
    /// The namespace of the Application resource; `argocd.namespace` of the configuration, or Argo CD's own, when left out.
    namespace: Option<String>,
    /// `crd`: write the resource into the cluster (server-side apply); `api`: through an Argo CD API server. Left out: `api` with an argoInstance, else `crd`.
    mode: Option<Mode>,
    /// The Argo CD instance, by its name in `argocd.appLocatorMethods`.
    argo_instance: Option<String>,
    /// The cluster that takes the Application resource, by its name in `kubernetes.clusterLocatorMethods` (mode crd).
    cluster_name: Option<String>,
    /// Labels of the Application.
    labels: Option<Texts>,
    /// Annotations of the Application.
    annotations: Option<Texts>,
    /// Finalizers of the Application; with `resources-finalizer.argocd.argoproj.io` its resources go when it is deleted.
    finalizers: Option<Vec<String>>,
    /// The project; `default` when left out.
    project: Option<String>,
    /// Where its manifests come from.
    source: Option<Source>,
    /// Where its manifests come from, if from several places.
    sources: Option<Vec<Source>>,
    /// Where it goes.
    destination: Option<Destination>,
    /// How changes of the sources get into the cluster.
    sync_policy: Option<SyncPolicy>,
    /// What isn't compared.
    ignore_differences: Option<Vec<IgnoreDifference>>,
    /// Lines for people, shown with the application.
    info: Option<Vec<Info>>,
    /// How many revisions are kept for a rollback; ten when left out.
    revision_history_limit: Option<u32>,
    /// Further members of the Application's spec, as they are written; the inputs above win over members of the same name.
    spec: Option<Map<String, Value>>,
    /// Whether an existing application that differs is changed; else it is an error. True when left out.
    #[schemars(extend("default" = true))]
    upsert: Option<bool>,
    /// Whether Argo CD tries to read the sources before it accepts the application (mode api); true when left out.
    #[schemars(extend("default" = true))]
    validate: Option<bool>,
    /// Whether fields that others manage are taken over (mode crd).
    force: Option<bool>,
    /// Older name of `name`.
    app_name: Option<String>,
    /// With repoUrl and path: the destination's namespace.
    app_namespace: Option<String>,
    /// Older name of `project`.
    project_name: Option<String>,
    /// The Git repository: with path a short form of source, synced automatically with pruning and self-healing.
    repo_url: Option<String>,
    /// The folder of the Git repository, with repoUrl.
    path: Option<String>,
    /// With repoUrl and path: the value of the label `backstage-name`; the application's name when left out.
    label_value: Option<String>,
}

impl Input {
    fn reach(&self) -> Reach<'_> {
        Reach { mode: self.mode, instance: self.argo_instance.as_deref(), cluster: self.cluster_name.as_deref() }
    }

    /// The Application, and what is wrong with how the inputs go together.
    fn object(&self, namespace: Option<String>) -> Result<(Value, Vec<String>), ActionError> {
        let mut problems = Vec::new();
        let mut one_of = |first: &Option<String>, second: &Option<String>, names: &str| -> Option<String> {
            if first.is_some() && second.is_some() {
                problems.push(format!("{names}: mean the same; give one of them"));
            }
            first.clone().or_else(|| second.clone())
        };
        let name = one_of(&self.name, &self.app_name, "name and appName").unwrap_or_default();
        let project = one_of(&self.project, &self.project_name, "project and projectName");
        if name.is_empty() {
            problems.push("name: missing".to_owned());
        }
        let short = self.repo_url.is_some() || self.path.is_some();
        let mut object = if short {
            if self.source.is_some() || self.sources.is_some() {
                problems.push("repoUrl and path: are a short form of source; give one of them".to_owned());
            }
            wrappers::application(&wrappers::Parts {
                name: &name,
                project: project.as_deref(),
                namespace: self.app_namespace.as_deref(),
                repo_url: self.repo_url.as_deref().unwrap_or_default(),
                path: self.path.as_deref().unwrap_or_default(),
                label: self.label_value.as_deref().unwrap_or(&name),
            })
        } else {
            for (given, member) in [(&self.app_namespace, "appNamespace"), (&self.label_value, "labelValue")] {
                if given.is_some() {
                    problems.push(format!("{member}: goes with repoUrl and path only"));
                }
            }
            json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": { "name": name }, "spec": {} })
        };
        let metadata = &mut object["metadata"];
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        for (member, texts) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            for (key, value) in texts.iter().flatten() {
                metadata[member][key] = value.as_str().into();
            }
        }
        if let Some(finalizers) = &self.finalizers {
            metadata["finalizers"] = json!(finalizers);
        }
        let spec = &mut object["spec"];
        for (member, value) in self.spec.iter().flatten() {
            spec[member] = value.clone();
        }
        if let Some(project) = project {
            spec["project"] = project.into();
        } else if spec.get("project").is_none() {
            spec["project"] = "default".into();
        }
        set(spec, "source", self.source.as_ref())?;
        set(spec, "sources", self.sources.as_ref())?;
        set(spec, "destination", self.destination.as_ref())?;
        set(spec, "syncPolicy", self.sync_policy.as_ref())?;
        set(spec, "ignoreDifferences", self.ignore_differences.as_ref())?;
        set(spec, "info", self.info.as_ref())?;
        set(spec, "revisionHistoryLimit", self.revision_history_limit.as_ref())?;
        if let Some(destination) = spec.get_mut("destination").and_then(Value::as_object_mut)
            && !destination.contains_key("server")
            && !destination.contains_key("name")
        {
            destination.insert("server".into(), IN_CLUSTER.into());
        }
        Ok((object, problems))
    }
}

/// Sets a member where there is something to set.
fn set<T: Serialize>(spec: &mut Value, member: &str, value: Option<&T>) -> Result<(), ActionError> {
    if let Some(value) = value {
        spec[member] = serde_json::to_value(value)
            .map_err(|error| ActionError::input(format!("{member} can't be written as JSON: {error}")))?;
    }
    Ok(())
}

#[async_trait]
impl Action for CreateApp {
    type Input = Input;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "argocd:create-app"
    }
    fn description(&self) -> &'static str {
        "Creates or updates an Argo CD application. Run again it finds the application as it is to be and changes nothing. \
         Mode crd needs the verbs get, create and patch on applications.argoproj.io in the Application's namespace; mode api \
         an account that may get, create and update the application (`p, <account>, applications, create, <project>/<name>, \
         allow` and so on) and read its project's sources. Waiting is for argocd:wait-app."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            ActionExample {
                description: "A Helm chart from an OCI registry, synced automatically".into(),
                example: EXAMPLE_CHART.into(),
            },
            ActionExample {
                description: "A chart with values from a Git repository, through an Argo CD API server".into(),
                example: EXAMPLE_SOURCES.into(),
            },
            ActionExample {
                description: "A folder of a Git repository with Kustomize, in a cluster known to Argo CD by name"
                    .into(),
                example: EXAMPLE_KUSTOMIZE.into(),
            },
            ActionExample {
                description: "The inputs of the older action of this name".into(),
                example: EXAMPLE_OLDER.into(),
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
        let reach = input.reach();
        let backend = self.0.backend(reach)?;
        let namespace = input.namespace.clone().or_else(|| self.0.namespace(&backend));
        let (object, problems) = input.object(namespace)?;
        check(&object, problems)?;
        let options = WriteOptions {
            upsert: input.upsert.unwrap_or(true),
            validate: input.validate.unwrap_or(true),
            field_manager: FIELD_MANAGER,
            force: input.force.unwrap_or_default(),
        };
        let (app, outcome) = backend.write(ctx, &object, &options).await?;
        let output = self.0.output(reach, &backend, &app);
        report(ctx, &backend, &app, &outcome, output.url.as_deref());
        Ok(output)
    }
}

/// Refuses an object that is wrong, with everything that is.
fn check(object: &Value, mut problems: Vec<String>) -> Result<(), ActionError> {
    // A name that is missing altogether has been complained about.
    let named = reference(object).name;
    problems.extend(validate::violations(object));
    if named.is_empty() {
        problems.retain(|problem| !problem.starts_with("metadata.name: ''"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let count = match problems.len() {
        1 => "one thing is".to_owned(),
        count => format!("{count} things are"),
    };
    let list: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Err(ActionError::input(format!("The application '{named}' was not written: {count} wrong with it:{list}")))
}

/// Tells what writing came to.
fn report(ctx: &ActionContext, backend: &Backend, app: &Application, outcome: &Outcome, url: Option<&str>) {
    let at = match app.namespace() {
        Some(namespace) => format!("{namespace}/{}", app.name()),
        None => app.name().to_owned(),
    };
    let link = url.map(|url| format!(": {url}")).unwrap_or_default();
    let log = &ctx.log;
    match (ctx.is_dry_run, backend) {
        (true, Backend::Api(client)) => {
            log.info(format!(
                "Dry run: the application {at} is well-formed; Argo CD instance '{}' was not asked",
                client.name()
            ));
            return;
        }
        (true, Backend::Crd(_)) => match outcome {
            Outcome::Created => {
                log.info(format!("Dry run: the application {at} would be created (checked by the cluster)"))
            }
            Outcome::Unchanged => log.info(format!("Dry run: the application {at} would be unchanged")),
            Outcome::Updated(_) => {
                log.info(format!("Dry run: the application {at} would be changed (checked by the cluster):"))
            }
        },
        (false, _) => match outcome {
            Outcome::Created => log.info(format!("Created the application {at}{link}")),
            Outcome::Unchanged => {
                log.info(format!("The application {at} is unchanged: it is there as it is to be{link}"))
            }
            Outcome::Updated(_) => log.info(format!("Updated the application {at}{link}")),
        },
    }
    if let Outcome::Updated(changes) = outcome {
        for change in changes {
            log.info(format!("  {change}"));
        }
    }
}

const EXAMPLE_CHART: &str = "steps:
  - id: deploy
    name: Create the application
    action: argocd:create-app
    input:
      name: ${{ parameters.name }}
      namespace: argocd
      source:
        repoURL: ghcr.io/acme/charts
        chart: ${{ parameters.name }}
        targetRevision: 0.1.0
        helm:
          valuesObject:
            replicas: 2
      destination:
        namespace: ${{ parameters.name }}
      syncPolicy:
        automated:
          prune: true
          selfHeal: true
        syncOptions:
          - CreateNamespace=true
";

const EXAMPLE_SOURCES: &str = "steps:
  - id: deploy
    name: Create the application
    action: argocd:create-app
    input:
      name: shop
      argoInstance: main
      project: shops
      sources:
        - repoURL: https://charts.example.org
          chart: shop
          targetRevision: 1.x
          helm:
            valueFiles:
              - $values/environments/prod.yaml
        - repoURL: https://github.com/acme/shop-config.git
          targetRevision: main
          ref: values
      destination:
        server: https://kubernetes.default.svc
        namespace: shop
";

const EXAMPLE_KUSTOMIZE: &str = "steps:
  - id: deploy
    name: Create the application
    action: argocd:create-app
    input:
      name: shop
      source:
        repoURL: https://github.com/acme/shop.git
        path: deploy/overlays/prod
        targetRevision: main
        kustomize:
          images:
            - shop=ghcr.io/acme/shop:1.2.3
      destination:
        name: production
        namespace: shop
      upsert: false
";

const EXAMPLE_OLDER: &str = "steps:
  - id: deploy
    name: Create the application
    action: argocd:create-app
    input:
      appName: shop
      argoInstance: main
      projectName: default
      appNamespace: shop
      repoUrl: https://github.com/acme/shop.git
      path: deploy
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn input(value: Value) -> Input {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn inputs_become_an_application() {
        let given = input(json!({
            "name": "shop",
            "labels": {"team": "a"},
            "annotations": {"x/y": "z"},
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            "project": "shops",
            "source": {"repoURL": "ghcr.io/acme", "chart": "shop", "targetRevision": "1.0.0",
                "helm": {"valuesObject": {"a": null}, "parameters": [{"name": "n", "value": "v", "forceString": true}]}},
            "destination": {"namespace": "shop"},
            "syncPolicy": {"automated": {}, "retry": {"limit": -1}},
            "ignoreDifferences": [{"kind": "Deployment", "group": "apps", "jsonPointers": ["/spec/replicas"]}],
            "info": [{"name": "Docs", "value": "https://docs"}],
            "revisionHistoryLimit": 3,
            "spec": {"project": "loses", "sourceHydrator": {"x": 1}},
        }));
        let (object, problems) = given.object(Some("argocd".into())).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            object,
            json!({
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": {
                    "name": "shop", "namespace": "argocd", "labels": {"team": "a"}, "annotations": {"x/y": "z"},
                    "finalizers": ["resources-finalizer.argocd.argoproj.io"],
                },
                "spec": {
                    "project": "shops",
                    "sourceHydrator": {"x": 1},
                    "source": {"repoURL": "ghcr.io/acme", "chart": "shop", "targetRevision": "1.0.0",
                        "helm": {"valuesObject": {"a": null}, "parameters": [{"name": "n", "value": "v", "forceString": true}]}},
                    "destination": {"namespace": "shop", "server": "https://kubernetes.default.svc"},
                    "syncPolicy": {"automated": {}, "retry": {"limit": -1}},
                    "ignoreDifferences": [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}],
                    "info": [{"name": "Docs", "value": "https://docs"}],
                    "revisionHistoryLimit": 3,
                },
            })
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let given = input(json!({
            "name": "Shop", "appName": "shop", "labelValue": "x",
            "source": {"repoURL": "r", "path": "p", "chart": "c"},
            "destination": {"server": "https://a", "name": "b"},
        }));
        let (object, problems) = given.object(None).unwrap();
        let error = check(&object, problems).unwrap_err();
        assert_eq!(error.name().to_string(), "InputError");
        let lines: Vec<_> = error.message().lines().map(str::trim).collect();
        assert_eq!(lines[0], "The application 'Shop' was not written: 5 things are wrong with it:");
        for (line, start) in lines[1..].iter().zip([
            "name and appName: mean the same",
            "labelValue: goes with repoUrl",
            "metadata.name: 'Shop' is no DNS name",
            "spec.source: has both path and chart",
            "spec.destination: has both server and name",
        ]) {
            assert!(line.starts_with(start), "{line}");
        }
        let (object, problems) = input(json!({})).object(None).unwrap();
        let error = check(&object, problems).unwrap_err();
        assert_eq!(error.message().matches("name: missing").count(), 1, "{error}");
        assert!(!error.message().contains("metadata.name"), "{error}");
    }
}
