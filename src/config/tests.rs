#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;
use understudy_actions_core::templating::GlobalValue;
use understudy_templating::{DefinitionKind, Dialect};

use super::*;

pub(super) struct Setup {
    dir: tempfile::TempDir,
    pub(super) options: LoadOptions,
}

impl Setup {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { dir, options: LoadOptions { root, ..LoadOptions::default() } }
    }
    pub(super) fn env(mut self, env: &[(&str, &str)]) -> Self {
        self.options.env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self
    }
    fn config_paths(mut self, paths: &[&str]) -> Self {
        self.options.config_paths = paths.iter().map(Utf8PathBuf::from).collect();
        self
    }
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.options)
    }
    /// The error's text with the directory shortened to `<dir>`.
    pub(super) fn error(&self) -> String {
        self.load().unwrap_err().to_string().replace(self.dir.path().to_str().unwrap(), "<dir>")
    }
}

pub(super) fn one(text: &str) -> Setup {
    Setup::new(&[("app-config.yaml", text)])
}

#[test]
fn defaults_without_a_file() {
    let setup = Setup::new(&[]).env(&[("USER", "j/ane")]);
    let config = setup.load().unwrap();
    assert_eq!(config.raw, json!({}));
    assert_eq!(config.backend.listen.to_string(), "127.0.0.1:7007");
    assert_eq!(config.backend.base_url, "http://localhost:7007");
    let database = setup.options.root.join("understudy-data/understudy.sqlite");
    assert!(matches!(config.backend.database, DatabaseConfig::SqliteFile(file) if file == database));
    assert!(config.backend.working_directory.as_str().ends_with("/understudy-jane"));
    assert!(config.server.cors.is_none() && config.auth.policy == AuthPolicy::Standalone);
    let scaffolder = &config.scaffolder;
    assert_eq!(scaffolder.default_author, ("Scaffolder".to_string(), "scaffolder@backstage.io".to_string()));
    assert_eq!(scaffolder.concurrent_tasks_limit, 10);
    assert_eq!(scaffolder.task_timeout, Duration::from_secs(24 * 3600));
    assert_eq!(scaffolder.janitor_frequency, Duration::from_secs(300));
    assert_eq!(scaffolder.stale_timeout, Duration::from_secs(10));
    assert!(scaffolder.recovery_enabled && scaffolder.default_commit_message.is_none());
    assert!(config.catalog_locations.is_empty() && config.warnings.is_empty());
    // Nothing is made by reading.
    assert_eq!(std::fs::read_dir(setup.dir.path()).unwrap().count(), 0);
}

#[test]
fn later_sources_win() {
    let files = [
        ("app-config.yaml", "a: {x: 1, y: 2, z: {deep: 1}}\nlist: [1, 2]\ngone: {a: 1}\nbackend: {listen: ':1'}\n"),
        ("app-config.production.yaml", "a: {y: production}\n"),
        ("app-config.local.yaml", "a: {y: local, z: 3}\nlist: [3]\n"),
        ("app-config.production.local.yaml", "gone: null\n"),
        ("other.yaml", "a: {x: other}\n"),
        ("empty.yaml", "# nothing\n"),
    ];
    let setup = Setup::new(&files);
    assert_eq!(setup.load().unwrap().raw["a"], json!({"x": 1, "y": "local", "z": 3}));
    let setup = Setup::new(&files).env(&[
        ("BACKSTAGE_ENV", "missing, production"),
        ("APP_CONFIG_a_x", "9"),
        ("APP_CONFIG_backend_listen", ":2"),
    ]);
    let config = setup.load().unwrap();
    assert_eq!(config.raw, json!({"a": {"x": 9, "y": "local", "z": 3}, "list": [3], "backend": {"listen": ":2"}}));
    assert_eq!(config.backend.listen.port(), 2);
    // With --config only the named files count.
    let setup = Setup::new(&files).config_paths(&["other.yaml", "empty.yaml"]);
    assert_eq!(setup.load().unwrap().raw, json!({"a": {"x": "other"}}));
}

#[test]
fn values_are_substituted_and_included() {
    let setup = Setup::new(&[
        (
            "app-config.yaml",
            "text: ${NAME}-x\nlist: ['${NONE}', a]\nabsent: ${NONE}\nliteral: $${NAME}\n\
             token: {$env: TOKEN}\nnoToken: {$env: NONE}\nfile: {$file: sub/secret.txt}\n\
             all: {$include: sub/more.yaml}\npart: {$include: 'sub/more.yaml#a.b'}\nnone: {$include: 'sub/more.yaml#a.c'}\n\
             json: {$include: 'sub/${FILE}.json'}\n",
        ),
        ("sub/secret.txt", "  s3cret\n\n"),
        ("sub/more.yaml", "a: {b: '${NAME}'}\nfile: {$file: secret.txt}\n"),
        ("sub/data.json", "{\"j\": [1, true]}"),
    ])
    .env(&[("NAME", "jane "), ("TOKEN", "t "), ("FILE", "data")]);
    assert_eq!(
        setup.load().unwrap().raw,
        json!({
            "text": "jane-x", "list": ["a"], "literal": "${NAME}", "token": "t", "file": "  s3cret",
            "all": {"a": {"b": "jane"}, "file": "  s3cret"}, "part": "jane", "json": {"j": [1, true]},
        })
    );
}

