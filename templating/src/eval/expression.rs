//! Expressions.

use std::cmp::Ordering;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Interp;
use super::convert::strictly_equal;
use crate::ast::{BinaryOp, Expr, ExprId, ExprKind, Slice, UnaryOp};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::filters::FilterRef;
use crate::function::{Callable, Kind};
use crate::methods::{self, Method};
use crate::number::power;
use crate::regex::Regex;
use crate::string::Str;
use crate::value::{Value, is_reserved};

/// What a look-up gives: methods are not made into values when they are called at once.
pub(super) enum Found {
    Value(Value),
    Method(Method),
}

impl<'t> Interp<'t> {
    pub(super) fn eval(&mut self, id: ExprId) -> Res<Value> {
        let expr = self.ast.expr(id);
        let levels = match expr.kind {
            ExprKind::Binary { .. } => return self.eval_chain(id),
            ExprKind::Filter { .. } | ExprKind::Call { .. } => 3,
            ExprKind::Test { .. } => 2,
            _ => 1,
        };
        let result = self.enter(levels).and_then(|()| self.charge(1)).and_then(|()| self.eval_kind(expr));
        self.leave(levels);
        result.map_err(|fault| fault.at(expr.offset))
    }

    // The arms are calls, because this function's frame is on the stack once for every level of nesting.
    fn eval_kind(&mut self, expr: &'t Expr) -> Res<Value> {
        match &expr.kind {
            ExprKind::Literal(Value::Regex(regex)) if regex.remembers() => {
                Ok(Value::Regex(Arc::new(Regex::clone(regex))))
            }
            ExprKind::Literal(value) => Ok(value.clone()),
            ExprKind::Name(name) => Ok(self.lookup(name)),
            ExprKind::Bound { slot, .. } => Ok(self.frame.get(*slot)),
            ExprKind::Array(items) => self.eval_array(items),
            ExprKind::Dict(entries) => self.eval_dict(entries),
            ExprKind::Group(items) => self.eval_group(items),
            ExprKind::Member { target, name } => self.eval_member(*target, name),
            ExprKind::Index { target, key } => self.eval_index(*target, *key),
            ExprKind::Slice(slice) => self.eval_slice(slice),
            ExprKind::Call { callee, arguments } => self.eval_call(*callee, arguments),
            ExprKind::Filter { filter: FilterRef::Unknown(unknown), .. } => Err(unknown.fault()),
            ExprKind::Filter { filter, input, arguments } => {
                let input = self.eval(*input)?;
                let arguments = self.arguments(arguments)?;
                self.apply_filter(filter, input, arguments)
            }
            ExprKind::Test { test, negated, input, arguments } => {
                let test = self.test(test, arguments)?;
                let input = self.eval(*input)?;
                let arguments = self.arguments(arguments)?;
                self.apply_test(test, input, arguments).map(|holds| Value::Bool(holds != *negated))
            }
            ExprKind::Unary { op, operand } => self.eval_unary(*op, *operand),
            // `eval` does these itself.
            ExprKind::Binary { op, left, right } => {
                let left = self.eval(*left)?;
                let right = self.eval(*right)?;
                self.binary(*op, &left, &right)
            }
            ExprKind::In { negated, needle, container } => self.eval_in(*negated, *needle, *container),
            ExprKind::And(left, right) => {
                let left = self.eval(*left)?;
                if left.is_truthy() { self.eval(*right) } else { Ok(left) }
            }
            ExprKind::Or(left, right) => {
                let left = self.eval(*left)?;
                if left.is_truthy() { Ok(left) } else { self.eval(*right) }
            }
            ExprKind::InlineIf { condition, then, otherwise } => {
                if self.eval(*condition)?.is_truthy() {
                    return self.eval(*then);
                }
                match otherwise {
                    Some(otherwise) => self.eval(*otherwise),
                    None => Ok(Value::string("")),
                }
            }
        }
    }

    fn eval_array(&mut self, items: &'t [ExprId]) -> Res<Value> {
        let items = items.iter().map(|id| self.eval(*id)).collect::<Res<_>>()?;
        self.array(items)
    }

    fn eval_dict(&mut self, entries: &'t [(Arc<str>, ExprId)]) -> Res<Value> {
        let mut record = IndexMap::with_capacity(entries.len());
        for (key, id) in entries {
            let value = self.eval(*id)?;
            record.insert(key.clone(), value);
        }
        self.record(record)
    }

