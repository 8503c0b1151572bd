//! Validation with upstream's wording.
//!
//! The texts, their order and the laxness in what a schema may hold (unknown types and keywords accept everything,
//! draft-3 and draft-4 forms still count) are those of npm `jsonschema` 1.5.0, since all of that reaches clients: as the
//! body of `POST /v2/tasks`, and as the message of a failed step.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    compile::{Compiler, invalid},
    format,
    pattern::Pattern,
};
use crate::js;

/// How deep schemas and instances may be nested, `$ref`s and combinators counted.
pub(super) const MAX_DEPTH: usize = 192;
/// How many (sub)schemas one validation may visit; a schema that refers to itself twice could go on for ever.
const MAX_VISITS: usize = 1_000_000;
/// How many violations are reported.
const MAX_VIOLATIONS: usize = 100;
/// How much (bytes, roughly) violations may carry, since each one holds its schema and instance.
const MAX_WEIGHT: usize = 16 << 20;

/// One violation, in the JSON form that `POST /v2/tasks` answers with (npm `jsonschema` 1.5 `ValidationError`).
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Violation {
    /// Path into the instance: member names and indices.
    pub path: Vec<Value>,
    /// `instance.a.b[0]`.
    pub property: String,
    /// E.g. `is not of a type(s) string`.
    pub message: String,
    /// The (sub)schema that holds the keyword, or its `$id`.
    pub schema: Value,
    /// The value found; absent for a missing one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Value>,
    /// The keyword, e.g. `type`.
    pub name: String,
    /// The keyword's argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<Value>,
    /// `property` and `message` joined by a space.
    pub stack: String,
}

/// A compiled schema.
pub struct Validator {
    schema: Value,
    patterns: HashMap<String, Pattern>,
    /// `$id` (or `id`) to the JSON pointer of the schema that has it.
    ids: HashMap<String, String>,
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Validator").field(&self.schema).finish()
    }
}

impl Validator {
    /// Compiles a schema (draft-07 and older forms; unknown keywords are ignored).
    ///
    /// # Errors
    /// The schema itself is invalid: a text with the JSON pointer of the place and the reason.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let mut compiler = Compiler { patterns: HashMap::new(), ids: HashMap::new(), refs: Vec::new() };
        compiler.visit(schema, "", true, 0)?;
        let Compiler { patterns, ids, refs } = compiler;
        let validator = Self { schema: schema.clone(), patterns, ids };
        for (pointer, target) in refs {
            if validator.resolve(&target).is_none() {
                return Err(invalid(&pointer, &format!("no such schema <{target}>")));
            }
        }
        Ok(validator)
    }

    /// All violations (at most 100), in npm `jsonschema`'s order: depth-first, keywords as the schema lists them.
    /// An instance that is nested too deeply or needs too much work has one violation that says so.
    pub fn validate(&self, instance: &Value) -> Vec<Violation> {
        let mut found = Found::keeping();
        let mut run = Run { validator: self, visits: 0, aborted: None };
        if depth_exceeds(instance, MAX_DEPTH) {
            run.aborted = Some(too_deep());
        } else {
            run.check(&Place::root(Some(instance), &self.schema), &mut found);
        }
        if let Some(reason) = run.aborted {
            found = Found::keeping();
            found.report(&Place::root(None, &Value::Null), "limit", reason, None);
        }
        found.violations
    }

    fn resolve(&self, reference: &str) -> Option<&Value> {
        let known = |id: &str| self.ids.get(id).and_then(|pointer| self.schema.pointer(pointer));
        if let Some(schema) = known(reference) {
            return Some(schema);
        }
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let document = if document.is_empty() { &self.schema } else { known(document)? };
        let fragment = percent_encoding::percent_decode_str(fragment).decode_utf8().ok()?;
        document.pointer(&fragment).filter(|schema| schema.is_object() || schema.is_boolean())
    }
}

pub(super) fn too_deep() -> String {
    format!("is nested more than {MAX_DEPTH} levels deep")
}

pub(super) fn depth_exceeds(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|item| depth_exceeds(item, limit - 1)),
        Value::Object(members) => limit == 0 || members.values().any(|member| depth_exceeds(member, limit - 1)),
        _ => false,
    }
}

