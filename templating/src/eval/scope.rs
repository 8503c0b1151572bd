//! Which names mean what, while a template runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::ast::Slot;
use crate::value::Value;

/// The variables of one run of a macro, a block, the body of a `call` or the template itself; see [`Slot`].
pub(super) struct Frame {
    values: RefCell<Vec<Value>>,
    /// For the body of a `call`: where it was written.
    outer: Option<Rc<Frame>>,
}

impl Frame {
    pub(super) fn new(slots: u32) -> Rc<Self> {
        Rc::new(Self { values: RefCell::new(vec![Value::Undefined; slots as usize]), outer: None })
    }

    pub(super) fn within(slots: u32, outer: Rc<Self>) -> Rc<Self> {
        Rc::new(Self { values: RefCell::new(vec![Value::Undefined; slots as usize]), outer: Some(outer) })
    }

    fn owner(&self, slot: Slot) -> &Self {
        (0..slot.up).fold(self, |frame, _| frame.outer.as_deref().unwrap_or(frame))
    }

    pub(super) fn get(&self, slot: Slot) -> Value {
        self.owner(slot).values.borrow().get(slot.index as usize).cloned().unwrap_or_default()
    }

    pub(super) fn set(&self, slot: Slot, value: Value) {
        if let Some(place) = self.owner(slot).values.borrow_mut().get_mut(slot.index as usize) {
            *place = value;
        }
    }
}

/// What macros everywhere see of what is defined where a render is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exporting {
    pub(super) macros: bool,
    pub(super) assignments: bool,
}

/// The names of one loop, macro, block or of the template itself.
#[derive(Default)]
pub(super) struct Scope {
    names: RefCell<Vec<(Arc<str>, Value)>>,
    parent: Option<Rc<Scope>>,
    /// Whether an assignment made here stays here even if an outer scope has the name.
    isolates: bool,
}

impl Scope {
    /// A scope that sees nothing but the context.
    pub(super) fn detached() -> Rc<Self> {
        Rc::default()
    }

    /// A loop's scope: an assignment goes to the scope that has the name.
    pub(super) fn nested(parent: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: Some(parent.clone()), isolates: false })
    }

    /// The scope of a block or a `call` body: it sees its surroundings but does not change them.
    pub(super) fn isolated(parent: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: Some(parent.clone()), isolates: true })
    }

    /// The value of a name, here or in an outer scope.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let mut scope = self;
        loop {
            if let Some(value) = scope.own(name) {
                return Some(value);
            }
            scope = scope.parent.as_deref()?;
        }
    }

    fn own(&self, name: &str) -> Option<Value> {
        let names = self.names.borrow();
        names.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone())
    }

    /// Sets a name in this very scope.
    pub(super) fn declare(&self, name: &Arc<str>, value: Value) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => names.push((name.clone(), value)),
        }
    }

    /// Sets a name where it is found, else here.
    pub(super) fn assign(&self, name: &Arc<str>, value: Value) {
        let mut scope = self;
        while scope.own(name).is_none() {
            let outer = if scope.isolates { None } else { scope.parent.as_deref() };
            match outer {
                Some(outer) => scope = outer,
                None => return self.declare(name, value),
            }
        }
        scope.declare(name, value);
    }
}
