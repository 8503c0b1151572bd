//! Statements.

use std::cell::OnceCell;

use super::call::{Closure, Surroundings};
use super::convert::strictly_equal;
use super::env::Turn;
use super::scope::{Exporting, Held};
use super::{Interp, Val};
use crate::ast::{Assigned, BinaryOp, ExprId, ExprKind, FilterBlock, For, Macro, Stmt, StmtKind, Switch};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::filters::FilterRef;
use crate::function::{Callable, Kind};
use crate::value::{Record, Value};

impl<'t> Interp<'t> {
    pub(super) fn body(&mut self, body: &'t [Stmt], depth: u32) -> Res<()> {
        // What most statements are is done without a call.
        for stmt in body {
            let result = match &stmt.kind {
                StmtKind::Text { span, units } => {
                    self.env.enter(depth + 1, stmt.offset)?;
                    self.write_span(*span, *units)
                }
                StmtKind::Output(expr) => {
                    let expr = self.env.expr(*expr);
                    match self.output_variable(expr, depth) {
                        Some(units) => self.count_written(units),
                        None => {
                            self.env.enter(depth + 1, stmt.offset)?;
                            self.write_expr(expr, depth + 1)
                        }
                    }
                }
                StmtKind::If { branches, otherwise } => {
                    self.env.enter(depth + 2, stmt.offset)?;
                    self.branch(branches, otherwise, depth + 2)
                }
                StmtKind::Set { names, value } => {
                    self.env.enter(depth + 1, stmt.offset)?;
                    self.set(names, *value, depth + 1)
                }
                kind => self.other_statement(kind, stmt.offset, depth),
            };
            result.map_err(|fault| fault.at(stmt.offset))?;
        }
        Ok(())
    }

    fn set(&mut self, names: &'t [Assigned], value: ExprId, depth: u32) -> Res<()> {
        let expr = self.env.expr(value);
        if let [name] = names
            && expr.cost > 1
            && !expr.kind.is_path()
            && !matches!(expr.kind, ExprKind::Binary { op: BinaryOp::Concat, .. })
            && self.fast_assign(*name, expr, depth).is_some()
        {
            return Ok(());
        }
        let value = self.eval(value, depth)?;
        match names {
            [name] => self.env.assign(*name, value),
            names => self.assign_all(names, value),
        }
        Ok(())
    }

    // Apart from those that lie in each other, for the sake of a small frame.
    fn other_statement(&mut self, kind: &'t StmtKind, offset: u32, depth: u32) -> Res<()> {
        let levels = match kind {
            StmtKind::Switch(_) => 2,
            StmtKind::For(_) | StmtKind::Block { .. } | StmtKind::Call { .. } => 3,
            StmtKind::SetBlock { .. } => 4,
            StmtKind::Filter(_) => 7,
            _ => 1,
        };
        let depth = depth + levels;
        self.env.enter(depth, offset)?;
        match kind {
            StmtKind::For(statement) => self.for_loop(statement, depth),
            StmtKind::SetBlock { names, body } => {
                let text = self.capture(|interp| interp.body(body, depth))?;
                self.assign_all(names, Val::Own(Value::String(text)));
                Ok(())
            }
            StmtKind::Macro { name, definition } => {
                let value = self.close_over(definition, None);
                self.env.define(name.name, definition.slot, value);
                Ok(())
            }
            StmtKind::Call { call, caller } => {
                let surroundings =
                    Surroundings { names: self.env.capture(&caller.captures), frame: Some(self.env.frame()) };
                let caller = self.close_over(caller, Some(surroundings));
                let start = self.out.byte_len();
                self.call_with_caller(*call, caller, depth)?;
                let units = self.out.units_since(start);
                self.count_written(units)
            }
            StmtKind::Filter(_) => {
                let value = self.filter_block(kind, depth)?;
                self.write_value(&value)
            }
            StmtKind::Block { body, frame } => {
                let outer = self.env.start_scope(true, Exporting { macros: true, assignments: false });
                self.env.start_frame(*frame, None)?;
                self.body(body, depth)?;
                self.env.end_frame();
                self.env.end_scope(&outer);
                Ok(())
            }
            StmtKind::Switch(switch) => self.switch(switch, depth),
            StmtKind::Load { template, ignore_missing } => self.load(*template, *ignore_missing, depth),
            // `body` does these itself.
            StmtKind::Text { .. } | StmtKind::Output(_) | StmtKind::If { .. } | StmtKind::Set { .. } => Ok(()),
        }
    }

