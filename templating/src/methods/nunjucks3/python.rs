//! The methods of lists and dictionaries in cookiecutter mode: those of `nunjucks`' compatibility layer, but for the ones
//! that change a dictionary.

use super::super::array::{array_of, count, index_of, push, splice};
use super::super::record::{get, has_key, items, keys, values};
use super::{Definition, argument, variadic};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::value::Value;

pub(super) static ARRAY: [Definition; 7] = [
    variadic("append", |interp, target, values| push(interp, target, &[argument(values, 0).clone()])),
    variadic("count", count),
    variadic("find", find),
    variadic("index", |interp, target, values| {
        let index = find(interp, target, values)?;
        if index.as_number() == Some(-1.0) { Err(Fault::evaluation("ValueError: not in list")) } else { Ok(index) }
    }),
    variadic("insert", |interp, target, values| {
        let [at, item] = [argument(values, 0), argument(values, 1)].map(Value::clone);
        splice(interp, target, &[at, Value::Number(0.0), item])
    }),
    variadic("pop", pop),
    variadic("remove", |interp, target, values| {
        let index = find(interp, target, values)?;
        if index.as_number() == Some(-1.0) {
            return Err(Fault::evaluation("ValueError: not in list"));
        }
        splice(interp, target, &[index, Value::Number(1.0)])
    }),
];

pub(super) static RECORD: [Definition; 8] = [
    variadic("get", get),
    variadic("has_key", has_key),
    variadic("items", items),
    variadic("iteritems", items),
    variadic("iterkeys", keys),
    variadic("itervalues", values),
    variadic("keys", keys),
    variadic("values", values),
];

fn find(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    index_of(interp, target, &[argument(values, 0).clone()])
}

/// The last element, or an array with the one at an index.
fn pop(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let array = array_of(target);
    let index = argument(values, 0);
    if index.is_undefined() {
        return interp.change(&array, |items| items.pop().unwrap_or_default());
    }
    let at = interp.number(index)?;
    if at >= interp.items(&array).len() as f64 || at < 0.0 {
        return Err(Fault::evaluation("KeyError: pop index out of range"));
    }
    splice(interp, target, &[index.clone(), Value::Number(1.0)])
}
