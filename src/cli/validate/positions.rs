//! Where the values of a YAML text stand, and the characters of its texts.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Line and column, both from 1; columns are counted in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    /// Where a text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The place of a byte of a text.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Self { line: line as u64, column: before[start..].chars().count() as u64 + 1 }
    }
}

/// A key that a mapping has more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) key: String,
    pub(super) first: Place,
    pub(super) again: Place,
}

/// The places of one document's values by JSON Pointer.
#[derive(Debug, Default)]
pub(super) struct Positions {
    entries: HashMap<String, Entry>,
    pub(super) duplicates: Vec<Duplicate>,
    /// The line its content starts on.
    line: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Option<Place>,
    value: Place,
    text: Option<Scalar>,
}

/// A text as it is written.
#[derive(Debug, Clone)]
struct Scalar {
    /// From and to which byte of the source.
    start: usize,
    end: usize,
    style: ScalarStyle,
}

impl Positions {
    /// The places in each document of a text that [`parse_documents`](crate::yaml::parse_documents) accepts (apart from
    /// duplicate keys), by the line its content starts on.
    pub(super) fn of_documents(text: &str) -> HashMap<u64, Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::default();
        let mut documents = HashMap::new();
        for event in Parser::new_from_str(text) {
            // A text that can't be read has no places.
            let Ok((event, span)) = event else { return HashMap::new() };
            if let Some(document) = reader.take(event, span) {
                documents.insert(document.line, document);
            }
        }
        documents
    }

    /// The place of a value; for one that isn't there, of the nearest value around it.
    pub(super) fn at(&self, pointer: &str) -> Place {
        self.nearest(pointer).map_or(Place::START, |(entry, _)| entry.value)
    }

    /// The place of a member's name; for a value that has none, of the value.
    pub(super) fn key_at(&self, pointer: &str) -> Place {
        match self.nearest(pointer) {
            Some((entry, true)) => entry.key.unwrap_or(entry.value),
            Some((entry, false)) => entry.value,
            None => Place::START,
        }
    }

    /// The place of the character at a byte of a text; the text's own place where that can't be told.
    pub(super) fn within(&self, source: &str, pointer: &str, value: &str, offset: usize) -> Place {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let scalar = self.entries.get(pointer).and_then(|entry| entry.text.as_ref());
        scalar
            .and_then(|scalar| scalar.offset_in(source, value, offset))
            .map_or_else(|| self.at(pointer), |offset| Place::of(source, offset))
    }

    /// The entry and whether it is that of the very pointer.
    fn nearest(&self, pointer: &str) -> Option<(&Entry, bool)> {
        let mut at = pointer;
        loop {
            if let Some(entry) = self.entries.get(at) {
                return Some((entry, at.len() == pointer.len()));
            }
            at = at.rsplit_once('/')?.0;
        }
    }
}

impl Scalar {
    /// The byte of the source at which the character at a byte of the value is written.
    ///
    /// Folding and indentation change blanks and line breaks only, so it is the other characters that are counted.
    fn offset_in(&self, source: &str, value: &str, offset: usize) -> Option<usize> {
        let written = self.characters(source)?;
        let mut characters = value.chars().filter(|character| !is_blank(*character));
        if !written.iter().map(|(_, character)| *character).eq(characters.by_ref()) {
            return None;
        }
        let offset = value.floor_char_boundary(offset);
        let (before, rest) = value.split_at(offset);
        let count = before.chars().filter(|character| !is_blank(*character)).count();
        if rest.starts_with(|character| !is_blank(character)) {
            return written.get(count).map(|(at, _)| *at);
        }
        // Blanks on the line of the character before them are the same in the source.
        let blanks = before.chars().rev().take_while(|character| is_blank(*character)).count();
        let (last, character) = *written.get(count.checked_sub(1)?)?;
        let after = last + source[last..].chars().next().map_or(character.len_utf8(), char::len_utf8);
        let same = source[after..].chars().take(blanks).all(|character| matches!(character, ' ' | '\t'));
        Some(if same { after + blanks } else { written.get(count).map_or(after, |(at, _)| *at) })
    }

