//! Values that must not be printed, and the redaction of what was derived from them.

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// A string that can't be printed: `Debug` and `Display` show `***`. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }
    /// The value itself; the call is easy to search for in a review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

/// A task's secrets by name.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// The secret with this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }
    /// Adds or replaces a secret.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), Secret::new(value));
    }
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        self.0.values()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The object templates see as `secrets`; for rendering only.
    pub fn expose_object(&self) -> Map<String, Value> {
        self.0.iter().map(|(name, secret)| (name.clone(), Value::String(secret.expose().to_string()))).collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(iter: T) -> Self {
        Self(iter.into_iter().map(|(name, value)| (name.into(), Secret::new(value))).collect())
    }
}

/// Replaces secret values in texts by `***`.
///
/// The rule is upstream's (`@backstage/plugin-scaffolder-backend` 4.2.0, `logger`): candidates are trimmed, those of one
/// character or none are ignored, and overlapping matches become one `***`.
#[derive(Clone, Default)]
pub struct Redactor {
    values: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.values.len())
    }
}

impl Redactor {
    /// A redactor for these values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        redactor.extend(values);
        redactor
    }
    /// Adds values.
    pub fn extend<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        for value in values {
            let value = value.trim();
            if value.encode_utf16().count() > 1 && !self.values.iter().any(|known| known == value) {
                self.values.push(value.to_string());
            }
        }
        self.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }
    /// Whether nothing will be redacted.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    /// The text with every secret value replaced.
    pub fn redact<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for value in &self.values {
            let mut from = 0;
            while let Some(at) = text[from..].find(value.as_str()) {
                let start = from + at;
                spans.push((start, start + value.len()));
                from = start + text[start..].chars().next().map_or(1, char::len_utf8);
            }
        }
        if spans.is_empty() {
            return text.into();
        }
        spans.sort_unstable();
        let mut out = String::with_capacity(text.len());
        let mut written = 0;
        let mut index = 0;
        while index < spans.len() {
            let (start, mut end) = spans[index];
            index += 1;
            while index < spans.len() && spans[index].0 < end {
                end = end.max(spans[index].1);
                index += 1;
            }
            out.push_str(&text[written..start]);
            out.push_str("***");
            written = end;
        }
        out.push_str(&text[written..]);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_matches_become_one() {
        let redactor = Redactor::new(["abcd", "cdef", "x", " y "]);
        assert_eq!(redactor.redact("1 abcdef 2 abcd x y"), "1 *** 2 *** x y");
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        let secrets: Secrets = [("token", "hunter2")].into_iter().collect();
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
