//! The typed configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};
use understudy_sdk::Secrets;

use super::{
    AuthConfig, AuthPolicy, BackendConfig, Config, ConfigError, LoadOptions, LocationConfig, ScaffolderConfig, auth,
    loader, reader::Reader, server,
};
use crate::discovery::Discovery;

const DEFAULT_PORT: u16 = 7007;
/// Below it a busy worker would lose its tasks.
const MIN_STALE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

impl Config {
    /// Reads the configuration: the files of `options` (or `app-config.yaml`, `app-config.<env>.yaml`,
    /// `app-config.local.yaml`, `app-config.<env>.local.yaml`, as far as they exist, with the names in `BACKSTAGE_ENV`),
    /// then `APP_CONFIG_*`.
    ///
    /// With no file at all: loopback port 7007, the SQLite database `understudy-data/understudy.sqlite` below the root, a
    /// private working directory in the system's temporary directory, upstream's defaults for `scaffolder.*` except that
    /// recovery is on.
    ///
    /// # Errors
    /// A file can't be read, or a value is wrong; the message names file, key and reason.
    pub fn load(options: &LoadOptions) -> Result<Self, ConfigError> {
        let loaded = loader::load(options)?;
        let root = Reader::root(&loaded);
        let mut warnings = Vec::new();
        let (backend, auth, discovery) = backend(&root, options, &mut warnings)?;
        let server = server::read(&root.at("backend")?, &mut warnings)?;
        let permission_enabled = root.at("permission.enabled")?.boolean()?.unwrap_or(false);
        if permission_enabled && !discovery.is_elsewhere("permission") {
            warnings.push(
                "permission.enabled is set, and discovery.endpoints names no Backstage backend for the plugin permission: \
                 only services may do anything"
                    .to_string(),
            );
        }
        let scaffolder = scaffolder(&root.at("scaffolder")?, &auth, options, &mut warnings)?;
        let audit = super::audit::read(&root)?;
        let otlp = super::otlp::read(&root.at("backend.metrics.otlp")?, &options.env, &mut warnings)?;
        let catalog_locations = locations(&root, options, &mut warnings)?;
        let catalog_refresh = refresh_interval(&root.at("catalog.processingInterval")?)?;
        Ok(Self {
            backend,
            auth,
            permission_enabled,
            discovery,
            server,
            scaffolder,
            audit,
            otlp,
            catalog_locations,
            catalog_refresh,
            warnings,
            raw: loaded.value.clone(),
        })
    }
}

/// Backstage's catalog takes a duration or `false`; the default is of its order.
fn refresh_interval(interval: &Reader<'_>) -> Result<Option<std::time::Duration>, ConfigError> {
    const DEFAULT: std::time::Duration = std::time::Duration::from_secs(5 * 60);
    if matches!(interval.value(), Some(Value::Bool(false))) {
        return Ok(None);
    }
    let duration = interval.duration()?.unwrap_or(DEFAULT);
    if duration.is_zero() {
        return Err(interval.wrong("must be longer than nothing, or false"));
    }
    Ok(Some(duration))
}

fn backend(
    root: &Reader<'_>,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<(BackendConfig, AuthConfig, Discovery), ConfigError> {
    let backend = root.at("backend")?;
    let https = backend.at("https")?;
    if !matches!(https.value(), None | Some(Value::Bool(false))) {
        return Err(
            https.wrong("this version serves plain HTTP only; remove the key and put a proxy with TLS in front")
        );
    }
    let listen_place = backend.at("listen")?;
    let (host, port) = host_and_port(&listen_place)?;
    let base_url = backend.at("baseUrl")?;
    let base_url = match base_url.string()? {
        Some(text) => match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => text.trim_end_matches('/').to_string(),
            _ => return Err(base_url.wrong("no http or https URL, as in http://localhost:7007")),
        },
        None => format!("http://localhost:{}", port.unwrap_or(DEFAULT_PORT)),
    };
    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.unwrap_or(DEFAULT_PORT));
    let endpoints = auth::endpoints(root)?;
    let auth_is_elsewhere = Discovery::new(&endpoints, &base_url, loopback).is_elsewhere("auth");
    let auth = auth::read(&backend.at("auth")?, auth_is_elsewhere, options, warnings)?;
    let listen = listen(&listen_place, host, port, auth.policy, warnings)?;
    let discovery = Discovery::new(&endpoints, &base_url, listen);
    let backend = BackendConfig {
        base_url,
        listen,
        database: super::database::read(&backend.at("database")?, options)?,
        skip_migrations: super::database::skip_migrations(&backend.at("database")?)?,
        working_directory: working_directory(&backend.at("workingDirectory")?, options)?,
        actions: super::actions::read(&backend.at("actions")?)?,
    };
    Ok((backend, auth, discovery))
}

