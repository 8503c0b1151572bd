//! What the older dialect does not follow of `nunjucks` 3.2.4, each with its reason.

use understudy_corpus::{Case, Mode, Options, Outcome, evaluate};
use understudy_templating::Dialect;

use super::explain::Explanation;

pub(super) static EXPLANATIONS: [Explanation; 21] = [
    Explanation {
        name: "functions have no text",
        reason: "nunjucks writes the source code of a function where a text is needed; here that is an error",
        applies: |found| {
            says(found.ours, "Callable values cannot be coerced")
                || matches!(found.theirs, Outcome::Value(value) if value.contains("function "))
        },
    },
    Explanation {
        name: "reserved names",
        reason: "constructor, prototype and __proto__ are names that nothing has",
        applies: |found| ["constructor", "prototype", "__proto__"].iter().any(|name| found.case.source.contains(name)),
    },
    Explanation {
        name: "limits",
        reason: "ours stopped at a limit; nunjucks has none",
        applies: |found| {
            matches!(found.ours, Outcome::Error { name, .. } if name == "TemplateLimitError")
                || says(found.ours, "containers cannot exceed")
                || says(found.ours, "nesting cannot exceed")
        },
    },
    Explanation {
        name: "no answer to what is refused",
        reason: "what can't be called is refused before its arguments are evaluated, which may never end in nunjucks",
        applies: |found| {
            matches!(found.theirs, Outcome::Timeout | Outcome::Died) && says(found.ours, "cannot be called")
        },
    },
    Explanation {
        name: "white space of values",
        reason: "whether a value is a single tag is told without the options for white space, which only files have",
        applies: |found| {
            let options = found.case.options;
            let has_options = options.mode == Mode::Value && (options.trim_blocks || options.lstrip_blocks);
            let is_its_text = |ours: &str, theirs: &str| theirs == format!("\"{ours}\"");
            has_options
                && matches!((found.ours, found.theirs), (Outcome::Value(ours), Outcome::Value(theirs)) if is_its_text(ours, theirs))
        },
    },
    Explanation {
        name: "backslashes within words",
        reason: "nunjucks puts a name between quotes, where a backslash is left out or makes another character",
        applies: |found| backslash_in_a_word(&found.case.source),
    },
    Explanation {
        name: "values within themselves",
        reason: "an array can't become an element of itself",
        applies: |found| says(found.ours, "Cyclic template values are not supported"),
    },
    Explanation {
        name: "iterators",
        reason: "keys, values, entries and matchAll give an array; in nunjucks an iterator, of which a loop takes the \
                 elements and nothing else sees any",
        applies: |found| {
            let methods = ["keys", "values", "entries", "matchAll"];
            let shows = matches!(found.theirs, Outcome::Value(value) if value.contains("Iterator]"));
            // In cookiecutter mode dictionaries have methods of these names, but those need no second look.
            let mark = if found.case.options.cookiecutter { "()" } else { "" };
            shows || methods.iter().any(|name| found.case.source.contains(&format!("{name}{mark}")))
        },
    },
    Explanation {
        name: "broken code",
        reason: "JavaScript refuses the code that nunjucks makes of it: of a block in a case, a filter or a set block, of a \
                 macro in one, of a method of null or of a literal with line breaks, of a test with several arguments",
        applies: |found| {
            let source = &found.case.source;
            let in_a_capture =
                ["endfilter", "endset"].iter().any(|end| source.contains(end)) && source.contains("macro");
            let refused = says(found.theirs, "SyntaxError:") && !says(found.theirs, "Invalid regular expression");
            refused
                || says(found.theirs, "unknown block \"")
                || says(found.theirs, "null (reading 'toString')")
                || says(found.theirs, "ReferenceError: macro_")
                || in_a_capture
                    && ["which is not a function", "which is undefined or falsey"]
                        .iter()
                        .any(|reason| says(found.theirs, reason))
        },
    },
    Explanation {
        name: "signs in a row",
        reason: "-- and ++ are a mistake here wherever they are; in nunjucks only where they are reached",
        applies: |found| says(found.ours, "Repeated unparenthesized unary"),
    },
    Explanation {
        name: "scope of call bodies",
        reason: "the body of a call sees the names around it, as in today's engine; in nunjucks some of those, and those \
                 of the macro that runs it",
        applies: |found| found.case.source.contains("call") && as_today(found.case),
    },
    Explanation {
        name: "names set to undefined",
        reason: "a name that was set to undefined is undefined, as in today's engine; nunjucks looks for it further outside",
        // What a filter block sets is one of the differences between our dialects, so that they can't tell.
        applies: |found| {
            let source = &found.case.source;
            source.contains("set") && (as_today(found.case) || source.contains("endfilter"))
        },
    },
    Explanation {
        name: "names of a loop",
        reason: "what a loop names ends with its body, as in today's engine; in nunjucks its else has the names too, without \
                 values",
        applies: |found| {
            found.case.source.contains("for") && found.case.source.contains("else") && as_today(found.case)
        },
    },
    Explanation {
        name: "Python's dictionaries",
        reason: "in cookiecutter mode a key of one's own comes before a method of that name, and nothing changes a \
                 dictionary in place",
        applies: |found| {
            found.case.options.cookiecutter
                && (says(found.ours, "cannot be called")
                    || says(found.theirs, "is not a function")
                    || ["items", "keys", "values", "get", "pop", "update"].iter().any(|name| {
                        [format!("'{name}'"), format!("{name}:")].iter().any(|key| found.case.source.contains(key))
                            || found.case.context.to_string().contains(&format!("\"{name}\":"))
                    }))
        },
    },
    Explanation {
        name: "records with a length",
        reason: "to a filter a record with a length is no array",
        applies: |found| {
            let has_length = ["length:", "'length'", "\"length\""]
                .iter()
                .any(|key| found.case.source.contains(key) || found.case.context.to_string().contains(key));
            has_length && found.case.source.contains('|')
        },
    },
    Explanation {
        name: "safe strings as dictionaries",
        reason: "a safe string has no methods that could be sorted",
        applies: |found| says(found.ours, "dictsort requires a record"),
    },
    Explanation {
        name: "quotes within words",
        reason: "the code of a tag is cut at its signs with quotes in mind, also where nunjucks takes one for a letter",
        applies: |found| {
            let bytes = found.case.source.as_bytes();
            bytes.windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && matches!(pair[1], b'\'' | b'"'))
                && says(found.ours, "Template error")
        },
    },
    Explanation {
        name: "characters beyond 16 bits in patterns",
        reason: "a regular expression takes such a character for one, in nunjucks for its two halves",
        applies: |found| {
            found.case.source.contains("r/") && found.case.source.chars().any(|character| character > '\u{ffff}')
        },
    },
    Explanation {
        name: "order of ~",
        reason: "both sides of ~ are there before either becomes text, as in today's engine; in nunjucks a change on the \
                 right comes too late for the left",
        applies: |found| found.case.source.contains('~') && found.case.source.contains('(') && as_today(found.case),
    },
    Explanation {
        name: "powers",
        reason: "the last digit of a power with a fraction depends on the mathematical library",
        applies: |found| found.case.source.contains("**") && as_today(found.case),
    },
    Explanation {
        name: "regular expressions",
        reason: "patterns that cannot be matched in bounded time, or need what the engine for them lacks, are refused",
        applies: |found| says(found.ours, "Unsupported regular-expression literal"),
    },
];

/// Whether there is a backslash outside of quotes.
fn backslash_in_a_word(source: &str) -> bool {
    let mut quote = None;
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None) => return true,
            ('\\', Some(_)) => drop(characters.next()),
            ('"' | '\'', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            _ => {}
        }
    }
    false
}

fn says(outcome: &Outcome, part: &str) -> bool {
    matches!(outcome, Outcome::Error { message, .. } if message.contains(part))
}

/// Whether both of our dialects write the same text, so that the difference is one between the two engines that we
/// decide as today's does. A template with a macro where today's allows none can't tell.
fn as_today(case: &Case) -> bool {
    let text = Case { options: Options { mode: Mode::Text, ..case.options }, ..case.clone() };
    let today = evaluate(Dialect::Nunjitsu, &text);
    says(&today, "Macro declarations are not supported inside") || today == evaluate(Dialect::Nunjucks3, &text)
}
