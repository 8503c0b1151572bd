//! The clusters that steps can name, connected to on first use.

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::Engine as _;
use kube::{
    Client,
    config::{AuthInfo, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext},
};
use secrecy::SecretString;
use serde_json::Value;

use super::{
    KubeError,
    config::{self, Ca, ClusterConfig, Credentials},
    discovery::Kinds,
    error::{Request, chain, is_unauthorized},
    proxy,
};

/// How long a request may take; watches have their own clock.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The service account of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The clusters that the configuration and the environment name. Cheap to clone; connections are made on first use and
/// shared.
#[derive(Debug, Clone)]
pub struct Clusters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    default: DefaultCluster,
    named: BTreeMap<String, ClusterConfig>,
    other_locators: Vec<String>,
    live: Mutex<BTreeMap<Option<String>, Arc<Cluster>>>,
}

#[derive(Debug)]
enum DefaultCluster {
    /// `KUBECONFIG`, `~/.kube/config`, or the service account.
    Environment,
    /// This kubeconfig file.
    File(PathBuf),
}

impl Clusters {
    /// Reads `kubernetes.clusterLocatorMethods`. The cluster of steps that name none is the current context of the
    /// kubeconfig (`KUBECONFIG`, `~/.kube/config`), else the cluster the service runs in, else the only configured one.
    ///
    /// # Errors
    /// The key of the configuration and what is wrong with it.
    pub fn from_config(raw: &Value) -> Result<Self, String> {
        Self::new(raw, DefaultCluster::Environment)
    }

    /// As [`Clusters::from_config`], with this kubeconfig file in the place of the environment's.
    ///
    /// # Errors
    /// As [`Clusters::from_config`].
    pub fn with_kubeconfig(raw: &Value, file: impl Into<PathBuf>) -> Result<Self, String> {
        Self::new(raw, DefaultCluster::File(file.into()))
    }

    fn new(raw: &Value, default: DefaultCluster) -> Result<Self, String> {
        let config = config::read(raw)?;
        let named = config.clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect();
        Ok(Self(Arc::new(Inner { default, named, other_locators: config.other_locators, live: Mutex::default() })))
    }

    /// The cluster with this name, or the default one. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no such cluster.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<Arc<Cluster>, KubeError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        let key = name.map(str::to_string);
        if let Some(cluster) = live.get(&key) {
            return Ok(Arc::clone(cluster));
        }
        let source = match name {
            Some(name) => {
                Source::Configured(Box::new(self.0.named.get(name).cloned().ok_or_else(|| self.unknown(name))?))
            }
            None => self.default_source()?,
        };
        let cluster = Arc::new(Cluster::new(source));
        live.insert(key, Arc::clone(&cluster));
        Ok(cluster)
    }

    /// A cluster that a step describes itself, by URL and token.
    ///
    /// # Errors
    /// The URL or the CA is none.
    pub(crate) fn ad_hoc(
        url: &str,
        token: understudy_sdk::Secret,
        skip_tls_verify: bool,
        ca_data: Option<&str>,
    ) -> Result<Arc<Cluster>, KubeError> {
        let parsed = url
            .trim_end_matches('/')
            .parse::<http::Uri>()
            .ok()
            .filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
            .ok_or_else(|| KubeError::Input(format!("\"{url}\" is an invalid url")))?;
        if parsed.scheme_str() != Some("https") {
            return Err(KubeError::Input(format!(
                "\"{url}\" is no https URL, and a token must not travel in the clear; clusters that are reached otherwise \
                 belong in kubernetes.clusterLocatorMethods"
            )));
        }
        let ca = match ca_data {
            Some(data) => Ca::Pem(config::pem(data).map_err(|reason| KubeError::Input(format!("caData: {reason}")))?),
            None => Ca::System,
        };
        let name = parsed.host().unwrap_or_default().to_string();
        let config = ClusterConfig { name, url: parsed, credentials: Credentials::Token(token), skip_tls_verify, ca };
        Ok(Arc::new(Cluster::new(Source::Configured(Box::new(config)))))
    }

    fn default_source(&self) -> Result<Source, KubeError> {
        let file = match &self.0.default {
            DefaultCluster::File(file) => return Ok(Source::Kubeconfig(Some(file.clone()))),
            DefaultCluster::Environment => {
                std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube").join("config"))
            }
        };
        if std::env::var("KUBECONFIG").is_ok_and(|value| !value.is_empty()) || file.is_some_and(|file| file.exists()) {
            return Ok(Source::Kubeconfig(None));
        }
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return Ok(Source::InCluster);
        }
        let mut named = self.0.named.values();
        match (named.next(), named.next()) {
            (Some(only), None) => Ok(Source::Configured(Box::new(only.clone()))),
            (None, _) => Err(KubeError::NotConfigured {
                reason: "there is no kubeconfig (KUBECONFIG, ~/.kube/config) and no service account".to_string(),
            }),
            (Some(_), Some(_)) => Err(KubeError::Input(format!(
                "the step names no cluster, and there is no kubeconfig or service account that would say which one is \
                 meant; {}",
                self.known()
            ))),
        }
    }

    fn unknown(&self, name: &str) -> KubeError {
        KubeError::UnknownCluster { name: name.chars().take(80).collect(), known: self.known() }
    }

    fn known(&self) -> String {
        let names: Vec<_> = self.0.named.keys().map(|name| format!("'{name}'")).collect();
        let mut text = if names.is_empty() {
            "none is configured there".to_string()
        } else {
            format!("configured are {}", names.join(", "))
        };
        if !self.0.other_locators.is_empty() {
            text.push_str(&format!(
                " (locators of the type {} are not read; list such clusters under type: config)",
                self.0.other_locators.join(", ")
            ));
        }
        text
    }
}

