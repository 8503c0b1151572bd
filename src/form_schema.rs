//! The JSON Schemas of a template's form, checked against the meta-schema of draft-07.
//!
//! The service accepts what `@backstage/plugin-scaffolder-backend` 4.2.0 accepts, which is more than the standard allows:
//! a misspelt `type` only shows when somebody fills in the form. So what is wrong here is told, never refused.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Value, json};
use understudy_sdk::schema::Validator;

/// How many problems of a template a line of the log shows.
const SHOWN: usize = 5;

/// Something in a schema that the standard does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// JSON Pointer into the template.
    pub(crate) pointer: String,
    /// What is wrong.
    pub(crate) message: String,
}

/// The schemas of a template's form, none, one, or one for each page, with JSON Pointers to them.
pub(crate) fn pages(template: &Value) -> Vec<(String, &Value)> {
    match template.pointer("/spec/parameters") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(pages)) => {
            pages.iter().enumerate().map(|(index, page)| (format!("/spec/parameters/{index}"), page)).collect()
        }
        Some(page) => vec![("/spec/parameters".into(), page)],
    }
}

/// All schemas of a template: the form's pages and that of the secrets.
pub(crate) fn schemas(template: &Value) -> Vec<(String, &Value)> {
    let secrets = template.pointer("/spec/secrets/schema").filter(|schema| !schema.is_null());
    pages(template).into_iter().chain(secrets.map(|schema| ("/spec/secrets/schema".into(), schema))).collect()
}

/// Says in the service's log what is wrong with the schemas of a template.
pub(crate) fn warn(entity_ref: &str, location: &str, template: &Value) {
    if !template.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("template")) {
        return;
    }
    let problems = problems(template);
    let shown: Vec<String> =
        problems.iter().take(SHOWN).map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect();
    if !shown.is_empty() {
        tracing::warn!(
            template = entity_ref,
            location,
            count = problems.len(),
            problems = %shown.join("; "),
            "a template's form is no valid JSON Schema; it is used as it is"
        );
    }
}

/// What the meta-schema says against a template's schemas. Schemas that name another draft in `$schema` are left alone.
pub(crate) fn problems(template: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (pointer, schema) in schemas(template) {
        let draft = schema.get("$schema").and_then(Value::as_str);
        if draft.is_none_or(|draft| draft.contains("draft-07")) {
            let meta = jsonschema::draft7::meta::validator();
            meta.iter_errors(schema).for_each(|error| explain(&error, &pointer, &mut problems));
        }
    }
    problems
}

/// One problem for each cause. Where the meta-schema allows two forms, the one that was meant explains what is wrong.
fn explain(error: &ValidationError<'_>, base: &str, problems: &mut Vec<Problem>) {
    let message = match error.kind() {
        ValidationErrorKind::AnyOf { context } => {
            let meant = context.iter().find(|errors| !errors.iter().any(|inner| is_of_another_type(inner, error)));
            if let Some(meant) = meant {
                return meant.iter().for_each(|inner| explain(inner, base, problems));
            }
            let reasons: Vec<String> = context.iter().flatten().map(message).collect();
            reasons.join(", and ")
        }
        ValidationErrorKind::PropertyNames { error } => return explain(error, base, problems),
        // The service's own reader of patterns decides: it knows JavaScript's.
        ValidationErrorKind::Format { format } if format == "regex" => {
            match Validator::new(&json!({ "pattern": &**error.instance() })) {
                Ok(_) => return,
                Err(reason) => reason.split_once(": ").map_or(reason.clone(), |(_, reason)| reason.to_string()),
            }
        }
        _ => message(error),
    };
    problems.push(Problem { pointer: format!("{base}{}", error.instance_path()), message });
}

