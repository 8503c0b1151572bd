//! The data that templates are about.

use proptest::prelude::RngExt as _;
use serde_json::{Map, Value as Json, json};

use super::{Grammar, Kind};

/// The names of the context with what they usually hold.
pub(super) const NAMES: [(&str, Kind); 16] = [
    ("name", Kind::Text),
    ("title", Kind::Text),
    ("html", Kind::Text),
    ("lines", Kind::Text),
    ("n", Kind::Number),
    ("m", Kind::Number),
    ("f", Kind::Number),
    ("t", Kind::Truth),
    ("z", Kind::Truth),
    ("nil", Kind::Any),
    ("arr", Kind::List),
    ("words", Kind::List),
    ("mixed", Kind::List),
    ("objs", Kind::List),
    ("obj", Kind::Record),
    ("rec", Kind::Record),
];

const TEXTS: [&str; 40] = [
    "",
    "a",
    "abc",
    "Hello World",
    "my-app_name",
    "  padded  ",
    "12",
    "-3.5",
    "1e3",
    "0x1F",
    "true",
    "null",
    "a,b,,c",
    "x.y.z",
    "CamelCaseName",
    "UPPER",
    "ünïcödé",
    "a😀b",
    "😀",
    "ß",
    "ǆ",
    "İ",
    "<b>bold</b> & \"q\"",
    "it's \\ back",
    "https://example.com/a?b=c&d=e",
    "see www.x.org, or me@mail.com.",
    "line one\nline two\n\nline four",
    "a\r\nb\tc",
    "the quick brown fox jumps over the lazy dog",
    "a  b   c",
    "\u{a0}nb\u{a0}",
    "$& $1 $$",
    "[1, 2]",
    "{\"a\": 1}",
    "aaa",
    "abcabc",
    "0",
    "length",
    "é",
    "{{ n }} {% x %}",
];

const NUMBERS: [f64; 22] = [
    0.0,
    1.0,
    2.0,
    3.0,
    4.0,
    7.0,
    10.0,
    -1.0,
    -2.0,
    1.5,
    -0.5,
    0.1,
    2.5,
    100.0,
    255.0,
    1e6,
    123_456.789,
    1e21,
    1e-7,
    1e300,
    9_007_199_254_740_992.0,
    -1234.5,
];

impl Grammar {
    pub(super) fn data(&mut self) -> Map<String, Json> {
        let mut data = Map::new();
        for (name, kind) in NAMES {
            if self.chance(3) {
                continue;
            }
            let kind = if self.chance(3) { Kind::Any } else { kind };
            let value = match name {
                "objs" if kind == Kind::List => self.records(),
                "words" if kind == Kind::List => self.words(),
                "nil" => Json::Null,
                "html" => json!("<a href='x'>\"T\" & co</a>"),
                "lines" => json!("one\n  two\n\nthree "),
                _ => self.value(kind, 2),
            };
            data.insert(name.to_owned(), value);
        }
        data
    }

    /// A text that templates and data have.
    pub(super) fn text(&mut self) -> &'static str {
        self.pick(&TEXTS)
    }

    fn number(&mut self) -> Json {
        if self.chance(20) { json!(self.rng.random_range(-50..50)) } else { json!(self.pick(&NUMBERS)) }
    }

    fn value(&mut self, kind: Kind, depth: usize) -> Json {
        match kind {
            Kind::Text => json!(self.text()),
            Kind::Number => self.number(),
            Kind::Truth => json!(self.chance(50)),
            Kind::List if depth > 0 => {
                let kind = if self.chance(50) { Kind::Number } else { Kind::Any };
                (0..self.below(5)).map(|_| self.value(kind, depth - 1)).collect()
            }
            Kind::Record if depth > 0 => {
                let mut record = Map::new();
                for _ in 0..self.below(5) {
                    let key = self.key();
                    record.insert(key.to_owned(), self.value(Kind::Any, depth - 1));
                }
                Json::Object(record)
            }
            Kind::Any if self.chance(12) => Json::Null,
            Kind::Any => {
                let kind = self.any_kind();
                self.value(kind, depth)
            }
            Kind::List => json!([]),
            Kind::Record => json!({}),
        }
    }

    /// A key of records.
    pub(super) fn key(&mut self) -> &'static str {
        self.pick(&["a", "b", "c", "k", "v", "name", "length", "0", "1", "key with blank", "items", "zz"])
    }

    fn records(&mut self) -> Json {
        let records = (0..self.below(5)).map(|_| {
            let mut record = Map::new();
            for key in ["k", "v", "name"] {
                if self.chance(85) {
                    let kind = if key == "v" { Kind::Number } else { Kind::Text };
                    let kind = if self.chance(8) { Kind::Any } else { kind };
                    record.insert(key.to_owned(), self.value(kind, 1));
                }
            }
            Json::Object(record)
        });
        records.collect()
    }

    fn words(&mut self) -> Json {
        (0..self.below(6)).map(|_| self.pick(&["b", "a", "C", "ab", "B", "ä", "10", "9", "z"])).collect()
    }
}
