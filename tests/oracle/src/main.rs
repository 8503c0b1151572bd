//! Works on the corpus from the command line.

use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use understudy_oracle::{Error, Oracle, Report, Settings, differential_with, record};
use understudy_templating::Dialect;

/// Holds the template language against its reference implementations.
#[derive(Debug, Parser)]
#[command(name = "understudy-oracle", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate the corpus with both reference implementations and with ours, and print how far they agree.
    Report,
    /// Evaluate random templates with a reference implementation and with ours
    Differential {
        /// How many
        #[arg(long, default_value_t = 200_000)]
        cases: usize,
        /// What they are made from; the same seed gives the same templates. Random when it is not given
        #[arg(long)]
        seed: Option<u64>,
        /// Whom to compare with: nunjitsu or nunjucks-3
        #[arg(long, default_value_t = Dialect::Nunjitsu)]
        dialect: Dialect,
        /// After how many unexplained differences to stop
        #[arg(long, default_value_t = 20)]
        differences: usize,
    },
    /// Write what the reference implementations give into the corpus. Review the difference before it is committed.
    Record {
        /// Features to write; all of them when none is named
        features: Vec<String>,
        /// Write new rows only; leave those alone that have a result
        #[arg(long)]
        new: bool,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, Error> {
    match command {
        Command::Report => {
            let report = Report::of_corpus(&mut Oracle::start()?)?;
            println!("{report}");
            let found: Vec<&String> = report.stale.iter().chain(&report.differences).collect();
            found.iter().for_each(|line| println!("{line}"));
            if !found.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Differential { cases, seed, dialect, differences } => {
            let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
            println!("seed {seed}");
            let settings = Settings { seed, cases: *cases, dialect: *dialect, differences: *differences };
            // A template that hangs should not keep the others waiting for long.
            let mut oracle = Oracle::start()?.with_patience(Duration::from_secs(5));
            let summary = differential_with(&mut oracle, &settings, |so_far| {
                if so_far.cases % 10_000 == 0 {
                    eprintln!("{} cases, {} unexplained", so_far.cases, so_far.unexplained.len());
                }
            })?;
            println!("{summary}");
            if !summary.unexplained.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Record { features, new } => {
            for changed in record(&mut Oracle::start()?, features, *new)? {
                println!("{changed}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
