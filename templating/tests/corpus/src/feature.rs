//! The files of the corpus: reading, and writing with new results.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde_json::Value as Json;

use crate::{Case, Mode, Options, Outcome, context};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/features");
const EXTENSION: &str = "corpus";
const DEFAULT_CONTEXT: &str = "default";
/// The error class that goes without saying.
const USUAL_ERROR: &str = "TemplateRenderError";
const OLDER: &str = "nunjucks-3";

/// A file of the corpus.
#[derive(Debug, Clone)]
pub struct Feature {
    /// The file's name without its extension.
    pub name: String,
    path: PathBuf,
    items: Vec<Item>,
}

/// What a file consists of, in order, so that it can be written back.
#[derive(Debug, Clone)]
enum Item {
    /// A comment, a directive or an empty line, as it is.
    Line(String),
    Row(Row),
}

/// A template with its expected results.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line of the file that has the template.
    pub line: usize,
    /// The template with its data and options.
    pub case: Case,
    /// What `nunjitsu` makes of it; `None` when that is not recorded yet.
    pub expected: Option<Expected>,
    /// What `nunjucks` 3.2.4 makes of it.
    pub older: Older,
}

/// A recorded result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A value in [`notation`](crate::notation()).
    Value(String),
    /// The error's class and message: `message`, or `Class: message` when the class is not `TemplateRenderError`.
    Error(String),
}

/// What is known of the older language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Older {
    /// It gives the same value, or fails too (the messages differ always).
    Same,
    /// It gives something else.
    Differs(Expected),
    /// It gives something else, and the older dialect does not follow it, for the reason given.
    NotFollowed(String),
}

/// Why a file of the corpus cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not in the format.
    #[error("{path}:{line}: {detail}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
}

impl Feature {
    /// Every file of the corpus, by name.
    ///
    /// # Errors
    /// When a file cannot be read or is not in the format.
    pub fn all() -> Result<Vec<Self>, Error> {
        let in_directory = |source| Error::File { path: DIRECTORY.into(), source };
        let entries = fs::read_dir(DIRECTORY).map_err(in_directory)?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(in_directory)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let items = Reader::default().read(&text).map_err(|(line, detail)| Error::Line {
            path: path.to_owned(),
            line,
            detail,
        })?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, path: path.to_owned(), items })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.items.iter().filter_map(|item| match item {
            Item::Row(row) => Some(row),
            Item::Line(_) => None,
        })
    }

    /// The rows in order, to be changed.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Row(row) => Some(row),
            Item::Line(_) => None,
        })
    }

    /// Writes the file with the results that its rows have now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> Result<(), Error> {
        fs::write(&self.path, self.to_string()).map_err(|source| Error::File { path: self.path.clone(), source })
    }
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for item in &self.items {
            match item {
                Item::Line(line) => writeln!(f, "{line}")?,
                Item::Row(row) => write!(f, "{row}")?,
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", quoted_if_needed(&self.case.source))?;
        if let Some(expected) = &self.expected {
            writeln!(f, "  {expected}")?;
        }
        match &self.older {
            Older::Same => Ok(()),
            Older::Differs(expected) => writeln!(f, "  {OLDER} {expected}"),
            Older::NotFollowed(reason) => writeln!(f, "  {OLDER} ~ {reason}"),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => write!(f, "= {value}"),
            Self::Error(message) => write!(f, "! {}", quoted_if_needed(message)),
        }
    }
}

impl Expected {
    /// Whether an error is expected.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

impl TryFrom<&Outcome> for Expected {
    type Error = Outcome;

    /// What an implementation gave, as it is recorded. No answer is nothing to record.
    fn try_from(outcome: &Outcome) -> Result<Self, Outcome> {
        match outcome {
            Outcome::Value(value) => Ok(Self::Value(value.clone())),
            Outcome::Error { name, message } if name == USUAL_ERROR => Ok(Self::Error(message.clone())),
            Outcome::Error { name, message } => Ok(Self::Error(format!("{name}: {message}"))),
            Outcome::Timeout | Outcome::Died => Err(outcome.clone()),
        }
    }
}

/// What precedes a row decides how it is read.
struct Reader {
    context: Arc<Json>,
    options: Options,
    items: Vec<Item>,
}

impl Default for Reader {
    fn default() -> Self {
        let context = context::named(DEFAULT_CONTEXT).unwrap_or_default();
        Self { context, options: Options::default(), items: Vec::new() }
    }
}

impl Reader {
    fn read(mut self, text: &str) -> Result<Vec<Item>, (usize, String)> {
        for (index, line) in text.lines().enumerate() {
            self.line(index + 1, line).map_err(|detail| (index + 1, detail))?;
        }
        Ok(self.items)
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(result) = line.strip_prefix("  ") {
            return match self.items.last_mut() {
                Some(Item::Row(row)) => add_result(row, result),
                _ => Err("a result without a template above it".to_owned()),
            };
        }
        if let Some(directive) = line.strip_prefix('@') {
            self.directive(directive)?;
        } else if !(line.is_empty() || line.starts_with('#')) {
            let case = Case { source: unquoted(line)?, context: self.context.clone(), options: self.options };
            self.items.push(Item::Row(Row { line: number, case, expected: None, older: Older::Same }));
            return Ok(());
        }
        self.items.push(Item::Line(line.to_owned()));
        Ok(())
    }

