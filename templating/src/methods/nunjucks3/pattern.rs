//! Methods and properties of regular expressions, and the methods of strings that take them.

use std::sync::Arc;

use understudy_regex::{Match, Text};

use super::super::string::{Range, expand, index_value, text_of};
use super::{Definition, argument, invoke, variadic};
use crate::error::{Fault, Res};
use crate::eval::{Env, Interp};
use crate::function::Callable;
use crate::regex::Regex;
use crate::string::Str;
use crate::value::{Record, Value};

pub(super) static METHODS: [Definition; 2] = [
    variadic("exec", |interp, target, values| {
        let text = interp.text(argument(values, 0))?;
        match target {
            Value::Regex(regex) => executed(interp, regex, &text),
            _ => Ok(Value::Null),
        }
    }),
    variadic("test", |interp, target, values| {
        let text = interp.text(argument(values, 0))?;
        let Value::Regex(regex) = target else { return Ok(Value::Bool(false)) };
        let text = searched(interp, &text)?;
        Ok(Value::Bool(execute(interp, regex, &text)?.is_some()))
    }),
];

/// What a regular expression tells about itself.
pub(super) fn property(env: &Env<'_>, regex: &Arc<Regex>, name: &str) -> Option<Value> {
    let has = |flag: char| Some(Value::Bool(regex.flags().contains(flag)));
    match name {
        "source" => Some(Value::String(regex.source())),
        "flags" => Some(Value::string(regex.flags())),
        "global" => has('g'),
        "ignoreCase" => has('i'),
        "multiline" => has('m'),
        "sticky" => has('y'),
        // Literals can't have the other flags.
        "dotAll" | "hasIndices" | "unicode" | "unicodeSets" => Some(Value::Bool(false)),
        "lastIndex" => Some(Value::Number(env.known_last_index(regex) as f64)),
        _ => None,
    }
}

fn searched(interp: &mut Interp<'_>, text: &Str) -> Res<Text> {
    crate::regex::searched(interp, text).map(|(_, text)| text)
}

/// The regular expression that an argument is or, by its text, becomes.
fn regex_of(interp: &mut Interp<'_>, value: &Value, flags: &'static str) -> Res<Arc<Regex>> {
    let source = match value {
        Value::Regex(regex) => return Ok(regex.clone()),
        Value::Undefined => Str::default(),
        value => interp.text(value)?,
    };
    interp.pattern(&source, flags).map(Arc::new)
}

/// The next match: from where the last one ended if the expression remembers that, else from the start.
fn execute(interp: &mut Interp<'_>, regex: &Arc<Regex>, text: &Text) -> Res<Option<Match>> {
    if !regex.remembers() {
        return regex.find_at(interp, text, 0);
    }
    let start = interp.known_last_index(regex);
    let found = regex.find_at(interp, text, start)?;
    *interp.last_index(regex) = found.as_ref().map_or(0, Match::end);
    Ok(found)
}

fn executed(interp: &mut Interp<'_>, regex: &Arc<Regex>, text: &Str) -> Res<Value> {
    let searched = searched(interp, text)?;
    let found = execute(interp, regex, &searched)?;
    match found {
        None => Ok(Value::Null),
        Some(found) => match_value(interp, text, &found),
    }
}

/// The array that JavaScript gives for a match: what the groups captured, with `index`, `input` and `groups` beside.
fn match_value(interp: &mut Interp<'_>, text: &Str, found: &Match) -> Res<Value> {
    let units = text.units();
    let captured =
        |range: Option<Range>| range.map_or(Value::Undefined, |range| Value::String(Str::from_units(&units[range])));
    let groups = found.groups().map(captured).collect();
    let named: Vec<(Arc<str>, Value)> =
        found.named_groups().map(|(name, range)| (Arc::from(name), captured(range))).collect();
    let named = if named.is_empty() { Value::Undefined } else { interp.record(named.into_iter().collect())? };
    let details =
        [("index", Value::Number(found.start() as f64)), ("input", Value::String(text.clone())), ("groups", named)];
    let value = interp.array(groups)?;
    if let Value::Array(array) = &value {
        interp.set_match_details(array, details.into_iter().collect::<Record>());
    }
    Ok(value)
}

/// Every match from the start on.
fn matches(interp: &mut Interp<'_>, regex: &Regex, text: &Text) -> Res<Vec<Match>> {
    matches_from(interp, regex, text, 0)
}

fn matches_from(interp: &mut Interp<'_>, regex: &Regex, text: &Text, mut from: usize) -> Res<Vec<Match>> {
    let mut found = Vec::new();
    while let Some(next) = regex.find_at(interp, text, from)? {
        interp.charge(1)?;
        from = if next.end() == next.start() { next.end() + 1 } else { next.end() };
        found.push(next);
    }
    Ok(found)
}

pub(super) fn match_(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let regex = regex_of(interp, argument(values, 0), "")?;
    if !regex.is_global() {
        return executed(interp, &regex, &text);
    }
    let units = text.units();
    let searched = searched(interp, &text)?;
    let found = matches(interp, &regex, &searched)?;
    *interp.last_index(&regex) = 0;
    if found.is_empty() {
        return Ok(Value::Null);
    }
    let found = found.iter().map(|found| Value::String(Str::from_units(&units[found.start()..found.end()])));
    interp.array(found.collect())
}

