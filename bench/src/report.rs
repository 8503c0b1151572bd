//! The document: aims first, then each workload with its conditions, tables and plots.

use std::{fmt::Write as _, fs, path::Path};

use crate::{
    error::{Error, Result},
    results::{Measured, Metric, OURS, Point, Results, Series, UPSTREAM},
    stats,
    svg::{Line, plot},
    workloads::{ALL, Aim, Better, Figure, Target, Workload},
};

/// Busier than this, figures are marked.
const BUSY: f64 = 0.5;

/// Writes the document and, in a folder of its name beside it, the plots.
pub(crate) fn write(results: &Results, document: &Path) -> Result<()> {
    let plots = document.with_extension("");
    match fs::remove_dir_all(&plots) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::at(&plots)(error)),
        _ => fs::create_dir_all(&plots).map_err(Error::at(&plots))?,
    }
    let folder = plots.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut sections = String::new();
    for workload in ALL {
        if let Some(measured) = results.workloads.get(workload.id) {
            sections.push_str(&section(workload, measured, folder));
            for (name, svg) in drawings(workload, measured) {
                let path = plots.join(name);
                fs::write(&path, svg).map_err(Error::at(&path))?;
            }
        }
    }
    let text = format!("{}{sections}", head(results));
    fs::write(document, text.trim_end().to_owned() + "\n").map_err(Error::at(document))
}

/// A figure with three digits that count, or all that stand before the point.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        value if value < 0.1 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// With a comma before each three digits.
fn grouped(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

/// How many times better ours is.
fn times(better: Better, ours: &Series, other: &Series) -> f64 {
    match better {
        Better::Less => other.median() / ours.median(),
        Better::More => ours.median() / other.median(),
    }
}

fn ratio(better: Better, ours: &Series, other: &Series) -> String {
    let mark = if other.unfinished { "> " } else { "" };
    format!("{mark}{}", number(times(better, ours, other)))
}

fn head(results: &Results) -> String {
    let mut text = String::from(
        "# Performance\n\nEverything here is measured beside `@backstage/plugin-scaffolder-backend` 4.2.0, in one run on the same \
         machine, by `bench/run` (see [Contributing](../CONTRIBUTING.md#performance)), which also writes this page. What counts are \
         the ratios: absolute figures are another machine's tomorrow.\n\n\
         * Both sides get the same configuration, templates and database; one of them runs at a time. Rounds alternate, and every \
         other one begins with upstream. Clients and databases share the processors with the server.\n\
         * Figures are medians of the rounds, with the fastest and the slowest round behind them; none is left out. A ratio is how \
         many times better we are; below 1 we are worse. `>` stands where upstream was not waited for any longer.\n\
         * The sides must do the same: events (but for ids and times), files and lists are compared, and a difference fails the run.\n\
         * Upstream is the smallest backend that can run tasks: catalog, scaffolder and its GitHub module, in production mode; with \
         token and permissions (B) also its auth and permission backends. It runs on Node with better-sqlite3. Both log at level info \
         into a file.\n\
         * PostgreSQL writes to disk before it acknowledges (`fsync`); so do both sides with SQLite.\n\n",
    );
    text.push_str(&environment(results));
    text.push_str("## Aims\n\n| aim | ours | against | ratio | reached |\n| --- | ---: | ---: | ---: | --- |\n");
    for workload in ALL {
        let measured = results.workloads.get(workload.id);
        for aim in workload.aims {
            text.push_str(&aim_row(workload, measured, aim));
        }
    }
    text.push('\n');
    text
}

/// The machine, and under which load what was measured.
fn environment(results: &Results) -> String {
    let mut text = String::new();
    // The newest run speaks for the versions.
    let newest = results.workloads.values().max_by(|a, b| a.conditions.date.cmp(&b.conditions.date));
    let Some(conditions) = newest.map(|measured| &measured.conditions) else {
        return "Nothing has been measured yet.\n\n".to_owned();
    };
    // Writing to a text can't fail.
    let _ = writeln!(
        text,
        "Machine: {}, {} GiB; {}. {}.\n",
        conditions.processor,
        conditions.memory_gib,
        conditions.system,
        conditions.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
    );
    let busy: Vec<&str> = ALL
        .iter()
        .filter(|workload| {
            results.workloads.get(workload.id).is_some_and(|measured| measured.conditions.load_before > BUSY)
        })
        .map(|workload| workload.title)
        .collect();
    if !busy.is_empty() {
        let _ = writeln!(
            text,
            "**The machine was not idle** when these were measured (each section says how busy it was), so their figures tell less: {}.\n",
            busy.join("; ")
        );
    }
    text
}

fn aim_row(workload: &Workload, measured: Option<&Measured>, aim: &Aim) -> String {
    let series = |name: &str, size: u64| measured?.metric(aim.metric)?.at(size)?.series.get(name);
    let Some(figure) = workload.figure(aim.metric) else { return String::new() };
    let not_measured = || format!("| {} | | | | not measured |\n", aim.text);
    let Some(ours) = series(OURS, aim.size) else { return not_measured() };
    let shown = |series: &Series| format!("{} {}", number(series.median()), figure.unit);
    match aim.target {
        Target::Times(wanted, name, size) => {
            let Some(other) = series(name, size) else { return not_measured() };
            let reached = times(figure.better, ours, other) >= wanted;
            let against = format!("{} ({name})", shown(other));
            let ratio = ratio(figure.better, ours, other);
            format!("| {} | {} | {against} | {ratio} | {} |\n", aim.text, shown(ours), yes(reached))
        }
        Target::AtMost(most) => {
            format!(
                "| {} | {} | {} {} | | {} |\n",
                aim.text,
                shown(ours),
                number(most),
                figure.unit,
                yes(ours.median() <= most)
            )
        }
    }
}

fn yes(reached: bool) -> &'static str {
    if reached { "yes" } else { "**no**" }
}

