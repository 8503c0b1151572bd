//! `backend.database` as the plugin `scaffolder` sees it.
//!
//! Behaviour: `@backstage/backend-defaults` 0.18.0 (connectors for `better-sqlite3` and `pg`), `pg` 8 and
//! `pg-connection-string` 2 for URLs.

#[cfg(test)]
mod tests;

use camino::{Utf8Path, Utf8PathBuf};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use understudy_sdk::Secret;

use super::{ConfigError, LoadOptions, reader::Reader};

/// Below [`LoadOptions::root`], when no database is configured.
const DEFAULT_FILE: &str = "understudy-data/understudy.sqlite";
/// The plugin whose database this is.
const PLUGIN: &str = "scaffolder";
/// The most bytes of a name in PostgreSQL.
const MAX_NAME: usize = 63;

/// Which database.
#[derive(Debug, Clone)]
pub enum DatabaseConfig {
    /// SQLite, `:memory:`
    SqliteMemory,
    /// SQLite, a file.
    SqliteFile(Utf8PathBuf),
    /// PostgreSQL.
    Postgres(Box<PostgresConfig>),
}

/// A database on a PostgreSQL server.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// A host's name or address, or the absolute path of a Unix socket's directory.
    pub host: String,
    /// The port; part of the socket's name where `host` is a directory.
    pub port: u16,
    /// The role that logs in.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// The database's name.
    pub database: String,
    /// How the server's statistics name the connections.
    pub application_name: String,
    /// `None`: not encrypted.
    pub tls: Option<PostgresTls>,
    /// Where the tables are; `None`: where the server looks by itself (`public`).
    pub schema: Option<String>,
    /// The role that statements run as.
    pub role: Option<String>,
    /// Whether a missing database is made.
    pub ensure_exists: bool,
    /// Whether a missing schema is made.
    pub ensure_schema_exists: bool,
    /// Connections that are kept open.
    pub pool_min: u32,
    /// The most connections; at least 2. One more listens for notifications.
    pub pool_max: u32,
}

/// How a connection to PostgreSQL is encrypted.
#[derive(Debug, Clone, Default)]
pub struct PostgresTls {
    /// Whether the server's certificate must be valid and name the host.
    pub verify: bool,
    /// CAs to trust instead of the system's, PEM.
    pub ca: Option<String>,
    /// This client's certificate, PEM.
    pub cert: Option<String>,
    /// Its key, PEM.
    pub key: Option<Secret>,
}

/// What one `connection` says; absent members come from another one, or from the environment.
#[derive(Default)]
struct Connection {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<Secret>,
    database: Option<String>,
    application_name: Option<String>,
    tls: Option<Option<PostgresTls>>,
}

impl Connection {
    /// The members of `over`, and of this where it has none.
    fn under(self, over: Self) -> Self {
        Self {
            host: over.host.or(self.host),
            port: over.port.or(self.port),
            user: over.user.or(self.user),
            password: over.password.or(self.password),
            database: over.database.or(self.database),
            application_name: over.application_name.or(self.application_name),
            tls: over.tls.or(self.tls),
        }
    }
}

/// Reads `backend.database`, with what `plugin.scaffolder` overrides.
pub(super) fn read(database: &Reader<'_>, options: &LoadOptions) -> Result<DatabaseConfig, ConfigError> {
    let plugin = database.at("plugin")?.at(PLUGIN)?;
    let (own_client, base_client) = (plugin.at("client")?, database.at("client")?);
    let (own_connection, base_connection) = (plugin.at("connection")?, database.at("connection")?);
    let client = if own_client.value().is_some() { &own_client } else { &base_client };
    // A connection of another kind of database says nothing about this one.
    let same_client = own_client.string()?.is_none() || own_client.string()? == base_client.string()?;
    let base_connection = same_client.then_some(base_connection);
    match client.string()? {
        Some("better-sqlite3" | "sqlite3") => sqlite(database, base_connection, own_connection, options),
        Some("pg") => postgres(database, &plugin, base_connection, &own_connection, options),
        Some(other) => {
            Err(client.wrong(&format!("the client {other} is not supported, better-sqlite3, sqlite3 and pg are")))
        }
        None if base_connection.is_none_or(|place| place.value().is_none()) && own_connection.value().is_none() => {
            Ok(DatabaseConfig::SqliteFile(options.root.join(DEFAULT_FILE)))
        }
        None => Err(client.expected("better-sqlite3 or pg")),
    }
}

