//! `understudy validate`, as authors and CI use it.

use std::process::{Command, Output, Stdio};

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::support::{TempDir, binary, manifest_dir, write};

fn validate(dir: &Utf8Path, args: &[&str]) -> Output {
    Command::new(binary())
        .arg("validate")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const TEN_MISTAKES: &str = r#"apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata:
  name: ten-mistakes
spec:
  type: service
  parameters:
    - title: The service
      properties:
        serviceName: {type: string}
        repoUrl: {type: string}
  steps:
    - id: fetch
      action: fetch:template
      input:
        url: ./skeleton
        values:
          name: ${{ parameters.serviceName }}
          owner: "\"team\" \u0041 ${{ parameters.serviceNmae }}"
    - id: log
      action: debug:log
      if: ${{ parameters.serviceName && true }}
      input:
        message: |
          Created ${{ parameters.serviceName }}
            in ${{ parameters.repoUrl | parseRepoUr }}
    - id: rename
      action: fs:rename
      input:
        files:
          - from: ${{ parameters.serviceName }}
            to: here
            overwrite: maybe
    - id: delete
      action: fs:delte
    - id: clean
      action: fs:delete
      input: {}
    - id: show
      action: debug:log
      input:
        message: '${{ steps.register.output.entityRef }}, it''s ${{ steps["fetsch"].output.x }}'
    - id: register
      action: catalog:register
      input: {catalogInfoUrl: https://example.com/catalog-info.yaml}
"#;

fn ten_mistakes() -> TempDir {
    let dir = TempDir::new();
    write(dir.path.join("ten/template.yaml"), TEN_MISTAKES);
    write(dir.path.join("ten/skeleton/README.md"), "# ${{ values.name }}\n\tof ${{ values.ownr }}\n");
    write(dir.path.join("ten/skeleton/src/${{ values.name }}.txt"), "größe\nü {% fi values.name %}\n{% endfi %}\n");
    write(dir.path.join("ten/skeleton/logo.png"), b"\0${{ binary | nothing }}");
    dir
}

#[test]
fn ten_mistakes_are_listed_with_file_line_and_column() {
    let dir = ten_mistakes();
    let output = validate(&dir.path, &["ten"]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let expected = [
        "ten/template.yaml:19:50: error: the form declares no parameter \"serviceNmae\"; did you mean \"serviceName\"? [parameter-undeclared]",
        "ten/template.yaml:22:38: error: Unexpected character \"&\"; write \"and\" instead of \"&&\" [syntax]",
        "ten/template.yaml:26:41: error: Unknown template filter \"parseRepoUr\"; did you mean \"parseRepoUrl\"? [filter-unknown]",
        "ten/template.yaml:33:24: error: fs:rename: input.files[0].overwrite is not of a type(s) boolean [input-invalid]",
        "ten/template.yaml:35:15: error: Template action with ID 'fs:delte' is not registered; did you mean \"fs:delete\"? [action-unknown]",
        "ten/template.yaml:38:7: error: fs:delete: input requires property \"files\" [input-missing]",
        "ten/template.yaml:42:29: error: the step \"register\" comes later: it is step 7 [step-later]",
        "ten/template.yaml:42:75: error: there is no step \"fetsch\"; did you mean \"fetch\"? [step-unknown]",
        "ten/skeleton/README.md:2:16: error: the step \"fetch\" gives no \"values.ownr\"; did you mean \"owner\"? [value-not-given]",
        "ten/skeleton/src/${{ values.name }}.txt:2:3: error: Unknown template tag \"fi\"; did you mean \"if\"? [tag-unknown]",
    ];
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), expected);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(stderr, "error: 1 template is not valid: 10 errors, 0 warnings\n");
}

#[test]
fn findings_for_machines_and_with_the_source() {
    let dir = ten_mistakes();
    let output = validate(&dir.path, &["ten/template.yaml", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(findings.len(), 10);
    assert_eq!(
        findings[0],
        json!({
            "file": "ten/template.yaml", "line": 19, "column": 50, "severity": "error", "code": "parameter-undeclared",
            "message": "the form declares no parameter \"serviceNmae\"", "hint": "did you mean \"serviceName\"?",
            "source": "          owner: \"\\\"team\\\" \\u0041 ${{ parameters.serviceNmae }}\"",
        })
    );
    let output = validate(&dir.path, &["ten", "--format", "github"]);
    let first = "::error file=ten/template.yaml,line=19,col=50,title=parameter-undeclared::the form declares";
    assert!(stdout(&output).starts_with(first), "{}", stdout(&output));
    let output = validate(&dir.path, &["ten", "--snippets", "always"]);
    for snippet in [
        " 26 |             in ${{ parameters.repoUrl | parseRepoUr }}\n    |                                         ^\n",
        " 2 |     of ${{ values.ownr }}\n   |                   ^\n",
        " 2 | ü {% fi values.name %}\n   |   ^\n",
    ] {
        assert!(stdout(&output).contains(snippet), "{snippet}\n{}", stdout(&output));
    }
}

#[test]
fn warnings_fail_only_when_asked_to() {
    let dir = TempDir::new();
    let text =
        TEN_MISTAKES.split("  steps:").next().unwrap().replace("{type: string}", "{type: string, required: true}");
    write(dir.path.join("template.yaml"), format!("{text}  steps: []\n"));
    let output = validate(&dir.path, &["."]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(
        stdout(&output).starts_with("./template.yaml:10:47: warning: not a valid JSON Schema: "),
        "{}",
        stdout(&output)
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "0 errors, 2 warnings\n");
    assert_eq!(validate(&dir.path, &[".", "--strict"]).status.code(), Some(2));
}

#[test]
fn files_of_a_repository_beside_the_template_are_read() {
    let dir = TempDir::new();
    let text = TEN_MISTAKES
        .split("    - id: log")
        .next()
        .unwrap()
        .replace("./skeleton", "../../shared/")
        .replace("Nmae", "Name");
    write(dir.path.join("templates/one/template.yaml"), text);
    write(dir.path.join("shared/a.txt"), "${{ values.nothing }}");
    let outside = validate(&dir.path, &["templates/one"]);
    assert_eq!(outside.status.code(), Some(0), "{}", stdout(&outside));
    assert!(
        stdout(&outside).contains(":16:14: warning: the files of ../../shared/ can't be checked"),
        "{}",
        stdout(&outside)
    );
    write(dir.path.join(".git/HEAD"), "ref: refs/heads/main\n");
    let inside = validate(&dir.path, &["templates/one"]);
    assert_eq!(inside.status.code(), Some(2));
    assert_eq!(
        stdout(&inside),
        "shared/a.txt:1:12: error: the step \"fetch\" gives no \"values.nothing\" [value-not-given]\n"
    );
}

#[test]
fn good_templates_are_found_good() {
    let bundled = manifest_dir().join("templates");
    let files = ["catalog.yaml", "hello-service", "github-service"].map(|name| bundled.join(name).into_string());
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let output = validate(&manifest_dir(), &[&files[..], &["--strict"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(stdout(&output).lines().filter(|line| line.ends_with(": ok")).count(), files.len());
    let all = manifest_dir().join("tests/conformance/templates/all-features/template.yaml");
    let output = validate(&manifest_dir(), &[all.as_str(), "--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}
