//! "Did you mean": the known name closest to an unknown one.

/// Ends a message about an unknown name with a suggestion, when there is one.
pub(super) fn did_you_mean<'n>(message: String, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match closest(name, known) {
        Some(suggestion) => format!("{message}; did you mean \"{suggestion}\"?"),
        None => message,
    }
}

fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = name.chars().count();
    if length > 64 {
        return None;
    }
    let allowed = if length <= 4 { 1 } else { 2 };
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["upper", "lower", "for", "string"];
        assert_eq!(closest("uper", known.into_iter()), Some("upper"));
        assert_eq!(closest("foo", known.into_iter()), Some("for"));
        assert_eq!(closest("fooooo", known.into_iter()), None);
    }
}
