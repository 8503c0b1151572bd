//! The `kubernetes:*` actions against a real kube-apiserver, as people see them: tasks, their logs, their ends.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use understudy_testbed::{kubernetes::Cluster, process::ServiceOptions};

use crate::support::{Running, TASKS, TempDir, binary, completion, locations, messages, template, write};

const LIMIT: Duration = Duration::from_secs(60);

/// A cluster, a namespace in it, and a service that knows templates and the cluster.
struct Bed {
    cluster: Arc<Cluster>,
    namespace: String,
    running: Running,
    dir: TempDir,
}

impl Bed {
    /// With the administrator's token, in the cluster that the tests share.
    async fn new(prefix: &str, templates: &[(&str, Value)]) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace(prefix).await.unwrap();
        let token = cluster.admin_token().to_string();
        Self::with(cluster, namespace, &token, templates, json!({})).await
    }

    async fn with(
        cluster: Arc<Cluster>,
        namespace: String,
        token: &str,
        templates: &[(&str, Value)],
        config: Value,
    ) -> Self {
        let dir = TempDir::new();
        let mut paths = Vec::new();
        for (name, steps) in templates {
            let path = dir.path.join(format!("{name}.yaml"));
            write(&path, template(name, steps));
            paths.push(path);
        }
        let paths: Vec<_> = paths.iter().map(AsRef::as_ref).collect();
        let kubeconfig = dir.path.join("kubeconfig");
        write(&kubeconfig, cluster.kubeconfig(token, &namespace));
        let options = ServiceOptions::new(binary())
            .config(locations(&paths))
            .config(config.to_string())
            .env("KUBECONFIG", kubeconfig.as_str())
            .data_dir(dir.path.join("data"));
        Self { cluster, namespace, running: Running::with(options).await, dir }
    }

    async fn start(&self, template: &str, values: Value) -> String {
        self.running.create_task(&json!({"templateRef": template, "values": values, "secrets": {}})).await
    }

    /// Runs a task to its end; gives its status and its log.
    async fn run(&self, template: &str, values: Value) -> (String, String) {
        let id = self.start(template, values).await;
        let (status, events) = self.running.finish(&id, LIMIT).await;
        completion(&events);
        (status, messages(&events))
    }

    async fn succeeds(&self, template: &str, values: Value) -> String {
        let (status, log) = self.run(template, values).await;
        assert_eq!(status, "completed", "{log}");
        log
    }

    async fn fails(&self, template: &str, values: Value) -> String {
        let (status, log) = self.run(template, values).await;
        assert_eq!(status, "failed", "{log}");
        log
    }

    fn config_map(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace)
    }

    async fn wait_log(&self, id: &str, text: &str) {
        self.running
            .wait_event(id, |event| event["body"]["message"].as_str().is_some_and(|message| message.contains(text)))
            .await;
    }
}

fn step(action: &str, input: Value) -> Value {
    json!([{"id": "step", "name": "Step", "action": action, "input": input}])
}

fn apply() -> Value {
    step("kubernetes:apply", json!({"manifest": "${{ parameters.manifest }}"}))
}

