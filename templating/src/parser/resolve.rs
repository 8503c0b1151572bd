//! Which names mean variables of their surroundings.
//!
//! The order of this walk is that of Nunjucks' compiler, since it decides what a name means: a macro is known from its
//! definition on, whether or not that is ever run, a loop's variables within the loop only.

use std::collections::HashMap;

use crate::ast::{Assigned, Ast, ExprId, ExprKind, FilterBlock, Macro, NameId, Slot, Stmt, StmtKind, Variable};

/// Gives the names of a template their slots.
pub(super) fn resolve(ast: &mut Ast) {
    let mut body = std::mem::take(&mut ast.body);
    let count = ast.names.len();
    let mut walk = Walk {
        ast,
        pending: Vec::new(),
        is_read: vec![false; count],
        bindings: vec![Binding::default(); count],
        hidden: Vec::new(),
        region: 1,
        regions: 1,
        frames: vec![0],
    };
    walk.body(&mut body);
    let (is_read, frame) = (walk.is_read, walk.frames[0]);
    mark(&mut body, &is_read);
    (ast.frame, ast.body) = (frame, body);
}

/// Where a name is bound.
#[derive(Clone, Copy, Default)]
struct Binding {
    /// What is compiled apart (a macro, a block) sees nothing of other regions.
    region: u32,
    /// The frame, by its number from the outermost of the region.
    frame: u32,
    index: u32,
}

struct Walk<'a> {
    ast: &'a mut Ast,
    pending: Vec<ExprId>,
    /// Which names are looked up while the template runs.
    is_read: Vec<bool>,
    /// By name.
    bindings: Vec<Binding>,
    /// What later bindings have hidden, to be put back where they end.
    hidden: Vec<(NameId, Binding)>,
    region: u32,
    regions: u32,
    /// How many slots each frame of the region has so far, the innermost last.
    frames: Vec<u32>,
}