/// Where a connection's parameters come from; read again when credentials are refused.
#[derive(Debug, Clone)]
enum Source {
    Configured(Box<ClusterConfig>),
    /// This file, or those of the environment.
    Kubeconfig(Option<PathBuf>),
    InCluster,
}

/// A cluster: reads, writes and watches.
#[derive(Debug)]
pub(crate) struct Cluster {
    source: Source,
    connection: tokio::sync::Mutex<Option<Connection>>,
    pub(super) kinds: Kinds,
}

/// A client and what it was made from.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(super) client: Client,
    /// Counts how often the credentials were read.
    pub(super) generation: u64,
    pub(super) label: Arc<str>,
    pub(super) credentials: Arc<str>,
    pub(super) default_namespace: Arc<str>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("label", &self.label)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    fn new(source: Source) -> Self {
        Self { source, connection: tokio::sync::Mutex::default(), kinds: Kinds::default() }
    }

    /// The connection, made on first use.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub(super) async fn connection(&self) -> Result<Connection, KubeError> {
        let mut slot = self.connection.lock().await;
        match &*slot {
            Some(connection) => Ok(connection.clone()),
            None => Ok(slot.insert(self.connect(0).await?).clone()),
        }
    }

    /// A connection with credentials read after those of `refused`.
    pub(super) async fn renew(&self, refused: &Connection) -> Result<Connection, KubeError> {
        let mut slot = self.connection.lock().await;
        match &*slot {
            Some(newer) if newer.generation > refused.generation => Ok(newer.clone()),
            _ => Ok(slot.insert(self.connect(refused.generation + 1).await?).clone()),
        }
    }

    async fn connect(&self, generation: u64) -> Result<Connection, KubeError> {
        let source = self.source.clone();
        let runtime = tokio::runtime::Handle::current();
        // Reads files, and plugins of a kubeconfig are programs that are waited for.
        let parameters = tokio::task::spawn_blocking(move || runtime.block_on(parameters(&source)))
            .await
            .map_err(|error| self.unusable("the cluster".to_string(), error.to_string()))??;
        let Parameters { label, credentials, mut config } = parameters;
        config.connect_timeout = Some(CONNECT_WITHIN);
        let default_namespace = config.default_namespace.as_str().into();
        let client = Client::try_from(config).map_err(|error| self.unusable(label.clone(), chain(&error)))?;
        Ok(Connection { client, generation, label: label.into(), credentials: credentials.into(), default_namespace })
    }

    fn unusable(&self, cluster: String, reason: String) -> KubeError {
        KubeError::Config { cluster, reason }
    }

    /// What messages call this cluster: `the cluster 'prod'`.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub(crate) async fn label(&self) -> Result<String, KubeError> {
        Ok(self.connection().await?.label.to_string())
    }

    /// The namespace of objects that name none: the kubeconfig context's, the service account's, or `default`.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub(crate) async fn default_namespace(&self) -> Result<String, KubeError> {
        Ok(self.connection().await?.default_namespace.to_string())
    }

    /// Sends a request; when the credentials are refused, once more with credentials read again.
    pub(super) async fn call<T, F, Fut>(
        &self,
        request: impl FnOnce(&Connection) -> Request,
        send: F,
    ) -> Result<T, KubeError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        let mut connection = self.connection().await?;
        let mut answer = tokio::time::timeout(ANSWER_WITHIN, send(connection.client.clone())).await;
        if matches!(&answer, Ok(Err(error)) if is_unauthorized(error)) {
            connection = self.renew(&connection).await?;
            answer = tokio::time::timeout(ANSWER_WITHIN, send(connection.client.clone())).await;
        }
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(request(&connection).fail(&error)),
            Err(_) => Err(request(&connection).no_answer(ANSWER_WITHIN)),
        }
    }
}

struct Parameters {
    label: String,
    credentials: String,
    config: kube::Config,
}

async fn parameters(source: &Source) -> Result<Parameters, KubeError> {
    match source {
        Source::Configured(cluster) => configured(cluster).await,
        Source::Kubeconfig(file) => kubeconfig(file.as_ref()).await,
        Source::InCluster => {
            let label = "the cluster the service runs in".to_string();
            let mut config = kube::Config::incluster()
                .map_err(|error| KubeError::Config { cluster: label.clone(), reason: chain(&error) })?;
            config.proxy_url = None;
            let credentials = format!("they are the pod's service account token, {SERVICE_ACCOUNT}/token");
            Ok(Parameters { label, credentials, config })
        }
    }
}