/// `skipMigrations`, of the plugin or of all.
pub(super) fn skip_migrations(database: &Reader<'_>) -> Result<bool, ConfigError> {
    either(database, &database.at("plugin")?.at(PLUGIN)?, "skipMigrations", Reader::boolean)
        .map(|skip| skip.unwrap_or(false))
}

/// A key of the plugin, else of all.
fn either<'a, T>(
    database: &Reader<'a>,
    plugin: &Reader<'a>,
    key: &str,
    read: impl Fn(&Reader<'a>) -> Result<Option<T>, ConfigError>,
) -> Result<Option<T>, ConfigError> {
    match read(&plugin.at(key)?)? {
        Some(value) => Ok(Some(value)),
        None => read(&database.at(key)?),
    }
}

fn sqlite(
    database: &Reader<'_>,
    base: Option<Reader<'_>>,
    own: Reader<'_>,
    options: &LoadOptions,
) -> Result<DatabaseConfig, ConfigError> {
    let mut filename = None;
    let mut directory = None;
    let mut last = None;
    for connection in base.into_iter().chain([own]) {
        match connection.value() {
            None => continue,
            Some(Value::Object(_)) => {
                if let Some(text) = connection.at("filename")?.string()? {
                    filename = Some(text.to_string());
                }
                if let Some(text) = connection.at("directory")?.string()? {
                    directory = Some(text.to_string());
                }
            }
            Some(Value::String(_)) => filename = connection.string()?.map(String::from),
            Some(_) => return Err(connection.expected("':memory:', {filename} or {directory}")),
        }
        last = Some(connection);
    }
    match (directory, filename) {
        (_, Some(filename)) if filename == ":memory:" => Ok(DatabaseConfig::SqliteMemory),
        (Some(directory), filename) => {
            let name = filename.unwrap_or_else(|| format!("{PLUGIN}.sqlite"));
            Ok(DatabaseConfig::SqliteFile(options.root.join(directory).join(name)))
        }
        (None, Some(filename)) => Ok(DatabaseConfig::SqliteFile(options.root.join(filename))),
        (None, None) => Err(last
            .unwrap_or_else(|| database.clone())
            .wrong("the connection names neither a file nor a directory: ':memory:', {filename} or {directory}")),
    }
}

fn postgres(
    database: &Reader<'_>,
    plugin: &Reader<'_>,
    base: Option<Reader<'_>>,
    own: &Reader<'_>,
    options: &LoadOptions,
) -> Result<DatabaseConfig, ConfigError> {
    let mode =
        either(database, plugin, "pluginDivisionMode", |place| Ok(place.string()?.map(|mode| (place.clone(), mode))))?;
    let by_schema = match mode {
        None | Some((_, "database")) => false,
        Some((_, "schema")) => true,
        Some((place, _)) => return Err(place.wrong("expected database or schema")),
    };
    let mut base = base.map(|base| connection(&base, options)).transpose()?.unwrap_or_default();
    if !by_schema {
        // Each plugin has a database of its own; the common one is nobody's.
        base.database = None;
    }
    let found = base.under(connection(own, options)?);
    let env = |name: &str| options.env.get(name).filter(|value| !value.is_empty()).cloned();
    let user =
        found.user.or_else(|| env("PGUSER")).or_else(|| env("USER")).ok_or_else(|| {
            database.wrong("the connection names no user: connection.user, or PGUSER in the environment")
        })?;
    let port = match (found.port, env("PGPORT")) {
        (Some(port), _) => port,
        (None, Some(text)) => text.parse().map_err(|_| database.wrong("PGPORT in the environment is no port"))?,
        (None, None) => 5432,
    };
    let prefix = database.at("prefix")?.string()?.unwrap_or("backstage_plugin_").to_string();
    let name = match (found.database, by_schema) {
        (Some(name), _) => name,
        (None, false) => format!("{prefix}{PLUGIN}"),
        // As PostgreSQL's clients do: the database that is called like the user.
        (None, true) => env("PGDATABASE").unwrap_or_else(|| user.clone()),
    };
    check_name(database, "database", &name)?;
    let own_schema = either(database, plugin, "schema", |place| Ok(place.string()?.map(String::from)))?;
    let schema_prefix = database.at("schemaPrefix")?.string()?.unwrap_or_default().to_string();
    let schema = own_schema.or_else(|| by_schema.then(|| format!("{schema_prefix}{PLUGIN}")));
    if let Some(schema) = &schema {
        check_name(database, "schema", schema)?;
    }
    let ensure_exists = either(database, plugin, "ensureExists", Reader::boolean)?.unwrap_or(true);
    let ensure_schema_exists = either(database, plugin, "ensureSchemaExists", Reader::boolean)?.unwrap_or(false);
    let (pool_min, pool_max) = pool(database, plugin)?;
    Ok(DatabaseConfig::Postgres(Box::new(PostgresConfig {
        host: found.host.or_else(|| env("PGHOST")).unwrap_or_else(|| "localhost".to_string()),
        port,
        user,
        password: found.password.or_else(|| env("PGPASSWORD").map(Secret::new)),
        database: name,
        application_name: found.application_name.unwrap_or_else(|| format!("backstage_plugin_{PLUGIN}")),
        tls: found.tls.flatten(),
        schema,
        role: either(database, plugin, "role", |place| Ok(place.string()?.map(String::from)))?,
        ensure_exists,
        ensure_schema_exists: ensure_schema_exists || ensure_exists,
        pool_min,
        pool_max,
    })))
}