    /// Nothing can be loaded, which is an error unless the template said otherwise.
    fn load(&mut self, template: ExprId, ignore_missing: bool, depth: u32) -> Res<()> {
        let template = self.eval(template, depth)?;
        let Value::String(name) = &*template else {
            return Err(Fault::evaluation("The name of a template must be a string"));
        };
        if ignore_missing {
            return Ok(());
        }
        Err(Fault::evaluation(format!("Template not found: {name}; templates can't load other templates")))
    }

    /// The value of a `filter` block.
    fn filter_block(&mut self, kind: &'t StmtKind, depth: u32) -> Res<Value> {
        let StmtKind::Filter(block) = kind else { return Ok(Value::Undefined) };
        let FilterBlock { filter, filter_offset, arguments, body } = &**block;
        if let FilterRef::Unknown(unknown) = filter {
            return Err(unknown.fault().at(*filter_offset));
        }
        // In the older dialect what is set here is set around it.
        let is_scope = self.dialect() == Dialect::Nunjitsu;
        let outer = is_scope.then(|| self.env.start_scope(false, self.env.exporting));
        let text = self.capture(|interp| interp.body(body, depth))?;
        outer.into_iter().for_each(|outer| self.env.end_scope(&outer));
        let result = self.apply_filter(filter, Value::String(text), arguments, depth);
        result.map_err(|fault| fault.at(*filter_offset))
    }

    /// The same as what the template is.
    pub(super) fn sole_filter_block(&mut self, stmt: &'t Stmt) -> Res<Value> {
        // The template is a level too.
        let depth = 1 + 7;
        self.check_depth(depth)?;
        self.filter_block(&stmt.kind, depth).map_err(|fault| fault.at(stmt.offset))
    }

    fn assign_all(&mut self, names: &[Assigned], value: Val<'t>) {
        let Some((last, others)) = names.split_last() else { return };
        for name in others {
            self.env.assign(*name, value.clone());
        }
        self.env.assign(*last, value);
    }

    fn close_over(&mut self, definition: &'t Macro, surroundings: Option<Surroundings<'t>>) -> Value {
        self.env.closures.push(Closure { definition, surroundings });
        Value::Function(Callable(Kind::Macro(self.env.closures.len() - 1)))
    }

    fn branch(&mut self, branches: &'t [(ExprId, Vec<Stmt>)], otherwise: &'t [Stmt], depth: u32) -> Res<()> {
        let mut depth = depth;
        for (condition, body) in branches {
            if self.truth(*condition, depth)? {
                return self.body(body, depth);
            }
            // An `elif` is an `if` inside of the one before.
            depth += 1;
            self.env.check_depth(depth)?;
        }
        self.body(otherwise, depth)
    }

    fn switch(&mut self, switch: &'t Switch, depth: u32) -> Res<()> {
        let subject = self.eval(switch.subject, depth)?;
        let mut found = false;
        for (case, body) in &switch.cases {
            if !found {
                let case = self.eval(*case, depth)?;
                found = strictly_equal(&subject, &case);
            }
            // A case without content falls through to the next.
            if found && !body.is_empty() {
                return self.body(body, depth);
            }
        }
        self.body(&switch.otherwise, depth)
    }

    // Not a part of `body`, whose frame is on the stack for every level.
    #[inline(never)]
    fn for_loop(&mut self, statement: &'t For, depth: u32) -> Res<()> {
        let iterable = self.eval(statement.iterable, depth)?;
        let outer = self.env.start_scope(false, Exporting::default());
        // What isn't truthy leaves the length that the loop had before.
        if iterable.is_truthy() {
            let length = self.loop_length(statement, &iterable);
            self.env.set_variable(statement.length, Held::Own(length));
        }
        let number = self.env.loops.len();
        if statement.loop_variable.is_some() {
            self.env.loops.push(Turn::default());
        }
        self.turns(statement, &iterable, number, depth)?;
        self.env.loops.truncate(number);
        if !self.length_of(statement).is_truthy() {
            self.body(&statement.otherwise, depth)?;
        }
        self.env.end_scope(&outer);
        Ok(())
    }

    fn loop_length(&self, statement: &For, iterable: &Value) -> Value {
        let several = statement.targets.len() > 1;
        let count = match iterable {
            Value::Array(array) => self.item_count(array),
            Value::Record(record) if several => record.len(),
            Value::Record(record) => return record.get("length").cloned().unwrap_or_default(),
            value => match value.as_string() {
                Some(text) => text.len(),
                None if several => 0,
                None => return Value::Undefined,
            },
        };
        Value::Number(count as f64)
    }

