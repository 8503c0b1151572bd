//! The test cluster does what the tests that use it rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::json;
use understudy_testbed::kubernetes::Cluster;

#[tokio::test]
async fn a_cluster_with_custom_resources_roles_and_outages() {
    let cluster = Cluster::start().await.unwrap();
    let namespace = cluster.namespace("own").await.unwrap();
    assert_ne!(namespace, cluster.namespace("own").await.unwrap());

    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}}}],
        },
    });
    cluster.install_crd(&crd).await.unwrap();
    cluster.install_crd(&crd).await.unwrap();
    let widgets = format!("/apis/example.org/v1/namespaces/{namespace}/widgets");
    let widget = |size: serde_json::Value| json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": size}});
    cluster.create(&widgets, &widget(json!(1))).await.unwrap();
    let refused = cluster.create(&widgets, &widget(json!("large"))).await.unwrap_err().to_string();
    assert!(refused.contains("422") && refused.contains("spec.size"), "{refused}");
    cluster.patch(&format!("{widgets}/a/status"), &json!({"status": {"phase": "Ready"}})).await.unwrap();

    let rules = json!([{"apiGroups": ["example.org"], "resources": ["widgets"], "verbs": ["get"]}]);
    let token = cluster.service_account(&namespace, "reader", &rules).await.unwrap();
    assert!(token.split('.').count() == 3, "no JWT");

    cluster.stop_server().await.unwrap();
    assert!(cluster.get(&widgets).await.is_err());
    cluster.start_server().await.unwrap();
    let found = cluster.get(&format!("{widgets}/a")).await.unwrap().unwrap();
    assert_eq!((&found["spec"]["size"], &found["status"]["phase"]), (&json!(1), &json!("Ready")));
    cluster.delete(&format!("{widgets}/a")).await.unwrap();
    assert!(cluster.get(&format!("{widgets}/a")).await.unwrap().is_none());
}
