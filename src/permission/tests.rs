#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::{Value, json};
use understudy_sdk::Secret;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{header, method, path},
};

use super::{client::Client, known::*, *};

fn rule(name: &str, params: Value) -> Value {
    json!({"rule": name, "resourceType": "x", "params": params})
}

fn owner(name: &str) -> Value {
    rule("IS_TASK_OWNER", json!({"createdBy": [name]}))
}

fn unknown() -> Value {
    rule("NOPE", json!({}))
}

#[test]
fn trees_are_evaluated_from_left_to_right_until_certain() {
    let task = Resource::Task { created_by: Some("a") };
    let unknown_rule = || Err(RuleError::Unknown { name: "NOPE".to_string() });
    for (tree, expected) in [
        (owner("a"), Ok(true)),
        (json!({"not": owner("a")}), Ok(false)),
        (json!({"anyOf": [owner("b"), owner("a")]}), Ok(true)),
        (json!({"anyOf": [owner("b"), owner("c")]}), Ok(false)),
        (json!({"allOf": [owner("a"), owner("a")]}), Ok(true)),
        (json!({"allOf": [owner("a"), owner("b")]}), Ok(false)),
        (json!({"allOf": [{"not": owner("b")}, {"anyOf": [owner("b"), {"not": {"not": owner("a")}}]}]}), Ok(true)),
        (json!({"anyOf": [owner("a"), unknown()]}), Ok(true)),
        (json!({"anyOf": [owner("b"), unknown()]}), unknown_rule()),
        (json!({"allOf": [owner("b"), unknown()]}), Ok(false)),
        (json!({"allOf": [unknown(), owner("b")]}), unknown_rule()),
        (json!({"not": unknown()}), unknown_rule()),
    ] {
        assert_eq!(Condition::parse(&tree).unwrap().holds(&task), expected, "{tree}");
    }
}

#[test]
fn what_is_no_tree_is_refused_with_its_place() {
    let deep = (0..200).fold(owner("a"), |tree, _| json!({ "not": tree }));
    let wide = json!({"anyOf": vec![owner("a"); 20_000]});
    for (tree, expected) in [
        (json!(null), "conditions is no object"),
        (json!([]), "conditions is no object"),
        (json!({}), "conditions must have one of anyOf, allOf, not and rule"),
        (json!({"anyOf": []}), "conditions has an anyOf that is no list of conditions"),
        (
            json!({"allOf": [owner("a"), {"anyOf": 1}]}),
            "conditions.allOf[1] has an anyOf that is no list of conditions",
        ),
        (json!({"not": {"rule": 5}}), "conditions.not needs a rule and a resourceType, both texts"),
        (json!({"rule": "X"}), "conditions needs a rule and a resourceType, both texts"),
        (json!({"rule": "X", "resourceType": "y", "params": []}), "conditions has params that are no object"),
        (json!({"not": owner("a"), "anyOf": [owner("a")]}), "conditions must have one of anyOf, allOf, not and rule"),
        (deep, "is too deep or too large a tree of conditions"),
        (wide, "is too deep or too large a tree of conditions"),
    ] {
        let error = Condition::parse(&tree).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn trees_of_owners_become_filters() {
    use CreatorFilter::{All, Any, Creators, Not};
    let a = || Creators(vec!["a".to_string()]);
    for (tree, expected) in [
        (owner("a"), Ok(a())),
        (json!({"not": owner("a")}), Ok(Not(Box::new(a())))),
        (json!({"allOf": [owner("a"), {"anyOf": [owner("a")]}]}), Ok(All(vec![a(), Any(vec![a()])]))),
        (json!({"anyOf": [owner("a"), unknown()]}), Err(RuleError::Unknown { name: "NOPE".to_string() })),
    ] {
        assert_eq!(Condition::parse(&tree).unwrap().creators(), expected, "{tree}");
    }
    let error = Condition::parse(&rule("IS_TASK_OWNER", json!({}))).unwrap().creators().unwrap_err();
    assert!(matches!(error, RuleError::Params(_)));
}

#[test]
fn a_group_named_by_its_number_is_measured_by_every_path_the_policy_names() {
    let path = |value: &str| rule("HAS_STRING_PROPERTY", json!({"key": "path", "value": value}));
    let not_secret = Decision::Conditional(Condition::parse(&json!({"not": path("secret")})).unwrap());
    let only_team = Decision::Conditional(Condition::parse(&path("team")).unwrap());
    let any = Decision::Conditional(
        Condition::parse(&json!({"not": rule("HAS_ACTION_ID", json!({"actionId": "x"}))})).unwrap(),
    );
    for (decision, action, given, expected) in [
        (&not_secret, "gitlab:group:ensureExists", json!("team"), true),
        (&not_secret, "gitlab:group:ensureExists", json!("Secret"), false),
        (&not_secret, "gitlab:group:ensureExists", json!(42), false),
        (&not_secret, "gitlab:group:ensureExists", json!("42"), false),
        (&not_secret, "gitlab:group:ensureExists", json!("42a"), true),
        (&not_secret, "gitlab:groups:make", json!(42), true),
        (&only_team, "gitlab:group:ensureExists", json!("team"), true),
        (&only_team, "gitlab:group:ensureExists", json!("42"), false),
        (&any, "gitlab:group:ensureExists", json!(42), true),
        (&Decision::Allow, "gitlab:group:ensureExists", json!(42), true),
        (&Decision::Deny, "gitlab:group:ensureExists", json!("team"), false),
    ] {
        assert_eq!(decision.allows_action(action, &json!({"path": given})), Ok(expected), "{action} {given}");
    }
}

/// Answers each question with what it is told, in reverse order, with the ids of the request.
struct Answers(Vec<Value>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let mut items: Vec<Value> = body["items"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&self.0)
            .map(|(asked, answer)| {
                let mut answer = answer.clone();
                answer["id"] = asked["id"].clone();
                answer
            })
            .collect();
        items.reverse();
        ResponseTemplate::new(200).set_body_json(json!({ "items": items }))
    }
}

/// A client as the service has it: no redirects.
fn http() -> reqwest::Client {
    // An error means that somebody was here before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn ask(respond: impl Respond + 'static, permissions: &[Permission]) -> Result<Vec<Decision>, PermissionError> {
    ask_within(Duration::from_secs(60), respond, permissions).await
}

async fn ask_within(
    patience: Duration,
    respond: impl Respond + 'static,
    permissions: &[Permission],
) -> Result<Vec<Decision>, PermissionError> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/permission/authorize"))
        .and(header("authorization", "Bearer token"))
        .and(header("content-type", "application/json"))
        .respond_with(respond)
        .mount(&server)
        .await;
    let client = Client::new(http()).patient_for(patience);
    let url = format!("{}/api/permission", server.uri());
    client.authorize(&url, Some(&Secret::new("token".to_string())), permissions).await
}

