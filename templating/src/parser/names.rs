//! Which names mean variables of their surroundings.
//!
//! The order of this walk is that of Nunjucks' compiler, since it decides what a name means: a macro is known from its
//! definition on, whether or not that is ever run, a loop's variables within the loop only.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Assigned, Ast, Expr, ExprId, ExprKind, Macro, Slot, Stmt, StmtKind};

/// Gives the names of a template their slots.
pub(super) fn resolve(ast: &mut Ast) {
    let mut body = std::mem::take(&mut ast.body);
    let mut walk = Walk { exprs: &mut ast.exprs, pending: Vec::new() };
    let mut region = Region { frames: vec![0], bindings: HashMap::new() };
    walk.body(&mut body, &mut region);
    ast.frame = region.frames[0];
    ast.body = body;
}

/// What is bound where the walk is.
struct Region {
    /// How many slots each frame has so far, the innermost last.
    frames: Vec<u32>,
    /// The frame, by its number from the outermost, and the slot in it.
    bindings: HashMap<Arc<str>, (usize, u32)>,
}

impl Region {
    fn anonymous(&mut self) -> Slot {
        let Some(count) = self.frames.last_mut() else { return Slot::default() };
        *count += 1;
        Slot { up: 0, index: *count - 1 }
    }

    fn bind(&mut self, name: &Arc<str>) -> Slot {
        let slot = self.anonymous();
        self.bindings.insert(name.clone(), (self.frames.len() - 1, slot.index));
        slot
    }

    fn find(&self, name: &str) -> Option<Slot> {
        let (frame, index) = *self.bindings.get(name)?;
        // Frames nest no deeper than statements do.
        Some(Slot { up: (self.frames.len() - 1 - frame) as u16, index })
    }
}

struct Walk<'a> {
    exprs: &'a mut Vec<Expr>,
    pending: Vec<ExprId>,
}

impl Walk<'_> {
    fn body(&mut self, body: &mut [Stmt], region: &mut Region) {
        body.iter_mut().for_each(|stmt| self.statement(stmt, region));
    }

    fn statement(&mut self, stmt: &mut Stmt, region: &mut Region) {
        match &mut stmt.kind {
            StmtKind::Text(_) => {}
            StmtKind::Output(expr) => self.expr(*expr, region),
            StmtKind::Load { template, .. } => self.expr(*template, region),
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.expr(*condition, region);
                    self.body(body, region);
                }
                self.body(otherwise, region);
            }
            StmtKind::For(statement) => {
                self.expr(statement.iterable, region);
                statement.length = region.anonymous();
                let outer = region.bindings.clone();
                for target in &mut statement.targets {
                    target.slot = Some(region.bind(&target.name));
                }
                self.body(&mut statement.body, region);
                self.body(&mut statement.otherwise, region);
                region.bindings = outer;
            }
            StmtKind::Set { names, value } => {
                self.expr(*value, region);
                assigned(names, region);
            }
            StmtKind::SetBlock { names, body } => {
                self.body(body, region);
                assigned(names, region);
            }
            StmtKind::Macro(definition) => {
                let slot = region.bind(&definition.name);
                let mut own = Region { frames: vec![0], bindings: HashMap::new() };
                // Nothing else has it yet.
                if let Some(definition) = Arc::get_mut(definition) {
                    definition.slot = slot;
                    self.callable(definition, &mut own);
                }
            }
            StmtKind::Call { call, caller } => {
                self.expr(*call, region);
                let mut own = Region { frames: region.frames.clone(), bindings: region.bindings.clone() };
                own.frames.push(0);
                if let Some(caller) = Arc::get_mut(caller) {
                    self.callable(caller, &mut own);
                }
            }
            StmtKind::Filter { arguments, body, .. } => {
                self.body(body, region);
                arguments.ids().for_each(|id| self.expr(id, region));
            }
            StmtKind::Block { body, frame } => {
                let mut own = Region { frames: vec![0], bindings: HashMap::new() };
                self.body(body, &mut own);
                *frame = own.frames[0];
            }
            StmtKind::Switch(switch) => {
                self.expr(switch.subject, region);
                for (value, body) in &mut switch.cases {
                    self.expr(*value, region);
                    self.body(body, region);
                }
                self.body(&mut switch.otherwise, region);
            }
        }
    }

    fn callable(&mut self, definition: &mut Macro, region: &mut Region) {
        let mut bound: Vec<(Arc<str>, Slot)> = Vec::new();
        for parameter in definition.parameters.iter_mut().filter(|parameter| parameter.default.is_none()) {
            let known = bound.iter().find(|(name, _)| *name == parameter.name).map(|(_, slot)| *slot);
            let slot = known.unwrap_or_else(|| region.bind(&parameter.name));
            bound.push((parameter.name.clone(), slot));
            parameter.slot = Some(slot);
        }
        for default in definition.parameters.iter().filter_map(|parameter| parameter.default) {
            self.expr(default, region);
        }
        self.body(&mut definition.body, region);
        definition.frame = region.frames.last().copied().unwrap_or_default();
    }

    fn expr(&mut self, root: ExprId, region: &Region) {
        self.pending.push(root);
        while let Some(id) = self.pending.pop() {
            let kind = &mut self.exprs[id.0 as usize].kind;
            match kind {
                ExprKind::Name(name) => {
                    if let Some(slot) = region.find(name) {
                        *kind = ExprKind::Bound { name: name.clone(), slot };
                    }
                }
                kind => kind.operands(&mut self.pending),
            }
        }
    }
}

fn assigned(names: &mut [Assigned], region: &Region) {
    for name in names {
        name.slot = region.find(&name.name);
    }
}
