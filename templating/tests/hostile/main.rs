//! Templates that ask for much with little. Each has to end, in an error or with a result, within bounds of memory that
//! this test's allocator measures, on a stack of 2 MiB, in every engine it is meant for.
//!
//! `cargo test --release -p understudy-templating --test hostile -- --ignored --nocapture` prints what each of them took.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;

use std::alloc::System;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};
use serde_json::json;
use understudy_templating::{Context, Definition, DefinitionKind, Engine, Error, ErrorKind};

use self::cases::{Case, Outcome};

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What one parse and render may have allocated at any time, in bytes, besides the source and the context.
const MAX_PEAK: usize = 100_000_000;
/// After this a template counts as one that doesn't end. It is no measure of speed: tests run unoptimised and beside others.
const HANG: Duration = Duration::from_secs(120);
/// As in the threads of a server.
const STACK: usize = 2 << 20;

fn engine(case: &Case) -> Engine {
    let engine = Engine::builder()
        .dialect(case.dialect)
        .cookiecutter(case.cookiecutter)
        .tags("${{", "}}")
        .trim_blocks(case.trims)
        .lstrip_blocks(case.trims)
        .build();
    let definition = |kind, name, expression| Definition { kind, name, expression };
    engine
        .with_definitions(&[
            definition(DefinitionKind::Filter, "again", "args[0] | again"),
            definition(DefinitionKind::Function, "fan", "fan(args[0] + 1) ~ fan(args[0] + 1)"),
            definition(DefinitionKind::Function, "ping", "pong(args[0])"),
            definition(DefinitionKind::Function, "pong", "ping([args[0], args[0]])"),
            definition(DefinitionKind::Filter, "twice", "args[0] ~ args[0]"),
        ])
        .unwrap()
}

/// What came of a template: the length of its result, or the error.
fn run(engine: &Engine, source: &str, context: &Context) -> Result<usize, Error> {
    let template = engine.parse(source)?;
    let text = template.render(context).map(|text| text.len());
    // As a value it may fail where a text does not, and the other way round.
    let value = template.render_value(context).map(|value| value.as_str().map_or(0, str::len));
    text.and(value)
}

/// The result of a measured run on a stack of its own, with the bytes it had at most.
fn measured<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, usize, Duration), String> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        ALLOCATOR.reset_peak_memory();
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let _ = sender.send((result, ALLOCATOR.get_peak_memory(), took));
    });
    match receiver.recv_timeout(HANG) {
        Ok(measured) => Ok(measured),
        Err(RecvTimeoutError::Timeout) => Err(format!("{name}: no end in sight")),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{name}: {:?}", thread.unwrap().join().unwrap_err())),
    }
}

/// Every template in its turn; of `HOSTILE_ONLY`, if that is set, those with it in their names. What is measured is the
/// whole process, so only one of the tests may run at a time.
fn check(select: impl Fn(usize, &Case) -> bool) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failures = Vec::new();
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    // The sources are large, too: they must not be made while another test measures.
    let cases = cases::all().into_iter().enumerate().filter(|(index, case)| select(*index, case));
    for (_, case) in cases.filter(|(_, case)| case.name.contains(&only)) {
        let label = format!("{} ({})", case.name, case.dialect);
        let engine = engine(&case);
        let context = Context::try_from(&json!({
            "s": "x", "word": "a".repeat(20_000), "data": {"list": [3, 1, 2], "name": "n"},
        }))
        .unwrap();
        let Case { source, outcome, .. } = case;
        let (rendering, inspecting) = (engine.clone(), engine);
        let inspected = source.clone();
        let rendered = measured(&label, move || run(&rendering, &source, &context));
        let inspected = measured(&label, move || drop(inspecting.inspect(&inspected)));
        let ((result, peak, took), (_, inspect_peak, inspect_took)) = match (rendered, inspected) {
            (Ok(rendered), Ok(inspected)) => (rendered, inspected),
            (rendered, inspected) => {
                failures.extend([rendered.err(), inspected.err()].into_iter().flatten());
                println!("{label}: no end");
                continue;
            }
        };
        let said = match &result {
            Ok(length) => format!("{length} bytes"),
            Err(error) => {
                let mut message = error.to_string();
                message.truncate(message.floor_char_boundary(110));
                message
            }
        };
        println!(
            "{:>6.3} s {:>6.1} MB | inspect {:>6.3} s {:>6.1} MB | {label}: {said}",
            took.as_secs_f64(),
            peak as f64 / 1e6,
            inspect_took.as_secs_f64(),
            inspect_peak as f64 / 1e6,
        );
        let as_expected = match (&result, outcome) {
            (_, Outcome::Any) => true,
            (Err(error), Outcome::Limit) => matches!(error.kind(), ErrorKind::Limit(_)),
            (Err(error), Outcome::Error(text)) => error.to_string().contains(text),
            (Ok(_), Outcome::Fine) => true,
            _ => false,
        };
        if !as_expected {
            failures.push(format!("{label}: {outcome:?} expected, but: {said}"));
        }
        for (what, peak) in [("rendering", peak), ("inspecting", inspect_peak)] {
            if peak > MAX_PEAK {
                failures.push(format!("{label}: {what} took {} MB", peak / 1_000_000));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn templates_that_every_engine_is_asked_about_end_within_bounds() {
    check(|_, case| case.is_famous);
}

#[test]
fn some_hostile_templates_end_within_bounds() {
    check(|index, _| index % 31 == 0);
}

#[test]
#[ignore = "takes minutes; run it with --release"]
fn all_hostile_templates_end_within_bounds() {
    check(|_, _| true);
}
