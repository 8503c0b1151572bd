//! Checking a schema's shape once, before anything is validated with it.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    pattern::Pattern,
    validate::{MAX_DEPTH, depth_exceeds, identifier, too_deep},
};
use crate::js;

pub(super) fn invalid(pointer: &str, reason: &str) -> String {
    let place = if pointer.is_empty() { "its root" } else { pointer };
    format!("the JSON schema is invalid at {place}: {reason}")
}

fn pointer_to(base: &str, parts: &[&str]) -> String {
    parts
        .iter()
        .fold(base.to_string(), |pointer, part| format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1")))
}

/// Checks a schema's shape once and collects what validation looks up.
pub(super) struct Compiler {
    pub(super) patterns: HashMap<String, Pattern>,
    pub(super) ids: HashMap<String, String>,
    /// Where a `$ref` stands, and what it names.
    pub(super) refs: Vec<(String, String)>,
}

impl Compiler {
    /// Visits a schema and those within it. A schema that only a `$ref` may reach (`strict` is false) may be malformed.
    pub(super) fn visit(&mut self, schema: &Value, pointer: &str, strict: bool, depth: usize) -> Result<(), String> {
        let refuse = |reason: &str| if strict { Err(invalid(pointer, reason)) } else { Ok(()) };
        if depth > MAX_DEPTH || (depth == 0 && depth_exceeds(schema, MAX_DEPTH * 2)) {
            return Err(invalid(pointer, &too_deep()));
        }
        let map = match schema {
            Value::Object(map) => map,
            Value::Null | Value::String(_) => return refuse("expected a schema, an object or boolean"),
            _ => return Ok(()),
        };
        if let Some(target) = map.get("$ref").and_then(Value::as_str) {
            if strict {
                self.refs.push((pointer.to_string(), target.to_string()));
            }
            return Ok(());
        }
        if let Some(id) = identifier(schema) {
            self.ids.entry(id.to_string()).or_insert_with(|| pointer.to_string());
            self.ids.entry(id.trim_end_matches('#').to_string()).or_insert_with(|| pointer.to_string());
        }
        for (key, value) in map {
            let here = || pointer_to(pointer, &[key]);
            match (key.as_str(), value) {
                ("type", Value::Null) => refuse("\"type\" must not be null")?,
                ("enum", value) if !value.is_array() => refuse("\"enum\" expects an array")?,
                ("multipleOf" | "divisibleBy", value) if js::number(value) == 0.0 => {
                    refuse(&format!("\"{key}\" must not be zero"))?;
                }
                ("pattern", Value::String(pattern)) => {
                    if let Err(reason) = self.pattern(pattern) {
                        refuse(&reason)?;
                    }
                }
                ("anyOf" | "allOf" | "oneOf", Value::Array(list)) => {
                    for (index, schema) in list.iter().enumerate() {
                        self.visit(schema, &format!("{}/{index}", here()), strict, depth + 1)?;
                    }
                }
                ("anyOf" | "allOf" | "oneOf", _) => refuse(&format!("\"{key}\" must be an array"))?,
                ("items" | "not" | "disallow" | "type", Value::Array(list)) => {
                    for (index, schema) in list.iter().enumerate().filter(|(_, schema)| schema.is_object()) {
                        self.visit(schema, &format!("{}/{index}", here()), strict, depth + 1)?;
                    }
                }
                ("if" | "then" | "else" | "contains" | "propertyNames", schema) if !is_schema(schema) => {
                    refuse(&format!("\"{key}\" must be a schema, an object or boolean"))?;
                }
                (
                    "items"
                    | "additionalItems"
                    | "additionalProperties"
                    | "not"
                    | "if"
                    | "then"
                    | "else"
                    | "contains"
                    | "propertyNames",
                    Value::Object(_),
                ) => self.visit(value, &here(), strict, depth + 1)?,
                ("items", Value::Null) => refuse("\"items\" must be a schema")?,
                ("properties" | "patternProperties" | "dependencies", Value::Object(members)) => {
                    for (name, schema) in members {
                        let here = pointer_to(pointer, &[key, name]);
                        if key == "patternProperties"
                            && let Err(reason) = self.pattern(name)
                        {
                            refuse(&reason)?;
                        }
                        if key != "dependencies" || schema.is_object() {
                            self.visit(schema, &here, strict, depth + 1)?;
                        }
                    }
                }
                ("definitions" | "$defs", Value::Object(members)) => {
                    for (name, schema) in members {
                        self.visit(schema, &pointer_to(pointer, &[key, name]), false, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        if !self.patterns.contains_key(pattern) {
            let compiled = Pattern::new(pattern)
                .map_err(|error| format!("\"{pattern}\" is not a regular expression: {error}; correct the pattern"))?;
            self.patterns.insert(pattern.to_string(), compiled);
        }
        Ok(())
    }
}

fn is_schema(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_) | Value::Bool(_))
}
