//! The templates that ship with Understudy, from the catalog file to what they leave behind.

use std::time::Duration;

use serde_json::json;
use understudy_testbed::process::ServiceOptions;

use crate::{
    support::{Running, TempDir, binary, completion, locations, manifest_dir, messages},
    tutorial::{TOKEN, double, files, git, in_place_of_github},
};

#[tokio::test(flavor = "multi_thread")]
async fn github_service_is_published_and_registered() {
    let github = double().await;
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(in_place_of_github(&github))
            .config(locations(&[&manifest_dir().join("templates/catalog.yaml")]))
            .extra_ca(github.ca_file()),
    )
    .await;

    let id = running
        .create_task(&json!({"templateRef": "template:default/github-service", "values": {
            "name": "shop-backend", "owner": "group:default/team-a", "description": "Sells: \"things\"", "port": 9000,
            "repoUrl": "github.com?owner=octo&repo=Shop-Backend",
        }}))
        .await;
    let (status, events) = running.finish(&id, Duration::from_secs(60)).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    let links = completion(&events)["output"]["links"].to_string();
    assert!(links.contains("component:default/shop-backend"), "{links}");
    assert!(links.contains("https://github.com/octo/Shop-Backend/actions"), "{links}");
    assert!(!log.contains(TOKEN) && !running.service.logs().contains(TOKEN), "the token is in a log");

    let dir = TempDir::new();
    let clone = dir.path.join("clone");
    github.clone_to(clone.as_std_path(), "octo", "Shop-Backend", "main").await.unwrap();
    let found = files(&clone);
    let skeleton = files(&manifest_dir().join("templates/github-service/skeleton"));
    let mut wanted: Vec<String> =
        skeleton.keys().map(|name| if name == "gitignore" { ".gitignore".into() } else { name.clone() }).collect();
    wanted.sort();
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), wanted);
    for name in [".github/workflows/ci.yaml", "chart/templates/deployment.yaml", "chart/templates/service.yaml"] {
        assert!(found[name] == skeleton[name], "{name} has braces of its own and must arrive as it is");
    }
    let text = |name: &str| String::from_utf8(found[name].0.clone()).unwrap();
    for (name, content) in &found {
        let content = String::from_utf8_lossy(&content.0);
        assert!(!content.contains("${{ values."), "{name} is not rendered: {content}");
    }
    assert!(
        text("chart/values.yaml").contains("repository: ghcr.io/octo/shop-backend\n"),
        "{}",
        text("chart/values.yaml")
    );
    assert!(text("chart/values.yaml").contains("port: 9000\n"), "{}", text("chart/values.yaml"));
    assert!(text("catalog-info.yaml").contains(r#"description: "Sells: \"things\"""#), "{}", text("catalog-info.yaml"));
    assert_eq!(git(&clone, &["log", "--format=%s"]).trim(), "Start shop-backend");

    let entity = running.get("/api/catalog/entities/by-name/component/default/shop-backend").await;
    assert_eq!(entity.status, 200, "{}", entity.text());
    let entity = entity.json().unwrap();
    assert_eq!(entity["spec"]["owner"], "group:default/team-a");
    assert_eq!(entity["metadata"]["annotations"]["github.com/project-slug"], "octo/Shop-Backend");
    assert_eq!(github.violations(), Vec::<String>::new());
    running.stop().await;
}
