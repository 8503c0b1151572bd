//! Regular expressions with ECMAScript's meaning.

use std::fmt;
use std::sync::Arc;

use crate::error::{Fault, Res};
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
    compiled: Arc<regress::Regex>,
}

impl Regex {
    pub(crate) fn new(source: &str, flags: &str) -> Res<Self> {
        if source.encode_utf16().count() > MAX_PATTERN_UNITS {
            return Err(Fault::evaluation(format!(
                "Regular-expression pattern cannot exceed {MAX_PATTERN_UNITS} UTF-16 code units"
            )));
        }
        let compile_flags: String = flags.chars().filter(|flag| matches!(flag, 'i' | 'm')).collect();
        let compiled = regress::Regex::with_flags(source, compile_flags.as_str())
            .map_err(|_| Fault::evaluation("Invalid regular-expression literal"))?;
        Ok(Self { source: source.into(), flags: flags.into(), compiled: Arc::new(compiled) })
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

    /// The first match at or after `start`, in code units.
    pub(crate) fn find_at(&self, text: &[u16], start: usize) -> Option<regress::Match> {
        if start > text.len() {
            return None;
        }
        let found = self.compiled.find_from_ucs2(text, start).next()?;
        (!self.is_sticky() || found.start() == start).then_some(found)
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.source, self.flags)
    }
}
