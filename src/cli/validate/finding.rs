//! What is wrong, and how it is told.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::{Map, Value};
use understudy_templating::{printable, snippet};

use super::positions::Place;

/// How much is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// The template can't do what it says.
    Error,
    /// It runs, though hardly as it was meant.
    Warning,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) place: Option<Place>,
    pub(super) severity: Severity,
    /// What kind of mistake it is; never changes its meaning.
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What may help: `did you mean "name"?`
    pub(super) hint: Option<String>,
    /// The line of the file.
    pub(super) source: Option<String>,
}

impl Finding {
    /// The message and the hint.
    pub(super) fn full_message(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    fn located(&self) -> String {
        match self.place {
            Some(Place { line, column }) => format!("{}:{line}:{column}", self.file),
            None => self.file.clone(),
        }
    }
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One a line: `file:line:column: error: message [code]`
    Text,
    /// One JSON array of all
    Json,
    /// Annotations of GitHub Actions
    Github,
}

impl Format {
    /// All findings as they go to standard output; with `snippets`, text shows the lines of the source too.
    pub(super) fn write(self, findings: &[Finding], snippets: bool) -> String {
        match self {
            Self::Text => findings.iter().map(|finding| text(finding, snippets)).collect(),
            Self::Json => format!("{:#}\n", findings.iter().map(json).collect::<Value>()),
            Self::Github => findings.iter().map(annotation).collect(),
        }
    }
}

fn text(finding: &Finding, snippets: bool) -> String {
    let severity = finding.severity.as_str();
    let line = format!("{}: {severity}: {} [{}]", finding.located(), finding.full_message(), finding.code);
    let mut text = printable(&line).into_owned();
    if let (true, Some(Place { line, column }), Some(source)) = (snippets, finding.place, &finding.source) {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        let _ = write!(text, "\n{}", snippet(line, source, column));
    }
    text.push('\n');
    text
}

fn json(finding: &Finding) -> Value {
    let mut members = Map::new();
    members.insert("file".into(), finding.file.as_str().into());
    let place = finding.place;
    members.insert("line".into(), place.map(|place| place.line).into());
    members.insert("column".into(), place.map(|place| place.column).into());
    members.insert("severity".into(), finding.severity.as_str().into());
    members.insert("code".into(), finding.code.into());
    members.insert("message".into(), finding.message.as_str().into());
    members.insert("hint".into(), finding.hint.as_deref().into());
    members.insert("source".into(), finding.source.as_deref().into());
    Value::Object(members)
}

/// A workflow command, with what would end one of its parts escaped.
fn annotation(finding: &Finding) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let place = finding.place.map(|place| format!(",line={},col={}", place.line, place.column)).unwrap_or_default();
    format!(
        "::{} file={}{place},title={}::{}\n",
        finding.severity.as_str(),
        property(&finding.file),
        finding.code,
        data(&finding.full_message())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            file: "a,b.yaml".into(),
            place: Some(Place { line: 3, column: 8 }),
            severity: Severity::Error,
            code: "filter-unknown",
            message: "100% wrong:\nyes".into(),
            hint: Some("did you mean \"x\"?".into()),
            source: Some("  a: ${{ b }}".into()),
        }
    }

    #[test]
    fn formats() {
        let finding = [finding()];
        let line = "a,b.yaml:3:8: error: 100% wrong:␊yes; did you mean \"x\"? [filter-unknown]\n";
        assert_eq!(Format::Text.write(&finding, false), line);
        assert_eq!(Format::Text.write(&finding, true), format!("{line} 3 |   a: ${{{{ b }}}}\n   |        ^\n"));
        assert_eq!(
            Format::Github.write(&finding, true),
            "::error file=a%2Cb.yaml,line=3,col=8,title=filter-unknown::100%25 wrong:%0Ayes; did you mean \"x\"?\n"
        );
        let json: Value = serde_json::from_str(&Format::Json.write(&finding, true)).unwrap_or_default();
        assert_eq!(
            json,
            serde_json::json!([{"file": "a,b.yaml", "line": 3, "column": 8, "severity": "error", "code": "filter-unknown",
                "message": "100% wrong:\nyes", "hint": "did you mean \"x\"?", "source": "  a: ${{ b }}"}])
        );
        assert_eq!(Format::Json.write(&[], false), "[]\n");
    }
}
