//! What a run looks like while it happens: a line with a spinner for each step on a terminal, plain lines elsewhere.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::tasks::log::{LogEvent, StepStatus};

/// Shows a run on standard error.
pub(super) struct View {
    bars: Option<MultiProgress>,
    steps: Mutex<HashMap<String, Step>>,
}

struct Step {
    name: String,
    bar: Option<ProgressBar>,
    started: Option<Instant>,
}

impl View {
    /// A view of these steps (id and name).
    pub(super) fn new(steps: impl IntoIterator<Item = (String, String)>) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let steps = steps
            .into_iter()
            .map(|(id, name)| {
                let bar = bars.as_ref().map(|bars| {
                    let bar = bars.add(ProgressBar::new_spinner()).with_message(format!("  {name}"));
                    bar.set_style(style("{msg:.dim}"));
                    bar.tick();
                    bar
                });
                (id, Step { name, bar, started: None })
            })
            .collect();
        Self { bars, steps: Mutex::new(steps) }
    }

    /// Shows an event.
    pub(super) fn show(&self, event: &LogEvent) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(step) = event.step_id.as_deref().and_then(|id| steps.get_mut(id)) else {
            return self.line(&printable(&event.message, self.bars.is_some()));
        };
        match event.status {
            Some(StepStatus::Processing) => {
                step.started = Some(Instant::now());
                match &step.bar {
                    Some(bar) => {
                        bar.set_style(style("{spinner} {msg}"));
                        bar.set_message(step.name.clone());
                        bar.enable_steady_tick(Duration::from_millis(100));
                    }
                    None => self.line(&format!("{}: started", step.name)),
                }
            }
            Some(status) => {
                let took = step.started.map_or(Duration::ZERO, |started| started.elapsed());
                let (sign, word) = match status {
                    StepStatus::Completed => ('✓', "done"),
                    StepStatus::Failed => ('✗', "failed"),
                    StepStatus::Skipped | StepStatus::Processing => ('–', "skipped"),
                };
                // The text of a completion says no more than the status; that of a failure is the error.
                if status != StepStatus::Completed {
                    self.line(&format!("{}: {}", step.name, printable(&event.message, self.bars.is_some())));
                }
                match &step.bar {
                    Some(bar) => {
                        bar.set_style(style("{msg}"));
                        bar.finish_with_message(format!("{sign} {} ({:.1} s)", step.name, took.as_secs_f64()));
                    }
                    None if status != StepStatus::Skipped => {
                        self.line(&format!("{}: {word} in {:.1} s", step.name, took.as_secs_f64()));
                    }
                    None => {}
                }
            }
            None => self.line(&format!("{}: {}", step.name, printable(&event.message, self.bars.is_some()))),
        }
    }

    /// Leaves the last state on the screen.
    pub(super) fn finish(&self) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for step in steps.values() {
            if let Some(bar) = step.bar.as_ref().filter(|bar| !bar.is_finished()) {
                bar.set_style(style("{msg:.dim}"));
                bar.abandon_with_message(format!("  {}", step.name));
            }
        }
    }

    fn line(&self, text: &str) {
        // Nobody is left to be told when standard error is gone.
        let _ = match &self.bars {
            Some(bars) => bars.println(text),
            None => writeln!(std::io::stderr(), "{text}"),
        };
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A log text without anything that moves a terminal's cursor or changes its state; colours stay where they are wanted.
fn printable(text: &str, colors: bool) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\u{1b}' {
            let Some(sequence) = rest.strip_prefix('[') else { continue };
            let end = sequence.find(|c: char| !matches!(c, '0'..='9' | ';')).unwrap_or(sequence.len());
            if sequence[end..].starts_with('m') {
                if colors {
                    out.push_str("\u{1b}[");
                    out.push_str(&sequence[..=end]);
                }
                rest = &sequence[end + 1..];
            }
        } else if !c.is_control() || matches!(c, '\n' | '\t') {
            out.push(c);
        }
    }
    out.into()
}

/// Ids and names of a template's steps, as the engine gives them.
pub(super) fn steps(steps: &[serde_json::Map<String, Value>]) -> Vec<(String, String)> {
    let text = |step: &serde_json::Map<String, Value>, key: &str| {
        step.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_string)).unwrap_or_default()
    };
    steps.iter().map(|step| (text(step, "id"), printable(&text(step, "name"), false).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_left_alone() {
        for (text, colored, plain) in [
            ("\u{1b}[32minfo\u{1b}[39m: a", "\u{1b}[32minfo\u{1b}[39m: a", "info: a"),
            ("a\u{1b}[2Jb\u{1b}]0;title\u{7}c\rd", "a[2Jb]0;titlecd", "a[2Jb]0;titlecd"),
            ("line\n\tnext", "line\n\tnext", "line\n\tnext"),
            ("é\u{1b}", "é", "é"),
        ] {
            assert_eq!(printable(text, true), colored, "{text:?}");
            assert_eq!(printable(text, false), plain, "{text:?}");
        }
    }
}