pub(super) fn identifier(schema: &Value) -> Option<&str> {
    let id = |key: &str| schema.get(key).and_then(Value::as_str).filter(|id| !id.is_empty());
    id("$id").or_else(|| id("id"))
}

/// A step into the instance, linked to the one before it.
enum Path<'a> {
    Root,
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn parts(&self) -> Vec<Value> {
        let mut parts = Vec::new();
        let mut at = self;
        loop {
            match at {
                Path::Root => break,
                Path::Name(parent, name) => {
                    parts.push(Value::from(*name));
                    at = parent;
                }
                Path::Index(parent, index) => {
                    parts.push(Value::from(*index));
                    at = parent;
                }
            }
        }
        parts.reverse();
        parts
    }
}

fn property(parts: &[Value]) -> String {
    parts.iter().fold("instance".to_string(), |mut property, part| {
        let name = js::text(part);
        let plain = !name.contains(|c: char| c.is_whitespace() || matches!(c, '.' | '[' | ']'))
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if plain {
            property.push('.');
            property.push_str(&name);
        } else if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
            property.push_str(&format!("[{name}]"));
        } else {
            property.push_str(&format!("[{}]", Value::from(name)));
        }
        property
    })
}

/// What is checked against what, and where.
struct Place<'a> {
    instance: Option<&'a Value>,
    schema: &'a Value,
    path: &'a Path<'a>,
    depth: usize,
}

impl<'a> Place<'a> {
    fn root(instance: Option<&'a Value>, schema: &'a Value) -> Self {
        Self { instance, schema, path: &Path::Root, depth: 0 }
    }
    /// The same instance against another schema.
    fn against(&self, schema: &'a Value) -> Self {
        Self { instance: self.instance, schema, path: self.path, depth: self.depth + 1 }
    }
    fn object(&self) -> Option<&'a Map<String, Value>> {
        self.instance.and_then(Value::as_object)
    }
    fn array(&self) -> Option<&'a Vec<Value>> {
        self.instance.and_then(Value::as_array)
    }
}

/// A part of the instance against a schema.
fn inner<'a>(instance: Option<&'a Value>, schema: &'a Value, path: &'a Path<'a>, depth: usize) -> Place<'a> {
    Place { instance, schema, path, depth: depth + 1 }
}

/// Violations, or only whether there are any.
struct Found {
    violations: Vec<Violation>,
    weight: usize,
    any: bool,
    keep: bool,
}

impl Found {
    fn keeping() -> Self {
        Self { violations: Vec::new(), weight: 0, any: false, keep: true }
    }
    fn testing() -> Self {
        Self { violations: Vec::new(), weight: 0, any: false, keep: false }
    }
    fn full(&self) -> bool {
        if self.keep { self.violations.len() >= MAX_VIOLATIONS || self.weight > MAX_WEIGHT } else { self.any }
    }
    /// Takes over what a part found.
    fn append(&mut self, part: Found) {
        self.any |= part.any;
        self.weight += part.weight;
        let room = MAX_VIOLATIONS.saturating_sub(self.violations.len());
        self.violations.extend(part.violations.into_iter().take(room));
    }
    fn report(&mut self, place: &Place<'_>, name: &str, message: impl Into<String>, argument: Option<Value>) {
        self.any = true;
        if !self.keep || self.full() {
            return;
        }
        let path = place.path.parts();
        let property = property(&path);
        let message = message.into();
        let schema = match identifier(place.schema) {
            Some(id) => Value::from(id),
            // `false` is reported in the long form it stands for.
            None if *place.schema == Value::Bool(false) => json!({"type": []}),
            None => place.schema.clone(),
        };
        self.weight += weight(&schema) + place.instance.map_or(0, weight) + argument.as_ref().map_or(0, weight);
        self.violations.push(Violation {
            stack: format!("{property} {message}"),
            path,
            property,
            message,
            schema,
            instance: place.instance.cloned(),
            name: name.to_string(),
            argument,
        });
    }
}

struct Run<'v> {
    validator: &'v Validator,
    visits: usize,
    /// Why validation was given up; nothing found so far counts then.
    aborted: Option<String>,
}

impl<'v> Run<'v> {
    fn valid(&mut self, place: &Place<'_>) -> bool {
        let mut found = Found::testing();
        self.check(place, &mut found);
        !found.any
    }

