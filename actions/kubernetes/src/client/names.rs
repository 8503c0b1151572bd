//! Names that a cluster would refuse, refused before anything is sent.

use super::{KubeError, discovery::Kind};

/// Checks a name of one DNS label (RFC 1123): what namespaces and services are called.
///
/// # Errors
/// [`KubeError::Input`] with the rule.
pub(crate) fn check_label(what: &str, name: &str) -> Result<(), KubeError> {
    if is_label(name) {
        return Ok(());
    }
    Err(KubeError::Input(format!(
        "{what} '{}' is no DNS label: 1 to 63 lower case letters, digits and '-', beginning and ending with a letter or \
         digit{}",
        shown(name),
        suggestion(name)
    )))
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
    if !name.is_empty() && name.len() <= 253 && name.split('.').all(is_subdomain_part) {
        return Ok(());
    }
    Err(KubeError::Input(format!(
        "{what} '{}' is no DNS name: 1 to 253 lower case letters, digits, '-' and '.', each part beginning and ending with \
         a letter or digit{}",
        shown(name),
        suggestion(name)
    )))
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_subdomain_part(name)
}

fn is_subdomain_part(part: &str) -> bool {
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
    near.truncate(63);
    let near = near.trim_end_matches('-');
    if near.is_empty() { String::new() } else { format!("; '{near}' would be one") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "web", "my-app-2", "0", &"a".repeat(63)] {
            assert!(check_label("name", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "my app", "a.b", "ä", "a_b", "../x", &"a".repeat(64)] {
            assert!(check_label("name", bad).is_err(), "{bad}");
        }
        let message = check_label("the namespace", "My App!").map_err(|error| error.to_string());
        assert_eq!(
            message,
            Err("the namespace 'My App!' is no DNS label: 1 to 63 lower case letters, digits and '-', beginning and ending \
                 with a letter or digit; 'my-app' would be one"
                .to_string())
        );
    }
}