fn section(workload: &Workload, measured: &Measured, folder: &str) -> String {
    let conditions = &measured.conditions;
    let mut text = format!("## {}\n\n{}\n\n", workload.title, workload.about);
    // Writing to a text can't fail.
    let _ = write!(text, "{} UTC", conditions.date);
    if conditions.load_before > BUSY {
        let _ = write!(
            text,
            ", **on a busy machine** ({:.1} processes running or waiting before it began)",
            conditions.load_before
        );
    }
    let rounds = measured.metrics.iter().flat_map(|metric| &metric.points).flat_map(|point| point.series.values());
    let most = rounds.map(|series| series.rounds.len()).max().unwrap_or_default();
    let _ = write!(text, "; up to {most} rounds in {:.0} s", measured.seconds);
    if conditions.quick {
        text.push_str("; **a quick run, to try the harness**");
    }
    text.push_str(".\n\n");
    for figure in workload.figures {
        if let Some(metric) = measured.metric(figure.id) {
            text.push_str(&table(figure, metric));
        }
    }
    for figure in workload.figures {
        let Some(metric) = measured.metric(figure.id) else { continue };
        if metric.points.len() > 1 {
            let _ = writeln!(text, "![{}]({folder}/{}-{}.svg)\n", figure.title, workload.id, figure.id);
        }
    }
    if let Some(sentence) = growth(workload, measured) {
        let _ = writeln!(text, "{sentence}\n");
    }
    for note in &measured.notes {
        let _ = writeln!(text, "* {note}");
    }
    if !measured.compared.is_empty() {
        let _ = writeln!(text, "* The same on both sides: {}.", measured.compared.join("; "));
    }
    text.push('\n');
    text
}

