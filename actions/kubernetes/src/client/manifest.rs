//! Manifests: YAML or JSON texts with objects in them.

use serde_json::{Map, Value, json};
use serde_saphyr::{Options, Spanned, options::DuplicateKeyPolicy};

use super::KubeError;

/// The largest manifest that is read, in bytes; etcd takes 1.5 MB an object.
const MAX_BYTES: usize = 10 * 1024 * 1024;
/// The deepest nesting.
const MAX_DEPTH: usize = 100;
/// The most values, aliases replaced.
const MAX_NODES: usize = 250_000;
/// Stack of the reading thread: the reader recurses with large frames.
const STACK: usize = 16 * 1024 * 1024;

/// An object to be written: it has `apiVersion` and `kind`, and `metadata` is a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    value: Map<String, Value>,
    origin: String,
}

impl Manifest {
    /// An object; `origin` says in messages where it comes from (`manifestObject`, `document 2 (line 14)`).
    ///
    /// # Errors
    /// [`KubeError::Input`]: it is no object, or lacks `apiVersion` or `kind`.
    pub(crate) fn new(value: Value, origin: impl Into<String>) -> Result<Self, KubeError> {
        let origin = origin.into();
        let fail = |what: &str| Err(KubeError::Input(format!("{origin}: {what}")));
        let Value::Object(value) = value else { return fail("a Kubernetes object was expected") };
        for key in ["apiVersion", "kind"] {
            match value.get(key) {
                Some(Value::String(text)) if !text.is_empty() => {}
                Some(Value::Null) | None => return fail(&format!("{key} is missing; every Kubernetes object has one")),
                Some(_) => return fail(&format!("{key} is no text")),
            }
        }
        if !matches!(value.get("metadata"), None | Some(Value::Object(_) | Value::Null)) {
            return fail("metadata is no mapping");
        }
        for key in ["name", "namespace", "generateName"] {
            match value.get("metadata").and_then(|metadata| metadata.get(key)) {
                None | Some(Value::String(_) | Value::Null) => {}
                Some(other) => {
                    return fail(&format!("metadata.{key} is {other}, a text was expected; put it in quotes"));
                }
            }
        }
        Ok(Self { value, origin })
    }

    /// Where it comes from.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
    /// The object as it was given.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.value)
    }
    /// `apps/v1`
    pub(crate) fn api_version(&self) -> &str {
        self.value.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
    }
    /// `Deployment`
    pub(crate) fn kind(&self) -> &str {
        self.value.get("kind").and_then(Value::as_str).unwrap_or_default()
    }
    /// `metadata.name`
    pub(crate) fn name(&self) -> Option<&str> {
        self.metadata("name")
    }
    /// `metadata.namespace`
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.metadata("namespace")
    }
    /// `metadata.generateName`
    pub(crate) fn generate_name(&self) -> Option<&str> {
        self.metadata("generateName")
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// The object in this namespace (or in none), without what only a server writes.
    pub(super) fn placed(&self, namespace: Option<&str>) -> Value {
        let mut value = self.value.clone();
        let metadata = value.entry("metadata").or_insert_with(|| json!({}));
        if !metadata.is_object() {
            *metadata = json!({});
        }
        if let Value::Object(metadata) = metadata {
            metadata.shift_remove("managedFields");
            metadata.shift_remove("namespace");
            if let Some(namespace) = namespace {
                metadata.insert("namespace".to_string(), Value::from(namespace));
            }
        }
        Value::Object(value)
    }

    /// The object, or the items of a `List`.
    ///
    /// # Errors
    /// [`KubeError::Input`]: an item is no object.
    pub(crate) fn expand(self) -> Result<Vec<Self>, KubeError> {
        let is_list = self.api_version() == "v1" && self.kind() == "List";
        match self.value.get("items") {
            Some(Value::Array(items)) if is_list => items
                .iter()
                .enumerate()
                .map(|(index, item)| Self::new(item.clone(), format!("{}, items[{index}]", self.origin)))
                .collect(),
            _ => Ok(vec![self]),
        }
    }
}

