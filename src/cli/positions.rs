//! Where the values of a YAML text stand.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use crate::yaml;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// The places of one document's values by JSON Pointer.
#[derive(Debug, Default)]
pub(super) struct Positions(HashMap<String, Place>);

impl Positions {
    /// The places in each document of a text that [`parse_documents`](yaml::parse_documents) accepts; empty for
    /// one that it refuses.
    pub(super) fn of_documents(text: &str) -> Vec<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents: Vec<Spanned<Node>> =
            yaml::with_stack(|| serde_saphyr::from_multiple_with_options(text, yaml::options()).unwrap_or_default())
                .unwrap_or_default();
        documents
            .iter()
            .map(|document| {
                let mut positions = Self::default();
                positions.collect(String::new(), document);
                positions
            })
            .collect()
    }

    fn collect(&mut self, pointer: String, node: &Spanned<Node>) {
        match &node.value {
            Node::Leaf => {}
            Node::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.collect(format!("{pointer}/{index}"), item);
                }
            }
            Node::Mapping(members) => {
                for (key, value) in members {
                    self.collect(format!("{pointer}/{}", escape(key)), value);
                }
            }
        }
        let place = Place { line: node.referenced.line(), column: node.referenced.column() };
        self.0.insert(pointer, place);
    }

    /// The place of a value; for one that isn't there, of the nearest value around it.
    pub(super) fn at(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.0.get(pointer) {
                return *place;
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return Place { line: 1, column: 1 },
            }
        }
    }
}

/// A member's name as a part of a JSON Pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The place in a file of something inside a string value, given the value's own place and the position within the
/// string (line and column from 1). Exact for literal blocks and for scalars on one line; else the value's place.
pub(super) fn within(text: &str, value: Place, line: u32, column: u32) -> Place {
    let (line, column) = (u64::from(line.max(1)) - 1, u64::from(column.max(1)) - 1);
    let source = |number: u64| text.lines().nth(usize::try_from(number.checked_sub(1)?).ok()?);
    let first = source(value.line).and_then(|text| text.chars().nth(usize::try_from(value.column - 1).ok()?));
    // A block scalar stands where its text begins, the line before ends with its header.
    match value.line.checked_sub(1).and_then(source).and_then(block_header) {
        Some('|') => Place { line: value.line + line, column: value.column + column },
        Some(_) => value,
        None if line > 0 => value,
        None => {
            Place { line: value.line, column: value.column + column + u64::from(matches!(first, Some('"' | '\''))) }
        }
    }
}

/// `|` or `>` where a line ends with the header of a block scalar.
fn block_header(line: &str) -> Option<char> {
    let line = line.split(" #").next().unwrap_or(line).trim_end();
    let line = line.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let before = line.strip_suffix(['|', '>'])?;
    (before.is_empty() || before.ends_with([' ', ':'])).then(|| line.chars().next_back()).flatten()
}

/// A value with the places of what it holds.
enum Node {
    Leaf,
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! leaves {
    ($($method:ident($($of:ty)?)),* $(,)?) => {
        $(fn $method<E>(self $(, _: $of)?) -> Result<Node, E> {
            Ok(Node::Leaf)
        })*
    };
}

impl<'de> de::Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    leaves! {
        visit_bool(bool), visit_i64(i64), visit_i128(i128), visit_u64(u64), visit_u128(u128), visit_f64(f64),
        visit_str(&str), visit_bytes(&[u8]), visit_unit(), visit_none(),
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(item) = items.next_element()? {
            nodes.push(item);
        }
        Ok(Node::Sequence(nodes))
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(member) = members.next_entry()? {
            nodes.push(member);
        }
        Ok(Node::Mapping(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
kind: Template
spec:
  steps:
    - id: a
      input: {message: 'x ${{ y }}', \"a/b\": 1}
    - id: b
      text: |
        one
        two ${{ x | }}
---
kind: Other
";

    #[test]
    fn values_have_places() {
        let documents = Positions::of_documents(TEXT);
        assert_eq!(documents.len(), 2);
        for (pointer, line, column) in [
            ("/kind", 1, 7),
            ("/spec/steps/0/id", 4, 11),
            ("/spec/steps/0/input/message", 5, 24),
            ("/spec/steps/0/input/a~1b", 5, 45),
            ("/spec/steps/1/text", 8, 9),
            ("/spec/steps/0/nothing", 4, 7),
        ] {
            assert_eq!(documents[0].at(pointer), Place { line, column }, "{pointer}");
        }
        assert_eq!(documents[1].at("/kind"), Place { line: 11, column: 7 });
    }

    #[test]
    fn places_within_strings() {
        let literal = Place { line: 8, column: 9 };
        assert_eq!(within(TEXT, literal, 2, 5), Place { line: 9, column: 13 });
        let quoted = Place { line: 5, column: 24 };
        assert_eq!(within(TEXT, quoted, 1, 3), Place { line: 5, column: 27 });
        let plain = Place { line: 4, column: 11 };
        assert_eq!(within(TEXT, plain, 1, 1), plain);
    }
}
