//! Statements.

use std::sync::Arc;

use super::call::{Closure, Surroundings};
use super::convert::strictly_equal;
use super::scope::{Exporting, Frame, Scope};
use super::{Arguments, Interp, Place};
use crate::ast::{Assigned, ExprId, For, Macro, Stmt, StmtKind, Switch};
use crate::error::{Fault, Res};
use crate::filters::FilterRef;
use crate::function::{Callable, Kind};
use crate::string::Str;
use crate::value::{Record, Value};

impl<'t> Interp<'t> {
    pub(super) fn body(&mut self, body: &'t [Stmt]) -> Res<()> {
        body.iter().try_for_each(|stmt| self.statement(stmt))
    }

    fn statement(&mut self, stmt: &'t Stmt) -> Res<()> {
        let levels = match stmt.kind {
            StmtKind::If { .. } | StmtKind::Switch(_) => 2,
            StmtKind::For(_) | StmtKind::Block { .. } | StmtKind::Call { .. } => 3,
            StmtKind::SetBlock { .. } => 4,
            StmtKind::Filter { .. } => 7,
            _ => 1,
        };
        let result = self.enter(levels).and_then(|()| self.charge(1)).and_then(|()| self.statement_kind(&stmt.kind));
        self.leave(levels);
        result.map_err(|fault| fault.at(stmt.offset))
    }

    fn statement_kind(&mut self, kind: &'t StmtKind) -> Res<()> {
        match kind {
            StmtKind::Text(text) => self.write(text),
            StmtKind::Output(expr) => self.output(*expr),
            StmtKind::If { branches, otherwise } => self.branch(branches, otherwise),
            StmtKind::For(statement) => self.for_loop(statement),
            StmtKind::Set { names, value } => {
                let value = self.eval(*value)?;
                self.assign_all(names, value);
                Ok(())
            }
            StmtKind::SetBlock { names, body } => {
                let text = self.capture(|interp| interp.body(body))?;
                self.assign_all(names, Value::String(text));
                Ok(())
            }
            StmtKind::Macro(definition) => {
                let value = self.close_over(definition, None);
                if self.exporting.macros {
                    self.exports.insert(definition.name.clone(), value.clone());
                }
                self.frame.set(definition.slot, value);
                Ok(())
            }
            StmtKind::Call { call, caller } => {
                let surroundings = Surroundings { scope: self.scope.clone(), frame: self.frame.clone() };
                let caller = self.close_over(caller, Some(surroundings));
                self.call_block(*call, caller)
            }
            StmtKind::Filter { .. } => {
                let value = self.filter_block(kind)?;
                self.write_value(&value)
            }
            StmtKind::Block { body, frame } => {
                let exporting = Exporting { macros: true, assignments: false };
                let place = (Scope::isolated(&self.scope), Frame::new(*frame), exporting);
                self.at(place, |interp| interp.body(body))
            }
            StmtKind::Switch(switch) => self.switch(switch),
            StmtKind::Load { template, ignore_missing } => self.load(*template, *ignore_missing),
        }
    }

    /// Nothing can be loaded, which is an error unless the template said otherwise.
    fn load(&mut self, template: ExprId, ignore_missing: bool) -> Res<()> {
        let Value::String(name) = self.eval(template)? else {
            return Err(Fault::evaluation("The name of a template must be a string"));
        };
        if ignore_missing {
            return Ok(());
        }
        Err(Fault::evaluation(format!("Template not found: {name}; templates can't load other templates")))
    }

    /// The value of a `filter` block.
    fn filter_block(&mut self, kind: &'t StmtKind) -> Res<Value> {
        let StmtKind::Filter { filter, filter_offset, arguments, body } = kind else { return Ok(Value::Undefined) };
        if let FilterRef::Unknown(unknown) = filter {
            return Err(unknown.fault().at(*filter_offset));
        }
        let scope = Scope::nested(&self.scope);
        let text = self.within(scope, |interp| interp.capture(|interp| interp.body(body)))?;
        let arguments = self.arguments(arguments)?;
        self.apply_filter(filter, Value::String(text), arguments).map_err(|fault| fault.at(*filter_offset))
    }

