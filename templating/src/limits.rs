//! The budgets of one parse and one render.

use std::fmt;

/// Ceilings that stop a template from exhausting the process.
///
/// The defaults are those of `nunjitsu` 0.7.0. A parse is bounded by [`source_code_units`](Self::source_code_units),
/// [`ast_nodes`](Self::ast_nodes) and [`nesting_depth`](Self::nesting_depth); a render by the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Length of the source in UTF-16 code units.
    pub source_code_units: u64,
    /// Nodes of the syntax tree.
    pub ast_nodes: u64,
    /// Steps of the evaluator: a node evaluated, a loop turned, an element copied.
    pub work_units: u64,
    /// Nesting of the syntax while parsing, and of the evaluator while rendering. Values above
    /// [`Limits::MAX_NESTING_DEPTH`] are lowered to it, since the native stack is what this protects.
    pub nesting_depth: u64,
    /// Rendered text in UTF-16 code units.
    pub output_code_units: u64,
    /// Bytes of the values handed to, or made by, one filter or method.
    pub scratch_bytes: u64,
    /// Calls of filters and global functions that the host registered.
    pub capability_calls: u64,
}

impl Limits {
    /// The deepest nesting that fits a 2 MiB thread stack with room to spare.
    pub const MAX_NESTING_DEPTH: u64 = 512;

    /// Replaces the work-unit budget.
    #[must_use]
    pub fn with_work_units(mut self, units: u64) -> Self {
        self.work_units = units;
        self
    }

    /// Replaces the output budget, in UTF-16 code units.
    #[must_use]
    pub fn with_output_code_units(mut self, units: u64) -> Self {
        self.output_code_units = units;
        self
    }

    /// Replaces the source budget, in UTF-16 code units.
    #[must_use]
    pub fn with_source_code_units(mut self, units: u64) -> Self {
        self.source_code_units = units;
        self
    }

    /// Replaces the syntax-tree budget.
    #[must_use]
    pub fn with_ast_nodes(mut self, nodes: u64) -> Self {
        self.ast_nodes = nodes;
        self
    }

    /// Replaces the nesting ceiling; see [`Limits::nesting_depth`].
    #[must_use]
    pub fn with_nesting_depth(mut self, depth: u64) -> Self {
        self.nesting_depth = depth.min(Self::MAX_NESTING_DEPTH);
        self
    }

    /// Replaces the scratch-memory budget, in bytes.
    #[must_use]
    pub fn with_scratch_bytes(mut self, bytes: u64) -> Self {
        self.scratch_bytes = bytes;
        self
    }

    /// Replaces the budget of host calls.
    #[must_use]
    pub fn with_capability_calls(mut self, calls: u64) -> Self {
        self.capability_calls = calls;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_code_units: 4 * 1024 * 1024,
            ast_nodes: 1_000_000,
            work_units: 1_000_000,
            nesting_depth: Self::MAX_NESTING_DEPTH,
            output_code_units: 16 * 1024 * 1024,
            scratch_bytes: 64 * 1024 * 1024,
            capability_calls: 4096,
        }
    }
}

/// Which budget of [`Limits`] ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::source_code_units`].
    SourceCodeUnits,
    /// [`Limits::ast_nodes`].
    AstNodes,
    /// [`Limits::work_units`].
    WorkUnits,
    /// [`Limits::nesting_depth`].
    NestingDepth,
    /// [`Limits::output_code_units`].
    OutputCodeUnits,
    /// [`Limits::scratch_bytes`].
    ScratchBytes,
    /// [`Limits::capability_calls`].
    CapabilityCalls,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceCodeUnits => "source code unit",
            Self::AstNodes => "AST node",
            Self::WorkUnits => "work unit",
            Self::NestingDepth => "nesting depth",
            Self::OutputCodeUnits => "output code unit",
            Self::ScratchBytes => "scratch byte",
            Self::CapabilityCalls => "capability call",
        })
    }
}
