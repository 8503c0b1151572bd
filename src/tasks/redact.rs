//! Which values a step's log must not show, beyond the secrets themselves.

use serde_json::Value;

/// The strings of `rendered` that come out differently without the secrets: they were made from secrets. Members and
/// items are compared by their position (`@backstage/plugin-scaffolder-backend` 4.2.0, `NunjucksWorkflowRunner`), so
/// where a member is missing on the other side, everything behind it counts as made from secrets; that errs on the
/// safe side.
pub(super) fn derived<'v>(rendered: &'v Value, without_secrets: Option<&Value>) -> Vec<&'v str> {
    let mut found = Vec::new();
    collect(rendered, without_secrets, &mut found);
    found
}

/// Whether templates in this value can get at secrets: they have to use one of the names under which secrets are found.
pub(super) fn speaks_of_secrets(value: &Value) -> bool {
    match value {
        Value::String(text) => is_about_secrets(text),
        Value::Array(items) => items.iter().any(speaks_of_secrets),
        Value::Object(members) => members.values().any(speaks_of_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a template uses one of the names under which secrets are found.
pub(super) fn is_about_secrets(text: &str) -> bool {
    text.contains("secrets") || text.contains("environment")
}

fn collect<'v>(value: &'v Value, other: Option<&Value>, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => {
            if other.and_then(Value::as_str) != Some(text) {
                found.push(text);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, nth(other, index), found);
            }
        }
        Value::Object(members) => {
            for (index, member) in members.values().enumerate() {
                collect(member, nth(other, index), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn nth(value: Option<&Value>, index: usize) -> Option<&Value> {
    match value? {
        Value::Array(items) => items.get(index),
        Value::Object(members) => members.values().nth(index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_what_was_made_from_secrets() {
        let cases = [
            (json!("a tok"), Some(json!("a ")), vec!["a tok"]),
            (json!("same"), Some(json!("same")), vec![]),
            (json!({"a": ["x", {"b": "tok"}], "c": 1}), Some(json!({"a": ["x", {"b": ""}], "c": 1})), vec!["tok"]),
            // `a` was removed, so `b` stands where `a` stood.
            (json!({"a": "tok", "b": "hello"}), Some(json!({"b": "hello"})), vec!["tok", "hello"]),
            (json!(["x", "y"]), None, vec!["x", "y"]),
        ];
        for (rendered, without, expected) in cases {
            assert_eq!(derived(&rendered, without.as_ref()), expected, "{rendered}");
        }
    }
}
