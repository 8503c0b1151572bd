//! Templates as the API reads them: the form's pages, and the checks every use of a template passes.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use serde_json::{Map, Value};
use understudy_sdk::{Entity, EntityRef, schema::Violation};
use utoipa::ToSchema;

use super::{
    ApiState,
    caller::Caller,
    error::{ApiError, ErrorBody},
    form, reply, request,
};
use crate::{
    audit::{Act, Pending},
    permission::{Decision, Resource, known},
};

/// The title of a page that has none (upstream 4.2.0, `parameter-schema`).
const UNTITLED_PAGE: &str = "Please enter the following information";

/// The form of a template.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParameterSchema {
    /// `metadata.title`, or the name.
    #[schema(value_type = String)]
    title: Value,
    /// `spec.presentation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    presentation: Option<Value>,
    /// `metadata.description`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    description: Option<Value>,
    /// `metadata["ui:options"]`.
    #[serde(rename = "ui:options", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    ui_options: Option<Value>,
    /// The pages of the form.
    steps: Vec<ParameterPage>,
    /// `spec.formDecorators`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    form_decorators: Option<Value>,
}

/// One page of a form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ParameterPage {
    /// The page's heading.
    #[schema(value_type = String)]
    title: Value,
    /// Below the heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    description: Option<Value>,
    /// The JSON Schema, `ui:*` members included.
    #[schema(value_type = Object)]
    schema: Value,
}

/// The form of a template.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/templates/{namespace}/{kind}/{name}/parameter-schema", operation_id = "getParameterSchema", tag = "templates",
    params(("namespace" = String, Path), ("kind" = String, Path, description = "`template`"), ("name" = String, Path)),
    responses(
        (status = 200, body = ParameterSchema, description = "The form"),
        (status = 400, body = ErrorBody, description = "Not a template of a known version"),
        (status = 404, body = ErrorBody, description = "No such template"),
    ),
)]
pub(super) async fn parameter_schema(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let entity_ref = EntityRef {
        namespace: request::segment(&http, "namespace")?,
        kind: request::segment(&http, "kind")?,
        name: request::segment(&http, "name")?,
    };
    request::no_query(&http)?;
    let asked = || [("templateRef", entity_ref.to_string().into())];
    let read = async |pending: &mut Pending| {
        let template = authorized(&state, &caller, &entity_ref).await?;
        pending.note("templateRef", || shown_ref(&template).into());
        Ok(reply::ok(&parameter_schema_of(&template)))
    };
    state.audited(&caller, Act::ReadForm, asked, read).await
}

/// A template's reference as upstream's audit events show it: in the template's own letters.
pub(super) fn shown_ref(template: &Entity) -> String {
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (kind, name) = (text("/kind").unwrap_or_default(), text("/metadata/name").unwrap_or_default());
    format!("{kind}:{}/{name}", text("/metadata/namespace").unwrap_or("default"))
}

fn parameter_schema_of(template: &Entity) -> ParameterSchema {
    let member = |pointer: &str| template.pointer(pointer).filter(|value| !value.is_null()).cloned();
    ParameterSchema {
        title: member("/metadata/title").or_else(|| member("/metadata/name")).unwrap_or_default(),
        presentation: member("/spec/presentation"),
        description: member("/metadata/description"),
        ui_options: member("/metadata/ui:options"),
        steps: form::pages(template)
            .into_iter()
            .map(|schema| {
                let member = |name: &str| schema.get(name).filter(|value| !value.is_null()).cloned();
                ParameterPage {
                    title: member("title").unwrap_or_else(|| UNTITLED_PAGE.into()),
                    description: member("description"),
                    schema: schema.clone(),
                }
            })
            .collect(),
        form_decorators: member("/spec/formDecorators").or_else(|| member("/spec/EXPERIMENTAL_formDecorators")),
    }
}

