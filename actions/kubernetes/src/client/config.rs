//! The section `kubernetes` of the configuration: the clusters of Backstage's Kubernetes plugin.

use base64::Engine as _;
use serde_json::Value;
use understudy_sdk::Secret;

/// A cluster as configured in `kubernetes.clusterLocatorMethods[].clusters[]`.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    /// The name that steps use.
    pub(crate) name: String,
    /// The API server.
    pub(crate) url: http::Uri,
    /// How the service proves who it is.
    pub(crate) credentials: Credentials,
    /// Whether any certificate of the server is accepted.
    pub(crate) skip_tls_verify: bool,
    /// The CA of the server's certificate, DER, one or more.
    pub(crate) ca: Ca,
}

/// Where a cluster's CA comes from.
#[derive(Debug, Clone)]
pub(crate) enum Ca {
    /// The machine's.
    System,
    /// PEM text.
    Pem(String),
    /// A PEM file, read when the cluster is connected to.
    File(String),
}

/// How the service proves who it is to a cluster.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// None: a proxy in front of the API server adds them.
    None,
    /// `serviceAccountToken`.
    Token(Secret),
    /// `serviceAccountTokenFile`: read when the cluster is connected to, and again when it is refused.
    TokenFile(String),
    /// The token of the service account that the service runs under.
    InCluster,
    /// An `authProvider` that needs the user's own token; why, in words.
    Unsupported(String),
}

/// All clusters of the configuration, and the locator types that name clusters elsewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct KubernetesConfig {
    pub(crate) clusters: Vec<ClusterConfig>,
    /// Types of locators that are not read.
    pub(crate) other_locators: Vec<String>,
}

/// Reads the section `kubernetes`.
///
/// # Errors
/// The key and what is wrong with it.
pub(crate) fn read(raw: &Value) -> Result<KubernetesConfig, String> {
    let mut config = KubernetesConfig::default();
    let key = "kubernetes.clusterLocatorMethods";
    let methods = match raw.pointer("/kubernetes/clusterLocatorMethods") {
        None | Some(Value::Null) => return Ok(config),
        Some(Value::Array(methods)) => methods,
        Some(_) => return Err(format!("{key}: expected a list")),
    };
    for (index, method) in methods.iter().enumerate() {
        let key = format!("{key}[{index}]");
        match text(method, "type", &key)?.as_deref() {
            Some("config") => {
                let Some(Value::Array(clusters)) = method.get("clusters") else {
                    return Err(format!("{key}.clusters: expected a list of clusters"));
                };
                for (index, value) in clusters.iter().enumerate() {
                    let cluster = cluster(value, &format!("{key}.clusters[{index}]"))?;
                    if config.clusters.iter().any(|known| known.name == cluster.name) {
                        return Err(format!(
                            "{key}.clusters[{index}].name: there is another cluster '{}'",
                            cluster.name
                        ));
                    }
                    config.clusters.push(cluster);
                }
            }
            // `kubectl proxy` of the machine the service runs on.
            Some("localKubectlProxy") => config.clusters.push(ClusterConfig {
                name: "local".to_string(),
                url: http::Uri::from_static("http://localhost:8001"),
                credentials: Credentials::None,
                skip_tls_verify: false,
                ca: Ca::System,
            }),
            Some(other) => config.other_locators.push(other.to_string()),
            None => return Err(format!("{key}.type: expected a text (config, localKubectlProxy)")),
        }
    }
    Ok(config)
}

