//! Checks values against JSON Schemas in the words of npm `zod` 3.
//!
//! Backstage's framework routes (actions registry, permission integration) check what they are given with zod, publish the
//! JSON Schema made from it, and put zod's report into error texts. Here it goes the other way round: the published schema
//! is the source, and the report is written as zod would have. Only the keywords that those schemas use are known.

use serde_json::{Map, Value, json};

/// What is wrong with a value: zod's issues, as they stand in error bodies.
#[derive(Debug, Clone, PartialEq)]
pub struct ZodError(Vec<Value>);

impl ZodError {
    /// An error of these issues; [`invalid_type`] and [`required`] make such.
    pub fn new(issues: Vec<Value>) -> Self {
        Self(issues)
    }
    /// The error as a member `cause` of an error body.
    pub fn to_cause(&self) -> Value {
        json!({"issues": self.0, "name": "ZodError", "message": self.to_string()})
    }
}

impl std::fmt::Display for ZodError {
    /// The issues as indented JSON, which is `ZodError.message`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string_pretty(&self.0).unwrap_or_default())
    }
}

impl std::error::Error for ZodError {}

/// The issue of a value of another type.
pub fn invalid_type(expected: &str, received: &str, path: &[Value]) -> Value {
    let message = match received {
        "undefined" => "Required".to_string(),
        _ => format!("Expected {expected}, received {received}"),
    };
    json!({"code": "invalid_type", "expected": expected, "received": received, "path": path, "message": message})
}

/// The issue of a value that is missing.
pub fn required(expected: &str, path: &[Value]) -> Value {
    invalid_type(expected, "undefined", path)
}

/// The value as `schema` knows it: defaults filled in, members that it doesn't speak of left out.
///
/// Known are `type` (`object`, `array`, `string`, `boolean`, `number`, `integer`), `properties` with `default`, `required`,
/// `additionalProperties` (a schema, or `true`: they are kept), `items`, `minItems`, `minimum`, `maximum`, `enum` of texts,
/// `anyOf`, and `$ref` within the schema. A schema without any of these takes everything.
///
/// # Errors
/// What zod 3 says about it.
pub fn parse(schema: &Value, value: Option<&Value>) -> Result<Value, ZodError> {
    let mut issues = Vec::new();
    match (Zod { root: schema }).parse(schema, value, &mut Vec::new(), &mut issues) {
        Parsed::Valid(value) if issues.is_empty() => Ok(value),
        _ => Err(ZodError(issues)),
    }
}

/// As zod tells them apart: of several alternatives that refuse a value, one that only finds its size wrong is the one
/// that was meant.
enum Parsed {
    Valid(Value),
    Dirty(Value),
    Invalid,
}

impl Parsed {
    fn of(value: Value, dirty: bool) -> Self {
        if dirty { Self::Dirty(value) } else { Self::Valid(value) }
    }
}

struct Zod<'s> {
    root: &'s Value,
}

