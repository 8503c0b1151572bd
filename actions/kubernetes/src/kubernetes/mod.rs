//! Actions for any object of a cluster: `kubernetes:apply`, `kubernetes:delete`, `kubernetes:get`, `kubernetes:wait` and
//! `kubernetes:create-namespace`.

mod apply;
mod create_namespace;
mod delete;
mod expression;
mod get;
mod inputs;
mod wait;

use understudy_sdk::Registry;

use crate::client::Clusters;

/// Adds the actions for any object.
pub(crate) fn register(registry: &mut Registry, clusters: &Clusters) {
    registry.register(apply::Apply::new(clusters));
    registry.register(create_namespace::CreateNamespace::new(clusters));
    registry.register(delete::Delete::new(clusters));
    registry.register(get::Get::new(clusters));
    registry.register(wait::Wait::new(clusters));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};
    use understudy_sdk::schema::Validator;

    use super::*;

    fn registry() -> Registry {
        let clusters = Clusters::from_config(&json!({})).unwrap();
        let mut registry = Registry::new();
        register(&mut registry, &clusters);
        registry
    }

    #[test]
    fn examples_are_valid_and_descriptions_name_the_rights() {
        let registry = registry();
        assert_eq!(registry.list().count(), 5);
        for action in registry.list() {
            let id = action.id();
            assert!(action.description().contains("RBAC verb"), "{id}");
            assert!(action.output_schema().is_some() && action.supports_dry_run(), "{id}");
            let validator = Validator::new(&action.input_schema().unwrap()).unwrap();
            assert!(!action.examples().is_empty(), "{id}");
            for example in action.examples() {
                let parsed: Value = serde_saphyr::from_str(&example.example).unwrap();
                for step in parsed["steps"].as_array().unwrap() {
                    assert_eq!(step["action"], id);
                    assert_eq!(validator.validate(&step["input"]), [], "{id}: {}", example.description);
                }
            }
        }
    }

    #[test]
    fn inputs_of_the_public_actions_are_accepted() {
        let registry = registry();
        for (id, input) in [
            ("kubernetes:apply", json!({"manifest": "apiVersion: v1", "namespaced": true})),
            ("kube:apply", json!({"manifest": "apiVersion: v1", "namespaced": false, "clusterName": "a"})),
            ("cnoe:kubernetes:apply", json!({"manifestString": "apiVersion: v1", "namespaced": true})),
            ("cnoe:kubernetes:apply", json!({"manifestObject": {"kind": "A"}, "namespaced": true, "clusterName": "a"})),
            ("cnoe:kubernetes:apply", json!({"manifestPath": "a.yaml", "namespaced": true})),
            (
                "kubernetes:create-namespace",
                json!({"namespace": "a", "token": "t", "clusterRef": "resource:a", "skipTLSVerify": false, "labels": "a=b"}),
            ),
            (
                "kubernetes:create-namespace",
                json!({"namespace": "a", "token": "t", "url": "https://a", "caData": "LS0"}),
            ),
        ] {
            let schema = registry.get(id).unwrap().input_schema().unwrap();
            assert_eq!(Validator::new(&schema).unwrap().validate(&input), [], "{id} {input}");
        }
    }
}
