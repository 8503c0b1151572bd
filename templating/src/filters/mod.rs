//! The built-in filters.

/// The names of the built-in filters.
pub(crate) fn names(_cookiecutter: bool) -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}