async fn kubeconfig(file: Option<&PathBuf>) -> Result<Parameters, KubeError> {
    let failed = |reason: String| KubeError::Config { cluster: "the kubeconfig's cluster".to_string(), reason };
    let kubeconfig = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    }
    .map_err(|error| failed(chain(&error)))?;
    let context = kubeconfig
        .current_context
        .clone()
        .filter(|context| !context.is_empty())
        .ok_or_else(|| failed("it has no current-context; set one with kubectl config use-context".to_string()))?;
    let label = format!("the cluster of the kubeconfig context '{context}'");
    let own_proxy = own_proxy(&kubeconfig, &context);
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| KubeError::Config { cluster: label.clone(), reason: chain(&error) })?;
    config.proxy_url = proxy_url(own_proxy, &config.cluster_url, &label)?;
    let credentials = format!("they are those of the user of the kubeconfig context '{context}'");
    Ok(Parameters { label, credentials, config })
}

async fn configured(cluster: &ClusterConfig) -> Result<Parameters, KubeError> {
    let label = format!("the cluster '{}'", cluster.name);
    let failed = |reason: String| KubeError::Config { cluster: label.clone(), reason };
    let mut auth = AuthInfo::default();
    let credentials = match &cluster.credentials {
        Credentials::None => "none are configured".to_string(),
        Credentials::Token(token) => {
            auth.token = Some(SecretString::from(token.expose().to_string()));
            "they are its serviceAccountToken, which does not change while the service runs; serviceAccountTokenFile names \
             a file that is read again"
                .to_string()
        }
        Credentials::TokenFile(file) => {
            auth.token_file = Some(file.clone());
            format!("they are in its serviceAccountTokenFile {file}")
        }
        Credentials::InCluster => {
            let file = format!("{SERVICE_ACCOUNT}/token");
            let text = format!("they are the pod's service account token, {file}");
            auth.token_file = Some(file);
            text
        }
        Credentials::Unsupported(provider) => {
            return Err(failed(format!(
                "its authProvider is {provider}, which needs a person's token; steps use authProvider serviceAccount with a \
                 serviceAccountToken"
            )));
        }
    };
    let mut target =
        kube::config::Cluster { server: Some(cluster.url.to_string()), ..kube::config::Cluster::default() };
    match &cluster.ca {
        // A CA would be checked in spite of the switch.
        _ if cluster.skip_tls_verify => target.insecure_skip_tls_verify = Some(true),
        Ca::System => {}
        Ca::Pem(pem) => {
            target.certificate_authority_data = Some(base64::engine::general_purpose::STANDARD.encode(pem));
        }
        Ca::File(file) => target.certificate_authority = Some(file.clone()),
    }
    let name = cluster.name.clone();
    let context = Context { cluster: name.clone(), user: Some(name.clone()), ..Context::default() };
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster { name: name.clone(), cluster: Some(target), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: name.clone(), auth_info: Some(auth), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext { name: name.clone(), context: Some(context), ..NamedContext::default() }],
        current_context: Some(name),
        ..Kubeconfig::default()
    };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(chain(&error)))?;
    config.proxy_url = proxy_url(None, &config.cluster_url, &label)?;
    Ok(Parameters { label, credentials, config })
}

fn own_proxy(kubeconfig: &Kubeconfig, context: &str) -> Option<String> {
    let context = kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty())
}

/// A cluster's own proxy, else the environment's.
fn proxy_url(own: Option<String>, cluster: &http::Uri, label: &str) -> Result<Option<http::Uri>, KubeError> {
    let Some(proxy) = own.or_else(|| proxy::for_url(cluster, |name| std::env::var(name).ok())) else {
        return Ok(None);
    };
    // The text is left out: proxies have passwords.
    let url = proxy.parse::<http::Uri>().map_err(|error| KubeError::Config {
        cluster: label.to_string(),
        reason: format!("its proxy (proxy-url or HTTPS_PROXY) is no URL: {error}"),
    })?;
    Ok(Some(url))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_cluster_lists_those_configured() {
        let clusters = Clusters::from_config(&json!({"kubernetes": {"clusterLocatorMethods": [
            {"type": "config", "clusters": [{"name": "a", "url": "https://a"}, {"name": "b", "url": "https://b"}]},
            {"type": "gke"},
        ]}}))
        .unwrap();
        assert!(clusters.get(Some("a")).is_ok());
        assert!(Arc::ptr_eq(&clusters.get(Some("a")).unwrap(), &clusters.get(Some("a")).unwrap()));
        assert_eq!(
            clusters.get(Some("c")).unwrap_err().to_string(),
            "there is no cluster 'c' in kubernetes.clusterLocatorMethods; configured are 'a', 'b' (locators of the type gke \
             are not read; list such clusters under type: config)"
        );
    }
}
