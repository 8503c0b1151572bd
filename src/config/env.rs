//! `APP_CONFIG_backend_listen_port=8080`: configuration from the environment.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::ConfigError;

const PREFIX: &str = "APP_CONFIG_";

/// Gives the configuration of each variable, in the order of the names.
pub(super) fn apply(env: &HashMap<String, String>, merge: &mut dyn FnMut(Value, &str)) -> Result<(), ConfigError> {
    let mut names: Vec<&String> = env.keys().filter(|name| name.starts_with(PREFIX)).collect();
    names.sort_unstable();
    let mut all = Value::Object(Map::new());
    for name in names {
        let key = &name[PREFIX.len()..];
        let parts: Vec<&str> = key.split('_').collect();
        let failed = |reason: String| ConfigError::Value { origin: name.clone(), key: parts.join("."), reason };
        if let Some(part) = parts.iter().find(|part| !is_key(part)) {
            return Err(failed(format!("Invalid env config key '{key}': '{part}' is no key")));
        }
        let text = &env[name];
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
        if value.is_null() {
            return Err(failed(
                "value may not be null; a variable can't remove a key, use a file for that".to_string(),
            ));
        }
        insert(&mut all, &parts, value.clone()).map_err(failed)?;
        let nested =
            parts.iter().rev().fold(value, |value, part| Value::Object(Map::from_iter([((*part).to_string(), value)])));
        merge(nested, name);
    }
    Ok(())
}

/// Two variables must not speak of the same key.
fn insert(all: &mut Value, parts: &[&str], value: Value) -> Result<(), String> {
    let (last, parents) = match parts.split_last() {
        Some(split) => split,
        None => return Ok(()),
    };
    let mut place = all;
    for (depth, part) in parents.iter().enumerate() {
        let Value::Object(members) = place else {
            return Err(format!("Could not nest config for key '{}' under existing value", parts.join(".")));
        };
        let child = members.entry((*part).to_string()).or_insert_with(|| Value::Object(Map::new()));
        if !child.is_object() {
            return Err(format!(
                "Could not nest config for key '{}' under existing value '{}'",
                parts.join("."),
                parts[..=depth].join(".")
            ));
        }
        place = child;
    }
    let Value::Object(members) = place else { return Ok(()) };
    if members.contains_key(*last) {
        return Err(format!("Refusing to override existing config at key '{}'", parts.join(".")));
    }
    members.insert((*last).to_string(), value);
    Ok(())
}

/// `^[a-z][a-z0-9]*(?:[-:][a-z0-9]+)*$`, in either case.
fn is_key(part: &str) -> bool {
    let mut segments = part.split(['-', ':']);
    let first = segments.next().unwrap_or_default();
    first.starts_with(|c: char| c.is_ascii_alphabetic())
        && first.chars().all(|c| c.is_ascii_alphanumeric())
        && segments.all(|segment| !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<Vec<(Value, String)>, String> {
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut found = Vec::new();
        apply(&env, &mut |value, origin| found.push((value, origin.to_string()))).map_err(|error| error.to_string())?;
        Ok(found)
    }

    #[test]
    fn values_are_json_or_text() {
        for (text, expected) in [
            ("8080", json!(8080)),
            ("true", json!(true)),
            ("text", json!("text")),
            ("[1]", json!([1])),
            ("", json!("")),
        ] {
            let found = read(&[("APP_CONFIG_backend_listen-x_port", text), ("OTHER", "1")]).unwrap();
            let nested = json!({"backend": {"listen-x": {"port": expected}}});
            assert_eq!(found, [(nested, "APP_CONFIG_backend_listen-x_port".to_string())]);
        }
    }

    #[test]
    fn refused() {
        for (env, expected) in [
            (&[("APP_CONFIG_a", "null")][..], "APP_CONFIG_a: a: value may not be null"),
            (&[("APP_CONFIG_a__b", "1")], "Invalid env config key 'a__b'"),
            (&[("APP_CONFIG_1a", "1")], "Invalid env config key '1a'"),
            (
                &[("APP_CONFIG_a", "{\"b\":1}"), ("APP_CONFIG_a_b", "2")],
                "Refusing to override existing config at key 'a.b'",
            ),
            (&[("APP_CONFIG_a", "1"), ("APP_CONFIG_a_b", "2")], "Could not nest config for key 'a.b'"),
        ] {
            let error = read(env).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
