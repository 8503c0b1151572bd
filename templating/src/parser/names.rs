//! The names of a template, and the slots in which its units keep them.

use std::collections::HashMap;

use crate::ast::{NameId, Span, Variable};
use crate::string::is_same;

/// A unit that is being parsed; see [`crate::ast`].
#[derive(Default)]
pub(super) struct Unit {
    number: u32,
    slots: u32,
    /// The name in each slot, and where the unit around had it. The template itself has nothing around.
    names: Vec<(NameId, Place)>,
}

impl Unit {
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }
}

/// A slot of a unit.
#[derive(Clone, Copy)]
struct Place {
    unit: u32,
    slot: u32,
}

/// The place of a name in no unit.
const NOWHERE: Place = Place { unit: u32::MAX, slot: 0 };

#[derive(Default)]
pub(super) struct Names<'s> {
    known: Vec<Known<'s>>,
    /// The numbers of the names, once there are more than a few.
    numbers: HashMap<&'s str, u32>,
    unit: Unit,
    units: u32,
}

struct Known<'s> {
    text: &'s str,
    /// Where the running unit has it, or one that has been left or not come to.
    place: Place,
}

/// Up to so many names are compared one after the other.
const FEW: usize = 12;

impl<'s> Names<'s> {
    /// The number of a name, which must be a part of the source.
    pub(super) fn number(&mut self, text: &'s str) -> NameId {
        if let Some(known) = self.find(text) {
            return known;
        }
        let number = self.known.len() as u32;
        if self.known.is_empty() {
            self.known.reserve(8);
        }
        self.known.push(Known { text, place: NOWHERE });
        if self.known.len() > FEW {
            let all = self.known.iter().map(|known| known.text).zip(0..);
            if self.numbers.is_empty() {
                self.numbers = all.collect();
            } else {
                self.numbers.insert(text, number);
            }
        }
        NameId(number)
    }

    pub(super) fn text(&self, name: NameId) -> &'s str {
        self.known[name.0 as usize].text
    }

    /// The number of a name that has been mentioned.
    pub(super) fn find(&self, text: &str) -> Option<NameId> {
        let number = match self.numbers.is_empty() {
            true => self.known.iter().position(|known| is_same(known.text.as_bytes(), text.as_bytes()))? as u32,
            false => *self.numbers.get(text)?,
        };
        Some(NameId(number))
    }

    /// The name as a variable of the unit.
    pub(super) fn variable(&mut self, name: NameId) -> Variable {
        let known = &mut self.known[name.0 as usize];
        if known.place.unit != self.unit.number {
            let slot = self.unit.slots();
            self.unit.slots += 1;
            if self.unit.number > 0 {
                self.unit.names.push((name, known.place));
            }
            known.place = Place { unit: self.unit.number, slot };
        }
        Variable { name, slot: known.place.slot }
    }

    /// The slot of a name that the unit has mentioned.
    pub(super) fn slot_of(&self, text: &str) -> Option<u32> {
        let place = self.known[self.find(text)?.0 as usize].place;
        (place.unit == self.unit.number).then_some(place.slot)
    }

    pub(super) fn slots(&self) -> u32 {
        self.unit.slots()
    }

    pub(super) fn new_unit(&mut self) -> Unit {
        self.units += 1;
        Unit { number: self.units, ..Unit::default() }
    }

    /// Goes into a unit; what it gives is to be handed to [`leave`](Self::leave).
    pub(super) fn enter(&mut self, mut unit: Unit) -> Unit {
        for (slot, (name, outer)) in (0..).zip(&mut unit.names) {
            let place = &mut self.known[name.0 as usize].place;
            *outer = std::mem::replace(place, Place { unit: unit.number, slot });
        }
        std::mem::replace(&mut self.unit, unit)
    }

    /// Goes back to the unit around.
    pub(super) fn leave(&mut self, outer: Unit) -> Unit {
        for (name, place) in &self.unit.names {
            self.known[name.0 as usize].place = *place;
        }
        std::mem::replace(&mut self.unit, outer)
    }

    /// The slots of this unit for the names of another one, with their slots there.
    pub(super) fn captures(&mut self, inner: &Unit) -> Vec<(u32, u32)> {
        inner.names.iter().zip(0..).map(|((name, _), slot)| (self.variable(*name).slot, slot)).collect()
    }

    /// Where the names are in the source that they are parts of. Tokens don't know that: theirs are the places that
    /// messages speak of.
    pub(super) fn spans(&self, source: &str) -> Vec<Span> {
        let span = |known: &Known<'s>| {
            let start = known.text.as_ptr().addr().wrapping_sub(source.as_ptr().addr()) as u32;
            Span { start, end: start + known.text.len() as u32 }
        };
        self.known.iter().map(span).collect()
    }
}