    /// The same as what the template is.
    pub(super) fn sole_filter_block(&mut self, stmt: &'t Stmt) -> Res<Value> {
        self.enter(7)?;
        self.filter_block(&stmt.kind).map_err(|fault| fault.at(stmt.offset))
    }

    fn output(&mut self, expr: ExprId) -> Res<()> {
        let value = self.eval(expr)?;
        self.write_value(&value)
    }

    fn write_value(&mut self, value: &Value) -> Res<()> {
        let text = self.output_text(value)?;
        self.write(&text)
    }

    fn assign_all(&mut self, names: &[Assigned], value: Value) {
        for name in names {
            self.assign(name, value.clone());
        }
    }

    fn close_over(&mut self, definition: &'t Arc<Macro>, surroundings: Option<Surroundings>) -> Value {
        self.closures.push(Closure { definition, surroundings });
        Value::Function(Callable(Kind::Macro(self.closures.len() - 1)))
    }

    fn branch(&mut self, branches: &'t [(ExprId, Vec<Stmt>)], otherwise: &'t [Stmt]) -> Res<()> {
        let mut levels = 0;
        let mut chosen = otherwise;
        for (condition, body) in branches {
            if self.eval(*condition)?.is_truthy() {
                chosen = body;
                break;
            }
            // An `elif` is an `if` inside of the one before.
            self.enter(1)?;
            levels += 1;
        }
        let result = self.body(chosen);
        self.leave(levels);
        result
    }

    fn switch(&mut self, switch: &'t Switch) -> Res<()> {
        let subject = self.eval(switch.subject)?;
        let mut found = false;
        for (case, body) in &switch.cases {
            if !found {
                let case = self.eval(*case)?;
                found = strictly_equal(&subject, &case);
            }
            // A case without content falls through to the next.
            if found && !body.is_empty() {
                return self.body(body);
            }
        }
        self.body(&switch.otherwise)
    }

    fn for_loop(&mut self, statement: &'t For) -> Res<()> {
        let iterable = self.eval(statement.iterable)?;
        let place = (Scope::nested(&self.scope), self.frame.clone(), Exporting::default());
        self.at(place, |interp| {
            // What isn't truthy leaves the length that the loop had before.
            if iterable.is_truthy() {
                let length = interp.loop_length(statement, &iterable);
                interp.frame.set(statement.length, length);
            }
            interp.turns(statement, &iterable)?;
            if interp.frame.get(statement.length).is_truthy() {
                return Ok(());
            }
            interp.body(&statement.otherwise)
        })
    }

    fn loop_length(&self, statement: &For, iterable: &Value) -> Value {
        let several = statement.targets.len() > 1;
        let count = match iterable {
            Value::Array(array) => self.items(array).len(),
            Value::Record(record) if several => record.len(),
            Value::Record(record) => return record.get("length").cloned().unwrap_or_default(),
            Value::String(text) | Value::Safe(text) => text.len(),
            _ if several => 0,
            _ => return Value::Undefined,
        };
        Value::Number(count as f64)
    }

