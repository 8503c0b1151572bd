//! The embedded catalog while the service runs.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Running, TempDir, locations, template, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_template_is_read_again_by_itself_and_a_broken_one_keeps_what_it_was() {
    let dir = TempDir::new();
    let path = dir.path.join("template.yaml");
    let steps = json!([{"action": "debug:log", "input": {"message": "x"}}]);
    let titled = |title: &str| {
        let mut document: serde_json::Value = serde_json::from_str(&template("changing", &steps)).unwrap();
        document["metadata"]["title"] = title.into();
        document.to_string()
    };
    write(&path, titled("before"));
    let mut config: serde_json::Value = serde_json::from_str(&locations(&[&path])).unwrap();
    config["catalog"]["processingInterval"] = json!({"milliseconds": 200});
    let running = Running::start(&config.to_string()).await;
    let title = async || {
        let schema = running.get("/api/scaffolder/v2/templates/default/template/changing/parameter-schema").await;
        schema.json().unwrap()["title"].as_str().unwrap_or_default().to_string()
    };
    assert_eq!(title().await, "before");
    write(&path, titled("after"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while title().await != "after" {
        assert!(Instant::now() < deadline, "{}", running.service.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    write(&path, "kind: [broken");
    running.service.wait_for_log("template.yaml", Duration::from_secs(20)).await.unwrap();
    assert_eq!(title().await, "after", "a broken file must not take its template away");
    running.stop().await;
}
