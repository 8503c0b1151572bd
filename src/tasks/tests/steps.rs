//! The step algorithm: events and their bodies, in order, as upstream records them.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use understudy_sdk::{ActionError, LogLevel};

use super::bench::{Bench, bodies, messages};
use crate::{
    auth::Credentials,
    tasks::policy::{ActionGrants, ActionPolicy},
};

/// Compared as text: the order of members counts.
#[track_caller]
fn assert_bodies(found: &[Value], expected: &[Value]) {
    let text = |bodies: &[Value]| bodies.iter().map(|body| format!("{body}\n")).collect::<String>();
    assert_eq!(text(found), text(expected), "\nfound:\n{}", text(found));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simple_task() {
    let bench = Bench::start().await;
    let steps = json!([
        {"id": "one", "name": "One", "action": "debug:log", "input": {"message": "one ${{ parameters.n }}"}},
        {"action": "debug:log", "input": {"message": "two ${{ parameters.n }} ${{ steps.one.output | dump }}"}}
    ]);
    let id = bench.create_with(steps, json!({"n": 42}), json!({"output": {"n": "${{ parameters.n }}"}})).await;
    let events = bench.finish(&id).await;
    assert_bodies(
        &bodies(&events),
        &[
            json!({"message": "Starting up task with 2 steps"}),
            json!({"message": "Beginning step One", "stepId": "one", "status": "processing"}),
            json!({"message": "\u{1b}[32minfo\u{1b}[39m: {\n  \"message\": \"one 42\"\n}", "stepId": "one"}),
            json!({"message": "\u{1b}[32minfo\u{1b}[39m: one 42", "stepId": "one"}),
            json!({"message": "Finished step One", "stepId": "one", "status": "completed"}),
            json!({"message": "Beginning step debug:log", "stepId": "step-2", "status": "processing"}),
            json!({"message": "\u{1b}[32minfo\u{1b}[39m: {\n  \"message\": \"two 42 {}\"\n}", "stepId": "step-2"}),
            json!({"message": "\u{1b}[32minfo\u{1b}[39m: two 42 {}", "stepId": "step-2"}),
            json!({"message": "Finished step debug:log", "stepId": "step-2", "status": "completed"}),
            json!({"message": "Run completed with status: completed", "output": {"n": 42}}),
        ],
    );
    assert!(events.iter().zip(events.iter().skip(1)).all(|(a, b)| a.id < b.id));
    assert!(bench.left_behind().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_only_those_who_ask_run() {
    let bench = Bench::start().await;
    let found = bench
        .run(json!([
            {"id": "early", "name": "Early", "if": "${{ failure() }}", "action": "test:output"},
            {"id": "boom", "name": "Boom", "action": "test:fail", "input": {"message": "no"}},
            {"id": "never", "name": "Never", "action": "test:output"},
            {"id": "constant", "name": "Constant", "if": true, "action": "test:output"},
            {"id": "always", "name": "Always", "if": "${{ always() }}", "action": "test:output"},
            {"id": "onfail", "name": "OnFailure", "if": "${{ failure() }}", "action": "test:fail", "input": {"message": "again"}},
            {"id": "not", "name": "Not", "if": "${{ not failure() }}", "action": "test:output"}
        ]))
        .await;
    assert_bodies(
        &found,
        &[
            json!({"message": "Starting up task with 7 steps"}),
            json!({"message": "Beginning step Early", "stepId": "early", "status": "processing"}),
            json!({"message": "Skipping step early because its if condition was false", "stepId": "early", "status": "skipped"}),
            json!({"message": "Beginning step Boom", "stepId": "boom", "status": "processing"}),
            json!({"message": "NotAllowedError: no", "stepId": "boom", "status": "failed"}),
            json!({"message": "Skipping step never because a previous step failed", "stepId": "never", "status": "skipped"}),
            json!({"message": "Skipping step constant because a previous step failed", "stepId": "constant", "status": "skipped"}),
            json!({"message": "Beginning step Always", "stepId": "always", "status": "processing"}),
            json!({"message": "Finished step Always", "stepId": "always", "status": "completed"}),
            json!({"message": "Beginning step OnFailure", "stepId": "onfail", "status": "processing"}),
            json!({"message": "NotAllowedError: again", "stepId": "onfail", "status": "failed"}),
            json!({"message": "Additional error occurred: again\nNotAllowedError: again", "stepId": "onfail", "status": "failed"}),
            json!({"message": "Beginning step Not", "stepId": "not", "status": "processing"}),
            json!({"message": "Skipping step not because its if condition was false", "stepId": "not", "status": "skipped"}),
            json!({"message": "Run completed with status: failed", "error": {"name": "NotAllowedError", "message": "no"}}),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions() {
    let bench = Bench::start().await;
    let cases = [
        (json!(false), false),
        (json!(true), true),
        // Only `false` itself and texts are conditions.
        (json!(0), true),
        (json!(null), true),
        (json!("false"), true),
        (json!("${{ false }}"), false),
        (json!("${{ parameters.missing }}"), false),
        (json!("${{ [] }}"), false),
        (json!("${{ [0] }}"), true),
        (json!("${{ {} }}"), true),
        (json!("${{ 0 }}"), false),
        (json!("${{ \"\" }}"), false),
        (json!("${{ parameters. }}"), true),
        (json!("${{ secrets.apiKey }}"), false),
    ];
    for (condition, runs) in cases {
        let found = bench.run(json!([{"id": "s", "if": condition, "action": "test:output"}])).await;
        let last = found[found.len() - 2].get("status").and_then(Value::as_str).unwrap();
        assert_eq!(last, if runs { "completed" } else { "skipped" }, "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_runs_all_items() {
    let bench = Bench::start().await;
    let steps = json!([
        {"id": "list", "name": "L", "each": "${{ parameters.items }}", "if": "${{ each.value != 'skip' }}",
         "action": "test:output", "input": {"got": "${{ each.key }}=${{ each.value }}"}},
        {"id": "object", "name": "O", "each": {"a": [1, 2], "b": {"x": 1}, "c": null},
         "action": "test:output", "input": {"got": "${{ each.value }}"}},
        {"id": "empty", "name": "E", "each": [], "action": "test:output", "input": {"got": 1}}
    ]);
    let output = json!({"output": {
        "list": "${{ steps.list.output.got }}", "object": "${{ steps.object.output.got }}",
        "empty": "${{ steps.empty.output }}"
    }});
    let id = bench.create_with(steps, json!({"items": ["one", "skip", 2]}), output).await;
    let found = bodies(&bench.finish(&id).await);
    assert_eq!(
        messages(&found),
        [
            "Starting up task with 3 steps",
            "Beginning step L",
            r#"info: Running step each: {"key":"0","value":"one"}"#,
            r#"info: Skipping step each: {"key":"1","value":"skip"}"#,
            r#"info: Running step each: {"key":"2","value":"2"}"#,
            "Finished step L",
            "Beginning step O",
            r#"info: Running step each: {"key":"a","value":"1,2"}"#,
            r#"info: Running step each: {"key":"b","value":"[object Object]"}"#,
            r#"info: Running step each: {"key":"c","value":"null"}"#,
            "Finished step O",
            "Beginning step E",
            "Finished step E",
            "Run completed with status: completed",
        ]
    );
    assert_eq!(
        found.last().unwrap().get("output").unwrap(),
        &json!({"list": ["0=one", "2=2"], "object": [[1, 2], {"x": 1}, null], "empty": {}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_and_input_refuse() {
    let bench = Bench::start().await;
    let cases = [
        (
            json!({"each": "plain"}),
            "InputError: Invalid value on action debug:log.each parameter, must resolve to an array or object",
        ),
        (
            json!({"each": "${{ 7 }}"}),
            "InputError: Invalid value on action debug:log.each parameter, must resolve to an array or object",
        ),
        (
            json!({"each": "${{ parameters.missing }}"}),
            "InputError: Invalid value on action debug:log.each parameter, \"${{ parameters.missing }}\" cannot be resolved to a value",
        ),
        (
            json!({"input": {"message": 3, "other": 1}}),
            "InputError: Invalid input passed to action debug:log, instance.message is not of a type(s) string, instance is not allowed to have the additional property \"other\"",
        ),
        // Nothing runs when any of the inputs is wrong.
        (
            json!({"each": ["x", 3], "input": {"message": "${{ each.value }}"}}),
            "InputError: Invalid input passed to action debug:log[1], instance.message is not of a type(s) string",
        ),
    ];
    for (step, expected) in cases {
        let mut step = step;
        step["action"] = "debug:log".into();
        let found = bench.run(json!([step])).await;
        assert_eq!(messages(&found)[2..found.len() - 1], [expected], "{step}");
        assert_eq!(found[2]["status"], "failed");
    }
    let found = bench.run(json!([{"action": "does:not-exist"}])).await;
    assert_eq!(
        found[2]["message"],
        "NotFoundError: Template action with ID 'does:not-exist' is not registered. See https://backstage.io/docs/features/software-templates/builtin-actions/ on how to add a new action module."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_rendered_stays() {
    let bench = Bench::start().await;
    let steps = json!([
        {"id": "s", "action": "test:out", "input": {
            "syntax": "x ${{ parameters.name | }} y", "unclosed": "x ${{ parameters.name", "filter": "${{ 1 | nosuch }}",
            "deep": "[${{ parameters.nope.deeper.x }}]", "gone": "${{ parameters.nope }}", "hole": ["${{ parameters.nope }}", 1],
            "${{ key }}": "kept", "sole": "${{ parameters.list }}", "text": " ${{ 1 }}", "env": "${{ environment.parameters.region }}",
            "no": "${{ templateInfo }}", "task": "${{ context.task.id | length }}"
        }}
    ]);
    let output = json!({"output": {"s": "${{ steps.s.output }}", "hidden": "${{ secrets.apiKey }}${{ environment.secrets.envToken }}"}});
    let id = bench.create_with(steps, json!({"name": "n", "list": [1, {"a": null}]}), output).await;
    let found = bodies(&bench.finish(&id).await);
    assert_eq!(
        found.last().unwrap()["output"].to_string(),
        json!({"s": {
            "syntax": "x ${{ parameters.name | }} y", "unclosed": "x ${{ parameters.name", "filter": "${{ 1 | nosuch }}",
            "deep": "[]", "hole": [null, 1], "${{ key }}": "kept", "sole": [1, {"a": null}], "text": " 1", "env": "eu", "task": 36
        }, "hidden": ""})
        .to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_links_and_text_are_filtered() {
    let bench = Bench::start().await;
    let output = json!({"output": {
        "links": [
            {"if": "${{ parameters.no }}", "title": "dropped"},
            {"title": "kept", "if": "${{ parameters.yes }}", "url": "u"},
            {"if": "${{ parameters.missing }}", "title": "kept too"},
            "text"
        ],
        "text": [{"if": [], "title": "dropped"}, {"if": 0}, {"if": ""}, {"if": null}, {"if": "false", "title": "kept"}],
        "other": [{"if": false}]
    }});
    let id = bench.create_with(json!([]), json!({"yes": true, "no": false}), output).await;
    let found = bodies(&bench.finish(&id).await);
    assert_eq!(
        found.last().unwrap()["output"].to_string(),
        json!({
            "links": [{"title": "kept", "url": "u"}, {"title": "kept too"}, "text"],
            "text": [{"title": "kept"}],
            "other": [{"if": false}]
        })
        .to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_redacted() {
    let bench = Bench::start().await;
    let found = bench
        .run(json!([
            {"id": "plain", "action": "debug:log", "input": {"message": "secret is ${{ secrets.apiKey }} and token"}},
            {"id": "upper", "action": "debug:log", "input": {"message": "upper ${{ secrets.apiKey | upper }}"}},
            {"id": "env", "action": "debug:log", "input": {"message": "${{ environment.secrets.envToken | upper }}"}},
            {"id": "each", "each": ["${{ secrets.apiKey | upper }}", "open"], "action": "debug:log", "input": {"message": "m"}},
            {"id": "error", "action": "test:fail", "input": {"message": "hunter2 ${{ secrets.apiKey | upper }}!"}}
        ]))
        .await;
    let messages = messages(&found);
    for message in [
        "info: {\n  \"message\": \"***\"\n}",
        "info: ***",
        r#"info: Running step each: {"key":"0","value":"***"}"#,
        r#"info: Running step each: {"key":"1","value":"open"}"#,
        "NotAllowedError: ***",
    ] {
        assert!(messages.iter().any(|found| found == message), "{message:?} not in {messages:#?}");
    }
    assert_eq!(found.last().unwrap()["error"], json!({"name": "NotAllowedError", "message": "***"}));
    let all = format!("{found:?}");
    assert!(
        !all.contains("hunter2") && !all.contains("HUNTER2") && !all.to_lowercase().contains("env-hidden"),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_and_their_colours() {
    for (level, expected) in [
        (LogLevel::Debug, &["34mdebug", "32minfo", "33mwarn", "31merror"][..]),
        (LogLevel::Warn, &["33mwarn", "31merror"][..]),
    ] {
        let bench = Bench::with(|settings| settings.log_level = level).await;
        let found = bench.run(json!([{"action": "test:levels"}])).await;
        let lines: Vec<_> = found[2..found.len() - 2].iter().map(|body| body["message"].as_str().unwrap()).collect();
        assert_eq!(lines.len(), expected.len());
        for (line, expected) in lines.iter().zip(expected) {
            let text = expected.chars().nth(3).unwrap();
            assert_eq!(*line, format!("\u{1b}[{expected}\u{1b}[39m: {text}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_action_fails_its_step_only() {
    let bench = Bench::start().await;
    let found = bench
        .run(json!([
            {"id": "p", "name": "P", "action": "test:panic", "input": {"message": "hunter2 broke"}},
            {"id": "a", "name": "A", "if": "${{ always() }}", "action": "test:output"}
        ]))
        .await;
    let text = "the action test:panic stopped by a panic, which is a mistake in it: *** broke";
    assert_eq!(found.last().unwrap()["error"]["message"], text);
    assert!(messages(&found).contains(&"Finished step A".to_string()));
    let other = bench.run(json!([{"action": "test:output"}])).await;
    assert_eq!(other.last().unwrap()["message"], "Run completed with status: completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_go_with_the_step() {
    let bench = Bench::start().await;
    let steps = json!([{"id": "t/../x", "action": "test:temp"}]);
    let output = json!({"output": {"path": "${{ steps['t/../x'].output.path }}"}});
    let id = bench.create_with(steps, json!({}), output).await;
    let found = bodies(&bench.finish(&id).await);
    let path = found.last().unwrap()["output"]["path"].as_str().unwrap().to_string();
    assert!(path.starts_with(&format!("{}_step-t____x-", bench.workspace(&id))), "{path}");
    assert!(bench.left_behind().is_empty());
}

struct OnlyLogs;

#[async_trait]
impl ActionPolicy for OnlyLogs {
    async fn grants(&self, initiator: &Credentials) -> Result<Arc<dyn ActionGrants>, ActionError> {
        assert_eq!(initiator.user_ref(), Some("user:default/jane"));
        Ok(Arc::new(Self))
    }
}

impl ActionGrants for OnlyLogs {
    fn allow(&self, action_id: &str, input: &Value) -> Result<bool, ActionError> {
        match input["message"].as_str() {
            Some("undecided") => Err(ActionError::failed("Unexpected permission rule: NOPE")),
            message => Ok(action_id == "debug:log" && message != Some("forbidden")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_does_not_run() {
    let bench = Bench::with_policy(|_| {}, Arc::new(OnlyLogs)).await;
    bench.service.start_workers();
    let found = bench.run(json!([{"action": "debug:log", "input": {"message": "fine"}}])).await;
    assert_eq!(found.last().unwrap()["message"], "Run completed with status: completed");
    for step in [
        json!({"action": "test:output"}),
        json!({"action": "debug:log", "each": ["fine", "forbidden"], "input": {"message": "${{ each.value }}"}}),
    ] {
        let found = bench.run(json!([step])).await;
        let action = step["action"].as_str().unwrap();
        assert_eq!(
            messages(&found)[2..found.len() - 1],
            [format!("NotAllowedError: Unauthorized action: {action}. The action is not allowed.")]
        );
    }
    let found = bench.run(json!([{"action": "debug:log", "input": {"message": "undecided"}}])).await;
    assert_eq!(messages(&found)[2..found.len() - 1], ["Error: Unexpected permission rule: NOPE"]);
}
