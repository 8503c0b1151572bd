//! The `format` keyword: the formats npm `jsonschema` 1.5 knows, each as lax or strict as there. Others always pass.

use std::{net::Ipv6Addr, sync::OnceLock};

use understudy_regex::{Flags, Invalid, Regex};

/// Whether a text has the named format; unknown formats accept everything.
pub(super) fn conforms(text: &str, format: &str) -> bool {
    match format {
        "date-time" => date_time(text),
        "date" => date(text.as_bytes()),
        "time" => clock(text.as_bytes()),
        "duration" => duration(text),
        "email" => email(text),
        "idn-email" => idn_email(text),
        "ipv4" | "ip-address" => ipv4(text),
        "ipv6" => ipv6(text),
        "uri" | "iri" => uri(text),
        "uri-reference" => uri_reference(text, false),
        "iri-reference" => uri_reference(text, true),
        "uuid" => uuid(text),
        "json-pointer" => json_pointer(text),
        "relative-json-pointer" => relative_json_pointer(text),
        "hostname" | "host-name" => hostname(text),
        "utc-millisec" => utc_millisec(text),
        "regex" | "regexp" | "pattern" => !matches!(Regex::new(text, Flags::default()), Err(Invalid::Syntax(_))),
        "phone" => phone(text),
        "alpha" => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic()),
        "alphanumeric" => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "style" => style(text),
        "color" => color(text),
        // `uri-template` matches any text there, since its expression may match nothing at all.
        _ => true,
    }
}

fn two(bytes: &[u8], max: u8) -> bool {
    matches!(bytes, [a, b] if a.is_ascii_digit() && b.is_ascii_digit() && (a - b'0') * 10 + (b - b'0') <= max)
}

fn date(bytes: &[u8]) -> bool {
    bytes.len() == 10
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && two(&bytes[5..7], 12)
        && bytes[7] == b'-'
        && two(&bytes[8..], 31)
        && &bytes[8..] != b"00"
}

fn clock(bytes: &[u8]) -> bool {
    bytes.len() == 8
        && two(&bytes[..2], 24)
        && bytes[2] == b':'
        && two(&bytes[3..5], 59)
        && bytes[5] == b':'
        && two(&bytes[6..], 60)
}

fn date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !date(&bytes[..10]) || !b"tT ".contains(&bytes[10]) || !clock(&bytes[11..19]) {
        return false;
    }
    let mut rest = &bytes[19..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    match rest {
        b"Z" | b"z" => true,
        [b'+' | b'-', offset @ ..] => {
            offset.len() == 5 && two(&offset[..2], 59) && offset[2] == b':' && two(&offset[3..], 60)
        }
        _ => false,
    }
}

/// An ISO 8601 duration anywhere in the text, upper or lower case.
fn duration(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let number_then = |rest: &str, unit: char| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && rest[digits..].starts_with(unit)
    };
    text.match_indices('P').any(|(at, _)| {
        let rest = &text[at + 1..];
        match rest.strip_prefix('T') {
            Some(time) => "HMS".chars().any(|unit| number_then(time, unit)),
            None => "DMYW".chars().any(|unit| number_then(rest, unit)),
        }
    })
}

fn label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_!#$%&'*+-/=?^`{|}~".contains(&byte))
    };
    if !local.split('.').all(atom) {
        return false;
    }
    match domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']')) {
        Some(address) => ipv4(address),
        None => domain.contains('.') && domain.split('.').all(label),
    }
}

/// An address whose parts may hold any character beyond ASCII; a quoted local part may hold almost everything.
fn idn_email(text: &str) -> bool {
    let plain = |character: char| {
        !character.is_ascii() || (character.is_ascii_graphic() && !"\"(),.:;<>@[\\]".contains(character))
    };
    let dotted = |part: &str| part.split('.').all(|atom| !atom.is_empty() && atom.chars().all(plain));
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let quoted = local
        .strip_prefix('"')
        .and_then(|local| local.strip_suffix('"'))
        .is_some_and(|inner| !inner.contains(['"', '\\', ' ']));
    let bracketed = domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']')).is_some_and(|inner| {
        inner
            .chars()
            .all(|character| !character.is_ascii() || (character.is_ascii_graphic() && !"[\\]".contains(character)))
    });
    (quoted || dotted(local)) && (bracketed || dotted(domain))
}

