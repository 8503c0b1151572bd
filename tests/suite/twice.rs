//! Every action on GitHub, Kubernetes, Argo CD and Crossplane, twice in a row with the same input: the second run changes
//! nothing and says what it found. As another task, and as a retry of the same one.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use understudy_testbed::{
    argocd::{ArgocdController, ArgocdDouble, NAMESPACE},
    crossplane::Crossplane,
    github::{GithubDouble, Play},
    kubernetes::Cluster,
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, TempDir, binary, locations, manifest_dir, messages, template, write},
    tutorial::{double, in_place_of_github},
};

const LIMIT: Duration = Duration::from_secs(90);
const GROUP: &str = "twice.example.org";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmTnA8XWUhQGzEHbvTDjZsMHh1dnZ1fKk1WPuQ0mZqT";
/// The ids that the table covers begin with one of these.
const OURS: &[&str] = &["github:", "publish:github", "wait-workflow", "kubernetes:", "argocd:", "cnoe:", "crossplane:"];
/// Other names of actions, which the list of actions leaves out.
const ALIASES: &[&str] = &["github:wait-workflow", "kube:apply", "cnoe:kubernetes:apply", "kube:delete", "argocd:wait"];

/// Who runs it again.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// Another task, and then a retry of it.
    Anybody,
    /// A retry only: what it makes has no name that another task could know it by.
    Retry,
}

struct Row {
    action: &'static str,
    input: Value,
    /// A part of the second run's log.
    says: &'static str,
    /// A part of a retry's log, where that is another.
    retry_says: Option<&'static str>,
    by: By,
}

fn row(action: &'static str, input: Value, says: &'static str) -> Row {
    Row { action, input, says, retry_says: None, by: By::Anybody }
}

fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn on_github() -> Vec<Row> {
    let at = |repo: &str, more: Value| with(json!({"repoUrl": format!("github.com?owner=acme&repo={repo}")}), &more);
    let shop = |more: Value| at("shop", more);
    let waits = json!({"branch": "main", "pollInterval": "200ms"});
    vec![
        Row {
            retry_says: Some("An earlier run of this task made the repository acme/published already"),
            ..row(
                "publish:github",
                at("published", json!({"topics": ["a"], "secrets": {"S": "x"}, "repoVariables": {"V": "1"}})),
                "The repository acme/published exists already with the same settings and the same content",
            )
        },
        Row {
            retry_says: Some("An earlier run of this task made the repository acme/made already"),
            ..row(
                "github:repo:create",
                at("made", json!({"description": "Made"})),
                "acme/made exists already with the same settings",
            )
        },
        Row {
            retry_says: Some("An earlier run of this task pushed to acme/filled already"),
            ..row("github:repo:push", at("filled", json!({})), "nothing is pushed")
        },
        row(
            "publish:github:pull-request",
            shop(json!({"branchName": "change", "title": "Change", "description": "It"})),
            "The pull request has these changes already",
        ),
        row(
            "github:webhook",
            shop(json!({"webhookUrl": "https://ci.example.com"})),
            "A webhook of acme/shop for https://ci.example.com exists already with the same settings",
        ),
        row(
            "github:issues:label",
            shop(json!({"number": 1, "labels": ["bug"]})),
            "Issue #1 of acme/shop has the labels bug",
        ),
        row(
            "github:autolinks:create",
            shop(json!({"keyPrefix": "T-", "urlTemplate": "https://t.example.com/<num>"})),
            "The autolink T- of acme/shop exists already and is the same",
        ),
        row("github:pages:enable", shop(json!({})), "exists already with the same settings"),
        row(
            "github:deployKey:create",
            shop(json!({"publicKey": KEY, "privateKey": "private-half", "deployKeyName": "Argo CD"})),
            "The deploy key 'Argo CD' of acme/shop exists already and is the same",
        ),
        row(
            "github:environment:create",
            shop(json!({"name": "prod", "environmentVariables": {"REGION": "eu"}, "secrets": {"S": "x"}})),
            "The environment prod of acme/shop exists already with the same rules",
        ),
        row(
            "github:branch-protection:create",
            shop(json!({"requiredApprovingReviewCount": 2})),
            "The branch main of acme/shop is protected in the same way already",
        ),
        row("wait-workflow", shop(waits.clone()), "Workflows finished."),
        row("github:wait-workflow", with(json!({"owner": "acme", "repo": "shop"}), &waits), "Workflows finished."),
        row("github:wait-last-workflow", with(json!({"owner": "acme", "repo": "shop"}), &waits), "Workflows finished."),
        Row {
            by: By::Retry,
            ..row("github:issues:create", shop(json!({"title": "T"})), "opened the issue 'T' already")
        },
        Row {
            by: By::Retry,
            ..row(
                "github:actions:dispatch",
                shop(json!({"workflowId": "ci.yml", "branchOrTagName": "main"})),
                "An earlier run of this task asked for ci.yml already",
            )
        },
    ]
}

