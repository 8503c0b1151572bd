//! What the actions' inputs and outputs have in common.

use kube::api::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use understudy_sdk::{ActionContext, ActionError, ActionExample};

use crate::client::{KubeError, Manifest, Outcome, Target, parse_manifests};

/// The largest manifest file, in bytes.
const LARGEST: u64 = 10 << 20;

/// A manifest as the step gives it: text with any number of documents, one object, or a list of objects.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ManifestInput {
    // YAML or JSON.
    Text(String),
    // One object.
    Object(Map<String, Value>),
    // Several objects.
    Objects(Vec<Map<String, Value>>),
}

/// Where the manifest comes from; one of these is there.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) manifest: Option<ManifestInput>,
    pub(crate) text: Option<String>,
    pub(crate) object: Option<ManifestInput>,
    pub(crate) path: Option<String>,
}

impl Source {
    pub(crate) fn is_none(&self) -> bool {
        self.manifest.is_none() && self.text.is_none() && self.object.is_none() && self.path.is_none()
    }

    /// The objects.
    ///
    /// # Errors
    /// None or several of the inputs are given, or the manifest can't be read.
    pub(crate) fn read(self, ctx: &ActionContext) -> Result<Vec<Manifest>, ActionError> {
        let Self { manifest, text, object, path } = self;
        let given = [manifest.is_some(), text.is_some(), object.is_some(), path.is_some()];
        match given.iter().filter(|given| **given).count() {
            1 => {}
            0 => {
                return Err(ActionError::input(
                    "the step has no manifest: give one of manifest, manifestString, manifestObject and manifestPath",
                ));
            }
            _ => {
                return Err(ActionError::input(
                    "manifest, manifestString, manifestObject and manifestPath exclude each other: give one of them",
                ));
            }
        }
        if let Some(input) = manifest {
            return Ok(of_input("manifest", input)?);
        }
        if let Some(text) = text {
            return Ok(parse_manifests("manifestString", &text)?);
        }
        if let Some(input) = object {
            return Ok(of_input("manifestObject", input)?);
        }
        let path = path.unwrap_or_default();
        let text = text_of(ctx, &path)?;
        Ok(parse_manifests(&path, &text)?)
    }
}

fn of_input(what: &str, input: ManifestInput) -> Result<Vec<Manifest>, KubeError> {
    // Texts are read by the same rules wherever they come from; objects have been read by the template.
    match input {
        ManifestInput::Text(text) => parse_manifests(what, &text),
        ManifestInput::Object(object) => Manifest::new(Value::Object(object), what)?.expand(),
        ManifestInput::Objects(objects) => {
            let mut manifests = Vec::new();
            for (index, object) in objects.into_iter().enumerate() {
                manifests.extend(Manifest::new(Value::Object(object), format!("{what}[{index}]"))?.expand()?);
            }
            if manifests.is_empty() {
                return Err(KubeError::Input(format!("{what} has no object in it")));
            }
            Ok(manifests)
        }
    }
}

fn text_of(ctx: &ActionContext, path: &str) -> Result<String, ActionError> {
    let failed = |reason: String| ActionError::input(format!("manifestPath {path} can't be read: {reason}"));
    let file = ctx.workspace.entry(path).map_err(|error| failed(error.to_string()))?;
    if file.size > LARGEST {
        return Err(failed(format!("it is {} bytes long, at most {LARGEST} are read", file.size)));
    }
    let bytes = ctx.workspace.read(path).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is no UTF-8 text".to_string()))
}

/// An object that an action has dealt with.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectOutput {
    /// Group and version.
    pub(crate) api_version: String,
    /// Kind.
    pub(crate) kind: String,
    /// Name.
    pub(crate) name: String,
    /// Namespace, unless the kind is cluster-wide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// The UID that the cluster gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// What happened: created, configured or unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Outcome>,
}

impl ObjectOutput {
    /// Of an object; `None` where the cluster could not be asked (a dry run).
    pub(crate) fn of(target: &Target, object: Option<&DynamicObject>, result: Option<Outcome>) -> Self {
        Self {
            api_version: target.kind.api_version().to_string(),
            kind: target.kind.kind().to_string(),
            name: target.name.clone(),
            namespace: target.namespace.clone(),
            uid: object.and_then(|object| object.metadata.uid.clone()),
            result,
        }
    }
}

/// Examples from descriptions and steps.
pub(crate) fn examples(examples: &[(&str, &str)]) -> Vec<ActionExample> {
    let example = |(description, example): &(&str, &str)| ActionExample {
        description: (*description).to_string(),
        example: (*example).to_string(),
    };
    examples.iter().map(example).collect()
}