fn check_name(database: &Reader<'_>, what: &str, name: &str) -> Result<(), ConfigError> {
    if name.len() > MAX_NAME || name.contains('\0') {
        return Err(database.wrong(&format!(
            "the name of the {what}, {name}, is longer than the {MAX_NAME} bytes that PostgreSQL takes; choose a shorter \
             prefix or name"
        )));
    }
    Ok(())
}

/// knex' own default is 2 to 10.
fn pool(database: &Reader<'_>, plugin: &Reader<'_>) -> Result<(u32, u32), ConfigError> {
    let number = |key: &str, default: u32| -> Result<u32, ConfigError> {
        let found = either(database, plugin, key, |place| Ok(place.whole()?.map(|number| (place.clone(), number))))?;
        match found {
            Some((place, number)) => u32::try_from(number).map_err(|_| place.wrong("too large")),
            None => Ok(default),
        }
    };
    let max = number("knexConfig.pool.max", 10)?;
    let min = number("knexConfig.pool.min", 2.min(max))?;
    let place = || database.at("knexConfig.pool");
    if max < 2 {
        return Err(place()?.wrong("max must be 2 or more: claims and heartbeats must not wait for each other"));
    }
    if min > max {
        return Err(place()?.wrong(&format!("min ({min}) is larger than max ({max})")));
    }
    Ok((min, max))
}

fn connection(place: &Reader<'_>, options: &LoadOptions) -> Result<Connection, ConfigError> {
    match place.value() {
        None => Ok(Connection::default()),
        Some(Value::String(_)) => from_url(place, options),
        Some(Value::Object(_)) => from_object(place),
        Some(_) => Err(place.expected("a URL like postgresql://user:password@host:5432/database, or an object with host, port, user, password and database")),
    }
}

fn from_object(place: &Reader<'_>) -> Result<Connection, ConfigError> {
    let kind = place.at("type")?;
    match kind.string()? {
        None | Some("default") => {}
        Some(name @ ("cloudsql" | "azure" | "rds")) => {
            return Err(kind.wrong(&format!(
                "the connection type {name} is not supported by this version; run the provider's proxy beside this service \
                 and give its host and port with the type default, or a user with a password"
            )));
        }
        Some(other) => return Err(kind.wrong(&format!("there is no connection type {other}; default is the one"))),
    }
    let text = |key: &str| -> Result<Option<String>, ConfigError> { Ok(place.at(key)?.string()?.map(String::from)) };
    let port = place.at("port")?;
    let port = match port.whole()? {
        Some(number) => Some(
            u16::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| port.wrong(&format!("{number} is no port, 1 to 65535 are")))?,
        ),
        None => None,
    };
    let password = place.at("password")?;
    let password = match password.value() {
        // An empty one is what a variable that isn't set leaves.
        None => None,
        Some(Value::String(text)) => Some(Secret::new(text.clone())),
        Some(_) => return Err(password.expected("a text")),
    };
    let url = place.at("connectionString")?;
    let given = Connection {
        host: text("host")?,
        port,
        user: text("user")?,
        password,
        database: text("database")?,
        application_name: text("application_name")?,
        tls: tls(&place.at("ssl")?)?,
    };
    if url.value().is_some() {
        return Err(url.wrong("not supported; make the text the value of connection itself"));
    }
    Ok(given)
}

