#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::config::tests::{Setup, one};

#[test]
fn sqlite_databases() {
    for (text, file) in [
        ("client: better-sqlite3, connection: ':memory:'", None),
        ("client: sqlite3, connection: {filename: ':memory:'}", None),
        ("client: better-sqlite3, connection: data.db", Some("data.db")),
        ("client: better-sqlite3, connection: {filename: a/b.db}", Some("a/b.db")),
        ("client: better-sqlite3, connection: {directory: data}", Some("data/scaffolder.sqlite")),
        ("client: better-sqlite3, connection: {directory: data, filename: x.db}", Some("data/x.db")),
        ("client: better-sqlite3, connection: {directory: /abs}", Some("/abs/scaffolder.sqlite")),
        (
            "client: pg, connection: {host: x}, plugin: {scaffolder: {client: better-sqlite3, connection: {directory: d}}}",
            Some("d/scaffolder.sqlite"),
        ),
        (
            "client: better-sqlite3, connection: ':memory:', plugin: {scaffolder: {connection: {filename: own.db}}}",
            Some("own.db"),
        ),
        ("client: better-sqlite3, connection: ':memory:', plugin: {catalog: {client: pg}}", None),
    ] {
        let setup = one(&format!("backend: {{database: {{{text}}}}}"));
        let found = match setup.load().unwrap().backend.database {
            DatabaseConfig::SqliteFile(path) => Some(path),
            DatabaseConfig::SqliteMemory => None,
            DatabaseConfig::Postgres(other) => panic!("{text}: {other:?}"),
        };
        assert_eq!(found, file.map(|file| setup.options.root.join(file)), "{text}");
    }
}

fn setup(database: &str) -> Setup {
    one(&format!("backend: {{database: {{client: pg, {database}}}}}")).env(&[("USER", "jane")])
}

