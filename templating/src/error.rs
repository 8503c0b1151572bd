//! What goes wrong with a template, and where.

use std::fmt;
use std::sync::Arc;

use crate::hint;
use crate::limits::LimitKind;
use crate::snippet::{printable, snippet};

/// The category of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The source is not a template.
    Syntax,
    /// A render came upon something the language does not allow.
    Evaluation,
    /// A filter or global function registered by the host refused its arguments.
    Capability,
    /// A budget of [`Limits`](crate::Limits) ran out.
    Limit(LimitKind),
    /// The data handed to [`Context`](crate::Context) cannot be template data.
    Context,
}

/// A template that could not be parsed or rendered.
///
/// `Display` gives the wording that users of Backstage know: `Template error at line L, column C: detail`, or the
/// sentence about the exceeded limit.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    line: Option<u32>,
    column: Option<u32>,
    offset: Option<u32>,
    source_line: Option<Arc<str>>,
    hint: Option<String>,
}

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The detail alone, without the position.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The 1-based line, when the failure has a place in the source.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }

    /// The 1-based column in UTF-16 code units, when the failure has a place in the source.
    pub fn column(&self) -> Option<u32> {
        self.0.column
    }

    /// The text of the line the failure is on, without its line ending.
    pub fn source_line(&self) -> Option<&str> {
        self.0.source_line.as_deref()
    }

    /// Where in the source the failure is, in bytes.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset.map(|offset| offset as usize)
    }

    /// What may help: `did you mean "range"?`, `write "or" instead of "||"`. Where the language itself makes a suggestion,
    /// that is part of the message instead.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The error for people, over several lines: `name:line:column: message; hint`, and below it the line of the source
    /// with a caret under the column. `name` says which source it is, e.g. a file's path. Fit for a terminal: control
    /// characters are made visible, tabs and wide characters counted as they are shown, long lines cut. The column is
    /// counted in characters.
    pub fn report(&self, name: &str) -> String {
        let mut report = printable(name).into_owned();
        let place = self.place();
        if let Some((line, column, _)) = place {
            report.push_str(&format!(":{line}:{column}"));
        }
        report.push_str(": ");
        report.push_str(&printable(self.message()));
        if let Some(hint) = self.hint() {
            report.push_str(&format!("; {}", printable(hint)));
        }
        if let Some((line, column, text)) = place {
            report.push('\n');
            report.push_str(&snippet(line.into(), text, column));
        }
        report
    }

    /// Line and column from 1, the column in characters, and the line's text.
    fn place(&self) -> Option<(u32, usize, &str)> {
        let (line, column, text) = (self.line()?, self.column()? as usize, self.source_line()?);
        let mut units = 0;
        let before = text.chars().take_while(|character| {
            units += character.len_utf16();
            units < column
        });
        Some((line, before.count() + 1, text))
    }

    /// The error's class name in `nunjitsu` 0.7.0.
    pub fn name(&self) -> &'static str {
        match self.0.kind {
            ErrorKind::Limit(_) => "TemplateLimitError",
            ErrorKind::Context => "TypeError",
            _ => "TemplateRenderError",
        }
    }

    pub(crate) fn context(message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Context,
            message: message.into(),
            line: None,
            column: None,
            offset: None,
            source_line: None,
            hint: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (inner.kind, inner.line, inner.column) {
            (ErrorKind::Limit(_), Some(line), Some(column)) => {
                write!(f, "{} at line {line}, column {column}", inner.message)
            }
            (ErrorKind::Limit(_), ..) | (_, None, _) | (_, _, None) => f.write_str(&inner.message),
            (_, Some(line), Some(column)) => {
                write!(f, "Template error at line {line}, column {column}: {}", inner.message)
            }
        }
    }
}

/// A failure on its way out of the parser or the evaluator: it knows its byte offset at most, and becomes an [`Error`]
/// where the source is at hand.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    kind: ErrorKind,
    message: String,
    offset: Option<u32>,
    hint: Option<String>,
}

/// The result of everything inside the engine. The error is boxed because the evaluator recurses through it.
pub(crate) type Res<T> = Result<T, Box<Fault>>;

/// The part of the work in which a limit was hit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    Parsing,
    Evaluation,
    Rendering,
}