#[test]
fn errors_name_file_key_and_reason() {
    for (text, expected) in [
        ("- a\n", "<dir>/app-config.yaml: expected object at config root"),
        ("a: [\n", "<dir>/app-config.yaml:1:4: unclosed bracket"),
        ("a: 1\na: 2\n", "<dir>/app-config.yaml:2:1: duplicate"),
        ("a: {$file: none.txt}", "<dir>/app-config.yaml: a: failed to include \"<dir>/none.txt\", file does not exist"),
        ("a: [{$file: x, b: 1}]", "<dir>/app-config.yaml: a[0]: include key $file should not have adjacent keys"),
        ("a: {$include: x.toml}", "a: no configuration parser available for included file x.toml"),
        ("a: {$include: app-config.yaml}", "files include each other more than 32 levels deep"),
        ("a: {$env: 1}", "a: $env include value is not a string"),
        ("a: {$file: '${NONE}'}", "a: $file include value uses a variable of the environment that is not set"),
        ("backend: x", "<dir>/app-config.yaml: backend: expected an object; found a text"),
        ("backend: {listen: nowhere}", "<dir>/app-config.yaml: backend.listen: expected a port"),
        ("backend: {listen: ':70000'}", "backend.listen: 70000 is no port"),
        ("backend: {listen: {port: x}}", "backend.listen.port: expected a whole number, 0 or more; found a text"),
        ("backend: {listen: 'a b:1'}", "backend.listen: expected a port"),
        ("backend: {listen: [1]}", "backend.listen: expected a port"),
        ("backend: {baseUrl: 'localhost:7007'}", "backend.baseUrl: no http or https URL"),
        ("backend: {baseUrl: ''}", "backend.baseUrl: got empty-string, wanted string"),
        ("backend: {https: true}", "backend.https: this version serves plain HTTP only"),
        ("backend: {workingDirectory: none}", "backend.workingDirectory: working directory <dir>/none does not exist"),
        ("backend: {database: {client: mysql2}}", "backend.database.client: the client mysql2 is not supported"),
        (
            "backend: {database: {connection: ':memory:'}}",
            "backend.database.client: expected better-sqlite3 or pg; found nothing",
        ),
        ("backend: {database: {client: sqlite3}}", "backend.database: the connection names neither"),
        (
            "backend: {database: {client: sqlite3, connection: {host: x}}}",
            "backend.database.connection: the connection",
        ),
        (
            "scaffolder: {taskRecovery: {staleTimeout: 2s}}",
            "scaffolder.taskRecovery.staleTimeout: must be 3 seconds or longer",
        ),
        ("backend: {cors: {maxAge: -1}}", "backend.cors.maxAge: expected a whole number"),
        ("backend: {cors: {credentials: maybe}}", "backend.cors.credentials: expected true or false"),
        (
            "backend: {cors: {origin: {a: 1}}}",
            "backend.cors.origin: expected a text or a list of texts; found an object",
        ),
        ("scaffolder: {concurrentTasksLimit: 1.5}", "scaffolder.concurrentTasksLimit: expected a whole number"),
        ("scaffolder: {concurrentTasksLimit: -1}", "scaffolder.concurrentTasksLimit: expected a whole number"),
        ("scaffolder: {taskTimeout: 5}", "scaffolder.taskTimeout: expected a duration"),
        ("scaffolder: {taskTimeout: soon}", "scaffolder.taskTimeout: expected a duration"),
        ("scaffolder: {taskTimeout: {fortnights: 1}}", "scaffolder.taskTimeout.fortnights: no unit of time"),
        ("scaffolder: {taskTimeout: {days: x}}", "scaffolder.taskTimeout.days: expected a number; found a text"),
        ("scaffolder: {taskTimeoutJanitorFrequency: 0s}", "scaffolder.taskTimeoutJanitorFrequency: must be longer"),
        ("scaffolder: {taskRecovery: {enabled: 2}}", "scaffolder.taskRecovery.enabled: expected true or false"),
        ("scaffolder: {defaultAuthor: {name: [x]}}", "scaffolder.defaultAuthor.name: expected a text; found a list"),
        ("scaffolder: {defaultEnvironment: {secrets: {A: 1}}}", "defaultEnvironment.secrets.A: expected a text"),
        ("catalog: {locations: {}}", "catalog.locations: expected a list; found an object"),
        ("catalog: {locations: [{type: file}]}", "catalog.locations[0].target: expected a path or URL; found nothing"),
        ("catalog: {locations: [{target: x}]}", "catalog.locations[0].type: expected file or url; found nothing"),
        ("catalog: {locations: [null]}", "catalog.locations[0]: expected an object; found null"),
        ("catalog: {locations: [{type: url, target: x}]}", "catalog.locations[0].target: no http or https URL"),
    ] {
        let error = one(text).error();
        assert!(error.contains(expected), "{text}\n  expected {expected}\n  found    {error}");
        assert!(error.starts_with("<dir>/app-config.yaml:"), "{text}: {error}");
    }
}

