//! The `argocd` section of the configuration.

use serde_json::{Map, Value};
use understudy_sdk::Secret;
use url::Url;

/// Argo CD instances and defaults, as `argocd.*` of the configuration gives them. The keys are those of
/// `@roadiehq/backstage-plugin-argo-cd-node` 2.0.0; `argocd.namespace` is our own.
#[derive(Debug, Clone, Default)]
pub struct ArgocdConfig {
    /// The instances that steps may name.
    pub(crate) instances: Vec<Instance>,
    /// What projects made by `argocd:create-resources` may hold.
    pub(crate) project_settings: ProjectSettings,
    /// The namespace that Argo CD runs in and has its Applications in.
    pub(crate) namespace: Option<String>,
    /// Where people find Argo CD's pages, for links.
    pub(crate) base_url: Option<String>,
}

/// An Argo CD API server.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) name: String,
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) credentials: Credentials,
}

/// How to get a token of an instance.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// A token made in advance.
    Token(Secret),
    /// A local user; its sessions expire and are renewed.
    Password { username: String, password: Secret },
    /// None are configured.
    Missing,
}

/// Members of a project's `spec` that the configuration sets, as they stand there.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProjectSettings(pub(crate) Map<String, Value>);

impl ArgocdConfig {
    /// Reads the `argocd` section out of the whole configuration. No section means no instances.
    ///
    /// # Errors
    /// A text that names the key and says what is wrong there; never the value.
    pub fn from_config(config: &Value) -> Result<Self, String> {
        let Some(section) = member(config, "argocd") else { return Ok(Self::default()) };
        let username = text(section, "argocd", "username")?;
        let password = text(section, "argocd", "password")?;
        let mut read = Self {
            namespace: text(section, "argocd", "namespace")?,
            base_url: text(section, "argocd", "baseUrl")?.map(|url| url.trim_end_matches('/').to_owned()),
            ..Self::default()
        };
        if let Some(namespace) = &read.namespace {
            crate::client::label(namespace).map_err(|reason| format!("argocd.namespace: {reason}"))?;
        }
        if let Some(settings) = member(section, "projectSettings") {
            read.project_settings = project_settings(settings)?;
        }
        for (index, method) in list(section, "argocd", "appLocatorMethods")?.iter().enumerate() {
            let key = format!("argocd.appLocatorMethods[{index}]");
            // Other methods find applications of running clusters and name no instances.
            if text(method, &key, "type")?.as_deref() != Some("config") {
                continue;
            }
            for (index, entry) in list(method, &key, "instances")?.iter().enumerate() {
                let key = format!("{key}.instances[{index}]");
                let found = instance(entry, &key, username.as_deref(), password.as_deref())?;
                if read.instances.iter().any(|known| known.name == found.name) {
                    return Err(format!(
                        "{key}.name: there is another instance named '{}'; give each a name of its own",
                        found.name
                    ));
                }
                read.instances.push(found);
            }
        }
        Ok(read)
    }
}

