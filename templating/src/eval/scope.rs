//! Which names mean what, while a template runs.
//!
//! Names that the parser has bound are variables of a frame. The others are looked up: a unit (the template, a macro,
//! the body of a `call`) has its names in a row of slots. Within a unit, loops and blocks make scopes: a scope that gives a name a value of its own hides the former value and puts it back when it ends.
//! So the innermost value of a name is always the one in its slot.

use super::Val;
use super::env::Env;
use crate::ast::{Assigned, Macro, NameId, Parameter, Slot, Variable};
use crate::error::{Fault, Phase, Res};
use crate::limits::LimitKind;
use crate::value::Value;

/// The level of a slot without a value.
const UNSET: u32 = 0;
/// The level of what a `call` body sees of its surroundings.
const CAPTURED: u32 = 1;
/// The level of a unit's outermost scope.
pub(super) const BASE: u32 = 2;

/// How many variables all running units may have. Only recursive macros with thousands of names come near it.
const MAX_SLOTS: usize = 1 << 20;

static UNDEFINED: Value = Value::Undefined;

/// A name of a unit.
pub(super) struct Slotted<'t> {
    /// How deep the scope is that gave it the value.
    level: u32,
    held: Held<'t>,
}

/// What a variable holds.
#[derive(Clone)]
pub(super) enum Held<'t> {
    Ref(&'t Value),
    Own(Value),
    /// The variable `loop`, by the number of the loop among the running ones.
    Loop(usize),
}

impl Default for Slotted<'_> {
    #[inline]
    fn default() -> Self {
        Self { level: UNSET, held: Held::default() }
    }
}

impl Default for Held<'_> {
    #[inline]
    fn default() -> Self {
        // Of what is only referred to, nothing is to be dropped.
        Self::Ref(&UNDEFINED)
    }
}

#[cold]
fn too_many_slots(count: usize) -> Box<Fault> {
    let size = size_of::<Slotted<'_>>();
    let (most, bytes) = ((MAX_SLOTS * size) as u64, (count * size) as u64);
    Fault::limit(Phase::Evaluation, LimitKind::ScratchBytes, most, bytes)
}

impl Held<'_> {
    /// The value, unless it is one that has to be made first.
    #[inline(always)]
    pub(super) fn value(&self) -> Option<&Value> {
        match self {
            Self::Ref(value) => Some(value),
            Self::Own(value) => Some(value),
            Self::Loop(_) => None,
        }
    }
}

impl<'t> From<Val<'t>> for Held<'t> {
    fn from(value: Val<'t>) -> Self {
        match value {
            Val::Ref(value) => Self::Ref(value),
            Val::Own(value) => Self::Own(value),
        }
    }
}

/// The variables of one run of a macro, a block, the body of a `call` or the template itself; see [`crate::ast::Slot`].
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Where they start among those of all frames.
    base: usize,
    /// For the body of a `call`: the frame it was written in.
    outer: Option<FrameId>,
    /// No two frames of a render have the same number.
    serial: u64,
}

/// A frame, by its place among the running ones: 0 is that of the template, which the list has not. It is gone when
/// another one is in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameId {
    index: usize,
    serial: u64,
}

/// What macros everywhere see of what is defined where a render is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exporting {
    pub(super) macros: bool,
    pub(super) assignments: bool,
}

/// Where the unit and the frame of a macro start that is about to be called.
#[derive(Clone, Copy)]
pub(super) struct Room {
    slots: usize,
    variables: usize,
}

/// A unit that waits for another one to end.
pub(super) struct Suspended {
    base: usize,
    level: u32,
    boundary: u32,
    exporting: Exporting,
}

/// A scope that waits for an inner one to end.
pub(super) struct Outer {
    hidden: usize,
    level: u32,
    boundary: u32,
    exporting: Exporting,
}

/// What a name stands for.
pub(super) enum Found<'a, 't> {
    Variable(&'a Held<'t>),
    Export(&'a Val<'t>),
    Known(&'t Value),
}

impl<'t> Env<'t> {
    #[inline]
    pub(super) fn find(&self, variable: Variable) -> Found<'_, 't> {
        let slot = &self.slots[self.base + variable.slot as usize];
        if slot.level != UNSET {
            return Found::Variable(&slot.held);
        }
        self.find_outside(variable.name)
    }

