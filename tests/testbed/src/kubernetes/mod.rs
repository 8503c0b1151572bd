//! A real Kubernetes API server: kube-apiserver 1.20 and etcd, with RBAC and without controllers.
//!
//! What is real: discovery, CRDs with their schemas, server-side apply with conflicts, the status subresource, watches,
//! RBAC (403), tokens (401), server dry-run. What is not there: pods, garbage collection, namespaces that go away,
//! validation rules (CEL) of CRDs, which this version drops.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

use crate::{Error, Result, github::tls, process::free_port, programs, supervisor::Supervisor};

/// How long a start may take on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
const PORT_ATTEMPTS: u32 = 5;
const SUPERVISE: &str = include_str!("supervise.sh");

static SHARED: OnceCell<Cluster> = OnceCell::const_new();

/// A running cluster. It ends, and its files go, when this and its clones are dropped or the process ends.
#[derive(Debug, Clone)]
pub struct Cluster {
    supervisor: Arc<Supervisor>,
    dir: PathBuf,
    port: u16,
    ca_pem: String,
    admin_token: String,
    http: reqwest::Client,
    names: Arc<AtomicU32>,
}

impl Cluster {
    /// The cluster that the tests of this process share; a namespace each keeps them apart ([`Cluster::namespace`]).
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn shared() -> Result<Arc<Self>> {
        let shared = SHARED.get_or_try_init(Self::start).await?;
        // Connections end with the runtime they were made in, and each test has its own.
        Ok(Arc::new(Self { http: client(&shared.ca_pem)?, ..shared.clone() }))
    }

    /// Starts a cluster of the caller's own: for tests that stop it. The first start on a machine builds the programs, which
    /// takes minutes.
    ///
    /// # Errors
    /// The programs can't be made, or do not get ready.
    pub async fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kube-apiserver");
        let programs = programs::made_by(&script).await?;
        let mut attempt = 1;
        loop {
            match Self::start_on(&programs, free_port()?, free_port()?, free_port()?).await {
                Err(Error::Unexpected { detail, .. })
                    if attempt < PORT_ATTEMPTS && detail.contains("address already in use") =>
                {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn start_on(programs: &Path, port: u16, etcd_port: u16, peer_port: u16) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("understudy-cluster-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?
            .keep();
        let identity = tls::certificates(&dir)?;
        let admin_token = uuid::Uuid::new_v4().simple().to_string();
        write(&dir, "tokens.csv", &format!("{admin_token},admin,admin,system:masters\n"))?;
        // Signs the tokens of service accounts.
        let key = rcgen::KeyPair::generate().map_err(|error| Error::unexpected("making a key", error.to_string()))?;
        write(&dir, "service-accounts.key", &key.serialize_pem())?;
        write(&dir, "service-accounts.pub", &key.public_key_pem())?;

        let file = |name: &str| dir.join(name).display().to_string();
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let etcd = [
            programs.join("etcd").display().to_string(),
            format!("--data-dir={}", file("etcd")),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            "--unsafe-no-fsync".to_string(),
            "--log-level=warn".to_string(),
        ];
        let api = [
            programs.join("kube-apiserver").display().to_string(),
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".to_string(),
            "--advertise-address=127.0.0.1".to_string(),
            "--service-cluster-ip-range=10.0.0.0/24".to_string(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("server.pem")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--cert-dir={}", file("certificates")),
            "--authorization-mode=RBAC".to_string(),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--service-account-issuer=https://kubernetes.default.svc".to_string(),
            format!("--service-account-key-file={}", file("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", file("service-accounts.key")),
            "--disable-admission-plugins=ServiceAccount".to_string(),
            "--endpoint-reconciler-type=none".to_string(),
            "--profiling=false".to_string(),
            "--v=0".to_string(),
        ];
        let http = client(&identity.ca_pem)?;
        let arguments = [&[dir.display().to_string()][..], &etcd, &["--".to_string()], &api].concat();
        let supervisor = Arc::new(Supervisor::start(SUPERVISE, &arguments, None)?);
        let cluster = Self { supervisor, dir, port, ca_pem: identity.ca_pem, admin_token, http, names: Arc::default() };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut last = String::from("it was never asked");
        while Instant::now() < deadline {
            if let Some(program) = self.supervisor.ended() {
                return Err(Error::unexpected(format!("{program} ended before it was ready"), self.logs()));
            }
            let answer = self.http.get(format!("{}/readyz", self.url())).bearer_auth(&self.admin_token);
            match answer.timeout(Duration::from_secs(5)).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = format!("/readyz answered {}", answer.status()),
                Err(error) => last = error.to_string(),
            }
            sleep(Duration::from_millis(100)).await;
        }
        let what = "the readiness of kube-apiserver".to_string();
        Err(Error::Timeout { what, limit: READY_WITHIN, detail: format!("{last}; its output:\n{}", self.logs()) })
    }

    /// `https://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The port; the same after [`Cluster::stop_server`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The CA of its certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The CA of its certificate as configurations have it (`caData`): PEM in base64.
    #[must_use]
    pub fn ca_data(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.ca_pem)
    }

    /// A token that may do anything.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A kubeconfig for this token; `namespace` is its context's.
    #[must_use]
    pub fn kubeconfig(&self, token: &str, namespace: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {"server": self.url(), "certificate-authority-data": self.ca_data()}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user", "namespace": namespace}}],
        })
        .to_string()
    }

    /// A section `kubernetes` of the configuration with this cluster under a name.
    #[must_use]
    pub fn app_config(&self, name: &str, token: &str) -> Value {
        json!({"kubernetes": {"clusterLocatorMethods": [{"type": "config", "clusters": [{
            "name": name, "url": self.url(), "authProvider": "serviceAccount", "serviceAccountToken": token,
            "caData": self.ca_data(),
        }]}]}})
    }

    /// Ends kube-apiserver, as in an outage; etcd and its data stay.
    ///
    /// # Errors
    /// It was not running, or the supervisor is gone.
    pub async fn stop_server(&self) -> Result<()> {
        self.supervisor.command("stop", "stopped").await
    }

    /// Starts kube-apiserver again and waits until it is ready.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_server(&self) -> Result<()> {
        self.supervisor.command("start", "started").await?;
        self.wait_until_ready().await
    }