    /// Runs the body for each element.
    fn turns(&mut self, statement: &'t For, iterable: &Value) -> Res<()> {
        let several = statement.targets.len() > 1;
        match iterable {
            Value::Array(array) => {
                // The body may change the array, and the loop goes on with what is there then.
                let mut index = 0;
                loop {
                    let items = self.items(array);
                    let Some(item) = items.get(index) else { break };
                    self.bind_item(statement, item)?;
                    self.turn(statement, index)?;
                    index += 1;
                }
                Ok(())
            }
            Value::Record(record) if several => {
                for (index, (key, value)) in record.iter().enumerate() {
                    self.bind_entry(statement, Value::string(key.clone()), value.clone());
                    self.turn(statement, index)?;
                }
                Ok(())
            }
            Value::Record(record) => self.array_like(statement, record),
            Value::String(text) | Value::Safe(text) => {
                let units = self.each_unit(text)?;
                for (index, unit) in units.iter().enumerate() {
                    let unit = Value::String(unit.clone());
                    match iterable {
                        Value::String(_) if several => {
                            self.bind_entry(statement, Value::string(index.to_string()), unit);
                        }
                        _ => self.bind_item(statement, &unit)?,
                    }
                    self.turn(statement, index)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Gives a target its value, both as a variable and as a name.
    fn bind(&mut self, target: &Assigned, value: Value) {
        if let Some(slot) = target.slot {
            self.frame.set(slot, value.clone());
        }
        self.scope.declare(&target.name, value);
    }

    fn bind_entry(&mut self, statement: &For, key: Value, value: Value) {
        for (target, value) in statement.targets.iter().zip([key, value]) {
            self.bind(target, value);
        }
    }

    /// A record with a `length` is walked like an array.
    fn array_like(&mut self, statement: &'t For, record: &Record) -> Res<()> {
        let length = record.get("length").cloned().unwrap_or_default();
        let length = self.number(&length)?;
        let mut index = 0;
        while (index as f64) < length {
            let item = record.get(&index.to_string()).cloned().unwrap_or_default();
            self.bind(&statement.targets[0], item);
            self.turn(statement, index)?;
            index += 1;
        }
        Ok(())
    }

    /// Gives the targets their values: the item itself to a single one, its elements to several. These are variables
    /// only, which what is compiled apart (a block, say) does not see.
    fn bind_item(&mut self, statement: &'t For, item: &Value) -> Res<()> {
        if let [target] = statement.targets.as_slice() {
            self.bind(target, item.clone());
            return Ok(());
        }
        if item.is_nullish() {
            return Err(Fault::evaluation("Cannot destructure a nullish loop value"));
        }
        for (index, target) in statement.targets.iter().enumerate() {
            // Of a safe string, nothing is there.
            let value = match item {
                Value::Safe(_) => Value::Undefined,
                item => self.get(item, &Value::Number(index as f64))?,
            };
            if let Some(slot) = target.slot {
                self.frame.set(slot, value);
            }
        }
        Ok(())
    }

    fn turn(&mut self, statement: &'t For, index: usize) -> Res<()> {
        self.charge(1)?;
        if statement.uses_loop {
            let length = self.frame.get(statement.length);
            let number = self.number(&length)?;
            self.scope.declare(&"loop".into(), loop_record(index, number, length));
        }
        self.body(&statement.body)
    }

    fn call_block(&mut self, call: ExprId, caller: Value) -> Res<()> {
        let text = self.call_with_caller(call, caller)?;
        self.write(&text)
    }

    pub(super) fn run_macro_body(&mut self, place: Place, body: &'t [Stmt]) -> Res<Str> {
        self.enter(2)?;
        let text = self.at(place, |interp| interp.capture(|interp| interp.body(body)));
        self.leave(2);
        text
    }

    /// Evaluates call arguments.
    pub(super) fn arguments(&mut self, arguments: &crate::ast::Arguments) -> Res<Arguments> {
        let positional = arguments.positional.iter().map(|id| self.eval(*id)).collect::<Res<_>>()?;
        let mut keyword = indexmap::IndexMap::new();
        for (name, id) in &arguments.keyword {
            let value = self.eval(*id)?;
            keyword.insert(name.clone(), value);
        }
        Ok(Arguments { positional, keyword })
    }
}

fn loop_record(index: usize, length: f64, own: Value) -> Value {
    let index = index as f64;
    let entries = [
        ("index", Value::Number(index + 1.0)),
        ("index0", Value::Number(index)),
        ("revindex", Value::Number(length - index)),
        ("revindex0", Value::Number(length - index - 1.0)),
        ("first", Value::Bool(index == 0.0)),
        ("last", Value::Bool(index == length - 1.0)),
        ("length", own),
    ];
    Value::Record(entries.into_iter().collect())
}
