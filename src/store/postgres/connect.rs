//! Ways to the server, and what goes wrong on them.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use super::{SchemaError, schema};
use crate::{
    config::{PostgresConfig, PostgresTls},
    store::PendingStep,
};

/// How long a call waits for a free connection or for the server.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is tried before it is used: the server may have been restarted.
const TRUSTED_IDLE: Duration = Duration::from_millis(500);
/// How often the first connection is tried: the server may be starting, too.
const ATTEMPTS: u32 = 5;

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{what}: {source}")]
    While { what: String, source: sqlx::Error },
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Schema(error.into())
    }
}

/// The database for messages, without a password.
pub(super) fn shown(config: &PostgresConfig) -> String {
    let PostgresConfig { host, port, database, user, .. } = config;
    let schema = config.schema.as_ref().map(|schema| format!(", schema {schema}")).unwrap_or_default();
    format!("postgresql://{user}@{host}:{port}/{database}{schema}")
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

/// What went wrong, and what to do about it.
pub(super) fn reason(config: &PostgresConfig, failure: &Failure) -> String {
    let (what, error) = match failure {
        Failure::Schema(SchemaError::Database(error)) => (None, error),
        Failure::Schema(other) => return other.to_string(),
        Failure::While { what, source } => (Some(what), source),
    };
    let advice = match (error, code(error).as_deref()) {
        (_, Some("28P01" | "28000")) => "check connection.user and connection.password",
        (_, Some("3D000")) => "create the database, or let backend.database.ensureExists be true",
        (_, Some("42501")) => {
            "give the role the right, or create what is missing yourself and set ensureExists and ensureSchemaExists to false"
        }
        (_, Some("53300")) => "raise the server's max_connections, or lower knexConfig.pool.max",
        (sqlx::Error::Io(error), _) if config.tls.is_some() && error.to_string().contains("certificate") => {
            "check connection.ssl: ca must hold the CA of the server's certificate, and connection.host its name"
        }
        (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut, _) => {
            "is the server running, and are connection.host and connection.port right?"
        }
        (sqlx::Error::Tls(_), _) if config.tls.is_none() => "the server wants TLS: set connection.ssl",
        (sqlx::Error::Tls(_), _) => {
            "check connection.ssl: ca must hold the CA of the server's certificate, and connection.host its name"
        }
        _ => "",
    };
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_string(),
        other => other.to_string(),
    };
    let what = what.map(|what| format!("{what}: ")).unwrap_or_default();
    let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
    format!("{what}{text}{advice}")
}

fn options(config: &PostgresConfig, database: &str) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(config.port)
        .username(&config.user)
        .database(database)
        .application_name(&config.application_name)
        // One parameter less for poolers to refuse; no column here is a floating-point number.
        .extra_float_digits(None);
    options = if config.host.starts_with('/') { options.socket(&config.host) } else { options.host(&config.host) };
    if let Some(password) = &config.password {
        options = options.password(password.expose());
    }
    let Some(PostgresTls { verify, ca, cert, key }) = &config.tls else {
        return options.ssl_mode(PgSslMode::Disable);
    };
    options = options.ssl_mode(if *verify { PgSslMode::VerifyFull } else { PgSslMode::Require });
    if let Some(ca) = ca.as_ref().filter(|_| *verify) {
        options = options.ssl_root_cert_from_pem(ca.clone().into_bytes());
    }
    if let (Some(cert), Some(key)) = (cert, key) {
        options = options.ssl_client_cert_from_pem(cert).ssl_client_key_from_pem(key.expose());
    }
    options
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What each new connection is told.
fn greeting(config: &PostgresConfig) -> String {
    let mut statements = String::from("SET client_min_messages = warning");
    if let Some(role) = &config.role {
        statements += &format!("; SET ROLE {}", quoted(role));
    }
    if let Some(schema) = &config.schema {
        statements += &format!("; SET search_path = {}", quoted(schema));
    }
    statements
}

fn pool_options(config: &PostgresConfig) -> PgPoolOptions {
    let greeting = greeting(config);
    PgPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |conn, _| {
            let greeting = greeting.clone();
            Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(greeting)).execute(conn).await.map(|_| ()) })
        })
        .before_acquire(|conn, about| {
            let trusted = about.idle_for < TRUSTED_IDLE;
            Box::pin(async move { Ok(trusted || conn.ping().await.is_ok()) })
        })
}