    /// What the servers wrote, the last of it.
    #[must_use]
    pub fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = fs::read(self.dir.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8000)..]).into_owned();
            format!("{name}:\n{text}\n")
        };
        tail("etcd.log") + &tail("kube-apiserver.log")
    }

    /// Sends a request as the administrator; gives status and body (JSON, or a text).
    ///
    /// # Errors
    /// No answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<(u16, Value)> {
        let what = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.url())).bearer_auth(&self.admin_token);
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let answer = request.send().await.map_err(Error::http(&what))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(Error::http(&what))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn expect(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<Value> {
        let what = format!("{method} {path}");
        match self.request(method, path, body).await? {
            (200..=299, value) => Ok(value),
            (status, value) => Err(Error::unexpected(what, format!("{status} {value}"))),
        }
    }

    /// The object at a path like `/api/v1/namespaces/a/configmaps/b`; `None` when there is none.
    ///
    /// # Errors
    /// Another answer than 200 and 404.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        match self.request(Method::GET, path, None).await? {
            (200, value) => Ok(Some(value)),
            (404, _) => Ok(None),
            (status, value) => Err(Error::unexpected(format!("GET {path}"), format!("{status} {value}"))),
        }
    }

    /// Deletes the object at a path; one that is not there is as good.
    ///
    /// # Errors
    /// Another answer than 200, 202 and 404.
    pub async fn delete(&self, path: &str) -> Result<()> {
        match self.request(Method::DELETE, path, None).await? {
            (200 | 202 | 404, _) => Ok(()),
            (status, value) => Err(Error::unexpected(format!("DELETE {path}"), format!("{status} {value}"))),
        }
    }

    /// Creates an object in the collection at a path like `/api/v1/namespaces/a/configmaps`.
    ///
    /// # Errors
    /// It is refused.
    pub async fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        self.expect(Method::POST, collection, Some(("application/json", object.to_string()))).await
    }

    /// Changes an object (JSON merge patch); a path that ends with `/status` changes its status, as controllers do.
    ///
    /// # Errors
    /// It is refused.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        self.expect(Method::PATCH, path, Some(("application/merge-patch+json", patch.to_string()))).await
    }

    /// Applies an object (server-side apply) as a manager of this name, taking over all its fields.
    ///
    /// # Errors
    /// It is refused.
    pub async fn apply(&self, path: &str, object: &Value, manager: &str) -> Result<Value> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.expect(Method::PATCH, &path, Some(("application/apply-patch+yaml", object.to_string()))).await
    }

    /// A namespace of the caller's own.
    ///
    /// # Errors
    /// It is refused.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.create(
            "/api/v1/namespaces",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await?;
        Ok(name)
    }

    /// Makes a service account that may do what the rules of a Role in its namespace say (`[{"apiGroups", "resources",
    /// "verbs"}]`); gives its token.
    ///
    /// # Errors
    /// It is refused.
    pub async fn service_account(&self, namespace: &str, name: &str, rules: &Value) -> Result<String> {
        self.account(namespace, name).await?;
        let metadata = json!({"name": name, "namespace": namespace});
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
        let role =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules});
        self.apply(&format!("{rbac}/roles/{name}"), &role, "testbed").await?;
        let binding = self.binding("RoleBinding", "Role", &metadata, namespace);
        self.apply(&format!("{rbac}/rolebindings/{name}"), &binding, "testbed").await?;
        self.token(namespace, name).await
    }

    /// Lets a service account do what the rules say in all namespaces and on what belongs to none (a ClusterRole).
    ///
    /// # Errors
    /// It is refused.
    pub async fn cluster_role(&self, namespace: &str, name: &str, rules: &Value) -> Result<()> {
        let full = format!("{namespace}-{name}");
        let metadata = json!({"name": full});
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules});
        self.apply(&format!("{rbac}/clusterroles/{full}"), &role, "testbed").await?;
        let mut binding = self.binding("ClusterRoleBinding", "ClusterRole", &metadata, namespace);
        binding["subjects"][0]["name"] = Value::from(name);
        self.apply(&format!("{rbac}/clusterrolebindings/{full}"), &binding, "testbed").await?;
        Ok(())
    }

    fn binding(&self, kind: &str, role_kind: &str, metadata: &Value, namespace: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": metadata["name"], "namespace": namespace}],
        })
    }

    /// Makes a service account anew: tokens of one that had this name are refused from then on (which the server may
    /// notice ten seconds late).
    ///
    /// # Errors
    /// It is refused.
    pub async fn renew_account(&self, namespace: &str, name: &str) -> Result<()> {
        self.delete(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}")).await?;
        self.account(namespace, name).await
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let metadata = json!({"name": name, "namespace": namespace});
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
        self.apply(&path, &object, "testbed").await?;
        Ok(())
    }

    /// A token of a service account, good for an hour.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn token(&self, namespace: &str, name: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
        let answer = self.create(&path, &request).await?;
        let token = answer.pointer("/status/token").and_then(Value::as_str);
        Ok(token.ok_or_else(|| Error::unexpected(path, "no token in the answer"))?.to_string())
    }

    /// Installs the CRDs of a YAML file (several documents) and waits until they are served. What is installed already
    /// stays as it is.
    ///
    /// # Errors
    /// The file can't be read, or a CRD is refused or not established in time.
    pub async fn install_crds(&self, file: &Path) -> Result<()> {
        let text = fs::read_to_string(file).map_err(Error::io(format!("reading {}", file.display())))?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| Error::File { path: file.to_owned(), detail: error.to_string() })?;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            self.install_crd(&document).await?;
        }
        Ok(())
    }

    /// Installs a CRD and waits until it is served.
    ///
    /// # Errors
    /// It is refused, or not established in time.
    pub async fn install_crd(&self, crd: &Value) -> Result<()> {
        const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        const LIMIT: Duration = Duration::from_secs(60);
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_string();
        let path = format!("{CRDS}/{name}");
        match self.request(Method::POST, CRDS, Some(("application/json", crd.to_string()))).await? {
            (201, _) => {}
            // One that has changed is changed, and nothing is written where it hasn't.
            (409, _) => drop(self.patch(&path, &json!({"spec": {"versions": crd["spec"]["versions"]}})).await?),
            (status, value) => return Err(Error::unexpected(format!("the CRD {name}"), format!("{status} {value}"))),
        }
        let served: Vec<(String, String)> = {
            let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
            let versions = crd.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
            let served = versions.iter().filter(|version| version["served"] == Value::Bool(true));
            served
                .filter_map(|version| version["name"].as_str())
                .map(|version| (format!("/apis/{}/{version}", text("/spec/group")), text("/spec/names/plural")))
                .collect()
        };
        let deadline = Instant::now() + LIMIT;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            last = self.get(&path).await?.unwrap_or_default();
            let conditions = conditions(&last);
            if conditions.get("Established").is_some_and(|status| status == "True") {
                let mut all = true;
                for (group_version, plural) in &served {
                    let list = self.get(group_version).await?.unwrap_or_default();
                    let resources = list["resources"].as_array().cloned().unwrap_or_default();
                    all &= resources.iter().any(|resource| resource["name"] == plural.as_str());
                }
                if all {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        let what = format!("the CRD {name} to be established");
        Err(Error::Timeout { what, limit: LIMIT, detail: last["status"].to_string() })
    }
}

/// `status.conditions` of an object: type → status.
#[must_use]
pub fn conditions(object: &Value) -> BTreeMap<String, String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    conditions.iter().map(|condition| (text(&condition["type"]), text(&condition["status"]))).collect()
}

/// The folder of the CRDs that come with the testbed.
#[must_use]
pub fn crds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")
}

/// Where kube-apiserver and etcd are; they are made when they are not there yet.
fn client(ca_pem: &str) -> Result<reqwest::Client> {
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).map_err(Error::http("reading the CA"))?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .timeout(Duration::from_secs(30))
        .build()
        .map_err(Error::http("making a client"))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}
