//! Splits a source into literal text and tags, with all whitespace control done.

use std::ops::Range;

use super::scan;
use super::token::is_word_character;
use crate::dialect::Dialect;
use crate::engine::Syntax;
use crate::error::{Fault, Res};
use crate::string::is_js_whitespace;

/// A stretch of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it starts, delimiters included.
    pub(crate) offset: u32,
    start: u32,
    end: u32,
    pub(crate) kind: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Text,
    /// An interpolation.
    Variable,
    /// A block tag.
    Block,
}

impl Piece {
    fn new(offset: usize, kind: PieceKind, range: Range<usize>) -> Self {
        // No source is longer than `u32::MAX / 4`.
        Self { offset: offset as u32, start: range.start as u32, end: range.end as u32, kind }
    }

    /// The text, or the code between the delimiters.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Variable,
    Block,
    Comment,
    StrayCommentEnd,
}

const BLOCK_START: &str = "{%";
const BLOCK_END: &str = "%}";
const COMMENT_START: &str = "{#";
const COMMENT_END: &str = "#}";

/// Splits `source`. Comments are gone from the result, and no text is empty; with [`Dialect::Nunjucks3`] a text is
/// there even if whitespace control has left nothing of it, since it counts as one there.
/// `room` is a list whose memory is used.
pub(crate) fn split(source: &str, syntax: &Syntax, room: Vec<Piece>) -> Res<Vec<Piece>> {
    let mut pieces = room;
    pieces.clear();
    pieces.reserve(8 + source.len() / 64);
    Splitter { source, syntax, pieces, position: 0, trim_next: Trim::Nothing, slashes_left: true, after_raw: false }
        .run()
}

/// From so many pieces on, room that is left over is given back.
const MANY: usize = 4096;

/// What to drop from the start of the text after a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trim {
    Nothing,
    /// After `-%}`: all whitespace.
    Whitespace,
    /// After a block tag with `trim_blocks`: one line break.
    LineBreak,
    /// After one that ends with `-%}`: a line break that is never seen, and all whitespace.
    LineBreakAndWhitespace,
}

struct Splitter<'s> {
    source: &'s str,
    syntax: &'s Syntax,
    pieces: Vec<Piece>,
    position: usize,
    trim_next: Trim,
    /// Whether a search for the end of a regular expression can still succeed. Each failed one has read to the end of
    /// the source, so there must not be a second.
    slashes_left: bool,
    /// Whether the last piece is what a `raw` tag had in it. The text after the tag goes on with it.
    after_raw: bool,
}

