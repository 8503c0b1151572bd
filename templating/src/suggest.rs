//! "Did you mean": the known name closest to an unknown one.

use crate::error::Fault;

/// A fault about an unknown name. Where the language itself suggests another, the message ends with that; what else may be
/// meant is a hint.
pub(crate) fn unknown<'n>(
    offset: u32,
    message: String,
    name: &str,
    known: impl Iterator<Item = &'n str>,
) -> Box<Fault> {
    let known: Vec<&str> = known.collect();
    match closest(name, known.iter().copied()) {
        Some(suggestion) => Fault::syntax(offset, format!("{message}; did you mean \"{suggestion}\"?")),
        None => {
            let hint = closest_name(name, known).map(|name| format!("did you mean \"{name}\"?"));
            Fault::syntax(offset, message).hint(hint)
        }
    }
}

/// What `nunjitsu` 0.7.0 suggests.
fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted: Vec<char> = name.chars().collect();
    let allowed = match wanted.len() {
        0 | 65.. => return None,
        1..=4 => 1,
        5..=10 => 2,
        _ => 3,
    };
    known
        .take(256)
        .filter(|candidate| candidate.len() <= 64 && candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| (slips(&wanted, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// The name of `known` that somebody who wrote `name` may have meant: the same but for case, dashes and underscores, or a
/// slip of the pen away (letters left out, added, changed or swapped). For tools that check templates; what the language
/// itself suggests is part of its messages.
pub fn closest_name<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let letters = |name: &str| -> Vec<char> {
        name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
    };
    let wanted = letters(name);
    if wanted.len() > 64 {
        return None;
    }
    let allowed = match wanted.len() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len() <= 256)
        .map(|candidate| (slips(&wanted, &letters(candidate)), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in which swapping two neighbours is one step.
fn slips(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(from != to)).min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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

    #[test]
    fn slips_of_the_pen() {
        let known = ["name", "repoUrl", "description", "id", "port"];
        for (name, expected) in [
            ("nmae", Some("name")),
            ("naem", Some("name")),
            ("nam", Some("name")),
            ("Name", Some("name")),
            ("repo_url", Some("repoUrl")),
            ("repourl", Some("repoUrl")),
            ("repoUrls", Some("repoUrl")),
            ("descripton", Some("description")),
            ("ID", Some("id")),
            ("is", None),
            ("part", Some("port")),
            ("nothing", None),
            ("name", None),
        ] {
            assert_eq!(closest_name(name, known), expected, "{name}");
        }
    }
}
