//! Backstage's `app-config.yaml` files: merged, substituted, typed.
//!
//! Keys of other plugins are ignored. A wrong value of a key that is read here is an error that names file, key and
//! reason. Without any file everything has a default: see [`Config::load`].

mod actions;
mod audit;
mod auth;
mod database;
mod env;
mod error;
mod loader;
mod otlp;
mod reader;
mod secrets;
mod server;
mod templating;
#[cfg(test)]
mod tests;
mod transform;
mod typed;
mod workspaces;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use camino::Utf8PathBuf;
use serde_json::Value;
use understudy_actions_core::templating::Language;
use understudy_sdk::Secrets;

pub use actions::{ActionAttributes, ActionsConfig};
pub use audit::{AuditConfig, AuditLevel};
pub use auth::{AuthConfig, AuthPolicy, ExternalAccess, ExternalKind, KeyStoreConfig, StaticKey};
pub use database::{DatabaseConfig, PostgresConfig, PostgresTls};
pub use error::ConfigError;
pub use otlp::OtlpConfig;
pub use secrets::{EncryptionKey, KeySource, SecretsConfig, SharedSecret, check_key_text};
pub use server::{CorsConfig, RateLimitConfig, ServerConfig, Timeouts, TrustProxy};
pub use workspaces::{S3Config, WorkspaceProvider};

use crate::discovery::Discovery;

/// Where to look for the configuration.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The files given with `--config`, in order; when empty, the default files of `root`.
    pub config_paths: Vec<Utf8PathBuf>,
    /// Where the default files lie and relative paths start, as a rule the process's working directory.
    pub root: Utf8PathBuf,
    /// The environment.
    pub env: HashMap<String, String>,
}

impl LoadOptions {
    /// For these files, with the environment and the working directory of this process.
    ///
    /// # Errors
    /// The working directory is gone or its name is no UTF-8.
    pub fn from_process(config_paths: Vec<Utf8PathBuf>) -> Result<Self, ConfigError> {
        let root = std::env::current_dir()
            .and_then(|path| {
                Utf8PathBuf::from_path_buf(path)
                    .map_err(|_| std::io::Error::other("its name is no UTF-8; start the service elsewhere"))
            })
            .map_err(|error| ConfigError::File { path: ".".to_string(), reason: error.to_string() })?;
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self { config_paths, root, env })
    }
}

/// Everything the service reads from the configuration, checked at start.
#[derive(Clone)]
pub struct Config {
    /// The merged, substituted configuration, for parts that read their own keys (integrations).
    pub raw: Value,
    /// `backend.*`
    pub backend: BackendConfig,
    /// `backend.auth`
    pub auth: AuthConfig,
    /// `permission.enabled`: users are decided by the permission backend.
    pub permission_enabled: bool,
    /// `discovery.endpoints`, or what follows from the rest.
    pub discovery: Discovery,
    /// `backend.*`, as far as it is about HTTP.
    pub server: ServerConfig,
    /// `scaffolder.*`
    pub scaffolder: ScaffolderConfig,
    /// `backend.auditor` and `scaffolder.auditor`
    pub audit: AuditConfig,
    /// `backend.metrics.otlp`: where metrics are sent; `None`: nowhere.
    pub otlp: Option<OtlpConfig>,
    /// `catalog.locations[]`
    pub catalog_locations: Vec<LocationConfig>,
    /// `catalog.processingInterval`: how often all locations are read again; `None`: only when asked.
    pub catalog_refresh: Option<Duration>,
    /// What the operator should know, one sentence each; logged at start.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Config {
    /// Without `raw`, which holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("backend", &self.backend)
            .field("auth", &self.auth)
            .field("permission_enabled", &self.permission_enabled)
            .field("discovery", &self.discovery)
            .field("server", &self.server)
            .field("scaffolder", &self.scaffolder)
            .field("audit", &self.audit)
            .field("otlp", &self.otlp)
            .field("catalog_locations", &self.catalog_locations)
            .field("catalog_refresh", &self.catalog_refresh)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// `backend.*`
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// External URL, `backend.baseUrl`; default `http://localhost:<port>`.
    pub base_url: String,
    /// Where to listen. Without a host in `backend.listen`: everywhere when requests need credentials, else on loopback.
    /// The default port is 7007.
    pub listen: SocketAddr,
    /// `backend.database` of the plugin `scaffolder`.
    pub database: DatabaseConfig,
    /// `backend.database.skipMigrations`: the tables are as they must be, or the service does not start.
    pub skip_migrations: bool,
    /// `backend.workingDirectory`; default `understudy-<user>` in the system's temporary directory, made by
    /// [`BackendConfig::prepare_working_directory`].
    pub working_directory: Utf8PathBuf,
    /// `backend.actions`
    pub actions: ActionsConfig,
}

/// `scaffolder.*` (defaults as upstream 4.2.0 unless said).
#[derive(Debug, Clone)]
pub struct ScaffolderConfig {
    /// `defaultAuthor`: name and e-mail.
    pub default_author: (String, String),
    /// `defaultCommitMessage`
    pub default_commit_message: Option<String>,
    /// `concurrentTasksLimit`; 0: this process runs no tasks.
    pub concurrent_tasks_limit: usize,
    /// `taskTimeout`
    pub task_timeout: Duration,
    /// `taskTimeoutJanitorFrequency`
    pub janitor_frequency: Duration,
    /// `failedWorkspaceRetention`
    pub failed_workspace_retention: Duration,
    /// `retention.maxAge`: how long tasks are kept after they ended; `None` for ever.
    pub retention_max_age: Option<Duration>,
    /// `retention.maxTasks`: how many tasks that ended are kept; `None` for all.
    pub retention_max_tasks: Option<u64>,
    /// `taskRecovery.enabled`; here on by default.
    pub recovery_enabled: bool,
    /// `taskRecovery.staleTimeout`
    pub stale_timeout: Duration,
    /// `taskRecovery.workspaceProvider`
    pub workspace_provider: WorkspaceProvider,
    /// `secrets.encryption`
    pub secrets: SecretsConfig,
    /// `templating`
    pub templating: Language,
    /// `defaultEnvironment.parameters`
    pub environment_parameters: serde_json::Map<String, Value>,
    /// `defaultEnvironment.secrets`
    pub environment_secrets: Secrets,
}

/// `catalog.locations[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationConfig {
    /// `file` or `url`.
    pub kind: String,
    /// Absolute path (a relative one is resolved against [`LoadOptions::root`]), which may hold `*`, `**`, `?` and
    /// `{a,b}`; or URL.
    pub target: String,
}
