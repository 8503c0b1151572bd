//! Kubernetes' rules for names.

/// Checks a DNS label (RFC 1123): what namespaces and most names that end up in labels must be.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn label(name: &str) -> Result<(), String> {
    if is_label(name) {
        return Ok(());
    }
    Err(format!(
        "'{name}' is no DNS label: 1 to 63 lower-case letters, digits and '-', with a letter or digit at both ends"
    ))
}

/// Checks a DNS subdomain (RFC 1123): what names of objects must be.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn subdomain(name: &str) -> Result<(), String> {
    let letters = |part: &str| {
        let bytes = part.as_bytes();
        bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| alphanumeric(*byte))
            && bytes.last().is_some_and(|byte| alphanumeric(*byte))
    };
    if name.len() <= 253 && name.split('.').all(letters) {
        return Ok(());
    }
    Err(format!(
        "'{name}' is no DNS name: up to 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends \
         and around each '.'"
    ))
}

/// Checks a label's value.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_name_part(value) {
        return Ok(());
    }
    Err(format!(
        "'{value}' is no label value: up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    ))
}

/// Checks the key of a label or annotation: `name` or `prefix/name`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn qualified(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if is_name_part(name) && prefix.is_none_or(|prefix| subdomain(prefix).is_ok()) {
        return Ok(());
    }
    Err(format!(
        "'{key}' is no key of a label or annotation: a name of up to 63 letters, digits, '-', '_' and '.', with a DNS name \
         and '/' before it where it has a prefix"
    ))
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && subdomain(name).is_ok()
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_kubernetes_does() {
        let long = "a".repeat(64);
        for (name, is_label, is_subdomain) in [
            ("shop", true, true),
            ("shop-2", true, true),
            ("2shop", true, true),
            ("shop.example.org", false, true),
            (long.as_str(), false, true),
            ("", false, false),
            ("Shop", false, false),
            ("shop_2", false, false),
            ("-shop", false, false),
            ("shop-", false, false),
            ("shop..x", false, false),
            ("shop\n", false, false),
            ("größe", false, false),
        ] {
            assert_eq!(label(name).is_ok(), is_label, "{name}");
            assert_eq!(subdomain(name).is_ok(), is_subdomain, "{name}");
        }
        assert!(subdomain(&"a".repeat(254)).is_err());
    }

    #[test]
    fn keys_and_values_of_labels() {
        for (key, fine) in [
            ("app", true),
            ("app.kubernetes.io/name", true),
            ("a/b/c", false),
            ("/b", false),
            ("a/", false),
            ("Up_Per.x", true),
            ("Upper/x", false),
        ] {
            assert_eq!(qualified(key).is_ok(), fine, "{key}");
        }
        for (value, fine) in [("", true), ("v1.0_x", true), ("-x", false), ("a b", false)] {
            assert_eq!(label_value(value).is_ok(), fine, "{value}");
        }
    }
}
