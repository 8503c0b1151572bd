//! From GitHub's OpenAPI 3.0 document to the small JSON Schema document the double needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::{Body, Document, Operation, Parameter};
use crate::{Error, Result};

/// URI of the resource that holds the component schemas.
pub(super) const BASE: &str = "urn:github:components";
/// Changes whenever this module's output does, so that no stale file is read.
pub(super) const VERSION: u32 = 3;

const COMPONENT: &str = "#/components/schemas/";
/// Values of body members that GitHub takes from organisations of an enterprise, and that only its description of GitHub
/// Enterprise Cloud has: `(operation, member, value)`.
const ENTERPRISE_VALUES: [(&str, &str, &str); 1] = [("repos/create-in-org", "visibility", "internal")];
/// Error schemas that every operation may need.
const ERRORS: [&str; 2] = ["basic-error", "validation-error"];
/// Keywords that OpenAPI 3.0 shares with JSON Schema draft 4 and that hold no schema.
const PLAIN: [&str; 16] = [
    "type",
    "enum",
    "format",
    "pattern",
    "required",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
];

/// A schema that refers to the component `name`.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("{BASE}#/schemas/{name}")})
}

/// Picks `routes` out of the whole description.
pub(super) fn trim(whole: &Value, routes: &[(&str, &str)]) -> Result<Document> {
    let mut needed = BTreeSet::new();
    let mut operations = Vec::new();
    for (method, path) in routes {
        let described = whole["paths"][path].get(method.to_lowercase());
        let described = described
            .ok_or_else(|| Error::unexpected(format!("{method} {path}"), "not in GitHub's OpenAPI description"))?;
        operations.push(operation(whole, method, path, described, &mut needed)?);
    }
    needed.extend(ERRORS.map(str::to_owned));

    let mut schemas = BTreeMap::new();
    while let Some(name) = needed.pop_first() {
        let schema = whole["components"]["schemas"].get(&name);
        let schema = schema.ok_or_else(|| Error::unexpected(format!("the schema {name}"), "is missing"))?;
        let mut more = BTreeSet::new();
        let converted = convert(schema, &mut more);
        schemas.insert(name, converted);
        needed.extend(more.into_iter().filter(|name| !schemas.contains_key(name)));
    }
    let components = json!({"$schema": "http://json-schema.org/draft-04/schema#", "schemas": schemas});
    Ok(Document { operations, components })
}

fn operation(
    whole: &Value,
    method: &str,
    path: &str,
    described: &Value,
    needed: &mut BTreeSet<String>,
) -> Result<Operation> {
    let mut parameters = Vec::new();
    for parameter in described["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(whole, parameter)?;
        let (Some(name), Some(place)) = (parameter["name"].as_str(), parameter["in"].as_str()) else { continue };
        parameters.push(Parameter {
            name: name.to_owned(),
            place: place.to_owned(),
            required: parameter["required"] == true,
            multi_segment: parameter["x-multi-segment"] == true,
            schema: convert(&parameter["schema"], needed),
        });
    }
    let body = match described.get("requestBody") {
        None => None,
        Some(body) => {
            let body = resolved(whole, body)?;
            json_schema(body).map(|schema| Body {
                required: body["required"] == true,
                members: members(whole, schema),
                schema: convert(schema, needed),
            })
        }
    };
    let mut body = body;
    for (_, member, value) in ENTERPRISE_VALUES.iter().filter(|(id, ..)| described["operationId"] == *id) {
        let values = body.as_mut().and_then(|body| body.schema["properties"][member]["enum"].as_array_mut());
        values.into_iter().for_each(|values| values.push(json!(value)));
    }
    let mut answers = HashMap::new();
    for (status, answer) in described["responses"].as_object().into_iter().flatten() {
        let mut schema = json_schema(resolved(whole, answer)?).map(|schema| convert(schema, needed));
        // GitHub's error schemas have no required members: a plain error fits more than one of the alternatives.
        if status.starts_with(['4', '5'])
            && let Some(object) = schema.as_mut().and_then(Value::as_object_mut)
            && let Some(alternatives) = object.remove("oneOf")
        {
            object.insert("anyOf".to_owned(), alternatives);
        }
        answers.insert(status.clone(), schema);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Operation {
        id: text(&described["operationId"]),
        method: method.to_owned(),
        path: path.to_owned(),
        documentation: text(&described["externalDocs"]["url"]),
        parameters,
        body,
        answers,
    })
}

