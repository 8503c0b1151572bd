//! What can go wrong between us and an Argo CD API server.

use serde_json::Value;
use understudy_sdk::{ActionError, ErrorName};

/// Text of an answer that is worth showing when it isn't Argo CD's own.
const LONGEST_FOREIGN_TEXT: usize = 300;

/// Why a request to an Argo CD API server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error("Argo CD instance '{instance}' could not be reached to {what}: {reason}")]
    Unreachable { instance: String, what: String, reason: String },
    /// The configuration has no credentials for the instance.
    #[error(
        "Missing credentials in config for Argo Instance. Give the instance '{instance}' a token, or a username and a \
         password, in argocd.appLocatorMethods, or all of them argocd.username and argocd.password"
    )]
    NoCredentials { instance: String },
    /// Login or token refused. The first words are those of `@roadiehq/backstage-plugin-argo-cd-node` 2.0.0.
    #[error("Getting unauthorized for Argo CD instance {url}: {message}. {advice}")]
    Unauthorized { url: String, message: String, advice: &'static str },
    /// An answer that is no success.
    #[error("Argo CD instance '{instance}' refused to {what}: {message}")]
    Refused { instance: String, what: String, status: u16, message: String },
    /// A success whose body isn't what Argo CD answers.
    #[error(
        "Argo CD instance '{instance}' was asked to {what} and answered with something else than Argo CD does ({reason}); \
         is its url in argocd.appLocatorMethods the one of an Argo CD server?"
    )]
    Foreign { instance: String, what: String, reason: String },
}

impl ApiError {
    /// Whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502..=504),
            _ => false,
        }
    }
    /// The status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
    /// What Argo CD said, where it said something; else the whole text.
    pub(crate) fn argo_message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

impl From<ApiError> for ActionError {
    fn from(error: ApiError) -> Self {
        let name = match &error {
            ApiError::Refused { status: 403, .. } => ErrorName::NotAllowedError,
            ApiError::Refused { status: 404, .. } => ErrorName::NotFoundError,
            ApiError::Refused { status: 400, .. } => ErrorName::InputError,
            _ => ErrorName::Error,
        };
        Self::new(name, error.to_string()).with_source(error)
    }
}

/// The message of an error answer: Argo CD's, or the beginning of what came instead.
pub(super) fn message_of(status: u16, body: &[u8]) -> String {
    let own = serde_json::from_slice::<Value>(body).ok().and_then(|body| {
        let text = |name: &str| body.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        text("message").or_else(|| text("error"))
    });
    if let Some(message) = own {
        return message;
    }
    let text = String::from_utf8_lossy(body);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(LONGEST_FOREIGN_TEXT).collect();
    let more = if short.len() < text.len() { " …" } else { "" };
    if short.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {short}{more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_argo_cds_or_what_came_instead() {
        let own = br#"{"error":"permission denied","code":7,"message":"permission denied: applications, create, x/y"}"#;
        assert_eq!(message_of(403, own), "permission denied: applications, create, x/y");
        assert_eq!(message_of(502, b"<html>\n <b>Bad Gateway</b>"), "HTTP 502: <html> <b>Bad Gateway</b>");
        assert_eq!(message_of(503, b""), "HTTP 503");
        let long = "é".repeat(400);
        assert_eq!(message_of(500, long.as_bytes()), format!("HTTP 500: {} …", "é".repeat(300)));
    }
}
