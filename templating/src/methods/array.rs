//! Methods of arrays. Those that change an array do so for the rest of the render.

use super::string::index_value;
use super::{Definition, argument, integer, method, relative_index, variadic};
use crate::dialect::Dialect;
use crate::error::Res;
use crate::eval::{Interp, strictly_equal};
use crate::filters::{join_texts, sort_stably};
use crate::value::{Array, Value};

pub(super) static METHODS: [Definition; 17] = [
    method("at", 1, 1, at),
    variadic("concat", concat),
    method("copyWithin", 1, 3, copy_within),
    method("fill", 1, 3, fill),
    method("flat", 0, 1, flat),
    method("includes", 1, 2, includes),
    method("indexOf", 1, 2, index_of),
    method("join", 0, 1, join),
    method("lastIndexOf", 1, 2, last_index_of),
    method("pop", 0, 0, |interp, target, _| change(interp, target, |items| items.pop().unwrap_or_default())),
    variadic("push", push),
    method("reverse", 0, 0, reverse),
    method("shift", 0, 0, |interp, target, _| change(interp, target, |items| remove_at(items, 0))),
    method("slice", 0, 2, slice),
    method("sort", 0, 0, sort),
    variadic("splice", splice),
    variadic("unshift", unshift),
];

pub(super) static COOKIECUTTER: [Definition; 7] = [
    method("append", 1, 1, push),
    method("count", 1, 1, count),
    method("find", 1, 1, index_of),
    method("index", 1, 1, index_of),
    method("insert", 2, 2, insert),
    method("pop", 0, 1, pop_at),
    method("remove", 1, 1, remove),
];

/// The array that the method belongs to.
pub(super) fn array_of(target: &Value) -> Array {
    target.as_array().cloned().unwrap_or_else(|| Array::new(Vec::new()))
}

pub(super) fn items_of(interp: &mut Interp<'_>, target: &Value) -> Res<Vec<Value>> {
    let items = interp.items(&array_of(target)).to_vec();
    interp.charge(items.len())?;
    Ok(items)
}

/// The array, which is about to get `values` as elements.
pub(super) fn array_for(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Array> {
    let array = array_of(target);
    values.iter().try_for_each(|value| interp.check_insertable(&array, value))?;
    Ok(array)
}

pub(super) fn change(
    interp: &mut Interp<'_>,
    target: &Value,
    change: impl FnOnce(&mut Vec<Value>) -> Value,
) -> Res<Value> {
    interp.change(&array_of(target), change)
}

pub(super) fn remove_at(items: &mut Vec<Value>, index: usize) -> Value {
    if index < items.len() { items.remove(index) } else { Value::Undefined }
}

pub(super) fn length(items: &[Value]) -> Value {
    Value::Number(items.len() as f64)
}

pub(super) fn at(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = interp.items(&array_of(target));
    let index = integer(interp.number_or_nan(argument(values, 0))?);
    let index = if index < 0.0 { index + items.len() as f64 } else { index };
    Ok(if index < 0.0 { None } else { items.get(index as usize).cloned() }.unwrap_or_default())
}

pub(super) fn concat(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let mut items = items_of(interp, target)?;
    for value in values {
        match value {
            Value::Array(_) => items.extend(items_of(interp, value)?),
            value => items.push(value.clone()),
        }
    }
    interp.array(items)
}

pub(super) fn copy_within(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let source = items_of(interp, target)?;
    let count = source.len();
    let to = relative_index(interp, argument(values, 0), count, 0)?;
    let start = relative_index(interp, argument(values, 1), count, 0)?;
    let end = relative_index(interp, argument(values, 2), count, count)?;
    change(interp, target, |items| {
        for (slot, item) in items[to..].iter_mut().zip(&source[start.min(end)..end]) {
            *slot = item.clone();
        }
        Value::Undefined
    })?;
    Ok(target.clone())
}

pub(super) fn fill(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let count = interp.items(&array_of(target)).len();
    let start = relative_index(interp, argument(values, 1), count, 0)?;
    let end = relative_index(interp, argument(values, 2), count, count)?;
    let value = argument(values, 0);
    let inserted = if start < end { std::slice::from_ref(value) } else { &[] };
    let array = array_for(interp, target, inserted)?;
    interp.change(&array, |items| {
        if start < end {
            items[start..end].fill(value.clone());
        }
        Value::Undefined
    })?;
    Ok(target.clone())
}

pub(super) fn flat(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let depth = match argument(values, 0) {
        Value::Undefined => 1.0,
        value => integer(interp.number(value)?),
    };
    let mut flattened = Vec::new();
    flatten_into(interp, &array_of(target), depth, &mut flattened, &mut Vec::new())?;
    interp.array(flattened)
}

pub(super) fn flatten_into(
    interp: &mut Interp<'_>,
    array: &Array,
    depth: f64,
    flattened: &mut Vec<Value>,
    path: &mut Vec<usize>,
) -> Res<()> {
    interp.step_into(array, path)?;
    for item in interp.items(array).iter() {
        interp.charge(1)?;
        match item {
            Value::Array(inner) if depth >= 1.0 => flatten_into(interp, inner, depth - 1.0, flattened, path)?,
            item => flattened.push(item.clone()),
        }
    }
    path.pop();
    Ok(())
}

/// Like `==`, but NaN is found.
pub(super) fn same_value_zero(a: &Value, b: &Value) -> bool {
    strictly_equal(a, b) || matches!((a, b), (Value::Number(a), Value::Number(b)) if a.is_nan() && b.is_nan())
}

pub(super) fn includes(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = items_of(interp, target)?;
    let from = relative_index(interp, argument(values, 1), items.len(), 0)?;
    Ok(Value::Bool(items[from..].iter().any(|item| same_value_zero(item, argument(values, 0)))))
}

pub(super) fn index_of(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = items_of(interp, target)?;
    let from = relative_index(interp, argument(values, 1), items.len(), 0)?;
    let found = items[from..].iter().position(|item| strictly_equal(item, argument(values, 0)));
    Ok(index_value(found.map(|index| index + from)))
}

pub(super) fn last_index_of(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = items_of(interp, target)?;
    let count = items.len() as f64;
    let from = match values.get(1) {
        // Today's engine doesn't tell `undefined` from nothing.
        Some(Value::Undefined) if interp.dialect() == Dialect::Nunjitsu => count - 1.0,
        None => count - 1.0,
        Some(value) => integer(interp.number(value)?),
    };
    let from = if from < 0.0 { from + count } else { from };
    if from < 0.0 {
        return Ok(index_value(None));
    }
    let end = items.len().min((from as usize).saturating_add(1));
    Ok(index_value(items[..end].iter().rposition(|item| strictly_equal(item, argument(values, 0)))))
}

pub(super) fn join(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let separator = match argument(values, 0) {
        Value::Undefined => ",".into(),
        separator => interp.text(separator)?,
    };
    let items = items_of(interp, target)?;
    join_texts(interp, &items, &separator).map(Value::String)
}

pub(super) fn push(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let array = array_for(interp, target, values)?;
    interp.change(&array, |items| {
        items.extend_from_slice(values);
        length(items)
    })
}

pub(super) fn unshift(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let array = array_for(interp, target, values)?;
    interp.change(&array, |items| {
        items.splice(0..0, values.iter().cloned());
        length(items)
    })
}

pub(super) fn reverse(interp: &mut Interp<'_>, target: &Value, _: &[Value]) -> Res<Value> {
    change(interp, target, |items| {
        items.reverse();
        Value::Undefined
    })?;
    Ok(target.clone())
}

pub(super) fn slice(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = items_of(interp, target)?;
    let start = relative_index(interp, argument(values, 0), items.len(), 0)?;
    let end = relative_index(interp, argument(values, 1), items.len(), items.len())?;
    interp.array(items[start.min(end)..end].to_vec())
}

pub(super) fn sort(interp: &mut Interp<'_>, target: &Value, _: &[Value]) -> Res<Value> {
    let (undefined, items): (Vec<_>, Vec<_>) = items_of(interp, target)?.into_iter().partition(Value::is_undefined);
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        keyed.push((interp.text(&item)?, item));
    }
    let sorted = sort_stably(interp, keyed, |_, a, b| Ok(a.0.cmp(&b.0)))?;
    change(interp, target, |items| {
        *items = sorted.into_iter().map(|(_, item)| item).chain(undefined).collect();
        Value::Undefined
    })?;
    Ok(target.clone())
}

