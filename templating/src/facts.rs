//! What a template speaks of, for tools that check it without rendering.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ast::{
    Arguments, Assigned, Ast, Call, ExprId, ExprKind, FilterBlock, FilterCall, Macro, NameId, Stmt, StmtKind, TestCall,
    UnaryOp, Variable,
};
use crate::error::{Places, Position};
use crate::value::Value;

/// The names a template uses. Each list is in source order and keeps repetitions.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Filters applied, by name.
    pub filters: Vec<NameUse>,
    /// Names called as functions that the template does not define itself, e.g. `range`, `always`.
    pub calls: Vec<NameUse>,
    /// Members called as methods, by name, e.g. `split` of `parameters.list.split(',')`.
    pub methods: Vec<NameUse>,
    /// Look-ups that start at a name of the context (or a global): the longest dotted path that is known without
    /// rendering, e.g. `parameters.name` or `steps.x.output.y`.
    pub lookups: Vec<Lookup>,
}

/// One use of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameUse {
    /// The name.
    pub name: String,
    /// Where it starts.
    pub position: Position,
    /// Where it starts, in bytes.
    pub offset: usize,
}

/// One look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The segments of the path; a constant index counts as one (`list[0]` gives `list`, `0`).
    pub path: Vec<NameUse>,
    /// Whether the path goes on with something that only a render can tell (`user[key]`).
    pub is_open: bool,
    /// Whether the last segment is a method that is called.
    pub is_call: bool,
    /// How the template is prepared for the path leading to nothing.
    pub guard: Guard,
    /// Whether it stands in the body of a statement that need not be rendered: `if`, `for`, `switch`, a macro.
    pub is_conditional: bool,
}

impl Lookup {
    /// The path with dots between its segments.
    pub fn dotted(&self) -> String {
        self.path.iter().map(|segment| segment.name.as_str()).collect::<Vec<_>>().join(".")
    }
}

/// How a template is prepared for a look-up that leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Not at all.
    None,
    /// It is asked whether the value is there, or the look-up is part of a condition, or of what such a condition
    /// decides about: `a if x.y`, `{% if x.y %}${{ x.y }}{% endif %}`, `{% for a in x.y %}`.
    Condition,
    /// Something else takes the value's place: `x.y | default("")`, `x.y or z`, `x.y is defined`.
    Default,
}

/// Collects the facts of a template.
pub(crate) fn collect(ast: &Ast, source: &str) -> Facts {
    let mut collector = Collector {
        ast,
        names: Vec::new(),
        defined: HashMap::new(),
        bound: HashSet::new(),
        asked: Vec::new(),
        conditions: 0,
        found: Vec::new(),
    };
    collector.body(&ast.body);
    let Collector { bound, mut found, .. } = collector;
    let mut facts = Facts::default();
    let places = Places::new(source);
    found.sort_by_key(Found::offset);
    let name_use = |(name, offset): (Arc<str>, u32)| NameUse {
        name: name.to_string(),
        position: places.position(offset),
        offset: offset as usize,
    };
    for found in found {
        match found {
            Found::Filter(name, offset) => facts.filters.push(name_use((name, offset))),
            Found::Method(name, offset) => facts.methods.push(name_use((name, offset))),
            // A name that the template gives elsewhere may well reach as far as here.
            Found::Call(name, offset) if !bound.contains(&name) => facts.calls.push(name_use((name, offset))),
            Found::Lookup(path) if !bound.contains(&path.segments[0].0) => facts.lookups.push(Lookup {
                path: path.segments.into_iter().map(name_use).collect(),
                is_open: path.is_open,
                is_call: path.is_call,
                guard: path.guard,
                is_conditional: path.is_conditional,
            }),
            Found::Call(..) | Found::Lookup(_) => {}
        }
    }
    facts
}

/// How many paths that conditions ask for are remembered at a time.
const MAX_ASKED: usize = 256;

type Segment = (Arc<str>, u32);

enum Found {
    Filter(Arc<str>, u32),
    Method(Arc<str>, u32),
    Call(Arc<str>, u32),
    /// The path has at least one segment.
    Lookup(Path),
}

struct Path {
    segments: Vec<Segment>,
    is_open: bool,
    is_call: bool,
    guard: Guard,
    is_conditional: bool,
}

impl Found {
    fn offset(&self) -> u32 {
        match self {
            Self::Filter(_, offset) | Self::Method(_, offset) | Self::Call(_, offset) => *offset,
            Self::Lookup(path) => path.segments[0].1,
        }
    }
}

struct Collector<'a> {
    ast: &'a Ast,
    /// The names that the template itself has defined where the walk is.
    names: Vec<Arc<str>>,
    /// How often each of them is among them.
    defined: HashMap<Arc<str>, usize>,
    /// All of them, wherever.
    bound: HashSet<Arc<str>>,
    /// The paths that conditions around have asked for.
    asked: Vec<Vec<Arc<str>>>,
    /// How many bodies around need not be rendered.
    conditions: usize,
    found: Vec<Found>,
}

