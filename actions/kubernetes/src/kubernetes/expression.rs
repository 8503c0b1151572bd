//! What `kubernetes:wait` waits for, in kubectl's words: `condition=Ready`, `condition=Ready=False`,
//! `jsonpath={.status.phase}=Running`, `create`, `delete`.

use jsonpath_rust::JsonPath as _;
use serde_json::Value;

/// A state of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    /// A condition has this status.
    Condition {
        /// Type of the condition, compared without regard to case.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// A path has this value, or any where none is given.
    JsonPath {
        /// As the step has it.
        shown: String,
        /// As the library wants it.
        path: String,
        /// The text of the value.
        value: Option<String>,
    },
    /// There is such an object.
    Exists,
    /// There is none.
    Gone,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "delete" => return Ok(Self::Gone),
            "create" => return Ok(Self::Exists),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
            if kind.is_empty() || status.is_empty() {
                return Err(format!("'{text}' names no condition; expected condition=Ready or condition=Ready=False"));
            }
            return Ok(Self::Condition { kind: kind.to_string(), status: status.to_string() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            return json_path(rest).map_err(|reason| format!("'{text}': {reason}"));
        }
        Err(format!(
            "'{text}' is nothing to wait for; expected condition=<type>, condition=<type>=<status>, \
             jsonpath={{<path>}}=<value>, create or delete"
        ))
    }

    /// Whether it holds; otherwise the state it found.
    pub(crate) fn holds(&self, object: Option<&Value>) -> Result<(), String> {
        let object = match (self, object) {
            (Self::Gone, None) => return Ok(()),
            (Self::Gone, Some(_)) => return Err("is still there".to_string()),
            (_, None) => return Err("does not exist yet".to_string()),
            (_, Some(object)) => object,
        };
        match self {
            Self::Exists | Self::Gone => Ok(()),
            Self::Condition { kind, status } => condition(object, kind, status),
            Self::JsonPath { shown, path, value } => {
                let found = object.query(path).map_err(|error| format!("{shown} can't be evaluated: {error}"))?;
                let texts: Vec<String> = found.into_iter().filter(|value| !value.is_null()).map(text_of).collect();
                match value {
                    None if texts.is_empty() => Err(format!("{shown} is not there")),
                    None => Ok(()),
                    // As kubectl: every value has to match, and there has to be one.
                    Some(value) if !texts.is_empty() && texts.iter().all(|text| text == value) => Ok(()),
                    Some(_) if texts.is_empty() => Err(format!("{shown} is not there")),
                    Some(_) => Err(format!("{shown} is {}", cut(&texts.join(", ")))),
                }
            }
        }
    }
}

fn condition(object: &Value, kind: &str, status: &str) -> Result<(), String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(kind)));
    let Some(found) = found else { return Err(format!("has no condition {kind} yet")) };
    let text = |key: &str| found[key].as_str().filter(|text| !text.is_empty());
    // A controller that has not seen the newest spec speaks of an older one.
    let observed =
        found["observedGeneration"].as_u64().or_else(|| object.pointer("/status/observedGeneration")?.as_u64());
    let generation = object.pointer("/metadata/generation").and_then(Value::as_u64);
    if let (Some(observed), Some(generation)) = (observed, generation)
        && observed < generation
    {
        return Err(format!("its condition {kind} speaks of an older generation ({observed} of {generation})"));
    }
    let is = text("status").unwrap_or("Unknown");
    if is.eq_ignore_ascii_case(status) {
        return Ok(());
    }
    let mut state = format!("{kind} is {is}");
    if let Some(reason) = text("reason") {
        state.push_str(&format!(" ({reason})"));
    }
    if let Some(message) = text("message") {
        state.push_str(&format!(": {}", cut(message)));
    }
    Err(state)
}

