//! A web server that steps of a task read from: the moment at which it answers is the moment at which the step goes on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use crate::error::{Error, Result};

/// When the answer to a number was written.
type Answered = Arc<Mutex<Vec<(u64, Instant)>>>;

/// A running server; it ends when dropped.
pub(crate) struct Gate {
    port: u16,
    open: watch::Sender<bool>,
    answered: Answered,
    serving: JoinHandle<()>,
}

impl Gate {
    /// Answers `GET /<number>` once the gate is open, and then after this delay.
    pub(crate) async fn start(delay: Duration) -> Result<Self> {
        let what = "listening on 127.0.0.1";
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::io(what))?;
        let port = listener.local_addr().map_err(Error::io(what))?.port();
        let (open, opens) = watch::channel(false);
        let answered = Answered::default();
        let noted = Arc::clone(&answered);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A reader that goes away early is the measurement's failure, not the gate's.
                tokio::spawn(answer(stream, opens.clone(), delay, Arc::clone(&noted)));
            }
        });
        Ok(Self { port, open, answered, serving })
    }

    /// A step that goes on when the gate answers to this number.
    pub(crate) fn step(&self, number: u64) -> Value {
        json!({"id": format!("gate{number}"), "name": format!("Gate {number}"), "action": "fetch:plain:file",
            "input": {"url": format!("http://127.0.0.1:{}/{number}", self.port), "targetPath": format!("gate-{number}.txt")}})
    }

    /// The configuration that lets steps read from here.
    pub(crate) fn config(&self) -> String {
        json!({"backend": {"reading": {"allow": [{"host": format!("127.0.0.1:{}", self.port)}]}}}).to_string()
    }

    /// Closes the gate again, and forgets what was answered.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Opens the gate.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// When the answer to a number was written.
    pub(crate) fn answered(&self, number: u64) -> Option<Instant> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.iter().find(|(known, _)| *known == number).map(|(_, at)| *at)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    mut opens: watch::Receiver<bool>,
    delay: Duration,
    answered: Answered,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8_lossy(&head);
    let number: u64 = text.split(' ').nth(1)?.trim_start_matches('/').parse().ok()?;
    opens.wait_for(|open| *open).await.ok()?;
    sleep(delay).await;
    answered.lock().unwrap_or_else(PoisonError::into_inner).push((number, Instant::now()));
    let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n";
    stream.write_all(text.as_bytes()).await.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_answers_when_it_is_open() {
        let gate = Gate::start(Duration::from_millis(1)).await.unwrap();
        let url = gate.step(7)["input"]["url"].as_str().unwrap().to_owned();
        understudy_testbed::http::install_crypto_provider();
        let asked = tokio::spawn(reqwest::get(url));
        sleep(Duration::from_millis(50)).await;
        assert!(!asked.is_finished() && gate.answered(7).is_none());
        gate.open();
        assert_eq!(asked.await.unwrap().unwrap().text().await.unwrap(), "ok\n");
        assert!(gate.answered(7).is_some() && gate.answered(8).is_none());
        gate.close();
        assert!(gate.answered(7).is_none());
    }
}