fn resolved<'a>(whole: &'a Value, value: &'a Value) -> Result<&'a Value> {
    match value.get("$ref").and_then(Value::as_str) {
        None => Ok(value),
        Some(target) => target
            .strip_prefix('#')
            .and_then(|pointer| whole.pointer(pointer))
            .ok_or_else(|| Error::unexpected(format!("the reference {target}"), "leads nowhere")),
    }
}

fn json_schema(holder: &Value) -> Option<&Value> {
    let content = holder.get("content")?.as_object()?;
    let json = content
        .get("application/json")
        .or_else(|| content.iter().find(|(kind, _)| kind.contains("json")).map(|it| it.1));
    json?.get("schema")
}

/// The members of a plain object schema; `None` when it is composed or open.
fn members(whole: &Value, schema: &Value) -> Option<Vec<String>> {
    let schema = resolved(whole, schema).ok()?;
    let composed = ["allOf", "oneOf", "anyOf"].iter().any(|key| schema.get(key).is_some());
    let open = schema.get("additionalProperties").is_some_and(|value| *value != false);
    let properties = schema.get("properties")?.as_object()?;
    (!composed && !open).then(|| properties.keys().cloned().collect())
}

/// One OpenAPI 3.0 schema as JSON Schema draft 4; names of referenced components go to `needed`.
fn convert(schema: &Value, needed: &mut BTreeSet<String>) -> Value {
    let Some(object) = schema.as_object() else { return json!({}) };
    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
        let name = target.strip_prefix(COMPONENT).unwrap_or(target);
        needed.insert(name.to_owned());
        return reference(name);
    }
    let mut out = Map::new();
    for (key, value) in object {
        let converted = match key.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                Value::Object(properties.map(|(name, schema)| (name.clone(), convert(schema, needed))).collect())
            }
            "allOf" | "anyOf" | "oneOf" => {
                Value::Array(value.as_array().into_iter().flatten().map(|schema| convert(schema, needed)).collect())
            }
            "items" | "not" => convert(value, needed),
            "additionalProperties" if value.is_object() => convert(value, needed),
            "additionalProperties" | "maxProperties" => value.clone(),
            plain if PLAIN.contains(&plain) => value.clone(),
            _ => continue,
        };
        out.insert(key.clone(), converted);
    }
    if object.get("nullable") != Some(&Value::Bool(true)) {
        return Value::Object(out);
    }
    match out.get("type").cloned() {
        Some(kind @ Value::String(_)) if !["allOf", "anyOf", "oneOf"].iter().any(|key| out.contains_key(*key)) => {
            out.insert("type".to_owned(), json!([kind, "null"]));
            if let Some(Value::Array(values)) = out.get_mut("enum")
                && !values.contains(&Value::Null)
            {
                values.push(Value::Null);
            }
            Value::Object(out)
        }
        _ => json!({"anyOf": [{"type": "null"}, out]}),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nullable_becomes_a_type() {
        let table = [
            (json!({"type": "string", "nullable": true, "example": "x"}), json!({"type": ["string", "null"]})),
            (
                json!({"type": "string", "enum": ["a"], "nullable": true}),
                json!({"type": ["string", "null"], "enum": ["a", null]}),
            ),
            (
                json!({"nullable": true, "oneOf": [{"type": "string"}]}),
                json!({"anyOf": [{"type": "null"}, {"oneOf": [{"type": "string"}]}]}),
            ),
            (
                json!({"type": "object", "properties": {"nullable": {"type": "boolean"}, "example": {"description": "x"}}}),
                json!({"type": "object", "properties": {"nullable": {"type": "boolean"}, "example": {}}}),
            ),
            (json!({"items": {"$ref": "#/components/schemas/label"}}), json!({"items": reference("label")})),
        ];
        let mut needed = BTreeSet::new();
        for (given, wanted) in table {
            assert_eq!(convert(&given, &mut needed), wanted, "{given}");
        }
        assert_eq!(needed, BTreeSet::from(["label".to_owned()]));
    }

    #[test]
    fn a_route_that_github_does_not_have_is_refused() {
        let error = trim(&json!({"paths": {"/user": {"get": {}}}}), &[("PUT", "/user")]).unwrap_err().to_string();
        assert!(error.contains("PUT /user"), "{error}");
    }
}