fn ipv4(text: &str) -> bool {
    let part = |part: &str| {
        (1..=3).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && part.parse::<u16>().is_ok_and(|number| number <= 255)
    };
    text.split('.').count() == 4 && text.split('.').all(part)
}

fn ipv6(text: &str) -> bool {
    let address = text.trim().split_once('%').map_or(text.trim(), |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

fn uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
        && !rest.contains(char::is_whitespace)
}

fn uri_reference(text: &str, international: bool) -> bool {
    let mut characters = text.chars();
    let mut fragment = false;
    while let Some(character) = characters.next() {
        match character {
            '%' => {
                if !(0..2).all(|_| characters.next().is_some_and(|digit| digit.is_ascii_hexdigit())) {
                    return false;
                }
            }
            '#' if fragment => return false,
            '#' => fragment = true,
            // Brackets only stand around an address in the authority.
            '[' | ']' if !text.contains("//[") => return false,
            _ if character.is_ascii_graphic() && !"\"<>\\^`{|}".contains(character) => {}
            _ if international && !character.is_ascii() => {}
            _ => return false,
        }
    }
    // What comes before the first `:` of the first segment has to be a scheme.
    let first = text.split(['/', '?', '#']).next().unwrap_or("");
    first.split_once(':').is_none_or(|_| uri(first))
}

fn uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

fn json_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.is_empty() || (text.starts_with('/') && text.is_ascii() && escapes)
}

fn relative_json_pointer(text: &str) -> bool {
    let rest = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    rest.len() < text.len() && (rest == "#" || json_pointer(rest))
}

fn hostname(text: &str) -> bool {
    text.len() <= 255 && !text.is_empty() && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn utc_millisec(text: &str) -> bool {
    let text = text.trim();
    !text.contains(['e', 'E']) && text.parse::<f64>().is_ok_and(|number| number.is_finite() && number.fract() == 0.0)
}

fn phone(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('+') else { return false };
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    (7..=15).contains(&digits)
        && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ')
        && !rest.contains("  ")
        && !rest.starts_with(' ')
        && !rest.ends_with(' ')
}

/// A CSS declaration anywhere in the text.
fn style(text: &str) -> bool {
    let blank = |character: char| matches!(character, '\r' | '\n' | '\t' | ' ');
    // The first `:` may be the declaration's first character when another one follows.
    text.char_indices().any(|(at, character)| !blank(character) && text[at + character.len_utf8()..].contains(':'))
}

fn color(text: &str) -> bool {
    const NAMES: [&str; 17] = [
        "aqua", "black", "blue", "fuchsia", "gray", "green", "lime", "maroon", "navy", "olive", "orange", "purple",
        "red", "silver", "teal", "white", "yellow",
    ];
    static RGB: OnceLock<Option<Regex>> = OnceLock::new();
    let hex = text.strip_prefix('#').unwrap_or(text);
    if NAMES.contains(&text) || (matches!(hex.len(), 3 | 6) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return true;
    }
    let number = r"\s*(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])\s*";
    let share = r"\s*(?:\d?\d%|100%)\s*";
    let rgb = || format!(r"^rgb\((?:{number},{number},{number}|{share},{share},{share})\)$");
    RGB.get_or_init(|| Regex::new(&rgb(), Flags::default()).ok())
        .as_ref()
        .is_some_and(|rgb| rgb.is_match(text) == Ok(true))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::conforms;

    /// Recorded from npm `jsonschema` 1.5.0.
    #[test]
    fn formats_agree_with_npm() {
        let cases: Vec<(String, String, bool)> =
            serde_json::from_str(include_str!("../../tests/data/formats.json")).unwrap();
        assert!(cases.len() > 150);
        let wrong: Vec<_> = cases.iter().filter(|(format, text, valid)| conforms(text, format) != *valid).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
