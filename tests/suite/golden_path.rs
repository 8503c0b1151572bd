//! The golden path: from a form to a repository, a build, a bucket that is ready and an application that is healthy, with
//! the clusters, Argo CD and Crossplane of the testbed; and what it leaves, judged by the tools of its readers.

use std::{process::Command, sync::Arc, time::Duration};

use camino::Utf8Path;
use serde_json::{Value, json};
use understudy_oracle::Installation;
use understudy_testbed::{
    argocd::{ArgocdController, Behaviour},
    crossplane::{Crossplane, SECRET_MARK},
    github::Play,
    helm::Helm,
    kubernetes::{Cluster, conditions},
    linters::Linters,
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, TempDir, binary, completion, locations, manifest_dir, messages, write},
    tutorial::{TOKEN, double, in_place_of_github},
};

const LIMIT: Duration = Duration::from_secs(120);
const DOCUMENT: &str = "docs/golden-path.md";
const BEGIN: &str = "<!-- recorded: begin -->\n";
const END: &str = "<!-- recorded: end -->\n";

#[tokio::test(flavor = "multi_thread")]
async fn from_the_form_to_healthy_and_ready() {
    let cluster = Cluster::shared().await.unwrap();
    check_record(&walk(&cluster, "v2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_claims_of_crossplane_1_and_a_retry_after_a_failure_near_the_end() {
    // Of its own: the kinds have the same names as the other test's.
    let cluster = Arc::new(Cluster::start().await.unwrap());
    walk(&cluster, "v1").await;
}

/// Runs the template; gives the task's events as lines.
async fn walk(cluster: &Arc<Cluster>, generation: &str) -> String {
    let folder = manifest_dir().join("templates/golden-path");
    let crossplane = Crossplane::start(cluster).await.unwrap();
    let manifest = |file: &str| std::fs::read_to_string(folder.join("crossplane").join(generation).join(file)).unwrap();
    crossplane.install(&format!("{}---\n{}", manifest("composition.yaml"), manifest("xrd.yaml"))).await.unwrap();
    let argocd = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}});
    cluster.apply("/api/v1/namespaces/argocd", &argocd, "testbed").await.unwrap();
    let controller = ArgocdController::start(cluster, "argocd").await.unwrap();

    // What the template asks to be allowed, and no more.
    let role: Value = serde_saphyr::from_str(&std::fs::read_to_string(folder.join("rbac.yaml")).unwrap()).unwrap();
    let home = cluster.namespace("scaffolder").await.unwrap();
    let token = cluster.service_account(&home, "understudy", &json!([])).await.unwrap();
    cluster.cluster_role(&home, "understudy", &role["rules"]).await.unwrap();

    let github = double().await;
    github.play_workflows(Play::Automatic("success".into()));
    let dir = TempDir::new();
    let kubeconfig = dir.path.join("kubeconfig");
    write(&kubeconfig, cluster.kubeconfig(&token, &home));
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(in_place_of_github(&github))
            .config(locations(&[&manifest_dir().join("templates/catalog.yaml")]))
            .env("KUBECONFIG", kubeconfig.as_str())
            .extra_ca(github.ca_file()),
    )
    .await;

    let task = json!({"templateRef": "template:default/golden-path", "values": {
        "name": "photo-album", "owner": "group:default/team-a", "description": "Keeps the family's photos",
        "repoUrl": "github.com?owner=octo&repo=Photo-Album", "versioning": false,
        "argocdUrl": "https://argocd.example.org",
    }});
    if generation == "v1" {
        controller.set("photo-album", Behaviour::Degraded("Back-off pulling image".into()));
    }
    let id = running.create_task(&task).await;
    if generation == "v1" {
        let (status, events) = running.finish(&id, LIMIT).await;
        assert_eq!(status, "failed", "{}", messages(&events));
        let error = completion(&events)["error"]["message"].as_str().unwrap_or_default().to_string();
        assert!(error.contains("it is Degraded") && error.contains("Back-off pulling image"), "{error}");
        controller.set("photo-album", Behaviour::Healthy);
        // A wait that still finds it degraded fails at once.
        controller.until("photo-album", |app| app["status"]["health"]["status"] != "Degraded").await.unwrap();
        let answer = running.post(&format!("{TASKS}/{id}/retry"), &json!({})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let (status, events) = running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    if generation == "v1" {
        assert!(log.contains("resuming from last known good state. 8 step(s) already completed."), "{log}");
        assert_eq!(log.matches("Beginning step Publish on GitHub").count(), 1, "{log}");
        assert_eq!(log.matches("Beginning step Wait until it runs").count(), 2, "{log}");
    }

    let bucket = "/apis/platform.example.org/v1alpha1/namespaces/photo-album/buckets/photo-album";
    let bucket = cluster.get(bucket).await.unwrap().expect("the bucket is there");
    assert_eq!(bucket["spec"]["versioning"], false);
    let found = conditions(&bucket);
    assert_eq!((found["Synced"].as_str(), found["Ready"].as_str()), ("True", "True"), "{bucket}");
    let app = controller.app("photo-album").await.unwrap().expect("the application is there");
    assert_eq!(app["spec"]["sources"][0]["repoURL"], "ghcr.io/octo/photo-album/charts");
    assert_eq!(app["spec"]["sources"][0]["helm"]["valueFiles"], json!(["$values/deploy/values.yaml"]));
    assert_eq!(app["spec"]["sources"][1]["ref"], "values");
    assert_eq!(
        (app["status"]["sync"]["status"].as_str(), app["status"]["health"]["status"].as_str()),
        (Some("Synced"), Some("Healthy"))
    );
    assert_eq!(github.workflow_runs("octo", "Photo-Album").len(), 1);
    let entity = running.get("/api/catalog/entities/by-name/component/default/photo-album").await;
    assert_eq!(entity.status, 200, "{}", entity.text());
    let links = entity.json().unwrap()["metadata"]["links"].clone();
    let urls: Vec<_> = links.as_array().unwrap().iter().map(|link| link["url"].as_str().unwrap()).collect();
    let page = "https://github.com/octo/Photo-Album";
    let application = "https://argocd.example.org/applications/argocd/photo-album";
    assert_eq!(urls, [page, &format!("{page}/actions"), application]);
    assert_eq!(entity.json().unwrap()["spec"]["dependsOn"], json!(["resource:default/photo-album-bucket"]));
    let resource = running.get("/api/catalog/entities/by-name/resource/default/photo-album-bucket").await;
    assert_eq!(resource.status, 200, "{}", resource.text());
    let links = completion(&events)["output"]["links"].to_string();
    assert!(links.contains("component:default/photo-album"), "{links}");

    let all = format!("{log}{}{}", running.service.logs(), json!(events));
    for secret in [TOKEN, token.as_str(), SECRET_MARK] {
        assert!(!all.contains(secret), "a secret is in a log");
    }

    // A second press of Create finds all of it as it is to be, up to the location that the catalog has already.
    let again = running.create_task(&task).await;
    let (status, events_again) = running.finish(&again, LIMIT).await;
    let log = messages(&events_again);
    assert_eq!(status, "failed", "{log}");
    assert_eq!(log.matches("unchanged").count(), 3, "{log}");
    assert!(log.contains("ConflictError: Location url:") && log.contains("catalog-info.yaml already exists"), "{log}");
    assert!(log.contains("Beginning step Register in the catalog"), "{log}");

    let clone = dir.path.join("clone");
    github.clone_to(clone.as_std_path(), "octo", "Photo-Album", "main").await.unwrap();
    judge(cluster, &home, &clone, &folder.join("crossplane").join(generation)).await;
    assert_eq!(github.violations(), Vec::<String>::new());
    let work = running.working_directory();
    running.stop().await;
    lines(&events)
        .replace(work.as_str(), "/var/lib/understudy")
        .replace(&github.host(), "github.com")
        .replace(&cluster.url(), "https://cluster.example.org:6443")
}

/// What Helm, the cluster, actionlint and Node think of what was made.
async fn judge(cluster: &Cluster, namespace: &str, clone: &Utf8Path, crossplane: &Utf8Path) {
    let Helm { helm, kubectl } = Helm::ensure().await.unwrap();
    let values = clone.join("deploy/values.yaml");
    let chart = clone.join("chart");
    let output = |command: &mut Command| {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    let scratch = TempDir::new();
    let helm = |arguments: &[&str]| {
        let mut command = Command::new(&helm);
        command.args(arguments).arg(&chart).arg("--values").arg(&values);
        command.env("HOME", &scratch.path).env_remove("KUBECONFIG");
        output(&mut command)
    };
    helm(&["lint", "--strict"]);
    let manifests = helm(&["template", "photo-album"]);
    let rendered = scratch.path.join("manifests.yaml");
    write(&rendered, &manifests);

    let kubeconfig = scratch.path.join("kubeconfig");
    write(&kubeconfig, cluster.kubeconfig(cluster.admin_token(), namespace));
    for file in [rendered, crossplane.join("xrd.yaml"), crossplane.join("composition.yaml")] {
        let mut command = Command::new(&kubectl);
        command.args(["apply", "--dry-run=server", "--validate=strict", "--filename"]);
        command.arg(&file).env("KUBECONFIG", &kubeconfig).env("HOME", &scratch.path);
        output(&mut command);
    }
    let (workflow, dockerfile) = (clone.join(".github/workflows/ci.yaml"), clone.join("Dockerfile"));
    let linters = Linters::ensure().await.unwrap();
    let findings = linters.findings(&[workflow.as_std_path(), dockerfile.as_std_path()]).await.unwrap();
    assert_eq!(findings, Vec::<String>::new());
    let node = tokio::task::spawn_blocking(Installation::ensure).await.unwrap().unwrap();
    let tests = output(Command::new(node.node()).arg("--test").current_dir(clone));
    assert!(tests.contains("# pass 3") || tests.contains("pass 3"), "{tests}");
}

/// One line for each event, without what differs from run to run.
fn lines(events: &[Value]) -> String {
    let mut text = String::new();
    for event in events {
        let body = &event["body"];
        let step = body["stepId"].as_str().unwrap_or("");
        let status = body["status"].as_str().unwrap_or("");
        let message = body["message"].as_str().unwrap_or_default().replace("\u{1b}[32m", "").replace("\u{1b}[39m", "");
        text.push_str(&format!(
            "{:<10} {step:<10} {status:<10} {message}\n",
            event["type"].as_str().unwrap_or_default()
        ));
    }
    text
}

/// The steps that begin and end, in order.
fn outline(lines: &str) -> Vec<&str> {
    lines.lines().filter(|line| line.contains(" Beginning step ") || line.contains(" Finished step ")).collect()
}

/// The documentation shows a run; the steps of this run are the same. `UPDATE_DOCS=1` records a new one.
fn check_record(found: &str) {
    let path = manifest_dir().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("the document says where the record begins");
    let (recorded, tail) = rest.split_once(END).expect("and where it ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        write(&path, format!("{head}{BEGIN}```text\n{found}```\n{END}{tail}"));
        return;
    }
    assert_eq!(outline(recorded), outline(found), "{DOCUMENT} shows other steps; UPDATE_DOCS=1 records them anew");
}
