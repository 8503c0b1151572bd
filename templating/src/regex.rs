//! Regular expressions with ECMAScript's meaning.

use std::fmt;
use std::sync::Arc;

use understudy_regex::{Flags, Invalid, Match, Text};

use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::string::Str;

/// The longest pattern, in UTF-16 code units.
pub(crate) const MAX_PATTERN_UNITS: usize = 16_384;

/// A regular expression literal of a template: `r/pattern/flags`.
///
/// As in JavaScript, one that was written with `g` or `y` remembers where its last `test` ended; a render keeps that by
/// the identity of the value, so every evaluation of a literal makes a new one.
#[derive(Clone)]
pub struct Regex {
    source: Str,
    flags: Arc<str>,
    compiled: Arc<understudy_regex::Regex>,
}

impl Regex {
    pub(crate) fn new(source: &str, flags: &str) -> Res<Self> {
        if source.encode_utf16().count() > MAX_PATTERN_UNITS {
            return Err(Fault::evaluation("Regular-expression literal exceeds the maximum length"));
        }
        let meant = Flags { ignore_case: flags.contains('i'), multiline: flags.contains('m'), unicode: false };
        let compiled = understudy_regex::Regex::new(source, meant).map_err(|error| match error {
            Invalid::Syntax(_) => Fault::evaluation("Invalid regular-expression literal"),
            Invalid::Unsupported(reason) => {
                Fault::evaluation(format!("Unsupported regular-expression literal: {reason}"))
            }
        })?;
        Ok(Self { source: source.into(), flags: flags.into(), compiled: Arc::new(compiled) })
    }

    /// The pattern and the flags as they are written, with a slash between.
    pub(crate) fn literal(&self) -> String {
        format!("{}/{}", self.source, self.flags)
    }

    /// The flags, in the order in which JavaScript lists them.
    pub(crate) fn flags(&self) -> String {
        ['g', 'i', 'm', 'y'].into_iter().filter(|flag| self.flags.contains(*flag)).collect()
    }

    /// The pattern as JavaScript shows it, as one that could stand between slashes.
    pub(crate) fn source(&self) -> Str {
        if self.source.is_empty() {
            return "(?:)".into();
        }
        let mut shown = String::new();
        let (mut escaped, mut class) = (false, false);
        for character in self.source.to_lossy().chars() {
            match character {
                '/' if !escaped && !class => shown.push_str("\\/"),
                '\n' if escaped => shown.push('n'),
                '\r' if escaped => shown.push('r'),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                other => shown.push(other),
            }
            match character {
                '[' if !escaped => class = true,
                ']' if !escaped => class = false,
                _ => {}
            }
            escaped = character == '\\' && !escaped;
        }
        shown.into()
    }

    /// Whether every match counts, not only the first.
    pub(crate) fn is_global(&self) -> bool {
        self.flags.contains('g')
    }

    /// Whether `test` goes on from where it last ended.
    pub(crate) fn remembers(&self) -> bool {
        self.is_global() || self.is_sticky()
    }

    /// Whether a match must start exactly where the search starts.
    pub(crate) fn is_sticky(&self) -> bool {
        self.flags.contains('y')
    }

    /// The first match at or after `start`, in code units. Charged for the text that may be looked at, which is the
    /// dearer the more a search may go back.
    pub(crate) fn find_at(&self, interp: &mut Interp<'_>, text: &Text, start: usize) -> Res<Option<Match>> {
        let found = self.find_after(interp, text, start)?;
        Ok(found.filter(|found| !self.is_sticky() || found.start() == start))
    }

    /// The same without regard to `y`.
    pub(crate) fn find_after(&self, interp: &mut Interp<'_>, text: &Text, start: usize) -> Res<Option<Match>> {
        let Some(rest) = text.len().checked_sub(start) else { return Ok(None) };
        interp.charge(if self.compiled.backtracks() { 500 + rest / 256 } else { rest / 16_384 })?;
        self.compiled.find_at(text, start).map_err(|error| Fault::evaluation(error.to_string()))
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.source(), self.flags())
    }
}
