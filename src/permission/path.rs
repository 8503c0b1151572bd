//! Property paths as lodash 4 reads them: `get(object, "a.b[0]['c.d']")`.
//!
//! The rules `HAS_*_PROPERTY` of `@backstage/plugin-scaffolder-backend` 4.2.0 take such paths, so what a policy means by a
//! key depends on every oddity of theirs.

use serde_json::Value;

/// What stands at a path; `None` where JavaScript finds `undefined`.
///
/// A key that is a member of the object itself is not taken apart (`{"a.b": 1}` has something at `a.b`). Lists and texts
/// have a `length` and items by index.
pub(crate) fn get(object: &Value, key: &str) -> Option<Value> {
    let own = object.as_object().is_some_and(|members| members.contains_key(key));
    if own || !is_deep(key) {
        return member(object, key);
    }
    let mut parts = parts(key).into_iter();
    let mut found = member(object, &parts.next()?)?;
    for part in parts {
        found = member(&found, &part)?;
    }
    Some(found)
}

fn member(object: &Value, name: &str) -> Option<Value> {
    match object {
        Value::Object(members) => members.get(name).cloned(),
        Value::Array(items) if name == "length" => Some(items.len().into()),
        Value::Array(items) => items.get(index(name)?).cloned(),
        Value::String(text) if name == "length" => Some(text.encode_utf16().count().into()),
        Value::String(text) => {
            let unit = text.encode_utf16().nth(index(name)?)?;
            Some(String::from_utf16_lossy(&[unit]).into())
        }
        _ => None,
    }
}

/// A canonical index: `0`, `12`, but not `01`.
fn index(name: &str) -> Option<usize> {
    let number: usize = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

/// Whether the key has to be taken apart: a dot, or a bracket around a quoted text or around anything but brackets.
fn is_deep(key: &str) -> bool {
    key.contains('.')
        || key.char_indices().any(|(at, char)| {
            let rest = &key[at + char.len_utf8()..];
            char == '['
                && (quoted(rest).is_some() || rest.find(['[', ']']).is_some_and(|end| rest[end..].starts_with(']')))
        })
}

/// The parts of a path (lodash's `toPath`).
pub(crate) fn parts(key: &str) -> Vec<String> {
    let mut found = Vec::new();
    if key.starts_with('.') {
        found.push(String::new());
    }
    let mut at = 0;
    while let Some(next) = key[at..].chars().next() {
        let rest = &key[at..];
        let plain = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        if plain > 0 {
            found.push(rest[..plain].to_string());
            at += plain;
        } else if let Some((part, length)) = rest.strip_prefix('[').and_then(bracketed) {
            found.push(part);
            at += 1 + length;
        } else {
            if empty_part_follows(rest) {
                found.push(String::new());
            }
            at += next.len_utf8();
        }
    }
    found
}

/// What stands between brackets, the opening one left out: a number or a quoted text, and how long it is with `]`.
fn bracketed(rest: &str) -> Option<(String, usize)> {
    if let Some((inner, length)) = quoted(rest) {
        return Some((unescaped(inner), length));
    }
    let end = rest.find(']')?;
    let number = &rest[..end];
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let is_number = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    is_number.then(|| (number.to_string(), end + 1))
}

/// A quoted text followed by `]`: what is between the quotes, and the length of all of it.
fn quoted(rest: &str) -> Option<(&str, usize)> {
    let quote = rest.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    let mut escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => {
                return rest[at + 1..].starts_with(']').then(|| (&rest[1..at], at + 2));
            }
            _ => {}
        }
    }
    None
}

/// A backslash goes, unless another stands before it.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
        } else if chars.next_if_eq(&'\\').is_some() {
            out.push('\\');
        }
    }
    out
}

/// Two separators in a row, or one at the end, have an empty part between or behind them.
fn empty_part_follows(rest: &str) -> bool {
    let separator = |text: &str| -> Option<usize> {
        if text.starts_with('.') {
            Some(1)
        } else if text.starts_with("[]") {
            Some(2)
        } else {
            None
        }
    };
    separator(rest).is_some_and(|length| rest.len() == length || separator(&rest[length..]).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_taken_apart_as_lodash_does() {
        // Compared with lodash 4.17.21's `toPath`.
        for (key, expected) in [
            ("a", &["a"][..]),
            ("a.b", &["a", "b"]),
            ("a[0].b", &["a", "0", "b"]),
            ("a[-1.5]", &["a", "-1.5"]),
            ("a['b.c']", &["a", "b.c"]),
            (r#"a["b\"c"]"#, &["a", "b\"c"]),
            (r"['a\\b']", &[r"a\b"]),
            (".a", &["", "a"]),
            ("a.", &["a", ""]),
            ("a..b", &["a", "", "b"]),
            ("a[]", &["a", ""]),
            ("a[].b", &["a", "", "b"]),
            ("a[b]", &["a", "b"]),
            ("[0]", &["0"]),
            ("", &[]),
            (".", &["", ""]),
        ] {
            assert_eq!(parts(key), expected, "{key}");
        }
    }

    #[test]
    fn values_are_found_as_lodash_does() {
        let object = json!({"a": {"b": [1, {"c": "x"}]}, "a.b": "whole", "t": "aé", "": {"": 5}, "n": null});
        for (key, expected) in [
            ("a", Some(json!({"b": [1, {"c": "x"}]}))),
            ("a.b", Some(json!("whole"))),
            ("a['b']", Some(json!([1, {"c": "x"}]))),
            ("a['b'][1].c", Some(json!("x"))),
            ("a[b][0]", Some(json!(1))),
            ("a['b'][01]", None),
            ("a['b'].length", Some(json!(2))),
            ("t.length", Some(json!(2))),
            ("t[1]", Some(json!("é"))),
            ("n", Some(Value::Null)),
            ("n.x", None),
            ("nowhere.x", None),
            ("", Some(json!({"": 5}))),
        ] {
            assert_eq!(get(&object, key), expected, "{key}");
        }
        assert_eq!(get(&json!(["x"]), "[0]"), Some(json!("x")));
        assert_eq!(get(&json!(7), "a"), None);
    }
}