/// `true`, `false`, or an object of Node's TLS options.
fn tls(place: &Reader<'_>) -> Result<Option<Option<PostgresTls>>, ConfigError> {
    let Some(value) = place.value() else { return Ok(None) };
    if !value.is_object() {
        let on = place.boolean().map_err(|_| place.expected("true, false, or an object with ca, cert and key"))?;
        return Ok(Some(on.unwrap_or(false).then(|| PostgresTls { verify: true, ..PostgresTls::default() })));
    }
    for key in ["servername", "pfx", "passphrase", "ciphers", "minVersion", "maxVersion"] {
        let place = place.at(key)?;
        if place.value().is_some() {
            return Err(place.wrong("not supported; rejectUnauthorized, ca, cert and key are"));
        }
    }
    let pem = |key: &str| -> Result<Option<String>, ConfigError> {
        let place = place.at(key)?;
        let text = match place.value() {
            None => return Ok(None),
            Some(Value::Array(_)) => {
                let mut texts = Vec::new();
                for item in place.items()? {
                    texts.push(item.string()?.map(String::from).ok_or_else(|| item.expected("a text"))?);
                }
                texts.join("\n")
            }
            Some(_) => place.string()?.map(String::from).unwrap_or_default(),
        };
        if !text.contains("-----BEGIN ") {
            return Err(place.wrong(
                "holds no PEM text (-----BEGIN …); to read it from a file write ca: {$file: path/to/ca.pem} here",
            ));
        }
        Ok(Some(text))
    };
    Ok(Some(Some(PostgresTls {
        verify: place.at("rejectUnauthorized")?.boolean()?.unwrap_or(true),
        ca: pem("ca")?,
        cert: pem("cert")?,
        key: pem("key")?.map(Secret::new),
    })))
}

fn from_url(place: &Reader<'_>, options: &LoadOptions) -> Result<Connection, ConfigError> {
    let text = place.string()?.unwrap_or_default();
    // The text may hold a password: no message shows it.
    let malformed = |reason: &str| {
        place.wrong(&format!("{reason}; expected postgresql://user:password@host:5432/database, parts percent-encoded"))
    };
    let url = url::Url::parse(text).map_err(|error| malformed(&format!("no URL ({error})")))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(malformed("the scheme is neither postgresql nor postgres"));
    }
    let decoded = |part: &str| {
        percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| malformed("a part is no UTF-8"))
    };
    let filled = |part: String| Some(part).filter(|part| !part.is_empty());
    let mut found = Connection {
        host: filled(decoded(url.host_str().unwrap_or_default())?),
        port: url.port(),
        user: filled(decoded(url.username())?),
        password: url.password().map(|password| decoded(password).map(Secret::new)).transpose()?,
        database: filled(decoded(url.path().trim_start_matches('/'))?),
        ..Connection::default()
    };
    let mut tls: Option<PostgresTls> = None;
    let mut mode = None;
    let read = |path: &str| read_file(place, options, path);
    for (key, value) in url.query_pairs() {
        match &*key {
            "host" => found.host = Some(value.into_owned()),
            "port" => found.port = Some(value.parse().map_err(|_| malformed("port is no port"))?),
            "user" => found.user = Some(value.into_owned()),
            "password" => found.password = Some(Secret::new(value.into_owned())),
            "dbname" | "database" => found.database = Some(value.into_owned()),
            "application_name" => found.application_name = Some(value.into_owned()),
            "sslmode" => mode = Some(value.into_owned()),
            "ssl" => {
                mode = Some(match &*value {
                    "true" | "1" => "require".to_string(),
                    "false" | "0" => "disable".to_string(),
                    _ => return Err(malformed("ssl is neither true nor false")),
                });
            }
            "sslrootcert" if value != "system" => tls.get_or_insert_default().ca = Some(read(&value)?),
            "sslcert" => tls.get_or_insert_default().cert = Some(read(&value)?),
            "sslkey" => tls.get_or_insert_default().key = Some(Secret::new(read(&value)?)),
            // Others are for Node's client alone.
            _ => {}
        }
    }
    // As pg-connection-string 2 has it: every mode that encrypts also verifies, except for no-verify.
    found.tls = match mode.as_deref() {
        None if tls.is_none() => None,
        Some("disable") => Some(None),
        Some("no-verify") => Some(Some(PostgresTls { verify: false, ..tls.unwrap_or_default() })),
        None | Some("prefer" | "require" | "verify-ca" | "verify-full") => {
            Some(Some(PostgresTls { verify: true, ..tls.unwrap_or_default() }))
        }
        Some(_) => {
            return Err(malformed("sslmode is none of disable, no-verify, prefer, require, verify-ca and verify-full"));
        }
    };
    Ok(found)
}

fn read_file(place: &Reader<'_>, options: &LoadOptions, path: &str) -> Result<String, ConfigError> {
    let path: &Utf8Path = &options.root.join(path);
    std::fs::read_to_string(path).map_err(|error| place.wrong(&format!("{path} can't be read: {error}")))
}
