//! The rules that conditions are made of (`@backstage/plugin-scaffolder-backend` 4.2.0, `service/rules`).

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{known::ResourceType, path};
use crate::zod::{self, ZodError};

/// What a rule is applied to.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'r> {
    /// A page of a template's form, or one of its steps.
    Item(&'r Value),
    /// An action about to run.
    Action {
        /// Its id.
        id: &'r str,
        /// Its rendered input.
        input: &'r Value,
    },
    /// A task.
    Task {
        /// Its creator's entity reference.
        created_by: Option<&'r str>,
    },
}

impl Resource<'_> {
    /// Which rules there are for it.
    pub fn kind(&self) -> ResourceType {
        match self {
            Self::Item(_) => ResourceType::Template,
            Self::Action { .. } => ResourceType::Action,
            Self::Task { .. } => ResourceType::Task,
        }
    }
}

/// Why a rule can't be applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// There is no such rule. Rules of modules written for Backstage are not known here.
    #[error("Unexpected permission rule: {name}")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// What the policy asks the rule is not what it takes.
    #[error("Parameters to rule are invalid")]
    Params(#[source] ZodError),
    /// The template's own tags can't be read, so no rule about them can be decided.
    #[error("resource[\"backstage:permissions\"]?.tags?.includes is not a function")]
    Tags,
}

/// The type of value that a property must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    Boolean,
    Number,
    String,
}

impl Property {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::Boolean => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    HasTag,
    HasActionId,
    HasProperty(Property),
    IsTaskOwner,
}

/// A rule, as policies know it.
#[derive(Debug)]
pub struct Rule {
    /// E.g. `HAS_TAG`.
    pub name: &'static str,
    /// For people who write policies.
    pub description: &'static str,
    /// What it applies to.
    pub resource_type: ResourceType,
    /// JSON Schema (draft-07) of its parameters.
    pub params_schema: Value,
    kind: Kind,
}

static RULES: LazyLock<[Rule; 6]> = LazyLock::new(|| {
    let text = |name: &str, about: &str| (name.to_string(), json!({"type": "string", "description": about}));
    let schema = |properties: Vec<(String, Value)>, required: &str| {
        json!({
            "type": "object",
            "properties": properties.into_iter().collect::<Map<_, _>>(),
            "required": [required],
            "additionalProperties": false,
            "$schema": "http://json-schema.org/draft-07/schema#",
        })
    };
    let property = |name, kind, value: &str| Rule {
        name,
        description: "The action's input has the property, with the value where one is given",
        resource_type: ResourceType::Action,
        params_schema: schema(
            vec![
                text("key", "Where the property is: a path into the action's input"),
                ("value".to_string(), json!({"type": value, "description": "What the property must be"})),
            ],
            "key",
        ),
        kind: Kind::HasProperty(kind),
    };
    [
        Rule {
            name: "HAS_TAG",
            description: "The page or step is tagged so by its template",
            resource_type: ResourceType::Template,
            params_schema: schema(vec![text("tag", "A tag of backstage:permissions.tags")], "tag"),
            kind: Kind::HasTag,
        },
        Rule {
            name: "HAS_ACTION_ID",
            description: "The action is the one with this id",
            resource_type: ResourceType::Action,
            params_schema: schema(vec![text("actionId", "The action's id")], "actionId"),
            kind: Kind::HasActionId,
        },
        property("HAS_BOOLEAN_PROPERTY", Property::Boolean, "boolean"),
        property("HAS_NUMBER_PROPERTY", Property::Number, "number"),
        property("HAS_STRING_PROPERTY", Property::String, "string"),
        Rule {
            name: "IS_TASK_OWNER",
            description: "The task was created by one of these users",
            resource_type: ResourceType::Task,
            params_schema: schema(
                vec![(
                    "createdBy".to_string(),
                    json!({"type": "array", "items": {"type": "string"}, "description": "Entity references of the users"}),
                )],
                "createdBy",
            ),
            kind: Kind::IsTaskOwner,
        },
    ]
});