    fn check(&mut self, place: &Place<'_>, found: &mut Found) {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            self.aborted.get_or_insert_with(|| format!("needs more than {MAX_VISITS} checks"));
        } else if place.depth > MAX_DEPTH {
            self.aborted.get_or_insert_with(|| format!("{}, counting references", too_deep()));
        }
        if self.aborted.is_some() {
            return;
        }
        let map = match place.schema {
            Value::Bool(false) => {
                if place.instance.is_some() {
                    found.report(place, "type", "is not of a type(s) ", Some(json!([])));
                }
                return;
            }
            Value::Object(map) => map,
            _ => return,
        };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str).filter(|reference| !reference.is_empty()) {
            let validator = self.validator;
            if let Some(schema) = validator.resolve(reference) {
                let target = Place { instance: place.instance, schema, path: place.path, depth: place.depth + 1 };
                self.check(&target, found);
            }
            return;
        }
        for (key, argument) in map {
            if found.full() {
                return;
            }
            self.keyword(key, argument, map, place, found);
        }
    }

    fn keyword(&mut self, key: &str, argument: &Value, map: &Map<String, Value>, place: &Place<'_>, found: &mut Found) {
        match key {
            "required" => required(argument, place, found),
            "properties" => self.properties(argument, place, found),
            "$ref" | "default" | "description" | "title" => {}
            // A missing value violates nothing else.
            _ if place.instance.is_none() => {}
            "type" => self.types(argument, place, found),
            "anyOf" | "oneOf" => self.alternatives(key, argument, place, found),
            "allOf" => self.all_of(argument, place, found),
            "not" | "disallow" => self.prohibited(argument, place, found),
            "if" => self.conditional(argument, map, place, found),
            "propertyNames" => self.property_names(argument, place, found),
            "patternProperties" => self.pattern_properties(argument, map, place, found),
            "additionalProperties" => self.additional_properties(map, place, found),
            "items" => self.items(argument, map, place, found),
            "contains" => self.contains(argument, place, found),
            "dependencies" => self.dependencies(argument, place, found),
            "pattern" => self.pattern(argument, place, found),
            _ => plain_keyword(key, argument, map, place, found),
        }
    }

    /// The schema that a `$ref` leads to in the end.
    fn target<'s>(&self, mut schema: &'s Value) -> &'s Value
    where
        'v: 's,
    {
        for _ in 0..MAX_DEPTH {
            let validator = self.validator;
            match schema.get("$ref").and_then(Value::as_str).and_then(|reference| validator.resolve(reference)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    fn has_type(&mut self, kind: &Value, place: &Place<'_>) -> bool {
        let Some(instance) = place.instance else { return true };
        match kind {
            Value::Object(_) => self.valid(&place.against(kind)),
            Value::String(kind) => match kind.as_str() {
                "string" => instance.is_string(),
                "number" => instance.is_number(),
                "integer" => instance.as_f64().is_some_and(|number| number.fract() == 0.0),
                "boolean" => instance.is_boolean(),
                "array" => instance.is_array(),
                "object" => instance.is_object(),
                "null" => instance.is_null(),
                "date" => false,
                _ => true,
            },
            _ => true,
        }
    }

    fn types(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let kinds = match argument {
            Value::Array(kinds) => kinds.as_slice(),
            kind => std::slice::from_ref(kind),
        };
        if kinds.iter().any(|kind| self.has_type(kind, place)) {
            return;
        }
        let list: Vec<String> =
            kinds.iter().map(|kind| identifier(kind).map_or_else(|| js::text(kind), |id| format!("<{id}>"))).collect();
        found.report(place, "type", format!("is not of a type(s) {}", list.join(",")), Some(json!(list)));
    }

    fn alternatives(&mut self, key: &str, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let Value::Array(alternatives) = argument else { return };
        let (any, wording) =
            (key == "anyOf", if key == "anyOf" { "is not any of " } else { "is not exactly one from " });
        let mut matching = 0;
        for alternative in alternatives {
            matching += usize::from(self.valid(&place.against(alternative)));
            if any && matching > 0 {
                return;
            }
        }
        if matching != 1 {
            let list: Vec<String> = alternatives
                .iter()
                .enumerate()
                .map(|(index, schema)| match identifier(schema) {
                    Some(id) if any => format!("<{id}>"),
                    _ => label(schema, index),
                })
                .collect();
            found.report(place, key, format!("{wording}{}", list.join(",")), Some(json!(list)));
        }
    }

    fn all_of(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let Value::Array(parts) = argument else { return };
        for (index, part) in parts.iter().enumerate() {
            if found.full() {
                return;
            }
            let mut failed = if found.keep { Found::keeping() } else { Found::testing() };
            self.check(&place.against(part), &mut failed);
            if !failed.any {
                continue;
            }
            let label = label(part, index);
            let count = failed.violations.len();
            // npm's argument holds the whole result of the part; here without the results that this one holds in turn,
            // which would double with every level.
            let argument = found.keep.then(|| {
                let path = place.path.parts();
                json!({
                    "id": label,
                    "length": count,
                    "valid": {
                        "instance": place.instance,
                        "schema": self.target(part),
                        "options": {},
                        "path": path,
                        "propertyPath": property(&path),
                        "errors": failed.violations.iter().map(without_results).collect::<Vec<_>>(),
                        "disableFormat": false,
                    },
                })
            });
            let message = format!("does not match allOf schema {label} with {count} error[s]:");
            found.report(place, "allOf", message, argument);
            found.append(failed);
        }
    }

    fn prohibited(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let kinds = match argument {
            Value::Array(kinds) => kinds.as_slice(),
            Value::Null | Value::Bool(false) => return,
            kind => std::slice::from_ref(kind),
        };
        for kind in kinds.iter().filter(|kind| !kind.is_null()) {
            if self.has_type(kind, place) {
                let id = identifier(kind).map_or_else(|| kind.clone(), Value::from);
                found.report(place, "not", format!("is of prohibited type {}", js::text(&id)), Some(id));
            }
        }
    }

    fn conditional(&mut self, argument: &Value, map: &Map<String, Value>, place: &Place<'_>, found: &mut Found) {
        let branch = if self.valid(&place.against(argument)) { "then" } else { "else" };
        if let Some(schema) = map.get(branch) {
            self.check(&place.against(schema), found);
        }
    }

    fn properties(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let (Some(object), Value::Object(properties)) = (place.object(), argument) else { return };
        for (name, schema) in properties {
            if found.full() {
                return;
            }
            self.check(&inner(object.get(name), schema, &Path::Name(place.path, name), place.depth), found);
        }
    }

    fn property_names(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        for name in place.object().into_iter().flat_map(Map::keys) {
            if found.full() {
                return;
            }
            let name = Value::from(name.as_str());
            self.check(&inner(Some(&name), argument, place.path, place.depth), found);
        }
    }

    fn pattern_properties(&mut self, argument: &Value, map: &Map<String, Value>, place: &Place<'_>, found: &mut Found) {
        let (Some(object), Value::Object(patterns)) = (place.object(), argument) else { return };
        for (name, value) in object {
            let mut matched = false;
            for (pattern, schema) in patterns {
                if found.full() {
                    return;
                }
                if self.matches(pattern, name) == Some(true) {
                    matched = true;
                    self.check(&inner(Some(value), schema, &Path::Name(place.path, name), place.depth), found);
                }
            }
            if !matched {
                self.additional_property(name, value, map, place, found);
            }
        }
    }

    fn additional_properties(&mut self, map: &Map<String, Value>, place: &Place<'_>, found: &mut Found) {
        // Where there are patterns, their keyword looks after the rest.
        if map.get("patternProperties").is_some_and(|patterns| !patterns.is_null()) {
            return;
        }
        for (name, value) in place.object().into_iter().flatten() {
            if found.full() {
                return;
            }
            self.additional_property(name, value, map, place, found);
        }
    }

    fn additional_property(
        &mut self,
        name: &str,
        value: &Value,
        map: &Map<String, Value>,
        place: &Place<'_>,
        found: &mut Found,
    ) {
        if map.get("properties").is_some_and(|properties| properties.get(name).is_some()) {
            return;
        }
        match map.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let message = format!("is not allowed to have the additional property {}", Value::from(name));
                found.report(place, "additionalProperties", message, Some(name.into()));
            }
            Some(schema) => {
                self.check(&inner(Some(value), schema, &Path::Name(place.path, name), place.depth), found);
            }
            None => {}
        }
    }

    fn items(&mut self, argument: &Value, map: &Map<String, Value>, place: &Place<'_>, found: &mut Found) {
        for (index, value) in place.array().into_iter().flatten().enumerate() {
            let schema = match argument {
                Value::Array(list) => list.get(index).or_else(|| map.get("additionalItems")),
                schema => Some(schema),
            };
            let Some(schema) = schema else { continue };
            if *schema == Value::Bool(false) {
                return found.report(place, "items", "additionalItems not permitted", None);
            }
            if found.full() {
                return;
            }
            self.check(&inner(Some(value), schema, &Path::Index(place.path, index), place.depth), found);
        }
    }

    fn contains(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let Some(items) = place.array() else { return };
        let mut matches = |item| self.valid(&inner(Some(item), argument, place.path, place.depth));
        if !items.iter().any(&mut matches) {
            found.report(place, "contains", "must contain an item matching given schema", Some(argument.clone()));
        }
    }

    fn dependencies(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let (Some(object), Value::Object(dependencies)) = (place.object(), argument) else { return };
        for (name, dependency) in dependencies {
            if !object.contains_key(name) {
                continue;
            }
            let path = Path::Name(place.path, name);
            let dependent = || property(&path.parts());
            let needed = match dependency {
                Value::String(_) => std::slice::from_ref(dependency),
                Value::Array(names) => names.as_slice(),
                schema => {
                    let mut failed = if found.keep { Found::keeping() } else { Found::testing() };
                    self.check(&inner(place.instance, schema, &path, place.depth), &mut failed);
                    if failed.any {
                        let message = format!("does not meet dependency required by {}", dependent());
                        found.report(place, "dependencies", message, Some(dependent().into()));
                        found.append(failed);
                    }
                    continue;
                }
            };
            for other in needed.iter().map(js::text).filter(|other| !object.contains_key(other)) {
                let message = format!("property {other} not found, required by {}", dependent());
                found.report(place, "dependencies", message, Some(dependent().into()));
            }
        }
    }

    /// Whether a text matches a pattern; `None` for an unknown one, or when validation has to be given up.
    fn matches(&mut self, pattern: &str, text: &str) -> Option<bool> {
        match self.validator.patterns.get(pattern)?.matches(text) {
            Ok(matches) => Some(matches),
            Err(error) => {
                self.aborted
                    .get_or_insert_with(|| format!("can't be checked against the pattern \"{pattern}\": {error}"));
                None
            }
        }
    }

    fn pattern(&mut self, argument: &Value, place: &Place<'_>, found: &mut Found) {
        let (Some(Value::String(text)), Value::String(pattern)) = (place.instance, argument) else { return };
        if self.matches(pattern, text) == Some(false) {
            let message = format!("does not match pattern {argument}");
            found.report(place, "pattern", message, Some(argument.clone()));
        }
    }
}