fn instance(
    entry: &Value,
    key: &str,
    default_username: Option<&str>,
    default_password: Option<&str>,
) -> Result<Instance, String> {
    let required =
        |name: &str| text(entry, key, name)?.ok_or_else(|| format!("{key}.{name}: missing, a string is required here"));
    let name = required("name")?;
    let url = required("url")?;
    let parsed = Url::parse(&url).map_err(|error| format!("{key}.url: not a URL: {error}"))?;
    if !matches!(parsed.scheme(), "https" | "http") || parsed.host_str().is_none() {
        return Err(format!("{key}.url: expected a URL such as https://argocd.example.org"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(format!("{key}.url: must hold no credentials; give them as username and password"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("{key}.url: must end with the path of the Argo CD server, without '?' and '#'"));
    }
    let username = text(entry, key, "username")?;
    let password = text(entry, key, "password")?;
    let credentials = match (text(entry, key, "token")?, username, password) {
        (Some(token), ..) => Credentials::Token(Secret::new(token)),
        (None, Some(username), Some(password)) => Credentials::Password { username, password: Secret::new(password) },
        (None, Some(_), None) => return Err(format!("{key}.password: missing, the instance has a username")),
        (None, None, Some(_)) => return Err(format!("{key}.username: missing, the instance has a password")),
        (None, None, None) => match (default_username, default_password) {
            (Some(username), Some(password)) => {
                Credentials::Password { username: username.to_owned(), password: Secret::new(password) }
            }
            _ => Credentials::Missing,
        },
    };
    Ok(Instance { name, url: parsed.as_str().trim_end_matches('/').to_owned(), credentials })
}

fn project_settings(settings: &Value) -> Result<ProjectSettings, String> {
    let mut spec = Map::new();
    for name in [
        "clusterResourceBlacklist",
        "clusterResourceWhitelist",
        "namespaceResourceBlacklist",
        "namespaceResourceWhitelist",
    ] {
        let entries = list(settings, "argocd.projectSettings", name)?;
        for (index, entry) in entries.iter().enumerate() {
            let key = format!("argocd.projectSettings.{name}[{index}]");
            for part in ["group", "kind"] {
                // The core group is the empty text.
                if !entry.get(part).is_some_and(Value::is_string) {
                    return Err(format!("{key}.{part}: missing, a string is required here"));
                }
            }
        }
        if member(settings, name).is_some() {
            spec.insert(name.to_owned(), Value::Array(entries.to_vec()));
        }
    }
    Ok(ProjectSettings(spec))
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|value| !value.is_null())
}

fn text(value: &Value, key: &str, name: &str) -> Result<Option<String>, String> {
    match member(value, name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(format!("{key}.{name}: expected a text that isn't empty; give one or leave the key out")),
    }
}

fn list<'v>(value: &'v Value, key: &str, name: &str) -> Result<&'v [Value], String> {
    match member(value, name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{key}.{name}: expected a list")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(argocd: Value) -> Result<ArgocdConfig, String> {
        ArgocdConfig::from_config(&json!({ "argocd": argocd }))
    }

    #[test]
    fn instances_take_their_own_credentials_before_the_common_ones() {
        let config = read(json!({
            "username": "common", "password": "common-password",
            "appLocatorMethods": [
                {"type": "other", "instances": "ignored"},
                {"type": "config", "instances": [
                    {"name": "a", "url": "https://a.example.org/", "token": "t"},
                    {"name": "b", "url": "https://b.example.org/argo-cd/", "username": "u", "password": "p"},
                    {"name": "c", "url": "http://127.0.0.1:8080"},
                ]},
            ],
        }))
        .unwrap();
        let urls: Vec<_> = config.instances.iter().map(|instance| instance.url.as_str()).collect();
        assert_eq!(urls, ["https://a.example.org", "https://b.example.org/argo-cd", "http://127.0.0.1:8080"]);
        let shown: Vec<_> = config
            .instances
            .iter()
            .map(|instance| match &instance.credentials {
                Credentials::Token(token) => format!("token {}", token.expose()),
                Credentials::Password { username, password } => format!("{username} {}", password.expose()),
                Credentials::Missing => "missing".to_owned(),
            })
            .collect();
        assert_eq!(shown, ["token t", "u p", "common common-password"]);
        assert!(!format!("{config:?}").contains("common-password"));
    }

    #[test]
    fn nothing_configured_is_fine() {
        assert!(ArgocdConfig::from_config(&json!({})).unwrap().instances.is_empty());
        let config = read(json!({"appLocatorMethods": [{"type": "config", "instances": [
            {"name": "a", "url": "https://a.example.org"}]}]}))
        .unwrap();
        assert!(matches!(config.instances[0].credentials, Credentials::Missing));
    }

    #[test]
    fn mistakes_name_the_key_and_hide_the_value() {
        let one = |instance: Value| json!({"appLocatorMethods": [{"type": "config", "instances": [instance]}]});
        let cases = [
            (json!({"appLocatorMethods": {}}), "argocd.appLocatorMethods: expected a list"),
            (one(json!({"url": "https://a"})), "argocd.appLocatorMethods[0].instances[0].name: missing"),
            (one(json!({"name": "a", "url": "hunter2"})), "argocd.appLocatorMethods[0].instances[0].url: not a URL"),
            (one(json!({"name": "a", "url": "ftp://a"})), "instances[0].url: expected a URL such as"),
            (one(json!({"name": "a", "url": "https://u:hunter2@a"})), "instances[0].url: must hold no credentials"),
            (one(json!({"name": "a", "url": "https://a", "password": "hunter2"})), "instances[0].username: missing"),
            (one(json!({"name": "a", "url": "https://a", "token": 7})), "instances[0].token: expected a text"),
            (json!({"namespace": "Not_DNS"}), "argocd.namespace: 'Not_DNS' is no DNS label"),
            (
                json!({"projectSettings": {"clusterResourceWhitelist": [{"kind": "Namespace"}]}}),
                "argocd.projectSettings.clusterResourceWhitelist[0].group: missing",
            ),
        ];
        for (argocd, expected) in cases {
            let error = read(argocd).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let twice = json!({"appLocatorMethods": [{"type": "config", "instances": [
            {"name": "a", "url": "https://a"}, {"name": "a", "url": "https://b"}]}]});
        assert!(read(twice).unwrap_err().contains("instances[1].name: there is another instance named 'a'"));
    }
}
