//! The outside world: counts effects by their idempotency keys.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Listens on loopback until it is dropped.
pub(super) struct Recorder {
    pub(super) url: String,
    deliveries: Arc<Mutex<BTreeMap<String, u32>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let deliveries = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let seen = Arc::clone(&deliveries);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                // A sender that was killed in between has delivered nothing.
                tokio::spawn(async move { answer(stream, &seen).await.ok() });
            }
        });
        Self { url, deliveries, task }
    }

    /// How often each key was delivered; the effect itself happens at the first delivery.
    pub(super) fn deliveries(&self) -> BTreeMap<String, u32> {
        self.deliveries.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, seen: &Mutex<BTreeMap<String, u32>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("idempotency-key").then(|| value.trim().to_string())
    });
    *seen.lock().unwrap().entry(key.unwrap_or_else(|| "without a key".into())).or_default() += 1;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
    stream.shutdown().await
}
