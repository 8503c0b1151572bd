//! The template language as a service is set up to speak it.
//!
//! One [`Templating`] serves step values and files, services and command lines: the language's generation, the
//! scaffolder's filters, and the filters and globals that the configuration defines.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use understudy_scm::Scm;
use understudy_templating::{Context, Definition, DefinitionError, DefinitionKind, Dialect, Engine, Error, Value};

use crate::filters;

/// The functions that the task engine adds to step values; a global of such a name would be hidden there.
pub const STATUS_FUNCTIONS: [&str; 2] = ["always", "failure"];

/// What the configuration says of the language.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Language {
    /// Its generation.
    pub dialect: Dialect,
    /// Filters and global functions, in the order of the configuration.
    pub functions: Vec<Function>,
    /// Global values, in the order of the configuration.
    pub values: Vec<GlobalValue>,
}

/// A filter or global function written in the language.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Which of the two.
    pub kind: DefinitionKind,
    /// The name in templates.
    pub name: String,
    /// What it gives: an expression over `args`.
    pub expression: String,
    /// What `GET /v2/templating-extensions` tells of it besides its name: `description`, `schema`, `examples`.
    pub about: Map<String, Json>,
}

/// A value that templates find under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalValue {
    /// The name in templates.
    pub name: String,
    /// The value.
    pub value: Json,
    /// What it is.
    pub description: Option<String>,
}

/// Which part of a [`Language`] can't be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LanguageError {
    /// A filter or function.
    #[error(transparent)]
    Function(#[from] DefinitionError),
    /// A value.
    #[error("the global {name} can't be used: {error}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        error: Error,
    },
}

impl LanguageError {
    /// What the name belongs to, the name, and what is wrong; a position is one within the expression.
    pub fn parts(&self) -> (DefinitionKind, &str, &Error) {
        match self {
            Self::Function(DefinitionError { kind, name, error, .. }) => (*kind, name, error),
            Self::Value { name, error } => (DefinitionKind::Function, name, error),
        }
    }
}

/// How the templates of a skeleton are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Syntax {
    /// For cookiecutter: `{{ }}` for values.
    pub cookiecutter: bool,
    /// Whether the line break after a block tag is dropped.
    pub trim_blocks: bool,
    /// Whether blanks before a block tag that starts its line are dropped.
    pub lstrip_blocks: bool,
}

impl Syntax {
    /// Each of them, at its index.
    fn all() -> [Self; 8] {
        std::array::from_fn(|index| Self {
            cookiecutter: index & 1 != 0,
            trim_blocks: index & 2 != 0,
            lstrip_blocks: index & 4 != 0,
        })
    }

    fn index(self) -> usize {
        usize::from(self.cookiecutter) | usize::from(self.trim_blocks) << 1 | usize::from(self.lstrip_blocks) << 2
    }
}

/// The language, ready for use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Templating(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scm: Scm,
    language: Language,
    /// One for each syntax, at its index.
    engines: Vec<Engine>,
}

impl Templating {
    /// The language as it is without any configuration.
    pub fn new(scm: &Scm) -> Self {
        let engines = Syntax::all().map(|syntax| plain(scm, Dialect::default(), syntax)).into();
        Self(Arc::new(Inner { scm: scm.clone(), language: Language::default(), engines }))
    }

    /// The language with what a configuration says of it.
    ///
    /// # Errors
    /// Every definition that can't be used.
    pub fn with_language(scm: &Scm, language: Language) -> Result<Self, Vec<LanguageError>> {
        let values = values(&language)?;
        let definitions: Vec<_> = language.functions.iter().map(Function::definition).collect();
        let engines = Syntax::all()
            .into_iter()
            .map(|syntax| {
                let engine = plain(scm, language.dialect, syntax).with_globals(values.iter().cloned());
                engine.with_definitions(&definitions).map_err(refusals)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner { scm: scm.clone(), language, engines })))
    }

    /// The same definitions in another generation of the language.
    ///
    /// # Errors
    /// Definitions that are none there.
    pub fn in_dialect(&self, dialect: Dialect) -> Result<Self, Vec<LanguageError>> {
        Self::with_language(&self.0.scm, Language { dialect, ..self.0.language.clone() })
    }

    /// The engine of step values.
    pub fn values(&self) -> &Engine {
        self.files(Syntax::default())
    }

    /// The engine of files that are written so.
    pub fn files(&self, syntax: Syntax) -> &Engine {
        &self.0.engines[syntax.index()]
    }

    /// What the configuration says.
    pub fn language(&self) -> &Language {
        &self.0.language
    }

    /// The integrations that repository URLs are read by.
    pub fn scm(&self) -> &Scm {
        &self.0.scm
    }
}

