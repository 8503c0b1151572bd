//! `argocd:create-helm-application`, the action of `@muvaf/create-argocd-application` 0.4.1.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, schema};

use super::{IN_CLUSTER, check, report};
use crate::argocd::{
    backend::{Argocd, Mode, Outcome, Reach, WriteOptions},
    output::AppOutput,
};

/// The field manager of the original, so that its Applications stay one owner's.
const BACKSTAGE: &str = "backstage";

/// Writes an Application for a Helm chart.
#[derive(Debug)]
pub(crate) struct CreateHelmApplication(pub(crate) Arc<Argocd>);

/// The input of [`CreateHelmApplication`].
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Input {
    /// The application's name.
    name: String,
    /// The namespace that the chart is installed in.
    namespace: String,
    /// The Helm chart.
    chart: Chart,
}

/// A Helm chart.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Chart {
    /// Its repository or registry, e.g. `ghcr.io/organization`.
    repo: String,
    /// Its name, e.g. `mychart`.
    name: String,
    /// Its version, e.g. `0.1.0`.
    version: String,
}

#[async_trait]
impl Action for CreateHelmApplication {
    type Input = Input;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "argocd:create-helm-application"
    }
    fn description(&self) -> &'static str {
        "Creates or updates an Argo CD application for a Helm chart in the namespace this service runs in (POD_NAMESPACE, or \
         argocd.namespace of the configuration). Needs the verbs get, create and patch on applications.argoproj.io there."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![ActionExample {
            description: "Deploy a chart from an OCI registry".into(),
            example: "steps:\n  - id: create-argocd-resources\n    name: Create ArgoCD resources\n    action: argocd:create-helm-application\n    input:\n      name: shop\n      namespace: shop\n      chart:\n        name: shop\n        repo: ghcr.io/acme\n        version: 9.9.9\n".into(),
        }]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    // The original refuses no further members, so templates may have some.
    fn input_schema(&self) -> Value {
        let text =
            |title: &str, description: &str| json!({ "type": "string", "title": title, "description": description });
        schema::published(json!({
            "type": "object",
            "properties": {
                "name": text("Name", "The application's name."),
                "namespace": text("Namespace", "The namespace that the chart is installed in."),
                "chart": {
                    "type": "object",
                    "properties": {
                        "repo": text("Repository", "The chart's repository or registry, e.g. ghcr.io/organization."),
                        "name": text("Name", "The chart's name, e.g. mychart."),
                        "version": text("Version", "The chart's version, e.g. 0.1.0."),
                    },
                    "required": ["repo", "name", "version"],
                },
            },
            "required": ["name", "namespace", "chart"],
        }))
    }
    fn output_schema(&self) -> Option<Value> {
        Some(AppOutput::schema())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<AppOutput, ActionError> {
        let namespace = self.0.own_namespace()?;
        let object = object(&input, &namespace);
        check(&object, Vec::new())?;
        let reach = Reach { mode: Some(Mode::Crd), ..Reach::default() };
        let backend = self.0.backend(reach)?;
        let options = WriteOptions { upsert: true, validate: false, field_manager: BACKSTAGE, force: true };
        let place = format!("{namespace}/{}", input.name);
        let (app, outcome) = match backend.write(ctx, &object, &options).await {
            Ok(written) => written,
            Err(error) => {
                ctx.log.error(format!("Failed to make PATCH call for {place} Application: {}", error.message()));
                return Err(error);
            }
        };
        let output = self.0.output(reach, &backend, &app);
        if !ctx.is_dry_run {
            let status = if outcome == Outcome::Created { 201 } else { 200 };
            ctx.log.info(format!("Successfully created {place} Application: HTTP {status}"));
        }
        report(ctx, &backend, &app, &outcome, output.url.as_deref());
        Ok(output)
    }
}

/// The Application as the original writes it, except for its destination: that takes the input `namespace`, where the
/// original takes the name.
fn object(input: &Input, namespace: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": input.name, "namespace": namespace },
        "spec": {
            "destination": { "namespace": input.namespace, "server": IN_CLUSTER },
            "project": "default",
            "source": {
                "chart": input.chart.name,
                "repoURL": input.chart.repo,
                "targetRevision": input.chart.version,
            },
            "syncPolicy": { "automated": { "selfHeal": true }, "syncOptions": ["CreateNamespace=true"] },
        },
    })
}
