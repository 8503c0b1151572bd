//! `backend.reading.allow`: hosts that are no integrations, but may be read by a plain request.

use url::Url;

use crate::integrations::config::Node;

/// The list of allowed hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllowList(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    /// Lower case; with `suffix` set it starts with a dot.
    hostname: String,
    suffix: bool,
    /// `None`: only URLs without an explicit port.
    ports: Option<(u16, u16)>,
    /// `None`: every path.
    paths: Option<Vec<String>>,
}

impl AllowList {
    /// Reads `backend.reading.allow` of the root configuration object.
    pub(crate) fn read(root: &Node<'_>) -> Result<Self, String> {
        let items = root.get("backend")?.get("reading")?.get("allow")?.items()?;
        items.iter().map(Rule::read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a plain request to this URL is allowed.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        matches!(url.scheme(), "http" | "https") && self.0.iter().any(|rule| rule.matches(url))
    }
}

impl Rule {
    fn read(node: &Node<'_>) -> Result<Self, String> {
        let key = node.get("host")?;
        let host = key.required_string()?;
        let wrong = || {
            format!(
                "{}: '{host}' is not a host; write example.com, *.example.com, example.com:8080 or example.com:8000-8100",
                key.key()
            )
        };
        // The colons of an IPv6 address stand in brackets.
        let (hostname, ports) = match host.rfind(':') {
            Some(colon) if !host[colon..].contains(']') => {
                (&host[..colon], Some(parse_ports(&host[colon + 1..]).ok_or_else(wrong)?))
            }
            _ => (host.as_str(), None),
        };
        let (suffix, name) = match hostname.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, hostname),
        };
        let parsed = Url::parse(&format!("https://{name}/")).map_err(|_| wrong())?;
        let name = parsed.host_str().filter(|host| host.eq_ignore_ascii_case(name)).ok_or_else(wrong)?;
        let hostname = if suffix { format!(".{name}") } else { name.to_string() };
        Ok(Self { hostname, suffix, ports, paths: node.get("paths")?.strings()? })
    }

    fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host_matches = if self.suffix { host.ends_with(&self.hostname) } else { host == self.hostname };
        let port_matches = match (self.ports, url.port()) {
            (None, None) => true,
            (Some((from, to)), Some(port)) => (from..=to).contains(&port),
            // `:443` in the configuration and none in the URL, which drops a scheme's own port.
            (Some((from, to)), None) => url.port_or_known_default().is_some_and(|port| from <= port && port <= to),
            (None, Some(_)) => false,
        };
        host_matches && port_matches && self.paths.as_ref().is_none_or(|paths| paths.iter().any(|p| below(url, p)))
    }
}

/// Whether the URL's path is `prefix` or lies below it. The parser has folded `.` and `..`, also percent-encoded ones.
fn below(url: &Url, prefix: &str) -> bool {
    match url.path().strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

fn parse_ports(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn read(allow: Value) -> Result<AllowList, String> {
        AllowList::read(&Node::root(&json!({"backend": {"reading": {"allow": allow}}})))
    }

    #[test]
    fn hosts_ports_and_paths() {
        let list = read(json!([
            {"host": "example.com"},
            {"host": "*.wild.example.com"},
            {"host": "ports.example.com:8000-8100"},
            {"host": "127.0.0.1:9000"},
            {"host": "[::1]:9000"},
            {"host": "paths.example.com", "paths": ["/a/b", "/c/"]},
        ]))
        .unwrap();
        for (url, allowed) in [
            ("https://example.com/x", true),
            ("http://example.com/x", true),
            ("https://example.com:443/x", true),
            ("https://example.com:8443/x", false),
            ("https://EXAMPLE.com/x", true),
            ("https://sub.example.com/x", false),
            ("https://notexample.com/x", false),
            ("https://a.wild.example.com/", true),
            ("https://a.b.wild.example.com/", true),
            ("https://wild.example.com/", false),
            ("https://ports.example.com:8000/", true),
            ("https://ports.example.com:8100/", true),
            ("https://ports.example.com:8101/", false),
            ("https://ports.example.com/", false),
            ("http://127.0.0.1:9000/", true),
            ("http://127.0.0.1/", false),
            ("http://[::1]:9000/", true),
            ("https://paths.example.com/a/b", true),
            ("https://paths.example.com/a/b/c?q", true),
            ("https://paths.example.com/a/bc", false),
            ("https://paths.example.com/c/d", true),
            ("https://paths.example.com/a/b/../x", false),
            ("https://paths.example.com/a/b/%2e%2e/x", false),
            ("ftp://example.com/x", false),
            ("file:///etc/passwd", false),
            ("https://example.com@evil.example.org/", false),
        ] {
            assert_eq!(list.allows(&Url::parse(url).unwrap()), allowed, "{url}");
        }
        assert!(!AllowList::default().allows(&Url::parse("https://example.com").unwrap()));
    }

    #[test]
    fn wrong_hosts_name_the_key() {
        for host in ["https://example.com", "example.com/path", "example.com:x", "example.com:9-1", "*."] {
            let error = read(json!([{"host": host}])).unwrap_err();
            assert!(error.starts_with("backend.reading.allow[0].host: "), "{host}: {error}");
        }
        assert_eq!(read(json!([{}])).unwrap_err(), "backend.reading.allow[0].host: missing, a string is required here");
    }
}
