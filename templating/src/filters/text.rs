//! Filters about text.

use std::cmp::Ordering;

use super::{argument, like, repeat, strict_text, text_or_empty};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::methods::nunjucks3::replace as replace_regex;
use crate::methods::replace_matches;
use crate::string::{Str, StrBuilder};
use crate::value::Value;

pub(super) fn lower(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    changed(interp, values, str::to_lowercase)
}

pub(super) fn upper(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    changed(interp, values, str::to_uppercase)
}

fn changed(interp: &mut Interp<'_>, values: &[Value], change: fn(&str) -> String) -> Res<Value> {
    let text = text_or_empty(argument(values, 0))?;
    interp.charge_bytes(text.byte_len())?;
    Ok(Value::String(text.map_text(change)))
}

pub(super) fn capitalize(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = text_or_empty(argument(values, 0))?;
    interp.charge_bytes(text.byte_len())?;
    Ok(like(argument(values, 0), capitalized(&text)))
}

fn capitalized(text: &Str) -> Str {
    let lower = text.map_text(str::to_lowercase);
    lower.slice(0, 1).map_text(str::to_uppercase).concat(&lower.slice(1, usize::MAX))
}

pub(super) fn title(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = text_or_empty(argument(values, 0))?;
    interp.charge_bytes(text.byte_len())?;
    let mut result = StrBuilder::default();
    for (index, word) in interp.split(&text, &" ".into())?.iter().enumerate() {
        if index > 0 {
            result.push_str(" ");
        }
        result.push(&capitalized(word));
    }
    Ok(like(argument(values, 0), result.finish()))
}

/// What text filters take for an empty text.
fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Undefined | Value::Null | Value::Bool(false))
}

/// The `length` that a value has of itself.
fn direct_length(interp: &mut Interp<'_>, value: &Value) -> Res<Value> {
    match value {
        Value::String(_) | Value::Safe(_) | Value::Array(_) | Value::Record(_) => {
            interp.get(value, &Value::string("length"))
        }
        _ => Ok(Value::Undefined),
    }
}

pub(super) fn center(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    let empty = Value::string("");
    let input = if is_empty(input) { &empty } else { input };
    let width = match argument(values, 1) {
        width if width.is_truthy() => width.clone(),
        _ => Value::Number(80.0),
    };
    let length = direct_length(interp, input)?;
    if interp.compare(&length, &width)?.is_some_and(Ordering::is_ge) {
        return Ok(input.clone());
    }
    let text = interp.text(input)?;
    interp.charge_bytes(text.byte_len())?;
    let spaces = interp.number(&width)? - interp.number(&length)?;
    let before = repeat(interp, ' ', spaces / 2.0 - spaces % 2.0)?;
    let after = repeat(interp, ' ', spaces / 2.0)?;
    Ok(like(input, Str::from(before).concat(&text).concat(&after.into())))
}

pub(super) fn indent(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = text_or_empty(argument(values, 0))?;
    if text.is_empty() {
        return Ok(Value::string(""));
    }
    let width = match argument(values, 1) {
        width if width.is_truthy() => interp.number(width)?,
        _ => 4.0,
    };
    let first = argument(values, 2).is_truthy();
    let margin = repeat(interp, ' ', width)?;
    let lines = interp.split(&text, &"\n".into())?;
    interp.charge_bytes(text.byte_len().saturating_add(lines.len().saturating_mul(margin.len())))?;
    let mut result = StrBuilder::default();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            result.push_str("\n");
        }
        if index > 0 || first {
            result.push_str(&margin);
        }
        result.push(line);
    }
    Ok(like(argument(values, 0), result.finish()))
}