    fn directive(&mut self, directive: &str) -> Result<(), String> {
        let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match name {
            "context" if rest.starts_with('{') => {
                self.context = Arc::new(serde_json::from_str(rest).map_err(|error| error.to_string())?);
            }
            "context" => {
                self.context = context::named(rest).ok_or_else(|| format!("contexts.json has no {rest:?}"))?;
            }
            "options" => {
                self.options = Options::default();
                for option in rest.split_whitespace() {
                    match option {
                        "text" => self.options.mode = Mode::Text,
                        "cookiecutter" => self.options.cookiecutter = true,
                        "trim-blocks" => self.options.trim_blocks = true,
                        "lstrip-blocks" => self.options.lstrip_blocks = true,
                        other => return Err(format!("unknown option {other:?}")),
                    }
                }
            }
            other => return Err(format!("unknown directive @{other}; there are @context and @options")),
        }
        Ok(())
    }
}

fn add_result(row: &mut Row, result: &str) -> Result<(), String> {
    if let Some(older) = result.strip_prefix(OLDER) {
        row.older = match older.strip_prefix(" ~ ") {
            Some(reason) => Older::NotFollowed(reason.to_owned()),
            None => Older::Differs(expected(older.trim_start())?),
        };
    } else if row.expected.replace(expected(result)?).is_some() {
        return Err("a second result for one template".to_owned());
    }
    Ok(())
}

fn expected(result: &str) -> Result<Expected, String> {
    match result.split_once(' ') {
        Some(("=", value)) => Ok(Expected::Value(value.to_owned())),
        Some(("!", message)) => Ok(Expected::Error(unquoted(message)?)),
        _ => Err(format!("a result is `= value` or `! message`, not {result:?}")),
    }
}

/// Text as it is, or as a JSON string where a line of its own could not hold it.
fn quoted_if_needed(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.starts_with(['"', '#', '@'])
        && text.trim() == text
        && !text.chars().any(|character| character.is_control() || (character.is_whitespace() && character != ' '));
    if plain { text.to_owned() } else { quote(text) }
}

fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for character in Json::from(text).to_string().chars() {
        match character {
            // What is white but no space would not be seen.
            white if white != ' ' && (white.is_whitespace() || white == '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(white));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

fn unquoted(line: &str) -> Result<String, String> {
    if line.starts_with('"') {
        serde_json::from_str(line).map_err(|error| format!("no JSON string: {error}"))
    } else {
        Ok(line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "# Sums\n\n@context {\"n\":2}\n${{ n + 1 }}\n  = 3\n  nunjucks-3 = 4\n\n@options text trim-blocks\n\" x\\n\\u00a0\"\n  ! \"a\\nb\"\n  nunjucks-3 ~ why not\n${{ n }}\n";

    #[test]
    fn is_read_and_written_back() {
        let items = Reader::default().read(FILE).unwrap();
        let feature = Feature { name: "x".to_owned(), path: "x".into(), items };
        assert_eq!(feature.to_string(), FILE);
        let rows: Vec<&Row> = feature.rows().collect();
        assert_eq!(rows[0].case.context["n"], 2);
        assert_eq!(rows[0].expected, Some(Expected::Value("3".to_owned())));
        assert_eq!(rows[0].older, Older::Differs(Expected::Value("4".to_owned())));
        assert_eq!((rows[1].line, &*rows[1].case.source), (9, " x\n\u{a0}"));
        assert_eq!(rows[1].expected, Some(Expected::Error("a\nb".to_owned())));
        assert_eq!(rows[1].older, Older::NotFollowed("why not".to_owned()));
        assert_eq!(rows[1].case.options, Options { mode: Mode::Text, trim_blocks: true, ..Options::default() });
        assert_eq!(rows[2].expected, None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let cases = [
            ("x\n  = 1\n  = 2", 3, "a second result for one template"),
            ("  = 1", 1, "a result without a template above it"),
            ("x\n  1", 2, "a result is `= value` or `! message`, not \"1\""),
            ("@options fast", 1, "unknown option \"fast\""),
            ("@context nope", 1, "contexts.json has no \"nope\""),
            ("@nope", 1, "unknown directive @nope; there are @context and @options"),
        ];
        for (text, line, detail) in cases {
            assert_eq!(Reader::default().read(text).unwrap_err(), (line, detail.to_owned()));
        }
    }
}