fn cluster(value: &Value, key: &str) -> Result<ClusterConfig, String> {
    let required =
        |name: &str| text(value, name, key)?.ok_or_else(|| format!("{key}.{name}: expected a text, nothing is there"));
    let name = required("name")?;
    let url = required("url")?;
    let url = url
        .trim_end_matches('/')
        .parse::<http::Uri>()
        .ok()
        .filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        .ok_or_else(|| format!("{key}.url: no http or https URL"))?;
    let provider = match text(value, "authProvider", key)? {
        Some(provider) => Some(provider),
        // Newer configurations have it in an annotation-like map.
        None => match value.get("authMetadata") {
            Some(metadata) => text(metadata, "kubernetes.io/auth-provider", &format!("{key}.authMetadata"))?,
            None => None,
        },
    };
    let token = text(value, "serviceAccountToken", key)?.map(Secret::new);
    let token_file = text(value, "serviceAccountTokenFile", key)?;
    let credentials = match (provider.as_deref(), token, token_file) {
        (None | Some("serviceAccount"), Some(token), _) => Credentials::Token(token),
        (None | Some("serviceAccount"), None, Some(file)) => Credentials::TokenFile(file),
        (Some("serviceAccount"), None, None) => Credentials::InCluster,
        (Some("localKubectlProxy"), ..) | (None, None, None) => Credentials::None,
        (Some(other), ..) => Credentials::Unsupported(other.to_string()),
    };
    let ca = match (text(value, "caData", key)?, text(value, "caFile", key)?) {
        (Some(data), _) => Ca::Pem(pem(&data).map_err(|reason| format!("{key}.caData: {reason}"))?),
        (None, Some(file)) => Ca::File(file),
        (None, None) => Ca::System,
    };
    let skip_tls_verify = match value.get("skipTLSVerify") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(skip)) => *skip,
        Some(_) => return Err(format!("{key}.skipTLSVerify: expected true or false")),
    };
    Ok(ClusterConfig { name, url, credentials, skip_tls_verify, ca })
}

/// Base64 of a PEM text, or the PEM text itself.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn pem(data: &str) -> Result<String, String> {
    if data.contains("-----BEGIN") {
        return Ok(data.to_string());
    }
    let compact: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD
        .decode(compact)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| text.contains("-----BEGIN"))
        .ok_or_else(|| "expected a PEM certificate in base64".to_string())
}

fn text(value: &Value, name: &str, key: &str) -> Result<Option<String>, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{key}.{name}: expected a text")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(cluster: Value) -> Result<KubernetesConfig, String> {
        read(&json!({"kubernetes": {"clusterLocatorMethods": [{"type": "config", "clusters": [cluster]}]}}))
    }

    #[test]
    fn clusters_of_the_configuration() {
        let config = read(&json!({"kubernetes": {"clusterLocatorMethods": [
            {"type": "config", "clusters": [
                {"name": "a", "url": "https://a:6443/", "authProvider": "serviceAccount", "serviceAccountToken": "t0ken", "skipTLSVerify": true},
                {"name": "b", "url": "https://b", "authProvider": "serviceAccount"},
                {"name": "c", "url": "https://c", "authProvider": "google"},
            ]},
            {"type": "localKubectlProxy"},
            {"type": "gke", "projectId": "p"},
        ]}}))
        .unwrap();
        let names: Vec<_> = config.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "local"]);
        assert_eq!(config.other_locators, ["gke"]);
        assert!(config.clusters[0].skip_tls_verify);
        assert!(matches!(config.clusters[1].credentials, Credentials::InCluster));
        assert!(matches!(config.clusters[2].credentials, Credentials::Unsupported(_)));
        assert!(!format!("{config:?}").contains("t0ken"));
        assert!(read(&json!({})).unwrap().clusters.is_empty());
    }

    #[test]
    fn mistakes_name_their_key() {
        let base = "kubernetes.clusterLocatorMethods[0].clusters[0]";
        for (cluster, expected) in [
            (json!({"url": "https://a"}), ".name: expected a text, nothing is there"),
            (json!({"name": "a", "url": "a"}), ".url: no http or https URL"),
            (json!({"name": "a", "url": 1}), ".url: expected a text"),
            (json!({"name": "a", "url": "https://a", "caData": "x"}), ".caData: expected a PEM certificate in base64"),
            (json!({"name": "a", "url": "https://a", "skipTLSVerify": "no"}), ".skipTLSVerify: expected true or false"),
        ] {
            assert_eq!(one(cluster).unwrap_err(), format!("{base}{expected}"));
        }
    }
}