    /// The characters that are no blanks and where they are written.
    fn characters(&self, source: &str) -> Option<Vec<(usize, char)>> {
        let text = source.get(self.start..self.end)?;
        let plain = |text: &str, start: usize| -> Vec<(usize, char)> {
            text.char_indices().map(|(at, character)| (start + at, character)).collect()
        };
        let mut found = match self.style {
            ScalarStyle::SingleQuoted => single_quoted(&plain(text, self.start))?,
            ScalarStyle::DoubleQuoted => double_quoted(&plain(text, self.start))?,
            _ => plain(text, self.start),
        };
        found.retain(|(_, character)| !is_blank(*character));
        Some(found)
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn single_quoted(text: &[(usize, char)]) -> Option<Vec<(usize, char)>> {
    let [(_, '\''), inner @ .., (_, '\'')] = text else { return None };
    let mut found = Vec::new();
    let mut characters = inner.iter();
    while let Some(character) = characters.next() {
        found.push(*character);
        if character.1 == '\'' {
            characters.next();
        }
    }
    Some(found)
}

fn double_quoted(text: &[(usize, char)]) -> Option<Vec<(usize, char)>> {
    let [(_, '"'), inner @ .., (_, '"')] = text else { return None };
    let mut found = Vec::new();
    let mut characters = inner.iter();
    while let Some((at, character)) = characters.next() {
        if *character != '\\' {
            found.push((*at, *character));
            continue;
        }
        let digits = match characters.next()?.1 {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            escaped => {
                found.push((*at, unescaped(escaped)));
                continue;
            }
        };
        let code: String = characters.by_ref().take(digits).map(|(_, digit)| digit).collect();
        found.push((*at, char::from_u32(u32::from_str_radix(&code, 16).ok()?)?));
    }
    Some(found)
}

fn unescaped(character: char) -> char {
    match character {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    }
}

/// A member's name as a part of a JSON Pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Builds the entries of a document from the parser's events.
#[derive(Default)]
struct Reader {
    document: Positions,
    open: Vec<Collection>,
    /// The pointers of anchored values.
    anchors: HashMap<usize, String>,
}

struct Collection {
    pointer: String,
    kind: Kind,
}

enum Kind {
    Sequence {
        next: usize,
    },
    /// The key that has been read, and all keys with their places.
    Mapping {
        key: Option<(String, Place)>,
        known: HashMap<String, Place>,
    },
}

impl Reader {
    /// Takes an event; at the end of a document, gives it.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<Positions> {
        let place = Place { line: span.start.line() as u64, column: span.start.col() as u64 + 1 };
        match event {
            Event::DocumentStart(..) => *self = Self::default(),
            Event::DocumentEnd => return Some(std::mem::take(&mut self.document)),
            Event::Scalar(text, style, anchor, _) => {
                if let Some(Collection { kind: Kind::Mapping { key: key @ None, known }, .. }) = self.open.last_mut() {
                    match known.get(&*text) {
                        Some(first) => {
                            let duplicate = Duplicate { key: text.to_string(), first: *first, again: place };
                            self.document.duplicates.push(duplicate);
                        }
                        None => _ = known.insert(text.to_string(), place),
                    }
                    *key = Some((text.into_owned(), place));
                    return None;
                }
                let range = span.start.byte_offset().zip(span.end.byte_offset());
                let text = range.map(|(start, end)| Scalar { start, end, style });
                self.value(place, text, anchor);
            }
            Event::SequenceStart(_, anchor, _) => {
                let pointer = self.value(place, None, anchor);
                self.open.push(Collection { pointer, kind: Kind::Sequence { next: 0 } });
            }
            Event::MappingStart(_, anchor, _) => {
                let pointer = self.value(place, None, anchor);
                let kind = Kind::Mapping { key: None, known: HashMap::new() };
                self.open.push(Collection { pointer, kind });
            }
            Event::SequenceEnd | Event::MappingEnd => _ = self.open.pop(),
            Event::Alias(anchor) => {
                let pointer = self.value(place, None, 0);
                self.copy(anchor, &pointer);
            }
            _ => {}
        }
        None
    }

    /// Notes a value that begins here; gives its pointer.
    fn value(&mut self, place: Place, text: Option<Scalar>, anchor: usize) -> String {
        let (pointer, key) = match self.open.last_mut() {
            None => {
                self.document.line = place.line;
                (String::new(), None)
            }
            Some(Collection { pointer, kind: Kind::Sequence { next } }) => {
                *next += 1;
                (format!("{pointer}/{}", *next - 1), None)
            }
            Some(Collection { pointer, kind: Kind::Mapping { key, .. } }) => match key.take() {
                Some((key, place)) => (format!("{pointer}/{}", escape(&key)), Some(place)),
                // A collection or alias as a key: no value of ours has such a name, and its own value follows.
                None => {
                    *key = Some((String::new(), place));
                    (format!("{pointer}/"), None)
                }
            },
        };
        self.document.entries.insert(pointer.clone(), Entry { key, value: place, text });
        if anchor != 0 {
            self.anchors.insert(anchor, pointer.clone());
        }
        pointer
    }

    /// Gives an alias what its anchor holds.
    fn copy(&mut self, anchor: usize, pointer: &str) {
        let Some(anchor) = self.anchors.get(&anchor) else { return };
        let entries = &mut self.document.entries;
        let copies: Vec<_> = entries
            .iter()
            .filter_map(|(at, entry)| {
                let rest = at.strip_prefix(anchor.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then(|| (format!("{pointer}{rest}"), entry.clone()))
            })
            .collect();
        for (at, copy) in copies {
            match entries.get_mut(&at) {
                Some(entry) => entry.text = copy.text,
                None => _ = entries.insert(at, copy),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "\
kind: Template
spec:
  steps:
    - id: a
      input: {message: 'x ${{ y }}', \"a/b\": 1}
    - &b
      id: b
      text: |
        one
        two ${{ x | }}
    - *b
---
---
kind: Other
kind: Again
";

    #[test]
    fn values_have_places() {
        let documents = Positions::of_documents(TEXT);
        let first = &documents[&1];
        for (pointer, line, column) in [
            ("/kind", 1, 7),
            ("/spec/steps/0/id", 4, 11),
            ("/spec/steps/0/input/message", 5, 24),
            ("/spec/steps/0/input/a~1b", 5, 45),
            ("/spec/steps/1/text", 9, 9),
            ("/spec/steps/2", 11, 7),
            ("/spec/steps/2/text", 9, 9),
            ("/spec/steps/0/nothing", 4, 7),
        ] {
            assert_eq!(first.at(pointer), Place { line, column }, "{pointer}");
        }
        for (pointer, line, column) in
            [("/kind", 1, 1), ("/spec/steps/0/input", 5, 7), ("/spec/steps/0", 4, 7), ("/spec/nothing", 3, 3)]
        {
            assert_eq!(first.key_at(pointer), Place { line, column }, "{pointer}");
        }
        let other = &documents[&14];
        assert_eq!(other.at("/kind").line, 15);
        let places = |line| Place { line, column: 1 };
        assert_eq!(other.duplicates, [Duplicate { key: "kind".into(), first: places(14), again: places(15) }]);
    }

    #[test]
    fn characters_of_texts_have_places_however_they_are_written() {
        // Each text has one character to find, and none besides it.
        for text in [
            "a: plain § x",
            "a: plain\n  over § lines\n  and more",
            "a: 'it''s § x'",
            "a: 'it''s\n\n   two § x'",
            "a: \"tab\\t\\u0041\\x41 § \\\n   x\"",
            "a: \"\\\"folded\\\"\n  line § x\"",
            "a: |\n  one\n    § two\n",
            "a: |-\n\n\n  one\n\n  two § x\n\n",
            "a: |2\n    one\n   § x\n",
            "a: >\n  folded\n  over\n\n  lines § x\n",
            "a: >-\n  folded\n    indented § x\n  on\n",
            "a: !!str &x 'q § x'",
            "a: |\r\n  one\r\n  § two\r\n",
            "\u{feff}a: § x",
            "- [名前, {a: 'é § x'}]",
            "a:\n  § x # comment",
            "a: |\n  \u{1f600} § x\n",
        ] {
            let value = crate::yaml::parse_yaml(text).unwrap();
            let positions = Positions::of_documents(text).into_values().next().unwrap();
            let pointer = if text.starts_with('-') { "/0/1/a" } else { "/a" };
            let shown = value.pointer(pointer).and_then(serde_json::Value::as_str).unwrap();
            let offset = shown.find('§').unwrap();
            let plain = text.trim_start_matches('\u{feff}');
            let expected = Place::of(plain, plain.find('§').unwrap());
            assert_eq!(positions.within(text, pointer, shown, offset), expected, "{text:?}");
        }
    }

    #[test]
    fn blanks_and_the_end_have_places() {
        let text = "a: 'x ${{ y | }}'";
        let positions = &Positions::of_documents(text)[&1];
        let place = |offset| positions.within(text, "/a", "x ${{ y | }}", offset).column;
        assert_eq!((place(1), place(7), place(9), place(12)), (6, 12, 14, 17));
        // Another value than the one that is written has no such places.
        assert_eq!(positions.within(text, "/a", "other", 3), positions.at("/a"));
    }
}
