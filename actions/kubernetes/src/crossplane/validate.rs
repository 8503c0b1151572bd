//! Checks a spec against an XRD's schema before anything is written.

use std::{collections::BTreeSet, fmt};

use jsonschema::{
    PatternOptions, ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use super::{
    definition::{Generation, Offer},
    structural::{MAX_DEPTH, fill_defaults, is_deeper, join, json_schema, spec_schema, walk},
    suggest::closest,
};

/// How many violations a message lists.
const SHOWN: usize = 50;
/// How much of a wrong value a message quotes.
const QUOTED: usize = 80;

/// One mistake in a spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// `spec.nodes[0].size`
    pub(crate) path: String,
    /// What is wrong there.
    pub(crate) message: String,
}

impl Violation {
    pub(crate) fn new(path: String, message: String) -> Self {
        Self { path, message }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Why a spec isn't written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// The spec breaks rules of the schema.
    #[error("{}", listed(.violations, .kind, .xrd, .version))]
    Violations {
        /// The kind.
        kind: String,
        /// The XRD.
        xrd: String,
        /// The version.
        version: String,
        /// All of them, in the spec's order of names.
        violations: Vec<Violation>,
    },
    /// The XRD's schema can't be used.
    #[error("the schema of version {version} of the XRD {xrd} can't be used: {reason}")]
    Schema {
        /// The XRD.
        xrd: String,
        /// The version.
        version: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn listed(violations: &[Violation], kind: &str, xrd: &str, version: &str) -> String {
    let count = match violations.len() {
        1 => "1 violation".to_string(),
        count => format!("{count} violations"),
    };
    let mut text = format!("the spec does not fit {kind} {version} of the XRD {xrd}, nothing was written; {count}:");
    for violation in violations.iter().take(SHOWN) {
        text.push_str("\n  ");
        text.push_str(&violation.to_string());
    }
    if violations.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", violations.len() - SHOWN));
    }
    text
}

/// Checks `spec` as it would be written, Crossplane's own fields included. CEL rules (`x-kubernetes-validations`) are left to
/// the server.
///
/// # Errors
/// Every violation at once, or a schema that is no schema.
pub(crate) fn check_spec(offer: &Offer<'_>, spec: &Value) -> Result<(), SpecError> {
    let unusable = |reason: String| SpecError::Schema {
        xrd: offer.definition.name.clone(),
        version: offer.version.name.clone(),
        reason,
    };
    let schema = spec_schema(offer);
    if is_deeper(&schema, MAX_DEPTH) {
        return Err(unusable(format!("it is nested more than {MAX_DEPTH} levels deep")));
    }
    let violations = if is_deeper(spec, MAX_DEPTH) {
        vec![Violation::new("spec".into(), format!("nested more than {MAX_DEPTH} levels deep"))]
    } else {
        violations(&schema, spec, offer.generation).map_err(unusable)?
    };
    if violations.is_empty() {
        return Ok(());
    }
    Err(SpecError::Violations {
        kind: offer.names.kind.clone(),
        xrd: offer.definition.name.clone(),
        version: offer.version.name.clone(),
        violations,
    })
}

fn violations(schema: &Value, spec: &Value, generation: Generation) -> Result<Vec<Violation>, String> {
    let mut found = Vec::new();
    walk(schema, spec, "spec", &mut found);
    for violation in &mut found {
        if let Some(hint) = misplaced(&violation.path, generation) {
            violation.message = hint;
        }
    }
    let mut filled = spec.clone();
    fill_defaults(schema, &mut filled);
    // Go's regular expressions and Rust's are of one family; a pattern beyond it is left to the server.
    let is_pattern = |pattern: &str| options().build(&serde_json::json!({"pattern": pattern})).is_ok();
    let validator = options().build(&json_schema(schema, &is_pattern)).map_err(|error| error.to_string())?;
    for error in validator.iter_errors(&filled) {
        found.push(violation(&error));
    }
    let known: BTreeSet<Violation> = found.into_iter().collect();
    Ok(known.into_iter().collect())
}

fn options() -> jsonschema::ValidationOptions<'static> {
    jsonschema::draft7::options().should_validate_formats(true).with_pattern_options(PatternOptions::regex())
}

/// Fields of the other generation, which people carry over.
fn misplaced(path: &str, generation: Generation) -> Option<String> {
    let field = path.strip_prefix("spec.")?;
    let moved = [
        "compositionRef",
        "compositionSelector",
        "compositionRevisionRef",
        "compositionRevisionSelector",
        "compositionUpdatePolicy",
    ];
    match field {
        "writeConnectionSecretToRef" | "publishConnectionDetailsTo" if generation.is_modern() => Some(format!(
            "composite resources of Crossplane 2 have no {field}: the Composition makes the Secret. Give \
             writeConnectionSecretToRef as an input of the step to serve both generations"
        )),
        _ if generation.is_modern() && moved.contains(&field) => Some(format!(
            "in Crossplane 2 this is spec.crossplane.{field}; given as an input of the step it goes to the right place"
        )),
        "crossplane" if !generation.is_modern() => Some(
            "in Crossplane 1's form Crossplane's fields are directly under spec; given as inputs of the step they go to \
             the right place"
                .to_string(),
        ),
        _ => None,
    }
}

fn violation(error: &ValidationError<'_>) -> Violation {
    let mut path = "spec".to_string();
    for part in error.instance_path().as_str().split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        // Which of the two an all-digit part is can't be told from a pointer; names of that kind are rare.
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else {
            path = join(&path, &part);
        }
    }
    let found = quoted(error.instance());
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            return Violation::new(join(&path, property.as_str().unwrap_or_default()), "is required".to_string());
        }
        ValidationErrorKind::Type { kind } => format!("must be {}, found {found}", expected(kind)),
        ValidationErrorKind::Enum { options } => one_of(options, error.instance(), &found),
        ValidationErrorKind::Pattern { pattern } => format!("must match the pattern {pattern}, found {found}"),
        ValidationErrorKind::Format { format } => format!("must have the format {format}, found {found}"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}, found {found}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}, found {found}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be greater than {limit}, found {found}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}, found {found}"),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            format!("must be a multiple of {multiple_of}, found {found}")
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("must have at least {}, found {found}", counted(*limit, "character"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("must have at most {}, found {found}", counted(*limit, "character"))
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("must have at least {}, found {}", counted(*limit, "entry"), length(error.instance()))
        }
        ValidationErrorKind::MaxItems { limit } => {
            format!("must have at most {}, found {}", counted(*limit, "entry"), length(error.instance()))
        }
        ValidationErrorKind::MinProperties { limit } => {
            format!("must have at least {}, found {}", counted(*limit, "field"), length(error.instance()))
        }
        ValidationErrorKind::MaxProperties { limit } => {
            format!("must have at most {}, found {}", counted(*limit, "field"), length(error.instance()))
        }
        ValidationErrorKind::UniqueItems => "must not have the same entry twice".to_string(),
        ValidationErrorKind::AnyOf { context } => format!("fits none of the allowed forms: {}", forms(context)),
        ValidationErrorKind::OneOfNotValid { context } => format!("fits none of the allowed forms: {}", forms(context)),
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "fits several of the allowed forms, of which only one may fit (oneOf)".to_string()
        }
        ValidationErrorKind::Not { .. } => "has a form that is ruled out (not)".to_string(),
        other => format!("breaks the rule {}, found {found}", other.keyword()),
    };
    Violation::new(path, message)
}

