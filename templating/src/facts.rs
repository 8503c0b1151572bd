//! What a template speaks of, for tools that check it without rendering.

use crate::error::Position;

/// The names a template uses. Each list is in source order and keeps repetitions.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Filters applied, by name.
    pub filters: Vec<NameUse>,
    /// Names called as functions that the template does not define itself, e.g. `range`, `always`.
    pub calls: Vec<NameUse>,
    /// Look-ups that start at a name of the context (or a global): the longest dotted path that is known without
    /// rendering, e.g. `parameters.name` or `steps.x.output.y`.
    pub lookups: Vec<NameUse>,
}

/// One use of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// The name, or the segments of a path; a constant index counts as a segment (`list[0]` gives `list`, `0`).
    pub path: Vec<String>,
    /// Where it starts.
    pub position: Position,
}

impl NameUse {
    /// The path with dots between its segments.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// Collects the facts of a template.
pub(crate) fn collect(_ast: &crate::ast::Ast, _source: &str) -> Facts {
    Facts::default()
}
