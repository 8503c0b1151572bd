//! Rewriting a valid pattern of JavaScript for the engines.

use std::{fmt::Write, iter::Peekable, str::Chars};

use crate::{Flags, text};

const DIGIT: &str = "0-9";
const WORD: &str = "A-Za-z0-9_";
const SPACE: &str = r"\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
const LINE_END: &str = r"\n\r\u{2028}\u{2029}";

/// The rewritten pattern.
pub(crate) struct Translated {
    pub(crate) pattern: String,
    /// Names of groups with their numbers.
    pub(crate) names: Vec<(String, usize)>,
    /// Whether it needs backtracking.
    pub(crate) bounded: bool,
}

/// Rewrites a pattern; `None` where it has something without an equal meaning.
pub(crate) fn translate(pattern: &str, flags: Flags) -> Option<Translated> {
    let (groups, names) = groups(pattern);
    // Look-arounds and references show on the way; how a word's boundary is written depends on them.
    for bounded in [false, true] {
        let mut writer = Writer {
            characters: pattern.chars().peekable(),
            out: String::with_capacity(pattern.len() + 8),
            flags,
            groups,
            names: &names,
            bounded,
            needs_bounded: false,
        };
        writer.pattern()?;
        if bounded || !writer.needs_bounded {
            return Some(Translated { pattern: writer.out, names, bounded });
        }
    }
    None
}

/// The number of capturing groups, and their names.
fn groups(pattern: &str) -> (usize, Vec<(String, usize)>) {
    let (mut count, mut names, mut class) = (0, Vec::new(), false);
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => drop(rest.next()),
            '[' => class = true,
            ']' => class = false,
            '(' if !class => match rest.as_str().strip_prefix("?<") {
                Some(name) if !name.starts_with(['=', '!']) => {
                    count += 1;
                    names.push((name.split('>').next().unwrap_or_default().to_string(), count));
                }
                Some(_) => {}
                None if rest.as_str().starts_with('?') => {}
                None => count += 1,
            },
            _ => {}
        }
    }
    (count, names)
}

struct Writer<'p> {
    characters: Peekable<Chars<'p>>,
    out: String,
    flags: Flags,
    groups: usize,
    names: &'p [(String, usize)],
    bounded: bool,
    needs_bounded: bool,
}

