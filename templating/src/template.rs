//! A parsed source.

use std::sync::Arc;

use crate::context::Context;
use crate::engine::Engine;
use crate::error::{Error, Fault};
use crate::facts::Facts;
use crate::value::Value;

/// A parsed template. Cloning is cheap, and one template can be rendered by many threads at once.
#[derive(Clone)]
pub struct Template(Arc<Parsed>);

struct Parsed {
    source: Arc<str>,
    facts: Facts,
}

impl Template {
    pub(crate) fn parse(_engine: &Engine, source: &str) -> Result<Self, Error> {
        if let Some(at) = source.find("{%").or_else(|| source.find("{{")) {
            return Err(Fault::syntax(at as u32, "Tags are not supported").into_error(source));
        }
        Ok(Self(Arc::new(Parsed { source: source.into(), facts: Facts::default() })))
    }

    /// The text the template was parsed from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Renders to text.
    ///
    /// # Errors
    /// When an expression cannot be evaluated, a registered function fails or a limit is exceeded.
    pub fn render(&self, _context: &Context) -> Result<String, Error> {
        Ok(self.0.source.to_string())
    }

    /// Renders to a value: when the template is one interpolation and nothing else (comments aside), what its expression
    /// gives; otherwise the rendered text as a string.
    ///
    /// # Errors
    /// As [`Template::render`], and when the value is a function or contains itself.
    pub fn render_value(&self, context: &Context) -> Result<Value, Error> {
        self.render(context).map(Value::string)
    }

    /// Whether the template is exactly one interpolation, so that [`Template::render_value`] keeps its value's type.
    pub fn is_sole_interpolation(&self) -> bool {
        false
    }

    /// The filters, functions and names that the template uses.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.source()).finish()
    }
}
