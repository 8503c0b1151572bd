//! Methods of strings.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use super::super::integer;
use super::super::string::{
    changed, char_at, char_code_at, concat, cut, ends_with, includes, index_of, last_index_of, slice, split,
    starts_with, substring, text_of,
};
use super::pattern::{match_, match_all, replace, replace_all, search};
use super::{Definition, argument, variadic};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::string::Str;
use crate::value::Value;

pub(super) static METHODS: [Definition; 50] = [
    variadic("anchor", |interp, target, values| html(interp, target, "a", Some(("name", values)))),
    variadic("at", at),
    variadic("big", |interp, target, _| html(interp, target, "big", None)),
    variadic("blink", |interp, target, _| html(interp, target, "blink", None)),
    variadic("bold", |interp, target, _| html(interp, target, "b", None)),
    variadic("charAt", char_at),
    variadic("charCodeAt", char_code_at),
    variadic("codePointAt", code_point_at),
    variadic("concat", concat),
    variadic("endsWith", |interp, target, values| refusing_regex(interp, target, values, ends_with)),
    variadic("fixed", |interp, target, _| html(interp, target, "tt", None)),
    variadic("fontcolor", |interp, target, values| html(interp, target, "font", Some(("color", values)))),
    variadic("fontsize", |interp, target, values| html(interp, target, "font", Some(("size", values)))),
    variadic("includes", |interp, target, values| refusing_regex(interp, target, values, includes)),
    variadic("indexOf", index_of),
    variadic("isWellFormed", |_, target, _| Ok(Value::Bool(text_of(target).as_str().is_some()))),
    variadic("italics", |interp, target, _| html(interp, target, "i", None)),
    variadic("lastIndexOf", last_index_of),
    variadic("link", |interp, target, values| html(interp, target, "a", Some(("href", values)))),
    variadic("match", match_),
    variadic("matchAll", match_all),
    variadic("normalize", normalize),
    variadic("padEnd", |interp, target, values| pad(interp, target, values, false)),
    variadic("padStart", |interp, target, values| pad(interp, target, values, true)),
    variadic("repeat", repeat),
    variadic("replace", replace),
    variadic("replaceAll", replace_all),
    variadic("search", search),
    variadic("slice", slice),
    variadic("small", |interp, target, _| html(interp, target, "small", None)),
    variadic("split", split),
    variadic("startsWith", |interp, target, values| refusing_regex(interp, target, values, starts_with)),
    variadic("strike", |interp, target, _| html(interp, target, "strike", None)),
    variadic("sub", |interp, target, _| html(interp, target, "sub", None)),
    variadic("substr", substr),
    variadic("substring", substring),
    variadic("sup", |interp, target, _| html(interp, target, "sup", None)),
    variadic("toLocaleLowerCase", |interp, target, _| changed(interp, target, str::to_lowercase)),
    variadic("toLocaleUpperCase", |interp, target, _| changed(interp, target, str::to_uppercase)),
    variadic("toLowerCase", |interp, target, _| changed(interp, target, str::to_lowercase)),
    variadic("toString", |_, target, _| Ok(Value::String(text_of(target)))),
    variadic("toUpperCase", |interp, target, _| changed(interp, target, str::to_uppercase)),
    variadic("toWellFormed", |_, target, _| Ok(Value::string(text_of(target).to_lossy().into_owned()))),
    variadic("trim", |_, target, _| Ok(Value::String(text_of(target).trim()))),
    variadic("trimEnd", |_, target, _| Ok(Value::String(text_of(target).trim_end()))),
    variadic("trimLeft", |_, target, _| Ok(Value::String(text_of(target).trim_start()))),
    variadic("trimRight", |_, target, _| Ok(Value::String(text_of(target).trim_end()))),
    variadic("trimStart", |_, target, _| Ok(Value::String(text_of(target).trim_start()))),
    variadic("valueOf", |_, target, _| Ok(Value::String(text_of(target)))),
    variadic("localeCompare", |_, _, _| {
        Err(Fault::evaluation("localeCompare depends on the server's language and is not supported, use < and >"))
    }),
];