pub(super) fn replace(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let (input, old, new) = (argument(values, 0), argument(values, 1), argument(values, 2));
    if let Value::Regex(regex) = old {
        if interp.dialect() == Dialect::Nunjucks3 {
            strict_text(input)?;
            return replace_regex(interp, input, &[old.clone(), new.clone()]);
        }
        let Some(text) = input.as_string() else {
            return Err(Fault::evaluation("Regular-expression replacement requires a string"));
        };
        let new = interp.text(new)?;
        return replace_matches(interp, text, regex, &new).map(Value::String);
    }
    let old = match old {
        Value::String(text) => text.clone(),
        Value::Number(_) => interp.text(old)?,
        _ => return Ok(input.clone()),
    };
    let text = match input {
        Value::String(text) => text.clone(),
        Value::Safe(text) => text.as_ref().clone(),
        Value::Number(_) => interp.text(input)?,
        _ => return Ok(input.clone()),
    };
    let is_missing = new.is_undefined();
    let new = interp.text(new)?;
    let pieces = if old.is_empty() {
        let units = interp.each_unit(&text)?;
        let separator = if is_missing { Str::from(",") } else { new.clone() };
        let inner = joined(interp, &units, &separator)?;
        return Ok(like(input, joined(interp, &[Str::default(), inner, Str::default()], &new)?));
    } else {
        interp.split(&text, &old)?
    };
    let most = match argument(values, 3) {
        Value::Undefined => Value::Number(-1.0),
        most => most.clone(),
    };
    let replaced = if matches!(most, Value::Number(-1.0)) {
        pieces.len() - 1
    } else {
        let most = interp.number(&most)?;
        (0..pieces.len() - 1).take_while(|count| (*count as f64) < most).count()
    };
    let mut result = StrBuilder::default();
    interp.charge_bytes(text.byte_len().saturating_add(replaced.saturating_mul(new.byte_len())))?;
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            result.push(if index <= replaced { &new } else { &old });
        }
        result.push(piece);
    }
    Ok(like(input, result.finish()))
}

fn joined(interp: &mut Interp<'_>, pieces: &[Str], separator: &Str) -> Res<Str> {
    let bytes: usize = pieces.iter().map(Str::byte_len).sum();
    interp.charge_bytes(bytes.saturating_add(pieces.len().saturating_mul(separator.byte_len())))?;
    let mut result = StrBuilder::default();
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            result.push(separator);
        }
        result.push(piece);
    }
    Ok(result.finish())
}

pub(super) fn string(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    match argument(values, 0) {
        Value::Undefined | Value::Null => Err(Fault::evaluation("string requires a value")),
        Value::Safe(text) => Ok(Value::Safe(text.clone())),
        value => interp.text(value).map(Value::String),
    }
}

pub(super) fn trim(_: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = strict_text(argument(values, 0))?;
    Ok(like(argument(values, 0), text.trim()))
}

pub(super) fn truncate(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let empty = Value::string("");
    let input = argument(values, 0);
    let input = if is_empty(input) { &empty } else { input };
    let length = match argument(values, 1) {
        length if length.is_truthy() => length.clone(),
        _ => Value::Number(255.0),
    };
    let own = direct_length(interp, input)?;
    if interp.compare(&own, &length)?.is_some_and(Ordering::is_le) {
        return Ok(input.clone());
    }
    let text = strict_text(input)?;
    let length = interp.number(&length)?;
    let most = if length > 0.0 { length as usize } else { 0 };
    let cut = if argument(values, 2).is_truthy() {
        most
    } else {
        let from = if length.is_nan() { usize::MAX } else { most };
        text.last_index_of(&" ".into(), from).unwrap_or(most)
    };
    let end = match argument(values, 3) {
        Value::Undefined | Value::Null => "...".into(),
        end => interp.text(end)?,
    };
    let kept = crate::methods::cut(interp, &text, 0, cut)?;
    interp.charge_bytes(kept.byte_len() + end.byte_len())?;
    Ok(like(argument(values, 0), kept.concat(&end)))
}

pub(super) fn wordcount(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    if !argument(values, 0).is_truthy() {
        return Ok(Value::Null);
    }
    let text = text_or_empty(argument(values, 0))?;
    interp.charge_bytes(text.byte_len())?;
    let is_word = |unit: u16| u8::try_from(unit).is_ok_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let words = text.units().chunk_by(|a, b| is_word(*a) == is_word(*b)).filter(|run| is_word(run[0])).count();
    Ok(if words == 0 { Value::Null } else { Value::Number(words as f64) })
}
