//! Expressions.

use std::cmp::Ordering;

use indexmap::IndexMap;

use super::not_text;
use super::path::into_value;
use super::{Interp, Val};
use crate::ast::{BinaryOp, Dict, Expr, ExprId, ExprKind, Slice, UnaryOp};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::value::Value;

impl<'t> Interp<'t> {
    pub(super) fn eval(&mut self, id: ExprId, depth: u32) -> Res<Val<'t>> {
        self.eval_expr(self.env.expr(id), depth)
    }

    #[inline]
    fn eval_expr(&mut self, expr: &'t Expr, depth: u32) -> Res<Val<'t>> {
        if expr.cost > 1
            && !expr.kind.is_path()
            && let Some(value) = self.fast_value(expr, depth)
        {
            return Ok(value);
        }
        self.eval_slowly(expr, depth)
    }

    /// The value of an expression that is not quickly told.
    pub(super) fn eval_slowly(&mut self, expr: &'t Expr, depth: u32) -> Res<Val<'t>> {
        let levels = match &expr.kind {
            kind if kind.is_path() => return Ok(self.env.path_of(expr, depth)?.into_val()),
            ExprKind::Binary { op, left, right } => {
                return self.eval_binary(expr, *op, *left, *right, depth);
            }
            ExprKind::Unary { op: op @ (UnaryOp::Floor | UnaryOp::Negate | UnaryOp::Plus), operand } => {
                return self.signed(expr, *op, *operand, depth).map(|number| Val::Own(Value::Number(number)));
            }
            ExprKind::Filter(_) | ExprKind::Call(_) => 3,
            ExprKind::Test(_) => 2,
            _ => 1,
        };
        let depth = depth + levels;
        self.env.enter(depth, expr.offset)?;
        self.eval_kind(expr, depth).map_err(|fault| fault.at(expr.offset))
    }

    // The arms are calls, because this function's frame is on the stack once for every level of nesting.
    fn eval_kind(&mut self, expr: &'t Expr, depth: u32) -> Res<Val<'t>> {
        match &expr.kind {
            ExprKind::Array(items) => self.eval_array(self.env.ast.list(*items), depth),
            ExprKind::Dict(dict) => self.eval_dict(dict, depth),
            ExprKind::Group(items) => self.eval_group(self.env.ast.list(*items), depth),
            ExprKind::Member { target, name, .. } => {
                let target = self.eval(*target, depth)?;
                Ok(Val::Own(self.env.member_value(&target, self.env.ast.name(*name))))
            }
            ExprKind::Index { target, key, .. } => self.eval_index(*target, *key, depth),
            ExprKind::Slice(slice) => self.eval_slice(slice, depth),
            ExprKind::Call(call) => self.eval_call(call, depth).map(Val::Own),
            ExprKind::Filter(call) => self.eval_filter(call, depth).map(Val::Own),
            ExprKind::Test(call) => self.eval_test(call, depth).map(|holds| Val::Own(Value::Bool(holds))),
            // The other unary operators give numbers, and `eval` does those itself.
            ExprKind::Unary { operand, .. } => {
                let holds = self.truth(*operand, depth)?;
                Ok(Val::Own(Value::Bool(!holds)))
            }
            ExprKind::In { negated, needle, container } => {
                let found = self.is_in(*needle, *container, depth)?;
                Ok(Val::Own(Value::Bool(found != *negated)))
            }
            ExprKind::And(left, right) => {
                let left = self.eval(*left, depth)?;
                if left.is_truthy() { self.eval(*right, depth) } else { Ok(left) }
            }
            ExprKind::Or(left, right) => {
                let left = self.eval(*left, depth)?;
                if left.is_truthy() { Ok(left) } else { self.eval(*right, depth) }
            }
            ExprKind::InlineIf { condition, then, otherwise } => {
                if self.truth(*condition, depth)? {
                    return self.eval(*then, depth);
                }
                match otherwise {
                    Some(otherwise) => self.eval(*otherwise, depth),
                    None => Ok(Val::Own(Value::string(""))),
                }
            }
            // `eval` does these itself.
            ExprKind::Literal(_) | ExprKind::Name(_) | ExprKind::Bound { .. } | ExprKind::Binary { .. } => {
                Ok(Val::Own(Value::Undefined))
            }
        }
    }

    fn eval_array(&mut self, items: &'t [ExprId], depth: u32) -> Res<Val<'t>> {
        let mut values = Vec::with_capacity(items.len());
        for id in items {
            values.push(self.eval(*id, depth)?.into_owned());
        }
        self.array(values).map(Val::Own)
    }

    fn eval_dict(&mut self, dict: &'t Dict, depth: u32) -> Res<Val<'t>> {
        let mut values = Vec::with_capacity(dict.values.len());
        for id in &dict.values {
            values.push(self.eval(*id, depth)?.into_owned());
        }
        match &dict.shape {
            Some(shape) => self.shaped(shape.clone(), values),
            None => {
                let entries: IndexMap<_, _> = dict.keys.iter().cloned().zip(values).collect();
                self.record(entries)
            }
        }
        .map(Val::Own)
    }

    fn eval_group(&mut self, items: &'t [ExprId], depth: u32) -> Res<Val<'t>> {
        let mut last = Val::Own(Value::Undefined);
        for (index, id) in items.iter().enumerate() {
            last = self.eval(*id, depth)?;
            if index + 1 < items.len() && self.dialect() == Dialect::Nunjitsu && last.has_functions() {
                return Err(not_text());
            }
        }
        Ok(last)
    }

    fn eval_index(&mut self, target: ExprId, key: ExprId, depth: u32) -> Res<Val<'t>> {
        let target = self.eval(target, depth)?;
        let key = self.eval(key, depth)?;
        let member = self.env.index(&target, &key)?;
        Ok(Val::Own(into_value(&target, member)))
    }

    fn eval_binary(&mut self, expr: &'t Expr, op: BinaryOp, left: ExprId, right: ExprId, depth: u32) -> Res<Val<'t>> {
        let offset = expr.offset;
        Ok(Val::Own(match op {
            BinaryOp::Add => return self.eval_add(offset, left, right, depth),
            BinaryOp::Concat => Value::String(self.eval_concat(offset, left, right, depth)?),
            op if op.is_arithmetic() => Value::Number(self.arithmetic(offset, op, left, right, depth)?),
            _ if self.is_comparison(left) => Value::Bool(self.comparisons(expr, depth)?),
            op => Value::Bool(self.comparison(offset, op, left, right, depth)?),
        }))
    }

    /// Comparisons in a row, `a < b < c`, without recursion. They are one level, however many they are.
    fn comparisons(&mut self, expr: &'t Expr, depth: u32) -> Res<bool> {
        let mut chain = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary { op, left, right } = &first.kind
            && op.is_comparison()
            && self.is_comparison(*left)
        {
            chain.push((*op, *right, first.offset));
            first = self.env.expr(*left);
        }
        let mut holds = self.eval_expr(first, depth)?;
        for (op, right, offset) in chain.into_iter().rev() {
            self.env.charge(1).map_err(|fault| fault.at(offset))?;
            let right = self.eval(right, depth)?;
            let result = self.compare_values(op, &holds, &right).map_err(|fault| fault.at(offset))?;
            holds = Val::Own(Value::Bool(result));
        }
        Ok(holds.is_truthy())
    }

    fn eval_slice(&mut self, slice: &'t Slice, depth: u32) -> Res<Val<'t>> {
        let target = self.eval(slice.target, depth)?;
        let mut bound = |id: Option<ExprId>| match id {
            None => Ok(None),
            Some(id) => self.eval(id, depth).map(Some),
        };
        let (start, stop, step) = (bound(slice.start)?, bound(slice.stop)?, bound(slice.step)?);
        self.slice(&target, start.as_deref(), stop.as_deref(), step.as_deref()).map(Val::Own)
    }

    /// Python's slices, the way Nunjucks' compatibility layer cuts them: always into an array, and without a look at
    /// what is cut. Something without a length has no end; then the budget ends the walk.
    fn slice(
        &mut self,
        target: &Value,
        start: Option<&Value>,
        stop: Option<&Value>,
        step: Option<&Value>,
    ) -> Res<Value> {
        if matches!(target, Value::Function(_)) {
            return Err(Fault::evaluation("Callable values cannot be sliced"));
        }
        let nothing = Value::array(Vec::new());
        let target = if target.is_truthy() { target } else { &nothing };
        let zero = Value::Number(0.0);
        let length = self.get(target, &Value::string("length"))?;
        let step = step.cloned().unwrap_or(Value::Number(1.0));
        let number = self.number(&step)?;
        if !number.is_finite() || number == 0.0 {
            return Err(Fault::evaluation("Slice step must have finite non-zero numeric coercion"));
        }
        let backwards = number < 0.0;
        // The bounds are added to and compared as they are: a text stays one.
        let mut at = match start {
            None | Some(Value::Null) if backwards => Value::Number(self.number(&length)? - 1.0),
            None | Some(Value::Null) => zero.clone(),
            Some(start) => start.clone(),
        };
        let stop = match stop {
            None | Some(Value::Null) if backwards => Value::Number(-1.0),
            None | Some(Value::Null) => length.clone(),
            Some(stop) if self.compare(stop, &zero)? == Some(Ordering::Less) => self.add(stop, &length)?,
            Some(stop) => stop.clone(),
        };
        if self.compare(&at, &zero)? == Some(Ordering::Less) {
            at = self.add(&at, &length)?;
        }
        let mut taken = Vec::new();
        loop {
            let is_outside = self.compare(&at, &zero)? == Some(Ordering::Less)
                || self.compare(&at, &length)? == Some(Ordering::Greater);
            let is_past = match self.compare(&at, &stop)? {
                Some(Ordering::Less) => backwards,
                Some(Ordering::Equal) => true,
                Some(Ordering::Greater) => !backwards,
                None => false,
            };
            if is_outside || is_past {
                break;
            }
            // A turn compares and adds several times.
            self.charge(2)?;
            taken.push(self.get(target, &at)?);
            at = self.add(&at, &step)?;
        }
        self.array(taken)
    }
}
