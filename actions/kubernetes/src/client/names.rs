//! Names that a cluster would refuse, refused before anything is sent.

use super::{KubeError, discovery::Kind};

/// The most letters of a DNS label.
const LONGEST_LABEL: usize = 63;

/// Checks a DNS label (RFC 1123): what namespaces and services are called.
///
/// # Errors
/// What is wrong with it, and a near one that would do.
pub(crate) fn label(name: &str) -> Result<(), String> {
    if name.len() <= LONGEST_LABEL && is_part(name) {
        return Ok(());
    }
    Err(format!(
        "'{}' is no DNS label: 1 to {LONGEST_LABEL} lower-case letters, digits and '-', with a letter or digit at both \
         ends{}",
        shown(name),
        suggestion(name)
    ))
}

/// Checks a DNS subdomain (RFC 1123): what most objects are called.
///
/// # Errors
/// What is wrong with it, and a near one that would do.
pub(crate) fn subdomain(name: &str) -> Result<(), String> {
    subdomain_of(name, 253)
}

/// As [`subdomain`], of fewer letters: names that a controller puts into labels.
///
/// # Errors
/// As [`subdomain`].
pub(crate) fn short_subdomain(name: &str) -> Result<(), String> {
    subdomain_of(name, LONGEST_LABEL)
}

fn subdomain_of(name: &str, longest: usize) -> Result<(), String> {
    if name.len() <= longest && name.split('.').all(is_part) {
        return Ok(());
    }
    Err(format!(
        "'{}' is no DNS name: 1 to {longest} lower-case letters, digits, '-' and '.', with a letter or digit at both ends \
         and around each '.'{}",
        shown(name),
        suggestion(name)
    ))
}

/// As [`label`], of what `what` names.
///
/// # Errors
/// [`KubeError::Input`] with the rule.
pub(crate) fn check_label(what: &str, name: &str) -> Result<(), KubeError> {
    label(name).map_err(|reason| KubeError::Input(format!("{what} {reason}")))
}

/// Checks an object's name by its kind's rule.
///
/// # Errors
/// [`KubeError::Input`] with the rule.
pub(crate) fn check_name(kind: &Kind, name: &str) -> Result<(), KubeError> {
    let what = format!("the name of the {}", kind.kind());
    if kind.group() == "rbac.authorization.k8s.io" {
        // Path segments, as `system:node`.
        return if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '%']) {
            Err(KubeError::Input(format!("{what} '{}' is empty or contains '/' or '%'", shown(name))))
        } else {
            Ok(())
        };
    }
    if kind.group().is_empty() && matches!(kind.kind(), "Namespace" | "Service") {
        return check_label(&what, name);
    }
    subdomain(name).map_err(|reason| KubeError::Input(format!("{what} {reason}")))
}

fn is_part(part: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !part.is_empty() && part.bytes().all(inside) && !part.starts_with('-') && !part.ends_with('-')
}

fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(80).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}

/// `; 'my-app' would be one` for `My App`.
fn suggestion(name: &str) -> String {
    let mut near = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            near.push(c);
        } else if !near.is_empty() && !near.ends_with('-') {
            near.push('-');
        }
    }
    near.truncate(LONGEST_LABEL);
    let near = near.trim_end_matches('-');
    if near.is_empty() { String::new() } else { format!("; '{near}' would be one") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
            ("../x", false, false),
        ] {
            assert_eq!(label(name).is_ok(), is_label, "{name}");
            assert_eq!(subdomain(name).is_ok(), is_subdomain, "{name}");
        }
        assert!(subdomain(&"a".repeat(253)).is_ok() && subdomain(&"a".repeat(254)).is_err());
        assert!(short_subdomain("a.b").is_ok() && short_subdomain(&long).is_err());
    }

    #[test]
    fn messages_name_what_is_meant_and_a_near_name() {
        let message = check_label("the namespace", "My App!").map_err(|error| error.to_string());
        assert_eq!(
            message,
            Err("the namespace 'My App!' is no DNS label: 1 to 63 lower-case letters, digits and '-', with a letter or digit \
                 at both ends; 'my-app' would be one"
                .to_string())
        );
        assert!(subdomain("My App").unwrap_err().ends_with("around each '.'; 'my-app' would be one"));
        assert!(!subdomain("!").unwrap_err().contains("would be"));
    }
}
