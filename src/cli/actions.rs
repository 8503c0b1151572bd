//! `understudy actions`: what templates can do, for people.

use std::fmt::Write;

use serde_json::Value;
use understudy_sdk::{DynAction, Registry};

use crate::api::ActionItem;

/// All actions, a line each.
pub(super) fn list(registry: &Registry) -> String {
    let width = registry.list().map(|action| action.id().len()).max().unwrap_or_default();
    registry.list().fold(String::new(), |mut text, action| {
        let first = action.description().lines().next().unwrap_or_default();
        // Writing to a String can't fail.
        let _ = writeln!(text, "{:width$}  {first}", action.id());
        text
    })
}

/// The API's list as JSON.
pub(super) fn json<'a>(actions: impl IntoIterator<Item = &'a dyn DynAction>) -> Value {
    let items: Vec<_> = actions.into_iter().map(ActionItem::of).collect();
    serde_json::to_value(items).unwrap_or_default()
}

/// One action: inputs, outputs and examples.
pub(super) fn describe(action: &dyn DynAction) -> String {
    let mut text = format!("{}\n  {}\n", action.id(), action.description().replace('\n', "\n  "));
    let aliases = action.aliases();
    if !aliases.is_empty() {
        let _ = writeln!(text, "  Also known as {}", aliases.join(", "));
    }
    if action.supports_dry_run() {
        text.push_str("  Runs in dry runs\n");
    }
    members(&mut text, "Input", action.input_schema().as_ref());
    members(&mut text, "Output", action.output_schema().as_ref());
    for example in action.examples() {
        let _ = write!(
            text,
            "\nExample: {}\n  {}\n",
            example.description,
            example.example.trim_end().replace('\n', "\n  ")
        );
    }
    text
}

fn members(text: &mut String, heading: &str, schema: Option<&Value>) {
    let Some(properties) = schema.and_then(|schema| schema["properties"].as_object()).filter(|p| !p.is_empty()) else {
        return;
    };
    let required = schema.and_then(|schema| schema["required"].as_array());
    let width = properties.keys().map(String::len).max().unwrap_or_default();
    let _ = writeln!(text, "\n{heading}");
    for (name, schema) in properties {
        let needed = required.is_some_and(|required| required.iter().any(|item| item == name.as_str()));
        let _ = writeln!(
            text,
            "  {name:width$}  {}{}{}",
            kind(schema),
            if needed { ", required" } else { "" },
            schema["description"].as_str().map(|text| format!(". {text}")).unwrap_or_default()
        );
    }
}

fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(choices) = ["anyOf", "oneOf"].iter().find_map(|word| schema[*word].as_array()) {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("array of {}", kind(&schema["items"])),
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".into(),
    }
}
