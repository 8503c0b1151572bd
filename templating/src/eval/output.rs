//! The text being written.

use super::Interp;
use crate::ast::{BinaryOp, Expr, ExprId, ExprKind, Span};
use crate::error::{Fault, Phase, Res};
use crate::limits::LimitKind;
use crate::string::Str;
use crate::value::Value;

impl<'t> Interp<'t> {
    /// Counts what has been written.
    #[inline]
    pub(super) fn count_written(&mut self, units: usize) -> Res<()> {
        match self.unwritten.checked_sub(units as u64) {
            Some(left) => {
                self.unwritten = left;
                Ok(())
            }
            None => Err(self.too_much_output(units)),
        }
    }

    #[cold]
    fn too_much_output(&self, units: usize) -> Box<Fault> {
        let limit = self.env.settings.limits.output_code_units;
        let written = (limit - self.unwritten).saturating_add(units as u64);
        Fault::limit(Phase::Rendering, LimitKind::OutputCodeUnits, limit, written)
    }

    /// Writes literal text.
    #[inline]
    pub(super) fn write_span(&mut self, span: Span, units: u32) -> Res<()> {
        self.out.push_part(&self.env.ast.source, span.start as usize, span.end as usize);
        self.count_written(units as usize)
    }

    #[inline]
    pub(super) fn write_value(&mut self, value: &Value) -> Res<()> {
        let units = self.env.write_text(value, &mut self.out)?;
        self.count_written(units)
    }

    /// Writes the value of an expression, if possible from where it is.
    pub(super) fn write_expr(&mut self, expr: &'t Expr, depth: u32) -> Res<()> {
        if let Some(units) = self.fast_write(expr, depth) {
            return self.count_written(units);
        }
        match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Concat, left, right } => {
                let start = self.out.byte_len();
                self.append_concat(expr.offset, *left, *right, start, depth)?;
                let units = self.out.units_since(start);
                self.count_written(units)
            }
            ExprKind::Call(call) => {
                let depth = depth + 3;
                self.env.enter(depth, expr.offset)?;
                self.write_call(call, expr.offset, depth)
            }
            kind if kind.is_path() => {
                let value = self.env.path_of(expr, depth)?;
                let units = self.env.write_text(&value, &mut self.out)?;
                self.count_written(units)
            }
            _ => {
                let value = self.eval_slowly(expr, depth)?;
                self.write_value(&value)
            }
        }
    }

    /// `left ~ right` as a string.
    pub(super) fn eval_concat(&mut self, offset: u32, left: ExprId, right: ExprId, depth: u32) -> Res<Str> {
        let outer = self.out.start_inner();
        let start = self.out.byte_len();
        self.append_concat(offset, left, right, start, depth)?;
        Ok(self.out.take_inner(outer))
    }

    /// Appends `left ~ right` to the text; `start` is where the whole chain of them starts.
    fn append_concat(&mut self, offset: u32, left: ExprId, right: ExprId, start: usize, depth: u32) -> Res<()> {
        let depth = depth + 2;
        self.env.check_depth(depth).map_err(|fault| fault.at(offset))?;
        let inner = self.env.expr(left);
        let left = match &inner.kind {
            ExprKind::Binary { op: BinaryOp::Concat, left, right } => {
                self.append_concat(inner.offset, *left, *right, start, depth)?;
                None
            }
            _ => Some(self.eval(left, depth)?),
        };
        self.env.charge(1).map_err(|fault| fault.at(offset))?;
        let right_expr = self.env.expr(right);
        if left.is_none() && right_expr.kind.is_path() {
            let right = self.env.path(right, depth)?;
            self.env.append_text(&right, &mut self.out).map_err(|fault| fault.at(offset))?;
        } else {
            let right = self.eval(right, depth)?;
            if let Some(left) = left {
                self.env.append_text(&left, &mut self.out).map_err(|fault| fault.at(offset))?;
            }
            self.env.append_text(&right, &mut self.out).map_err(|fault| fault.at(offset))?;
        }
        self.env.charge_bytes(self.out.byte_len() - start).map_err(|fault| fault.at(offset))
    }

    /// What `run` writes, as a string instead of output.
    pub(super) fn capture(&mut self, run: impl FnOnce(&mut Self) -> Res<()>) -> Res<Str> {
        let outer = self.out.start_inner();
        run(self)?;
        Ok(self.out.take_inner(outer))
    }
}
