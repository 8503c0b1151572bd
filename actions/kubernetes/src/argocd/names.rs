//! Kubernetes' rules for keys and values of labels.

use crate::client::subdomain;

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

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

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
