//! Methods of strings.

use super::{Definition, argument, integer, method, relative_index, variadic};
use crate::error::Res;
use crate::eval::Interp;
use crate::regex::Regex;
use crate::string::{Str, StrBuilder};
use crate::value::Value;

pub(super) static METHODS: [Definition; 17] = [
    method("charAt", 0, 1, char_at),
    method("charCodeAt", 0, 1, char_code_at),
    variadic("concat", concat),
    method("endsWith", 1, 2, ends_with),
    method("includes", 1, 2, includes),
    method("indexOf", 1, 2, index_of),
    method("lastIndexOf", 1, 2, last_index_of),
    method("replace", 2, 2, replace),
    method("slice", 0, 2, slice),
    method("split", 0, 2, split),
    method("startsWith", 1, 2, starts_with),
    method("substring", 0, 2, substring),
    method("toLowerCase", 0, 0, |interp, target, _| changed(interp, target, str::to_lowercase)),
    method("toUpperCase", 0, 0, |interp, target, _| changed(interp, target, str::to_uppercase)),
    method("trim", 0, 0, |_, target, _| Ok(Value::String(text_of(target).trim()))),
    method("trimEnd", 0, 0, |_, target, _| Ok(Value::String(text_of(target).trim_end()))),
    method("trimStart", 0, 0, |_, target, _| Ok(Value::String(text_of(target).trim_start()))),
];

/// The string that the method belongs to.
pub(super) fn text_of(target: &Value) -> Str {
    target.as_string().cloned().unwrap_or_default()
}

pub(super) fn changed(interp: &mut Interp<'_>, target: &Value, change: fn(&str) -> String) -> Res<Value> {
    let text = text_of(target);
    interp.charge_bytes(text.byte_len())?;
    Ok(Value::String(text.map_text(change)))
}

pub(super) fn char_at(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let index = integer(interp.number_or_nan(argument(values, 0))?);
    let text = text_of(target);
    interp.charge(text.distance(index as usize) / 512)?;
    Ok(match text.unit_at(index as usize) {
        Some(unit) if index >= 0.0 => Value::String(Str::from_units(&[unit])),
        _ => Value::string(""),
    })
}

pub(super) fn char_code_at(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let index = integer(interp.number_or_nan(argument(values, 0))?);
    let text = text_of(target);
    interp.charge(text.distance(index as usize) / 512)?;
    let unit = if index >= 0.0 { text.unit_at(index as usize) } else { None };
    Ok(Value::Number(unit.map_or(f64::NAN, f64::from)))
}

pub(super) fn concat(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let mut result = StrBuilder::default();
    result.push(&text_of(target));
    for value in values {
        let text = interp.text(value)?;
        interp.charge_bytes(text.byte_len())?;
        result.push(&text);
    }
    Ok(Value::String(result.finish()))
}

/// The position argument of the searching methods, clamped to the length.
pub(super) fn position(interp: &mut Interp<'_>, value: &Value, length: usize) -> Res<usize> {
    let number = integer(interp.number_or_nan(value)?);
    Ok(number.clamp(0.0, length as f64) as usize)
}

