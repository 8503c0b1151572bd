//! Which generation of the language an engine speaks.

use std::fmt;
use std::str::FromStr;

/// The generation of the template language.
///
/// Backstage's scaffolder rendered templates with `nunjucks` 3.2.4 up to `@backstage/plugin-scaffolder-backend` 4.0.2,
/// and with `nunjitsu` from 4.0.3 on. Both speak the same language in all but a few places; the dialect chooses whose
/// behaviour those places have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// The engine of today, `nunjitsu` 0.7.0.
    #[default]
    Nunjitsu,
    /// The engine before it, `nunjucks` 3.2.4, with the scaffolder's way of using it: a template that is one tag is
    /// rendered to JSON and read again, an empty text is no value, and values have the methods JavaScript gives them.
    Nunjucks3,
}

impl Dialect {
    /// Every dialect, the default one first.
    pub const ALL: [Self; 2] = [Self::Nunjitsu, Self::Nunjucks3];

    /// The name by which configuration speaks of the dialect: `nunjitsu` or `nunjucks-3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nunjitsu => "nunjitsu",
            Self::Nunjucks3 => "nunjucks-3",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no [`Dialect`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown template language {0:?}; it is one of \"nunjitsu\" (the default) and \"nunjucks-3\"")]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name).ok_or_else(|| UnknownDialect(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_there_and_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert_eq!(
            "nunjucks".parse::<Dialect>().unwrap_err().to_string(),
            "unknown template language \"nunjucks\"; it is one of \"nunjitsu\" (the default) and \"nunjucks-3\""
        );
    }
}