fn cut(text: &str) -> String {
    const MAX: usize = 300;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `{.status.phase}=Running`: braces are optional, `\.` is a dot within a key.
fn json_path(text: &str) -> Result<Expression, String> {
    let (shown, value) = match text.strip_prefix('{') {
        Some(rest) => {
            let end = rest.rfind('}').ok_or("the path has no closing brace")?;
            let value = match &rest[end + 1..] {
                "" => None,
                after => Some(after.strip_prefix('=').ok_or("expected = and a value after the path")?),
            };
            (&rest[..end], value)
        }
        None => match text.split_once('=') {
            Some((path, value)) => (path, Some(value)),
            None => (text, None),
        },
    };
    let value = value.map(|value| value.trim_matches(|c| c == '"' || c == '\'').to_string());
    if value.as_deref() == Some("") {
        return Err("there is no value after =".to_string());
    }
    let path = standard(shown);
    // The library refuses what is no path.
    Value::Null.query(&path).map_err(|error| format!("no JSONPath: {error}"))?;
    Ok(Expression::JsonPath { shown: shown.to_string(), path, value })
}

/// Kubernetes' way of writing a path, in that of RFC 9535: `.metadata.labels.app\.io/name` → `$.metadata.labels['app.io/name']`.
fn standard(path: &str) -> String {
    let path = path.trim();
    let path = path.strip_prefix('$').unwrap_or(path);
    if !path.contains("\\.") {
        return if path.starts_with(['.', '[']) || path.is_empty() { format!("${path}") } else { format!("$.{path}") };
    }
    let mut out = String::from("$");
    let mut key = String::new();
    let flush = |key: &mut String, out: &mut String| {
        if !key.is_empty() {
            out.push_str(&format!("['{}']", key.replace('\'', "\\'")));
            key.clear();
        }
    };
    let mut characters = path.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if characters.peek() == Some(&'.') => {
                characters.next();
                key.push('.');
            }
            '.' => flush(&mut key, &mut out),
            '[' => {
                flush(&mut key, &mut out);
                out.push('[');
                for inner in characters.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            other => key.push(other),
        }
    }
    flush(&mut key, &mut out);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "metadata": {"generation": 2, "labels": {"app.io/name": "web"}},
            "status": {
                "phase": "Running", "replicas": 3,
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "Starting", "message": "1 of 3"},
                    {"type": "Synced", "status": "True"},
                    {"type": "Old", "status": "True", "observedGeneration": 1},
                ],
                "items": [{"n": 1}, {"n": 1}, {"n": 2}],
            },
        })
    }

    #[test]
    fn states() {
        let object = object();
        for (text, expected) in [
            ("condition=Synced", Ok(())),
            ("condition=synced=true", Ok(())),
            ("condition=Ready=False", Ok(())),
            ("condition=Ready", Err("Ready is False (Starting): 1 of 3")),
            ("condition=Other", Err("has no condition Other yet")),
            ("condition=Old", Err("its condition Old speaks of an older generation (1 of 2)")),
            ("jsonpath={.status.phase}=Running", Ok(())),
            ("jsonpath='{.status.phase}'=Running".trim_matches('x'), Err("parse")),
            ("jsonpath=.status.phase=Running", Ok(())),
            ("jsonpath=status.phase=\"Running\"", Ok(())),
            ("jsonpath={.status.replicas}=3", Ok(())),
            ("jsonpath={.status.replicas}=4", Err(".status.replicas is 3")),
            ("jsonpath={.status.none}=4", Err(".status.none is not there")),
            ("jsonpath={.status.phase}", Ok(())),
            ("jsonpath={.metadata.labels.app\\.io/name}=web", Ok(())),
            ("jsonpath={.status.items[0].n}=1", Ok(())),
            ("jsonpath={.status.items[*].n}=1", Err(".status.items[*].n is 1, 1, 2")),
            ("jsonpath={.status.conditions[?(@.type==\"Synced\")].status}=True", Ok(())),
            ("create", Ok(())),
            ("delete", Err("is still there")),
        ] {
            let Ok(expression) = Expression::parse(text) else {
                assert_eq!(expected, Err("parse"), "{text}");
                continue;
            };
            assert_eq!(expression.holds(Some(&object)), expected.map_err(str::to_string), "{text}");
        }
        assert_eq!(Expression::Gone.holds(None), Ok(()));
        assert_eq!(Expression::Exists.holds(None), Err("does not exist yet".to_string()));
    }

    #[test]
    fn mistakes() {
        for (text, part) in [
            ("", "is nothing to wait for"),
            ("Ready", "is nothing to wait for"),
            ("condition=", "names no condition"),
            ("jsonpath={.a", "no closing brace"),
            ("jsonpath={.a}Running", "expected = and a value"),
            ("jsonpath={.a}=", "no value after ="),
            ("jsonpath={.a[}=b", "no JSONPath"),
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
