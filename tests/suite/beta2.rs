//! Templates of `backstage.io/v1beta2`, which Backstage has dropped.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::{
    support::{Running, TASKS, TempDir, binary, completion, messages, write},
    tutorial::{double, in_place_of_github},
};

const TEMPLATE: &str = r#"
apiVersion: backstage.io/v1beta2
kind: Template
metadata:
  name: older
  title: An older template
spec:
  owner: group:default/team-a
  type: service
  parameters:
    - title: What
      required: [name, repoUrl]
      properties:
        name: {type: string}
        tags: {type: array, items: {type: string}}
        docs: {type: boolean}
        repoUrl: {type: string, ui:field: RepoUrlPicker}
  steps:
    - id: fetch
      name: Fetch the skeleton
      action: fetch:template
      input:
        url: ./skeleton
        values:
          name: '{{ parameters.name }}'
          tags: '{{ json parameters.tags }}'
          repo: '{{ parseRepoUrl parameters.repoUrl }}'
          slug: '{{ projectSlug parameters.repoUrl }}'
          flag: '{{ parameters.docs }}'
    - id: docs
      name: Docs
      if: '{{ parameters.docs }}'
      action: debug:log
      input:
        message: 'docs of {{ parameters.name }}'
    - id: others
      name: Others
      if: '{{ not parameters.docs }}'
      action: debug:log
      input: {message: never}
    - id: named
      name: Named
      if: '{{ eq parameters.name "shop" }}'
      action: debug:log
      input:
        message: "{{#each parameters.tags}}<{{this}}>{{else}}none{{/each}} & {{ parameters.missing }}."
    - id: read
      name: Read
      action: fs:readdir
      input: {paths: ['.']}
    - id: off
      name: Off
      if: false
      action: debug:log
  output:
    links:
      - title: Repository
        url: 'https://{{ parameters.repoUrl }}'
    files: '{{ json steps.read.output.files }}'
    nothing: '{{ steps.docs.output.nothing }}'
    first: '{{ steps.read.output.files.length }} files'
"#;

const SKELETON: [(&str, &str); 2] = [
    (
        "${{ values.name }}.txt",
        "${{ values.slug }} of ${{ values.repo.owner }}: ${{ values.tags | join('+') }} ${{ values.flag }}\n",
    ),
    ("fixed.txt", "{{ values.name }} stays\n"),
];

fn values() -> Value {
    json!({"name": "shop", "tags": ["a", "b"], "docs": true, "repoUrl": "github.com?owner=octo&repo=shop"})
}

