//! Filters about sequences: arrays, and strings as sequences of code units.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use super::{argument, like, named, quick};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::string::{Str, StrBuilder};
use crate::tests;
use crate::value::{Record, Value, is_reserved};

/// The elements of a sequence; none for other values, but `undefined` and `null` are refused with `refusal`.
pub(super) fn elements(interp: &mut Interp<'_>, value: &Value, refusal: &str) -> Res<Vec<Value>> {
    if value.is_nullish() {
        return Err(Fault::evaluation(refusal));
    }
    elements_or_none(interp, value)
}

fn elements_or_none(interp: &mut Interp<'_>, value: &Value) -> Res<Vec<Value>> {
    let elements = match value {
        Value::Record(record) if interp.dialect() == Dialect::Nunjitsu => return numbered(interp, record),
        Value::Array(array) => interp.items(array).to_vec(),
        // A safe string of the older dialect has a length, but no elements.
        Value::Safe(text) if interp.dialect() == Dialect::Nunjucks3 => {
            interp.check_bytes(text.len().saturating_mul(size_of::<Value>()))?;
            vec![Value::Undefined; text.len()]
        }
        Value::String(text) => interp.each_unit(text)?.into_iter().map(Value::String).collect(),
        Value::Safe(text) => interp.each_unit(text)?.into_iter().map(Value::String).collect(),
        _ => Vec::new(),
    };
    interp.charge(elements.len())?;
    Ok(elements)
}

/// What a record has at the indices below its `length`.
fn numbered(interp: &mut Interp<'_>, record: &Record) -> Res<Vec<Value>> {
    let length = record.get("length").cloned().unwrap_or_default();
    let length = interp.number(&length)?;
    let count = if length > 0.0 { length.ceil() } else { 0.0 };
    interp.charge(if count < 1e15 { count as usize } else { usize::MAX })?;
    Ok((0..count as usize).map(|index| record.get(&index.to_string()).cloned().unwrap_or_default()).collect())
}

/// The same where JavaScript would make an array of that length first.
pub(super) fn mapped(interp: &mut Interp<'_>, value: &Value) -> Res<Vec<Value>> {
    if let (Value::Record(record), Dialect::Nunjitsu) = (value, interp.dialect())
        && let Some(Value::Number(length)) = record.get("length")
        && !length.is_nan()
        && !(length.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(length))
    {
        return Err(Fault::evaluation("Invalid array-like record length"));
    }
    elements_or_none(interp, value)
}

fn positive_integer(interp: &mut Interp<'_>, value: &Value, what: &str) -> Res<usize> {
    let number = interp.number(value)?.trunc();
    if (1.0..=9_007_199_254_740_991.0).contains(&number) {
        return Ok(number as usize);
    }
    Err(Fault::evaluation(format!("{what} must be a positive integer")))
}

pub(super) fn batch(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let items = elements(interp, argument(values, 0), "batch requires a sequence")?;
    if interp.dialect() == Dialect::Nunjucks3 {
        return batch_by_remainder(interp, items, argument(values, 1), argument(values, 2));
    }
    let size = positive_integer(interp, argument(values, 1), "Batch size")?;
    let fill = argument(values, 2);
    let mut batches = Vec::new();
    for chunk in items.chunks(size) {
        let mut batch = chunk.to_vec();
        if fill.is_truthy() {
            interp.charge(size)?;
            interp.check_bytes(size.saturating_mul(16))?;
            batch.resize(size, fill.clone());
        }
        batches.push(interp.array(batch)?);
    }
    interp.array(batches)
}

/// What any number makes of a batch when JavaScript's `%` says where one ends.
fn batch_by_remainder(interp: &mut Interp<'_>, items: Vec<Value>, size: &Value, fill: &Value) -> Res<Value> {
    let size = interp.number_or_nan(size)?;
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        if index as f64 % size == 0.0 && !batch.is_empty() {
            batches.push(interp.array(std::mem::take(&mut batch))?);
        }
        batch.push(item);
    }
    if !batch.is_empty() {
        while fill.is_truthy() && (batch.len() as f64) < size {
            interp.charge(1)?;
            batch.push(fill.clone());
        }
        batches.push(interp.array(batch)?);
    }
    interp.array(batches)
}

