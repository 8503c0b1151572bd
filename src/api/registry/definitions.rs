//! The actions that the registry offers, with names and schemas of `@backstage/plugin-scaffolder-backend` 4.2.0.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    config::ActionAttributes,
    permission::{Permission, known::TEMPLATE_DRY_RUN},
};

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    ListTasks,
    DryRun,
    ListActions,
    Execute,
    TaskLogs,
}

/// An action as agents see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offered {
    /// `scaffolder:<name>`.
    pub(super) id: String,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    plugin_id: &'static str,
    pub(super) attributes: ActionAttributes,
    pub(super) schema: Schemas,
    /// Who lacks this does not see the action.
    #[serde(skip)]
    pub(super) visible_with: Option<Permission>,
    #[serde(skip)]
    pub(super) call: Call,
}

/// JSON Schemas (draft-07).
#[derive(Debug, Serialize)]
pub(super) struct Schemas {
    pub(super) input: Value,
    pub(super) output: Value,
}

const READS: ActionAttributes = ActionAttributes { destructive: false, idempotent: true, read_only: true };

/// All of them, in the order in which upstream lists them.
pub(super) fn all() -> &'static [Offered] {
    static ALL: LazyLock<Vec<Offered>> = LazyLock::new(|| {
        vec![
            offered(
                ("list-scaffolder-tasks", "List Scaffolder Tasks"),
                "Lists tasks, newest first, with what each runs, its status (open, processing, completed, failed, \
                 cancelled or skipped) and when it was created and last gave a sign of life. Set owned to see the \
                 caller's own tasks only; status, limit and offset narrow the list.",
                READS,
                (list_tasks_input(), list_tasks_output()),
                Call::ListTasks,
            ),
            Offered {
                visible_with: Some(TEMPLATE_DRY_RUN),
                ..offered(
                    ("dry-run-template", "Dry Run Scaffolder Template"),
                    "Runs a template, given as YAML, without lasting effects: actions that can't run dry are skipped. \
                     Gives the log, the output and the steps, or what is wrong with the text.",
                    READS,
                    (dry_run_input(), dry_run_output()),
                    Call::DryRun,
                )
            },
            offered(
                ("list-scaffolder-actions", "List Scaffolder Actions"),
                "Lists the actions that steps of templates can use, with JSON Schemas of input and output and examples.",
                READS,
                (object(json!({}), &[]), list_actions_output()),
                Call::ListActions,
            ),
            offered(
                ("execute-template", "Execute Scaffolder Template"),
                "Starts a task that runs a registered template with these values, as the caller and within the caller's \
                 permissions. The template's entity in the catalog says which values and secrets it takes. Gives the \
                 task's id, by which get-scaffolder-task-logs follows it.",
                ActionAttributes { destructive: true, idempotent: false, read_only: false },
                (execute_input(), execute_output()),
                Call::Execute,
            ),
            offered(
                ("get-scaffolder-task-logs", "Get Scaffolder Task Logs"),
                "Gives the events of a task: lines of its log with their step, its completion, cancellations and new \
                 starts. With after only what came behind that event; without news it waits up to half a minute.",
                READS,
                (logs_input(), logs_output()),
                Call::TaskLogs,
            ),
        ]
    });
    &ALL
}

fn offered(
    (name, title): (&'static str, &'static str),
    description: &'static str,
    attributes: ActionAttributes,
    (input, output): (Value, Value),
    call: Call,
) -> Offered {
    let with_dialect = |mut schema: Value| {
        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
        schema
    };
    Offered {
        id: format!("scaffolder:{name}"),
        name,
        title,
        description,
        plugin_id: "scaffolder",
        attributes,
        schema: Schemas { input: with_dialect(input), output: with_dialect(output) },
        visible_with: None,
        call,
    }
}

fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema["additionalProperties"] = false.into();
    schema
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn text(about: &str) -> Value {
    json!({"type": "string", "description": about})
}

fn list_tasks_input() -> Value {
    object(
        json!({
            "owned": {"type": "boolean", "default": false, "description": "Only tasks of the user who asks"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "At most so many tasks"},
            "offset": {"type": "integer", "minimum": 0, "description": "So many tasks are passed over"},
            "status": {
                "anyOf": [
                    {"type": "string", "enum": ["open", "processing", "completed", "failed", "cancelled", "skipped"]},
                    {"type": "array", "items": {"$ref": "#/properties/status/anyOf/0"}, "minItems": 1},
                ],
                "description": "Only tasks of this status, or of one of these",
            },
        }),
        &[],
    )
}

