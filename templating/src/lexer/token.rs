//! The tokens of the code inside a tag.

use std::ops::Range;

use super::scan::word_length;
use super::tag::is_code_whitespace;
use crate::dialect::Dialect;
use crate::error::{Fault, Phase, Res, quote};
use crate::limits::LimitKind;
use crate::regex;
use crate::string::Str;

/// A token and the byte offset it starts at.
#[derive(Clone)]
pub(crate) struct Token<'s> {
    pub(crate) offset: u32,
    pub(crate) kind: TokenKind<'s>,
}

#[derive(Clone)]
pub(crate) enum TokenKind<'s> {
    Name(&'s str),
    Number {
        value: f64,
        text: &'s str,
    },
    String(Str),
    /// A pattern and its flags; rare, and must not make all tokens larger.
    Regex(Box<(&'s str, &'s str)>),
    /// An operator or a bracket.
    Symbol(&'static str),
    End,
}

/// How many tokens one tag may have. They are kept until it is parsed, and take more memory than the tree.
const MAX_TOKENS: usize = 500_000;

/// The longest symbol that the text starts with.
#[inline]
fn symbol(text: &[u8]) -> Option<&'static str> {
    let (first, rest) = text.split_first()?;
    let is_next = |byte: u8| rest.first() == Some(&byte);
    Some(match first {
        b'=' if rest.starts_with(b"==") => "===",
        b'!' if rest.starts_with(b"==") => "!==",
        b'=' if is_next(b'=') => "==",
        b'!' if is_next(b'=') => "!=",
        b'<' if is_next(b'=') => "<=",
        b'>' if is_next(b'=') => ">=",
        b'/' if is_next(b'/') => "//",
        b'*' if is_next(b'*') => "**",
        b'(' => "(",
        b')' => ")",
        b'[' => "[",
        b']' => "]",
        b'{' => "{",
        b'}' => "}",
        b'%' => "%",
        b'*' => "*",
        b'-' => "-",
        b'+' => "+",
        b'~' => "~",
        b'/' => "/",
        b',' => ",",
        b':' => ":",
        b'|' => "|",
        b'.' => ".",
        b'<' => "<",
        b'>' => ">",
        b'=' => "=",
        _ => return None,
    })
}

/// Tokenizes the code of one tag. The last token is always [`TokenKind::End`].
/// `room` is a list whose memory is used.
pub(crate) fn tokenize<'s>(
    source: &'s str,
    code: Range<usize>,
    dialect: Dialect,
    room: Vec<Token<'s>>,
) -> Res<Vec<Token<'s>>> {
    let mut tokens = room;
    tokens.clear();
    let mut lexer = Lexer { source, dialect, end: code.end, position: code.start, tokens };
    loop {
        lexer.skip_blanks();
        let offset = lexer.position as u32;
        let kind = match lexer.plain() {
            Some(kind) => kind,
            None => match lexer.other()? {
                Some(kind) => kind,
                None => break,
            },
        };
        if lexer.tokens.len() == MAX_TOKENS {
            let most = MAX_TOKENS as u64;
            return Err(Fault::limit(Phase::Parsing, LimitKind::AstNodes, most, most + 1).at(offset));
        }
        lexer.tokens.push(Token { offset, kind });
    }
    lexer.tokens.push(Token { offset: code.end as u32, kind: TokenKind::End });
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    dialect: Dialect,
    end: usize,
    position: usize,
    tokens: Vec<Token<'s>>,
}

