//! Numbers and conditions, evaluated without making values of them.

use std::cmp::Ordering;

use super::convert::strictly_equal;
use super::{Interp, Val};
use crate::ast::{BinaryOp, Expr, ExprId, ExprKind, UnaryOp};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::methods;
use crate::number::power;
use crate::value::Value;

/// Why an operand is no number.
pub(super) enum Detour<'t> {
    Fault(Box<Fault>),
    /// It is something else, or its conversion has to wait until the other operand has been evaluated.
    Value(Box<Val<'t>>),
}

impl From<Box<Fault>> for Detour<'_> {
    fn from(fault: Box<Fault>) -> Self {
        Self::Fault(fault)
    }
}

type Operand<'t> = Result<f64, Detour<'t>>;

/// Puts an operand that was evaluated as a number back into a value.
fn into_val(operand: Operand<'_>) -> Res<Val<'_>> {
    match operand {
        Ok(number) => Ok(Val::Own(Value::Number(number))),
        Err(Detour::Value(value)) => Ok(*value),
        Err(Detour::Fault(fault)) => Err(fault),
    }
}

impl<'t> Interp<'t> {
    /// An operand, if it is a number.
    fn operand(&mut self, id: ExprId, depth: u32) -> Operand<'t> {
        let expr = self.env.expr(id);
        let number_or_value = |value: Val<'t>| match &*value {
            Value::Number(number) => Ok(*number),
            _ => Err(Detour::Value(Box::new(value))),
        };
        match &expr.kind {
            ExprKind::Binary { op, left, right } if op.is_arithmetic() => {
                Ok(self.arithmetic(expr.offset, *op, *left, *right, depth)?)
            }
            ExprKind::Unary { op: op @ (UnaryOp::Floor | UnaryOp::Negate | UnaryOp::Plus), operand } => {
                Ok(self.signed(expr, *op, *operand, depth)?)
            }
            ExprKind::Group(items) => match self.env.ast.list(*items) {
                [only] => {
                    self.env.enter(depth + 1, expr.offset)?;
                    self.operand(*only, depth + 1)
                }
                _ => number_or_value(self.eval(id, depth)?),
            },
            kind if kind.is_path() => {
                let place = self.env.path(id, depth)?;
                match &*place {
                    Value::Number(number) => Ok(*number),
                    _ => Err(Detour::Value(Box::new(place.into_val()))),
                }
            }
            _ => number_or_value(self.eval(id, depth)?),
        }
    }

    /// A sign, or what is left of `//`.
    pub(super) fn signed(&mut self, expr: &Expr, op: UnaryOp, operand: ExprId, depth: u32) -> Res<f64> {
        self.env.enter(depth + 1, expr.offset)?;
        let number = match self.operand(operand, depth + 1) {
            Ok(number) => number,
            other => {
                let value = into_val(other)?;
                self.env.number(&value).map_err(|fault| fault.at(expr.offset))?
            }
        };
        Ok(match op {
            UnaryOp::Negate => -number,
            UnaryOp::Floor => floor(number),
            UnaryOp::Plus | UnaryOp::Not => number,
        })
    }

    /// Both operands of a binary operation. Its left one may be such an operation itself and lies a level deeper.
    fn operands(&mut self, offset: u32, left: ExprId, right: ExprId, depth: u32) -> Res<(Operand<'t>, Operand<'t>)> {
        let left = match self.operand(left, depth) {
            Err(Detour::Fault(fault)) => return Err(fault),
            left => left,
        };
        self.env.charge(1).map_err(|fault| fault.at(offset))?;
        match self.operand(right, depth) {
            Err(Detour::Fault(fault)) => Err(fault),
            right => Ok((left, right)),
        }
    }

    /// Any operation whose result is always a number.
    pub(super) fn arithmetic(
        &mut self,
        offset: u32,
        op: BinaryOp,
        left: ExprId,
        right: ExprId,
        depth: u32,
    ) -> Res<f64> {
        let depth = depth + 2;
        self.env.check_depth(depth).map_err(|fault| fault.at(offset))?;
        match self.operands(offset, left, right, depth)? {
            (Ok(left), Ok(right)) => Ok(calculate(op, left, right)),
            (left, right) => {
                let (left, right) = (into_val(left)?, into_val(right)?);
                let numbers = self.env.number(&left).and_then(|left| Ok((left, self.env.number(&right)?)));
                let (left, right) = numbers.map_err(|fault| fault.at(offset))?;
                Ok(calculate(op, left, right))
            }
        }
    }

    pub(super) fn eval_add(&mut self, offset: u32, left: ExprId, right: ExprId, depth: u32) -> Res<Val<'t>> {
        let depth = depth + 2;
        self.env.check_depth(depth).map_err(|fault| fault.at(offset))?;
        let sum = match self.operands(offset, left, right, depth)? {
            (Ok(left), Ok(right)) => Value::Number(left + right),
            (left, right) => {
                let (left, right) = (into_val(left)?, into_val(right)?);
                self.env.add(&left, &right).map_err(|fault| fault.at(offset))?
            }
        };
        Ok(Val::Own(sum))
    }

    /// A comparison whose left operand is none.
    pub(super) fn comparison(
        &mut self,
        offset: u32,
        op: BinaryOp,
        left: ExprId,
        right: ExprId,
        depth: u32,
    ) -> Res<bool> {
        let depth = depth + 2;
        self.env.check_depth(depth).map_err(|fault| fault.at(offset))?;
        if op.is_equality() {
            // Mostly of texts.
            let left = self.eval(left, depth)?;
            self.env.charge(1).map_err(|fault| fault.at(offset))?;
            let right = self.eval(right, depth)?;
            return self.compare_values(op, &left, &right).map_err(|fault| fault.at(offset));
        }
        match self.operands(offset, left, right, depth)? {
            (Ok(left), Ok(right)) => Ok(match op {
                BinaryOp::Less => left < right,
                BinaryOp::LessOrEqual => left <= right,
                BinaryOp::Greater => left > right,
                _ => left >= right,
            }),
            (left, right) => {
                let (left, right) = (into_val(left)?, into_val(right)?);
                self.compare_values(op, &left, &right).map_err(|fault| fault.at(offset))
            }
        }
    }

    pub(super) fn compare_values(&mut self, op: BinaryOp, left: &Value, right: &Value) -> Res<bool> {
        let ordering =
            |accept: fn(Ordering) -> bool| self.env.compare(left, right).map(|ordering| ordering.is_some_and(accept));
        match op {
            BinaryOp::Equal => self.env.loosely_equal(left, right),
            BinaryOp::NotEqual => self.env.loosely_equal(left, right).map(|equal| !equal),
            BinaryOp::StrictEqual => Ok(strictly_equal(left, right)),
            BinaryOp::StrictNotEqual => Ok(!strictly_equal(left, right)),
            BinaryOp::Less => ordering(Ordering::is_lt),
            BinaryOp::LessOrEqual => ordering(Ordering::is_le),
            BinaryOp::Greater => ordering(Ordering::is_gt),
            _ => ordering(Ordering::is_ge),
        }
    }

    /// Whether an expression's value counts as true.
    pub(super) fn truth(&mut self, id: ExprId, depth: u32) -> Res<bool> {
        let expr = self.env.expr(id);
        if let Some(holds) = self.fast_truth(expr, depth) {
            return Ok(holds);
        }
        match &expr.kind {
            ExprKind::And(left, right) => {
                self.env.enter(depth + 1, expr.offset)?;
                Ok(self.truth(*left, depth + 1)? && self.truth(*right, depth + 1)?)
            }
            ExprKind::Or(left, right) => {
                self.env.enter(depth + 1, expr.offset)?;
                Ok(self.truth(*left, depth + 1)? || self.truth(*right, depth + 1)?)
            }
            ExprKind::Unary { op: UnaryOp::Not, operand } => {
                self.env.enter(depth + 1, expr.offset)?;
                Ok(!self.truth(*operand, depth + 1)?)
            }
            ExprKind::Binary { op, left, right } if op.is_comparison() && !self.is_comparison(*left) => {
                self.comparison(expr.offset, *op, *left, *right, depth)
            }
            ExprKind::In { negated, needle, container } => {
                self.env.enter(depth + 1, expr.offset)?;
                let found = self.is_in(*needle, *container, depth + 1).map_err(|fault| fault.at(expr.offset))?;
                Ok(found != *negated)
            }
            ExprKind::Group(items) => match self.env.ast.list(*items) {
                [only] => {
                    self.env.enter(depth + 1, expr.offset)?;
                    self.truth(*only, depth + 1)
                }
                _ => Ok(self.eval(id, depth)?.is_truthy()),
            },
            kind if kind.is_path() => Ok(self.env.path(id, depth)?.is_truthy()),
            _ => Ok(self.eval(id, depth)?.is_truthy()),
        }
    }

    /// `needle in container`.
    pub(super) fn is_in(&mut self, needle: ExprId, container: ExprId, depth: u32) -> Res<bool> {
        let needle = self.eval(needle, depth)?;
        let expr = self.env.expr(container);
        if let ExprKind::Array(items) = expr.kind {
            let items = self.env.ast.list(items);
            if items.iter().all(|item| matches!(self.env.expr(*item).kind, ExprKind::Literal(_))) {
                return self.is_in_literals(&needle, expr, items, depth);
            }
        }
        let container = self.eval(container, depth)?;
        self.contains(&container, &needle)
    }

    /// Membership in an array of literals, which need not be made for that.
    fn is_in_literals(&mut self, needle: &Value, array: &Expr, items: &[ExprId], depth: u32) -> Res<bool> {
        self.env.enter(depth + 1, array.offset)?;
        let mut found = false;
        for item in items {
            let item = self.env.expr(*item);
            self.env.enter(depth + 2, item.offset)?;
            if let ExprKind::Literal(value) = &item.kind {
                found = found || strictly_equal(value, needle);
            }
        }
        self.check_length(items.len()).map_err(|fault| fault.at(array.offset))?;
        self.env.charge(items.len())?;
        Ok(found)
    }

    fn contains(&mut self, container: &Value, needle: &Value) -> Res<bool> {
        Ok(match container {
            Value::Array(array) => {
                let items = self.env.items(array);
                self.env.charge(items.len())?;
                items.iter().any(|item| strictly_equal(item, needle))
            }
            Value::String(text) => {
                let needle = self.env.text(needle)?;
                self.env.charge_bytes(text.byte_len())?;
                text.contains(&needle)
            }
            Value::Record(_) | Value::Safe(_) => {
                let key = self.env.text(needle)?;
                self.has_property(container, &key.to_lossy())
            }
            _ => return Err(Fault::evaluation("Membership requires an array, record, or string")),
        })
    }

    /// Whether an object has a property: in the older dialect those that every object has count.
    fn has_property(&self, object: &Value, name: &str) -> bool {
        let own = match object {
            Value::Record(record) => record.get(name).is_some(),
            _ => matches!(name, "val" | "length"),
        };
        let inherits = || methods::find(object, name, self.dialect(), false).is_some();
        own || (self.dialect() == Dialect::Nunjucks3 && inherits())
    }

    pub(super) fn is_comparison(&self, id: ExprId) -> bool {
        matches!(self.env.expr(id).kind, ExprKind::Binary { op, .. } if op.is_comparison())
    }
}

