//! What an entity must look like: the envelope's rules of `@backstage/catalog-model` 1.10.1 and, for the kinds it
//! publishes and for templates, their schemas.
//!
//! Entities of kinds we don't know are accepted with a valid envelope: a catalog file may hold what other plugins read.

mod format;
mod kinds;

use serde_json::{Map, Value};

/// Something that is wrong with an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON Pointer to the field, which may be missing.
    pub pointer: String,
    /// Whether it is the field's name that is wrong.
    pub is_name: bool,
    /// The field, what is wrong with it and what was expected, in one sentence.
    pub message: String,
}

/// Checks an entity.
///
/// # Errors
/// One sentence for each problem: the field, what is wrong with it and what was expected.
pub fn validate(entity: &Value) -> Result<(), Vec<String>> {
    let problems: Vec<String> = problems(entity).into_iter().map(|problem| problem.message).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// All that is wrong with an entity.
pub fn problems(entity: &Value) -> Vec<Problem> {
    let mut problems = Problems::default();
    let Value::Object(root) = entity else {
        return vec![Problem {
            pointer: String::new(),
            is_name: false,
            message: format!("an entity must be an object with apiVersion, kind and metadata, found {}", found(entity)),
        }];
    };
    let root = Fields { path: Path::default(), members: root };
    for name in root.members.keys() {
        if !["apiVersion", "kind", "metadata", "spec", "relations", "status"].contains(&name.as_str()) {
            problems.add_name(&root.path(name), "is unknown; an entity has apiVersion, kind, metadata and spec");
        }
    }
    root.required_text(&mut problems, "apiVersion", Some(&format::API_VERSION));
    root.required_text(&mut problems, "kind", Some(&format::KIND));
    if let Some(metadata) = root.required_object(&mut problems, "metadata") {
        envelope(&mut problems, &metadata);
    }
    root.object(&mut problems, "spec");
    kinds::validate(&mut problems, &root);
    problems.0
}

fn envelope(problems: &mut Problems, metadata: &Fields<'_>) {
    metadata.required_text(problems, "name", Some(&format::NAME));
    metadata.text(problems, "namespace", Some(&format::NAMESPACE));
    metadata.text(problems, "title", None);
    metadata.any_text(problems, "description");
    for (section, key_format) in [("labels", &format::LABEL_KEY), ("annotations", &format::ANNOTATION_KEY)] {
        let Some(entries) = metadata.object(problems, section) else { continue };
        for (key, value) in entries.members {
            let path = entries.path(key);
            if !(key_format.accepts)(key) {
                problems.add_name(&path, &format!("is not a valid key; expected {}", key_format.expected));
            }
            match value {
                Value::String(text) if section == "labels" && !(format::LABEL_VALUE.accepts)(text) => {
                    problems.invalid(&path, text, format::LABEL_VALUE.expected);
                }
                Value::String(_) => {}
                other => problems.wrong_type(&path, "a text (put numbers and booleans in quotes)", other),
            }
        }
    }
    for tag in metadata.items(problems, "tags") {
        match tag.value {
            Value::String(text) if (format::TAG.accepts)(text) => {}
            Value::String(text) => problems.invalid(&tag.path, text, format::TAG.expected),
            other => problems.wrong_type(&tag.path, "a text", other),
        }
    }
    for link in metadata.items(problems, "links") {
        let Some(link) = link.as_object(problems) else { continue };
        link.required_text(problems, "url", Some(&format::URL));
        link.text(problems, "title", None);
        link.text(problems, "icon", Some(&format::NAME));
        link.text(problems, "type", None);
    }
}

/// A format of texts.
struct Format {
    accepts: fn(&str) -> bool,
    expected: &'static str,
}

/// What was found to be wrong.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: &Path, problem: &str) {
        let message = format!("{} {problem}", path.shown);
        self.0.push(Problem { pointer: path.pointer.clone(), is_name: false, message });
    }
    /// A problem with the name of a field.
    fn add_name(&mut self, path: &Path, problem: &str) {
        self.add(path, problem);
        self.0.iter_mut().next_back().into_iter().for_each(|problem| problem.is_name = true);
    }
    fn invalid(&mut self, path: &Path, text: &str, expected: &str) {
        // A value of any length may stand where a name is expected.
        let shown: String = text.chars().take(80).collect();
        let dots = if shown.len() < text.len() { "…" } else { "" };
        self.add(path, &format!("\"{shown}{dots}\" is not valid; expected {expected}"));
    }
    fn wrong_type(&mut self, path: &Path, expected: &str, value: &Value) {
        self.add(path, &format!("must be {expected}, found {}", found(value)));
    }
}