pub(super) fn slice(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    let is_sequence = matches!(input, Value::Array(_) | Value::String(_) | Value::Safe(_));
    let count = match interp.dialect() {
        Dialect::Nunjitsu => {
            if !is_sequence {
                return Err(Fault::evaluation("slice requires a sequence"));
            }
            positive_integer(interp, argument(values, 1), "Slice count")? as f64
        }
        Dialect::Nunjucks3 => interp.number_or_nan(argument(values, 1))?,
    };
    if !is_sequence && (input.is_nullish() || count > 0.0) {
        return Err(Fault::evaluation("slice requires a sequence"));
    }
    let items = match input {
        // Its `slice` is that of strings.
        Value::Safe(text) => elements_or_none(interp, &Value::String(text.as_ref().clone()))?,
        input => elements_or_none(interp, input)?,
    };
    let fill = argument(values, 2);
    let is_text = !matches!(input, Value::Array(_));
    let (length, extra) = ((items.len() as f64 / count).floor(), items.len() as f64 % count);
    if is_text && fill.is_truthy() && interp.dialect() == Dialect::Nunjitsu && extra < count {
        return Err(Fault::evaluation("slice cannot append a fill value to a string"));
    }
    let mut slices = Vec::new();
    let mut start = 0;
    let mut index = 0.0;
    while index < count {
        // Each is a value of its own, which takes more memory than an element does.
        interp.charge(4)?;
        let larger = index < extra;
        let end = items.len().min(start + length as usize + usize::from(larger));
        let mut part = items[start..end].to_vec();
        start = end;
        index += 1.0;
        let fills = fill.is_truthy() && !larger;
        slices.push(match input {
            Value::Array(_) => {
                if fills {
                    part.push(fill.clone());
                }
                interp.array(part)?
            }
            _ if fills && interp.dialect() == Dialect::Nunjucks3 => {
                return Err(Fault::evaluation("slice can't fill strings"));
            }
            _ => {
                let mut text = StrBuilder::default();
                part.iter().filter_map(Value::as_string).for_each(|unit| text.push(unit));
                Value::String(text.finish())
            }
        });
    }
    interp.array(slices)
}

pub(super) fn first(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    if input.is_nullish() {
        return Err(Fault::evaluation("first requires a sequence"));
    }
    interp.get(input, &Value::Number(0.0))
}

pub(super) fn last(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    if input.is_nullish() {
        return Err(Fault::evaluation("last requires a sequence"));
    }
    if let (Value::Record(record), Dialect::Nunjitsu) = (input, interp.dialect()) {
        let length = record.get("length").cloned().unwrap_or_default();
        let index = Value::Number(interp.number(&length)? - 1.0);
        return interp.get(input, &index);
    }
    Ok(elements_or_none(interp, input)?.pop().unwrap_or_default())
}

pub(super) fn random(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let mut items = elements(interp, argument(values, 0), "random requires a sequence")?;
    if items.is_empty() {
        return Ok(Value::Undefined);
    }
    // The standard library seeds its hashers at random.
    let index = RandomState::new().hash_one(items.len()) % items.len() as u64;
    Ok(items.swap_remove(index as usize))
}

pub(super) fn join(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let (separator, attribute) = (argument(values, 1), argument(values, 2));
    let separator = if separator.is_truthy() { interp.text(separator)? } else { Default::default() };
    if let Some(text) = quick::join(interp, argument(values, 0), &separator, attribute)? {
        return Ok(text);
    }
    let items = projected(interp, argument(values, 0), attribute, "join")?;
    join_texts(interp, &items, &separator).map(Value::String)
}

/// The elements, or what each has as `attribute`, if there is one.
pub(super) fn projected(interp: &mut Interp<'_>, input: &Value, attribute: &Value, name: &str) -> Res<Vec<Value>> {
    if !attribute.is_truthy() {
        let Value::Array(array) = input else {
            return Err(Fault::evaluation(format!("{name} requires an array")));
        };
        return Ok(interp.items(array).to_vec());
    }
    let key = attribute_key(interp, attribute)?;
    let items = match input {
        // Nothing of a safe string has a name to JavaScript.
        Value::Safe(text) if !text.is_empty() => return Err(of_nothing()),
        input => mapped(interp, input)?,
    };
    items.iter().map(|item| own(interp, item, &key)).collect()
}

/// A direct attribute, as a key.
pub(super) fn attribute_key(interp: &mut Interp<'_>, attribute: &Value) -> Res<Value> {
    let key = interp.text(attribute)?;
    if is_reserved(&key.to_lossy()) && interp.dialect() == Dialect::Nunjitsu {
        return Err(Fault::evaluation(format!("Template attribute {key} is reserved")));
    }
    Ok(Value::String(key))
}

/// What an element has under a key.
pub(super) fn own(interp: &mut Interp<'_>, item: &Value, key: &Value) -> Res<Value> {
    if item.is_nullish() {
        return Err(of_nothing());
    }
    interp.get(item, key)
}

