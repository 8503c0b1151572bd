//! Filters about numbers.

use super::sequence::projected;
use super::{argument, named, quick};
use crate::error::Res;
use crate::eval::Interp;
use crate::number::{parse_float, parse_int, power};
use crate::value::Value;

pub(super) fn abs(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    interp.number(argument(values, 0)).map(|number| Value::Number(number.abs()))
}

pub(super) fn float(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let text = interp.text(argument(values, 0))?;
    let number = parse_float(&text.to_lossy());
    Ok(if number.is_nan() { argument(values, 1).clone() } else { Value::Number(number) })
}

pub(super) fn int(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let [input, default, base] = named(values, ["value", "default", "base"]);
    let text = interp.text(&input)?;
    let base = if base.is_undefined() { 10.0 } else { interp.number(&base)? };
    let number = parse_int(&text.to_lossy(), base);
    Ok(if number.is_nan() { default } else { Value::Number(number) })
}

pub(super) fn round(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let number = interp.number(argument(values, 0))?;
    let precision = match argument(values, 1) {
        precision if precision.is_truthy() => interp.number(precision)?,
        _ => 0.0,
    };
    let factor = power(10.0, precision);
    let scaled = number * factor;
    let rounded = match argument(values, 2).as_str() {
        Some("ceil") => scaled.ceil(),
        Some("floor") => scaled.floor(),
        _ => js_round(scaled),
    };
    Ok(Value::Number(rounded / factor))
}

/// JavaScript's `Math.round`: halves go up, and what is below zero stays negative.
fn js_round(number: f64) -> f64 {
    let floor = number.floor();
    let rounded = if number - floor >= 0.5 { floor + 1.0 } else { floor };
    rounded.copysign(if rounded == 0.0 { number } else { rounded })
}

fn summands(interp: &mut Interp<'_>, input: &Value, attribute: &Value) -> Res<Vec<Value>> {
    projected(interp, input, attribute, "sum")
}

pub(super) fn sum(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    if argument(values, 2).is_undefined()
        && let Some(total) = quick::sum(interp, argument(values, 0), argument(values, 1))?
    {
        return Ok(total);
    }
    let mut total = Value::Number(0.0);
    for item in summands(interp, argument(values, 0), argument(values, 1))? {
        interp.charge(1)?;
        total = interp.add(&total, &item)?;
    }
    match argument(values, 2) {
        Value::Undefined => interp.add(&Value::Number(0.0), &total),
        start => interp.add(start, &total),
    }
}
