//! Schemas from Rust types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The draft-07 schema of `T` in the shape of upstream's published schemas (zod through `zod-to-json-schema`): members
/// in the order `type`, `properties`, `required`, `additionalProperties`, … with `$schema` last. The order shows: it is
/// the order in which violations are reported.
///
/// Structs refuse unknown members; doc comments become `description`s.
pub fn of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    published(tidy(schema))
}

/// A schema written by hand (the few shapes that no type expresses) with the `$schema` member that published ones have.
pub fn published(mut schema: Value) -> Value {
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".into(), DRAFT.into());
    }
    schema
}

/// Puts one schema and those within it into the published shape.
fn tidy(schema: Value) -> Value {
    let Value::Object(mut map) = schema else { return schema };
    for key in ["title", "$schema", "definitions"] {
        map.remove(key);
    }
    map.values_mut().for_each(integral);
    drop_integer_bounds(&mut map);
    drop_null(&mut map);
    if let Some(only) = sole_alternative(&mut map) {
        return tidy(only);
    }
    for key in ["properties", "patternProperties"] {
        if let Some(Value::Object(members)) = map.get_mut(key) {
            for member in members.values_mut() {
                *member = tidy(member.take());
            }
        }
    }
    for key in ["items", "additionalProperties", "not", "propertyNames", "contains"] {
        match map.get_mut(key) {
            // schemars writes the schema that accepts everything as `true`, zod as `{}`.
            Some(any @ Value::Bool(true)) => *any = json!({}),
            Some(inner @ Value::Object(_)) => *inner = tidy(inner.take()),
            _ => {}
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(alternatives)) = map.get_mut(key) {
            for alternative in alternatives {
                *alternative = tidy(alternative.take());
            }
        }
    }
    if let Some(Value::Object(members)) = map.get_mut("properties") {
        for member in members.values_mut() {
            if *member == Value::Bool(true) {
                *member = json!({});
            }
        }
        map.entry("additionalProperties").or_insert(Value::Bool(false));
    } else if map.get("type") == Some(&json!("object")) && !map.contains_key("additionalProperties") {
        map.insert("properties".into(), json!({}));
        map.insert("additionalProperties".into(), Value::Bool(false));
    }
    // A union of types tells values apart by itself, which zod publishes as `anyOf`.
    if let Some(alternatives) = map.remove("oneOf") {
        map.insert("anyOf".into(), alternatives);
    }
    join_primitives(&mut map);
    if map.get("items") == Some(&json!({})) {
        map.remove("items");
    }
    ordered(map)
}

/// The width of Rust's integer types says nothing that a template's author could use.
fn drop_integer_bounds(map: &mut Map<String, Value>) {
    let width = match map.remove("format").as_ref().and_then(Value::as_str) {
        Some("int8") => (i64::from(i8::MIN), i64::from(i8::MAX)),
        Some("int16") => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Some("uint8") => (0, i64::from(u8::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint" | "uint32" | "uint64") => (0, i64::MAX),
        _ => return,
    };
    for (key, bound) in [("minimum", width.0), ("maximum", width.1)] {
        if map.get(key).and_then(Value::as_f64).is_some_and(|value| value == bound as f64) {
            map.remove(key);
        }
    }
}

/// `1.0` is `1` in JSON that JavaScript writes.
fn integral(value: &mut Value) {
    if let Some(float) = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15)
        && value.is_f64()
    {
        *value = Value::from(float as i64);
    }
}

/// An optional member is one that may be absent, not one that may be null.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if types.len() == 1 {
            let only = types.remove(0);
            map.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(alternatives)) = map.get_mut("anyOf") {
        alternatives.retain(|alternative| alternative.get("type") != Some(&json!("null")));
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if map.get("default") == Some(&Value::Null) {
        map.remove("default");
    }
}

