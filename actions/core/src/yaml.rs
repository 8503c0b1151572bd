//! YAML as npm `yaml` 2 writes it: the form files have that upstream's actions made.

use serde_json::{Map, Value};
use understudy_sdk::ActionError;

/// A document with members in the given order, strings quoted only where they would be read as something else, lists
/// indented below their key.
pub(crate) fn document(value: &Value) -> Result<String, ActionError> {
    let options = serde_saphyr::ser_options! {
        compact_list_indent: false,
        yaml_12: true,
        no_lang_directive: true,
        folded_wrap_chars: 1_000_000,
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, &javascript_numbers(value), options)
        .map_err(|error| ActionError::failed(format!("the value can't be written as YAML: {error}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// JavaScript knows one kind of number and writes `1.0` as `1`.
fn javascript_numbers(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9.007_199_254_740_992e15 => {
                Value::from(float as i64)
            }
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(javascript_numbers).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), javascript_numbers(value))).collect::<Map<_, _>>().into()
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_look_as_npm_yaml_writes_them() {
        let value = json!({
            "apiVersion": "backstage.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "a b", "annotations": {"backstage.io/source-template": "template:default/x"}, "tags": ["a", "b"], "links": [{"url": "https://x", "title": "X: y"}], "labels": {}},
            "spec": {"n": 1.0, "f": 1.5, "yes": "yes", "t": "true", "num": "12", "date": "2001-01-01", "empty": "", "null": null, "list": [], "lines": "a\nb\n", "colon": "a: b", "hash": "a #b", "dash": "- x", "at": "@x", "star": "*x", "tilde": "~", "quote": "it's", "dq": "say \"x\"", "lead": " x", "nested": [[1, 2], [3]], "bool": false},
        });
        let expected = include_str!("../tests/data/entity.yaml");
        let text = document(&value).unwrap();
        assert_eq!(text, expected, "{text}");
    }
}