fn of_nothing() -> Box<Fault> {
    Fault::evaluation("Cannot read a template attribute from a nullish value")
}

/// The texts of `items` with `separator` between them.
pub(crate) fn join_texts(interp: &mut Interp<'_>, items: &[Value], separator: &Str) -> Res<Str> {
    let mut text = StrBuilder::default();
    for (index, item) in items.iter().enumerate() {
        interp.charge(1)?;
        if index > 0 {
            interp.charge_bytes(separator.byte_len())?;
            text.push(separator);
        }
        let part = interp.output_text(item)?;
        interp.charge_bytes(part.byte_len())?;
        interp.check_text(text.byte_len() + part.byte_len())?;
        text.push(&part);
    }
    interp.charge_whole(text.byte_len())?;
    Ok(text.finish())
}

pub(super) fn reverse(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    let mut items = mapped(interp, input)?;
    items.reverse();
    let is_text = match input {
        Value::String(_) => true,
        Value::Safe(_) => interp.dialect() == Dialect::Nunjitsu,
        _ => false,
    };
    if !is_text {
        return interp.array(items);
    }
    let mut text = StrBuilder::default();
    items.iter().filter_map(Value::as_string).for_each(|unit| text.push(unit));
    Ok(like(input, text.finish()))
}

pub(super) fn select(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    filtered(interp, values, "select", true)
}

pub(super) fn reject(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    filtered(interp, values, "reject", false)
}

fn filtered(interp: &mut Interp<'_>, values: &[Value], name: &str, wanted: bool) -> Res<Value> {
    let test = match argument(values, 1) {
        Value::Undefined => "truthy".into(),
        test => interp.text(test)?,
    };
    let test =
        tests::find(&test.to_lossy()).ok_or_else(|| Fault::evaluation(format!("Unknown template test {test}")))?;
    let input = argument(values, 0);
    let items = match input {
        // It has a length, but nothing in it.
        Value::Safe(_) if interp.dialect() == Dialect::Nunjucks3 => Vec::new(),
        Value::Record(record) => {
            // A part of a length counts for nothing here, and what is not there is left out.
            let length = record.get("length").cloned().unwrap_or_default();
            let length = interp.number(&length)?.floor();
            let count = if length > 0.0 { length as usize } else { 0 };
            interp.charge(count)?;
            (0..count).filter_map(|index| record.get(&index.to_string()).cloned()).collect()
        }
        input => elements(interp, input, &format!("{name} requires a sequence"))?,
    };
    let arguments = values.get(2..).unwrap_or_default();
    let is_sequence = matches!(input, Value::Array(_) | Value::Record(_) | Value::String(_) | Value::Safe(_));
    if interp.dialect() == Dialect::Nunjitsu && is_sequence && arguments.len() != test.arity {
        let plural = if test.arity == 1 { "" } else { "s" };
        return Err(Fault::evaluation(format!(
            "Template test {} requires {} positional argument{plural}",
            test.name, test.arity
        )));
    }
    let mut kept = Vec::new();
    for item in items {
        interp.charge(1)?;
        if (test.holds)(interp, &[item.clone(), argument(arguments, 0).clone()])? == wanted {
            kept.push(item);
        }
    }
    interp.array(kept)
}

pub(super) fn selectattr(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    filtered_by_attribute(interp, values, "selectattr", true)
}

pub(super) fn rejectattr(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    filtered_by_attribute(interp, values, "rejectattr", false)
}

fn filtered_by_attribute(interp: &mut Interp<'_>, values: &[Value], name: &str, wanted: bool) -> Res<Value> {
    if let Some(kept) = quick::select(interp, argument(values, 0), argument(values, 1), wanted)? {
        return Ok(kept);
    }
    let Value::Array(array) = argument(values, 0) else {
        return Err(Fault::evaluation(format!("{name} requires an array")));
    };
    let key = attribute_key(interp, argument(values, 1))?;
    let mut kept = Vec::new();
    for item in interp.items(array).iter() {
        interp.charge(1)?;
        if item.is_nullish() {
            return Err(of_nothing());
        }
        if interp.get(item, &key)?.is_truthy() == wanted {
            kept.push(item.clone());
        }
    }
    interp.array(kept)
}

