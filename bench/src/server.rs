//! Both sides as their users run them: a process with configuration files, a database and a log file.
//!
//! They get the very same configuration, but for port and directories. Only one of them runs at a time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use understudy_testbed::{
    http::{Answer, Client},
    process::free_port,
    upstream::{GITHUB, PERMISSIONS, SMALLEST},
};

use crate::{
    bench::Bench,
    error::{Error, Result},
    results::{OURS, UPSTREAM},
};

/// How long a start may take on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// What callers show where credentials are needed.
const TOKEN: &str = "bench-static-token-0123456789";
/// The tasks' route.
pub(crate) const TASKS: &str = "/api/scaffolder/v2/tasks";
/// The actions' route.
pub(crate) const ACTIONS: &str = "/api/scaffolder/v2/actions";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The service of this repository.
    Ours,
    /// Backstage's scaffolder backend.
    Upstream,
}

impl Side {
    /// The name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => OURS,
            Self::Upstream => UPSTREAM,
        }
    }
}

/// Where tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// SQLite in memory.
    Memory,
    /// SQLite in a file.
    File,
    /// PostgreSQL.
    Postgres,
}

/// How both sides are configured.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Where tasks are kept.
    pub(crate) store: Store,
    /// Callers need a token, permissions are on, and the actions of the plugins `scaffolder` and `catalog` are offered: close to
    /// a default deployment. Otherwise nobody needs anything.
    pub(crate) guarded: bool,
    /// Files with one template each.
    pub(crate) templates: Vec<PathBuf>,
    /// Configuration over the rest, YAML.
    pub(crate) more: Vec<String>,
    /// A certificate authority to trust.
    pub(crate) ca: Option<PathBuf>,
    /// Keeps the data under this name, to be used by the side's next start.
    pub(crate) data: Option<String>,
}

impl Setup {
    /// Nobody needs credentials.
    pub(crate) fn open(store: Store) -> Self {
        Self { store, guarded: false, templates: Vec::new(), more: Vec::new(), ca: None, data: None }
    }

    /// As most people run it.
    pub(crate) fn guarded(store: Store) -> Self {
        Self { guarded: true, ..Self::open(store) }
    }

    pub(crate) fn templates(mut self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        self.templates.extend(files);
        self
    }

    pub(crate) fn config(mut self, config: String) -> Self {
        self.more.push(config);
        self
    }

    pub(crate) fn data(mut self, name: &str) -> Self {
        self.data = Some(name.to_owned());
        self
    }
}

/// A process that is not started yet.
pub(crate) struct Plan {
    command: Command,
    side: Side,
    home: PathBuf,
    port: u16,
    client: Client,
    token: Option<&'static str>,
    /// A template that can be used when the server is ready.
    template: Option<String>,
}

/// A running process. Dropping it kills it.
pub(crate) struct Server {
    /// Whose it is.
    pub(crate) side: Side,
    /// Sends requests to it, with credentials where they are needed.
    pub(crate) client: Client,
    /// Its port.
    pub(crate) port: u16,
    /// Its process.
    pub(crate) pid: u32,
    /// The directory of its log, workspaces and configuration.
    pub(crate) home: PathBuf,
    /// What callers show.
    pub(crate) token: Option<&'static str>,
    child: Child,
}