    /// The same without the variable `loop`.
    #[inline(always)]
    pub(super) fn value_of(&self, variable: Variable) -> Option<&Value> {
        let slot = &self.slots[self.base + variable.slot as usize];
        if slot.level != UNSET {
            return slot.held.value();
        }
        self.value_outside(variable.name)
    }

    /// What the unit has under a name.
    #[inline]
    pub(super) fn held(&self, variable: Variable) -> Option<&Held<'t>> {
        let slot = &self.slots[self.base + variable.slot as usize];
        (slot.level != UNSET).then_some(&slot.held)
    }

    #[inline(never)]
    fn value_outside(&self, name: NameId) -> Option<&Value> {
        match self.find_outside(name) {
            Found::Variable(held) => held.value(),
            Found::Export(value) => Some(value),
            Found::Known(value) => Some(value),
        }
    }

    #[inline]
    fn find_outside(&self, name: NameId) -> Found<'_, 't> {
        let state = &self.names[name.0 as usize];
        match (&state.export, state.known.get()) {
            (Some(value), _) => Found::Export(value),
            (None, Some(value)) => Found::Known(value),
            (None, None) => Found::Known(self.known(name)),
        }
    }

    /// Sets a name where a scope of the unit has it, up to the next block; else in the running scope.
    #[inline]
    pub(super) fn assign(&mut self, assigned: Assigned, value: Val<'t>) {
        let Assigned { variable, slot, is_read } = assigned;
        if let Some(slot) = slot {
            self.set_variable(slot, value.clone().into());
        }
        if !is_read {
            return;
        }
        if self.exporting.assignments && self.ast.has_units {
            self.names[variable.name.0 as usize].export = Some(value.clone());
        }
        let slot = &mut self.slots[self.base + variable.slot as usize];
        if slot.level >= self.boundary {
            slot.held = value.into();
        } else {
            self.declare(variable.slot, value.into());
        }
    }

    /// The same with a number or the like, which is made in each place where it is to be.
    #[inline(always)]
    pub(super) fn assign_with(&mut self, assigned: Assigned, make: impl Fn() -> Value) {
        let Assigned { variable, slot, is_read } = assigned;
        if let Some(slot) = slot {
            self.set_variable(slot, Held::Own(make()));
        }
        if !is_read {
            return;
        }
        if self.exporting.assignments && self.ast.has_units {
            self.names[variable.name.0 as usize].export = Some(Val::Own(make()));
        }
        let slot = &mut self.slots[self.base + variable.slot as usize];
        if slot.level >= self.boundary {
            slot.held = Held::Own(make());
        } else {
            self.declare(variable.slot, Held::Own(make()));
        }
    }

    /// Sets a name in the running scope, whoever has it.
    #[inline(always)]
    pub(super) fn declare(&mut self, slot: u32, held: Held<'t>) {
        let index = self.base + slot as usize;
        let slot = &mut self.slots[index];
        if slot.level == self.level {
            slot.held = held;
            return;
        }
        self.hide(index, held);
    }

    /// Gives a slot a value that lasts as long as the running scope.
    #[inline]
    fn hide(&mut self, index: usize, held: Held<'t>) {
        let hidden = std::mem::replace(&mut self.slots[index], Slotted { level: self.level, held });
        if self.level > BASE {
            self.hidden.push((index, hidden));
        }
    }

    /// Gives a loop's target its value, as a variable and as a name.
    #[inline(always)]
    pub(super) fn bind(&mut self, target: &Assigned, value: Val<'t>) {
        if let Some(slot) = target.slot {
            if !target.is_read {
                return self.set_variable(slot, value.into());
            }
            self.set_variable(slot, value.clone().into());
        }
        self.declare(target.variable.slot, value.into());
    }

    /// The same with a value that is somewhere else.
    #[inline(always)]
    pub(super) fn bind_ref(&mut self, target: &Assigned, value: &'t Value) {
        if let Some(slot) = target.slot {
            self.set_variable(slot, Held::Ref(value));
            if !target.is_read {
                return;
            }
        }
        let index = self.base + target.variable.slot as usize;
        let slot = &mut self.slots[index];
        if slot.level == self.level {
            slot.held = Held::Ref(value);
            return;
        }
        self.hide(index, Held::Ref(value));
    }

