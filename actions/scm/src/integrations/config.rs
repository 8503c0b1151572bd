//! Reading typed values out of the configuration, with errors that name the key.
//!
//! Substitution leaves strings where people mean numbers and booleans (`${X}`), so the getters take both, as
//! `@backstage/config` 1.3.9 does.

use serde_json::Value;
use understudy_sdk::Secret;

/// A place in the configuration: its dotted key and what is there, if anything.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    key: String,
    value: Option<&'a Value>,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { key: String::new(), value: Some(value) }
    }

    /// The dotted key, e.g. `integrations.github[0].host`.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A member of an object; absent where this is absent.
    pub(crate) fn get(&self, name: &str) -> Result<Self, String> {
        let key = if self.key.is_empty() { name.to_string() } else { format!("{}.{name}", self.key) };
        let value = match self.present() {
            None => None,
            Some(Value::Object(members)) => members.get(name),
            Some(other) => return Err(self.wrong("an object", other)),
        };
        Ok(Self { key, value })
    }

    /// The items of a list; none where this is absent.
    pub(crate) fn items(&self) -> Result<Vec<Self>, String> {
        match self.present() {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, item)| Self { key: format!("{}[{index}]", self.key), value: Some(item) })
                .collect()),
            Some(other) => Err(self.wrong("a list", other)),
        }
    }

    pub(crate) fn string(&self) -> Result<Option<String>, String> {
        match self.present() {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(format!("{}: expected a string, found an empty one; give a value or leave the key out", self.key))
            }
            Some(Value::String(text)) => Ok(Some(text.trim().to_string())),
            Some(other) => Err(self.wrong("a string", other)),
        }
    }

    pub(crate) fn required_string(&self) -> Result<String, String> {
        self.string()?.ok_or_else(|| format!("{}: missing, a string is required here", self.key))
    }

    pub(crate) fn secret(&self) -> Result<Option<Secret>, String> {
        Ok(self.string()?.map(Secret::new))
    }

    pub(crate) fn strings(&self) -> Result<Option<Vec<String>>, String> {
        if self.present().is_none() {
            return Ok(None);
        }
        self.items()?.iter().map(Self::required_string).collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn unsigned(&self) -> Result<Option<u64>, String> {
        let Some(value) = self.present() else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong("a whole number of 0 or more", value))
    }

    pub(crate) fn boolean(&self) -> Result<Option<bool>, String> {
        let Some(value) = self.present() else { return Ok(None) };
        let text = match value {
            Value::Bool(flag) => return Ok(Some(*flag)),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            Value::Number(number) => number.to_string(),
            other => return Err(self.wrong("true or false", other)),
        };
        match text.as_str() {
            "y" | "yes" | "true" | "1" | "on" => Ok(Some(true)),
            "n" | "no" | "false" | "0" | "off" => Ok(Some(false)),
            _ => Err(self.wrong("true or false", value)),
        }
    }

    fn present(&self) -> Option<&'a Value> {
        self.value.filter(|value| !value.is_null())
    }

    // The value itself is left out: it may be a misplaced secret.
    fn wrong(&self, expected: &str, found: &Value) -> String {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string that isn't one",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let key = if self.key.is_empty() { "the configuration" } else { &self.key };
        format!("{key}: expected {expected}, found {found}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_stand_for_numbers_and_booleans() {
        let value = json!({"n": "17", "m": 4, "t": "Yes", "f": 0, "s": " x "});
        let root = Node::root(&value);
        assert_eq!(root.get("n").unwrap().unsigned(), Ok(Some(17)));
        assert_eq!(root.get("m").unwrap().unsigned(), Ok(Some(4)));
        assert_eq!(root.get("t").unwrap().boolean(), Ok(Some(true)));
        assert_eq!(root.get("f").unwrap().boolean(), Ok(Some(false)));
        assert_eq!(root.get("s").unwrap().string(), Ok(Some("x".to_string())));
        assert_eq!(root.get("none").unwrap().get("deeper").unwrap().string(), Ok(None));
    }

    #[test]
    fn errors_name_the_key_and_hide_the_value() {
        let value = json!({"a": [{"n": "hunter2"}], "e": ""});
        let root = Node::root(&value);
        let n = root.get("a").unwrap().items().unwrap()[0].get("n").unwrap();
        assert_eq!(
            n.unsigned().unwrap_err(),
            "a[0].n: expected a whole number of 0 or more, found a string that isn't one"
        );
        assert_eq!(root.get("a").unwrap().string().unwrap_err(), "a: expected a string, found a list");
        assert!(root.get("e").unwrap().string().unwrap_err().starts_with("e: expected a string, found an empty one"));
        assert!(root.get("e").unwrap().get("x").unwrap_err().starts_with("e: expected an object"));
    }
}