fn without_results(violation: &Violation) -> Violation {
    let mut violation = violation.clone();
    if let (true, Some(Value::Object(argument))) = (violation.name == "allOf", &mut violation.argument) {
        argument.remove("valid");
    }
    violation
}

/// How many bytes a value takes, roughly.
fn weight(value: &Value) -> usize {
    16 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, member)| 16 + name.len() + weight(member)).sum(),
        _ => 0,
    }
}

/// How a list of alternatives names one of them.
fn label(schema: &Value, index: usize) -> String {
    let text = |key: &str| schema.get(key).filter(|text| text.as_str().is_some_and(|text| !text.is_empty()));
    identifier(schema)
        .map(str::to_string)
        .or_else(|| text("title").map(ToString::to_string))
        .or_else(|| text("$ref").and_then(Value::as_str).map(|target| format!("<{target}>")))
        .unwrap_or_else(|| format!("[subschema {index}]"))
}

fn required(argument: &Value, place: &Place<'_>, found: &mut Found) {
    match (argument, place.instance) {
        // Drafts before the fourth.
        (Value::Bool(true), None) => found.report(place, "required", "is required", None),
        (Value::Array(names), Some(Value::Object(object))) => {
            for name in names.iter().filter(|name| !object.contains_key(&js::text(name))) {
                found.report(place, "required", format!("requires property {name}"), Some(name.clone()));
            }
        }
        _ => {}
    }
}

