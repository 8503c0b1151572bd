//! Methods of arrays. A function among the arguments is called with an element, its index and the array.

use super::super::array::{
    array_of, at, concat, copy_within, fill, flat, flatten_into, includes, index_of, items_of, join, last_index_of,
    push, reverse, slice, sort, splice, unshift,
};
use super::super::integer;
use super::super::string::index_value;
use super::{Definition, argument, callback, invoke, variadic};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::filters::sort_stably;
use crate::function::Callable;
use crate::value::{Array, Value};

pub(super) static METHODS: [Definition; 37] = [
    variadic("at", at),
    variadic("concat", concat),
    variadic("copyWithin", copy_within),
    variadic("entries", entries),
    variadic("every", |interp, target, values| Ok(Value::Bool(find(interp, target, values, false)?.is_none()))),
    variadic("fill", fill),
    variadic("filter", filter),
    variadic("find", |interp, target, values| Ok(search(interp, target, values, false)?.unwrap_or_default().1)),
    variadic("findIndex", |interp, target, values| Ok(found_index(search(interp, target, values, false)?))),
    variadic("findLast", |interp, target, values| Ok(search(interp, target, values, true)?.unwrap_or_default().1)),
    variadic("findLastIndex", |interp, target, values| Ok(found_index(search(interp, target, values, true)?))),
    variadic("flat", flat),
    variadic("flatMap", flat_map),
    variadic("forEach", |interp, target, values| {
        each(interp, target, values, |_, _, _| Ok(true)).map(|()| Value::Undefined)
    }),
    variadic("includes", includes),
    variadic("indexOf", index_of),
    variadic("join", join),
    variadic("keys", |interp, target, _| {
        let count = interp.items(&array_of(target)).len();
        interp.array((0..count).map(|index| Value::Number(index as f64)).collect())
    }),
    variadic("lastIndexOf", last_index_of),
    variadic("map", map),
    variadic("pop", |interp, target, _| interp.change(&array_of(target), |items| items.pop().unwrap_or_default())),
    variadic("push", push),
    variadic("reduce", |interp, target, values| reduce(interp, target, values, false)),
    variadic("reduceRight", |interp, target, values| reduce(interp, target, values, true)),
    variadic("reverse", reverse),
    variadic("shift", |interp, target, _| {
        interp.change(&array_of(target), |items| if items.is_empty() { Value::Undefined } else { items.remove(0) })
    }),
    variadic("slice", slice),
    variadic("some", |interp, target, values| Ok(Value::Bool(find(interp, target, values, true)?.is_some()))),
    variadic("sort", sort_by),
    variadic("splice", splice),
    variadic("toReversed", |interp, target, values| changed_copy(interp, target, values, reverse)),
    variadic("toSorted", |interp, target, values| changed_copy(interp, target, values, sort_by)),
    variadic("toSpliced", |interp, target, values| changed_copy(interp, target, values, splice)),
    variadic("toString", |interp, target, _| interp.text(target).map(Value::String)),
    variadic("unshift", unshift),
    variadic("values", |interp, target, _| {
        let items = items_of(interp, target)?;
        interp.array(items)
    }),
    variadic("with", with),
];

/// An element as it is now; `None` past the end, which a callback may have moved.
fn element(interp: &Interp<'_>, array: &Array, index: usize) -> Option<Value> {
    interp.items(array).get(index).cloned()
}

fn call_for(interp: &mut Interp<'_>, function: &Callable, array: &Array, index: usize, item: Value) -> Res<Value> {
    invoke(interp, function, vec![item, Value::Number(index as f64), Value::Array(array.clone())])
}

/// Calls the first argument for each element that was there at the start, as long as `go_on` wants more.
fn each<'t>(
    interp: &mut Interp<'t>,
    target: &Value,
    values: &[Value],
    mut go_on: impl FnMut(&mut Interp<'t>, (usize, &Value), Value) -> Res<bool>,
) -> Res<()> {
    let array = array_of(target);
    let function = callback(values, 0)?;
    for index in 0..interp.items(&array).len() {
        let Some(item) = element(interp, &array, index) else { continue };
        let result = call_for(interp, &function, &array, index, item.clone())?;
        if !go_on(interp, (index, &item), result)? {
            break;
        }
    }
    Ok(())
}

