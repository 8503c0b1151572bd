//! Runs a syntax tree.
//!
//! One [`Interp`] is one render. It owns everything a render may change: variables, the contents of changed arrays,
//! cyclers, budgets, the text written so far. Nothing of it outlives the render, and the tree, the context and the
//! settings are only borrowed: values of the context are referred to, not copied ([`Val`]).
//!
//! What only looks at things is in [`Env`], apart from the text being written, so that a value can be written from where
//! it is.

mod call;
mod convert;
mod env;
mod expression;
mod fast;
mod heap;
mod hint;
mod operand;
mod output;
mod path;
mod scope;
mod statement;

use std::ops::{Deref, DerefMut};

pub(crate) use self::call::Arguments;
pub(crate) use self::convert::strictly_equal;
pub(crate) use self::env::Env;
pub(crate) use self::heap::not_text;
pub(crate) use self::path::Hint;
use crate::ast::{Ast, ExprId, Stmt};
use crate::context::Context;
use crate::engine::Settings;
use crate::error::Res;
use crate::string::StrBuilder;
use crate::value::Value;

/// A value that an expression gave: one of the context or of the tree, or one of its own.
#[derive(Clone)]
pub(crate) enum Val<'t> {
    Ref(&'t Value),
    Own(Value),
}

impl Val<'_> {
    /// `undefined`, without anything to drop.
    const NOTHING: Self = Self::Ref(&Value::Undefined);

    pub(crate) fn into_owned(self) -> Value {
        match self {
            Self::Ref(value) => value.clone(),
            Self::Own(value) => value,
        }
    }
}

impl Deref for Val<'_> {
    type Target = Value;

    #[inline]
    fn deref(&self) -> &Value {
        match self {
            Self::Ref(value) => value,
            Self::Own(value) => value,
        }
    }
}

/// The state of one render.
pub(crate) struct Interp<'t> {
    env: Env<'t>,
    /// The text being written. Texts that are captured grow at its end until they are taken off.
    out: StrBuilder,
    /// How many code units may still be written, captured ones included.
    unwritten: u64,
    /// The arguments of macros that are about to be called.
    arguments: Vec<Val<'t>>,
    /// How deep the call is whose filter, test or method runs.
    depth: u32,
    /// Lists that were used for the arguments of filters, for the next one.
    spare: Vec<Vec<Value>>,
}

impl<'t> Deref for Interp<'t> {
    type Target = Env<'t>;

    fn deref(&self) -> &Env<'t> {
        &self.env
    }
}

impl DerefMut for Interp<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.env
    }
}

/// Renders to text.
pub(crate) fn render(ast: &Ast, settings: &Settings, context: &Context) -> Res<StrBuilder> {
    let mut interp = Interp::new(ast, settings, context);
    // The template itself is a level.
    interp.body(&ast.body, 1)?;
    Ok(interp.out)
}

/// The value of the template's only interpolation.
pub(crate) fn evaluate(ast: &Ast, expr: ExprId, offset: u32, settings: &Settings, context: &Context) -> Res<Value> {
    let mut interp = Interp::new(ast, settings, context);
    // The interpolation is a level, as it would be in `render`.
    interp.check_depth(2).map_err(|fault| fault.at(offset))?;
    let value = interp.eval(expr, 2)?;
    interp.result(&value, offset)
}

/// The value of the template's only `filter` block.
pub(crate) fn evaluate_block(ast: &Ast, block: &Stmt, settings: &Settings, context: &Context) -> Res<Value> {
    let mut interp = Interp::new(ast, settings, context);
    let value = interp.sole_filter_block(block)?;
    interp.result(&value, block.offset)
}

impl<'t> Interp<'t> {
    #[inline(always)]
    fn new(ast: &'t Ast, settings: &'t Settings, context: &'t Context) -> Self {
        Self {
            env: Env::new(ast, settings, context),
            out: StrBuilder::with_capacity(ast.source.len()),
            unwritten: settings.limits.output_code_units,
            arguments: Vec::new(),
            depth: 1,
            spare: Vec::new(),
        }
    }

    /// A value as a render returns it.
    fn result(&mut self, value: &Value, offset: u32) -> Res<Value> {
        let value = self.export(value).map_err(|fault| fault.at(offset))?;
        Ok(match value {
            Value::Safe(text) => Value::String(text.as_ref().clone()),
            value => value,
        })
    }
}
