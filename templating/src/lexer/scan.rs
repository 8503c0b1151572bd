//! Finding things in the code of a tag before it is tokenized: what stands in strings, regular expressions and brackets
//! doesn't count.

use std::ops::Range;

use super::tag::is_code_whitespace;
use super::token::{after_regex, regex_length, scan_regex};
use crate::error::Res;

/// Where the string or regular expression that starts at `at` ends, or the word or number. `None` when none does.
pub(super) fn skip(source: &str, at: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    match bytes[at] {
        quote @ (b'"' | b'\'') => Some(skip_quoted(bytes, at + 1, quote).unwrap_or(bytes.len())),
        b'r' if bytes.get(at + 1) == Some(&b'/') => match regex_length(&source[at + 2..]) {
            Ok(length) => Some(at + 2 + length + 1),
            // The splitter refuses this.
            Err(_) => Some(bytes.len()),
        },
        _ => {
            let word = word_length(&bytes[at..]);
            (word > 0).then_some(at + word)
        }
    }
}

/// Which bytes can be in a name.
const NAME_BYTES: [bool; 256] = {
    let mut is_part = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        is_part[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    is_part
};

#[inline]
pub(super) fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

/// How many bytes of a word or number the text starts with.
#[inline]
pub(super) fn word_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]).unwrap_or(text.len())
}

/// As [`skip`], and complains about regular expressions.
pub(super) fn skip_checked(source: &str, at: usize) -> Res<Option<usize>> {
    if source.as_bytes()[at..].starts_with(b"r/") {
        let (pattern, flags) = scan_regex(source, at)?;
        return Ok(Some(after_regex(at, pattern, flags)));
    }
    Ok(skip(source, at))
}

/// The offset after the closing `quote`, or `None` when there is none.
pub(super) fn skip_quoted(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' => 2,
            byte if *byte == quote => return Some(at + 1),
            _ => 1,
        };
    }
    None
}

/// The first `wanted` outside of brackets. A closing bracket needs no opening one to count.
pub(crate) fn find_top_level(source: &str, code: Range<usize>, wanted: u8) -> Option<usize> {
    walk(source, code).find(|(at, depth)| *depth == 0 && source.as_bytes()[*at] == wanted).map(|(at, _)| at)
}

/// The word `wanted` outside of brackets, with white space on both sides: what is before and after it.
pub(crate) fn split_at_word(source: &str, code: Range<usize>, wanted: &str) -> Option<(Range<usize>, Range<usize>)> {
    let before = |at: usize| source[code.start..at].chars().next_back().is_none_or(is_code_whitespace);
    let after = |at: usize| source[at..code.end].chars().next().is_none_or(is_code_whitespace);
    let (at, _) = walk(source, code.clone()).find(|(at, depth)| {
        let end = at + wanted.len();
        *depth == 0
            && skip(source, *at).is_some_and(|word| word == end && source[*at..end] == *wanted)
            && before(*at)
            && after(end)
    })?;
    Some((trimmed(source, code.start..at), trimmed(source, at + wanted.len()..code.end)))
}

/// The bracket that closes the one at the start of the code.
pub(crate) fn matching_bracket(source: &str, code: Range<usize>) -> Option<usize> {
    let mut open = Vec::new();
    for (at, _) in walk(source, code) {
        match source.as_bytes()[at] {
            b'(' => open.push(b')'),
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            byte if open.last() == Some(&byte) => {
                open.pop();
                if open.is_empty() {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The code without the white space around it.
pub(crate) fn trimmed(source: &str, code: Range<usize>) -> Range<usize> {
    let text = &source[code.clone()];
    let end = code.start + text.trim_end_matches(is_code_whitespace).len();
    let start = end - source[code.start..end].trim_start_matches(is_code_whitespace).len();
    start..end
}

/// The offsets of the words, strings and characters of the code, each with how many brackets are open before it.
fn walk(source: &str, code: Range<usize>) -> impl Iterator<Item = (usize, i32)> {
    let mut at = code.start;
    let mut depth = 0;
    std::iter::from_fn(move || {
        if at >= code.end {
            return None;
        }
        let found = (at, depth);
        at = match skip(source, at) {
            Some(end) => end,
            None => {
                match source.as_bytes()[at] {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' => depth -= 1,
                    _ => {}
                }
                at + 1
            }
        };
        Some(found)
    })
}
