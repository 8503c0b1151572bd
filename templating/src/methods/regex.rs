//! Methods of regular expressions.

use super::{Definition, argument, method};
use crate::error::Res;
use crate::eval::Interp;
use crate::value::Value;

pub(super) static METHODS: [Definition; 1] = [method("test", 1, 1, test)];

fn test(interp: &mut Interp<'_>, target: &Value, values: &[Value]) -> Res<Value> {
    let text = interp.text(argument(values, 0))?;
    let Value::Regex(regex) = target else { return Ok(Value::Bool(false)) };
    let (_, text) = crate::regex::searched(interp, &text)?;
    if !regex.remembers() {
        return Ok(Value::Bool(regex.find_at(interp, &text, 0)?.is_some()));
    }
    let last = *interp.last_index(regex);
    let found = regex.find_at(interp, &text, last)?;
    *interp.last_index(regex) = found.as_ref().map_or(0, |found| found.end());
    Ok(Value::Bool(found.is_some()))
}
