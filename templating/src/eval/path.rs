//! Looking things up: names, members, elements.
//!
//! A path is a name with look-ups after it. Walking one changes nothing, so that its value can be looked at where it is.

use std::ops::Deref;
use std::sync::Arc;

use super::Val;
use super::env::Env;
use super::scope::{Found, Held};
use crate::ast::{Expr, ExprId, ExprKind, LookupId, NameId};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::function::{Callable, Kind};
use crate::methods::{self, Method};
use crate::regex::Regex;
use crate::string::{Str, is_same};
use crate::value::{Record, Value, is_reserved};

/// Where a value is.
pub(super) enum Place<'a, 't> {
    /// In the context or in the tree.
    Far(&'t Value),
    /// In a variable.
    Near(&'a Value),
    /// Nowhere else: it was made by looking it up.
    Made(Value),
}

/// A value that can be copied without a look at the memory.
pub(super) enum QuickLeaf<'t> {
    Ref(&'t Value),
    /// The bits of a number.
    Number(u64),
}

impl<'t> Place<'_, 't> {
    #[inline]
    pub(super) fn into_val(self) -> Val<'t> {
        match self {
            Self::Far(value) => Val::Ref(value),
            Self::Near(value) => Val::Own(value.clone()),
            Self::Made(value) => Val::Own(value),
        }
    }
}

impl Deref for Place<'_, '_> {
    type Target = Value;

    #[inline]
    fn deref(&self) -> &Value {
        match self {
            Self::Far(value) => value,
            Self::Near(value) => value,
            Self::Made(value) => value,
        }
    }
}

/// Where a look-up found its key last: mostly the next record has the same shape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint {
    shape: u64,
    /// `u32::MAX` when the shape does not have the key.
    position: u32,
}

impl Hint {
    /// The value of a key that is always the same one with this hint.
    #[inline]
    pub(crate) fn get<'v, 'k>(&mut self, record: &'v Record, key: impl Fn() -> &'k str) -> Option<&'v Value> {
        if self.shape != record.shape_id() {
            let shape = record.shape();
            let position = shape.position(key()).map_or(u32::MAX, |position| position as u32);
            *self = Self { shape: shape.id(), position };
        }
        record.value_at(self.position as usize)
    }

    /// The value of any key.
    #[inline]
    pub(crate) fn get_any<'v>(&mut self, record: &'v Record, key: &Str) -> Option<&'v Value> {
        let shape = record.shape();
        let is_there = self.shape == record.shape_id()
            && shape
                .keys()
                .get(self.position as usize)
                .is_some_and(|known| key.as_bytes().is_some_and(|key| is_same(known.as_bytes(), key)));
        if !is_there {
            let position = shape.position(key.as_str()?)?;
            *self = Self { shape: shape.id(), position: position as u32 };
        }
        record.value_at(self.position as usize)
    }
}

static UNDEFINED: Value = Value::Undefined;

/// What a look-up gives: methods are not made into values when they are called at once.
pub(super) enum Member {
    Value(Value),
    Method(Method),
}

impl<'t> Env<'t> {
    /// The value of an expression that is a path.
    #[inline]
    pub(super) fn path(&self, id: ExprId, depth: u32) -> Res<Place<'_, 't>> {
        self.path_of(self.expr(id), depth)
    }

