//! JSON text read as JavaScript's `JSON.parse` reads it, for the dialect that re-reads what a template wrote.
//!
//! It differs from a JSON library where JavaScript does: every number is a double and none is out of range, the last of
//! several equal keys wins at the place of the first, and an escape may be half of a character.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::error::{Fault, Phase, Res};
use crate::limits::LimitKind;
use crate::string::StrBuilder;
use crate::value::{MAX_VALUE_DEPTH, Record, Value, is_reserved};

/// The value of a JSON text; `None` when it is no JSON, nests too deep or has a reserved key.
///
/// # Errors
/// When it has more values than `budget`.
pub(crate) fn parse(text: &str, budget: u64) -> Res<Option<Value>> {
    let mut reader = Reader { rest: text, budget, depth: 0 };
    match reader.value() {
        Ok(value) => {
            reader.skip_blank();
            Ok(reader.rest.is_empty().then_some(value))
        }
        Err(Stop::NotJson) => Ok(None),
        Err(Stop::TooMuch) => Err(Fault::limit(Phase::Rendering, LimitKind::WorkUnits, budget, budget + 1)),
    }
}

enum Stop {
    NotJson,
    TooMuch,
}

struct Reader<'s> {
    rest: &'s str,
    budget: u64,
    depth: u16,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, Stop> {
        self.budget = self.budget.checked_sub(1).ok_or(Stop::TooMuch)?;
        self.skip_blank();
        match self.rest.bytes().next().ok_or(Stop::NotJson)? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string().map(|text| Value::String(text.finish())),
            b'-' | b'0'..=b'9' => self.number(),
            _ => [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
                .into_iter()
                .find_map(|(word, value)| self.take(word).then_some(value))
                .ok_or(Stop::NotJson),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, Stop>) -> Result<Value, Stop> {
        self.rest = &self.rest[1..];
        self.depth += 1;
        if self.depth > MAX_VALUE_DEPTH {
            return Err(Stop::NotJson);
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value, Stop> {
        let mut items = Vec::new();
        self.skip_blank();
        if self.take("]") {
            return Ok(Value::array(items));
        }
        loop {
            items.push(self.value()?);
            if self.ends("]")? {
                return Ok(Value::array(items));
            }
        }
    }

    fn object(&mut self) -> Result<Value, Stop> {
        let mut entries: IndexMap<Arc<str>, Value> = IndexMap::new();
        self.skip_blank();
        if self.take("}") {
            return Ok(Value::Record(Record::new(entries)));
        }
        loop {
            self.skip_blank();
            if !self.rest.starts_with('"') {
                return Err(Stop::NotJson);
            }
            let key = self.string()?.finish().to_key();
            if is_reserved(&key) {
                return Err(Stop::NotJson);
            }
            self.skip_blank();
            self.expect(":")?;
            let value = self.value()?;
            entries.insert(key, value);
            if self.ends("}")? {
                return Ok(Value::Record(Record::new(entries)));
            }
        }
    }

    /// After an element: whether the container ends; otherwise the comma is taken.
    fn ends(&mut self, close: &str) -> Result<bool, Stop> {
        self.skip_blank();
        if self.take(close) {
            return Ok(true);
        }
        self.expect(",").map(|()| false)
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = usize::from(bytes[0] == b'-');
        let whole = digits(end);
        if whole == 0 || (whole > 1 && bytes[end] == b'0') {
            return Err(Stop::NotJson);
        }
        end += whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction == 0 {
                return Err(Stop::NotJson);
            }
            end += 1 + fraction;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == 0 {
                return Err(Stop::NotJson);
            }
            end += 1 + sign + exponent;
        }
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        number.parse().map(Value::Number).map_err(|_| Stop::NotJson)
    }

    fn string(&mut self) -> Result<StrBuilder, Stop> {
        let mut text = StrBuilder::default();
        let mut rest = &self.rest[1..];
        loop {
            let plain = rest.find(|c: char| matches!(c, '"' | '\\') || c < ' ').ok_or(Stop::NotJson)?;
            text.push_str(&rest[..plain]);
            rest = &rest[plain..];
            if let Some(after) = rest.strip_prefix('"') {
                self.rest = after;
                return Ok(text);
            }
            // A control character, which has to be escaped, has no escape here.
            let escape = rest.strip_prefix('\\').and_then(|after| after.chars().next()).ok_or(Stop::NotJson)?;
            let plain = match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits = rest.get(2..6).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                    let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
                    text.push_unit(unit.ok_or(Stop::NotJson)?);
                    rest = &rest[6..];
                    continue;
                }
                _ => return Err(Stop::NotJson),
            };
            text.push_unit(plain as u16);
            rest = &rest[2..];
        }
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Stop> {
        if self.take(symbol) { Ok(()) } else { Err(Stop::NotJson) }
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Option<Value> {
        parse(text, 1000).unwrap()
    }

    #[test]
    fn reads_json() {
        for text in [
            "null",
            "true",
            " [ 1 , -2.5e3 , \"a\" , { } , [ ] ] ",
            r#"{"a":{"b":[false]},"c":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀"}"#,
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text).unwrap().to_json().unwrap(), Value::from(expected).to_json().unwrap(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            " ",
            "x",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "[1,]",
            "[",
            "[1",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12é\"",
            "1 2",
            "nul",
            "'a'",
            "NaN",
            "\u{feff}1",
            "\u{a0}1",
            "{",
            "[1 2]",
            "{\"constructor\":1}",
        ] {
            assert!(read(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn has_the_corners_of_javascript() {
        assert_eq!(read("1e999").unwrap().as_number(), Some(f64::INFINITY));
        assert!(read("-0").unwrap().as_number().unwrap().is_sign_negative());
        assert_eq!(read("9007199254740993").unwrap().as_number(), Some(9_007_199_254_740_992.0));
        let record = read(r#"{"b":1,"a":2,"b":3,"1":4}"#).unwrap();
        assert_eq!(record.to_json().unwrap().to_string(), r#"{"1":4,"b":3,"a":2}"#);
        let half = read(r#""a\ud83d""#).unwrap();
        assert_eq!(half.as_string().unwrap().units(), [0x61, 0xd83d]);
    }

    #[test]
    fn is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(256)).is_some());
        assert!(read(&nested(257)).is_none());
        assert!(read(&nested(100_000)).is_none());
        assert!(parse(&format!("[{}0]", "0,".repeat(1000)), 1000).is_err());
    }
}
