//! What the actions publish, compared with what upstream's do.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use serde_json::{Value, json};
use understudy_scm::Scm;
use understudy_sdk::{Registry, schema::Validator};

use crate::{GithubDeps, register};

/// Differs in `allowedHosts`, which it takes; its own test has the rest.
const WITH_A_TEST_OF_ITS_OWN: &str = "publish:github";

fn registry() -> Registry {
    let mut registry = Registry::new();
    let scm = Scm::from_config(&json!({})).unwrap();
    let default_author = ("Scaffolder".into(), "scaffolder@backstage.io".into());
    register(&mut registry, GithubDeps { scm, default_author, default_commit_message: None });
    registry
}

/// Removes what is ours to word.
fn normalized(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| !((key == "description" && value.is_string()) || key == "$schema"));
            map.values_mut().for_each(normalized);
        }
        Value::Array(items) => items.iter_mut().for_each(normalized),
        _ => {}
    }
}

#[test]
fn schemas_are_upstreams() {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Recorded {
        id: String,
        supports_dry_run: bool,
        input: Value,
        output: Option<Value>,
    }
    let recorded: Value = serde_json::from_str(include_str!("../testdata/schemas.json")).unwrap();
    let recorded: Vec<Recorded> = serde_json::from_value(recorded["actions"].clone()).unwrap();
    assert_eq!(recorded.len(), 12);
    let registry = registry();
    for mut recorded in recorded {
        let id = recorded.id.as_str();
        let action = registry.get(id).unwrap();
        assert_eq!(action.supports_dry_run(), recorded.supports_dry_run, "{id}");
        let mut input = action.input_schema().unwrap();
        let order = |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<String>>();
        assert_eq!(order(&input), order(&recorded.input), "{id}");
        normalized(&mut input);
        normalized(&mut recorded.input);
        assert_eq!(input, recorded.input, "{id}");
        let mut output = action.output_schema();
        output.iter_mut().chain(&mut recorded.output).for_each(normalized);
        assert_eq!(output, recorded.output, "{id}");
    }
}

#[test]
fn examples_are_valid() {
    #[derive(Deserialize)]
    struct Example {
        steps: Vec<Step>,
    }
    #[derive(Deserialize)]
    struct Step {
        action: String,
        input: Value,
    }
    let registry = registry();
    for action in registry.list().filter(|action| action.id() != WITH_A_TEST_OF_ITS_OWN) {
        let id = action.id();
        let validator = Validator::new(&action.input_schema().unwrap()).unwrap();
        assert!(!action.examples().is_empty(), "{id}");
        for example in action.examples() {
            let parsed: Example = serde_saphyr::from_str(&example.example).unwrap();
            for step in parsed.steps {
                assert_eq!(step.action, id);
                // What other steps give has the type the step wants once it is rendered.
                let rendered = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("${{"));
                let input: Value = step
                    .input
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, value)| {
                        let number =
                            rendered(value) && action.input_schema().unwrap()["properties"][name]["type"] == "number";
                        (name.clone(), if number { json!(1) } else { value.clone() })
                    })
                    .collect();
                assert_eq!(validator.validate(&input), [], "{id}: {}", example.description);
            }
        }
    }
}

#[test]
fn descriptions_name_the_least_permissions() {
    let registry = registry();
    for action in registry.list() {
        let text = action.description();
        assert!(text.contains("permissions"), "{}", action.id());
        assert!(text.contains(": read") || text.contains(": write"), "{}", action.id());
        assert!(text.contains("scope") || text.contains("(classic)"), "{}", action.id());
    }
}