    pub(super) fn path_of(&self, expr: &'t Expr, depth: u32) -> Res<Place<'_, 't>> {
        let depth = depth + 1;
        self.enter(depth, expr.offset)?;
        match &expr.kind {
            ExprKind::Literal(Value::Regex(regex)) if regex.remembers() => {
                Ok(Place::Made(Value::Regex(Arc::new(Regex::clone(regex)))))
            }
            ExprKind::Literal(value) => Ok(Place::Far(value)),
            ExprKind::Name(variable) => Ok(match self.find(*variable) {
                Found::Variable(Held::Ref(value)) => Place::Far(value),
                Found::Variable(Held::Own(value)) => Place::Near(value),
                Found::Variable(Held::Loop(number)) => Place::Near(self.loops[*number].record()),
                Found::Export(Val::Ref(value)) => Place::Far(value),
                Found::Export(Val::Own(value)) => Place::Near(value),
                Found::Known(value) => Place::Far(value),
            }),
            ExprKind::Bound { slot, .. } => Ok(match self.variable(*slot) {
                Held::Ref(value) => Place::Far(value),
                Held::Own(value) => Place::Near(value),
                Held::Loop(number) => Place::Near(self.loops[*number].record()),
            }),
            ExprKind::Member { target, name, lookup, field, .. } => {
                if let (Some(field), ExprKind::Name(variable)) = (field, &self.expr(*target).kind)
                    && let Found::Variable(Held::Loop(number)) = self.find(*variable)
                {
                    self.enter(depth + 1, self.expr(*target).offset)?;
                    return Ok(Place::Made(self.loops[*number].field(*field)));
                }
                let key = || self.ast.name(*name);
                Ok(match self.path(*target, depth)? {
                    Place::Far(target) => match self.member_ref(target, *name, *lookup) {
                        Some(value) => Place::Far(value),
                        None => Place::Made(self.member_value(target, key())),
                    },
                    Place::Near(target) => match self.member_ref(target, *name, *lookup) {
                        Some(value) => Place::Near(value),
                        None => Place::Made(self.member_value(target, key())),
                    },
                    Place::Made(target) => Place::Made(self.member_value(&target, key())),
                })
            }
            ExprKind::Index { target, key, lookup, .. } => {
                let target = self.path(*target, depth)?;
                let key = self.path(*key, depth)?;
                let found = match target {
                    Place::Far(target) => match self.index_ref(target, &key, *lookup) {
                        Some(value) => return Ok(Place::Far(value)),
                        None => self.index_value(target, &key),
                    },
                    Place::Near(target) => match self.index_ref(target, &key, *lookup) {
                        Some(value) => return Ok(Place::Near(value)),
                        None => self.index_value(target, &key),
                    },
                    Place::Made(target) => self.index_value(&target, &key),
                };
                found.map(Place::Made).map_err(|fault| fault.at(expr.offset))
            }
            // The parser calls nothing else a path.
            _ => Ok(Place::Far(&UNDEFINED)),
        }
    }

    /// Where the value of a name is.
    #[inline]
    pub(super) fn leaf_ref(&self, expr: &'t Expr) -> Option<&Value> {
        match &expr.kind {
            ExprKind::Bound { slot, .. } => self.variable(*slot).value(),
            ExprKind::Name(variable) => self.value_of(*variable),
            _ => None,
        }
    }

    /// The value of a name or literal that is somewhere.
    #[inline(always)]
    pub(super) fn leaf(&self, expr: &'t Expr) -> Option<Val<'t>> {
        let held = match &expr.kind {
            ExprKind::Literal(Value::Regex(_)) => return None,
            ExprKind::Literal(value) => return Some(Val::Ref(value)),
            ExprKind::Bound { slot, .. } => self.variable(*slot),
            ExprKind::Name(variable) => self.held(*variable)?,
            _ => return None,
        };
        match held {
            Held::Ref(value) => Some(Val::Ref(value)),
            Held::Own(value) => Some(Val::Own(value.clone())),
            Held::Loop(_) => None,
        }
    }

    /// The value of a name or literal, if it is one that fits into registers.
    #[inline(always)]
    pub(super) fn quick_leaf(&self, expr: &'t Expr) -> Option<QuickLeaf<'t>> {
        let held = match &expr.kind {
            ExprKind::Literal(Value::Regex(_)) => return None,
            ExprKind::Literal(value) => return Some(QuickLeaf::Ref(value)),
            ExprKind::Bound { slot, .. } => self.variable(*slot),
            ExprKind::Name(variable) => self.held(*variable)?,
            _ => return None,
        };
        match held {
            Held::Ref(value) => Some(QuickLeaf::Ref(value)),
            Held::Own(Value::Number(number)) => Some(QuickLeaf::Number(number.to_bits())),
            Held::Own(_) | Held::Loop(_) => None,
        }
    }

    /// The value of a member where the record has it.
    #[inline]
    fn member_ref<'v>(&self, target: &'v Value, name: NameId, lookup: LookupId) -> Option<&'v Value> {
        match target {
            Value::Record(record) => match self.record_member(record, name, lookup) {
                None if self.is_plain => Some(&UNDEFINED),
                value => value,
            },
            Value::Undefined if self.is_plain => Some(&UNDEFINED),
            _ => None,
        }
    }

