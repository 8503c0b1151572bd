#![allow(clippy::unwrap_used)]

use super::*;

#[derive(serde::Deserialize)]
struct Case {
    schema: Value,
    instance: Value,
    errors: Vec<Value>,
}

/// Recorded from npm `jsonschema` 1.5.0, whole error objects.
#[test]
fn violations_agree_with_npm() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/data/violations.json")).unwrap();
    assert!(cases.len() > 150);
    let mut wrong = Vec::new();
    for Case { schema, instance, errors } in &cases {
        let found = Validator::new(schema).map(|validator| serde_json::to_value(validator.validate(instance)).unwrap());
        let agrees = found.as_ref().is_ok_and(|found| js::equal(found, &Value::from(errors.clone())));
        if !agrees {
            wrong.push(format!("{schema}\n  against {instance}\n  expected {}\n  got      {found:?}", json!(errors)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_members_of_a_violation_keep_their_order() {
    let validator = Validator::new(&json!({"properties": {"name": {"maxLength": 2}}})).unwrap();
    assert_eq!(
        serde_json::to_string(&validator.validate(&json!({"name": "abc"}))).unwrap(),
        r#"[{"path":["name"],"property":"instance.name","message":"does not meet maximum length of 2","schema":{"maxLength":2},"instance":"abc","name":"maxLength","argument":2,"stack":"instance.name does not meet maximum length of 2"}]"#
    );
}

#[test]
fn an_invalid_schema_is_refused_with_the_place() {
    let cases = [
        (json!(null), "at its root: expected a schema"),
        (json!({"properties": {"a/b": null}}), "at /properties/a~1b: expected a schema"),
        (json!({"properties": {"a": {"pattern": "("}}}), "at /properties/a: \"(\" is not a regular expression"),
        (json!({"patternProperties": {"[": {}}}), "is not a regular expression"),
        (json!({"anyOf": {}}), "\"anyOf\" must be an array"),
        (json!({"items": {"enum": "x"}}), "at /items: \"enum\" expects an array"),
        (json!({"if": 1}), "\"if\" must be a schema"),
        (json!({"multipleOf": 0}), "\"multipleOf\" must not be zero"),
        (json!({"properties": {"a": {"$ref": "#/definitions/x"}}}), "no such schema <#/definitions/x>"),
    ];
    for (schema, reason) in cases {
        let error = Validator::new(&schema).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn hostile_schemas_and_instances_end_with_a_clear_text() {
    let mut deep = json!("x");
    for _ in 0..5_000 {
        deep = Value::Array(vec![deep]);
    }
    let validator = Validator::new(&json!({})).unwrap();
    assert!(validator.validate(&deep)[0].message.contains("nested more than"));
    let schema = Value::Object(Map::from_iter([("items".to_string(), deep)]));
    assert!(Validator::new(&schema).unwrap_err().contains("nested more than"));

    let mut nested = json!({"type": "string"});
    for _ in 0..MAX_DEPTH + 1 {
        nested = json!({"items": nested});
    }
    assert!(Validator::new(&nested).unwrap_err().contains("nested more than"));

    let itself = Validator::new(&json!({"$ref": "#"})).unwrap();
    assert!(itself.validate(&json!(1))[0].message.contains("nested more than"));
    let twice = Validator::new(&json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]})).unwrap();
    assert!(twice.validate(&json!(1))[0].message.contains("nested more than"));
    let wide = Validator::new(&json!({"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}})).unwrap();
    let mut value = json!(1);
    for _ in 0..40 {
        value = json!([value]);
    }
    assert!(wide.validate(&value)[0].message.contains("needs more than"));
    let many: Map<String, Value> = (0..1_000).map(|n| (n.to_string(), Value::Null)).collect();
    let closed = Validator::new(&json!({"additionalProperties": false})).unwrap();
    assert_eq!(closed.validate(&Value::Object(many)).len(), MAX_VIOLATIONS);
}
