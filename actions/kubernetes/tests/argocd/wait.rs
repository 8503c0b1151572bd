//! Waiting through the API server.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::argocd::{ArgocdDouble, Behaviour, NAMESPACE};

use crate::bench::Bench;

async fn created(double: &ArgocdDouble, bench: &Bench) {
    let input = json!({
        "name": "shop", "argoInstance": "main",
        "source": {"repoURL": "https://git.example.org/shop.git", "path": "deploy"},
        "destination": {"namespace": "shop"}, "syncPolicy": {"automated": {}},
    });
    bench.run("argocd:create-app", input).await.unwrap();
    assert!(double.app(NAMESPACE, "shop").is_some());
    bench.log();
}

fn at(timeout: &str) -> Value {
    json!({"name": "shop", "argoInstance": "main", "timeout": timeout})
}

#[tokio::test]
async fn a_new_application_is_followed_until_it_is_healthy() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    created(&double, &bench).await;
    let output = bench.run("argocd:wait", at("30s")).await.unwrap();
    assert_eq!(
        Value::Object(output),
        json!({
            "name": "shop", "namespace": "argocd", "url": format!("{}/applications/argocd/shop", double.url()),
            "revision": "53e28ff20cc530b9ada2173fbbd64d48338583ba", "sync": "Synced", "health": "Healthy",
        })
    );
    let log = bench.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "Info Waiting up to 30 s for the application shop");
    assert!(lines.iter().any(|line| line.starts_with("Info shop: sync Synced, health Progressing")), "{log}");
    assert!(
        lines.last().unwrap().starts_with("Info The application shop is Synced, Healthy at revision 53e28ff2"),
        "{log}"
    );
    let mut once = lines.clone();
    once.dedup();
    assert_eq!(once, lines);
    assert_eq!(bench.released(), 0);
    // Again: it is there at once.
    bench.run("argocd:wait-app", at("30s")).await.unwrap();
    assert_eq!(bench.log().lines().count(), 3);
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn broken_applications_fail_at_once_with_the_resources_messages() {
    let cases = [
        (
            Behaviour::Degraded("Deployment \"shop\" exceeded its progress deadline".into()),
            "it is Degraded",
            "Deployment shop/shop is Degraded: Deployment \"shop\" exceeded its progress deadline",
        ),
        (
            Behaviour::SyncFails("admission webhook denied the request".into()),
            "its operation ended as Failed: one or more objects failed to apply",
            "Deployment shop/shop: admission webhook denied the request",
        ),
        (
            Behaviour::Invalid("application destination can't be found".into()),
            "Argo CD finds its spec invalid",
            "InvalidSpecError: application destination can't be found",
        ),
    ];
    for (behaviour, summary, detail) in cases {
        let double = ArgocdDouble::start().await.unwrap();
        let bench = Bench::with_token(&double, "admin");
        double.set("shop", behaviour);
        created(&double, &bench).await;
        let error = bench.run("argocd:wait-app", at("60s")).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("Error: The application shop won't get there: {summary}")), "{error}");
        assert!(error.contains(detail), "{error}");
        assert!(bench.log().contains(&format!("Error {detail}")));
    }
}

#[tokio::test]
async fn a_timeout_says_what_was_lacking() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    let error = bench.fails("argocd:wait-app", at("1s")).await;
    assert!(error.contains("didn't get there within 1 s: there is no such application"), "{error}");
    double.set("shop", Behaviour::Unreadable("repository not found".into()));
    created(&double, &bench).await;
    let error = bench.fails("argocd:wait-app", at("2s")).await;
    assert!(error.contains("within 2 s: it is Unknown: ComparisonError: repository not found"), "{error}");
    double.set("shop", Behaviour::Suspended);
    let error = bench.fails("argocd:wait-app", at("3s")).await;
    assert!(error.contains("it is Suspended: Deployment shop/shop is Suspended: Deployment is paused"), "{error}");
    bench.run("argocd:wait-app", json!({"name": "shop", "argoInstance": "main", "suspended": true})).await.unwrap();
}

#[tokio::test]
async fn a_wait_survives_outages_and_lost_sessions() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_password(&double);
    double.set("shop", Behaviour::SyncHangs);
    created(&double, &bench).await;
    let input = at("60s");
    let waiting = bench.run("argocd:wait-app", input);
    let disturbing = async {
        bench.until_logged("operation Running").await;
        assert_eq!(bench.released(), 1, "the wait holds a worker slot");
        double.expire_tokens();
        double.fail(3, 503);
        double.cut_streams();
        bench.until_logged("the wait goes on").await;
        double.set("shop", Behaviour::Healthy);
    };
    let (output, ()) = tokio::join!(waiting, disturbing);
    assert_eq!(output.unwrap()["health"], "Healthy");
    assert_eq!(bench.log().matches("HTTP 503").count(), 1, "an outage is told once");
}

#[tokio::test]
async fn where_there_is_no_stream_the_state_is_asked_for() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    double.refuse_streams();
    created(&double, &bench).await;
    bench.run("argocd:wait-app", at("60s")).await.unwrap();
}

#[tokio::test]
async fn applications_may_come_later_and_must_not_go() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    let waiting = bench.run("argocd:wait-app", at("30s"));
    let creating = async {
        bench.until_logged("there is no such application yet").await;
        created(&double, &bench).await;
    };
    let (output, ()) = tokio::join!(waiting, creating);
    output.unwrap();

    double.set("shop", Behaviour::Unnoticed);
    double.edit(NAMESPACE, "shop", |app| app["spec"]["source"]["path"] = "other".into());
    let waiting = bench.run("argocd:wait-app", at("30s"));
    let deleting = async {
        bench.until_logged("Waiting up to").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let delete = json!({"name": "shop", "argoInstance": "main", "cascade": false, "wait": false});
        Bench::with_token(&double, "admin").run("argocd:delete-app", delete).await.unwrap();
    };
    let (gone, ()) = tokio::join!(waiting, deleting);
    let error = gone.unwrap_err().to_string();
    assert!(error.contains("was deleted while the step waited for it"), "{error}");
}

#[tokio::test]
async fn a_changed_spec_is_not_judged_by_an_old_status() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    double.set("shop", Behaviour::Degraded("crash loop".into()));
    created(&double, &bench).await;
    bench.run("argocd:wait-app", at("60s")).await.unwrap_err();
    bench.log();
    // Mended by a change of the spec: the wait begins while the status is still that of the broken state.
    double.set("shop", Behaviour::Unnoticed);
    double.edit(NAMESPACE, "shop", |app| app["spec"]["source"]["targetRevision"] = "v2".into());
    let waiting = bench.run("argocd:wait-app", at("60s"));
    let mending = async {
        bench.until_logged("health Degraded").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        double.set("shop", Behaviour::Healthy);
    };
    let (output, ()) = tokio::join!(waiting, mending);
    assert_eq!(output.unwrap()["health"], "Healthy");
}

#[tokio::test]
async fn a_cancelled_task_stops_waiting_at_once() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    double.set("shop", Behaviour::Progressing);
    created(&double, &bench).await;
    let waiting = bench.run("argocd:wait-app", at("1h"));
    let cancelling = async {
        bench.until_logged("health Progressing").await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(waiting, cancelling);
    assert!(ended.is_err());
    assert_eq!(bench.released(), 0);
}
