//! Makes recorded and fresh answers comparable, and says where they differ.

use std::collections::HashMap;

use serde_json::Value;

/// Rewrites what changes from run to run.
#[derive(Debug, Default)]
pub(crate) struct Normaliser {
    /// Texts to be replaced, longest first: ids and directories.
    texts: Vec<(String, String)>,
    /// Event ids of the recording → ours.
    pub(crate) events: HashMap<i64, i64>,
}

impl Normaliser {
    pub(crate) fn replace(&mut self, text: impl Into<String>, by: impl Into<String>) {
        self.texts.push((text.into(), by.into()));
        self.texts.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }
    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (from, to) in &self.texts {
            text = text.replace(from, to);
        }
        without_dry_run_ids(&text)
    }
    /// The value with names for everything volatile. `key` is the member it stands under.
    pub(crate) fn value(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if matches!(key, "createdAt" | "lastHeartbeatAt" | "expiresAt") => {
                assert!(is_iso(text), "{key} is {text:?}, which is no ISO time in milliseconds");
                Value::from("<time>")
            }
            Value::String(text) if matches!(key, "startsAt" | "lastRunEndedAt") => {
                let written = text.strip_suffix("+00:00").map(|time| format!("{time}Z"));
                assert!(written.is_some_and(|time| is_iso(&time)), "{key} is {text:?}, no time as luxon writes it");
                Value::from("<time>")
            }
            Value::String(_) if matches!(key, "uid" | "etag") => Value::from("<generated>"),
            Value::String(text) => Value::from(self.text(text.split("\n    at ").next().unwrap_or_default())),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value("", item)).collect()),
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, value)| {
                        let id_of_event = key == "id" && members.contains_key("isTaskRecoverable");
                        let of_key = matches!(key.as_str(), "x" | "y" | "kid") && members.contains_key("kty");
                        let shown = match (id_of_event, of_key) {
                            (true, _) => Value::from("<event>"),
                            (_, true) => Value::from("<key>"),
                            _ => self.value(key, value),
                        };
                        (key.clone(), shown)
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }
}

/// A dry run's directory is named by a fresh UUID.
fn without_dry_run_ids(text: &str) -> String {
    let mut parts = text.split("/dry-run-");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let id_length = part.bytes().take(36).take_while(|byte| byte.is_ascii_hexdigit() || *byte == b'-').count();
        out.push_str("/dry-run-<id>");
        out.push_str(&part[if id_length == 36 { 36 } else { 0 }..]);
    }
    out
}

fn is_iso(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 24 && bytes[10] == b'T' && bytes[19] == b'.' && bytes[23] == b'Z'
}

/// Where two values differ first, or `None`.
pub(crate) fn difference(at: &str, recorded: &Value, ours: &Value) -> Option<String> {
    match (recorded, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    None => return Some(format!("{at}.{key} is missing, recorded {}", short(value))),
                    Some(other) => {
                        if let Some(found) = difference(&format!("{at}.{key}"), value, other) {
                            return Some(found);
                        }
                    }
                }
            }
            b.iter()
                .find(|(key, _)| !a.contains_key(*key))
                .map(|(key, value)| format!("{at}.{key} was not recorded, ours {}", short(value)))
        }
        (Value::Array(a), Value::Array(b)) => {
            for (index, (value, other)) in a.iter().zip(b).enumerate() {
                if let Some(found) = difference(&format!("{at}[{index}]"), value, other) {
                    return Some(found);
                }
            }
            (a.len() != b.len()).then(|| {
                let more = if a.len() > b.len() { &a[b.len()] } else { &b[a.len()] };
                format!("{at} has {} items, recorded {}; first beyond: {}", b.len(), a.len(), short(more))
            })
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (a, b) if a == b => None,
        (a, b) => Some(format!("{at}: recorded {}, ours {}", short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 400 {
        let cut = (0..=400).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}
