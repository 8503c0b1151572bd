#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;
use crate::crossplane::definition::{Definition, GROUP, KIND, Wanted, find};

/// An XRD whose `spec` has this schema, in the form of a generation.
fn definition(generation: Generation, spec: &Value) -> Definition {
    let scope = match generation {
        Generation::Claim | Generation::LegacyComposite => "LegacyCluster",
        Generation::NamespacedComposite => "Namespaced",
        Generation::ClusterComposite => "Cluster",
    };
    let mut value = json!({
        "apiVersion": format!("{GROUP}/v2"), "kind": KIND, "metadata": {"name": "xthings.example.org"},
        "spec": {
            "group": "example.org", "scope": scope,
            "names": {"kind": "XThing", "plural": "xthings"},
            "versions": [{"name": "v1", "served": true, "referenceable": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": spec},
            }}}],
        },
    });
    if generation == Generation::Claim {
        value["spec"]["claimNames"] = json!({"kind": "Thing", "plural": "things"});
    }
    Definition::from_value(value, "test").unwrap()
}

fn check(generation: Generation, schema: &Value, spec: &Value) -> Result<(), SpecError> {
    let definitions = [definition(generation, schema)];
    let wanted = Wanted { xrd: Some("xthings.example.org"), ..Wanted::default() };
    check_spec(&find(&definitions, &wanted, "test").unwrap(), spec)
}

