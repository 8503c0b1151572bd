//! A parsed source.

use std::sync::Arc;

use crate::ast::Ast;
use crate::context::Context;
use crate::engine::Engine;
use crate::error::Error;
use crate::eval;
use crate::facts::{self, Facts};
use crate::parser;
use crate::value::Value;

/// A parsed template. Cloning is cheap, and one template can be rendered by many threads at once.
#[derive(Clone)]
pub struct Template(Arc<Parsed>);

struct Parsed {
    source: Arc<str>,
    ast: Ast,
    engine: Engine,
}

impl Template {
    pub(crate) fn parse(engine: &Engine, source: &str) -> Result<Self, Error> {
        let ast = parser::parse(source, &engine.0).map_err(|fault| fault.into_error(source))?;
        Ok(Self(Arc::new(Parsed { source: source.into(), ast, engine: engine.clone() })))
    }

    /// The text the template was parsed from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Renders to text.
    ///
    /// # Errors
    /// When an expression cannot be evaluated, a registered function fails or a limit is exceeded.
    pub fn render(&self, context: &Context) -> Result<String, Error> {
        let Parsed { source, ast, engine } = &*self.0;
        eval::render(ast, &engine.0, context).map_err(|fault| fault.into_error(source))
    }

    /// Renders to a value: when the template is one interpolation and nothing else (comments aside), what its expression
    /// gives; otherwise the rendered text as a string.
    ///
    /// # Errors
    /// As [`Template::render`], and when the value is a function or contains itself.
    pub fn render_value(&self, context: &Context) -> Result<Value, Error> {
        let Parsed { source, ast, engine } = &*self.0;
        match ast.sole_interpolation() {
            Some((expr, offset)) => {
                eval::evaluate(ast, expr, offset, &engine.0, context).map_err(|fault| fault.into_error(source))
            }
            None => self.render(context).map(Value::string),
        }
    }

    /// Whether the template is exactly one interpolation, so that [`Template::render_value`] keeps its value's type.
    pub fn is_sole_interpolation(&self) -> bool {
        self.0.ast.sole_interpolation().is_some()
    }

    /// The filters, functions and names that the template uses.
    pub fn facts(&self) -> Facts {
        facts::collect(&self.0.ast, &self.0.source)
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.source()).finish()
    }
}
