//! What goes wrong between the form and a running service: the one message that its user reads in the task's log, and the
//! retry that goes on from there once the cause is mended.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use understudy_testbed::{
    argocd::{ArgocdController, Behaviour},
    crossplane::Crossplane,
    github::{GithubDouble, Play, RunState, Token},
    kubernetes::Cluster,
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, TempDir, binary, completion, locations, manifest_dir, messages, template, write},
    tutorial::{double, in_place_of_github},
};

const LIMIT: Duration = Duration::from_secs(90);
const WORKFLOW: &str =
    "name: CI\non: push\njobs:\n  build:\n    steps:\n      - name: Unit tests\n        run: make test\n";

/// A GitHub, a namespace of a cluster, and a service that knows both.
struct Stage {
    github: GithubDouble,
    cluster: Arc<Cluster>,
    namespace: String,
    running: Running,
    dir: TempDir,
}

impl Stage {
    /// With an account of the cluster that may do what these rules say in its namespace.
    async fn new(
        cluster: Arc<Cluster>,
        rules: Value,
        templates: impl FnOnce(&str) -> Vec<(&'static str, Value)>,
    ) -> Self {
        let github = double().await;
        github.play_workflows(Play::Manual);
        let namespace = cluster.namespace("retries").await.unwrap();
        let token = cluster.service_account(&namespace, "portal", &rules).await.unwrap();
        let dir = TempDir::new();
        write(dir.path.join("service/README.md"), "# Shop\n");
        write(dir.path.join("service/.github/workflows/ci.yaml"), WORKFLOW);
        let mut paths = Vec::new();
        for (name, steps) in templates(&namespace) {
            let path = dir.path.join(format!("{name}.yaml"));
            write(&path, template(name, &steps));
            paths.push(path);
        }
        let token_file = dir.path.join("token");
        write(&token_file, &token);
        let clusters = json!({
            "kubernetes": {"clusterLocatorMethods": [{"type": "config", "clusters": [{
                "name": "main", "url": cluster.url(), "authProvider": "serviceAccount",
                "serviceAccountTokenFile": token_file, "caData": cluster.ca_data(),
            }]}]},
            "argocd": {"namespace": namespace},
        });
        let running = Running::with(
            ServiceOptions::new(binary())
                .config(in_place_of_github(&github))
                .config(locations(&paths.iter().map(AsRef::as_ref).collect::<Vec<_>>()))
                .config(clusters.to_string())
                // No kubeconfig of the machine's: the only cluster is the one above.
                .env("HOME", dir.path.as_str())
                .env("KUBECONFIG", "")
                .extra_ca(github.ca_file()),
        )
        .await;
        Self { github, cluster, namespace, running, dir }
    }

    async fn shared(templates: impl FnOnce(&str) -> Vec<(&'static str, Value)>) -> Self {
        let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
        Self::new(Cluster::shared().await.unwrap(), everything, templates).await
    }

    async fn start(&self, template: &str, secrets: Value) -> String {
        self.running.create_task(&json!({"templateRef": template, "values": {}, "secrets": secrets})).await
    }

    /// The task fails; its one error, in the log and in the completion, has these parts.
    async fn fails(&self, id: &str, parts: &[&str]) {
        let (status, events) = self.running.finish(id, LIMIT).await;
        let log = messages(&events);
        assert_eq!(status, "failed", "{log}");
        let error = completion(&events)["error"]["message"].as_str().unwrap_or_default();
        for part in parts {
            assert!(error.contains(part), "the error has no »{part}«: {error}");
        }
        // Of this run; a retry keeps the events of the runs before it.
        let run = events.iter().rposition(|event| event["type"] == "recovered").unwrap_or_default();
        let failed = events[run..].iter().filter(|event| event["body"]["status"] == "failed").count();
        assert_eq!(failed, 1, "{log}");
        assert!(log.contains(error), "the error is not in the log:\n{log}");
    }

    async fn retry(&self, id: &str, secrets: Value) {
        let answer = self.running.post(&format!("{TASKS}/{id}/retry"), &json!({"secrets": secrets})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// Retries the task, which now succeeds; gives the log of the retry.
    async fn completes(&self, id: &str, secrets: Value) -> String {
        let before = self.running.events(id).await.len();
        self.retry(id, secrets).await;
        let (status, events) = self.running.finish(id, LIMIT).await;
        // The retry took the completion away.
        let log = messages(&events[before - 1..]);
        assert_eq!(status, "completed", "{log}");
        log
    }

    async fn wait_log(&self, id: &str, text: &str) {
        self.running
            .wait_event(id, |event| event["body"]["message"].as_str().is_some_and(|message| message.contains(text)))
            .await;
    }

    /// How many of these requests GitHub carried out.
    fn asked(&self, method: &str, end: &str) -> usize {
        let requests = self.github.requests();
        requests.iter().filter(|it| it.method == method && it.path.ends_with(end) && it.status < 300).count()
    }

    async fn stop(self) {
        assert!(!self.running.service.logs().contains("panicked"), "{}", self.running.service.logs());
        assert_eq!(self.github.violations(), Vec::<String>::new());
        self.running.stop().await;
    }
}

fn contains(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "no »{part}« in\n{log}");
    }
}

fn step(id: &str, action: &str, input: Value) -> Value {
    json!({"id": id, "name": id, "action": action, "input": input})
}

fn app(more: Value) -> Value {
    let mut input = json!({
        "name": "shop", "source": {"repoURL": "ghcr.io/acme", "chart": "shop", "targetRevision": "1.0.0"},
        "destination": {"namespace": "shop"}, "syncPolicy": {"automated": {}},
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

fn bucket(group: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}/v1alpha1"), "kind": "Bucket", "name": "photos", "namespace": namespace,
        "spec": spec, "timeout": "60s",
    })
}

/// The golden path's XRD and Composition in a group of the test's own.
fn kinds(group: &str) -> String {
    let folder = manifest_dir().join("templates/golden-path/crossplane/v2");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    format!("{}\n---\n{}", read("xrd.yaml"), read("composition.yaml")).replace("platform.example.org", group)
}

/// A step that writes the service's files, and one that publishes them.
fn published(more: Value) -> [Value; 2] {
    let mut input = json!({"repoUrl": "github.com?owner=acme&repo=shop", "protectDefaultBranch": false});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    [step("fetch", "fetch:plain", json!({"url": "./service"})), step("publish", "publish:github", input)]
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_not_installed() {
    let group = "missing.example.org";
    // Of its own: nobody else's CRDs are there.
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let definitions = json!([{"apiGroups": ["apiextensions.crossplane.io"], "resources": ["compositeresourcedefinitions"], "verbs": ["list"]}]);
    let stage = Stage::new(Arc::clone(&cluster), everything, |namespace| {
        let gadget = json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": {"name": "one"}});
        let manifest = json!({"manifest": gadget, "namespace": namespace});
        vec![
            ("app", json!([step("app", "argocd:create-app", app(json!({})))])),
            (
                "claim",
                json!([step("claim", "crossplane:claim", bucket(group, namespace, json!({"region": "eu-west-1"})))]),
            ),
            ("gadget", json!([step("gadget", "kubernetes:apply", manifest)])),
        ]
    })
    .await;
    cluster.cluster_role(&stage.namespace, "portal", &definitions).await.unwrap();

    let (app, claim, gadget) = (
        stage.start("app", json!({})).await,
        stage.start("claim", json!({})).await,
        stage.start("gadget", json!({})).await,
    );
    stage.fails(&app, &["the cluster 'main' knows no kind Application in argoproj.io/v1alpha1", "install"]).await;
    stage.fails(&claim, &["Crossplane is not installed in the cluster 'main'", "Install Crossplane there"]).await;
    stage.fails(&gadget, &["knows no kind Gadget in missing.example.org/v1", "install the CRD first"]).await;

    let _argocd = ArgocdController::start(&cluster, &stage.namespace).await.unwrap();
    let crossplane = Crossplane::start(&cluster).await.unwrap();
    crossplane.install(&kinds(group)).await.unwrap();
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    cluster.install_crd(&crd).await.unwrap();
    contains(&stage.completes(&app, json!({})).await, &["Created the application"]);
    contains(&stage.completes(&claim, json!({})).await, &["photos created", "photos is synced and ready"]);
    contains(&stage.completes(&gadget, json!({})).await, &["/one created"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing() {
    let cluster = Cluster::shared().await.unwrap();
    let map = |name: &str| json!({"manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}});
    let maps = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]});
    let stage = Stage::new(Arc::clone(&cluster), json!([maps]), |namespace| {
        let mut settings = map("settings");
        settings["namespace"] = namespace.into();
        vec![(
            "deploy",
            json!([step("settings", "kubernetes:apply", settings), step("app", "argocd:create-app", app(json!({})))]),
        )]
    })
    .await;
    let ns = stage.namespace.clone();
    let _argocd = ArgocdController::start(&cluster, &ns).await.unwrap();
    let id = stage.start("deploy", json!({})).await;
    let who = format!(
        "user 'system:serviceaccount:{ns}:portal' may not get applications.argoproj.io in the namespace '{ns}'"
    );
    let rule = format!(
        "a Role in '{ns}' needs the rule {{apiGroups: [\"argoproj.io\"], resources: [\"applications\"], verbs: [\"get\"]}}"
    );
    stage.fails(&id, &[&who, &rule]).await;
    let apps =
        json!({"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "create", "patch"]});
    cluster.service_account(&ns, "portal", &json!([maps, apps])).await.unwrap();
    let log = stage.completes(&id, json!({})).await;
    contains(&log, &["Skipping step settings because it was already completed", "Created the application"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_its_xrd_forbids() {
    let group = "forbids.example.org";
    let cluster = Cluster::shared().await.unwrap();
    let crossplane = Crossplane::start(&cluster).await.unwrap();
    crossplane.install(&kinds(group)).await.unwrap();
    let stage = Stage::shared(|namespace| {
        let claim = bucket(group, namespace, json!({"region": "eu-north-1"}));
        vec![("claim", json!([step("claim", "crossplane:claim", claim)]))]
    })
    .await;
    let definitions = json!([{"apiGroups": ["apiextensions.crossplane.io"], "resources": ["compositeresourcedefinitions"], "verbs": ["list"]}]);
    cluster.cluster_role(&stage.namespace, "portal", &definitions).await.unwrap();
    let id = stage.start("claim", json!({})).await;
    stage
        .fails(
            &id,
            &[
                "the spec does not fit Bucket v1alpha1 of the XRD buckets.forbids.example.org, nothing was written",
                "\n  spec.region: must be one of",
                "found \"eu-north-1\"",
            ],
        )
        .await;
    // The platform's team offers the region, too.
    let wider = kinds(group).replace("eu-west-1", "eu-north-1");
    assert_ne!(wider, kinds(group));
    crossplane.install(&wider).await.unwrap();
    // The server takes a moment to go by the new schema.
    let at = format!("/apis/{group}/v1alpha1/namespaces/{}/buckets?dryRun=All", stage.namespace);
    let probe = json!({"apiVersion": format!("{group}/v1alpha1"), "kind": "Bucket", "metadata": {"name": "probe"}, "spec": {"region": "eu-north-1"}});
    let deadline = std::time::Instant::now() + LIMIT;
    while let Err(error) = cluster.create(&at, &probe).await {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    contains(&stage.completes(&id, json!({})).await, &["photos created", "photos is synced and ready"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_degraded() {
    let stage = Stage::shared(|_| {
        let wait = step("healthy", "argocd:wait-app", json!({"name": "shop", "timeout": "80s"}));
        vec![("deploy", json!([step("app", "argocd:create-app", app(json!({}))), wait]))]
    })
    .await;
    let argocd = ArgocdController::start(&stage.cluster, &stage.namespace).await.unwrap();
    argocd.set("shop", Behaviour::Degraded("Back-off pulling image \"ghcr.io/acme/shop:1.0.0\"".into()));
    let id = stage.start("deploy", json!({})).await;
    stage
        .fails(
            &id,
            &["shop won't get there: it is Degraded", "Deployment shop/shop is Degraded: Back-off pulling image"],
        )
        .await;
    argocd.set("shop", Behaviour::Healthy);
    // A wait that still finds it degraded fails at once.
    argocd.until("shop", |app| app["status"]["health"]["status"] != "Degraded").await.unwrap();
    let log = stage.completes(&id, json!({})).await;
    contains(&log, &["Skipping step app because it was already completed", "/shop is Synced, Healthy"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_that_fail_and_that_never_start() {
    let stage = Stage::shared(|_| {
        let [fetch, publish] = published(json!({}));
        let wait = |more: Value| {
            let mut input = json!({
                "repoUrl": "github.com?owner=acme&repo=shop", "sha": "${{ steps.publish.output.commitHash }}",
                "pollInterval": "200ms",
            });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([fetch, publish, step("build", "wait-workflow", input)])
        };
        vec![("build", wait(json!({}))), ("impatient", wait(json!({"requireRun": "1s"})))]
    })
    .await;
    let id = stage.start("build", json!({})).await;
    stage.wait_log(&id, "CI #1: queued").await;
    let run = stage.github.workflow_runs("acme", "shop")[0].clone();
    stage.github.fail_run("acme", "shop", run.id, "build", "Unit tests").unwrap();
    stage
        .fails(&id, &["Workflow run failed: CI #1: failed (job 'build' failed at step 'Unit tests'), see https://"])
        .await;
    stage.github.rerun("acme", "shop", run.id).unwrap();
    stage.github.advance_run("acme", "shop", run.id, RunState::completed("success")).unwrap();
    let log = stage.completes(&id, json!({})).await;
    contains(&log, &["Skipping step publish because it was already completed", "CI #1 (attempt 2): succeeded"]);
    assert_eq!((stage.asked("POST", "/orgs/acme/repos"), stage.asked("POST", "/git-receive-pack")), (1, 1));

    // Another task, after the repository has gone: GitHub starts nothing.
    stage.github.client().unwrap().delete("/repos/acme/shop").await.unwrap();
    assert_eq!(stage.github.workflow_runs("acme", "shop").len(), 0);
    stage.github.play_workflows(Play::Withheld);
    let id = stage.start("impatient", json!({})).await;
    stage.fails(&id, &["No workflow run appeared for the commit", "within 1 s", "that Actions are enabled"]).await;
    stage.github.play_workflows(Play::Automatic("success".into()));
    stage.github.start_runs("acme", "shop").await.unwrap();
    let log = stage.completes(&id, json!({})).await;
    contains(&log, &["Skipping step publish because", "succeeded", "Workflows finished."]);
    assert_eq!(stage.asked("POST", "/git-receive-pack"), 2);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_stays_away_for_longer_than_the_step_waits() {
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let stage = Stage::new(Arc::clone(&cluster), everything, |namespace| {
        let wait = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "done", "namespace": namespace, "for": "create", "timeout": "20s",
        });
        vec![("wait", json!([step("wait", "kubernetes:wait", wait)]))]
    })
    .await;
    let id = stage.start("wait", json!({})).await;
    stage.wait_log(&id, "/done: does not exist yet").await;
    cluster.stop_server().await.unwrap();
    stage.fails(&id, &["/done was waited for 20 s for create, in vain", "can't be reached"]).await;
    cluster.start_server().await.unwrap();
    let maps = format!("/api/v1/namespaces/{}/configmaps", stage.namespace);
    stage.retry(&id, json!({})).await;
    cluster.create(&maps, &json!({"metadata": {"name": "done"}})).await.unwrap();
    let (status, events) = stage.running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));

    // In the middle of a wait the token is replaced, and the cluster restarted: the new one is taken from the file.
    cluster.delete(&format!("{maps}/done")).await.unwrap();
    let id = stage.start("wait", json!({})).await;
    stage.wait_log(&id, "/done: does not exist yet").await;
    cluster.renew_account(&stage.namespace, "portal").await.unwrap();
    write(stage.dir.path.join("token"), cluster.token(&stage.namespace, "portal").await.unwrap());
    cluster.stop_server().await.unwrap();
    cluster.start_server().await.unwrap();
    cluster.create(&maps, &json!({"metadata": {"name": "done"}})).await.unwrap();
    let (status, events) = stage.running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_have_expired() {
    let stage = Stage::shared(|namespace| {
        let [fetch, publish] = published(json!({"token": "${{ secrets.USER_OAUTH_TOKEN }}"}));
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": namespace}});
        vec![
            ("publish", json!([fetch, publish])),
            ("apply", json!([step("apply", "kubernetes:apply", json!({"manifest": map}))])),
        ]
    })
    .await;
    // The user's own, which a retry brings anew.
    let (old, new) = ("ghp_old_00000000000000000000000000000000", "ghp_new_00000000000000000000000000000000");
    let id = stage.start("publish", json!({"USER_OAUTH_TOKEN": old})).await;
    stage.fails(&id, &["Bad credentials"]).await;
    stage.github.add_token(Token::new(new, "octo"));
    contains(&stage.completes(&id, json!({"USER_OAUTH_TOKEN": new})).await, &["Pushing directory to remote"]);
    let all = format!("{} {}", json!(stage.running.events(&id).await), stage.running.service.logs());
    assert!(!all.contains(old) && !all.contains(new), "a token is shown");

    // The cluster's, which is read again from its file.
    stage.cluster.renew_account(&stage.namespace, "portal").await.unwrap();
    let id = stage.start("apply", json!({})).await;
    stage.fails(&id, &["the cluster 'main' refuses the credentials (401 Unauthorized)", "has expired", "/token"]).await;
    let token = stage.cluster.token(&stage.namespace, "portal").await.unwrap();
    write(stage.dir.path.join("token"), &token);
    contains(&stage.completes(&id, json!({})).await, &["/settings created"]);
    let all = format!("{} {}", json!(stage.running.events(&id).await), stage.running.service.logs());
    assert!(!all.contains(&token), "a token is shown");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_other_content() {
    let stage = Stage::shared(|_| vec![("publish", json!(published(json!({}))))]).await;
    let first = stage.start("publish", json!({})).await;
    let (status, events) = stage.running.finish(&first, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    let theirs = stage.github.branches("acme", "shop").await.unwrap();

    write(stage.dir.path.join("service/README.md"), "# Another shop\n");
    let id = stage.start("publish", json!({})).await;
    stage
        .fails(
            &id,
            &[
                "Failed to create the Organization repository acme/shop, ",
                "name already exists on this account",
                "It differs from what this step would make: its branch main has other content",
            ],
        )
        .await;
    assert_eq!(stage.github.branches("acme", "shop").await.unwrap(), theirs, "somebody else's work is overwritten");
    stage.github.client().unwrap().delete("/repos/acme/shop").await.unwrap();
    contains(&stage.completes(&id, json!({})).await, &["Pushing directory to remote"]);
    assert_ne!(stage.github.branches("acme", "shop").await.unwrap(), theirs);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_dns_label() {
    let group = "labels.example.org";
    let cluster = Cluster::shared().await.unwrap();
    let crossplane = Crossplane::start(&cluster).await.unwrap();
    crossplane.install(&kinds(group)).await.unwrap();
    let stage = Stage::shared(|namespace| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "My Shop"}});
        let mut claim = bucket(group, namespace, json!({"region": "eu-west-1"}));
        claim["name"] = "My Shop".into();
        vec![
            ("manifest", json!([step("it", "kubernetes:apply", json!({"manifest": map}))])),
            ("namespace", json!([step("it", "kubernetes:create-namespace", json!({"namespace": "My Shop"}))])),
            ("app", json!([step("it", "argocd:create-app", app(json!({"name": "My Shop"})))])),
            ("claim", json!([step("it", "crossplane:claim", claim)])),
        ]
    })
    .await;
    let definitions = json!([{"apiGroups": ["apiextensions.crossplane.io"], "resources": ["compositeresourcedefinitions"], "verbs": ["list"]}]);
    cluster.cluster_role(&stage.namespace, "portal", &definitions).await.unwrap();
    for template in ["manifest", "namespace", "app", "claim"] {
        let id = stage.start(template, json!({})).await;
        stage.fails(&id, &["'My Shop'", "my-shop"]).await;
        // Nothing has been written, and the same name is as wrong as before.
        stage.retry(&id, json!({})).await;
        stage.fails(&id, &["'My Shop'", "my-shop"]).await;
    }
    stage.stop().await;
}
