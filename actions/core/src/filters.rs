//! The scaffolder's own template filters: `parseRepoUrl`, `projectSlug`, `parseEntityRef` and `pick`
//! (`@backstage/plugin-scaffolder-backend` 4.2.0, `createDefaultFilters`).

use serde_json::json;
use understudy_scm::{RepoUrl, Scm};
use understudy_sdk::EntityRef;
use understudy_templating::{EngineBuilder, Value};

/// Their names.
pub const NAMES: [&str; 4] = ["parseRepoUrl", "parseEntityRef", "pick", "projectSlug"];

/// Adds the filters to an engine; repository URLs are understood as the integrations say.
#[must_use]
pub fn register(builder: EngineBuilder, scm: Scm) -> EngineBuilder {
    let slugs = scm.clone();
    builder
        .filter("parseRepoUrl", move |args| {
            let repo = parse_repo_url(&scm, args)?;
            let json = serde_json::to_value(repo).map_err(|error| error.to_string())?;
            Value::from_json(&json).map_err(|error| error.to_string())
        })
        .filter("projectSlug", move |args| Ok(Value::from(parse_repo_url(&slugs, args)?.project_slug())))
        .filter("parseEntityRef", parse_entity_ref)
        .filter("pick", |args| Ok(pick(args)))
}

fn parse_repo_url(scm: &Scm, args: &[Value]) -> Result<RepoUrl, String> {
    let text = args.first().map(js_text).unwrap_or_else(|| "undefined".to_string());
    scm.parse_repo_url(&text).map_err(|error| error.message().to_string())
}

/// A value within a JavaScript template string.
fn js_text(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_string(),
        Value::Null => "null".to_string(),
        other => other.to_string(),
    }
}

fn parse_entity_ref(args: &[Value]) -> Result<Value, String> {
    let reference = args.first().unwrap_or(&Value::Undefined);
    let default =
        |key: &str| args.get(1).and_then(Value::as_record).and_then(|record| record.get(key)).and_then(Value::as_str);
    let (kind, namespace) = (default("defaultKind"), default("defaultNamespace"));
    let parsed = match reference {
        Value::Record(record) => {
            let part = |key: &str| record.get(key).and_then(Value::as_str).filter(|part| !part.is_empty());
            let shown = || reference.to_json().unwrap_or_default().to_string();
            EntityRef {
                kind: part("kind").or(kind).map(str::to_string).ok_or_else(|| {
                    format!(
                        "Entity reference {} had missing or empty kind (e.g. did not start with \"component:\" or similar)",
                        shown()
                    )
                })?,
                namespace: part("namespace").or(namespace).unwrap_or("default").to_string(),
                name: part("name")
                    .map(str::to_string)
                    .ok_or_else(|| format!("Entity reference {} had missing or empty name", shown()))?,
            }
        }
        value if !value.is_truthy() => return Err("Entity reference must not be empty".to_string()),
        value => match value.as_str() {
            Some(text) => EntityRef::parse(text, kind, namespace).map_err(|error| error.message().to_string())?,
            None => {
                return Err(format!("Entity reference must be a string or an object, not {}", value.type_name()));
            }
        },
    };
    let json = json!({"kind": parsed.kind, "namespace": parsed.namespace, "name": parsed.name});
    Value::from_json(&json).map_err(|error| error.to_string())
}

/// lodash's `get`: a member by a path such as `a.b[0].c`, the third argument where there is none.
fn pick(args: &[Value]) -> Value {
    let root = args.first().unwrap_or(&Value::Undefined);
    let path = match args.get(1) {
        Some(Value::Array(parts)) => parts.items().iter().map(js_text).collect(),
        Some(path) => {
            let path = js_text(path);
            // A member of that very name comes before what its parts say.
            if member(root, &path).is_some() { vec![path] } else { segments(&path) }
        }
        None => vec!["undefined".to_string()],
    };
    let found = path.iter().try_fold(root.clone(), |value, part| member(&value, part));
    match found {
        Some(value) if !value.is_undefined() && !path.is_empty() => value,
        _ => args.get(2).cloned().unwrap_or_default(),
    }
}

fn member(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Record(record) => record.get(name).cloned(),
        Value::Array(array) if name == "length" => Some(Value::Number(array.items().len() as f64)),
        Value::Array(array) => {
            let index = name.parse::<usize>().ok().filter(|index| index.to_string() == name)?;
            array.items().get(index).cloned()
        }
        Value::String(text) | Value::Safe(text) if name == "length" => {
            Some(Value::Number(text.to_lossy().encode_utf16().count() as f64))
        }
        _ => None,
    }
}

