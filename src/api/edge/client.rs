//! Who is at the other end of a connection, behind proxies that are trusted.

use std::net::IpAddr;

use actix_web::HttpRequest;

use crate::config::TrustProxy;

/// The address of the client, as Express 4 finds it for `trust proxy`: from the connection outwards through
/// `X-Forwarded-For` as long as the nearer address is a trusted proxy's.
pub(super) fn address(request: &HttpRequest, trust: &TrustProxy) -> Option<IpAddr> {
    let nearest = peer(request)?;
    if *trust == TrustProxy::Nobody {
        return Some(nearest);
    }
    let mut found = nearest;
    let forwarded = forwarded_for(request);
    for (hop, further) in forwarded.iter().rev().enumerate() {
        if !is_trusted(found, hop, trust) {
            break;
        }
        // What is no address can't be trusted to be the client's, and nothing beyond it can be reached.
        let Some(further) = parse(further) else { break };
        found = further;
    }
    Some(found)
}

/// The host that the client asks for, without its port; `X-Forwarded-Host` counts where the connection is a trusted
/// proxy's.
pub(super) fn hostname(request: &HttpRequest, trust: &TrustProxy) -> Option<String> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let forwarded = text("x-forwarded-host").filter(|_| peer(request).is_some_and(|peer| is_trusted(peer, 0, trust)));
    let host = match forwarded {
        Some(hosts) => hosts.split(',').next().unwrap_or_default().trim(),
        // HTTP/2 has the host in its URL.
        None => text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()))?,
    };
    let name_from = host.rfind(']').unwrap_or_default();
    let end = host[name_from..].find(':').map_or(host.len(), |colon| name_from + colon);
    Some(host[..end].to_string()).filter(|host| !host.is_empty())
}

/// The address that connects.
pub(super) fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|address| address.ip().to_canonical())
}

fn forwarded_for(request: &HttpRequest) -> Vec<String> {
    request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|address| address.trim().to_string())
        .collect()
}

fn parse(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_trusted(address: IpAddr, hop: usize, trust: &TrustProxy) -> bool {
    match trust {
        TrustProxy::Nobody => false,
        TrustProxy::Everybody => true,
        TrustProxy::Hops(hops) => hop < *hops,
        TrustProxy::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn hosts_are_those_that_the_client_asked_for() {
        for (host, forwarded, trust, expected) in [
            ("backstage.example:7007", "", TrustProxy::Nobody, Some("backstage.example")),
            ("[::1]:7007", "", TrustProxy::Nobody, Some("[::1]")),
            ("[::1]", "", TrustProxy::Nobody, Some("[::1]")),
            ("a", "b:1, c", TrustProxy::Nobody, Some("a")),
            ("a", "b:1, c", TrustProxy::Everybody, Some("b")),
            ("", "", TrustProxy::Nobody, None),
        ] {
            let mut request = TestRequest::default().peer_addr("127.0.0.1:4000".parse().unwrap());
            for (name, value) in [("host", host), ("x-forwarded-host", forwarded)] {
                if !value.is_empty() {
                    request = request.insert_header((name, value));
                }
            }
            let found = hostname(&request.to_http_request(), &trust);
            assert_eq!(found.as_deref(), expected, "{host:?} {forwarded:?}");
        }
    }

    #[test]
    fn clients_are_found_behind_trusted_proxies_only() {
        let networks = TrustProxy::Networks(vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()]);
        for (trust, forwarded, expected) in [
            (TrustProxy::Nobody, "203.0.113.9", "127.0.0.1"),
            (TrustProxy::Everybody, "203.0.113.9, 10.0.0.1", "203.0.113.9"),
            (TrustProxy::Hops(1), "203.0.113.9, 10.0.0.1", "10.0.0.1"),
            (TrustProxy::Hops(2), "203.0.113.9, 10.0.0.1", "203.0.113.9"),
            (TrustProxy::Hops(9), "203.0.113.9, 10.0.0.1", "203.0.113.9"),
            (networks.clone(), "198.51.100.7, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
            (networks.clone(), "", "127.0.0.1"),
            (TrustProxy::Everybody, "unknown, 10.0.0.1", "10.0.0.1"),
            (TrustProxy::Everybody, "::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            let mut request = TestRequest::default().peer_addr("127.0.0.1:4000".parse().unwrap());
            if !forwarded.is_empty() {
                request = request.insert_header(("x-forwarded-for", forwarded));
            }
            let found = address(&request.to_http_request(), &trust);
            assert_eq!(found, Some(expected.parse().unwrap()), "{trust:?} {forwarded:?}");
        }
    }
}