impl Language {
    /// Whether every definition can be used.
    ///
    /// # Errors
    /// All that can't.
    pub fn check(&self) -> Result<(), Vec<LanguageError>> {
        let values = values(self)?;
        let builder = Engine::builder().dialect(self.dialect);
        // Nothing is called here, so the names will do.
        let builder =
            filters::NAMES.iter().fold(builder, |builder, name| builder.filter(*name, |_| Ok(Value::Undefined)));
        let definitions: Vec<_> = self.functions.iter().map(Function::definition).collect();
        builder.build().with_globals(values).with_definitions(&definitions).map(drop).map_err(refusals)
    }
}

impl Function {
    fn definition(&self) -> Definition<'_> {
        Definition { kind: self.kind, name: &self.name, expression: &self.expression }
    }
}

fn plain(scm: &Scm, dialect: Dialect, syntax: Syntax) -> Engine {
    let builder = Engine::builder()
        .dialect(dialect)
        .cookiecutter(syntax.cookiecutter)
        .trim_blocks(syntax.trim_blocks)
        .lstrip_blocks(syntax.lstrip_blocks);
    filters::register(builder, scm.clone()).build()
}

fn refusals(errors: Vec<DefinitionError>) -> Vec<LanguageError> {
    errors.into_iter().map(LanguageError::from).collect()
}

/// The global values as templates see them.
fn values(language: &Language) -> Result<Vec<(Arc<str>, Value)>, Vec<LanguageError>> {
    let mut errors = Vec::new();
    let mut values = Vec::with_capacity(language.values.len());
    for GlobalValue { name, value, .. } in &language.values {
        let data = Map::from_iter([(name.clone(), value.clone())]);
        let seen = DefinitionKind::Function.check_name(name).and_then(|()| Context::from_json(&data));
        match seen {
            Ok(context) => values.extend(context.get(name).map(|value| (name.as_str().into(), value.clone()))),
            Err(error) => errors.push(LanguageError::Value { name: name.clone(), error }),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn language() -> Language {
        let function = |kind, name: &str, expression: &str| Function {
            kind,
            name: name.into(),
            expression: expression.into(),
            about: Map::new(),
        };
        Language {
            dialect: Dialect::default(),
            functions: vec![
                function(DefinitionKind::Filter, "owner", "(args[0] | parseRepoUrl).owner | pick"),
                function(DefinitionKind::Filter, "pick", "args[0] ~ '!'"),
                function(DefinitionKind::Function, "repo", "company.host ~ '?owner=' ~ args[0] ~ '&repo=r'"),
            ],
            values: vec![GlobalValue {
                name: "company".into(),
                value: json!({"host": "github.com"}),
                description: None,
            }],
        }
    }

    #[test]
    fn every_engine_knows_what_is_configured() {
        let scm = Scm::from_config(&json!({})).unwrap();
        let templating = Templating::with_language(&scm, language()).unwrap();
        for syntax in Syntax::all() {
            let source = if syntax.cookiecutter { "{{ repo('o') | owner }}" } else { "${{ repo('o') | owner }}" };
            let rendered = templating.files(syntax).render_str(source, &Context::new()).unwrap();
            assert_eq!(rendered, "o!", "{syntax:?}");
        }
        let block = "{% if true %}\n  {% if true %}\n{% endif %}{% endif %}";
        let both = Syntax { trim_blocks: true, lstrip_blocks: true, ..Syntax::default() };
        assert_eq!(templating.files(both).render_str(block, &Context::new()).unwrap(), "");
        assert_eq!(templating.values().render_str(block, &Context::new()).unwrap(), "\n  \n");
        let older = templating.in_dialect(Dialect::Nunjucks3).unwrap();
        assert_eq!(older.values().dialect(), Dialect::Nunjucks3);
        assert_eq!(older.language().functions, language().functions);
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let mut language = language();
        assert!(language.check().is_ok());
        language.functions[0].expression.push_str(" | pik");
        let errors = language.check().unwrap_err();
        let (kind, name, error) = errors[0].parts();
        assert_eq!((kind, name, errors.len()), (DefinitionKind::Filter, "owner", 1));
        assert!(error.message().ends_with("did you mean \"pick\"?"), "{error}");
        language.values[0].value = json!({"constructor": 1});
        let errors = language.check().unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "the global company can't be used: Template record key constructor is reserved"
        );
        let scm = Scm::from_config(&json!({})).unwrap();
        assert!(Templating::with_language(&scm, language).is_err());
    }
}
