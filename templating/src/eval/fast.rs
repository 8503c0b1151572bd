//! The short way for expressions that only look up and compute.
//!
//! Such a *flat* expression has no side effects, and what it costs is known when it is parsed. If the budgets allow for
//! all of it, it is evaluated here without any accounting; whatever is out of the ordinary (a text where a number is
//! wanted, a function, a long text) ends the attempt, and then the evaluator proper starts over, with every charge and
//! every error in its place. So nothing here decides what an expression means.

use super::env::Env;
use super::operand::calculate;
use super::path::as_index;
use super::scope::{Found, Held};
use super::{Interp, Val, strictly_equal};
use crate::ast::{BinaryOp, Expr, ExprId, ExprKind, UnaryOp};
use crate::string::StrBuilder;
use crate::value::Value;

static UNDEFINED: Value = Value::Undefined;

impl<'t> Interp<'t> {
    /// Whether the budgets allow for all of a flat expression.
    #[inline]
    fn affords(&self, expr: &Expr, depth: u32) -> bool {
        expr.cost > 0 && self.env.affords(u32::from(expr.cost), depth + u32::from(expr.height))
    }

    /// Whether an expression counts as true, if that is quickly told.
    #[inline]
    pub(super) fn fast_truth(&self, expr: &'t Expr, depth: u32) -> Option<bool> {
        if !self.affords(expr, depth) {
            return None;
        }
        let holds = self.env.flat_truth(expr)?;
        self.env.spend(u32::from(expr.cost));
        Some(holds)
    }

