//! Backstage's `app-config.yaml` files: merged, substituted, typed.

use std::{net::SocketAddr, time::Duration};

use camino::Utf8PathBuf;
use serde_json::Value;
use understudy_sdk::Secrets;

/// Everything the service reads from the configuration, checked at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The merged, substituted configuration, for parts that read their own keys (integrations).
    pub raw: Value,
    /// `backend.*`
    pub backend: BackendConfig,
    /// `scaffolder.*`
    pub scaffolder: ScaffolderConfig,
    /// `catalog.locations[]`
    pub catalog_locations: Vec<LocationConfig>,
}

/// `backend.*`
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// External URL, `backend.baseUrl`; default `http://localhost:<port>`.
    pub base_url: String,
    /// Where to listen; default `127.0.0.1:7007`.
    pub listen: SocketAddr,
    /// `backend.database` of the plugin `scaffolder`.
    pub database: DatabaseConfig,
    /// `backend.workingDirectory`; default the system's temporary directory.
    pub working_directory: Utf8PathBuf,
    /// `backend.cors`
    pub cors: Option<CorsConfig>,
    /// `backend.auth.dangerouslyDisableDefaultAuthPolicy`
    pub auth_disabled: bool,
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// `:memory:`
    SqliteMemory,
    /// A file.
    SqliteFile(Utf8PathBuf),
}

/// `backend.cors`
#[derive(Debug, Clone, Default)]
pub struct CorsConfig {
    /// Allowed origins (glob patterns).
    pub origin: Vec<String>,
    /// Allowed methods.
    pub methods: Vec<String>,
    /// `Access-Control-Allow-Credentials`.
    pub credentials: bool,
    /// Allowed request headers; absent: those asked for.
    pub allowed_headers: Option<Vec<String>>,
    /// Exposed response headers.
    pub exposed_headers: Option<Vec<String>>,
    /// Seconds a preflight may be cached.
    pub max_age: Option<u64>,
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
    /// `taskRecovery.enabled`; here on by default.
    pub recovery_enabled: bool,
    /// `taskRecovery.staleTimeout`
    pub stale_timeout: Duration,
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
    /// Path (relative ones are resolved against the process's working directory) or URL.
    pub target: String,
}
