//! Measures the service beside Backstage's own scaffolder backend, in one run on the same machine, and writes the document.
//!
//! `bench/run` builds what is needed and starts this. Both sides run alternately, with the same configuration, templates and
//! databases; what they do is compared, and a difference fails the run. Results are kept in one JSON document, to which each run
//! adds the workloads it ran, so that a long run can be made in pieces.

mod bare;
mod bench;
mod compare;
mod error;
mod gate;
mod load;
mod machine;
mod report;
mod results;
mod server;
mod stats;
mod svg;
mod templates;
mod usage;
mod workloads;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use tokio::process::Command;
use understudy_testbed::programs;

use crate::{
    bench::{Bench, Recorder},
    error::{Error, Result},
    results::{Measured, Results},
    workloads::{ALL, Workload},
};

/// Measures Understudy beside Backstage's own scaffolder backend. Without options it runs every workload and writes the document.
#[derive(Debug, Parser)]
#[command(name = "understudy-bench", version)]
struct Cli {
    /// Runs every workload; the default
    #[arg(long, conflicts_with_all = ["only", "report", "list"])]
    all: bool,
    /// Runs this workload (may be repeated); the results of the others stay
    #[arg(long, value_name = "WORKLOAD", conflicts_with = "list")]
    only: Vec<String>,
    /// Lists the workloads with the minutes that each takes on two idle cores
    #[arg(long)]
    list: bool,
    /// Only writes the document again from the results
    #[arg(long, conflicts_with_all = ["only", "list", "quick"])]
    report: bool,
    /// The smallest sizes in one round, to try the harness; writes no document
    #[arg(long)]
    quick: bool,
    /// Most rounds of each workload; expensive ones make fewer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Where results are kept; with --quick a file beside the binary unless given
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// The document; plots go to a folder of its name
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    if cli.list {
        for workload in ALL {
            println!("{:24} {:4} min  {}", workload.id, workload.minutes, workload.title);
        }
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let document = cli.document.unwrap_or_else(|| root.join("docs/performance.md"));
    let kept = match cli.results {
        Some(path) => path,
        None if cli.quick => {
            std::env::current_exe().map_err(Error::io("finding this program"))?.with_file_name("quick.json")
        }
        None => root.join("docs/performance.json"),
    };
    let mut results = Results::read(&kept)?;
    if !cli.report {
        let chosen = chosen(&cli.only)?;
        let bench = Bench::new(usize::from(cli.rounds), cli.quick).await?;
        let versions = versions(&bench).await?;
        for workload in chosen {
            let measured = measure(&bench, workload, usize::from(cli.rounds), cli.quick, &versions).await?;
            results.workloads.insert(workload.id.to_owned(), measured);
            // What is done is kept, whatever becomes of the rest.
            results.write(&kept)?;
        }
    }
    if !cli.quick {
        report::write(&results, &document)?;
        eprintln!("wrote {}", document.display());
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Workload>> {
    if only.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |id: &String| {
        let known = || ALL.iter().map(|workload| workload.id).collect::<Vec<_>>().join(", ");
        ALL.iter()
            .find(|workload| workload.id == id)
            .ok_or_else(|| Error::Failed(format!("there is no workload `{id}`; there are {}", known())))
    };
    only.iter().map(find).collect()
}

async fn measure(
    bench: &Bench,
    workload: &Workload,
    rounds: usize,
    quick: bool,
    versions: &[(String, String)],
) -> Result<Measured> {
    eprintln!("{} ({})", workload.title, workload.id);
    let conditions = machine::Conditions { rounds, quick, versions: versions.to_vec(), ..machine::now() };
    let begun = Instant::now();
    let mut recorder = Recorder::new(Measured {
        conditions,
        seconds: 0.0,
        compared: Vec::new(),
        notes: Vec::new(),
        metrics: Vec::new(),
    });
    workload.run(bench, &mut recorder).await?;
    let mut measured = recorder.finish()?;
    measured.seconds = begun.elapsed().as_secs_f64();
    eprintln!("  {:.0} s", measured.seconds);
    Ok(measured)
}

/// Everything that takes part, with its version.
async fn versions(bench: &Bench) -> Result<Vec<(String, String)>> {
    let said = async |command: &mut Command| -> Result<String> {
        let output = programs::output(command).await?;
        let text = String::from_utf8_lossy(&output).trim().to_owned();
        // `program 1.2.3 …`
        Ok(text
            .split_whitespace()
            .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
            .unwrap_or(&text)
            .to_owned())
    };
    let upstream = bench.upstream();
    Ok(vec![
        ("Understudy".to_owned(), said(Command::new(bench.binary()).arg("--version")).await?),
        ("scaffolder-backend".to_owned(), upstream.version("@backstage/plugin-scaffolder-backend")?),
        ("backend-defaults".to_owned(), upstream.version("@backstage/backend-defaults")?),
        ("Node".to_owned(), upstream.node_version()?),
        ("better-sqlite3".to_owned(), upstream.version("better-sqlite3")?),
        ("PostgreSQL".to_owned(), bench.postgres().await?.version().await?),
        ("git".to_owned(), said(Command::new(programs::find("git")?).arg("--version")).await?),
    ])
}
