//! The scaffolder's own template filters: `parseRepoUrl`, `projectSlug`, `parseEntityRef` and `pick`
//! (`@backstage/plugin-scaffolder-backend` 4.2.0, `createDefaultFilters`).

use serde_json::{Map, Value as Json};
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

/// `parseEntityRef` of `@backstage/catalog-model` 1.10.1: only what is absent is taken from the defaults, what is empty is
/// refused.
fn parse_entity_ref(args: &[Value]) -> Result<Value, String> {
    let reference = args.first().unwrap_or(&Value::Undefined);
    if !reference.is_truthy() {
        return Err("Entity reference must not be empty".to_string());
    }
    let part = |of: Option<&Value>, key: &str| {
        let found = of.and_then(Value::as_record).and_then(|record| record.get(key)).cloned();
        found.filter(|value| !matches!(value, Value::Undefined | Value::Null))
    };
    let default_kind = part(args.get(1), "defaultKind");
    let default_namespace = part(args.get(1), "defaultNamespace").filter(Value::is_truthy);
    let (kind, namespace, name) = match reference.as_str() {
        Some(text) => {
            // With a kind of its own or a stand-in, so that only the text's form is judged there.
            let parsed = EntityRef::parse(text, Some("-"), None).map_err(|error| error.message().to_string())?;
            let colon = text.find(':').filter(|colon| text.find('/').is_none_or(|slash| slash > *colon));
            let kind = colon.map(|_| Value::from(parsed.kind));
            let namespace = text.contains('/').then(|| Value::from(parsed.namespace));
            (kind, namespace, Some(Value::from(parsed.name)))
        }
        None => (part(Some(reference), "kind"), part(Some(reference), "namespace"), part(Some(reference), "name")),
    };
    let missing = |what: &str| {
        let shown = reference.to_json().unwrap_or_default();
        format!("Entity reference {shown} had missing or empty {what}")
    };
    let given = |value: Option<Value>| value.filter(Value::is_truthy);
    let kind = given(kind.or(default_kind))
        .ok_or_else(|| missing("kind (e.g. did not start with \"component:\" or similar)"))?;
    let namespace = namespace.or(default_namespace).unwrap_or_else(|| Value::from("default"));
    let namespace = given(Some(namespace)).ok_or_else(|| missing("namespace"))?;
    let name = given(name).ok_or_else(|| missing("name"))?;
    let parts = [("kind", kind), ("namespace", namespace), ("name", name)];
    let parts: Map<String, Json> =
        parts.into_iter().map(|(key, value)| (key.to_string(), value.to_json().unwrap_or_default())).collect();
    Value::from_json(&Json::Object(parts)).map_err(|error| error.to_string())
}

/// lodash 4.17's `get`: a member by a path such as `a.b[0].c`, the third argument where there is none.
fn pick(args: &[Value]) -> Value {
    let root = args.first().unwrap_or(&Value::Undefined);
    let path = match args.get(1).unwrap_or(&Value::Undefined) {
        Value::Array(parts) => parts.items().iter().map(key).collect(),
        path @ (Value::String(_) | Value::Safe(_)) => {
            let text = path.as_string().map(|text| text.to_lossy().into_owned()).unwrap_or_default();
            // A member of that very name comes before what its parts say.
            if !is_deep(&text) || member(root, &text).is_some() { vec![text] } else { segments(&text) }
        }
        path @ (Value::Record(_) | Value::Function(_)) => segments(&js_text(path)),
        path => vec![key(path)],
    };
    let found = path.iter().try_fold(root.clone(), |value, part| member(&value, part));
    match found {
        Some(value) if !value.is_undefined() && !path.is_empty() => value,
        _ => args.get(2).cloned().unwrap_or_default(),
    }
}

/// A value as the name of a member.
fn key(value: &Value) -> String {
    match value {
        Value::Number(number) if *number == 0.0 && number.is_sign_negative() => "-0".to_string(),
        value => js_text(value),
    }
}

fn member(value: &Value, name: &str) -> Option<Value> {
    let index = || name.parse::<usize>().ok().filter(|index| index.to_string() == name);
    match value {
        Value::Record(record) => record.get(name).cloned(),
        Value::Array(array) if name == "length" => Some(Value::Number(array.items().len() as f64)),
        Value::Array(array) => array.items().get(index()?).cloned(),
        value => match value.as_string() {
            Some(text) if name == "length" => Some(Value::Number(text.len() as f64)),
            Some(text) => {
                let unit = text.code_units().nth(index()?)?;
                Some(Value::from(String::from_utf16_lossy(&[unit])))
            }
            None => None,
        },
    }
}

/// Whether a text is a path of several parts: it has a dot, or brackets that are closed.
fn is_deep(path: &str) -> bool {
    path.contains('.')
        || path.match_indices('[').any(|(at, _)| {
            let inner = &path[at + 1..];
            inner.find(['[', ']']).is_some_and(|end| inner[end..].starts_with(']')) || quoted(inner).is_some()
        })
}