/// The parts of a property path: names between dots, and what stands in brackets, quoted or not.
fn segments(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = path;
    if rest.starts_with('.') {
        parts.push(String::new());
    }
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|first| matches!(first, '"' | '\''));
            let (part, after) = match quote {
                Some(quote) => quoted(&inner[1..], quote),
                None => {
                    let (part, after) = inner.split_once(']').unwrap_or((inner, ""));
                    (part.to_string(), after)
                }
            };
            parts.push(part);
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end > 0 || !rest.starts_with('[') {
                parts.push(rest[..end].to_string());
            }
            rest = &rest[end..];
        }
    }
    parts
}

/// A quoted part up to its closing quote and bracket, backslashes taken away.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut part = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            let after = &text[at + 1..];
            return (part, after.strip_prefix(']').unwrap_or(after));
        }
        if character == '\\' {
            part.extend(characters.next().map(|(_, escaped)| escaped));
        } else {
            part.push(character);
        }
    }
    (part, "")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use understudy_scm::Scm;
    use understudy_templating::{Context, Engine};

    use super::*;

    #[test]
    fn paths_are_lodashs() {
        let value =
            Value::from_json(&json!({"a": {"b": [{"c": 1}, "x"]}, "a.b": 2, "d e": {"f]": 3}, "n": null})).unwrap();
        let cases = [
            (json!("a"), json!({"b": [{"c": 1}, "x"]})),
            (json!("a.b"), json!(2)),
            (json!("a.b[0].c"), json!(1)),
            (json!("a['b'][1]"), json!("x")),
            (json!("a.b.length"), json!(2)),
            (json!("a.b[1].length"), json!(1)),
            (json!("[\"d e\"][\"f]\"]"), json!(3)),
            (json!(["a", "b", 0, "c"]), json!(1)),
            (json!("n"), json!(null)),
        ];
        for (path, expected) in cases {
            let found = pick(&[value.clone(), Value::from_json(&path).unwrap()]);
            assert_eq!(found.to_json(), Some(expected), "{path}");
        }
        for missing in ["z", "a.z.y", "n.x", "", "a.b[2]", "a.b[01]", "."] {
            assert!(pick(&[value.clone(), Value::from(missing)]).is_undefined(), "{missing}");
        }
        assert_eq!(pick(&[Value::Undefined, Value::from("a"), Value::from("d")]).to_json(), Some(json!("d")));
    }

    #[test]
    fn filters_work_in_templates() {
        let engine = register(Engine::builder(), Scm::from_config(&json!({})).unwrap()).build();
        let context = Context::from_json(
            json!({"url": "github.com?owner=o&repo=r", "ref": "a:b/c", "object": {"name": "n", "kind": "K"}})
                .as_object()
                .unwrap(),
        )
        .unwrap();
        let cases = [
            ("${{ url | parseRepoUrl | dump }}", r#"{"host":"github.com","owner":"o","repo":"r"}"#),
            ("${{ url | projectSlug }}", "o/r"),
            ("${{ ref | parseEntityRef | dump }}", r#"{"kind":"a","namespace":"b","name":"c"}"#),
            ("${{ object | parseEntityRef | dump }}", r#"{"kind":"K","namespace":"default","name":"n"}"#),
            ("${{ 'x' | parseEntityRef({defaultKind: 'API', defaultNamespace: 'ns'}) | pick('kind') }}", "API"),
            ("${{ ref | parseEntityRef | pick('nothing') }}", ""),
        ];
        for (source, expected) in cases {
            assert_eq!(engine.render_str(source, &context).unwrap(), expected, "{source}");
        }
        let fails = [
            (
                "${{ 'x' | parseEntityRef }}",
                "Entity reference \"x\" had missing or empty kind (e.g. did not start with \"component:\" or similar)",
            ),
            ("${{ nothing | parseEntityRef }}", "Entity reference must not be empty"),
            (
                "${{ 'github.com?owner=o' | parseRepoUrl }}",
                "Invalid repo URL passed to publisher: https://github.com/?owner=o, missing repo",
            ),
        ];
        for (source, reason) in fails {
            let error = engine.render_str(source, &context).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
