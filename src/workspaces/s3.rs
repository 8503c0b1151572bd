//! An S3-compatible object store. Requests are signed by `rusty-s3` (AWS signature version 4) and sent by the service's own
//! HTTP client.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use understudy_scm::{BodyError, read_body};

use crate::config::S3Config;

/// For how long a signed URL is good; clocks may differ a little.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);
/// How long one request may take: a chunk is 8 MiB.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Longer texts of errors are not looked at.
const MAX_TEXT: usize = 64 * 1024;
/// More than any object that was stored here, in bytes.
const MAX_OBJECT: usize = 2 * super::OBJECT;

/// What an object store answered, or that it did not.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// It refused.
    #[error("the bucket {bucket} at {endpoint} refused to {what}: {status} {reason}")]
    Refused {
        /// The bucket's name.
        bucket: String,
        /// Host and port.
        endpoint: String,
        /// What was asked, in a word.
        what: &'static str,
        /// The answer's status.
        status: StatusCode,
        /// `Code` and `Message` of the answer.
        reason: String,
    },
    /// No answer.
    #[error("the object store at {endpoint} can't be reached: {source}")]
    Unreachable {
        /// Host and port.
        endpoint: String,
        /// The cause; without the URL, which is signed.
        source: reqwest::Error,
    },
    /// An object is not what was stored.
    #[error("the object store at {endpoint} gives an object of more than {MAX_OBJECT} bytes, which was not stored so")]
    Oversized {
        /// Host and port.
        endpoint: String,
    },
    /// The configuration can't be right.
    #[error("{0}")]
    Config(String),
}

impl S3Error {
    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::Oversized { .. } | Self::Config(_) => false,
        }
    }
}

/// A bucket, and where in it.
pub(super) struct S3 {
    bucket: Bucket,
    credentials: Credentials,
    root: String,
    http: reqwest::Client,
}

impl S3 {
    pub(super) fn new(config: &S3Config, http: reqwest::Client) -> Result<Self, S3Error> {
        let style = if config.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(config.endpoint.clone(), style, config.bucket.clone(), config.region.clone());
        let bucket = bucket.map_err(|error| {
            S3Error::Config(format!(
                "scaffolder.taskRecovery.s3 makes no URL for the bucket {}: {error}; s3ForcePathStyle: true may help",
                config.bucket
            ))
        })?;
        let (key, secret) = (config.access_key_id.expose(), config.secret_access_key.expose());
        let credentials = match &config.session_token {
            Some(token) => Credentials::new_with_token(key, secret, token.expose()),
            None => Credentials::new(key, secret),
        };
        let root = if config.root.is_empty() { String::new() } else { format!("{}/", config.root) };
        Ok(Self { bucket, credentials, root, http })
    }

    pub(super) async fn put(&self, name: &str, content: Bytes) -> Result<(), S3Error> {
        let key = self.key(name);
        let url = self.bucket.put_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        self.send(Method::PUT, url, Some(content), "store an object").await?;
        Ok(())
    }

    /// The object, or nothing when there is none.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, S3Error> {
        let key = self.key(name);
        let url = self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        match self.send(Method::GET, url, None, "give an object").await {
            Ok(answer) => match read_body(answer, MAX_OBJECT).await {
                Ok(body) => Ok(Some(body.into())),
                Err(BodyError::Broken(error)) => Err(self.unreachable(error)),
                Err(_) => Err(S3Error::Oversized { endpoint: self.endpoint() }),
            },
            Err(S3Error::Refused { status: StatusCode::NOT_FOUND, reason, .. }) if reason.contains("NoSuchKey") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), S3Error> {
        let key = self.key(name);
        let url = self.bucket.delete_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        match self.send(Method::DELETE, url, None, "delete an object").await {
            Err(S3Error::Refused { status: StatusCode::NOT_FOUND, reason, .. }) if reason.contains("NoSuchKey") => {}
            answer => {
                answer?;
            }
        }
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.root)
    }

    fn endpoint(&self) -> String {
        let url = self.bucket.base_url();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", url.host_str().unwrap_or_default())
    }

    fn unreachable(&self, error: reqwest::Error) -> S3Error {
        S3Error::Unreachable { endpoint: self.endpoint(), source: error.without_url() }
    }

    async fn send(
        &self,
        method: Method,
        url: url::Url,
        body: Option<Bytes>,
        what: &'static str,
    ) -> Result<reqwest::Response, S3Error> {
        let mut request = self.http.request(method, url).timeout(REQUEST_LIMIT);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = read_body(answer, MAX_TEXT).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let parts = ["Code", "Message"].map(|name| element(&text, name).unwrap_or_default());
        let reason = parts.join(": ").trim_matches([':', ' ']).to_string();
        Err(S3Error::Refused {
            bucket: self.bucket.name().to_string(),
            endpoint: self.endpoint(),
            what,
            status,
            reason,
        })
    }
}

/// The text of an XML element without children: all that an error's document consists of.
fn element<'t>(document: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use understudy_scm::Scm;
    use understudy_sdk::Secret;

    use super::*;

    #[tokio::test]
    async fn an_object_without_end_is_not_read_to_its_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 8192]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap();
            // Until the other end has had enough.
            while stream.write_all(&[0; 1 << 16]).await.is_ok() {}
        });
        let config = S3Config {
            endpoint: endpoint.parse().unwrap(),
            region: "r".into(),
            bucket: "b".into(),
            root: String::new(),
            path_style: true,
            access_key_id: Secret::new("k"),
            secret_access_key: Secret::new("s"),
            session_token: None,
        };
        let http = Scm::from_config(&serde_json::json!({})).unwrap().http_client().unwrap();
        let error = S3::new(&config, http.clone()).unwrap().get("object").await.unwrap_err();
        assert!(matches!(error, S3Error::Oversized { .. }) && !error.is_passing(), "{error}");
    }
}
