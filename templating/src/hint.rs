//! What people write who come from another language.

/// A hint for a syntax error at this byte offset.
pub(crate) fn for_syntax(source: &str, offset: u32, message: &str) -> Option<String> {
    let at = source.floor_char_boundary(offset as usize);
    let (before, rest) = source.split_at(at);
    let habits = [
        ("||", "write \"or\" instead of \"||\""),
        ("&&", "write \"and\" instead of \"&&\""),
        ("??", "write \"a | default(b)\" instead of \"a ?? b\""),
        ("?", "write \"a if condition else b\" instead of \"condition ? a : b\""),
        ("`", "write texts in single or double quotes"),
    ];
    for (habit, hint) in habits {
        // The second character may be the one that is not understood.
        let from_its_middle = habit.len() == 2 && before.ends_with(&habit[..1]) && rest.starts_with(&habit[1..]);
        if rest.starts_with(habit) || from_its_middle {
            return Some(hint.to_owned());
        }
    }
    if rest.starts_with('!') && !rest.starts_with("!=") {
        return Some("write \"not a\" instead of \"!a\"".to_owned());
    }
    if rest.starts_with('=') && message.starts_with("Expected eof") {
        return Some("write \"==\" to compare".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::Engine;

    #[test]
    fn habits_of_other_languages() {
        for (source, hint) in [
            ("${{ a || b }}", Some("write \"or\" instead of \"||\"")),
            ("${{ a||b }}", Some("write \"or\" instead of \"||\"")),
            ("${{ a && b }}", Some("write \"and\" instead of \"&&\"")),
            ("${{ a ?? b }}", Some("write \"a | default(b)\" instead of \"a ?? b\"")),
            ("${{ a ? b : c }}", Some("write \"a if condition else b\" instead of \"condition ? a : b\"")),
            ("${{ !a }}", Some("write \"not a\" instead of \"!a\"")),
            ("{% if a = b %}{% endif %}", Some("write \"==\" to compare")),
            ("${{ `a` }}", Some("write texts in single or double quotes")),
            ("${{ a b }}", None),
            ("${{ }}", None),
        ] {
            let error = Engine::default().parse(source).unwrap_err();
            assert_eq!(error.hint(), hint, "{source}: {error}");
        }
    }
}
