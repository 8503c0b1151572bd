//! What goes wrong with a template, and where.

use std::fmt;

use crate::limits::LimitKind;

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
    source_line: Option<String>,
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
            source_line: None,
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
#[derive(Debug)]
pub(crate) struct Fault {
    kind: ErrorKind,
    message: String,
    offset: Option<u32>,
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
        Box::new(Self { kind: ErrorKind::Syntax, message: message.into(), offset: Some(offset) })
    }

    pub(crate) fn evaluation(message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind: ErrorKind::Evaluation, message: message.into(), offset: None })
    }

    pub(crate) fn capability(message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind: ErrorKind::Capability, message: message.into(), offset: None })
    }

    pub(crate) fn limit(phase: Phase, kind: LimitKind, configured: u64, observed: u64) -> Box<Self> {
        let phase = match phase {
            Phase::Parsing => "parsing",
            Phase::Evaluation => "evaluation",
            Phase::Rendering => "rendering",
        };
        let message = format!("Template {phase} exceeded the {kind} limit of {configured} (observed {observed})");
        Box::new(Self { kind: ErrorKind::Limit(kind), message, offset: None })
    }

    /// Gives the fault a place, unless it already has a more precise one.
    pub(crate) fn at(mut self: Box<Self>, offset: u32) -> Box<Self> {
        self.offset.get_or_insert(offset);
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
        if !matches!(self.kind, ErrorKind::Limit(_)) {
            self.message = wording(&self.message);
            self.kind = ErrorKind::Capability;
        }
        self
    }

    pub(crate) fn into_error(self, source: &str) -> Error {
        let position = self.offset.map(|offset| Position::find(source, offset));
        Error(Box::new(Inner {
            kind: self.kind,
            message: self.message,
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            source_line: self.offset.map(|offset| line_around(source, offset)),
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
    pub(crate) fn find(source: &str, offset: u32) -> Self {
        let before = &source[..source.floor_char_boundary(offset as usize)];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[start..].encode_utf16().count() + 1;
        // A source is at most 4 Mi code units by default and its offsets are u32, so neither count can overflow.
        Self { line: line as u32, column: column as u32 }
    }
}

fn line_around(source: &str, offset: u32) -> String {
    let offset = source.floor_char_boundary(offset as usize);
    let start = source[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source[offset..].find('\n').map_or(source.len(), |newline| offset + newline);
    source[start..end].trim_end_matches('\r').to_owned()
}
