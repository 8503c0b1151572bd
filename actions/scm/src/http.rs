//! The HTTP client all of this crate shares.
//!
//! Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, trusted certificates from the system (or
//! `SSL_CERT_FILE`) and additionally from `NODE_EXTRA_CA_CERTS`, which is what Backstage installations set today. The
//! client follows no redirects: whether one may be followed, and with which credentials, is for the caller to say.

use std::{error::Error, sync::OnceLock, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use reqwest::{Certificate, Client, Response, redirect};

/// Connection set-up, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How this service presents itself. GitHub refuses requests without a user agent.
pub(crate) const USER_AGENT: &str = concat!("understudy/", env!("CARGO_PKG_VERSION"));

/// What JavaScript's `encodeURIComponent` leaves as it is: for segments of paths and values of queries.
pub const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Why the body of an answer is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than the limit, in bytes.
    #[error("has more than {0} bytes")]
    TooLong(usize),
    /// The connection broke or took too long; [`request_failure`] words it.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// The body of an answer of at most `limit` bytes; no more than that is ever held.
///
/// # Errors
/// [`BodyError`].
pub async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The shared client, built on the first call. Other clients of source code hosts (octocrab) are best put on top of it, so
/// that all honour the same environment.
///
/// # Errors
/// A text naming the environment variable and the reason.
pub(crate) fn client() -> Result<&'static Client, String> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    CLIENT.get_or_init(build).as_ref().map_err(Clone::clone)
}

fn build() -> Result<Client, String> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder =
        Client::builder().user_agent(USER_AGENT).redirect(redirect::Policy::none()).connect_timeout(CONNECT_TIMEOUT);
    let extra = extra_certificates()?;
    if !extra.is_empty() {
        builder = builder.tls_certs_merge(extra);
    }
    builder.build().map_err(|error| {
        format!(
            "the HTTP client can't be set up: {}; if the system has no CA certificates, name a PEM file in SSL_CERT_FILE",
            causes(&error)
        )
    })
}

/// Checks the environment variables that name certificate files, so that a mistake shows at start.
///
/// # Errors
/// A text naming variable, file and reason.
pub(crate) fn check_environment() -> Result<(), String> {
    certificates("SSL_CERT_FILE")?;
    extra_certificates().map(drop)
}

fn extra_certificates() -> Result<Vec<Certificate>, String> {
    certificates("NODE_EXTRA_CA_CERTS")
}

fn certificates(variable: &str) -> Result<Vec<Certificate>, String> {
    match std::env::var_os(variable) {
        Some(path) if !path.is_empty() => {
            let file = std::path::Path::new(&path);
            let fail =
                |reason: String| format!("{variable}: the certificates in {} can't be used: {reason}", file.display());
            let pem = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
            pem_certificates(&pem).map_err(fail)
        }
        _ => Ok(Vec::new()),
    }
}

fn pem_certificates(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let certificates = Certificate::from_pem_bundle(pem).map_err(|error| causes(&error))?;
    if certificates.is_empty() {
        return Err("it holds no PEM certificate".to_string());
    }
    Ok(certificates)
}

/// An error with its causes, `a: b: c`. Reqwest's own text hides what went wrong below it.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// A request's failure with its causes, `a: b: c`, without the URL, which may carry credentials and is named by the caller.
pub fn request_failure(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = causes(&error);
    if let Some(reason) = certificate_refused(&error) {
        text.push_str(match reason {
            // Node accepts these, so people who come from there meet this here for the first time.
            Untrusted::IsAuthority => {
                " (the server presents a certificate authority's own certificate; give it a server certificate, with \
                 CA:FALSE, issued by that authority)"
            }
            Untrusted::Other => {
                " (the server's certificate is not trusted; where its authority is a private one, name the authority's \
                 PEM file in NODE_EXTRA_CA_CERTS)"
            }
        });
    }
    text
}

/// Why a server's certificate was refused, as far as the remedies differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Untrusted {
    /// The certificate is one that signs others.
    IsAuthority,
    /// Unknown authority, wrong name, expired.
    Other,
}

/// Whether the server's certificate was the reason of a failure. Trying again is of no use then.
pub(crate) fn certificate_refused(error: &(dyn Error + 'static)) -> Option<Untrusted> {
    if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
        let is_authority = format!("{reason:?}").contains("CaUsedAsEndEntity");
        return Some(if is_authority { Untrusted::IsAuthority } else { Untrusted::Other });
    }
    // An I/O error gives the cause of its inner error as its own, so the inner one must be asked for.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match inner {
        Some(inner) => certificate_refused(inner),
        None => certificate_refused(error.source()?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn certificate_files_are_checked() {
        assert_eq!(pem_certificates(b"hello").unwrap_err(), "it holds no PEM certificate");
        assert!(pem_certificates(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
    }

    #[test]
    fn refused_certificates_are_told_apart() {
        #[derive(Debug, thiserror::Error)]
        #[error("connect")]
        struct Connect(#[source] std::io::Error);
        let failed = |error: rustls::Error| Connect(std::io::Error::other(error));
        let unknown = failed(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        assert_eq!(certificate_refused(&unknown), Some(Untrusted::Other));
        let nested = Connect(std::io::Error::other(std::io::Error::other(unknown)));
        assert_eq!(certificate_refused(&nested), Some(Untrusted::Other));
        // The platform's verifier passes webpki's errors on like this.
        #[derive(Debug, thiserror::Error)]
        #[error("CA")]
        struct CaUsedAsEndEntity;
        let reason = rustls::OtherError(std::sync::Arc::new(CaUsedAsEndEntity));
        let authority = failed(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(reason)));
        assert_eq!(certificate_refused(&authority), Some(Untrusted::IsAuthority));
        assert_eq!(certificate_refused(&failed(rustls::Error::HandshakeNotComplete)), None);
        assert_eq!(certificate_refused(&Connect(std::io::ErrorKind::ConnectionRefused.into())), None);
    }

    #[test]
    fn the_client_can_be_built() {
        client().unwrap();
    }
}