    fn eval_group(&mut self, items: &'t [ExprId]) -> Res<Value> {
        let mut last = Value::Undefined;
        for id in items {
            last = self.eval(*id)?;
        }
        Ok(last)
    }

    fn eval_member(&mut self, target: ExprId, name: &str) -> Res<Value> {
        let target = self.eval(target)?;
        let found = self.member(&target, name);
        Ok(into_value(target, found))
    }

    fn eval_index(&mut self, target: ExprId, key: ExprId) -> Res<Value> {
        let target = self.eval(target)?;
        let key = self.eval(key)?;
        let found = self.index(&target, &key)?;
        Ok(into_value(target, found))
    }

    /// `target[key]`.
    pub(super) fn index(&mut self, target: &Value, key: &Value) -> Res<Found> {
        if let Value::Number(number) = key
            && let Some(index) = as_index(*number)
        {
            match target {
                Value::Array(array) => {
                    return Ok(Found::Value(self.items(array).get(index).cloned().unwrap_or_default()));
                }
                Value::Safe(_) if self.dialect() == Dialect::Nunjucks3 => {}
                Value::String(text) | Value::Safe(text) => return Ok(Found::Value(unit(text, index))),
                _ => {}
            }
        }
        let name = self.text(key)?.to_key();
        // No record has these, and they are no methods either.
        Ok(if is_reserved(&name) { Found::Value(Value::Undefined) } else { self.member(target, &name) })
    }

    /// The value of a property, for filters: without methods.
    pub(crate) fn get(&mut self, target: &Value, key: &Value) -> Res<Value> {
        Ok(match self.index(target, key)? {
            Found::Value(value) => value,
            Found::Method(_) => Value::Undefined,
        })
    }

    /// The value that an `attribute` argument of a filter means: a dotted path, or the item itself when there is none.
    pub(crate) fn attribute(&mut self, item: &Value, attribute: &Value) -> Res<Value> {
        if !attribute.is_truthy() {
            return Ok(item.clone());
        }
        if self.dialect() == Dialect::Nunjucks3 {
            return self.own_attribute(item, attribute);
        }
        let Value::String(path) = attribute else {
            if item.is_nullish() {
                return Err(Fault::evaluation("Cannot read a template attribute from a nullish value"));
            }
            return self.get(item, attribute);
        };
        let mut value = item.clone();
        for segment in path.split(&".".into()) {
            let name = segment.to_key();
            if is_reserved(&name) {
                return Err(Fault::evaluation(format!("Template attribute {name} is reserved")));
            }
            if value.is_nullish() {
                return Err(Fault::evaluation("Cannot read a template attribute from a nullish value"));
            }
            value = self.get(&value, &Value::String(segment))?;
            if value.is_undefined() {
                break;
            }
        }
        Ok(value)
    }

    /// Refuses an `attribute` argument with a reserved name in it.
    pub(crate) fn check_attribute(&mut self, attribute: &Value) -> Res<()> {
        if !attribute.is_truthy() || self.dialect() == Dialect::Nunjucks3 {
            return Ok(());
        }
        let path = self.text(attribute)?;
        let segments = match attribute {
            Value::String(_) => path.split(&".".into()),
            _ => vec![path],
        };
        match segments.iter().find(|segment| is_reserved(&segment.to_lossy())) {
            Some(segment) => Err(Fault::evaluation(format!("Template attribute {segment} is reserved"))),
            None => Ok(()),
        }
    }

    /// The older dialect sorts and groups by what the items have themselves, not by what all of their kind have.
    fn own_attribute(&mut self, item: &Value, attribute: &Value) -> Res<Value> {
        let path = match attribute {
            Value::String(path) => path.split(&".".into()),
            other => vec![self.text(other)?],
        };
        let mut value = item.clone();
        for name in path {
            if value.is_nullish() {
                return Err(Fault::evaluation("Cannot read an attribute of a value that is undefined or null"));
            }
            if !methods::nunjucks3::has_own(self, &value, &name) {
                return Ok(Value::Undefined);
            }
            value = self.get(&value, &Value::String(name))?;
        }
        Ok(value)
    }

