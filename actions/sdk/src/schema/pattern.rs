//! The `pattern` keyword: JavaScript's regular expressions.

use understudy_regex::{Flags, Invalid, Regex, TooMuchWork};

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles as JavaScript's `RegExp` does with the `u` flag, without it where the pattern is not valid so.
    ///
    /// # Errors
    /// It is valid neither way, or not supported.
    pub(super) fn new(pattern: &str) -> Result<Self, Invalid> {
        let unicode = Flags { unicode: true, ..Flags::default() };
        Regex::new(pattern, unicode).or_else(|_| Regex::new(pattern, Flags::default())).map(Self)
    }

    /// Whether the pattern matches anywhere in the text.
    ///
    /// # Errors
    /// It would take too long to say.
    pub(super) fn matches(&self, text: &str) -> Result<bool, TooMuchWork> {
        self.0.is_match(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Validator;

    #[test]
    fn the_flag_is_left_out_where_it_makes_a_pattern_invalid() {
        for (pattern, text, matches) in [
            ("^.$", "😀", true),
            (r"^[\w-.]+$", "a.b-c", true),
            (r"^\_$", "_", true),
            (r"^\p{L}+$", "é", true),
            ("^(?!x)", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(text), Ok(matches), "{pattern}");
        }
        assert!(Pattern::new("(").is_err());
    }

    /// On an unbounded engine these would not end.
    #[test]
    fn a_match_that_takes_too_long_is_told() {
        let text = format!("{}!", "a".repeat(50_000));
        for (pattern, told) in
            [("^(a+)+$", "does not match pattern"), (r"(a*)*\1b", "can't be checked against the pattern")]
        {
            for schema in [json!({"pattern": pattern}), json!({"propertyNames": {"pattern": pattern}})] {
                let validator = Validator::new(&schema).unwrap();
                let instance = if schema.get("pattern").is_some() { json!(text) } else { json!({text.clone(): 1}) };
                let found = validator.validate(&instance);
                assert!(found.len() == 1 && found[0].message.starts_with(told), "{pattern}");
            }
        }
    }
}
