//! Differences that are known, each with its reason. `docs/templating.md` lists the same.

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

static EXPLANATIONS: [Explanation; 4] = [
    Explanation {
        name: "no answer",
        reason: "the reference implementation hung or ran out of memory, ours stopped at a limit",
        applies: |found| matches!(found.theirs, Outcome::Timeout | Outcome::Died) && limit_of(found.ours).is_some(),
    },
    Explanation {
        name: "place of a limit",
        reason: "the same limit was exceeded, but one step earlier or later: what is counted between two calls differs",
        applies: |found| limit_of(found.ours).is_some() && limit_of(found.ours) == limit_of(found.theirs),
    },
    Explanation {
        name: "costs",
        reason: "ours charges work for long texts and for regular expressions that go back, which the reference doesn't",
        applies: |found| {
            limit_of(found.ours).is_some_and(|limit| limit.contains("work unit") || limit.contains("scratch byte"))
                && limit_of(found.theirs).is_none()
                && found.case.source.len() < 100_000
        },
    },
    Explanation {
        name: "regular expressions",
        reason: "modifiers, octal and control escapes are refused, since the engine that bounds the work has no equal",
        applies: |found| {
            matches!(found.ours, Outcome::Error { message, .. } if message.contains("Unsupported regular-expression literal"))
                && has_refused(&found.case.source)
        },
    },
];

/// Which limit stopped a template, without how far it was exceeded and where.
fn limit_of(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Error { name, message } if name == "TemplateLimitError" => message.split(" (observed").next(),
        _ => None,
    }
}

/// Whether the source has a piece of a regular expression that ours refuses.
fn has_refused(source: &str) -> bool {
    let octal = |text: &str| text.split('\\').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    source.contains("r/") && (source.contains("(?") || source.contains("\\c") || octal(source))
}

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
