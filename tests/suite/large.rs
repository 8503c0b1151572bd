//! Ten thousand files in one task.

use std::{fmt::Write as _, time::Duration};

use serde_json::json;
use understudy_testbed::process::ServiceOptions;

use crate::{
    support::{Running, TempDir, binary, completion, locations, messages, template, write},
    tutorial::{double, git},
};

const FILES: usize = 10_000;
/// Mebibytes. A debug build with the whole skeleton in memory would need several times as much.
const PEAK_LIMIT: u64 = 400;

fn skeleton(dir: &TempDir) {
    for number in 0..FILES {
        let mut text = String::new();
        let _ = writeln!(text, "# ${{{{ values.name }}}} part {number}");
        for line in 0..30 {
            let _ = writeln!(text, "line {line} of a file that is about as long as a small source file is");
        }
        text.push_str("{% if values.name %}${{ values.name | upper }}{% endif %}\n");
        write(dir.path.join(format!("skeleton/d{:03}/f{number:05}.txt", number / 100)), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_files_are_rendered_and_pushed_while_others_go_on() {
    let dir = TempDir::new();
    skeleton(&dir);
    let github = double().await;
    let steps = json!([
        {"id": "fetch", "name": "Fetch", "action": "fetch:template", "input": {"url": "./skeleton", "values": {"name": "${{ parameters.name }}"}}},
        {"id": "publish", "name": "Publish", "action": "publish:github", "input": {"repoUrl": "${{ parameters.repoUrl }}", "protectDefaultBranch": false}},
    ]);
    write(dir.path.join("template.yaml"), template("large", &steps));
    write(
        dir.path.join("small.yaml"),
        template("small", &json!([{"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "here"}}])),
    );
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(github.app_config())
            .config(locations(&[&dir.path.join("template.yaml"), &dir.path.join("small.yaml")]))
            .extra_ca(github.ca_file()),
    )
    .await;
    let repo_url = format!("{}?owner=octo&repo=large", github.host());
    let large =
        running.create_task(&json!({"templateRef": "large", "values": {"name": "demo", "repoUrl": repo_url}})).await;
    running
        .wait_event(&large, |event| event["body"]["message"].as_str().is_some_and(|m| m.contains("Processing")))
        .await;

    // A second task's stream is served from beginning to end while the first one is at work.
    let small = running.create_task(&json!({"templateRef": "small", "values": {}})).await;
    let mut stream =
        running.service.client().events(&format!("{}/{small}/eventstream", crate::support::TASKS)).await.unwrap();
    stream.until(Duration::from_secs(60), |frame| frame.name() == "completion").await.unwrap();
    let status = running.task(&large).await["status"].as_str().unwrap_or_default().to_string();
    assert_eq!(status, "processing", "the large task was over before the small one; make it larger");

    let (status, events) = running.finish(&large, Duration::from_secs(300)).await;
    assert_eq!(status, "completed", "{:.2000}", messages(&events[events.len().saturating_sub(20)..]));
    completion(&events);
    let written = events
        .iter()
        .filter(|event| event["body"]["message"].as_str().is_some_and(|m| m.contains("Writing file")))
        .count();
    assert_eq!(written, FILES, "one log line for each file");

    let memory = running.service.memory().unwrap();
    println!("large: {FILES} files, peak RSS {} MiB", memory.peak_kib / 1024);
    assert!(memory.peak_kib / 1024 < PEAK_LIMIT, "peak RSS {} MiB", memory.peak_kib / 1024);

    let clone = dir.path.join("clone");
    github.clone_to(clone.as_std_path(), "octo", "large", "main").await.unwrap();
    let tracked = git(&clone, &["ls-files"]);
    assert_eq!(tracked.lines().count(), FILES);
    let text = std::fs::read_to_string(clone.join("d042/f04242.txt")).unwrap();
    assert!(text.starts_with("# demo part 4242\n") && text.ends_with("DEMO\n"), "{text}");
    assert_eq!(github.violations(), Vec::<String>::new());
    running.stop().await;
}
