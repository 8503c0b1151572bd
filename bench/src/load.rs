//! Many requests over connections that stay open: a load generator that costs less than what it measures.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::error::{Error, Result};

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Answered requests a second.
    pub(crate) per_second: f64,
    /// Milliseconds from the first byte sent to the last byte received, one for each request.
    pub(crate) milliseconds: Vec<f64>,
}

/// Sends `GET`s for so long from so many connections, each as soon as the one before is answered. Every answer must be a 200.
pub(crate) async fn run(
    port: u16,
    path: &str,
    token: Option<&str>,
    connections: usize,
    time: Duration,
) -> Result<Load> {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{authorization}\r\n");
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        clients.spawn(async move { one_connection(port, request.as_bytes(), begun + time).await });
    }
    let mut load = Load::default();
    while let Some(ended) = clients.join_next().await {
        let times = ended.map_err(|error| Error::Failed(error.to_string()))??;
        load.milliseconds.extend(times);
    }
    load.per_second = load.milliseconds.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(load)
}

async fn one_connection(port: u16, request: &[u8], until: Instant) -> Result<Vec<f64>> {
    let mut stream =
        TcpStream::connect(("127.0.0.1", port)).await.map_err(Error::io(format!("connecting to port {port}")))?;
    stream.set_nodelay(true).map_err(Error::io("a connection"))?;
    let mut times = Vec::new();
    let mut buffer = Vec::with_capacity(256 << 10);
    while Instant::now() < until {
        let sent = Instant::now();
        stream.write_all(request).await.map_err(Error::io("sending a request"))?;
        buffer.clear();
        loop {
            if let Some((status, length)) = whole(&buffer) {
                if status != 200 {
                    return Err(Error::Failed(format!("{status} under load: {}", String::from_utf8_lossy(&buffer))));
                }
                if buffer.len() >= length {
                    break;
                }
            }
            if stream.read_buf(&mut buffer).await.map_err(Error::io("reading an answer"))? == 0 {
                return Err(Error::Failed("a connection was closed under load".to_owned()));
            }
        }
        times.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// Status and length in all of an answer whose head is there.
fn whole(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    // An answer in chunks has no length, and would never be whole: neither side sends one here.
    Some((status, end + length?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(whole(answer), Some((200, answer.len())));
        assert_eq!(whole(&answer[..20]), None);
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5"), None);
    }
}
