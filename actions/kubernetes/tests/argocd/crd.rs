//! Everything through Application resources of a real kube-apiserver.

use std::sync::Arc;

use serde_json::{Value, json};
use understudy_testbed::{
    argocd::{ArgocdController, Behaviour, CRDS},
    kubernetes::{Cluster, crds},
};

use crate::bench::Bench;

struct Place {
    cluster: Arc<Cluster>,
    namespace: String,
    controller: ArgocdController,
}

impl Place {
    async fn new(prefix: &str) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace(prefix).await.unwrap();
        let controller = ArgocdController::start(&cluster, &namespace).await.unwrap();
        Self { cluster, namespace, controller }
    }
    /// Of the administrator, with the namespace as Argo CD's.
    fn bench(&self) -> Bench {
        self.bench_of(self.cluster.admin_token())
    }
    fn bench_of(&self, token: &str) -> Bench {
        let mut config = self.cluster.app_config("testbed", token);
        config["argocd"] = json!({"namespace": self.namespace, "baseUrl": "https://argocd.example.org/"});
        Bench::new(&config, None)
    }
    fn page(&self, name: &str) -> String {
        // No instance is configured, so the common page is the only one.
        format!("https://argocd.example.org/applications/{}/{name}", self.namespace)
    }
}

fn shop() -> Value {
    json!({
        "name": "shop", "clusterName": "testbed",
        "source": {"repoURL": "ghcr.io/acme", "chart": "shop", "targetRevision": "1.0.0", "helm": {"valuesObject": {"replicas": 1}}},
        "destination": {"namespace": "shop"},
        "syncPolicy": {"automated": {"selfHeal": true}},
    })
}

fn with(mut input: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        input.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn an_application_is_applied_awaited_synced_and_deleted() {
    let place = Place::new("argo-life").await;
    let bench = place.bench();
    let output = bench.run("argocd:create-app", shop()).await.unwrap();
    assert_eq!(output["url"], place.page("shop"));
    assert_eq!(bench.log(), format!("Info Created the application {}/shop: {}", place.namespace, place.page("shop")));
    let at = json!({"name": "shop", "clusterName": "testbed", "timeout": "60s"});
    let output = bench.run("argocd:wait-app", at.clone()).await.unwrap();
    assert_eq!(
        (&output["sync"], &output["health"], &output["revision"]),
        (&json!("Synced"), &json!("Healthy"), &json!("1.0.0"))
    );
    let log = bench.log();
    assert!(log.contains("sync Synced, health Progressing"), "{log}");
    assert_eq!(bench.released(), 0);

    bench.run("argocd:create-app", shop()).await.unwrap();
    assert!(bench.log().contains("is unchanged: it is there as it is to be"));
    let newer = with(shop(), &[("/source/targetRevision", json!("1.1.0"))]);
    let refused = bench.fails("argocd:create-app", with(newer.clone(), &[("/upsert", json!(false))])).await;
    assert!(refused.starts_with("ConflictError: The application "), "{refused}");
    assert!(refused.contains("spec.source.targetRevision: \"1.0.0\" → \"1.1.0\""), "{refused}");
    bench.log();
    bench.run("argocd:create-app", newer).await.unwrap();
    let log = bench.log();
    assert!(
        log.contains("Updated the application") && log.contains("  spec.source.targetRevision: \"1.0.0\" → \"1.1.0\""),
        "{log}"
    );
    // The status is that of 1.0.0 at first.
    let output = bench.run("argocd:wait-app", at.clone()).await.unwrap();
    assert_eq!(output["revision"], "1.1.0");
    bench.log();
    bench.run("argocd:sync-app", json!({"name": "shop", "clusterName": "testbed"})).await.unwrap();
    assert!(bench.log().contains("is in sync already at revision 1.1.0"));

    bench.run("argocd:delete-app", at.clone()).await.unwrap();
    assert!(bench.log().ends_with("is gone"));
    assert!(place.controller.app("shop").await.unwrap().is_none());
    bench.run("argocd:delete-app", at).await.unwrap();
    assert!(bench.log().contains("There is no application"));
}

#[tokio::test]
async fn syncs_by_hand_and_their_failures() {
    let place = Place::new("argo-sync").await;
    let bench = place.bench();
    let manual =
        with(shop(), &[("/syncPolicy", json!({"syncOptions": ["CreateNamespace=true"], "retry": {"limit": 2}}))]);
    bench.run("argocd:create-app", manual).await.unwrap();
    let at = json!({"name": "shop", "clusterName": "testbed"});
    place.controller.set("shop", Behaviour::SyncHangs);
    bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("Started a sync of the application"));
    let app =
        place.controller.until("shop", |app| app.pointer("/status/operationState/phase").is_some()).await.unwrap();
    assert_eq!(
        app["status"]["operationState"]["operation"],
        json!({
            "initiatedBy": {"username": "understudy"}, "retry": {"limit": 2},
            "sync": {"prune": false, "syncOptions": ["CreateNamespace=true"]},
        })
    );
    bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("has an operation under way already (Running)"));
    place.controller.set("shop", Behaviour::SyncFails("quota exceeded".into()));
    let error = bench.fails("argocd:wait-app", with(at.clone(), &[("/timeout", json!("60s"))])).await;
    assert!(
        error.contains("its operation ended as Failed") && error.contains("Deployment shop/shop: quota exceeded"),
        "{error}"
    );
    // A retry, once the cause is mended.
    place.controller.set("shop", Behaviour::Healthy);
    bench.log();
    bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("Started a sync"));
    bench.run("argocd:wait-app", with(at.clone(), &[("/timeout", json!("60s"))])).await.unwrap();
    // It is Degraded after another change.
    place.controller.set("shop", Behaviour::Degraded("ImagePullBackOff".into()));
    place.controller.until("shop", |app| app["status"]["health"]["status"] == "Degraded").await.unwrap();
    let error = bench.fails("argocd:wait-app", with(at, &[("/timeout", json!("60s"))])).await;
    assert!(error.contains("Deployment shop/shop is Degraded: ImagePullBackOff"), "{error}");
}