impl<'a> Collector<'a> {
    /// A body that need not be rendered.
    fn conditional(&mut self, body: &'a [Stmt]) {
        self.conditions += 1;
        self.body(body);
        self.conditions -= 1;
    }

    fn body(&mut self, body: &'a [Stmt]) {
        for stmt in body {
            self.statement(stmt);
        }
    }

    fn define(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        for name in names {
            self.bound.insert(name.clone());
            *self.defined.entry(name.clone()).or_default() += 1;
            self.names.push(name);
        }
    }

    fn is_defined(&self, name: &str) -> bool {
        self.defined.get(name).is_some_and(|count| *count > 0)
    }

    /// Goes back to the first so many names.
    fn forget(&mut self, count: usize) {
        for name in self.names.drain(count..) {
            if let Some(count) = self.defined.get_mut(&name) {
                *count -= 1;
            }
        }
    }

    /// A body whose names end with it.
    fn scoped(&mut self, names: impl IntoIterator<Item = Arc<str>>, body: &'a [Stmt]) {
        let outer = self.names.len();
        self.define(names);
        self.body(body);
        self.forget(outer);
    }

    fn statement(&mut self, stmt: &'a Stmt) {
        let asked = self.asked.len();
        match &stmt.kind {
            StmtKind::Text { .. } => {}
            StmtKind::Output(expr) => self.expr(*expr, Guard::None),
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.condition(*condition);
                    self.conditional(body);
                }
                self.conditional(otherwise);
            }
            StmtKind::For(statement) => {
                self.condition(statement.iterable);
                let names = self.shared(&statement.targets).into_iter().chain([Arc::from("loop")]);
                self.conditions += 1;
                self.scoped(names, &statement.body);
                self.conditions -= 1;
                self.conditional(&statement.otherwise);
            }
            StmtKind::Set { names, value } => {
                self.expr(*value, Guard::None);
                self.define(self.shared(names));
            }
            StmtKind::SetBlock { names, body } => {
                self.body(body);
                self.define(self.shared(names));
            }
            StmtKind::Macro { name, definition } => {
                self.define([self.name(name.name)]);
                self.callable(definition);
            }
            StmtKind::Call { call, caller } => {
                self.expr(*call, Guard::None);
                self.callable(caller);
            }
            StmtKind::Filter(block) => {
                let FilterBlock { filter, filter_offset, arguments, body } = &**block;
                self.found.push(Found::Filter(filter.name().into(), *filter_offset));
                self.arguments(arguments);
                self.body(body);
            }
            StmtKind::Block { body, .. } => self.scoped([], body),
            StmtKind::Load { template, .. } => self.expr(*template, Guard::None),
            StmtKind::Switch(switch) => {
                self.condition(switch.subject);
                for (value, body) in &switch.cases {
                    self.expr(*value, Guard::Condition);
                    self.conditional(body);
                }
                self.conditional(&switch.otherwise);
            }
        }
        self.asked.truncate(asked);
    }

    fn callable(&mut self, definition: &'a Macro) {
        let outer = self.names.len();
        let parameters = definition.parameters.iter().map(|parameter| self.name(parameter.variable.name));
        let parameters: Vec<_> = parameters.chain(["caller".into()]).collect();
        self.define(parameters);
        for default in definition.parameters.iter().filter_map(|parameter| parameter.default) {
            self.expr(default, Guard::None);
        }
        self.conditional(&definition.body);
        self.forget(outer);
    }

    fn arguments(&mut self, arguments: &Arguments) {
        let ast = self.ast;
        ast.arguments(arguments).for_each(|id| self.expr(id, Guard::None));
    }

    fn name(&self, name: NameId) -> Arc<str> {
        self.ast.name(name).into()
    }

    fn shared(&self, names: &[Assigned]) -> Vec<Arc<str>> {
        names.iter().map(|assigned| self.name(assigned.variable.name)).collect()
    }

    /// What is decided by the expression may rely on what it asks for, until the statement ends.
    fn condition(&mut self, id: ExprId) {
        self.expr(id, Guard::Condition);
        self.ask(id, true);
    }

    /// Notes the paths that the conditions within an expression ask for; of a condition, all of its paths.
    fn ask(&mut self, root: ExprId, is_condition: bool) {
        let mut pending = vec![(root, is_condition)];
        let mut operands = Vec::new();
        while let Some((id, asks)) = pending.pop() {
            let expr = self.ast.expr(id);
            match &expr.kind {
                ExprKind::Name(_) | ExprKind::Member { .. } | ExprKind::Index { .. } => {
                    let (path, inner) = self.path(id);
                    pending.extend(inner.into_iter().map(|id| (id, asks)));
                    if let Some(path) = path.filter(|_| asks && self.asked.len() < MAX_ASKED) {
                        self.asked.push(path.segments.into_iter().map(|(name, _)| name).collect());
                    }
                }
                ExprKind::InlineIf { condition, then, otherwise } => {
                    pending.push((*condition, true));
                    pending.extend([*then].into_iter().chain(*otherwise).map(|id| (id, asks)));
                }
                ExprKind::And(left, right) => pending.extend([(*left, true), (*right, asks)]),
                ExprKind::Test(_) => {
                    self.ast.operands(&expr.kind, &mut operands);
                    pending.extend(operands.drain(..).map(|id| (id, true)));
                }
                kind => {
                    self.ast.operands(kind, &mut operands);
                    pending.extend(operands.drain(..).map(|id| (id, asks)));
                }
            }
        }
    }

    /// Walks an expression with a list of what is still to do, since an expression can be as deep as its source is long.
    fn expr(&mut self, root: ExprId, guard: Guard) {
        let outer = self.asked.len();
        self.ask(root, false);
        let mut pending = vec![(root, guard, false)];
        let mut operands = Vec::new();
        while let Some((id, guard, is_callee)) = pending.pop() {
            let expr = self.ast.expr(id);
            // What stands for a missing value elsewhere says nothing about an argument.
            let argument = guard.min(Guard::Condition);
            match &expr.kind {
                ExprKind::Name(_) | ExprKind::Member { .. } | ExprKind::Index { .. } => {
                    let inner = self.look_up(id, guard, is_callee);
                    pending.extend(inner.into_iter().map(|id| (id, argument, false)));
                }
                ExprKind::Filter(call) => {
                    let FilterCall { filter, input, arguments } = &**call;
                    self.found.push(Found::Filter(filter.name().into(), expr.offset));
                    let is_replaced = matches!(filter.name(), "default" | "d");
                    pending.push((*input, if is_replaced { Guard::Default } else { guard }, false));
                    pending.extend(self.ast.arguments(arguments).map(|id| (id, argument, false)));
                }
                ExprKind::Test(call) => {
                    let TestCall { test, input, arguments, .. } = &**call;
                    let asks = matches!(test.name(), "defined" | "undefined");
                    pending.push((*input, if asks { Guard::Default } else { guard.max(Guard::Condition) }, false));
                    pending.extend(self.ast.arguments(arguments).map(|id| (id, argument, false)));
                }
                ExprKind::Or(left, right) => pending.extend([(*left, Guard::Default, false), (*right, guard, false)]),
                ExprKind::And(left, right) => {
                    pending.extend([(*left, guard.max(Guard::Condition), false), (*right, guard, false)]);
                }
                ExprKind::InlineIf { condition, then, otherwise } => {
                    pending.push((*condition, guard.max(Guard::Condition), false));
                    pending.extend([*then].into_iter().chain(*otherwise).map(|id| (id, guard, false)));
                }
                ExprKind::Call(call) => {
                    let Call { callee, arguments } = &**call;
                    if let ExprKind::Name(Variable { name, .. }) = &self.ast.expr(*callee).kind {
                        let name = self.name(*name);
                        if !self.is_defined(&name) {
                            self.found.push(Found::Call(name, expr.offset));
                        }
                    }
                    pending.push((*callee, guard, true));
                    pending.extend(self.ast.arguments(arguments).map(|id| (id, argument, false)));
                }
                ExprKind::Unary { op: UnaryOp::Not, operand } => {
                    pending.push((*operand, guard.max(Guard::Condition), false));
                }
                kind => {
                    self.ast.operands(kind, &mut operands);
                    pending.extend(operands.drain(..).map(|id| (id, guard, false)));
                }
            }
        }
        self.asked.truncate(outer);
    }

    /// Notes a look-up; gives the expressions within it that are none of its constant segments.
    fn look_up(&mut self, id: ExprId, guard: Guard, is_callee: bool) -> Vec<ExprId> {
        let expr = self.ast.expr(id);
        if let (ExprKind::Member { name, .. }, true) = (&expr.kind, is_callee) {
            self.found.push(Found::Method(self.name(*name), expr.offset));
        }
        let (path, inner) = self.path(id);
        if let Some(path) = path {
            let names = || path.segments.iter().map(|(name, _)| name);
            let is_asked = self.asked.iter().any(|asked| {
                asked.len() <= path.segments.len() && asked.iter().zip(names()).all(|(asked, name)| asked == name)
            });
            let guard = if is_asked { guard.max(Guard::Condition) } else { guard };
            let is_call = is_callee && !path.is_open;
            self.found.push(Found::Lookup(Path { guard, is_call, is_conditional: self.conditions > 0, ..path }));
        }
        inner
    }

    /// The longest constant path at the start of a chain of look-ups, if it starts at a name that is not the template's
    /// own; and what else there is to walk.
    fn path(&self, id: ExprId) -> (Option<Path>, Vec<ExprId>) {
        let mut segments: Vec<Segment> = Vec::new();
        let mut inner = Vec::new();
        let mut is_open = false;
        let mut id = id;
        loop {
            let expr = self.ast.expr(id);
            match &expr.kind {
                ExprKind::Name(Variable { name, .. }) => {
                    let name = self.name(*name);
                    if self.is_defined(&name) {
                        return (None, inner);
                    }
                    segments.push((name, expr.offset));
                    segments.reverse();
                    segments.shrink_to_fit();
                    return (
                        Some(Path { segments, is_open, is_call: false, guard: Guard::None, is_conditional: false }),
                        inner,
                    );
                }
                ExprKind::Member { target, name, .. } => {
                    segments.push((self.name(*name), expr.offset));
                    id = *target;
                }
                ExprKind::Index { target, key, .. } => {
                    let key_expr = self.ast.expr(*key);
                    match &key_expr.kind {
                        ExprKind::Literal(literal @ (Value::String(_) | Value::Number(_))) => {
                            segments.push((literal.to_string().into(), key_expr.offset));
                        }
                        _ => {
                            segments.clear();
                            is_open = true;
                            inner.push(*key);
                        }
                    }
                    id = *target;
                }
                _ => {
                    inner.push(id);
                    return (None, inner);
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
        let names = |uses: &[super::NameUse]| uses.iter().map(|used| used.name.clone()).collect();
        (names(&facts.filters), names(&facts.calls), facts.lookups.iter().map(super::Lookup::dotted).collect())
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
        let facts = Engine::default().parse("a\n  ${{ parameters['x'].y.split(',')[i].z }}").unwrap().facts();
        let lookup = &facts.lookups[0];
        let places: Vec<_> = lookup
            .path
            .iter()
            .map(|segment| (segment.position.line, segment.position.column, segment.offset))
            .collect();
        assert_eq!(places, [(2, 7, 8), (2, 18, 19), (2, 23, 24), (2, 25, 26)]);
        assert!(lookup.is_call);
        assert_eq!((facts.methods[0].name.as_str(), facts.methods[0].offset), ("split", 26));
        let facts = Engine::default().parse("${{ a[b].c }}").unwrap().facts();
        assert!(facts.lookups[0].is_open && !facts.lookups[1].is_open);
        assert_eq!(facts.lookups[0].dotted(), "a");
    }

    #[test]
    fn knows_what_need_not_be_rendered() {
        let source = "${{ a }}{% if b %}${{ c }}{% else %}${{ d }}{% endif %}{% for x in e %}${{ f }}{% endfor %}${{ g }}{% macro m() %}${{ h }}{% endmacro %}";
        let facts = Engine::default().parse(source).unwrap().facts();
        let conditional: String =
            facts.lookups.iter().filter(|lookup| lookup.is_conditional).map(super::Lookup::dotted).collect();
        assert_eq!(conditional, "cdfh");
    }

    #[test]
    fn knows_where_a_missing_value_is_provided_for() {
        use super::Guard::{Condition, Default, None};
        for (source, expected) in [
            ("${{ v.a }}", &[None][..]),
            ("${{ v.a | upper }}", &[None]),
            ("${{ v.a | default(v.b) }}", &[Default, None]),
            ("${{ v.a | trim | d('') }}", &[Default]),
            ("${{ v.a or v.b }}", &[Default, None]),
            ("${{ v.a and v.a.b and v.c }}", &[Condition, Condition, None]),
            ("${{ v.a if v.a else v.c }}", &[Condition, Condition, None]),
            ("${{ v.x is defined }}", &[Default]),
            ("${{ v.x is odd }}", &[Condition]),
            ("${{ not v.x }}", &[Condition]),
            (
                "{% if v.a == 'x' %}${{ v.a.b }}${{ v.c }}{% elif v.d %}${{ v.d }}{% endif %}${{ v.a }}",
                &[Condition, Condition, None, Condition, Condition, None],
            ),
            ("{% for x in v.list %}${{ x }}${{ v.list[0] }}{% endfor %}", &[Condition, Condition]),
            ("{% set x = v.a %}${{ x }}", &[None]),
            ("{% if v.a is defined %}${{ v.a }}{% endif %}", &[Default, Condition]),
            ("{% switch v.a %}{% case v.b %}${{ v.c }}{% endswitch %}", &[Condition, Condition, None]),
        ] {
            let facts = Engine::default().parse(source).unwrap().facts();
            let guards: Vec<_> = facts.lookups.iter().map(|lookup| lookup.guard).collect();
            assert_eq!(guards, expected, "{source}");
        }
    }
}
