//! The methods and properties of the older dialect: those that JavaScript gives to strings, numbers, booleans, arrays,
//! objects and regular expressions, and that `nunjucks` 3 passes on.
//!
//! They take any number of arguments; keyword arguments come last, as a record. What leads out of plain data
//! (`constructor`, `__proto__`, accessors, the methods of functions) is not there.

mod array;
mod number;
mod object;
mod pattern;
mod python;
mod string;

pub(crate) use self::object::has_own;
pub(crate) use self::pattern::replace;

use super::{Definition, argument, variadic};
use crate::error::{Fault, Res};
use crate::eval::{Env, Interp};
use crate::function::{Callable, Kind};
use crate::globals::Builtin;
use crate::value::Value;

/// The methods of every kind of value.
pub(super) static TABLES: [&[Definition]; 5] =
    [&string::METHODS, &number::METHODS, &pattern::METHODS, &array::METHODS, &object::METHODS];

/// The methods that values of the kind of `target` have, the kind's own first.
pub(super) fn tables(target: &Value) -> [&'static [Definition]; 2] {
    let own: &'static [Definition] = match target {
        Value::String(_) | Value::Safe(_) => &string::METHODS,
        Value::Number(_) => &number::METHODS,
        Value::Array(_) => &array::METHODS,
        Value::Regex(_) => &pattern::METHODS,
        Value::Bool(_) | Value::Record(_) => &[],
        Value::Undefined | Value::Null | Value::Function(_) => return [&[], &[]],
    };
    [own, &object::METHODS]
}

/// The methods that come before these in cookiecutter mode.
pub(super) fn cookiecutter(target: &Value) -> &'static [Definition] {
    match target {
        Value::Array(_) => &python::ARRAY,
        Value::Record(_) => &python::RECORD,
        // What is not truthy passes for an empty dictionary.
        target if !target.is_truthy() => &python::RECORD,
        _ => &[],
    }
}

/// A property that is neither an element nor a method, or hides one.
pub(crate) fn property(env: &Env<'_>, target: &Value, name: &str) -> Option<Value> {
    match target {
        Value::Regex(regex) => pattern::property(env, regex, name),
        Value::Array(array) => env.match_details(array)?.get(name).cloned(),
        Value::Function(callable) => function_property(callable, name),
        _ => None,
    }
}

/// The name and the number of parameters that a function has in `nunjucks`.
fn function_property(callable: &Callable, name: &str) -> Option<Value> {
    let (own_name, length) = match &callable.0 {
        Kind::Macro(_) => ("macro", 0),
        Kind::Builtin(Builtin::Range) => ("range", 3),
        Kind::Builtin(Builtin::Cycler) => ("cycler", 0),
        Kind::Builtin(Builtin::Joiner) => ("joiner", 1),
        // An object there, not a function.
        Kind::Cycler(_) => return None,
        _ => ("", 0),
    };
    match name {
        "name" => Some(Value::string(own_name)),
        "length" => Some(Value::Number(f64::from(length))),
        _ => None,
    }
}

/// An argument that is going to be called.
fn callback(values: &[Value], index: usize) -> Res<Callable> {
    match argument(values, index) {
        Value::Function(callable) if !matches!(callable.0, Kind::Cycler(_)) => Ok(callable.clone()),
        other => Err(Fault::evaluation(format!("{} is not a function", other.type_name()))),
    }
}

fn invoke(interp: &mut Interp<'_>, callable: &Callable, values: Vec<Value>) -> Res<Value> {
    interp.charge(1)?;
    interp.invoke(callable, values)
}