/// A search that JavaScript refuses to do for a regular expression.
fn refusing_regex(
    interp: &mut Interp<'_>,
    target: &Value,
    values: &[Value],
    search: fn(&mut Interp<'_>, &Value, &[Value]) -> Res<Value>,
) -> Res<Value> {
    match argument(values, 0) {
        Value::Regex(_) => Err(Fault::evaluation("The first argument must not be a regular expression")),
        _ => search(interp, target, values),
    }
}

fn at(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let index = integer(interp.number_or_nan(argument(values, 0))?);
    let index = if index < 0.0 { index + text.len() as f64 } else { index };
    interp.charge(text.distance(index as usize) / 512)?;
    let unit = if index >= 0.0 { text.unit_at(index as usize) } else { None };
    Ok(unit.map_or(Value::Undefined, |unit| Value::String(Str::from_units(&[unit]))))
}

fn code_point_at(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let index = integer(interp.number_or_nan(argument(values, 0))?);
    if index < 0.0 {
        return Ok(Value::Undefined);
    }
    let text = text_of(target);
    let index = index as usize;
    interp.charge(text.distance(index) / 256)?;
    let Some(unit) = text.unit_at(index) else { return Ok(Value::Undefined) };
    let units = [Some(unit), text.unit_at(index.saturating_add(1))];
    let point = match char::decode_utf16(units.into_iter().flatten()).next() {
        Some(Ok(character)) => u32::from(character),
        _ => u32::from(unit),
    };
    Ok(Value::Number(f64::from(point)))
}

fn normalize(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let form = match argument(values, 0) {
        Value::Undefined => "NFC".into(),
        form => interp.text(form)?,
    };
    let text = text_of(target);
    // Decomposed text may be many times as long.
    interp.charge_bytes(text.byte_len().saturating_mul(8))?;
    let normalized: fn(&str) -> String = match &*form.to_lossy() {
        "NFC" => |text| ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned(),
        "NFD" => |text| DecomposingNormalizerBorrowed::new_nfd().normalize(text).into_owned(),
        "NFKC" => |text| ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned(),
        "NFKD" => |text| DecomposingNormalizerBorrowed::new_nfkd().normalize(text).into_owned(),
        _ => return Err(Fault::evaluation("The normalization form should be one of NFC, NFD, NFKC, NFKD")),
    };
    Ok(Value::String(text.map_text(normalized)))
}

fn pad(interp: &mut Interp<'_>, target: &Value, values: &[Value], at_start: bool) -> Res<Value> {
    let text = text_of(target);
    let width = integer(interp.number_or_nan(argument(values, 0))?);
    let missing = width - text.len() as f64;
    let filler = match argument(values, 1) {
        Value::Undefined => " ".into(),
        filler => interp.text(filler)?,
    };
    if missing <= 0.0 || filler.is_empty() {
        return Ok(Value::String(text));
    }
    let missing = missing.min(1e15) as usize;
    interp.charge_bytes(missing.saturating_mul(2).saturating_add(text.byte_len()))?;
    let filler: Vec<u16> = filler.units().into_iter().cycle().take(missing).collect();
    let filler = Str::from_units(&filler);
    Ok(Value::String(if at_start { filler.concat(&text) } else { text.concat(&filler) }))
}

fn repeat(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let count = integer(interp.number_or_nan(argument(values, 0))?);
    if !(0.0..f64::INFINITY).contains(&count) {
        return Err(Fault::evaluation(format!("Invalid count value: {count}")));
    }
    let text = text_of(target);
    if text.is_empty() {
        return Ok(Value::String(text));
    }
    let count = count.min(1e15) as usize;
    interp.charge_bytes(text.byte_len().saturating_mul(count))?;
    Ok(Value::String(match text.as_str() {
        Some(text) => text.repeat(count).into(),
        None => Str::from_units(&text.units().repeat(count)),
    }))
}

fn substr(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let length = text.len() as f64;
    let start = integer(interp.number_or_nan(argument(values, 0))?);
    let start = if start < 0.0 { (start + length).max(0.0) } else { start.min(length) };
    let count = match argument(values, 1) {
        Value::Undefined => length,
        count => integer(interp.number(count)?),
    };
    let end = (start + count).clamp(start, length);
    cut(interp, &text, start as usize, end as usize).map(Value::String)
}

/// `<tag attribute="value">text</tag>`.
fn html(interp: &mut Interp<'_>, target: &Value, tag: &str, attribute: Option<(&str, &[Value])>) -> Res<Value> {
    let text = text_of(target);
    let opening = match attribute {
        None => Str::from(format!("<{tag}>")),
        Some((name, values)) => {
            let value = interp.text(argument(values, 0))?;
            interp.charge_bytes(value.byte_len().saturating_mul(6))?;
            let value = value.map_text(|value| value.replace('"', "&quot;"));
            Str::from(format!("<{tag} {name}=\"")).concat(&value).concat(&"\">".into())
        }
    };
    interp.charge_bytes(text.byte_len())?;
    Ok(Value::String(opening.concat(&text).concat(&format!("</{tag}>").into())))
}
