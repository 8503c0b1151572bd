//! Which proxy a cluster is reached through.

use std::net::IpAddr;

/// The proxy of the environment (`HTTPS_PROXY`, `HTTP_PROXY` for plain HTTP, upper or lower case) unless `NO_PROXY`
/// exempts the host. `NO_PROXY` lists hosts, domains (`.example.com`, with all below), addresses, networks in CIDR
/// notation, or `*`.
pub(crate) fn for_url(url: &http::Uri, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let either = |name: &str| {
        [name.to_string(), name.to_lowercase()]
            .iter()
            .find_map(|name| env(name).filter(|value| !value.trim().is_empty()))
    };
    let proxy = either(if url.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" })?;
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    let exempt = either("NO_PROXY").unwrap_or_default();
    let is_exempt = exempt.split(',').map(|entry| entry.trim().to_lowercase()).any(|entry| matches(&entry, &host));
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (!is_exempt && !is_local).then_some(proxy)
}

fn matches(entry: &str, host: &str) -> bool {
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return match entry.split_once('/') {
            Some((network, bits)) => in_network(address, network, bits),
            None => entry.parse::<IpAddr>().is_ok_and(|entry| entry == address),
        };
    }
    let domain = entry.trim_start_matches('*').trim_start_matches('.');
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn in_network(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            u32::from(a).checked_shr(32 - bits).unwrap_or(0) == u32::from(b).checked_shr(32 - bits).unwrap_or(0)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            u128::from(a).checked_shr(128 - bits).unwrap_or(0) == u128::from(b).checked_shr(128 - bits).unwrap_or(0)
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_exempts() {
        let env = |no_proxy: &'static str| {
            move |name: &str| match name {
                "HTTPS_PROXY" => Some("http://proxy:3128".to_string()),
                "no_proxy" => Some(no_proxy.to_string()),
                _ => None,
            }
        };
        for (url, no_proxy, proxied) in [
            ("https://kube.example.com:6443", "", true),
            ("https://kube.example.com", "example.com", false),
            ("https://kube.example.com", ".example.com,other", false),
            ("https://kube.example.com", "kube.example.com", false),
            ("https://kubeexample.com", "example.com", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", false),
            ("https://11.1.2.3:6443", "10.0.0.0/8", true),
            ("https://[fd00::1]:6443", "fd00::/8", false),
            ("https://10.1.2.3:6443", "0.0.0.0/0", false),
            ("https://a.b", "*", false),
            ("https://127.0.0.1:6443", "", false),
            ("http://a.b", "", false),
        ] {
            let found = for_url(&url.parse().unwrap(), env(no_proxy));
            assert_eq!(found.is_some(), proxied, "{url} {no_proxy}");
        }
    }
}
