//! The permissions of the scaffolder, as `@backstage/plugin-scaffolder-common` 2.3.0 defines them.

use serde::{Serialize, Serializer, ser::SerializeMap};

/// What a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// Pages of a template's form, and its steps.
    Template,
    /// An action with its input.
    Action,
    /// A task.
    Task,
}

impl ResourceType {
    /// E.g. `scaffolder-task`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Template => "scaffolder-template",
            Self::Action => "scaffolder-action",
            Self::Task => "scaffolder-task",
        }
    }
    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Template, Self::Action, Self::Task].into_iter().find(|known| known.as_str() == name)
    }
}

/// A permission. With a resource type its decision may be conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// E.g. `scaffolder.task.read`.
    pub name: &'static str,
    /// `create`, `read`, or nothing.
    pub action: Option<&'static str>,
    /// `None`: a basic permission.
    pub resource_type: Option<ResourceType>,
}

/// Seeing a page of a template's form.
pub const TEMPLATE_PARAMETER_READ: Permission =
    Permission::resource("scaffolder.template.parameter.read", Some("read"), ResourceType::Template);
/// Seeing, and so running, a step of a template.
pub const TEMPLATE_STEP_READ: Permission =
    Permission::resource("scaffolder.template.step.read", Some("read"), ResourceType::Template);
/// Running an action with its input.
pub const ACTION_EXECUTE: Permission = Permission::resource("scaffolder.action.execute", None, ResourceType::Action);
/// Cancelling a task.
pub const TASK_CANCEL: Permission = Permission::resource("scaffolder.task.cancel", None, ResourceType::Task);
/// Creating tasks.
pub const TASK_CREATE: Permission = Permission::basic("scaffolder.task.create", Some("create"));
/// Reading a task and its log.
pub const TASK_READ: Permission = Permission::resource("scaffolder.task.read", Some("read"), ResourceType::Task);
/// Running a template without a task.
pub const TEMPLATE_DRY_RUN: Permission = Permission::basic("scaffolder.template.dry-run", None);
/// The frontend's pages for people who write templates.
pub const TEMPLATE_MANAGEMENT: Permission = Permission::basic("scaffolder.template.management", None);

/// All of them, in the order in which upstream publishes them.
pub const ALL: [Permission; 8] = [
    TEMPLATE_DRY_RUN,
    TEMPLATE_PARAMETER_READ,
    TEMPLATE_STEP_READ,
    ACTION_EXECUTE,
    TASK_CANCEL,
    TASK_CREATE,
    TASK_READ,
    TEMPLATE_MANAGEMENT,
];

impl Permission {
    const fn basic(name: &'static str, action: Option<&'static str>) -> Self {
        Self { name, action, resource_type: None }
    }
    const fn resource(name: &'static str, action: Option<&'static str>, resource_type: ResourceType) -> Self {
        Self { name, action, resource_type: Some(resource_type) }
    }
}

impl Serialize for Permission {
    /// `{type, name, attributes, resourceType?}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Attributes {
            #[serde(skip_serializing_if = "Option::is_none")]
            action: Option<&'static str>,
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", if self.resource_type.is_some() { "resource" } else { "basic" })?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("attributes", &Attributes { action: self.action })?;
        if let Some(resource_type) = self.resource_type {
            map.serialize_entry("resourceType", resource_type.as_str())?;
        }
        map.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn permissions_are_written_as_backstage_knows_them() {
        for (permission, expected) in [
            (
                TASK_READ,
                json!({"type": "resource", "name": "scaffolder.task.read", "attributes": {"action": "read"}, "resourceType": "scaffolder-task"}),
            ),
            (
                TASK_CREATE,
                json!({"type": "basic", "name": "scaffolder.task.create", "attributes": {"action": "create"}}),
            ),
            (
                ACTION_EXECUTE,
                json!({"type": "resource", "name": "scaffolder.action.execute", "attributes": {}, "resourceType": "scaffolder-action"}),
            ),
        ] {
            assert_eq!(serde_json::to_value(permission).unwrap(), expected);
        }
        assert_eq!(ResourceType::parse("scaffolder-action"), Some(ResourceType::Action));
        assert_eq!(ResourceType::parse("catalog-entity"), None);
    }
}