/// The parts of a property path: names between dots, and what stands in brackets, quoted or not.
fn segments(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = path;
    if rest.starts_with('.') {
        parts.push(String::new());
    }
    while let Some(first) = rest.chars().next() {
        if !matches!(first, '.' | '[' | ']') {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
            parts.push(rest[..end].to_string());
            rest = &rest[end..];
            continue;
        }
        if first == '['
            && let Some((part, after)) = number(&rest[1..]).or_else(|| quoted(&rest[1..]))
        {
            parts.push(part);
            rest = after;
            continue;
        }
        // An empty name: between two separators, or between one and the end.
        let is_separator = |text: &str| text.starts_with('.') || text.starts_with("[]");
        if is_separator(rest) {
            let after = rest.strip_prefix('.').or_else(|| rest.strip_prefix("[]")).unwrap_or_default();
            if after.is_empty() || is_separator(after) {
                parts.push(String::new());
            }
        }
        rest = &rest[1..];
    }
    parts
}

/// `-1.5]`, after the bracket.
fn number(text: &str) -> Option<(String, &str)> {
    let (number, after) = text.split_once(']')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let is_number = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    is_number.then(|| (number.to_string(), after))
}

/// `"a b"]` or `'a b']`, after the bracket: the text without its backslashes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let inner = &text[1..];
    let mut part = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return inner[at + 1..].strip_prefix(']').map(|after| (part, after));
        }
        if character == '\\' {
            part.push(characters.next().filter(|(_, escaped)| *escaped != '\n')?.1);
        } else {
            part.push(character);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use understudy_scm::Scm;
    use understudy_templating::{Context, Engine};

    use super::*;

    /// Paths and what lodash 4.17.21 gives for them; `"undefined"` stands for `undefined`.
    #[test]
    fn paths_are_lodashs() {
        let value = json!({
            "a": {"b": [{"c": 1}, "x"], "": {"e": 5}, "t\"q": 7}, "a.b": 2, "d e": {"f]": 3}, "n": null, "": "empty",
            "x": {"y.z": 8, "-1": 9, "undefined": 1, "null": 2, "true": 3}, "s": "str", "0": "zero", "undefined": "u",
        });
        let value = Value::from_json(&value).unwrap();
        for (path, expected) in [
            (r##""a""##, r##"{"b": [{"c": 1}, "x"], "": {"e": 5}, "t\"q": 7}"##),
            (r##""a.b""##, r##"2"##),
            (r##""a.b[0].c""##, r##"1"##),
            (r##""a['b'][1]""##, r##""x""##),
            (r##""a.b.length""##, r##"2"##),
            (r##""a.b[1].length""##, r##"1"##),
            (r##""[\"d e\"][\"f]\"]""##, r##"3"##),
            (r##"["a", "b", 0, "c"]"##, r##"1"##),
            (r##""n""##, r##"null"##),
            (r##""z""##, r##""undefined""##),
            (r##""n.x""##, r##""undefined""##),
            (r##""""##, r##""empty""##),
            (r##""a.b[2]""##, r##""undefined""##),
            (r##""a.b[01]""##, r##""undefined""##),
            (r##"".""##, r##""undefined""##),
            (r##""a.""##, r##"{"e": 5}"##),
            (r##""a..e""##, r##"5"##),
            (r##""[]""##, r##""empty""##),
            (r##""a[]""##, r##"{"e": 5}"##),
            (r##""a[].e""##, r##"5"##),
            (r##""a[b]""##, r##"[{"c": 1}, "x"]"##),
            (r##""a[ b ]""##, r##""undefined""##),
            (r##""x[y.z]""##, r##""undefined""##),
            (r##""x['y.z']""##, r##"8"##),
            (r##""x[\"y.z\"]""##, r##"8"##),
            (r##""x[-1]""##, r##"9"##),
            (r##""x.-1""##, r##"9"##),
            (r##""s.length""##, r##"3"##),
            (r##""s[0]""##, r##""s""##),
            (r##""s.0""##, r##""s""##),
            (r##""0""##, r##""zero""##),
            (r##""[0]""##, r##""zero""##),
            (r##"0"##, r##""zero""##),
            (r##"["a.b"]"##, r##"2"##),
            (r##"["a", ""]"##, r##"{"e": 5}"##),
            (r##"[]"##, r##""undefined""##),
            (r##"null"##, r##""undefined""##),
            (r##"true"##, r##""undefined""##),
            (r##""a[\"t\\\"q\"]""##, r##"7"##),
            (r##""a['b']c""##, r##""undefined""##),
            (r##""a.b[0]c""##, r##"1"##),
            (r##""]""##, r##""undefined""##),
            (r##""a]b""##, r##""undefined""##),
            (r##""a['b""##, r##""undefined""##),
            (r##""a[b""##, r##""undefined""##),
            (r##""..""##, r##""undefined""##),
            (r##""a.b.""##, r##""undefined""##),
            (r##""[a].b""##, r##"[{"c": 1}, "x"]"##),
            (r##""a[0""##, r##""undefined""##),
            (r##""a.b[-0]""##, r##""undefined""##),
            (r##""a.b[1.0]""##, r##""undefined""##),
            (r##"".a""##, r##""undefined""##),
            (r##""a.b.0.c""##, r##"1"##),
            (r##""a['']""##, r##"{"e": 5}"##),
            (r##""''""##, r##""undefined""##),
            (r##""\"\"""##, r##""undefined""##),
            (r##""[''][\"\"]""##, r##""undefined""##),
            (r##""x.undefined""##, r##"1"##),
            (r##""x.null""##, r##"2"##),
            (r##"["x", null]"##, r##"2"##),
            (r##"["x", true]"##, r##"3"##),
            (r##"1.5"##, r##""undefined""##),
            (r##"{}"##, r##""undefined""##),
            (r##"["x", ["y.z"]]"##, r##"8"##),
        ] {
            let parsed: Json = serde_json::from_str(path).unwrap();
            let found = pick(&[value.clone(), Value::from_json(&parsed).unwrap()]);
            let found = found.to_json().unwrap_or_else(|| json!("undefined"));
            assert_eq!(found, serde_json::from_str::<Json>(expected).unwrap(), "{path}");
        }
        assert_eq!(pick(std::slice::from_ref(&value)).to_json(), Some(json!("u")));
        assert!(pick(&[value.clone(), Value::Number(-0.0)]).is_undefined());
        assert_eq!(pick(&[value, Value::from("z.z"), Value::from("d")]).to_json(), Some(json!("d")));
        assert_eq!(pick(&[Value::Undefined, Value::from("a"), Value::from("d")]).to_json(), Some(json!("d")));
    }

    #[test]
    fn entity_references_are_taken_apart() {
        for (args, expected) in [
            (json!(["a:b:c"]), json!({"kind": "a", "namespace": "default", "name": "b:c"})),
            (json!(["a/b/c", {"defaultKind": "k"}]), json!({"kind": "k", "namespace": "a", "name": "b/c"})),
            (json!(["a/b:c", {"defaultKind": "k"}]), json!({"kind": "k", "namespace": "a", "name": "b:c"})),
            (
                json!(["X", {"defaultKind": "K", "defaultNamespace": ""}]),
                json!({"kind": "K", "namespace": "default", "name": "X"}),
            ),
            (
                json!(["X", {"defaultKind": "K", "defaultNamespace": "ns"}]),
                json!({"kind": "K", "namespace": "ns", "name": "X"}),
            ),
            (
                json!([{"name": "n", "kind": null}, {"defaultKind": "K"}]),
                json!({"kind": "K", "namespace": "default", "name": "n"}),
            ),
            (json!([{"name": 5, "kind": "k", "more": 1}]), json!({"kind": "k", "namespace": "default", "name": 5})),
        ] {
            assert_eq!(entity_ref(&args).unwrap().to_json(), Some(expected), "{args}");
        }
        const KIND: &str = "missing or empty kind (e.g. did not start with \"component:\" or similar)";
        for (args, expected) in [
            (json!([]), "Entity reference must not be empty".to_string()),
            (json!([null]), "Entity reference must not be empty".to_string()),
            (json!([""]), "Entity reference must not be empty".to_string()),
            (json!([0]), "Entity reference must not be empty".to_string()),
            (json!(["x"]), format!("Entity reference \"x\" had {KIND}")),
            (json!(["x\"y"]), format!("Entity reference \"x\\\"y\" had {KIND}")),
            (json!(["x", {"defaultKind": ""}]), format!("Entity reference \"x\" had {KIND}")),
            (json!([5]), format!("Entity reference 5 had {KIND}")),
            (json!([["a"]]), format!("Entity reference [\"a\"] had {KIND}")),
            (json!([{"name": "n"}]), format!("Entity reference {{\"name\":\"n\"}} had {KIND}")),
            (
                json!([{"name": "n", "kind": ""}, {"defaultKind": "k"}]),
                format!("Entity reference {{\"name\":\"n\",\"kind\":\"\"}} had {KIND}"),
            ),
            (
                json!([{"kind": "k", "namespace": "", "name": "n"}]),
                "Entity reference {\"kind\":\"k\",\"namespace\":\"\",\"name\":\"n\"} had missing or empty namespace"
                    .to_string(),
            ),
            (json!([{"kind": "k"}]), "Entity reference {\"kind\":\"k\"} had missing or empty name".to_string()),
            (json!([":x"]), "Entity reference \":x\" was not on the form [<kind>:][<namespace>/]<name>".to_string()),
            (
                json!(["a:/x"]),
                "Entity reference \"a:/x\" was not on the form [<kind>:][<namespace>/]<name>".to_string(),
            ),
            (json!(["a:"]), "Entity reference \"a:\" was not on the form [<kind>:][<namespace>/]<name>".to_string()),
            (json!(["/x"]), "Entity reference \"/x\" was not on the form [<kind>:][<namespace>/]<name>".to_string()),
        ] {
            assert_eq!(entity_ref(&args).unwrap_err(), expected, "{args}");
        }
    }

    fn entity_ref(args: &Json) -> Result<Value, String> {
        let args: Vec<_> = args.as_array().unwrap().iter().map(|arg| Value::from_json(arg).unwrap()).collect();
        parse_entity_ref(&args)
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
