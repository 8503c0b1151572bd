//! The immutable syntax tree.
//!
//! Expressions live in one arena and refer to each other by number: a chain of a hundred thousand operators is as deep
//! as it is long, and dropping it must not recurse. Statements nest at most as deep as [`crate::Limits::nesting_depth`].
//!
//! Names are numbers too. Each macro, each body of a `call` and the template itself is a *unit*; a unit gives every name
//! that is mentioned in it a *slot*, so that a running unit keeps its variables in a row.

use std::sync::Arc;

use crate::filters::FilterRef;
use crate::shape::Shape;
use crate::tests::TestRef;
use crate::value::Value;

/// The number of an expression in [`Ast::exprs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExprId(pub(crate) u32);

/// The number of a name in [`Ast::names`]. Equal names have equal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NameId(pub(crate) u32);

/// The number of a look-up in the tree. What a render learns about where its key is, it keeps under this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LookupId(pub(crate) u32);

/// A name where it is mentioned as a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: NameId,
    /// Where its unit keeps it.
    pub(crate) slot: u32,
}

/// Where a name is kept that is bound by a loop, a macro's signature or a macro's definition around or before it.
///
/// `nunjucks` compiles a template to JavaScript in which such names are variables, and the compiler decides by the order
/// of the source which references mean them. Each macro, `call` body and block is a function of its own, whose
/// variables make up a frame. All other names are looked up in the scopes of the running unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// How many frames out: a `call` body sees those around it.
    pub(crate) up: u16,
    pub(crate) index: u32,
}

/// A name that gets a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assigned {
    pub(crate) variable: Variable,
    pub(crate) slot: Option<Slot>,
    /// Whether the name is looked up anywhere; where it isn't, no scope needs it.
    pub(crate) is_read: bool,
}

impl From<Variable> for Assigned {
    fn from(variable: Variable) -> Self {
        Self { variable, slot: None, is_read: true }
    }
}

/// A stretch of the source, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Some neighbours in one of the lists of the tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Run {
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

#[derive(Default)]
pub(crate) struct Ast {
    pub(crate) source: Arc<str>,
    pub(crate) exprs: Vec<Expr>,
    /// The elements of arrays and groups, and positional arguments.
    pub(crate) lists: Vec<ExprId>,
    pub(crate) keywords: Vec<(NameId, ExprId)>,
    pub(crate) names: Vec<Span>,
    pub(crate) body: Vec<Stmt>,
    /// How many slots the template needs for itself.
    pub(crate) slots: u32,
    /// How many slots the template's own frame has.
    pub(crate) frame: u32,
    pub(crate) lookups: u32,
    /// Whether there is anything that sees what the template exports: another unit, or what follows a `filter` block.
    pub(crate) has_units: bool,
}

impl Ast {
    #[inline]
    pub(crate) fn expr(&self, id: ExprId) -> &Expr {
        // Ids are only made by pushing to this arena.
        &self.exprs[id.0 as usize]
    }

    pub(crate) fn name(&self, id: NameId) -> &str {
        self.text(self.names[id.0 as usize])
    }

    /// The slot of a name that the template itself mentions.
    pub(crate) fn template_slot(&self, name: &str) -> Option<u32> {
        self.exprs.iter().find_map(|expr| match expr.kind {
            ExprKind::Name(variable) if self.name(variable.name) == name => Some(variable.slot),
            _ => None,
        })
    }

    #[inline]
    pub(crate) fn text(&self, span: Span) -> &str {
        &self.source[span.start as usize..span.end as usize]
    }

    pub(crate) fn list(&self, run: Run) -> &[ExprId] {
        run_of(run, &self.lists)
    }

    pub(crate) fn positional(&self, arguments: &Arguments) -> &[ExprId] {
        run_of(arguments.positional, &self.lists)
    }

    pub(crate) fn keywords(&self, arguments: &Arguments) -> &[(NameId, ExprId)] {
        run_of(arguments.keyword, &self.keywords)
    }

