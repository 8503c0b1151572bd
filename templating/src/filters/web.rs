//! Filters about HTML and URLs.

use super::{argument, like, strict_text, text_or_empty};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::string::{Str, StrBuilder, is_js_whitespace};
use crate::value::Value;

pub(super) fn safe(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    if let Value::Safe(_) = input {
        return Ok(input.clone());
    }
    let text = interp.output_text(input)?;
    interp.charge_bytes(text.byte_len())?;
    // Each safe string is an object of its own.
    Ok(Value::safe(text))
}

pub(super) fn escape(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    match argument(values, 0) {
        Value::Safe(text) => Ok(Value::Safe(text.clone())),
        _ => forceescape(interp, values),
    }
}

pub(super) fn forceescape(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = interp.output_text(argument(values, 0))?;
    interp.charge_bytes(text.byte_len().saturating_mul(2))?;
    Ok(Value::safe(text.map_text(escape_html)))
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' => escaped.push_str("&#92;"),
            other => escaped.push(other),
        }
    }
    escaped
}

pub(super) fn nl2br(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    if input.is_nullish() {
        return Ok(Value::string(""));
    }
    let text = strict_text(input)?;
    interp.charge_bytes(text.byte_len().saturating_mul(4))?;
    Ok(like(input, text.map_text(|text| text.replace("\r\n", "\n").replace('\n', "<br />\n"))))
}

/// How often markup is removed from what removing markup has left.
const MAX_STRIP_PASSES: usize = 8;

pub(super) fn striptags(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    let text = text_or_empty(input)?;
    let mut plain: String = text.code_units().map(stand_in).collect();
    let mut passes = 0;
    loop {
        interp.charge_bytes(plain.len())?;
        let stripped = without_tags(&plain);
        if stripped.len() == plain.len() {
            break;
        }
        plain = stripped;
        passes += 1;
        if passes > MAX_STRIP_PASSES {
            return Err(Fault::evaluation("striptags input contains excessively nested markup"));
        }
    }
    let trimmed = plain.trim_matches(is_js_whitespace);
    let result = if argument(values, 1).is_truthy() { tidy_lines(trimmed) } else { single_spaced(trimmed) };
    let units: Vec<u16> = result.chars().flat_map(stood_for).collect();
    Ok(like(input, Str::from_units(&units)))
}

/// A character for each code unit, also for the halves of others, which are moved to where none is.
fn stand_in(unit: u16) -> char {
    // Surrogates are moved to the last plane, which no text uses; all else is a character.
    char::from_u32(u32::from(unit)).or_else(|| char::from_u32(0x10_0000 + u32::from(unit))).unwrap_or('\u{fffd}')
}

/// The code unit that a character stands for.
fn stood_for(character: char) -> Option<u16> {
    u16::try_from(u32::from(character) & 0xffff).ok()
}

