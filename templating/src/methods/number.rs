//! Methods of numbers.

use super::{Definition, argument, integer, method};
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::number::{js_number_to_string, to_exponential, to_fixed, to_precision, to_radix};
use crate::value::Value;

pub(super) static METHODS: [Definition; 4] = [
    method("toExponential", 0, 1, exponential),
    method("toFixed", 0, 1, fixed),
    method("toPrecision", 0, 1, precision),
    method("toString", 0, 1, string),
];

pub(super) fn number_of(target: &Value) -> f64 {
    target.as_number().unwrap_or(f64::NAN)
}

/// An argument that must lie in `range`.
pub(super) fn count(
    interp: &mut Interp<'_>,
    value: &Value,
    range: std::ops::RangeInclusive<u8>,
    what: &str,
) -> Res<usize> {
    let number = integer(interp.number_or_nan(value)?);
    if number >= f64::from(*range.start()) && number <= f64::from(*range.end()) {
        return Ok(number as usize);
    }
    Err(Fault::evaluation(format!("{what} must be between {} and {}", range.start(), range.end())))
}

pub(super) fn fixed(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let digits = count(interp, argument(values, 0), 0..=100, "toFixed() digits argument")?;
    Ok(Value::string(to_fixed(number_of(target), digits)))
}

pub(super) fn exponential(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let digits = match argument(values, 0) {
        Value::Undefined => None,
        value if number_of(target).is_finite() => Some(count(interp, value, 0..=100, "toExponential() argument")?),
        _ => None,
    };
    Ok(Value::string(to_exponential(number_of(target), digits)))
}

pub(super) fn precision(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let number = number_of(target);
    let value = argument(values, 0);
    if value.is_undefined() || !number.is_finite() {
        return Ok(Value::string(js_number_to_string(number)));
    }
    let digits = count(interp, value, 1..=100, "toPrecision() argument")?;
    Ok(Value::string(to_precision(number, digits)))
}

pub(super) fn string(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let radix = match argument(values, 0) {
        Value::Undefined => 10,
        value => count(interp, value, 2..=36, "toString() radix argument")?,
    };
    Ok(Value::string(to_radix(number_of(target), radix as u32)))
}
