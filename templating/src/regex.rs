//! Regular expressions with ECMAScript's meaning.

use std::fmt;
use std::sync::Arc;

use understudy_regex::{Flags, Invalid, Match, Text};

use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::string::Str;

/// The longest pattern, in UTF-16 code units.
pub(crate) const MAX_PATTERN_UNITS: usize = 16_384;

/// Up to so many states a search takes about one step for each character.
const LIGHT: usize = 500;

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
        check_length(source)?;
        let compiled = understudy_regex::Regex::new(source, meant(flags)).map_err(fault)?;
        Ok(Self { source: source.into(), flags: flags.into(), compiled: Arc::new(compiled) })
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
        // A pattern of many states may have to take as many steps for each character.
        let weight = usize::try_from(self.compiled.weight()).unwrap_or(usize::MAX);
        interp.charge(if weight > LIGHT { rest.saturating_mul(weight) / 1536 } else { rest / 8192 })?;
        if self.compiled.backtracks() {
            // Every step back may look at all of the rest.
            interp.charge(100 + rest / 8)?;
            if let Ok(found) = self.compiled.find_quickly(text, start) {
                return Ok(found);
            }
            interp.charge(20_000 + rest.saturating_mul(8))?;
        }
        self.compiled.find_at(text, start).map_err(|error| Fault::evaluation(error.to_string()))
    }
}

/// The text in the form in which it is searched, with its code units. A long text is several times as large there.
pub(crate) fn searched(interp: &Interp<'_>, text: &Str) -> Res<(Vec<u16>, Text)> {
    interp.charge_bytes(text.byte_len())?;
    let is_plain = text.as_ascii().is_some();
    interp.check_bytes(text.byte_len().saturating_mul(if is_plain { 8 } else { 4 }))?;
    let units = text.units();
    let searched = Text::new(&units);
    Ok((units, searched))
}

/// Judges a literal without compiling it.
pub(crate) fn validate(source: &str, flags: &str) -> Res<()> {
    check_length(source)?;
    understudy_regex::validate(source, meant(flags)).map_err(fault)
}

/// How many nodes of the syntax tree a literal counts for: compiling it takes time and memory.
pub(crate) fn nodes(source: &str, flags: &str) -> u64 {
    understudy_regex::weight(source, meant(flags)).saturating_mul(4).saturating_add(250)
}

fn meant(flags: &str) -> Flags {
    Flags { ignore_case: flags.contains('i'), multiline: flags.contains('m'), unicode: false }
}

fn check_length(source: &str) -> Res<()> {
    if source.encode_utf16().count() > MAX_PATTERN_UNITS {
        return Err(Fault::evaluation("Regular-expression literal exceeds the maximum length"));
    }
    Ok(())
}

fn fault(error: Invalid) -> Box<Fault> {
    match error {
        Invalid::Syntax(_) => Fault::evaluation("Invalid regular-expression literal"),
        Invalid::Unsupported(reason) => Fault::evaluation(format!("Unsupported regular-expression literal: {reason}")),
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.source(), self.flags())
    }
}
