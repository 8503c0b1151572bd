//! Where plugins of Backstage are reached.
//!
//! The rules are those of `@backstage/backend-defaults` 0.18.0 (`HostDiscovery`): `discovery.endpoints` names targets for
//! plugins or for all others (`*`), a later entry wins. One rule is ours: where the configuration names an endpoint for
//! `scaffolder` and none for another plugin, that plugin is part of the Backstage backend at `backend.baseUrl`. So the
//! configuration of a Backstage that sends scaffolder requests elsewhere works for this service as it stands.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use url::Url;

/// The plugin whose place this service takes.
pub const OWN_PLUGIN: &str = "scaffolder";

/// An item of `discovery.endpoints`, its URLs checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// For calls between backends, with `{{pluginId}}` in it as a rule.
    pub internal: Option<String>,
    /// For browsers.
    pub external: Option<String>,
    /// Plugin ids; `*` means all that no entry names.
    pub plugins: Vec<String>,
}

/// Why a target can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A URL whose host is looked up as an SRV record.
    #[error(
        "SRV records are not looked up by this version; name the host and the port, as in http://host:7007/api/{{{{pluginId}}}}"
    )]
    Srv,
    /// Something else.
    #[error("no http or https URL, as in http://host:7007/api/{{{{pluginId}}}}")]
    NoUrl,
}

/// Checks a target URL.
///
/// # Errors
/// It is no `http` or `https` URL.
pub fn check_target(target: &str) -> Result<(), TargetError> {
    match Url::parse(&with_plugin(target, "plugin")) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        Ok(url) if url.scheme().ends_with("+srv") => Err(TargetError::Srv),
        _ => Err(TargetError::NoUrl),
    }
}

/// Base URLs of plugins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Discovery(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    internal: HashMap<String, String>,
    external: HashMap<String, String>,
    /// `backend.baseUrl`.
    base_url: String,
    /// How this process reaches itself.
    own: String,
    /// The Backstage backend beside this service, where only the scaffolder's own endpoint tells of it.
    neighbour: Option<String>,
}

impl Discovery {
    /// For `discovery.endpoints`, `backend.baseUrl` (no slash at its end) and the address this service listens on.
    pub fn new(endpoints: &[Endpoint], base_url: &str, listen: SocketAddr) -> Self {
        let mut internal = HashMap::new();
        let mut external = HashMap::new();
        for endpoint in endpoints {
            for plugin in &endpoint.plugins {
                if let Some(target) = &endpoint.internal {
                    internal.insert(plugin.clone(), target.clone());
                }
                if let Some(target) = &endpoint.external {
                    external.insert(plugin.clone(), target.clone());
                }
            }
        }
        let own = match listen {
            listen if listen.ip().is_unspecified() => format!("http://localhost:{}", listen.port()),
            listen => format!("http://{listen}"),
        };
        let own_target = internal.get(OWN_PLUGIN).or_else(|| external.get(OWN_PLUGIN));
        let neighbour = own_target.filter(|target| origin(target) != origin(base_url)).map(|_| base_url.to_string());
        Self(Arc::new(Inner { internal, external, base_url: base_url.to_string(), own, neighbour }))
    }

    /// The base URL of a plugin for calls between backends, without a slash at its end.
    pub fn internal(&self, plugin: &str) -> String {
        let inner = &self.0;
        match (inner.internal.get(plugin).or_else(|| inner.internal.get("*")), &inner.neighbour) {
            (Some(target), _) => with_plugin(target, plugin),
            (None, Some(neighbour)) if plugin != OWN_PLUGIN => format!("{neighbour}/api/{plugin}"),
            _ => format!("{}/api/{plugin}", inner.own),
        }
    }
    /// The base URL of a plugin for browsers, without a slash at its end.
    pub fn external(&self, plugin: &str) -> String {
        let target = self.0.external.get(plugin).or_else(|| self.0.external.get("*"));
        match target {
            Some(target) => with_plugin(target, plugin),
            None => format!("{}/api/{plugin}", self.0.base_url),
        }
    }
    /// Whether another process serves a plugin: the configuration says where, and it is not here.
    pub fn is_elsewhere(&self, plugin: &str) -> bool {
        let there = origin(&self.internal(plugin));
        there != origin(&self.0.own) && there != origin(&self.internal(OWN_PLUGIN))
    }
}