/// The keywords that look at one value and hold no schema.
fn plain_keyword(key: &str, argument: &Value, map: &Map<String, Value>, place: &Place<'_>, found: &mut Found) {
    let Some(instance) = place.instance else { return };
    let limit = js::number(argument);
    let shown = || js::text(argument);
    // Comparisons are JavaScript's: everything fails against a limit that is no number.
    let message =
        match (key, instance) {
            ("enum", _) => match argument {
                Value::Array(values) if !values.iter().any(|value| js::equal(value, instance)) => {
                    let values: Vec<String> = values.iter().map(js::text).collect();
                    Some(format!("is not one of enum values: {}", values.join(",")))
                }
                _ => None,
            },
            ("const", _) => (!js::equal(argument, instance))
                .then(|| format!("does not exactly match expected constant: {}", shown())),
            ("format", Value::String(text)) => match argument {
                Value::String(format) if !format::conforms(text, format) => {
                    Some(format!("does not conform to the {argument} format"))
                }
                _ => None,
            },
            ("minLength", Value::String(text)) => {
                (!at_least(text.chars().count(), limit)).then(|| format!("does not meet minimum length of {}", shown()))
            }
            ("maxLength", Value::String(text)) => {
                (!at_most(text.chars().count(), limit)).then(|| format!("does not meet maximum length of {}", shown()))
            }
            ("minItems", Value::Array(items)) => {
                (!at_least(items.len(), limit)).then(|| format!("does not meet minimum length of {}", shown()))
            }
            ("maxItems", Value::Array(items)) => {
                (!at_most(items.len(), limit)).then(|| format!("does not meet maximum length of {}", shown()))
            }
            ("minProperties", Value::Object(members)) => (!at_least(members.len(), limit))
                .then(|| format!("does not meet minimum property length of {}", shown())),
            ("maxProperties", Value::Object(members)) => (!at_most(members.len(), limit))
                .then(|| format!("does not meet maximum property length of {}", shown())),
            ("uniqueItems", Value::Array(items)) if *argument == Value::Bool(true) => {
                let mut seen = std::collections::HashSet::new();
                if items.iter().all(|item| seen.insert(js::canonical(item))) {
                    return;
                }
                return found.report(place, key, "contains duplicate item", None);
            }
            (_, Value::Number(number)) => number_keyword(key, argument, map, number.as_f64().unwrap_or(f64::NAN)),
            _ => None,
        };
    if let Some(message) = message {
        found.report(place, key, message, Some(argument.clone()));
    }
}

