//! A real PostgreSQL server, with a password, TLS and a fresh database for each test.
//!
//! It does not flush to disk (`fsync=off`) unless it is asked to: a server that is stopped or crashes keeps everything, a machine
//! would not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    process::Command,
    sync::OnceCell,
    time::{Instant, sleep},
};

use crate::{
    Error, Result,
    github::tls,
    process::free_port,
    programs,
    supervisor::{Supervisor, User},
};

/// How long a start may take on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
const PORT_ATTEMPTS: u32 = 5;
const SUPERVISE: &str = include_str!("supervise.sh");
/// The server's administrator.
const USER: &str = "postgres";

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// A running server. It ends, and its files go, when this and its clones are dropped or the process ends.
#[derive(Debug, Clone)]
pub struct Postgres {
    supervisor: Arc<Supervisor>,
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    password: String,
    ca_pem: String,
    databases: Arc<AtomicU32>,
}

/// A database of a server; empty, and known to nobody else.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its server.
    pub server: Postgres,
    /// Its name.
    pub name: String,
}

impl Postgres {
    /// The server that the tests of this process share; a database each keeps them apart.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn shared() -> Result<Self> {
        Ok(SHARED.get_or_try_init(Self::start).await?.clone())
    }

    /// Starts a server of the caller's own: for tests that stop it.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] when PostgreSQL is not installed; it does not get ready.
    pub async fn start() -> Result<Self> {
        Self::start_with("-cfsync=off").await
    }

    /// As [`Postgres::start`], but everything is on disk before it is acknowledged, as in production: for measurements.
    ///
    /// # Errors
    /// As there.
    pub async fn start_durable() -> Result<Self> {
        Self::start_with("-cfsync=on").await
    }

    async fn start_with(durability: &str) -> Result<Self> {
        let programs = programs_dir()?;
        let user = unprivileged_user()?;
        let mut attempt = 1;
        loop {
            match Self::start_on(&programs, user, free_port()?, durability).await {
                Err(Error::Unexpected { detail, .. }) if attempt < PORT_ATTEMPTS && detail.contains("in use") => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn start_on(programs: &Path, user: Option<User>, port: u16, durability: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("understudy-postgres-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?
            .keep();
        let password = uuid::Uuid::new_v4().simple().to_string();
        let identity = tls::certificates(&dir)?;
        let password_file = dir.join("password");
        fs::write(&password_file, &password).map_err(Error::io("writing the password file"))?;
        let key = dir.join("server.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).map_err(Error::io("protecting the key"))?;
        if let Some(user) = user {
            for path in [dir.clone(), password_file.clone(), key.clone()] {
                chown(&path, Some(user.uid), Some(user.gid))
                    .map_err(Error::io(format!("giving away {}", path.display())))?;
            }
        }
        let data = dir.join("data");
        let mut init = Command::new(programs.join("initdb"));
        init.arg("-D").arg(&data).args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
        init.arg("--pwfile").arg(&password_file).current_dir(&dir);
        if let Some(user) = user {
            init.uid(user.uid).gid(user.gid);
        }
        programs::output(&mut init).await?;
        let server = [
            dir.display().to_string(),
            programs.join("postgres").display().to_string(),
            "-D".to_string(),
            data.display().to_string(),
            format!("-p{port}"),
            format!("-k{}", dir.display()),
            "-clisten_addresses=127.0.0.1".to_string(),
            "-cmax_connections=300".to_string(),
            durability.to_string(),
            "-cssl=on".to_string(),
            format!("-cssl_cert_file={}", dir.join("server.pem").display()),
            format!("-cssl_key_file={}", key.display()),
        ];
        let supervisor = Arc::new(Supervisor::start(SUPERVISE, &server, user)?);
        let started = Self {
            supervisor,
            programs: programs.to_owned(),
            dir,
            port,
            password,
            ca_pem: identity.ca_pem,
            databases: Arc::default(),
        };
        started.wait_until_ready().await?;
        Ok(started)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.supervisor.ended().is_some() {
                return Err(Error::unexpected("postgres ended before it was ready", self.logs()));
            }
            match self.sql(USER, "SELECT 1").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    let detail = format!("{error}; its output:\n{}", self.logs());
                    return Err(Error::Timeout {
                        what: "the readiness of postgres".to_string(),
                        limit: READY_WITHIN,
                        detail,
                    });
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// A new, empty database.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn database(&self) -> Result<Database> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(USER, &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        Ok(Database { server: self.clone(), name })
    }

    /// Runs statements with psql; gives the rows, one a line, columns parted by `|`.
    ///
    /// # Errors
    /// [`Error::Program`] with what the server says.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER]);
        command.arg("-p").arg(self.port.to_string()).arg("-d").arg(database).arg("-c").arg(statements);
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10").env("PGSSLMODE", "disable");
        let rows = programs::output(&mut command).await?;
        Ok(String::from_utf8_lossy(&rows).trim_end().to_string())
    }

    /// The schema of a database as `pg_dump` writes it, without comments and settings.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub async fn schema(&self, database: &str) -> Result<String> {
        let mut command = Command::new(self.programs.join("pg_dump"));
        command.args(["--schema-only", "--no-owner", "--no-privileges", "-h", "127.0.0.1", "-U", USER]);
        command.arg("-p").arg(self.port.to_string()).arg(database);
        command.env("PGPASSWORD", &self.password).env("PGSSLMODE", "disable");
        let text = programs::output(&mut command).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let is_noise = |line: &&str| {
            line.is_empty() || ["--", "SET ", "\\", "SELECT pg_catalog."].iter().any(|noise| line.starts_with(noise))
        };
        Ok(text.lines().filter(|line| !is_noise(line)).collect::<Vec<_>>().join("\n"))
    }

    /// The server's version, e.g. `15.14`.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub async fn version(&self) -> Result<String> {
        let said = self.sql(USER, "SHOW server_version").await?;
        Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// The port; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The administrator's name.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The administrator's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The CA of its certificate, PEM. The certificate is for `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The directory of its Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    /// Stops the server: connections are cut, everything is written.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub async fn stop(&self) -> Result<()> {
        self.supervisor.command("stop", "stopped").await
    }

    /// Ends the server without ceremony; it recovers from its log at the next start.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub async fn crash(&self) -> Result<()> {
        self.supervisor.command("crash", "crashed").await
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::crash`], on the same port, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start_again(&self) -> Result<()> {
        self.supervisor.command("start", "started").await?;
        self.wait_until_ready().await
    }

    /// What the server wrote, the last of it.
    #[must_use]
    pub fn logs(&self) -> String {
        let text = fs::read(self.dir.join("postgres.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(8000)..]).into_owned()
    }
}

impl Database {
    /// `postgresql://…`, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        let Postgres { port, password, .. } = &self.server;
        format!("postgresql://{USER}:{password}@127.0.0.1:{port}/{}", self.name)
    }

    /// The members of `backend.database.connection`, `database` among them.
    #[must_use]
    pub fn connection(&self) -> Value {
        json!({
            "host": "127.0.0.1", "port": self.server.port, "user": USER, "password": self.server.password,
            "database": self.name,
        })
    }

    /// A section `backend.database` that makes this database the scaffolder's.
    #[must_use]
    pub fn app_config(&self) -> String {
        json!({"backend": {"database": {
            "client": "pg", "connection": self.connection(),
            "plugin": {"scaffolder": {"connection": {"database": self.name}}},
        }}})
        .to_string()
    }

    /// Runs statements in it; see [`Postgres::sql`].
    ///
    /// # Errors
    /// As there.
    pub async fn sql(&self, statements: &str) -> Result<String> {
        self.server.sql(&self.name, statements).await
    }

    /// Its schema; see [`Postgres::schema`].
    ///
    /// # Errors
    /// As there.
    pub async fn schema(&self) -> Result<String> {
        self.server.schema(&self.name).await
    }
}

/// Where the server's programs are: Debian keeps them off `PATH`.
fn programs_dir() -> Result<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = versions.filter(|path| path.join("bin/postgres").exists()).max_by_key(|path| number(path));
    match newest {
        Some(version) => Ok(version.join("bin")),
        None => Ok(programs::find("postgres")?.parent().unwrap_or(Path::new("/")).to_owned()),
    }
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made, or as nobody.
fn unprivileged_user() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let known = fs::read_to_string("/etc/passwd").map_err(Error::io("reading /etc/passwd"))?;
    [USER, "nobody"]
        .iter()
        .find_map(|name| {
            let line = known.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        })
        .map(Some)
        .ok_or_else(|| Error::unexpected("/etc/passwd", "it has neither the user postgres nor nobody"))
}
