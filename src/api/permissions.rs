//! What a permission backend asks this plugin: its permissions and rules, and conditions applied to tasks.
//!
//! The routes of `@backstage/plugin-permission-node` 0.11.4 (`createPermissionIntegrationRouter`).

use std::{collections::HashMap, sync::LazyLock};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data},
};
use serde_json::{Value, json};

use super::{ApiState, caller::Caller, error::ApiError, reply, request};
use crate::{
    permission::{Condition, Resource, ResourceType, Rule, RuleError, known},
    zod,
};

/// The permissions and rules that policies can speak of.
pub(super) async fn metadata(_caller: Caller) -> HttpResponse {
    let rules: Vec<Value> = Rule::all()
        .iter()
        .map(|rule| {
            json!({
                "name": rule.name,
                "description": rule.description,
                "resourceType": rule.resource_type.as_str(),
                "paramsSchema": rule.params_schema,
            })
        })
        .collect();
    reply::ok(&json!({"permissions": known::ALL, "rules": rules}))
}

/// What is asked about one resource or several.
struct Asked {
    id: String,
    resource_type: ResourceType,
    refs: Vec<String>,
    /// Whether several were asked about, so that a list answers.
    several: bool,
    conditions: Condition,
}

/// Applies conditions to tasks. For other kinds of resources there is nothing that could be loaded.
///
/// Only for services, and for users through another plugin: a user could find out about tasks that way.
pub(super) async fn apply_conditions(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    caller.not_anonymous()?;
    if caller.is_user_directly() {
        return Err(ApiError::new("NotAllowedError", ""));
    }
    let items = read(&request::body(&http, payload, true).await?)?;
    if let Some(other) = items.iter().find(|item| item.resource_type != ResourceType::Task) {
        return Err(ApiError::new(
            "NotImplementedError",
            format!(
                "This plugin does not expose any permission rule or can't evaluate the conditions request for {}",
                other.resource_type.as_str()
            ),
        ));
    }
    let mut creators: HashMap<&str, Option<String>> = HashMap::new();
    for id in items.iter().flat_map(|item| &item.refs) {
        if !creators.contains_key(&**id) {
            creators.insert(id, state.tasks.get(id).await?.created_by);
        }
    }
    let mut answers = Vec::with_capacity(items.len());
    for item in &items {
        let mut results = Vec::with_capacity(item.refs.len());
        for id in &item.refs {
            let created_by = creators.get(&**id).and_then(Option::as_deref);
            let holds = item.conditions.holds(&Resource::Task { created_by }).map_err(unknown_rule)?;
            results.push(Value::from(if holds { "ALLOW" } else { "DENY" }));
        }
        let result = if item.several { Value::Array(results) } else { results.pop().unwrap_or_default() };
        answers.push(json!({"id": item.id, "result": result}));
    }
    Ok(reply::ok(&json!({ "items": answers })))
}

/// This route has words of its own for a rule that isn't there.
fn unknown_rule(error: RuleError) -> ApiError {
    match error {
        RuleError::Unknown { name } => ApiError::new(
            "Error",
            format!("Permission rule '{name}' does not exist for resource type '{}'", ResourceType::Task.as_str()),
        ),
        other => other.into(),
    }
}

fn read(body: &Value) -> Result<Vec<Asked>, ApiError> {
    static BODY: LazyLock<Value> = LazyLock::new(|| {
        json!({
            "type": "object",
            "properties": {"items": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "resourceRef": {"anyOf": [
                        {"type": "string"},
                        {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    ]},
                    "resourceType": {"type": "string"},
                    "conditions": {},
                },
                "required": ["id", "resourceRef", "resourceType", "conditions"],
            }}},
            "required": ["items"],
        })
    });
    let body = zod::parse(&BODY, Some(body)).map_err(|error| ApiError::input(error.to_string()))?;
    let items = body.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let unknown: Vec<String> = items
        .iter()
        .map(|item| text(item, "resourceType"))
        .filter(|name| ResourceType::parse(name).is_none())
        .collect();
    // Before types are looked at, the shape of everything counts.
    let conditions = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            Condition::parse(item.get("conditions").unwrap_or(&Value::Null))
                .map_err(|error| ApiError::input(format!("items[{index}].{error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if !unknown.is_empty() {
        return Err(ApiError::input(format!("Unexpected resource types: {}.", unknown.join(", "))));
    }
    Ok(items
        .iter()
        .zip(conditions)
        .filter_map(|(item, conditions)| {
            let resource_ref = item.get("resourceRef")?;
            let refs = match resource_ref {
                Value::Array(refs) => refs.iter().filter_map(Value::as_str).map(String::from).collect(),
                single => vec![single.as_str()?.to_string()],
            };
            Some(Asked {
                id: text(item, "id"),
                resource_type: ResourceType::parse(&text(item, "resourceType"))?,
                refs,
                several: resource_ref.is_array(),
                conditions,
            })
        })
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(body: &Value) -> String {
        read(body).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn bodies_are_read_or_refused() {
        let item = |change: Value| {
            let mut item = json!({"id": "1", "resourceRef": "t", "resourceType": "scaffolder-task",
                "conditions": {"rule": "IS_TASK_OWNER", "resourceType": "scaffolder-task", "params": {"createdBy": []}}});
            for (name, value) in change.as_object().unwrap() {
                item[name] = value.clone();
            }
            json!({"items": [item]})
        };
        let read = read(&item(json!({"resourceRef": ["a", "b"]}))).unwrap();
        assert!(read[0].several);
        assert_eq!(read[0].refs, ["a", "b"]);
        for (body, expected) in [
            (json!({}), "\"message\": \"Required\""),
            (item(json!({"resourceRef": []})), "Array must contain at least 1 element(s)"),
            (item(json!({"resourceRef": 5})), "\"invalid_union\""),
            (item(json!({"resourceType": "x"})), "InputError: Unexpected resource types: x."),
            (item(json!({"conditions": {}})), "items[0].conditions must have one of anyOf, allOf, not and rule"),
            (item(json!({"conditions": {"anyOf": []}})), "items[0].conditions has an anyOf that is no list"),
        ] {
            assert!(refused(&body).contains(expected), "{body}: {}", refused(&body));
        }
    }
}
