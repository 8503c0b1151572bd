//! Credentials of GitHub, the cluster, Argo CD and Crossplane stay with the service: while a task waits with all its steps
//! behind it, none of them is in its workspace, in its log, in an event, in an output or in the database.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use understudy_testbed::{
    argocd::{ArgocdController, ArgocdDouble},
    crossplane::{Crossplane, SECRET_MARK},
    github::Play,
    kubernetes::Cluster,
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, TempDir, binary, locations, manifest_dir, messages, template, write},
    tutorial::{TOKEN, double, in_place_of_github},
};

const GROUP: &str = "credentials.example.org";
const PASSWORD: &str = "admin-password";
/// What the Argo CD double gives for the password.
const SESSION: &str = "session-admin";
/// Given with the task, as a secret for the repository's workflows.
const OF_THE_TASK: &str = "a-secret-of-the-task";

/// All files below a folder, Git's own too.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(current) = pending.pop() {
        for entry in std::fs::read_dir(current).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => pending.push(entry.path()),
                kind if kind.is_file() => all.push(entry.path()),
                _ => {}
            }
        }
    }
    all
}

/// The files below a folder that hold this text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds =
        |path: &PathBuf| std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes());
    files(folder).into_iter().filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_shows_where_a_template_or_its_reader_looks() {
    let github = double().await;
    github.play_workflows(Play::Automatic("success".into()));
    let argocd = ArgocdDouble::start().await.unwrap();
    let cluster = Cluster::shared().await.unwrap();
    let ns = cluster.namespace("credentials").await.unwrap();
    let crossplane = Crossplane::start(&cluster).await.unwrap();
    let folder = manifest_dir().join("templates/golden-path/crossplane/v1");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap().replace("platform.example.org", GROUP);
    crossplane.install(&format!("{}\n---\n{}", read("xrd.yaml"), read("composition.yaml"))).await.unwrap();
    let _controller = ArgocdController::start(&cluster, &ns).await.unwrap();

    let repo_url = "github.com?owner=acme&repo=shop";
    let app = json!({
        "source": {"repoURL": "https://git.example.org/shop.git", "path": "deploy"}, "destination": {"namespace": "shop"},
        "syncPolicy": {"automated": {}},
    });
    let app = |name: &str, instance: Option<&str>| {
        let mut input = app.clone();
        input["name"] = name.into();
        match instance {
            Some(instance) => input["argoInstance"] = instance.into(),
            None => input["clusterName"] = "main".into(),
        }
        input
    };
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "creds", "namespace": ns, "clusterName": "main"});
    let steps = json!([
        {"id": "files", "action": "fetch:plain", "input": {"url": "./service"}},
        {"id": "publish", "action": "publish:github", "input": {
            "repoUrl": repo_url, "protectDefaultBranch": false, "secrets": {"S": "${{ secrets.own }}"}}},
        {"id": "pr", "action": "publish:github:pull-request", "input": {
            "repoUrl": repo_url, "branchName": "more", "title": "More", "description": "Of it", "createWhenEmpty": true}},
        {"id": "build", "action": "wait-workflow", "input": {
            "repoUrl": repo_url, "sha": "${{ steps.publish.output.commitHash }}", "pollInterval": "200ms"}},
        {"id": "map", "action": "kubernetes:apply", "input": {"clusterName": "main", "manifest": {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": ns}}}},
        {"id": "claim", "action": "crossplane:claim", "input": {
            "clusterName": "main", "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Bucket", "name": "photos", "namespace": ns,
            "spec": {"region": "eu-west-1"}, "writeConnectionSecretToRef": {"name": "creds"}}},
        {"id": "secret", "action": "kubernetes:get", "input": secret},
        {"id": "crd", "action": "argocd:create-app", "input": app("crd", None)},
        {"id": "healthy", "action": "argocd:wait-app", "input": {"name": "crd", "clusterName": "main"}},
        {"id": "api", "action": "argocd:create-app", "input": app("api", Some("main"))},
        {"id": "synced", "action": "argocd:wait-app", "input": {"name": "api", "argoInstance": "main"}},
        {"id": "show", "action": "debug:log", "input": {"message": "${{ steps | dump }}", "listWorkspace": "with-contents"}},
        {"id": "hold", "action": "kubernetes:wait", "input": {
            "clusterName": "main", "apiVersion": "v1", "kind": "ConfigMap", "name": "never", "namespace": ns, "for": "create"}},
    ]);
    let dir = TempDir::new();
    write(dir.path.join("service/README.md"), "# Shop\n");
    write(
        dir.path.join("service/.github/workflows/ci.yaml"),
        "name: CI\non: push\njobs: {a: {steps: [{run: make}]}}\n",
    );
    let path = dir.path.join("all.yaml");
    write(&path, template("all", &steps));
    let token = cluster.admin_token().to_string();
    let mut config = cluster.app_config("main", &token);
    config["argocd"] = json!({
        "namespace": ns, "username": "admin", "password": PASSWORD,
        "appLocatorMethods": [{"type": "config", "instances": [{"name": "main", "url": argocd.url()}]}],
    });
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(in_place_of_github(&github))
            .config(locations(&[&path]))
            .config(config.to_string())
            .extra_ca(github.ca_file()),
    )
    .await;
    let task = json!({"templateRef": "all", "values": {}, "secrets": {"own": OF_THE_TASK}});
    let id = running.create_task(&task).await;
    let (status, events) = {
        let ended = |status: &str| !matches!(status, "open" | "processing");
        let holds = async {
            while !messages(&running.events(&id).await).contains("/never: does not exist yet") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = holds => {}
            status = running.wait_status(&id, Duration::from_secs(120), ended) => {
                panic!("the task is {status}:\n{}", messages(&running.events(&id).await));
            }
        }
        (running.task(&id).await, running.events(&id).await)
    };
    assert_eq!(github.repository("acme", "shop").unwrap().secrets["S"], OF_THE_TASK, "the secret was used");
    let log = messages(&events);
    assert!(log.contains("\"***\""), "the Secret was read:\n{log}");

    let work = running.service.working_directory();
    assert!(files(&work).len() > 1, "the workspace is there: {:?}", files(&work));
    let shown = format!("{status} {} {}", json!(events), running.service.logs());
    for secret in [TOKEN, &token, PASSWORD, SESSION, SECRET_MARK, OF_THE_TASK] {
        assert!(!shown.contains(secret), "»{secret}« is shown:\n{shown}");
        assert_eq!(holding(&work, secret), Vec::<PathBuf>::new(), "»{secret}« is in the workspace");
        // The task's own secrets have to outlive a restart; no API gives them.
        if secret != OF_THE_TASK {
            let data = running.service.data_dir();
            assert_eq!(holding(&data, secret), Vec::<PathBuf>::new(), "»{secret}« is in the database");
        }
    }
    // The search finds what is there.
    assert!(
        !holding(&work, "# Shop").is_empty() && !holding(&running.service.data_dir(), "kubernetes:wait").is_empty()
    );

    running.post(&format!("{TASKS}/{id}/cancel"), &json!({})).await;
    let (_, events) = running.finish(&id, Duration::from_secs(30)).await;
    assert!(!json!(events).to_string().contains(OF_THE_TASK));
    assert_eq!(github.violations(), Vec::<String>::new());
    running.stop().await;
}
