//! Strings with JavaScript's meaning: a sequence of UTF-16 code units, which may hold lone surrogates.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// An immutable string, measured and indexed in UTF-16 code units. Cloning is cheap.
///
/// Well-formed text is kept as UTF-8, and pure ASCII is marked so that indices need no counting. Only a string with a
/// lone surrogate (which indexing into an astral character makes) is kept as code units. A given text always has the
/// same representation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Str(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Ascii(Arc<str>),
    Unicode(Arc<str>),
    IllFormed(Arc<[u16]>),
}

impl Str {
    /// The string as UTF-8, unless it has a lone surrogate.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => Some(text),
            Repr::IllFormed(_) => None,
        }
    }

    /// The string as UTF-8 with U+FFFD for each lone surrogate.
    pub fn to_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => Cow::Borrowed(text),
            Repr::IllFormed(units) => Cow::Owned(String::from_utf16_lossy(units)),
        }
    }

    /// The length in UTF-16 code units.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Ascii(text) => text.len(),
            Repr::Unicode(text) => text.chars().map(char::len_utf16).sum(),
            Repr::IllFormed(units) => units.len(),
        }
    }

    /// Whether the string has no code units.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::Ascii(text) => text.is_empty(),
            Repr::Unicode(_) | Repr::IllFormed(_) => false,
        }
    }

    /// Whether both are the same string in memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Ascii(a), Repr::Ascii(b)) | (Repr::Unicode(a), Repr::Unicode(b)) => Arc::ptr_eq(a, b),
            (Repr::IllFormed(a), Repr::IllFormed(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The memory the text takes, in bytes.
    pub(crate) fn byte_len(&self) -> usize {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => text.len(),
            Repr::IllFormed(units) => units.len() * 2,
        }
    }

    /// The shared UTF-8 text; a lone surrogate becomes U+FFFD.
    pub(crate) fn to_key(&self) -> Arc<str> {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => text.clone(),
            Repr::IllFormed(units) => String::from_utf16_lossy(units).into(),
        }
    }

    /// The UTF-16 code units.
    pub fn code_units(&self) -> impl Iterator<Item = u16> {
        self.units().into_iter()
    }

    pub(crate) fn from_units(units: &[u16]) -> Self {
        match String::from_utf16(units) {
            Ok(text) => text.into(),
            Err(_) => Self(Repr::IllFormed(units.into())),
        }
    }

    pub(crate) fn units(&self) -> Vec<u16> {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => text.encode_utf16().collect(),
            Repr::IllFormed(units) => units.to_vec(),
        }
    }

    /// The one-unit string at `index`.
    pub(crate) fn unit_at(&self, index: usize) -> Option<u16> {
        match &self.0 {
            Repr::Ascii(text) => text.as_bytes().get(index).copied().map(u16::from),
            Repr::Unicode(text) => text.encode_utf16().nth(index),
            Repr::IllFormed(units) => units.get(index).copied(),
        }
    }

    /// The code units from `start` up to `end`; both are clamped to the length.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        if let Repr::Ascii(text) = &self.0 {
            let end = end.min(text.len());
            return if start == 0 && end == text.len() {
                self.clone()
            } else {
                Self(Repr::Ascii(text[start.min(end)..end].into()))
            };
        }
        let units = self.units();
        let end = end.min(units.len());
        Self::from_units(&units[start.min(end)..end])
    }

    /// Each code unit as a string of its own.
    pub(crate) fn each_unit(&self) -> Vec<Self> {
        self.units().into_iter().map(|unit| Self::from_units(&[unit])).collect()
    }

    pub(crate) fn concat(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Repr::Ascii(a), Repr::Ascii(b)) => Self(Repr::Ascii(join(a, b))),
            (Repr::Ascii(a) | Repr::Unicode(a), Repr::Ascii(b) | Repr::Unicode(b)) => Self(Repr::Unicode(join(a, b))),
            _ => {
                let mut units = self.units();
                units.extend(other.units());
                Self::from_units(&units)
            }
        }
    }

    /// The first occurrence of `needle` at or after `from`, in code units.
    pub(crate) fn index_of(&self, needle: &Self, from: usize) -> Option<usize> {
        if let (Repr::Ascii(text), Some(needle)) = (&self.0, needle.as_str()) {
            let from = from.min(text.len());
            return text[from..].find(needle).map(|index| index + from);
        }
        let (text, needle) = (self.units(), needle.units());
        let from = from.min(text.len());
        if needle.is_empty() {
            return Some(from);
        }
        text[from..].windows(needle.len()).position(|window| window == needle).map(|index| index + from)
    }

    /// The last occurrence of `needle` that starts at or before `from`, in code units.
    pub(crate) fn last_index_of(&self, needle: &Self, from: usize) -> Option<usize> {
        let (text, needle) = (self.units(), needle.units());
        if needle.len() > text.len() {
            return None;
        }
        let start = from.min(text.len() - needle.len());
        (0..=start).rev().find(|index| text[*index..].starts_with(&needle))
    }

    pub(crate) fn contains(&self, needle: &Self) -> bool {
        match (self.as_str(), needle.as_str()) {
            (Some(text), Some(needle)) => text.contains(needle),
            _ => self.index_of(needle, 0).is_some(),
        }
    }

    /// Applies a change that is defined on well-formed text to each well-formed run, leaving lone surrogates alone.
    pub(crate) fn map_text(&self, change: impl Fn(&str) -> String) -> Self {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => change(text).into(),
            Repr::IllFormed(units) => {
                let mut result = StrBuilder::default();
                let mut run = String::new();
                for decoded in char::decode_utf16(units.iter().copied()) {
                    match decoded {
                        Ok(character) => run.push(character),
                        Err(lone) => {
                            result.push_str(&change(&run));
                            run.clear();
                            result.push_unit(lone.unpaired_surrogate());
                        }
                    }
                }
                result.push_str(&change(&run));
                result.finish()
            }
        }
    }

    /// How many pieces [`split`](Self::split) would give.
    pub(crate) fn split_count(&self, separator: &Self) -> usize {
        if separator.is_empty() {
            return self.len();
        }
        if let (Some(text), Some(separator)) = (self.as_str(), separator.as_str()) {
            return text.matches(separator).count() + 1;
        }
        let (mut count, mut start) = (1, 0);
        while let Some(found) = self.index_of(separator, start) {
            count += 1;
            start = found + separator.len();
        }
        count
    }

    /// The pieces between occurrences of `separator`; an empty separator gives the single code units.
    pub(crate) fn split(&self, separator: &Self) -> Vec<Self> {
        if separator.is_empty() {
            return self.each_unit();
        }
        if let (Some(text), Some(separator)) = (self.as_str(), separator.as_str()) {
            return text.split(separator).map(Self::from).collect();
        }
        let (units, step) = (self.units(), separator.len());
        let mut pieces = Vec::new();
        let mut start = 0;
        while let Some(found) = self.index_of(separator, start) {
            pieces.push(Self::from_units(&units[start..found]));
            start = found + step;
        }
        pieces.push(Self::from_units(&units[start.min(units.len())..]));
        pieces
    }

    pub(crate) fn trim_start(&self) -> Self {
        let units = self.units();
        let start = units.iter().position(|unit| !is_whitespace_unit(*unit)).unwrap_or(units.len());
        if start == 0 { self.clone() } else { Self::from_units(&units[start..]) }
    }

    pub(crate) fn trim_end(&self) -> Self {
        let units = self.units();
        let end = units.iter().rposition(|unit| !is_whitespace_unit(*unit)).map_or(0, |last| last + 1);
        if end == units.len() { self.clone() } else { Self::from_units(&units[..end]) }
    }

    pub(crate) fn trim(&self) -> Self {
        match self.as_str() {
            Some(text) => {
                let trimmed = text.trim_matches(is_js_whitespace);
                if trimmed.len() == text.len() { self.clone() } else { trimmed.into() }
            }
            None => self.trim_start().trim_end(),
        }
    }
}