impl Plan {
    /// Prepares a start; the database is new unless the setup names one.
    pub(crate) async fn new(bench: &Bench, side: Side, setup: &Setup) -> Result<Self> {
        let number = bench.next();
        let home = bench.dir().join(format!("{}-{number}", side.name()));
        let work = workspaces(bench);
        for folder in [&home, &work] {
            fs::create_dir_all(folder).map_err(Error::at(folder))?;
        }
        let port = free_port()?;
        let name = match &setup.data {
            Some(name) => format!("{name}_{}", side.name()),
            None => format!("b{number}_{}", side.name()),
        };
        let database = match setup.store {
            Store::Memory => json!({"client": "better-sqlite3", "connection": ":memory:"}),
            Store::File => {
                let data = bench.dir().join("data").join(name);
                fs::create_dir_all(&data).map_err(Error::at(&data))?;
                json!({"client": "better-sqlite3", "connection": {"directory": data}})
            }
            Store::Postgres => {
                let server = bench.postgres().await?;
                json!({"client": "pg", "prefix": format!("{name}_"), "connection": {
                    "host": "127.0.0.1", "port": server.port(), "user": server.user(), "password": server.password(),
                }})
            }
        };
        let base_url = format!("http://127.0.0.1:{port}");
        let locations: Vec<Value> =
            setup.templates.iter().map(|file| json!({"type": "file", "target": file})).collect();
        let sources: &[&str] = if setup.guarded { &["scaffolder", "catalog"] } else { &[] };
        let mut config = json!({
            "app": {"baseUrl": base_url},
            "backend": {
                "baseUrl": base_url, "listen": {"port": port, "host": "127.0.0.1"}, "database": database,
                "workingDirectory": work, "actions": {"pluginSources": sources},
                "auth": {"dangerouslyDisableDefaultAuthPolicy": !setup.guarded},
            },
            "permission": {"enabled": setup.guarded},
            "catalog": {"rules": [{"allow": ["Template", "Component"]}], "locations": locations},
            "scaffolder": {"concurrentTasksLimit": 10},
        });
        if setup.guarded {
            config["backend"]["auth"]["externalAccess"] =
                json!([{"type": "static", "options": {"token": TOKEN, "subject": "bench"}}]);
            config["auth"] = json!({"providers": {}});
        }
        let mut command = match side {
            Side::Ours => {
                let mut command = Command::new(bench.binary());
                command.arg("serve").current_dir(&home).env("NODE_ENV", "production");
                command
            }
            Side::Upstream => {
                let mut features = SMALLEST.to_vec();
                features.push(GITHUB);
                if setup.guarded {
                    features.extend(PERMISSIONS);
                }
                bench.upstream().backend(&home, &features)?
            }
        };
        for (number, config) in std::iter::once(&config.to_string()).chain(&setup.more).enumerate() {
            let path = home.join(format!("app-config.{number}.yaml"));
            fs::write(&path, config).map_err(Error::at(&path))?;
            command.arg("--config").arg(path);
        }
        if let Some(ca) = &setup.ca {
            command.env("NODE_EXTRA_CA_CERTS", ca);
        }
        for variable in ["RUST_LOG", "LOG_LEVEL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env_remove(variable);
        }
        let mut client = Client::new(base_url)?;
        let token = setup.guarded.then_some(TOKEN);
        if let Some(token) = token {
            client = client.authorized(format!("Bearer {token}"));
        }
        let template = setup.templates.last().and_then(|file| Some(file.file_stem()?.to_str()?.to_owned()));
        Ok(Self { command, side, home, port, client, token, template })
    }

    /// Starts the process, without waiting for anything.
    pub(crate) fn spawn(mut self) -> Result<Server> {
        let log = self.home.join("log");
        let output = fs::File::create(&log).map_err(Error::at(&log))?;
        let errors = output.try_clone().map_err(Error::at(&log))?;
        self.command.stdin(Stdio::null()).stdout(output).stderr(errors).kill_on_drop(true);
        let child = self.command.spawn().map_err(Error::io(format!("starting {}", self.side.name())))?;
        let pid = child.id().ok_or_else(|| Error::Failed("a process without an id".to_owned()))?;
        Ok(Server {
            side: self.side,
            client: self.client,
            port: self.port,
            pid,
            home: self.home,
            token: self.token,
            child,
        })
    }

    /// Starts the process and waits until its last template can be used.
    pub(crate) async fn start(self) -> Result<Server> {
        let path = match &self.template {
            Some(name) => format!("/api/scaffolder/v2/templates/default/template/{name}/parameter-schema"),
            None => ACTIONS.to_owned(),
        };
        let mut server = self.spawn()?;
        server.answers(&path, Duration::from_millis(50)).await?;
        Ok(server)
    }
}

impl Server {
    /// A new process with a new database, or the one that the setup names.
    pub(crate) async fn start(bench: &Bench, side: Side, setup: &Setup) -> Result<Self> {
        Plan::new(bench, side, setup).await?.start().await
    }

