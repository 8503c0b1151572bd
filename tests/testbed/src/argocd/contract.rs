//! What Applications and AppProjects may hold: the CRDs' schemas, closed.

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{Error, Result};

/// Checks objects against the types of Argo CD.
#[derive(Debug)]
pub(super) struct Contract {
    application: Validator,
    project: Validator,
}

impl Contract {
    pub(super) fn load(file: &Path) -> Result<Self> {
        let fail = |detail: String| Error::File { path: file.to_owned(), detail };
        let text = std::fs::read_to_string(file).map_err(Error::io(format!("reading {}", file.display())))?;
        let crds: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| fail(error.to_string()))?;
        let validator = |kind: &str| {
            let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == kind);
            let schema = crd.and_then(|crd| crd.pointer("/spec/versions/0/schema/openAPIV3Schema"));
            let mut schema = schema.cloned().ok_or_else(|| fail(format!("no kind {kind}")))?;
            close(&mut schema);
            schema["properties"]["metadata"] = json!({ "type": "object", "required": ["name"] });
            jsonschema::validator_for(&schema).map_err(|error| fail(error.to_string()))
        };
        Ok(Self { application: validator("Application")?, project: validator("AppProject")? })
    }

    pub(super) fn application(&self, object: &Value) -> Vec<String> {
        errors(&self.application, object)
    }
    pub(super) fn project(&self, object: &Value) -> Vec<String> {
        errors(&self.project, object)
    }
}

fn errors(validator: &Validator, object: &Value) -> Vec<String> {
    validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Makes unknown members errors, where a schema has members at all.
fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if members.contains_key("properties") && !members.contains_key("x-kubernetes-preserve-unknown-fields") {
        members.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    if let Some(items) = members.get_mut("items") {
        close(items);
    }
}
