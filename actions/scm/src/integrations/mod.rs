//! Which hosts are known, and with which credentials (`integrations.*`).
//!
//! Keys, defaults and order are those of `@backstage/integration` 2.1.2. Hosts are compared exactly, port included.

use url::Url;

pub(crate) mod config;
mod providers;

use config::Node;
pub use providers::{Gitea, Github, GithubApp, Gitlab, Other};

/// A known host.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Integration {
    /// Azure DevOps.
    Azure(Other),
    /// Bitbucket Cloud.
    BitbucketCloud(Other),
    /// Bitbucket Server, Data Center.
    BitbucketServer(Other),
    /// Gerrit.
    Gerrit(Other),
    /// GitHub and GitHub Enterprise.
    Github(Github),
    /// GitLab.
    Gitlab(Gitlab),
    /// Gitea, Forgejo.
    Gitea(Gitea),
}

impl Integration {
    /// The name of the type in configuration and API, e.g. `github`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Azure(_) => "azure",
            Self::BitbucketCloud(_) => "bitbucketCloud",
            Self::BitbucketServer(_) => "bitbucketServer",
            Self::Gerrit(_) => "gerrit",
            Self::Github(_) => "github",
            Self::Gitlab(_) => "gitlab",
            Self::Gitea(_) => "gitea",
        }
    }

    /// The host, port included unless it is 443.
    pub fn host(&self) -> &str {
        match self {
            Self::Azure(other) | Self::BitbucketCloud(other) | Self::BitbucketServer(other) | Self::Gerrit(other) => {
                &other.host
            }
            Self::Github(github) => &github.host,
            Self::Gitlab(gitlab) => &gitlab.host,
            Self::Gitea(gitea) => &gitea.host,
        }
    }
}

/// All known hosts, in the order in which they are asked.
#[derive(Debug, Clone)]
pub struct Integrations(Vec<Integration>);

impl Integrations {
    /// Reads the `integrations` of the root configuration object; the public hosts are always there.
    ///
    /// # Errors
    /// A text naming key and reason.
    pub(crate) fn read(root: &Node<'_>) -> Result<Self, String> {
        let node = root.get("integrations")?;
        let items = |kind: &str| node.get(kind)?.items();
        let mut all = Vec::new();
        for item in items("azure")? {
            all.push(Integration::Azure(Other::read(&item, Some("dev.azure.com"))?));
        }
        for item in items("bitbucketCloud")? {
            all.push(Integration::BitbucketCloud(Other::read(&item, Some("bitbucket.org"))?));
        }
        for item in items("bitbucketServer")? {
            all.push(Integration::BitbucketServer(Other::read(&item, None)?));
        }
        for item in items("gerrit")? {
            all.push(Integration::Gerrit(Other::read(&item, None)?));
        }
        for item in items("github")? {
            all.push(Integration::Github(Github::read(&item)?));
        }
        for item in items("gitlab")? {
            all.push(Integration::Gitlab(Gitlab::read(&item)?));
        }
        for item in items("gitea")? {
            all.push(Integration::Gitea(Gitea::read(&item)?));
        }
        let mut integrations = Self(all);
        for default in [
            Integration::Azure(Other { host: "dev.azure.com".into() }),
            Integration::BitbucketCloud(Other { host: "bitbucket.org".into() }),
            Integration::Github(Github::of("github.com")),
            Integration::Gitlab(Gitlab::of("gitlab.com")),
        ] {
            if integrations.by_host(default.host()).is_none() {
                integrations.0.push(default);
            }
        }
        Ok(integrations)
    }

    /// The integration of a host, e.g. `github.com` or `ghe.example.com:8443`.
    pub fn by_host(&self, host: &str) -> Option<&Integration> {
        self.0.iter().find(|integration| integration.host() == host)
    }

    /// The integration of a URL's host.
    pub fn by_url(&self, url: &str) -> Option<&Integration> {
        let url = Url::parse(url).ok()?;
        self.by_host(&crate::host_of(&url))
    }