fn join(a: &str, b: &str) -> Arc<str> {
    let mut text = String::with_capacity(a.len() + b.len());
    text.push_str(a);
    text.push_str(b);
    text.into()
}

/// ECMAScript's `WhiteSpace` and `LineTerminator`: what `\s` and `trim` mean.
pub(crate) fn is_js_whitespace(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

fn is_whitespace_unit(unit: u16) -> bool {
    char::from_u32(u32::from(unit)).is_some_and(is_js_whitespace)
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    /// By code units, as JavaScript compares.
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Ascii(a), Repr::Ascii(b)) => a.cmp(b),
            (Repr::IllFormed(_), _) | (_, Repr::IllFormed(_)) => self.units().cmp(&other.units()),
            (Repr::Ascii(a) | Repr::Unicode(a), Repr::Ascii(b) | Repr::Unicode(b)) => {
                a.encode_utf16().cmp(b.encode_utf16())
            }
        }
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        if text.is_ascii() { Self(Repr::Ascii(text.into())) } else { Self(Repr::Unicode(text.into())) }
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::from(Arc::<str>::from(text))
    }
}

impl From<Arc<str>> for Str {
    fn from(text: Arc<str>) -> Self {
        if text.is_ascii() { Self(Repr::Ascii(text)) } else { Self(Repr::Unicode(text)) }
    }
}

