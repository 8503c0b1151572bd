//! The template language of scaffolder templates: a Nunjucks-compatible engine.
//!
//! An [`Engine`] holds the configuration (delimiters, filters, globals, limits) and is built once; a [`Template`] is a
//! parsed source that renders any number of times with a [`Context`].
//!
//! ```
//! use understudy_templating::{Context, Engine};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), understudy_templating::Error> {
//! let engine = Engine::builder().build();
//! let template = engine.parse("Hello ${{ name }}!")?;
//! let context = Context::try_from(&json!({"name": "world"}))?;
//! assert_eq!(template.render(&context)?, "Hello world!");
//! # Ok(())
//! # }
//! ```

mod ast;
mod context;
mod definition;
mod dialect;
mod engine;
mod error;
mod eval;
mod facts;
mod filters;
mod function;
mod globals;
mod hint;
mod json;
mod lexer;
mod limits;
mod methods;
mod number;
mod parser;
mod regex;
mod shape;
mod snippet;
mod string;
mod suggest;
mod template;
mod tests;
mod value;

pub use context::{Context, MAX_CONTEXT_ENTRIES};
pub use definition::{Definition, DefinitionError, DefinitionKind};
pub use dialect::{Dialect, UnknownDialect};
pub use engine::{Engine, EngineBuilder, Inspection};
pub use error::{Error, ErrorKind, Position};
pub use facts::{Facts, Guard, Lookup, NameUse};
pub use function::Callable;
pub use limits::{LimitKind, Limits};
pub use number::js_number_to_string;
pub use regex::Regex;
pub use snippet::{printable, snippet};
pub use string::Str;
pub use suggest::closest_name;
pub use template::Template;
pub use value::{Array, Record, Value};