impl Fault {
    pub(crate) fn syntax(offset: u32, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind: ErrorKind::Syntax, message: message.into(), offset: Some(offset), hint: None })
    }

    pub(crate) fn evaluation(message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind: ErrorKind::Evaluation, message: message.into(), offset: None, hint: None })
    }

    pub(crate) fn capability(message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind: ErrorKind::Capability, message: message.into(), offset: None, hint: None })
    }

    pub(crate) fn limit(phase: Phase, kind: LimitKind, configured: u64, observed: u64) -> Box<Self> {
        let phase = match phase {
            Phase::Parsing => "parsing",
            Phase::Evaluation => "evaluation",
            Phase::Rendering => "rendering",
        };
        let message = format!("Template {phase} exceeded the {kind} limit of {configured} (observed {observed})");
        Box::new(Self { kind: ErrorKind::Limit(kind), message, offset: None, hint: None })
    }

    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.kind, ErrorKind::Limit(_))
    }

    /// Gives the fault a place, unless it already has a more precise one.
    pub(crate) fn at(mut self: Box<Self>, offset: u32) -> Box<Self> {
        self.offset.get_or_insert(offset);
        self
    }

    /// Puts the fault elsewhere.
    pub(crate) fn moved(mut self: Box<Self>, place: impl FnOnce(u32) -> u32) -> Box<Self> {
        self.offset = self.offset.map(place);
        self
    }

    /// What it says, and what may help.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.message, self.hint)
    }

    /// Adds what may help; see [`Error::hint`].
    pub(crate) fn hint(mut self: Box<Self>, hint: Option<String>) -> Box<Self> {
        self.hint = hint;
        self
    }

    /// Rewrites the message of an ordinary failure. Limits keep theirs.
    pub(crate) fn reword(mut self: Box<Self>, wording: impl FnOnce(&str) -> String) -> Box<Self> {
        if self.kind == ErrorKind::Evaluation && self.offset.is_none() {
            self.message = wording(&self.message);
        }
        self
    }

    /// The failure of something called, as its caller sees it: a place in another source means nothing there. Limits
    /// keep their message.
    pub(crate) fn of_callee(mut self: Box<Self>, wording: impl FnOnce(&str) -> String) -> Box<Self> {
        self.offset = None;
        self.hint = None;
        if !matches!(self.kind, ErrorKind::Limit(_)) {
            self.message = wording(&self.message);
            self.kind = ErrorKind::Capability;
        }
        self
    }

    pub(crate) fn into_error(self, source: &str) -> Error {
        self.into_error_at(&mut Places::new(source))
    }

    /// As [`into_error`](Self::into_error), for several of one source.
    pub(crate) fn into_error_at(self, places: &mut Places<'_>) -> Error {
        let source = places.source;
        let position = self.offset.map(|offset| places.position(offset));
        let habit = || match self.kind {
            ErrorKind::Syntax => self.offset.and_then(|offset| hint::for_syntax(source, offset, &self.message)),
            _ => None,
        };
        let hint = self.hint.or_else(habit);
        Error(Box::new(Inner {
            kind: self.kind,
            message: self.message,
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            offset: self.offset,
            hint,
            source_line: self.offset.map(|offset| places.line(offset)),
        }))
    }
}

/// A place in a template's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in UTF-16 code units.
    pub column: u32,
}

impl Position {
    /// The place after a text that starts here.
    fn after(self, text: &str) -> Self {
        // A source is at most 4 Mi code units by default and its offsets are u32, so neither count can overflow.
        let lines = text.bytes().filter(|byte| *byte == b'\n').count() as u32;
        let (start, column) = match text.rfind('\n') {
            Some(newline) => (newline + 1, 1),
            None => (0, self.column),
        };
        Self { line: self.line + lines, column: column + text[start..].encode_utf16().count() as u32 }
    }
}

/// Finds many places of one source without reading all of it for each.
pub(crate) struct Places<'s> {
    source: &'s str,
    /// What is where at the start of each stretch of the source.
    starts: Vec<(usize, Position)>,
    /// The line that was last asked for.
    line: Option<(std::ops::Range<usize>, Arc<str>)>,
}

