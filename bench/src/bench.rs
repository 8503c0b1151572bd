//! What all workloads share: where everything is, and how results are taken down.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::sync::OnceCell;
use understudy_testbed::{postgres::Postgres, upstream::Upstream};

use crate::{
    compare::{self, Outcome},
    error::{Error, Result},
    results::Measured,
    server::Side,
    usage::Usage,
};

/// The bench.
pub(crate) struct Bench {
    upstream: Upstream,
    binary: PathBuf,
    dir: tempfile::TempDir,
    postgres: OnceCell<Postgres>,
    rounds: usize,
    quick: bool,
    counter: AtomicU32,
}

impl Bench {
    /// Finds what is to be measured: our binary beside this one, upstream's packages.
    pub(crate) async fn new(rounds: usize, quick: bool) -> Result<Self> {
        let own = std::env::current_exe().map_err(Error::io("finding this program"))?;
        let binary = own.with_file_name("understudy");
        if !binary.is_file() {
            let what = format!("{} is not there: build the whole workspace, or use bench/run", binary.display());
            return Err(Error::Failed(what));
        }
        let upstream = Upstream::installed().await?;
        let dir = tempfile::Builder::new()
            .prefix("understudy-bench-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?;
        let bench =
            Self { upstream, binary, dir, postgres: OnceCell::new(), rounds, quick, counter: AtomicU32::new(0) };
        fs::create_dir(bench.dir().join("templates")).map_err(Error::at(bench.dir()))?;
        Ok(bench)
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// A directory that goes with the bench.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Smallest sizes only.
    pub(crate) fn quick(&self) -> bool {
        self.quick
    }

    /// A number that nobody got before.
    pub(crate) fn next(&self) -> u32 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// The PostgreSQL server of both sides; it writes to disk before it acknowledges.
    pub(crate) async fn postgres(&self) -> Result<&Postgres> {
        Ok(self.postgres.get_or_try_init(Postgres::start_durable).await?)
    }

    /// Rounds of a workload that takes its time; one when it is to be quick.
    pub(crate) fn rounds(&self, most: usize) -> usize {
        if self.quick { 1 } else { self.rounds.min(most) }
    }

    /// The sizes to measure; the smallest when it is to be quick.
    pub(crate) fn sizes<'a>(&self, sizes: &'a [u64]) -> &'a [u64] {
        if self.quick { &sizes[..1] } else { sizes }
    }

    /// All rounds: in every other one upstream comes first.
    pub(crate) fn turns(&self, most: usize) -> impl Iterator<Item = Side> + use<> {
        (0..self.rounds(most)).flat_map(|round| match round % 2 {
            0 => [Side::Ours, Side::Upstream],
            _ => [Side::Upstream, Side::Ours],
        })
    }
}

/// Takes down what a workload finds.
pub(crate) struct Recorder {
    /// What was taken down so far.
    pub(crate) measured: Measured,
    outcomes: Vec<(String, [Option<Outcome>; 2])>,
}

impl Recorder {
    pub(crate) fn new(measured: Measured) -> Self {
        Self { measured, outcomes: Vec::new() }
    }

    /// A figure of one round.
    pub(crate) fn push(&mut self, metric: &str, size: u64, series: &str, figure: f64) {
        eprintln!("  {metric} {size} {series}: {figure:.3}");
        self.measured.series(metric, size, series).rounds.push(figure);
    }

    /// A figure of one round, and what the side used for it.
    pub(crate) fn push_with(&mut self, metric: &str, size: u64, series: &str, figure: f64, usage: Usage) {
        self.push(metric, size, series, figure);
        let series = self.measured.series(metric, size, series);
        series.cpu_seconds.push(usage.cpu_seconds);
        series.peak_mib.push(usage.peak_mib);
    }

    /// The last round of a series was ended by the time limit.
    pub(crate) fn unfinished(&mut self, metric: &str, size: u64, series: &str) {
        eprintln!("  {metric} {size} {series}: not finished");
        self.measured.series(metric, size, series).unfinished = true;
    }

    /// Whether a series has been ended by the time limit before: it need not be tried again.
    pub(crate) fn is_unfinished(&mut self, metric: &str, size: u64, series: &str) -> bool {
        self.measured.series(metric, size, series).unfinished
    }

    /// Remembers what a side did; when the other side's is there, they must be the same.
    pub(crate) fn outcome(&mut self, what: &str, side: Side, outcome: Outcome) -> Result<()> {
        let at = match self.outcomes.iter().position(|(known, _)| known == what) {
            Some(at) => at,
            None => {
                self.outcomes.push((what.to_owned(), [None, None]));
                self.outcomes.len() - 1
            }
        };
        let pair = &mut self.outcomes[at].1;
        pair[usize::from(side == Side::Upstream)] = Some(outcome);
        if let [Some(ours), Some(upstream)] = pair {
            compare::same(what, ours, upstream)?;
            let (events, files) = (ours.events.len(), ours.files.len());
            let text = if files == 0 {
                format!("{what}: {events} events")
            } else {
                format!("{what}: {events} events, {files} files")
            };
            if !self.measured.compared.contains(&text) {
                self.measured.compared.push(text);
            }
        }
        Ok(())
    }

    /// Fails when something was looked at on one side only.
    pub(crate) fn finish(self) -> Result<Measured> {
        match self.outcomes.iter().find(|(_, pair)| pair.iter().any(Option::is_none)) {
            Some((what, _)) => Err(Error::Failed(format!(
                "{what} was looked at on one side only; there is nothing to compare it with"
            ))),
            None => Ok(self.measured),
        }
    }
}
