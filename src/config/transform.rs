//! `${NAME}` in texts, and mappings that stand for something else: `$env`, `$file`, `$include`.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use super::{ConfigError, loader::parse_file};

/// How deep files may include each other.
const MAX_INCLUDES: usize = 32;

/// Transforms the values of one source.
pub(super) struct Transformer<'a> {
    pub(super) env: &'a HashMap<String, String>,
    /// The file the values come from, for messages.
    pub(super) source: &'a Utf8Path,
}

impl Transformer<'_> {
    /// Transforms a value; `None` when it stands for nothing, so that its key is absent.
    pub(super) fn apply(&self, value: Value, directory: &Utf8Path, key: &str) -> Result<Option<Value>, ConfigError> {
        self.value(value, directory, key, 0)
    }

    fn value(&self, value: Value, directory: &Utf8Path, key: &str, depth: usize) -> Result<Option<Value>, ConfigError> {
        match value {
            Value::String(text) => Ok(substitute(&text, self.env).map(Value::String)),
            Value::Array(items) => {
                let mut kept = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    kept.extend(self.value(item, directory, &format!("{key}[{index}]"), depth)?);
                }
                Ok(Some(Value::Array(kept)))
            }
            Value::Object(members) => match include_key(&members) {
                Some(kind) => self.include(kind, members, directory, key, depth),
                None => {
                    let mut kept = Map::with_capacity(members.len());
                    for (name, member) in members {
                        let child = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                        if let Some(member) = self.value(member, directory, &child, depth)? {
                            kept.insert(name, member);
                        }
                    }
                    Ok(Some(Value::Object(kept)))
                }
            },
            other => Ok(Some(other)),
        }
    }

    fn include(
        &self,
        kind: &'static str,
        members: Map<String, Value>,
        directory: &Utf8Path,
        key: &str,
        depth: usize,
    ) -> Result<Option<Value>, ConfigError> {
        let failed = |reason: String| ConfigError::Include {
            path: self.source.to_string(),
            key: if key.is_empty() { kind.to_string() } else { key.to_string() },
            reason,
        };
        if members.len() > 1 {
            return Err(failed(format!("include key {kind} should not have adjacent keys")));
        }
        if depth >= MAX_INCLUDES {
            return Err(failed(format!("files include each other more than {MAX_INCLUDES} levels deep")));
        }
        let argument = match members.into_iter().next() {
            Some((_, Value::String(text))) => substitute(&text, self.env),
            _ => return Err(failed(format!("{kind} include value is not a string"))),
        };
        let Some(argument) = argument else {
            return Err(failed(format!("{kind} include value uses a variable of the environment that is not set")));
        };
        match kind {
            "$env" => Ok(self.env.get(&argument).map(|value| Value::String(value.trim().to_string()))),
            "$file" => {
                let path = directory.join(&argument);
                let text = std::fs::read_to_string(&path).map_err(|error| failed(unreadable(&path, &error)))?;
                Ok(Some(Value::String(text.trim_end().to_string())))
            }
            _ => {
                let (file, data_path) = argument.split_once('#').unwrap_or((&argument, ""));
                if !matches!(Utf8Path::new(file).extension(), Some("json" | "yaml" | "yml")) {
                    return Err(failed(format!("no configuration parser available for included file {file}")));
                }
                let path = directory.join(file);
                if let Err(error) = std::fs::metadata(&path) {
                    return Err(failed(unreadable(&path, &error)));
                }
                let mut value = parse_file(&path)?;
                for part in data_path.split('.').filter(|part| !part.is_empty()) {
                    let Value::Object(mut members) = value else {
                        return Err(failed(format!(
                            "'{part}' of '{data_path}' in included file {path} is not in an object"
                        )));
                    };
                    match members.shift_remove(part) {
                        Some(member) => value = member,
                        None => return Ok(None),
                    }
                }
                let within: Utf8PathBuf = path.parent().map_or_else(|| directory.to_owned(), Utf8Path::to_owned);
                self.value(value, &within, key, depth + 1)
            }
        }
    }
}

fn unreadable(path: &Utf8Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("failed to include \"{path}\", file does not exist"),
        _ => format!("failed to include \"{path}\", {error}"),
    }
}

fn include_key(members: &Map<String, Value>) -> Option<&'static str> {
    ["$env", "$file", "$include"].into_iter().find(|kind| members.contains_key(*kind))
}

/// Replaces `${NAME}` and `${NAME:-fallback}`; `$${X}` stands for `${X}`. `None` when a variable without fallback isn't set.
pub(super) fn substitute(text: &str, env: &HashMap<String, String>) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start + 2..].find(['{', '}']) else { break };
        let end = start + 2 + length;
        if rest.as_bytes()[end] == b'{' {
            // No name may hold a brace: a later `${` may still begin one.
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let expression = &rest[start + 2..end];
        if let Some(before) = rest[..start].strip_suffix('$') {
            out.push_str(before);
            out.push_str(&rest[start..=end]);
        } else {
            out.push_str(&rest[..start]);
            let (name, fallback) = match expression.split_once(":-") {
                Some((name, fallback)) => (name, Some(fallback)),
                None => (expression, None),
            };
            let value = env.get(name.trim()).map(|value| value.trim());
            match (value, fallback) {
                (Some(value), None) => out.push_str(value),
                (Some(value), Some(_)) if !value.is_empty() => out.push_str(value),
                (_, Some(fallback)) if !fallback.is_empty() => out.push_str(fallback),
                _ => return None,
            }
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn substitution() {
        let env = HashMap::from([
            ("A".to_string(), " a ".to_string()),
            ("EMPTY".to_string(), String::new()),
            ("B_2".to_string(), "b".to_string()),
        ]);
        for (text, expected) in [
            ("plain", Some("plain")),
            ("${A}", Some("a")),
            ("${ A }", Some("a")),
            ("x${A}y${B_2}z", Some("xaybz")),
            ("${NONE}", None),
            ("x${NONE}y", None),
            ("${NONE:-f}", Some("f")),
            ("${NONE:-}", None),
            ("${EMPTY}", Some("")),
            ("${EMPTY:-f}", Some("f")),
            ("${A:-f}", Some("a")),
            ("${NONE:-http://x:-y}", Some("http://x:-y")),
            ("$${A}", Some("${A}")),
            ("$${NONE:-x}", Some("${NONE:-x}")),
            ("$$${A}", Some("$${A}")),
            ("${{ parameters.x }}", Some("${{ parameters.x }}")),
            ("${", Some("${")),
            ("${A", Some("${A")),
            ("${x{${A}", Some("${x{a")),
            ("$A $ {A}", Some("$A $ {A}")),
            ("é${A}é", Some("éaé")),
        ] {
            assert_eq!(substitute(text, &env).as_deref(), expected, "{text}");
        }
    }
}
