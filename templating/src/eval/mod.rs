//! Runs a syntax tree.
//!
//! One [`Interp`] is one render. It owns everything a render may change: scopes, the contents of changed arrays, cyclers,
//! budgets. Nothing of it outlives the render, and the tree is only borrowed.

mod call;
mod convert;
mod expression;
mod heap;
mod hint;
mod scope;
mod statement;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use self::call::Arguments;
use self::call::Closure;
pub(crate) use self::convert::strictly_equal;
use self::heap::Heap;
pub(crate) use self::heap::not_text;
use self::scope::{Exporting, Frame, Scope};
use crate::ast::{Assigned, Ast, ExprId, Stmt};
use crate::context::Context;
use crate::dialect::Dialect;
use crate::engine::Settings;
use crate::error::{Fault, Phase, Res};
use crate::limits::LimitKind;
use crate::string::{Str, StrBuilder};
use crate::value::Value;

/// Where names are looked up and defined.
type Place = (Rc<Scope>, Rc<Frame>, Exporting);

/// The state of one render.
pub(crate) struct Interp<'t> {
    ast: &'t Ast,
    settings: &'t Settings,
    context: &'t Context,
    scope: Rc<Scope>,
    frame: Rc<Frame>,
    exporting: Exporting,
    root: Rc<Scope>,
    /// What the template set at its top level; macros see it, as they see the context.
    exports: HashMap<Arc<str>, Value>,
    heap: Heap,
    closures: Vec<Closure<'t>>,
    /// Whether what runs is a definition and not the template.
    in_definition: bool,
    cyclers: Vec<Cycler>,
    joiners: Vec<Joiner>,
    /// The text being written, and outside of it the texts that wait for an inner one to be captured.
    output: Vec<StrBuilder>,
    depth: u64,
    work: u64,
    written: u64,
    capability_calls: u64,
}

/// What `cycler(…)` makes.
struct Cycler {
    items: Vec<Value>,
    next: usize,
    current: Value,
}

/// What `joiner(…)` makes.
struct Joiner {
    separator: Value,
    used: bool,
}

/// Renders to text.
pub(crate) fn render(ast: &Ast, settings: &Settings, context: &Context) -> Res<Str> {
    let mut interp = Interp::new(ast, settings, context);
    interp.body(&ast.body)?;
    Ok(interp.output.pop().unwrap_or_default().finish())
}

/// The value of the template's only interpolation.
pub(crate) fn evaluate(ast: &Ast, expr: ExprId, offset: u32, settings: &Settings, context: &Context) -> Res<Value> {
    let mut interp = Interp::new(ast, settings, context);
    // The interpolation is a level, as it would be in `render`.
    interp.enter(1).map_err(|fault| fault.at(offset))?;
    let value = interp.eval(expr)?;
    interp.result(&value, offset)
}

/// The value of the template's only `filter` block.
pub(crate) fn evaluate_block(ast: &Ast, block: &Stmt, settings: &Settings, context: &Context) -> Res<Value> {
    let mut interp = Interp::new(ast, settings, context);
    let value = interp.sole_filter_block(block)?;
    interp.result(&value, block.offset)
}

impl<'t> Interp<'t> {
    fn new(ast: &'t Ast, settings: &'t Settings, context: &'t Context) -> Self {
        let root = Scope::detached();
        Self {
            ast,
            settings,
            context,
            scope: root.clone(),
            frame: Frame::new(ast.frame),
            exporting: Exporting { macros: true, assignments: true },
            root,
            exports: HashMap::new(),
            heap: Heap::default(),
            closures: Vec::new(),
            in_definition: false,
            cyclers: Vec::new(),
            joiners: Vec::new(),
            output: vec![StrBuilder::default()],
            // The template itself is a level.
            depth: 1,
            work: 0,
            written: 0,
            capability_calls: 0,
        }
    }

    /// A value as a render returns it.
    fn result(&mut self, value: &Value, offset: u32) -> Res<Value> {
        let value = self.export(value).map_err(|fault| fault.at(offset))?;
        Ok(match value {
            Value::Safe(text) => Value::String(text),
            value => value,
        })
    }

    /// Spends work units.
    pub(crate) fn charge(&mut self, units: usize) -> Res<()> {
        self.work = self.work.saturating_add(units as u64);
        let limit = self.settings.limits.work_units;
        if self.work <= limit {
            return Ok(());
        }
        Err(Fault::limit(Phase::Evaluation, LimitKind::WorkUnits, limit, limit + 1))
    }

