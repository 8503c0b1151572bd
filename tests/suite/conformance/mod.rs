//! Replays the recorded HTTP conversations against the running service and compares the answers.
//!
//! `tests/conformance/transcripts/*.jsonl` holds what `@backstage/plugin-scaffolder-backend` 4.2.0 answered, one request a
//! line, in the order of recording; `tests/conformance/templates` the templates it ran. Every transcript ends in the
//! table of `docs/compatibility.md`: it passes, or a reason stands beside it. A reason that is no longer needed fails the
//! suite as a mismatch does, so the table can't rot.

mod compare;
mod known;
mod replay;

use std::fmt::Write as _;

use crate::support::{Running, manifest_dir};

/// One recorded request with its answer.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Transcript {
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) request: Option<RecordedRequest>,
    pub(crate) response: RecordedResponse,
}

#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct RecordedRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(crate) body: serde_json::Value,
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordedResponse {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) body_json: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) body_text: Option<String>,
}

/// What became of a transcript.
enum Outcome {
    Pass,
    Differs(String),
}

fn transcripts(set: &str) -> Vec<Transcript> {
    let path = manifest_dir().join("tests/conformance/transcripts").join(format!("{set}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}:{}: {error}", number + 1))
        })
        .collect()
}

fn config(templates: &camino::Utf8Path) -> String {
    format!(
        "backend:\n  baseUrl: http://localhost:7007\n  cors:\n    origin: http://localhost:3000\n    \
         methods: [GET, HEAD, PATCH, POST, PUT, DELETE]\n    credentials: true\n  auth:\n    \
         dangerouslyDisableDefaultAuthPolicy: true\nscaffolder:\n  concurrentTasksLimit: 10\ncatalog:\n  \
         locations:\n    - type: file\n      target: {templates}/all.yaml\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_passes_or_has_its_reason() {
    let templates = manifest_dir().join("tests/conformance/templates");
    let service = Running::start(&config(&templates)).await;
    let mut table = String::new();
    let mut problems = String::new();
    let (mut passed, mut excused) = (0, 0);
    let mut replay = replay::Replay::new(&service, templates.as_str());
    for transcript in transcripts("noauth") {
        let reason = known::reason(&transcript.file);
        let outcome = match reason {
            Some(reason) if !reason.replay => Outcome::Differs(String::new()),
            _ => replay.run(&transcript).await,
        };
        let verdict = match (&outcome, &reason) {
            (Outcome::Pass, None) => {
                passed += 1;
                "pass".to_string()
            }
            (Outcome::Pass, Some(reason)) if !reason.always => {
                excused += 1;
                reason.text.to_string()
            }
            (Outcome::Pass, Some(reason)) => {
                let _ = writeln!(
                    problems,
                    "{}: passes now, remove its reason from known.rs ({})",
                    transcript.file, reason.text
                );
                "pass".to_string()
            }
            (Outcome::Differs(_), Some(reason)) => {
                excused += 1;
                reason.text.to_string()
            }
            (Outcome::Differs(difference), None) => {
                let _ = writeln!(problems, "{}: {difference}", transcript.file);
                "FAILS".to_string()
            }
        };
        let request = transcript.request.as_ref();
        let _ = writeln!(
            table,
            "| {} | {} `{}` | {} | {verdict} |",
            transcript.file,
            request.map_or("", |request| &request.method),
            request.map_or("", |request| request.path.split('?').next().unwrap_or_default()),
            transcript.response.status,
        );
    }
    drop(replay);
    service.stop().await;
    let mut auth = 0;
    for transcript in transcripts("auth") {
        auth += 1;
        let request = transcript.request.as_ref();
        let _ = writeln!(
            table,
            "| auth/{} | {} `{}` | {} | {} |",
            transcript.file,
            request.map_or("", |request| &request.method),
            request.map_or("", |request| request.path.split('?').next().unwrap_or_default()),
            transcript.response.status,
            known::AUTH
        );
    }
    let total = passed + excused + auth;
    println!(
        "conformance: {total} transcripts, {passed} pass, {excused} with a reason, {auth} wait for authentication"
    );
    assert!(problems.is_empty(), "{passed} pass, {excused} excused, but:\n{problems}");
    check_document(&format!(
        "{}\n{total} transcripts: {passed} pass, {excused} differ for the reason given, {auth} wait for authentication.\n\n\
         | transcript | request | status | result |\n| --- | --- | --- | --- |\n{table}",
        known::INTRODUCTION
    ));
}

/// Compares `docs/compatibility.md` with what was measured; `UPDATE_DOCS=1` writes it.
fn check_document(text: &str) {
    let path = manifest_dir().join("docs/compatibility.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("docs/compatibility.md is writable");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        known == text,
        "docs/compatibility.md is out of date; run the suite with UPDATE_DOCS=1 and review the change"
    );
}
