//! The binary as people and CI use it.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{TempDir, binary, manifest_dir, template, write};

fn understudy(dir: &TempDir, args: &[&str]) -> Output {
    Command::new(binary())
        .args(args)
        .current_dir(&dir.path)
        .env("UNDERSTUDY_TEST", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_bundled_template_runs_as_the_readme_says_twice() {
    let readme = std::fs::read_to_string(manifest_dir().join("README.md")).unwrap();
    let command =
        readme.lines().find(|line| line.starts_with("cargo run -- run ")).expect("the README's first command");
    let args: Vec<&str> = command.strip_prefix("cargo run -- ").unwrap().split_whitespace().collect();
    for round in 0..2 {
        let output = Command::new(binary()).args(&args).current_dir(manifest_dir()).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "round {round}: {err}");
        let result: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"));
        assert!(result.is_object(), "{out}");
        let place = args.iter().position(|arg| *arg == "--out").map(|at| args[at + 1]).expect("--out in the README");
        assert!(err.contains(place), "the place of the result is not shown:\n{err}");
        assert!(manifest_dir().join(place).join("catalog-info.yaml").exists(), "nothing in {place}");
    }
}

#[test]
fn run_reads_values_by_the_declared_type_and_fails_with_1_or_2() {
    let dir = TempDir::new();
    write(
        dir.path.join("template.yaml"),
        json!({"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "typed"},
            "spec": {"type": "service", "parameters": [{"required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"type": "integer"}, "on": {"type": "boolean"},
                "list": {"type": "array", "items": {"type": "string"}}}}],
                "steps": [{"id": "log", "action": "debug:log", "input": {"message": "${{ secrets.word }}"}}],
                "output": {"values": "${{ parameters }}"}}})
        .to_string(),
    );
    let output = understudy(
        &dir,
        &[
            "run",
            "template.yaml",
            "--set",
            "name=7",
            "--set",
            "port=8080",
            "--set",
            "on=true",
            "--set",
            "list=[\"a\",\"b\"]",
            "--secret",
            "word=hidden-word",
            "--out",
            "result",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["values"], json!({"name": "7", "port": 8080, "on": true, "list": ["a", "b"]}));
    assert!(!text(&output.stderr).contains("hidden-word"), "{}", text(&output.stderr));

    let missing = understudy(&dir, &["run", "template.yaml"]);
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stderr));
    assert!(text(&missing.stderr).contains("requires property \"name\""), "{}", text(&missing.stderr));
    let wrong = understudy(&dir, &["run", "template.yaml", "--set", "name=a", "--set", "port=many"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
    assert!(text(&wrong.stderr).contains("port"), "{}", text(&wrong.stderr));
    assert_eq!(understudy(&dir, &["run", "nothing.yaml"]).status.code(), Some(2));
    assert_eq!(understudy(&dir, &["nonsense"]).status.code(), Some(2));

    write(
        dir.path.join("fails.yaml"),
        template("fails", &json!([{"action": "fs:rename", "input": {"files": [{"from": "a", "to": "b"}]}}])),
    );
    let fails = understudy(&dir, &["run", "fails.yaml"]);
    assert_eq!(fails.status.code(), Some(1), "{}", text(&fails.stderr));
    assert!(text(&fails.stderr).contains("ENOENT"), "{}", text(&fails.stderr));
}

#[test]
fn validate_names_file_line_and_column() {
    let dir = TempDir::new();
    write(
        dir.path.join("malformed.yaml"),
        "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: [x\n",
    );
    write(
        dir.path.join("mistakes.yaml"),
        "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: mistakes\nspec:\n  type: service\n  steps:\n    - id: a\n      action: no:such\n    - id: b\n      action: debug:log\n      input:\n        message: ${{ parameters.name | }}\n",
    );
    write(dir.path.join("fine.yaml"), template("fine", &json!([{"action": "debug:log", "input": {"message": "x"}}])));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
    }
    write(dir.path.join("bomb.yaml"), bomb);
    write(dir.path.join("deep.yaml"), format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)));
    write(dir.path.join("huge.yaml"), format!("a: {}\n", "x".repeat(50 << 20)));
    let fine = understudy(&dir, &["validate", "fine.yaml"]);
    assert_eq!(fine.status.code(), Some(0), "{}{}", text(&fine.stdout), text(&fine.stderr));
    for (file, texts) in [
        ("malformed.yaml", &["malformed.yaml:"][..]),
        ("mistakes.yaml", &["mistakes.yaml:", "no:such", "13:"]),
        ("bomb.yaml", &["bomb.yaml"]),
        ("deep.yaml", &["deep.yaml"]),
        ("huge.yaml", &["huge.yaml", "MiB"]),
    ] {
        let output = understudy(&dir, &["validate", file]);
        let all = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{file}: {all}");
        for expected in texts {
            assert!(all.contains(expected), "{file}: {expected:?} is not in\n{all}");
        }
        assert!(!all.contains("panicked"), "{all}");
    }
    for bundled in ["templates/hello-service/template.yaml", "templates/github-service/template.yaml"] {
        let path = manifest_dir().join(bundled);
        let output = understudy(&dir, &["validate", path.as_str()]);
        assert_eq!(output.status.code(), Some(0), "{bundled}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn eval_answers_line_by_line_and_keeps_going() {
    let dir = TempDir::new();
    let mut child = Command::new(binary())
        .arg("eval")
        .current_dir(&dir.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = [
        json!({"template": "${{ a + 1 }}", "context": {"a": 2}, "mode": "value"}).to_string(),
        json!({"template": "x${{ a }}", "context": {"a": [1, 2]}, "mode": "text"}).to_string(),
        json!({"template": "${{ nothing }}", "context": {}, "mode": "value"}).to_string(),
        json!({"template": "line\n${{ a | }}", "context": {}, "mode": "value"}).to_string(),
        "not json".to_string(),
        json!({"template": "{{ cookiecutter.a }}", "context": {"cookiecutter": {"a": true}}, "mode": "text", "cookiecutter": true}).to_string(),
        json!({"template": "  {% if true %}\na\n  {% endif %}\n", "context": {}, "mode": "text", "trimBlocks": true, "lstripBlocks": true}).to_string(),
    ];
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), lines.len(), "{answers:?}");
    assert_eq!(answers[0], json!({"value": 3}));
    assert_eq!(answers[1], json!({"value": "x1,2"}));
    assert_eq!(answers[2], json!({"undefined": true}));
    assert_eq!(answers[3]["error"]["line"], 2, "{}", answers[3]);
    assert!(answers[3]["error"]["column"].is_u64() && answers[3]["error"]["message"].is_string(), "{}", answers[3]);
    assert!(answers[4]["error"]["message"].is_string(), "{}", answers[4]);
    assert_eq!(answers[5], json!({"value": "true"}));
    assert_eq!(answers[6], json!({"value": "a\n"}));
}

