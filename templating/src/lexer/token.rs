//! The tokens of the code inside a tag.

use std::ops::Range;

use super::scan::{is_name_byte, skip_quoted, word_length};
use super::tag::is_code_whitespace;
use crate::dialect::Dialect;
use crate::error::{Fault, Phase, Res, quote};
use crate::limits::LimitKind;
use crate::regex;
use crate::string::Str;

/// A token: what it is, where messages place it, and where it is in the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) offset: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) kind: TokenKind,
}

/// What a token is. The text of one that is no symbol is looked at where it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Name,
    /// Digits, perhaps with a fraction.
    Number,
    /// With its quotes.
    String,
    /// A pattern between `r/` and `/`, and its flags.
    Regex,
    // Words that continue an expression.
    And,
    Else,
    If,
    In,
    Is,
    Not,
    Or,
    // Operators and brackets.
    StrictEqual,
    StrictNotEqual,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Floor,
    Power,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    CloseBrace,
    Percent,
    Star,
    Minus,
    Plus,
    Tilde,
    Slash,
    Comma,
    Colon,
    Pipe,
    Dot,
    Less,
    Greater,
    Assign,
    End,
}

impl TokenKind {
    /// What a word is.
    #[inline]
    fn of_word(word: &str) -> Self {
        if word.len() > 4 {
            return Self::Name;
        }
        match word {
            "and" => Self::And,
            "else" => Self::Else,
            "if" => Self::If,
            "in" => Self::In,
            "is" => Self::Is,
            "not" => Self::Not,
            "or" => Self::Or,
            _ => Self::Name,
        }
    }

    /// Whether this is a name where a name is wanted.
    #[inline]
    pub(crate) fn is_word(self) -> bool {
        matches!(self, Self::Name | Self::And | Self::Else | Self::If | Self::In | Self::Is | Self::Not | Self::Or)
    }

    /// How messages write a symbol.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::StrictEqual => "===",
            Self::StrictNotEqual => "!==",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::LessOrEqual => "<=",
            Self::GreaterOrEqual => ">=",
            Self::Floor => "//",
            Self::Power => "**",
            Self::Open => "(",
            Self::Close => ")",
            Self::OpenBracket => "[",
            Self::CloseBracket => "]",
            Self::OpenBrace => "{",
            Self::CloseBrace => "}",
            Self::Percent => "%",
            Self::Star => "*",
            Self::Minus => "-",
            Self::Plus => "+",
            Self::Tilde => "~",
            Self::Slash => "/",
            Self::Comma => ",",
            Self::Colon => ":",
            Self::Pipe => "|",
            Self::Dot => ".",
            Self::Less => "<",
            Self::Greater => ">",
            Self::Assign => "=",
            _ => "",
        }
    }
}

/// How many tokens one tag may have. They are kept until it is parsed, and take more memory than the tree.
const MAX_TOKENS: usize = 500_000;

/// The longest symbol that the text starts with, and how long it is.
#[inline]
fn symbol(text: &[u8]) -> Option<(TokenKind, usize)> {
    use TokenKind::*;
    let (first, rest) = text.split_first()?;
    let is_next = |byte: u8| rest.first() == Some(&byte);
    let single = match first {
        b'=' if rest.starts_with(b"==") => return Some((StrictEqual, 3)),
        b'!' if rest.starts_with(b"==") => return Some((StrictNotEqual, 3)),
        b'=' if is_next(b'=') => return Some((Equal, 2)),
        b'!' if is_next(b'=') => return Some((NotEqual, 2)),
        b'<' if is_next(b'=') => return Some((LessOrEqual, 2)),
        b'>' if is_next(b'=') => return Some((GreaterOrEqual, 2)),
        b'/' if is_next(b'/') => return Some((Floor, 2)),
        b'*' if is_next(b'*') => return Some((Power, 2)),
        b'(' => Open,
        b')' => Close,
        b'[' => OpenBracket,
        b']' => CloseBracket,
        b'{' => OpenBrace,
        b'}' => CloseBrace,
        b'%' => Percent,
        b'*' => Star,
        b'-' => Minus,
        b'+' => Plus,
        b'~' => Tilde,
        b'/' => Slash,
        b',' => Comma,
        b':' => Colon,
        b'|' => Pipe,
        b'.' => Dot,
        b'<' => Less,
        b'>' => Greater,
        b'=' => Assign,
        _ => return None,
    };
    Some((single, 1))
}

/// Tokenizes the code of one tag. The last token is always [`TokenKind::End`].
/// `room` is a list whose memory is used.
pub(crate) fn tokenize(source: &str, code: Range<usize>, dialect: Dialect, room: Vec<Token>) -> Res<Vec<Token>> {
    let mut tokens = room;
    tokens.clear();
    let end = code.end as u32;
    let mut lexer = Lexer { source, dialect, end: code.end, position: code.start, tokens };
    loop {
        lexer.skip_blanks();
        let start = lexer.position as u32;
        let kind = match lexer.plain() {
            Some(kind) => kind,
            None => match lexer.other()? {
                Some(kind) => kind,
                None => break,
            },
        };
        if lexer.tokens.len() == MAX_TOKENS {
            let most = MAX_TOKENS as u64;
            return Err(Fault::limit(Phase::Parsing, LimitKind::AstNodes, most, most + 1).at(start));
        }
        lexer.tokens.push(Token { offset: start, start, end: lexer.position as u32, kind });
    }
    lexer.tokens.push(Token { offset: end, start: end, end, kind: TokenKind::End });
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    dialect: Dialect,
    end: usize,
    position: usize,
    tokens: Vec<Token>,
}