/// What a run of the template leaves, however it is run.
fn check_log(log: &str) {
    for line in ["docs of shop", "<a><b> & .", "Finished step Read"] {
        assert!(log.lines().any(|found| found.ends_with(line)), "{line} is not in\n{log}");
    }
    for (step, skipped) in [("others", true), ("off", true), ("docs", false)] {
        let message = format!("Skipping step {step} because its if condition was false");
        assert_eq!(log.contains(&message), skipped, "{message}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn is_registered_submitted_and_run() {
    let source = TempDir::new();
    write(source.path.join("template.yaml"), TEMPLATE);
    for (name, text) in SKELETON {
        write(source.path.join("skeleton").join(name), text);
    }
    let github = double().await;
    github.seed_repo("octo", "templates", source.path.as_std_path()).await.unwrap();
    let options = ServiceOptions::new(binary()).config(in_place_of_github(&github)).extra_ca(github.ca_file());
    let running = Running::with(options).await;

    let target = "https://github.com/octo/templates/blob/main/template.yaml";
    let answer = running.post("/api/catalog/locations", &json!({"type": "url", "target": target})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let schema = running.get("/api/scaffolder/v2/templates/default/template/older/parameter-schema").await;
    let schema = schema.json().unwrap();
    assert_eq!(schema["title"], "An older template");
    assert_eq!(schema["steps"][0]["schema"]["required"], json!(["name", "repoUrl"]), "{schema}");

    let refused = json!({"templateRef": "template:default/older", "values": {"name": 5}});
    assert_eq!(running.post(TASKS, &refused).await.status, 400);
    let id = running.create_task(&json!({"templateRef": "template:default/older", "values": values()})).await;
    let (status, events) = running.finish(&id, Duration::from_secs(30)).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    check_log(&log);
    let output = &completion(&events)["output"];
    assert_eq!(output["links"], json!([{"title": "Repository", "url": "https://github.com?owner=octo&repo=shop"}]));
    assert_eq!(output["first"], "2 files", "{output}");
    assert_eq!(output["files"].as_array().map(Vec::len), Some(2), "{output}");
    assert!(output.get("nothing").is_none(), "{output}");
    assert_eq!(running.task(&id).await["spec"]["apiVersion"], "backstage.io/v1beta2");

    let template: Value = understudy::yaml::parse_yaml(TEMPLATE).unwrap();
    let contents: Vec<Value> = SKELETON
        .iter()
        .map(|(name, text)| json!({"path": format!("skeleton/{name}"), "base64Content": BASE64_STANDARD.encode(text)}))
        .collect();
    let body = json!({"template": template, "values": values(), "directoryContents": contents});
    let answer = running.post("/api/scaffolder/v2/dry-run", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let result = answer.json().unwrap();
    check_log(&messages(result["log"].as_array().unwrap()));
    assert_eq!(result["output"]["first"], "2 files");
    let mut made: Vec<(String, String)> = result["directoryContents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let content = BASE64_STANDARD.decode(file["base64Content"].as_str().unwrap()).unwrap();
            (file["path"].as_str().unwrap().to_string(), String::from_utf8(content).unwrap())
        })
        .collect();
    made.sort();
    assert_eq!(
        made,
        [
            ("fixed.txt".to_string(), "{{ values.name }} stays\n".to_string()),
            ("shop.txt".to_string(), "octo/shop of octo: a+b true\n".to_string()),
        ]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_cannot_be_rendered_fails_its_step() {
    let running = Running::start("{}").await;
    let deep = "{{#if parameters.x}}".repeat(2000) + &"{{/if}}".repeat(2000);
    let endless =
        "{{#each parameters.l}}{{#each ../parameters.l}}{{#each ../../parameters.l}}{{/each}}{{/each}}{{/each}}";
    let list: Vec<u32> = (0..1000).collect();
    for (message, expected) in [
        (
            "{{ nope parameters.x }}",
            "Error: input.message can't be rendered. Handlebars error at line 1, column 1: Missing helper: \"nope\"",
        ),
        ("a\n{{ parameters.x", "Error: input.message can't be rendered. Handlebars error at line 2"),
        ("{{> partial}}", "partials can't be used in steps"),
        (&deep, "nest more than 64 levels deep"),
        (endless, "rendering exceeds the limit of 1000000 units of work"),
    ] {
        let body = json!({
            "template": {
                "apiVersion": "backstage.io/v1beta2", "kind": "Template", "metadata": {"name": "t"},
                "spec": {"type": "x", "steps": [{"id": "a", "action": "debug:log", "input": {"message": message}}]},
            },
            "values": {"l": list, "parameters": {"l": list}}, "directoryContents": [],
        });
        let answer = running.post("/api/scaffolder/v2/dry-run", &body).await;
        assert!(answer.error_message().contains(expected.trim_start_matches("Error: ")), "{}", answer.error_message());
    }
    running.stop().await;
}

#[test]
fn runs_on_the_command_line() {
    let source = TempDir::new();
    write(source.path.join("template.yaml"), TEMPLATE);
    for (name, text) in SKELETON {
        write(source.path.join("skeleton").join(name), text);
    }
    write(source.path.join("values.json"), values().to_string());
    let out = source.path.join("out");
    let understudy = |arguments: &[&str]| {
        let output = std::process::Command::new(binary()).current_dir(&source.path).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, stdout, stderr) =
        understudy(&["run", "template.yaml", "--values", "values.json", "--out", out.as_str()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["first"], "2 files");
    assert_eq!(std::fs::read_to_string(out.join("shop.txt")).unwrap(), "octo/shop of octo: a+b true\n");
}
