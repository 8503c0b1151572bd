//! Keeps the servers' processes, and makes sure that they end.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{Error, Result};

/// Whose processes they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A shell that runs servers until this is dropped, or the process ends in whatever way: it notices that its standard
/// input is closed.
#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
    input: Mutex<Option<ChildStdin>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Supervisor {
    /// Runs a bash script, which begins by keeping the servers it is told about in `arguments`; as another user when one is
    /// given.
    pub(crate) fn start(script: &str, arguments: &[String], user: Option<User>) -> Result<Self> {
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).arg("supervise").args(arguments);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut child = command
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
    pub(crate) fn ended(&self) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().find_map(|line| line.strip_prefix("ended ").map(str::to_string))
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn command(&self, command: &str, answer: &str) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(60);
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
