//! Actions that other plugins of the Backstage backend offer, as actions of templates.
//!
//! As `@backstage/backend-defaults` 0.18.0 (`DefaultActionsService`) and `@backstage/plugin-scaffolder-backend` 4.2.0
//! (`TemplateActionRegistry`) do: the plugins of `backend.actions.pluginSources` are asked, on behalf of the caller; an
//! action's id is `<plugin>:<name>`; an id of the service's own stays its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde_json::{Map, Value};
use understudy_scm::{BodyError, COMPONENT, request_failure};
use understudy_sdk::{ActionContext, ActionError, ActionExample, DynAction, ErrorName};

use crate::{
    auth::{Auth, Credentials},
    config::{ActionAttributes, ActionsConfig},
    discovery::Discovery,
    together::Together,
};

/// How long a plugin gets to list its actions.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// The way to other plugins' actions. Cheap to clone.
#[derive(Clone)]
pub struct PluginActions(Arc<Link>);

struct Link {
    auth: Auth,
    discovery: Discovery,
    http: reqwest::Client,
    config: ActionsConfig,
    /// Lists that plugins are being asked for, each for all who wait for the same.
    listings: Together<Arc<[Arc<Listed>]>>,
}

#[derive(Deserialize)]
struct Listing {
    actions: Vec<Arc<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    attributes: Attributes,
    schema: Schemas,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Attributes {
    destructive: Option<bool>,
    idempotent: Option<bool>,
    read_only: Option<bool>,
}

#[derive(Deserialize)]
struct Schemas {
    input: Option<Value>,
    output: Option<Value>,
}

impl PluginActions {
    /// The actions of the plugins that the configuration names.
    pub fn new(auth: Auth, discovery: Discovery, http: reqwest::Client, config: ActionsConfig) -> Self {
        Self(Arc::new(Link { auth, discovery, http, config, listings: Together::default() }))
    }

    /// All actions that the caller may see. A plugin that can't be asked is left out, and the log says so.
    pub async fn list(&self, caller: &Credentials) -> Vec<Arc<dyn DynAction>> {
        let listings = self.sources().iter().map(|plugin| async move {
            self.of(plugin, caller).await.unwrap_or_else(|error| {
                tracing::warn!(plugin = plugin.as_str(), "its actions are left out: {error}");
                Vec::new()
            })
        });
        join_all(listings).await.into_iter().flatten().collect()
    }

    /// The action with this id, `None` where no configured plugin has one.
    ///
    /// # Errors
    /// The plugin that the id names can't be asked.
    pub async fn find(&self, id: &str, caller: &Credentials) -> Result<Option<Arc<dyn DynAction>>, ActionError> {
        let plugin = id.split_once(':').map(|(plugin, _)| plugin);
        let Some(plugin) = self.sources().iter().find(|source| Some(source.as_str()) == plugin) else {
            return Ok(None);
        };
        let actions = self.of(plugin, caller).await.map_err(|error| {
            error.map_message(|reason| {
                format!("Template action with ID '{id}' can't be found: the plugin '{plugin}' can't be asked for its actions: {reason}")
            })
        })?;
        Ok(actions.into_iter().find(|action| action.id() == id))
    }

    fn sources(&self) -> &[String] {
        self.0.config.plugin_sources.as_deref().unwrap_or_default()
    }

