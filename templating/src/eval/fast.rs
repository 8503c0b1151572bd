//! The short way for expressions that only look up and compute.
//!
//! Such a *flat* expression has no side effects, and what it costs at most is known when it is parsed. If the budgets
//! allow for all of it, it is paid for at once and evaluated here without any accounting; what a short circuit leaves out
//! is given back. Whatever is out of the ordinary (a text where a number is wanted, a function, a long text) ends the
//! attempt, and then the evaluator proper starts over, with every charge and every error in its place. So nothing here
//! decides what an expression means.

use super::env::{Env, Turn};
use super::operand::{calculate, floor};
use super::scope::Held;
use super::{Interp, Val, strictly_equal};
use crate::ast::{Assigned, BinaryOp, Expr, ExprId, ExprKind, LoopField, UnaryOp};
use crate::string::{Str, StrBuilder};
use crate::value::Value;

static UNDEFINED: Value = Value::Undefined;
static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);
static EMPTY: Value = Value::String(Str::EMPTY);

/// What a flat expression gives, in two registers. A processor that is to read as one piece what it has just written in
/// several waits until all of it has reached the memory; so a new [`Value`] is written where it stays, and not moved.
#[derive(Clone, Copy)]
enum Quick<'a> {
    Place(&'a Value),
    /// The bits of a number.
    Number(u64),
}

impl<'a> Quick<'a> {
    fn number(number: f64) -> Self {
        Self::Number(number.to_bits())
    }

    fn truth(holds: bool) -> Self {
        Self::Place(if holds { &TRUE } else { &FALSE })
    }

    fn is_truthy(self) -> bool {
        match self {
            Self::Place(value) => value.is_truthy(),
            Self::Number(bits) => Value::Number(f64::from_bits(bits)).is_truthy(),
        }
    }

    #[inline]
    fn push_to(self, out: &mut StrBuilder) -> Option<()> {
        match self {
            Self::Place(value) => push_output(value, out),
            Self::Number(bits) => push_number(f64::from_bits(bits), out),
        }
    }
}

impl<'t> Interp<'t> {
    /// Runs the short way with a flat expression that the budgets allow for.
    #[inline(always)]
    fn quickly<R>(&mut self, expr: &'t Expr, depth: u32, run: impl FnOnce(&mut Self) -> Option<R>) -> Option<R> {
        if expr.cost == 0 {
            return None;
        }
        let before = self.env.prepay(u32::from(expr.cost), depth + u32::from(expr.height))?;
        let result = run(self);
        if result.is_none() {
            self.env.take_back(before);
        }
        result
    }

    /// Whether an expression counts as true, if that is quickly told.
    #[inline]
    pub(super) fn fast_truth(&mut self, expr: &'t Expr, depth: u32) -> Option<bool> {
        self.quickly(expr, depth, |interp| interp.env.flat_truth(expr))
    }

    /// The value of an expression that is no path, if it is quickly told.
    #[inline]
    pub(super) fn fast_value(&mut self, expr: &'t Expr, depth: u32) -> Option<Val<'t>> {
        self.quickly(expr, depth, |interp| match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Concat, .. } => {
                let outer = interp.out.start_inner();
                let start = interp.out.byte_len();
                let written = interp.env.flat_text(expr, &mut interp.out, start);
                let text = interp.out.take_inner(outer);
                written.map(|()| Val::Own(Value::String(text)))
            }
            _ => interp.env.flat_value(expr).map(|value| match value {
                Quick::Place(value) => Val::Own(value.clone()),
                Quick::Number(bits) => Val::Own(Value::Number(f64::from_bits(bits))),
            }),
        })
    }

    /// Gives a name the value of an expression that is neither a path nor a text, if it is quickly told.
    #[inline]
    pub(super) fn fast_assign(&mut self, name: Assigned, expr: &'t Expr, depth: u32) -> Option<()> {
        self.quickly(expr, depth, |interp| {
            match interp.env.flat_value(expr)? {
                Quick::Number(bits) => interp.env.assign_with(name, || Value::Number(f64::from_bits(bits))),
                Quick::Place(&Value::Bool(holds)) => interp.env.assign_with(name, || Value::Bool(holds)),
                Quick::Place(value) => {
                    let value = value.clone();
                    interp.env.assign(name, Val::Own(value));
                }
            }
            Some(())
        })
    }

    /// The whole interpolation of a name that stands for a text or a number; how many code units that is.
    #[inline(always)]
    pub(super) fn output_variable(&mut self, expr: &'t Expr, depth: u32) -> Option<usize> {
        let value = match &expr.kind {
            ExprKind::Name(variable) => self.env.value_of(*variable)?,
            ExprKind::Bound { slot, .. } => self.env.variable(*slot).value()?,
            _ => return None,
        };
        match value {
            Value::String(text) => {
                self.env.prepay(2, depth + 2)?;
                self.out.push(text);
                Some(text.len())
            }
            Value::Number(number) => {
                self.env.prepay(2, depth + 2)?;
                Some(self.out.push_number(*number))
            }
            _ => None,
        }
    }

    /// Writes the value of an expression, if it is quickly told; how many code units it has.
    #[inline]
    pub(super) fn fast_write(&mut self, expr: &'t Expr, depth: u32) -> Option<usize> {
        self.quickly(expr, depth, |interp| {
            let start = interp.out.byte_len();
            if interp.env.flat_text(expr, &mut interp.out, start).is_none() {
                interp.out.truncate(start);
                return None;
            }
            // All of it is ASCII.
            Some(interp.out.byte_len() - start)
        })
    }
}