/// A series' name that is neither side's.
fn limits(metric: &Metric) -> Vec<&str> {
    let mut names: Vec<&str> = metric
        .points
        .iter()
        .flat_map(|point| point.series.keys())
        .map(String::as_str)
        .filter(|name| ![OURS, UPSTREAM].contains(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn spread(series: Option<&Series>) -> String {
    let Some(series) = series else { return String::new() };
    let (least, most) = stats::range(&series.rounds);
    let mark = if series.unfinished { "> " } else { "" };
    match series.rounds.len() {
        0 => String::new(),
        1 => format!("{mark}{}", number(series.median())),
        _ => format!("{mark}{} ({} to {})", number(series.median()), number(least), number(most)),
    }
}

/// One number for each side, parted by a slash.
fn both(point: &Point, of: impl Fn(&Series) -> &[f64]) -> String {
    let one = |name: &str| {
        point.series.get(name).map(&of).filter(|values| !values.is_empty()).map(|values| number(stats::median(values)))
    };
    match (one(OURS), one(UPSTREAM)) {
        (None, None) => String::new(),
        (ours, upstream) => format!("{} / {}", ours.unwrap_or_default(), upstream.unwrap_or_default()),
    }
}

fn table(figure: &Figure, metric: &Metric) -> String {
    let limits = limits(metric);
    let all = || metric.points.iter().flat_map(|point| point.series.values());
    let usage = all().any(|series| !series.cpu_seconds.is_empty());
    let mut text = format!(
        "{} ({}; {}):\n\n| {} | ours | upstream | ratio |",
        figure.title,
        figure.unit,
        match figure.better {
            Better::Less => "less is better",
            Better::More => "more is better",
        },
        figure.size
    );
    let mut rule = "| ---: | ---: | ---: | ---: |".to_owned();
    for limit in &limits {
        let _ = write!(text, " {limit} | ours to it |");
        rule.push_str(" ---: | ---: |");
    }
    if usage {
        text.push_str(" CPU s, ours / upstream | peak PSS MiB, ours / upstream |");
        rule.push_str(" ---: | ---: |");
    }
    let _ = writeln!(text, "\n{rule}");
    for point in &metric.points {
        let (ours, upstream) = (point.series.get(OURS), point.series.get(UPSTREAM));
        let compared = |other: Option<&Series>| match (ours, other) {
            (Some(ours), Some(other)) => ratio(figure.better, ours, other),
            _ => String::new(),
        };
        let _ = write!(
            text,
            "| {} | {} | {} | {} |",
            grouped(&point.size.to_string()),
            spread(ours),
            spread(upstream),
            compared(upstream)
        );
        for limit in &limits {
            let limit = point.series.get(*limit);
            let _ = write!(text, " {} | {} |", spread(limit), compared(limit));
        }
        if usage {
            let _ = write!(
                text,
                " {} | {} |",
                both(point, |series| &series.cpu_seconds),
                both(point, |series| &series.peak_mib)
            );
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The points of a series, by unit where that is what stays the same.
fn points(figure: &Figure, metric: &Metric, name: &str) -> Vec<(f64, f64)> {
    let of = |point: &Point| {
        let series = point.series.get(name).filter(|series| !series.unfinished)?;
        let size = point.size as f64;
        Some((size, if figure.by_unit { series.median() / size } else { series.median() }))
    };
    metric.points.iter().filter_map(of).collect()
}

fn drawings(workload: &Workload, measured: &Measured) -> Vec<(String, String)> {
    let mut drawings = Vec::new();
    for figure in workload.figures {
        let Some(metric) = measured.metric(figure.id).filter(|metric| metric.points.len() > 1) else { continue };
        let names = [OURS, UPSTREAM].into_iter().chain(limits(metric));
        let lines: Vec<Line> =
            names.map(|name| Line { name: name.to_owned(), points: points(figure, metric, name) }).collect();
        let unit = if figure.by_unit {
            format!("{} for each of the {}", figure.unit, figure.size)
        } else {
            figure.unit.to_owned()
        };
        if let Some(svg) = plot(&format!("{}: {}", workload.title, figure.title), figure.size, &unit, &lines) {
            drawings.push((format!("{}-{}.svg", workload.id, figure.id), svg));
        }
    }
    drawings
}

/// How ours grows, in words.
fn growth(workload: &Workload, measured: &Measured) -> Option<String> {
    let mut said = Vec::new();
    for figure in workload.figures.iter().filter(|figure| figure.by_unit) {
        let Some(metric) = measured.metric(figure.id) else { continue };
        let whole = Figure { by_unit: false, ..*figure };
        if metric.points.len() < 3 {
            continue;
        }
        let exponent =
            |name: &str| stats::growth(&points(&whole, metric, name)).map(|exponent| format!("{exponent:.2}"));
        if let Some(ours) = exponent(OURS) {
            let upstream =
                exponent(UPSTREAM).map_or(String::new(), |exponent| format!(", upstream's with power {exponent}"));
            said.push(format!("{}: our time grows with power {ours} of the {}{upstream}", figure.title, figure.size));
        }
    }
    (!said.is_empty()).then(|| format!("Growth (1 is linear): {}.", said.join("; ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::machine::Conditions;

    fn measured() -> Measured {
        let conditions = Conditions { date: "2026-01-01 10:00".into(), load_before: 3.0, ..Conditions::default() };
        let mut measured = Measured {
            conditions,
            seconds: 60.0,
            compared: vec!["100 files".into()],
            notes: Vec::new(),
            metrics: Vec::new(),
        };
        for (size, ours, upstream) in [(100, 10.0, 400.0), (1000, 100.0, 4500.0), (10_000, 1100.0, 90_000.0)] {
            measured.series("time", size, OURS).rounds = vec![ours, ours * 1.1, ours * 0.9];
            measured.series("time", size, UPSTREAM).rounds = vec![upstream];
            measured.series("time", size, crate::workloads::copy_name()).rounds = vec![ours * 0.4];
        }
        measured.series("time", 10_000, UPSTREAM).unfinished = true;
        measured.series("time", 100, OURS).cpu_seconds = vec![0.02];
        measured
    }

    #[test]
    fn numbers_are_short() {
        for (value, wanted) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(number(value), wanted);
        }
    }

    #[test]
    fn the_document_says_what_was_measured_and_how() {
        let dir = tempfile::tempdir().unwrap();
        let document = dir.path().join("performance.md");
        let mut results = Results::default();
        results.workloads.insert("fetch-template".into(), measured());
        write(&results, &document).unwrap();
        let text = std::fs::read_to_string(&document).unwrap();
        for wanted in [
            "| 1,000 | 100 (90.0 to 110) | 4,500 | 45.0 | 40.0 | 0.40 |",
            "> 81.8",
            "**The machine was not idle**",
            "**on a busy machine** (3.0",
            "| `fetch:template`, 1,000 files: 40 times faster | 100 ms | 4,500 ms (upstream) | 45.0 | yes |",
            "| `fetch:template`, 1,000 files: within 2 times of a parallel copy | 100 ms | 40.0 ms (parallel copy) | 0.40 | **no** |",
            "not measured",
            "our time grows with power 1.02 of the files, upstream's with power 1.05",
            "![files of 2 KiB](performance/fetch-template-time.svg)",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        assert!(dir.path().join("performance/fetch-template-time.svg").exists());
        // Plots of before are not left behind.
        results.workloads.clear();
        write(&results, &document).unwrap();
        assert!(!dir.path().join("performance/fetch-template-time.svg").exists());
        assert!(std::fs::read_to_string(&document).unwrap().contains("Nothing has been measured yet."));
    }
}