/// The way to a field.
#[derive(Clone, Default)]
struct Path {
    /// As messages name it: `spec.steps[0]`.
    shown: String,
    pointer: String,
}

impl Path {
    fn member(&self, name: &str) -> Self {
        let shown = if self.shown.is_empty() { name.to_string() } else { format!("{}.{name}", self.shown) };
        Self { shown, pointer: format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1")) }
    }
    fn item(&self, index: usize) -> Self {
        Self { shown: format!("{}[{index}]", self.shown), pointer: format!("{}/{index}", self.pointer) }
    }
}

/// An object and where it is.
#[derive(Clone)]
struct Fields<'a> {
    path: Path,
    members: &'a Map<String, Value>,
}

/// A list's item and where it is.
struct Item<'a> {
    path: Path,
    value: &'a Value,
}

impl<'a> Item<'a> {
    fn as_object(&self, problems: &mut Problems) -> Option<Fields<'a>> {
        match self.value {
            Value::Object(members) => Some(Fields { path: self.path.clone(), members }),
            other => {
                problems.wrong_type(&self.path, "an object", other);
                None
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn path(&self, name: &str) -> Path {
        self.path.member(name)
    }
    /// The member; what is `null` is there, and wrong unless the schema says otherwise.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }
    /// A text that may be absent but not empty.
    fn text(&self, problems: &mut Problems, name: &str, format: Option<&Format>) -> Option<&'a str> {
        let path = self.path(name);
        match self.get(name)? {
            Value::String(text) if text.is_empty() => problems.add(&path, "must not be empty"),
            Value::String(text) => match format {
                Some(format) if !(format.accepts)(text) => problems.invalid(&path, text, format.expected),
                _ => return Some(text),
            },
            other => problems.wrong_type(&path, "a text", other),
        }
        None
    }
    /// A text that may be absent or empty.
    fn any_text(&self, problems: &mut Problems, name: &str) {
        if let Some(other) = self.get(name).filter(|value| !value.is_string()) {
            problems.wrong_type(&self.path(name), "a text", other);
        }
    }
    fn required_text(&self, problems: &mut Problems, name: &str, format: Option<&Format>) {
        match (self.get(name), format) {
            (None, Some(format)) => {
                problems.add(&self.path(name), &format!("is missing; expected {}", format.expected));
            }
            (None, None) => problems.add(&self.path(name), "is missing; expected a text"),
            (Some(_), _) => {
                self.text(problems, name, format);
            }
        }
    }
    fn object(&self, problems: &mut Problems, name: &str) -> Option<Fields<'a>> {
        match self.get(name)? {
            Value::Object(members) => Some(Fields { path: self.path(name), members }),
            other => {
                problems.wrong_type(&self.path(name), "an object", other);
                None
            }
        }
    }
    fn required_object(&self, problems: &mut Problems, name: &str) -> Option<Fields<'a>> {
        if self.get(name).is_none() {
            problems.add(&self.path(name), "is missing; expected an object");
        }
        self.object(problems, name)
    }
    /// The items of a list that may be absent.
    fn items(&self, problems: &mut Problems, name: &str) -> Vec<Item<'a>> {
        let path = self.path(name);
        match self.get(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(index, value)| Item { path: path.item(index), value }).collect()
            }
            Some(other) => {
                problems.wrong_type(&path, "a list", other);
                Vec::new()
            }
        }
    }
    /// A list of texts that may be absent.
    fn texts(&self, problems: &mut Problems, name: &str) {
        for item in self.items(problems, name) {
            match item.value {
                Value::String(text) if text.is_empty() => problems.add(&item.path, "must not be empty"),
                Value::String(_) => {}
                other => problems.wrong_type(&item.path, "a text", other),
            }
        }
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
