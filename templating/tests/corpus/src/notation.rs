//! Values as text, without loss.

use understudy_templating::{Str, Value, js_number_to_string};

/// A value in JSON, with `undefined`, `NaN`, `Infinity`, `-Infinity` and `-0` where JSON has nothing, and the halves of a
/// character that stand alone as `\udxxx`.
///
/// As in the values that the reference implementation returns, safe strings and regular expressions are strings, and
/// `undefined` is `null` within an array and leaves no trace within a record.
pub fn notation(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, to: &mut String) {
    match value {
        Value::Undefined => to.push_str("undefined"),
        Value::Null => to.push_str("null"),
        Value::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if *number == 0.0 && number.is_sign_negative() => to.push_str("-0"),
        Value::Number(number) => to.push_str(&js_number_to_string(*number)),
        Value::String(text) => write_string(text, to),
        Value::Safe(text) => write_string(text, to),
        Value::Regex(regex) => quote(&regex.to_string(), to),
        Value::Array(array) => {
            to.push('[');
            for (index, item) in array.items().iter().enumerate() {
                if index > 0 {
                    to.push(',');
                }
                write(if item.is_undefined() { &Value::Null } else { item }, to);
            }
            to.push(']');
        }
        Value::Record(record) => {
            to.push('{');
            for (index, (key, value)) in record.iter().filter(|(_, value)| !value.is_undefined()).enumerate() {
                if index > 0 {
                    to.push(',');
                }
                quote(key, to);
                to.push(':');
                write(value, to);
            }
            to.push('}');
        }
        // No render returns one.
        other => to.push_str(&format!("({})", other.type_name())),
    }
}

fn write_string(text: &Str, to: &mut String) {
    match text.as_str() {
        Some(text) => quote(text, to),
        None => {
            to.push('"');
            for unit in char::decode_utf16(text.code_units()) {
                match unit {
                    Ok(character) => escape(character, to),
                    Err(lone) => to.push_str(&format!("\\u{:04x}", lone.unpaired_surrogate())),
                }
            }
            to.push('"');
        }
    }
}

fn quote(text: &str, to: &mut String) {
    to.push('"');
    text.chars().for_each(|character| escape(character, to));
    to.push('"');
}

fn escape(character: char, to: &mut String) {
    match character {
        '"' => to.push_str("\\\""),
        '\\' => to.push_str("\\\\"),
        '\u{8}' => to.push_str("\\b"),
        '\u{c}' => to.push_str("\\f"),
        '\n' => to.push_str("\\n"),
        '\r' => to.push_str("\\r"),
        '\t' => to.push_str("\\t"),
        control @ '\0'..'\u{20}' => to.push_str(&format!("\\u{:04x}", u32::from(control))),
        other => to.push(other),
    }
}