fn with_plugin(target: &str, plugin: &str) -> String {
    let mut rest = target;
    let mut url = String::with_capacity(target.len() + plugin.len());
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}").map(|end| start + end) else { break };
        url.push_str(&rest[..start]);
        match rest[start + 2..end].trim() {
            "pluginId" => url.push_str(plugin),
            _ => url.push_str(&rest[start..end + 2]),
        }
        rest = &rest[end + 2..];
    }
    url.push_str(rest);
    url.trim_end_matches('/').to_string()
}

/// Scheme, host and port; `localhost` and its addresses are the same.
fn origin(url: &str) -> Option<(String, String, Option<u16>)> {
    let url = Url::parse(url).ok()?;
    let host = match url.host()? {
        url::Host::Ipv4(address) if address.is_loopback() => "localhost".to_string(),
        url::Host::Ipv6(address) if address.is_loopback() => "localhost".to_string(),
        host => host.to_string(),
    };
    Some((url.scheme().to_string(), host, url.port_or_known_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(internal: &str, external: &str, plugins: &[&str]) -> Endpoint {
        let some = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        Endpoint {
            internal: some(internal),
            external: some(external),
            plugins: plugins.iter().map(|plugin| (*plugin).to_string()).collect(),
        }
    }

    fn discovery(endpoints: &[Endpoint], base_url: &str, listen: &str) -> Discovery {
        Discovery::new(endpoints, base_url, listen.parse().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    #[test]
    fn nothing_configured_is_all_here() {
        let discovery = discovery(&[], "https://portal.example.com", "0.0.0.0:7008");
        assert_eq!(discovery.internal("catalog"), "http://localhost:7008/api/catalog");
        assert_eq!(discovery.external("catalog"), "https://portal.example.com/api/catalog");
        assert!(!discovery.is_elsewhere("catalog") && !discovery.is_elsewhere("auth"));
    }

    #[test]
    fn entries_name_plugins_or_all_others_and_later_ones_win() {
        let discovery = discovery(
            &[
                endpoint("http://all/{{ pluginId }}/x/", "http://all/{{pluginId}}", &["*", "auth"]),
                endpoint("http://auth:7/api/{{pluginId}}", "", &["auth"]),
                endpoint("", "https://out/{{other}}/{{pluginId}}", &["search"]),
            ],
            "http://localhost:7007",
            "127.0.0.1:7007",
        );
        assert_eq!(discovery.internal("catalog"), "http://all/catalog/x");
        assert_eq!(discovery.internal("auth"), "http://auth:7/api/auth");
        assert_eq!(discovery.external("auth"), "http://all/auth");
        assert_eq!(discovery.external("search"), "https://out/{{other}}/search");
        assert!(discovery.is_elsewhere("auth"));
    }

    #[test]
    fn the_scaffolders_own_entry_tells_where_the_others_are() {
        let own = endpoint("http://localhost:7008/api/{{pluginId}}", "", &["scaffolder"]);
        let beside = discovery(std::slice::from_ref(&own), "http://localhost:7007", "127.0.0.1:7008");
        assert_eq!(beside.internal("catalog"), "http://localhost:7007/api/catalog");
        assert_eq!(beside.internal("scaffolder"), "http://localhost:7008/api/scaffolder");
        assert!(beside.is_elsewhere("catalog") && !beside.is_elsewhere("scaffolder"));
        let alone = discovery(&[own], "http://localhost:7008", "127.0.0.1:7008");
        assert!(!alone.is_elsewhere("catalog"));
        let everything = endpoint("http://127.0.0.1:7008/api/{{pluginId}}", "", &["*"]);
        assert!(!discovery(&[everything], "http://portal", "[::]:7008").is_elsewhere("catalog"));
    }

    #[test]
    fn targets_are_http() {
        assert_eq!(check_target("http://{{pluginId}}.example.com/api/{{pluginId}}"), Ok(()));
        assert_eq!(check_target("http+srv://x/api/{{pluginId}}"), Err(TargetError::Srv));
        for wrong in ["", "x", "ftp://x", "http://"] {
            assert_eq!(check_target(wrong), Err(TargetError::NoUrl), "{wrong}");
        }
        let text = TargetError::Srv.to_string();
        assert!(text.ends_with("http://host:7007/api/{{pluginId}}"), "{text}");
    }
}