impl<'s> Lexer<'s> {
    /// The next token, whatever it is.
    fn other(&mut self) -> Res<Option<TokenKind>> {
        let (rest, offset) = (self.rest(), self.position as u32);
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let kind = match first {
            '"' | '\'' => self.string(first),
            'r' if rest[1..].starts_with('/') => self.regex()?,
            first if self.dialect == Dialect::Nunjucks3 && is_word_character(first) => self.word()?,
            '0'..='9' => self.number()?,
            'a'..='z' | 'A'..='Z' | '_' => TokenKind::of_word(self.take_while(is_name_character)),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) && !self.follows_operand() => {
                return Err(Fault::syntax(offset, "Invalid numeric literal"));
            }
            _ => {
                let Some((kind, length)) = symbol(rest.as_bytes()) else {
                    return Err(Fault::syntax(offset, format!("Unexpected character {}", quoted(first))));
                };
                self.position += length;
                kind
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
    fn plain(&mut self) -> Option<TokenKind> {
        if self.dialect != Dialect::Nunjitsu {
            return None;
        }
        let rest = self.source.as_bytes().get(self.position..self.end)?;
        let first = *rest.first()?;
        if !is_name_byte(first) {
            if first == b'.' && rest.get(1).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            let (kind, length) = symbol(rest)?;
            self.position += length;
            return Some(kind);
        }
        let length = word_length(rest);
        if first.is_ascii_digit() {
            return self.whole_number(rest, length);
        }
        if length == 1 && first == b'r' && rest.get(1) == Some(&b'/') {
            return None;
        }
        let start = self.position;
        self.position += length;
        Some(TokenKind::of_word(&self.source[start..self.position]))
    }

    /// A number of digits and nothing else.
    fn whole_number(&mut self, rest: &[u8], length: usize) -> Option<TokenKind> {
        let digits = rest.get(..length)?;
        if rest.get(length) == Some(&b'.') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.position += length;
        Some(TokenKind::Number)
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
        use TokenKind::*;
        self.tokens.last().is_some_and(|token| {
            token.kind.is_word() || matches!(token.kind, Number | String | Regex | Close | CloseBracket | CloseBrace)
        })
    }

    fn number(&mut self) -> Res<TokenKind> {
        let start = self.position;
        let is_member = self.tokens.last().is_some_and(|token| token.kind == TokenKind::Dot);
        let word = self.take_while(is_name_character);
        let only_digits = word.bytes().all(|byte| byte.is_ascii_digit());
        if is_member && !only_digits {
            return Ok(TokenKind::Name);
        }
        if only_digits && self.rest().starts_with('.') {
            self.position += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if !only_digits || self.rest().starts_with(is_name_character) {
            return Err(Fault::syntax(start as u32, "Invalid numeric literal"));
        }
        Ok(TokenKind::Number)
    }

    /// In the older dialect whatever stands between blanks and operators is a name, unless it is digits.
    fn word(&mut self) -> Res<TokenKind> {
        let start = self.position;
        let word = self.take_while(is_word_character);
        if !word.bytes().all(|byte| byte.is_ascii_digit()) {
            // The compiler of `nunjucks` puts the name between quotes, where these would end the string or be half an
            // escape.
            if word.contains('"') || word.ends_with('\\') || word.contains("\\x") || word.contains("\\u") {
                return Err(Fault::syntax(start as u32, "A name can't have quotes or escapes in it"));
            }
            return Ok(TokenKind::of_word(word));
        }
        if self.rest().starts_with('.') {
            self.position += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        Ok(TokenKind::Number)
    }

    fn string(&mut self, quote: char) -> TokenKind {
        // The splitter has made sure that every string is closed before the end of its tag.
        let bytes = &self.source.as_bytes()[..self.end];
        self.position = skip_quoted(bytes, self.position + 1, quote as u8).unwrap_or(self.end);
        TokenKind::String
    }

    fn regex(&mut self) -> Res<TokenKind> {
        let (pattern, flags) = scan_regex(&self.source[..self.end], self.position)?;
        self.position = after_regex(self.position, pattern, flags);
        Ok(TokenKind::Regex)
    }
}

/// The value of a number.
pub(crate) fn number_value(text: &str) -> f64 {
    // So many digits are exact.
    const MOST: usize = 15;
    if text.len() > MOST || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().unwrap_or(f64::NAN);
    }
    text.bytes().fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0')) as f64
}

/// The value of a string that stands in its quotes.
pub(crate) fn string_value(quoted: &str) -> Str {
    let Some(quote) = quoted.chars().next() else { return Str::EMPTY };
    let body = &quoted[quote.len_utf8()..];
    let special = body.bytes().position(|byte| byte == b'\\' || byte == quote as u8);
    if let Some(length) = special.filter(|at| body.as_bytes()[*at] != b'\\') {
        return body[..length].into();
    }
    let mut text = String::new();
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        if character == quote {
            break;
        }
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some(other) => text.push(other),
            None => {}
        }
    }
    text.into()
}

/// The pattern and the flags of a regular expression that has been tokenized.
pub(crate) fn regex_value(text: &str) -> (&str, &str) {
    let body = text.get(2..).unwrap_or_default();
    let length = regex_length(body).unwrap_or(body.len());
    (&body[..length], body.get(length + 1..).unwrap_or_default())
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