/// The index of the first element for which the function's answer is as true as wanted.
fn find(interp: &mut Interp<'_>, target: &Value, values: &[Value], wanted: bool) -> Res<Option<usize>> {
    let mut found = None;
    each(interp, target, values, |_, (index, _), result| {
        if result.is_truthy() == wanted {
            found = Some(index);
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// The first element, or the last, that the function accepts. Elements that have gone meanwhile count as `undefined`.
fn search(interp: &mut Interp<'_>, target: &Value, values: &[Value], backwards: bool) -> Res<Option<(usize, Value)>> {
    let array = array_of(target);
    let function = callback(values, 0)?;
    let count = interp.items(&array).len();
    for step in 0..count {
        let index = if backwards { count - 1 - step } else { step };
        let item = element(interp, &array, index).unwrap_or_default();
        if call_for(interp, &function, &array, index, item.clone())?.is_truthy() {
            return Ok(Some((index, item)));
        }
    }
    Ok(None)
}

fn found_index(found: Option<(usize, Value)>) -> Value {
    index_value(found.map(|(index, _)| index))
}

fn map(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let mut results = Vec::new();
    each(interp, target, values, |_, (index, _), result| {
        // Elements that have gone meanwhile are holes.
        results.resize(index, Value::Undefined);
        results.push(result);
        Ok(true)
    })?;
    interp.array(results)
}

fn filter(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let mut kept = Vec::new();
    each(interp, target, values, |_, (_, item), result| {
        if result.is_truthy() {
            kept.push(item.clone());
        }
        Ok(true)
    })?;
    interp.array(kept)
}

fn flat_map(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let mut flattened = Vec::new();
    each(interp, target, values, |interp, _, result| {
        match &result {
            Value::Array(array) => flatten_into(interp, array, 0.0, &mut flattened, &mut Vec::new())?,
            _ => flattened.push(result),
        }
        Ok(true)
    })?;
    interp.array(flattened)
}

fn reduce(interp: &mut Interp<'_>, target: &Value, values: &[Value], backwards: bool) -> Res<Value> {
    let array = array_of(target);
    let function = callback(values, 0)?;
    let count = interp.items(&array).len();
    let mut result = values.get(1).cloned();
    for step in 0..count {
        let index = if backwards { count - 1 - step } else { step };
        let Some(item) = element(interp, &array, index) else { continue };
        result = Some(match result {
            None => item,
            Some(so_far) => {
                let whole = Value::Array(array.clone());
                invoke(interp, &function, vec![so_far, item, Value::Number(index as f64), whole])?
            }
        });
    }
    result.ok_or_else(|| Fault::evaluation("Reduce of empty array with no initial value"))
}

fn entries(interp: &mut Interp<'_>, target: &Value, _: &[Value]) -> Res<Value> {
    let mut pairs = Vec::new();
    for (index, item) in items_of(interp, target)?.into_iter().enumerate() {
        pairs.push(interp.array(vec![Value::Number(index as f64), item])?);
    }
    interp.array(pairs)
}

/// Sorts by text, or by the number that a function gives for two elements.
fn sort_by(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    if argument(values, 0).is_undefined() {
        return sort(interp, target, &[]);
    }
    let function = callback(values, 0)?;
    let (undefined, items): (Vec<_>, Vec<_>) = items_of(interp, target)?.into_iter().partition(Value::is_undefined);
    let sorted = sort_stably(interp, items, |interp, a, b| {
        let order = invoke(interp, &function, vec![a.clone(), b.clone()])?;
        let order = interp.number(&order)?;
        Ok(order.partial_cmp(&0.0).unwrap_or(std::cmp::Ordering::Equal))
    })?;
    interp.change(&array_of(target), |items| *items = sorted.into_iter().chain(undefined).collect())?;
    Ok(target.clone())
}

/// The copy that a method has changed in place.
fn changed_copy(
    interp: &mut Interp<'_>,
    target: &Value,
    values: &[Value],
    change: fn(&mut Interp<'_>, &Value, &[Value]) -> Res<Value>,
) -> Res<Value> {
    let items = items_of(interp, target)?;
    let copy = interp.array(items)?;
    change(interp, &copy, values)?;
    let items = items_of(interp, &copy)?;
    interp.array(items)
}

fn with(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let mut items = items_of(interp, target)?;
    let given = integer(interp.number(argument(values, 0))?);
    let index = if given < 0.0 { given + items.len() as f64 } else { given };
    match items.get_mut(index as usize) {
        Some(slot) if index >= 0.0 => *slot = argument(values, 1).clone(),
        _ => return Err(Fault::evaluation(format!("Invalid index: {given}"))),
    }
    interp.array(items)
}