    /// What the loop keeps of its length.
    fn length_of(&self, statement: &For) -> &Value {
        match self.env.variable(statement.length) {
            Held::Own(value) => value,
            Held::Ref(value) => value,
            Held::Loop(_) => &Value::Undefined,
        }
    }

    /// Runs the body for each element.
    fn turns(&mut self, statement: &'t For, iterable: &Val<'t>, number: usize, depth: u32) -> Res<()> {
        let several = statement.targets.len() > 1;
        match &**iterable {
            Value::Array(array) => {
                // The body may change the array, and the loop goes on with what is there then.
                for index in 0.. {
                    if let (Val::Ref(Value::Array(array)), [target], false) =
                        (iterable, statement.targets.as_slice(), self.env.heap.has_changed())
                    {
                        let Some(item) = array.get(index) else { break };
                        self.env.bind_ref(target, item);
                        self.turn(statement, index, number, depth)?;
                        continue;
                    }
                    let item = match self.env.changed_items(array) {
                        Some(items) => items.get(index).cloned().map(Val::Own),
                        None => match iterable {
                            Val::Ref(Value::Array(array)) => array.get(index).map(Val::Ref),
                            _ => array.get(index).cloned().map(Val::Own),
                        },
                    };
                    let Some(item) = item else { break };
                    self.bind_item(statement, item)?;
                    self.turn(statement, index, number, depth)?;
                }
            }
            Value::Record(record) if several => {
                for (index, (key, value)) in record.iter().enumerate() {
                    self.bind_entry(statement, Value::string(key.clone()), value.clone());
                    self.turn(statement, index, number, depth)?;
                }
            }
            Value::Record(record) => self.array_like(statement, record, number, depth)?,
            value => {
                let Some(text) = value.as_string() else { return Ok(()) };
                for (index, unit) in self.each_unit(text)?.into_iter().enumerate() {
                    let unit = Value::String(unit);
                    match value {
                        Value::String(_) if several => {
                            self.bind_entry(statement, Value::string(index.to_string()), unit);
                        }
                        _ => self.bind_item(statement, Val::Own(unit))?,
                    }
                    self.turn(statement, index, number, depth)?;
                }
            }
        }
        Ok(())
    }

    fn bind_entry(&mut self, statement: &For, key: Value, value: Value) {
        for (target, value) in statement.targets.iter().zip([key, value]) {
            self.env.bind(target, Val::Own(value));
        }
    }

    /// A record with a `length` is walked like an array.
    fn array_like(&mut self, statement: &'t For, record: &Record, number: usize, depth: u32) -> Res<()> {
        let length = record.get("length").cloned().unwrap_or_default();
        let length = self.number(&length)?;
        let mut index = 0;
        while (index as f64) < length {
            let item = record.get(&index.to_string()).cloned().unwrap_or_default();
            self.env.bind(&statement.targets[0], Val::Own(item));
            self.turn(statement, index, number, depth)?;
            index += 1;
        }
        Ok(())
    }

    /// Gives the targets their values: the item itself to a single one, its elements to several. These are variables
    /// only, which what is compiled apart (a block, say) does not see.
    #[inline(always)]
    fn bind_item(&mut self, statement: &'t For, item: Val<'t>) -> Res<()> {
        if let [target] = statement.targets.as_slice() {
            self.env.bind(target, item);
            return Ok(());
        }
        self.bind_elements(statement, &item)
    }

    #[inline(never)]
    fn bind_elements(&mut self, statement: &'t For, item: &Value) -> Res<()> {
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
                self.env.set_variable(slot, Held::Own(value));
            }
        }
        Ok(())
    }

    #[inline]
    fn turn(&mut self, statement: &'t For, index: usize, number: usize, depth: u32) -> Res<()> {
        self.env.charge(1)?;
        if let Some(variable) = statement.loop_variable {
            if index == 0 {
                self.first_turn(statement, number)?;
            }
            self.env.loops[number].go_to(index);
            self.env.declare(variable.slot, Held::Loop(number));
        }
        self.body(&statement.body, depth)
    }

    /// What is the same in all turns: nothing but the loop itself gives its length another value.
    fn first_turn(&mut self, statement: &For, number: usize) -> Res<()> {
        let own_length = self.length_of(statement).clone();
        let length = self.env.number(&own_length)?;
        self.env.loops[number] = Turn { index: 0, length, own_length, record: OnceCell::new() };
        Ok(())
    }
}
