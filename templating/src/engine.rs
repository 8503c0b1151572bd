//! The configured language: delimiters, filters, globals, limits.

use std::collections::HashMap;
use std::sync::Arc;

use crate::context::Context;
use crate::definition::Defined;
use crate::dialect::Dialect;
use crate::error::{Error, Places};
use crate::facts::Facts;
use crate::function::{Callable, HostFn};
use crate::limits::Limits;
use crate::template::Template;
use crate::value::Value;

/// What the lexer and parser need to know.
#[derive(Debug, Clone)]
pub(crate) struct Syntax {
    pub(crate) variable_start: String,
    pub(crate) variable_end: String,
    pub(crate) dialect: Dialect,
    pub(crate) cookiecutter: bool,
    pub(crate) trim_blocks: bool,
    pub(crate) lstrip_blocks: bool,
}

/// A configured engine. Cloning is cheap; one engine serves all threads.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Settings>);

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) syntax: Arc<Syntax>,
    pub(crate) limits: Limits,
    pub(crate) filters: Arc<HashMap<Arc<str>, Arc<HostFn>>>,
    pub(crate) globals: HashMap<Arc<str>, Value>,
    /// What is defined in the language itself, and which of it are filters, by name.
    pub(crate) defined: Arc<Vec<Arc<Defined>>>,
    pub(crate) defined_filters: Arc<HashMap<Arc<str>, usize>>,
}

impl Engine {
    /// Starts configuring an engine.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Parses a source once, for any number of renders.
    ///
    /// # Errors
    /// When the source is not a template of the language or exceeds a limit. A filter or test that is not known is an
    /// error of the render that comes upon it; [`Engine::inspect`] tells of it at once.
    pub fn parse(&self, source: &str) -> Result<Template, Error> {
        Template::parse(self, source)
    }

    /// Looks at a source without rendering it, for tools that check templates: all that is wrong with it, not just the
    /// first thing, and what it speaks of as far as that can be told.
    pub fn inspect(&self, source: &str) -> Inspection {
        let (ast, faults) = crate::parser::parse_leniently(source, &self.0);
        let mut places = Places::new(source);
        Inspection {
            errors: faults.into_iter().map(|fault| fault.into_error_at(&mut places)).collect(),
            facts: crate::facts::collect(&ast, source),
            is_sole_interpolation: ast.sole_interpolation().is_some(),
        }
    }

    /// The names of the functions that every template can call, and of the other values that every template sees, sorted.
    pub fn global_names(&self) -> Vec<String> {
        let hosts = self.0.globals.keys().map(|name| name.to_string());
        let mut names: Vec<String> = crate::globals::NAMES.into_iter().map(str::to_owned).chain(hosts).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The names of the methods that values of any kind have, sorted.
    pub fn method_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = crate::methods::all_names(self.dialect(), self.0.syntax.cookiecutter).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Parses and renders to text.
    ///
    /// # Errors
    /// As [`Engine::parse`] and [`Template::render`].
    pub fn render_str(&self, source: &str, context: &Context) -> Result<String, Error> {
        Template::render_once(self, source, context)
    }

    /// Parses and renders to a value; see [`Template::render_value`].
    ///
    /// # Errors
    /// As [`Engine::parse`] and [`Template::render_value`].
    pub fn render_value_str(&self, source: &str, context: &Context) -> Result<Value, Error> {
        self.parse(source)?.render_value(context)
    }

    /// The same engine with one more global function. Templates parsed by the derived engine see it.
    #[must_use]
    pub fn with_global_fn<F>(&self, name: impl Into<Arc<str>>, function: F) -> Self
    where
        F: Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    {
        let mut settings = Settings::clone(&self.0);
        let name = name.into();
        settings.globals.insert(name.clone(), Value::Function(Callable::host(name, function)));
        Self(Arc::new(settings))
    }

    /// The same engine with more globals, which win over what had their names before.
    #[must_use]
    pub fn with_globals(&self, globals: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        let mut settings = Settings::clone(&self.0);
        settings.globals.extend(globals);
        Self(Arc::new(settings))
    }

    /// The generation of the language that the engine speaks.
    pub fn dialect(&self) -> Dialect {
        self.0.syntax.dialect
    }

    /// The names of all filters, built in and registered, sorted.
    pub fn filter_names(&self) -> Vec<String> {
        let mut names: Vec<String> = crate::filters::names(self.0.syntax.cookiecutter).map(str::to_owned).collect();
        names.extend(self.0.filters.keys().chain(self.0.defined_filters.keys()).map(|name| name.to_string()));
        names.sort();
        names.dedup();
        names
    }
}

/// What [`Engine::inspect`] found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// All that is wrong, in the order in which parsing came upon it. [`Engine::parse`] gives the first.
    pub errors: Vec<Error>,
    /// What the template speaks of.
    pub facts: Facts,
    /// Whether the template is exactly one interpolation; see [`Template::render_value`].
    pub is_sole_interpolation: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("syntax", &self.0.syntax)
            .field("limits", &self.0.limits)
            .field("filters", &self.0.filters.keys())
            .field("globals", &self.0.globals.keys())
            .field("defined_filters", &self.0.defined_filters.keys())
            .finish()
    }
}