fn contains(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "`{part}` is missing in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_says_what_it_did_and_what_changed() {
    let bed = Bed::new(
        "apply",
        &[
            ("apply", apply()),
            (
                "older",
                step(
                    "cnoe:kubernetes:apply",
                    json!({"manifestObject": "${{ parameters.object }}", "namespaced": true}),
                ),
            ),
        ],
    )
    .await;
    let manifest = |greeting: &str| {
        json!({"manifest": format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  greeting: {greeting}\n  stays: same\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata:\n  name: key\nstringData:\n  word: secret-{greeting}\n"
        )})
    };
    let ns = &bed.namespace;
    let log = bed.succeeds("apply", manifest("hello")).await;
    contains(&log, &[&format!("ConfigMap {ns}/settings created"), &format!("Secret {ns}/key created")]);
    let log = bed.succeeds("apply", manifest("hello")).await;
    contains(&log, &[&format!("ConfigMap {ns}/settings unchanged"), &format!("Secret {ns}/key unchanged")]);
    let log = bed.succeeds("apply", manifest("bye")).await;
    contains(
        &log,
        &[
            &format!("ConfigMap {ns}/settings configured"),
            "data.greeting: \"hello\" → \"bye\"",
            &format!("Secret {ns}/key configured"),
            "data.word: *** → ***",
        ],
    );
    // Neither as it is nor in base64.
    assert!(!log.contains("secret-bye") && !log.contains("c2VjcmV0L"), "{log}");
    let found = bed.cluster.get(&bed.config_map("settings")).await.unwrap().unwrap();
    assert_eq!(found["data"]["greeting"], "bye");
    assert_eq!(found["metadata"]["managedFields"][0]["manager"], "understudy");

    // The older action's input; the namespace is the kubeconfig's.
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}});
    let log = bed.succeeds("older", json!({"object": object})).await;
    contains(&log, &[&format!("Deployment {ns}/web created")]);
    let log = bed.succeeds("older", json!({"object": object})).await;
    contains(&log, &[&format!("Deployment {ns}/web unchanged")]);
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_the_cluster_and_writes_nothing() {
    let bed = Bed::new("dry", &[("apply", apply())]).await;
    let dry_run = async |manifest: &str| {
        let body = json!({
            "template": serde_json::from_str::<Value>(&template("dry", &apply())).unwrap(),
            "values": {"manifest": manifest}, "secrets": {}, "directoryContents": [],
        });
        let answer = bed.running.post("/api/scaffolder/v2/dry-run", &body).await;
        (answer.status, answer.text())
    };
    let (status, text) = dry_run("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").await;
    assert_eq!(status, 200, "{text}");
    contains(&text, &[&format!("ConfigMap {}/a would be created (checked by the cluster)", bed.namespace)]);
    assert!(bed.cluster.get(&bed.config_map("a")).await.unwrap().is_none(), "the dry run wrote");
    let (_, text) = dry_run("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: not-yet}\n").await;
    contains(&text, &["the namespace 'not-yet' for ConfigMap not-yet/a", "until then the cluster can't check it"]);
    let (_, text) =
        dry_run("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 99999, protocol: TCP}]}\n")
            .await;
    contains(&text, &["is not valid", "spec.ports[0].port"]);
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_manifest_is_said_before_anything_is_sent() {
    let bed = Bed::new("wrong", &[("apply", apply())]).await;
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\n";
    for (manifest, parts) in [
        (format!("{good}a: [1\nb: 2\n"), vec!["manifest can't be read: document 2, line 6"]),
        (format!("{good}kind: ConfigMap\n"), vec!["manifest, document 2 (line 5): apiVersion is missing"]),
        (
            format!("{good}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: My App}}\n"),
            vec![
                "manifest, document 2 (line 5): the name of the ConfigMap 'My App' is no DNS name",
                "'my-app' would be one",
            ],
        ),
        (
            format!("{good}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: ../x}}\n"),
            vec!["the namespace '../x' is no DNS label"],
        ),
        (
            format!("{good}apiVersion: nowhere.example.org/v1\nkind: Reservoir\nmetadata: {{name: a}}\n"),
            vec![
                "the cluster of the kubeconfig context 'testbed' knows no kind Reservoir in nowhere.example.org/v1",
                "install the CRD first",
            ],
        ),
        (
            format!("{good}apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {{name: a}}\n"),
            vec!["knows no kind Deployment in apps/v1beta1; it knows Deployment in apps/v1"],
        ),
    ] {
        let log = bed.fails("apply", json!({"manifest": manifest})).await;
        contains(&log, &parts.iter().map(|part| &**part).collect::<Vec<_>>());
        assert!(bed.cluster.get(&bed.config_map("good")).await.unwrap().is_none(), "something was sent: {log}");
    }
    // The cluster's own objections, each with its field.
    let invalid = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: Nothing, ports: [{port: 0, protocol: TCP}]}\n";
    let log = bed.fails("apply", json!({"manifest": invalid})).await;
    contains(
        &log,
        &[
            &format!("Service {}/web in the cluster", bed.namespace),
            "is not valid:\n  spec.ports[0].port: Invalid value",
            "\n  spec.type: Unsupported value",
        ],
    );
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_others_manage_are_a_conflict_unless_forced() {
    let forced = step("kubernetes:apply", json!({"manifest": "${{ parameters.manifest }}", "force": true}));
    let bed = Bed::new("conflict", &[("apply", apply()), ("forced", forced)]).await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "theirs"}});
    bed.cluster.apply(&bed.config_map("a"), &object, "somebody").await.unwrap();
    let manifest = json!({"manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: ours}\n"});
    let log = bed.fails("apply", manifest.clone()).await;
    contains(
        &log,
        &["ConflictError", "has fields that others manage: data.x (by somebody)", "set force: true to take them over"],
    );
    let log = bed.succeeds("forced", manifest.clone()).await;
    contains(&log, &["data.x: \"theirs\" → \"ours\""]);
    // What the actions that this service takes the place of have written is no conflict.
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x": "old"}});
    bed.cluster.apply(&bed.config_map("b"), &object, "backstage").await.unwrap();
    let manifest = json!({"manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {x: ours}\n"});
    contains(&bed.succeeds("apply", manifest).await, &["data.x: \"old\" → \"ours\""]);
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_named() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace("rights").await.unwrap();
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]}]);
    let token = cluster.service_account(&namespace, "portal", &rules).await.unwrap();
    let wait =
        step("kubernetes:wait", json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "late", "for": "create"}));
    let secret = step("kubernetes:get", json!({"apiVersion": "v1", "kind": "Secret", "name": "key"}));
    let bed =
        Bed::with(cluster, namespace, &token, &[("apply", apply()), ("wait", wait), ("secret", secret)], json!({}))
            .await;
    let ns = &bed.namespace;
    // The least rules that the documentation names do.
    bed.succeeds("apply", json!({"manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})).await;
    let log =
        bed.fails("apply", json!({"manifest": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"})).await;
    contains(
        &log,
        &[
            "NotAllowedError",
            &format!(
                "the cluster of the kubeconfig context 'testbed' does not allow this: user \
                 'system:serviceaccount:{ns}:portal' may not get deployments.apps in the namespace '{ns}' (for Deployment \
                 {ns}/a)"
            ),
            &format!(
                "a Role in '{ns}' needs the rule {{apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"get\"]}}"
            ),
        ],
    );
    let log = bed.fails("wait", json!({})).await;
    contains(&log, &[&format!("may not list configmaps in the namespace '{ns}' (for ConfigMap {ns}/late)")]);
    let log = bed.fails("apply", json!({"manifest": "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"})).await;
    contains(
        &log,
        &[
            "may not get namespaces",
            "needs the rule {apiGroups: [\"\"], resources: [\"namespaces\"], verbs: [\"get\"]}",
        ],
    );
    contains(&bed.fails("secret", json!({})).await, &["may not get secrets"]);
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_read_again_then_reported() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace("token").await.unwrap();
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]);
    let token = cluster.service_account(&namespace, "portal", &rules).await.unwrap();
    let dir = TempDir::new();
    let file = dir.path.join("token");
    write(&file, &token);
    let config = json!({"kubernetes": {"clusterLocatorMethods": [{"type": "config", "clusters": [
        {"name": "files", "url": cluster.url(), "authProvider": "serviceAccount", "serviceAccountTokenFile": file, "caData": cluster.ca_data()},
        {"name": "fixed", "url": cluster.url(), "authProvider": "serviceAccount", "serviceAccountToken": "wrong-token-of-ours", "caData": cluster.ca_data()},
    ]}]}});
    let apply = step(
        "kubernetes:apply",
        json!({"clusterName": "${{ parameters.cluster }}", "namespace": namespace, "manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}}),
    );
    let bed = Bed::with(cluster, namespace, "not-used", &[("apply", apply)], config).await;
    bed.succeeds("apply", json!({"cluster": "files"})).await;
    // A new account by the same name: the old token is good for nothing, as if expired.
    bed.cluster.renew_account(&bed.namespace, "portal").await.unwrap();
    let deadline = std::time::Instant::now() + LIMIT;
    let log = loop {
        let (status, log) = bed.run("apply", json!({"cluster": "files"})).await;
        if status == "failed" {
            break log;
        }
        assert!(std::time::Instant::now() < deadline, "the old token still works");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    contains(
        &log,
        &[
            "AuthenticationError",
            "the cluster 'files' refuses the credentials (401 Unauthorized)",
            "has expired",
            "they are in its serviceAccountTokenFile",
        ],
    );
    write(&file, bed.cluster.token(&bed.namespace, "portal").await.unwrap());
    contains(&bed.succeeds("apply", json!({"cluster": "files"})).await, &["unchanged"]);
    let log = bed.fails("apply", json!({"cluster": "fixed"})).await;
    contains(&log, &["the cluster 'fixed' refuses the credentials"]);
    assert!(
        !log.contains("wrong-token-of-ours") && !bed.running.service.logs().contains("wrong-token-of-ours"),
        "{log}"
    );
    contains(
        &bed.fails("apply", json!({"cluster": "elsewhere"})).await,
        &["there is no cluster 'elsewhere' in kubernetes.clusterLocatorMethods; configured are 'files', 'fixed'"],
    );
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_delete_and_namespaces_twice_in_a_row() {
    let namespace = step(
        "kubernetes:create-namespace",
        json!({"namespace": "${{ parameters.name }}", "labels": "${{ parameters.labels }}"}),
    );
    let by_url = step(
        "kubernetes:create-namespace",
        json!({"namespace": "${{ parameters.name }}", "url": "${{ parameters.url }}", "token": "${{ secrets.token }}", "caData": "${{ parameters.ca }}"}),
    );
    let get = json!([
        {"id": "get", "name": "Get", "action": "kubernetes:get", "input": {"apiVersion": "v1", "kind": "Secret", "name": "key", "optional": true}},
        {"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "exists ${{ steps.get.output.exists }} ${{ steps.get.output.object | dump }}"}},
    ]);
    let delete = step("kubernetes:delete", json!({"apiVersion": "v1", "kind": "Secret", "name": "key"}));
    let bed =
        Bed::new("several", &[("namespace", namespace), ("by-url", by_url), ("get", get), ("delete", delete)]).await;
    let secrets = format!("/api/v1/namespaces/{}/secrets", bed.namespace);
    contains(&bed.succeeds("get", json!({})).await, &["there is no Secret", "exists false"]);
    bed.cluster
        .create(&secrets, &json!({"metadata": {"name": "key"}, "stringData": {"word": "hush-hush"}}))
        .await
        .unwrap();
    let log = bed.succeeds("get", json!({})).await;
    contains(&log, &["exists true", "\"word\":\"***\""]);
    assert!(!log.contains("aHVzaC1odXNo") && !log.contains("hush-hush"), "{log}");
    contains(&bed.succeeds("delete", json!({})).await, &[&format!("Secret {}/key deleted", bed.namespace)]);
    contains(&bed.succeeds("delete", json!({})).await, &["is not there: nothing to delete"]);

    let name = format!("{}-new", bed.namespace);
    let values = |labels: &str| json!({"name": name, "labels": labels});
    contains(&bed.succeeds("namespace", values("team=a;stage=test")).await, &[&format!("Namespace {name} created")]);
    contains(&bed.succeeds("namespace", values("team=a")).await, &[&format!("Namespace {name} unchanged")]);
    let log = bed.fails("namespace", values("team=b")).await;
    contains(&log, &["exists already, with other labels: team is 'a', not 'b'"]);
    contains(
        &bed.fails("namespace", json!({"name": "My Team", "labels": ""})).await,
        &["the namespace 'My Team' is no DNS label"],
    );

    let create = async |token: &str, name: &str| {
        let values = json!({"name": name, "url": bed.cluster.url(), "ca": bed.cluster.ca_data()});
        let body = json!({"templateRef": "by-url", "values": values, "secrets": {"token": token}});
        let id = bed.running.create_task(&body).await;
        let (status, events) = bed.running.finish(&id, LIMIT).await;
        (status, messages(&events))
    };
    let (status, log) = create(bed.cluster.admin_token(), &format!("{name}-2")).await;
    assert_eq!(status, "completed", "{log}");
    let (status, log) = create("wrong-token", &format!("{name}-3")).await;
    assert_eq!(status, "failed", "{log}");
    contains(&log, &["Failed to create kubernetes namespace, API code: 401 -- "]);
    let weak = bed.cluster.service_account(&bed.namespace, "weak", &json!([])).await.unwrap();
    let (_, log) = create(&weak, &format!("{name}-3")).await;
    contains(
        &log,
        &[
            "Failed to create kubernetes namespace, API code: 403 -- ",
            "may not create namespaces at the cluster scope",
            "a ClusterRole needs the rule",
        ],
    );
    bed.running.stop().await;
}

fn wait_for_phase() -> Value {
    step(
        "kubernetes:wait",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "${{ parameters.name }}", "for": "jsonpath={.data.phase}=Done", "failOn": "jsonpath={.data.phase}=Broken", "timeout": "${{ parameters.timeout or '10m' }}"}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_follows_fails_at_once_times_out_and_is_cancelled() {
    let bed = Bed::new("wait", &[("wait", wait_for_phase())]).await;
    let maps = format!("/api/v1/namespaces/{}/configmaps", bed.namespace);
    let ns = &bed.namespace;
    let id = bed.start("wait", json!({"name": "a"})).await;
    bed.wait_log(&id, &format!("ConfigMap {ns}/a: does not exist yet")).await;
    bed.cluster.create(&maps, &json!({"metadata": {"name": "a"}, "data": {"phase": "Half"}})).await.unwrap();
    bed.wait_log(&id, &format!("ConfigMap {ns}/a: .data.phase is Half")).await;
    bed.cluster.patch(&bed.config_map("a"), &json!({"data": {"phase": "Done"}})).await.unwrap();
    let (status, events) = bed.running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    contains(&bed.succeeds("wait", json!({"name": "a"})).await, &["is at once as wanted"]);

    bed.cluster.patch(&bed.config_map("a"), &json!({"data": {"phase": "Broken"}})).await.unwrap();
    contains(
        &bed.fails("wait", json!({"name": "a"})).await,
        &[&format!("ConfigMap {ns}/a has failed: .data.phase is Broken")],
    );

    let log = bed.fails("wait", json!({"name": "never", "timeout": "2s"})).await;
    contains(&log, &["was waited for 2 s for jsonpath={.data.phase}=Done, in vain; last state: does not exist yet"]);

    let id = bed.start("wait", json!({"name": "never"})).await;
    bed.wait_log(&id, "does not exist yet").await;
    let answer = bed.running.post(&format!("{TASKS}/{id}/cancel"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (status, events) = bed.running.finish(&id, Duration::from_secs(10)).await;
    assert_ne!(status, "completed");
    contains(&messages(&events), &["Step step has been cancelled."]);
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_an_outage_of_the_cluster() {
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let namespace = cluster.namespace("outage").await.unwrap();
    let token = cluster.admin_token().to_string();
    let late = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "late", "for": "create"});
    let templates = [("wait", wait_for_phase()), ("apply", apply()), ("late", step("kubernetes:wait", late))];
    let bed = Bed::with(cluster, namespace, &token, &templates, json!({})).await;
    let maps = format!("/api/v1/namespaces/{}/configmaps", bed.namespace);
    bed.cluster.create(&maps, &json!({"metadata": {"name": "a"}, "data": {"phase": "Half"}})).await.unwrap();
    let id = bed.start("wait", json!({"name": "a"})).await;
    bed.wait_log(&id, ".data.phase is Half").await;
    bed.cluster.stop_server().await.unwrap();
    bed.wait_log(&id, "can't be reached").await;
    // Others are told at once.
    let log = bed.fails("apply", json!({"manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"})).await;
    contains(&log, &["the cluster of the kubeconfig context 'testbed' can't be reached"]);
    // And a wait that begins now waits, too, although the service doesn't know yet what its kind is called.
    let late = bed.start("late", json!({})).await;
    bed.wait_log(&late, "can't be reached").await;
    bed.cluster.start_server().await.unwrap();
    bed.cluster.patch(&bed.config_map("a"), &json!({"data": {"phase": "Done"}})).await.unwrap();
    let (status, events) = bed.running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    // A server that is ending may answer once more before it is gone: that is two outages, each told once.
    let (lost, found) = (log.matches("can't be reached").count(), log.matches("can be reached again").count());
    assert!(lost == found && (1..=2).contains(&lost), "said more than once:\n{log}");
    contains(&log, &["the cluster can be reached again after", "has come to jsonpath={.data.phase}=Done"]);
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", bed.namespace);
    let deployment = json!({"metadata": {"name": "late"}, "spec": {"selector": {"matchLabels": {"app": "late"}},
        "template": {"metadata": {"labels": {"app": "late"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}});
    bed.cluster.create(&deployments, &deployment).await.unwrap();
    let (status, events) = bed.running.finish(&late, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    contains(
        &log,
        &["the wait begins when the cluster is back", "the cluster can be reached again after", "has come to create"],
    );
    let (status, log) =
        bed.run("apply", json!({"manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"})).await;
    assert_eq!(status, "completed", "{log}");
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_the_step_says_what_to_configure() {
    let dir = TempDir::new();
    let path = dir.path.join("apply.yaml");
    write(&path, template("apply", &apply()));
    let options =
        ServiceOptions::new(binary()).config(locations(&[&path])).env("HOME", dir.path.as_str()).env("KUBECONFIG", "");
    let running = Running::with(options).await;
    let id = running.create_task(&json!({"templateRef": "apply", "values": {"manifest": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}, "secrets": {}})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "failed");
    contains(
        &messages(&events),
        &["no Kubernetes cluster is configured", "KUBECONFIG", "kubernetes.clusterLocatorMethods"],
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_raises_the_number_of_files_it_may_open() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let script = dir.path.join("service");
    write(&script, format!("#!/bin/sh\nulimit -Sn 200\nexec {} \"$@\"\n", binary()));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let running = Running::with(ServiceOptions::new(&script)).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.service.pid().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_the_documentation_are_enough_and_no_more() {
    let cluster = Cluster::shared().await.unwrap();
    let (team, home) = (cluster.namespace("team").await.unwrap(), cluster.namespace("portal").await.unwrap());
    let text = std::fs::read_to_string(crate::support::manifest_dir().join("docs/kubernetes.md")).unwrap();
    let text = text.replace("team-a", &team).replace("namespace: understudy", &format!("namespace: {home}"));
    let mut applied = 0;
    for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for document in block.split("---\n").filter(|document| document.contains("\nkind: ")) {
            let object = understudy::yaml::parse_yaml(document).unwrap();
            let (group, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            let base = if group == "v1" { "/api/v1".to_string() } else { format!("/apis/{group}") };
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            let namespace = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
            let name = object["metadata"]["name"].as_str().unwrap();
            let path = format!("{base}{namespace}/{}s/{name}", kind.to_lowercase());
            cluster.apply(&path, &object, "testbed").await.unwrap();
            applied += 1;
        }
    }
    assert_eq!(applied, 5, "the documentation has other rules than this test knows");
    let token = cluster.token(&home, "understudy").await.unwrap();
    let named = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let with = |extra: Value| {
        let mut input = named.clone();
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        input
    };
    let templates = [
        ("apply", apply()),
        ("wait", step("kubernetes:wait", with(json!({"for": "jsonpath={.spec.replicas}=1"})))),
        ("follow", step("kubernetes:wait", with(json!({"name": "never", "for": "create", "timeout": "1s"})))),
        ("delete", step("kubernetes:delete", named.clone())),
        ("namespace", step("kubernetes:create-namespace", json!({"namespace": format!("{team}-new")}))),
    ];
    let bed = Bed::with(cluster, team, &token, &templates, json!({})).await;
    let manifest = json!({"manifest": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}}});
    bed.succeeds("apply", manifest.clone()).await;
    bed.succeeds("apply", manifest).await;
    bed.succeeds("wait", json!({})).await;
    contains(&bed.fails("follow", json!({})).await, &["in vain"]);
    bed.succeeds("delete", json!({})).await;
    bed.succeeds("namespace", json!({})).await;
    contains(&bed.succeeds("namespace", json!({})).await, &["unchanged"]);
    let other = json!({"manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}});
    contains(&bed.fails("apply", other).await, &["may not get configmaps"]);
    bed.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_new_kinds_and_made_up_names() {
    let write = |path: &str, text: &str| json!({"id": "write", "name": "Write", "action": "fetch:plain:file", "input": {"url": text, "targetPath": path}});
    let apply = |input: Value| json!({"id": "apply", "name": "Apply", "action": "kubernetes:apply", "input": input});
    let file = |path: &str| {
        json!([
            write("deploy/all.yaml", "./all.txt"),
            apply(json!({"manifestPath": path})),
            {"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "${{ steps.apply.output | dump }}"}},
        ])
    };
    let generated = json!([
        apply(json!({"manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}})),
        {"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "named ${{ steps.apply.output.name }}"}},
        {"id": "each", "name": "Each", "each": ["x", "y"], "action": "kubernetes:apply", "input": {"manifest": {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "each-"}, "data": {"is": "${{ each.value }}"}}}},
    ]);
    let delete = json!([
        write("deploy/all.yaml", "./all.txt"),
        {"id": "delete", "name": "Delete", "action": "kubernetes:delete", "input": {"manifestPath": "deploy/all.yaml"}},
    ]);
    let templates = [
        ("file", file("deploy/all.yaml")),
        ("outside", file("../../../../etc/passwd")),
        ("missing", file("deploy/none.yaml")),
        ("generated", generated),
        ("delete", delete),
    ];
    let bed = Bed::new("files", &templates).await;
    let ns = &bed.namespace;
    // A kind and an object of it in one file.
    let group = format!("{ns}.example.org");
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}}}}}]},
    });
    let gadget = json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": {"name": "one"}, "spec": {"size": 1}});
    crate::support::write(bed.dir.path.join("all.txt"), format!("{crd}\n---\n{gadget}\n"));
    let log = bed.succeeds("file", json!({})).await;
    contains(
        &log,
        &[
            &format!("CustomResourceDefinition gadgets.{group} created"),
            &format!("Gadget {ns}/one created"),
            "\"result\":\"created\"",
        ],
    );
    let log = bed.succeeds("file", json!({})).await;
    contains(
        &log,
        &[&format!("CustomResourceDefinition gadgets.{group} unchanged"), &format!("Gadget {ns}/one unchanged")],
    );
    crate::support::write(
        bed.dir.path.join("all.txt"),
        format!("{crd}\n---\n{}\n", gadget.to_string().replace(":1}", ":0}")),
    );
    contains(
        &bed.fails("file", json!({})).await,
        &[&format!("Gadget {ns}/one in the cluster"), "is not valid:\n  spec.size: Invalid value"],
    );
    let log = bed.succeeds("delete", json!({})).await;
    // The last first.
    let at = |text: String| log.find(&text).unwrap_or_else(|| panic!("{text} is missing in\n{log}"));
    assert!(
        at(format!("Gadget {ns}/one deleted")) < at(format!("CustomResourceDefinition gadgets.{group} deleted")),
        "{log}"
    );
    contains(&bed.succeeds("delete", json!({})).await, &["nothing to delete"]);

    for template in ["outside", "missing"] {
        let log = bed.fails(template, json!({})).await;
        contains(&log, &["manifestPath", "can't be read"]);
        assert!(!log.contains("root:"), "{log}");
    }
    let id = bed.start("generated", json!({})).await;
    let (status, events) = bed.running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "completed", "{log}");
    contains(&log, &[&format!("ConfigMap {ns}/made-"), "named made-"]);
    let made = async || {
        let list = bed.cluster.get(&format!("/api/v1/namespaces/{ns}/configmaps")).await.unwrap().unwrap();
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].to_string()).collect::<Vec<_>>()
    };
    let names = made().await;
    let count = |prefix: &str| names.iter().filter(|name| name.contains(prefix)).count();
    assert_eq!((count("made-"), count("each-")), (1, 2), "{names:?}");
    // A retry finds what the first run made.
    let answer = bed.running.post(&format!("{TASKS}/{id}/retry"), &json!({})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let (_, events) = bed.running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(log.matches("unchanged: an earlier run of this task created it").count(), 3, "{log}");
    assert_eq!(made().await, names);
    bed.running.stop().await;
}
