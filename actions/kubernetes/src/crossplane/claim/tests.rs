#![allow(clippy::unwrap_used)]
use serde_json::json;
use understudy_sdk::{Registry, schema::Validator};

use super::*;
use crate::crossplane::register;

#[test]
fn examples_are_valid() {
    let mut registry = Registry::new();
    let config = json!({"kubernetes": {"clusterLocatorMethods": []}});
    register(&mut registry, &Clusters::with_kubeconfig(&config, "/nonexistent/kubeconfig").unwrap());
    let mut checked = 0;
    for action in registry.list() {
        assert!(action.description().contains("RBAC"), "{} doesn't say what it needs", action.id());
        assert!(action.output_schema().is_some() && action.supports_dry_run());
        let validator = Validator::new(&action.input_schema().unwrap()).unwrap();
        for example in action.examples() {
            let document: Value = serde_saphyr::from_str(&example.example).unwrap();
            for step in document["steps"].as_array().unwrap() {
                assert_eq!(step["action"], action.id());
                assert_eq!(validator.validate(&step["input"]), [], "{}", example.description);
                checked += 1;
            }
        }
    }
    assert!(checked >= 6, "{checked}");
}

#[test]
fn inputs_as_people_write_them() {
    let read = |more: Value| {
        let mut input = json!({"name": "photos"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<ClaimInput>(input)
    };
    let input = read(json!({})).unwrap();
    assert!(input.wait && input.upsert && !input.force && input.mode == Mode::Cluster);
    for more in [
        json!({"compositionRef": "fast"}),
        json!({"compositionRef": {"name": "fast"}}),
        json!({"compositionSelector": {"matchLabels": {"a": "b"}}, "compositionUpdatePolicy": "Manual"}),
        json!({"writeConnectionSecretToRef": {"name": "x", "namespace": "y"}, "timeout": "15m", "mode": "manifest"}),
    ] {
        assert!(read(more.clone()).is_ok(), "{more}");
    }
    for more in [
        json!({"compositionRef": 1}),
        json!({"compositionUpdatePolicy": "manual"}),
        json!({"mode": "git"}),
        json!({"spec": []}),
        json!({"nonsense": 1}),
        json!({"timeout": "soon"}),
    ] {
        assert!(read(more.clone()).is_err(), "{more}");
    }
}

#[test]
fn manifests_read_back_as_they_were() {
    let object = json!({
        "apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x", "labels": {"on": "yes", "n": "1"}},
        "spec": {
            "no": "off", "number": "1e3", "octal": "0777", "null": "null", "tilde": "~", "empty": "", "date": "2026-01-01",
            "lines": "a\nb\n", "colon": "a: b", "hash": "a #b", "brace": "{{ .Values.x }}", "list": [], "map": {},
            "nested": [{"a": [1, 2.5, true, null]}], "time": "12:30:45", "minus": "-", "long": "x ".repeat(200),
        },
    });
    let text = yaml(&object).unwrap();
    assert!(text.starts_with("apiVersion: example.org/v1\nkind: Thing\nmetadata:\n  name: x\n"), "{text}");
    let back: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(back, object, "{text}");
    // For readers of YAML 1.1, to whom these are booleans and numbers.
    for quoted in ["on", "yes", "off", "no", "1e3", "0777", "12:30:45", "~", "null"] {
        assert!(!text.contains(&format!(": {quoted}\n")), "{quoted} is bare:\n{text}");
    }
}
