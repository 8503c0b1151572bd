//! Crossplane's actions through the service, against a real API server on which the testbed plays Crossplane.

use std::{sync::Arc, time::Duration};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use understudy_testbed::{
    crossplane::{Behaviour, Crossplane, SECRET_MARK},
    kubernetes::Cluster,
};

use crate::{
    support::{Running, TASKS, TempDir, completion, locations, manifest_dir, messages, template, write},
    tutorial::tutorial,
};

const LIMIT: Duration = Duration::from_secs(90);

/// The golden path's XRD and Composition, in a group of the test's own.
fn golden(version: &str, group: &str) -> String {
    let folder = manifest_dir().join("templates/golden-path/crossplane").join(version);
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    format!("{}\n---\n{}", read("xrd.yaml"), read("composition.yaml")).replace("platform.example.org", group)
}

/// The rules of docs/crossplane.md for a group in the place of the one they are written for: those for the cluster, and those for
/// a namespace.
fn rules(group: &str) -> (Value, Value) {
    let text = std::fs::read_to_string(manifest_dir().join("docs/crossplane.md")).unwrap();
    let yaml = text.split("```yaml\n").find(|block| block.starts_with("apiVersion: rbac.")).unwrap();
    let yaml = yaml.split("```").next().unwrap().replace("platform.example.org", group);
    let roles: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
    assert_eq!(roles.len(), 2);
    (roles[0]["rules"].clone(), roles[1]["rules"].clone())
}

/// A cluster with a Crossplane, and a service that may use it.
struct Stage {
    cluster: Arc<Cluster>,
    crossplane: Crossplane,
    namespace: String,
    running: Running,
    _dir: TempDir,
}

