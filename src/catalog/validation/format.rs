//! The formats of names, keys and values (`KubernetesValidatorFunctions`, `CommonValidatorFunctions`).

use super::Format;

pub(super) const API_VERSION: Format = Format {
    accepts: is_api_version,
    expected: "a version like scaffolder.backstage.io/v1beta3: an optional DNS name and a slash, then letters and digits",
};
pub(super) const KIND: Format =
    Format { accepts: is_kind, expected: "a letter followed by letters and digits, at most 63 characters" };
pub(super) const NAME: Format = Format {
    accepts: is_object_name,
    expected: "letters and digits, separated by any of -_. and at most 63 characters",
};
pub(super) const NAMESPACE: Format = Format {
    accepts: is_dns_label,
    expected: "lower case letters and digits, separated by - and at most 63 characters",
};
pub(super) const LABEL_KEY: Format = Format { accepts: is_prefixed_name, expected: PREFIXED };
pub(super) const ANNOTATION_KEY: Format = Format { accepts: is_prefixed_name, expected: PREFIXED };
const PREFIXED: &str =
    "an optional DNS name and a slash, then letters and digits separated by any of -_. and at most 63 characters";
pub(super) const LABEL_VALUE: Format = Format {
    accepts: |text| text.is_empty() || is_object_name(text),
    expected: "letters and digits, separated by any of -_. and at most 63 characters",
};
pub(super) const TAG: Format = Format {
    accepts: is_tag,
    expected: "lower case letters, digits, + # and :, separated by - and at most 63 characters",
};
pub(super) const URL: Format = Format {
    accepts: |text| url::Url::parse(text).is_ok(),
    expected: "a URL with its scheme, like https://example.com",
};

fn is_api_version(text: &str) -> bool {
    let (prefix, version) = match text.split_once('/') {
        Some((prefix, version)) => (Some(prefix), version),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_name)
        && version.len() <= 63
        && version.starts_with(|c: char| c.is_ascii_lowercase())
        && version.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_kind(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
}

pub(super) fn is_object_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_dns_label(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63 && text.starts_with(ends) && text.ends_with(ends) && text.chars().all(|c| ends(c) || c == '-')
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

fn is_prefixed_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_object_name(name),
        None => is_object_name(text),
    }
}

fn is_tag(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.split('-').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ":+#".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let long = "a".repeat(64);
        let cases: [(&Format, &[&str], &[&str]); 7] = [
            (
                &API_VERSION,
                &["v1", "backstage.io/v1alpha1", "scaffolder.backstage.io/v1beta3", "v1A"],
                &["", "V1", "1", "a/", "/v1", "a/b/c", "A.io/v1", "a_b/v1", "v1-beta"],
            ),
            (&KIND, &["Template", "a", "A1"], &["", "1A", "A-B", "a.b", "é", &long]),
            (&NAME, &["a", "A.b_c-d", "1", "a--b", &long[..63]], &["", "-a", "a-", "a b", "a/b", "ä", &long]),
            (&NAMESPACE, &["default", "a-b", "a--b", "1"], &["", "A", "a.b", "-a", "a-", "a_b", &long]),
            (&LABEL_KEY, &["a", "example.com/a_b", "A"], &["", "/a", "a/", "a/b/c", "A.com/x", "a b"]),
            (&LABEL_VALUE, &["", "a", "A.b"], &["-", "a b", &long]),
            (&TAG, &["java", "c++", "c#", "a:b", "a-b", "1"], &["", "Java", "a--b", "-a", "a b", "a.b", &long]),
        ];
        for (format, good, bad) in cases {
            for text in good {
                assert!((format.accepts)(text), "{text}: {}", format.expected);
            }
            for text in bad {
                assert!(!(format.accepts)(text), "{text}: {}", format.expected);
            }
        }
    }
}
