//! The command line.

mod actions;
mod eval;
mod migrate;
mod run;
mod source;
mod validate;
mod values;
mod view;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};
use understudy_scm::Scm;

use crate::{
    api::openapi,
    app::{self, App, Parts},
    config::{Config, DatabaseConfig, LoadOptions},
    telemetry::{self, LogFormat},
};

/// Runs Backstage software templates: as a service with the scaffolder's HTTP API, or here and now.
#[derive(Debug, Parser)]
#[command(name = "understudy", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look [default: json where NODE_ENV is production, else text]
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API
    Serve(ConfigArgs),
    /// Execute a template here, and leave what it makes in a directory
    Run {
        #[command(flatten)]
        args: run::RunArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Check templates without running them
    Validate {
        #[command(flatten)]
        args: validate::ValidateArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Render templates: JSON objects in, one a line, JSON objects out
    Eval(ConfigArgs),
    /// Make the database's tables, or bring them to this version, without serving
    Migrate {
        /// Only say what would be done; exit code 1 when there is something to do
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show what templates can do in a step
    Actions {
        /// One action, with its inputs and outputs
        id: Option<String>,
        /// As JSON, like the API
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document of the HTTP API as YAML
    Openapi,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// An app-config.yaml file; later ones are merged over earlier ones [default: app-config*.yaml here, if there are any]
    #[arg(long, value_name = "FILE")]
    config: Vec<Utf8PathBuf>,
}

impl ConfigArgs {
    fn load(self) -> Result<Config, Failure> {
        LoadOptions::from_process(self.config).and_then(|options| Config::load(&options)).map_err(Failure::input)
    }
    /// The configuration for work that must not touch the service's database.
    fn load_without_database(self) -> Result<Config, Failure> {
        let mut config = self.load()?;
        config.backend.database = DatabaseConfig::SqliteMemory;
        config.catalog_locations.clear();
        Ok(config)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// What it was given is wrong; exit code 2.
    Input(String),
    /// It was run, and failed; exit code 1.
    Task(String),
}

impl Failure {
    fn input(error: impl std::fmt::Display) -> Self {
        Self::Input(error.to_string())
    }
    fn task(error: impl std::fmt::Display) -> Self {
        Self::Task(error.to_string())
    }
}

/// Templates may nest; their evaluation is bounded by depth, and this is room for that depth.
const STACK: usize = 8 * 1024 * 1024;

/// Does what the process's arguments ask. Exit codes: 0 done, 1 the task or service failed, 2 wrong usage or input.
pub fn main() -> ExitCode {
    app::install_tls_provider();
    let cli = Cli::parse();
    let format = cli.log_format.unwrap_or_else(LogFormat::from_environment);
    telemetry::init(format, if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" });
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build() {
        Ok(runtime) => {
            let done = runtime.block_on(execute(cli.command));
            // What still runs in the background must not keep the process.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::task(error)),
    };
    let (text, code) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Task(text)) => (text, 1),
        Err(Failure::Input(text)) => (text, 2),
    };
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(io::stderr(), "error: {text}");
    ExitCode::from(code)
}

async fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(config) => {
            let config = config.load()?;
            config.backend.prepare_working_directory().map_err(Failure::input)?;
            let app = App::builder(config).build().await.map_err(Failure::input)?;
            app.serve().await.map_err(Failure::task)
        }
        Command::Run { args, config } => {
            let config = config.load_without_database()?;
            let parts = Parts::new(&config, Vec::new()).await.map_err(Failure::input)?;
            run::run(&parts, args).await
        }
        Command::Validate { args, config } => {
            let config = config.load_without_database()?;
            let parts = Parts::new(&config, Vec::new()).await.map_err(Failure::input)?;
            validate::run(&parts, &args).await
        }
        Command::Eval(config) => {
            let config = config.load()?;
            let scm = Scm::from_config(&config.raw).map_err(Failure::Input)?;
            let templating = app::templating(&config, &scm).map_err(Failure::input)?;
            quiet_pipe(eval::run(&templating, io::stdin().lock(), io::stdout().lock()))
        }
        Command::Migrate { check, config } => migrate::run(&config.load()?, check).await,
        Command::Actions { id, json } => actions(id.as_deref(), json),
        Command::Openapi => print(&openapi::yaml().map_err(Failure::task)?),
    }
}

fn actions(id: Option<&str>, json: bool) -> Result<(), Failure> {
    let config = Config::load(&LoadOptions::default()).map_err(Failure::input)?;
    let scm = Scm::from_config(&config.raw).map_err(Failure::Input)?;
    let templating = app::templating(&config, &scm).map_err(Failure::input)?;
    let registry = app::built_in_actions(&config, &templating).map_err(Failure::input)?;
    let found = id.map(|id| registry.find(id).ok_or_else(|| unknown(id))).transpose()?;
    let text = match (&found, json) {
        (Some(action), false) => actions::describe(action.as_ref()),
        (Some(action), true) => format!("{:#}\n", actions::json([action.as_ref()])[0]),
        (None, false) => actions::list(&registry),
        (None, true) => format!("{:#}\n", actions::json(registry.list().map(AsRef::as_ref))),
    };
    print(&text)
}

fn unknown(id: &str) -> Failure {
    Failure::Input(format!("there is no action {id}; `understudy actions` lists those there are"))
}

fn print(text: &str) -> Result<(), Failure> {
    quiet_pipe(io::stdout().write_all(text.as_bytes()))
}

/// A reader that has seen enough is no failure.
fn quiet_pipe(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::task),
    }
}
