//! A stock Backstage portal: the app, its backend for sign-in, catalog and permissions, and people at a browser.
//!
//! The backend does not have the scaffolder: its configuration says where that is (`discovery.endpoints`). What is run is in
//! `tests/frontend`; what takes minutes to make is made once by `tests/frontend/install`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

use crate::{Error, Result, cache, http::Client, process::Logs, programs};

const READINESS: &str = "/.backstage/health/v1/readiness";
/// How long a start may take on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// How long a page may take to show what it should on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long all people together may take.
const DRIVEN_WITHIN: Duration = Duration::from_secs(1500);
/// Folders of screenshots that are kept.
const KEPT: usize = 5;

/// A running portal. Dropping it kills the backend.
#[derive(Debug)]
pub struct Portal {
    installed: PathBuf,
    client: Client,
    port: u16,
    site_port: u16,
    backend: Child,
    logs: Logs,
    _dir: TempDir,
}

/// Something a person did in the browser, with what it looked like then.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// `guest`, or a colleague's name.
    pub person: String,
    /// What was done.
    pub step: String,
    /// A PNG file.
    pub screenshot: PathBuf,
}

impl Portal {
    /// Starts the backend, which serves the app too, on this port of 127.0.0.1. `config` is its configuration but for its
    /// address and database; `site_port` is where templates read from while people use it ([`Portal::drive`]).
    ///
    /// # Errors
    /// The portal can't be made (the first time takes minutes), or does not get ready.
    pub async fn start(config: &Value, port: u16, site_port: u16) -> Result<Self> {
        let installed = programs::made_by(&sources().join("install")).await?;
        let dir = tempfile::Builder::new()
            .prefix("understudy-portal-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?;
        let base_url = format!("http://127.0.0.1:{port}");
        let own = json!({
            "app": {"title": "Backstage", "baseUrl": base_url, "packages": "all", "packageName": "app",
                "disableStaticFallbackCache": true},
            "backend": {
                "baseUrl": base_url,
                "listen": {"host": "127.0.0.1", "port": port},
                "database": {"client": "better-sqlite3", "connection": ":memory:"},
                "csp": {"connect-src": ["'self'", "http:"], "upgrade-insecure-requests": false},
            },
        });
        let mut command = programs::node(&installed)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.arg(sources().join("backend/index.js"));
        for (name, text) in [("shared.yaml", config), ("portal.yaml", &own)] {
            let path = dir.path().join(name);
            fs::write(&path, text.to_string()).map_err(Error::io(format!("writing {}", path.display())))?;
            command.arg("--config").arg(path);
        }
        let mut backend = command.spawn().map_err(Error::io("starting the Backstage backend"))?;
        let logs = Logs::default();
        logs.collect(backend.stdout.take());
        logs.collect(backend.stderr.take());
        let client = Client::new(base_url)?;
        let mut portal = Self { installed, client, port, site_port, backend, logs, _dir: dir };
        portal.wait_until_ready().await?;
        Ok(portal)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.backend.try_wait().map_err(Error::io("waiting for the Backstage backend"))? {
                // What it said last is still on its way.
                sleep(Duration::from_millis(200)).await;
                let program = "the Backstage backend".to_owned();
                return Err(Error::EndedEarly { program, status, logs: self.logs() });
            }
            let answer = self.client.request(Method::GET, READINESS).timeout(Duration::from_secs(5)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        let what = "the readiness of the Backstage backend".to_owned();
        Err(Error::Timeout { what, limit: READY_WITHIN, detail: format!("its output:\n{}", self.logs()) })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client for [`Portal::base_url`].
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Everything the backend wrote.
    #[must_use]
    pub fn logs(&self) -> String {
        self.logs.get()
    }

    /// The backend's access log: its lines about requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.logs().lines().filter(|line| line.contains(r#""type":"incomingRequest""#)).map(str::to_owned).collect()
    }

    /// The token of the guest, or of a colleague, as the app gets it.
    ///
    /// # Errors
    /// The backend does not sign them in.
    pub async fn sign_in(&self, colleague: Option<&str>) -> Result<String> {
        let path = match colleague {
            Some(name) => format!("/api/auth/colleague/refresh?as={name}"),
            None => "/api/auth/guest/refresh".to_owned(),
        };
        let session = self.client.get(&path).await?.expect_json(200)?;
        let token = session.pointer("/backstageIdentity/token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| Error::unexpected(path, format!("no token in {session}")))
    }

    /// Lets people go through the portal with a browser, while `scaffolder` (`http://…/api/scaffolder`) stands in the
    /// scaffolder's place.
    ///
    /// # Errors
    /// A page did not show what it should: [`Error::Unexpected`] says which step of whom it was, what the scaffolder was
    /// asked in it and what was on the page. Chromium is missing.
    pub async fn drive(&self, scaffolder: &str) -> Result<Vec<Step>> {
        let chromium = programs::find("chromium")?;
        let settings = json!({
            "app": self.base_url(),
            "scaffolder": scaffolder,
            "sitePort": self.site_port,
            "shots": screenshots()?,
            "patience": PATIENCE.as_millis(),
        });
        let mut command = programs::node(&self.installed)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.arg(sources().join("browser/drive.js")).arg(settings.to_string()).env("CHROMIUM", chromium);
        let limit = DRIVEN_WITHIN;
        let ended = timeout(limit, command.output()).await;
        let ended = ended.map_err(|_| Error::Timeout {
            what: "the end of the browser's steps".to_owned(),
            limit,
            detail: "it was killed".to_owned(),
        })?;
        let output = ended.map_err(Error::io("starting the browser's steps"))?;
        let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(Error::unexpected("the browser's steps", format!("{complaints}\nwhat went well:\n{said}")));
        }
        let read = |line| serde_json::from_str(line);
        said.lines()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::unexpected("the browser's steps", format!("{error} in\n{said}")))
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("frontend")
}

/// A new folder for screenshots in the cache's `screenshots`; the oldest ones go.
fn screenshots() -> Result<PathBuf> {
    let all = cache::directory()?.join("screenshots");
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let new = all.join(format!("{millis}-{}", std::process::id()));
    fs::create_dir_all(&new).map_err(Error::io(format!("creating {}", new.display())))?;
    let entries = fs::read_dir(&all).map_err(Error::io(format!("listing {}", all.display())))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    folders.sort();
    for old in folders.iter().rev().skip(KEPT) {
        // Somebody else may be removing it as well.
        let _ = fs::remove_dir_all(old);
    }
    Ok(new)
}
