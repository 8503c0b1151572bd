//! Dry runs and local runs.

use std::sync::{Arc, Mutex, atomic::Ordering};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use understudy_sdk::ErrorName;

use super::bench::{Bench, NoCatalog, Stage, registry, template};
use crate::tasks::{
    DryRunRequest, DryRunResult,
    local::{LocalRun, run_local},
    runner::Runner,
};

fn request(steps: Value, more: Value) -> DryRunRequest {
    DryRunRequest {
        template: template(steps, more),
        values: json!({"n": "v"}).as_object().unwrap().clone(),
        secrets: json!({"k": "topsecret"}).as_object().unwrap().clone(),
        directory_contents: Vec::new(),
        user: crate::model::UserSpec::default(),
        initiator: crate::auth::Credentials::none(),
    }
}

fn log(result: &DryRunResult) -> Vec<String> {
    result.log.iter().map(|entry| entry["body"].to_string().replace("\\u001b[32minfo\\u001b[39m: ", "> ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run() {
    let bench = Bench::idle(|_| {}).await;
    let result = bench
        .service
        .dry_run(request(
            json!([
                {"id": "p", "name": "P", "action": "test:effect", "input": {"repo": "r"}},
                {"id": "l", "name": "L", "action": "debug:log", "input": {"message": "${{ steps.p.output.url }} ${{ steps.p.output.count }} ${{ secrets.k }}"}},
                {"id": "e", "name": "E", "each": ["a", "b"], "if": "${{ each.value === 'b' }}", "action": "debug:log", "input": {"message": "${{ each.value }}"}},
                {"id": "s", "name": "S", "if": false, "action": "debug:log"},
                {"action": "test:write", "input": {"path": "dir/f", "content": "x"}},
                {"action": "test:write", "input": {"path": ".git/config", "content": "x"}}
            ]),
            json!({"output": {"text": [{"title": "${{ parameters.n }}", "if": true}], "env": "${{ environment.secrets.envToken }}"}}),
        ))
        .await
        .unwrap();
    assert_eq!(
        log(&result),
        [
            r#"{"message":"Starting up task with 7 steps"}"#,
            r#"{"stepId":"p","status":"processing","message":"Beginning step P"}"#,
            r#"{"stepId":"p","message":"> Running test:effect in dry-run mode with inputs (secrets redacted): {\n  \"repo\": \"r\"\n}"}"#,
            r#"{"stepId":"p","status":"skipped","message":"Skipping because test:effect does not support dry-run"}"#,
            r#"{"stepId":"l","status":"processing","message":"Beginning step L"}"#,
            r#"{"stepId":"l","message":"> Running debug:log in dry-run mode with inputs (secrets redacted): {\n  \"message\": \"<example> 0 ***\"\n}"}"#,
            r#"{"stepId":"l","message":"> {\n  \"message\": \"***\"\n}"}"#,
            r#"{"stepId":"l","message":"> ***"}"#,
            r#"{"stepId":"l","status":"completed","message":"Finished step L"}"#,
            r#"{"stepId":"e","status":"processing","message":"Beginning step E"}"#,
            r#"{"stepId":"e","message":"> Running debug:log in dry-run mode with inputs (secrets redacted): {}"}"#,
            r#"{"stepId":"e","message":"> Skipping step each: {\"key\":\"0\",\"value\":\"a\"}"}"#,
            r#"{"stepId":"e","message":"> Running step each: {\"key\":\"1\",\"value\":\"b\"}"}"#,
            r#"{"stepId":"e","message":"> {\n  \"message\": \"b\"\n}"}"#,
            r#"{"stepId":"e","message":"> b"}"#,
            r#"{"stepId":"e","status":"completed","message":"Finished step E"}"#,
            r#"{"stepId":"s","status":"processing","message":"Beginning step S"}"#,
            r#"{"stepId":"s","status":"skipped","message":"Skipping step s because its if condition was false"}"#,
            r#"{"stepId":"step-5","status":"processing","message":"Beginning step test:write"}"#,
            r#"{"stepId":"step-5","message":"> Running test:write in dry-run mode with inputs (secrets redacted): {\n  \"path\": \"dir/f\",\n  \"content\": \"x\"\n}"}"#,
            r#"{"stepId":"step-5","status":"completed","message":"Finished step test:write"}"#,
            r#"{"stepId":"step-6","status":"processing","message":"Beginning step test:write"}"#,
            r#"{"stepId":"step-6","message":"> Running test:write in dry-run mode with inputs (secrets redacted): {\n  \"path\": \".git/config\",\n  \"content\": \"x\"\n}"}"#,
            r#"{"stepId":"step-6","status":"completed","message":"Finished step test:write"}"#,
        ]
    );
    assert_eq!(result.directory_contents, [json!({"path": "dir/f", "executable": false, "base64Content": "eA=="})]);
    assert_eq!(result.output, json!({"text": [{"title": "v"}]}));
    assert_eq!(result.steps[4]["id"], "step-5");
    assert_eq!(result.steps.len(), 6);
    assert_eq!(bench.stage.effects.load(Ordering::SeqCst), 0);
    assert!(bench.left_behind().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_actions_read_the_uploaded_files() {
    let bench = Bench::with_built_in_actions().await;
    let mut request = request(
        json!([
            {"id": "f", "name": "F", "action": "fetch:template", "input": {"url": "./skel", "values": {"n": "${{ parameters.n }}"}}},
            {"id": "l", "name": "L", "action": "debug:log", "input": {"message": "hi ${{ parameters.n }}", "listWorkspace": true}},
            {"action": "fs:rename", "input": {"files": [{"from": "a.txt", "to": "b.txt"}]}}
        ]),
        json!({"output": {"repo": "${{ 'github.com?owner=o&repo=r' | parseRepoUrl }}", "name": "${{ 'component:default/x' | parseEntityRef | pick('name') }}"}}),
    );
    request.directory_contents = vec![
        ("skel/a.txt".into(), b"hello ${{ values.n }}\n".to_vec()),
        ("skel/dir/${{ values.n }}.md".into(), b"x".to_vec()),
    ];
    let result = bench.service.dry_run(request).await.unwrap();
    let log = log(&result).join("\n");
    let at = log.find("/dry-run-").unwrap();
    let root = log[..at].rfind(' ').map(|from| &log[from + 1..at + "/dry-run-".len() + 36]).unwrap().to_string();
    assert_eq!(
        log.replace(&root, "ROOT").lines().collect::<Vec<_>>(),
        [
            r#"{"message":"Starting up task with 4 steps"}"#,
            r#"{"stepId":"f","status":"processing","message":"Beginning step F"}"#,
            r#"{"stepId":"f","message":"> Running fetch:template in dry-run mode with inputs (secrets redacted): {\n  \"url\": \"./skel\",\n  \"values\": {\n    \"n\": \"v\"\n  }\n}"}"#,
            r#"{"stepId":"f","message":"> Fetching template content from remote URL"}"#,
            r#"{"stepId":"f","message":"> Listing files and directories in template"}"#,
            r#"{"stepId":"f","message":"> Processing 3 template files/directories with input values {\"n\":\"v\"}"}"#,
            r#"{"stepId":"f","message":"> Writing file a.txt to template output path with mode 33188."}"#,
            r#"{"stepId":"f","message":"> Writing directory dir/ to template output path."}"#,
            r#"{"stepId":"f","message":"> Writing file dir/${{ values.n }}.md to template output path with mode 33188."}"#,
            r#"{"stepId":"f","message":"> Template result written to ROOT"}"#,
            r#"{"stepId":"f","status":"completed","message":"Finished step F"}"#,
            r#"{"stepId":"l","status":"processing","message":"Beginning step L"}"#,
            r#"{"stepId":"l","message":"> Running debug:log in dry-run mode with inputs (secrets redacted): {\n  \"message\": \"hi v\",\n  \"listWorkspace\": true\n}"}"#,
            r#"{"stepId":"l","message":"> {\n  \"message\": \"hi v\",\n  \"listWorkspace\": true\n}"}"#,
            r#"{"stepId":"l","message":"> hi v"}"#,
            r#"{"stepId":"l","message":"> Workspace:\n  - a.txt\n  - dir/v.md"}"#,
            r#"{"stepId":"l","status":"completed","message":"Finished step L"}"#,
            r#"{"stepId":"step-3","status":"processing","message":"Beginning step fs:rename"}"#,
            r#"{"stepId":"step-3","message":"> Running fs:rename in dry-run mode with inputs (secrets redacted): {\n  \"files\": [\n    {\n      \"from\": \"a.txt\",\n      \"to\": \"b.txt\"\n    }\n  ]\n}"}"#,
            r#"{"stepId":"step-3","message":"> File ROOT/a.txt renamed to ROOT/b.txt successfully"}"#,
            r#"{"stepId":"step-3","status":"completed","message":"Finished step fs:rename"}"#,
        ]
    );
    assert_eq!(
        result.directory_contents,
        [
            json!({"path": "b.txt", "executable": false, "base64Content": "aGVsbG8gdgo="}),
            json!({"path": "dir/v.md", "executable": false, "base64Content": "eA=="}),
        ]
    );
    assert_eq!(result.output, json!({"repo": {"host": "github.com", "owner": "o", "repo": "r"}, "name": "x"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_dry_run() {
    let bench = Bench::idle(|_| {}).await;
    let mut escape = request(json!([{"action": "debug:log"}]), json!({}));
    escape.directory_contents = vec![("../../x".into(), b"x".to_vec())];
    let cases = [
        (escape, ErrorName::NotAllowedError, "Relative path is not allowed to refer to a directory outside its parent"),
        (
            request(json!([{"action": "test:fail", "input": {"message": "no"}}]), json!({})),
            ErrorName::NotAllowedError,
            "no",
        ),
        (
            request(json!([{"action": "nope:nope"}]), json!({})),
            ErrorName::NotFoundError,
            "Template action with ID 'nope:nope' is not registered. See https://backstage.io/docs/features/software-templates/builtin-actions/ on how to add a new action module.",
        ),
    ];
    for (request, name, message) in cases {
        let error = bench.service.dry_run(request).await.unwrap_err();
        assert_eq!((error.name(), error.message()), (&name, message));
    }
    assert!(bench.left_behind().is_empty());
}

#[tokio::test]
async fn a_local_run() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(root.path().to_path_buf()).unwrap();
    let stage = Arc::new(Stage::default());
    let scm = understudy_scm::Scm::from_config(&json!({})).unwrap();
    let templating = understudy_actions_core::templating::Templating::new(&scm);
    let runner = Runner::new(registry(&stage), templating, Arc::new(|_| Arc::new(NoCatalog)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&seen);
    let run = LocalRun {
        template: template(
            json!([{"id": "w", "name": "W", "action": "test:write", "input": {"path": "f", "content": "${{ parameters.n }}"}}]),
            json!({"output": {"n": "${{ parameters.n }}"}}),
        ),
        template_file: Some(root.join("template.yaml")),
        values: json!({"n": "v"}).as_object().unwrap().clone(),
        secrets: understudy_sdk::Secrets::default(),
        user: crate::model::UserSpec::default(),
        workspace: root.join("out"),
        dry_run: false,
        stop: Arc::default(),
    };
    let output =
        run_local(&runner, run, move |event| events.lock().unwrap().push(event.message.clone())).await.unwrap();
    assert_eq!(output, json!({"n": "v"}));
    assert_eq!(*seen.lock().unwrap(), ["Starting up task with 1 steps", "Beginning step W", "Finished step W"]);
    assert_eq!(std::fs::read_to_string(root.join("out/f")).unwrap(), "v");
}
