use super::{super::Condition, *};

fn holds(name: &str, params: Value, resource: &Resource<'_>) -> Result<bool, RuleError> {
    Condition::parse(&json!({"rule": name, "resourceType": "x", "params": params})).unwrap().holds(resource)
}

#[test]
fn tags() {
    for (item, expected) in [
        (json!({"backstage:permissions": {"tags": ["secret", "x"]}}), true),
        (json!({"backstage:permissions": {"tags": ["Secret"]}}), false),
        (json!({"backstage:permissions": {"tags": "top-secret"}}), true),
        (json!({"backstage:permissions": {"tags": null}}), false),
        (json!({"backstage:permissions": {}}), false),
        (json!({}), false),
        (json!("text"), false),
    ] {
        assert_eq!(holds("HAS_TAG", json!({"tag": "secret"}), &Resource::Item(&item)), Ok(expected), "{item}");
    }
    let broken = json!({"backstage:permissions": {"tags": 5}});
    assert_eq!(holds("HAS_TAG", json!({"tag": "secret"}), &Resource::Item(&broken)), Err(RuleError::Tags));
}

#[test]
fn action_ids() {
    let input = json!({});
    for (id, expected) in [("debug:log", true), ("debug:Log", false), ("debug", false)] {
        let resource = Resource::Action { id, input: &input };
        assert_eq!(holds("HAS_ACTION_ID", json!({"actionId": "debug:log"}), &resource), Ok(expected), "{id}");
    }
}

#[test]
fn properties() {
    let input = json!({
        "repoUrl": "github.com?owner=Acme&repo=x", "owner": "Acme", "path": "Team", "private": true, "n": 3,
        "labels": ["a", {"name": "Red"}], "values": {"owner": "Acme"}, "nothing": null, "half": 0.5,
    });
    for (rule, params, action, expected) in [
        // The property is there, and of the right type.
        ("HAS_STRING_PROPERTY", json!({"key": "owner"}), "x", true),
        ("HAS_STRING_PROPERTY", json!({"key": "missing"}), "x", false),
        ("HAS_STRING_PROPERTY", json!({"key": "nothing"}), "x", false),
        ("HAS_STRING_PROPERTY", json!({"key": "n"}), "x", false),
        ("HAS_NUMBER_PROPERTY", json!({"key": "n"}), "x", true),
        ("HAS_NUMBER_PROPERTY", json!({"key": "private"}), "x", false),
        ("HAS_BOOLEAN_PROPERTY", json!({"key": "private"}), "x", true),
        ("HAS_NUMBER_PROPERTY", json!({"key": "labels.length"}), "x", true),
        // … with the value.
        ("HAS_STRING_PROPERTY", json!({"key": "labels[1].name", "value": "Red"}), "x", true),
        ("HAS_STRING_PROPERTY", json!({"key": "labels[1].name", "value": "red"}), "x", false),
        ("HAS_STRING_PROPERTY", json!({"key": "labels[0]", "value": "a"}), "x", true),
        ("HAS_NUMBER_PROPERTY", json!({"key": "n", "value": 3}), "x", true),
        ("HAS_NUMBER_PROPERTY", json!({"key": "n", "value": 3.0}), "x", true),
        ("HAS_NUMBER_PROPERTY", json!({"key": "half", "value": 0.5}), "x", true),
        ("HAS_NUMBER_PROPERTY", json!({"key": "n", "value": 4}), "x", false),
        ("HAS_BOOLEAN_PROPERTY", json!({"key": "private", "value": true}), "x", true),
        ("HAS_BOOLEAN_PROPERTY", json!({"key": "private", "value": false}), "x", false),
        // Case counts, but not for what code hosts take in any case.
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "fetch:template", false),
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "github:repo:create", true),
        ("HAS_STRING_PROPERTY", json!({"key": "['owner']", "value": "acme"}), "github:repo:create", true),
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "publish:github", true),
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "publish:GitHub", false),
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "publish:github:pull-request", true),
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "publish:bitbucketServer", true),
        ("HAS_STRING_PROPERTY", json!({"key": "owner", "value": "acme"}), "publish:gitea", false),
        (
            "HAS_STRING_PROPERTY",
            json!({"key": "repoUrl", "value": "GITHUB.com?owner=acme&repo=X"}),
            "publish:github",
            true,
        ),
        ("HAS_STRING_PROPERTY", json!({"key": "values.owner", "value": "acme"}), "publish:github", false),
        ("HAS_STRING_PROPERTY", json!({"key": "path", "value": "team"}), "publish:gitlab", false),
        ("HAS_STRING_PROPERTY", json!({"key": "path", "value": "team"}), "gitlab:group:ensureExists", true),
        ("HAS_STRING_PROPERTY", json!({"key": "path", "value": "team"}), "other:group:make", false),
    ] {
        let resource = Resource::Action { id: action, input: &input };
        assert_eq!(holds(rule, params.clone(), &resource), Ok(expected), "{rule} {params} {action}");
    }
}