/// `backend.listen`, as far as it says something.
fn host_and_port(listen: &Reader<'_>) -> Result<(Option<String>, Option<u16>), ConfigError> {
    match listen.value() {
        None => Ok((None, None)),
        Some(Value::Object(_)) => {
            let port = listen.at("port")?;
            let number = port.whole()?.map(|number| port_number(number, &port)).transpose()?;
            Ok((listen.at("host")?.string()?.map(String::from), number))
        }
        Some(Value::Number(_)) => match listen.whole()? {
            Some(number) => Ok((None, Some(port_number(number, listen)?))),
            None => Ok((None, None)),
        },
        Some(Value::String(text)) => {
            let malformed =
                || listen.wrong("expected a port (7007 or :7007), host:port, or an object with host and port");
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (host, port),
                None => ("", text.as_str()),
            };
            let number = port.trim().parse::<u64>().map_err(|_| malformed())?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if host.contains(['/', ' ']) {
                return Err(malformed());
            }
            Ok((Some(host).filter(|host| !host.is_empty()).map(String::from), Some(port_number(number, listen)?)))
        }
        Some(_) => Err(listen.expected("a port, a text like host:port, or an object with host and port")),
    }
}

/// Where to listen: beyond this machine only where requests need credentials, or where the operator said that they need
/// none.
fn listen(
    place: &Reader<'_>,
    host: Option<String>,
    given_port: Option<u16>,
    policy: AuthPolicy,
    warnings: &mut Vec<String>,
) -> Result<SocketAddr, ConfigError> {
    let port = given_port.unwrap_or(DEFAULT_PORT);
    let Some(host) = host else {
        if policy == AuthPolicy::Required {
            return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
        }
        if given_port.is_some() {
            warnings.push(format!(
                "backend.listen names no host and requests need no credentials, so only this machine can reach the service \
                 (127.0.0.1:{port})"
            ));
        }
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    };
    let address = resolve(&host, port).ok_or_else(|| place.wrong(&format!("the host {host} has no address")))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    match policy {
        AuthPolicy::Required => {}
        AuthPolicy::Disabled => warnings.push(format!(
            "the service listens on {address}, and backend.auth.dangerouslyDisableDefaultAuthPolicy lets everybody in: \
             whoever reaches it can run templates and read their logs. Keep it behind something that authenticates."
        )),
        AuthPolicy::Standalone => {
            return Err(place.wrong(&format!(
                "{address} can be reached from other machines, and nothing is configured that says who may ask. Name the \
                 Backstage backend that signs users in (discovery.endpoints for auth), or give clients tokens \
                 (backend.auth.externalAccess); or, where something in front of the service authenticates, set \
                 backend.auth.dangerouslyDisableDefaultAuthPolicy: true"
            )));
        }
    }
    Ok(address)
}

fn port_number(number: u64, place: &Reader<'_>) -> Result<u16, ConfigError> {
    u16::try_from(number).map_err(|_| place.wrong(&format!("{number} is no port, 0 to 65535 are")))
}

fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, port));
    }
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().ok()?.collect();
    addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first()).copied()
}

fn working_directory(place: &Reader<'_>, options: &LoadOptions) -> Result<Utf8PathBuf, ConfigError> {
    if let Some(text) = place.string()? {
        let path = options.root.join(text);
        if !path.is_dir() {
            return Err(place.wrong(&format!("working directory {path} does not exist")));
        }
        if tempfile::Builder::new().prefix(".understudy-").tempfile_in(&path).is_err() {
            return Err(place.wrong(&format!("working directory {path} is not writable")));
        }
        return Ok(path);
    }
    let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir())
        .map_err(|_| place.wrong("not set, and the name of the system's temporary directory is no UTF-8; set it"))?;
    let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| options.env.get(*name));
    let user: String = user
        .map(|user| user.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
        .unwrap_or_default();
    Ok(temporary.join(if user.is_empty() { "understudy".to_string() } else { format!("understudy-{user}") }))
}