    /// `target.name`.
    pub(super) fn member(&self, target: &Value, name: &str) -> Found {
        let own = match target {
            Value::String(text) | Value::Safe(text) => match name {
                "length" => Some(Value::Number(text.len() as f64)),
                "val" if matches!(target, Value::Safe(_)) => Some(Value::String(text.clone())),
                // A safe string of the older dialect has no elements.
                _ if matches!(target, Value::Safe(_)) && self.dialect() == Dialect::Nunjucks3 => None,
                _ => name_as_index(name).map(|index| unit(text, index)),
            },
            Value::Array(array) => match name {
                "length" => Some(Value::Number(self.items(array).len() as f64)),
                _ => name_as_index(name).map(|index| self.items(array).get(index).cloned().unwrap_or_default()),
            },
            Value::Record(record) => record.get(name).cloned(),
            Value::Function(callable) => self.callable_member(callable, name),
            _ => None,
        };
        let own = match own {
            None if self.dialect() == Dialect::Nunjucks3 => methods::nunjucks3::property(self, target, name),
            own => own,
        };
        match own {
            Some(value) => Found::Value(value),
            None => match methods::find(target, name, self.dialect(), self.is_cookiecutter()) {
                Some(method) => Found::Method(method),
                None => Found::Value(Value::Undefined),
            },
        }
    }

    fn callable_member(&self, callable: &Callable, name: &str) -> Option<Value> {
        let Kind::Cycler(cycler) = callable.0 else { return None };
        match name {
            "current" => Some(self.cyclers[cycler].current.clone()),
            "next" => Some(Value::Function(Callable(Kind::CyclerNext(cycler)))),
            "reset" => Some(Value::Function(Callable(Kind::CyclerReset(cycler)))),
            _ => None,
        }
    }

    fn eval_unary(&mut self, op: UnaryOp, operand: ExprId) -> Res<Value> {
        let value = self.eval(operand)?;
        Ok(match op {
            UnaryOp::Not => Value::Bool(!value.is_truthy()),
            UnaryOp::Negate => Value::Number(-self.number(&value)?),
            UnaryOp::Plus => Value::Number(self.number(&value)?),
            UnaryOp::Floor => Value::Number(self.number(&value)?.floor()),
        })
    }

    /// A binary operation whose left operands may be binary operations too, evaluated without recursion.
    fn eval_chain(&mut self, id: ExprId) -> Res<Value> {
        let mut chain = Vec::new();
        let mut leftmost = id;
        let mut levels = 0;
        while let ExprKind::Binary { op, left, right } = &self.ast.expr(leftmost).kind {
            // Comparisons in a row are one level, however many they are.
            let weight = if is_comparison(*op) && self.is_comparison(*left) { 0 } else { 2 };
            chain.push((*op, *right, self.ast.expr(leftmost).offset, weight));
            levels += weight;
            leftmost = *left;
        }
        let offset = self.ast.expr(id).offset;
        let result = self.enter(levels).map_err(|fault| fault.at(offset)).and_then(|()| self.eval(leftmost));
        let result = result.and_then(|mut left| {
            for (op, right, offset, weight) in chain.into_iter().rev() {
                self.charge(1).map_err(|fault| fault.at(offset))?;
                let right = self.eval(right)?;
                left = self.binary(op, &left, &right).map_err(|fault| fault.at(offset))?;
                self.leave(weight);
                levels -= weight;
            }
            Ok(left)
        });
        self.leave(levels);
        result
    }

    fn is_comparison(&self, id: ExprId) -> bool {
        matches!(self.ast.expr(id).kind, ExprKind::Binary { op, .. } if is_comparison(op))
    }

