//! What evaluating an expression costs, where that can be told beforehand.

use super::Parser;
use crate::ast::{ExprId, ExprKind};
use crate::value::Value;

/// The work units and levels of an expression; no work at all stands for an unknown amount.
type Cost = (u16, u16);

const UNKNOWN: Cost = (0, 0);

impl Parser<'_> {
    /// The cost of an expression that only looks up and computes.
    pub(super) fn flat_cost(&self, kind: &ExprKind) -> Cost {
        match kind {
            ExprKind::Literal(Value::Regex(_)) => UNKNOWN,
            ExprKind::Literal(_) | ExprKind::Name(_) | ExprKind::Bound { .. } => (1, 1),
            ExprKind::Member { target, is_path: true, .. } => above(1, 1, &[self.cost_of(*target)]),
            ExprKind::Index { target, key, is_path: true, .. } => {
                above(1, 1, &[self.cost_of(*target), self.cost_of(*key)])
            }
            ExprKind::Group(items) => match &self.lists[items.start as usize..items.end as usize] {
                [only] => above(1, 1, &[self.cost_of(*only)]),
                _ => UNKNOWN,
            },
            ExprKind::Unary { operand, .. } => above(1, 1, &[self.cost_of(*operand)]),
            // At most: what a short circuit leaves out costs nothing.
            ExprKind::And(left, right) | ExprKind::Or(left, right) => {
                above(1, 1, &[self.cost_of(*left), self.cost_of(*right)])
            }
            ExprKind::InlineIf { condition, then, otherwise } => {
                let two = [self.cost_of(*condition), self.cost_of(*then)];
                match otherwise {
                    Some(otherwise) => above(1, 1, &[two[0], two[1], self.cost_of(*otherwise)]),
                    None => above(1, 1, &two),
                }
            }
            // Comparisons in a row are counted differently.
            ExprKind::Binary { op, left, .. } if op.is_comparison() && self.is_comparison(*left) => UNKNOWN,
            ExprKind::Binary { left, right, .. } => above(1, 2, &[self.cost_of(*left), self.cost_of(*right)]),
            ExprKind::In { needle, container, .. } => match self.exprs[container.0 as usize].kind {
                ExprKind::Array(items) => {
                    let items = &self.lists[items.start as usize..items.end as usize];
                    let is_literal = |item: &ExprId| matches!(&self.exprs[item.0 as usize].kind, ExprKind::Literal(value) if !matches!(value, Value::Regex(_)));
                    if items.len() > 1000 || !items.iter().all(is_literal) {
                        return UNKNOWN;
                    }
                    // The array, its elements, its making, and the search.
                    let array = (1 + 3 * items.len() as u16, 2);
                    above(1, 1, &[self.cost_of(*needle), array])
                }
                _ => UNKNOWN,
            },
            _ => UNKNOWN,
        }
    }

    fn cost_of(&self, id: ExprId) -> Cost {
        let expr = &self.exprs[id.0 as usize];
        (expr.cost, expr.height)
    }

    fn is_comparison(&self, id: ExprId) -> bool {
        matches!(self.exprs[id.0 as usize].kind, ExprKind::Binary { op, .. } if op.is_comparison())
    }

    /// Forgets what an expression costs, since it is being changed.
    pub(super) fn forget_cost(&mut self, id: ExprId) {
        let expr = &mut self.exprs[id.0 as usize];
        (expr.cost, expr.height) = UNKNOWN;
    }
}

/// The cost of an expression with these operands.
fn above(work: u16, levels: u16, operands: &[Cost]) -> Cost {
    let (mut total, mut height) = (work, 0);
    for (work, levels) in operands {
        if *work == 0 {
            return UNKNOWN;
        }
        let Some(sum) = total.checked_add(*work) else { return UNKNOWN };
        total = sum;
        height = height.max(*levels);
    }
    match levels.checked_add(height) {
        Some(height) => (total, height),
        None => UNKNOWN,
    }
}
