//! What a render looks at, and what its looking costs.

use std::cell::{Cell, OnceCell};

use super::Val;
use super::call::Closure;
use super::heap::Heap;
use super::path::Hint;
use super::scope::{Exporting, Frame, Held, Slotted};
use crate::ast::{Ast, Expr, ExprId, LoopField, NameId};
use crate::context::Context;
use crate::dialect::Dialect;
use crate::engine::Settings;
use crate::error::{Fault, Phase, Res};
use crate::limits::LimitKind;
use crate::string::Str;
use crate::value::Value;

/// The data of one render, and its budgets.
pub(crate) struct Env<'t> {
    pub(super) ast: &'t Ast,
    /// Those of `ast`.
    pub(super) exprs: &'t [Expr],
    pub(super) settings: &'t Settings,
    pub(super) context: &'t Context,
    /// By [`NameId`].
    pub(super) names: Vec<NameState<'t>>,
    /// By [`crate::ast::LookupId`].
    pub(super) hints: Vec<Cell<Hint>>,
    /// The variables of all running units, the innermost last; the running one's start at `base`.
    pub(super) slots: Vec<Slotted<'t>>,
    pub(super) base: usize,
    /// How deep the running scope is in its unit.
    pub(super) level: u32,
    /// Names of scopes less deep than this are not assigned to.
    pub(super) boundary: u32,
    /// What inner scopes have hidden, to be put back when they end.
    pub(super) hidden: Vec<(usize, Slotted<'t>)>,
    pub(super) exporting: Exporting,
    /// The variables of all frames, the innermost last; the running one's start at `frame_base`.
    pub(super) variables: Vec<Held<'t>>,
    pub(super) frames: Vec<Frame>,
    pub(super) frame_base: usize,
    pub(super) frame_serial: u64,
    /// The loops that are running and have a variable `loop`.
    pub(super) loops: Vec<Turn>,
    pub(super) heap: Heap,
    pub(super) closures: Vec<Closure<'t>>,
    pub(super) cyclers: Vec<Cycler>,
    pub(super) joiners: Vec<Joiner>,
    /// Whether a key that a record doesn't have is `undefined`, and no property or method either.
    pub(super) is_plain: bool,
    /// Whether what runs is a definition and not the template.
    pub(super) in_definition: bool,
    pub(super) capability_calls: u64,
    /// Texts up to so many bytes cost no work.
    pub(super) free_bytes: usize,
    /// Work units that are left.
    work: Cell<u64>,
    depth_limit: u32,
}

/// What a name means where no variable has it.
#[derive(Default)]
pub(super) struct NameState<'t> {
    /// What the template set at its top level; macros see it, as they see the context.
    pub(super) export: Option<Val<'t>>,
    /// The value in the context or of a global, once somebody has asked.
    pub(super) known: Cell<Option<&'t Value>>,
}

/// One turn of a loop.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) index: usize,
    pub(super) length: f64,
    /// The length as the sequence has it, which need not be a number.
    pub(super) own_length: Value,
    /// The record `loop`, once somebody wants all of it.
    pub(super) record: OnceCell<Value>,
}

impl Turn {
    pub(super) fn field(&self, field: LoopField) -> Value {
        match field {
            LoopField::First => Value::Bool(self.index == 0),
            LoopField::Last => Value::Bool(self.index as f64 == self.length - 1.0),
            LoopField::Length => self.own_length.clone(),
            field => self.number(field).map_or(Value::Undefined, Value::Number),
        }
    }

    /// The same if it is a number.
    #[inline]
    pub(super) fn number(&self, field: LoopField) -> Option<f64> {
        let (index, length) = (self.index as f64, self.length);
        match field {
            LoopField::Index => Some(index + 1.0),
            LoopField::Index0 => Some(index),
            LoopField::RevIndex => Some(length - index),
            LoopField::RevIndex0 => Some(length - index - 1.0),
            LoopField::Length => self.own_length.as_number(),
            LoopField::First | LoopField::Last => None,
        }
    }

