//! Runs the service as its users do: a process with configuration files, a data directory and signals.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{Error, Result, http::Client, memory};

const READINESS: &str = "/.backstage/health/v1/readiness";
/// How often a start is tried again because somebody else took the free port in between.
const PORT_ATTEMPTS: u32 = 5;

/// A loopback port that was free a moment ago.
///
/// # Errors
/// [`Error::Io`] when the system hands out none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("binding a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("reading the free port"))?.port())
}

/// Whether the service gets this variable of the test's environment: not those that would change its configuration, its
/// proxies, its CAs or its log.
fn is_inherited(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let exact =
        ["BACKSTAGE_ENV", "NODE_ENV", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "LOG_LEVEL", "RUST_LOG"];
    !(name.starts_with("APP_CONFIG_") || upper.ends_with("_PROXY") || exact.contains(&upper.as_str()))
}

/// Keeps from a process what of the test's environment is not meant for it.
pub(crate) fn remove_foreign(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| !is_inherited(&name.to_string_lossy())) {
        command.env_remove(name);
    }
}

/// How the service is to be run.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    binary: PathBuf,
    config: Vec<String>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    data_dir: Option<PathBuf>,
    ready_within: Duration,
}

impl ServiceOptions {
    /// Runs `binary`; in the tests of the package `understudy` that is `env!("CARGO_BIN_EXE_understudy")`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            config: Vec::new(),
            env: Vec::new(),
            args: Vec::new(),
            data_dir: None,
            ready_within: Duration::from_secs(30),
        }
    }

    /// Adds a YAML configuration file, merged over the ones before it. The first, generated one sets `backend.listen`,
    /// `backend.baseUrl`, `backend.database` (a file in the data directory) and `backend.workingDirectory`.
    #[must_use]
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.config.push(yaml.into());
        self
    }

    /// Adds an environment variable to those of the test, without proxies, CAs, `APP_CONFIG_*` and the like.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Trusts the CA of this PEM file (`NODE_EXTRA_CA_CERTS`).
    #[must_use]
    pub fn extra_ca(self, pem: &Path) -> Self {
        self.env("NODE_EXTRA_CA_CERTS", pem.to_string_lossy())
    }

    /// Adds an argument after `serve --config …`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Keeps the data in this directory instead of a temporary one.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// How long the service may take until it is ready; 30 s when not set.
    #[must_use]
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.ready_within = limit;
        self
    }
}

/// A running service. Dropping it kills the process and removes its temporary directory.
#[derive(Debug)]
pub struct Service {
    options: ServiceOptions,
    dir: TempDir,
    port: u16,
    client: Client,
    running: Option<Running>,
    logs: Logs,
}

#[derive(Debug)]
struct Running {
    child: Child,
    pid: u32,
    readers: [JoinHandle<()>; 2],
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<String>>);

impl Logs {
    pub(crate) fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn collect(&self, from: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<()> {
        let logs = self.clone();
        tokio::spawn(async move {
            let Some(mut from) = from else { return };
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..read]);
                logs.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        })
    }
}

