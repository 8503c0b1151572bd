//! Values as JavaScript has them.

use std::borrow::Cow;

use serde_json::Value as Json;
use understudy_templating::js_number_to_string;

/// A value while a template is rendered.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Undefined,
    /// A number that was computed.
    Number(f64),
    Json(Cow<'a, Json>),
}

impl<'a> Value<'a> {
    pub(crate) fn data(json: &'a Json) -> Self {
        Self::Json(Cow::Borrowed(json))
    }
    pub(crate) fn made(json: impl Into<Json>) -> Self {
        Self::Json(Cow::Owned(json.into()))
    }
    pub(crate) fn json(&self) -> Option<Cow<'_, Json>> {
        match self {
            Self::Undefined => None,
            Self::Number(number) => Some(Cow::Owned(Json::from(*number))),
            Self::Json(json) => Some(Cow::Borrowed(json)),
        }
    }
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Json(json) => json.as_f64(),
            Self::Undefined => None,
        }
    }
    /// `null` or `undefined`.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Undefined) || matches!(self, Self::Json(json) if json.is_null())
    }
    /// JavaScript's truthiness.
    pub(crate) fn is_truthy(&self) -> bool {
        match self {
            Self::Undefined => false,
            Self::Number(number) => is_true(*number),
            Self::Json(json) => match &**json {
                Json::Null => false,
                Json::Bool(yes) => *yes,
                Json::Number(number) => number.as_f64().is_some_and(is_true),
                Json::String(text) => !text.is_empty(),
                Json::Array(_) | Json::Object(_) => true,
            },
        }
    }
    /// What counts as empty for `if` and `with`: all that isn't true except 0, and the list without items.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Json(json) if json.as_array().is_some_and(Vec::is_empty) => true,
            value => !value.is_truthy() && value.number().is_none_or(f64::is_nan),
        }
    }
    /// `this[name]` as far as that is a property of its own; of nothing it is nothing.
    pub(crate) fn get(&self, name: &str) -> Self {
        match self {
            Self::Json(Cow::Borrowed(json)) => own(json, name).map_or_else(|| computed(json, name), Self::data),
            Self::Json(Cow::Owned(json)) => {
                own(json, name).map_or_else(|| computed(json, name), |found| Self::made(found.clone()))
            }
            Self::Undefined | Self::Number(_) => Self::Undefined,
        }
    }
    /// `===`: lists and objects are equal to themselves only.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return a == b;
        }
        match (self, other) {
            (Self::Undefined, Self::Undefined) => true,
            (Self::Json(a), Self::Json(b)) => match (&**a, &**b) {
                (Json::Array(_), _) | (Json::Object(_), _) => std::ptr::eq(&**a, &**b),
                (a, b) => a == b,
            },
            _ => false,
        }
    }
    /// The text of a value; nothing is empty.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Undefined => "".into(),
            Self::Number(number) => js_number_to_string(*number).into(),
            Self::Json(json) => match &**json {
                Json::String(text) => text.as_str().into(),
                Json::Null => "".into(),
                other => text_of(other).into(),
            },
        }
    }
    /// JavaScript's `+`.
    pub(crate) fn plus(self, other: &Self) -> Self {
        if let (Some(a), Some(b)) = (self.addend(), other.addend()) {
            return Self::Number(a + b);
        }
        let mut text = match self {
            Self::Json(Cow::Owned(Json::String(text))) => text,
            value => value.text().into_owned(),
        };
        text.push_str(&other.text());
        Self::made(text)
    }
    /// What is added as a number.
    fn addend(&self) -> Option<f64> {
        match self {
            Self::Json(json) if json.is_boolean() => json.as_bool().map(f64::from),
            value => value.number(),
        }
    }
}

fn is_true(number: f64) -> bool {
    number != 0.0 && !number.is_nan()
}

fn own<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    match json {
        Json::Object(members) => members.get(name),
        Json::Array(items) => items.get(index(name)?),
        Json::Null => Some(json),
        _ => None,
    }
}

/// A property that is not among the data.
fn computed<'a>(json: &Json, name: &str) -> Value<'a> {
    match (json, name) {
        (Json::Array(items), "length") => Value::Number(items.len() as f64),
        (Json::String(text), "length") => Value::Number(text.encode_utf16().count() as f64),
        (Json::String(text), name) => match index(name).and_then(|index| text.encode_utf16().nth(index)) {
            Some(unit) => Value::made(String::from_utf16_lossy(&[unit])),
            None => Value::Undefined,
        },
        _ => Value::Undefined,
    }
}

/// An index as JavaScript writes it.
fn index(name: &str) -> Option<usize> {
    name.parse::<usize>().ok().filter(|index| index.to_string() == name)
}

fn text_of(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::Bool(yes) => yes.to_string(),
        Json::Number(number) => number.as_f64().map_or_else(|| number.to_string(), js_number_to_string),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(","),
        Json::Object(_) => "[object Object]".to_string(),
    }
}
