//! The request that an event is about.

use std::fmt::Write;

/// What events tell of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub ip: Option<String>,
    /// The host that the client asked for, without its port.
    pub hostname: Option<String>,
    /// `User-Agent`
    pub user_agent: Option<String>,
    /// Path and query, see [`shown_url`].
    pub url: String,
    /// E.g. `GET`.
    pub method: String,
}

/// The parameters that routes know. Clients put all sorts of things into others, secrets too.
const KNOWN: [&str; 8] = ["createdBy", "status", "templateRef", "text", "order", "limit", "offset", "after"];

/// A URL's path and query with `***` for the values of parameters that no route knows.
pub fn shown_url(path: &str, query: Option<&str>) -> String {
    let mut url = path.to_string();
    for (index, pair) in query.iter().flat_map(|query| query.split('&')).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let base = name.split(['[', '%']).next().unwrap_or_default();
        let is_known = KNOWN.contains(&base) || value.is_empty();
        let separator = if index == 0 { '?' } else { '&' };
        // Writing to a String can't fail.
        let _ = if is_known { write!(url, "{separator}{pair}") } else { write!(url, "{separator}{name}=***") };
    }
    url
}
