//! Reading `text/event-stream`.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{Error, Result};

/// One block of an event stream: an event, or a comment (keep-alive).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// `id:`
    pub id: Option<String>,
    /// `event:`; absent means `message`.
    pub event: Option<String>,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
    /// `retry:` in milliseconds.
    pub retry: Option<u64>,
    /// Comment lines (those beginning with a colon).
    pub comments: Vec<String>,
}

impl Frame {
    /// The event's name, `message` when the frame names none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it is no JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).map_err(|error| {
            Error::unexpected(format!("data of the event `{}`", self.name()), format!("{error}: {}", self.data))
        })
    }

    /// Whether the frame carries only comments (a keep-alive).
    #[must_use]
    pub fn is_comment(&self) -> bool {
        self.event.is_none() && self.data.is_empty() && !self.comments.is_empty()
    }
}

/// Splits bytes into frames as the HTML standard's event stream interpretation does; chunk borders may fall anywhere.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_return: bool,
    frame: Frame,
    data_lines: usize,
}

impl Parser {
    /// Takes the next bytes; returns the frames they completed.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let pair = byte == b'\n' && std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if pair => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    frames.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                _ => {
                    self.after_return = false;
                    self.line.push(byte);
                }
            }
        }
        frames
    }

    fn end_line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            self.data_lines = 0;
            let frame = std::mem::take(&mut self.frame);
            return (frame != Frame::default()).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.frame.comments.push(value.to_owned()),
            "id" => self.frame.id = Some(value.to_owned()),
            "event" => self.frame.event = Some(value.to_owned()),
            "retry" => self.frame.retry = value.parse().ok(),
            "data" => {
                if self.data_lines > 0 {
                    self.frame.data.push('\n');
                }
                self.data_lines += 1;
                self.frame.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

type Body = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// An open event stream.
pub struct Events {
    what: String,
    body: Body,
    parser: Parser,
    ready: VecDeque<Frame>,
}

impl Events {
    pub(crate) fn new(what: String, response: reqwest::Response) -> Self {
        Self { what, body: Box::pin(response.bytes_stream()), parser: Parser::default(), ready: VecDeque::new() }
    }

    /// The next frame, comments included; `None` when the server ended the stream.
    ///
    /// # Errors
    /// [`Error::Timeout`] when none came within `limit`, [`Error::Http`] when the connection broke.
    pub async fn next(&mut self, limit: Duration) -> Result<Option<Frame>> {
        self.next_by(Instant::now() + limit, limit).await
    }

    async fn next_by(&mut self, deadline: Instant, limit: Duration) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            match timeout_at(deadline, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self.ready.extend(self.parser.feed(&bytes)),
                Ok(Some(Err(source))) => return Err(Error::Http { what: self.what.clone(), source }),
                Ok(None) => return Ok(None),
                Err(_) => {
                    let what = format!("the next event of {}", self.what);
                    return Err(Error::Timeout { what, limit, detail: "the stream stayed open and silent".to_owned() });
                }
            }
        }
    }

    /// Every event (comments left out) up to and with the first one that `last` accepts, or to the end of the stream.
    ///
    /// # Errors
    /// As [`Events::next`]; `limit` is for the whole. The message of a timeout lists the events seen.
    pub async fn until(&mut self, limit: Duration, last: impl Fn(&Frame) -> bool) -> Result<Vec<Frame>> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            match self.next_by(deadline, limit).await {
                Ok(Some(frame)) if frame.is_comment() => {}
                Ok(Some(frame)) => {
                    let done = last(&frame);
                    seen.push(frame);
                    if done {
                        return Ok(seen);
                    }
                }
                Ok(None) => return Ok(seen),
                Err(Error::Timeout { what, limit, .. }) => {
                    let names: Vec<_> = seen.iter().map(|frame| format!("{} {}", frame.name(), frame.data)).collect();
                    return Err(Error::Timeout { what, limit, detail: format!("seen so far: {names:#?}") });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("what", &self.what).field("ready", &self.ready).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_do_not_depend_on_chunk_borders() {
        let text = "event: log\r\nid: 1\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: ping\n\nretry:10\rdata:x\r\rdata\n\nunknown: y\n\ndata: cut";
        let log =
            Frame { id: Some("1".into()), event: Some("log".into()), data: "{\"a\":\n1}".into(), ..Frame::default() };
        let ping = Frame { comments: vec!["ping".into()], ..Frame::default() };
        let retry = Frame { retry: Some(10), data: "x".into(), ..Frame::default() };
        let wanted = vec![log, ping, retry];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let frames: Vec<_> = text.as_bytes().chunks(size).flat_map(|chunk| parser.feed(chunk)).collect();
            assert_eq!(frames, wanted, "chunks of {size}");
        }
        assert!(wanted[1].is_comment() && !wanted[0].is_comment());
        assert_eq!(wanted[2].name(), "message");
    }
}