impl BackendConfig {
    /// Makes the working directory where it is missing, and makes sure that the default one, which lies where everybody
    /// can write, belongs to this user alone.
    ///
    /// # Errors
    /// It can't be made, or belongs to somebody else.
    pub fn prepare_working_directory(&self) -> Result<(), ConfigError> {
        let path = &self.working_directory;
        let failed = |reason: String| ConfigError::Value {
            origin: "working directory".to_string(),
            key: "backend.workingDirectory".to_string(),
            reason,
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(path).map_err(|error| failed(format!("{path} can't be made: {error}")))?;
        check_owner(path)
            .map_err(|reason| failed(format!("{path} {reason}; remove it, or set the key to a directory of your own")))
    }
}

#[cfg(unix)]
fn check_owner(path: &Utf8Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let in_shared = path
        .parent()
        .is_some_and(|parent| std::fs::metadata(parent).is_ok_and(|metadata| metadata.mode() & 0o002 != 0));
    let probe = tempfile::Builder::new()
        .prefix(".understudy-")
        .tempfile_in(path)
        .map_err(|error| format!("is not writable: {error}"))?;
    if !in_shared {
        return Ok(());
    }
    // Without following a link: somebody may have put one there.
    let found = std::fs::symlink_metadata(path).map_err(|error| format!("can't be examined: {error}"))?;
    let own = probe.as_file().metadata().map_err(|error| format!("can't be examined: {error}"))?;
    if !found.is_dir() {
        return Err("is a link".to_string());
    }
    if found.uid() != own.uid() {
        return Err("belongs to another user".to_string());
    }
    if found.mode() & 0o077 != 0 {
        return Err("is open to other users".to_string());
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(path: &Utf8Path) -> Result<(), String> {
    tempfile::Builder::new()
        .prefix(".understudy-")
        .tempfile_in(path)
        .map(|_| ())
        .map_err(|error| format!("is not writable: {error}"))
}

fn scaffolder(
    scaffolder: &Reader<'_>,
    auth: &AuthConfig,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<ScaffolderConfig, ConfigError> {
    const HOUR: u64 = 3600;
    let text =
        |key: &str| -> Result<Option<String>, ConfigError> { Ok(scaffolder.at(key)?.string()?.map(String::from)) };
    let limit = scaffolder.at("concurrentTasksLimit")?;
    let concurrent_tasks_limit = usize::try_from(limit.whole()?.unwrap_or(10)).map_err(|_| limit.wrong("too large"))?;
    let duration = |keys: &[&str], default: u64| {
        for key in keys {
            if let Some(duration) = scaffolder.at(key)?.duration()? {
                return Ok(duration);
            }
        }
        Ok(std::time::Duration::from_secs(default))
    };
    let janitor = scaffolder.at("taskTimeoutJanitorFrequency")?;
    let janitor_frequency = duration(&["taskTimeoutJanitorFrequency"], 5 * 60)?;
    if janitor_frequency.is_zero() {
        return Err(janitor.wrong("must be longer than nothing"));
    }
    let stale = ["taskRecovery.staleTimeout", "EXPERIMENTAL_recoverTasksTimeout"];
    let recovery_enabled = match scaffolder.at("taskRecovery.enabled")?.boolean()? {
        Some(enabled) => enabled,
        None => scaffolder.at("EXPERIMENTAL_recoverTasks")?.boolean()?.unwrap_or(true),
    };
    if !matches!(scaffolder.at("defaultCommitSigningKey")?.value(), None | Some(Value::Bool(false))) {
        warnings.push("scaffolder.defaultCommitSigningKey has no effect in this version".to_string());
    }
    // Signs of life come every second; upstream waits for 30 s.
    let stale_timeout = duration(&stale, 10)?;
    if stale_timeout < MIN_STALE_TIMEOUT {
        let place = scaffolder.at(stale[0])?;
        return Err(place.wrong("must be 3 seconds or longer: signs of life come every second"));
    }
    let mut environment_parameters = Map::new();
    for (name, place) in scaffolder.at("defaultEnvironment.parameters")?.members()? {
        environment_parameters.insert(name, Value::String(environment_text(&place)?));
    }
    let mut environment_secrets = Secrets::default();
    for (name, place) in scaffolder.at("defaultEnvironment.secrets")?.members()? {
        environment_secrets.insert(name, environment_text(&place)?);
    }
    Ok(ScaffolderConfig {
        default_author: (
            text("defaultAuthor.name")?.unwrap_or_else(|| "Scaffolder".to_string()),
            text("defaultAuthor.email")?.unwrap_or_else(|| "scaffolder@backstage.io".to_string()),
        ),
        default_commit_message: text("defaultCommitMessage")?,
        concurrent_tasks_limit,
        task_timeout: duration(&["taskTimeout"], 24 * HOUR)?,
        janitor_frequency,
        failed_workspace_retention: duration(&["failedWorkspaceRetention"], 24 * HOUR)?,
        retention_max_age: scaffolder.at("retention.maxAge")?.duration()?,
        retention_max_tasks: scaffolder.at("retention.maxTasks")?.whole()?,
        recovery_enabled,
        stale_timeout,
        workspace_provider: super::workspaces::read(scaffolder, options)?,
        secrets: super::secrets::read(scaffolder, auth, options)?,
        templating: super::templating::read(&scaffolder.at("templating")?)?,
        environment_parameters,
        environment_secrets,
    })
}

fn environment_text(place: &Reader<'_>) -> Result<String, ConfigError> {
    match place.value() {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(place.expected("a text")),
    }
}

fn locations(
    root: &Reader<'_>,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<LocationConfig>, ConfigError> {
    let mut locations = Vec::new();
    for place in root.at("catalog.locations")?.items()? {
        let (kind, target) = (place.at("type")?, place.at("target")?);
        let kind = kind.string()?.ok_or_else(|| kind.expected("file or url"))?;
        let text = target.string()?.ok_or_else(|| target.expected("a path or URL"))?;
        let target = match kind {
            "file" => {
                let path = text.strip_prefix("file://").unwrap_or(text);
                options.root.join(path).to_string()
            }
            "url" => match url::Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => text.to_string(),
                _ => return Err(target.wrong("no http or https URL")),
            },
            other => {
                warnings.push(format!(
                    "a location of the type {other} in catalog.locations is left out: this version reads file and url"
                ));
                continue;
            }
        };
        locations.push(LocationConfig { kind: kind.to_string(), target });
    }
    Ok(locations)
}