#[test]
fn owners() {
    for (created_by, creators, expected) in [
        (Some("user:default/a"), json!(["user:default/a"]), true),
        (Some("user:default/a"), json!(["user:default/b", "user:default/a"]), true),
        (Some("user:default/a"), json!(["user:default/A"]), false),
        (Some("user:default/a"), json!([]), false),
        (None, json!(["user:default/a"]), false),
        (Some(""), json!([""]), false),
    ] {
        let resource = Resource::Task { created_by };
        assert_eq!(holds("IS_TASK_OWNER", json!({"createdBy": creators}), &resource), Ok(expected), "{created_by:?}");
    }
}

#[test]
fn rules_are_known_by_name_and_kind_of_resource() {
    let task = Resource::Task { created_by: None };
    for name in ["NOPE", "HAS_TAG", "is_task_owner"] {
        assert_eq!(
            holds(name, json!({"tag": "x"}), &task),
            Err(RuleError::Unknown { name: name.to_string() }),
            "{name}"
        );
    }
}

#[test]
fn parameters_are_checked_in_zods_words() {
    let input = json!({"n": 1});
    let action = Resource::Action { id: "x", input: &input };
    for (rule, params, path, message) in [
        ("HAS_ACTION_ID", json!({}), json!(["actionId"]), "Required"),
        (
            "HAS_NUMBER_PROPERTY",
            json!({"key": "n", "value": "1"}),
            json!(["value"]),
            "Expected number, received string",
        ),
        ("HAS_NUMBER_PROPERTY", json!({"key": "n", "value": null}), json!(["value"]), "Expected number, received null"),
    ] {
        let Err(RuleError::Params(error)) = holds(rule, params.clone(), &action) else { panic!("{rule} {params}") };
        assert_eq!(error.to_cause()["issues"][0]["path"], path);
        assert_eq!(error.to_cause()["issues"][0]["message"], message);
    }
    let without = Condition::parse(&json!({"rule": "HAS_ACTION_ID", "resourceType": "x"})).unwrap();
    let Err(RuleError::Params(error)) = without.holds(&action) else { panic!() };
    assert_eq!(error.to_cause()["issues"][0]["path"], json!([]));
}

#[test]
fn published_schemas_are_those_recorded() {
    let shapes: Vec<(&str, &str, Value)> = Rule::all()
        .iter()
        .map(|rule| {
            let properties = rule.params_schema["properties"].as_object().unwrap();
            let types = properties.iter().map(|(name, schema)| (name.clone(), schema["type"].clone())).collect();
            (rule.name, rule.resource_type.as_str(), Value::Object(types))
        })
        .collect();
    assert_eq!(
        shapes,
        [
            ("HAS_TAG", "scaffolder-template", json!({"tag": "string"})),
            ("HAS_ACTION_ID", "scaffolder-action", json!({"actionId": "string"})),
            ("HAS_BOOLEAN_PROPERTY", "scaffolder-action", json!({"key": "string", "value": "boolean"})),
            ("HAS_NUMBER_PROPERTY", "scaffolder-action", json!({"key": "string", "value": "number"})),
            ("HAS_STRING_PROPERTY", "scaffolder-action", json!({"key": "string", "value": "string"})),
            ("IS_TASK_OWNER", "scaffolder-task", json!({"createdBy": "array"})),
        ]
    );
}
