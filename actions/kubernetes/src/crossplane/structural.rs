//! Structural schemas (the OpenAPI v3 dialect of CustomResourceDefinitions): what Crossplane adds to an XRD's schema, what the
//! server fills in, which fields it would drop, and the same rules as a JSON Schema.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    definition::{Generation, Offer},
    suggest::closest,
    validate::Violation,
};

/// How deep schemas and specs may be nested.
pub(crate) const MAX_DEPTH: usize = 100;

/// The schema of `spec` as Crossplane gives it to the kind's CustomResourceDefinition: of the XRD's it takes the fields,
/// `required`, `oneOf` and whether unknown fields are kept, and adds its own fields, which win.
///
/// Kept up with `crossplane-runtime` 2.x (`pkg/xcrd`) and the fields that 1.x had besides.
pub(crate) fn spec_schema(offer: &Offer<'_>) -> Value {
    let theirs = offer.version.schema().and_then(|schema| schema.pointer("/properties/spec"));
    let mut spec = Map::new();
    spec.insert("type".into(), "object".into());
    let mut properties = Map::new();
    if let Some(theirs) = theirs {
        for keyword in ["required", "oneOf", "x-kubernetes-preserve-unknown-fields"] {
            if let Some(value) = theirs.get(keyword) {
                spec.insert(keyword.into(), value.clone());
            }
        }
        if let Some(Value::Object(fields)) = theirs.get("properties") {
            properties.clone_from(fields);
        }
    }
    if let Value::Object(ours) = machinery(offer.generation) {
        properties.extend(ours);
    }
    spec.insert("properties".into(), properties.into());
    spec.into()
}

/// Crossplane's own fields under `spec`.
fn machinery(generation: Generation) -> Value {
    let name = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}});
    let selector = json!({"type": "object", "required": ["matchLabels"], "properties": {
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let reference = |fields: &[&str], required: &[&str]| {
        let fields: Map<String, Value> =
            fields.iter().map(|field| ((*field).to_string(), json!({"type": "string"}))).collect();
        json!({"type": "object", "required": required, "properties": fields})
    };
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut fields = json!({
        "compositionRef": name,
        "compositionSelector": selector,
        "compositionRevisionRef": name,
        "compositionRevisionSelector": selector,
        "compositionUpdatePolicy": {"type": "string", "enum": ["Automatic", "Manual"]},
    });
    let resources = |fields: &[&str]| json!({"type": "array", "items": reference(fields, &["apiVersion", "kind"])});
    match generation {
        Generation::Claim => {
            fields["compositeDeletePolicy"] = json!({"type": "string", "enum": ["Background", "Foreground"]});
            fields["resourceRef"] = reference(&["apiVersion", "kind", "name"], &["apiVersion", "kind", "name"]);
            fields["writeConnectionSecretToRef"] = name;
            // Gone in Crossplane 2.
            fields["publishConnectionDetailsTo"] = any;
        }
        Generation::LegacyComposite => {
            fields["resourceRefs"] = resources(&["apiVersion", "kind", "name", "namespace"]);
            let claim = ["apiVersion", "kind", "namespace", "name"];
            fields["claimRef"] = reference(&claim, &claim);
            fields["writeConnectionSecretToRef"] = reference(&["name", "namespace"], &["name", "namespace"]);
            // Gone in Crossplane 2.
            fields["publishConnectionDetailsTo"] = any;
            fields["environmentConfigRefs"] =
                json!({"type": "array", "items": reference(&["apiVersion", "kind", "name"], &["apiVersion", "kind"])});
        }
        Generation::NamespacedComposite => {
            fields["resourceRefs"] = resources(&["apiVersion", "kind", "name"]);
            return json!({"crossplane": {"type": "object", "properties": fields}});
        }
        Generation::ClusterComposite => {
            fields["resourceRefs"] = resources(&["apiVersion", "kind", "name", "namespace"]);
            return json!({"crossplane": {"type": "object", "properties": fields}});
        }
    }
    fields
}

/// Whether a value (a schema, an instance) is nested deeper than `limit`.
pub(crate) fn is_deeper(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|item| is_deeper(item, limit - 1)),
        Value::Object(members) => limit == 0 || members.values().any(|member| is_deeper(member, limit - 1)),
        _ => false,
    }
}

fn is_true(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword).and_then(Value::as_bool).unwrap_or(false)
}

/// The schema of a member that `properties` doesn't name.
fn additional(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|additional| additional.is_object())
}

/// Fills in defaults as the server does before it validates: a `null` that isn't allowed gives way to its default.
pub(crate) fn fill_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                let Some(default) = property.get("default") else { continue };
                let is_missing =
                    members.get(name).is_none_or(|found| found.is_null() && !is_true(property, "nullable"));
                if is_missing {
                    members.insert(name.clone(), default.clone());
                }
            }
            for (name, member) in members.iter_mut() {
                if let Some(inner) = properties.and_then(|known| known.get(name)).or_else(|| additional(schema)) {
                    fill_defaults(inner, member);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                items.iter_mut().for_each(|item| fill_defaults(inner, item));
            }
        }
        _ => {}
    }
}