impl Splitter<'_> {
    fn run(mut self) -> Res<Vec<Piece>> {
        while let Some((start, tag)) = self.find_tag() {
            let opening = match tag {
                Tag::Variable => self.syntax.variable_start.len(),
                _ => 2,
            };
            if tag == Tag::StrayCommentEnd {
                return Err(Fault::syntax(start as u32, "Unexpected end of comment"));
            }
            let mut code_start = start + opening;
            let trims_before = self.source[code_start..].starts_with('-');
            if trims_before {
                code_start += 1;
            }
            let strips = tag == Tag::Block && self.syntax.lstrip_blocks;
            self.push_text(self.position..start, trims_before, strips);
            match tag {
                Tag::Comment => self.comment(start, code_start)?,
                Tag::Variable => {
                    let (code, end) = self.find_end(start, code_start, &self.syntax.variable_end, "variable")?;
                    self.pieces.push(Piece::new(start, PieceKind::Variable, code));
                    self.position = end;
                }
                Tag::Block | Tag::StrayCommentEnd => self.block(start, code_start)?,
            }
        }
        self.push_text(self.position..self.source.len(), false, false);
        if self.pieces.capacity() > MANY {
            self.pieces.shrink_to_fit();
        }
        Ok(self.pieces)
    }

    /// The next tag at or after the current position.
    fn find_tag(&self) -> Option<(usize, Tag)> {
        let variable_start = self.syntax.variable_start.as_bytes();
        let variable_first = *variable_start.first()?;
        let bytes = self.source.as_bytes();
        let mut at = self.position;
        loop {
            at += bytes[at..].iter().position(|byte| matches!(byte, b'{' | b'#') || *byte == variable_first)?;
            let rest = &bytes[at..];
            let tag = if rest.starts_with(variable_start) {
                Tag::Variable
            } else if rest.starts_with(BLOCK_START.as_bytes()) {
                Tag::Block
            } else if rest.starts_with(COMMENT_START.as_bytes()) {
                Tag::Comment
            } else if rest.starts_with(COMMENT_END.as_bytes()) {
                Tag::StrayCommentEnd
            } else {
                at += 1;
                continue;
            };
            return Some((at, tag));
        }
    }

    fn comment(&mut self, start: usize, code_start: usize) -> Res<()> {
        let length = self.source[code_start..]
            .find(COMMENT_END)
            .ok_or_else(|| Fault::syntax(start as u32, "Unterminated comment tag"))?;
        let code_end = code_start + length;
        let trims = self.source[start..code_end].ends_with('-');
        self.trim_next = if trims { Trim::Whitespace } else { Trim::Nothing };
        self.position = code_end + COMMENT_END.len();
        Ok(())
    }

    fn block(&mut self, start: usize, code_start: usize) -> Res<()> {
        let (code, end) = self.find_end(start, code_start, BLOCK_END, "block")?;
        self.position = end;
        if self.syntax.trim_blocks {
            self.trim_next = match self.trim_next {
                Trim::Nothing => Trim::LineBreak,
                _ => Trim::LineBreakAndWhitespace,
            };
        }
        let name = self.source[code.clone()].trim_matches(is_code_whitespace);
        let keyword = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        if matches!(keyword, "raw" | "verbatim") {
            if name != keyword {
                let message = format!("{keyword} tag does not accept trailing content");
                return Err(Fault::syntax(start as u32, message));
            }
            return self.raw(start, keyword);
        }
        self.pieces.push(Piece::new(start, PieceKind::Block, code));
        Ok(())
    }

    /// The body of a `raw` or `verbatim` tag, up to the closer that matches it.
    fn raw(&mut self, start: usize, keyword: &str) -> Res<()> {
        let body_start = self.position;
        let closer = format!("end{keyword}");
        let mut depth = 1;
        let mut from = body_start;
        // The end of the last tag that counted.
        let mut seen = body_start;
        while let Some(at) = self.source[from..].find(BLOCK_START).map(|at| at + from) {
            from = at + BLOCK_START.len();
            let rest = &self.source[from..];
            let inner = rest.trim_start_matches(is_js_whitespace);
            let Some((name, after)) = [closer.as_str(), keyword]
                .into_iter()
                .find_map(|name| inner.strip_prefix(name).map(|after| (name, after)))
            else {
                continue;
            };
            let Some(tail) = after.trim_start_matches(is_js_whitespace).strip_prefix(BLOCK_END) else { continue };
            let end = self.source.len() - tail.len();
            from = end;
            seen = end;
            if name == keyword {
                depth += 1;
                continue;
            }
            depth -= 1;
            if depth > 0 {
                continue;
            }
            let breaks: &[char] = if self.keeps_empty_text() { &['\n', '\r'] } else { &['\n'] };
            if self.source[at..end].contains(breaks) {
                let message = format!("{keyword} closing tag cannot contain a line break");
                return Err(Fault::syntax(at as u32, message));
            }
            if self.syntax.dialect == Dialect::Nunjitsu {
                // Nothing but the break after the opening tag is trimmed, and a dash there trims after the closing one.
                let body = &self.source[body_start..at];
                let opened = match self.trim_next {
                    _ if !self.syntax.trim_blocks => body,
                    _ => body.strip_prefix("\r\n").or_else(|| body.strip_prefix('\n')).unwrap_or(body),
                };
                if !opened.is_empty() {
                    self.pieces.push(Piece::new(start, PieceKind::Text, at - opened.len()..at));
                    self.after_raw = true;
                }
                if self.trim_next == Trim::LineBreak {
                    self.trim_next = Trim::Nothing;
                }
                self.position = end;
                return Ok(());
            }
            // A dash at the end of the opening tag is for the text behind the closing one.
            let trims = matches!(self.trim_next, Trim::Whitespace | Trim::LineBreakAndWhitespace);
            self.trim_next = if self.syntax.trim_blocks { Trim::LineBreak } else { Trim::Nothing };
            let pieces = self.pieces.len();
            self.push_text(body_start..at, false, false);
            if self.pieces.len() == pieces && self.keeps_empty_text() {
                self.pieces.push(Piece::new(at, PieceKind::Text, at..at));
            }
            self.trim_next = if trims { Trim::Whitespace } else { Trim::Nothing };
            self.position = end;
            return Ok(());
        }
        if self.syntax.dialect == Dialect::Nunjucks3 {
            // What was seen of it is raw, the rest is a template again.
            self.pieces.push(Piece::new(body_start, PieceKind::Text, body_start..seen));
            self.position = seen;
            return Ok(());
        }
        Err(Fault::syntax(start as u32, format!("Missing \"{closer}\" tag")))
    }

    /// The end of a tag's code and of the tag. Delimiters inside strings and regular expressions don't count.
    fn find_end(&mut self, start: usize, code_start: usize, end: &str, what: &str) -> Res<(Range<usize>, usize)> {
        let bytes = self.source.as_bytes();
        let mut at = code_start;
        while at < bytes.len() {
            at = self.ordinary(at, end);
            if at == bytes.len() {
                break;
            }
            if let Some(after) = self.skip(at)? {
                at = after;
            } else if bytes[at..].starts_with(end.as_bytes()) {
                // The dash may be the one that has trimmed before the tag.
                let trims = bytes[at - 1] == b'-';
                self.trim_next = if trims { Trim::Whitespace } else { Trim::Nothing };
                let code_end = if trims { (at - 1).max(code_start) } else { at };
                return Ok((code_start..code_end, at + end.len()));
            } else if self.syntax.dialect == Dialect::Nunjucks3
                && [b"%}", b"}}"].iter().any(|end| bytes[at..].starts_with(*end))
            {
                let message = format!("The {what} tag does not end with the delimiter of its kind");
                return Err(Fault::syntax(at as u32, message));
            } else {
                at += 1;
            }
        }
        Err(Fault::syntax(start as u32, format!("Unterminated {what} tag")))
    }

    /// The first place from `at` on where something may start that is more than a word or a symbol.
    #[inline]
    fn ordinary(&self, at: usize, end: &str) -> usize {
        let bytes = self.source.as_bytes();
        let start = at;
        let first = match end.as_bytes().first() {
            Some(first) if self.syntax.dialect == Dialect::Nunjitsu && !scan::is_name_byte(*first) => *first,
            _ => return start,
        };
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            let may_start = |byte: u8| matches!(byte, b'"' | b'\'' | b'r') || byte == first;
            let in_word = || at > start && scan::is_name_byte(bytes[at - 1]);
            if may_start(*byte) && (*byte != b'r' || (bytes.get(at + 1) == Some(&b'/') && !in_word())) {
                break;
            }
            at += 1;
        }
        at
    }

    /// What of the code is passed over as a whole: the offset after it.
    fn skip(&mut self, at: usize) -> Res<Option<usize>> {
        if self.syntax.dialect == Dialect::Nunjitsu {
            return scan::skip_checked(self.source, at);
        }
        let bytes = self.source.as_bytes();
        Ok(match bytes[at] {
            quote @ (b'"' | b'\'') => Some(scan::skip_quoted(bytes, at + 1, quote).unwrap_or(bytes.len())),
            b'r' if self.slashes_left && bytes.get(at + 1) == Some(&b'/') => {
                let end = scan::skip_quoted(bytes, at + 2, b'/');
                self.slashes_left = end.is_some();
                Some(end.unwrap_or(at + 2))
            }
            // A word may have quotes in it.
            byte if byte >= 0x80 || is_word_character(byte.into()) => {
                let rest = &self.source[at..];
                let length = rest.find(|c: char| !is_word_character(c)).unwrap_or(rest.len());
                // The only blank that is not ASCII is two bytes long.
                Some(at + if length == 0 { '\u{a0}'.len_utf8() } else { length })
            }
            _ => None,
        })
    }

    fn keeps_empty_text(&self) -> bool {
        self.syntax.dialect == Dialect::Nunjucks3
    }

    /// Takes the white space from the end of the last piece, a text.
    fn trim_last_text(&mut self) {
        if let Some(piece) = self.pieces.last_mut().filter(|piece| piece.kind == PieceKind::Text) {
            piece.end = piece.start + self.source[piece.range()].trim_end_matches(is_js_whitespace).len() as u32;
            if piece.start == piece.end {
                self.pieces.pop();
            }
        }
    }

    fn push_text(&mut self, range: Range<usize>, trims_end: bool, strips_indentation: bool) {
        let Range { mut start, mut end } = range;
        let text = &self.source[start..end];
        // What `-` trims away still counts as a text for `nunjucks` 3; what the options trim away doesn't.
        let mut counts = !text.is_empty() && self.keeps_empty_text();
        if matches!(self.trim_next, Trim::LineBreak | Trim::LineBreakAndWhitespace) {
            let rest = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text);
            start = end - rest.len();
            counts &= start < end;
        }
        if matches!(self.trim_next, Trim::Whitespace | Trim::LineBreakAndWhitespace) {
            start = end - self.source[start..end].trim_start_matches(is_js_whitespace).len();
        }
        self.trim_next = Trim::Nothing;
        let text = &self.source[start..end];
        if trims_end {
            end = start + text.trim_end_matches(is_js_whitespace).len();
        } else if strips_indentation {
            let line = text.rfind('\n').map_or(0, |newline| newline + 1);
            // Text that does not reach back to the start of its line is preceded by a tag on it.
            let from_line_start = line > 0 || start == 0 || self.source[..start].ends_with('\n');
            if from_line_start && text[line..].chars().all(is_js_whitespace) {
                end = start + line;
                counts &= start < end;
            }
        }
        if std::mem::take(&mut self.after_raw) && trims_end && start == end {
            self.trim_last_text();
        }
        if start < end || counts {
            self.pieces.push(Piece::new(start, PieceKind::Text, start..end));
        }
    }
}

pub(crate) fn is_code_whitespace(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{a0}')
}
