//! Methods of records, in cookiecutter mode.

use std::sync::Arc;

use super::{Definition, argument, method};
use crate::dialect::Dialect;
use crate::error::Res;
use crate::eval::Interp;
use crate::value::Value;

pub(super) static COOKIECUTTER: [Definition; 5] = [
    method("get", 1, 2, get),
    method("has_key", 1, 1, has_key),
    method("items", 0, 0, items),
    method("keys", 0, 0, keys),
    method("values", 0, 0, values),
];

fn entries(target: &Value) -> Vec<(Arc<str>, Value)> {
    let Value::Record(record) = target else { return Vec::new() };
    record.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn find(interp: &mut Interp<'_>, target: &Value, arguments: &[Value]) -> Res<Option<Value>> {
    let key = interp.text(argument(arguments, 0))?.to_key();
    Ok(target.as_record().and_then(|record| record.get(&key)).cloned())
}

pub(super) fn get(interp: &mut Interp<'_>, target: &Value, arguments: &[Value]) -> Res<Value> {
    let found = find(interp, target, arguments)?;
    let found = found.filter(|value| !value.is_undefined() || interp.dialect() == Dialect::Nunjitsu);
    Ok(found.unwrap_or_else(|| argument(arguments, 1).clone()))
}

pub(super) fn has_key(interp: &mut Interp<'_>, target: &Value, arguments: &[Value]) -> Res<Value> {
    find(interp, target, arguments).map(|found| Value::Bool(found.is_some()))
}

pub(super) fn items(interp: &mut Interp<'_>, target: &Value, _: &[Value]) -> Res<Value> {
    let mut pairs = Vec::new();
    for (key, value) in entries(target) {
        pairs.push(interp.array(vec![Value::string(key), value])?);
    }
    interp.array(pairs)
}

pub(super) fn keys(interp: &mut Interp<'_>, target: &Value, _: &[Value]) -> Res<Value> {
    interp.array(entries(target).into_iter().map(|(key, _)| Value::string(key)).collect())
}

pub(super) fn values(interp: &mut Interp<'_>, target: &Value, _: &[Value]) -> Res<Value> {
    interp.array(entries(target).into_iter().map(|(_, value)| value).collect())
}
