//! `understudy validate`: everything that can be said about templates without running them.
//!
//! What would fail, or could never do what it says, is an error; what runs, though hardly as it was meant, is a warning.
//! A warning may be wrong about a template, an error must not be: where something outside the template decides (the
//! run's values, custom code of a form), nothing is said.

mod document;
mod expression;
mod finding;
mod form;
mod positions;
mod skeleton;

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};
use understudy_actions_core::templating::Templating;
use understudy_scm::Scm;
use understudy_sdk::Registry;

use self::{
    document::{Check, Checker},
    expression::Language,
    finding::{Finding, Format, Severity},
    positions::{Place, Positions},
    skeleton::Skeleton,
};
use super::{
    Failure,
    source::{self, Source},
};
use crate::{
    app::Parts,
    tasks::beta2,
    yaml::{self, Document},
};

/// The arguments of `understudy validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Files, directories with a template.yaml, or URLs of an integration
    #[arg(required = true)]
    templates: Vec<String>,
    /// How findings are written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Fail for warnings too
    #[arg(long)]
    strict: bool,
    /// Whether text shows the lines of the source
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    snippets: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal
    Auto,
    Always,
    Never,
}

/// Checks each template; all findings go to standard output, what came of it to standard error.
///
/// # Errors
/// [`Failure::Input`] when there is an error, or, if that is asked for, a warning.
pub(super) async fn run(parts: &Parts, args: &ValidateArgs) -> Result<(), Failure> {
    let validator = Validator::new(parts.registry().clone(), parts.templating(), parts.scm());
    let mut stdout = std::io::stdout();
    let snippets = match args.snippets {
        When::Auto => stdout.is_terminal(),
        When::Always => true,
        When::Never => false,
    };
    let mut all = Vec::new();
    let mut wrong = 0;
    for argument in &args.templates {
        let findings = match source::read(parts.scm(), argument).await {
            Ok(source) => validator.check(&source).await,
            Err(Failure::Input(text) | Failure::Task(text)) => vec![unreadable(argument, &text)],
        };
        let fails = |finding: &Finding| finding.severity == Severity::Error || args.strict;
        wrong += usize::from(findings.iter().any(fails));
        if args.format == Format::Text {
            let text = match findings.is_empty() {
                true => format!("{argument}: ok\n"),
                false => args.format.write(&findings, snippets),
            };
            // Nobody is left to be told when standard output is gone.
            let _ = stdout.write_all(text.as_bytes());
        }
        all.extend(findings);
    }
    if args.format != Format::Text {
        let _ = stdout.write_all(args.format.write(&all, snippets).as_bytes());
    }
    let count = |severity| all.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let counts = format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"));
    match wrong {
        0 if warnings == 0 => Ok(()),
        0 => {
            let _ = writeln!(std::io::stderr(), "{counts}");
            Ok(())
        }
        1 => Err(Failure::Input(format!("1 template is not valid: {counts}"))),
        _ => Err(Failure::Input(format!("{wrong} templates are not valid: {counts}"))),
    }
}

fn unreadable(argument: &str, text: &str) -> Finding {
    let message = text.strip_prefix(argument).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text);
    whole_file(argument, "unreadable", message.to_string())
}

fn whole_file(file: &str, code: &'static str, message: String) -> Finding {
    Finding { file: file.into(), place: None, severity: Severity::Error, code, message, hint: None, source: None }
}

/// Checks templates.
struct Validator<'a> {
    checker: Checker,
    templating: &'a Templating,
    scm: &'a Scm,
}

impl<'a> Validator<'a> {
    fn new(registry: Registry, templating: &'a Templating, scm: &'a Scm) -> Self {
        let status = |_: &[understudy_templating::Value]| Ok(understudy_templating::Value::Undefined);
        let values = templating.values().with_global_fn("always", status).with_global_fn("failure", status);
        Self {
            checker: Checker { registry, values: Language::new(values), helpers: beta2::helpers(scm) },
            templating,
            scm,
        }
    }

    /// All that is wrong with a file and the files that its steps render, in the order of files and places.
    async fn check(&self, source: &Source) -> Vec<Finding> {
        let (mut findings, skeletons) = self.check_documents(source);
        for skeleton in &skeletons {
            findings.extend(skeleton.check(self.scm, self.templating, &source.origin).await);
        }
        // The template itself comes first.
        findings.sort_by(|a, b| (a.file != source.shown, a).cmp(&(b.file != source.shown, b)));
        findings.dedup();
        findings
    }

    fn check_documents(&self, source: &Source) -> (Vec<Finding>, Vec<Skeleton>) {
        let documents = match read(source) {
            Ok(documents) => documents,
            Err(finding) => return (vec![*finding], Vec::new()),
        };
        let positions = Positions::of_documents(&source.text);
        let unknown = Positions::default();
        let (mut findings, mut skeletons) = (Vec::new(), Vec::new());
        for document in &documents {
            let mut check = Check {
                checker: &self.checker,
                file: &source.shown,
                text: &source.text,
                positions: positions.get(&document.line).unwrap_or(&unknown),
                findings: Vec::new(),
                skeletons: Vec::new(),
            };
            check.document(&document.value);
            findings.extend(check.findings);
            skeletons.extend(check.skeletons);
        }
        (findings, skeletons)
    }
}

/// The documents of a file. Keys that are there twice are told later, together with all the rest.
fn read(source: &Source) -> Result<Vec<Document>, Box<Finding>> {
    match yaml::parse_documents(&source.text) {
        Ok(documents) if documents.is_empty() => {
            Err(Box::new(whole_file(&source.shown, "yaml", "the file is empty".into())))
        }
        Ok(documents) => Ok(documents),
        Err(error) => yaml::parse_despite_duplicates(&source.text).map_err(|_| {
            let place = (error.line > 0).then_some(Place { line: error.line, column: error.column });
            let line = usize::try_from(error.line).ok().and_then(|line| source.text.lines().nth(line.checked_sub(1)?));
            Box::new(Finding {
                place,
                source: line.map(str::to_string),
                ..whole_file(&source.shown, "yaml", error.message.clone())
            })
        }),
    }
}

#[cfg(test)]
mod tests;