impl Zod<'_> {
    fn parse(&self, schema: &Value, value: Option<&Value>, path: &mut Vec<Value>, issues: &mut Vec<Value>) -> Parsed {
        if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) {
            return match self.root.pointer(pointer) {
                Some(target) => self.parse(target, value, path, issues),
                None => Parsed::Valid(value.cloned().unwrap_or_default()),
            };
        }
        if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
            return self.any_of(alternatives, value, path, issues);
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array) {
            return one_of(options, value, path, issues);
        }
        let Some(kind) = schema.get("type").and_then(Value::as_str) else {
            return Parsed::Valid(value.cloned().unwrap_or_default());
        };
        let expected = if kind == "integer" { "number" } else { kind };
        match (kind, value) {
            ("object", Some(Value::Object(members))) => self.object(schema, members, path, issues),
            ("array", Some(Value::Array(items))) => self.array(schema, items, path, issues),
            ("string", Some(Value::String(_))) | ("boolean", Some(Value::Bool(_))) => {
                Parsed::Valid(value.cloned().unwrap_or_default())
            }
            ("number" | "integer", Some(number @ Value::Number(_))) => number_in(schema, kind, number, path, issues),
            _ => {
                issues.push(invalid_type(expected, type_of(value), path));
                Parsed::Invalid
            }
        }
    }

    fn object(
        &self,
        schema: &Value,
        members: &Map<String, Value>,
        path: &mut Vec<Value>,
        issues: &mut Vec<Value>,
    ) -> Parsed {
        let mut known = Map::new();
        let (mut dirty, mut invalid) = (false, false);
        let mut take = |name: &str, parsed: Parsed| match parsed {
            Parsed::Valid(value) => drop(known.insert(name.to_string(), value)),
            Parsed::Dirty(value) => {
                dirty = true;
                known.insert(name.to_string(), value);
            }
            Parsed::Invalid => invalid = true,
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let is_required = |name: &str| {
            schema
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|names| names.iter().any(|known| known == name))
        };
        for (name, schema) in properties.into_iter().flatten() {
            let value = members.get(name).or_else(|| schema.get("default"));
            if value.is_none() && !is_required(name) {
                continue;
            }
            path.push(name.as_str().into());
            let parsed = self.parse(schema, value, path, issues);
            path.pop();
            take(name, parsed);
        }
        let others = members.iter().filter(|(name, _)| !properties.is_some_and(|known| known.contains_key(*name)));
        match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => others.for_each(|(name, value)| take(name, Parsed::Valid(value.clone()))),
            Some(each @ Value::Object(_)) => {
                for (name, value) in others {
                    path.push(name.as_str().into());
                    let parsed = self.parse(each, Some(value), path, issues);
                    path.pop();
                    take(name, parsed);
                }
            }
            _ => {}
        }
        if invalid { Parsed::Invalid } else { Parsed::of(known.into(), dirty) }
    }

    fn array(&self, schema: &Value, items: &[Value], path: &mut Vec<Value>, issues: &mut Vec<Value>) -> Parsed {
        let (mut dirty, mut invalid) = (false, false);
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            dirty = true;
            let message = format!("Array must contain at least {least} element(s)");
            issues.push(size("too_small", "minimum", &least.into(), "array", &message, path));
        }
        let anything = Value::Bool(true);
        let each = schema.get("items").unwrap_or(&anything);
        let mut known = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            path.push(index.into());
            match self.parse(each, Some(item), path, issues) {
                Parsed::Valid(item) => known.push(item),
                Parsed::Dirty(item) => {
                    dirty = true;
                    known.push(item);
                }
                Parsed::Invalid => invalid = true,
            }
            path.pop();
        }
        if invalid { Parsed::Invalid } else { Parsed::of(known.into(), dirty) }
    }

    fn any_of(
        &self,
        alternatives: &[Value],
        value: Option<&Value>,
        path: &mut Vec<Value>,
        issues: &mut Vec<Value>,
    ) -> Parsed {
        let mut errors = Vec::new();
        let mut meant = None;
        for alternative in alternatives {
            let mut found = Vec::new();
            match self.parse(alternative, value, path, &mut found) {
                Parsed::Valid(value) => return Parsed::Valid(value),
                Parsed::Dirty(value) if meant.is_none() => meant = Some((value, found)),
                Parsed::Dirty(_) | Parsed::Invalid => errors.push(json!({"issues": found, "name": "ZodError"})),
            }
        }
        match meant {
            Some((value, found)) => {
                issues.extend(found);
                Parsed::Dirty(value)
            }
            None => {
                issues.push(json!({
                    "code": "invalid_union", "unionErrors": errors, "path": path, "message": "Invalid input",
                }));
                Parsed::Invalid
            }
        }
    }
}

fn one_of(options: &[Value], value: Option<&Value>, path: &[Value], issues: &mut Vec<Value>) -> Parsed {
    if let Some(value) = value.filter(|value| options.contains(value)) {
        return Parsed::Valid(value.clone());
    }
    let texts: Vec<_> = options.iter().map(|option| format!("'{}'", option.as_str().unwrap_or_default())).collect();
    let expected = texts.join(" | ");
    issues.push(match value {
        Some(Value::String(text)) => json!({
            "received": text, "code": "invalid_enum_value", "options": options, "path": path,
            "message": format!("Invalid enum value. Expected {expected}, received '{text}'"),
        }),
        other => {
            let received = type_of(other);
            let message = match other {
                None => "Required".to_string(),
                Some(_) => format!("Expected {expected}, received {received}"),
            };
            json!({"expected": expected, "received": received, "code": "invalid_type", "path": path, "message": message})
        }
    });
    Parsed::Invalid
}

fn number_in(schema: &Value, kind: &str, value: &Value, path: &[Value], issues: &mut Vec<Value>) -> Parsed {
    let number = value.as_f64().unwrap_or_default();
    let before = issues.len();
    if kind == "integer" && number.fract() != 0.0 {
        issues.push(json!({
            "code": "invalid_type", "expected": "integer", "received": "float",
            "message": "Expected integer, received float", "path": path,
        }));
    }
    if let Some(least) = schema.get("minimum").filter(|least| least.as_f64().is_some_and(|least| number < least)) {
        let message = format!("Number must be greater than or equal to {least}");
        issues.push(size("too_small", "minimum", least, "number", &message, path));
    }
    if let Some(most) = schema.get("maximum").filter(|most| most.as_f64().is_some_and(|most| number > most)) {
        let message = format!("Number must be less than or equal to {most}");
        issues.push(size("too_big", "maximum", most, "number", &message, path));
    }
    Parsed::of(value.clone(), issues.len() > before)
}