fn counted(count: u64, what: &str) -> String {
    match (count, what) {
        (1, what) => format!("1 {what}"),
        (count, "entry") => format!("{count} entries"),
        (count, what) => format!("{count} {what}s"),
    }
}

fn length(value: &Value) -> usize {
    value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len)).unwrap_or_default()
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => with_article(&kind.to_string()),
        TypeKind::Multiple(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind| with_article(&kind.to_string())).collect();
            kinds.join(" or ")
        }
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => "null".to_string(),
        "integer" => "a whole number".to_string(),
        "array" => "a list".to_string(),
        "object" => "an object".to_string(),
        kind => format!("a {kind}"),
    }
}

fn one_of(options: &Value, found: &Value, quoted: &str) -> String {
    let options: Vec<&Value> = options.as_array().into_iter().flatten().filter(|option| !option.is_null()).collect();
    let known: Vec<String> = options.iter().map(|option| option.to_string()).collect();
    let near = found.as_str().and_then(|found| closest(found, options.iter().filter_map(|option| option.as_str())));
    let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    format!("must be one of {}, found {quoted}{hint}", known.join(", "))
}

/// What each form misses, first mistake of each.
fn forms(context: &[Vec<ValidationError<'static>>]) -> String {
    let forms: Vec<String> =
        context.iter().filter_map(|errors| errors.first()).map(|error| violation(error).to_string()).collect();
    forms.join(" | ")
}

/// A value for messages: scalars as they are (shortened), others by what they are.
fn quoted(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(members) => format!("an object of {}", counted(members.len() as u64, "field")),
        Value::String(text) if text.chars().count() > QUOTED => {
            format!("{} (shortened)", Value::from(text.chars().take(QUOTED).collect::<String>()))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests;