impl Stage {
    /// `yaml` holds the XRDs and Compositions; the templates are given the namespace.
    async fn new(group: &str, yaml: &str, templates: impl FnOnce(&str) -> Vec<(&'static str, Value)>) -> Self {
        Self::with_files(group, yaml, &[], templates).await
    }

    async fn with_files(
        group: &str,
        yaml: &str,
        files: &[(&str, String)],
        templates: impl FnOnce(&str) -> Vec<(&'static str, Value)>,
    ) -> Self {
        Self::on(Cluster::shared().await.unwrap(), group, yaml, files, templates).await
    }

    async fn on(
        cluster: Arc<Cluster>,
        group: &str,
        yaml: &str,
        files: &[(&str, String)],
        templates: impl FnOnce(&str) -> Vec<(&'static str, Value)>,
    ) -> Self {
        let crossplane = Crossplane::start(&cluster).await.unwrap();
        crossplane.install(yaml).await.unwrap();
        let namespace = cluster.namespace("crossplane").await.unwrap();
        let (wide, own) = rules(group);
        let token = cluster.service_account(&namespace, "scaffolder", &own).await.unwrap();
        cluster.cluster_role(&namespace, "scaffolder", &wide).await.unwrap();

        let dir = TempDir::new();
        for (file, text) in files {
            write(dir.path.join(file), text);
        }
        let mut targets = Vec::new();
        for (name, steps) in templates(&namespace) {
            let path = dir.path.join(format!("{name}.yaml"));
            write(&path, template(name, &steps));
            targets.push(path);
        }
        let mut config: Value =
            serde_json::from_str(&locations(&targets.iter().map(Utf8PathBuf::as_path).collect::<Vec<_>>())).unwrap();
        config["kubernetes"] = cluster.app_config("platform", &token)["kubernetes"].clone();
        let running = Running::start(&config.to_string()).await;
        Self { cluster, crossplane, namespace, running, _dir: dir }
    }

    /// Runs a template; gives the status, the log and the end of the task.
    async fn run(&self, template: &str) -> (String, String, Value) {
        let id = self.running.create_task(&json!({"templateRef": template, "values": {}})).await;
        self.end(&id).await
    }

    async fn end(&self, id: &str) -> (String, String, Value) {
        let (status, events) = self.running.finish(id, LIMIT).await;
        let log = messages(&events);
        assert!(!log.contains(SECRET_MARK), "a connection detail is in the log:\n{log}");
        let all = format!("{} {}", json!(events), self.running.task(id).await);
        assert!(!all.contains(SECRET_MARK), "a connection detail is in an event or in the task:\n{all}");
        (status, log, completion(&events).clone())
    }

    /// Runs a template that must succeed; gives its log and output.
    async fn completes(&self, template: &str) -> (String, Value) {
        let (status, log, end) = self.run(template).await;
        assert_eq!(status, "completed", "{template}:\n{log}\n{end}");
        (log, end["output"].clone())
    }

    /// Runs a template that must fail; gives the error's name and message, and the log.
    async fn fails(&self, template: &str) -> (String, String, String) {
        let (status, log, end) = self.run(template).await;
        assert_eq!(status, "failed", "{template}:\n{log}");
        let text = |key: &str| end["error"][key].as_str().unwrap_or_default().to_string();
        (text("name"), text("message"), log)
    }

    fn bucket(&self, group: &str, name: &str) -> String {
        format!("/apis/{group}/v1alpha1/namespaces/{}/buckets/{name}", self.namespace)
    }

    async fn stop(self) {
        assert!(!self.running.service.logs().contains("panicked"), "{}", self.running.service.logs());
        assert!(!self.running.service.logs().contains(SECRET_MARK), "{}", self.running.service.logs());
        self.running.stop().await;
    }
}

fn input(group: &str, namespace: &str, name: &str, more: &Value) -> Value {
    let mut input = json!({
        "apiVersion": format!("{group}/v1alpha1"), "kind": "Bucket", "name": name, "namespace": namespace,
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

fn step(action: &str, input: &Value) -> Value {
    json!([{"id": "it", "name": "It", "action": action, "input": input}])
}

fn has_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no »{part}« in:\n{text}");
    }
}

/// Whether an event says this.
fn said(text: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["body"]["message"].as_str().is_some_and(|message| message.contains(text))
}

/// One template for both generations: ordered, waited for, ordered again, changed, removed, removed again.
async fn life_of_a_bucket(version: &str, group: &str, form: &str, secret_note: &str) {
    let stage = Stage::new(group, &golden(version, group), |namespace| {
        let spec = json!({
            "spec": {"region": "eu-west-1"}, "writeConnectionSecretToRef": {"name": "photos-bucket"},
            "externalName": "acme-photos", "labels": {"team": "a"}, "timeout": "60s",
        });
        let mut changed = spec.clone();
        changed["spec"] = json!({"region": "eu-west-1", "versioning": false});
        let mut no_upsert = changed.clone();
        no_upsert["upsert"] = false.into();
        let order = |more: &Value| input(group, namespace, "photos", more);
        vec![
            ("order", step("crossplane:claim", &order(&spec))),
            ("differ", step("crossplane:claim", &order(&no_upsert))),
            ("change", step("crossplane:claim", &order(&changed))),
            ("wait", step("crossplane:wait", &order(&json!({"timeout": 60})))),
            ("remove", step("crossplane:delete", &order(&json!({"timeout": "60s"})))),
        ]
    })
    .await;
    // Held until the log has it.
    stage.crossplane.set("bucket", Behaviour::Creating);
    let id = stage.running.create_task(&json!({"templateRef": "order", "values": {}})).await;
    stage.running.wait_event(&id, said("-bucket: not ready, Creating")).await;
    stage.crossplane.set("bucket", Behaviour::Ready);
    let (status, log, _) = stage.end(&id).await;
    assert_eq!(status, "completed", "{log}");
    let at = stage.bucket(group, "photos");
    has_all(
        &log,
        &[
            &format!("Bucket {group}/v1alpha1 is {form}"),
            secret_note,
            &format!("Bucket {}/photos created", stage.namespace),
            ".upbound.io photos",
            "-bucket: not ready, Creating",
            "-bucket: ready",
            "-access-key: ready",
            &format!("Bucket {}/photos is synced and ready", stage.namespace),
            "The connection details are in the Secret photos-bucket",
        ],
    );
    // Each state of each resource once.
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(".upbound.io photos")).collect();
    assert!(lines.len() > 7, "{log}");
    let mut once = lines.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), lines.len(), "{log}");
    let object = stage.cluster.get(&at).await.unwrap().unwrap();
    assert_eq!(object["spec"]["region"], "eu-west-1");
    assert_eq!(object["metadata"]["annotations"]["crossplane.io/external-name"], "acme-photos");
    assert_eq!(object["metadata"]["labels"]["team"], "a");

    let (log, _) = stage.completes("order").await;
    has_all(&log, &["photos unchanged", "is synced and ready"]);
    assert_eq!(
        stage.cluster.get(&at).await.unwrap().unwrap()["metadata"]["generation"],
        object["metadata"]["generation"]
    );

    let (name, message, _) = stage.fails("differ").await;
    assert_eq!(name, "ConflictError");
    has_all(&message, &["exists and differs", "spec.versioning: true → false", "upsert is false"]);
    let (log, _) = stage.completes("change").await;
    has_all(&log, &["photos configured", "spec.versioning: true → false", "is synced and ready"]);
    let (log, _) = stage.completes("wait").await;
    has_all(&log, &["is synced and ready"]);

    let (log, _) = stage.completes("remove").await;
    has_all(&log, &["is being deleted", "photos is gone", "-bucket is gone", "-access-key is gone"]);
    assert_eq!(stage.cluster.get(&at).await.unwrap(), None);
    let (log, _) = stage.completes("remove").await;
    has_all(&log, &["photos is not there, so there is nothing to delete"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_crossplane_1() {
    life_of_a_bucket("v1", "life1.example.org", "a claim (XRD xbuckets.life1.example.org)", "created").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespaced_resource_of_crossplane_2() {
    let note = "it is left out, and the Composition has to make the Secret photos-bucket";
    life_of_a_bucket("v2", "life2.example.org", "a namespaced composite resource of Crossplane 2's form", note).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_names_and_conditions() {
    let group = "outputs.example.org";
    let stage = Stage::new(group, &golden("v1", group), |namespace| {
        let claim = input(
            group,
            namespace,
            "photos",
            &json!({"spec": {"region": "eu-west-1"}, "writeConnectionSecretToRef": {"name": "creds"}}),
        );
        let log = json!({"message": "${{ steps.it.output | dump }}"});
        vec![(
            "order",
            json!([
                {"id": "it", "action": "crossplane:claim", "input": claim},
                {"id": "show", "action": "debug:log", "input": log},
            ]),
        )]
    })
    .await;
    let (log, _) = stage.completes("order").await;
    let shown =
        log.lines().find_map(|line| line.find("{\"name\"").map(|at| &line[at..])).unwrap_or_else(|| panic!("{log}"));
    let output: Value = serde_json::from_str(shown).unwrap();
    let object = stage.cluster.get(&stage.bucket(group, "photos")).await.unwrap().unwrap();
    for (name, value) in [
        ("name", json!("photos")),
        ("namespace", json!(stage.namespace)),
        ("uid", object["metadata"]["uid"].clone()),
        ("apiVersion", json!("outputs.example.org/v1alpha1")),
        ("kind", json!("Bucket")),
        ("generation", json!("claim")),
        ("connectionSecretName", json!("creds")),
    ] {
        assert_eq!(output[name], value, "{output}");
    }
    let ready = output["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap();
    assert_eq!((ready["status"].as_str(), ready["reason"].as_str()), (Some("True"), Some("Available")));
    // It is there, so that its absence above says something.
    let secret = format!("/api/v1/namespaces/{}/secrets/creds", stage.namespace);
    assert!(stage.cluster.get(&secret).await.unwrap().unwrap()["data"]["username"].is_string());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_before_anything_is_written() {
    let group = "mistakes.example.org";
    let stage = Stage::new(group, &golden("v2", group), |namespace| {
        let claim = |name: &str, more: Value| step("crossplane:claim", &input(group, namespace, name, &more));
        let mut other_version = input(group, namespace, "photos", &json!({"spec": {}}));
        other_version["apiVersion"] = "mistakes.example.org/v1".into();
        let mut other_kind = input(group, namespace, "photos", &json!({"spec": {}}));
        other_kind["kind"] = "Buckt".into();
        let fits = json!({"spec": {"region": "eu-west-1"}});
        vec![
            ("misfit", claim("photos", json!({"spec": {"regoin": "eu-west-1", "versioning": "yes"}}))),
            ("mars", claim("photos", json!({"spec": {"region": "eu-west-11"}}))),
            ("bad-name", claim("My Photos", fits.clone())),
            ("other-version", step("crossplane:claim", &other_version)),
            ("other-kind", step("crossplane:claim", &other_kind)),
            (
                "no-xrd",
                step("crossplane:claim", &json!({"xrd": "things.mistakes.example.org", "name": "x", "spec": {}})),
            ),
            ("nothing", step("crossplane:claim", &json!({"name": "x", "spec": {}}))),
            ("twice", claim("photos", json!({"spec": {}, "values": {}}))),
            ("no-namespace", step("crossplane:claim", &input(group, "nowhere-at-all", "photos", &fits))),
            ("no-cluster", claim("photos", json!({"spec": {}, "clusterName": "moon"}))),
            ("wait-kind", step("crossplane:wait", &json!({"apiVersion": "apps/v1", "kind": "Bucket", "name": "x"}))),
        ]
    })
    .await;
    for (template, name, parts) in [
        (
            "misfit",
            "InputError",
            &[
                "the spec does not fit Bucket v1alpha1 of the XRD buckets.mistakes.example.org, nothing was written; 3 violations:",
                "\n  spec.region: is required",
                "\n  spec.regoin: there is no such field, it would be dropped; did you mean \"region\"?",
                "\n  spec.versioning: must be a boolean, found \"yes\"",
            ][..],
        ),
        ("mars", "InputError", &["spec.region: must be one of", "found \"eu-west-11\"; did you mean \"eu-west-1\"?"]),
        ("bad-name", "InputError", &["the name of the Bucket 'My Photos' is no DNS name: 1 to 63 lower-case letters"]),
        ("other-version", "InputError", &["has no version v1; its served versions are v1alpha1"]),
        (
            "other-kind",
            "NotFoundError",
            &["defines the kind Buckt in the group mistakes.example.org; did you mean \"Bucket\"?"],
        ),
        ("no-xrd", "NotFoundError", &["has no XRD named 'things.mistakes.example.org'"]),
        ("nothing", "InputError", &["say what to make"]),
        ("twice", "InputError", &["spec and values are the same under two names"]),
        // The account may write in its own namespace only: 403 names verb, resource and namespace.
        ("no-namespace", "NotAllowedError", &["get", "buckets.mistakes.example.org", "nowhere-at-all"]),
        ("no-cluster", "InputError", &["there is no cluster 'moon'", "'platform'"]),
        ("wait-kind", "NotFoundError", &["knows no kind Bucket in apps/v1"]),
    ] {
        let (found, message, log) = stage.fails(template).await;
        assert_eq!(found, name, "{template}: {message}\n{log}");
        has_all(&message, parts);
    }
    assert_eq!(stage.cluster.get(&stage.bucket(group, "photos")).await.unwrap(), None);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_what_is_not_ready_and_a_retry_goes_on() {
    let group = "failures.example.org";
    let stage = Stage::new(group, &golden("v1", group), |namespace| {
        let claim = |name: &str, timeout: &str| {
            let more = json!({"spec": {"region": "eu-west-1"}, "timeout": timeout});
            step("crossplane:claim", &input(group, namespace, name, &more))
        };
        let mut lost = input(group, namespace, "lost", &json!({"spec": {"region": "eu-west-1"}, "timeout": "10s"}));
        lost["compositionRef"] = "nowhere".into();
        let placed = json!({"spec": {"region": "eu-west-1"}, "wait": false});
        vec![
            ("place", step("crossplane:claim", &input(group, namespace, "photos", &placed))),
            ("order", claim("photos", "6s")),
            ("lost", step("crossplane:claim", &lost)),
            ("paused", claim("paused", "60s")),
        ]
    })
    .await;
    stage.crossplane.set("user", Behaviour::Failing("AccessDenied: iam:CreateUser".into()));
    stage.crossplane.set("versioning", Behaviour::Creating);
    // Until all that becomes ready is, however slow the machine.
    stage.completes("place").await;
    let unready = |list: &Value| list.to_string().contains("Unready resources: versioning, user\"");
    stage.crossplane.until(&format!("/apis/{group}/v1alpha1/xbuckets"), unready).await.unwrap();
    let (name, message, log) = stage.fails("order").await;
    assert_eq!(name, "Error");
    has_all(
        &message,
        &[
            &format!(
                "Bucket {}/photos was not ready within 6 s: not ready, Waiting: Claim is waiting",
                stage.namespace
            ),
            "-user: not synced, ReconcileError: create failed: AccessDenied: iam:CreateUser",
            "-versioning: not ready, Creating",
            "Unready resources: versioning, user",
        ],
    );
    assert!(!message.contains("-policy: "), "{message}");
    has_all(&log, &["-user: not synced", "-policy: ready"]);
    stage.crossplane.set("user", Behaviour::Ready);
    stage.crossplane.set("versioning", Behaviour::Ready);
    let (log, _) = stage.completes("order").await;
    has_all(&log, &["photos unchanged", "is synced and ready"]);

    let (_, message, log) = stage.fails("lost").await;
    has_all(&message, &["was not ready within 10 s"]);
    has_all(&log, &["not synced, ReconcileError: cannot select Composition"]);

    // What doesn't heal by itself ends the wait at once.
    let metadata = json!({"name": "paused", "annotations": {"crossplane.io/paused": "true"}});
    let object = json!({
        "apiVersion": format!("{group}/v1alpha1"), "kind": "Bucket", "metadata": metadata, "spec": {"region": "eu-west-1"},
    });
    stage.cluster.create(stage.bucket(group, "").trim_end_matches('/'), &object).await.unwrap();
    let (name, message, _) = stage.fails("paused").await;
    assert_eq!(name, "ConflictError");
    has_all(&message, &["paused is paused by the annotation crossplane.io/paused", "remove the annotation and retry"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_what_others_write() {
    let group = "waiting.example.org";
    let stage = Stage::new(group, &golden("v2", group), |namespace| {
        let order = json!({"spec": {"region": "eu-west-1"}, "wait": false});
        let wait = input(group, namespace, "photos", &json!({"timeout": "60s"}));
        vec![
            ("order", step("crossplane:claim", &input(group, namespace, "photos", &order))),
            ("wait", step("crossplane:wait", &wait)),
            (
                "by-xrd",
                step(
                    "crossplane:wait",
                    &json!({"xrd": "buckets.waiting.example.org", "name": "photos", "namespace": namespace}),
                ),
            ),
            ("for-ever", step("crossplane:wait", &input(group, namespace, "nothing", &json!({"timeout": "1h"})))),
        ]
    })
    .await;
    let waits = stage.running.create_task(&json!({"templateRef": "wait", "values": {}})).await;
    stage.running.wait_event(&waits, said("there is no such object yet")).await;
    let (log, _) = stage.completes("order").await;
    assert!(!log.contains("is synced and ready"), "{log}");
    let (status, log, _) = stage.end(&waits).await;
    assert_eq!(status, "completed", "{log}");
    has_all(&log, &["there is no such object yet", "is synced and ready"]);
    stage.completes("by-xrd").await;

    // A cancelled task stops waiting.
    let waits = stage.running.create_task(&json!({"templateRef": "for-ever", "values": {}})).await;
    stage.running.wait_event(&waits, said("there is no such object yet")).await;
    let answer = stage.running.post(&format!("{TASKS}/{waits}/cancel"), &json!({})).await;
    assert!(answer.status < 300, "{}", answer.text());
    let (_, log, _) = stage.end(&waits).await;
    has_all(&log, &["Step it has been cancelled."]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_claim_fits_its_xrd() {
    let folder = tutorial().join("04-crossplane");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let (xrd, composition) = (read("xrd.yaml"), read("composition.yaml"));
    let claim: Value = serde_saphyr::from_str(&read("skeleton/chart/templates/bucket.yaml")).unwrap();
    let files = [("files/xrd.yaml", xrd.clone())];
    let stage = Stage::with_files("kubecon.org", &format!("{xrd}\n---\n{composition}"), &files, |namespace| {
        let order = |more: Value| {
            let mut input = json!({
                "apiVersion": claim["apiVersion"], "kind": claim["kind"], "name": claim["metadata"]["name"],
                "spec": claim["spec"],
            });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            input
        };
        let fetch = json!({"id": "fetch", "action": "fetch:plain", "input": {"url": "./files"}});
        let file = |more: Value| {
            let mut input = json!({"mode": "manifest", "xrdPath": "xrd.yaml"});
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([
                fetch,
                {"id": "it", "action": "crossplane:claim", "input": order(input)},
                {"id": "again", "action": "crossplane:claim", "input": order(json!({
                    "mode": "manifest", "path": "${{ steps.it.output.path }}"}))},
                {"id": "list", "action": "debug:log", "input": {"listWorkspace": "with-contents"}},
            ])
        };
        vec![
            ("cluster", step("crossplane:claim", &order(json!({"namespace": namespace, "timeout": "60s"})))),
            ("file", file(json!({}))),
            ("outside", file(json!({"path": "../../outside.yaml"}))),
            ("misfit", file(json!({"spec": {"loction": "us"}}))),
        ]
    })
    .await;
    let (log, _) = stage.completes("cluster").await;
    has_all(&log, &["is a claim (XRD xbuckets.kubecon.org)", "photos is synced and ready", "Secret bucket-creds"]);
    let secret = format!("/api/v1/namespaces/{}/secrets/bucket-creds", stage.namespace);
    assert!(stage.cluster.get(&secret).await.unwrap().unwrap()["data"]["bucketName"].is_string());

    // With the XRD as a file, and then with the cluster's.
    let (log, _) = stage.completes("file").await;
    has_all(
        &log,
        &[
            "bucket-photos.yaml written: Bucket photos",
            "bucket-photos.yaml unchanged: it holds this manifest",
            "apiVersion: kubecon.org/v1alpha1\nkind: Bucket\nmetadata:\n  name: photos\nspec:\n  location: us\n  \
             writeConnectionSecretToRef:\n    name: bucket-creds\n",
        ],
    );
    let (name, message, _) = stage.fails("outside").await;
    assert_eq!(name, "NotAllowedError", "{message}");
    let (name, message, _) = stage.fails("misfit").await;
    assert_eq!(name, "InputError");
    has_all(&message, &["spec.location: is required", "spec.loction: there is no such field", "\"location\""]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_check_and_write_nothing() {
    let group = "dry.example.org";
    let stage = Stage::new(group, &golden("v2", group), |_| Vec::new()).await;
    let dry = async |steps: Value| {
        let template: Value = serde_json::from_str(&template("dry", &steps)).unwrap();
        let body = json!({"template": template, "values": {}, "directoryContents": []});
        stage.running.post("/api/scaffolder/v2/dry-run", &body).await
    };
    let namespace = stage.namespace.as_str();
    let order = |name: &str, spec: Value| {
        let claim = input(group, namespace, name, &json!({"spec": spec}));
        json!([
            {"id": "order", "name": "Order", "action": "crossplane:claim", "input": claim},
            {"id": "wait", "name": "Wait", "action": "crossplane:wait", "input": input(group, namespace, name, &json!({}))},
            {"id": "delete", "name": "Delete", "action": "crossplane:delete", "input": input(group, namespace, name, &json!({}))},
        ])
    };
    let answer = dry(order("photos", json!({"region": "eu-west-1"}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    has_all(
        &answer.text(),
        &[
            &format!("Bucket {namespace}/photos would be created (checked by the cluster)"),
            &format!("Would wait until Bucket {namespace}/photos is synced and ready, for 10 min at most"),
            "photos is not there, so there is nothing to delete",
        ],
    );
    let answer = dry(order("photos", json!({"region": "mars"}))).await;
    has_all(&answer.text(), &["spec.region: must be one of"]);
    assert_eq!(stage.cluster.get(&stage.bucket(group, "photos")).await.unwrap(), None);
    stage.stop().await;
}

/// Each missing rule is named, and the rules of the documentation are all that is needed.
#[tokio::test(flavor = "multi_thread")]
async fn missing_rules_are_named() {
    let group = "rules.example.org";
    let stage = Stage::new(group, &golden("v1", group), |namespace| {
        let order = json!({"spec": {"region": "eu-west-1"}, "timeout": "60s"});
        vec![("order", step("crossplane:claim", &input(group, namespace, "photos", &order)))]
    })
    .await;
    let (wide, own) = rules(group);
    let grant = async |wide: &Value, verbs: &[&str]| {
        let mut own = own.clone();
        own[0]["verbs"] = json!(verbs);
        stage.cluster.service_account(&stage.namespace, "scaffolder", &own).await.unwrap();
        stage.cluster.cluster_role(&stage.namespace, "scaffolder", wide).await.unwrap();
    };
    for (wide, verbs, parts) in [
        (json!([]), &["get"][..], &["may not list compositeresourcedefinitions.apiextensions.crossplane.io"][..]),
        (wide.clone(), &["get"], &["may not", "buckets.rules.example.org", "verbs: ["]),
        (wide.clone(), &["get", "patch", "create"], &["may not", "buckets.rules.example.org"]),
    ] {
        grant(&wide, verbs).await;
        let (name, message, _) = stage.fails("order").await;
        assert_eq!(name, "NotAllowedError", "{message}");
        has_all(&message, parts);
    }
    // Without a look at what it is made of, it is waited for all the same.
    let only_definitions = json!([wide[0]]);
    grant(&only_definitions, &["get", "list", "watch", "create", "patch"]).await;
    let (log, _) = stage.completes("order").await;
    has_all(&log, &["its state can't be shown", "is synced and ready"]);
    stage.stop().await;
}

/// The cluster goes away in the middle of a wait and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_out() {
    let group = "outage.example.org";
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let stage = Stage::on(cluster, group, &golden("v2", group), &[], |namespace| {
        let order = json!({"spec": {"region": "eu-west-1"}, "timeout": "85s"});
        vec![("order", step("crossplane:claim", &input(group, namespace, "photos", &order)))]
    })
    .await;
    stage.crossplane.set("user", Behaviour::Creating);
    let id = stage.running.create_task(&json!({"templateRef": "order", "values": {}})).await;
    stage.running.wait_event(&id, said("-user: not ready, Creating")).await;
    stage.cluster.stop_server().await.unwrap();
    stage.running.wait_event(&id, said("still waiting for Bucket")).await;
    stage.cluster.start_server().await.unwrap();
    stage.crossplane.set("user", Behaviour::Ready);
    let (status, log, _) = stage.end(&id).await;
    assert_eq!(status, "completed", "{log}");
    has_all(&log, &["the cluster can be reached again after", "-user: ready", "is synced and ready"]);
    // What could not be asked in the meantime is not said to be missing.
    assert!(!log.contains("is gone") && !log.contains("can't be shown"), "{log}");
    stage.stop().await;
}

/// An XRD that Crossplane hasn't accepted says why its kind is not there.
#[tokio::test(flavor = "multi_thread")]
async fn an_xrd_that_is_not_served_says_why() {
    let group = "unserved.example.org";
    let stage = Stage::new(group, &golden("v2", group), |namespace| {
        let order = json!({"spec": {"region": "eu-west-1"}});
        let unserved = input("unserved2.example.org", namespace, "photos", &order);
        vec![("order", step("crossplane:claim", &unserved))]
    })
    .await;
    let group = "unserved2.example.org";
    let xrd = golden("v2", group);
    let xrd: Value = serde_saphyr::from_str(xrd.split("\n---\n").next().unwrap()).unwrap();
    let path = "/apis/apiextensions.crossplane.io/v2/compositeresourcedefinitions";
    stage.cluster.create(path, &xrd).await.unwrap();
    let condition = json!({
        "type": "Established", "status": "False", "reason": "Creating", "message": "the name is taken",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let path = format!("{path}/buckets.{group}");
    stage.cluster.patch(&format!("{path}/status"), &json!({"status": {"conditions": [condition]}})).await.unwrap();
    let (name, message, _) = stage.fails("order").await;
    assert_eq!(name, "Error", "{message}");
    has_all(
        &message,
        &[
            "knows no kind Bucket",
            "the XRD buckets.unserved2.example.org is not Established: Creating: the name is taken",
        ],
    );
    stage.cluster.delete(&path).await.unwrap();
    stage.stop().await;
}