pub(super) fn match_all(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let regex = regex_of(interp, argument(values, 0), "g")?;
    if !regex.is_global() {
        return Err(Fault::evaluation("matchAll must be called with a global regular expression"));
    }
    let searched = searched(interp, &text)?;
    // It goes on from where the expression is, and leaves it there.
    let start = interp.known_last_index(&regex);
    let found = matches_from(interp, &regex, &searched, start)?;
    let found = found.iter().map(|found| match_value(interp, &text, found)).collect::<Res<Vec<_>>>()?;
    interp.array(found)
}

pub(super) fn search(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = text_of(target);
    let regex = regex_of(interp, argument(values, 0), "")?;
    let searched = searched(interp, &text)?;
    let found = regex.find_at(interp, &searched, 0)?;
    Ok(index_value(found.map(|found| found.start())))
}

/// What takes the place of a match: a text with `$` patterns, or what a function gives for it.
enum Replacement {
    Text(Vec<u16>),
    Call(Callable),
}

impl Replacement {
    fn of(interp: &mut Interp<'_>, value: &Value) -> Res<Self> {
        match value {
            Value::Function(callable) => Ok(Self::Call(callable.clone())),
            value => interp.text(value).map(|text| Self::Text(text.units())),
        }
    }

    fn put(
        &self,
        interp: &mut Interp<'_>,
        result: &mut Vec<u16>,
        text: &Str,
        units: &[u16],
        groups: &[Option<Range>],
        names: &[(&str, Option<Range>)],
    ) -> Res<()> {
        let callable = match self {
            Self::Text(text) => return expand(interp, result, units, groups, names, text),
            Self::Call(callable) => callable,
        };
        let captured = |range: &Option<Range>| {
            range.clone().map_or(Value::Undefined, |range| Value::String(Str::from_units(&units[range])))
        };
        let mut arguments: Vec<Value> = groups.iter().map(captured).collect();
        let start = groups.first().and_then(|whole| whole.as_ref().map(|whole| whole.start)).unwrap_or(0);
        arguments.push(Value::Number(start as f64));
        arguments.push(Value::String(text.clone()));
        if !names.is_empty() {
            let named = names.iter().map(|(name, range)| (Arc::from(*name), captured(range))).collect();
            arguments.push(interp.record(named)?);
        }
        let replacement = invoke(interp, callable, arguments)?;
        let replacement = interp.text(&replacement)?;
        interp.charge_bytes(replacement.byte_len())?;
        result.extend(replacement.units());
        interp.check_bytes(result.len() * 4)
    }
}

/// `text.replace(pattern, replacement)`.
pub(crate) fn replace(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    replaced(interp, target, values, false)
}

pub(super) fn replace_all(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    replaced(interp, target, values, true)
}

fn replaced(interp: &mut Interp<'_>, target: &Value, values: &[Value], all: bool) -> Res<Value> {
    let text = text_of(target);
    let Value::Regex(regex) = argument(values, 0) else {
        interp.charge_bytes(text.byte_len())?;
        let units = text.units();
        let old = interp.text(argument(values, 0))?;
        let replacement = Replacement::of(interp, argument(values, 1))?;
        let mut result = Vec::with_capacity(units.len());
        let mut copied = 0;
        for at in occurrences(interp, &text, &units, &old, all)? {
            interp.charge(1)?;
            result.extend_from_slice(&units[copied..at]);
            copied = at + old.len();
            replacement.put(interp, &mut result, &text, &units, &[Some(at..copied)], &[])?;
        }
        result.extend_from_slice(&units[copied..]);
        return Ok(Value::String(Str::from_units(&result)));
    };
    if all && !regex.is_global() {
        return Err(Fault::evaluation("replaceAll must be called with a global regular expression"));
    }
    let replacement = Replacement::of(interp, argument(values, 1))?;
    let (units, searched) = crate::regex::searched(interp, &text)?;
    let found = if regex.is_global() {
        *interp.last_index(regex) = 0;
        matches(interp, regex, &searched)?
    } else {
        execute(interp, regex, &searched)?.into_iter().collect()
    };
    let mut result = Vec::with_capacity(units.len());
    let mut copied = 0;
    for found in found {
        result.extend_from_slice(&units[copied..found.start()]);
        copied = found.end();
        let groups: Vec<Option<Range>> = found.groups().collect();
        let names: Vec<(&str, Option<Range>)> = found.named_groups().collect();
        replacement.put(interp, &mut result, &text, &units, &groups, &names)?;
    }
    result.extend_from_slice(&units[copied..]);
    Ok(Value::String(Str::from_units(&result)))
}

/// Where `needle` is in a text, without overlaps: everywhere, or the first place only.
fn occurrences(interp: &mut Interp<'_>, text: &Str, units: &[u16], needle: &Str, all: bool) -> Res<Vec<usize>> {
    let most = if all { usize::MAX } else { 1 };
    if needle.is_empty() {
        interp.check_bytes(units.len().saturating_mul(size_of::<usize>()))?;
        return Ok((0..=units.len()).take(most).collect());
    }
    if let (Some(text), Some(needle)) = (text.as_str(), needle.as_str()) {
        let (mut bytes, mut at) = (0, 0);
        let found = text.match_indices(needle).take(most).map(|(start, _)| {
            at += text[bytes..start].chars().map(char::len_utf16).sum::<usize>();
            bytes = start;
            at
        });
        return Ok(found.collect());
    }
    // With lone halves of characters there is no library to search quickly.
    let needle = needle.units();
    interp.charge(units.len().saturating_mul(needle.len()) / 256)?;
    let (mut found, mut from) = (Vec::new(), 0);
    while found.len() < most
        && let Some(at) = units[from..].windows(needle.len()).position(|window| window == needle)
    {
        found.push(from + at);
        from += at + needle.len();
    }
    Ok(found)
}