fn load(setup: &Setup) -> PostgresConfig {
    match setup.load().unwrap().backend.database {
        DatabaseConfig::Postgres(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn postgres(database: &str) -> PostgresConfig {
    load(&setup(database))
}

#[test]
fn postgres_objects_and_urls_say_the_same() {
    for text in [
        "connection: {host: db.example, port: '6432', user: scaffolder, password: 'p@ss/w'}",
        "connection: 'postgresql://scaffolder:p%40ss%2Fw@db.example:6432/ignored'",
        "connection: 'postgres:///?host=db.example&port=6432&user=scaffolder&password=p%40ss%2Fw'",
        "connection: {host: other, user: scaffolder}, plugin: {scaffolder: {connection: {host: db.example, port: 6432, password: 'p@ss/w'}}}",
    ] {
        let found = postgres(text);
        assert_eq!((&*found.host, found.port, &*found.user), ("db.example", 6432, "scaffolder"), "{text}");
        assert_eq!(found.password.as_ref().unwrap().expose(), "p@ss/w", "{text}");
        // The common database is no plugin's own.
        assert_eq!((&*found.database, found.schema), ("backstage_plugin_scaffolder", None), "{text}");
        assert!(found.tls.is_none() && found.ensure_exists && found.role.is_none());
        assert_eq!((found.pool_min, found.pool_max), (2, 10));
    }
    let socket = postgres("connection: 'postgresql://%2Fvar%2Frun%2Fpostgresql/db'");
    assert_eq!((&*socket.host, socket.port, &*socket.user), ("/var/run/postgresql", 5432, "jane"));
}

#[test]
fn postgres_names() {
    let names = |text: &str| {
        let found = postgres(text);
        (found.database, found.schema)
    };
    let own = "connection: {database: base}";
    assert_eq!(names(&format!("{own}, prefix: x_")), ("x_scaffolder".into(), None));
    assert_eq!(names("connection: {}, plugin: {scaffolder: {connection: {database: own}}}"), ("own".into(), None));
    let schema = names(&format!("{own}, pluginDivisionMode: schema"));
    assert_eq!(schema, ("base".into(), Some("scaffolder".into())));
    let schema = names("connection: 'postgres://h/base', pluginDivisionMode: schema, schemaPrefix: bs_");
    assert_eq!(schema, ("base".into(), Some("bs_scaffolder".into())));
    let schema = names(&format!("{own}, pluginDivisionMode: schema, plugin: {{scaffolder: {{schema: mine}}}}"));
    assert_eq!(schema, ("base".into(), Some("mine".into())));
    assert_eq!(names("connection: {}, pluginDivisionMode: schema").0, "jane");
    // A base connection of another client is none of ours.
    let setup = one(
        "backend: {database: {client: better-sqlite3, connection: ':memory:', plugin: {scaffolder: {client: pg, connection: {host: h, user: u}}}}}",
    );
    assert_eq!(load(&setup).host, "h");
}

#[test]
fn postgres_switches() {
    let found = postgres(
        "connection: {}, ensureExists: false, ensureSchemaExists: true, role: all, knexConfig: {pool: {min: 0, max: 30}}, \
         plugin: {scaffolder: {role: own, knexConfig: {pool: {max: 5}}}}",
    );
    assert!(!found.ensure_exists && found.ensure_schema_exists);
    assert_eq!((found.role.as_deref(), found.pool_min, found.pool_max), (Some("own"), 0, 5));
    let skips = |text: &str| setup(text).load().unwrap().backend.skip_migrations;
    assert!(skips("skipMigrations: true") && skips("plugin: {scaffolder: {skipMigrations: true}}"));
    assert!(!skips("skipMigrations: true, plugin: {scaffolder: {skipMigrations: false}}") && !skips("connection: {}"));
}

#[test]
fn postgres_takes_what_is_missing_from_the_environment() {
    let env = [("PGHOST", "h"), ("PGPORT", "1234"), ("PGUSER", "u"), ("PGPASSWORD", "p")];
    let found = load(&setup("connection: {}").env(&env));
    assert_eq!((&*found.host, found.port, &*found.user), ("h", 1234, "u"));
    assert_eq!(found.password.unwrap().expose(), "p");
    assert!(setup("connection: {}").env(&[]).error().contains("names no user"));
}

#[test]
fn postgres_encryption() {
    let pem = "-----BEGIN CERTIFICATE-----\\nx\\n-----END CERTIFICATE-----";
    let tls = |text: &str| postgres(&format!("connection: {text}")).tls;
    for (text, verify) in [
        ("{ssl: true}", Some(true)),
        ("{ssl: 'false'}", None),
        ("{ssl: {rejectUnauthorized: false}}", Some(false)),
        ("'postgres://h/?sslmode=require'", Some(true)),
        ("'postgres://h/?sslmode=no-verify'", Some(false)),
        ("'postgres://h/?sslmode=disable'", None),
        ("'postgres://h/?ssl=1'", Some(true)),
    ] {
        assert_eq!(tls(text).map(|tls| tls.verify), verify, "{text}");
    }
    let found = tls(&format!("{{ssl: {{ca: [\"{pem}\", \"{pem}\"], cert: \"{pem}\", key: \"{pem}\"}}}}")).unwrap();
    assert_eq!(found.ca.unwrap().matches("BEGIN").count(), 2);
    assert!(found.cert.is_some() && found.key.is_some() && found.verify);
    // The plugin's own connection may turn it off.
    assert!(postgres("connection: {ssl: true}, plugin: {scaffolder: {connection: {ssl: false}}}").tls.is_none());
}

#[test]
fn postgres_values_that_can_not_be() {
    for (text, expected) in [
        ("connection: {port: 0}", "backend.database.connection.port: 0 is no port"),
        ("connection: {port: x}", "backend.database.connection.port: expected a whole number"),
        ("connection: {type: rds}", "backend.database.connection.type: the connection type rds is not supported"),
        ("connection: {type: azure}", "connection.type: the connection type azure is not supported"),
        ("connection: {type: cloudsql, instance: a}", "the connection type cloudsql is not supported"),
        ("connection: {type: odd}", "there is no connection type odd"),
        ("connection: 'mysql://h/db'", "backend.database.connection: the scheme is neither postgresql nor postgres"),
        ("connection: 'postgres://u:hunter2@h:x/'", "backend.database.connection: no URL"),
        ("connection: 'postgres://h/?sslmode=maybe'", "sslmode is none of"),
        ("connection: 'postgres://h/?sslrootcert=none.pem'", "none.pem can't be read"),
        ("connection: [1]", "backend.database.connection: expected a URL"),
        ("connection: {ssl: {ca: /etc/ca.pem}}", "backend.database.connection.ssl.ca: holds no PEM text"),
        ("connection: {ssl: {servername: x}}", "backend.database.connection.ssl.servername: not supported"),
        ("connection: {ssl: odd}", "backend.database.connection.ssl: expected true, false"),
        ("connection: {password: [x]}", "backend.database.connection.password: expected a text"),
        ("pluginDivisionMode: table", "backend.database.pluginDivisionMode: expected database or schema"),
        ("knexConfig: {pool: {max: 1}}", "backend.database.knexConfig.pool: max must be 2 or more"),
        ("knexConfig: {pool: {min: 20}}", "backend.database.knexConfig.pool: min (20) is larger than max (10)"),
        ("knexConfig: {pool: {max: a}}", "backend.database.knexConfig.pool.max: expected a whole number"),
        (
            "prefix: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_",
            "is longer than the 63 bytes that PostgreSQL takes",
        ),
        ("ensureExists: maybe", "backend.database.ensureExists: expected true or false"),
    ] {
        let found = setup(text).error();
        assert!(found.contains(expected), "{text}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