    /// Allows for a text of so many bytes, about to be made. Long texts cost work, so that doubling one in a loop comes
    /// to an end.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Res<()> {
        self.check_bytes(bytes)?;
        self.charge(bytes / 64)
    }

    /// Refuses a text of so many bytes when that is too much for one value.
    pub(crate) fn check_bytes(&self, bytes: usize) -> Res<()> {
        let limit = self.settings.limits.scratch_bytes;
        if bytes as u64 <= limit {
            return Ok(());
        }
        Err(Fault::limit(Phase::Evaluation, LimitKind::ScratchBytes, limit, bytes as u64))
    }

    /// The pieces of a text between occurrences of `separator`. Each costs far more than its text, so their number is
    /// judged before the first one is made.
    pub(crate) fn split(&self, text: &Str, separator: &Str) -> Res<Vec<Str>> {
        const PIECE_BYTES: usize = 64;
        self.check_bytes(text.split_count(separator).saturating_mul(PIECE_BYTES))?;
        Ok(text.split(separator))
    }

    /// The single code units of a text, judged like the pieces of [`split`](Self::split).
    pub(crate) fn each_unit(&self, text: &Str) -> Res<Vec<Str>> {
        self.split(text, &Str::default())
    }

    /// Goes so many levels deeper. A construct counts for as many levels as it does in `nunjitsu` 0.7.0.
    fn enter(&mut self, levels: u64) -> Res<()> {
        self.depth += levels;
        let limit = self.settings.limits.nesting_depth;
        if self.depth <= limit {
            return Ok(());
        }
        Err(Fault::limit(Phase::Evaluation, LimitKind::NestingDepth, limit, limit + 1))
    }

    fn leave(&mut self, levels: u64) {
        self.depth -= levels;
    }

    fn count_capability_call(&mut self) -> Res<()> {
        self.capability_calls += 1;
        let limit = self.settings.limits.capability_calls;
        if self.capability_calls <= limit {
            return Ok(());
        }
        Err(Fault::limit(Phase::Evaluation, LimitKind::CapabilityCalls, limit, self.capability_calls))
    }

    fn write(&mut self, text: &Str) -> Res<()> {
        self.written = self.written.saturating_add(text.len() as u64);
        let limit = self.settings.limits.output_code_units;
        if self.written > limit {
            return Err(Fault::limit(Phase::Rendering, LimitKind::OutputCodeUnits, limit, self.written));
        }
        if let Some(output) = self.output.last_mut() {
            output.push(text);
        }
        Ok(())
    }

    /// What `run` writes, as a string instead of output.
    fn capture(&mut self, run: impl FnOnce(&mut Self) -> Res<()>) -> Res<Str> {
        self.output.push(StrBuilder::default());
        run(self)?;
        Ok(self.output.pop().unwrap_or_default().finish())
    }

    /// What `run` does in another scope and frame.
    fn at<T>(&mut self, place: Place, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let (scope, frame, exporting) = place;
        let outer = (std::mem::replace(&mut self.frame, frame), std::mem::replace(&mut self.exporting, exporting));
        let result = self.within(scope, run);
        (self.frame, self.exporting) = outer;
        result
    }

    /// What `run` does in another scope.
    fn within<T>(&mut self, scope: Rc<Scope>, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let outer = std::mem::replace(&mut self.scope, scope);
        let result = run(self);
        self.scope = outer;
        result
    }

    fn lookup(&self, name: &str) -> Value {
        self.scope
            .get(name)
            .or_else(|| self.exports.get(name).cloned())
            .or_else(|| self.context.get(name).cloned())
            .or_else(|| self.python_constant(name))
            .or_else(|| self.settings.globals.get(name).cloned())
            .or_else(|| crate::globals::find(name))
            .unwrap_or_default()
    }

    /// What cookiecutter mode has beside `true`, `false` and `none`.
    fn python_constant(&self, name: &str) -> Option<Value> {
        match name {
            "True" if self.is_cookiecutter() => Some(Value::Bool(true)),
            "False" if self.is_cookiecutter() => Some(Value::Bool(false)),
            "None" if self.is_cookiecutter() => Some(Value::Null),
            _ => None,
        }
    }

    fn assign(&mut self, name: &Assigned, value: Value) {
        if self.exporting.assignments {
            self.exports.insert(name.name.clone(), value.clone());
        }
        if let Some(slot) = name.slot {
            self.frame.set(slot, value.clone());
        }
        self.scope.assign(&name.name, value);
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.settings.syntax.dialect
    }

    pub(crate) fn is_cookiecutter(&self) -> bool {
        // A definition means the same whoever calls it.
        self.settings.syntax.cookiecutter && !self.in_definition
    }
}
