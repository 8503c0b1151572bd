//! The JavaScript engines: one Node process each, asked for one operation at a time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use understudy_oracle::Installation;

use crate::cases::{Case, EVOLVING_PATH};

/// What an operation starts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Source texts, parsed each time.
    FromSource,
    /// Templates parsed before.
    Parsed,
}

pub(crate) struct Oracle {
    pub(crate) name: &'static str,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Both engines, each in a process of its own that has done nothing yet.
pub(crate) fn start_all(case: &Case) -> Vec<Oracle> {
    let installation = Installation::ensure().expect("the reference implementations are installed");
    ["nunjitsu", "nunjucks"].into_iter().map(|name| Oracle::start(name, case, &installation)).collect()
}

impl Oracle {
    fn start(name: &'static str, case: &Case, installation: &Installation) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/language/oracle.mjs");
        let mut process = Command::new(installation.node())
            .arg(script)
            .arg(name)
            .arg(installation.directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node starts");
        let mut requests = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let case = json!({"sources": case.sources, "context": case.context, "updates": case.updates});
        writeln!(requests, "{}", json!({"case": case, "path": EVOLVING_PATH})).expect("Node reads");
        Self { name, process, requests, answers }
    }

    /// What the case renders to.
    pub(crate) fn output(&mut self) -> String {
        let answer = self.ask(&json!({"kind": "fresh", "output": true}));
        answer["text"].as_str().expect("a text").to_owned()
    }

    /// How long one operation takes; nothing when the engine has no such operation.
    pub(crate) fn time(&mut self, kind: Kind) -> Option<Duration> {
        let kind = match kind {
            Kind::FromSource => "fresh",
            Kind::Parsed => "parsed",
        };
        let answer = self.ask(&json!({"kind": kind}));
        answer["ms"].as_f64().map(|ms| Duration::from_secs_f64(ms / 1e3))
    }

    fn ask(&mut self, request: &Json) -> Json {
        writeln!(self.requests, "{request}").expect("Node reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("Node answers");
        serde_json::from_str(&line).expect("an answer")
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Nothing is lost with it; that it is gone already is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