    pub(crate) fn arguments(&self, arguments: &Arguments) -> impl Iterator<Item = ExprId> {
        let keywords = self.keywords(arguments).iter().map(|(_, id)| *id);
        self.positional(arguments).iter().copied().chain(keywords)
    }

    /// The expression of a template that is one interpolation and nothing else, and where the interpolation is.
    pub(crate) fn sole_interpolation(&self) -> Option<(ExprId, u32)> {
        match self.body.as_slice() {
            [Stmt { kind: StmtKind::Output(expr), offset }] => Some((*expr, *offset)),
            _ => None,
        }
    }

    /// The `filter` block of a template that is one and nothing else: it has a value as an interpolation has.
    pub(crate) fn sole_filter_block(&self) -> Option<&Stmt> {
        match self.body.as_slice() {
            [only @ Stmt { kind: StmtKind::Filter(_), .. }] => Some(only),
            _ => None,
        }
    }

    /// Whether the template is one tag (comments aside) and no text.
    pub(crate) fn is_sole_tag(&self) -> bool {
        matches!(self.body.as_slice(), [only] if !matches!(only.kind, StmtKind::Text { .. }))
    }

    /// Appends the expressions that `kind` is made of.
    pub(crate) fn operands(&self, kind: &ExprKind, operands: &mut Vec<ExprId>) {
        match kind {
            ExprKind::Literal(_) | ExprKind::Name(_) | ExprKind::Bound { .. } => {}
            ExprKind::Array(items) | ExprKind::Group(items) => operands.extend(self.list(*items)),
            ExprKind::Dict(dict) => operands.extend(&dict.values),
            ExprKind::Member { target, .. } => operands.push(*target),
            ExprKind::Index { target, key, .. } => operands.extend([*target, *key]),
            ExprKind::Slice(slice) => {
                operands.push(slice.target);
                operands.extend([slice.start, slice.stop, slice.step].into_iter().flatten());
            }
            ExprKind::Call(call) => {
                operands.push(call.callee);
                operands.extend(self.arguments(&call.arguments));
            }
            ExprKind::Filter(filter) => {
                operands.push(filter.input);
                operands.extend(self.arguments(&filter.arguments));
            }
            ExprKind::Test(test) => {
                operands.push(test.input);
                operands.extend(self.arguments(&test.arguments));
            }
            ExprKind::Unary { operand, .. } => operands.push(*operand),
            ExprKind::Binary { left, right, .. } | ExprKind::And(left, right) | ExprKind::Or(left, right) => {
                operands.extend([*left, *right]);
            }
            ExprKind::In { needle, container, .. } => operands.extend([*needle, *container]),
            ExprKind::InlineIf { condition, then, otherwise } => {
                operands.extend([*condition, *then]);
                operands.extend(otherwise);
            }
        }
    }
}

fn run_of<T>(run: Run, all: &[T]) -> &[T] {
    // Runs are made together with what they are of.
    &all[run.start as usize..run.end as usize]
}

pub(crate) struct Expr {
    /// Byte offset in the source.
    pub(crate) offset: u32,
    /// If the expression only looks up and computes, the work units that takes at most; otherwise 0.
    pub(crate) cost: u16,
    /// Then also how many levels it has.
    pub(crate) height: u16,
    pub(crate) kind: ExprKind,
}