/// The one schema left of an `anyOf`, with the description of the outer one.
fn sole_alternative(map: &mut Map<String, Value>) -> Option<Value> {
    let alternatives = map.get_mut("anyOf")?.as_array_mut()?;
    if alternatives.len() != 1 {
        return None;
    }
    let mut only = alternatives.remove(0);
    if let (Some(description), Value::Object(inner)) = (map.remove("description"), &mut only) {
        inner.insert("description".into(), description);
    }
    Some(only)
}

/// A union of plain primitive types is published as a list of types.
fn join_primitives(map: &mut Map<String, Value>) {
    let plain = |alternative: &Value| {
        let kind = alternative.as_object().filter(|alternative| alternative.len() == 1)?.get("type")?;
        ["string", "number", "integer", "boolean"].contains(&kind.as_str()?).then(|| kind.clone())
    };
    let joined =
        map.get("anyOf").and_then(Value::as_array).and_then(|all| all.iter().map(plain).collect::<Option<Value>>());
    if let Some(kinds) = joined {
        map.shift_remove("anyOf");
        map.insert("type".into(), kinds);
    }
}

fn ordered(mut map: Map<String, Value>) -> Value {
    const FIRST: [&str; 8] =
        ["anyOf", "type", "properties", "items", "required", "additionalProperties", "enum", "default"];
    const LAST: &str = "description";
    let mut out = Map::new();
    for key in FIRST {
        if let Some(value) = map.shift_remove(key) {
            out.insert(key.into(), value);
        }
    }
    let description = map.shift_remove(LAST);
    out.extend(map);
    out.extend(description.map(|text| (LAST.to_string(), text)));
    Value::Object(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Outer {
        /// Where from.
        some_url: String,
        /// A number
        /// in two lines.
        count: Option<u32>,
        inner: Option<Inner>,
        list: Vec<Inner>,
        free: Option<Value>,
        any_list: Option<Vec<Value>>,
        map: Option<serde_json::Map<String, Value>>,
        typed_map: Option<BTreeMap<String, String>>,
        kind: Option<Kind>,
        either: Option<Either>,
        #[serde(default)]
        flag: bool,
        #[schemars(range(min = 1, max = 10))]
        bounded: Option<f64>,
    }
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        #[schemars(length(min = 1))]
        name: String,
    }
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code)]
    enum Kind {
        BigOne,
        Small,
    }
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        Text(String),
        Flag(bool),
    }
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    struct Nothing {}

    #[test]
    fn types_become_upstreams_shape() {
        let inner = json!({"type": "object", "properties": {"name": {"type": "string", "minLength": 1}},
            "required": ["name"], "additionalProperties": false});
        let expected = json!({
            "type": "object",
            "properties": {
                "someUrl": {"type": "string", "description": "Where from."},
                "count": {"type": "integer", "description": "A number\nin two lines."},
                "inner": inner,
                "list": {"type": "array", "items": inner},
                "free": {},
                "anyList": {"type": "array"},
                "map": {"type": "object", "additionalProperties": {}},
                "typedMap": {"type": "object", "additionalProperties": {"type": "string"}},
                "kind": {"type": "string", "enum": ["big-one", "small"]},
                "either": {"type": ["string", "boolean"]},
                "flag": {"type": "boolean", "default": false},
                "bounded": {"type": "number", "minimum": 1, "maximum": 10},
            },
            "required": ["someUrl", "list"],
            "additionalProperties": false,
            "$schema": DRAFT,
        });
        let schema = of::<Outer>();
        assert!(crate::js::equal(&schema, &expected), "{schema:#}");
        let keys: Vec<_> = schema.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["type", "properties", "required", "additionalProperties", "$schema"]);
        let first = schema["properties"].as_object().unwrap().keys().next().unwrap();
        assert_eq!(first, "someUrl");
    }

    #[test]
    fn an_empty_struct_takes_nothing() {
        let expected = json!({"type": "object", "properties": {}, "additionalProperties": false, "$schema": DRAFT});
        assert_eq!(of::<Nothing>(), expected);
    }
}