/// `path: message` of each violation.
fn found(generation: Generation, schema: &Value, spec: &Value) -> Vec<String> {
    match check(generation, schema, spec) {
        Ok(()) => Vec::new(),
        Err(SpecError::Violations { violations, .. }) => violations.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn bucket() -> Value {
    json!({
        "type": "object",
        "required": ["region"],
        "properties": {
            "region": {"type": "string", "enum": ["eu-central-1", "eu-west-1"]},
            "versioning": {"type": "boolean", "default": true},
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
        },
    })
}

#[test]
fn every_rule_of_structural_schemas() {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let one = |schema: Value| object(json!({"a": schema}));
    for (schema, spec, expected) in [
        // Types.
        (one(json!({"type": "string"})), json!({"a": 1}), vec!["spec.a: must be a string, found 1"]),
        (one(json!({"type": "integer"})), json!({"a": "1"}), vec!["spec.a: must be a whole number, found \"1\""]),
        (one(json!({"type": "integer"})), json!({"a": 1.5}), vec!["spec.a: must be a whole number, found 1.5"]),
        (one(json!({"type": "number"})), json!({"a": 1}), vec![]),
        (one(json!({"type": "boolean"})), json!({"a": "yes"}), vec!["spec.a: must be a boolean, found \"yes\""]),
        (
            one(json!({"type": "array", "items": {"type": "string"}})),
            json!({"a": {}}),
            vec!["spec.a: must be a list, found an object of 0 fields"],
        ),
        (one(json!({"type": "object"})), json!({"a": []}), vec!["spec.a: must be an object, found a list of 0"]),
        // null.
        (one(json!({"type": "string"})), json!({"a": null}), vec!["spec.a: must be a string, found null"]),
        (one(json!({"type": "string", "nullable": true})), json!({"a": null}), vec![]),
        (one(json!({"type": "string", "nullable": true, "enum": ["x"]})), json!({"a": null}), vec![]),
        (one(json!({"type": "string", "default": "x"})), json!({"a": null}), vec![]),
        // int-or-string, with and without the forms that generators write.
        (one(json!({"x-kubernetes-int-or-string": true})), json!({"a": "50%"}), vec![]),
        (
            one(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})),
            json!({"a": 1}),
            vec![],
        ),
        (
            one(json!({"x-kubernetes-int-or-string": true})),
            json!({"a": true}),
            vec!["spec.a: must be a whole number or a string, found true"],
        ),
        // Values.
        (
            one(json!({"type": "string", "enum": ["gold", "silver"]})),
            json!({"a": "glod"}),
            vec!["spec.a: must be one of \"gold\", \"silver\", found \"glod\"; did you mean \"gold\"?"],
        ),
        (
            one(json!({"type": "string", "pattern": "^[a-z]+$"})),
            json!({"a": "A"}),
            vec!["spec.a: must match the pattern ^[a-z]+$, found \"A\""],
        ),
        // A pattern beyond what is known here is left to the server.
        (one(json!({"type": "string", "pattern": "(?=x)"})), json!({"a": "A"}), vec![]),
        (
            one(json!({"type": "string", "minLength": 2})),
            json!({"a": "x"}),
            vec!["spec.a: must have at least 2 characters, found \"x\""],
        ),
        (
            one(json!({"type": "string", "maxLength": 1})),
            json!({"a": "xy"}),
            vec!["spec.a: must have at most 1 character, found \"xy\""],
        ),
        (one(json!({"type": "integer", "minimum": 3})), json!({"a": 2}), vec!["spec.a: must be at least 3, found 2"]),
        (one(json!({"type": "integer", "maximum": 3})), json!({"a": 4}), vec!["spec.a: must be at most 3, found 4"]),
        (
            one(json!({"type": "integer", "minimum": 3, "exclusiveMinimum": true})),
            json!({"a": 3}),
            vec!["spec.a: must be greater than 3, found 3"],
        ),
        (
            one(json!({"type": "integer", "maximum": 3, "exclusiveMaximum": true})),
            json!({"a": 3}),
            vec!["spec.a: must be less than 3, found 3"],
        ),
        (one(json!({"type": "integer", "maximum": 3, "exclusiveMaximum": false})), json!({"a": 3}), vec![]),
        (
            one(json!({"type": "integer", "multipleOf": 2})),
            json!({"a": 3}),
            vec!["spec.a: must be a multiple of 2, found 3"],
        ),
        (
            one(json!({"type": "integer", "format": "int32"})),
            json!({"a": 3_000_000_000_u32}),
            vec!["spec.a: must be at most 2147483647, found 3000000000"],
        ),
        (
            one(json!({"type": "string", "format": "date-time"})),
            json!({"a": "today"}),
            vec!["spec.a: must have the format date-time, found \"today\""],
        ),
        // Formats that others read otherwise are left to the server.
        (one(json!({"type": "string", "format": "uri"})), json!({"a": "no uri"}), vec![]),
        // Lists.
        (
            one(json!({"type": "array", "minItems": 1, "items": {"type": "string"}})),
            json!({"a": []}),
            vec!["spec.a: must have at least 1 entry, found 0"],
        ),
        (
            one(json!({"type": "array", "maxItems": 1, "items": {"type": "string"}})),
            json!({"a": ["x", 1]}),
            vec!["spec.a: must have at most 1 entry, found 2", "spec.a[1]: must be a string, found 1"],
        ),
        (
            one(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}})),
            json!({"a": ["x", "x"]}),
            vec!["spec.a: must not have the same entry twice"],
        ),
        (
            one(
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"],
                "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "port": {"type": "integer", "default": 80}}}}),
            ),
            json!({"a": [{"name": "x"}, {"name": "x", "port": 80}, {"name": "x", "port": 81}]}),
            vec!["spec.a[1]: an earlier entry has the same name \"x\", port 80"],
        ),
        // Objects.
        (
            one(json!({"type": "object", "additionalProperties": {"type": "string"}})),
            json!({"a": {"b.c/d": 1}}),
            vec!["spec.a[\"b.c/d\"]: must be a string, found 1"],
        ),
        (one(json!({"type": "object", "additionalProperties": true})), json!({"a": {"b": {"c": 1}}}), vec![]),
        (
            one(json!({"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}})),
            json!({"a": {}}),
            vec!["spec.a: must have at least 1 field, found 0"],
        ),
        (
            object(json!({"a": {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}}})),
            json!({"a": {}}),
            vec!["spec.a.b: is required"],
        ),
        // Required with a default: the server fills it in first.
        (
            object(json!({"a": {"type": "object", "required": ["b"], "properties": {
                "b": {"type": "string", "default": "x"}}}})),
            json!({"a": {}}),
            vec![],
        ),
        // Fields that would be dropped.
        (
            one(json!({"type": "string"})),
            json!({"b": 1}),
            vec![
                "spec.b: there is no such field, it would be dropped; there are a, compositeDeletePolicy, compositionRef, \
             compositionRevisionRef, compositionRevisionSelector, compositionSelector, compositionUpdatePolicy, \
             publishConnectionDetailsTo, resourceRef, writeConnectionSecretToRef",
            ],
        ),
        (
            one(json!({"type": "object", "properties": {"nodeCount": {"type": "integer"}}})),
            json!({"a": {"nodecount": 1}}),
            vec!["spec.a.nodecount: there is no such field, it would be dropped; did you mean \"nodeCount\"?"],
        ),
        (
            one(json!({"type": "object"})),
            json!({"a": {"b": 1}}),
            vec!["spec.a.b: there is no such field, it would be dropped; no fields are known here"],
        ),
        (
            one(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "b": {"type": "object", "properties": {"c": {"type": "string"}}}}})),
            json!({"a": {"x": {"y": 1}, "b": {"z": 1}}}),
            vec!["spec.a.b.z: there is no such field, it would be dropped; there are c"],
        ),
        (
            one(json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})),
            json!({"a": {"apiVersion": "v1", "metadata": {"name": "x"}, "spec": {"y": 1}}}),
            vec!["spec.a.kind: is required"],
        ),
        (
            one(json!({"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}})),
            json!({"a": [{"c": 1}]}),
            vec!["spec.a[0].c: there is no such field, it would be dropped; there are b"],
        ),
        // Combined.
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            vec!["spec: fits none of the allowed forms: spec.a: is required | spec.b: is required"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": "x", "b": "y"}),
            vec!["spec: fits several of the allowed forms, of which only one may fit (oneOf)"],
        ),
        (
            one(json!({"type": "string", "anyOf": [{"pattern": "^a"}, {"pattern": "^b"}]})),
            json!({"a": "c"}),
            vec![
                "spec.a: fits none of the allowed forms: spec.a: must match the pattern ^a, found \"c\" | spec.a: must match \
             the pattern ^b, found \"c\"",
            ],
        ),
        (
            one(json!({"type": "string", "not": {"enum": ["root"]}})),
            json!({"a": "root"}),
            vec!["spec.a: has a form that is ruled out (not)"],
        ),
        // CEL rules are the server's.
        (one(json!({"type": "string", "x-kubernetes-validations": [{"rule": "false"}]})), json!({"a": "x"}), vec![]),
    ] {
        assert_eq!(found(Generation::Claim, &schema, &spec), expected, "{schema} {spec}");
    }
}

#[test]
fn all_violations_at_once() {
    let error =
        check(Generation::Claim, &bucket(), &json!({"regoin": "mars", "versioning": "yes", "size": 11})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the spec does not fit Thing v1 of the XRD xthings.example.org, nothing was written; 4 violations:\n  \
         spec.region: is required\n  \
         spec.regoin: there is no such field, it would be dropped; did you mean \"region\"?\n  \
         spec.size: must be at most 10, found 11\n  \
         spec.versioning: must be a boolean, found \"yes\""
    );
}

#[test]
fn crossplanes_own_fields_by_generation() {
    use Generation::{Claim, ClusterComposite, LegacyComposite, NamespacedComposite};
    let all = [Claim, LegacyComposite, NamespacedComposite, ClusterComposite];
    for (spec, fits) in [
        (json!({"region": "eu-west-1"}), [true; 4]),
        (json!({"region": "eu-west-1", "compositionRef": {"name": "x"}}), [true, true, false, false]),
        (json!({"region": "eu-west-1", "compositionUpdatePolicy": "Manual"}), [true, true, false, false]),
        (json!({"region": "eu-west-1", "compositionUpdatePolicy": "Sometimes"}), [false; 4]),
        (json!({"region": "eu-west-1", "compositeDeletePolicy": "Foreground"}), [true, false, false, false]),
        (json!({"region": "eu-west-1", "writeConnectionSecretToRef": {"name": "x"}}), [true, false, false, false]),
        (
            json!({"region": "eu-west-1", "writeConnectionSecretToRef": {"name": "x", "namespace": "y"}}),
            [false, true, false, false],
        ),
        (
            json!({"region": "eu-west-1", "resourceRef": {"apiVersion": "v1", "kind": "X", "name": "x"}}),
            [true, false, false, false],
        ),
        (json!({"region": "eu-west-1", "crossplane": {"compositionRef": {"name": "x"}}}), [false, false, true, true]),
        (json!({"region": "eu-west-1", "crossplane": {"compositionRef": {}}}), [false; 4]),
        (
            json!({"region": "eu-west-1", "crossplane": {"compositionSelector": {"matchLabels": {"a": "b"}}}}),
            [false, false, true, true],
        ),
        (
            json!({"region": "eu-west-1", "crossplane": {"resourceRefs": [
                {"apiVersion": "v1", "kind": "X", "name": "x", "namespace": "y"}]}}),
            [false, false, false, true],
        ),
        (json!({"region": "eu-west-1", "crossplane": {"writeConnectionSecretToRef": {"name": "x"}}}), [false; 4]),
    ] {
        for (generation, fits) in all.into_iter().zip(fits) {
            assert_eq!(check(generation, &bucket(), &spec).is_ok(), fits, "{generation:?} {spec}");
        }
    }
}

#[test]
fn fields_of_the_other_generation_are_explained() {
    for (generation, spec, message) in [
        (
            Generation::NamespacedComposite,
            json!({"region": "eu-west-1", "writeConnectionSecretToRef": {"name": "x"}}),
            "spec.writeConnectionSecretToRef: composite resources of Crossplane 2 have no writeConnectionSecretToRef: the \
             Composition makes the Secret. Give writeConnectionSecretToRef as an input of the step to serve both generations",
        ),
        (
            Generation::ClusterComposite,
            json!({"region": "eu-west-1", "compositionRef": {"name": "x"}}),
            "spec.compositionRef: in Crossplane 2 this is spec.crossplane.compositionRef; given as an input of the step it \
             goes to the right place",
        ),
        (
            Generation::Claim,
            json!({"region": "eu-west-1", "crossplane": {}}),
            "spec.crossplane: in Crossplane 1's form Crossplane's fields are directly under spec; given as inputs of the \
             step they go to the right place",
        ),
    ] {
        assert_eq!(found(generation, &bucket(), &spec), [message]);
    }
}

#[test]
fn an_xrd_without_a_schema_knows_only_crossplanes_fields() {
    assert_eq!(found(Generation::Claim, &json!({}), &json!({})), [""; 0]);
    assert_eq!(found(Generation::Claim, &json!({}), &json!({"compositionRef": {"name": "x"}})), [""; 0]);
    assert!(found(Generation::Claim, &json!({}), &json!({"a": 1}))[0].starts_with("spec.a: there is no such field"));
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(found(Generation::Claim, &open, &json!({"a": {"b": 1}})), [""; 0]);
}

#[test]
fn hostile_schemas_and_specs_end() {
    let mut deep = json!({"type": "string"});
    let mut spec = json!("x");
    for _ in 0..200 {
        deep = json!({"type": "object", "properties": {"a": deep}});
        spec = json!({"a": spec});
    }
    let error = check(Generation::Claim, &deep, &json!({})).unwrap_err().to_string();
    assert!(error.contains("nested more than 100 levels deep"), "{error}");
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(found(Generation::Claim, &open, &spec), ["spec: nested more than 100 levels deep"]);
    // Not a schema at all.
    for schema in
        [json!([]), json!("x"), json!({"properties": []}), json!({"properties": {"a": 1}}), json!({"required": 1})]
    {
        let _ = check(Generation::Claim, &schema, &json!({"a": 1}));
    }
    let many: serde_json::Map<String, Value> = (0..200).map(|n| (format!("field{n:03}x"), json!(n))).collect();
    let error = check(Generation::Claim, &bucket(), &many.into()).unwrap_err().to_string();
    assert!(error.contains("201 violations") && error.ends_with("and 151 more"), "{error}");
    let long = json!({"region": "x".repeat(10_000)});
    assert!(check(Generation::Claim, &bucket(), &long).unwrap_err().to_string().len() < 500);
}
