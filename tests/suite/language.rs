//! `scaffolder.templating`: filters and globals of one's own, and the older generation of the language.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{Running, TempDir, binary, write};

const CONFIG: &str = r#"
scaffolder:
  templating:
    filters:
      slug: args[0] | lower | replace(r/[^a-z0-9]+/g, '-')
      owner:
        expression: (args[0] | parseRepoUrl).owner
        description: Who owns it
    globals:
      repoUrl: company.host ~ '?owner=' ~ args[0] ~ '&repo=' ~ (args[1] | slug)
      company: {value: {host: github.com}}
"#;

/// A dry run of a step that renders a file and of an output; gives the file's text and the output.
async fn dry_run(running: &Running, file: &str, output: &Value) -> (String, Value) {
    let body = json!({
        "template": {
            "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "t"},
            "spec": {
                "type": "x", "output": output,
                "steps": [{"id": "f", "action": "fetch:template", "input": {"url": ".", "values": {"name": "My Svc"}}}],
            },
        },
        "values": {"name": "My Svc"},
        "directoryContents": [{"path": "file", "base64Content": BASE64_STANDARD.encode(file)}],
    });
    let answer = running.post("/api/scaffolder/v2/dry-run", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let result = answer.json().unwrap();
    let content = result["directoryContents"][0]["base64Content"].as_str().unwrap();
    (String::from_utf8(BASE64_STANDARD.decode(content).unwrap()).unwrap(), result["output"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn own_filters_and_globals_work_in_steps_and_files_and_are_listed() {
    let running = Running::start(CONFIG).await;
    let output = json!({
        "url": "${{ repoUrl('o', parameters.name) }}", "owner": "${{ repoUrl('o', 'r') | owner }}",
        "company": "${{ company }}", "wrong": "${{ 5 | slug }}",
    });
    let (file, output) = dry_run(&running, "${{ values.name | slug }} ${{ repoUrl('a', values.name) }}", &output).await;
    assert_eq!(file, "my-svc github.com?owner=a&repo=my-svc");
    assert_eq!(
        output,
        json!({"url": "github.com?owner=o&repo=my-svc", "owner": "o", "company": {"host": "github.com"}, "wrong": "${{ 5 | slug }}"})
    );
    let listed = running.get("/api/scaffolder/v2/templating-extensions").await.json().unwrap();
    assert_eq!(listed["filters"]["owner"], json!({"description": "Who owns it"}));
    assert_eq!(listed["filters"]["slug"], json!({}));
    assert!(listed["filters"]["parseRepoUrl"]["schema"].is_object(), "{listed}");
    assert_eq!(
        listed["globals"],
        json!({"functions": {"repoUrl": {}}, "values": {"company": {"value": {"host": "github.com"}}}})
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_language_is_a_setting() {
    let output = json!({"empty": "${{ '' }}${{ '' }}", "text": "{% if true %}true{% endif %}", "padded": "${{ '1'.padStart(3, '0') }}"});
    let running = Running::start("{scaffolder: {templating: nunjucks-3}}").await;
    let (file, rendered) = dry_run(&running, "${{ values.name.padStart(8, '.') }}", &output).await;
    assert_eq!(file, "..My Svc");
    assert!(rendered.get("empty").is_none(), "{rendered}");
    assert_eq!(rendered["padded"], "001");
    running.stop().await;
    let running = Running::start("{}").await;
    let (_, rendered) = dry_run(&running, "x", &output).await;
    assert_eq!(rendered["empty"], "");
    assert_eq!(rendered["padded"], output["padded"]);
    running.stop().await;
}

#[test]
fn a_mistake_stops_the_start() {
    let dir = TempDir::new();
    write(dir.path.join("app-config.yaml"), CONFIG.replace("lower", "lowr"));
    let output = std::process::Command::new(binary()).current_dir(&dir.path).arg("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("app-config.yaml: scaffolder.templating.filters.slug: expression:1:11: Unknown template filter \"lowr\"; did you mean \"lower\"?\n 1 | args[0] | lowr"),
        "{told}"
    );
}