fn on_kubernetes(namespace: &str) -> Vec<Row> {
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}});
    let named = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
    vec![
        row("kubernetes:apply", json!({"manifest": map("one")}), "/one unchanged"),
        row("kube:apply", json!({"manifest": map("two").to_string(), "namespaced": true}), "/two unchanged"),
        row("cnoe:kubernetes:apply", json!({"manifestObject": map("three"), "namespaced": true}), "/three unchanged"),
        row("kubernetes:get", named("one"), "/one found"),
        row(
            "kubernetes:wait",
            with(named("one"), &json!({"for": "jsonpath={.data.a}=1"})),
            "/one is at once as wanted",
        ),
        row("kubernetes:create-namespace", json!({"namespace": format!("{namespace}-more")}), "-more unchanged"),
        row("kubernetes:delete", named("one"), "/one is not there: nothing to delete"),
        row("kube:delete", named("two"), "/two is not there: nothing to delete"),
    ]
}

fn on_argocd() -> Vec<Row> {
    let app = |name: &str| {
        json!({
            "name": name, "source": {"repoURL": "https://git.example.org/shop.git", "path": "deploy"},
            "destination": {"namespace": "shop"}, "syncPolicy": {"automated": {}},
        })
    };
    let server = json!({"argoInstance": "main"});
    let timeout = json!({"timeout": "60s"});
    let named = |name: &str| json!({"name": name});
    let roadie = json!({"argoInstance": "main", "repoUrl": "https://git.example.org/shop.git", "path": "deploy"});
    vec![
        row("argocd:create-app", app("crd"), "/crd is unchanged: it is there as it is to be"),
        row("argocd:wait-app", with(named("crd"), &timeout), "/crd is Synced, Healthy"),
        row("argocd:wait", with(named("crd"), &timeout), "/crd is Synced, Healthy"),
        row("argocd:sync-app", named("crd"), "/crd is in sync already"),
        row(
            "argocd:create-helm-application",
            json!({"name": "helm", "namespace": "helm", "chart": {"repo": "ghcr.io/acme", "name": "c", "version": "1"}}),
            "/helm is unchanged",
        ),
        row("argocd:delete-app", with(named("crd"), &timeout), "nothing to do"),
        // Through the API server.
        row("argocd:create-app", with(app("api"), &server), "/api is unchanged"),
        row("argocd:wait-app", with(with(named("api"), &timeout), &server), "api is Synced, Healthy"),
        row("argocd:sync-app", with(named("api"), &server), "api is in sync already"),
        row(
            "argocd:create-resources",
            with(roadie.clone(), &json!({"appName": "roadie", "namespace": "shop"})),
            "The project roadie is unchanged",
        ),
        row(
            "cnoe:create-argocd-app",
            with(roadie, &json!({"appName": "cnoe", "appNamespace": "shop", "projectName": "default"})),
            "/cnoe is unchanged",
        ),
        row("argocd:delete-app", with(with(named("api"), &timeout), &server), "nothing to do"),
    ]
}

fn on_crossplane(namespace: &str) -> Vec<Row> {
    let named = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Bucket", "name": "photos", "namespace": namespace,
        "timeout": "60s",
    });
    vec![
        row("crossplane:claim", with(named.clone(), &json!({"spec": {"region": "eu-west-1"}})), "/photos unchanged"),
        row("crossplane:wait", named.clone(), "/photos is synced and ready"),
        row("crossplane:delete", named, "/photos is not there, so there is nothing to delete"),
    ]
}

/// All that the actions can change.
struct World {
    github: GithubDouble,
    argocd: ArgocdDouble,
    cluster: std::sync::Arc<Cluster>,
    namespace: String,
}

impl World {
    async fn new() -> Self {
        let github = double().await;
        github.play_workflows(Play::Automatic("success".into()));
        let files = [
            ("README.md", "old\n"),
            (
                ".github/workflows/ci.yml",
                "name: CI\non: [push, workflow_dispatch]\njobs: {a: {steps: [{run: make}]}}\n",
            ),
        ];
        github.seed_repo("acme", "shop", &files).await.unwrap();
        let client = github.client().unwrap();
        for (path, body) in [
            ("/repos/acme/shop/issues", json!({"title": "first"})),
            ("/orgs/acme/repos", json!({"name": "filled", "private": true})),
        ] {
            client.post(path, &body).await.unwrap().expect_json(201).unwrap();
        }
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace("twice").await.unwrap();
        Self { github, argocd: ArgocdDouble::start().await.unwrap(), cluster, namespace }
    }

