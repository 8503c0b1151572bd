//! The immutable syntax tree.
//!
//! Expressions live in one arena and refer to each other by number: a chain of a hundred thousand operators is as deep
//! as it is long, and dropping it must not recurse. Statements nest at most as deep as [`crate::Limits::nesting_depth`].

use std::sync::Arc;

use crate::filters::FilterRef;
use crate::string::Str;
use crate::tests::TestRef;
use crate::value::Value;

/// The number of an expression in [`Ast::exprs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExprId(pub(crate) u32);

pub(crate) struct Ast {
    pub(crate) exprs: Vec<Expr>,
    pub(crate) body: Vec<Stmt>,
    /// How many slots the template's own frame has.
    pub(crate) frame: u32,
}

/// Where a name is kept that is bound by a loop, a macro's signature or a macro's definition around or before it.
///
/// `nunjucks` compiles a template to JavaScript in which such names are variables, and the compiler decides by the order
/// of the source which references mean them. Each macro, `call` body and block is a function of its own, whose
/// variables make up a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// How many frames out: a `call` body sees those around it.
    pub(crate) up: u16,
    pub(crate) index: u32,
}

impl Ast {
    pub(crate) fn expr(&self, id: ExprId) -> &Expr {
        // Ids are only made by pushing to this arena.
        &self.exprs[id.0 as usize]
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
            [only @ Stmt { kind: StmtKind::Filter { .. }, .. }] => Some(only),
            _ => None,
        }
    }

    /// Whether the template is one tag (comments aside) and no text.
    pub(crate) fn is_sole_tag(&self) -> bool {
        matches!(self.body.as_slice(), [only] if !matches!(only.kind, StmtKind::Text(_)))
    }
}

pub(crate) struct Expr {
    /// Byte offset in the source.
    pub(crate) offset: u32,
    pub(crate) kind: ExprKind,
}

pub(crate) enum ExprKind {
    Literal(Value),
    Name(Arc<str>),
    /// A name with a [`Slot`].
    Bound {
        name: Arc<str>,
        slot: Slot,
    },
    Array(Vec<ExprId>),
    Dict(Vec<(Arc<str>, ExprId)>),
    /// Parentheses: all are evaluated, the last is the value.
    Group(Vec<ExprId>),
    Member {
        target: ExprId,
        name: Arc<str>,
    },
    Index {
        target: ExprId,
        key: ExprId,
    },
    Slice(Box<Slice>),
    Call {
        callee: ExprId,
        arguments: Arguments,
    },
    Filter {
        filter: FilterRef,
        input: ExprId,
        arguments: Arguments,
    },
    Test {
        test: TestRef,
        negated: bool,
        input: ExprId,
        arguments: Arguments,
    },
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

pub(crate) struct Slice {
    pub(crate) target: ExprId,
    pub(crate) start: Option<ExprId>,
    pub(crate) stop: Option<ExprId>,
    pub(crate) step: Option<ExprId>,
}

#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<ExprId>,
    pub(crate) keyword: Vec<(Arc<str>, ExprId)>,
}

impl Arguments {
    pub(crate) fn ids(&self) -> impl Iterator<Item = ExprId> {
        self.positional.iter().copied().chain(self.keyword.iter().map(|(_, id)| *id))
    }
}

impl ExprKind {
    /// Appends the expressions that this one is made of.
    pub(crate) fn operands(&self, operands: &mut Vec<ExprId>) {
        match self {
            Self::Literal(_) | Self::Name(_) | Self::Bound { .. } => {}
            Self::Array(items) | Self::Group(items) => operands.extend(items),
            Self::Dict(entries) => operands.extend(entries.iter().map(|(_, id)| *id)),
            Self::Member { target, .. } => operands.push(*target),
            Self::Index { target, key } => operands.extend([*target, *key]),
            Self::Slice(slice) => {
                operands.push(slice.target);
                operands.extend([slice.start, slice.stop, slice.step].into_iter().flatten());
            }
            Self::Call { callee, arguments } => {
                operands.push(*callee);
                operands.extend(arguments.ids());
            }
            Self::Filter { input, arguments, .. } | Self::Test { input, arguments, .. } => {
                operands.push(*input);
                operands.extend(arguments.ids());
            }
            Self::Unary { operand, .. } => operands.push(*operand),
            Self::Binary { left, right, .. } | Self::And(left, right) | Self::Or(left, right) => {
                operands.extend([*left, *right]);
            }
            Self::In { needle, container, .. } => operands.extend([*needle, *container]),
            Self::InlineIf { condition, then, otherwise } => {
                operands.extend([*condition, *then]);
                operands.extend(otherwise);
            }
        }
    }
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

pub(crate) struct Stmt {
    /// Byte offset of the tag in the source.
    pub(crate) offset: u32,
    pub(crate) kind: StmtKind,
}

pub(crate) enum StmtKind {
    Text(Str),
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
    Macro(Arc<Macro>),
    Call {
        /// An [`ExprKind::Call`].
        call: ExprId,
        caller: Arc<Macro>,
    },
    Filter {
        filter: FilterRef,
        filter_offset: u32,
        arguments: Arguments,
        body: Vec<Stmt>,
    },
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

/// A name that gets a value.
pub(crate) struct Assigned {
    pub(crate) name: Arc<str>,
    pub(crate) slot: Option<Slot>,
}

pub(crate) struct For {
    pub(crate) targets: Vec<Assigned>,
    /// What the loop keeps of how long its last sequence was.
    pub(crate) length: Slot,
    pub(crate) iterable: ExprId,
    pub(crate) body: Vec<Stmt>,
    pub(crate) otherwise: Vec<Stmt>,
    /// Whether anything in the body says `loop`; most loops don't, and then the record is not made.
    pub(crate) uses_loop: bool,
}

pub(crate) struct Macro {
    pub(crate) name: Arc<str>,
    /// Where the definition is kept; a `call` body has no name.
    pub(crate) slot: Slot,
    /// How many slots its frame has.
    pub(crate) frame: u32,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Vec<Stmt>,
}

pub(crate) struct Parameter {
    pub(crate) name: Arc<str>,
    pub(crate) slot: Option<Slot>,
    pub(crate) default: Option<ExprId>,
}

pub(crate) struct Switch {
    pub(crate) subject: ExprId,
    pub(crate) cases: Vec<(ExprId, Vec<Stmt>)>,
    pub(crate) otherwise: Vec<Stmt>,
}
