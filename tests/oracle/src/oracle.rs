//! A process that evaluates templates with the reference implementations.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use understudy_corpus::{Case, Mode, Outcome};
use understudy_templating::Dialect;

use crate::{Error, Installation};

const SCRIPT: &str = include_str!("../node/oracle.mjs");
/// A template that takes longer has no end in sight: the slowest that ends takes a few seconds under load.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long Node may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
const HEAP_MEGABYTES: u32 = 768;

/// The reference implementations, ready to be asked.
///
/// A template that hangs or exhausts the memory costs the process, not the answers: a new one takes over with the next
/// case.
#[derive(Debug)]
pub struct Oracle {
    installation: Installation,
    process: Option<Process>,
    patience: Duration,
}

impl Oracle {
    /// Installs what is missing and starts.
    ///
    /// # Errors
    /// As [`Installation::ensure`], and when the process does not start.
    pub fn start() -> Result<Self, Error> {
        let installation = Installation::ensure()?;
        let process = Some(Process::start(&installation)?);
        Ok(Self { installation, process, patience: PATIENCE })
    }

    /// The same with another time after which a case is given up.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where the packages and Node are.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Evaluates each case; the outcomes come in the same order.
    ///
    /// # Errors
    /// When a process can't be started or writes something that is no answer.
    pub fn evaluate(&mut self, dialect: Dialect, cases: &[Case]) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(cases.len());
        while outcomes.len() < cases.len() {
            let process = match self.process.take() {
                Some(process) => process,
                None => Process::start(&self.installation)?,
            };
            self.process = process.answer(dialect, cases, &mut outcomes, self.patience)?;
        }
        Ok(outcomes)
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    answers: Receiver<String>,
}

impl Process {
    fn start(installation: &Installation) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Process(format!("{}: {error}", installation.node().display()));
        let mut child = Command::new(installation.node())
            .arg(format!("--max-old-space-size={HEAP_MEGABYTES}"))
            .args(["--input-type=module", "--eval", SCRIPT])
            .arg(installation.directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| Error::Process("it has no standard output".to_owned()))?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let process = Self { child, answers };
        let versions = process
            .answers
            .recv_timeout(START)
            .map_err(|_| Error::Process(format!("{} did not start within {START:?}", installation.node().display())))?;
        let versions = parse(&versions)?;
        let pinned = |name: &str| versions[name].is_string();
        if pinned("nunjitsu") && pinned("nunjucks") {
            Ok(process)
        } else {
            Err(Error::Answer { line: versions.to_string(), detail: "it should name the versions".to_owned() })
        }
    }

    /// Asks for the cases that have no outcome yet. Returns itself unless it hung or died, with that as the last outcome.
    fn answer(
        mut self,
        dialect: Dialect,
        cases: &[Case],
        outcomes: &mut Vec<Outcome>,
        patience: Duration,
    ) -> Result<Option<Self>, Error> {
        let pending = &cases[outcomes.len()..];
        let mut stdin = self.child.stdin.take().ok_or_else(|| Error::Process("it has no standard input".to_owned()))?;
        let died = thread::scope(|scope| {
            // Written beside the reading, so that neither pipe fills up while the other is waited for.
            let writer = scope.spawn(move || {
                let sent = pending.iter().try_for_each(|case| {
                    serde_json::to_writer(&mut stdin, &request(dialect, case)).map_err(std::io::Error::from)?;
                    stdin.write_all(b"\n")
                });
                // A process that has died is noticed by its silence.
                sent.and_then(|()| stdin.flush()).ok().map(|()| stdin)
            });
            let mut ended = None;
            for _ in pending {
                match self.answers.recv_timeout(patience) {
                    Ok(line) => outcomes.push(outcome(&line)?),
                    Err(RecvTimeoutError::Timeout) => ended = Some(Outcome::Timeout),
                    Err(RecvTimeoutError::Disconnected) => ended = Some(Outcome::Died),
                }
                if ended.is_some() {
                    // The writer may be stuck on a full pipe, and the scope waits for it.
                    self.stop();
                    break;
                }
            }
            self.child.stdin = writer.join().ok().flatten();
            Ok::<_, Error>(ended)
        })?;
        Ok(match died {
            Some(outcome) => {
                outcomes.push(outcome);
                None
            }
            None => Some(self),
        })
    }

    fn stop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn request(dialect: Dialect, case: &Case) -> Json {
    json!({
        "engine": dialect.name(),
        "source": case.source,
        "context": *case.context,
        "mode": match case.options.mode { Mode::Value => "value", Mode::Text => "text" },
        "cookiecutter": case.options.cookiecutter,
        "trimBlocks": case.options.trim_blocks,
        "lstripBlocks": case.options.lstrip_blocks,
    })
}

fn outcome(line: &str) -> Result<Outcome, Error> {
    let answer = parse(line)?;
    if let Some(value) = answer["value"].as_str() {
        return Ok(Outcome::Value(value.to_owned()));
    }
    match (answer["error"]["name"].as_str(), answer["error"]["message"].as_str()) {
        (Some(name), Some(message)) => Ok(Outcome::Error { name: name.to_owned(), message: message.to_owned() }),
        _ => Err(Error::Answer { line: line.to_owned(), detail: "neither value nor error".to_owned() }),
    }
}

fn parse(line: &str) -> Result<Json, Error> {
    serde_json::from_str(line).map_err(|error| Error::Answer { line: line.to_owned(), detail: error.to_string() })
}
