//! What the older dialect does not follow of `nunjucks` 3.2.4, each with its reason.

use understudy_corpus::{Case, Mode, Options, Outcome, evaluate};
use understudy_templating::Dialect;

use super::explain::Explanation;

pub(super) static EXPLANATIONS: [Explanation; 5] = [
    Explanation {
        name: "functions have no text",
        reason: "nunjucks writes the source code of a function where a text is needed; here that is an error",
        applies: |found| {
            says(found.ours, "Callable values cannot be coerced")
                || matches!(found.theirs, Outcome::Value(value) if value.contains("function "))
        },
    },
    Explanation {
        name: "limits",
        reason: "ours stopped at a limit; nunjucks has none",
        applies: |found| matches!(found.ours, Outcome::Error { name, .. } if name == "TemplateLimitError"),
    },
    Explanation {
        name: "blocks within other tags",
        reason: "the code that nunjucks makes of a block in a case, a filter or a set block is broken",
        applies: |found| says(found.theirs, "Illegal break statement") || says(found.theirs, "unknown block \""),
    },
    Explanation {
        name: "scope of call bodies",
        reason: "the body of a call sees the names around it, as in today's engine; in nunjucks some of those, and those \
                 of the macro that runs it",
        applies: |found| found.case.source.contains("call") && as_today(found.case),
    },
    Explanation {
        name: "regular expressions",
        reason: "patterns that cannot be matched in bounded time, or need what the engine for them lacks, are refused",
        applies: |found| says(found.ours, "Unsupported regular-expression literal"),
    },
];

fn says(outcome: &Outcome, part: &str) -> bool {
    matches!(outcome, Outcome::Error { message, .. } if message.contains(part))
}

/// Whether both of our dialects write the same text, so that the difference is one between the two engines that we
/// decide as today's does.
fn as_today(case: &Case) -> bool {
    let text = Case { options: Options { mode: Mode::Text, ..case.options }, ..case.clone() };
    evaluate(Dialect::Nunjitsu, &text) == evaluate(Dialect::Nunjucks3, &text)
}
