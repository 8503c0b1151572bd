//! Runs a counterpart for people who want to try templates without an account.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use understudy_testbed::{
    Error, Result,
    backstage::BackstageDouble,
    github::{DEFAULT_ORG, DEFAULT_TOKEN, DEFAULT_USER, GithubDouble, GithubOptions, Token},
};

/// Servers to try Understudy against, without accounts.
#[derive(Debug, Parser)]
#[command(name = "testbed", version)]
struct Cli {
    #[command(subcommand)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Server {
    /// A GitHub: REST API, Git over HTTPS and archives on one TLS port; everything is gone when it ends.
    Github(Github),
    /// The backend of a Backstage: users' tokens, a catalog, permissions.
    Backstage(Backstage),
}

#[derive(Debug, Args)]
struct Backstage {
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the scaffolder will be
    #[arg(long, default_value = "http://127.0.0.1:7008")]
    scaffolder: String,
    /// Entity to begin with, from a YAML file (may be repeated)
    #[arg(long = "entity", value_name = "FILE")]
    entities: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Github {
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Token to be accepted
    #[arg(long, default_value = DEFAULT_TOKEN, env = "TESTBED_TOKEN")]
    token: String,
    /// Whose token it is
    #[arg(long, default_value = DEFAULT_USER)]
    user: String,
    /// Organisation that the user owns (may be repeated)
    #[arg(long = "org", value_name = "ORG", default_value = DEFAULT_ORG)]
    orgs: Vec<String>,
    /// Repository to begin with, filled from a directory (may be repeated)
    #[arg(long = "seed", value_name = "OWNER/REPO=DIR", value_parser = seed)]
    seeds: Vec<Seed>,
}

#[derive(Debug, Clone)]
struct Seed {
    owner: String,
    repo: String,
    dir: PathBuf,
}

fn seed(text: &str) -> Result<Seed, String> {
    let parts = text.split_once('=').and_then(|(name, dir)| Some((name.split_once('/')?, dir)));
    let ((owner, repo), dir) = parts.ok_or("expected OWNER/REPO=DIR")?;
    Ok(Seed { owner: owner.to_owned(), repo: repo.to_owned(), dir: PathBuf::from(dir) })
}

#[tokio::main]
async fn main() -> ExitCode {
    let ran = match Cli::parse().server {
        Server::Github(args) => github(args).await,
        Server::Backstage(args) => backstage(args).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn github(args: Github) -> Result<()> {
    let mut options =
        GithubOptions::default().port(args.port).user(&args.user).token(Token::new(&args.token, &args.user));
    for org in &args.orgs {
        options = options.org(org, &[&args.user]).team(org, "platform", &[&args.user]);
    }
    let github = GithubDouble::start(options).await?;
    for Seed { owner, repo, dir } in &args.seeds {
        github.seed_repo(owner, repo, dir.as_path()).await?;
    }
    println!("GitHub double: {}  (API: {})", github.web_url(), github.api_url());
    println!("user {}, organisations {}, token {}", args.user, args.orgs.join(", "), args.token);
    println!("CA of its certificate: {}", github.ca_file().display());
    println!("\n# app-config.yaml\n{}", github.app_config());
    println!("export NODE_EXTRA_CA_CERTS={}", github.ca_file().display());
    println!("\nRequests follow; Ctrl-C ends it and removes its repositories.");
    watch(&github).await
}

async fn backstage(args: Backstage) -> Result<()> {
    let backstage = BackstageDouble::start_on(args.port).await?;
    for path in &args.entities {
        let file = |detail: String| Error::File { path: path.clone(), detail };
        let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
        backstage.add_entity(serde_saphyr::from_str(&text).map_err(|error| file(error.to_string()))?);
    }
    backstage.scaffolder_at(&args.scaffolder);
    println!("Backstage double: {}", backstage.url());
    println!("it expects the scaffolder at {}", args.scaffolder);
    println!("token of user:default/guest: {}", backstage.user_token("user:default/guest"));
    println!("\n# app-config.yaml of the scaffolder\n{}", backstage.app_config());
    println!("\nRequests follow; Ctrl-C ends it.");
    let ended = ended();
    tokio::pin!(ended);
    let mut shown = 0;
    loop {
        tokio::select! {
            result = &mut ended => return result,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        let requests = backstage.requests();
        for request in &requests[shown..] {
            let who = request.principal.as_deref().unwrap_or("-");
            println!("{} {} {} ({who})", request.status, request.method, request.path);
        }
        shown = requests.len();
    }
}

/// Prints requests and violations until the process is asked to end.
async fn watch(github: &GithubDouble) -> Result<()> {
    let ended = ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            result = &mut ended => return result,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        for request in github.requests() {
            println!("{} {}", request.status, request.line());
        }
        github.clear_requests();
        for text in github.take_violations() {
            eprintln!("not as GitHub describes it: {text}");
        }
    }
}

/// Ends with Ctrl-C or SIGTERM.
async fn ended() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |source| Error::Io { what: "listening for signals".to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(failed),
        _ = terminate.recv() => Ok(()),
    }
}