    fn binary(&mut self, op: BinaryOp, left: &Value, right: &Value) -> Res<Value> {
        let ordering = |interp: &mut Self, accept: fn(Ordering) -> bool| {
            interp.compare(left, right).map(|ordering| Value::Bool(ordering.is_some_and(accept)))
        };
        match op {
            BinaryOp::Add => self.add(left, right),
            BinaryOp::Concat => self.concat(left, right),
            BinaryOp::Equal => self.loosely_equal(left, right).map(Value::Bool),
            BinaryOp::NotEqual => self.loosely_equal(left, right).map(|equal| Value::Bool(!equal)),
            BinaryOp::StrictEqual => Ok(Value::Bool(strictly_equal(left, right))),
            BinaryOp::StrictNotEqual => Ok(Value::Bool(!strictly_equal(left, right))),
            BinaryOp::Less => ordering(self, Ordering::is_lt),
            BinaryOp::LessOrEqual => ordering(self, Ordering::is_le),
            BinaryOp::Greater => ordering(self, Ordering::is_gt),
            BinaryOp::GreaterOrEqual => ordering(self, Ordering::is_ge),
            BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder | BinaryOp::Power => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                Ok(Value::Number(arithmetic(op, left, right)))
            }
        }
    }

    fn eval_in(&mut self, negated: bool, needle: ExprId, container: ExprId) -> Res<Value> {
        let needle = self.eval(needle)?;
        let container = self.eval(container)?;
        let found = match &container {
            Value::Array(array) => {
                let items = self.items(array);
                self.charge(items.len())?;
                items.iter().any(|item| strictly_equal(item, &needle))
            }
            Value::String(text) => {
                let needle = self.text(&needle)?;
                self.charge_bytes(text.byte_len())?;
                text.contains(&needle)
            }
            Value::Record(_) | Value::Safe(_) => {
                let key = self.text(&needle)?.to_key();
                self.has_property(&container, &key)
            }
            _ => return Err(Fault::evaluation("Membership requires an array, record, or string")),
        };
        Ok(Value::Bool(found != negated))
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

    fn eval_slice(&mut self, slice: &'t Slice) -> Res<Value> {
        let target = self.eval(slice.target)?;
        let mut bound = |id: Option<ExprId>| match id {
            None => Ok(None),
            Some(id) => self.eval(id).map(Some),
        };
        let (start, stop, step) = (bound(slice.start)?, bound(slice.stop)?, bound(slice.step)?);
        self.slice(&target, start, stop, step)
    }

    /// Python's slices, the way Nunjucks' compatibility layer cuts them: always into an array, and without a look at
    /// what is cut. Something without a length has no end; then the budget ends the walk.
    fn slice(&mut self, target: &Value, start: Option<Value>, stop: Option<Value>, step: Option<Value>) -> Res<Value> {
        if matches!(target, Value::Function(_)) {
            return Err(Fault::evaluation("Callable values cannot be sliced"));
        }
        let nothing = Value::array(Vec::new());
        let target = if target.is_truthy() { target } else { &nothing };
        let zero = Value::Number(0.0);
        let length = self.get(target, &Value::string("length"))?;
        let step = step.unwrap_or(Value::Number(1.0));
        let number = self.number(&step)?;
        if !number.is_finite() || number == 0.0 {
            return Err(Fault::evaluation("Slice step must have finite non-zero numeric coercion"));
        }
        let backwards = number < 0.0;
        // The bounds are added to and compared as they are: a text stays one.
        let mut at = match start {
            None | Some(Value::Null) if backwards => Value::Number(self.number(&length)? - 1.0),
            None | Some(Value::Null) => zero.clone(),
            Some(start) => start,
        };
        let stop = match stop {
            None | Some(Value::Null) if backwards => Value::Number(-1.0),
            None | Some(Value::Null) => length.clone(),
            Some(stop) if self.compare(&stop, &zero)? == Some(Ordering::Less) => self.add(&stop, &length)?,
            Some(stop) => stop,
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
            self.charge(1)?;
            taken.push(self.get(target, &at)?);
            at = self.add(&at, &step)?;
        }
        self.array(taken)
    }
}

pub(super) fn into_value(target: Value, found: Found) -> Value {
    match found {
        Found::Value(value) => value,
        Found::Method(method) => Value::Function(Callable(Kind::Method(Arc::new((target, method))))),
    }
}

fn is_comparison(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::StrictEqual
            | BinaryOp::StrictNotEqual
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual
    )
}

fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::Remainder => left % right,
        _ => power(left, right),
    }
}

fn unit(text: &Str, index: usize) -> Value {
    text.unit_at(index).map_or(Value::Undefined, |unit| Value::String(Str::from_units(&[unit])))
}

fn as_index(number: f64) -> Option<usize> {
    (number >= 0.0 && number.fract() == 0.0 && number < f64::from(u32::MAX)).then_some(number as usize)
}

fn name_as_index(name: &str) -> Option<usize> {
    crate::value::array_index(name).map(|index| index as usize)
}