/// Reads a text with any number of documents, as kubectl does: YAML 1.1 booleans and octal numbers, merge keys, `List`s
/// taken apart, empty documents left out. `what` names the text in messages.
///
/// # Errors
/// [`KubeError::Input`] with the number of the document and the line: no YAML, no object, nothing at all.
pub(crate) fn parse_manifests(what: &str, text: &str) -> Result<Vec<Manifest>, KubeError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(KubeError::Input(format!("{what} is {} bytes long, at most {MAX_BYTES} are read", text.len())));
    }
    let mut manifests = Vec::new();
    for (index, (value, line)) in documents(what, text)?.into_iter().enumerate() {
        let origin = format!("{what}, document {} (line {line})", index + 1);
        match value {
            Value::Null => {}
            // JSON arrays of objects, as templates make them.
            Value::Array(items) => {
                for (item_index, item) in items.into_iter().enumerate() {
                    manifests.extend(Manifest::new(item, format!("{origin}, [{item_index}]"))?.expand()?);
                }
            }
            other => manifests.extend(Manifest::new(other, origin)?.expand()?),
        }
    }
    if manifests.is_empty() {
        return Err(KubeError::Input(format!("{what} has no object in it")));
    }
    Ok(manifests)
}

fn documents(what: &str, text: &str) -> Result<Vec<(Value, u64)>, KubeError> {
    let failed = |reason: String| KubeError::Input(format!("{what} can't be read: {reason}"));
    let read = || -> Result<Vec<(Value, u64)>, String> {
        let documents: Vec<Spanned<Value>> =
            serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explain(text, &error))?;
        Ok(documents.into_iter().map(|document| (integers(document.value), document.referenced.line())).collect())
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("manifest".to_string())
            .stack_size(STACK)
            .spawn_scoped(scope, read)
            .map_err(|error| failed(format!("no thread can be started: {error}")))?
            .join()
            .map_err(|_| failed("the reader failed; please report this text".to_string()))?
            .map_err(failed)
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn explain(text: &str, error: &serde_saphyr::Error) -> String {
    let message = error.to_string();
    let short = message.split(" at line ").next().unwrap_or_default();
    let Some(location) = error.location() else { return short.to_string() };
    let (line, column) = (location.line(), location.column());
    // Separators with something before them start another document.
    let mut document = 1;
    let mut has_content = false;
    for before in text.lines().take(usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1)) {
        if before.starts_with("---") {
            document += usize::from(has_content);
            has_content = before.len() > 3;
        } else if !before.trim().is_empty() && !before.trim_start().starts_with('#') {
            has_content = true;
        }
    }
    format!("document {document}, line {line}, column {column}: {short}")
}

/// `1.0` and `1e3` are integers to Kubernetes' schemas when they are whole.
#[allow(clippy::cast_possible_truncation)]
fn integers(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() <= EXACT => {
                Value::from(double as i64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(integers).collect()),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, integers(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists() {
        let text = "# first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: ns}\ndata: {mode: 0644, on: yes}\n---\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {generateName: b-}}\n";
        let manifests = parse_manifests("manifest", text).unwrap();
        assert_eq!(manifests.len(), 2);
        assert_eq!((manifests[0].name(), manifests[0].namespace()), (Some("a"), Some("ns")));
        assert_eq!(manifests[0].origin(), "manifest, document 1 (line 2)");
        assert_eq!(manifests[0].value["data"]["mode"], json!(0o644));
        assert_eq!(manifests[0].value["data"]["on"], json!(true));
        assert_eq!(manifests[1].generate_name(), Some("b-"));
        assert_eq!(manifests[1].origin(), "manifest, document 2 (line 8), items[0]");
    }

    #[test]
    fn mistakes_have_a_place() {
        let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        for (text, expected) in [
            (format!("{good}---\na: [1\nb: 2\n"), "manifest can't be read: document 2, line 6, column"),
            (format!("{good}---\nkind: ConfigMap\n"), "manifest, document 2 (line 5): apiVersion is missing"),
            ("apiVersion: v1\nkind: [x]\n".to_string(), "manifest, document 1 (line 1): kind is no text"),
            ("- 1\n".to_string(), "manifest, document 1 (line 1), [0]: a Kubernetes object was expected"),
            (
                "apiVersion: v1\nkind: X\nmetadata: {name: 12}".to_string(),
                "manifest, document 1 (line 1): metadata.name is 12, a text",
            ),
            ("apiVersion: v1\nkind: X\nkind: Y\n".to_string(), "manifest can't be read: document 1, line 3"),
            ("---\n# nothing\n".to_string(), "manifest has no object in it"),
            (format!("{}1", "- ".repeat(10_000)), "manifest can't be read: "),
        ] {
            let error = parse_manifests("manifest", &text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
