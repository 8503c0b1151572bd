//! What a hostile or broken neighbour does to the service: it goes on answering, and says what went wrong.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::{github::Fault, process::ServiceOptions};

use crate::{
    support::{Running, TempDir, binary, completion, locations, manifest_dir, messages, template, write},
    tutorial::{TOKEN, double, in_place_of_github},
};

/// Templates that compute as long as their limits let them: each stays text, and the service answers meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn expressions_without_end() {
    let grow = r#"{% set s = "aaaaaaaaaa" %}{% for i in range(40) %}{% set s = s + s %}{% endfor %}${{ s }}"#;
    let pieces = r#"{% set s = "aaaaaaaaaa" %}{% for i in range(20) %}{% set s = s | replace("a", s) %}{% endfor %}x"#;
    let nested = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}x";
    let recursive = "{% macro r(n) %}${{ r(n + 1) }}{% endmacro %}${{ r(1) }}";
    let dir = TempDir::new();
    let texts = [grow, pieces, nested, recursive];
    let steps: Vec<Value> =
        texts.iter().map(|text| json!({"id": "log", "action": "debug:log", "input": {"message": text}})).collect();
    for (index, step) in steps.iter().enumerate() {
        write(dir.path.join(format!("{index}.yaml")), template(&format!("endless-{index}"), &json!([step])));
    }
    let running = Running::start(&locations(&[&dir.path.join("*.yaml")])).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        for index in 0..texts.len() {
            let body = json!({"templateRef": format!("endless-{index}"), "values": {}});
            ids.push((index, running.create_task(&body).await));
        }
    }
    for (index, id) in ids {
        let (status, events) = running.finish(&id, Duration::from_secs(60)).await;
        assert_eq!(status, "completed", "{}", messages(&events));
        let log = messages(&events);
        assert!(log.contains(texts[index]), "a text that can't be rendered stays as it is:\n{log:.2000}");
    }
    assert!(!running.service.logs().contains("panicked"), "{}", running.service.logs());
    running.stop().await;
}

/// Each fault either is got over or fails the task with a reason; neither costs more than the task, or tells the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_github_that_fails() {
    let github = double().await;
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(in_place_of_github(&github))
            .config(locations(&[&manifest_dir().join("templates/catalog.yaml")]))
            .extra_ca(github.ca_file()),
    )
    .await;
    let faults = [
        // (what, fault, whether the task completes)
        ("slow", Fault::delay("GET", "/**", Duration::from_millis(300)), true),
        ("slow-push", Fault::delay("POST", "/*/*/git-receive-pack", Duration::from_secs(2)), true),
        ("error-once", Fault::error("GET", "/users/*", 500, "Server Error").times(1), true),
        ("push-500", Fault::error("POST", "/*/*/git-receive-pack", 500, "Server Error").times(2), true),
        ("push-cut", Fault::disconnect("POST", "/*/*/git-receive-pack").times(1), true),
        ("push-answer-cut", Fault::disconnect_after("POST", "/*/*/git-receive-pack").times(1), true),
        ("refs-truncated", Fault::truncate("GET", "/*/*/info/refs", 20).times(1), true),
        ("forbidden", Fault::error("POST", "/user/repos", 403, "Resource not accessible"), false),
        ("limited", Fault::secondary_rate_limit("POST", "/user/repos", Duration::from_secs(1)).times(1), true),
    ];
    for (name, fault, completes) in faults {
        github.clear_faults();
        github.inject(fault);
        let id = running
            .create_task(&json!({"templateRef": "github-service", "values": {
                "name": name, "owner": "team-a", "repoUrl": format!("github.com?owner=octo&repo={name}"),
            }}))
            .await;
        let (status, events) = running.finish(&id, Duration::from_secs(60)).await;
        let log = messages(&events);
        assert_eq!(status == "completed", completes, "{name}: {log}\n{}", completion(&events));
        if status != "completed" {
            let reason = completion(&events)["error"]["message"].as_str().unwrap_or_default();
            assert!(reason.len() > 10, "{name}: {}", completion(&events));
        }
        assert!(!json!(events).to_string().contains(TOKEN), "{name}: the token is in an event");
    }
    assert!(!running.service.logs().contains(TOKEN), "the token is in the service's log");
    assert!(!running.service.logs().contains("panicked"), "{}", running.service.logs());
    running.stop().await;
}