impl Walk<'_> {
    fn anonymous(&mut self) -> Slot {
        let Some(count) = self.frames.last_mut() else { return Slot::default() };
        *count += 1;
        Slot { up: 0, index: *count - 1 }
    }

    fn bind(&mut self, name: NameId) -> Slot {
        let slot = self.anonymous();
        let binding = Binding { region: self.region, frame: self.frames.len() as u32 - 1, index: slot.index };
        let hidden = std::mem::replace(&mut self.bindings[name.0 as usize], binding);
        self.hidden.push((name, hidden));
        slot
    }

    fn find(&self, name: NameId) -> Option<Slot> {
        let Binding { region, frame, index } = self.bindings[name.0 as usize];
        // Frames nest no deeper than statements do.
        (region == self.region).then(|| Slot { up: (self.frames.len() as u32 - 1 - frame) as u16, index })
    }

    /// Forgets what was bound since there were so many hidden bindings.
    fn unbind(&mut self, since: usize) {
        while self.hidden.len() > since {
            if let Some((name, binding)) = self.hidden.pop() {
                self.bindings[name.0 as usize] = binding;
            }
        }
    }

    /// Walks what is compiled apart; how many slots its frame has.
    fn apart(&mut self, walk: impl FnOnce(&mut Self)) -> u32 {
        self.regions += 1;
        let region = std::mem::replace(&mut self.region, self.regions);
        let frames = std::mem::replace(&mut self.frames, vec![0]);
        let since = self.hidden.len();
        walk(self);
        self.unbind(since);
        self.region = region;
        std::mem::replace(&mut self.frames, frames)[0]
    }

    fn body(&mut self, body: &mut [Stmt]) {
        body.iter_mut().for_each(|stmt| self.statement(stmt));
    }

    fn statement(&mut self, stmt: &mut Stmt) {
        match &mut stmt.kind {
            StmtKind::Text { .. } => {}
            StmtKind::Output(expr) => self.expr(*expr),
            StmtKind::Load { template, .. } => self.expr(*template),
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.expr(*condition);
                    self.body(body);
                }
                self.body(otherwise);
            }
            StmtKind::For(statement) => {
                self.expr(statement.iterable);
                statement.length = self.anonymous();
                let since = self.hidden.len();
                for target in &mut statement.targets {
                    target.slot = Some(self.bind(target.variable.name));
                }
                self.body(&mut statement.body);
                self.body(&mut statement.otherwise);
                // What the body defines is known there only.
                self.unbind(since);
            }
            StmtKind::Set { names, value } => {
                self.expr(*value);
                self.assigned(names);
            }
            StmtKind::SetBlock { names, body } => {
                self.body(body);
                self.assigned(names);
            }
            StmtKind::Macro { name, definition } => {
                definition.slot = self.bind(name.name);
                definition.frame = self.apart(|walk| walk.callable(definition));
                definition.simple = definition.is_simple(self.ast);
            }
            StmtKind::Call { call, caller } => {
                self.expr(*call);
                let since = self.hidden.len();
                self.frames.push(0);
                self.callable(caller);
                caller.frame = self.frames.pop().unwrap_or_default();
                self.unbind(since);
            }
            StmtKind::Filter(filter) => {
                let FilterBlock { arguments, body, .. } = &mut **filter;
                self.body(body);
                let arguments: Vec<ExprId> = self.ast.arguments(arguments).collect();
                arguments.into_iter().for_each(|id| self.expr(id));
            }
            StmtKind::Block { body, frame } => {
                *frame = self.apart(|walk| walk.body(body));
            }
            StmtKind::Switch(switch) => {
                self.expr(switch.subject);
                for (value, body) in &mut switch.cases {
                    self.expr(*value);
                    self.body(body);
                }
                self.body(&mut switch.otherwise);
            }
        }
    }

    fn callable(&mut self, definition: &mut Macro) {
        let mut bound: HashMap<NameId, Slot> = HashMap::new();
        for parameter in definition.parameters.iter_mut().filter(|parameter| parameter.default.is_none()) {
            let name = parameter.variable.name;
            parameter.slot = Some(*bound.entry(name).or_insert_with(|| self.bind(name)));
        }
        for default in definition.parameters.iter().filter_map(|parameter| parameter.default) {
            self.expr(default);
        }
        self.body(&mut definition.body);
    }

    fn expr(&mut self, root: ExprId) {
        self.pending.push(root);
        while let Some(id) = self.pending.pop() {
            let kind = &self.ast.exprs[id.0 as usize].kind;
            let ExprKind::Name(Variable { name, .. }) = *kind else {
                self.ast.operands(kind, &mut self.pending);
                continue;
            };
            match self.find(name) {
                Some(slot) => self.ast.exprs[id.0 as usize].kind = ExprKind::Bound { name, slot },
                None => self.is_read[name.0 as usize] = true,
            }
        }
    }

    fn assigned(&self, names: &mut [Assigned]) {
        for name in names {
            name.slot = self.find(name.variable.name);
        }
    }
}

/// Notes which of the names that get values are ever looked up.
fn mark(body: &mut [Stmt], is_read: &[bool]) {
    let mark_all = |names: &mut [Assigned]| {
        for name in names {
            name.is_read = is_read[name.variable.name.0 as usize];
        }
    };
    for stmt in body {
        match &mut stmt.kind {
            StmtKind::Text { .. } | StmtKind::Output(_) | StmtKind::Load { .. } => {}
            StmtKind::If { branches, otherwise } => {
                branches.iter_mut().for_each(|(_, body)| mark(body, is_read));
                mark(otherwise, is_read);
            }
            StmtKind::For(statement) => {
                mark_all(&mut statement.targets);
                mark(&mut statement.body, is_read);
                mark(&mut statement.otherwise, is_read);
            }
            StmtKind::Set { names, .. } => mark_all(names),
            StmtKind::SetBlock { names, body } => {
                mark_all(names);
                mark(body, is_read);
            }
            StmtKind::Macro { definition, .. } | StmtKind::Call { caller: definition, .. } => {
                for parameter in &mut definition.parameters {
                    parameter.is_read = is_read[parameter.variable.name.0 as usize];
                }
                mark(&mut definition.body, is_read);
            }
            StmtKind::Filter(filter) => mark(&mut filter.body, is_read),
            StmtKind::Block { body, .. } => mark(body, is_read),
            StmtKind::Switch(switch) => {
                switch.cases.iter_mut().for_each(|(_, body)| mark(body, is_read));
                mark(&mut switch.otherwise, is_read);
            }
        }
    }
}
