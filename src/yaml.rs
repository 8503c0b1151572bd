//! YAML as Backstage reads it: npm `yaml` 2 (the 1.2 core schema), under limits.
//!
//! `yes`, `on` and `1_000` are texts, `<<` is an ordinary key, a duplicate key is an error. Numbers come out as
//! JavaScript has them: an integral number is an integer, whichever way it was written.

use serde_json::{Number, Value};
use serde_saphyr::{
    Options, Spanned,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

/// The largest text that is read, in bytes.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;
/// The deepest nesting of sequences and mappings. What is read is stored as JSON, whose reader stops at 128.
pub const MAX_DEPTH: usize = 100;
/// The most values after aliases are replaced by what they stand for.
pub const MAX_NODES: usize = 250_000;

/// Stack of the reading thread; a level took about 25 kB in an unoptimised build.
const STACK: usize = 16 * 1024 * 1024;

/// Why a text is no acceptable YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// From 1; 0 when the place isn't known.
    pub line: u64,
    /// From 1; 0 when the place isn't known.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl YamlError {
    /// `file:line:column: message`.
    pub fn in_file(&self, file: &str) -> String {
        match self.line {
            0 => format!("{file}: {}", self.message),
            _ => format!("{file}:{}:{}: {}", self.line, self.column, self.message),
        }
    }
}

/// A document of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it holds; `null` for an empty document.
    pub value: Value,
    /// The line its content starts on, from 1.
    pub line: u64,
}

/// Reads a text with one document (`null` when it is empty).
///
/// # Errors
/// The text is too large, no YAML, breaks a limit, or holds several documents.
pub fn parse_yaml(text: &str) -> Result<Value, YamlError> {
    let mut documents = parse_documents(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.remove(0).value),
        _ => Err(YamlError {
            line: documents[1].line,
            column: 1,
            message: "a second document starts here, one was expected".to_string(),
        }),
    }
}

/// Reads a text with any number of documents; empty ones are left out.
///
/// # Errors
/// The text is too large, no YAML, or breaks a limit.
pub fn parse_documents(text: &str) -> Result<Vec<Document>, YamlError> {
    parse_with(text, DuplicateKeyPolicy::Error)
}

/// As [`parse_documents`], but of a key that is there twice the last value counts: for tools that tell of it themselves.
pub(crate) fn parse_despite_duplicates(text: &str) -> Result<Vec<Document>, YamlError> {
    parse_with(text, DuplicateKeyPolicy::LastWins)
}

fn parse_with(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(failed(format!(
            "the text is {} bytes long, at most {MAX_BYTES} are read; move large content into files that a step fetches",
            text.len()
        )));
    }
    with_stack(|| read(text, duplicate_keys))?
}

/// Reads on a thread of its own: the reader recurses with large frames, and a thread's default stack can be too small for
/// what the limits allow.
fn with_stack<T: Send>(read: impl FnOnce() -> T + Send) -> Result<T, YamlError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("yaml".to_string())
            .stack_size(STACK)
            .spawn_scoped(scope, read)
            .map_err(|error| failed(format!("no thread can be started to read the text: {error}")))?
            .join()
            .map_err(|_| failed("the reader failed; please report this text".to_string()))
    })
}

fn failed(message: String) -> YamlError {
    YamlError { line: 0, column: 0, message }
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Vec<Document>, YamlError> {
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options(duplicate_keys)).map_err(|error| yaml_error(&error))?;
    Ok(documents
        .into_iter()
        .map(|document| Document { line: document.referenced.line(), value: as_javascript(document.value) })
        .collect())
}

fn options(policy: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
        },
        duplicate_keys: policy,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        ignore_binary_tag_for_string: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn yaml_error(error: &serde_saphyr::Error) -> YamlError {
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    // The place is told apart from the message. Breaches inside an alias reach us as text only.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let message = if text.starts_with("recursion limit exceeded") || text.contains("Depth {") {
        format!("nested more than {MAX_DEPTH} levels deep")
    } else if text.contains("Nodes {") || text.contains("Events {") {
        format!("more than {MAX_NODES} values (each use of an alias counts what it stands for)")
    } else {
        text.to_string()
    };
    YamlError { line, column, message }
}

