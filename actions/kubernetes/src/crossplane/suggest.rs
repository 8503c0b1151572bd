//! "Did you mean".

/// The known name that somebody who wrote `name` may have meant: the same but for case, dashes and underscores, or one or two
/// slips of the pen away.
pub(crate) fn closest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let letters = |name: &str| -> String {
        name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
    };
    let wanted = letters(name);
    let allowed = match wanted.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=64 => 2,
        _ => return None,
    };
    known
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len() <= 256)
        .map(|candidate| (strsim::osa_distance(&wanted, &letters(candidate)), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names() {
        let known = ["region", "versioning", "storageGB", "id"];
        for (name, near) in [
            ("regoin", Some("region")),
            ("Region", Some("region")),
            ("storage_gb", Some("storageGB")),
            ("versionning", Some("versioning")),
            ("is", None),
            ("location", None),
            ("region", None),
            (&"x".repeat(100), None),
        ] {
            assert_eq!(closest(name, known), near, "{name}");
        }
    }
}
