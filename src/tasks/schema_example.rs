//! Made-up output of actions that a dry run leaves out.

use serde_json::{Value, json};

/// A value that looks as the schema says (`@backstage/plugin-scaffolder-backend` 4.2.0, `generateExampleOutput`).
pub(super) fn of(schema: &Value) -> Value {
    if let Some(example) = schema.get("examples").and_then(Value::as_array).and_then(|examples| examples.first()) {
        return example.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.clone(), of(schema)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Some("array") => match schema.get("items") {
            Some(Value::Array(items)) => items.first().map(of).into_iter().collect(),
            Some(items) => json!([of(items)]),
            None => json!([]),
        },
        Some("string") => json!("<example>"),
        Some("number") => json!(0),
        Some("boolean") => json!(false),
        _ => json!("<unknown>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_the_schema_says() {
        let schema = json!({"type": "object", "properties": {
            "url": {"type": "string"}, "n": {"type": "number"}, "i": {"type": "integer"}, "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": "string", "examples": ["first", "second"]}}, "any": {}
        }});
        assert_eq!(
            of(&schema),
            json!({"url": "<example>", "n": 0, "i": "<unknown>", "b": false, "l": ["first"], "any": "<unknown>"})
        );
    }
}