    /// Defines a macro.
    pub(super) fn define(&mut self, name: NameId, slot: Slot, value: Value) {
        if self.exporting.macros {
            self.names[name.0 as usize].export = Some(Val::Own(value.clone()));
        }
        self.set_variable(slot, Held::Own(value));
    }

    /// The value of a bound name.
    #[inline]
    pub(super) fn variable(&self, slot: Slot) -> &Held<'t> {
        match self.variable_index(slot) {
            Some(index) => &self.variables[index],
            None => &Held::Own(Value::Undefined),
        }
    }

    #[inline(always)]
    pub(super) fn set_variable(&mut self, slot: Slot, held: Held<'t>) {
        if let Some(index) = self.variable_index(slot) {
            self.variables[index] = held;
        }
    }

    #[inline]
    fn variable_index(&self, slot: Slot) -> Option<usize> {
        if slot.up == 0 {
            return Some(self.frame_base + slot.index as usize);
        }
        self.outer_variable(slot)
    }

    fn outer_variable(&self, slot: Slot) -> Option<usize> {
        let mut frame = *self.frames.last()?;
        for _ in 0..slot.up {
            // The body of a `call` that outlives its surroundings finds nothing there.
            let outer = frame.outer?;
            frame = match outer.index.checked_sub(1) {
                None => Frame { base: 0, outer: None, serial: 0 },
                Some(index) => *self.frames.get(index).filter(|found| found.serial == outer.serial)?,
            };
        }
        Some(frame.base + slot.index as usize)
    }

    /// The running frame.
    pub(super) fn frame(&self) -> FrameId {
        FrameId { index: self.frames.len(), serial: self.frames.last().map_or(0, |frame| frame.serial) }
    }

    /// Starts a frame with so many variables.
    #[inline]
    pub(super) fn start_frame(&mut self, slots: u32, outer: Option<FrameId>) -> Res<()> {
        self.check_slots(slots)?;
        self.frame_serial += 1;
        self.frame_base = self.variables.len();
        self.frames.push(Frame { base: self.frame_base, outer, serial: self.frame_serial });
        self.variables.extend(std::iter::repeat_with(Held::default).take(slots as usize));
        Ok(())
    }

    #[inline]
    pub(super) fn end_frame(&mut self) {
        self.variables.truncate(self.frame_base);
        self.frames.pop();
        self.frame_base = self.frames.last().map_or(0, |frame| frame.base);
    }

    /// Makes sure that there is room for so many more variables, and has it paid for if they are many.
    #[inline]
    fn check_slots(&self, slots: u32) -> Res<()> {
        let count = self.slots.len() + self.variables.len() + slots as usize;
        if count > MAX_SLOTS {
            return Err(too_many_slots(count));
        }
        if slots < 64 { Ok(()) } else { self.charge(slots as usize / 64) }
    }

    /// Starts the scope of a loop or, if it isolates, of a block.
    pub(super) fn start_scope(&mut self, isolates: bool, exporting: Exporting) -> Outer {
        let outer = Outer {
            hidden: self.hidden.len(),
            level: self.level,
            boundary: self.boundary,
            exporting: std::mem::replace(&mut self.exporting, exporting),
        };
        self.level += 1;
        if isolates {
            self.boundary = self.level;
        }
        outer
    }

    pub(super) fn end_scope(&mut self, outer: &Outer) {
        while self.hidden.len() > outer.hidden {
            if let Some((index, slot)) = self.hidden.pop() {
                self.slots[index] = slot;
            }
        }
        self.level = outer.level;
        self.boundary = outer.boundary;
        self.exporting = outer.exporting;
    }

    /// Starts a unit with so many names.
    pub(super) fn start_unit(&mut self, slots: u32, exporting: Exporting) -> Res<Suspended> {
        let suspended =
            Suspended { base: self.base, level: self.level, boundary: self.boundary, exporting: self.exporting };
        self.check_slots(slots)?;
        self.base = self.slots.len();
        self.slots.extend(std::iter::repeat_with(Slotted::default).take(slots as usize));
        (self.level, self.boundary, self.exporting) = (BASE, BASE, exporting);
        Ok(suspended)
    }

    #[inline]
    pub(super) fn end_unit(&mut self, suspended: &Suspended) {
        self.slots.truncate(self.base);
        (self.base, self.level) = (suspended.base, suspended.level);
        (self.boundary, self.exporting) = (suspended.boundary, suspended.exporting);
    }

    /// What the running unit has in these slots, for the body of a `call`; see [`crate::ast::Macro::captures`].
    pub(super) fn capture(&self, captures: &[(u32, u32)]) -> Vec<(u32, Val<'t>)> {
        let mut captured = Vec::with_capacity(captures.len());
        for (outer, inner) in captures {
            let slot = &self.slots[self.base + *outer as usize];
            if slot.level != UNSET {
                let value = match &slot.held {
                    Held::Ref(value) => Val::Ref(value),
                    Held::Own(value) => Val::Own(value.clone()),
                    Held::Loop(number) => Val::Own(self.loops[*number].record().clone()),
                };
                captured.push((*inner, value));
            }
        }
        captured
    }

    /// Gives a parameter of the unit and frame that have just started its value.
    #[inline(always)]
    pub(super) fn bind_parameter(&mut self, parameter: &Parameter, value: Val<'t>) {
        let Parameter { variable, slot, is_read, .. } = *parameter;
        match slot {
            Some(slot) => self.bind(&Assigned { variable, slot: Some(slot), is_read }, value),
            None => {
                let index = self.base + variable.slot as usize;
                self.slots[index] = Slotted { level: BASE, held: value.into() };
            }
        }
    }

    /// Starts the unit and the frame of a macro or the body of a `call`.
    #[inline]
    pub(super) fn start_callable(
        &mut self,
        definition: &Macro,
        outer: Option<FrameId>,
        exporting: Exporting,
    ) -> Res<Suspended> {
        self.check_slots(definition.slots)?;
        let suspended = Suspended {
            base: std::mem::replace(&mut self.base, self.slots.len()),
            level: std::mem::replace(&mut self.level, BASE),
            boundary: std::mem::replace(&mut self.boundary, BASE),
            exporting: std::mem::replace(&mut self.exporting, exporting),
        };
        self.slots.extend(std::iter::repeat_with(Slotted::default).take(definition.slots as usize));
        self.start_frame(definition.frame, outer)?;
        Ok(suspended)
    }

    /// Makes room for the unit and the frame of a macro that is about to be called.
    #[inline]
    pub(super) fn make_room(&mut self, definition: &Macro) -> Res<Room> {
        self.check_slots(definition.slots + definition.frame)?;
        let room = Room { slots: self.slots.len(), variables: self.variables.len() };
        self.slots.resize_with(room.slots + definition.slots as usize, Slotted::default);
        self.variables.resize_with(room.variables + definition.frame as usize, Held::default);
        Ok(room)
    }

    /// Puts a value where the macro that is about to be called looks for a parameter.
    #[inline(always)]
    pub(super) fn pass(&mut self, room: Room, parameter: &Parameter, make: impl Fn() -> Held<'t>) {
        if let Some(slot) = parameter.slot {
            self.variables[room.variables + slot.index as usize] = make();
            if !parameter.is_read {
                return;
            }
        }
        self.slots[room.slots + parameter.variable.slot as usize] = Slotted { level: BASE, held: make() };
    }

    /// Starts the unit and the frame that there is room for.
    #[inline]
    pub(super) fn start_room(&mut self, room: Room) -> Suspended {
        self.frame_serial += 1;
        self.frame_base = room.variables;
        self.frames.push(Frame { base: room.variables, outer: None, serial: self.frame_serial });
        Suspended {
            base: std::mem::replace(&mut self.base, room.slots),
            level: std::mem::replace(&mut self.level, BASE),
            boundary: std::mem::replace(&mut self.boundary, BASE),
            exporting: std::mem::replace(&mut self.exporting, Exporting { macros: true, assignments: false }),
        }
    }

    /// Puts what a closure has captured into the slots of its unit, which has just started.
    pub(super) fn restore(&mut self, closure: usize) {
        let Some(surroundings) = &self.closures[closure].surroundings else { return };
        for (slot, value) in &surroundings.names {
            self.slots[self.base + *slot as usize] = Slotted { level: CAPTURED, held: value.clone().into() };
        }
    }
}
