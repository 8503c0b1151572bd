//! Keeps the servers' processes, and makes sure that they end.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{Error, Result};

const SCRIPT: &str = include_str!("supervise.sh");

/// A shell that runs the servers until this is dropped, or the process ends in whatever way: it notices that its standard
/// input is closed.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    input: Mutex<Option<ChildStdin>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Supervisor {
    pub(super) fn start(dir: &Path, etcd: &[String], api: &[String]) -> Result<Self> {
        let mut child = Command::new("bash")
            .arg("-c")
            .arg(SCRIPT)
            .arg("supervise")
            .arg(dir)
            .args(etcd)
            .arg("--")
            .args(api)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("starting bash"))?;
        let input = Mutex::new(child.stdin.take());
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(output) = child.stdout.take() {
            let said = Arc::clone(&said);
            // Ends with the shell.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                    said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            });
        }
        Ok(Self { child, input, said })
    }

    /// The program that ended by itself, if one did.
    pub(super) fn ended(&self) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().find_map(|line| line.strip_prefix("ended ").map(str::to_string))
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn command(&self, command: &str, answer: &str) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(10);
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
        {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            let input = input.as_mut().ok_or_else(|| Error::unexpected("the supervisor", "it has ended"))?;
            writeln!(input, "{command}").map_err(Error::io("telling the supervisor"))?;
        }
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if self.said.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| line == answer) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        let detail = "the supervisor did not answer".to_string();
        Err(Error::Timeout { what: format!("`{command}`"), limit: LIMIT, detail })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It kills the servers at once and removes their files.
        let _ = self.child.wait();
    }
}