/// What the server would do silently or what JSON Schema has no words for: fields that would be dropped, and entries of a
/// `map` list with the same keys.
pub(crate) fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<Violation>) {
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let is_open = is_true(schema, "x-kubernetes-preserve-unknown-fields")
                || schema.get("additionalProperties").and_then(Value::as_bool) == Some(true);
            let is_embedded = is_true(schema, "x-kubernetes-embedded-resource");
            for (name, member) in members {
                let known = properties.and_then(|known| known.get(name)).or_else(|| additional(schema));
                let at = join(path, name);
                match known {
                    Some(inner) => walk(inner, member, &at, found),
                    None if is_open => {}
                    None if is_embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {}
                    None => {
                        let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                        found.push(Violation::new(at, unknown(name, &names.collect::<Vec<_>>())));
                    }
                }
            }
        }
        Value::Array(items) => {
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                walk(inner, item, &format!("{path}[{index}]"), found);
            }
            if schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map") {
                same_keys(schema, items, path, found);
            }
        }
        _ => {}
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let start = "there is no such field, it would be dropped";
    match closest(name, known.iter().copied()) {
        Some(near) => format!("{start}; did you mean \"{near}\"?"),
        None if known.is_empty() => format!("{start}; no fields are known here"),
        None => {
            let mut known = known.to_vec();
            known.sort_unstable();
            let more = if known.len() > 12 { ", …" } else { "" };
            known.truncate(12);
            format!("{start}; there are {}{more}", known.join(", "))
        }
    }
}

fn same_keys(schema: &Value, items: &[Value], path: &str, found: &mut Vec<Violation>) {
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if keys.is_empty() {
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let mut entry = item.clone();
        if let Some(inner) = schema.get("items") {
            fill_defaults(inner, &mut entry);
        }
        let identity: Vec<String> =
            keys.iter().map(|key| entry.get(key).map(ToString::to_string).unwrap_or_default()).collect();
        if !seen.insert(identity.clone()) {
            let identity: Vec<String> =
                keys.iter().zip(&identity).map(|(key, value)| format!("{key} {value}")).collect();
            found.push(Violation::new(
                format!("{path}[{index}]"),
                format!("an earlier entry has the same {}", identity.join(", ")),
            ));
        }
    }
}

/// `spec.a.b`, `spec["a.b"]`.
pub(crate) fn join(path: &str, name: &str) -> String {
    let is_plain = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_plain { format!("{path}.{name}") } else { format!("{path}[{}]", Value::from(name)) }
}

/// Formats that both the API server and JSON Schema know and understand alike. The others are left to the server.
const FORMATS: [&str; 4] = ["date", "date-time", "ipv4", "ipv6"];
/// Keywords with the same meaning in both.
const SAME: [&str; 11] = [
    "required",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "enum",
];

/// The same rules as a JSON Schema (draft 7). What the two can't say alike is left out, never made stricter: the server
/// has the last word.
pub(crate) fn json_schema(schema: &Value, is_pattern: &dyn Fn(&str) -> bool) -> Value {
    let Some(theirs) = schema.as_object() else { return Value::Bool(true) };
    let mut ours = Map::new();
    for keyword in SAME {
        if let Some(argument) = theirs.get(keyword) {
            ours.insert(keyword.into(), argument.clone());
        }
    }
    for (flag, limit) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if is_true(schema, flag)
            && let Some(argument) = ours.remove(limit)
        {
            ours.insert(flag.into(), argument);
        }
    }
    if let Some(pattern) = theirs.get("pattern").and_then(Value::as_str).filter(|pattern| is_pattern(pattern)) {
        ours.insert("pattern".into(), pattern.into());
    }
    match theirs.get("format").and_then(Value::as_str) {
        Some(format) if FORMATS.contains(&format) => {
            ours.insert("format".into(), format.into());
        }
        Some("int32") if !ours.contains_key("minimum") && !ours.contains_key("maximum") => {
            ours.insert("minimum".into(), i32::MIN.into());
            ours.insert("maximum".into(), i32::MAX.into());
        }
        _ => {}
    }
    if theirs.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set") {
        ours.insert("uniqueItems".into(), true.into());
    }
    if is_true(schema, "x-kubernetes-embedded-resource") {
        let required = ours.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            required.extend(["apiVersion".into(), "kind".into()]);
            let mut seen = BTreeSet::new();
            required.retain(|name: &Value| seen.insert(name.to_string()));
        }
    }
    types(schema, &mut ours);
    if let Some(properties) = theirs.get("properties").and_then(Value::as_object) {
        let properties: Map<String, Value> =
            properties.iter().map(|(name, property)| (name.clone(), json_schema(property, is_pattern))).collect();
        ours.insert("properties".into(), properties.into());
    }
    for keyword in ["additionalProperties", "items", "not"] {
        if let Some(inner) = theirs.get(keyword).filter(|inner| inner.is_object()) {
            ours.insert(keyword.into(), json_schema(inner, is_pattern));
        }
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if let Some(inner) = theirs.get(keyword).and_then(Value::as_array).filter(|inner| !inner.is_empty()) {
            ours.insert(keyword.into(), inner.iter().map(|inner| json_schema(inner, is_pattern)).collect());
        }
    }
    ours.into()
}

/// `type`, with what `nullable` and `x-kubernetes-int-or-string` mean for it.
fn types(schema: &Value, ours: &mut Map<String, Value>) {
    let mut types: Vec<Value> = match schema.get("type").and_then(Value::as_str) {
        _ if is_true(schema, "x-kubernetes-int-or-string") => vec!["integer".into(), "string".into()],
        Some(name @ ("object" | "array" | "string" | "integer" | "number" | "boolean")) => vec![name.into()],
        _ => return,
    };
    if is_true(schema, "nullable") {
        types.push("null".into());
        if let Some(Value::Array(options)) = ours.get_mut("enum") {
            options.push(Value::Null);
        }
    }
    ours.insert("type".into(), if types.len() == 1 { types.remove(0) } else { types.into() });
}
