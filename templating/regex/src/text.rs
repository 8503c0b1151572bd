//! UTF-16 texts as the engines see them.

/// A text of UTF-16 code units, made ready for searching once.
///
/// Every unit is one character for the engines, halves of surrogate pairs being moved to where no unit lies, so that a
/// pattern without the `u` flag sees units as in JavaScript.
#[derive(Debug)]
pub struct Text {
    text: String,
    /// The byte each unit starts at; empty where both count the same.
    starts: Vec<u32>,
}

/// The character that stands for a unit.
pub(crate) fn character(unit: u16) -> char {
    let moved = if (0xD800..0xE000).contains(&unit) { 0x10_0000 + u32::from(unit) } else { u32::from(unit) };
    // Neither is a surrogate, and both are below the last code point.
    char::from_u32(moved).unwrap_or(char::REPLACEMENT_CHARACTER)
}

impl Text {
    /// From code units.
    pub fn new(units: &[u16]) -> Self {
        let text: String = units.iter().map(|unit| character(*unit)).collect();
        let starts =
            if text.len() == units.len() { Vec::new() } else { text.char_indices().map(|(at, _)| at as u32).collect() };
        Self { text, starts }
    }
    /// The number of units.
    pub fn len(&self) -> usize {
        if self.starts.is_empty() { self.text.len() } else { self.starts.len() }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
    pub(crate) fn byte(&self, unit: usize) -> Option<usize> {
        match self.starts.get(unit) {
            Some(byte) => Some(*byte as usize),
            None if self.starts.is_empty() => (unit <= self.text.len()).then_some(unit),
            None => (unit == self.starts.len()).then_some(self.text.len()),
        }
    }
    pub(crate) fn unit(&self, byte: usize) -> usize {
        if self.starts.is_empty() { byte } else { self.starts.partition_point(|start| (*start as usize) < byte) }
    }
}
