//! Differences that are known, each with its reason.

use understudy_corpus::{Case, Outcome};
use understudy_templating::Dialect;

use super::older;

/// A known difference.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// A short name.
    pub name: &'static str,
    /// Why it is left.
    pub reason: &'static str,
    pub(super) applies: fn(&Difference<'_>) -> bool,
}

/// What two implementations made of a case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Difference<'a> {
    pub(super) case: &'a Case,
    pub(super) ours: &'a Outcome,
    pub(super) theirs: &'a Outcome,
}

impl Explanation {
    /// All of them.
    pub fn all() -> &'static [Self] {
        &EXPLANATIONS
    }
}

static EXPLANATIONS: [Explanation; 1] = [Explanation {
    name: "no answer",
    reason: "the reference implementation hung or ran out of memory, ours stopped at a limit",
    applies: |found| {
        matches!(found.theirs, Outcome::Timeout | Outcome::Died)
            && matches!(found.ours, Outcome::Error { name, .. } if name == "TemplateLimitError")
            && !found.case.source.is_empty()
    },
}];

/// Whether both implementations agree: the same value; with [`Dialect::Nunjitsu`] the same error, otherwise an error in
/// both.
pub(super) fn agree(dialect: Dialect, ours: &Outcome, theirs: &Outcome) -> bool {
    ours == theirs || (dialect != Dialect::Nunjitsu && ours.is_error() && theirs.is_error())
}

/// The explanation of a difference, if it is a known one.
pub(super) fn explain(dialect: Dialect, case: &Case, ours: &Outcome, theirs: &Outcome) -> Option<&'static Explanation> {
    let difference = Difference { case, ours, theirs };
    let of_dialect = if dialect == Dialect::Nunjucks3 { older::EXPLANATIONS.as_slice() } else { &[] };
    EXPLANATIONS.iter().chain(of_dialect).find(|explanation| (explanation.applies)(&difference))
}
