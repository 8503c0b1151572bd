//! `dump`: JSON as JavaScript writes it.

use super::argument;
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::number::js_number_to_string;
use crate::string::Str;
use crate::value::Value;

pub(super) fn dump(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let indent = match argument(values, 1) {
        Value::Number(width) => " ".repeat(width.clamp(0.0, 10.0) as usize),
        Value::String(text) => text.slice(0, 10).to_string(),
        _ => String::new(),
    };
    let mut writer = Writer { interp, text: String::new(), indent, path: Vec::new() };
    let written = writer.value(argument(values, 0), 0)?;
    let text = writer.text;
    interp.charge_whole(text.len())?;
    Ok(if written { Value::string(text) } else { Value::Undefined })
}

struct Writer<'i, 't> {
    interp: &'i mut Interp<'t>,
    text: String,
    indent: String,
    path: Vec<usize>,
}

impl Writer<'_, '_> {
    /// Writes a value; false when JSON has nothing for it.
    fn value(&mut self, value: &Value, level: usize) -> Res<bool> {
        self.interp.charge(1)?;
        match value {
            Value::Undefined => return Ok(false),
            Value::Null => self.text.push_str("null"),
            Value::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) if number.is_finite() => self.text.push_str(&js_number_to_string(*number)),
            Value::Number(_) => self.text.push_str("null"),
            // In JavaScript a safe string is an object with these two properties.
            Value::Safe(text) if self.interp.dialect() == Dialect::Nunjucks3 => {
                let own = [("val", Value::String(text.as_ref().clone())), ("length", Value::Number(text.len() as f64))];
                return self.value(&Value::Record(own.into_iter().collect()), level);
            }
            Value::String(text) => self.string(text)?,
            Value::Safe(text) => self.string(text)?,
            Value::Regex(_) => self.text.push_str("{}"),
            Value::Function(callable) if self.interp.dialect() == Dialect::Nunjucks3 => {
                return match self.interp.cycler_record(callable) {
                    Some(cycler) => self.value(&cycler, level),
                    None => Ok(false),
                };
            }
            Value::Function(_) => return Err(Fault::evaluation("Callable values cannot be coerced")),
            Value::Array(array) => {
                self.interp.step_into(array, &mut self.path)?;
                let items = self.interp.items(array);
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.separate(index, level + 1)?;
                    if !self.value(item, level + 1)? {
                        self.text.push_str("null");
                    }
                }
                self.close(']', !items.is_empty(), level)?;
                self.path.pop();
            }
            Value::Record(record) => {
                self.text.push('{');
                let mut written = 0;
                for (key, value) in record.iter() {
                    let missing = match value {
                        Value::Function(callable) => {
                            self.interp.dialect() == Dialect::Nunjucks3 && self.interp.cycler_record(callable).is_none()
                        }
                        value => value.is_undefined(),
                    };
                    if missing {
                        continue;
                    }
                    self.separate(written, level + 1)?;
                    self.string(&Str::from(key.clone()))?;
                    self.text.push_str(if self.indent.is_empty() { ":" } else { ": " });
                    self.value(value, level + 1)?;
                    written += 1;
                }
                self.close('}', written > 0, level)?;
            }
        }
        Ok(true)
    }

    fn separate(&mut self, index: usize, level: usize) -> Res<()> {
        if index > 0 {
            self.text.push(',');
        }
        self.line(level)
    }

    fn close(&mut self, bracket: char, has_content: bool, level: usize) -> Res<()> {
        if has_content {
            self.line(level)?;
        }
        self.text.push(bracket);
        Ok(())
    }

    fn line(&mut self, level: usize) -> Res<()> {
        if self.indent.is_empty() {
            return Ok(());
        }
        self.interp.charge_bytes(self.indent.len() * level)?;
        self.text.push('\n');
        for _ in 0..level {
            self.text.push_str(&self.indent);
        }
        Ok(())
    }

    fn string(&mut self, text: &Str) -> Res<()> {
        self.interp.charge_bytes(text.byte_len())?;
        let start = self.text.len();
        self.text.push('"');
        match text.as_str() {
            Some(text) => text.chars().for_each(|character| self.character(Ok(character))),
            None => char::decode_utf16(text.units()).for_each(|decoded| self.character(decoded)),
        }
        self.text.push('"');
        // What is escaped takes up to six times as much.
        let more = (self.text.len() - start).saturating_sub(text.byte_len());
        self.interp.charge(more / 64)?;
        self.interp.check_text(self.text.len())
    }

    fn character(&mut self, decoded: Result<char, std::char::DecodeUtf16Error>) {
        match decoded {
            Ok('"') => self.text.push_str("\\\""),
            Ok('\\') => self.text.push_str("\\\\"),
            Ok('\u{8}') => self.text.push_str("\\b"),
            Ok('\u{c}') => self.text.push_str("\\f"),
            Ok('\n') => self.text.push_str("\\n"),
            Ok('\r') => self.text.push_str("\\r"),
            Ok('\t') => self.text.push_str("\\t"),
            Ok(control) if control < ' ' => self.text.push_str(&format!("\\u{:04x}", u32::from(control))),
            Ok(character) => self.text.push(character),
            Err(lone) => self.text.push_str(&format!("\\u{:04x}", lone.unpaired_surrogate())),
        }
    }
}