/// The template this reference names, checked: kind, existence, version. Pages of its form and steps that the caller may
/// not see are left out (`@backstage/plugin-scaffolder-backend` 4.2.0, `authorizeTemplate`).
pub(super) async fn authorized(state: &ApiState, caller: &Caller, entity_ref: &EntityRef) -> Result<Entity, ApiError> {
    if !entity_ref.kind.eq_ignore_ascii_case("template") {
        return Err(ApiError::input("Invalid kind, only 'Template' kind is supported"));
    }
    let Some(mut template) = state.catalog_for(caller).entity_by_ref(entity_ref).await? else {
        return Err(ApiError::not_found(format!("Template {} not found", entity_ref.canonical())));
    };
    form::check_version(&template).map_err(ApiError::input)?;
    let asked = [known::TEMPLATE_PARAMETER_READ, known::TEMPLATE_STEP_READ];
    let decisions = state.permissions.decide(caller.credentials(), &asked).await?;
    if let [parameters, steps] = &decisions[..] {
        keep_visible(&mut template, parameters, steps)?;
    }
    Ok(template)
}

/// Leaves what is not allowed out of `spec.parameters` and `spec.steps`.
fn keep_visible(template: &mut Entity, parameters: &Decision, steps: &Decision) -> Result<(), ApiError> {
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    for (name, decision) in [("parameters", parameters), ("steps", steps)] {
        match spec.get_mut(name) {
            Some(Value::Array(items)) => {
                let mut visible = Vec::with_capacity(items.len());
                for item in items.drain(..) {
                    if decision.holds(&Resource::Item(&item))? {
                        visible.push(item);
                    }
                }
                *items = visible;
            }
            Some(single) if !single.is_null() && !decision.holds(&Resource::Item(single))? => {
                spec.shift_remove(name);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks what the published schema of templates demands beyond version and kind.
///
/// # Errors
/// A `TypeError` in the words of ajv, as `@backstage/plugin-scaffolder-common` 2.3.0 lets it through.
pub(super) fn check_shape(template: &Entity) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new("TypeError", message));
    for (place, members) in [("", &["metadata", "spec"][..]), ("/metadata", &["name"]), ("/spec", &["type", "steps"])] {
        let shown = if place.is_empty() { "<root>" } else { place };
        let Some(object) = template.pointer(place).and_then(Value::as_object) else {
            return refuse(format!("{shown} must be object - type: object"));
        };
        if let Some(name) = members.iter().find(|name| !object.contains_key(**name)) {
            return refuse(format!("{shown} must have required property '{name}' - missingProperty: {name}"));
        }
    }
    for (place, is_right, what) in [
        ("/metadata/name", Value::is_string as fn(&Value) -> bool, "string"),
        ("/spec/type", Value::is_string, "string"),
        ("/spec/steps", Value::is_array, "array"),
    ] {
        if !template.pointer(place).is_some_and(is_right) {
            return refuse(format!("{place} must be {what} - type: {what}"));
        }
    }
    for (index, step) in template["spec"]["steps"].as_array().into_iter().flatten().enumerate() {
        match step.as_object().map(|step| step.get("action")) {
            None => return refuse(format!("/spec/steps/{index} must be object - type: object")),
            Some(None) => {
                return refuse(format!(
                    "/spec/steps/{index} must have required property 'action' - missingProperty: action"
                ));
            }
            Some(Some(action)) if !action.is_string() => {
                return refuse(format!("/spec/steps/{index}/action must be string - type: string"));
            }
            Some(Some(_)) => {}
        }
    }
    Ok(())
}

/// Validates a form's values against the template's pages.
pub(super) fn check_values(template: &Entity, values: &Map<String, Value>) -> Result<(), ApiError> {
    refuse(form::violations(template, values), ApiError::Violations)
}

/// Validates secrets against `spec.secrets.schema`.
pub(super) fn check_secrets(template: &Entity, secrets: &Map<String, Value>) -> Result<(), ApiError> {
    refuse(form::secret_violations(template, secrets), ApiError::SecretViolations)
}

fn refuse(
    violations: Result<Vec<Violation>, String>,
    as_error: impl FnOnce(Vec<Violation>) -> ApiError,
) -> Result<(), ApiError> {
    let violations = violations.map_err(ApiError::input)?;
    if violations.is_empty() { Ok(()) } else { Err(as_error(violations)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::permission::Condition;

    #[test]
    fn forms_have_a_page_for_each_schema() {
        let entity = json!({
            "metadata": {"name": "t", "ui:options": {"a": 1}},
            "spec": {"parameters": [{"title": "One", "description": "first"}, {"properties": {}}]},
        });
        assert_eq!(
            serde_json::to_value(parameter_schema_of(&entity)).unwrap_or_default(),
            json!({
                "title": "t",
                "ui:options": {"a": 1},
                "steps": [
                    {"title": "One", "description": "first", "schema": {"title": "One", "description": "first"}},
                    {"title": "Please enter the following information", "schema": {"properties": {}}},
                ],
            })
        );
        assert!(parameter_schema_of(&json!({"metadata": {"name": "t"}, "spec": {}})).steps.is_empty());
        assert_eq!(parameter_schema_of(&json!({"metadata": {"name": "t"}, "spec": {"parameters": {}}})).steps.len(), 1);
    }

    #[test]
    fn what_the_caller_may_not_see_is_left_out() {
        let tagged = |name: &str| json!({"title": name, "backstage:permissions": {"tags": ["secret"]}});
        let condition =
            json!({"not": {"rule": "HAS_TAG", "resourceType": "scaffolder-template", "params": {"tag": "secret"}}});
        let conditional = Condition::parse(&condition).map(Decision::Conditional).unwrap_or(Decision::Allow);
        let template = || {
            json!({"spec": {
                "parameters": [tagged("a"), {"title": "b"}],
                "steps": [{"id": "one"}, {"id": "two", "backstage:permissions": {"tags": ["secret"]}}],
            }})
        };
        for (parameters, steps, expected) in [
            (&conditional, &Decision::Allow, json!([["b"], ["one", "two"]])),
            (&Decision::Allow, &conditional, json!([["a", "b"], ["one"]])),
            (&Decision::Deny, &Decision::Deny, json!([[], []])),
        ] {
            let mut template = template();
            assert!(keep_visible(&mut template, parameters, steps).is_ok());
            let names = |list: &str, name: &str| -> Vec<Value> {
                template["spec"][list].as_array().into_iter().flatten().map(|item| item[name].clone()).collect()
            };
            assert_eq!(json!([names("parameters", "title"), names("steps", "id")]), expected);
        }
        for (decision, left) in [(&conditional, false), (&Decision::Allow, true)] {
            let mut template = json!({"spec": {"parameters": tagged("only"), "steps": []}});
            assert!(keep_visible(&mut template, decision, &Decision::Allow).is_ok());
            assert_eq!(template["spec"].get("parameters").is_some(), left);
        }
    }

    #[test]
    fn shapes_are_refused_in_the_words_of_ajv() {
        for (template, expected) in [
            (
                json!({"metadata": {"name": "d"}, "spec": {"type": "x"}}),
                "TypeError: /spec must have required property 'steps' - missingProperty: steps",
            ),
            (
                json!({"metadata": {"name": "d"}}),
                "TypeError: <root> must have required property 'spec' - missingProperty: spec",
            ),
            (
                json!({"metadata": {"name": "d"}, "spec": {"type": "x", "steps": [{"action": 1}]}}),
                "TypeError: /spec/steps/0/action must be string - type: string",
            ),
        ] {
            assert_eq!(check_shape(&template).map_err(|error| error.to_string()), Err(expected.to_string()));
        }
        let good = json!({"metadata": {"name": "d"}, "spec": {"type": "x", "steps": []}});
        assert!(check_shape(&good).is_ok());
    }
}