impl Service {
    /// Starts the service on a free port and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::EndedEarly`] with its output when it stops before it is ready, [`Error::Timeout`] when it never is.
    pub async fn start(options: ServiceOptions) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_on(options.clone(), free_port()?).await {
                Err(Error::EndedEarly { logs, .. }) if attempt < PORT_ATTEMPTS && logs.contains("in use") => {
                    attempt += 1
                }
                other => return other,
            }
        }
    }

    async fn start_on(options: ServiceOptions, port: u16) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("understudy-service-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?;
        let client = Client::new(format!("http://127.0.0.1:{port}"))?;
        let mut service = Self { options, dir, port, client, running: None, logs: Logs::default() };
        service.run().await?;
        Ok(service)
    }

    async fn run(&mut self) -> Result<()> {
        let data = self.data_dir();
        let work = self.dir.path().join("work");
        for dir in [&data, &work] {
            fs::create_dir_all(dir).map_err(Error::io(format!("creating {}", dir.display())))?;
        }
        let base = serde_json::json!({"backend": {
            "baseUrl": self.base_url(),
            "listen": format!("127.0.0.1:{}", self.port),
            "database": {"client": "better-sqlite3", "connection": {"directory": data}},
            "workingDirectory": work,
        }});
        let mut command = Command::new(&self.options.binary);
        command.arg("serve");
        let files = std::iter::once(base.to_string()).chain(self.options.config.iter().cloned());
        for (number, text) in files.enumerate() {
            let path = self.dir.path().join(format!("app-config.{number}.yaml"));
            fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
            command.arg("--config").arg(path);
        }
        remove_foreign(&mut command);
        command.args(&self.options.args).envs(self.options.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

        let binary = self.options.binary.display().to_string();
        let mut child = command.spawn().map_err(Error::io(format!("starting {binary}")))?;
        let readers = [self.logs.collect(child.stdout.take()), self.logs.collect(child.stderr.take())];
        let pid = child.id().ok_or_else(|| Error::unexpected(&binary, "no process id"))?;
        self.running = Some(Running { child, pid, readers });
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let limit = self.options.ready_within;
        let deadline = Instant::now() + limit;
        let mut last = String::from("it was never asked");
        while Instant::now() < deadline {
            if let Some(status) = self.try_wait()? {
                self.ended().await;
                let program = self.options.binary.display().to_string();
                return Err(Error::EndedEarly { program, status, logs: self.logs() });
            }
            let answer =
                self.client.request(reqwest::Method::GET, READINESS).timeout(Duration::from_secs(2)).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = format!("{READINESS} answered {}", answer.status()),
                Err(error) => last = format!("{READINESS}: {error}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
        let what = format!("the readiness of {}", self.options.binary.display());
        Err(Error::Timeout { what, limit, detail: format!("{last}; its output:\n{}", self.logs()) })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client for [`Service::base_url`].
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the database is.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.dir.path().join("data"))
    }

    /// The working directory of tasks (`backend.workingDirectory`).
    #[must_use]
    pub fn working_directory(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The process id, while the process runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Everything written to standard output and standard error since the start or the last [`Service::clear_logs`].
    #[must_use]
    pub fn logs(&self) -> String {
        self.logs.get()
    }

    /// Forgets the output so far.
    pub fn clear_logs(&self) {
        self.logs.clear();
    }

    /// Waits until the output contains `text`.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the output when it does not.
    pub async fn wait_for_log(&self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let logs = self.logs();
            if logs.contains(text) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("the log line `{text}`");
                return Err(Error::Timeout { what, limit, detail: format!("the output:\n{logs}") });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Memory of the process.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it does not run.
    pub fn memory(&self) -> Result<memory::Memory> {
        memory::of(self.pid().ok_or_else(|| self.not_running())?)
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.running {
            Some(running) => running.child.try_wait().map_err(Error::io("waiting for the service")),
            None => Err(self.not_running()),
        }
    }

    /// Kills the process at once (`SIGKILL`) and waits for its end.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it does not run.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.wait(Duration::from_secs(10)).await
    }

    /// Asks the process to end (`SIGTERM`) and waits for that.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it does not run, [`Error::Timeout`] when it still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when the process does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or_else(|| self.not_running())?;
        // The child is not reaped before `wait`, so that the id still names it.
        kill_process(pid, signal)
            .map_err(|errno| Error::Io { what: format!("sending {signal:?}"), source: errno.into() })
    }

    /// Waits for the process's end.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it does not run, [`Error::Timeout`] when it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let Some(running) = &mut self.running else { return Err(self.not_running()) };
        match timeout(limit, running.child.wait()).await {
            Ok(status) => {
                let status = status.map_err(Error::io("waiting for the service"))?;
                self.ended().await;
                Ok(status)
            }
            Err(_) => {
                let what = "the end of the service".to_owned();
                Err(Error::Timeout { what, limit, detail: format!("its output:\n{}", self.logs()) })
            }
        }
    }

    async fn ended(&mut self) {
        if let Some(running) = self.running.take() {
            for reader in running.readers {
                // A grandchild that inherited the pipe may keep it open: what came until now has to do.
                let _ = timeout(Duration::from_secs(2), reader).await;
            }
        }
    }

    /// Starts the process again on the same port and data directory; a process that still runs is killed first.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn restart(&mut self) -> Result<()> {
        if self.running.is_some() {
            self.kill().await?;
        }
        self.run().await
    }

    fn not_running(&self) -> Error {
        Error::unexpected(self.options.binary.display().to_string(), "the process does not run")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(dir: &TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("service");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn an_early_end_shows_status_and_output() {
        let dir = tempfile::tempdir().unwrap();
        let binary = script(&dir, "echo \"$@\"; cat app-config.0.yaml; echo said >&2; exit 3");
        let error = Service::start(ServiceOptions::new(binary).arg("--extra")).await.unwrap_err();
        let Error::EndedEarly { status, logs, .. } = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(3));
        for part in ["serve --config ", "--extra", "said", "\"workingDirectory\""] {
            assert!(logs.contains(part), "{part} missing in {logs}");
        }
    }

    #[test]
    fn what_would_change_the_service_is_not_inherited() {
        let table = [
            ("PATH", true),
            ("HOME", true),
            ("APP_CONFIG_backend_listen", false),
            ("https_proxy", false),
            ("NO_PROXY", false),
            ("NODE_EXTRA_CA_CERTS", false),
        ];
        for (name, wanted) in table {
            assert_eq!(is_inherited(name), wanted, "{name}");
        }
    }

    /// Answers every request on the port that is written to `file` with 200, until the test process ends.
    fn answer_on_port_in(file: PathBuf) {
        use std::io::{Read, Write};
        std::thread::spawn(move || {
            let port: u16 = loop {
                match fs::read_to_string(&file).unwrap_or_default().trim().parse() {
                    Ok(port) => break port,
                    Err(_) => std::thread::sleep(Duration::from_millis(10)),
                }
            };
            for stream in TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap().incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
    }

    #[tokio::test]
    async fn a_service_is_stopped_killed_and_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let port = dir.path().join("port");
        let listen = r#"s/.*"listen":"127.0.0.1:\([0-9]*\)".*/\1/p"#;
        let text = format!(
            "sed -n '{listen}' app-config.0.yaml > {}; trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
            port.display()
        );
        answer_on_port_in(port);
        let limit = Duration::from_secs(10);
        let mut service = Service::start(ServiceOptions::new(script(&dir, &text))).await.unwrap();
        service.wait_for_log("up", limit).await.unwrap();
        assert!(service.memory().unwrap().peak_kib > 100);
        assert_eq!(service.client().get("/").await.unwrap().status, 200);
        let (url, data, pid) = (service.base_url(), service.data_dir(), service.pid());
        fs::write(data.join("kept"), "x").unwrap();

        assert_eq!(service.terminate(limit).await.unwrap().code(), Some(0));
        assert!(service.logs().contains("bye"), "{}", service.logs());
        assert!(service.pid().is_none() && service.memory().is_err() && service.kill().await.is_err());

        service.clear_logs();
        service.restart().await.unwrap();
        assert_eq!((service.base_url(), service.data_dir()), (url, data.clone()));
        assert!(service.pid() != pid && data.join("kept").exists());
        let status = service.kill().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(!service.logs().contains("bye"), "{}", service.logs());
        drop(service);
        assert!(!data.exists());
    }

    #[tokio::test]
    async fn never_ready_is_a_timeout_and_the_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let binary = script(&dir, &format!("echo $$ > {}; echo waiting; exec sleep 60", pid_file.display()));
        let options = ServiceOptions::new(binary).ready_within(Duration::from_millis(500));
        let error = Service::start(options).await.unwrap_err();
        assert!(matches!(&error, Error::Timeout { detail, .. } if detail.contains("waiting")), "{error}");
        let pid: u32 = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        for _ in 0..100 {
            if memory::of(pid).is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{pid} still runs");
    }
}
