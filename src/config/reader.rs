//! Typed access to a configuration, as `@backstage/config` 1.3.9 reads values, with errors that name file and key.

use std::time::Duration;

use serde_json::Value;
use understudy_sdk::duration;

use super::{ConfigError, loader::Loaded};

/// A place in the configuration.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    loaded: &'a Loaded,
    value: Option<&'a Value>,
    key: String,
}

impl<'a> Reader<'a> {
    /// The root.
    pub(super) fn root(loaded: &'a Loaded) -> Self {
        Self { loaded, value: Some(&loaded.value), key: String::new() }
    }

    /// The value below a dotted key; `null` counts as absent.
    pub(super) fn at(&self, key: &str) -> Result<Self, ConfigError> {
        let mut place = self.clone();
        for part in key.split('.') {
            let value = match place.value {
                Some(Value::Object(members)) => members.get(part).filter(|value| !value.is_null()),
                Some(_) => return Err(place.expected("an object")),
                None => None,
            };
            let key = if place.key.is_empty() { part.to_string() } else { format!("{}.{part}", place.key) };
            place = Self { loaded: self.loaded, value, key };
        }
        Ok(place)
    }

    /// The value, if there is one.
    pub(super) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// The items of a list; none when absent.
    pub(super) fn items(&self) -> Result<Vec<Self>, ConfigError> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, item)| Self {
                    loaded: self.loaded,
                    value: Some(item),
                    key: format!("{}[{index}]", self.key),
                })
                .collect()),
            Some(_) => Err(self.expected("a list")),
        }
    }

    /// The members of an object; none when absent.
    pub(super) fn members(&self) -> Result<Vec<(String, Self)>, ConfigError> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Object(members)) => {
                members.keys().map(|name| Ok((name.clone(), self.at_member(name)))).collect()
            }
            Some(_) => Err(self.expected("an object")),
        }
    }

    fn at_member(&self, name: &str) -> Self {
        let value = self.value.and_then(|value| value.get(name)).filter(|value| !value.is_null());
        Self { loaded: self.loaded, value, key: format!("{}.{name}", self.key) }
    }

    /// A text.
    pub(super) fn string(&self) -> Result<Option<&'a str>, ConfigError> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Err(self.wrong("got empty-string, wanted string")),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.expected("a text")),
        }
    }

    /// A list of texts; a text alone is a list of one, or of several with commas.
    pub(super) fn strings(&self) -> Result<Option<Vec<String>>, ConfigError> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => {
                Ok(Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(String::from).collect()))
            }
            Some(Value::Array(_)) => self
                .items()?
                .iter()
                .map(|item| item.string()?.map(String::from).ok_or_else(|| item.expected("a text")))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(self.expected("a text or a list of texts")),
        }
    }

    /// A whole number from 0; a text with digits counts.
    pub(super) fn whole(&self) -> Result<Option<u64>, ConfigError> {
        let expected = || self.expected("a whole number, 0 or more");
        match self.value {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(expected),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| expected()),
            Some(_) => Err(expected()),
        }
    }

    /// `true` or `false`; `yes`, `on`, `1` and their opposites count.
    pub(super) fn boolean(&self) -> Result<Option<bool>, ConfigError> {
        let text = match self.value {
            None => return Ok(None),
            Some(Value::Bool(value)) => return Ok(Some(*value)),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.to_lowercase(),
            Some(_) => return Err(self.expected("true or false")),
        };
        match text.as_str() {
            "y" | "yes" | "true" | "1" | "on" => Ok(Some(true)),
            "n" | "no" | "false" | "0" | "off" => Ok(Some(false)),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A duration: `{minutes: 5}`, `PT5M` or `5 minutes`.
    pub(super) fn duration(&self) -> Result<Option<Duration>, ConfigError> {
        let expected = "a duration: an object like {minutes: 5}, ISO text like PT5M, or a text like 5m or 30 seconds";
        let found = match self.value {
            None => return Ok(None),
            // As with npm `ms`, a number alone is milliseconds.
            Some(Value::String(text)) => duration::parse(text, Duration::from_millis(1)),
            Some(Value::Object(_)) => {
                let mut sum = 0.0;
                for (name, member) in self.members()? {
                    let Some(unit) = duration::member_seconds(&name) else {
                        return Err(member.wrong(
                            "no unit of time: years, months, weeks, days, hours, minutes, seconds or milliseconds",
                        ));
                    };
                    let number = match member.value {
                        Some(Value::Number(number)) => number.as_f64(),
                        Some(Value::String(text)) => text.trim().parse().ok(),
                        _ => None,
                    };
                    sum += number.ok_or_else(|| member.expected("a number"))? * unit;
                }
                Duration::try_from_secs_f64(sum).ok()
            }
            Some(_) => None,
        };
        found.map(Some).ok_or_else(|| self.expected(expected))
    }

    /// The error that this value is not what was expected.
    pub(super) fn expected(&self, what: &str) -> ConfigError {
        let found = match self.value {
            None => "nothing",
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "true or false",
            Some(Value::Number(_)) => "a number",
            Some(Value::String(_)) => "a text",
            Some(Value::Array(_)) => "a list",
            Some(Value::Object(_)) => "an object",
        };
        // The value itself is not shown: it may be a secret that slipped into the wrong place.
        self.wrong(&format!("expected {what}; found {found}"))
    }

    /// An error at this place.
    pub(super) fn wrong(&self, reason: &str) -> ConfigError {
        ConfigError::Value {
            origin: self.loaded.origin(&self.key).to_string(),
            key: if self.key.is_empty() { "(root)".to_string() } else { self.key.clone() },
            reason: reason.to_string(),
        }
    }
}
