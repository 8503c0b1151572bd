//! The methods of values.

mod array;
mod number;
pub(crate) mod nunjucks3;
mod record;
mod regex;
mod string;

pub(crate) use self::string::{cut, replace_matches};

use std::fmt;

use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::{Arguments, Interp, not_text};
use crate::value::Value;

/// A method of some kind of value.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    /// How many arguments it takes.
    least: usize,
    /// `None` when any number will do.
    most: Option<usize>,
    run: Run,
}

/// Gets the value the method belongs to, then the arguments.
type Run = fn(&mut Interp<'_>, &Value, &[Value]) -> Res<Value>;

/// A reference to a method; the definitions are static.
pub(crate) type Method = &'static Definition;

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn method(name: &'static str, least: usize, most: usize, run: Run) -> Definition {
    Definition { name, least, most: Some(most), run }
}

const fn variadic(name: &'static str, run: Run) -> Definition {
    Definition { name, least: 0, most: None, run }
}

/// The method of that name that `target` has.
pub(crate) fn find(target: &Value, name: &str, dialect: Dialect, cookiecutter: bool) -> Option<Method> {
    tables(target, dialect, cookiecutter).into_iter().flatten().find(|method| method.name == name)
}

/// The methods of values of the kind of `target`; earlier ones hide later ones.
fn tables(target: &Value, dialect: Dialect, cookiecutter: bool) -> [&'static [Definition]; 3] {
    if dialect == Dialect::Nunjucks3 {
        let [own, common] = nunjucks3::tables(target);
        return [if cookiecutter { nunjucks3::cookiecutter(target) } else { &[] }, own, common];
    }
    let cookiecutter: &'static [Definition] = match target {
        Value::Array(_) if cookiecutter => &array::COOKIECUTTER,
        Value::Record(_) if cookiecutter => &record::COOKIECUTTER,
        _ => &[],
    };
    let own: &'static [Definition] = match target {
        Value::String(_) | Value::Safe(_) => &string::METHODS,
        Value::Number(_) => &number::METHODS,
        Value::Regex(_) => &regex::METHODS,
        Value::Array(_) => &array::METHODS,
        _ => &[],
    };
    [cookiecutter, own, &[]]
}

/// The names of the methods that `target` has.
pub(crate) fn names(target: &Value, dialect: Dialect, cookiecutter: bool) -> impl Iterator<Item = &'static str> {
    tables(target, dialect, cookiecutter).into_iter().flatten().map(|method| method.name)
}

/// The names of the methods that any value has.
pub(crate) fn all_names(dialect: Dialect, cookiecutter: bool) -> impl Iterator<Item = &'static str> {
    let kinds: [&'static [Definition]; 5] = match dialect {
        Dialect::Nunjitsu => [&string::METHODS, &number::METHODS, &regex::METHODS, &array::METHODS, &[]],
        Dialect::Nunjucks3 => nunjucks3::TABLES,
    };
    let more: [&'static [Definition]; 2] =
        if cookiecutter { [&array::COOKIECUTTER, &record::COOKIECUTTER] } else { [&[], &[]] };
    kinds.into_iter().chain(more).flatten().map(|method| method.name)
}

/// Refuses arguments by their number and kind.
pub(crate) fn check(method: Method, positional: usize, keyword: usize) -> Res<()> {
    let name = method.name;
    if keyword > 0 {
        return Err(Fault::evaluation(format!("Template intrinsic {name} does not accept keyword arguments")));
    }
    if positional < method.least || method.most.is_some_and(|most| positional > most) {
        let range = match method.most {
            Some(most) if most == method.least => most.to_string(),
            Some(most) => format!("{} to {most}", method.least),
            None => format!("at least {}", method.least),
        };
        return Err(Fault::evaluation(format!("Template intrinsic {name} requires {range} positional arguments")));
    }
    Ok(())
}

/// Calls a method.
pub(crate) fn call(interp: &mut Interp<'_>, method: Method, target: &Value, arguments: Arguments) -> Res<Value> {
    let arguments = interp.positional_only(arguments);
    if interp.dialect() == Dialect::Nunjitsu
        && (target.has_functions() || arguments.positional.iter().any(Value::has_functions))
    {
        return Err(not_text());
    }
    (method.run)(interp, target, &arguments.positional)
}

fn argument(values: &[Value], index: usize) -> &Value {
    values.get(index).unwrap_or(&Value::Undefined)
}

/// An index argument as JavaScript's `slice` reads it: truncated, negative from the end, clamped to the length.
fn relative_index(interp: &mut Interp<'_>, value: &Value, length: usize, default: usize) -> Res<usize> {
    if value.is_undefined() {
        return Ok(default);
    }
    let number = integer(interp.number(value)?);
    Ok(if number < 0.0 { (length as f64 + number).max(0.0) as usize } else { number.min(length as f64) as usize })
}

/// JavaScript's `ToIntegerOrInfinity`.
fn integer(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.trunc() }
}
