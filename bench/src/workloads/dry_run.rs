//! Dry runs of the templates that ship with the service.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    bench::{Bench, Recorder},
    compare::{self, Outcome},
    error::{Error, Result},
    server::{Server, Setup, Store},
    stats::quantile,
    usage::Watch,
};

/// Those whose actions both sides have; the third one, `golden-path`, needs our actions for Kubernetes.
const TEMPLATES: [&str; 2] = ["hello-service", "github-service"];
/// Dry runs at the same time.
const AT_ONCE: [u64; 4] = [1, 2, 4, 8];
const REPEATED: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

/// The body of the request: the template, its folder and a form.
fn request(folder: &Path) -> Result<Value> {
    let path = folder.join("template.yaml");
    let text = std::fs::read_to_string(&path).map_err(Error::at(&path))?;
    let template: Value =
        serde_saphyr::from_str(&text).map_err(|error| Error::Failed(format!("{}: {error}", path.display())))?;
    let files: Result<Vec<Value>> = compare::files(folder)?
        .into_keys()
        .map(|name| {
            let path = folder.join(&name);
            let content = std::fs::read(&path).map_err(Error::at(&path))?;
            Ok(json!({"path": name, "base64Content": BASE64_STANDARD.encode(content)}))
        })
        .collect();
    let values = json!({
        "name": "shop-backend", "owner": "group:default/team-a", "description": "Sells things", "port": 9000,
        "repoUrl": "github.com?owner=octo&repo=shop-backend",
    });
    Ok(json!({"template": template, "values": values, "directoryContents": files?}))
}

async fn dry_run(server: &Server, body: &Value) -> Result<Value> {
    let request = server.client.request(reqwest::Method::POST, "/api/scaffolder/v2/dry-run").timeout(LIMIT).json(body);
    let failed = |error: reqwest::Error| Error::Failed(format!("a dry run: {error}"));
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let text = answer.text().await.map_err(failed)?;
    if status != 200 {
        return Err(Error::Failed(format!("{}: a dry run: {status} {text:.2000}", server.side.name())));
    }
    serde_json::from_str(&text).map_err(|error| Error::Failed(error.to_string()))
}

/// What a dry run says, to be compared: its log in any order, its output, its files.
fn outcome(answer: &Value) -> Outcome {
    let log: Vec<Value> = answer["log"].as_array().cloned().unwrap_or_default();
    let mut events = compare::events_in_any_order(&log);
    events.push(answer["output"].clone());
    let files = answer["directoryContents"].as_array().into_iter().flatten();
    let text = |file: &Value, member: &str| file[member].as_str().unwrap_or_default().to_owned();
    let content = |file: &Value| {
        format!("{}{}", text(file, "base64Content"), if file["executable"] == true { " executable" } else { "" })
    };
    let files = files.map(|file| (text(file, "path"), content(file))).collect();
    Outcome { events, files }
}

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("templates");
    let github = json!({"integrations": {"github": [{"host": "github.com", "token": "not-a-token"}]}}).to_string();
    let setup = Setup::open(Store::File).config(github);
    for side in bench.turns(3) {
        let server = Server::start(bench, side, &setup).await?;
        for name in TEMPLATES {
            let body = request(&root.join(name))?;
            for _ in 0..REPEATED {
                dry_run(&server, &body).await?;
            }
            rec.outcome(&format!("a dry run of {name}"), side, outcome(&dry_run(&server, &body).await?))?;
            for at_once in bench.sizes(&AT_ONCE) {
                let watch = Watch::start(&[server.pid])?;
                let mut times = Vec::new();
                for _ in 0..REPEATED {
                    let begun = Instant::now();
                    try_join_all((0..*at_once).map(|_| dry_run(&server, &body))).await?;
                    times.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                rec.push_with(name, *at_once, side.name(), quantile(&times, 0.5), watch.stop()?);
            }
        }
        server.stop().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_templates_are_read_with_their_folders() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("templates");
        for name in TEMPLATES {
            let body = request(&root.join(name)).unwrap();
            assert_eq!(body["template"]["metadata"]["name"], name);
            assert!(body["directoryContents"].as_array().unwrap().len() > 3);
        }
    }
}
