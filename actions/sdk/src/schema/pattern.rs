//! The `pattern` keyword: JavaScript's regular expressions, in linear time where they allow it.
//!
//! Patterns are written by template authors and run against whatever a user types into a form; nested repetitions such as
//! `^([a-z0-9]+-?)+$` are common and would let one long value keep a backtracking engine busy for ever. Patterns that stay
//! within what an automaton can do are therefore rewritten for the `regex` crate; those with look-around,
//! back-references and the like run on `regress`.

use std::fmt::Write;

/// A compiled pattern.
#[derive(Debug)]
pub(super) enum Pattern {
    Linear(regex::Regex),
    Backtracking(regress::Regex),
}

impl Pattern {
    /// Compiles as JavaScript's `RegExp` does with the `u` flag, without it where the pattern is not valid so.
    ///
    /// # Errors
    /// It is valid neither way.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        match regress::Regex::with_flags(pattern, "u") {
            Ok(exact) => {
                let linear = translate(pattern).and_then(|pattern| regex::Regex::new(&pattern).ok());
                Ok(linear.map_or(Self::Backtracking(exact), Self::Linear))
            }
            Err(_) => regress::Regex::new(pattern).map(Self::Backtracking).map_err(|error| error.to_string()),
        }
    }

    /// Whether the pattern matches anywhere in the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Linear(regex) => regex.is_match(text),
            Self::Backtracking(regex) => regex.find(text).is_some(),
        }
    }
}

const DIGIT: &str = "0-9";
const WORD: &str = "A-Za-z0-9_";
const SPACE: &str = r"\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

type Characters<'p> = std::iter::Peekable<std::str::Chars<'p>>;

/// The same pattern for the `regex` crate; `None` where it has something without an equal meaning there.
fn translate(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                'd' => write!(out, "[{DIGIT}]").ok()?,
                'D' => write!(out, "[^{DIGIT}]").ok()?,
                'w' => write!(out, "[{WORD}]").ok()?,
                'W' => write!(out, "[^{WORD}]").ok()?,
                's' => write!(out, "[{SPACE}]").ok()?,
                'S' => write!(out, "[^{SPACE}]").ok()?,
                'b' => out.push_str("(?-u:\\b)"),
                escaped => literal(unescaped(escaped)?, &mut out),
            },
            '[' => class(&mut characters, &mut out)?,
            '(' => {
                if characters.peek() == Some(&'?') {
                    characters.next();
                    if characters.next() != Some(':') {
                        return None;
                    }
                }
                out.push_str("(?:");
            }
            '{' => quantifier(&mut characters, &mut out)?,
            '.' => out.push_str(r"[^\n\r\u{2028}\u{2029}]"),
            '^' | '$' | '|' | ')' | '*' | '+' | '?' => out.push(character),
            ']' | '}' => return None,
            other => literal(other, &mut out),
        }
    }
    Some(out)
}

fn literal(character: char, out: &mut String) {
    if character.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(character);
}

/// What an escape that stands for one character stands for.
fn unescaped(escaped: char) -> Option<char> {
    Some(match escaped {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'f' => '\u{c}',
        'v' => '\u{b}',
        other if other.is_ascii_punctuation() => other,
        _ => return None,
    })
}

/// `{n}`, `{n,}` or `{n,m}`.
fn quantifier(characters: &mut Characters<'_>, out: &mut String) -> Option<()> {
    out.push('{');
    loop {
        match characters.next()? {
            '}' => break,
            part @ ('0'..='9' | ',') => out.push(part),
            _ => return None,
        }
    }
    out.push('}');
    Some(())
}

/// A character class, after its opening bracket.
fn class(characters: &mut Characters<'_>, out: &mut String) -> Option<()> {
    out.push('[');
    if characters.peek() == Some(&'^') {
        characters.next();
        out.push('^');
    }
    if characters.peek() == Some(&']') {
        return None;
    }
    loop {
        let first = match characters.next()? {
            ']' => break,
            '\\' => match characters.next()? {
                'd' => {
                    out.push_str(DIGIT);
                    continue;
                }
                'w' => {
                    out.push_str(WORD);
                    continue;
                }
                's' => {
                    out.push_str(SPACE);
                    continue;
                }
                escaped => unescaped(escaped)?,
            },
            plain => plain,
        };
        literal(first, out);
        let mut ahead = characters.clone();
        if ahead.next() != Some('-') || ahead.peek() == Some(&']') {
            continue;
        }
        let last = match ahead.next()? {
            '\\' => unescaped(ahead.next()?)?,
            plain => plain,
        };
        out.push('-');
        literal(last, out);
        *characters = ahead;
    }
    out.push(']');
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_agree() {
        let patterns = [
            "^[a-z0-9-]+$",
            "^[a-z0-9]+(?:-[a-z0-9]+)*$",
            "^([a-z0-9]+-?)+$",
            r"^\d{3,5}$",
            r"^\w+\.\w+$",
            r"^[\w.-]+@[\w-]+$",
            r"\s",
            r"^\S+$",
            "^.$",
            "^.*$",
            "a|b",
            "^$",
            "",
            "[^a]",
            r"^[^\s/]+$",
            r"^[\d_]{2}$",
            r"\bx\b",
            r"^\W$",
            "^[+*?.]$",
            r"^[\]\[]$",
            "^[a-c&&b]$",
            "^[~~!]$",
            "^[+--]$",
            "^[-a]$",
            "^[a-]$",
            r"^\/x$",
            "^é+$",
            r"^[à-ü]$",
            r"^\t$",
            "a{2}",
            "a{2,}?b",
            "^(a|b)?c$",
            "#x y",
            "^[ -~]*$",
            r"^\$\{x\}$",
            "(?:^|,)x(?=y)",
            r"^(.)\1$",
            r"^\p{L}+$",
            "^(?!x)",
            r"[\s\S]",
            "[^]",
        ];
        let texts = [
            "", "a", "b", "c", "ac", "bc", "x", "-", "--", "&", "~", "!", "]", "[", "+", ".", "_", "12", "123", "a-b",
            "a--b", "abc-1", "A", "é", "éé", "😀", "ü", " ", "\t", "\n", "a\nb", "\u{2028}", "\u{feff}", "a b", "a.b",
            "a@b", "/x", "x,y", "aa", "aab", "#x y", "${x}", ",xy", "__", "\u{b}", "\u{180e}", "x y", "yxy", "d",
        ];
        let mut linear = 0;
        for pattern in patterns {
            let compiled = Pattern::new(pattern).unwrap();
            let exact = regress::Regex::with_flags(pattern, "u").or_else(|_| regress::Regex::new(pattern)).unwrap();
            linear += usize::from(matches!(compiled, Pattern::Linear(_)));
            for text in texts {
                assert_eq!(compiled.matches(text), exact.find(text).is_some(), "{pattern} on {text:?}");
            }
        }
        assert!(linear > 30, "{linear}");
        assert!(Pattern::new("(").is_err());
    }

    /// On a backtracking engine this would not end.
    #[test]
    fn nested_repetitions_end() {
        for pattern in ["^([a-z0-9]+-?)+$", "^(a+)+$", "^(a|a)*$", r"^(\w+\s?)*$"] {
            let pattern = Pattern::new(pattern).unwrap();
            assert!(!pattern.matches(&format!("{}!", "a".repeat(5_000))));
        }
    }
}