/// Whether one of two forms was not meant, as the value has another type.
fn is_of_another_type(inner: &ValidationError<'_>, outer: &ValidationError<'_>) -> bool {
    inner.instance_path() == outer.instance_path()
        && match inner.kind() {
            ValidationErrorKind::Type { .. } => true,
            // The only enumeration is that of the types, which are texts.
            ValidationErrorKind::Enum { .. } => !inner.instance().is_string(),
            _ => false,
        }
}

fn message(error: &ValidationError<'_>) -> String {
    let shown = match error.instance().as_ref() {
        Value::Array(_) => "the list".to_string(),
        Value::Object(_) => "the object".to_string(),
        scalar => scalar.to_string(),
    };
    match error.kind() {
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("{shown} is not one of {}", options.join(", "))
        }
        _ => error.masked_with(shown).to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(schema: Value) -> Vec<(String, String)> {
        problems(&json!({"spec": {"parameters": schema}}))
            .into_iter()
            .map(|problem| (problem.pointer, problem.message))
            .collect()
    }

    #[test]
    fn ordinary_forms_have_no_problems() {
        for schema in [
            json!({"title": "T", "required": ["a"], "properties": {"a": {"type": "string", "ui:field": "RepoUrlPicker", "ui:options": {"allowedHosts": ["h"]}, "enumNames": ["x"]}}}),
            json!({"properties": {"a": {"type": ["string", "null"], "pattern": "^[a-z](?=x)(?<!y)\\d+[^]\\/$", "default": 1}}}),
            json!({"properties": {"a": {"type": "boolean"}}, "dependencies": {"a": {"oneOf": [{"properties": {"a": {"const": true}}}]}}}),
            json!({"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}, "else": false}),
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"required": true}}}),
            json!([]),
            json!(null),
            json!(true),
            json!([{"title": "One"}, {"title": "Two", "properties": {}}]),
        ] {
            assert_eq!(of(schema.clone()), [], "{schema}");
        }
        assert_eq!(problems(&json!("no template")), []);
    }

    #[test]
    fn problems_have_places_and_reasons() {
        for (schema, pointer, message) in [
            (
                json!({"properties": {"a": {"type": "strin"}}}),
                "/spec/parameters/properties/a/type",
                "\"strin\" is not one of array, boolean, integer",
            ),
            (
                json!({"properties": {"a": {"type": ["string", "x"]}}}),
                "/spec/parameters/properties/a/type/1",
                "is not one of",
            ),
            (json!({"properties": {"a": {"type": 5}}}), "/spec/parameters/properties/a/type", "is not"),
            (
                json!({"properties": {"a": {"required": true}}}),
                "/spec/parameters/properties/a/required",
                "is not of type \"array\"",
            ),
            (json!({"properties": null}), "/spec/parameters/properties", "is not of type \"object\""),
            (
                json!({"properties": {"a": {"items": {"minLength": -1}}}}),
                "/spec/parameters/properties/a/items/minLength",
                "less than",
            ),
            (
                json!({"properties": {"a/b": {"enum": "x"}}}),
                "/spec/parameters/properties/a~1b/enum",
                "is not of type \"array\"",
            ),
            (
                json!({"properties": {"a": {"pattern": "("}}}),
                "/spec/parameters/properties/a/pattern",
                "\"(\" is not a regular expression",
            ),
            (
                json!({"patternProperties": {"(": {}}}),
                "/spec/parameters/patternProperties",
                "\"(\" is not a regular expression",
            ),
            (json!({"title": 5}), "/spec/parameters/title", "is not of type \"string\""),
            (json!([{}, {"required": "a"}]), "/spec/parameters/1/required", "is not of type \"array\""),
            (json!("text"), "/spec/parameters", "is not of type"),
        ] {
            let found = of(schema.clone());
            assert!(found.len() == 1 && found[0].0 == pointer && found[0].1.contains(message), "{schema}: {found:?}");
        }
        let secrets = problems(&json!({"spec": {"secrets": {"schema": {"required": "a"}}}}));
        assert_eq!(secrets[0].pointer, "/spec/secrets/schema/required");
    }

    /// Our own evaluator and the standard's: where a form is an ordinary one, they must agree.
    #[test]
    fn the_forms_evaluator_agrees_with_the_standard() {
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(1),
            json!(-3),
            json!(2.5),
            json!(7),
            json!(""),
            json!("a"),
            json!("ab-c"),
            json!("ABC"),
            json!("https://example.com/x"),
            json!("someone@example.com"),
            json!("2026-01-02"),
            json!([]),
            json!([1]),
            json!([1, 1]),
            json!(["a", "b", "c"]),
            json!([{"a": 1}]),
            json!({}),
            json!({"a": 1}),
            json!({"a": "x"}),
            json!({"a": "x", "b": true}),
            json!({"b": true}),
            json!({"b": false, "c": []}),
            json!({"a": {"b": {"c": 1}}}),
            json!({"x-1": 1, "y": 2}),
            json!({"on": true, "level": 5}),
            json!({"on": true}),
            json!({"on": false}),
            json!({"on": true, "level": "high"}),
        ];
        let schemas = [
            json!({}),
            json!(true),
            json!({"type": "string"}),
            json!({"type": "integer"}),
            json!({"type": ["number", "null"]}),
            json!({"type": "boolean"}),
            json!({"type": "array"}),
            json!({"type": "object"}),
            json!({"enum": ["a", 1, null, [1]]}),
            json!({"const": {"a": 1}}),
            json!({"type": "string", "minLength": 1, "maxLength": 3}),
            json!({"type": "string", "pattern": "^[a-z][a-z0-9-]*$"}),
            json!({"pattern": "B"}),
            json!({"type": "string", "format": "email"}),
            json!({"type": "string", "format": "date"}),
            json!({"minimum": 0, "maximum": 5}),
            json!({"exclusiveMinimum": 0, "exclusiveMaximum": 7}),
            json!({"multipleOf": 2}),
            json!({"multipleOf": 0.5}),
            json!({"items": {"type": "integer"}}),
            json!({"items": [{"type": "string"}, {"type": "string"}], "additionalItems": false}),
            json!({"minItems": 1, "maxItems": 2}),
            json!({"uniqueItems": true}),
            json!({"contains": {"const": 1}}),
            json!({"required": ["a"]}),
            json!({"properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}),
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            json!({"properties": {"a": {}}, "additionalProperties": {"type": "boolean"}}),
            json!({"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": {"type": "integer"}}),
            json!({"propertyNames": {"pattern": "^[a-c]$"}}),
            json!({"minProperties": 1, "maxProperties": 1}),
            json!({"dependencies": {"b": ["a"]}}),
            json!({"dependencies": {"on": {"oneOf": [
                {"properties": {"on": {"const": false}}},
                {"properties": {"on": {"const": true}, "level": {"type": "integer"}}, "required": ["level"]},
            ]}}}),
            json!({"allOf": [{"type": "object"}, {"required": ["a"]}]}),
            json!({"anyOf": [{"type": "string"}, {"required": ["b"]}]}),
            json!({"oneOf": [{"type": "integer"}, {"minimum": 2}]}),
            json!({"not": {"type": "object"}}),
            json!({"if": {"type": "object", "required": ["on"]}, "then": {"properties": {"on": {"const": true}}}, "else": {"type": ["string", "object"]}}),
            json!({"definitions": {"name": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/name"}}}),
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}),
        ];
        let mut disagreements = Vec::new();
        for schema in &schemas {
            let ours = Validator::new(schema).unwrap();
            let theirs = jsonschema::draft7::options().should_validate_formats(true).build(schema).unwrap();
            for value in &values {
                let (ours, theirs) = (ours.validate(value).is_empty(), theirs.is_valid(value));
                if ours != theirs {
                    disagreements.push(format!("{schema} {value}: ours {ours}, the standard {theirs}"));
                }
            }
        }
        assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    }
}