#[test]
fn actions_and_openapi_print_what_the_service_offers() {
    let dir = TempDir::new();
    let all = text(&understudy(&dir, &["actions"]).stdout);
    for id in ["fetch:template", "publish:github", "catalog:register", "debug:wait", "fs:rename"] {
        assert!(all.contains(id), "{id} is not in\n{all}");
    }
    let one = understudy(&dir, &["actions", "fetch:template"]);
    assert!(text(&one.stdout).contains("targetPath"), "{}", text(&one.stdout));
    assert_eq!(understudy(&dir, &["actions", "no:such"]).status.code(), Some(2));
    let document = text(&understudy(&dir, &["openapi"]).stdout);
    let kept = std::fs::read_to_string(manifest_dir().join("openapi/openapi.yaml")).unwrap();
    assert!(document == kept, "openapi/openapi.yaml is out of date: cargo run -- openapi > openapi/openapi.yaml");
}

#[test]
fn migrate_says_and_does_what_a_database_needs() {
    let dir = TempDir::new();
    let config =
        json!({"backend": {"database": {"client": "better-sqlite3", "connection": {"filename": "tasks.sqlite"}}}});
    write(dir.path.join("app-config.yaml"), config.to_string());
    let check = understudy(&dir, &["migrate", "--check"]);
    let steps = text(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{steps}");
    assert!(steps.starts_with("create the file") && steps.contains("apply 20210120143715_init.js"), "{steps}");
    assert!(text(&check.stderr).contains("`understudy migrate` takes them"));
    assert!(!dir.path.join("tasks.sqlite").exists(), "a check changes nothing");
    let done = understudy(&dir, &["migrate"]);
    assert_eq!((done.status.code(), text(&done.stdout)), (Some(0), steps), "{}", text(&done.stderr));
    for args in [&["migrate", "--check"][..], &["migrate"]] {
        let again = understudy(&dir, args);
        assert_eq!((again.status.code(), &*text(&again.stdout)), (Some(0), "the database is up to date\n"));
    }
    write(dir.path.join("tasks.sqlite"), "this is a text");
    assert_eq!(understudy(&dir, &["migrate"]).status.code(), Some(2));
}