impl<'t> Env<'t> {
    /// Appends the text of a flat expression, if it is a short one of ASCII. `start` is where the text started that it
    /// is part of.
    fn flat_text(&self, expr: &'t Expr, out: &mut StrBuilder, start: usize) -> Option<()> {
        match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Concat, left, right } => {
                self.flat_operand(*left, out, start)?;
                self.flat_operand(*right, out, start)?;
                (out.byte_len() - start <= self.free_bytes).then_some(())
            }
            ExprKind::Member { field: Some(_), .. } => match self.flat_field(expr) {
                Some(number) => push_number(number, out),
                None => push_output(self.flat_place(expr)?, out),
            },
            kind if kind.is_path() => push_output(self.flat_place(expr)?, out),
            ExprKind::And(..) | ExprKind::Or(..) | ExprKind::InlineIf { .. } => self.flat_value(expr)?.push_to(out),
            _ => push_number(self.flat_number(expr)?, out),
        }
    }

    /// Appends an operand of `~`: unlike in the output, a missing value has a text there.
    fn flat_operand(&self, id: ExprId, out: &mut StrBuilder, start: usize) -> Option<()> {
        let expr = self.expr(id);
        match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Concat, .. } => self.flat_text(expr, out, start),
            kind if kind.is_path() => match self.flat_place(expr)? {
                Value::String(text) => push_ascii(text, out),
                Value::Number(number) => push_number(*number, out),
                _ => None,
            },
            _ => push_number(self.flat_number(expr)?, out),
        }
    }

    /// The value of a flat expression that is no `~`.
    fn flat_value(&self, expr: &'t Expr) -> Option<Quick<'_>> {
        match &expr.kind {
            ExprKind::Binary { op, .. } if op.is_comparison() => self.flat_truth(expr).map(Quick::truth),
            ExprKind::In { .. } | ExprKind::Unary { op: UnaryOp::Not, .. } => self.flat_truth(expr).map(Quick::truth),
            ExprKind::And(left, right) => {
                let (left, right) = (self.flat_value(self.expr(*left))?, self.expr(*right));
                if left.is_truthy() {
                    return self.flat_value(right);
                }
                self.refund(right);
                Some(left)
            }
            ExprKind::Or(left, right) => {
                let (left, right) = (self.flat_value(self.expr(*left))?, self.expr(*right));
                if !left.is_truthy() {
                    return self.flat_value(right);
                }
                self.refund(right);
                Some(left)
            }
            ExprKind::InlineIf { condition, then, otherwise } => {
                let holds = self.flat_truth(self.expr(*condition))?;
                let (then, otherwise) = (self.expr(*then), otherwise.map(|id| self.expr(id)));
                if holds {
                    otherwise.into_iter().for_each(|otherwise| self.refund(otherwise));
                    return self.flat_value(then);
                }
                self.refund(then);
                otherwise.map_or(Some(Quick::Place(&EMPTY)), |otherwise| self.flat_value(otherwise))
            }
            ExprKind::Group(items) => match self.ast.list(*items) {
                [only] => self.flat_value(self.expr(*only)),
                _ => None,
            },
            ExprKind::Member { field: Some(_), .. } => match self.flat_turn(expr) {
                Some((turn, field)) => Some(match field {
                    LoopField::First | LoopField::Last => Quick::truth(turn.field(field).is_truthy()),
                    LoopField::Length => Quick::Place(&turn.own_length),
                    field => Quick::number(turn.number(field)?),
                }),
                None => self.flat_place(expr).map(Quick::Place),
            },
            ExprKind::Member { .. } | ExprKind::Index { .. } => self.flat_place(expr).map(Quick::Place),
            ExprKind::Name(_) | ExprKind::Bound { .. } | ExprKind::Literal(_) => self.flat_leaf(expr).map(Quick::Place),
            _ => self.flat_number(expr).map(Quick::number),
        }
    }

    /// Gives back what a part of an expression would have cost.
    #[inline]
    fn refund(&self, part: &Expr) {
        self.unspend(u32::from(part.cost));
    }

    /// Where the value of a name or literal is.
    #[inline(always)]
    fn flat_leaf(&self, expr: &'t Expr) -> Option<&Value> {
        match &expr.kind {
            ExprKind::Bound { slot, .. } => self.variable(*slot).value(),
            ExprKind::Name(variable) => self.value_of(*variable),
            ExprKind::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// Where the value of what something is looked up in is.
    #[inline(always)]
    fn flat_target(&self, id: ExprId) -> Option<&Value> {
        let expr = self.expr(id);
        match &expr.kind {
            ExprKind::Bound { slot, .. } => self.variable(*slot).value(),
            ExprKind::Name(variable) => self.value_of(*variable),
            _ => self.flat_place(expr),
        }
    }

    /// Where the value of a path is, if it is somewhere.
    fn flat_place(&self, expr: &'t Expr) -> Option<&Value> {
        match &expr.kind {
            ExprKind::Member { target, name, lookup, .. } => match self.flat_target(*target)? {
                Value::Record(record) => match self.record_member(record, *name, *lookup) {
                    None if self.is_plain => Some(&UNDEFINED),
                    value => value,
                },
                Value::Undefined if self.is_plain => Some(&UNDEFINED),
                _ => None,
            },
            ExprKind::Index { target, key, lookup, .. } => {
                let target = self.flat_target(*target)?;
                let key = self.expr(*key);
                let key = match self.flat_leaf(key) {
                    Some(key) => key,
                    None => self.flat_place(key)?,
                };
                self.index_ref(target, key, *lookup)
            }
            _ => self.flat_leaf(expr),
        }
    }

    /// The field of a turn that a look-up asks for, if it is a number.
    #[inline]
    fn flat_field(&self, expr: &'t Expr) -> Option<f64> {
        let (turn, field) = self.flat_turn(expr)?;
        turn.number(field)
    }

    /// The turn that a look-up asks about, and what of it.
    #[inline]
    fn flat_turn(&self, expr: &'t Expr) -> Option<(&Turn, LoopField)> {
        let ExprKind::Member { target, field: Some(field), .. } = &expr.kind else { return None };
        let ExprKind::Name(variable) = &self.expr(*target).kind else { return None };
        let Held::Loop(number) = self.held(*variable)? else { return None };
        Some((&self.loops[*number], *field))
    }

    /// The value of an operand, if it is a number.
    #[inline(always)]
    fn flat_term(&self, id: ExprId) -> Option<f64> {
        let expr = self.expr(id);
        match &expr.kind {
            ExprKind::Literal(Value::Number(number)) => Some(*number),
            ExprKind::Name(variable) => self.value_of(*variable)?.as_number(),
            ExprKind::Bound { slot, .. } => self.variable(*slot).value()?.as_number(),
            _ => self.flat_number(expr),
        }
    }

    /// The value of a flat expression, if it is a number.
    fn flat_number(&self, expr: &'t Expr) -> Option<f64> {
        match &expr.kind {
            ExprKind::Binary { op, left, right } => {
                let left = self.flat_term(*left)?;
                let right = self.flat_term(*right)?;
                match op {
                    BinaryOp::Add => Some(left + right),
                    BinaryOp::Multiply => Some(left * right),
                    BinaryOp::Subtract => Some(left - right),
                    BinaryOp::Divide => Some(left / right),
                    BinaryOp::Remainder | BinaryOp::Power => Some(calculate(*op, left, right)),
                    _ => None,
                }
            }
            ExprKind::Group(items) => match self.ast.list(*items) {
                [only] => self.flat_number(self.expr(*only)),
                _ => None,
            },
            ExprKind::Unary { op, operand } => {
                let number = self.flat_term(*operand)?;
                match op {
                    UnaryOp::Negate => Some(-number),
                    UnaryOp::Plus => Some(number),
                    UnaryOp::Floor => Some(floor(number)),
                    UnaryOp::Not => None,
                }
            }
            ExprKind::Member { field: Some(_), .. } => match self.flat_field(expr) {
                Some(number) => Some(number),
                None => self.flat_place(expr)?.as_number(),
            },
            _ => self.flat_place(expr)?.as_number(),
        }
    }

    fn flat_truth(&self, expr: &'t Expr) -> Option<bool> {
        match &expr.kind {
            ExprKind::Binary { op, left, right } if op.is_comparison() => self.flat_comparison(*op, *left, *right),
            ExprKind::Unary { op: UnaryOp::Not, operand } => Some(!self.flat_truth(self.expr(*operand))?),
            ExprKind::And(left, right) => {
                if self.flat_truth(self.expr(*left))? {
                    return self.flat_truth(self.expr(*right));
                }
                self.refund(self.expr(*right));
                Some(false)
            }
            ExprKind::Or(left, right) => {
                if !self.flat_truth(self.expr(*left))? {
                    return self.flat_truth(self.expr(*right));
                }
                self.refund(self.expr(*right));
                Some(true)
            }
            ExprKind::Group(items) => match self.ast.list(*items) {
                [only] => self.flat_truth(self.expr(*only)),
                _ => None,
            },
            ExprKind::In { negated, needle, container } => {
                let needle = self.flat_place(self.expr(*needle))?;
                let ExprKind::Array(items) = self.expr(*container).kind else { return None };
                let is_it = |item: &ExprId| match &self.expr(*item).kind {
                    ExprKind::Literal(value) => strictly_equal(value, needle),
                    _ => false,
                };
                Some(self.ast.list(items).iter().any(is_it) != *negated)
            }
            ExprKind::Member { field: Some(_), .. } => match self.flat_turn(expr) {
                Some((turn, field)) => Some(turn.field(field).is_truthy()),
                None => self.flat_place(expr).map(Value::is_truthy),
            },
            ExprKind::InlineIf { .. } => self.flat_value(expr).map(|value| value.is_truthy()),
            kind if kind.is_path() => self.flat_place(expr).map(Value::is_truthy),
            _ => None,
        }
    }

    fn flat_comparison(&self, op: BinaryOp, left: ExprId, right: ExprId) -> Option<bool> {
        if op.is_equality()
            && let Some(Value::String(left)) = self.flat_place(self.expr(left))
            && let Some(Value::String(right)) = self.flat_place(self.expr(right))
        {
            return Some((left == right) != matches!(op, BinaryOp::NotEqual | BinaryOp::StrictNotEqual));
        }
        let (left, right) = (self.flat_term(left)?, self.flat_term(right)?);
        Some(match op {
            BinaryOp::Equal | BinaryOp::StrictEqual => left == right,
            BinaryOp::NotEqual | BinaryOp::StrictNotEqual => left != right,
            BinaryOp::Less => left < right,
            BinaryOp::LessOrEqual => left <= right,
            BinaryOp::Greater => left > right,
            _ => left >= right,
        })
    }
}

/// Appends a value as an interpolation writes it.
#[inline]
fn push_output(value: &Value, out: &mut StrBuilder) -> Option<()> {
    match value {
        Value::String(text) => push_ascii(text, out),
        Value::Number(number) => push_number(*number, out),
        Value::Bool(holds) => {
            out.push_str(if *holds { "true" } else { "false" });
            Some(())
        }
        Value::Undefined | Value::Null => Some(()),
        _ => None,
    }
}

#[inline]
fn push_number(number: f64, out: &mut StrBuilder) -> Option<()> {
    out.push_number(number);
    Some(())
}

#[inline]
fn push_ascii(text: &Str, out: &mut StrBuilder) -> Option<()> {
    text.as_ascii()?;
    out.push(text);
    Some(())
}