/// Rounds numbers as JavaScript holds them, so that `1.0`, `0777` and `1e3` are integers and huge integers are rounded.
fn as_javascript(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(as_double(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(as_javascript).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, as_javascript(value))).collect())
        }
        other => other,
    }
}

#[allow(clippy::cast_possible_truncation)]
fn as_double(number: Number) -> Number {
    /// Integers up to here are exact in a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(double) if double.fract() == 0.0 && double.abs() <= EXACT => Number::from(double as i64),
        Some(double) => Number::from_f64(double).unwrap_or(number),
        None => number,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_read_as_npm_yaml_reads_them() {
        for (text, expected) in [
            ("yes", json!("yes")),
            ("no", json!("no")),
            ("on", json!("on")),
            ("y", json!("y")),
            ("true", json!(true)),
            ("False", json!(false)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("1_000", json!("1_000")),
            ("0777", json!(777)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("1.0", json!(1)),
            ("1e3", json!(1000)),
            ("1.5", json!(1.5)),
            ("-0.0", json!(0)),
            ("2001-01-01", json!("2001-01-01")),
            ("1:20", json!("1:20")),
            (".inf", json!(null)),
            ("9007199254740993", json!(9_007_199_254_740_992_i64)),
            ("!foo bar", json!("bar")),
            ("", json!(null)),
            ("# only a comment", json!(null)),
            ("'1'", json!("1")),
            ("|\n  a\n  b\n", json!("a\nb\n")),
            (">-\n  a\n  b\n", json!("a b")),
            ("{<<: {a: 1}, b: 2}", json!({"<<": {"a": 1}, "b": 2})),
            ("1: x\ntrue: y\n", json!({"1": "x", "true": "y"})),
            ("a: &x [1]\nb: *x\n", json!({"a": [1], "b": [1]})),
            ("\u{feff}a: 1", json!({"a": 1})),
        ] {
            assert_eq!(parse_yaml(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn key_order_is_kept() {
        let value = parse_yaml("b: 1\na: 2\nc: 3\n").unwrap();
        assert_eq!(value.to_string(), r#"{"b":1,"a":2,"c":3}"#);
    }

    #[test]
    fn errors_have_a_place() {
        for (text, line, part) in [
            ("a: 1\nb: [1, 2\nc: 3\n", 3, ""),
            ("a: 1\na: 2\n", 2, "duplicate"),
            ("a:\n\tb: 2\n", 2, "tab"),
            ("a: *nowhere\n", 1, "anchor"),
            ("a: 1\n---\nb: 2\n", 3, "second document"),
        ] {
            let error = parse_yaml(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.column > 0, "{text}: {error}");
            assert!(error.message.to_lowercase().contains(part), "{text}: {error}");
            assert!(error.in_file("t.yaml").starts_with(&format!("t.yaml:{line}:{}: ", error.column)));
        }
    }

    #[test]
    fn documents_know_their_line() {
        let documents = parse_documents("# first\na: 1\n---\n---\n\nb: 2\n").unwrap();
        let found: Vec<_> = documents.iter().map(|document| (document.value.clone(), document.line)).collect();
        assert_eq!(found, [(json!({"a": 1}), 2), (json!({"b": 2}), 6)]);
        assert!(parse_documents("").unwrap().is_empty());
    }

    #[test]
    fn limits_are_errors() {
        let deep_block = format!("{}x", "- ".repeat(10_000));
        let deep_lines: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let deep_flow = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
        for level in 1..9 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        let large = format!("a: {}", "x".repeat(50 * 1024 * 1024));
        for (text, expected) in [
            (&deep_block, "nested more than 100 levels deep"),
            (&deep_lines, "nested more than 100 levels deep"),
            (&deep_flow, "nested more than 100 levels deep"),
            (&bomb, "more than 250000 values"),
            (&large, "the text is 52428803 bytes long, at most 10485760 are read"),
        ] {
            let error = parse_yaml(text).unwrap_err();
            assert!(error.message.starts_with(expected), "{error}");
        }
        let within = format!("{}1{}", "[".repeat(90), "]".repeat(90));
        let value = parse_yaml(&within).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&value.to_string()).unwrap(), value);
    }
}