impl<'s> Places<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        const STRETCH: usize = 4096;
        let mut starts = vec![(0, Position { line: 1, column: 1 })];
        let mut places = Self { source, starts: Vec::new(), line: None };
        let mut at = 0;
        while at + STRETCH < source.len() {
            let end = source.floor_char_boundary(at + STRETCH);
            let (_, position) = starts[starts.len() - 1];
            starts.push((end, position.after(&source[at..end])));
            at = end;
        }
        places.starts = starts;
        places
    }

    pub(crate) fn position(&self, offset: u32) -> Position {
        let offset = self.source.floor_char_boundary(offset as usize);
        let (start, position) = self.starts[self.starts.partition_point(|(start, _)| *start <= offset) - 1];
        position.after(&self.source[start..offset])
    }

    /// The line around an offset, without its end.
    fn line(&mut self, offset: u32) -> Arc<str> {
        let offset = self.source.floor_char_boundary(offset as usize);
        if let Some((range, line)) = &self.line
            && (range.start..=range.end).contains(&offset)
        {
            return line.clone();
        }
        let start = self.source[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.source[offset..].find('\n').map_or(self.source.len(), |newline| offset + newline);
        let line: Arc<str> = self.source[start..end].trim_end_matches('\r').into();
        self.line = Some((start..end, line.clone()));
        line
    }
}

/// A piece of a source as messages quote it: escaped as in JSON, without characters that steer a terminal, cut off when it
/// is long.
pub(crate) fn quote(text: &str) -> String {
    const MAX_UNITS: usize = 200;
    let mut quoted = String::from("\"");
    let mut units = 0;
    for character in text.chars() {
        units += character.len_utf16();
        if units > MAX_UNITS {
            quoted.push('…');
            break;
        }
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            unsafe_one if is_unsafe(unsafe_one) => quoted.push_str(&format!("\\u{:04x}", u32::from(unsafe_one))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Control characters, and those that change the direction of text or break lines.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::{Context, Engine};

    #[test]
    fn reports_show_the_line_and_a_caret() {
        for (source, display, report) in [
            (
                "a\n  ${{ values.name | uper }}\n",
                "Template error at line 2, column 21: Unknown template filter \"uper\"; did you mean \"upper\"?",
                "f.txt:2:21: Unknown template filter \"uper\"; did you mean \"upper\"?\n 2 |   ${{ values.name | uper }}\n   |                     ^",
            ),
            // The language counts columns in UTF-16 code units, people in characters.
            (
                "\u{1f600}\t${{ a is od }}",
                "Template error at line 1, column 13: Unknown template test \"od\"; did you mean \"odd\"?",
                "f.txt:1:12: Unknown template test \"od\"; did you mean \"odd\"?\n 1 | \u{1f600}    ${{ a is od }}\n   |                ^",
            ),
            (
                "${{ a || b }}",
                "Template error at line 1, column 8: Expected name, received \"|\"",
                "f.txt:1:8: Expected name, received \"|\"; write \"or\" instead of \"||\"\n 1 | ${{ a || b }}\n   |        ^",
            ),
            (
                "${{ ragne(3) }}",
                "Template error at line 1, column 5: Template value \"ragne\" resolved to undefined and cannot be called",
                "f.txt:1:5: Template value \"ragne\" resolved to undefined and cannot be called; did you mean \"range\"?\n 1 | ${{ ragne(3) }}\n   |     ^",
            ),
            (
                "${{ name.toUppercase() }}",
                "Template error at line 1, column 10: Template value \"name.toUppercase\" resolved to undefined and cannot be called",
                "f.txt:1:10: Template value \"name.toUppercase\" resolved to undefined and cannot be called; did you mean \"toUpperCase\"?\n 1 | ${{ name.toUppercase() }}\n   |          ^",
            ),
            (
                "${{ namme.trim() }}",
                "Template error at line 1, column 11: Template value \"namme.trim\" resolved to undefined and cannot be called",
                "f.txt:1:11: Template value \"namme.trim\" resolved to undefined and cannot be called; \"namme\" is not defined, did you mean \"name\"?\n 1 | ${{ namme.trim() }}\n   |           ^",
            ),
        ] {
            let context = Context::try_from(&json!({"name": "x"})).unwrap();
            let error = Engine::default().render_str(source, &context).unwrap_err();
            assert_eq!(error.to_string(), display);
            assert_eq!(error.report("f.txt"), report, "\n{}", error.report("f.txt"));
        }
    }

    #[test]
    fn reports_steer_no_terminal() {
        let error = Engine::default().render_str("${{ a | b }}\u{1b}[2J", &Context::new()).unwrap_err();
        let report = error.report("x\u{1b}]0;\n.txt");
        assert!(report.starts_with("x␛]0;␊.txt:1:9: "), "{report}");
        assert!(!report.contains('\u{1b}'), "{report}");
    }
}
