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

use understudy_testbed::{backstage::BackstageDouble, process::ServiceOptions};

use self::replay::{AUTH, NOAUTH, Replay, Set};
use crate::support::{Running, binary, manifest_dir};

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
        "backend:\n  baseUrl: http://localhost:7007\n  csp:\n    connect-src: [\"'self'\", 'http:', 'https:']\n    \
         upgrade-insecure-requests: false\n  cors:\n    origin: http://localhost:3000\n    \
         methods: [GET, HEAD, PATCH, POST, PUT, DELETE]\n    credentials: true\n  auth:\n    \
         dangerouslyDisableDefaultAuthPolicy: true\nscaffolder:\n  concurrentTasksLimit: 10\ncatalog:\n  \
         locations:\n    - type: file\n      target: {templates}/all.yaml\n"
    )
}

/// What the configuration with authentication and permissions has on top: users come from a Backstage beside us.
fn auth_config(backstage: &str) -> String {
    let place = format!("{backstage}/api/{{{{pluginId}}}}");
    serde_json::json!({
        "backend": {"auth": {
            "dangerouslyDisableDefaultAuthPolicy": false,
            "externalAccess": [{"type": "static", "options": {"token": TOKEN, "subject": "curl-client"}}],
        }},
        "permission": {"enabled": true},
        "discovery": {"endpoints": [{"target": place, "plugins": ["auth", "permission"]}]},
    })
    .to_string()
}

const TOKEN: &str = "ref-static-token-0123456789";

/// The table, and what is wrong with it.
#[derive(Default)]
struct Report {
    table: String,
    problems: String,
    passed: usize,
    elsewhere: usize,
    excused: usize,
    reasons: Vec<&'static str>,
}

impl Report {
    fn add(&mut self, set: &Set, transcript: &Transcript, outcome: &Outcome) {
        let file = format!("{}/{}", set.name, transcript.file);
        let reason = known::reason(set.name, &transcript.file);
        let verdict = match (outcome, &reason) {
            (Outcome::Pass, None) => {
                self.passed += 1;
                "pass".to_string()
            }
            (Outcome::Pass, Some(reason)) if reason.always => {
                let _ =
                    writeln!(self.problems, "{file}: passes now, remove its reason from known.rs ({})", reason.text);
                "pass".to_string()
            }
            (_, Some(reason)) => {
                if reason.text == known::OTHER_PLUGIN.text {
                    self.elsewhere += 1;
                } else {
                    self.excused += 1;
                    if !self.reasons.contains(&reason.text) {
                        self.reasons.push(reason.text);
                    }
                }
                reason.text.to_string()
            }
            (Outcome::Differs(difference), None) => {
                let _ = writeln!(self.problems, "{file}: {difference}");
                "FAILS".to_string()
            }
        };
        let request = transcript.request.as_ref();
        let _ = writeln!(
            self.table,
            "| {file} | {} `{}` | {} | {verdict} |",
            request.map_or("", |request| &request.method),
            request.map_or("", |request| request.path.split('?').next().unwrap_or_default()),
            transcript.response.status,
        );
    }

    async fn replay(&mut self, set: &'static Set, service: &Running, templates: &str, guest: String) {
        let mut replay = Replay::new(set, service, templates, guest);
        for transcript in transcripts(set.name) {
            let outcome = match known::reason(set.name, &transcript.file) {
                Some(reason) if !reason.replay => Outcome::Differs(String::new()),
                _ => replay.run(&transcript).await,
            };
            self.add(set, &transcript, &outcome);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_passes_or_has_its_reason() {
    let templates = manifest_dir().join("tests/conformance/templates");
    let mut report = Report::default();
    let service = Running::start(&config(&templates)).await;
    report.replay(&NOAUTH, &service, templates.as_str(), String::from("no user")).await;
    service.stop().await;

    let backstage = BackstageDouble::start().await.expect("the double of Backstage starts");
    let options = ServiceOptions::new(binary()).config(config(&templates)).config(auth_config(backstage.url()));
    let service = Running::with(options).await.authorized(TOKEN);
    backstage.scaffolder_at(service.service.base_url());
    let guest = backstage.user_token("user:development/guest");
    report.replay(&AUTH, &service, templates.as_str(), guest).await;
    service.stop().await;

    let Report { table, problems, passed, elsewhere, excused, reasons } = report;
    let total = passed + elsewhere + excused;
    println!("conformance: {total} transcripts, {passed} pass, {excused} with one of {} reasons", reasons.len());
    assert!(problems.is_empty(), "{passed} pass, {excused} excused, but:\n{problems}");
    let reasons: String =
        reasons.iter().enumerate().map(|(number, text)| format!("{}. {text}\n", number + 1)).collect();
    check_document(&format!(
        "{}\n{total} transcripts: {passed} pass, {excused} differ for one of the reasons below, {elsewhere} are answered by \
         other plugins of the Backstage backend.\n\n## Differences\n\n{reasons}\n## Transcripts\n\n\
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
