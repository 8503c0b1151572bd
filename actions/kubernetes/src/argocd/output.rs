//! What the actions give to later steps.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use understudy_sdk::schema;

use super::application::Application;

/// The output of every action here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct AppOutput {
    /// The application's name.
    pub(crate) name: String,
    /// The namespace of the Application resource, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Its page in Argo CD, where Argo CD's URL is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The commit or chart version it was last compared with; those of several sources with commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// `Synced`, `OutOfSync` or `Unknown`; absent before Argo CD has looked at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sync: Option<String>,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`; absent before Argo CD has looked at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<String>,
}

impl AppOutput {
    pub(crate) fn of(app: &Application, url: Option<String>) -> Self {
        Self {
            name: app.name().to_owned(),
            namespace: app.namespace().map(str::to_owned),
            url,
            revision: app.revision(),
            sync: app.sync().map(str::to_owned),
            health: app.health().map(str::to_owned),
        }
    }

    pub(crate) fn schema() -> Value {
        schema::of::<Self>()
    }
}