/// What an escape stands for.
enum Escape {
    /// One character, or half of a pair.
    Unit(u32),
    /// The inside of a class.
    Class(&'static str),
    /// What is not in this class.
    NotClass(&'static str),
    /// A property, written as here.
    Property(String),
    Boundary(bool),
    Group(usize),
}

impl Writer<'_> {
    fn pattern(&mut self) -> Option<()> {
        while let Some(character) = self.characters.next() {
            match character {
                '\\' => match self.escape(false)? {
                    Escape::Unit(code) => self.literal(code)?,
                    Escape::Class(inside) => write!(self.out, "[{inside}]").ok()?,
                    Escape::NotClass(inside) => write!(self.out, "[^{inside}]").ok()?,
                    Escape::Property(text) => self.out.push_str(&text),
                    Escape::Boundary(at) => self.boundary(at),
                    Escape::Group(number) => {
                        self.needs_bounded = true;
                        let case = if self.flags.ignore_case { "i" } else { "" };
                        // A group that took no part is as good as empty.
                        write!(self.out, "(?({number})(?{case}:\\{number})|)").ok()?;
                    }
                },
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.quantifier(),
                '.' => write!(self.out, "[^{LINE_END}]").ok()?,
                '^' | '$' if self.flags.multiline => {
                    self.needs_bounded = true;
                    let look = if character == '^' { "<!" } else { "!" };
                    write!(self.out, "(?{look}[^{LINE_END}])").ok()?;
                }
                '^' => self.out.push_str(r"\A"),
                '$' => self.out.push_str(r"\z"),
                '|' | ')' | '*' | '+' | '?' => self.out.push(character),
                other => self.literal(u32::from(other))?,
            }
        }
        Some(())
    }

    /// After a backslash.
    fn escape(&mut self, in_class: bool) -> Option<Escape> {
        let unit = |character: char| Escape::Unit(u32::from(character));
        Some(match self.characters.next()? {
            'd' => Escape::Class(DIGIT),
            'D' => Escape::NotClass(DIGIT),
            'w' => Escape::Class(WORD),
            'W' => Escape::NotClass(WORD),
            's' => Escape::Class(SPACE),
            'S' => Escape::NotClass(SPACE),
            'b' if in_class => Escape::Unit(8),
            'b' => Escape::Boundary(true),
            'B' if !in_class => Escape::Boundary(false),
            'n' => unit('\n'),
            'r' => unit('\r'),
            't' => unit('\t'),
            'f' => Escape::Unit(0xc),
            'v' => Escape::Unit(0xb),
            '0' if !self.characters.peek().is_some_and(char::is_ascii_digit) => Escape::Unit(0),
            'x' => Escape::Unit(self.hex(2)?),
            'u' if self.flags.unicode && self.characters.peek() == Some(&'{') => {
                self.characters.next();
                let digits: String = self.characters.by_ref().take_while(|c| *c != '}').collect();
                Escape::Unit(u32::from_str_radix(&digits, 16).ok()?)
            }
            'u' => Escape::Unit(self.code_unit()?),
            'p' if self.flags.unicode => Escape::Property(self.property('p')?),
            'P' if self.flags.unicode => Escape::Property(self.property('P')?),
            'k' if !self.names.is_empty() && !in_class => {
                let name: String = self.characters.by_ref().skip(1).take_while(|c| *c != '>').collect();
                Escape::Group(self.names.iter().find(|(known, _)| *known == name)?.1)
            }
            digit @ '1'..='9' if !in_class => {
                let mut number = digit.to_digit(10)? as usize;
                while let Some(next) = self.characters.peek().and_then(|c| c.to_digit(10)) {
                    number = number.checked_mul(10)?.checked_add(next as usize)?;
                    self.characters.next();
                }
                Escape::Group(Some(number).filter(|number| *number <= self.groups)?)
            }
            // Control characters and octal numbers.
            'c' | '0'..='9' => return None,
            other => unit(other),
        })
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        (0..digits).try_fold(0, |number, _| Some(number * 16 + self.characters.next()?.to_digit(16)?))
    }

    /// The four digits of `\uXXXX`, with the `u` flag those of a pair's other half too.
    fn code_unit(&mut self) -> Option<u32> {
        let first = self.hex(4)?;
        if !self.flags.unicode || !(0xD800..0xDC00).contains(&first) {
            return Some(first);
        }
        let mut ahead = self.characters.clone();
        if (ahead.next(), ahead.next()) != (Some('\\'), Some('u')) {
            return Some(first);
        }
        std::mem::swap(&mut self.characters, &mut ahead);
        match self.hex(4) {
            Some(second @ 0xDC00..0xE000) => Some(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)),
            _ => {
                self.characters = ahead;
                None
            }
        }
    }

    fn property(&mut self, kind: char) -> Option<String> {
        let text: String = self.characters.by_ref().take_while(|c| *c != '}').collect();
        Some(format!("\\{kind}{text}}}"))
    }

    fn boundary(&mut self, at: bool) {
        let text = match (self.bounded, at) {
            (false, true) => r"(?-u:\b)",
            (true, true) => r"(?:(?<=[A-Za-z0-9_])(?![A-Za-z0-9_])|(?<![A-Za-z0-9_])(?=[A-Za-z0-9_]))",
            (_, false) => {
                self.needs_bounded = true;
                r"(?:(?<=[A-Za-z0-9_])(?=[A-Za-z0-9_])|(?<![A-Za-z0-9_])(?![A-Za-z0-9_]))"
            }
        };
        self.out.push_str(text);
    }

    /// A character that stands for itself.
    fn literal(&mut self, code: u32) -> Option<()> {
        // Of a pair, what follows (a repetition) is about the second half only.
        for unit in self.members(code)? {
            if self.flags.ignore_case && unit.is_ascii_alphabetic() {
                write!(self.out, "[{}{}]", unit.to_ascii_lowercase(), unit.to_ascii_uppercase()).ok()?;
            } else if self.flags.ignore_case && unit.is_alphabetic() {
                write!(self.out, "(?i:{unit})").ok()?;
            } else {
                escaped(unit, &mut self.out);
            }
        }
        Some(())
    }

