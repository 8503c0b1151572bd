//! A form's values from the command line: `--values`, `--set`, and the defaults that a form in a browser would fill in.

use serde_json::{Map, Value};

/// Fills in the schemas' defaults where nothing was given, as the form in the browser does; the service itself never
/// does. Objects that are given get the defaults of their members.
pub(super) fn fill_defaults(schema: &Value, values: &mut Map<String, Value>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        if !values.contains_key(name)
            && let Some(default) = property.get("default")
        {
            values.insert(name.clone(), default.clone());
        }
        if let Some(Value::Object(members)) = values.get_mut(name) {
            fill_defaults(property, members);
        } else if !values.contains_key(name) && property["properties"].is_object() {
            let mut members = Map::new();
            fill_defaults(property, &mut members);
            if !members.is_empty() {
                values.insert(name.clone(), Value::Object(members));
            }
        }
    }
}

/// Applies `name=value` or `a.b.c=value`; the value is read by the type that the template's form declares for it.
///
/// # Errors
/// The text has no `=`, or the value isn't of the declared type.
pub(super) fn set(pages: &[&Value], values: &mut Map<String, Value>, assignment: &str) -> Result<(), String> {
    let (path, text) = assignment
        .split_once('=')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("--set {assignment}: expected name=value"))?;
    // A parameter may have dots in its name.
    let whole = [path];
    let parts: Vec<&str> = path.split('.').collect();
    let declared = |path: &[&str]| pages.iter().find_map(|page| find(page, path));
    let (parts, schema) = match declared(&whole) {
        Some(schema) => (&whole[..], Some(schema)),
        None => (&parts[..], declared(&parts)),
    };
    let value = read(text, schema).map_err(|reason| format!("--set {path}: {reason}"))?;
    insert(values, parts, value).map_err(|reason| format!("--set {path}: {reason}"))
}

/// The schema of a parameter, wherever in the page it is declared: conditional parts count too.
fn find<'s>(schema: &'s Value, path: &[&str]) -> Option<&'s Value> {
    let Some((name, rest)) = path.split_first() else { return Some(schema) };
    if let Some(found) = schema["properties"].get(*name).and_then(|property| find(property, rest)) {
        return Some(found);
    }
    let branches = ["allOf", "anyOf", "oneOf"].iter().filter_map(|word| schema[*word].as_array()).flatten();
    let dependents =
        ["dependencies", "dependentSchemas"].iter().filter_map(|word| schema[*word].as_object()).flat_map(Map::values);
    let conditional = ["then", "else"].iter().filter_map(|word| schema.get(*word));
    branches.chain(dependents).chain(conditional).find_map(|branch| find(branch, path))
}

fn read(text: &str, schema: Option<&Value>) -> Result<Value, String> {
    let json = || serde_json::from_str::<Value>(text).ok();
    let types: Vec<&str> = match schema.map(|schema| &schema["type"]) {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => {
            // No type declared: a value of the enumeration, else JSON, else a text.
            let choices = schema.and_then(|schema| schema["enum"].as_array());
            let as_text = Value::String(text.into());
            let prefer_text = choices.is_some_and(|choices| choices.contains(&as_text));
            return Ok(if prefer_text { as_text } else { json().unwrap_or(as_text) });
        }
    };
    if types.contains(&"string") {
        return Ok(Value::String(text.into()));
    }
    for kind in &types {
        let value = match *kind {
            "integer" => {
                json().filter(|value| value.as_f64().is_some_and(|number| number.fract() == 0.0)).map(integral)
            }
            "number" => json().filter(Value::is_number),
            "boolean" => json().filter(Value::is_boolean),
            "array" => json().filter(Value::is_array),
            "object" => json().filter(Value::is_object),
            "null" => json().filter(Value::is_null),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(value);
        }
    }
    let wanted = types.join(" or ");
    let hint = match types.first() {
        Some(&"array") => ", for example [\"a\",\"b\"]",
        Some(&"object") => ", for example {\"a\":1}",
        Some(&"boolean") => ": true or false",
        _ => "",
    };
    Err(format!("{text:?} is not of the declared type {wanted}{hint}"))
}

fn integral(value: Value) -> Value {
    match value.as_f64() {
        Some(number) if !value.is_i64() && !value.is_u64() && number.abs() < 9e15 => Value::from(number as i64),
        _ => value,
    }
}

fn insert(values: &mut Map<String, Value>, path: &[&str], value: Value) -> Result<(), String> {
    match path {
        [] => Ok(()),
        [name] => {
            values.insert((*name).to_string(), value);
            Ok(())
        }
        [name, rest @ ..] => match values.entry(*name).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(members) => insert(members, rest, value),
            other => Err(format!("{name} is {other}, which has no members")),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page() -> Value {
        json!({
            "properties": {
                "name": {"type": "string"},
                "port": {"type": "integer", "default": 8080},
                "ratio": {"type": ["number", "null"]},
                "on": {"type": "boolean", "default": false},
                "tags": {"type": "array", "items": {"type": "string"}},
                "owner": {"type": "object", "properties": {"team": {"type": "string", "default": "a"}, "size": {"type": "integer"}}},
                "kind": {"enum": ["1", "b"]},
                "dotted.name": {"type": "string"},
            },
            "dependencies": {"on": {"oneOf": [{"properties": {"level": {"type": "integer"}}}]}},
        })
    }

    #[test]
    fn values_are_read_by_declared_type() {
        let page = page();
        let mut values = Map::new();
        for assignment in [
            "name=7",
            "port=1e3",
            "ratio=1.5",
            "on=true",
            "tags=[\"a\"]",
            "owner.team=x=y",
            "owner.size=3",
            "kind=1",
            "dotted.name=d",
            "level=5",
            "free=true",
            "loose=text",
            "new.deep=1",
        ] {
            set(&[&page], &mut values, assignment).unwrap();
        }
        assert_eq!(
            Value::Object(values),
            json!({
                "name": "7", "port": 1000, "ratio": 1.5, "on": true, "tags": ["a"],
                "owner": {"team": "x=y", "size": 3}, "kind": "1", "dotted.name": "d", "level": 5, "free": true,
                "loose": "text", "new": {"deep": 1},
            })
        );
    }

    #[test]
    fn wrong_types_are_refused() {
        let page = page();
        for (assignment, expected) in [
            ("port=many", "--set port: \"many\" is not of the declared type integer"),
            ("port=1.5", "--set port: \"1.5\" is not of the declared type integer"),
            ("on=yes", "--set on: \"yes\" is not of the declared type boolean: true or false"),
            ("tags=a,b", "--set tags: \"a,b\" is not of the declared type array, for example [\"a\",\"b\"]"),
            ("name", "--set name: expected name=value"),
            ("port.x=1", "--set port.x: port is 1, which has no members"),
        ] {
            let mut values = Map::from_iter([("port".to_string(), json!(1))]);
            assert_eq!(set(&[&page], &mut values, assignment), Err(expected.to_string()));
        }
    }

    #[test]
    fn defaults_fill_gaps_only() {
        let mut values = Map::from_iter([("on".to_string(), json!(true))]);
        fill_defaults(&page(), &mut values);
        assert_eq!(Value::Object(values), json!({"on": true, "port": 8080, "owner": {"team": "a"}}));
    }
}
