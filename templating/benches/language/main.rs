//! How fast templates render: this crate against Nunjucks 3.2.4 and `nunjitsu` 0.7.0, in one run.
//!
//! `cargo bench -p understudy-templating` prints a table; `-- --json` the same as JSON, `-- --only expressions` one family,
//! `-- --alone` only this crate. As in the benchmark that `nunjitsu` publishes, an engine does 5 operations to warm up and 20 that
//! count, and the engines take turns, each three times and the JavaScript ones in new processes (`--warm-up`, `--rounds`,
//! `--loops`); with many more rounds, those get as fast as V8 can make them. The figures are medians, and all outputs must be equal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
mod oracle;

use std::hint::black_box;
use std::time::{Duration, Instant};

use cases::{Case, EVOLVING_PATH};
use oracle::Kind;
use serde_json::json;
use understudy_templating::{Context, Engine, Template, Value};

fn main() {
    let options = Options::from_arguments();
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| options.only.as_deref().is_none_or(|only| case.name.contains(only)))
        .collect();
    let mut results = Vec::new();
    for case in &cases {
        let ours = Ours::new(case);
        let mut contenders = vec![Contender::new("understudy")];
        let expected = ours.rendered();
        assert_eq!(expected, ours.parsed(), "{}: a template renders differently the second time", case.name);
        for _ in 0..options.loops {
            let mut oracles = if options.alone { Vec::new() } else { oracle::start_all(case) };
            for (at, oracle) in oracles.iter_mut().enumerate() {
                assert!(oracle.output() == expected, "{}: {} renders something else", case.name, oracle.name);
                if contenders.len() == at + 1 {
                    contenders.push(Contender::new(oracle.name));
                }
            }
            for kind in [Kind::FromSource, Kind::Parsed] {
                let rounds = || (0..options.warm_up + options.rounds).map(|round| round >= options.warm_up);
                rounds().for_each(|counts| contenders[0].note(counts, kind, Some(ours.time(kind))));
                for (oracle, contender) in oracles.iter_mut().zip(&mut contenders[1..]) {
                    rounds().for_each(|counts| contender.note(counts, kind, oracle.time(kind)));
                }
            }
        }
        results.push((case, contenders));
    }
    if options.json { print_json(&results) } else { print_table(&results) }
}

struct Options {
    json: bool,
    alone: bool,
    loops: usize,
    rounds: usize,
    warm_up: usize,
    only: Option<String>,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self { json: false, alone: false, loops: 3, rounds: 20, warm_up: 5, only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|number| number.parse().ok()).expect("a number");
            match argument.as_str() {
                "--json" => options.json = true,
                "--alone" => options.alone = true,
                "--loops" => options.loops = number(),
                "--rounds" => options.rounds = number(),
                "--warm-up" => options.warm_up = number(),
                "--only" => options.only = arguments.next(),
                // Cargo says `--bench`.
                _ => {}
            }
        }
        options
    }
}

/// This crate, about to render one case.
struct Ours<'c> {
    case: &'c Case,
    engine: Engine,
    context: Context,
    templates: Vec<Template>,
}

impl<'c> Ours<'c> {
    fn new(case: &'c Case) -> Self {
        let engine = Engine::builder().build();
        let context = Context::try_from(&case.context).expect("template data");
        let templates = case.sources.iter().map(|source| engine.parse(source).expect("a template")).collect();
        Self { case, engine, context, templates }
    }

    fn rendered(&self) -> String {
        self.run(|context| {
            let render = |source: &String| self.engine.render_str(source, context).expect("a render");
            self.case.sources.iter().map(render).collect()
        })
    }

    fn parsed(&self) -> String {
        self.run(|context| self.templates.iter().map(|template| template.render(context).expect("a render")).collect())
    }

    fn run(&self, render: impl Fn(&Context) -> String) -> String {
        if self.case.updates.is_empty() {
            return render(&self.context);
        }
        let updates = self.case.updates.iter().map(|update| {
            let value = Value::from_json(update).expect("template data");
            render(&self.context.with_path(&EVOLVING_PATH, value))
        });
        updates.collect()
    }

    fn time(&self, kind: Kind) -> Duration {
        let start = Instant::now();
        black_box(match kind {
            Kind::FromSource => self.rendered(),
            Kind::Parsed => self.parsed(),
        });
        start.elapsed()
    }
}

/// The times of one engine, in milliseconds.
struct Contender {
    name: &'static str,
    from_source: Vec<f64>,
    parsed: Vec<f64>,
}

impl Contender {
    fn new(name: &'static str) -> Self {
        Self { name, from_source: Vec::new(), parsed: Vec::new() }
    }

    fn note(&mut self, counts: bool, kind: Kind, time: Option<Duration>) {
        if let (true, Some(time)) = (counts, time) {
            self.times_mut(kind).push(time.as_secs_f64() * 1e3);
        }
    }

    fn times_mut(&mut self, kind: Kind) -> &mut Vec<f64> {
        match kind {
            Kind::FromSource => &mut self.from_source,
            Kind::Parsed => &mut self.parsed,
        }
    }

    fn summary(&self, kind: Kind) -> Option<Summary> {
        let mut times = match kind {
            Kind::FromSource => self.from_source.clone(),
            Kind::Parsed => self.parsed.clone(),
        };
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times.get(((times.len() - 1) as f64 * part) as usize).copied();
        if times.is_empty() {
            return None;
        }
        Some(Summary { least: at(0.0)?, low: at(0.1)?, median: at(0.5)?, high: at(0.9)? })
    }
}

/// Milliseconds per operation: the least, the tenth, the half and nine tenths of the rounds.
#[derive(Clone, Copy)]
struct Summary {
    least: f64,
    low: f64,
    median: f64,
    high: f64,
}

fn print_table(results: &[(&Case, Vec<Contender>)]) {
    for (kind, title) in [
        (Kind::FromSource, "From source text to rendered text, milliseconds"),
        (Kind::Parsed, "Parsed once, milliseconds per render"),
    ] {
        println!("{title}\n");
        println!("| family | engine | median | 10 % … 90 % | least | times as long as ours |");
        println!("| --- | --- | ---: | ---: | ---: | ---: |");
        for (case, contenders) in results {
            let ours = contenders[0].summary(kind);
            for contender in contenders {
                let (Some(ours), Some(times)) = (ours, contender.summary(kind)) else { continue };
                let Summary { least, low, median, high } = times;
                println!(
                    "| {} | {} | {median:.3} | {low:.3} … {high:.3} | {least:.3} | {:.1} |",
                    case.name,
                    contender.name,
                    median / ours.median
                );
            }
        }
        println!();
    }
}

fn print_json(results: &[(&Case, Vec<Contender>)]) {
    let shown = |summary: Option<Summary>, ours: Option<Summary>| {
        let (times, ours) = summary.zip(ours)?;
        Some(json!({
            "leastMs": times.least, "p10Ms": times.low, "medianMs": times.median, "p90Ms": times.high,
            "ratio": times.median / ours.median,
        }))
    };
    let families = results.iter().map(|(case, contenders)| {
        let engines = contenders.iter().map(|contender| {
            let kinds = [Kind::FromSource, Kind::Parsed]
                .map(|kind| shown(contender.summary(kind), contenders[0].summary(kind)));
            json!({"engine": contender.name, "fromSource": kinds[0], "parsed": kinds[1]})
        });
        json!({"family": case.name, "about": case.about, "engines": engines.collect::<Vec<_>>()})
    });
    println!("{:#}", json!(families.collect::<Vec<_>>()));
}