    /// The value of an expression that is no path, if it is quickly told.
    #[inline]
    pub(super) fn fast_value(&mut self, expr: &'t Expr, depth: u32) -> Option<Val<'t>> {
        if !self.affords(expr, depth) {
            return None;
        }
        let value = match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Concat, .. } => {
                let outer = self.out.start_inner();
                let start = self.out.byte_len();
                let written = self.env.flat_text(expr, &mut self.out, start);
                let text = self.out.take_inner(outer);
                written?;
                Value::String(text)
            }
            ExprKind::Binary { op, .. } if op.is_comparison() => Value::Bool(self.env.flat_truth(expr)?),
            ExprKind::In { .. } | ExprKind::Unary { op: UnaryOp::Not, .. } => Value::Bool(self.env.flat_truth(expr)?),
            _ => Value::Number(self.env.flat_number(expr)?),
        };
        self.env.spend(u32::from(expr.cost));
        Some(Val::Own(value))
    }

    /// Writes the value of an expression, if it is quickly told; how many code units it has.
    #[inline]
    pub(super) fn fast_write(&mut self, expr: &'t Expr, depth: u32) -> Option<usize> {
        if !self.affords(expr, depth) {
            return None;
        }
        let start = self.out.byte_len();
        if self.env.flat_text(expr, &mut self.out, start).is_none() {
            self.out.truncate(start);
            return None;
        }
        self.env.spend(u32::from(expr.cost));
        // All of it is ASCII.
        Some(self.out.byte_len() - start)
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
            kind if kind.is_path() => match self.flat_place(expr) {
                Some(Value::String(text)) => push_ascii(text, out),
                Some(Value::Number(number)) => {
                    out.push_number(*number);
                    Some(())
                }
                Some(Value::Bool(holds)) => {
                    out.push_str(if *holds { "true" } else { "false" });
                    Some(())
                }
                Some(Value::Undefined | Value::Null) => Some(()),
                Some(_) => None,
                None => {
                    out.push_number(self.flat_number(expr)?);
                    Some(())
                }
            },
            _ => {
                out.push_number(self.flat_number(expr)?);
                Some(())
            }
        }
    }

    /// Appends an operand of `~`: unlike in the output, a missing value has a text there.
    fn flat_operand(&self, id: ExprId, out: &mut StrBuilder, start: usize) -> Option<()> {
        let expr = self.expr(id);
        match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Concat, .. } => self.flat_text(expr, out, start),
            kind if kind.is_path() => match self.flat_place(expr)? {
                Value::String(text) => push_ascii(text, out),
                Value::Number(number) => {
                    out.push_number(*number);
                    Some(())
                }
                _ => None,
            },
            _ => {
                out.push_number(self.flat_number(expr)?);
                Some(())
            }
        }
    }

    /// Where the value of a name or literal is.
    #[inline(always)]
    fn flat_leaf(&self, expr: &'t Expr) -> Option<&Value> {
        match &expr.kind {
            ExprKind::Bound { slot, .. } => match self.variable(*slot) {
                Held::Ref(value) => Some(value),
                Held::Own(value) => Some(value),
                Held::Loop(_) => None,
            },
            ExprKind::Name(variable) => match self.find(*variable) {
                Found::Variable(Held::Ref(value)) => Some(value),
                Found::Variable(Held::Own(value)) => Some(value),
                Found::Variable(Held::Loop(_)) => None,
                Found::Export(value) => Some(value),
                Found::Known(value) => Some(value),
            },
            ExprKind::Literal(value) => Some(value),
            _ => None,
        }
    }

    #[inline(always)]
    fn flat_target(&self, id: ExprId) -> Option<&Value> {
        let expr = self.expr(id);
        match &expr.kind {
            ExprKind::Bound { .. } => self.flat_leaf(expr),
            _ => self.flat_place(expr),
        }
    }

    /// Where the value of a path is, if it is somewhere.
    fn flat_place(&self, expr: &'t Expr) -> Option<&Value> {
        match &expr.kind {
            ExprKind::Name(_) | ExprKind::Bound { .. } | ExprKind::Literal(_) => self.flat_leaf(expr),
            ExprKind::Member { target, name, lookup, .. } => match self.flat_target(*target)? {
                Value::Record(record) => {
                    let hint = &self.hints[lookup.0 as usize];
                    let mut found = hint.get();
                    let value = found.get(record, || self.ast.name(*name));
                    hint.set(found);
                    value
                }
                Value::Undefined if self.is_plain => Some(&UNDEFINED),
                _ => None,
            },
            ExprKind::Index { target, key, lookup, .. } => {
                let target = self.flat_target(*target)?;
                match (target, self.flat_place(self.expr(*key))?) {
                    (Value::Array(array), Value::Number(number)) if !self.heap.has_changed() => {
                        array.get(as_index(*number)?)
                    }
                    (Value::Record(record), Value::String(key)) => {
                        let hint = &self.hints[lookup.0 as usize];
                        let mut found = hint.get();
                        let value = found.get_any(record, key);
                        hint.set(found);
                        value
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The value of an operand, if it is a number.
    #[inline(always)]
    fn flat_term(&self, id: ExprId) -> Option<f64> {
        let expr = self.expr(id);
        match &expr.kind {
            ExprKind::Literal(Value::Number(number)) => Some(*number),
            ExprKind::Name(_) | ExprKind::Bound { .. } => self.flat_leaf(expr)?.as_number(),
            _ => self.flat_number(expr),
        }
    }

    /// The value of a flat expression, if it is a number.
    fn flat_number(&self, expr: &'t Expr) -> Option<f64> {
        match &expr.kind {
            ExprKind::Literal(Value::Number(number)) => Some(*number),
            ExprKind::Binary { op, left, right } => {
                let left = self.flat_term(*left)?;
                let right = self.flat_term(*right)?;
                match op {
                    BinaryOp::Add => Some(left + right),
                    op if op.is_arithmetic() => Some(calculate(*op, left, right)),
                    _ => None,
                }
            }
            ExprKind::Group(items) => match self.ast.list(*items) {
                [only] => self.flat_number(self.expr(*only)),
                _ => None,
            },
            ExprKind::Unary { op, operand } => {
                let number = self.flat_number(self.expr(*operand))?;
                match op {
                    UnaryOp::Negate => Some(-number),
                    UnaryOp::Plus => Some(number),
                    UnaryOp::Floor => Some(number.floor()),
                    UnaryOp::Not => None,
                }
            }
            ExprKind::Member { target, field: Some(field), .. } => {
                if let ExprKind::Name(variable) = &self.expr(*target).kind
                    && let Found::Variable(Held::Loop(number)) = self.find(*variable)
                {
                    return match self.loops[*number].field(*field) {
                        Value::Number(number) => Some(number),
                        _ => None,
                    };
                }
                self.flat_place(expr)?.as_number()
            }
            _ => self.flat_place(expr)?.as_number(),
        }
    }

    fn flat_truth(&self, expr: &'t Expr) -> Option<bool> {
        match &expr.kind {
            ExprKind::Binary { op, left, right } if op.is_comparison() => {
                let (left, right) = (self.expr(*left), self.expr(*right));
                if op.is_equality()
                    && let Some(Value::String(left)) = self.flat_place(left)
                    && let Some(Value::String(right)) = self.flat_place(right)
                {
                    let is_equal = left == right;
                    return Some(is_equal != matches!(op, BinaryOp::NotEqual | BinaryOp::StrictNotEqual));
                }
                let (left, right) = (self.flat_number(left)?, self.flat_number(right)?);
                Some(match op {
                    BinaryOp::Equal | BinaryOp::StrictEqual => left == right,
                    BinaryOp::NotEqual | BinaryOp::StrictNotEqual => left != right,
                    BinaryOp::Less => left < right,
                    BinaryOp::LessOrEqual => left <= right,
                    BinaryOp::Greater => left > right,
                    _ => left >= right,
                })
            }
            ExprKind::Unary { op: UnaryOp::Not, operand } => Some(!self.flat_truth(self.expr(*operand))?),
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
            kind if kind.is_path() => self.flat_place(expr).map(Value::is_truthy),
            _ => None,
        }
    }
}

#[inline]
fn push_ascii(text: &crate::string::Str, out: &mut StrBuilder) -> Option<()> {
    text.as_ascii()?;
    out.push(text);
    Some(())
}
