//! Methods that every value has, but for `undefined`, `null` and functions.

use super::{Definition, argument, number, variadic};
use crate::error::Res;
use crate::eval::{Env, Interp};
use crate::string::Str;
use crate::value::{Value, array_index};

pub(super) static METHODS: [Definition; 6] = [
    variadic("hasOwnProperty", |interp, target, values| {
        let key = interp.text(argument(values, 0))?;
        Ok(Value::Bool(has_own(interp, target, &key)))
    }),
    variadic("isPrototypeOf", |_, _, _| Ok(Value::Bool(false))),
    variadic("propertyIsEnumerable", |interp, target, values| {
        let key = interp.text(argument(values, 0))?;
        let counts = !matches!(target, Value::Array(_) | Value::String(_) | Value::Regex(_));
        Ok(Value::Bool(has_own(interp, target, &key) && (counts || key.as_str().and_then(array_index).is_some())))
    }),
    variadic("toLocaleString", |interp, target, _| local_text(interp, target).map(Value::String)),
    variadic("toString", |interp, target, _| interp.text(target).map(Value::String)),
    variadic("valueOf", |_, target, _| {
        Ok(match target {
            Value::Safe(text) => Value::String(text.as_ref().clone()),
            target => target.clone(),
        })
    }),
];

/// Whether `target` itself has the property, not only its kind.
pub(crate) fn has_own(interp: &Env<'_>, target: &Value, key: &Str) -> bool {
    let Some(key) = key.as_str() else { return false };
    let within = |length: usize| array_index(key).is_some_and(|index| (index as usize) < length);
    match target {
        Value::Record(record) => record.get(key).is_some(),
        Value::Array(array) => {
            key == "length"
                || within(interp.items(array).len())
                || interp.match_details(array).is_some_and(|details| details.get(key).is_some())
        }
        Value::String(text) => key == "length" || within(text.len()),
        Value::Safe(_) => matches!(key, "length" | "val"),
        Value::Regex(_) => key == "lastIndex",
        _ => false,
    }
}

/// The text that `toLocaleString` gives where the locale is `en-US`.
pub(super) fn local_text(interp: &mut Interp<'_>, value: &Value) -> Res<Str> {
    match value {
        Value::Number(number) => Ok(number::local_text(*number).into()),
        Value::Array(array) => {
            let mut path = Vec::new();
            local_text_of(interp, array, &mut path)
        }
        value => interp.text(value),
    }
}

fn local_text_of(interp: &mut Interp<'_>, array: &crate::value::Array, path: &mut Vec<usize>) -> Res<Str> {
    interp.step_into(array, path)?;
    let mut text = crate::string::StrBuilder::default();
    for (index, item) in interp.items(array).iter().enumerate() {
        interp.charge(1)?;
        if index > 0 {
            text.push_str(",");
        }
        let part = match item {
            Value::Undefined | Value::Null => continue,
            Value::Array(inner) => local_text_of(interp, inner, path)?,
            item => local_text(interp, item)?,
        };
        interp.charge_bytes(part.byte_len())?;
        text.push(&part);
    }
    path.pop();
    Ok(text.finish())
}
