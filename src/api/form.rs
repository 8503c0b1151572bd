//! What a template's form asks for, and whether values answer it.

use serde_json::{Map, Value};
use understudy_sdk::{
    Entity,
    schema::{Validator, Violation},
};

use crate::form_schema;

/// The present `apiVersion` of templates.
pub(crate) const API_VERSION: &str = "scaffolder.backstage.io/v1beta3";
/// The versions of templates that are run: Backstage's present one, and the one before it.
const API_VERSIONS: [&str; 2] = [API_VERSION, crate::tasks::beta2::API_VERSION];

/// Whether the template is of a version that we run.
///
/// # Errors
/// Upstream's words.
pub(crate) fn check_version(template: &Entity) -> Result<(), String> {
    match template.get("apiVersion").and_then(Value::as_str).unwrap_or("undefined") {
        known if API_VERSIONS.contains(&known) => Ok(()),
        other => Err(format!("Unsupported apiVersion field in schema entity, {other}")),
    }
}

/// Whether this is a template of a version that we run.
pub(super) fn is_template(entity: &Map<String, Value>) -> bool {
    let text = |name: &str| entity.get(name).and_then(Value::as_str).unwrap_or_default();
    API_VERSIONS.contains(&text("apiVersion")) && text("kind") == "Template"
}

/// The schemas of a template's form: none, one, or one for each page.
pub(crate) fn pages(template: &Entity) -> Vec<&Value> {
    form_schema::pages(template).into_iter().map(|(_, page)| page).collect()
}

/// What is wrong with a form's values; the first page that refuses them decides.
///
/// # Errors
/// A page is no valid JSON Schema.
pub(crate) fn violations(template: &Entity, values: &Map<String, Value>) -> Result<Vec<Violation>, String> {
    let values = Value::Object(values.clone());
    for page in pages(template) {
        let violations = validator(page, "spec.parameters")?.validate(&values);
        if !violations.is_empty() {
            return Ok(violations);
        }
    }
    Ok(Vec::new())
}

/// What is wrong with the secrets by `spec.secrets.schema`. No value is repeated.
///
/// # Errors
/// It is no valid JSON Schema.
pub(crate) fn secret_violations(template: &Entity, secrets: &Map<String, Value>) -> Result<Vec<Violation>, String> {
    let Some(schema) = template.pointer("/spec/secrets/schema").filter(|schema| !schema.is_null()) else {
        return Ok(Vec::new());
    };
    let violations = validator(schema, "spec.secrets.schema")?.validate(&Value::Object(secrets.clone()));
    Ok(violations.into_iter().map(without_value).collect())
}

fn without_value(violation: Violation) -> Violation {
    let property = match violation.property.strip_prefix("instance") {
        Some(rest) => format!("secrets{rest}"),
        None => violation.property.clone(),
    };
    let message = match (&*violation.name, violation.argument.as_ref().and_then(Value::as_str)) {
        ("required", Some(name)) => format!("secrets.{name} is required"),
        _ => format!("{property} {}", violation.message),
    };
    Violation { property, message, instance: Some(Value::Object(Map::new())), ..violation }
}

fn validator(schema: &Value, place: &str) -> Result<Validator, String> {
    Validator::new(schema).map_err(|reason| format!("The template's {place} is not a valid JSON Schema: {reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn violations_of_secrets_show_no_value() {
        let violation = Violation {
            path: vec!["apiKey".into()],
            property: "instance.apiKey".into(),
            message: "does not meet minimum length of 3".into(),
            schema: json!({"type": "string", "minLength": 3}),
            instance: Some("x".into()),
            name: "minLength".into(),
            argument: Some(3.into()),
            stack: "instance.apiKey does not meet minimum length of 3".into(),
        };
        let shown = without_value(violation.clone());
        assert_eq!(shown.property, "secrets.apiKey");
        assert_eq!(shown.message, "secrets.apiKey does not meet minimum length of 3");
        assert_eq!(shown.instance, Some(json!({})));
        let missing = Violation {
            property: "instance".into(),
            message: "requires property \"apiKey\"".into(),
            name: "required".into(),
            argument: Some("apiKey".into()),
            ..violation
        };
        assert_eq!(without_value(missing).message, "secrets.apiKey is required");
    }
}