fn at_least(count: usize, limit: f64) -> bool {
    count as f64 >= limit
}

fn at_most(count: usize, limit: f64) -> bool {
    count as f64 <= limit
}

fn number_keyword(key: &str, argument: &Value, map: &Map<String, Value>, number: f64) -> Option<String> {
    let limit = js::number(argument);
    let shown = || js::text(argument);
    // Draft 4's boolean form turns the neighbouring keyword strict.
    let strict = |key: &str| map.get(key) == Some(&Value::Bool(true));
    let fails = |holds: bool, wording: &str| (!holds).then(|| format!("{wording} {}", shown()));
    match key {
        "minimum" if strict("exclusiveMinimum") => fails(number > limit, "must be greater than"),
        "minimum" => fails(number >= limit, "must be greater than or equal to"),
        "maximum" if strict("exclusiveMaximum") => fails(number < limit, "must be less than"),
        "maximum" => fails(number <= limit, "must be less than or equal to"),
        "exclusiveMinimum" if !argument.is_boolean() => fails(number > limit, "must be strictly greater than"),
        "exclusiveMaximum" if !argument.is_boolean() => fails(number < limit, "must be strictly less than"),
        "multipleOf" => fails(is_multiple(number, limit), "is not a multiple of (divisible by)"),
        "divisibleBy" => fails(is_multiple(number, limit), "is not divisible by (multiple of)"),
        _ => None,
    }
}

/// Whether one number is a multiple of another in decimal, where 0.3 is three times 0.1.
fn is_multiple(number: f64, divisor: f64) -> bool {
    let decimals = |number: f64| {
        let text = js::number_text(number);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent = exponent.parse::<i32>().unwrap_or(0);
        if exponent > 0 {
            return 0;
        }
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        i32::try_from(fraction).unwrap_or(i32::MAX).saturating_sub(exponent)
    };
    let scale = 10f64.powi(decimals(number).max(decimals(divisor)));
    let round = |number: f64| (number * scale + 0.5).floor();
    round(number) % round(divisor) == 0.0
}

#[cfg(test)]
mod tests;
