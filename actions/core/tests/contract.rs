//! What the built-in actions publish: schemas as upstream's (facts recorded from 4.2.0), examples that hold.
#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};
use understudy_actions_core::{CoreDeps, register};
use understudy_scm::Scm;
use understudy_sdk::{Registry, schema::Validator};

fn registry() -> Registry {
    let mut registry = Registry::new();
    register(&mut registry, CoreDeps::new(Scm::from_config(&json!({})).unwrap()));
    registry
}

/// A schema without the texts for people.
fn stripped(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !(*key == "description" && value.is_string()) && *key != "$schema")
            .map(|(key, value)| (key.clone(), stripped(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(stripped).collect(),
        plain => plain.clone(),
    }
}

fn facts() -> Map<String, Value> {
    serde_json::from_str(include_str!("data/schemas.json")).unwrap()
}

#[test]
fn every_action_has_upstreams_schemas() {
    let registry = registry();
    for (id, fact) in facts() {
        let action = registry.get(&id).unwrap();
        let input = stripped(&action.input_schema().unwrap());
        // As text: the order of keywords is the order of violations.
        assert_eq!(input.to_string(), fact["input"].to_string(), "input of {id}");
        let output = action.output_schema().as_ref().map(stripped);
        assert_eq!(output.as_ref(), fact.get("output"), "output of {id}");
        assert_eq!(action.supports_dry_run(), fact["supportsDryRun"], "dry run of {id}");
        assert!(action.examples().len() as u64 >= fact["examples"].as_u64().unwrap(), "examples of {id}");
        assert!(!action.description().is_empty());
    }
}

#[test]
fn examples_fit_their_schemas() {
    let registry = registry();
    for action in registry.list() {
        let validator = Validator::new(&action.input_schema().unwrap()).unwrap();
        for example in action.examples() {
            let document: Value = serde_saphyr::from_str(&example.example).unwrap();
            let steps = document["steps"].as_array().unwrap();
            assert!(steps.iter().any(|step| step["action"] == action.id()), "{}: {}", action.id(), example.description);
            for step in steps.iter().filter(|step| step["action"] == action.id()) {
                let violations = validator.validate(&step["input"]);
                assert!(violations.is_empty(), "{}: {}: {violations:#?}", action.id(), example.description);
                assert!(step["id"].is_string() && step["name"].is_string());
            }
        }
    }
}
