//! What a template speaks of, for tools that check it without rendering.

use std::sync::Arc;

use crate::ast::{Arguments, Ast, ExprId, ExprKind, Macro, Stmt, StmtKind};
use crate::error::Position;
use crate::value::Value;

/// The names a template uses. Each list is in source order and keeps repetitions.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Filters applied, by name.
    pub filters: Vec<NameUse>,
    /// Names called as functions that the template does not define itself, e.g. `range`, `always`.
    pub calls: Vec<NameUse>,
    /// Look-ups that start at a name of the context (or a global): the longest dotted path that is known without
    /// rendering, e.g. `parameters.name` or `steps.x.output.y`.
    pub lookups: Vec<NameUse>,
}

/// One use of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// The name, or the segments of a path; a constant index counts as a segment (`list[0]` gives `list`, `0`).
    pub path: Vec<String>,
    /// Where it starts.
    pub position: Position,
}

impl NameUse {
    /// The path with dots between its segments.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// Collects the facts of a template.
pub(crate) fn collect(ast: &Ast, source: &str) -> Facts {
    let mut collector = Collector { ast, names: Vec::new(), found: Vec::new() };
    collector.body(&ast.body);
    let mut found = collector.found;
    let mut facts = Facts::default();
    found.sort_by_key(|(_, offset, _)| *offset);
    for (kind, offset, path) in found {
        let used = NameUse { path, position: Position::find(source, offset) };
        match kind {
            Use::Filter => facts.filters.push(used),
            Use::Call => facts.calls.push(used),
            Use::Lookup => facts.lookups.push(used),
        }
    }
    facts
}

enum Use {
    Filter,
    Call,
    Lookup,
}

struct Collector<'a> {
    ast: &'a Ast,
    /// The names that the template itself has defined where the walk is.
    names: Vec<Arc<str>>,
    found: Vec<(Use, u32, Vec<String>)>,
}

impl<'a> Collector<'a> {
    fn body(&mut self, body: &'a [Stmt]) {
        for stmt in body {
            self.statement(stmt);
        }
    }

    /// A body whose names end with it.
    fn scoped(&mut self, names: impl IntoIterator<Item = Arc<str>>, body: &'a [Stmt]) {
        let outer = self.names.len();
        self.names.extend(names);
        self.body(body);
        self.names.truncate(outer);
    }

    fn statement(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::Text(_) => {}
            StmtKind::Output(expr) => self.expr(*expr),
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.expr(*condition);
                    self.body(body);
                }
                self.body(otherwise);
            }
            StmtKind::For(statement) => {
                self.expr(statement.iterable);
                let names = statement.targets.iter().cloned().chain([Arc::from("loop")]);
                self.scoped(names, &statement.body);
                self.body(&statement.otherwise);
            }
            StmtKind::Set { names, value } => {
                self.expr(*value);
                self.names.extend(names.iter().cloned());
            }
            StmtKind::SetBlock { names, body } => {
                self.body(body);
                self.names.extend(names.iter().cloned());
            }
            StmtKind::Macro(definition) => {
                self.names.push(definition.name.clone());
                self.callable(definition);
            }
            StmtKind::Call { call, caller } => {
                self.expr(*call);
                self.callable(caller);
            }
            StmtKind::Filter { filter, filter_offset, arguments, body } => {
                self.found.push((Use::Filter, *filter_offset, vec![filter.name().to_owned()]));
                self.arguments(arguments);
                self.body(body);
            }
            StmtKind::Block { body } => self.scoped([], body),
            StmtKind::Switch(switch) => {
                self.expr(switch.subject);
                for (value, body) in &switch.cases {
                    self.expr(*value);
                    self.body(body);
                }
                self.body(&switch.otherwise);
            }
        }
    }

    fn callable(&mut self, definition: &'a Macro) {
        let outer = self.names.len();
        self.names.push("caller".into());
        self.names.extend(definition.parameters.iter().map(|parameter| parameter.name.clone()));
        for default in definition.parameters.iter().filter_map(|parameter| parameter.default) {
            self.expr(default);
        }
        self.body(&definition.body);
        self.names.truncate(outer);
    }

    fn arguments(&mut self, arguments: &Arguments) {
        arguments.ids().for_each(|id| self.expr(id));
    }

    /// Walks an expression with a list of what is still to do, since an expression can be as deep as its source is long.
    fn expr(&mut self, root: ExprId) {
        let mut pending = vec![root];
        while let Some(id) = pending.pop() {
            let expr = self.ast.expr(id);
            match &expr.kind {
                ExprKind::Name(_) | ExprKind::Member { .. } | ExprKind::Index { .. } => {
                    self.look_up(id, &mut pending);
                }
                ExprKind::Filter { filter, .. } => {
                    self.found.push((Use::Filter, expr.offset, vec![filter.name().to_owned()]));
                    expr.kind.operands(&mut pending);
                }
                ExprKind::Call { callee, .. } => {
                    if let ExprKind::Name(name) = &self.ast.expr(*callee).kind
                        && !self.names.contains(name)
                    {
                        self.found.push((Use::Call, expr.offset, vec![name.to_string()]));
                    }
                    expr.kind.operands(&mut pending);
                }
                kind => kind.operands(&mut pending),
            }
        }
    }

    /// Notes the longest constant path at the start of a chain of look-ups.
    fn look_up(&mut self, id: ExprId, pending: &mut Vec<ExprId>) {
        let mut segments = Vec::new();
        let mut id = id;
        loop {
            let expr = self.ast.expr(id);
            match &expr.kind {
                ExprKind::Name(name) => {
                    if !self.names.contains(name) {
                        segments.push(name.to_string());
                        segments.reverse();
                        self.found.push((Use::Lookup, expr.offset, segments));
                    }
                    return;
                }
                ExprKind::Member { target, name } => {
                    segments.push(name.to_string());
                    id = *target;
                }
                ExprKind::Index { target, key } => {
                    match &self.ast.expr(*key).kind {
                        ExprKind::Literal(literal @ (Value::String(_) | Value::Number(_))) => {
                            segments.push(literal.to_string());
                        }
                        _ => {
                            segments.clear();
                            pending.push(*key);
                        }
                    }
                    id = *target;
                }
                _ => {
                    pending.push(id);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::Engine;

    fn facts(source: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let facts = Engine::default().parse(source).unwrap().facts();
        let names = |uses: &[super::NameUse]| uses.iter().map(super::NameUse::dotted).collect();
        (names(&facts.filters), names(&facts.calls), names(&facts.lookups))
    }

    #[test]
    fn finds_what_a_template_uses() {
        let (filters, calls, lookups) = facts(concat!(
            "${{ parameters.name | upper | default(steps['x'].output.y) }}",
            "{% for item in parameters.list %}${{ item.a }}${{ loop.index }}${{ user[item].b }}{% endfor %}",
            "{% set local = range(3) %}${{ local.length }}{% filter trim %}${{ f(secret)[0].z }}{% endfilter %}",
            "{% macro m(a, b=outer) %}${{ a }}${{ b }}${{ c }}{% endmacro %}${{ m(1) }}",
        ));
        assert_eq!(filters, ["upper", "default", "trim"]);
        assert_eq!(calls, ["range", "f"]);
        assert_eq!(
            lookups,
            ["parameters.name", "steps.x.output.y", "parameters.list", "user", "range", "f", "secret", "outer", "c"]
        );
    }

    #[test]
    fn says_where() {
        let facts = Engine::default().parse("a\n  ${{ parameters.x }}").unwrap().facts();
        assert_eq!((facts.lookups[0].position.line, facts.lookups[0].position.column), (2, 7));
    }
}
