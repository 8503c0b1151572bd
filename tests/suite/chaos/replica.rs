//! A replica: the service with one action more, whose effect lies outside. The suite runs its own binary for that, so that
//! no second one has to be linked.

use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use serde_json::{Map, Value};
use understudy::{
    app::App,
    config::{Config, LoadOptions},
    telemetry::{self, LogFormat},
};
use understudy_sdk::{ActionContext, ActionError, ActionExample, DynAction};

use crate::support::{TempDir, write};

/// The variable that hands over the command line's arguments.
const ARGUMENTS: &str = "UNDERSTUDY_REPLICA_ARGUMENTS";

/// A program that takes the arguments of `understudy`.
pub(super) fn program(dir: &TempDir) -> Utf8PathBuf {
    let suite = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nexport {ARGUMENTS}=\"$*\"\nexec '{}' chaos::replica::serve --exact --ignored --nocapture\n",
        suite.display()
    );
    let path = dir.path.join("replica");
    write(&path, script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
#[ignore = "a process of the chaos suite, started by it"]
fn serve() {
    let arguments = std::env::var(ARGUMENTS).expect("the suite starts this");
    let files = arguments.split(' ').filter(|argument| argument.ends_with(".yaml")).map(Utf8PathBuf::from).collect();
    understudy::app::install_tls_provider();
    telemetry::init(LogFormat::from_environment(), "info");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(8 << 20).build().unwrap();
    runtime.block_on(async {
        let config = Config::load(&LoadOptions::from_process(files).unwrap()).unwrap();
        let app = App::builder(config).dyn_action(Arc::new(Effect)).build().await.unwrap();
        app.serve().await.unwrap();
    });
}

/// `chaos:effect`: tells the recorder.
struct Effect;

#[async_trait]
impl DynAction for Effect {
    fn id(&self) -> &str {
        "chaos:effect"
    }
    fn aliases(&self) -> Vec<String> {
        Vec::new()
    }
    fn description(&self) -> &'static str {
        "Has an effect outside."
    }
    fn examples(&self) -> Vec<ActionExample> {
        Vec::new()
    }
    fn supports_dry_run(&self) -> bool {
        false
    }
    fn input_schema(&self) -> Option<Value> {
        None
    }
    fn output_schema(&self) -> Option<Value> {
        None
    }
    async fn run(&self, ctx: &ActionContext, input: Value) -> Result<Map<String, Value>, ActionError> {
        let url = input["url"].as_str().ok_or_else(|| ActionError::input("no url"))?;
        let client =
            reqwest::Client::builder().no_proxy().build().map_err(|error| ActionError::failed(error.to_string()))?;
        let request = client.post(url).header("idempotency-key", ctx.idempotency_key());
        request.send().await.map_err(|error| ActionError::failed(error.to_string()))?;
        ctx.log.info("the effect was sent");
        Ok(Map::new())
    }
}
