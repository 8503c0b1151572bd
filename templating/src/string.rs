//! Strings with JavaScript's meaning: a sequence of UTF-16 code units, which may hold lone surrogates.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::number::js_number_to_string;

/// An immutable string, measured and indexed in UTF-16 code units. Cloning is cheap.
///
/// Well-formed text is kept as UTF-8, and pure ASCII is marked so that indices need no counting; short ASCII is kept in
/// place, without memory of its own. Only a string with a lone surrogate (which indexing into an astral character makes)
/// is kept as code units. A given text always has the same representation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Str(Repr);

/// How many bytes of ASCII are kept in place: what makes a string as large as a tag and a fat pointer.
const INLINE: usize = 22;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// At most [`INLINE`] bytes of ASCII; those after `len` are zero.
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Ascii(Arc<str>),
    Unicode {
        text: Arc<str>,
        /// The length in code units.
        units: u32,
    },
    IllFormed(Arc<[u16]>),
}

impl Str {
    /// The string without code units.
    pub(crate) const EMPTY: Self = Self(Repr::Inline { len: 0, bytes: [0; INLINE] });

    /// The string as UTF-8, unless it has a lone surrogate.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::Inline { len, bytes } => std::str::from_utf8(&bytes[..usize::from(*len)]).ok(),
            Repr::Ascii(text) | Repr::Unicode { text, .. } => Some(text),
            Repr::IllFormed(_) => None,
        }
    }

    /// The UTF-8 bytes, unless the string has a lone surrogate. Cheaper than [`as_str`](Self::as_str).
    #[inline]
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Inline { len, bytes } => Some(&bytes[..usize::from(*len)]),
            Repr::Ascii(text) | Repr::Unicode { text, .. } => Some(text.as_bytes()),
            Repr::IllFormed(_) => None,
        }
    }

    /// The string when it is pure ASCII.
    #[inline]
    pub(crate) fn as_ascii(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Inline { len, bytes } => Some(&bytes[..usize::from(*len)]),
            Repr::Ascii(text) => Some(text.as_bytes()),
            Repr::Unicode { .. } | Repr::IllFormed(_) => None,
        }
    }

    /// Short ASCII; the caller has made sure that it is both.
    #[inline]
    fn inline(ascii: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        bytes[..ascii.len()].copy_from_slice(ascii);
        Self(Repr::Inline { len: ascii.len() as u8, bytes })
    }

    /// Text that is not ASCII.
    fn unicode(text: Arc<str>) -> Self {
        // No text of a render is as long as that.
        let units = u32::try_from(text.chars().map(char::len_utf16).sum::<usize>()).unwrap_or(u32::MAX);
        Self(Repr::Unicode { text, units })
    }

    /// How many bytes it takes to find the code unit at an index.
    pub(crate) fn distance(&self, index: usize) -> usize {
        match &self.0 {
            Repr::Unicode { text, .. } => index.min(text.len()),
            _ => 0,
        }
    }

    /// A string of UTF-8 in which lone surrogates are written as WTF-8 has them.
    pub(crate) fn from_wtf8(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE && bytes.is_ascii() {
            return Self::inline(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => Self::from_units(&wtf8_units(bytes)),
        }
    }

    /// The string as UTF-8 with U+FFFD for each lone surrogate.
    pub fn to_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::IllFormed(units) => Cow::Owned(String::from_utf16_lossy(units)),
            _ => Cow::Borrowed(self.as_str().unwrap_or_default()),
        }
    }

    /// The length in UTF-16 code units.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Inline { len, .. } => usize::from(*len),
            Repr::Ascii(text) => text.len(),
            Repr::Unicode { units, .. } => *units as usize,
            Repr::IllFormed(units) => units.len(),
        }
    }

    /// Whether the string has no code units.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Repr::Inline { len: 0, .. })
    }

    /// The memory the text takes, in bytes.
    #[inline]
    pub(crate) fn byte_len(&self) -> usize {
        match &self.0 {
            Repr::Inline { len, .. } => usize::from(*len),
            Repr::Ascii(text) | Repr::Unicode { text, .. } => text.len(),
            Repr::IllFormed(units) => units.len() * 2,
        }
    }

    /// The shared UTF-8 text; a lone surrogate becomes U+FFFD.
    pub(crate) fn to_key(&self) -> Arc<str> {
        match &self.0 {
            Repr::Ascii(text) | Repr::Unicode { text, .. } => text.clone(),
            _ => self.to_lossy().into(),
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
            Repr::Inline { len, bytes } => bytes[..usize::from(*len)].iter().copied().map(u16::from).collect(),
            Repr::Ascii(text) | Repr::Unicode { text, .. } => text.encode_utf16().collect(),
            Repr::IllFormed(units) => units.to_vec(),
        }
    }

    /// The one-unit string at `index`.
    pub(crate) fn unit_at(&self, index: usize) -> Option<u16> {
        match &self.0 {
            Repr::Inline { .. } | Repr::Ascii(_) => self.as_ascii()?.get(index).copied().map(u16::from),
            Repr::Unicode { text, .. } => text.encode_utf16().nth(index),
            Repr::IllFormed(units) => units.get(index).copied(),
        }
    }

    /// The code units from `start` up to `end`; both are clamped to the length.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        if let Some(text) = self.as_ascii() {
            let end = end.min(text.len());
            return if start == 0 && end == text.len() {
                self.clone()
            } else {
                Self::from_wtf8(&text[start.min(end)..end])
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
        if let (Some(a), Some(b)) = (self.as_ascii(), other.as_ascii())
            && a.len() + b.len() <= INLINE
        {
            let mut bytes = [0; INLINE];
            bytes[..a.len()].copy_from_slice(a);
            bytes[a.len()..a.len() + b.len()].copy_from_slice(b);
            return Self(Repr::Inline { len: (a.len() + b.len()) as u8, bytes });
        }
        match (self.as_str(), other.as_str()) {
            (Some(a), Some(b)) => join(a, b).into(),
            _ => {
                let mut units = self.units();
                units.extend(other.units());
                Self::from_units(&units)
            }
        }
    }

    /// The first occurrence of `needle` at or after `from`, in code units.
    pub(crate) fn index_of(&self, needle: &Self, from: usize) -> Option<usize> {
        if let (true, Some(text), Some(needle)) = (self.as_ascii().is_some(), self.as_str(), needle.as_str()) {
            let from = from.min(text.len());
            return text[from..].find(needle).map(|index| index + from);
        }
        let (text, needle) = (self.units(), needle.units());
        let from = from.min(text.len());
        Search::new(needle).first(text[from..].iter().copied()).map(|index| index + from)
    }

    /// The last occurrence of `needle` that starts at or before `from`, in code units.
    pub(crate) fn last_index_of(&self, needle: &Self, from: usize) -> Option<usize> {
        let (text, mut needle) = (self.units(), needle.units());
        let start = from.min(text.len().checked_sub(needle.len())?);
        // Backwards it is the first one.
        let length = needle.len();
        needle.reverse();
        let found = Search::new(needle).first(text[..start + length].iter().rev().copied())?;
        Some(start - found)
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
            Repr::Inline { .. } | Repr::Ascii(_) | Repr::Unicode { .. } => {
                change(self.as_str().unwrap_or_default()).into()
            }
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
        Search::new(separator.units()).all(&self.units()).len() + 1
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
        for found in Search::new(separator.units()).all(&units) {
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

/// A text to be found among code units, which takes about one step for each of them whatever is searched (the algorithm
/// of Knuth, Morris and Pratt).
struct Search {
    needle: Vec<u16>,
    /// For each length of a partial match, how long the next shorter one is that may take its place.
    shorter: Vec<usize>,
    /// How often units have been compared.
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

impl Search {
    fn new(needle: Vec<u16>) -> Self {
        let mut search = Self {
            shorter: vec![0; needle.len() + 1],
            needle,
            #[cfg(test)]
            steps: std::cell::Cell::new(0),
        };
        for end in 1..search.needle.len() {
            search.shorter[end + 1] = search.advance(search.shorter[end], search.needle[end]);
        }
        search
    }

    /// How much of the needle matches after one more unit.
    fn advance(&self, matched: usize, unit: u16) -> usize {
        let mut matched = matched;
        loop {
            #[cfg(test)]
            self.steps.set(self.steps.get() + 1);
            match self.needle.get(matched) {
                Some(wanted) if *wanted == unit => return matched + 1,
                _ if matched == 0 => return 0,
                _ => matched = self.shorter[matched],
            }
        }
    }

    /// Where the first occurrence starts.
    fn first(&self, text: impl Iterator<Item = u16>) -> Option<usize> {
        if self.needle.is_empty() {
            return Some(0);
        }
        let mut matched = 0;
        for (at, unit) in text.enumerate() {
            matched = self.advance(matched, unit);
            if matched == self.needle.len() {
                return Some(at + 1 - matched);
            }
        }
        None
    }

    /// Where all occurrences start, of those that overlap only the first.
    fn all(&self, text: &[u16]) -> Vec<usize> {
        let (mut found, mut start) = (Vec::new(), 0);
        while let Some(at) = self.first(text[start..].iter().copied()) {
            found.push(start + at);
            start += at + self.needle.len().max(1);
        }
        found
    }
}

/// Whether two texts are the same. Names are too short to be compared by a call.
#[inline]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    /// Whether the first and the last so many bytes are the same, which may overlap.
    #[inline(always)]
    fn ends<const N: usize>(one: &[u8], other: &[u8]) -> Option<bool> {
        let first = one.first_chunk::<N>()? == other.first_chunk()?;
        Some(first && one.last_chunk::<N>()? == other.last_chunk()?)
    }
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        4..=8 => ends::<4>(one, other).unwrap_or(false),
        9..=16 => ends::<8>(one, other).unwrap_or(false),
        0..=3 => one.iter().eq(other),
        _ => one == other,
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
        match (self.as_ascii(), other.as_ascii()) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => match (self.as_str(), other.as_str()) {
                (Some(a), Some(b)) => a.encode_utf16().cmp(b.encode_utf16()),
                _ => self.units().cmp(&other.units()),
            },
        }
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        match text.is_ascii() {
            true if text.len() <= INLINE => Self::inline(text.as_bytes()),
            true => Self(Repr::Ascii(text.into())),
            false => Self::unicode(text.into()),
        }
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Arc<str>> for Str {
    fn from(text: Arc<str>) -> Self {
        match text.is_ascii() {
            true if text.len() <= INLINE => Self::inline(text.as_bytes()),
            true => Self(Repr::Ascii(text)),
            false => Self::unicode(text),
        }
    }
}

impl Default for Str {
    fn default() -> Self {
        Self::EMPTY
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
///
/// The text is UTF-8, and a lone surrogate in it is written as if it were a character (WTF-8).
#[derive(Debug, Default)]
pub(crate) struct StrBuilder {
    bytes: Vec<u8>,
    /// Nothing before this is looked at: it belongs to a text that waits for this one.
    floor: usize,
}

impl StrBuilder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), floor: 0 }
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, string: &Str) {
        match &string.0 {
            Repr::Inline { len, bytes } => self.push_short(bytes, usize::from(*len)),
            _ => self.push_long(string),
        }
    }

    #[inline(never)]
    fn push_long(&mut self, string: &Str) {
        match string.as_bytes() {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => string.units().into_iter().for_each(|unit| self.push_unit(unit)),
        }
    }

    /// Appends the first `length` bytes of an array. A copy of a known length and a cut is cheaper than a short copy.
    #[inline(always)]
    fn push_short<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        let end = self.bytes.len() + length;
        self.bytes.extend_from_slice(bytes);
        self.bytes.truncate(end);
    }

    /// Appends a part of a text, which is mostly a short one.
    #[inline]
    pub(crate) fn push_part(&mut self, text: &str, start: usize, end: usize) {
        const SHORT: usize = 16;
        let bytes = text.as_bytes();
        match bytes.get(start..).and_then(<[u8]>::first_chunk::<SHORT>) {
            Some(chunk) if end - start <= SHORT => self.push_short(chunk, end - start),
            _ => self.bytes.extend_from_slice(&bytes[start..end]),
        }
    }

    /// Cuts the text after so many bytes, where a character ends.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
    }

    /// Appends a number's text as JavaScript writes it, and says how long it is.
    #[inline]
    pub(crate) fn push_number(&mut self, number: f64) -> usize {
        // Whole numbers that are not large are most of them.
        let whole = number as i32;
        if f64::from(whole) != number {
            return self.push_any_number(number);
        }
        // Minus zero is written without a sign, as in JavaScript.
        if whole < 0 {
            self.bytes.push(b'-');
        }
        usize::from(whole < 0) + self.push_digits(whole.unsigned_abs())
    }

    /// Appends the digits of a whole number, and says how many they are.
    #[inline]
    fn push_digits(&mut self, number: u32) -> usize {
        if number >= 10_000 {
            return self.push_many_digits(number);
        }
        let count = 1 + usize::from(number >= 10) + usize::from(number >= 100) + usize::from(number >= 1000);
        let digits = u32::from_be_bytes(four_digits(number));
        self.push_short(&(digits << (8 * (4 - count))).to_be_bytes(), count);
        count
    }

    #[inline(never)]
    fn push_many_digits(&mut self, number: u32) -> usize {
        let count = self.push_digits(number / 10_000);
        self.bytes.extend_from_slice(&four_digits(number % 10_000));
        count + 4
    }

    fn push_any_number(&mut self, number: f64) -> usize {
        let text = js_number_to_string(number);
        self.push_str(&text);
        text.len()
    }

    pub(crate) fn push_unit(&mut self, unit: u16) {
        let code_point = match (self.high_surrogate_before(), unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.bytes.truncate(self.bytes.len() - 3);
                0x10000 + (u32::from(high - 0xd800) << 10) + u32::from(unit - 0xdc00)
            }
            _ => u32::from(unit),
        };
        match char::from_u32(code_point) {
            Some(character) => self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {
                let [high, low] = unit.to_be_bytes();
                let second = 0x80 | ((high & 0x0f) << 2) | (low >> 6);
                self.bytes.extend_from_slice(&[0xe0 | (high >> 4), second, 0x80 | (low & 0x3f)]);
            }
        }
    }

    /// The first half of a character, when the text ends with one.
    fn high_surrogate_before(&self) -> Option<u16> {
        match self.bytes[self.floor..] {
            [.., 0xed, second @ 0xa0..=0xaf, third] => {
                Some(0xd000 | (u16::from(second & 0x3f) << 6) | u16::from(third & 0x3f))
            }
            _ => None,
        }
    }

    /// How long the text is so far, in bytes.
    #[inline]
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Starts a text of its own on top of this one. What it gives is to be handed to [`take_inner`](Self::take_inner).
    pub(crate) fn start_inner(&mut self) -> Outer {
        Outer(std::mem::replace(&mut self.floor, self.bytes.len()))
    }

    /// Ends the text that was started last, and takes it.
    pub(crate) fn take_inner(&mut self, outer: Outer) -> Str {
        let text = Str::from_wtf8(&self.bytes[self.floor..]);
        self.bytes.truncate(self.floor);
        self.floor = outer.0;
        text
    }

    /// The length in UTF-16 code units of what came after the first `start` bytes.
    pub(crate) fn units_since(&self, start: usize) -> usize {
        let bytes = &self.bytes[start..];
        if bytes.is_ascii() {
            return bytes.len();
        }
        // Each character has one byte that continues none, and those of four bytes are two units.
        let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
        bytes.len() - bytes.iter().filter(continues).count() + bytes.iter().filter(|byte| **byte >= 0xf0).count()
    }

    pub(crate) fn finish(self) -> Str {
        Str::from_wtf8(&self.bytes)
    }

    /// The text with U+FFFD for each lone surrogate.
    pub(crate) fn finish_lossy(self) -> String {
        String::from_utf8(self.bytes).unwrap_or_else(|error| {
            // A surrogate takes as many bytes as what it becomes.
            let mut bytes = error.into_bytes();
            for at in 0..bytes.len().saturating_sub(2) {
                if bytes[at] == 0xed && bytes[at + 1] >= 0xa0 {
                    bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
                }
            }
            String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        })
    }
}