pub(super) fn sort(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let [input, reversed, case_sensitive, attribute] =
        named(values, ["value", "reverse", "case_sensitive", "attribute"]);
    let (reversed, case_sensitive) = (reversed.is_truthy(), case_sensitive.is_truthy());
    if let Some(sorted) = quick::sort(interp, &input, &attribute, reversed, case_sensitive)? {
        return Ok(sorted);
    }
    let items = mapped(interp, &input)?;
    let is_sequence = matches!(input, Value::Array(_) | Value::Record(_) | Value::String(_) | Value::Safe(_));
    if is_sequence {
        interp.check_attribute(&attribute)?;
    }
    // As in JavaScript, `undefined` goes to the end whatever the order is.
    let (undefined, items): (Vec<_>, Vec<_>) = items.into_iter().partition(Value::is_undefined);
    let mut keyed = Vec::with_capacity(items.len());
    let compares = items.len() > 1;
    for item in items {
        // A single element is compared with nothing.
        let key = if compares { interp.attribute(&item, &attribute)? } else { Value::Undefined };
        keyed.push((key, item));
    }
    let sorted = sort_stably(interp, keyed, |interp, a, b| {
        let ordering = match (a.0.as_string(), b.0.as_string()) {
            (Some(a), Some(b)) if !case_sensitive => {
                Some(a.map_text(str::to_lowercase).cmp(&b.map_text(str::to_lowercase)))
            }
            _ => interp.compare(&a.0, &b.0)?,
        };
        let ordering = ordering.unwrap_or(Ordering::Equal);
        Ok(if reversed { ordering.reverse() } else { ordering })
    })?;
    let items = sorted.into_iter().map(|(_, item)| item).chain(undefined).collect();
    interp.array(items)
}

/// How long a run is that is sorted by insertion.
const RUN: usize = 63;

/// A stable sort that copes with an order that is none: JavaScript's comparisons need not be transitive, and the
/// standard library may panic on such. Short lists are sorted step by step as V8 does it, so that even these come out
/// alike.
pub(crate) fn sort_stably<T>(
    interp: &mut Interp<'_>,
    items: Vec<T>,
    mut compare: impl FnMut(&mut Interp<'_>, &T, &T) -> Res<Ordering>,
) -> Res<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut items = items.into_iter();
    loop {
        let run: Vec<T> = items.by_ref().take(RUN).collect();
        if run.is_empty() {
            break;
        }
        runs.push(insertion_sorted(interp, run, &mut compare)?);
    }
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(interp, left, right, &mut compare)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default())
}

/// What [`sort_stably`] charges for sorting by an order that is one.
pub(super) fn sorting_cost<T>(items: &[T], order: &impl Fn(&T, &T) -> Ordering) -> usize {
    let mut cost = 0;
    for run in items.chunks(RUN) {
        let falls = |at: usize| order(&run[at], &run[at - 1]).is_lt();
        let sorted = (1..run.len()).take_while(|at| falls(*at) == falls(1)).count() + 1;
        cost += run.len() - sorted;
    }
    // Each round of merging goes over all but a run that has no other to be merged with.
    let mut lengths: Vec<usize> = items.chunks(RUN).map(<[T]>::len).collect();
    while lengths.len() > 1 {
        cost += lengths.chunks_exact(2).flatten().sum::<usize>();
        lengths = lengths.chunks(2).map(|pair| pair.iter().sum()).collect();
    }
    cost
}

/// Takes the ascending or descending run at the start, and inserts the rest by binary search.
fn insertion_sorted<T>(
    interp: &mut Interp<'_>,
    mut items: Vec<T>,
    compare: &mut impl FnMut(&mut Interp<'_>, &T, &T) -> Res<Ordering>,
) -> Res<Vec<T>> {
    let mut sorted = items.len().min(1);
    let mut descending = false;
    while sorted < items.len() {
        let falls = compare(interp, &items[sorted], &items[sorted - 1])?.is_lt();
        if sorted == 1 {
            descending = falls;
        } else if falls != descending {
            break;
        }
        sorted += 1;
    }
    if descending {
        items[..sorted].reverse();
    }
    for next in sorted..items.len() {
        interp.charge(1)?;
        let (mut left, mut right) = (0, next);
        while left < right {
            let middle = left + (right - left) / 2;
            if compare(interp, &items[next], &items[middle])?.is_lt() {
                right = middle;
            } else {
                left = middle + 1;
            }
        }
        items[left..=next].rotate_right(1);
    }
    Ok(items)
}

fn merge<T>(
    interp: &mut Interp<'_>,
    left: Vec<T>,
    right: Vec<T>,
    compare: &mut impl FnMut(&mut Interp<'_>, &T, &T) -> Res<Ordering>,
) -> Res<Vec<T>> {
    interp.charge(left.len() + right.len())?;
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(interp, a, b)?.is_gt() { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}