    async fn of(&self, plugin: &str, caller: &Credentials) -> Result<Vec<Arc<dyn DynAction>>, ActionError> {
        let link = &self.0;
        let ask = async || -> Result<Arc<[Arc<Listed>]>, ActionError> {
            let url = format!("{}/.backstage/actions/v1/actions", link.base(plugin));
            let answer = link.send(plugin, caller, link.http.get(url).timeout(PATIENCE)).await?;
            let listing: Listing = serde_json::from_value(answer)
                .map_err(|error| ActionError::failed(format!("its list of actions can't be read: {error}")))?;
            Ok(listing.actions.into())
        };
        let listing = link.listings.get(format!("{plugin} {}", caller.fingerprint()), ask).await?;
        let prefix = format!("{plugin}:");
        Ok(listing
            .iter()
            // A plugin speaks for itself only.
            .filter(|action| action.id.starts_with(&prefix) && link.config.passes(&action.id, action.attributes.all()))
            .map(|listed| {
                let action = PluginAction {
                    listed: Arc::clone(listed),
                    plugin: plugin.to_string(),
                    caller: caller.clone(),
                    link: Arc::clone(link),
                };
                Arc::new(action) as Arc<dyn DynAction>
            })
            .collect())
    }
}

impl Attributes {
    fn all(&self) -> ActionAttributes {
        let read_only = self.read_only.unwrap_or(false);
        ActionAttributes {
            destructive: self.destructive.unwrap_or(!read_only),
            idempotent: self.idempotent.unwrap_or(false),
            read_only,
        }
    }
}

impl Link {
    fn base(&self, plugin: &str) -> String {
        self.discovery.internal(plugin)
    }

    async fn send(
        &self,
        plugin: &str,
        caller: &Credentials,
        mut request: reqwest::RequestBuilder,
    ) -> Result<Value, ActionError> {
        if let Some(token) = self.auth.plugin_token(caller, plugin).await? {
            request = request.bearer_auth(token.expose());
        }
        let failed = |error: reqwest::Error| {
            ActionError::failed(format!("{plugin} can't be reached: {}", request_failure(error)))
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let body = understudy_scm::read_body(answer, MAX_ANSWER).await.map_err(|error| match error {
            BodyError::Broken(error) => failed(error),
            other => ActionError::failed(format!("the answer of {plugin} {other}")),
        })?;
        let value: Result<Value, _> = serde_json::from_slice(&body);
        if status.is_success() {
            return value.map_err(|error| ActionError::failed(format!("the answer of {plugin} is no JSON: {error}")));
        }
        let said = value.ok().and_then(|body| body.pointer("/error/message")?.as_str().map(String::from));
        let reason = said.filter(|said| !said.is_empty()).map(|said| format!(": {said}")).unwrap_or_default();
        let (code, text) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
        Err(ActionError::new(ErrorName::ResponseError, format!("Request failed with {code} {text}{reason}"))
            .with_status(code))
    }
}

/// An action of another plugin, for one caller.
struct PluginAction {
    listed: Arc<Listed>,
    plugin: String,
    caller: Credentials,
    link: Arc<Link>,
}

#[async_trait]
impl DynAction for PluginAction {
    fn id(&self) -> &str {
        &self.listed.id
    }
    fn aliases(&self) -> Vec<String> {
        Vec::new()
    }
    fn description(&self) -> &str {
        &self.listed.description
    }
    fn examples(&self) -> Vec<ActionExample> {
        // Examples of such actions are inputs and outputs, not steps of templates.
        Vec::new()
    }
    fn supports_dry_run(&self) -> bool {
        let attributes = &self.listed.attributes;
        attributes.read_only == Some(true) && attributes.destructive == Some(false)
    }
    fn input_schema(&self) -> Option<Value> {
        self.listed.schema.input.clone()
    }
    fn output_schema(&self) -> Option<Value> {
        self.listed.schema.output.clone()
    }
    async fn run(&self, ctx: &ActionContext, input: Value) -> Result<Map<String, Value>, ActionError> {
        let id = utf8_percent_encode(&self.listed.id, COMPONENT);
        let url = format!("{}/.backstage/actions/v1/actions/{id}/invoke", self.link.base(&self.plugin));
        let request = self.link.http.post(url).json(&input);
        let answer = tokio::select! {
            answer = self.link.send(&self.plugin, &self.caller, request) => answer?,
            () = ctx.cancel.cancelled() => return Err(ActionError::cancelled()),
        };
        Ok(match answer.get("output") {
            Some(Value::Object(output)) => output.clone(),
            _ => Map::new(),
        })
    }
}