impl Rule {
    /// All rules, in the order in which upstream publishes them.
    pub fn all() -> &'static [Self] {
        &*RULES
    }

    /// The rule of this name for this kind of resource.
    ///
    /// # Errors
    /// [`RuleError::Unknown`].
    pub fn find(resource_type: ResourceType, name: &str) -> Result<&'static Self, RuleError> {
        Self::all()
            .iter()
            .find(|rule| rule.resource_type == resource_type && rule.name == name)
            .ok_or_else(|| RuleError::Unknown { name: name.to_string() })
    }

    /// The rule with what it is asked.
    ///
    /// # Errors
    /// [`RuleError::Params`].
    pub(super) fn with_params(&'static self, params: Option<&Map<String, Value>>) -> Result<Asked, RuleError> {
        let given = params.map(|params| Value::Object(params.clone()));
        let params = zod::parse(&self.params_schema, given.as_ref()).map_err(RuleError::Params)?;
        Ok(Asked { rule: self, params })
    }
}

/// A rule with parameters that were checked.
pub(super) struct Asked {
    rule: &'static Rule,
    params: Value,
}

impl Asked {
    fn text(&self, name: &str) -> &str {
        self.params.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// `createdBy`.
    pub(super) fn creators(&self) -> Vec<String> {
        let creators = self.params.get("createdBy").and_then(Value::as_array);
        creators.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
    }

    pub(super) fn holds(&self, resource: &Resource<'_>) -> Result<bool, RuleError> {
        Ok(match (self.rule.kind, resource) {
            (Kind::HasTag, Resource::Item(item)) => has_tag(item, self.text("tag"))?,
            (Kind::HasActionId, Resource::Action { id, .. }) => *id == self.text("actionId"),
            (Kind::HasProperty(kind), Resource::Action { id, input }) => {
                has_property(kind, id, input, self.text("key"), self.params.get("value"))
            }
            (Kind::IsTaskOwner, Resource::Task { created_by }) => created_by
                .filter(|creator| !creator.is_empty())
                .is_some_and(|creator| self.creators().iter().any(|known| known == creator)),
            // `Rule::find` gives rules for the resource's kind only.
            _ => return Err(RuleError::Unknown { name: self.rule.name.to_string() }),
        })
    }
}

/// Tags are a list; a text counts by what it contains, as JavaScript's `includes` has it.
fn has_tag(item: &Value, tag: &str) -> Result<bool, RuleError> {
    match item.get("backstage:permissions").and_then(|permissions| permissions.get("tags")) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Array(tags)) => Ok(tags.iter().any(|known| known == tag)),
        Some(Value::String(tags)) => Ok(tags.contains(tag)),
        Some(_) => Err(RuleError::Tags),
    }
}

fn has_property(kind: Property, action: &str, input: &Value, key: &str, wanted: Option<&Value>) -> bool {
    let Some(found) = path::get(input, key).filter(|found| kind.is(found)) else { return false };
    match (wanted, &found) {
        (None, _) => true,
        (Some(Value::String(wanted)), Value::String(found)) if ignores_case(action, key) => {
            wanted.to_lowercase() == found.to_lowercase()
        }
        (Some(Value::Number(wanted)), Value::Number(found)) => wanted.as_f64() == found.as_f64(),
        (Some(wanted), found) => wanted == found,
    }
}

/// Names of owners and repositories are the same to GitHub, GitLab and Bitbucket whatever their case.
fn ignores_case(action: &str, key: &str) -> bool {
    let property = path::parts(key).join(".");
    let mut segments = action.split(':');
    let is_scm =
        |segment: &str| matches!(segment, "gitlab" | "github" | "bitbucket" | "bitbucketCloud" | "bitbucketServer");
    segments.clone().any(is_scm)
        && (matches!(&*property, "owner" | "repoName" | "projectId" | "repoUrl")
            || (property == "path" && segments.any(|segment| segment == "group")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