    #[inline]
    pub(super) fn go_to(&mut self, index: usize) {
        self.index = index;
        self.record.take();
    }

    pub(super) fn record(&self) -> &Value {
        let fields = || LoopField::ALL.into_iter().map(|(name, field)| (name, self.field(field)));
        self.record.get_or_init(|| Value::Record(fields().collect()))
    }
}

/// What `cycler(…)` makes.
pub(super) struct Cycler {
    pub(super) items: Vec<Value>,
    pub(super) next: usize,
    pub(super) current: Value,
}

/// What `joiner(…)` makes.
pub(super) struct Joiner {
    pub(super) separator: Value,
    pub(super) used: bool,
}

/// From so many bytes on, a text costs twice as much: for a moment there are two of it while it is made.
const LARGE: usize = 1 << 20;

impl<'t> Env<'t> {
    // Inlined, so that it is made where it stays.
    #[inline(always)]
    pub(super) fn new(ast: &'t Ast, settings: &'t Settings, context: &'t Context) -> Self {
        let (names, hints) = tables(ast);
        let slots = (0..ast.slots).map(|_| Slotted::default()).collect();
        Self {
            ast,
            exprs: &ast.exprs,
            settings,
            context,
            names,
            hints,
            slots,
            base: 0,
            level: super::scope::BASE,
            boundary: super::scope::BASE,
            hidden: Vec::new(),
            exporting: Exporting { macros: true, assignments: true },
            variables: vec![Held::Own(Value::Undefined); ast.frame as usize],
            frames: Vec::new(),
            frame_base: 0,
            frame_serial: 0,
            loops: Vec::new(),
            heap: Heap::default(),
            closures: Vec::new(),
            cyclers: Vec::new(),
            joiners: Vec::new(),
            is_plain: settings.syntax.dialect == Dialect::Nunjitsu && !settings.syntax.cookiecutter,
            in_definition: false,
            capability_calls: 0,
            free_bytes: settings.limits.scratch_bytes.min(63) as usize,
            work: Cell::new(settings.limits.work_units),
            depth_limit: u32::try_from(settings.limits.nesting_depth).unwrap_or(u32::MAX),
        }
    }

