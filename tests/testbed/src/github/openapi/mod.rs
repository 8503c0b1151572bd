//! GitHub's published OpenAPI description as a judge of requests and answers.

mod source;
mod trim;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jsonschema::{Draft, Registry, Validator};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// How many of a document's faults a report names.
const FAULTS_SHOWN: usize = 6;
/// Body members that GitHub accepts and its description leaves out: `(operation, member)`.
const UNDOCUMENTED_MEMBERS: [(&str, &str); 4] = [
    ("repos/create-in-org", "allow_update_branch"),
    ("repos/create-for-authenticated-user", "allow_update_branch"),
    ("repos/create-for-authenticated-user", "visibility"),
    ("git/create-blob", "mode"),
];

/// The operations the double offers, with the schemas they need.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Document {
    operations: Vec<Operation>,
    /// `{"$schema": …, "schemas": {name: schema}}`, as JSON Schema draft 4.
    components: Value,
}

/// One operation of GitHub's REST API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Operation {
    /// `operationId`, such as `repos/get`.
    pub(super) id: String,
    pub(super) method: String,
    /// Path template, such as `/repos/{owner}/{repo}`.
    pub(super) path: String,
    /// Page that describes it.
    pub(super) documentation: String,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: HashMap<String, Option<Value>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parameter {
    name: String,
    /// `path` or `query`; headers are not checked.
    place: String,
    required: bool,
    /// May contain slashes (`x-multi-segment`).
    multi_segment: bool,
    schema: Value,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Body {
    required: bool,
    schema: Value,
    /// The members it knows, when it is a plain object.
    members: Option<Vec<String>>,
}

/// A request's operation and its decoded path parameters.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub(super) operation: Arc<Operation>,
    pub(super) params: HashMap<String, String>,
}

/// The checked part of GitHub's description.
pub(super) struct Contract {
    operations: Vec<Arc<Operation>>,
    registry: Registry<'static>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    /// Loads the description of `routes` (`(method, path template)`), downloading it when it is not cached yet.
    pub(super) async fn load(routes: &[(&str, &str)]) -> Result<Arc<Self>> {
        static LOADED: tokio::sync::OnceCell<Arc<Contract>> = tokio::sync::OnceCell::const_new();
        let contract = LOADED.get_or_try_init(|| async {
            let document = source::document(routes).await?;
            Self::new(document).map(Arc::new)
        });
        contract.await.cloned()
    }

