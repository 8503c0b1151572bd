//! JSON texts from clients: parsed, and refused in the words of Node.js, which clients of upstream know.

use serde_json::Value;

/// Parses an object or array.
///
/// # Errors
/// The text of V8's `SyntaxError`; where serde_json has a limit that V8 lacks (nesting), its own words.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    // Node decodes leniently: broken UTF-8 becomes replacement characters.
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // express.json() is strict: what doesn't start like an object or array is refused before it is parsed.
    if let Some((at, first)) = text.char_indices().find(|(_, c)| !matches!(c, ' ' | '\t' | '\n' | '\r'))
        && !matches!(first, '{' | '[')
    {
        return Err(unexpected_token(text, at));
    }
    serde_json::from_str(text).map_err(|error| explain(text, &error))
}

fn explain(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return if error.to_string().starts_with("EOF while parsing a string") {
            let start = text.rfind('"').unwrap_or(text.len());
            format!("Unterminated string in JSON{}", position(text, text.len().max(start)))
        } else {
            "Unexpected end of JSON input".into()
        };
    }
    let at = offset(text, error.line(), error.column());
    let words = error.to_string();
    let says = |start: &str| words.starts_with(start);
    let here = position(text, at);
    if says("key must be a string") {
        let after_comma = text[..at].trim_end().ends_with(',');
        if after_comma {
            format!("Expected double-quoted property name in JSON{here}")
        } else {
            format!("Expected property name or '}}' in JSON{here}")
        }
    } else if says("trailing comma") && text[at..].starts_with('}') {
        format!("Expected double-quoted property name in JSON{here}")
    } else if says("expected `:`") {
        format!("Expected ':' after property name in JSON{here}")
    } else if says("expected `,` or `}`") {
        format!("Expected ',' or '}}' after property value in JSON{here}")
    } else if says("expected `,` or `]`") {
        format!("Expected ',' or ']' after array element in JSON{here}")
    } else if says("trailing characters") {
        format!("Unexpected non-whitespace character after JSON{here}")
    } else if says("control character") {
        format!("Bad control character in string literal in JSON{here}")
    } else if says("invalid escape") {
        format!("Bad escaped character in JSON{here}")
    } else if says("recursion limit") {
        format!("JSON nested too deeply{here}")
    } else {
        unexpected_token(text, at)
    }
}

/// The byte of the offending character; serde_json counts the bytes of a line, the offending one included.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// V8 counts UTF-16 units.
fn position(text: &str, at: usize) -> String {
    format!(" at position {}", text[..at].encode_utf16().count())
}

fn unexpected_token(text: &str, at: usize) -> String {
    /// V8 quotes a text of up to 40 units whole, else ten on either side.
    const WHOLE: usize = 40;
    const AROUND: usize = 10;
    let Some(token) = text[at..].chars().next() else { return "Unexpected end of JSON input".into() };
    let units: Vec<u16> = text.encode_utf16().collect();
    let unit = text[..at].encode_utf16().count();
    let (from, to) = if units.len() <= WHOLE {
        (0, units.len())
    } else {
        (unit.saturating_sub(AROUND), units.len().min(unit + AROUND))
    };
    format!(
        "Unexpected token '{token}', {}\"{}\"{} is not valid JSON",
        if from > 0 { "..." } else { "" },
        String::from_utf16_lossy(&units[from..to]),
        if to < units.len() { "..." } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_node() {
        for (text, expected) in [
            (r#"{"templateRef": "#, "Unexpected end of JSON input"),
            ("{a", "Expected property name or '}' in JSON at position 1"),
            (r#"{"a":1,}"#, "Expected double-quoted property name in JSON at position 7"),
            (r#"{"a" 1}"#, "Expected ':' after property name in JSON at position 5"),
            (r#"{"a":1 "b":2}"#, "Expected ',' or '}' after property value in JSON at position 7"),
            ("[1 2]", "Expected ',' or ']' after array element in JSON at position 3"),
            ("{} x", "Unexpected non-whitespace character after JSON at position 3"),
            ("[1,]", "Unexpected token ']', \"[1,]\" is not valid JSON"),
            ("\"text\"", "Unexpected token '\"', \"\"text\"\" is not valid JSON"),
            ("[tru]", "Unexpected token ']', \"[tru]\" is not valid JSON"),
            ("{\"a\":\"\\q\"}", "Bad escaped character in JSON at position 7"),
            ("{\n\"é\": nope}", "Unexpected token 'o', \"{\n\"é\": nope}\" is not valid JSON"),
            (r#"{"a": "xyz"#, "Unterminated string in JSON at position 10"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let error = parse("[".repeat(100_000).as_bytes());
        assert!(matches!(&error, Err(message) if message.starts_with("JSON nested too deeply")), "{error:?}");
    }

    #[test]
    fn empty_objects_pass() {
        assert_eq!(parse("\u{feff} {} ".as_bytes()), Ok(serde_json::json!({})));
    }
}