pub(crate) enum ExprKind {
    Literal(Value),
    Name(Variable),
    /// A name with a [`Slot`].
    Bound {
        name: NameId,
        slot: Slot,
    },
    Array(Run),
    Dict(Box<Dict>),
    /// Parentheses: all are evaluated, the last is the value.
    Group(Run),
    Member {
        target: ExprId,
        name: NameId,
        lookup: LookupId,
        /// Which field of a loop's record this is, if the target is a loop.
        field: Option<LoopField>,
        /// Whether the target is a path: a name or a literal with look-ups after it, whose keys are paths too.
        is_path: bool,
    },
    Index {
        target: ExprId,
        key: ExprId,
        lookup: LookupId,
        /// As for members; the key must be a path as well.
        is_path: bool,
    },
    Slice(Box<Slice>),
    Call(Box<Call>),
    Filter(Box<FilterCall>),
    Test(Box<TestCall>),
    Unary {
        op: UnaryOp,
        operand: ExprId,
    },
    Binary {
        op: BinaryOp,
        left: ExprId,
        right: ExprId,
    },
    In {
        negated: bool,
        needle: ExprId,
        container: ExprId,
    },
    And(ExprId, ExprId),
    Or(ExprId, ExprId),
    InlineIf {
        condition: ExprId,
        then: ExprId,
        otherwise: Option<ExprId>,
    },
}

impl ExprKind {
    /// Whether nothing but looking up is needed to evaluate this.
    pub(crate) fn is_path(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Name(_) | Self::Bound { .. } => true,
            Self::Member { is_path, .. } | Self::Index { is_path, .. } => *is_path,
            _ => false,
        }
    }
}

/// The fields of `loop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoopField {
    Index,
    Index0,
    RevIndex,
    RevIndex0,
    First,
    Last,
    Length,
}

impl LoopField {
    pub(crate) const ALL: [(&str, Self); 7] = [
        ("index", Self::Index),
        ("index0", Self::Index0),
        ("revindex", Self::RevIndex),
        ("revindex0", Self::RevIndex0),
        ("first", Self::First),
        ("last", Self::Last),
        ("length", Self::Length),
    ];

    pub(crate) fn find(name: &str) -> Option<Self> {
        // For a compiler, a match is another thing than a walk.
        Some(match name {
            "index" => Self::Index,
            "index0" => Self::Index0,
            "revindex" => Self::RevIndex,
            "revindex0" => Self::RevIndex0,
            "first" => Self::First,
            "last" => Self::Last,
            "length" => Self::Length,
            _ => return None,
        })
    }
}

/// A record written out.
pub(crate) struct Dict {
    pub(crate) keys: Vec<Arc<str>>,
    pub(crate) values: Vec<ExprId>,
    /// The shape of the record, unless a key comes twice or is an array index.
    pub(crate) shape: Option<Arc<Shape>>,
}

pub(crate) struct Slice {
    pub(crate) target: ExprId,
    pub(crate) start: Option<ExprId>,
    pub(crate) stop: Option<ExprId>,
    pub(crate) step: Option<ExprId>,
}

pub(crate) struct Call {
    pub(crate) callee: ExprId,
    pub(crate) arguments: Arguments,
}

pub(crate) struct FilterCall {
    pub(crate) filter: FilterRef,
    pub(crate) input: ExprId,
    pub(crate) arguments: Arguments,
}

pub(crate) struct TestCall {
    pub(crate) test: TestRef,
    pub(crate) negated: bool,
    pub(crate) input: ExprId,
    pub(crate) arguments: Arguments,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Run,
    pub(crate) keyword: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Not,
    Negate,
    Plus,
    /// What is left of `//` once its operands have been divided.
    Floor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Concat,
    Multiply,
    Divide,
    Remainder,
    Power,
    Equal,
    NotEqual,
    StrictEqual,
    StrictNotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl BinaryOp {
    #[inline]
    pub(crate) fn is_comparison(self) -> bool {
        self.is_equality() || matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    #[inline]
    pub(crate) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::StrictEqual | Self::StrictNotEqual)
    }

    /// Whether the result is a number whatever the operands are.
    #[inline]
    pub(crate) fn is_arithmetic(self) -> bool {
        matches!(self, Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder | Self::Power)
    }
}

pub(crate) struct Stmt {
    /// Byte offset of the tag in the source.
    pub(crate) offset: u32,
    pub(crate) kind: StmtKind,
}