    fn new(document: Document) -> Result<Self> {
        let bad = |error: &dyn std::fmt::Display| Error::unexpected("GitHub's OpenAPI description", error.to_string());
        let registry = Registry::new()
            .add(trim::BASE, document.components)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| bad(&error))?;
        let operations = document.operations.into_iter().map(Arc::new).collect();
        Ok(Self { operations, registry, validators: Mutex::default() })
    }

    /// The operation of a request; `path` is below the API's base and still percent-encoded.
    pub(super) fn find(&self, method: &str, path: &str) -> Option<Match> {
        let segments: Vec<_> = path.trim_matches('/').split('/').map(decoded).collect();
        let mut best: Option<(usize, Match)> = None;
        for operation in self.operations.iter().filter(|operation| operation.method == method) {
            let template: Vec<_> = operation.path.trim_matches('/').split('/').collect();
            let mut params = HashMap::new();
            if let Some(literals) = operation.matches(&template, &segments, &mut params)
                && best.as_ref().is_none_or(|(most, _)| literals > *most)
            {
                best = Some((literals, Match { operation: Arc::clone(operation), params }));
            }
        }
        best.map(|(_, found)| found)
    }

    /// Whether any method is offered at this path.
    pub(super) fn knows_path(&self, path: &str) -> bool {
        ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().any(|method| self.find(method, path).is_some())
    }

    /// What is wrong with a request: parameters and body.
    pub(super) fn check_request(&self, found: &Match, query: &[(String, String)], body: Option<&Value>) -> Vec<String> {
        let operation = &found.operation;
        let mut faults = Vec::new();
        for parameter in operation.parameters.iter().filter(|parameter| parameter.place == "path") {
            if let Some(value) = found.params.get(&parameter.name) {
                let place = format!("parameter.{}", parameter.name);
                self.check_text(operation, &place, &parameter.schema, value, &mut faults);
            }
        }
        let known = |name: &str| operation.parameters.iter().find(|known| known.place == "query" && known.name == name);
        for (name, value) in query {
            match known(name) {
                Some(parameter) => {
                    self.check_text(operation, &format!("parameter.{name}"), &parameter.schema, value, &mut faults);
                }
                None => faults.push(format!("query parameter `{name}` is unknown")),
            }
        }
        for parameter in operation.parameters.iter().filter(|known| known.place == "query" && known.required) {
            if !query.iter().any(|(name, _)| *name == parameter.name) {
                faults.push(format!("query parameter `{}` is missing", parameter.name));
            }
        }
        self.check_body(operation, body, &mut faults);
        faults
    }

    fn check_body(&self, operation: &Operation, body: Option<&Value>, faults: &mut Vec<String>) {
        let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        match (&operation.body, body) {
            (None, None) => {}
            (None, Some(value)) if empty(value) => {}
            (None, Some(_)) => faults.push("a body was sent and the operation takes none".to_owned()),
            (Some(described), None) => {
                if described.required {
                    faults.push("the body is missing".to_owned());
                }
            }
            (Some(described), Some(value)) => {
                self.check(operation, "body", &described.schema, value, faults);
                let (Some(members), Some(object)) = (&described.members, value.as_object()) else { return };
                for name in object.keys() {
                    let tolerated = UNDOCUMENTED_MEMBERS.contains(&(operation.id.as_str(), name.as_str()));
                    if !members.contains(name) && !tolerated {
                        faults.push(format!("body member `{name}` is not in GitHub's description"));
                    }
                }
            }
        }
    }

    /// What is wrong with an answer. `body` is absent for an answer that is no JSON (an archive, raw content).
    ///
    /// A status the operation does not document is a fault, except for the refusals that any operation may answer with
    /// (401, 403, 404, 409, 422, 429); their bodies are held against the schemas of GitHub's errors.
    pub(super) fn check_answer(&self, operation: &Operation, status: u16, body: Option<&Value>) -> Vec<String> {
        let mut faults = Vec::new();
        let error_schema = |name: &str| trim::reference(name);
        match (operation.answers.get(&status.to_string()), status) {
            (Some(Some(schema)), _) => match body {
                Some(body) => self.check(operation, &format!("answer {status}"), schema, body, &mut faults),
                None if status >= 400 => faults.push(format!("answer {status} has no JSON body")),
                None => {}
            },
            (Some(None), _) => {
                // Refusals say why, also where the description has only a sentence on them.
                if status < 400 && body.is_some_and(|body| !body.is_null()) {
                    faults.push(format!("answer {status} has a body and is documented without one"));
                }
            }
            (None, 401 | 403 | 404 | 409 | 422 | 429) => {
                let schema = error_schema(if status == 422 { "validation-error" } else { "basic-error" });
                match body {
                    Some(body) => self.check(operation, &format!("answer {status}"), &schema, body, &mut faults),
                    None => faults.push(format!("answer {status} has no JSON body")),
                }
            }
            (None, _) => faults.push(format!("status {status} is not documented")),
        }
        faults
    }

    fn check_text(&self, operation: &Operation, place: &str, schema: &Value, text: &str, faults: &mut Vec<String>) {
        let typed = match schema.get("type").and_then(Value::as_str) {
            Some("integer" | "number" | "boolean") => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
            }
            _ => Value::String(text.to_owned()),
        };
        self.check(operation, place, schema, &typed, faults);
    }

    fn check(&self, operation: &Operation, place: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
        match self.validator(&format!("{} {} {place}", operation.method, operation.path), schema) {
            Ok(validator) => {
                for error in validator.iter_errors(value).take(FAULTS_SHOWN) {
                    let at = error.instance_path().to_string();
                    faults.push(format!("{place}{at}: {error}"));
                }
            }
            Err(error) => faults.push(format!("{place}: {error}")),
        }
    }

    fn validator(&self, key: &str, schema: &Value) -> Result<Arc<Validator>> {
        let known = |map: &HashMap<String, Arc<Validator>>| map.get(key).cloned();
        if let Some(found) = known(&self.validators.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(found);
        }
        let built = jsonschema::options()
            .with_draft(Draft::Draft4)
            .with_registry(&self.registry)
            .should_validate_formats(true)
            .build(schema)
            .map_err(|error| Error::unexpected(format!("the schema of {key}"), error.to_string()))?;
        let built = Arc::new(built);
        let mut map = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(map.entry(key.to_owned()).or_insert(built)))
    }
}

impl Operation {
    /// Matches a path, filling `params`; answers how many segments matched literally.
    fn matches(&self, template: &[&str], path: &[String], params: &mut HashMap<String, String>) -> Option<usize> {
        let Some((first, rest)) = template.split_first() else { return path.is_empty().then_some(0) };
        let Some(name) = first.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
            let (head, tail) = path.split_first()?;
            return if head == first { self.matches(rest, tail, params).map(|count| count + 1) } else { None };
        };
        let multi = self.parameters.iter().any(|parameter| parameter.name == name && parameter.multi_segment);
        // The root of a repository's contents has the empty path.
        let fewest = usize::from(!(multi && name == "path" && rest.is_empty()));
        let most = if multi { path.len() } else { 1 };
        for taken in fewest..=most.min(path.len()) {
            let mut inner = params.clone();
            let value = path[..taken].join("/");
            if taken == 1 && !multi && value.is_empty() {
                return None;
            }
            inner.insert(name.to_owned(), value);
            if let Some(count) = self.matches(rest, &path[taken..], &mut inner) {
                *params = inner;
                return Some(count);
            }
        }
        None
    }
}

/// Percent-encodes one path segment or query value.
pub(super) fn segment(text: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &KEPT).to_string()
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contract").field("operations", &self.operations.len()).finish_non_exhaustive()
    }
}
