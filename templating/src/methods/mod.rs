//! The methods of values.

/// A method of some kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method;