pub(super) fn calculate(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::Remainder => remainder(left, right),
        _ => raised(left, right),
    }
}

/// JavaScript's `%`.
#[inline]
fn remainder(left: f64, right: f64) -> f64 {
    // The remainder of small whole numbers needs no `fmod`. That of a negative one may be minus zero.
    const SMALL: f64 = 2_147_483_648.0;
    if left >= 0.0 && right >= 1.0 && left < SMALL && right < SMALL {
        let (whole_left, whole_right) = (left as u32, right as u32);
        if f64::from(whole_left) == left && f64::from(whole_right) == right && left.is_sign_positive() {
            return f64::from(whole_left % whole_right);
        }
    }
    left % right
}

/// The whole number below, for which not every processor has an instruction.
#[inline]
pub(super) fn floor(number: f64) -> f64 {
    let whole = f64::from(number as i32);
    // Neither a number that is too large nor minus zero, or one that may become it.
    if number >= 1.0 && (number - whole).abs() < 1.0 { whole } else { number.floor() }
}

/// A power, which is mostly a square.
#[inline]
fn raised(base: f64, exponent: f64) -> f64 {
    // The square of a whole number that has no more than 26 bits is exact.
    if exponent == 2.0 && base.abs() < 67_108_864.0 && f64::from(base as i32) == base {
        return base * base;
    }
    power(base, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_change_nothing() {
        let mut numbers =
            vec![0.0, -0.0, 1.0, -1.0, 2.0, 7.0, -7.0, 0.5, 1.5, -1.5, 1e10, 3e9, f64::NAN, f64::INFINITY];
        numbers.extend([2_147_483_646.5, 2_147_483_647.0, 2_147_483_647.5, 2_147_483_648.0, 2_147_483_648.5]);
        for &left in &numbers {
            assert!(floor(left).to_bits() == left.floor().to_bits() || left.is_nan(), "floor of {left}");
            assert_eq!(raised(left, 2.0).to_bits(), power(left, 2.0).to_bits(), "{left} ** 2");
            for &right in &numbers {
                let (short, long) = (remainder(left, right), left % right);
                assert!(short.to_bits() == long.to_bits() || (short.is_nan() && long.is_nan()), "{left} % {right}");
            }
        }
    }
}
