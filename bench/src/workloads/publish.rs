//! Publishing to GitHub, which is the testbed's double: REST API, and Git over HTTPS with real repositories.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{process::Command, time::sleep};
use understudy_testbed::{
    github::{DEFAULT_ORG, GithubDouble, GithubOptions},
    programs,
};

use crate::{
    bench::{Bench, Recorder},
    compare::{self, Outcome},
    error::{Error, Result},
    server::{Server, Setup, Side, Store, TASKS, remove},
    templates,
    usage::Watch,
};

/// The limit's name.
pub(crate) const GIT: &str = "git";

const SIZES: [u64; 4] = [10, 100, 1000, 20_000];
const LIMIT: Duration = Duration::from_secs(120);
/// Sizes beyond are measured in one round.
const LARGE: u64 = 1000;
const ASKED_EACH: Duration = Duration::from_millis(10);

pub(crate) async fn run(bench: &Bench, rec: &mut Recorder) -> Result<()> {
    let github = GithubDouble::start(GithubOptions::default()).await?;
    let folder = bench.dir().join("templates");
    let sizes = bench.sizes(&SIZES);
    let mut files = Vec::new();
    for size in sizes {
        templates::sources(&folder.join(format!("sources-{size}")), *size)?;
        let steps = json!([
            {"id": "fetch", "name": "Fetch", "action": "fetch:plain", "input": {"url": format!("./sources-{size}")}},
            {"id": "publish", "name": "Publish", "action": "publish:github", "input": {
                "repoUrl": "${{ parameters.repoUrl }}", "protectDefaultBranch": false, "defaultBranch": "main",
                "gitCommitMessage": "Start", "gitAuthorName": "Bench", "gitAuthorEmail": "bench@example.com",
            }},
        ]);
        files.push(templates::template(&folder, &format!("publish-{size}"), &steps)?);
    }
    let mut setup = Setup::open(Store::File).templates(files).config(github.app_config());
    setup.ca = Some(github.ca_file().to_owned());
    for (turn, side) in bench.turns(3).enumerate() {
        let server = Server::start(bench, side, &setup).await?;
        for warm in 0..2 {
            publish(&server, &github, sizes[0], &format!("warm-{turn}-{warm}")).await?;
        }
        for size in sizes {
            if *size > LARGE && turn > 1 && side == Side::Upstream {
                continue;
            }
            let name = format!("made-{turn}-{size}");
            let watch = Watch::start(&[server.pid])?;
            let (id, took) = publish(&server, &github, *size, &name).await?;
            let usage = watch.stop()?;
            let figure = took.unwrap_or(LIMIT).as_secs_f64() * 1000.0;
            rec.push_with("time", *size, side.name(), figure, usage);
            if took.is_none() {
                rec.unfinished("time", *size, side.name());
                server.cancel(&id).await?;
                break;
            }
            if turn < 2 && *size <= LARGE {
                let events = compare::events(&server.events(&id).await?);
                let events = events.into_iter().map(|event| without_name(event, &name)).collect();
                let tree = tree(bench, &github, &name).await?;
                rec.outcome(
                    &format!("publish:github of {size} files"),
                    side,
                    Outcome { events, files: [("tree".to_owned(), tree)].into() },
                )?;
            }
            if side == Side::Ours {
                let took =
                    with_git(bench, &github, &folder.join(format!("sources-{size}")), &format!("git-{turn}-{size}"))
                        .await?;
                rec.push("time", *size, GIT, took.as_secs_f64() * 1000.0);
            }
        }
        server.stop().await?;
    }
    let violations = github.take_violations();
    if !violations.is_empty() {
        return Err(Error::Failed(format!("requests that GitHub would refuse: {violations:?}")));
    }
    rec.measured.notes.push(format!(
        "Upstream's runs beyond {LARGE} files are measured in the first round alone; what takes longer than {} s is not waited for. \
         The server's share (`git http-backend`, which unpacks what comes) is part of all three.",
        LIMIT.as_secs()
    ));
    Ok(())
}

/// An event without the repository's name, which is another one each time.
fn without_name(event: Value, name: &str) -> Value {
    let text = event.to_string().replace(name, "<repository>");
    let text = match (text.find("\"commitHash\":\""), text.len()) {
        (Some(at), length) if at + 54 <= length => format!("{}<commit>{}", &text[..at + 14], &text[at + 54..]),
        _ => text,
    };
    Value::String(text)
}

/// Runs the task; gives its id and how long its second step took.
async fn publish(server: &Server, github: &GithubDouble, size: u64, name: &str) -> Result<(String, Option<Duration>)> {
    let repo_url = github.repo_url(DEFAULT_ORG, name);
    let id = server.create(&format!("publish-{size}"), &json!({"repoUrl": repo_url})).await?;
    let created = Instant::now();
    let mut begun = None;
    loop {
        if begun.is_none() {
            let events = server.events(&id).await?;
            if events.iter().any(|event| event["body"]["message"] == "Beginning step Publish") {
                begun = Some(Instant::now());
            }
        }
        let events = server.get(&format!("{TASKS}/{id}")).await?;
        let status = events["status"].as_str().unwrap_or_default().to_owned();
        if !matches!(&*status, "open" | "processing") {
            // Says what was wrong when it did not succeed.
            server.is_completed(&id).await?;
            return Ok((id, Some(begun.unwrap_or(created).elapsed())));
        }
        if created.elapsed() > LIMIT {
            return Ok((id, None));
        }
        sleep(ASKED_EACH).await;
    }
}

/// The tree of what was published: equal trees have equal files.
async fn tree(bench: &Bench, github: &GithubDouble, name: &str) -> Result<String> {
    let clone = bench.dir().join("clone");
    remove(&clone)?;
    github.clone_to(&clone, DEFAULT_ORG, name, "main").await?;
    let mut git = Command::new(programs::find("git")?);
    let printed = programs::output(git.arg("-C").arg(&clone).args(["rev-parse", "HEAD^{tree}"])).await?;
    remove(&clone)?;
    Ok(String::from_utf8_lossy(&printed).trim().to_owned())
}

/// Does the same with git: a commit of the folder's files, pushed to a new repository.
async fn with_git(bench: &Bench, github: &GithubDouble, files: &Path, name: &str) -> Result<Duration> {
    let repository = bench.dir().join("repository");
    remove(&repository)?;
    programs::output(Command::new("cp").arg("-r").arg(files).arg(&repository)).await?;
    let created = github.client()?.post(&format!("/orgs/{DEFAULT_ORG}/repos"), &json!({"name": name})).await?;
    if created.status != 201 {
        return Err(Error::Failed(format!("creating a repository: {} {}", created.status, created.text())));
    }
    let begun = Instant::now();
    for arguments in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "."],
        &["-c", "user.name=Bench", "-c", "user.email=bench@example.com", "commit", "--quiet", "--message", "Start"],
        &["push", "--quiet", &format!("{}/{DEFAULT_ORG}/{name}.git", github.web_url()), "main"],
    ] {
        programs::output(github.git(github.token()).current_dir(&repository).args(arguments)).await?;
    }
    let took = begun.elapsed();
    remove(&repository)?;
    Ok(took)
}