pub(super) fn splice(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let count = interp.items(&array_of(target)).len();
    let start = relative_index(interp, argument(values, 0), count, 0)?;
    let removed = match values {
        [] => 0,
        [Value::Undefined, ..] if interp.dialect() == Dialect::Nunjitsu => {
            return interp.array(Vec::new());
        }
        [_] => count - start,
        [_, Value::Undefined, ..] if interp.dialect() == Dialect::Nunjitsu => {
            return splice(interp, target, &values[..1]);
        }
        [_, removed, ..] => integer(interp.number(removed)?).clamp(0.0, (count - start) as f64) as usize,
    };
    let inserted = values.get(2..).unwrap_or_default();
    let array = array_for(interp, target, inserted)?;
    let removed = interp
        .change(&array, |items| items.splice(start..start + removed, inserted.iter().cloned()).collect::<Vec<_>>())?;
    interp.array(removed)
}

pub(super) fn count(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = items_of(interp, target)?;
    let equal = items.iter().filter(|item| strictly_equal(item, argument(values, 0))).count();
    Ok(Value::Number(equal as f64))
}

pub(super) fn insert(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let count = interp.items(&array_of(target)).len();
    let index = relative_index(interp, argument(values, 0), count, 0)?;
    let array = array_for(interp, target, std::slice::from_ref(argument(values, 1)))?;
    interp.change(&array, |items| {
        items.insert(index, argument(values, 1).clone());
        Value::Undefined
    })?;
    interp.array(Vec::new())
}

pub(super) fn pop_at(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    if argument(values, 0).is_undefined() {
        return change(interp, target, |items| items.pop().unwrap_or_default());
    }
    let index = integer(interp.number(argument(values, 0))?);
    change(interp, target, |items| {
        let index = if index < 0.0 { index + items.len() as f64 } else { index };
        if index < 0.0 { Value::Undefined } else { remove_at(items, index as usize) }
    })
}

/// Removes the first element that is equal, and gives it in an array of its own; an empty one when there is none.
pub(super) fn remove(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let items = items_of(interp, target)?;
    let index = items.iter().position(|item| strictly_equal(item, argument(values, 0)));
    let removed = match index {
        Some(index) => vec![change(interp, target, |items| remove_at(items, index))?],
        None => Vec::new(),
    };
    interp.array(removed)
}