fn list_tasks_output() -> Value {
    let task = object(
        json!({
            "id": text("The task's id"),
            "spec": {"description": "What it runs"},
            "status": text("open, processing, completed, failed, cancelled or skipped"),
            "createdAt": text("ISO time"),
            "lastHeartbeatAt": text("ISO time of the last sign of life"),
        }),
        &["id", "status", "createdAt"],
    );
    object(
        json!({
            "tasks": list(task),
            "totalTasks": {"type": "number", "description": "How many there are without limit and offset"},
        }),
        &["tasks", "totalTasks"],
    )
}

fn dry_run_input() -> Value {
    let file = object(
        json!({"path": text("Relative to the template"), "content": text("What it holds, as text")}),
        &["path", "content"],
    );
    object(
        json!({
            "templateYaml": text("The template, as YAML"),
            "values": {"type": "object", "additionalProperties": {}, "description": "What the form would give"},
            "files": list(file),
        }),
        &["templateYaml"],
    )
}

fn dry_run_output() -> Value {
    let line = object(
        json!({"message": {"type": "string"}, "stepId": {"type": "string"}, "status": {"type": "string"}}),
        &["message"],
    );
    let step = object(
        json!({"id": {"type": "string"}, "name": {"type": "string"}, "action": {"type": "string"}}),
        &["id", "name", "action"],
    );
    object(
        json!({
            "valid": {"type": "boolean", "description": "Whether the text could be read and run"},
            "message": text("What came of it"),
            "errors": list(json!({"type": "string"})),
            "log": list(line),
            "output": {"type": "object", "additionalProperties": {}, "description": "The template's output"},
            "steps": list(step),
        }),
        &["valid", "message"],
    )
}

fn list_actions_output() -> Value {
    let anything =
        |about: &str| json!({"type": "object", "properties": {}, "additionalProperties": true, "description": about});
    let schemas = object(
        json!({"input": anything("JSON Schema of the input"), "output": anything("JSON Schema of the output")}),
        &["input", "output"],
    );
    let action = object(
        json!({"id": {"type": "string"}, "description": {"type": "string"}, "schema": schemas, "examples": {"type": "array"}}),
        &["id", "description", "schema"],
    );
    object(json!({"actions": list(action)}), &["actions"])
}

fn execute_input() -> Value {
    object(
        json!({
            "templateRef": text("Entity reference of the template, e.g. template:default/my-template"),
            "values": {"type": "object", "additionalProperties": {}, "description": "The values its form asks for"},
            "secrets": {
                "type": "object", "additionalProperties": {"type": "string"},
                "description": "The secrets its spec.secrets asks for",
            },
        }),
        &["templateRef", "values"],
    )
}

fn execute_output() -> Value {
    object(json!({"taskId": text("The task's id")}), &["taskId"])
}

fn logs_input() -> Value {
    object(
        json!({
            "taskId": text("The task's id"),
            "after": {"type": "integer", "minimum": 0, "description": "Only events behind the one with this id"},
        }),
        &["taskId"],
    )
}

fn logs_output() -> Value {
    let body = object(
        json!({
            "message": text("The line"),
            "stepId": text("The step it belongs to"),
            "status": text("The step's status from then on"),
        }),
        &["message"],
    );
    let event = object(
        json!({
            "id": {"type": "number", "description": "Grows from event to event"},
            "taskId": text("The task's id"),
            "createdAt": text("ISO time"),
            "type": text("log, completion, cancelled or recovered"),
            "body": body,
        }),
        &["id", "taskId", "createdAt", "type", "body"],
    );
    object(json!({"events": list(event)}), &["events"])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_what_they_check() {
        for action in all() {
            for schema in [&action.schema.input, &action.schema.output] {
                jsonschema::validator_for(schema).unwrap();
            }
        }
        let ids: Vec<_> = all().iter().map(|action| &*action.id).collect();
        assert_eq!(
            ids,
            [
                "scaffolder:list-scaffolder-tasks",
                "scaffolder:dry-run-template",
                "scaffolder:list-scaffolder-actions",
                "scaffolder:execute-template",
                "scaffolder:get-scaffolder-task-logs",
            ]
        );
    }
}