impl<'s> Lexer<'s> {
    /// The next token, whatever it is.
    fn other(&mut self) -> Res<Option<TokenKind<'s>>> {
        let (rest, offset) = (self.rest(), self.position as u32);
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let kind = match first {
            '"' | '\'' => self.string(first),
            'r' if rest[1..].starts_with('/') => self.regex()?,
            first if self.dialect == Dialect::Nunjucks3 && is_word_character(first) => self.word()?,
            '0'..='9' => self.number()?,
            'a'..='z' | 'A'..='Z' | '_' => TokenKind::Name(self.take_while(is_name_character)),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) && !self.follows_operand() => {
                return Err(Fault::syntax(offset, "Invalid numeric literal"));
            }
            _ => {
                let Some(symbol) = symbol(rest.as_bytes()) else {
                    return Err(Fault::syntax(offset, format!("Unexpected character {}", quoted(first))));
                };
                self.position += symbol.len();
                TokenKind::Symbol(symbol)
            }
        };
        Ok(Some(kind))
    }

    #[inline]
    fn skip_blanks(&mut self) {
        let bytes = &self.source.as_bytes()[..self.end];
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.position) {
            self.position += 1;
        }
        if bytes.get(self.position).is_some_and(|byte| !byte.is_ascii()) {
            let rest = self.rest();
            self.position += rest.len() - rest.trim_start_matches(is_code_whitespace).len();
        }
    }

    /// A name, a whole number, or a symbol that starts nothing longer: most of what there is.
    #[inline]
    fn plain(&mut self) -> Option<TokenKind<'s>> {
        if self.dialect != Dialect::Nunjitsu {
            return None;
        }
        let rest = self.source.as_bytes().get(self.position..self.end)?;
        let length = word_length(rest);
        match *rest.first()? {
            b'0'..=b'9' => self.whole_number(rest, length),
            b'r' if length == 1 && rest.get(1) == Some(&b'/') => None,
            b'.' if rest.get(1).is_some_and(u8::is_ascii_digit) => None,
            _ if length > 0 => {
                let name = &self.source[self.position..self.position + length];
                self.position += length;
                Some(TokenKind::Name(name))
            }
            _ => {
                let symbol = symbol(rest)?;
                self.position += symbol.len();
                Some(TokenKind::Symbol(symbol))
            }
        }
    }

    /// A number of a few digits and nothing else.
    fn whole_number(&mut self, rest: &[u8], length: usize) -> Option<TokenKind<'s>> {
        // So many digits are exact.
        const MOST: usize = 15;
        let digits = rest.get(..length)?;
        if length > MOST || rest.get(length) == Some(&b'.') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = digits.iter().fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
        let text = &self.source[self.position..self.position + length];
        self.position += length;
        Some(TokenKind::Number { value: value as f64, text })
    }

    fn rest(&self) -> &'s str {
        &self.source[self.position..self.end]
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let length = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    /// Whether what came last can have a member.
    fn follows_operand(&self) -> bool {
        matches!(
            self.tokens.last().map(|token| &token.kind),
            Some(
                TokenKind::Name(_)
                    | TokenKind::Number { .. }
                    | TokenKind::String(_)
                    | TokenKind::Regex(_)
                    | TokenKind::Symbol(")" | "]" | "}")
            )
        )
    }

    fn number(&mut self) -> Res<TokenKind<'s>> {
        let start = self.position;
        let is_member = matches!(self.tokens.last().map(|token| &token.kind), Some(TokenKind::Symbol(".")));
        let word = self.take_while(is_name_character);
        let only_digits = word.bytes().all(|byte| byte.is_ascii_digit());
        if is_member && !only_digits {
            return Ok(TokenKind::Name(word));
        }
        if only_digits && self.rest().starts_with('.') {
            self.position += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let text = &self.source[start..self.position];
        if !only_digits || self.rest().starts_with(is_name_character) {
            return Err(Fault::syntax(start as u32, "Invalid numeric literal"));
        }
        Ok(TokenKind::Number { value: text.parse().unwrap_or(f64::NAN), text })
    }

    /// In the older dialect whatever stands between blanks and operators is a name, unless it is digits.
    fn word(&mut self) -> Res<TokenKind<'s>> {
        let start = self.position;
        let word = self.take_while(is_word_character);
        if !word.bytes().all(|byte| byte.is_ascii_digit()) {
            // The compiler of `nunjucks` puts the name between quotes, where these would end the string or be half an
            // escape.
            if word.contains('"') || word.ends_with('\\') || word.contains("\\x") || word.contains("\\u") {
                return Err(Fault::syntax(start as u32, "A name can't have quotes or escapes in it"));
            }
            return Ok(TokenKind::Name(word));
        }
        if self.rest().starts_with('.') {
            self.position += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let text = &self.source[start..self.position];
        Ok(TokenKind::Number { value: text.parse().unwrap_or(f64::NAN), text })
    }

    fn string(&mut self, quote: char) -> TokenKind<'s> {
        // The splitter has made sure that every string is closed before the end of its tag.
        let body = &self.rest()[1..];
        let special = body.bytes().position(|byte| byte == b'\\' || byte == quote as u8);
        if let Some(length) = special.filter(|at| body.as_bytes()[*at] != b'\\') {
            self.position += length + 2;
            return TokenKind::String(body[..length].into());
        }
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        let mut length = self.rest().len();
        while let Some((at, character)) = characters.next() {
            if character == quote {
                length = at + 1;
                break;
            }
            if character != '\\' {
                text.push(character);
                continue;
            }
            match characters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, other)) => text.push(other),
                None => {}
            }
        }
        self.position += length;
        TokenKind::String(text.into())
    }

    fn regex(&mut self) -> Res<TokenKind<'s>> {
        let (pattern, flags) = scan_regex(&self.source[..self.end], self.position)?;
        self.position = after_regex(self.position, pattern, flags);
        Ok(TokenKind::Regex(Box::new((pattern, flags))))
    }
}

/// What can be in a word of the older dialect: anything but blanks and the characters of operators.
pub(crate) fn is_word_character(character: char) -> bool {
    !is_code_whitespace(character) && !"()[]{}%*-+~/#,:|.<>=!".contains(character)
}

/// A character as messages quote it: of one beyond 16 bits, the first half.
fn quoted(character: char) -> String {
    let mut units = [0; 2];
    match character.encode_utf16(&mut units) {
        [high, _] => format!("\"\\u{high:04x}\""),
        _ => quote(character.encode_utf8(&mut [0; 4])),
    }
}

/// The offset after a regular expression literal.
pub(super) fn after_regex(start: usize, pattern: &str, flags: &str) -> usize {
    start + 2 + pattern.len() + 1 + flags.len()
}

/// The pattern and the flags of the regular expression literal at `start`.
pub(super) fn scan_regex(source: &str, start: usize) -> Res<(&str, &str)> {
    let invalid = |message| Fault::syntax(start as u32, message);
    let body = &source[start + 2..];
    let length = regex_length(body).map_err(invalid)?;
    let after = &body[length + 1..];
    let flags = &after[..after.find(|c| !matches!(c, 'g' | 'i' | 'm' | 'y')).unwrap_or(after.len())];
    if flags.char_indices().any(|(at, flag)| flags[..at].contains(flag)) {
        return Err(invalid("Duplicate regular-expression flag"));
    }
    if after[flags.len()..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(invalid("Unsupported regular-expression flag"));
    }
    let pattern = &body[..length];
    regex::validate(pattern, flags).map_err(|fault| fault.at(start as u32))?;
    Ok((pattern, flags))
}

/// The length of a regular expression's pattern, up to the slash that ends it.
pub(super) fn regex_length(body: &str) -> Result<usize, &'static str> {
    let mut backslashes = 0;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'\\' => backslashes += 1,
            b'/' if backslashes == 0 => return Ok(at),
            b'/' if backslashes % 2 == 0 => return Err("Ambiguous regular-expression delimiter escape"),
            _ => backslashes = 0,
        }
    }
    Err("Unterminated regular-expression literal")
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}
