//! Random templates, evaluated by a reference implementation and by ours.

mod explain;
mod grammar;
mod older;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use understudy_corpus::{Case, Outcome, evaluate};
use understudy_templating::Dialect;

pub use explain::Explanation;

use crate::{Error, Oracle};
use explain::{agree, explain};
use grammar::{Shrinking, Templates};

/// How many cases are on their way to the oracle at once.
const BATCH: usize = 500;

/// A run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What the cases are made from: the same seed gives the same cases.
    pub seed: u64,
    /// How many cases.
    pub cases: usize,
    /// Whom to compare with.
    pub dialect: Dialect,
    /// After how many unexplained differences to stop.
    pub differences: usize,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Cases compared.
    pub cases: usize,
    /// … in which both gave the same value.
    pub values: usize,
    /// … in which both failed the same way.
    pub errors: usize,
    /// … that differ in a way that is known, by the name of the [`Explanation`].
    pub explained: BTreeMap<&'static str, usize>,
    /// The others, cut down.
    pub unexplained: Vec<Unexplained>,
}

/// A difference that nobody has explained.
#[derive(Debug)]
pub struct Unexplained {
    /// The smallest case found.
    pub case: Case,
    /// What ours gave.
    pub ours: Outcome,
    /// What the reference implementation gave.
    pub theirs: Outcome,
}

/// Makes cases and compares.
///
/// # Errors
/// When the oracle cannot be asked.
pub fn differential(oracle: &mut Oracle, settings: &Settings) -> Result<Summary, Error> {
    differential_with(oracle, settings, |_| {})
}

/// As [`differential`], telling of the state now and then.
///
/// # Errors
/// As [`differential`].
pub fn differential_with(
    oracle: &mut Oracle,
    settings: &Settings,
    mut on_batch: impl FnMut(&Summary),
) -> Result<Summary, Error> {
    let mut runner = runner(settings.seed);
    let mut summary = Summary::default();
    while summary.cases < settings.cases && summary.unexplained.len() < settings.differences {
        let count = BATCH.min(settings.cases - summary.cases);
        let trees: Vec<Shrinking> = (0..count)
            .map(|_| Templates.new_tree(&mut runner))
            .collect::<Result<_, _>>()
            .map_err(|reason| Error::Generator(reason.to_string()))?;
        let cases: Vec<Case> = trees.iter().map(Shrinking::current).collect();
        let (theirs, ours) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| oracle.evaluate(settings.dialect, &cases));
            let ours: Vec<Outcome> = cases.iter().map(|case| evaluate(settings.dialect, case)).collect();
            (asked.join(), ours)
        });
        let theirs = theirs.map_err(|_| Error::Process("the thread that asked it panicked".to_owned()))??;
        for (tree, (case, (ours, theirs))) in trees.into_iter().zip(cases.iter().zip(ours.iter().zip(&theirs))) {
            summary.cases += 1;
            match compare(settings.dialect, case, ours, theirs) {
                Verdict::Same if ours.is_error() => summary.errors += 1,
                Verdict::Same => summary.values += 1,
                Verdict::Explained(name) => *summary.explained.entry(name).or_default() += 1,
                Verdict::Different if summary.unexplained.len() < settings.differences => {
                    summary.unexplained.push(smallest(oracle, settings.dialect, tree)?);
                }
                Verdict::Different => {}
            }
        }
        on_batch(&summary);
    }
    Ok(summary)
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

enum Verdict {
    Same,
    Explained(&'static str),
    Different,
}

fn compare(dialect: Dialect, case: &Case, ours: &Outcome, theirs: &Outcome) -> Verdict {
    if agree(dialect, ours, theirs) {
        return Verdict::Same;
    }
    match explain(dialect, case, ours, theirs) {
        Some(explanation) => Verdict::Explained(explanation.name),
        None => Verdict::Different,
    }
}

/// The smallest case that still differs without explanation.
fn smallest(oracle: &mut Oracle, dialect: Dialect, mut tree: Shrinking) -> Result<Unexplained, Error> {
    let mut evaluated = |case: &Case| -> Result<(Outcome, Outcome), Error> {
        let theirs = oracle.evaluate(dialect, std::slice::from_ref(case))?.pop().unwrap_or(Outcome::Died);
        Ok((evaluate(dialect, case), theirs))
    };
    let case = tree.current();
    let (ours, theirs) = evaluated(&case)?;
    let mut found = Unexplained { case, ours, theirs };
    let mut more = tree.simplify();
    while more {
        let case = tree.current();
        let (ours, theirs) = evaluated(&case)?;
        more = if matches!(compare(dialect, &case, &ours, &theirs), Verdict::Different) {
            found = Unexplained { case, ours, theirs };
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    Ok(found)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.unexplained {
            writeln!(f, "{found}\n")?;
        }
        let Self { cases, values, errors, explained, unexplained } = self;
        let known: usize = explained.values().sum();
        writeln!(f, "{cases} cases: {values} equal values, {errors} equal errors, {known} explained differences")?;
        for (name, count) in explained {
            writeln!(f, "  {count} × {name}")?;
        }
        write!(f, "{} unexplained differences", unexplained.len())
    }
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, ours, theirs } = self;
        write!(f, "{:?}\n  ours   {ours}\n  theirs {theirs}", case.source)?;
        let data: serde_json::Map<_, _> = case
            .context
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| case.source.contains(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !data.is_empty() {
            write!(f, "\n  data   {}", serde_json::Value::Object(data))?;
        }
        if case.options != understudy_corpus::Options::default() {
            write!(f, "\n  {:?}", case.options)?;
        }
        Ok(())
    }
}