#[tokio::test]
async fn the_tutorials_action_writes_its_application() {
    let place = Place::new("argo-helm").await;
    let config = place.cluster.app_config("testbed", place.cluster.admin_token());
    let input = json!({"name": "shop", "namespace": "shops", "chart": {"repo": "ghcr.io/acme", "name": "shop", "version": "9.9.9"}, "more": 1});
    let error = Bench::new(&config, None).fails("argocd:create-helm-application", input.clone()).await;
    assert!(error.starts_with("Error: POD_NAMESPACE is not set"), "{error}");
    let bench = Bench::new(&config, Some(&place.namespace));
    bench.run("argocd:create-helm-application", input.clone()).await.unwrap();
    let log = bench.log();
    assert!(
        log.contains(&format!("Info Successfully created {}/shop Application: HTTP 201", place.namespace)),
        "{log}"
    );
    let app = place.controller.app("shop").await.unwrap().unwrap();
    assert_eq!(
        app["spec"],
        json!({
            "destination": {"namespace": "shops", "server": "https://kubernetes.default.svc"},
            "project": "default",
            "source": {"chart": "shop", "repoURL": "ghcr.io/acme", "targetRevision": "9.9.9"},
            "syncPolicy": {"automated": {"selfHeal": true}, "syncOptions": ["CreateNamespace=true"]},
        })
    );
    assert!(app["metadata"]["managedFields"].as_array().unwrap().iter().any(|entry| entry["manager"] == "backstage"));
    bench.run("argocd:create-helm-application", input).await.unwrap();
    let log = bench.log();
    assert!(log.contains("HTTP 200") && log.contains("is unchanged"), "{log}");
}

#[tokio::test]
async fn a_dry_run_is_checked_by_the_cluster() {
    let place = Place::new("argo-dry").await;
    let mut bench = place.bench();
    bench.ctx.is_dry_run = true;
    bench.run("argocd:create-app", shop()).await.unwrap();
    assert!(bench.log().contains("would be created (checked by the cluster)"));
    let wrong = with(shop(), &[("/spec", json!({"revisionHistoryLimit": "ten"}))]);
    let error = bench.fails("argocd:create-app", wrong).await;
    assert!(error.contains("spec.revisionHistoryLimit"), "{error}");
    assert!(place.controller.app("shop").await.unwrap().is_none());
}

/// The rules that the documentation gives, ready to apply.
fn documented_rules() -> Value {
    let text = include_str!("../../../../docs/argocd.md");
    let section = text.split("### RBAC rules").nth(1).expect("the section is there");
    let block = section.split("```yaml\n").nth(1).expect("it has a block").split("```").next().unwrap();
    let role: Value = serde_saphyr::from_str(block).unwrap();
    role["rules"].clone()
}

#[tokio::test]
async fn the_documented_rules_are_enough_and_without_them_the_missing_one_is_named() {
    let place = Place::new("argo-rbac").await;
    let token = place.cluster.service_account(&place.namespace, "portal", &documented_rules()).await.unwrap();
    let bench = place.bench_of(&token);
    let at = json!({"name": "shop", "clusterName": "testbed", "timeout": "60s"});
    bench.run("argocd:create-app", shop()).await.unwrap();
    bench.run("argocd:create-app", with(shop(), &[("/source/targetRevision", json!("2"))])).await.unwrap();
    bench.run("argocd:wait-app", at.clone()).await.unwrap();
    bench.run("argocd:sync-app", json!({"name": "shop", "clusterName": "testbed", "force": true})).await.unwrap();
    bench.run("argocd:delete-app", at).await.unwrap();

    let reads = json!([{"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get"]}]);
    let reader = place.cluster.service_account(&place.namespace, "reader", &reads).await.unwrap();
    let error = place.bench_of(&reader).fails("argocd:create-app", shop()).await;
    assert!(error.starts_with("NotAllowedError: "), "{error}");
    assert!(error.contains(&format!("applications.argoproj.io in the namespace '{}'", place.namespace)), "{error}");
    assert!(error.contains("patch") || error.contains("create"), "{error}");
}

#[tokio::test]
async fn the_crds_are_like_argo_cds() {
    let text = std::fs::read_to_string(crds().join(CRDS)).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let application = &documents[0]["spec"]["versions"][0];
    assert!(
        application["subresources"].as_object().unwrap().is_empty(),
        "Argo CD's Application has no status subresource"
    );
    assert_eq!(documents[1]["spec"]["names"]["kind"], "AppProject");
}