    /// All GitHub integrations.
    pub(crate) fn all_github(&self) -> impl Iterator<Item = &Github> {
        self.0.iter().filter_map(|integration| match integration {
            Integration::Github(github) => Some(github),
            _ => None,
        })
    }

    /// The GitHub integration of a host, even where another type shares the host.
    pub fn github(&self, host: &str) -> Option<&Github> {
        self.all_github().find(|github| github.host == host)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Integrations, String> {
        Integrations::read(&Node::root(value))
    }

    #[test]
    fn public_hosts_need_no_configuration() {
        let integrations = read(&json!({})).unwrap();
        for (host, kind) in [
            ("github.com", Some("github")),
            ("gitlab.com", Some("gitlab")),
            ("dev.azure.com", Some("azure")),
            ("bitbucket.org", Some("bitbucketCloud")),
            ("github.com:8443", None),
            ("gist.github.com", None),
        ] {
            assert_eq!(integrations.by_host(host).map(Integration::kind), kind, "{host}");
        }
    }

    #[test]
    fn configured_hosts_have_their_defaults() {
        let integrations = read(&json!({"integrations": {"github": [
            {"token": " secret-token \n"},
            {"host": "ghe.example.com:8443"},
            {"host": "ghe2.example.com", "apiBaseUrl": "https://api.ghe2.example.com/", "apps": [
                {"appId": "12", "clientId": "c", "clientSecret": "s", "privateKey": "pem"}]},
        ], "gitea": [{"host": "gitea.example.com", "username": "u", "password": "p"}]}}))
        .unwrap();
        let github = integrations.github("github.com").unwrap();
        assert_eq!(github.api_base_url, "https://api.github.com");
        assert_eq!(github.raw_base_url.as_deref(), Some("https://raw.githubusercontent.com"));
        assert_eq!(github.token.as_ref().unwrap().expose(), "secret-token");
        let enterprise = integrations.github("ghe.example.com:8443").unwrap();
        assert_eq!(enterprise.api_base_url, "https://ghe.example.com:8443/api/v3");
        assert_eq!(enterprise.raw_base_url, None);
        let apps = integrations.github("ghe2.example.com").unwrap();
        assert_eq!(apps.api_base_url, "https://api.ghe2.example.com");
        assert_eq!(apps.apps[0].app_id, 12);
        assert_eq!(integrations.by_url("https://gitea.example.com/a/b").unwrap().kind(), "gitea");
        assert!(!format!("{integrations:?}").contains("secret-token"));
    }

    #[test]
    fn wrong_values_name_key_and_reason() {
        for (value, text) in [
            (json!({"integrations": []}), "integrations: expected an object, found a list"),
            (json!({"integrations": {"github": {}}}), "integrations.github: expected a list, found an object"),
            (
                json!({"integrations": {"github": [{"host": 1}]}}),
                "integrations.github[0].host: expected a string, found a number",
            ),
            (
                json!({"integrations": {"github": [{"host": "https://github.com"}]}}),
                "integrations.github[0].host: 'https://github.com' is not a host; write only the name and, unless it is 443, the port, e.g. ghe.example.com:8443",
            ),
            (
                json!({"integrations": {"github": [{"host": "h", "apiBaseUrl": "ftp://h"}]}}),
                "integrations.github[0].apiBaseUrl: 'ftp://h' is not an http or https URL",
            ),
            (json!({"integrations": {"gitea": [{}]}}), "integrations.gitea[0].host: missing, a host is required"),
            (
                json!({"integrations": {"github": [{"apps": [{"appId": "x", "privateKey": "p"}]}]}}),
                "integrations.github[0].apps[0].appId: expected a whole number of 0 or more, found a string that isn't one",
            ),
        ] {
            assert_eq!(read(&value).unwrap_err(), text);
        }
    }
}