    /// Waits until a path is answered with 200; asks in these intervals.
    pub(crate) async fn answers(&mut self, path: &str, interval: Duration) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = self.client.request(reqwest::Method::GET, path).timeout(Duration::from_secs(10)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(Error::io("waiting for a process"))?;
            if ended.is_some() || Instant::now() > deadline {
                let what = format!("{} does not answer {path} ({ended:?})", self.side.name());
                return Err(Error::Failed(format!("{what}; its log ends with:\n{}", self.log_end())));
            }
            sleep(interval).await;
        }
    }

    /// The last of its log.
    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(self.home.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(3000)..]).into_owned()
    }

    fn unexpected(&self, what: &str, answer: &Answer) -> Error {
        let text = answer.text();
        let side = self.side.name();
        Error::Failed(format!("{side}: {what}: {} {text}\nits log ends with:\n{}", answer.status, self.log_end()))
    }

    /// Creates a task; gives its id.
    pub(crate) async fn create(&self, template: &str, values: &Value) -> Result<String> {
        let body = json!({"templateRef": format!("template:default/{template}"), "values": values});
        let answer = self.client.post(TASKS, &body).await?;
        if answer.status != 201 {
            return Err(self.unexpected("creating a task", &answer));
        }
        Ok(answer.json()?["id"].as_str().unwrap_or_default().to_owned())
    }

    /// `GET` that must succeed, as JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.client.get(path).await?;
        if answer.status != 200 {
            return Err(self.unexpected(path, &answer));
        }
        Ok(answer.json()?)
    }

    /// A task's events.
    pub(crate) async fn events(&self, id: &str) -> Result<Vec<Value>> {
        Ok(self.get(&format!("{TASKS}/{id}/events")).await?.as_array().cloned().unwrap_or_default())
    }

    /// Whether a task has ended; that it failed is an error.
    pub(crate) async fn is_completed(&self, id: &str) -> Result<bool> {
        let task = self.get(&format!("{TASKS}/{id}")).await?;
        match task["status"].as_str().unwrap_or_default() {
            "completed" => Ok(true),
            "open" | "processing" => Ok(false),
            status => {
                let events = self.events(id).await?;
                let last: Vec<String> = events.iter().rev().take(5).rev().map(Value::to_string).collect();
                Err(Error::Failed(format!("{}: task {id} is {status}:\n{}", self.side.name(), last.join("\n"))))
            }
        }
    }

    /// Waits until a task is completed; asks after each tenth of the time that it took so far, each millisecond at most and
    /// each 20 ms at least. `None` when it takes longer than `limit`.
    pub(crate) async fn completed(&self, id: &str, since: Instant, limit: Duration) -> Result<Option<Duration>> {
        loop {
            if self.is_completed(id).await? {
                return Ok(Some(since.elapsed()));
            }
            let elapsed = since.elapsed();
            if elapsed > limit {
                return Ok(None);
            }
            sleep((elapsed / 10).clamp(Duration::from_millis(1), Duration::from_millis(20))).await;
        }
    }

    /// Creates a task and waits for its completion; gives id and time.
    pub(crate) async fn run(
        &self,
        template: &str,
        values: &Value,
        limit: Duration,
    ) -> Result<(String, Option<Duration>)> {
        let since = Instant::now();
        let id = self.create(template, values).await?;
        let took = self.completed(&id, since, limit).await?;
        Ok((id, took))
    }

    /// How many tasks have been completed.
    pub(crate) async fn count_completed(&self) -> Result<u64> {
        let page = self.get(&format!("{TASKS}?limit=1&status=completed")).await?;
        page["totalTasks"].as_u64().ok_or_else(|| Error::Failed(format!("no totalTasks in {page}")))
    }

    /// Cancels a task.
    pub(crate) async fn cancel(&self, id: &str) -> Result<()> {
        let answer = self.client.post(&format!("{TASKS}/{id}/cancel"), &json!({})).await?;
        if answer.status == 200 { Ok(()) } else { Err(self.unexpected("cancelling a task", &answer)) }
    }

    /// Ends the process as an orchestrator would.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.pid.cast_signed()).ok_or_else(|| Error::Failed("no process".to_owned()))?;
        // The child is not reaped yet, so that the id still names it.
        kill_process(pid, Signal::TERM)
            .map_err(|errno| Error::Io { what: "ending a server".to_owned(), source: errno.into() })?;
        if timeout(Duration::from_secs(15), self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(Error::io("killing a server"))?;
        }
        Ok(())
    }
}

/// The directory of all tasks' workspaces: the same for both sides, as its name is in their logs.
pub(crate) fn workspaces(bench: &Bench) -> PathBuf {
    bench.dir().join("work")
}

/// Where a side keeps the scaffolder's tables in a SQLite file.
pub(crate) fn sqlite_file(bench: &Bench, side: Side, data: &str) -> PathBuf {
    bench.dir().join("data").join(format!("{data}_{}", side.name())).join("scaffolder.sqlite")
}

/// The PostgreSQL database of a side.
pub(crate) fn postgres_database(side: Side, data: &str) -> String {
    format!("{data}_{}_scaffolder", side.name())
}

/// Removes what a server left: log, configuration and workspaces.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::at(path)(error)),
        _ => Ok(()),
    }
}