/// Collects an engine's settings.
#[derive(Default)]
pub struct EngineBuilder {
    tags: Option<(String, String)>,
    dialect: Dialect,
    cookiecutter: bool,
    trim_blocks: bool,
    lstrip_blocks: bool,
    limits: Limits,
    filters: HashMap<Arc<str>, Arc<HostFn>>,
    globals: HashMap<Arc<str>, Value>,
}

impl EngineBuilder {
    /// The delimiters of an interpolation. The default is `${{` and `}}`, in cookiecutter mode `{{` and `}}`.
    #[must_use]
    pub fn tags(mut self, variable_start: impl Into<String>, variable_end: impl Into<String>) -> Self {
        self.tags = Some((variable_start.into(), variable_end.into()));
        self
    }

    /// The generation of the language; the default is today's.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Whether to speak the dialect of cookiecutter templates: `{{ }}`, `True`/`False`/`None`, `jsonify` and the
    /// list and dictionary methods of Python.
    #[must_use]
    pub fn cookiecutter(mut self, on: bool) -> Self {
        self.cookiecutter = on;
        self
    }

    /// Whether to drop the line break directly after a block tag.
    #[must_use]
    pub fn trim_blocks(mut self, on: bool) -> Self {
        self.trim_blocks = on;
        self
    }

    /// Whether to drop the indentation before a block tag that starts its line.
    #[must_use]
    pub fn lstrip_blocks(mut self, on: bool) -> Self {
        self.lstrip_blocks = on;
        self
    }

    /// The budgets of a parse and of a render.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Registers a filter. Its first argument is the filtered value. It wins over a built-in filter of the same name.
    #[must_use]
    pub fn filter<F>(mut self, name: impl Into<Arc<str>>, filter: F) -> Self
    where
        F: Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    {
        self.filters.insert(name.into(), Arc::new(filter));
        self
    }

    /// Registers a value that every template sees, unless the context has the same name.
    #[must_use]
    pub fn global(mut self, name: impl Into<Arc<str>>, value: Value) -> Self {
        self.globals.insert(name.into(), value);
        self
    }

    /// Registers a function that every template can call.
    #[must_use]
    pub fn global_fn<F>(self, name: impl Into<Arc<str>>, function: F) -> Self
    where
        F: Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    {
        let name = name.into();
        self.global(name.clone(), Value::Function(Callable::host(name, function)))
    }

    /// Makes the engine.
    pub fn build(self) -> Engine {
        let default_start = if self.cookiecutter { "{{" } else { "${{" };
        let (variable_start, variable_end) = self.tags.unwrap_or_else(|| (default_start.to_owned(), "}}".to_owned()));
        let syntax = Syntax {
            variable_start,
            variable_end,
            dialect: self.dialect,
            cookiecutter: self.cookiecutter,
            trim_blocks: self.trim_blocks,
            lstrip_blocks: self.lstrip_blocks,
        };
        Engine(Arc::new(Settings {
            syntax: Arc::new(syntax),
            limits: self.limits,
            filters: Arc::new(self.filters),
            globals: self.globals,
            defined: Arc::default(),
            defined_filters: Arc::default(),
        }))
    }
}
