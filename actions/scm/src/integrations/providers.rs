//! What is known of each kind of host.

use understudy_sdk::Secret;
use url::Url;

use super::config::Node;

/// One GitHub App of an integration.
#[derive(Debug, Clone)]
pub struct GithubApp {
    /// `appId`
    pub app_id: u64,
    /// `clientId`
    pub client_id: Option<String>,
    /// `privateKey`, PEM.
    pub private_key: Secret,
    /// `allowedInstallationOwners`; `None`: all.
    pub allowed_installation_owners: Option<Vec<String>>,
    /// `publicAccess`: where the App isn't installed, a token of another installation serves to read what is public.
    pub public_access: bool,
}

/// `integrations.github[]`
#[derive(Debug, Clone)]
pub struct Github {
    /// Host, port included unless it is 443.
    pub host: String,
    /// Base of the REST API, no trailing slash.
    pub api_base_url: String,
    /// Base of raw files, no trailing slash; used for anonymous reading only.
    pub raw_base_url: Option<String>,
    /// Personal access token.
    pub token: Option<Secret>,
    /// GitHub Apps.
    pub apps: Vec<GithubApp>,
}

/// `integrations.gitlab[]`
#[derive(Debug, Clone)]
pub struct Gitlab {
    /// Host, port included unless it is 443.
    pub host: String,
    /// Base of the REST API, no trailing slash.
    pub api_base_url: String,
    /// Base of the web interface, no trailing slash.
    pub base_url: String,
    /// Access token.
    pub token: Option<Secret>,
}

/// `integrations.gitea[]`
#[derive(Debug, Clone)]
pub struct Gitea {
    /// Host, port included unless it is 443.
    pub host: String,
    /// Base of the web interface, no trailing slash.
    pub base_url: String,
    /// User; without it `password` is a token.
    pub username: Option<String>,
    /// Password or token.
    pub password: Option<Secret>,
}

/// A host of a kind whose files this service can't read yet, but whose `repoUrl`s and relative URLs it understands.
#[derive(Debug, Clone)]
pub struct Other {
    /// Host, port included unless it is 443.
    pub host: String,
}

const GITHUB: &str = "github.com";
const GITLAB: &str = "gitlab.com";

impl Github {
    pub(super) fn of(host: &str) -> Self {
        let (api_base_url, raw_base_url) = if host == GITHUB {
            ("https://api.github.com".to_string(), Some("https://raw.githubusercontent.com".to_string()))
        } else {
            (format!("https://{host}/api/v3"), None)
        };
        Self { host: host.to_string(), api_base_url, raw_base_url, token: None, apps: Vec::new() }
    }

    pub(super) fn read(node: &Node<'_>) -> Result<Self, String> {
        let mut github = Self::of(&host(node, Some(GITHUB))?);
        if let Some(url) = base_url(&node.get("apiBaseUrl")?)? {
            github.api_base_url = url;
        }
        if let Some(url) = base_url(&node.get("rawBaseUrl")?)? {
            github.raw_base_url = Some(url);
        }
        github.token = node.get("token")?.secret()?;
        for app in node.get("apps")?.items()? {
            let app_id = app.get("appId")?;
            let private_key = app.get("privateKey")?;
            github.apps.push(GithubApp {
                app_id: app_id.unsigned()?.ok_or_else(|| format!("{}: missing, a number is required", app_id.key()))?,
                client_id: app.get("clientId")?.string()?,
                private_key: private_key.secret()?.ok_or_else(|| {
                    format!("{}: missing, the App's private key in PEM is required", private_key.key())
                })?,
                allowed_installation_owners: app.get("allowedInstallationOwners")?.strings()?,
                public_access: app.get("publicAccess")?.boolean()?.unwrap_or(false),
            });
        }
        Ok(github)
    }
}

impl Gitlab {
    pub(super) fn of(host: &str) -> Self {
        Self {
            host: host.to_string(),
            api_base_url: format!("https://{host}/api/v4"),
            base_url: format!("https://{host}"),
            token: None,
        }
    }

    pub(super) fn read(node: &Node<'_>) -> Result<Self, String> {
        let mut gitlab = Self::of(&host(node, Some(GITLAB))?);
        if let Some(url) = base_url(&node.get("baseUrl")?)? {
            gitlab.api_base_url = format!("{url}/api/v4");
            gitlab.base_url = url;
        }
        if let Some(url) = base_url(&node.get("apiBaseUrl")?)? {
            gitlab.api_base_url = url;
        }
        gitlab.token = node.get("token")?.secret()?;
        Ok(gitlab)
    }
}

impl Gitea {
    pub(super) fn read(node: &Node<'_>) -> Result<Self, String> {
        let host = host(node, None)?;
        Ok(Self {
            base_url: base_url(&node.get("baseUrl")?)?.unwrap_or_else(|| format!("https://{host}")),
            host,
            username: node.get("username")?.string()?,
            password: node.get("password")?.secret()?,
        })
    }
}

impl Other {
    pub(super) fn read(node: &Node<'_>, default_host: Option<&str>) -> Result<Self, String> {
        Ok(Self { host: host(node, default_host)? })
    }
}

fn host(node: &Node<'_>, default: Option<&str>) -> Result<String, String> {
    let host = node.get("host")?;
    let Some(text) = host.string()? else {
        return default.map(str::to_string).ok_or_else(|| format!("{}: missing, a host is required", host.key()));
    };
    match Url::parse(&format!("https://{text}")) {
        Ok(url) if crate::host_of(&url) == text => Ok(text),
        Ok(url) if crate::host_of(&url) == text.to_ascii_lowercase() => Ok(crate::host_of(&url)),
        _ => Err(format!(
            "{}: '{text}' is not a host; write only the name and, unless it is 443, the port, e.g. ghe.example.com:8443",
            host.key()
        )),
    }
}

fn base_url(node: &Node<'_>) -> Result<Option<String>, String> {
    let Some(text) = node.string()? else { return Ok(None) };
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            if !url.username().is_empty() || url.password().is_some() {
                return Err(format!("{}: a URL with a user or password in it; configure a token instead", node.key()));
            }
            Ok(Some(text.trim_end_matches('/').to_string()))
        }
        _ => Err(format!("{}: '{text}' is not an http or https URL", node.key())),
    }
}
