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

static EXPLANATIONS: [Explanation; 7] = [
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
        name: "last digit of a power",
        reason: "V8's power function is off by a unit in the last place for some operands",
        applies: |found| {
            let has_power = found.case.source.contains("**") || found.case.source.contains("round");
            has_power && differ_in_last_digits(found.ours, found.theirs)
        },
    },
    Explanation {
        name: "digits of large numbers",
        reason: "toString(radix) of a number beyond 2⁵³ has more digits than the number; V8 ends with other ones",
        applies: |found| found.case.source.contains(".toString(") && differ_in_last_places(found.ours, found.theirs),
    },
    Explanation {
        name: "macros in loops with several names",
        reason: "the compiler of nunjucks compiles such a loop's body twice, and knows the body's macros from its start on \
                 in the second version",
        applies: |found| defines_macro_in_wide_loop(&found.case.source),
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

/// Whether two values are the same but for the last digits of numbers.
fn differ_in_last_digits(ours: &Outcome, theirs: &Outcome) -> bool {
    let (Outcome::Value(ours), Outcome::Value(theirs)) = (ours, theirs) else { return false };
    let (ours, theirs) = (pieces(ours), pieces(theirs));
    let close = |(one, other): (&&str, &&str)| match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one == other || ((one - other) / one).abs() < 1e-14,
        _ => one == other,
    };
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(close)
}

/// Whether two values are as long, and the same to the tenth character.
fn differ_in_last_places(ours: &Outcome, theirs: &Outcome) -> bool {
    let (Outcome::Value(ours), Outcome::Value(theirs)) = (ours, theirs) else { return false };
    ours.len() == theirs.len() && ours.chars().zip(theirs.chars()).take(10).all(|(one, other)| one == other)
}

/// The numbers of a text, without signs and exponents, and what is between them.
fn pieces(text: &str) -> Vec<&str> {
    let of_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| of_number(c) != of_number(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Whether a macro is defined behind the tag of a loop with several names, before that loop's end.
fn defines_macro_in_wide_loop(source: &str) -> bool {
    let mut open = Vec::new();
    for tag in source.split("{%").skip(1) {
        let code = tag.split("%}").next().unwrap_or_default().trim_matches(|c: char| c == '-' || c.is_whitespace());
        match code.split_whitespace().next() {
            Some("for") => open.push(code.split(" in ").next().is_some_and(|targets| targets.contains(','))),
            Some("endfor") => drop(open.pop()),
            Some("macro") if open.contains(&true) => return true,
            _ => {}
        }
    }
    false
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
