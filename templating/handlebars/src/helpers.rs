//! The helpers of the scaffolder.

use std::{collections::HashMap, fmt, io, sync::Arc};

use serde::Serialize;
use serde_json::{Value as Json, ser::Formatter};
use understudy_templating::js_number_to_string;

use crate::value::Value;

/// The helpers that Handlebars itself has.
pub(crate) const BUILT_IN: [&str; 6] = ["if", "unless", "each", "with", "lookup", "log"];
/// Those that need no host.
const OWN: [&str; 3] = ["json", "not", "eq"];

/// A helper of the host: gets its arguments, `None` for `undefined`; gives a value or the reason why there is none.
pub type HelperFn = dyn Fn(&[Option<&Json>]) -> Result<Option<Json>, String> + Send + Sync;

/// The helpers that templates can call besides Handlebars' own: `json`, `not`, `eq` and those of the host.
#[derive(Clone, Default)]
pub struct Helpers(HashMap<String, Arc<HelperFn>>);

impl Helpers {
    /// The same helpers and one more.
    #[must_use]
    pub fn with<F>(mut self, name: impl Into<String>, helper: F) -> Self
    where
        F: Fn(&[Option<&Json>]) -> Result<Option<Json>, String> + Send + Sync + 'static,
    {
        self.0.insert(name.into(), Arc::new(helper));
        self
    }
    /// Whether templates can call this name.
    pub fn knows(&self, name: &str) -> bool {
        BUILT_IN.contains(&name) || OWN.contains(&name) || self.0.contains_key(name)
    }
    /// Calls a helper that isn't built into Handlebars; `None` when there is none of this name.
    pub(crate) fn call<'a>(&self, name: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, String>> {
        let first = arguments.first();
        if let Some(helper) = self.0.get(name) {
            let arguments: Vec<_> = arguments.iter().map(Value::json).collect();
            let arguments: Vec<_> = arguments.iter().map(Option::as_deref).collect();
            return Some(helper(&arguments).map(|value| value.map_or(Value::Undefined, Value::made)));
        }
        Some(match name {
            "json" => match first {
                Some(value) => json(value),
                None => Err("the helper json needs an argument, as in {{ json parameters.list }}".to_string()),
            },
            // Without an argument it is given its options in JavaScript, which are something.
            "not" => Ok(Value::made(first.is_some_and(|value| match value.json().as_deref() {
                Some(Json::Array(items)) => items.is_empty(),
                _ => !value.is_truthy(),
            }))),
            "eq" => Ok(Value::made(matches!(arguments, [a, b, ..] if a.is_same(b)))),
            _ => return None,
        })
    }
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// `JSON.stringify`.
fn json<'a>(value: &Value<'a>) -> Result<Value<'a>, String> {
    let Some(value) = value.json() else { return Ok(Value::Undefined) };
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Numbers);
    value.serialize(&mut serializer).map_err(|error| error.to_string())?;
    String::from_utf8(text).map(Value::made).map_err(|error| error.to_string())
}

/// Writes numbers as JavaScript does.
struct Numbers;

impl Formatter for Numbers {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(js_number_to_string(value).as_bytes())
    }
    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.write_f64(writer, value as f64)
    }
    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.write_f64(writer, value as f64)
    }
}
