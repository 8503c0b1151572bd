//! `GET /api/v1/stream/applications`: one JSON object a line.

use reqwest::Response;
use serde_json::Value;

use super::{ApiError, causes};
use crate::argocd::application::Application;

/// An application with its status can be long, but not endless.
const LONGEST_LINE: usize = 32 << 20;

/// An open stream of changes.
#[derive(Debug)]
pub(crate) struct EventStream {
    instance: String,
    what: String,
    response: Response,
    buffer: Vec<u8>,
}

/// What happened to an application.
#[derive(Debug)]
pub(crate) enum AppEvent {
    /// It is like this now.
    Is(Application),
    /// It is gone.
    Gone,
}

impl EventStream {
    pub(super) fn new(instance: String, what: String, response: Response) -> Self {
        Self { instance, what, response, buffer: Vec::new() }
    }

    /// The next change; `None` when the server ended the stream. May be dropped before it is done without losing anything.
    ///
    /// # Errors
    /// The connection broke, or the server sent an error.
    pub(crate) async fn next(&mut self) -> Result<Option<AppEvent>, ApiError> {
        loop {
            while let Some(line) = self.line() {
                if let Some(event) = self.event(&line)? {
                    return Ok(Some(event));
                }
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(self.foreign(format!("a line of more than {} MiB", LONGEST_LINE >> 20)));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(ApiError::Unreachable {
                        instance: self.instance.clone(),
                        what: self.what.clone(),
                        reason: causes(error),
                    });
                }
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    fn event(&self, line: &[u8]) -> Result<Option<AppEvent>, ApiError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let mut message: Value = serde_json::from_slice(line).map_err(|error| self.foreign(error.to_string()))?;
        if let Some(error) = message.get("error") {
            let status = error.get("http_code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            return Err(ApiError::Refused {
                instance: self.instance.clone(),
                what: self.what.clone(),
                // What the gateway says when it can't tell: the server behind it has gone.
                status: status.unwrap_or(503),
                message: error.get("message").and_then(Value::as_str).unwrap_or("the stream broke off").to_owned(),
            });
        }
        let application = message.pointer_mut("/result/application").map(Value::take).unwrap_or_default();
        Ok(match message.pointer("/result/type").and_then(Value::as_str) {
            Some("DELETED") => Some(AppEvent::Gone),
            Some("ADDED" | "MODIFIED") => Some(AppEvent::Is(Application::new(application))),
            _ => None,
        })
    }

    fn foreign(&self, reason: String) -> ApiError {
        ApiError::Foreign { instance: self.instance.clone(), what: self.what.clone(), reason }
    }
}