    /// Everything that is there, but for what controllers and clocks change by themselves.
    async fn state(&self) -> String {
        let mut text = String::new();
        for repo in ["shop", "published", "made", "filled"] {
            text += &format!("{repo}: {:#?}\n", self.github.repository("acme", repo));
            text += &format!("{:#?}\n", self.github.branches("acme", repo).await.unwrap_or_default());
        }
        text += &format!("{:#?}\n", self.github.pull_requests("acme", "shop"));
        for name in ["api", "roadie", "cnoe"] {
            text += &format!("{name}: {:#}\n", self.argocd.app(NAMESPACE, name).unwrap_or_default()["spec"]);
        }
        let ns = &self.namespace;
        for path in [
            format!("/api/v1/namespaces/{ns}/configmaps"),
            format!("/apis/argoproj.io/v1alpha1/namespaces/{ns}/applications"),
            format!("/apis/{GROUP}/v1alpha1/namespaces/{ns}/buckets"),
        ] {
            let list = self.cluster.get(&path).await.unwrap().unwrap();
            for item in list["items"].as_array().unwrap() {
                let metadata = &item["metadata"];
                text += &format!("{path}: {} {:#} {:#}\n", metadata["name"], metadata["uid"], metadata["labels"]);
                text += &format!("{:#} {:#}\n", item["spec"], item["data"]);
            }
        }
        let more = self.cluster.get(&format!("/api/v1/namespaces/{ns}-more")).await.unwrap().unwrap_or_default();
        text + &format!("{:#}\n", more["metadata"]["uid"])
    }
}

/// Runs a task; gives its id and what it logged.
async fn runs(running: &Running, template: &str, action: &str) -> (String, String) {
    let id = running.create_task(&json!({"templateRef": template, "values": {}})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{action}:\n{}", messages(&events));
    (id, messages(&events))
}

/// Runs a task that has ended once more; gives what it logged this time.
async fn retried(running: &Running, id: &str, action: &str) -> String {
    let before = running.events(id).await.len();
    let answer = running.post(&format!("{TASKS}/{id}/retry"), &json!({})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let (status, events) = running.finish(id, LIMIT).await;
    // A retry takes the completion away.
    let log = messages(&events[before - 1..]);
    assert_eq!(status, "completed", "{action}:\n{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_run_changes_nothing_and_says_so() {
    let world = World::new().await;
    let ns = world.namespace.clone();
    let crossplane = Crossplane::start(&world.cluster).await.unwrap();
    let folder = manifest_dir().join("templates/golden-path/crossplane/v2");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let kinds = format!("{}\n---\n{}", read("xrd.yaml"), read("composition.yaml"));
    crossplane.install(&kinds.replace("platform.example.org", GROUP)).await.unwrap();
    let _controller = ArgocdController::start(&world.cluster, &ns).await.unwrap();

    let rows: Vec<Row> =
        on_github().into_iter().chain(on_kubernetes(&ns)).chain(on_argocd()).chain(on_crossplane(&ns)).collect();
    let dir = TempDir::new();
    write(dir.path.join("files/README.md"), "# Shop\n");
    let mut paths = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let steps = json!([
            {"id": "files", "action": "fetch:plain", "input": {"url": "./files"}},
            {"id": "it", "name": "It", "action": row.action, "input": row.input},
        ]);
        let path = dir.path.join(format!("row-{number}.yaml"));
        write(&path, template(&format!("row-{number}"), &steps));
        paths.push(path);
    }
    let kubeconfig = dir.path.join("kubeconfig");
    write(&kubeconfig, world.cluster.kubeconfig(world.cluster.admin_token(), &ns));
    let argocd = json!({"argocd": {
        "namespace": ns, "username": "admin", "password": "admin-password",
        "appLocatorMethods": [{"type": "config", "instances": [{"name": "main", "url": world.argocd.url()}]}],
    }});
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(in_place_of_github(&world.github))
            .config(locations(&paths.iter().map(AsRef::as_ref).collect::<Vec<_>>()))
            .config(argocd.to_string())
            .env("KUBECONFIG", kubeconfig.as_str())
            .env("POD_NAMESPACE", &ns)
            .extra_ca(world.github.ca_file()),
    )
    .await;

    let listed = running.get("/api/scaffolder/v2/actions").await.json().unwrap();
    let offered: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|action| action["id"].as_str().unwrap()).collect();
    let ours = offered.iter().copied().filter(|id| OURS.iter().any(|prefix| id.starts_with(prefix)));
    let covered: BTreeSet<&str> = rows.iter().map(|row| row.action).collect();
    assert_eq!(covered, ours.chain(ALIASES.iter().copied()).collect(), "the table has other actions than the service");

    for (number, row) in rows.iter().enumerate() {
        let (template, action) = (format!("row-{number}"), row.action);
        let (mut id, _) = runs(&running, &template, action).await;
        let before = world.state().await;
        if row.by == By::Anybody {
            let (second, log) = runs(&running, &template, action).await;
            assert!(log.contains(row.says), "{action} as another task says no »{}«:\n{log}", row.says);
            assert_eq!(world.state().await, before, "{action}");
            id = second;
        }
        let log = retried(&running, &id, action).await;
        let says = row.retry_says.unwrap_or(row.says);
        assert!(log.contains(says), "{action} in a retry says no »{says}«:\n{log}");
        assert_eq!(world.state().await, before, "{action}");
    }
    assert_eq!(world.github.violations(), Vec::<String>::new());
    assert_eq!(world.argocd.violations(), Vec::<String>::new());
    running.stop().await;
}
