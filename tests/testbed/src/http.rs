//! A small HTTP client for tests.

use std::{sync::Once, time::Duration};

use reqwest::{Certificate, Method, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::{Error, Result, sse::Events};

/// Installs ring as the process's TLS provider, once.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: bytes::Bytes,
    what: String,
}

impl Answer {
    /// The body as text, invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::unexpected(&self.what, format!("{}: no JSON ({error}): {}", self.status, self.text()))
        })
    }

    /// A header's value; absent or not ASCII: `None`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON when the status is `status`.
    ///
    /// # Errors
    /// [`Error::Unexpected`] naming the request, the status and the body when it is another.
    pub fn expect_json(&self, status: u16) -> Result<Value> {
        if self.status.as_u16() == status {
            return self.json();
        }
        Err(Error::unexpected(&self.what, format!("{} instead of {status}: {}", self.status, self.text())))
    }
}

/// Sends requests below one base URL.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    inner: reqwest::Client,
    authorization: Option<String>,
}

impl Client {
    /// A client for `base` (no slash at its end), with no proxy.
    ///
    /// # Errors
    /// [`Error::Http`] when the client cannot be built.
    pub fn new(base: impl Into<String>) -> Result<Self> {
        Self::build(base.into(), None)
    }

    /// As [`Client::new`], trusting only the certificates of `ca_pem`.
    ///
    /// # Errors
    /// [`Error::Http`] when the PEM text is invalid.
    pub fn with_ca(base: impl Into<String>, ca_pem: &str) -> Result<Self> {
        Self::build(base.into(), Some(ca_pem))
    }

    fn build(base: String, ca_pem: Option<&str>) -> Result<Self> {
        install_crypto_provider();
        // Servers close connections that are idle for five seconds; one that is just being closed must not be used again.
        let idle = Duration::from_secs(3);
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(idle)
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = ca_pem {
            let roots = Certificate::from_pem_bundle(pem.as_bytes()).map_err(Error::http("reading the CA"))?;
            builder = builder.tls_certs_only(roots);
        }
        let inner = builder.build().map_err(Error::http("building the HTTP client"))?;
        Ok(Self { base, inner, authorization: None })
    }

    /// The same client, sending this `Authorization` value.
    #[must_use]
    pub fn authorized(mut self, value: impl Into<String>) -> Self {
        self.authorization = Some(value.into());
        self
    }

    /// Sends a request; `body` goes as JSON. Redirects are not followed.
    ///
    /// # Errors
    /// [`Error::Http`] when no answer came within a minute.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let what = format!("{method} {}{path}", self.base);
        let mut request = self.request(method, path).timeout(Duration::from_secs(60));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(Error::http(&what))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(Error::http(&what))?;
        Ok(Answer { status, headers, body, what })
    }

    /// A request to be completed by the caller.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.inner.request(method, format!("{}{path}", self.base));
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    /// `GET`; see [`Client::send`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// `POST` with JSON; see [`Client::send`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT` with JSON; see [`Client::send`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `DELETE`; see [`Client::send`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, None).await
    }

    /// Opens an event stream.
    ///
    /// # Errors
    /// [`Error::Http`] when no answer came, [`Error::Unexpected`] when it is no event stream.
    pub async fn events(&self, path: &str) -> Result<Events> {
        let what = format!("GET {}{path}", self.base);
        let request = self.request(Method::GET, path).header("accept", "text/event-stream");
        let response = request.send().await.map_err(Error::http(&what))?;
        let status = response.status();
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if status == StatusCode::OK && kind.starts_with("text/event-stream") {
            return Ok(Events::new(what, response));
        }
        let kind = kind.to_owned();
        let text = response.text().await.unwrap_or_default();
        Err(Error::unexpected(what, format!("no event stream but {status} {kind}: {text}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// Answers each connection with one of these texts and keeps it open.
    fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for (stream, answer) in listener.incoming().zip(answers) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                stream.write_all(answer.as_bytes()).unwrap();
                open.push(stream);
            }
            std::thread::sleep(Duration::from_secs(5));
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn events_are_read_until_one_is_there_or_time_is_up() {
        let client = Client::new(server(&[
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hi\n\nevent: log\ndata: {\"n\":1}\n\nevent: completion\ndata: {}\n\nevent: late\ndata: x\n\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone",
        ]))
        .unwrap();
        let mut events = client.events("/stream").await.unwrap();
        let limit = Duration::from_secs(5);
        let seen = events.until(limit, |frame| frame.name() == "completion").await.unwrap();
        assert_eq!(seen.iter().map(crate::sse::Frame::name).collect::<Vec<_>>(), ["log", "completion"]);
        assert_eq!(seen[0].json().unwrap()["n"], 1);
        let error = events.until(Duration::from_millis(100), |_| false).await.unwrap_err().to_string();
        assert!(error.contains("/stream") && error.contains("late x"), "{error}");
        let error = client.events("/missing").await.unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("none"), "{error}");
    }
}