    /// The value that a record has under a name.
    #[inline(always)]
    pub(super) fn record_member<'v>(&self, record: &'v Record, name: NameId, lookup: LookupId) -> Option<&'v Value> {
        let hint = self.hints[lookup.0 as usize].get();
        if hint.shape == record.shape_id() {
            return record.value_at(hint.position as usize);
        }
        self.find_member(record, name, lookup)
    }

    #[inline(never)]
    fn find_member<'v>(&self, record: &'v Record, name: NameId, lookup: LookupId) -> Option<&'v Value> {
        let mut hint = Hint::default();
        let value = hint.get(record, || self.ast.name(name));
        self.hints[lookup.0 as usize].set(hint);
        value
    }

    #[inline]
    pub(super) fn index_ref<'v>(&self, target: &'v Value, key: &Value, lookup: LookupId) -> Option<&'v Value> {
        match (target, key) {
            (Value::Array(array), Value::Number(number)) if !self.heap.has_changed() => array.get(as_index(*number)?),
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

    /// `target.name`.
    pub(super) fn member_value(&self, target: &Value, name: &str) -> Value {
        into_value(target, self.member(target, name))
    }

    fn index_value(&self, target: &Value, key: &Value) -> Res<Value> {
        Ok(into_value(target, self.index(target, key)?))
    }

    /// `target[key]`.
    pub(super) fn index(&self, target: &Value, key: &Value) -> Res<Member> {
        if let Value::Number(number) = key
            && let Some(index) = as_index(*number)
        {
            match target {
                Value::Array(array) => {
                    return Ok(Member::Value(self.element(array, index)));
                }
                Value::String(text) => {
                    self.charge(text.distance(index) / 512)?;
                    return Ok(Member::Value(unit(text, index)));
                }
                Value::Safe(_) if self.dialect() == Dialect::Nunjucks3 => {}
                Value::Safe(text) => {
                    self.charge(text.distance(index) / 512)?;
                    return Ok(Member::Value(unit(text, index)));
                }
                _ => {}
            }
        }
        let text = self.text(key)?;
        let name = text.to_lossy();
        // No record has these, and they are no methods either.
        Ok(if is_reserved(&name) { Member::Value(Value::Undefined) } else { self.member(target, &name) })
    }

    /// The value of a property, for filters: without methods.
    pub(crate) fn get(&self, target: &Value, key: &Value) -> Res<Value> {
        Ok(match self.index(target, key)? {
            Member::Value(value) => value,
            Member::Method(_) => Value::Undefined,
        })
    }

    /// The value that an `attribute` argument of a filter means: a dotted path, or the item itself when there is none.
    pub(crate) fn attribute(&self, item: &Value, attribute: &Value) -> Res<Value> {
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
            let name = segment.to_lossy();
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
    pub(crate) fn check_attribute(&self, attribute: &Value) -> Res<()> {
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
    fn own_attribute(&self, item: &Value, attribute: &Value) -> Res<Value> {
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

    /// `target.name`, a method as one.
    pub(super) fn member(&self, target: &Value, name: &str) -> Member {
        let of_text = |text: &Str| match name {
            "length" => Some(Value::Number(text.len() as f64)),
            _ => name_as_index(name).map(|index| unit(text, index)),
        };
        let own = match target {
            Value::String(text) => of_text(text),
            Value::Safe(text) => match name {
                "val" => Some(Value::String(text.as_ref().clone())),
                "length" => of_text(text),
                // A safe string of the older dialect has no elements.
                _ if self.dialect() == Dialect::Nunjucks3 => None,
                _ => of_text(text),
            },
            Value::Array(array) => match name {
                "length" => Some(Value::Number(self.item_count(array) as f64)),
                _ => name_as_index(name).map(|index| self.element(array, index)),
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
            Some(value) => Member::Value(value),
            None => match methods::find(target, name, self.dialect(), self.is_cookiecutter()) {
                Some(method) => Member::Method(method),
                None => Member::Value(Value::Undefined),
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
}

pub(super) fn into_value(target: &Value, member: Member) -> Value {
    match member {
        Member::Value(value) => value,
        Member::Method(method) => Value::Function(Callable(Kind::Method(Arc::new((target.clone(), method))))),
    }
}

fn unit(text: &Str, index: usize) -> Value {
    text.unit_at(index).map_or(Value::Undefined, |unit| Value::String(Str::from_units(&[unit])))
}

#[inline]
pub(super) fn as_index(number: f64) -> Option<usize> {
    let index = number as u32;
    (f64::from(index) == number && index < u32::MAX).then_some(index as usize)
}

fn name_as_index(name: &str) -> Option<usize> {
    crate::value::array_index(name).map(|index| index as usize)
}