#[tokio::test]
async fn decisions_come_in_the_order_of_the_questions() {
    let answers = vec![
        json!({"result": "DENY"}),
        json!({"result": "CONDITIONAL", "pluginId": "scaffolder", "resourceType": "scaffolder-task", "conditions": owner("a")}),
        json!({"result": "ALLOW"}),
    ];
    let decisions = ask(Answers(answers), &[TASK_CREATE, TASK_READ, TASK_CANCEL]).await.unwrap();
    let condition = Condition::parse(&owner("a")).unwrap();
    assert_eq!(decisions, [Decision::Deny, Decision::Conditional(condition), Decision::Allow]);
}

#[tokio::test]
async fn an_answer_that_is_no_decision_allows_nothing() {
    let conditional = |change: Value| {
        let mut answer = json!({"result": "CONDITIONAL", "pluginId": "p", "resourceType": "scaffolder-task", "conditions": owner("a")});
        for (name, value) in change.as_object().unwrap() {
            answer[name] = value.clone();
        }
        Answers(vec![answer])
    };
    let plain = |body: &str| ResponseTemplate::new(200).set_body_raw(body.to_string(), "application/json");
    async fn refused(respond: impl Respond + 'static, permission: Permission) -> String {
        match ask(respond, &[permission]).await {
            Err(PermissionError::Unavailable { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }
    for (got, expected) in [
        (
            refused(Answers(vec![json!({"result": "PERHAPS"})]), TASK_READ).await,
            "its decision on scaffolder.task.read is \"PERHAPS\"",
        ),
        (
            refused(conditional(json!({})), TASK_CREATE).await,
            "it made a conditional decision on scaffolder.task.create",
        ),
        (
            refused(conditional(json!({"resourceType": "catalog-entity"})), TASK_READ).await,
            "resources of type catalog-entity",
        ),
        (refused(conditional(json!({"pluginId": null})), TASK_READ).await, "has no conditions or no plugin"),
        (refused(conditional(json!({"conditions": null})), TASK_READ).await, "has no conditions or no plugin"),
        (
            refused(conditional(json!({"conditions": {"anyOf": []}})), TASK_READ).await,
            "can't be read: conditions has an anyOf",
        ),
        (refused(plain("{\"items\": []}"), TASK_READ).await, "it decided 0 questions of 1"),
        (
            refused(plain("{\"items\": [{\"id\": \"x\", \"result\": \"ALLOW\"}]}"), TASK_READ).await,
            "it did not decide scaffolder.task.read",
        ),
        (refused(plain("<html>"), TASK_READ).await, "its answer is no decision"),
        (refused(plain("{}"), TASK_READ).await, "its answer is no decision"),
        (refused(ResponseTemplate::new(500), TASK_READ).await, "it answered with status 500"),
        (refused(ResponseTemplate::new(404), TASK_READ).await, "it answered with status 404"),
        (
            refused(ResponseTemplate::new(302).insert_header("location", "/elsewhere"), TASK_READ).await,
            "it answered with status 302",
        ),
        (refused(plain(&" ".repeat(9 * 1024 * 1024)), TASK_READ).await, "its answer has more than"),
    ] {
        assert!(got.contains(expected), "{got} instead of {expected}");
    }
}

#[tokio::test]
async fn a_backend_that_is_slow_allows_nothing() {
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
    match ask_within(Duration::from_millis(500), slow, &[TASK_READ]).await {
        Err(PermissionError::Unavailable { reason, .. }) => assert_eq!(reason, "it did not answer in time"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_or_refuses_the_token_allows_nothing() {
    for status in [401, 403] {
        match ask(ResponseTemplate::new(status), &[TASK_READ]).await {
            Err(PermissionError::Refused { status: passed, .. }) => assert_eq!(passed, status),
            other => panic!("{other:?}"),
        }
    }
    let client = Client::new(http());
    // A port that nobody listens on: reserved, and of no use to anybody.
    let error = client.authorize("http://127.0.0.1:1/api/permission", None, &[TASK_READ]).await.unwrap_err();
    assert!(matches!(error, PermissionError::Unavailable { .. }), "{error}");
    assert!(error.to_string().starts_with("the permission backend at http://127.0.0.1:1/api/permission/authorize"));
}