/// The connections that statements use.
pub(super) async fn pool(config: &PostgresConfig) -> Result<PgPool, Failure> {
    pool_options(config)
        .min_connections(config.pool_min)
        .max_connections(config.pool_max)
        .connect_with(options(config, &config.database))
        .await
        .map_err(|source| Failure::While { what: "connecting".to_string(), source })
}

/// The connection that hears notifications.
pub(super) fn listener_pool(config: &PostgresConfig) -> PgPool {
    pool_options(config)
        .max_connections(1)
        .min_connections(0)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options(config, &config.database))
}

/// Makes sure that database and schema are there.
pub(super) async fn ensure(config: &PostgresConfig) -> Result<(), Failure> {
    let mut conn = match connect(config).await? {
        Some(conn) => conn,
        None if config.ensure_exists => {
            create_database(config).await?;
            let connected = connect(config).await?;
            connected.ok_or(Failure::Schema(SchemaError::Missing))?
        }
        None => return Err(SchemaError::Missing.into()),
    };
    if let Some(schema) = &config.schema
        && config.ensure_schema_exists
        && !has_schema(&mut conn, schema).await?
    {
        let owner = config.role.as_ref().map(|role| format!(" AUTHORIZATION {}", quoted(role))).unwrap_or_default();
        let create = format!("CREATE SCHEMA IF NOT EXISTS {}{owner}", quoted(schema));
        match sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut conn).await {
            // Another process was faster.
            Err(error) if matches!(code(&error).as_deref(), Some("42P06" | "23505")) => {}
            Err(source) => return Err(Failure::While { what: format!("making the schema {schema}"), source }),
            Ok(_) => {}
        }
    }
    conn.close().await?;
    Ok(())
}

/// A connection without role and schema; `None` when the database does not exist.
async fn connect(config: &PostgresConfig) -> Result<Option<PgConnection>, Failure> {
    let mut attempt = 1;
    loop {
        match connect_to(config, &config.database).await {
            Ok(conn) => return Ok(Some(conn)),
            Err(error) if code(&error).as_deref() == Some("3D000") => return Ok(None),
            Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                attempt += 1;
            }
            Err(source) => return Err(Failure::While { what: "connecting".to_string(), source }),
        }
    }
}

async fn connect_to(config: &PostgresConfig, database: &str) -> Result<PgConnection, sqlx::Error> {
    let options = options(config, database);
    match tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Whether the server may answer a moment later: it starts, or its connections are taken.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::NotFound,
        other => matches!(code(other).as_deref(), Some("57P03" | "53300")),
    }
}

async fn create_database(config: &PostgresConfig) -> Result<(), Failure> {
    let name = &config.database;
    let failed = |source| Failure::While { what: format!("making the database {name}"), source };
    let mut admin = connect_to(config, "postgres").await.map_err(failed)?;
    match sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {}", quoted(name)))).execute(&mut admin).await {
        // Another process was faster.
        Err(error) if matches!(code(&error).as_deref(), Some("42P04" | "23505")) => {}
        Err(source) => return Err(failed(source)),
        Ok(_) => tracing::info!(database = name, "the database was made"),
    }
    admin.close().await.map_err(failed)
}

async fn has_schema(conn: &mut PgConnection, schema: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
        .bind(schema)
        .fetch_one(conn)
        .await
}

/// What opening would do, without doing it.
pub(super) async fn pending(config: &PostgresConfig) -> Result<Vec<PendingStep>, Failure> {
    let make = |name: String| PendingStep { recorded_in: None, name, sql: "" };
    let Some(mut conn) = connect(config).await? else {
        if !config.ensure_exists {
            return Err(SchemaError::Missing.into());
        }
        let schema = config.schema.iter().map(|schema| make(format!("create the schema {schema}")));
        let database = make(format!("create the database {}", config.database));
        return Ok(std::iter::once(database).chain(schema).chain(schema::all()?).collect());
    };
    let steps = match &config.schema {
        Some(schema) if !has_schema(&mut conn, schema).await? => {
            std::iter::once(make(format!("create the schema {schema}"))).chain(schema::all()?).collect()
        }
        _ => {
            sqlx::raw_sql(AssertSqlSafe(greeting(config))).execute(&mut conn).await?;
            schema::pending(&mut conn).await?
        }
    };
    conn.close().await?;
    Ok(steps)
}