pub(crate) enum StmtKind {
    Text {
        span: Span,
        /// The length in UTF-16 code units.
        units: u32,
    },
    Output(ExprId),
    If {
        branches: Vec<(ExprId, Vec<Stmt>)>,
        otherwise: Vec<Stmt>,
    },
    For(Box<For>),
    Set {
        names: Vec<Assigned>,
        value: ExprId,
    },
    SetBlock {
        names: Vec<Assigned>,
        body: Vec<Stmt>,
    },
    Macro {
        name: Variable,
        definition: Box<Macro>,
    },
    Call {
        /// An [`ExprKind::Call`].
        call: ExprId,
        caller: Box<Macro>,
    },
    Filter(Box<FilterBlock>),
    Block {
        body: Vec<Stmt>,
        frame: u32,
    },
    Switch(Box<Switch>),
    /// In the older dialect: asks for another template, and there is none.
    Load {
        template: ExprId,
        ignore_missing: bool,
    },
}

pub(crate) struct FilterBlock {
    pub(crate) filter: FilterRef,
    pub(crate) filter_offset: u32,
    pub(crate) arguments: Arguments,
    pub(crate) body: Vec<Stmt>,
}

pub(crate) struct For {
    pub(crate) targets: Vec<Assigned>,
    /// What the loop keeps of how long its last sequence was.
    pub(crate) length: Slot,
    pub(crate) iterable: ExprId,
    pub(crate) body: Vec<Stmt>,
    pub(crate) otherwise: Vec<Stmt>,
    /// The variable `loop`, if anything in the body says so; most loops don't.
    pub(crate) loop_variable: Option<Variable>,
}

/// A macro, or the body of a `call`.
pub(crate) struct Macro {
    /// Where the definition is kept; a `call` body has no name.
    pub(crate) slot: Slot,
    /// How many slots its frame has.
    pub(crate) frame: u32,
    /// Those without a default come first.
    pub(crate) parameters: Vec<Parameter>,
    /// How many parameters have no default.
    pub(crate) required: usize,
    /// Whether each argument has a place of its own that is known before any is evaluated; see [`Macro::is_simple`].
    pub(crate) simple: bool,
    pub(crate) body: Vec<Stmt>,
    /// How many slots the unit needs.
    pub(crate) slots: u32,
    /// The slot of `caller`, if the unit mentions it.
    pub(crate) caller: Option<u32>,
    /// For the body of a `call`: the slots of the surrounding unit that it sees, and where it has them itself.
    pub(crate) captures: Vec<(u32, u32)>,
}

impl Macro {
    /// Whether no two parameters have the same name, the defaults are literals, nothing asks for `caller` and there are
    /// few names: then arguments can be put where the macro will look for them.
    pub(crate) fn is_simple(&self, ast: &Ast) -> bool {
        const MOST: u32 = 32;
        let is_literal = |default: ExprId| matches!(&ast.expr(default).kind, ExprKind::Literal(value) if !matches!(value, Value::Regex(_)));
        let is_first = |index: usize, name: NameId| {
            self.parameters[..index].iter().all(|parameter| parameter.variable.name != name)
        };
        self.caller.is_none()
            && self.captures.is_empty()
            && self.slots < MOST
            && self.frame < MOST
            && self.parameters.len() < MOST as usize
            && self.parameters.iter().enumerate().all(|(index, parameter)| {
                is_first(index, parameter.variable.name) && parameter.default.is_none_or(is_literal)
            })
    }
}

pub(crate) struct Parameter {
    pub(crate) variable: Variable,
    pub(crate) slot: Option<Slot>,
    /// As for [`Assigned`].
    pub(crate) is_read: bool,
    pub(crate) default: Option<ExprId>,
}

pub(crate) struct Switch {
    pub(crate) subject: ExprId,
    pub(crate) cases: Vec<(ExprId, Vec<Stmt>)>,
    pub(crate) otherwise: Vec<Stmt>,
}