    /// The characters that the engines see for a code point or unit.
    fn members(&self, code: u32) -> Option<Vec<char>> {
        match (u16::try_from(code), self.flags.unicode) {
            (Ok(unit), false) => Some(vec![text::character(unit)]),
            (Err(_), false) => {
                let mut buffer = [0; 2];
                Some(
                    char::from_u32(code)?.encode_utf16(&mut buffer).iter().map(|unit| text::character(*unit)).collect(),
                )
            }
            // A lone half never occurs in a text of characters.
            (_, true) => char::from_u32(code).map(|character| vec![character]),
        }
    }

    /// After `(`.
    fn group(&mut self) -> Option<()> {
        if self.characters.peek() != Some(&'?') {
            self.out.push('(');
            return Some(());
        }
        self.characters.next();
        match self.characters.next()? {
            ':' => self.out.push_str("(?:"),
            kind @ ('=' | '!') => {
                self.needs_bounded = true;
                write!(self.out, "(?{kind}").ok()?;
            }
            '<' => match self.characters.peek() {
                Some(kind @ ('=' | '!')) => {
                    self.needs_bounded = true;
                    write!(self.out, "(?<{kind}").ok()?;
                    self.characters.next();
                }
                _ => {
                    self.characters.by_ref().find(|c| *c == '>')?;
                    self.out.push('(');
                }
            },
            _ => return None,
        }
        Some(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else stands for itself.
    fn quantifier(&mut self) {
        let ahead: String = self.characters.clone().take_while(|c| *c != '}').collect();
        let (least, most) = ahead.split_once(',').unwrap_or((&ahead, ""));
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() || !number(least) || !number(most) || self.characters.clone().nth(ahead.len()).is_none() {
            self.out.push_str(r"\{");
            return;
        }
        self.out.push('{');
        self.out.push_str(&ahead);
        self.out.push('}');
        self.characters.nth(ahead.len());
    }

    /// After `[`.
    fn class(&mut self) -> Option<()> {
        self.out.push_str(if self.flags.ignore_case { "(?i:[" } else { "[" });
        let negated = self.characters.peek() == Some(&'^');
        if negated {
            self.characters.next();
        }
        let empty = self.characters.peek() == Some(&']');
        match (empty, negated) {
            (true, true) => self.out.push_str(r"\s\S"),
            (true, false) => self.out.push_str(r"^\s\S"),
            (false, true) => self.out.push('^'),
            (false, false) => {}
        }
        while let Some(first) = self.class_atom()? {
            let mut ahead = self.characters.clone();
            let range = ahead.next() == Some('-') && ahead.peek().is_some_and(|next| *next != ']');
            let Escape::Unit(first) = first else {
                self.class_escape(&first)?;
                continue;
            };
            if !range {
                for member in self.members(first)? {
                    escaped(member, &mut self.out);
                }
                continue;
            }
            self.characters.next();
            match self.class_atom()?? {
                Escape::Unit(last) => {
                    let (first, last) = (self.members(first)?, self.members(last)?);
                    let (rest, [from]) = first.split_last_chunk()?;
                    let ([to], others) = last.split_first_chunk()?;
                    rest.iter().for_each(|member| escaped(*member, &mut self.out));
                    escaped(*from, &mut self.out);
                    self.out.push('-');
                    escaped(*to, &mut self.out);
                    others.iter().for_each(|member| escaped(*member, &mut self.out));
                }
                // Not a range after all.
                class => {
                    self.members(first)?.into_iter().for_each(|member| escaped(member, &mut self.out));
                    self.out.push_str(r"\-");
                    self.class_escape(&class)?;
                }
            }
        }
        self.out.push_str(if self.flags.ignore_case { "])" } else { "]" });
        Some(())
    }

    /// The next part of a class, `None` at its end.
    fn class_atom(&mut self) -> Option<Option<Escape>> {
        Some(match self.characters.next()? {
            ']' => None,
            '\\' => Some(self.escape(true)?),
            plain => Some(Escape::Unit(u32::from(plain))),
        })
    }

    fn class_escape(&mut self, escape: &Escape) -> Option<()> {
        match escape {
            Escape::Class(inside) => self.out.push_str(inside),
            Escape::NotClass(inside) => write!(self.out, "[^{inside}]").ok()?,
            Escape::Property(text) => self.out.push_str(text),
            Escape::Unit(_) | Escape::Boundary(_) | Escape::Group(_) => return None,
        }
        Some(())
    }
}

fn escaped(character: char, out: &mut String) {
    if character.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(character);
}
