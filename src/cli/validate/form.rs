//! What a template's form declares.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::form_schema;

/// The names that a schema, or several, give to the members of an object.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) names: BTreeSet<String>,
    /// Whether there may be others.
    pub(super) is_open: bool,
    /// Whether there is any schema at all.
    pub(super) has_schema: bool,
}

impl Names {
    /// Those of an action's output: without `additionalProperties` a schema describes all there is.
    pub(super) fn of_output(schema: &Value) -> Self {
        let mut names = Self::default();
        names.read(schema, schema, &mut HashSet::new());
        names.is_open |= names.names.is_empty() && schema["additionalProperties"] != false;
        names
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.is_open || self.names.contains(name)
    }

    /// Adds the names of a schema. `seen` are the references that have been followed.
    fn read<'s>(&mut self, schema: &'s Value, root: &'s Value, seen: &mut HashSet<&'s str>) {
        self.has_schema = true;
        let Value::Object(members) = schema else { return };
        for (keyword, value) in members {
            match (keyword.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    self.names.extend(properties.keys().cloned());
                    // The whole of the properties may be in another file.
                    self.is_open |= properties.keys().any(|name| is_elsewhere(name));
                }
                ("required", Value::Array(names)) => {
                    self.names.extend(names.iter().filter_map(Value::as_str).map(str::to_string));
                }
                ("patternProperties", Value::Object(patterns)) => self.is_open |= !patterns.is_empty(),
                ("additionalProperties", value) => self.is_open |= *value != Value::Bool(false),
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    schemas.iter().for_each(|schema| self.read(schema, root, seen));
                }
                ("if" | "then" | "else", schema) => self.read(schema, root, seen),
                ("dependencies" | "dependentSchemas", Value::Object(schemas)) => {
                    for (name, schema) in schemas {
                        self.names.insert(name.clone());
                        match schema {
                            Value::Array(names) => {
                                self.names.extend(names.iter().filter_map(Value::as_str).map(str::to_string));
                            }
                            schema => self.read(schema, root, seen),
                        }
                    }
                }
                ("$ref", Value::String(reference)) => {
                    match reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) {
                        Some(schema) => {
                            if seen.insert(reference) {
                                self.read(schema, root, seen);
                            }
                        }
                        None => self.is_open = true,
                    }
                }
                (name, _) if is_elsewhere(name) => self.is_open = true,
                _ => {}
            }
        }
    }
}

/// Whether a member of this name stands for what a file or URL holds.
pub(super) fn is_elsewhere(name: &str) -> bool {
    matches!(name, "$yaml" | "$json" | "$text" | "$openapi" | "$asyncapi" | "$graphql")
}

/// What a template's form fills in.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Members of `parameters`.
    pub(super) parameters: Names,
    /// Members of `secrets`.
    pub(super) secrets: Names,
}

impl Form {
    pub(super) fn of(template: &Value) -> Self {
        let mut form = Self::default();
        for (_, page) in form_schema::pages(template) {
            form.parameters.read(page, page, &mut HashSet::new());
            collect_secrets(page, &mut form.secrets.names);
        }
        if let Some(schema) = template.pointer("/spec/secrets/schema").filter(|schema| !schema.is_null()) {
            form.secrets.read(schema, schema, &mut HashSet::new());
        }
        // Decorators are code that may add to both.
        if template.pointer("/spec/EXPERIMENTAL_formDecorators").is_some_and(|decorators| !decorators.is_null()) {
            form.parameters.is_open = true;
            form.secrets.is_open = true;
        }
        // The service adds the caller's token.
        form.secrets.names.insert("backstageToken".into());
        form
    }
}

/// The names of secrets that fields of the form fill in.
fn collect_secrets(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(name) = members.get("secretsKey").and_then(Value::as_str) {
                names.insert(name.to_string());
            }
            if let Some(Value::Object(properties)) = members.get("properties") {
                let is_secret =
                    |schema: &Value| schema["ui:field"].as_str().is_some_and(|field| field.contains("Secret"));
                names.extend(properties.iter().filter(|(_, schema)| is_secret(schema)).map(|(name, _)| name.clone()));
            }
            members.values().for_each(|value| collect_secrets(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_come_from_everywhere_in_a_form() {
        let template = json!({"spec": {"parameters": [
            {"properties": {"a": {}}, "required": ["r"], "dependencies": {"a": {"oneOf": [
                {"properties": {"b": {}}}, {"allOf": [{"properties": {"c": {}}}]}]}, "x": ["d"]}},
            {"if": {"properties": {"e": {}}}, "then": {"properties": {"f": {}}}, "else": {"$ref": "#/definitions/g"},
             "definitions": {"g": {"properties": {"g": {"properties": {"inner": {}}}}}}},
        ]}});
        let names = Form::of(&template).parameters;
        assert_eq!(names.names.iter().map(String::as_str).collect::<String>(), "abcdefgrx");
        assert!(!names.is_open && names.has_schema);
        for open in [
            json!({"additionalProperties": true}),
            json!({"patternProperties": {"^x": {}}}),
            json!({"$yaml": "./form.yaml"}),
            json!({"properties": {"$yaml": "./form.yaml"}}),
            json!({"$ref": "https://example.com/schema"}),
        ] {
            assert!(Form::of(&json!({"spec": {"parameters": open}})).parameters.is_open, "{open}");
        }
        assert!(!Form::of(&json!({"spec": {"parameters": {"additionalProperties": false}}})).parameters.is_open);
        assert!(!Form::of(&json!({"spec": {}})).parameters.has_schema);
        let endless = json!({"spec": {"parameters": {"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/a"}}}}});
        assert!(Form::of(&endless).parameters.names.is_empty());
    }

    #[test]
    fn secrets_come_from_their_schema_and_from_fields() {
        let template = json!({"spec": {
            "parameters": {"properties": {"repoUrl": {"ui:options": {"requestUserCredentials": {"secretsKey": "TOKEN"}}}, "pin": {"ui:field": "Secret"}}},
            "secrets": {"schema": {"properties": {"password": {}}}},
        }});
        let secrets = Form::of(&template).secrets;
        assert!(secrets.has("TOKEN") && secrets.has("pin") && secrets.has("password") && secrets.has("backstageToken"));
        assert!(!secrets.has("other") && secrets.has_schema);
        assert!(!Form::of(&json!({"spec": {"parameters": {}}})).secrets.has_schema);
    }
}