fn size(code: &str, bound: &str, limit: &Value, kind: &str, message: &str, path: &[Value]) -> Value {
    json!({
        "code": code, bound: limit, "type": kind, "inclusive": true, "exact": false, "message": message, "path": path,
    })
}

fn type_of(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "owned": {"type": "boolean", "default": false},
                "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
                "status": {"anyOf": [
                    {"type": "string", "enum": ["open", "failed"]},
                    {"type": "array", "items": {"$ref": "#/properties/status/anyOf/0"}, "minItems": 1},
                ]},
                "values": {"type": "object", "additionalProperties": {"type": "string"}},
                "anything": {},
            },
            "required": ["values"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn what_is_right_comes_back_with_defaults_and_without_the_unknown() {
        let value = json!({"values": {"a": "b"}, "status": ["open"], "limit": 5, "more": 1});
        assert_eq!(
            parse(&schema(), Some(&value)).unwrap(),
            json!({"owned": false, "limit": 5, "status": ["open"], "values": {"a": "b"}})
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_zods_words() {
        // Compared with zod 3.25.
        for (value, expected) in [
            (
                Value::Null,
                json!([{"code": "invalid_type", "expected": "object", "received": "null", "path": [],
                    "message": "Expected object, received null"}]),
            ),
            (
                json!({}),
                json!([{"code": "invalid_type", "expected": "object", "received": "undefined", "path": ["values"],
                    "message": "Required"}]),
            ),
            (
                json!({"values": {"a": 1}, "limit": 0}),
                json!([
                    {"code": "too_small", "minimum": 1, "type": "number", "inclusive": true, "exact": false,
                        "message": "Number must be greater than or equal to 1", "path": ["limit"]},
                    {"code": "invalid_type", "expected": "string", "received": "number", "path": ["values", "a"],
                        "message": "Expected string, received number"},
                ]),
            ),
            (
                json!({"values": {}, "limit": 1.5}),
                json!([{"code": "invalid_type", "expected": "integer", "received": "float",
                    "message": "Expected integer, received float", "path": ["limit"]}]),
            ),
            (
                json!({"values": {}, "limit": 1001}),
                json!([{"code": "too_big", "maximum": 1000, "type": "number", "inclusive": true, "exact": false,
                    "message": "Number must be less than or equal to 1000", "path": ["limit"]}]),
            ),
            (
                json!({"values": {}, "status": []}),
                json!([{"code": "too_small", "minimum": 1, "type": "array", "inclusive": true, "exact": false,
                    "message": "Array must contain at least 1 element(s)", "path": ["status"]}]),
            ),
            (
                json!({"values": {}, "status": "x"}),
                json!([{"code": "invalid_union", "unionErrors": [
                    {"issues": [{"received": "x", "code": "invalid_enum_value", "options": ["open", "failed"],
                        "path": ["status"], "message": "Invalid enum value. Expected 'open' | 'failed', received 'x'"}],
                        "name": "ZodError"},
                    {"issues": [{"code": "invalid_type", "expected": "array", "received": "string", "path": ["status"],
                        "message": "Expected array, received string"}], "name": "ZodError"},
                ], "path": ["status"], "message": "Invalid input"}]),
            ),
            (
                json!({"values": {}, "status": [5]}),
                json!([{"code": "invalid_union", "unionErrors": [
                    {"issues": [{"expected": "'open' | 'failed'", "received": "array", "code": "invalid_type",
                        "path": ["status"], "message": "Expected 'open' | 'failed', received array"}], "name": "ZodError"},
                    {"issues": [{"expected": "'open' | 'failed'", "received": "number", "code": "invalid_type",
                        "path": ["status", 0], "message": "Expected 'open' | 'failed', received number"}],
                        "name": "ZodError"},
                ], "path": ["status"], "message": "Invalid input"}]),
            ),
        ] {
            let error = parse(&schema(), Some(&value)).unwrap_err();
            assert_eq!(error.to_cause()["issues"], expected, "{value}");
            assert_eq!(error.to_string(), serde_json::to_string_pretty(&expected).unwrap(), "{value}");
        }
    }

    #[test]
    fn nothing_at_all_is_said_to_be_missing() {
        let error = parse(&schema(), None).unwrap_err();
        assert_eq!(error.to_cause()["issues"][0]["message"], "Required");
    }
}