/// `text` without tags and comments. A tag is `<` or `</`, a name that starts with a letter, and anything up to `>`.
fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // Where no end can follow, none is looked for: each search would read all of the rest.
    let tags_end = text.rfind('>').unwrap_or(0);
    let comments_end = text.rfind("-->").unwrap_or(0);
    while let Some(at) = rest.find('<') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let position = text.len() - rest.len();
        let end = if rest.starts_with("<!--") { comments_end } else { tags_end };
        match if position < end { tag_length(rest) } else { None } {
            Some(length) => rest = &rest[length..],
            None => {
                plain.push('<');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn tag_length(text: &str) -> Option<usize> {
    if let Some(comment) = text.strip_prefix("<!--") {
        return comment.find("-->").map(|end| 4 + end + 3);
    }
    let name = text[1..].strip_prefix('/').unwrap_or(&text[1..]);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let after = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
    if after.starts_with('_') {
        return None;
    }
    after.find('>').map(|end| text.len() - after.len() + end + 1)
}

fn single_spaced(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut in_space = false;
    for character in text.chars() {
        let space = is_js_whitespace(character);
        if !space {
            result.push(character);
        } else if !in_space {
            result.push(' ');
        }
        in_space = space;
    }
    result
}

/// Keeps line breaks, at most two in a row, and joins runs of spaces.
fn tidy_lines(text: &str) -> String {
    let breaks = |c: char| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
    let mut spaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.trim_start_matches(' ');
        if after.len() == rest.len() {
            spaced.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let at_edge = spaced.chars().next_back().is_none_or(breaks) || after.chars().next().is_none_or(breaks);
        if !at_edge {
            spaced.push(' ');
        }
        rest = after;
    }
    let mut result = spaced.replace("\r\n", "\n");
    while result.contains("\n\n\n") {
        result = result.replace("\n\n\n", "\n\n");
    }
    result
}

pub(super) fn urlencode(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    let pairs: Vec<(Value, Value)> = match input {
        // An object there, with two properties.
        Value::Safe(text) if interp.dialect() == Dialect::Nunjucks3 => {
            let length = Value::Number(text.len() as f64);
            vec![(Value::string("val"), Value::String(text.as_ref().clone())), (Value::string("length"), length)]
        }
        Value::String(text) => return encode(interp, text).map(Value::string),
        Value::Safe(text) => return encode(interp, text).map(Value::string),
        Value::Record(record) => {
            record.iter().map(|(key, value)| (Value::string(key.clone()), value.clone())).collect()
        }
        Value::Array(array) => {
            let mut pairs = Vec::new();
            for item in interp.items(array).iter() {
                if item.is_nullish() {
                    return Err(Fault::evaluation("urlencode sequence entries cannot be nullish"));
                }
                let (key, value) = (Value::Number(0.0), Value::Number(1.0));
                pairs.push((interp.get(item, &key)?, interp.get(item, &value)?));
            }
            pairs
        }
        _ => Vec::new(),
    };
    let mut query = String::new();
    for (key, value) in pairs {
        interp.charge(1)?;
        let (key, value) = (interp.text(&key)?, interp.text(&value)?);
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&encode(interp, &key)?);
        query.push('=');
        query.push_str(&encode(interp, &value)?);
    }
    Ok(Value::string(query))
}

/// JavaScript's `encodeURIComponent`.
fn encode(interp: &mut Interp<'_>, text: &Str) -> Res<String> {
    interp.charge_bytes(text.byte_len().saturating_mul(3))?;
    let text = text.as_str().ok_or_else(|| Fault::evaluation("URI malformed"))?;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
                encoded.push(char::from(byte));
            }
            _ => {
                const DIGITS: [char; 16] =
                    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
                encoded.extend(['%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
    }
    Ok(encoded)
}

pub(super) fn urlize(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = strict_text(argument(values, 0))?;
    interp.charge_bytes(text.byte_len().saturating_mul(4))?;
    let length = match argument(values, 1) {
        Value::Undefined => usize::MAX,
        Value::Number(number) if number.is_nan() => usize::MAX,
        // Anything else that is no number counts as 0.
        length => interp.number(length)?.max(0.0) as usize,
    };
    let attributes = if matches!(argument(values, 2), Value::Bool(true)) { " rel=\"nofollow\"" } else { "" };
    let units = text.units();
    let is_space = |unit: u16| char::from_u32(u32::from(unit)).is_some_and(is_js_whitespace);
    let mut result = StrBuilder::default();
    for word in units.chunk_by(|a, b| is_space(*a) == is_space(*b)) {
        // Every address has one of these.
        if word.iter().any(|unit| [b'.', b':', b'@'].map(u16::from).contains(unit)) {
            link(&Str::from_units(word), length, attributes, &mut result);
        } else {
            word.iter().for_each(|unit| result.push_unit(*unit));
        }
    }
    Ok(Value::String(result.finish()))
}

/// Writes a word, as a link if it is an address. Half a character in it stays one, and what is shown of it may end with
/// one.
fn link(word: &Str, length: usize, attributes: &str, result: &mut StrBuilder) {
    let text = word.to_lossy();
    let prefix = ["(", "<", "&lt;"].into_iter().find(|prefix| text.starts_with(prefix)).unwrap_or_default();
    let rest = &text[prefix.len()..];
    let suffix = [".", ",", ")", "&gt;"].into_iter().find(|suffix| rest.ends_with(suffix)).unwrap_or_default();
    let address = &rest[..rest.len() - suffix.len()];
    let url = word.slice(prefix.len(), word.len() - suffix.len());
    let scheme = if address.starts_with("http://") || address.starts_with("https://") {
        ""
    } else if address.starts_with("www.") {
        "http://"
    } else if is_email(address) {
        return result.push_str(&format!("<a href=\"mailto:{address}\">{address}</a>"));
    } else if has_known_domain(address) {
        "http://"
    } else {
        return result.push(word);
    };
    result.push_str("<a href=\"");
    result.push_str(scheme);
    result.push(&url);
    result.push_str("\"");
    result.push_str(attributes);
    result.push_str(">");
    result.push(&url.slice(0, length));
    result.push_str("</a>");
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_part = |c: char| c.is_ascii_alphanumeric() || "_.!#$%&'*+-/=?^`{|}~".contains(c);
    let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    !local.is_empty() && local.chars().all(local_part) && domain.contains('.') && domain.split('.').all(label)
}

fn has_known_domain(text: &str) -> bool {
    [".org", ".net", ".com"].into_iter().any(|domain| {
        text.match_indices(domain).any(|(at, _)| {
            let after = &text[at + domain.len()..];
            after.is_empty() || after.starts_with(':') || after.starts_with('/')
        })
    })
}