#[test]
fn errors_name_the_source_that_set_the_key() {
    let files = [
        ("app-config.yaml", "scaffolder: {taskTimeout: 1h}\n"),
        ("app-config.local.yaml", "scaffolder: {taskTimeout: x}\n"),
    ];
    assert!(Setup::new(&files).error().starts_with("<dir>/app-config.local.yaml: scaffolder.taskTimeout: "));
    let setup = Setup::new(&files[..1]).env(&[("APP_CONFIG_scaffolder_taskTimeout", "x")]);
    assert!(setup.error().starts_with("APP_CONFIG_scaffolder_taskTimeout: scaffolder.taskTimeout: "));
    assert_eq!(
        Setup::new(&[]).config_paths(&["none.yaml"]).error(),
        "<dir>/none.yaml: Config file \"<dir>/none.yaml\" does not exist"
    );
    assert!(Setup::new(&[]).config_paths(&["https://x/y.yaml"]).error().contains("can't be read from a URL"));
}

#[test]
fn wrong_values_are_not_shown() {
    let error = one("scaffolder: {defaultEnvironment: {secrets: {A: [s3cret]}}}").error();
    assert!(!error.contains("s3cret"), "{error}");
    let config = one("scaffolder: {defaultEnvironment: {secrets: {A: s3cret}, parameters: {B: b}}}").load().unwrap();
    assert_eq!(config.scaffolder.environment_secrets.get("A").unwrap().expose(), "s3cret");
    assert_eq!(config.scaffolder.environment_parameters["B"], "b");
    assert!(!format!("{:?}", config.scaffolder).contains("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn listening() {
    for (listen, address, warning) in [
        ("':7008'", "127.0.0.1:7008", "names no host"),
        ("7008", "127.0.0.1:7008", "names no host"),
        ("'7008'", "127.0.0.1:7008", "names no host"),
        ("{port: '7008'}", "127.0.0.1:7008", "names no host"),
        ("{host: 127.0.0.1}", "127.0.0.1:7007", ""),
        ("127.0.0.1:1", "127.0.0.1:1", ""),
        ("'localhost:1'", "127.0.0.1:1", ""),
        ("'[::1]:1'", "[::1]:1", ""),
    ] {
        let config = one(&format!("backend: {{listen: {listen}}}")).load().unwrap();
        assert_eq!(config.backend.listen.to_string(), address, "{listen}");
        assert_eq!(config.warnings.is_empty(), warning.is_empty(), "{listen}: {:?}", config.warnings);
        assert!(config.warnings.iter().all(|text| text.contains(warning)), "{listen}: {:?}", config.warnings);
    }
    assert_eq!(one("backend: {listen: ':9'}").load().unwrap().backend.base_url, "http://localhost:9");
    for listen in ["0.0.0.0:80", "{host: 0.0.0.0, port: 80}", "'[::]:80'"] {
        let text = format!("backend: {{listen: {listen}}}");
        let error = one(&text).error();
        assert!(error.contains("backend.listen: ") && error.contains("nothing is configured that says who"), "{error}");
        let disabled =
            format!("{}, auth: {{dangerouslyDisableDefaultAuthPolicy: true}}}}", text.strip_suffix('}').unwrap());
        let config = one(&disabled).load().unwrap();
        assert!(config.backend.listen.ip().is_unspecified() && config.warnings[0].contains("lets everybody in"));
        let required =
            format!("{}, auth: {{dangerouslyDisableDefaultAuthPolicy: false}}}}", text.strip_suffix('}').unwrap());
        let config = one(&required).load().unwrap();
        assert!(config.backend.listen.ip().is_unspecified() && config.warnings.is_empty());
    }
    // Where requests need credentials, the default is Backstage's.
    for (text, address) in [
        ("discovery: {endpoints: [{target: 'http://portal/api/{{pluginId}}', plugins: [auth]}]}", "[::]:7007"),
        (
            "backend: {listen: ':9', auth: {externalAccess: [{type: static, options: {token: 12345678, subject: ci}}]}}",
            "",
        ),
        (
            "backend: {listen: ':9', auth: {externalAccess: [{type: static, options: {token: '12345678', subject: ci}}]}}",
            "[::]:9",
        ),
        (
            "backend: {baseUrl: 'http://localhost:7007', listen: ':7008'}\ndiscovery: {endpoints: [{target: 'http://localhost:7008/api/{{pluginId}}', plugins: [scaffolder]}]}",
            "[::]:7008",
        ),
    ] {
        match one(text).load() {
            Ok(config) => assert_eq!(
                (config.auth.policy, config.backend.listen.to_string()),
                (AuthPolicy::Required, address.to_string()),
                "{text}"
            ),
            Err(error) => assert!(address.is_empty(), "{text}: {error}"),
        }
    }
    let base = one("backend: {baseUrl: 'https://x.example/'}").load().unwrap().backend.base_url;
    assert_eq!(base, "https://x.example");
}

#[test]
fn scaffolder_keys() {
    let config = one("scaffolder:\n  concurrentTasksLimit: '0'\n  taskTimeout: {hours: 1, minutes: '30'}\n  \
                      taskTimeoutJanitorFrequency: PT10M\n  defaultCommitMessage: hello\n  defaultAuthor: {name: Jo, email: j@x}\n  \
                      EXPERIMENTAL_recoverTasks: off\n  EXPERIMENTAL_recoverTasksTimeout: 10 seconds\n  \
                      defaultCommitSigningKey: abc\n")
    .load()
    .unwrap();
    let scaffolder = &config.scaffolder;
    assert_eq!(scaffolder.concurrent_tasks_limit, 0);
    assert_eq!(scaffolder.task_timeout, Duration::from_secs(5400));
    assert_eq!(scaffolder.janitor_frequency, Duration::from_secs(600));
    assert_eq!(scaffolder.default_commit_message.as_deref(), Some("hello"));
    assert_eq!(scaffolder.default_author, ("Jo".to_string(), "j@x".to_string()));
    assert!(!scaffolder.recovery_enabled);
    assert_eq!(scaffolder.stale_timeout, Duration::from_secs(10));
    assert_eq!(config.warnings, ["scaffolder.defaultCommitSigningKey has no effect in this version"]);
    // The names of today win over those of yesterday.
    let config = one("scaffolder: {EXPERIMENTAL_recoverTasks: false, EXPERIMENTAL_recoverTasksTimeout: 1h, \
                      taskRecovery: {enabled: true, staleTimeout: 5s}}")
    .load()
    .unwrap();
    assert!(config.scaffolder.recovery_enabled);
    assert_eq!(config.scaffolder.stale_timeout, Duration::from_secs(5));
}

#[test]
fn audit_events() {
    assert_eq!(one("{}").load().unwrap().audit, AuditConfig::default());
    let all = "backend: {auditor: {severityLogLevelMappings: {low: warn, medium: error, high: debug}}}\nscaffolder: {auditor: {taskParameterMaxLength: '-1'}}";
    assert_eq!(
        one(all).load().unwrap().audit,
        AuditConfig { low: AuditLevel::Warn, medium: AuditLevel::Error, task_parameter_max_length: None }
    );
    let cut = "scaffolder: {auditor: {taskParameterMaxLength: 0}}";
    assert_eq!(one(cut).load().unwrap().audit.task_parameter_max_length, Some(0));
    for (text, expected) in [
        (
            "backend: {auditor: {severityLogLevelMappings: {critical: fatal}}}",
            "backend.auditor.severityLogLevelMappings.critical: expected debug, info, warn or error",
        ),
        (
            "scaffolder: {auditor: {taskParameterMaxLength: -2}}",
            "scaffolder.auditor.taskParameterMaxLength: expected a whole number, 0 or more, or -1",
        ),
        (
            "scaffolder: {auditor: {taskParameterMaxLength: x}}",
            "scaffolder.auditor.taskParameterMaxLength: expected a whole number, 0 or more, or -1",
        ),
    ] {
        let error = one(text).error();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn catalog_locations() {
    let setup = one(
        "catalog:\n  locations:\n    - {type: file, target: ../templates/*.yaml}\n    - {type: file, target: /abs.yaml}\n    \
                     - {type: url, target: 'https://github.com/o/r/blob/main/all.yaml', rules: [{allow: [Template]}]}\n    \
                     - {type: github-discovery, target: 'https://github.com/o'}\n",
    );
    let config = setup.load().unwrap();
    let found: Vec<_> =
        config.catalog_locations.iter().map(|location| (location.kind.as_str(), location.target.as_str())).collect();
    let relative = setup.options.root.join("../templates/*.yaml");
    assert_eq!(
        found,
        [("file", relative.as_str()), ("file", "/abs.yaml"), ("url", "https://github.com/o/r/blob/main/all.yaml")]
    );
    assert!(config.warnings[0].contains("github-discovery"));
}

#[test]
fn how_often_the_catalog_is_read_again() {
    use std::time::Duration;
    for (yaml, expected) in [
        ("catalog: {}", Some(Duration::from_secs(300))),
        ("catalog: {processingInterval: {seconds: 7}}", Some(Duration::from_secs(7))),
        ("catalog: {processingInterval: false}", None),
    ] {
        assert_eq!(one(yaml).load().unwrap().catalog_refresh, expected, "{yaml}");
    }
    let error = one("catalog: {processingInterval: {seconds: 0}}").load().unwrap_err().to_string();
    assert!(error.contains("catalog.processingInterval"), "{error}");
}

#[test]
fn keys_of_other_plugins_are_ignored() {
    let config =
        one("app: {title: [1]}\ntechdocs: x\nkubernetes: null\nproxy: {endpoints: {'/x': {target: '${NONE}'}}}\n\
                      backend: {cache: [], csp: {a: [b]}}\nscaffolder: {http: {x: 1}, unknown: []}\n")
        .load()
        .unwrap();
    assert_eq!(config.raw["app"], json!({"title": [1]}));
}

#[cfg(unix)]
#[test]
fn the_default_working_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let shared = tempfile::tempdir().unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let shared = Utf8PathBuf::from_path_buf(shared.path().to_owned()).unwrap();
    let mut backend = Setup::new(&[]).load().unwrap().backend;
    backend.working_directory = shared.join("understudy-me");
    for _ in 0..2 {
        backend.prepare_working_directory().unwrap();
    }
    let mode = |path: &Utf8PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&backend.working_directory), 0o700);
    std::fs::set_permissions(&backend.working_directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(backend.prepare_working_directory().unwrap_err().to_string().contains("is open to other users"));
    let linked = shared.join("linked");
    std::os::unix::fs::symlink(&shared, &linked).unwrap();
    backend.working_directory = linked;
    let error = backend.prepare_working_directory().unwrap_err().to_string();
    assert!(error.contains("is a link"), "{error}");
}

#[test]
fn the_template_language() {
    let language = |text: &str| one(text).load().unwrap().scaffolder.templating;
    assert_eq!(language("{}"), Language::default());
    for (text, dialect) in [
        ("scaffolder: {templating: nunjitsu}", Dialect::Nunjitsu),
        ("scaffolder: {templating: nunjucks-3}", Dialect::Nunjucks3),
        ("scaffolder: {templating: {}}", Dialect::Nunjitsu),
        ("scaffolder: {templating: {language: nunjucks-3}}", Dialect::Nunjucks3),
    ] {
        assert_eq!(language(text).dialect, dialect, "{text}");
    }
    let language = language(
        "
scaffolder:
  templating:
    filters:
      slug: args[0] | lower | replace(' ', '-')
      team:
        expression: \"(args[0] | parseEntityRef({defaultKind: 'group'})).name | slug\"
        description: The name of a team
        schema: {input: {type: string}, output: {type: string}}
        examples:
          - \"${{ parameters.owner | team }}\"
          - {example: x, description: y}
    globals:
      repo: company.name ~ '/' ~ args[0]
      now: {expression: \"'today'\"}
      company: {value: {name: acme}, description: Who we are}
      answer: {value: 42}
",
    );
    let names: Vec<_> = language.functions.iter().map(|function| (function.kind, function.name.as_str())).collect();
    let (filter, function) = (DefinitionKind::Filter, DefinitionKind::Function);
    assert_eq!(names, [(filter, "slug"), (filter, "team"), (function, "repo"), (function, "now")]);
    assert_eq!(
        Value::Object(language.functions[1].about.clone()),
        json!({
            "description": "The name of a team",
            "schema": {"input": {"type": "string"}, "output": {"type": "string"}},
            "examples": [{"example": "${{ parameters.owner | team }}"}, {"example": "x", "description": "y"}],
        })
    );
    assert_eq!(
        language.values,
        [
            GlobalValue {
                name: "company".into(),
                value: json!({"name": "acme"}),
                description: Some("Who we are".into()),
            },
            GlobalValue { name: "answer".into(), value: json!(42), description: None },
        ]
    );
}

#[test]
fn mistakes_in_the_template_language_are_told_with_their_place() {
    for (templating, expected) in [
        (
            "nunjucks",
            "templating: unknown template language \"nunjucks\"; it is one of \"nunjitsu\" (the default) and \"nunjucks-3\"",
        ),
        (
            "5",
            "templating: expected a language's name, or an object with language, filters and globals; found a number",
        ),
        (
            "{language: jinja}",
            "templating.language: unknown template language \"jinja\"; it is one of \"nunjitsu\" (the default) and \"nunjucks-3\"",
        ),
        ("{filter: {}}", "templating.filter: unknown; language, filters, globals are known here"),
        ("{filters: []}", "templating.filters: expected an object; found a list"),
        (
            "{filters: {a: 1}}",
            "templating.filters.a: expected an expression over args, or an object with one at `expression`; found a number",
        ),
        ("{filters: {a: {}}}", "templating.filters.a.expression: expected an expression over args; found nothing"),
        (
            "{filters: {a: {expr: x}}}",
            "templating.filters.a.expr: unknown; expression, description, schema, examples are known here",
        ),
        (
            "{filters: {a: 'args[0] | uper'}}",
            "templating.filters.a: expression:1:11: Unknown template filter \"uper\"; did you mean \"upper\"?\n 1 | args[0] | uper\n   |           ^",
        ),
        (
            "{globals: {a: {expression: \"args[0]\\n +\"}}}",
            "templating.globals.a.expression: expression:2:3: Unexpected expression token at end of input\n 2 |  +\n   |   ^",
        ),
        (
            "{globals: {a: '${{ 1 }}'}}",
            "templating.globals.a: expression:1:1: Expected an expression without delimiters around it\n 1 | ${{ 1 }}\n   | ^",
        ),
        (
            "{filters: {'a b': '1'}}",
            "templating.filters.a b: \"a b\" is not a name; use letters, digits and _, and no word of the language",
        ),
        (
            "{globals: {always: '1'}}",
            "templating.globals.always: every step has a function of this name; choose another",
        ),
        (
            "{globals: {c: {value: {constructor: 1}}}}",
            "templating.globals.c.value: Template record key constructor is reserved",
        ),
        (
            "{globals: {c: {value: 1, expression: '1'}}}",
            "templating.globals.c.expression: unknown; value, description are known here",
        ),
        (
            "{filters: {a: {expression: '1', schema: {inptu: {}}}}}",
            "templating.filters.a.schema.inptu: unknown; input, arguments, output are known here",
        ),
        (
            "{filters: {a: {expression: '1', examples: [{description: x}]}}}",
            "templating.filters.a.examples[0].example: expected a text; found nothing",
        ),
    ] {
        let setup = one(&format!("scaffolder:\n  templating: {templating}\n"));
        assert_eq!(setup.error(), format!("<dir>/app-config.yaml: scaffolder.{expected}"), "{templating}");
    }
}

#[test]
fn actions_are_offered_by_plugin_and_filter() {
    let attributes = ActionAttributes { destructive: false, idempotent: true, read_only: true };
    let offered = |text: &str, id: &str| {
        one(&format!("backend:\n  actions: {text}\n")).load().unwrap().backend.actions.offers(
            "scaffolder",
            id,
            attributes,
        )
    };
    for (config, id, expected) in [
        ("{}", "scaffolder:x", true),
        ("{pluginSources: [catalog, scaffolder]}", "scaffolder:x", true),
        ("{pluginSources: [catalog]}", "scaffolder:x", false),
        ("{pluginSources: []}", "scaffolder:x", false),
        ("{filter: {include: [{id: 'scaffolder:list-*'}]}}", "scaffolder:list-tasks", true),
        ("{filter: {include: [{id: 'scaffolder:list-*'}]}}", "scaffolder:execute", false),
        ("{filter: {include: [{id: '!*:list-*'}]}}", "scaffolder:list-tasks", false),
        ("{filter: {include: [{id: 'scaffolder:{a,b}'}]}}", "scaffolder:b", true),
        ("{filter: {exclude: [{attributes: {destructive: true}}]}}", "scaffolder:x", true),
        ("{filter: {exclude: [{attributes: {readOnly: 'yes'}}]}}", "scaffolder:x", false),
        (
            "{filter: {include: [{id: '*', attributes: {idempotent: false}}, {id: 'scaffolder:x'}]}}",
            "scaffolder:x",
            true,
        ),
        ("{filter: {include: [{}]}}", "scaffolder:x", true),
    ] {
        assert_eq!(offered(config, id), expected, "{config} {id}");
    }
    let error = one("backend: {actions: {filter: {include: [{id: 'a[b'}]}}}").error();
    assert!(error.contains("backend.actions.filter.include[0].id") && error.contains("no pattern"), "{error}");
}

#[test]
fn access_is_granted_to_clients() {
    let config = one("backend:
  auth:
    keys: [{secret: YWJj}]
    externalAccess:
      - {type: static, options: {token: s3cret-token, subject: ci}}
      - type: legacy
        options: {secret: '-_8', subject: old}
        accessRestrictions:
          - {plugin: scaffolder, permission: 'a, b', permissionAttribute: {action: [read, create read]}}
          - {plugin: catalog}
      - {type: jwks, options: {url: 'https://x/keys', issuer: 'a b', audience: [c, d], subjectPrefix: p}}
")
    .load()
    .unwrap();
    assert!(config.warnings[0].contains("backend.auth.keys"), "{:?}", config.warnings);
    let external = &config.auth.external;
    let kinds: Vec<_> = external.iter().map(|access| format!("{:?}", access.kind)).collect();
    assert_eq!(kinds, ["Static(ci)", "Legacy(old)", "Jwks(https://x/keys)", "Legacy(external:backstage-plugin)"]);
    let restrictions = external[1].restrictions.as_ref().unwrap();
    assert_eq!(
        serde_json::to_value(restrictions).unwrap(),
        json!({"catalog": {}, "scaffolder": {"permissionNames": ["a", "b"], "permissionAttributes": {"action": ["read", "create"]}}})
    );
    assert!(external[0].restrictions.is_none() && !format!("{config:?}").contains("s3cret"));
    let ExternalKind::Legacy { secret, .. } = &external[1].kind else { panic!() };
    assert_eq!(secret.as_slice(), [0xfb, 0xff]);
    let ExternalKind::Jwks { issuers, audiences, algorithms, .. } = &external[2].kind else { panic!() };
    assert_eq!((issuers.len(), audiences.len(), algorithms.len()), (2, 2, 0));
}

#[test]
fn access_that_says_nothing_sensible_is_refused() {
    for (auth, expected) in [
        (
            "externalAccess: [{type: magic, options: {}}]",
            "backend.auth.externalAccess[0].type: no type of external access",
        ),
        (
            "externalAccess: [{options: {}}]",
            "externalAccess[0].type: expected 'static', 'legacy' or 'jwks'; found nothing",
        ),
        (
            "externalAccess: [{type: static, options: {token: short, subject: x}}]",
            "options.token: a token has at least 8 characters",
        ),
        (
            "externalAccess: [{type: static, options: {token: 'two words', subject: x}}]",
            "options.token: must be without white space",
        ),
        (
            "externalAccess: [{type: static, options: {token: longenough}}]",
            "options.subject: expected a text; found nothing",
        ),
        ("externalAccess: [{type: legacy, options: {secret: '!', subject: x}}]", "options.secret: no base64 text"),
        ("externalAccess: [{type: jwks, options: {url: 'ftp://x'}}]", "options.url: no http or https URL"),
        (
            "externalAccess: [{type: static, options: {token: longenough, subject: x}, accessRestrictions: [{plugin: a}, {plugin: a}]}]",
            "accessRestrictions[1].plugin: has restrictions in this list already",
        ),
        (
            "externalAccess: [{type: static, options: {token: longenough, subject: x}, accessRestrictions: [{plugin: a, permissions: b}]}]",
            "accessRestrictions[0].permissions: not known here",
        ),
        (
            "externalAccess: [{type: static, options: {token: longenough, subject: x}, accessRestrictions: [{plugin: a, permissionAttribute: {action: run}}]}]",
            "no action is called 'run'",
        ),
        ("pluginKeyStore: {type: magic}", "pluginKeyStore.type: no type of key store"),
        ("pluginKeyStore: {type: static}", "static.keys: the type static needs at least one key"),
        (
            "pluginKeyStore: {type: static, static: {keys: [{publicKeyFile: a, keyId: k}]}}",
            "the first key signs, so it needs a privateKeyFile",
        ),
        (
            "pluginKeyStore: {type: static, static: {keys: [{publicKeyFile: a, keyId: k, algorithm: RS256}]}}",
            "only ES256 is supported",
        ),
    ] {
        let error = one(&format!("backend: {{auth: {{{auth}}}}}")).error();
        assert!(error.contains(expected), "{auth}: {error}");
    }
    for (entry, expected) in [
        ("{plugins: [catalog]}", "discovery.endpoints[0].target: expected a URL"),
        ("{target: catalog, plugins: [catalog]}", "discovery.endpoints[0].target: no http or https URL"),
        (
            "{target: {internal: 'http+srv://x/api'}, plugins: [catalog]}",
            "target.internal: SRV records are not looked up",
        ),
    ] {
        let error = one(&format!("discovery: {{endpoints: [{entry}]}}")).error();
        assert!(error.contains(expected), "{entry}: {error}");
    }
}

#[test]
fn where_workspaces_are_saved() {
    let provider = |text: &str| {
        let setup = one(text).env(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "from-the-environment")]);
        setup.load().unwrap().scaffolder.workspace_provider
    };
    assert!(matches!(provider("{}"), WorkspaceProvider::Local));
    assert!(matches!(provider("scaffolder: {taskRecovery: {workspaceProvider: local}}"), WorkspaceProvider::Local));
    for text in [
        "scaffolder: {taskRecovery: {workspaceProvider: database, database: {dangerouslyEnableInProduction: true}}}",
        "scaffolder: {EXPERIMENTAL_workspaceSerialization: true}",
        "scaffolder: {EXPERIMENTAL_workspaceSerialization: true, EXPERIMENTAL_workspaceSerializationProvider: database}",
        "scaffolder: {EXPERIMENTAL_workspaceSerialization: true, EXPERIMENTAL_workspaceSerializationProvider: gcp,
          taskRecovery: {workspaceProvider: database}}",
    ] {
        assert!(matches!(provider(text), WorkspaceProvider::Database), "{text}");
    }
    let off = "scaffolder: {EXPERIMENTAL_workspaceSerialization: false, EXPERIMENTAL_workspaceSerializationProvider: database}";
    assert!(matches!(provider(off), WorkspaceProvider::Local));
    let s3 = |members: &str| {
        let text = format!("scaffolder: {{taskRecovery: {{workspaceProvider: s3, s3: {{bucketName: b, {members}}}}}}}");
        match provider(&text) {
            WorkspaceProvider::S3(config) => config,
            other => panic!("{other:?}"),
        }
    };
    let amazon = s3("region: eu-north-1");
    assert_eq!((amazon.endpoint.as_str(), amazon.path_style), ("https://s3.eu-north-1.amazonaws.com/", false));
    assert_eq!((amazon.access_key_id.expose(), amazon.secret_access_key.expose()), ("id", "from-the-environment"));
    let own = s3(
        "endpoint: 'http://minio:9000', bucketRootPath: /a/b/, credentials: {accessKeyId: k, secretAccessKey: hush}",
    );
    assert_eq!((own.region.as_str(), own.root.as_str(), own.path_style), ("us-east-1", "a/b", true));
    assert_eq!(own.secret_access_key.expose(), "hush");
    assert!(!format!("{own:?}").contains("hush"));
    assert!(!s3("endpoint: 'http://minio:9000', s3ForcePathStyle: false").path_style);
    for (text, reason) in [
        ("workspaceProvider: gcpBucket", "Workspace provider 'gcpBucket' is configured but not available"),
        ("workspaceProvider: s3", "region"),
        ("workspaceProvider: s3, s3: {region: r}", "bucketName"),
        ("workspaceProvider: s3, s3: {region: r, bucketName: a/b}", "no name of a bucket"),
        ("workspaceProvider: s3, s3: {region: r, bucketName: b}", "AWS_ACCESS_KEY_ID is not in the environment"),
        ("workspaceProvider: s3, s3: {endpoint: 'ftp://x', bucketName: b}", "no http or https URL"),
        ("workspaceProvider: s3, s3: {region: r, bucketName: b, bucketRootPath: a/../b}", "must be a path"),
    ] {
        let error = one(&format!("scaffolder: {{taskRecovery: {{{text}}}}}")).error();
        assert!(error.contains("scaffolder.taskRecovery.") && error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn how_secrets_are_kept() {
    let secrets = |text: &str| one(text).load().unwrap().scaffolder.secrets;
    let default = secrets("{}");
    assert!(default.encrypt && default.keys.is_empty() && default.shared.is_empty());
    assert!(!secrets("scaffolder: {secrets: {encryption: false}}").encrypt);
    let long = "0123456789abcdef0123456789abcdef";
    let full = secrets(&format!(
        "backend: {{auth: {{keys: [{{secret: c2hhcmVk}}]}}}}\nscaffolder: {{secrets: {{encryption: {{enabled: false, \
         lostKeys: [old], keys: [{{id: a, secret: {long}}}, {{id: b.2, file: keys/b}}]}}}}}}"
    ));
    assert!(!full.encrypt && full.lost_keys == ["old"] && full.shared.len() == 1);
    let ids: Vec<_> = full.keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["a", "b.2"]);
    assert!(matches!(&full.keys[1].source, KeySource::File(path) if path.ends_with("keys/b") && path.is_absolute()));
    assert!(!format!("{full:?}").contains(long));
    for (text, reason) in [
        ("maybe", "expected true, false, or an object with keys"),
        ("{key: []}", "not known here; enabled, keys, lostKeys may stand here"),
        ("{keys: [{secret: x}]}", "scaffolder.secrets.encryption.keys[0].id"),
        ("{keys: [{id: a/b, secret: x}]}", "an id has up to 64 letters"),
        ("{keys: [{id: a, secret: short}]}", "a key has at least 32 characters"),
        ("{keys: [{id: a}]}", "either a secret or a file"),
        ("{keys: [{id: a, file: x}, {id: a, file: y}]}", "the id a is given to two keys"),
    ] {
        let error = one(&format!("scaffolder: {{secrets: {{encryption: {text}}}}}")).error();
        assert!(error.contains(reason) && error.contains("scaffolder.secrets.encryption"), "{text}: {error}");
    }
}
