//! JavaScript's conversions and comparisons.

use std::cmp::Ordering;

use super::env::Env;
use super::not_text;
use crate::dialect::Dialect;
use crate::error::Res;
use crate::function::{Callable, Kind};
use crate::number::string_to_number;
use crate::string::{Str, StrBuilder};
use crate::value::Value;

impl Env<'_> {
    /// JavaScript's `String(value)`.
    pub(crate) fn text(&self, value: &Value) -> Res<Str> {
        Ok(match value {
            Value::String(text) => text.clone(),
            Value::Safe(text) => text.as_ref().clone(),
            Value::Undefined => "undefined".into(),
            Value::Null => "null".into(),
            Value::Bool(true) => "true".into(),
            Value::Bool(false) => "false".into(),
            Value::Number(number) => number_text(*number),
            Value::Record(_) if self.dialect() == Dialect::Nunjitsu && value.has_functions() => return Err(not_text()),
            Value::Record(_) => "[object Object]".into(),
            Value::Regex(regex) => regex.to_string().into(),
            Value::Array(_) => return self.joined(value),
            // An object there, not a function.
            Value::Function(Callable(Kind::Cycler(_))) if self.dialect() == Dialect::Nunjucks3 => {
                "[object Object]".into()
            }
            Value::Function(_) => return Err(not_text()),
        })
    }

    /// The text that a value becomes in the output: like [`Self::text`], but nothing for `undefined` and `null`.
    pub(crate) fn output_text(&self, value: &Value) -> Res<Str> {
        if value.is_nullish() { Ok(Str::default()) } else { self.text(value) }
    }

    /// Appends what [`output_text`](Self::output_text) gives, and says how many code units that is.
    #[inline]
    pub(super) fn write_text(&self, value: &Value, out: &mut StrBuilder) -> Res<usize> {
        match value {
            Value::String(text) => {
                out.push(text);
                Ok(text.len())
            }
            Value::Number(number) => Ok(out.push_number(*number)),
            Value::Undefined | Value::Null => Ok(0),
            value => {
                let text = self.text(value)?;
                out.push(&text);
                Ok(text.len())
            }
        }
    }

    /// Appends what [`text`](Self::text) gives.
    #[inline]
    pub(super) fn append_text(&self, value: &Value, out: &mut StrBuilder) -> Res<()> {
        match value {
            Value::String(text) => out.push(text),
            Value::Number(number) => {
                out.push_number(*number);
            }
            value => out.push(&self.text(value)?),
        }
        Ok(())
    }

    fn joined(&self, value: &Value) -> Res<Str> {
        let mut text = StrBuilder::default();
        self.join_into(value, &mut text, &mut Vec::new())?;
        self.charge_whole(text.byte_len())?;
        Ok(text.finish())
    }

    fn join_into(&self, value: &Value, text: &mut StrBuilder, path: &mut Vec<usize>) -> Res<()> {
        self.charge(1)?;
        let Value::Array(array) = value else {
            let part = self.output_text(value)?;
            self.charge_bytes(part.byte_len())?;
            self.check_text(text.byte_len() + part.byte_len())?;
            text.push(&part);
            return Ok(());
        };
        self.step_into(array, path)?;
        let items = self.items(array);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(",");
            }
            self.join_into(item, text, path)?;
        }
        path.pop();
        Ok(())
    }

    /// JavaScript's `Number(value)`.
    pub(crate) fn number(&self, value: &Value) -> Res<f64> {
        Ok(match value {
            Value::Undefined | Value::Record(_) | Value::Regex(_) => f64::NAN,
            Value::Null => 0.0,
            Value::Bool(value) => f64::from(u8::from(*value)),
            Value::Number(number) => *number,
            Value::String(_) | Value::Safe(_) | Value::Array(_) => {
                let text = self.text(value)?;
                string_to_number(&text.to_lossy())
            }
            Value::Function(_) => return Err(not_text()),
        })
    }

    /// The number of an optional argument: NaN when it is not given.
    pub(crate) fn number_or_nan(&self, value: &Value) -> Res<f64> {
        if value.is_undefined() { Ok(f64::NAN) } else { self.number(value) }
    }

    /// A value whose type is not an object's: objects become their text.
    fn primitive(&self, value: &Value) -> Res<Value> {
        match value {
            Value::Safe(_) | Value::Array(_) | Value::Record(_) | Value::Regex(_) | Value::Function(_) => {
                self.text(value).map(Value::String)
            }
            primitive => Ok(primitive.clone()),
        }
    }

    /// JavaScript's `+`.
    pub(crate) fn add(&self, left: &Value, right: &Value) -> Res<Value> {
        if let (Value::Number(left), Value::Number(right)) = (left, right) {
            return Ok(Value::Number(left + right));
        }
        let (left, right) = (self.primitive(left)?, self.primitive(right)?);
        if matches!(left, Value::String(_)) || matches!(right, Value::String(_)) {
            return self.concat(&left, &right);
        }
        Ok(Value::Number(self.number(&left)? + self.number(&right)?))
    }

    pub(super) fn concat(&self, left: &Value, right: &Value) -> Res<Value> {
        let (left, right) = (self.text(left)?, self.text(right)?);
        self.charge_bytes(left.byte_len() + right.byte_len())?;
        Ok(Value::String(left.concat(&right)))
    }

    /// JavaScript's `==`.
    pub(crate) fn loosely_equal(&self, left: &Value, right: &Value) -> Res<bool> {
        Ok(match (left, right) {
            (Value::Number(left), Value::Number(right)) => left == right,
            (Value::Undefined | Value::Null, Value::Undefined | Value::Null) => true,
            (Value::Undefined | Value::Null, _) | (_, Value::Undefined | Value::Null) => false,
            _ if is_object(left) == is_object(right) && (is_object(left) || same_type(left, right)) => {
                strictly_equal(left, right)
            }
            _ if is_object(left) || is_object(right) => {
                let (left, right) = (self.primitive(left)?, self.primitive(right)?);
                self.loosely_equal(&left, &right)?
            }
            _ => self.number(left)? == self.number(right)?,
        })
    }

    /// JavaScript's `<`, `<=`, `>`, `>=`: `None` when a NaN is involved.
    pub(crate) fn compare(&self, left: &Value, right: &Value) -> Res<Option<Ordering>> {
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => return Ok(left.partial_cmp(right)),
            (Value::String(left), Value::String(right)) => return Ok(Some(left.cmp(right))),
            _ => {}
        }
        let (left, right) = (self.primitive(left)?, self.primitive(right)?);
        if let (Value::String(left), Value::String(right)) = (&left, &right) {
            return Ok(Some(left.cmp(right)));
        }
        Ok(self.number(&left)?.partial_cmp(&self.number(&right)?))
    }
}

/// A number's text, without memory of its own where it is short.
fn number_text(number: f64) -> Str {
    let mut text = StrBuilder::default();
    text.push_number(number);
    text.finish()
}

fn is_object(value: &Value) -> bool {
    matches!(value, Value::Safe(_) | Value::Array(_) | Value::Record(_) | Value::Regex(_) | Value::Function(_))
}

fn same_type(left: &Value, right: &Value) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
}

/// JavaScript's `===`: objects are equal to themselves only.
pub(crate) fn strictly_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Undefined, Value::Undefined) | (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Number(left), Value::Number(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Safe(left), Value::Safe(right)) => std::sync::Arc::ptr_eq(left, right),
        (Value::Array(left), Value::Array(right)) => left.is_same(right),
        (Value::Record(left), Value::Record(right)) => left.is_same(right),
        (Value::Regex(left), Value::Regex(right)) => std::sync::Arc::ptr_eq(left, right),
        (Value::Function(left), Value::Function(right)) => left.is_same(right),
        _ => false,
    }
}