    /// An expression of the tree that runs.
    #[inline]
    pub(super) fn expr(&self, id: ExprId) -> &'t Expr {
        // Ids are only made by pushing to this arena.
        &self.exprs[id.0 as usize]
    }

    /// Spends work units.
    #[inline]
    pub(crate) fn charge(&self, units: usize) -> Res<()> {
        match self.work.get().checked_sub(units as u64) {
            Some(left) => {
                self.work.set(left);
                Ok(())
            }
            None => Err(self.too_much_work()),
        }
    }

    #[cold]
    fn too_much_work(&self) -> Box<Fault> {
        self.work.set(0);
        let limit = self.settings.limits.work_units;
        Fault::limit(Phase::Evaluation, LimitKind::WorkUnits, limit, limit + 1)
    }

    /// Spends the work unit of a node at this depth. A construct counts for as many levels as it does in `nunjitsu`
    /// 0.7.0.
    #[inline(always)]
    pub(super) fn enter(&self, depth: u32, offset: u32) -> Res<()> {
        match self.prepay(1, depth) {
            Some(_) => Ok(()),
            None => Err(self.exceeded(depth, offset)),
        }
    }

    /// Spends so much work if it is left and the depth allowed; what was left before, for
    /// [`take_back`](Self::take_back).
    #[inline(always)]
    pub(super) fn prepay(&self, work: u32, depth: u32) -> Option<u64> {
        let before = self.work.get();
        let after = before.checked_sub(u64::from(work)).filter(|_| depth <= self.depth_limit)?;
        self.work.set(after);
        Some(before)
    }

    /// Goes back to what was left before a [`prepay`](Self::prepay).
    #[inline]
    pub(super) fn take_back(&self, before: u64) {
        self.work.set(before);
    }

    /// Gives back a part of what has been paid for.
    #[inline]
    pub(super) fn unspend(&self, work: u32) {
        self.work.set(self.work.get() + u64::from(work));
    }

    #[cold]
    #[inline(never)]
    fn exceeded(&self, depth: u32, offset: u32) -> Box<Fault> {
        let fault = match self.check_depth(depth) {
            Err(fault) => fault,
            Ok(()) => self.too_much_work(),
        };
        fault.at(offset)
    }

    #[inline]
    pub(super) fn check_depth(&self, depth: u32) -> Res<()> {
        if depth <= self.depth_limit {
            return Ok(());
        }
        let limit = u64::from(self.depth_limit);
        Err(Fault::limit(Phase::Evaluation, LimitKind::NestingDepth, limit, limit + 1))
    }

    /// Allows for a text of so many bytes, about to be made. Long texts cost work, so that doubling one in a loop comes
    /// to an end, and the texts of a render can't take more memory together than one value may.
    #[inline]
    pub(crate) fn charge_bytes(&self, bytes: usize) -> Res<()> {
        self.check_text(bytes)?;
        self.charge(if bytes < LARGE { bytes / 64 } else { bytes / 32 })
    }

    /// Allows for a text of so many bytes that was put together from pieces, each charged for itself.
    #[inline]
    pub(crate) fn charge_whole(&self, bytes: usize) -> Res<()> {
        if bytes < LARGE { Ok(()) } else { self.check_text(bytes).and_then(|()| self.charge(bytes / 64)) }
    }

    /// Refuses a text of so many bytes. It counts twice, as code units do in JavaScript.
    #[inline]
    pub(crate) fn check_text(&self, bytes: usize) -> Res<()> {
        self.check_bytes(bytes.saturating_mul(2))
    }

    /// Refuses a text of so many bytes when that is too much for one value.
    #[inline]
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
        let pieces = text.split_count(separator);
        self.check_bytes(pieces.saturating_mul(PIECE_BYTES))?;
        self.charge(pieces / 8)?;
        Ok(text.split(separator))
    }

    /// The single code units of a text, judged like the pieces of [`split`](Self::split).
    pub(crate) fn each_unit(&self, text: &Str) -> Res<Vec<Str>> {
        self.split(text, &Str::default())
    }

    pub(super) fn count_capability_call(&mut self) -> Res<()> {
        self.capability_calls += 1;
        let limit = self.settings.limits.capability_calls;
        if self.capability_calls <= limit {
            return Ok(());
        }
        Err(Fault::limit(Phase::Evaluation, LimitKind::CapabilityCalls, limit, self.capability_calls))
    }

    /// The value of a name that the context or a global has.
    pub(super) fn known(&self, name: NameId) -> &'t Value {
        static UNDEFINED: Value = Value::Undefined;
        let state = &self.names[name.0 as usize];
        if let Some(value) = state.known.get() {
            return value;
        }
        let text = self.ast.name(name);
        let found = self.context.get(text).or_else(|| self.python_constant(text));
        let found = found.or_else(|| self.settings.globals.get(text)).or_else(|| crate::globals::find(text));
        let value = found.unwrap_or(&UNDEFINED);
        state.known.set(Some(value));
        value
    }

    /// What cookiecutter mode has beside `true`, `false` and `none`.
    fn python_constant(&self, name: &str) -> Option<&'static Value> {
        match name {
            "True" if self.is_cookiecutter() => Some(&Value::Bool(true)),
            "False" if self.is_cookiecutter() => Some(&Value::Bool(false)),
            "None" if self.is_cookiecutter() => Some(&Value::Null),
            _ => None,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.settings.syntax.dialect
    }

    pub(crate) fn is_cookiecutter(&self) -> bool {
        // A definition means the same whoever calls it.
        self.settings.syntax.cookiecutter && !self.in_definition
    }
}

/// What a render keeps for the names and look-ups of a tree.
pub(super) fn tables<'t>(ast: &Ast) -> (Vec<NameState<'t>>, Vec<Cell<Hint>>) {
    let names = ast.names.iter().map(|_| NameState::default()).collect();
    (names, vec![Cell::default(); ast.lookups as usize])
}
