//! Log lines that carry data, laid out as winston's `simple` format does (what upstream's task logs look like).

use serde_json::{Map, Value, json};
use understudy_sdk::{ActionError, WorkspaceError, js};

/// A message followed by its fields as JSON with sorted keys. A field `message` continues the message; `level` and
/// `splat` never show.
pub(crate) fn with_fields(message: &str, fields: &Map<String, Value>) -> String {
    let mut text = message.to_string();
    if let Some(more) = fields.get("message").filter(|more| truthy(more)) {
        text = format!("{text} {}", js::text(more));
    }
    let shown: Map<String, Value> = fields
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "message" | "level" | "splat"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !shown.is_empty() {
        text.push(' ');
        text.push_str(&sorted(&Value::Object(shown)).to_string());
    }
    text
}

/// The fields winston shows of an error: Node's for a system error, the stack's first line for any other.
pub(crate) fn of_error(error: &ActionError) -> Map<String, Value> {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<WorkspaceError>());
    let mut fields = json!({"message": error.message(), "stack": error.to_string()});
    if let Some(WorkspaceError::Io { call, path, source }) = source {
        let code = error.message().split(':').next().unwrap_or_default();
        if let Some(errno) = source.raw_os_error() {
            fields["errno"] = json!(-errno);
        }
        fields["code"] = json!(code);
        fields["path"] = json!(path);
        fields["syscall"] = json!(call);
    }
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // JavaScript compares UTF-16 code units.
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            members.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>().into()
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_a_message_field_continues_the_message() {
        let cases = [
            (json!({}), "Hi"),
            (
                json!({"b": {"z": 1, "a": [{"y": 1, "x": 2}]}, "a": "ü"}),
                r#"Hi {"a":"ü","b":{"a":[{"x":2,"y":1}],"z":1}}"#,
            ),
            (json!({"message": "there", "level": "x", "k": 1}), r#"Hi there {"k":1}"#),
            (json!({"message": ""}), "Hi"),
        ];
        for (fields, expected) in cases {
            assert_eq!(with_fields("Hi", fields.as_object().unwrap_or(&Map::new())), expected);
        }
    }
}
