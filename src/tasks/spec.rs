//! What a task is: a template and a form become the [`TaskSpec`] that is stored and run.
//!
//! The shape, down to the order of keys, is that of `@backstage/plugin-scaffolder-backend` 4.2.0, so that both services
//! can run each other's tasks.

use serde_json::{Map, Value, json};
use understudy_sdk::{Entity, EntityRef};

use crate::model::{Recovery, TaskSpec, TemplateInfoSpec, UserSpec};

/// Why an entity can't be made into a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// `apiVersion`, `kind` or `metadata.name` is missing.
    #[error("the entity lacks {0}; a template needs apiVersion, kind and metadata.name")]
    NotAnEntity(&'static str),
    /// `spec.steps` is missing or no list.
    #[error("the template {template} has no list at spec.steps; give it at least an empty one")]
    NoSteps {
        /// The template's reference.
        template: String,
    },
    /// An item of `spec.steps` can't be a step.
    #[error("step {number} of the template {template} is not an object with a text at `action`")]
    NotAStep {
        /// Counted from one.
        number: usize,
        /// The template's reference.
        template: String,
    },
    /// `spec.EXPERIMENTAL_recovery` can't be read.
    #[error("spec.EXPERIMENTAL_recovery of the template {template} can't be read: {reason}")]
    Recovery {
        /// The template's reference.
        template: String,
        /// Why.
        reason: String,
    },
}

/// The task that runs `template` with the form's `values` for `user`. Steps the user may not see must have been removed
/// from the template before, because default ids count the steps that are left.
///
/// # Errors
/// The entity is no template with a list of steps.
pub fn build_task_spec(template: &Entity, values: Map<String, Value>, user: UserSpec) -> Result<TaskSpec, SpecError> {
    let api_version =
        template.get("apiVersion").and_then(Value::as_str).ok_or(SpecError::NotAnEntity("apiVersion"))?.to_string();
    let entity_ref = EntityRef::of(template).ok_or(SpecError::NotAnEntity("kind or metadata.name"))?.canonical();
    let spec = template.get("spec");
    let steps = spec
        .and_then(|spec| spec.get("steps"))
        .and_then(Value::as_array)
        .ok_or_else(|| SpecError::NoSteps { template: entity_ref.clone() })?
        .iter()
        .enumerate()
        .map(|(index, step)| {
            named_step(step, index)
                .ok_or_else(|| SpecError::NotAStep { number: index + 1, template: entity_ref.clone() })
        })
        .collect::<Result<_, _>>()?;
    let recovery = present(spec.and_then(|spec| spec.get("EXPERIMENTAL_recovery")))
        .map(|wish| serde_json::from_value::<Recovery>(wish.clone()))
        .transpose()
        .map_err(|error| SpecError::Recovery { template: entity_ref.clone(), reason: error.to_string() })?;
    Ok(TaskSpec {
        api_version,
        steps,
        recovery,
        output: present(spec.and_then(|spec| spec.get("output"))).cloned().unwrap_or_else(|| json!({})),
        parameters: values,
        user,
        template_info: Some(TemplateInfoSpec {
            entity_ref,
            base_url: template_base_url(template),
            entity: Some(json!({ "metadata": template.get("metadata").cloned().unwrap_or_default() })),
        }),
        rest: Map::new(),
    })
}

/// Where the template file lives, from its `backstage.io/source-location` or else `backstage.io/managed-by-location`:
/// `url:<target>` gives the target, `file:<path>` a `file://` URL, other kinds nothing.
pub fn template_base_url(template: &Entity) -> Option<String> {
    let annotations = template.pointer("/metadata/annotations")?;
    let location = ["backstage.io/source-location", "backstage.io/managed-by-location"]
        .iter()
        .find_map(|name| annotations.get(name).and_then(Value::as_str).filter(|location| !location.is_empty()))?;
    match location.split_once(':')? {
        ("url", target) => Some(target.to_string()),
        ("file", path) => Some(format!("file://{path}")),
        _ => None,
    }
}

/// The step with `id` and `name`: members that are there keep their place, missing ones go to the end.
fn named_step(step: &Value, index: usize) -> Option<Map<String, Value>> {
    let mut step = step.as_object()?.clone();
    let action = step.get("action")?.as_str()?.to_string();
    if present(step.get("id")).is_none() {
        step.insert("id".into(), Value::String(format!("step-{}", index + 1)));
    }
    if present(step.get("name")).is_none() {
        step.insert("name".into(), Value::String(action));
    }
    Some(step)
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn template(steps: Value, annotations: Value) -> Value {
        json!({
            "apiVersion": "scaffolder.backstage.io/v1beta3",
            "kind": "Template",
            "metadata": {"name": "Params", "namespace": "team-a", "annotations": annotations},
            "spec": {"owner": "user:guest", "type": "service", "steps": steps},
        })
    }

    #[test]
    fn stored_text_is_upstreams() {
        let template = template(
            json!([
                {"action": "debug:log", "input": {"message": "x"}},
                {"name": "No id", "action": "debug:log"},
                {"id": "i", "name": "N", "action": "a", "if": true}
            ]),
            json!({"backstage.io/managed-by-location": "file:/t/params.yaml"}),
        );
        let values = json!({"name": "x"}).as_object().unwrap().clone();
        let spec = build_task_spec(&template, values, UserSpec::default()).unwrap();
        assert_eq!(
            serde_json::to_string(&spec).unwrap(),
            concat!(
                r#"{"apiVersion":"scaffolder.backstage.io/v1beta3","steps":["#,
                r#"{"action":"debug:log","input":{"message":"x"},"id":"step-1","name":"debug:log"},"#,
                r#"{"name":"No id","action":"debug:log","id":"step-2"},"#,
                r#"{"id":"i","name":"N","action":"a","if":true}],"#,
                r#""output":{},"parameters":{"name":"x"},"user":{},"#,
                r#""templateInfo":{"entityRef":"template:team-a/params","baseUrl":"file:///t/params.yaml","#,
                r#""entity":{"metadata":{"name":"Params","namespace":"team-a","#,
                r#""annotations":{"backstage.io/managed-by-location":"file:/t/params.yaml"}}}}}"#,
            )
        );
    }

    #[test]
    fn base_url_comes_from_the_annotations() {
        for (annotations, expected) in [
            (json!({}), None),
            (json!({"backstage.io/managed-by-location": "url:https://h/t.yaml"}), Some("https://h/t.yaml")),
            (
                json!({"backstage.io/managed-by-location": "file:/a", "backstage.io/source-location": "url:https://h/"}),
                Some("https://h/"),
            ),
            (json!({"backstage.io/managed-by-location": "bootstrap:bootstrap"}), None),
        ] {
            assert_eq!(template_base_url(&template(json!([]), annotations)).as_deref(), expected);
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let no_steps = json!({"apiVersion": "v", "kind": "Template", "metadata": {"name": "t"}, "spec": {}});
        let texts: Vec<String> = [json!({}), no_steps, template(json!([{"id": "x"}]), json!({}))]
            .iter()
            .map(|entity| build_task_spec(entity, Map::new(), UserSpec::default()).unwrap_err().to_string())
            .collect();
        assert!(texts[0].contains("apiVersion") && texts[1].contains("spec.steps") && texts[2].contains("step 1"));
    }
}
