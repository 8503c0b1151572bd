//! Filters about records, and those that take anything.

use std::cmp::Ordering;
use std::sync::Arc;

use indexmap::IndexMap;

use super::sequence::{elements, sort_stably};
use super::{argument, quick};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::{Interp, strictly_equal};
use crate::value::Value;

pub(super) fn default(_: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let (input, default) = (argument(values, 0), argument(values, 1));
    let keep = if argument(values, 2).is_truthy() { input.is_truthy() } else { !input.is_undefined() };
    Ok(if keep { input.clone() } else { default.clone() })
}

pub(super) fn length(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let length = match argument(values, 0) {
        Value::Undefined | Value::Null | Value::Bool(false) => 0,
        Value::String(text) => text.len(),
        Value::Safe(text) => text.len(),
        Value::Array(array) => interp.items(array).len(),
        Value::Record(record) => record.len(),
        value if interp.dialect() == Dialect::Nunjucks3 => return interp.get(value, &Value::string("length")),
        _ => return Ok(Value::Undefined),
    };
    Ok(Value::Number(length as f64))
}

pub(super) fn list(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    match argument(values, 0) {
        Value::Array(array) => Ok(Value::Array(array.clone())),
        Value::Safe(text) if interp.dialect() == Dialect::Nunjucks3 => {
            let own = [("val", Value::String(text.as_ref().clone())), ("length", Value::Number(text.len() as f64))];
            list(interp, &[Value::Record(own.into_iter().collect())])
        }
        value @ (Value::String(_) | Value::Safe(_)) => {
            let text = value.as_string().cloned().unwrap_or_default();
            let units = interp.each_unit(&text)?.into_iter().map(Value::String).collect();
            interp.array(units)
        }
        Value::Record(record) => {
            let mut items = Vec::with_capacity(record.len());
            for (key, value) in record.iter() {
                let entry = [("key", Value::string(key.clone())), ("value", value.clone())];
                items.push(interp.record(entry.into_iter().map(|(name, value)| (Arc::from(name), value)).collect())?);
            }
            interp.array(items)
        }
        _ => Err(Fault::evaluation("list requires an iterable value")),
    }
}

pub(super) fn dictsort(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let Value::Record(record) = argument(values, 0) else {
        return Err(Fault::evaluation("dictsort requires a record"));
    };
    let case_sensitive = argument(values, 1).is_truthy();
    let by_value = match argument(values, 2) {
        Value::Undefined => false,
        by => match by {
            Value::String(by) if *by == "key".into() => false,
            Value::String(by) if *by == "value".into() => true,
            _ => return Err(Fault::evaluation("dictsort can only sort by key or value")),
        },
    };
    let entries: Vec<(Value, Value)> =
        record.iter().map(|(key, value)| (Value::string(key.clone()), value.clone())).collect();
    let folded = |value: &Value| match value.as_string() {
        Some(text) if !case_sensitive => Value::String(text.map_text(str::to_uppercase)),
        _ => value.clone(),
    };
    let sorted = sort_stably(interp, entries, |interp, a, b| {
        let (a, b) = if by_value { (&a.1, &b.1) } else { (&a.0, &b.0) };
        let (a, b) = (folded(a), folded(b));
        Ok(match interp.compare(&a, &b)? {
            Some(Ordering::Greater) => Ordering::Greater,
            _ if strictly_equal(&a, &b) => Ordering::Equal,
            _ => Ordering::Less,
        })
    })?;
    let mut pairs = Vec::with_capacity(sorted.len());
    for (key, value) in sorted {
        pairs.push(interp.array(vec![key, value])?);
    }
    interp.array(pairs)
}

pub(super) fn groupby(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let input = argument(values, 0);
    if let Some(groups) = quick::groupby(interp, input, argument(values, 1))? {
        return Ok(groups);
    }
    let items = elements(interp, input, "groupby requires a sequence")?;
    if matches!(input, Value::Array(_) | Value::Record(_) | Value::String(_) | Value::Safe(_)) {
        interp.check_attribute(argument(values, 1))?;
    }
    let mut groups: IndexMap<Arc<str>, Vec<Value>> = IndexMap::new();
    for item in items {
        let key = interp.attribute(&item, argument(values, 1))?;
        let key = interp.text(&key)?.to_key();
        if crate::value::is_reserved(&key) {
            return Err(Fault::evaluation(format!("Template record key {key} is reserved")));
        }
        groups.entry(key).or_default().push(item);
    }
    let mut record = IndexMap::with_capacity(groups.len());
    for (key, items) in groups {
        record.insert(key, interp.array(items)?);
    }
    interp.record(record)
}
