//! What was asked of the double.

use serde_json::Value;

/// One request as it was answered. Tokens are not kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path without the query; API paths without `/api/v3`.
    pub path: String,
    /// Query string, undecoded; empty when there is none.
    pub query: String,
    /// The `Authorization` header's scheme (`token`, `Bearer`, `Basic`), when there was one.
    pub scheme: Option<String>,
    /// Whose token it was, when it was a known one.
    pub login: Option<String>,
    /// The header `X-GitHub-Api-Version`.
    pub api_version: Option<String>,
    /// The JSON body of an API request.
    pub body: Option<Value>,
    /// Status of the answer; 0 when the connection was closed without one.
    pub status: u16,
}

impl Request {
    /// `METHOD /path?query`
    #[must_use]
    pub fn line(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, self.query)
    }
}
