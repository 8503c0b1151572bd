//! What the tests of this binary share.

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use understudy_testbed::process::{Service, ServiceOptions};

/// Where the tasks are.
pub(crate) const TASKS: &str = "/api/scaffolder/v2/tasks";

/// The root of the checkout.
pub(crate) fn manifest_dir() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The built binary.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_understudy")
}

/// An answer with its body read.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
    /// `error.message` of an error body, or the whole text.
    pub(crate) fn error_message(&self) -> String {
        self.json()
            .and_then(|body| body.pointer("/error/message")?.as_str().map(str::to_string))
            .unwrap_or_else(|| self.text())
    }
}

/// A running service with the calls that tests make over and over.
pub(crate) struct Running {
    pub(crate) service: Service,
    /// What [`Running::get`] and [`Running::post`] show who asks with.
    authorization: Option<String>,
}

impl Running {
    pub(crate) async fn start(config: &str) -> Self {
        Self::with(ServiceOptions::new(binary()).config(config)).await
    }
    pub(crate) async fn with(options: ServiceOptions) -> Self {
        Self { service: Service::start(options).await.expect("the service starts"), authorization: None }
    }
    /// From now on asks with this token, except by [`Running::request`].
    pub(crate) fn authorized(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }
    pub(crate) async fn stop(mut self) {
        let status = self.service.terminate(Duration::from_secs(20)).await.expect("the service ends when asked to");
        assert!(status.success(), "the service ended with {status}:\n{}", self.service.logs());
    }
    pub(crate) fn working_directory(&self) -> Utf8PathBuf {
        let path = self.service.working_directory();
        let path = path.canonicalize().unwrap_or(path);
        Utf8PathBuf::from_path_buf(path).expect("temporary directories have UTF-8 names")
    }

    /// Sends a request as it stands: no header is added; a body that comes compressed is unpacked.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<&str>,
    ) -> Reply {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.service.client().request(method, path).timeout(Duration::from_secs(90));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept-encoding")) {
            request = request.header("accept-encoding", "identity");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut body = answer.bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default();
        let headers: Vec<(String, String)> = headers;
        if headers.iter().any(|(name, value)| name == "content-encoding" && value == "gzip") {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked).expect("a gzip body");
            body = unpacked;
        }
        Reply { status, headers, body }
    }
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &self.credentials(), None).await
    }
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        let mut headers = self.credentials();
        headers.push(("content-type".into(), "application/json".into()));
        self.request("POST", path, &headers, Some(&body.to_string())).await
    }
    fn credentials(&self) -> Vec<(String, String)> {
        self.authorization.iter().map(|value| ("authorization".to_string(), value.clone())).collect()
    }

    /// Creates a task; gives its id.
    pub(crate) async fn create_task(&self, body: &Value) -> String {
        let answer = self.post(TASKS, body).await;
        assert_eq!(answer.status, 201, "creating a task: {}", answer.text());
        answer.json().unwrap()["id"].as_str().expect("an id").to_string()
    }
    pub(crate) async fn task(&self, id: &str) -> Value {
        self.get(&format!("{TASKS}/{id}")).await.json().expect("a task")
    }
    pub(crate) async fn events(&self, id: &str) -> Vec<Value> {
        self.get(&format!("{TASKS}/{id}/events"))
            .await
            .json()
            .and_then(|body| body.as_array().cloned())
            .expect("a list of events")
    }
    /// Waits until the task's status is as wanted; gives it.
    pub(crate) async fn wait_status(&self, id: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        match self.reaches(id, limit, wanted).await {
            Ok(status) => status,
            Err(status) => panic!("task {id} is still {status}; events:\n{}", messages(&self.events(id).await)),
        }
    }
    /// As [`Running::wait_status`]; the last status is the error when it never is.
    pub(crate) async fn reaches(
        &self,
        id: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, String> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.task(id).await["status"].as_str().unwrap_or_default().to_string();
            if wanted(&status) {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(status);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    /// Waits until the task has ended; gives status and events.
    pub(crate) async fn finish(&self, id: &str, limit: Duration) -> (String, Vec<Value>) {
        let status = self.wait_status(id, limit, |status| !matches!(status, "open" | "processing")).await;
        (status, self.events(id).await)
    }
    /// Waits until the task has an event that is wanted.
    pub(crate) async fn wait_event(&self, id: &str, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.events(id).await.iter().any(&wanted) {
            assert!(Instant::now() < deadline, "the event never came; log:\n{}", self.service.logs());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

/// The messages of events, one a line.
pub(crate) fn messages(events: &[Value]) -> String {
    events.iter().map(|event| event["body"]["message"].as_str().unwrap_or("-")).collect::<Vec<_>>().join("\n")
}

/// The `completion` event's body.
pub(crate) fn completion(events: &[Value]) -> &Value {
    let mut ends = events.iter().filter(|event| event["type"] == "completion");
    let end = ends.next().unwrap_or_else(|| panic!("no completion in\n{}", messages(events)));
    assert!(ends.next().is_none(), "more than one completion in\n{}", messages(events));
    &end["body"]
}

/// Writes a text file, folders created.
pub(crate) fn write(path: impl AsRef<Utf8Path>, text: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A temporary folder with a UTF-8 path.
pub(crate) struct TempDir {
    _dir: tempfile::TempDir,
    pub(crate) path: Utf8PathBuf,
}

impl TempDir {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap();
        Self { _dir: dir, path }
    }
}

/// A template document with these steps (YAML flow or JSON).
pub(crate) fn template(name: &str, steps: &Value) -> String {
    serde_json::json!({
        "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": name},
        "spec": {"owner": "user:guest", "type": "service", "steps": steps},
    })
    .to_string()
}

/// A configuration with templates from files.
pub(crate) fn locations(targets: &[&Utf8Path]) -> String {
    let locations: Vec<Value> =
        targets.iter().map(|target| serde_json::json!({"type": "file", "target": target.as_str()})).collect();
    serde_json::json!({"catalog": {"locations": locations}}).to_string()
}