impl Default for Str {
    fn default() -> Self {
        Self::from("")
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lossy())
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_lossy(), f)
    }
}

/// Puts a string together. Halves of a character that come one after the other make the character again.
#[derive(Debug, Default)]
pub(crate) struct StrBuilder {
    text: String,
    /// Once a lone surrogate has come: everything so far, in code units.
    units: Option<Vec<u16>>,
}

impl StrBuilder {
    pub(crate) fn push_str(&mut self, text: &str) {
        match &mut self.units {
            None => self.text.push_str(text),
            Some(units) => units.extend(text.encode_utf16()),
        }
    }

    pub(crate) fn push(&mut self, string: &Str) {
        match &string.0 {
            Repr::Ascii(text) | Repr::Unicode(text) => self.push_str(text),
            Repr::IllFormed(more) => self.as_units().extend_from_slice(more),
        }
    }

    pub(crate) fn push_unit(&mut self, unit: u16) {
        match char::from_u32(u32::from(unit)) {
            Some(character) if self.units.is_none() => self.text.push(character),
            _ => self.as_units().push(unit),
        }
    }

    fn as_units(&mut self) -> &mut Vec<u16> {
        let text = &mut self.text;
        self.units.get_or_insert_with(|| std::mem::take(text).encode_utf16().collect())
    }

    pub(crate) fn finish(self) -> Str {
        match self.units {
            None => self.text.into(),
            Some(units) => Str::from_units(&units),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_code_units() {
        let string = Str::from("a😀b");
        assert_eq!(string.len(), 4);
        assert_eq!(string.unit_at(1), Some(0xd83d));
        assert_eq!(string.slice(1, 3), Str::from("😀"));
        assert_eq!(string.index_of(&Str::from("b"), 0), Some(3));
        assert_eq!(string.slice(1, 2).as_str(), None);
        assert_eq!(string.slice(1, 2).to_lossy(), "\u{fffd}");
    }

    #[test]
    fn halves_join_again() {
        let string = Str::from("a😀b");
        assert_eq!(string.slice(0, 2).concat(&string.slice(2, 4)), string);
        let mut builder = StrBuilder::default();
        for unit in string.each_unit() {
            builder.push(&unit);
        }
        assert_eq!(builder.finish(), string);
    }

    #[test]
    fn orders_by_code_unit() {
        assert!(Str::from("\u{10000}") < Str::from("\u{ffff}"));
        assert!(Str::from("a") < Str::from("b"));
    }

    #[test]
    fn splits_and_searches() {
        let pieces = Str::from("a,b,").split(&Str::from(","));
        assert_eq!(pieces, [Str::from("a"), Str::from("b"), Str::from("")]);
        for (text, separator, count) in [("a,b,", ",", 3), ("", ",", 1), ("aaa", "aa", 2), ("aé", "", 2), ("", "", 0)]
        {
            assert_eq!(Str::from(text).split_count(&separator.into()), count, "{text:?} at {separator:?}");
            assert_eq!(Str::from(text).split(&separator.into()).len(), count, "{text:?} at {separator:?}");
        }
        let odd = Str::from_units(&[0xd800, 0x2c, 0xd800]);
        assert_eq!((odd.split_count(&",".into()), odd.split(&",".into()).len()), (2, 2));
        assert_eq!(Str::from("abab").last_index_of(&Str::from("ab"), usize::MAX), Some(2));
        assert_eq!(Str::from("abab").last_index_of(&Str::from("ab"), 1), Some(0));
        assert_eq!(Str::from("\u{feff} x\u{a0}\n").trim(), Str::from("x"));
    }
}
