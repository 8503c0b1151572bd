//! Filters and functions written in the language itself.
//!
//! A definition is one expression over `args`, the positional arguments of the call. It sees the filters and globals of
//! its engine, itself and its siblings among them, and nothing else: neither the names of the template that calls it nor
//! anything a former call did. It runs within the limits of the render that calls it.

use std::fmt;
use std::sync::Arc;

use crate::ast::{Ast, ExprId};
use crate::engine::{Engine, Settings, Syntax};
use crate::error::{Error, Fault};
use crate::function::{Callable, Kind};
use crate::parser;
use crate::value::{Value, is_reserved};

/// The name under which a definition finds what it is called with.
const ARGUMENTS: &str = "args";

/// What a [`Definition`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefinitionKind {
    /// A filter; its first argument is the filtered value.
    Filter,
    /// A global function.
    Function,
}

impl DefinitionKind {
    /// Whether templates can use a filter, or a global of any kind, by this name.
    ///
    /// # Errors
    /// It is not a name, a word of the language or reserved.
    pub fn check_name(self, name: &str) -> Result<(), Error> {
        const WORDS: [&str; 11] = ["and", "else", "false", "if", "in", "is", "none", "not", "null", "or", "true"];
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        // Nunjucks takes dots into a filter's name.
        let is_valid = match self {
            Self::Filter => name.split('.').all(is_name),
            Self::Function => is_name(name) && !WORDS.contains(&name),
        };
        if !is_valid {
            return Err(Error::context(format!(
                "\"{name}\" is not a name; use letters, digits and _, and no word of the language"
            )));
        }
        if name.split('.').any(is_reserved) {
            return Err(Error::context(format!("the name \"{name}\" is reserved")));
        }
        Ok(())
    }
}

impl fmt::Display for DefinitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Function => "global",
        })
    }
}

/// A filter or function as an expression of the language, e.g. `args[0] | trim | lower`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// What it makes.
    pub kind: DefinitionKind,
    /// The name in templates.
    pub name: &'a str,
    /// The expression, without delimiters.
    pub expression: &'a str,
}

/// A [`Definition`] that can't be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the {kind} {name} can't be used: {error}")]
#[non_exhaustive]
pub struct DefinitionError {
    /// What it should have made.
    pub kind: DefinitionKind,
    /// Its name.
    pub name: String,
    /// What is wrong; a position is one within the expression.
    #[source]
    pub error: Error,
}

/// A parsed definition.
pub(crate) struct Defined {
    pub(crate) kind: DefinitionKind,
    pub(crate) name: Arc<str>,
    pub(crate) ast: Ast,
    pub(crate) expr: ExprId,
    /// The slot of [`ARGUMENTS`], if it speaks of them.
    pub(crate) arguments: Option<u32>,
}

impl Engine {
    /// The same engine with more filters and global functions, written in the language. They win over what had their
    /// names before, and may speak of each other.
    ///
    /// ```
    /// # use understudy_templating::{Context, Definition, DefinitionKind, Engine};
    /// let slug = Definition {
    ///     kind: DefinitionKind::Filter,
    ///     name: "slug",
    ///     expression: "args[0] | lower | replace(r/[^a-z0-9]+/g, '-')",
    /// };
    /// let engine = Engine::default().with_definitions(&[slug]).unwrap();
    /// assert_eq!(engine.render_str("${{ 'My Service' | slug }}", &Context::new()).unwrap(), "my-service");
    /// ```
    ///
    /// # Errors
    /// All definitions that have no usable name or are no expressions.
    pub fn with_definitions(&self, definitions: &[Definition<'_>]) -> Result<Self, Vec<DefinitionError>> {
        let mut settings = Settings::clone(&self.0);
        let first = settings.defined.len();
        let mut filters = settings.defined_filters.as_ref().clone();
        for (index, definition) in definitions.iter().enumerate() {
            let (name, index): (Arc<str>, _) = (definition.name.into(), first + index);
            match definition.kind {
                DefinitionKind::Filter => drop(filters.insert(name, index)),
                DefinitionKind::Function => {
                    settings.globals.insert(name, Value::Function(Callable(Kind::Defined(index))));
                }
            }
        }
        settings.defined_filters = Arc::new(filters);
        // A definition means the same whoever calls it.
        let parsing = Settings {
            syntax: Arc::new(Syntax { cookiecutter: false, ..Syntax::clone(&settings.syntax) }),
            ..settings
        };
        let mut defined = parsing.defined.as_ref().clone();
        let mut errors = Vec::new();
        for definition in definitions {
            match parse(definition, &parsing) {
                Ok(parsed) => defined.push(Arc::new(parsed)),
                Err(error) => {
                    errors.push(DefinitionError { kind: definition.kind, name: definition.name.to_owned(), error });
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self(Arc::new(Settings { syntax: self.0.syntax.clone(), defined: Arc::new(defined), ..parsing })))
    }
}

fn parse(definition: &Definition<'_>, settings: &Settings) -> Result<Defined, Error> {
    let Definition { kind, name, expression } = *definition;
    kind.check_name(name)?;
    let delimited = expression.trim_start();
    if delimited.starts_with("${{") || delimited.starts_with("{{") || delimited.starts_with("{%") {
        let offset = expression.len() - delimited.len();
        let fault = Fault::syntax(offset as u32, "Expected an expression without delimiters around it");
        return Err(fault.into_error(expression));
    }
    let (ast, expr) = parser::parse_expression(expression, settings).map_err(|fault| fault.into_error(expression))?;
    let arguments = ast.template_slot(ARGUMENTS);
    Ok(Defined { kind, name: name.into(), ast, expr, arguments })
}