pub(super) fn searched(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<(Str, Str)> {
    let text = text_of(target);
    interp.charge_bytes(text.byte_len())?;
    Ok((text, interp.text(argument(values, 0))?))
}

pub(super) fn starts_with(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let (text, needle) = searched(interp, target, values)?;
    let at = position(interp, argument(values, 1), text.len())?;
    Ok(Value::Bool(text.slice(at, at + needle.len()) == needle))
}

pub(super) fn ends_with(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let (text, needle) = searched(interp, target, values)?;
    let end = match argument(values, 1) {
        Value::Undefined => text.len(),
        value => position(interp, value, text.len())?,
    };
    let start = end.checked_sub(needle.len());
    Ok(Value::Bool(start.is_some_and(|start| text.slice(start, end) == needle)))
}

pub(super) fn includes(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let (text, needle) = searched(interp, target, values)?;
    let from = position(interp, argument(values, 1), text.len())?;
    Ok(Value::Bool(text.index_of(&needle, from).is_some()))
}

pub(super) fn index_of(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let (text, needle) = searched(interp, target, values)?;
    let from = position(interp, argument(values, 1), text.len())?;
    Ok(index_value(text.index_of(&needle, from)))
}

pub(super) fn last_index_of(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let (text, needle) = searched(interp, target, values)?;
    let from = interp.number_or_nan(argument(values, 1))?;
    let from = if from.is_nan() { usize::MAX } else { from.max(0.0) as usize };
    Ok(index_value(text.last_index_of(&needle, from)))
}

/// An index, or −1.
pub(super) fn index_value(index: Option<usize>) -> Value {
    Value::Number(index.map_or(-1.0, |index| index as f64))
}

/// A part of a text. To cut one that is not ASCII it has to be walked through.
pub(crate) fn cut(interp: &Interp<'_>, text: &Str, start: usize, end: usize) -> Res<Str> {
    let end = end.min(text.len());
    let is_plain = text.as_ascii().is_some();
    interp.charge_bytes(if is_plain { end.saturating_sub(start) } else { text.byte_len() })?;
    Ok(text.slice(start, end))
}

pub(super) fn slice(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let length = text.len();
    let start = relative_index(interp, argument(values, 0), length, 0)?;
    let end = relative_index(interp, argument(values, 1), length, length)?;
    cut(interp, &text, start, end).map(Value::String)
}

pub(super) fn substring(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let start = position(interp, argument(values, 0), text.len())?;
    let end = match argument(values, 1) {
        Value::Undefined => text.len(),
        value => position(interp, value, text.len())?,
    };
    cut(interp, &text, start.min(end), start.max(end)).map(Value::String)
}

pub(super) fn split(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let most = match argument(values, 1) {
        Value::Undefined => usize::MAX,
        value => crate::number::to_int32(interp.number(value)?) as u32 as usize,
    };
    let pieces = match argument(values, 0) {
        Value::Undefined => {
            interp.charge_bytes(text.byte_len())?;
            vec![Value::String(text)]
        }
        Value::Regex(regex) => split_at_matches(interp, &text, regex)?,
        separator => {
            let separator = interp.text(separator)?;
            interp.charge_bytes(text.byte_len())?;
            interp.split(&text, &separator)?.into_iter().map(Value::String).collect()
        }
    };
    let pieces = pieces.into_iter().take(most).collect();
    interp.array(pieces)
}

/// The pieces between matches, with what their groups captured.
pub(super) fn split_at_matches(interp: &mut Interp<'_>, text: &Str, regex: &Regex) -> Res<Vec<Value>> {
    let (units, searched) = crate::regex::searched(interp, text)?;
    let piece = |range: std::ops::Range<usize>| Value::String(Str::from_units(&units[range]));
    if units.is_empty() {
        return Ok(if regex.find_at(interp, &searched, 0)?.is_some() {
            Vec::new()
        } else {
            vec![Value::String(text.clone())]
        });
    }
    let mut pieces = Vec::new();
    let (mut start, mut from) = (0, 0);
    while from < units.len() {
        interp.charge(1)?;
        let Some(found) = regex.find_after(interp, &searched, from)? else { break };
        if found.start() >= units.len() {
            break;
        }
        if found.end() == start || found.end() == found.start() && found.start() == start {
            from = found.start().max(from) + 1;
            continue;
        }
        pieces.push(piece(start..found.start()));
        for group in found.groups().skip(1) {
            pieces.push(group.map_or(Value::Undefined, piece));
        }
        start = found.end();
        from = if found.end() == found.start() { start + 1 } else { start };
    }
    pieces.push(piece(start..units.len()));
    Ok(pieces)
}

pub(super) fn replace(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let replacement = interp.text(argument(values, 1))?;
    if matches!(argument(values, 0), Value::Regex(_)) {
        return super::nunjucks3::replace(interp, target, values);
    }
    let old = interp.text(argument(values, 0))?;
    interp.charge_bytes(text.byte_len())?;
    let Some(at) = text.index_of(&old, 0) else { return Ok(Value::String(text)) };
    let units = text.units();
    let mut result = units[..at].to_vec();
    let groups = [Some(at..at + old.len())];
    expand(interp, &mut result, &units, &groups, &[], &replacement.units())?;
    result.extend_from_slice(&units[at + old.len()..]);
    Ok(Value::String(Str::from_units(&result)))
}

pub(super) type Range = std::ops::Range<usize>;

/// JavaScript's `text.replace(regex, replacement)`.
pub(crate) fn replace_matches(interp: &mut Interp<'_>, text: &Str, regex: &Regex, replacement: &Str) -> Res<Str> {
    let (units, searched) = crate::regex::searched(interp, text)?;
    let replacement = replacement.units();
    let mut result = Vec::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(found) = regex.find_at(interp, &searched, from)? {
        interp.charge(1)?;
        result.extend_from_slice(&units[copied..found.start()]);
        let groups: Vec<Option<Range>> = found.groups().collect();
        let names: Vec<(&str, Option<Range>)> = found.named_groups().collect();
        expand(interp, &mut result, &units, &groups, &names, &replacement)?;
        copied = found.end();
        from = if found.end() == found.start() { found.end() + 1 } else { found.end() };
        if !regex.is_global() {
            break;
        }
    }
    if copied == 0 && result.is_empty() {
        return Ok(text.clone());
    }
    result.extend_from_slice(&units[copied..]);
    Ok(Str::from_units(&result))
}

/// Writes a replacement with its `$` patterns filled in. The first group is the whole match.
pub(super) fn expand(
    interp: &mut Interp<'_>,
    result: &mut Vec<u16>,
    text: &[u16],
    groups: &[Option<Range>],
    names: &[(&str, Option<Range>)],
    replacement: &[u16],
) -> Res<()> {
    const DOLLAR: u16 = b'$' as u16;
    let Some(Some(whole)) = groups.first() else { return Ok(()) };
    let digit = |at: usize| replacement.get(at).and_then(|unit| char::from_u32(u32::from(*unit))?.to_digit(10));
    let before = result.len();
    let mut at = 0;
    while at < replacement.len() {
        if replacement[at] != DOLLAR || at + 1 == replacement.len() {
            result.push(replacement[at]);
            at += 1;
            continue;
        }
        let mut copy = |range: &Option<Range>| {
            if let Some(range) = range {
                result.extend_from_slice(&text[range.clone()]);
            }
        };
        match char::from_u32(u32::from(replacement[at + 1])) {
            Some('$') => {
                result.push(DOLLAR);
                at += 2;
            }
            Some('&') => {
                copy(&Some(whole.clone()));
                at += 2;
            }
            Some('`') => {
                copy(&Some(0..whole.start));
                at += 2;
            }
            Some('\'') => {
                copy(&Some(whole.end..text.len()));
                at += 2;
            }
            Some('0'..='9') => {
                let first = digit(at + 1).unwrap_or(0) as usize;
                let both = digit(at + 2).map(|second| first * 10 + second as usize);
                let is_group = |number: usize| (1..groups.len()).contains(&number);
                let (number, length) = match both {
                    Some(number) if is_group(number) => (number, 3),
                    _ => (first, 2),
                };
                if is_group(number) {
                    copy(&groups[number]);
                    at += length;
                } else {
                    result.push(DOLLAR);
                    at += 1;
                }
            }
            Some('<') if !names.is_empty() => {
                let rest = &replacement[at + 2..];
                match rest.iter().position(|unit| *unit == u16::from(b'>')) {
                    Some(length) => {
                        let name = String::from_utf16_lossy(&rest[..length]);
                        if let Some((_, range)) = names.iter().find(|(known, _)| *known == name) {
                            copy(range);
                        }
                        at += 2 + length + 1;
                    }
                    None => {
                        result.push(DOLLAR);
                        at += 1;
                    }
                }
            }
            _ => {
                result.push(DOLLAR);
                at += 1;
            }
        }
        interp.charge(1)?;
    }
    interp.check_bytes(result.len() * 4)?;
    interp.charge_bytes((result.len() - before) * 2)
}
