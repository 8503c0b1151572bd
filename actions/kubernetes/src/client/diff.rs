//! What changed in an object, for the log: one line a path, never a Secret's values.

use serde_json::{Map, Value};

/// The most lines that are shown.
const MAX_LINES: usize = 60;
/// The longest value that is shown, in characters.
const MAX_VALUE: usize = 120;
/// Metadata that the server keeps for itself.
const SERVER_METADATA: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionGracePeriodSeconds",
];
/// Where kubectl keeps a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The differences between two states of an object, apart from `status` and what the server keeps for itself:
/// `spec.replicas: 1 → 2`, `+ data.key: "value"`, `- metadata.labels.team: "a"`. With `is_secret` the values of `data` and
/// `stringData` are left out.
pub(crate) fn changes(before: &Value, after: &Value, is_secret: bool) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", &authored(before), &authored(after), is_secret, &mut lines);
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn authored(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(members) = &mut object {
        members.shift_remove("status");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.retain(|key, _| !SERVER_METADATA.contains(&key.as_str()));
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.shift_remove(LAST_APPLIED);
                if annotations.is_empty() {
                    metadata.shift_remove("annotations");
                }
            }
        }
    }
    object
}

fn compare(path: &str, before: &Value, after: &Value, is_secret: bool, lines: &mut Vec<String>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => members(path, before, after, is_secret, lines),
        (Value::Array(before), Value::Array(after)) => {
            for index in 0..before.len().max(after.len()) {
                let path = format!("{path}[{index}]");
                match (before.get(index), after.get(index)) {
                    (Some(before), Some(after)) => compare(&path, before, after, is_secret, lines),
                    (Some(before), None) => lines.push(format!("- {path}: {}", shown(&path, before, is_secret))),
                    (None, Some(after)) => lines.push(format!("+ {path}: {}", shown(&path, after, is_secret))),
                    (None, None) => {}
                }
            }
        }
        _ if hides(path, is_secret) => lines.push(format!("{path}: *** → *** (the values of Secrets are not shown)")),
        _ => lines.push(format!("{path}: {} → {}", shown(path, before, is_secret), shown(path, after, is_secret))),
    }
}

fn members(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    is_secret: bool,
    lines: &mut Vec<String>,
) {
    for (key, old) in before {
        let path = join(path, key);
        match after.get(key) {
            Some(new) => compare(&path, old, new, is_secret, lines),
            None => lines.push(format!("- {path}: {}", shown(&path, old, is_secret))),
        }
    }
    for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        let path = join(path, key);
        lines.push(format!("+ {path}: {}", shown(&path, new, is_secret)));
    }
}

fn join(path: &str, key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match (path.is_empty(), is_plain) {
        (true, _) => key.to_string(),
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}[{}]", Value::from(key)),
    }
}

fn hides(path: &str, is_secret: bool) -> bool {
    is_secret && (path.starts_with("data") || path.starts_with("stringData"))
}

fn shown(path: &str, value: &Value, is_secret: bool) -> String {
    if hides(path, is_secret) {
        return "***".to_string();
    }
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_and_values() {
        let before = json!({"metadata": {"uid": "1", "labels": {"a": "1", "app.io/x": "y"}}, "spec": {"replicas": 1, "list": [1, 2]}, "status": 1});
        let after = json!({"metadata": {"uid": "2", "labels": {"app.io/x": "z"}}, "spec": {"replicas": 2, "list": [1], "new": {"b": true}}, "status": 2});
        assert_eq!(
            changes(&before, &after, false),
            [
                "- metadata.labels.a: \"1\"",
                "metadata.labels[\"app.io/x\"]: \"y\" → \"z\"",
                "spec.replicas: 1 → 2",
                "- spec.list[1]: 2",
                "+ spec.new: {\"b\":true}",
            ]
        );
        assert!(changes(&before, &before, false).is_empty());
    }

    #[test]
    fn secrets_are_not_shown() {
        let before =
            json!({"data": {"a": "b2xk", "gone": "Z29uZQ=="}, "metadata": {"annotations": {LAST_APPLIED: "b2xk"}}});
        let after = json!({"data": {"a": "bmV3", "more": "bW9yZQ=="}, "stringData": {"x": "plain"}, "type": "Opaque"});
        let text = changes(&before, &after, true).join("\n");
        for secret in ["b2xk", "bmV3", "bW9yZQ", "Z29uZQ", "plain"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("data.a: *** → ***") && text.contains("+ data.more: ***"), "{text}");
    }

    #[test]
    fn long_values_and_long_lists_are_cut() {
        let after = json!({"data": {"a": "x".repeat(1000)}});
        let lines = changes(&json!({"data": {}}), &after, false);
        assert!(lines[0].ends_with("… (1002 characters)"), "{lines:?}");
        let many: Vec<u32> = (0..100).collect();
        let lines = changes(&json!({"l": []}), &json!({"l": many}), false);
        assert_eq!((lines.len(), lines[60].as_str()), (61, "… and 40 more"));
    }
}