/// A number below 10,000 in four digits.
#[inline]
fn four_digits(number: u32) -> [u8; 4] {
    let (high, low) = (number / 100, number % 100);
    let digit = |number: u32| b'0' + number as u8;
    [digit(high / 10), digit(high % 10), digit(low / 10), digit(low % 10)]
}

/// What a text on top of another one must remember of that.
#[derive(Debug)]
pub(crate) struct Outer(usize);

/// The code units of WTF-8.
fn wtf8_units(bytes: &[u8]) -> Vec<u16> {
    // Each unit has one byte that continues none, and a character of four bytes is two.
    let counts = |byte: &u8| usize::from(*byte & 0xc0 != 0x80) + usize::from(*byte >= 0xf0);
    let mut units = Vec::with_capacity(bytes.iter().map(counts).sum());
    let mut rest = bytes;
    while !rest.is_empty() {
        // 0xED starts the characters U+D000 to U+D7FF and, with a second byte from 0xA0, the surrogates.
        let lone = rest.windows(3).position(|window| window[0] == 0xed && window[1] >= 0xa0);
        let (text, after) = rest.split_at(lone.unwrap_or(rest.len()));
        units.extend(String::from_utf8_lossy(text).encode_utf16());
        rest = match after {
            [_, second, third, after @ ..] => {
                units.push(0xd000 | (u16::from(second & 0x3f) << 6) | u16::from(third & 0x3f));
                after
            }
            _ => &[],
        };
    }
    units
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
    fn compares_bytes() {
        let text = b"abcdefghijklmnopqrstuvwxyz";
        for length in 0..text.len() {
            let one = &text[..length];
            assert!(is_same(one, &text.to_vec()[..length]) && !is_same(one, &text[..length + 1]));
            for at in 0..length {
                let mut other = one.to_vec();
                other[at] = b'-';
                assert!(!is_same(one, &other), "{length} {at}");
            }
        }
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
    fn searches_take_a_step_for_each_unit() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        for (text, needle, expected) in [
            ("é".repeat(20_000), format!("{}a", "é".repeat(1_000)), None),
            (format!("{}a", "é".repeat(20_000)), format!("{}a", "é".repeat(1_000)), Some(19_000)),
            ("éa".repeat(10_000), format!("{}b", "éa".repeat(1_000)), None),
        ] {
            let search = Search::new(units(&needle));
            assert_eq!(search.first(units(&text).into_iter()), expected);
            let most = 3 * (text.chars().count() + needle.chars().count());
            assert!(search.steps.get() <= most, "{} steps", search.steps.get());
            assert_eq!(Str::from(text.as_str()).index_of(&needle.as_str().into(), 0), expected);
        }
        let text = Str::from("éabéabé");
        assert_eq!((text.index_of(&"abé".into(), 2), text.last_index_of(&"abé".into(), 3)), (Some(4), Some(1)));
        assert_eq!((text.last_index_of(&"".into(), 99), text.last_index_of(&"é".into(), 99)), (Some(7), Some(6)));
        assert_eq!((text.index_of(&"".into(), 99), text.index_of(&"x".into(), 0)), (Some(7), None));
    }

    #[test]
    fn writes_whole_numbers() {
        for number in
            [0, 7, -7, 10, 99, 100, 999, 1000, 9999, 10_000, 10_203, 99_999_999, 100_000_000, i32::MIN, i32::MAX]
        {
            let mut builder = StrBuilder::default();
            let length = builder.push_number(f64::from(number));
            assert_eq!(builder.finish_lossy(), number.to_string());
            assert_eq!(length, number.to_string().len());
        }
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
