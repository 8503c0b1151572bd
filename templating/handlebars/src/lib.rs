//! Handlebars as the strings of `backstage.io/v1beta2` templates were rendered with it.
//!
//! The crate `handlebars` reads the templates. What they give follows Handlebars.js 4.7 with the options that
//! `@backstage/plugin-scaffolder-backend` 0.15 to 1.0 used (no escaping, no partials): values become text as in
//! JavaScript, `.length` is there, blocks nest contexts only where the context changes. The crate's own renderer differs in
//! all of that, and has no bounds; this one counts work, depth and output.
//!
//! ```
//! use serde_json::json;
//! use understudy_handlebars::{Helpers, Template};
//!
//! # fn main() -> Result<(), understudy_handlebars::Error> {
//! let template = Template::parse("{{ parameters.name }}: {{ json parameters.tags }}")?;
//! let data = json!({"parameters": {"name": "a", "tags": ["x", "y"]}});
//! assert_eq!(template.render(&data, &Helpers::default())?, r#"a: ["x","y"]"#);
//! # Ok(())
//! # }
//! ```

mod error;
mod eval;
mod helpers;
mod parse;
mod value;

pub use error::Error;
pub use helpers::{HelperFn, Helpers};

/// A parsed template. Cheap to clone; can be rendered by many threads at once.
#[derive(Debug, Clone)]
pub struct Template(std::sync::Arc<handlebars::template::Template>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is no template, uses partials or decorators, or is too long or nested too deeply.
    pub fn parse(source: &str) -> Result<Self, Error> {
        parse::parse(source).map(|template| Self(template.into()))
    }

    /// Whether a text is the same before and after rendering, whatever the data.
    pub fn is_plain(source: &str) -> bool {
        !source.contains("{{")
    }

    /// Renders with data and the helpers that `helpers` has besides Handlebars' own.
    ///
    /// # Errors
    /// A helper is missing or fails, a built-in one has too few or too many arguments, or a limit is exceeded.
    pub fn render(&self, data: &serde_json::Value, helpers: &Helpers) -> Result<String, Error> {
        eval::render(&self.0, data, helpers)
    }

    /// The helpers that are called with arguments and that neither Handlebars nor `helpers` has, with their places where
    /// these are known; rendering fails when it comes to one of them.
    pub fn missing_helpers(&self, helpers: &Helpers) -> Vec<Error> {
        parse::missing_helpers(&self.0, helpers)
    }
}
