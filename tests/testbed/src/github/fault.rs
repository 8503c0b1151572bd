//! Faults that a test puts in the double's way.

use std::time::Duration;

use serde_json::{Value, json};

/// What happens to requests for a route.
///
/// Routes are a method and a path pattern: `*` stands for one segment, `**` at the end for all that follow. API paths are
/// written without `/api/v3` (`/repos/*/*/topics`), Git's as they are (`/*/*/git-receive-pack`). Injected answers are not
/// held against GitHub's description.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    skip: u32,
    times: Option<u32>,
    pub(crate) effect: Effect,
}

#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Wait, then answer as usual.
    Delay(Duration),
    /// Answer this instead.
    Answer { status: u16, headers: Vec<(String, String)>, body: Value },
    /// Close the connection without an answer.
    Disconnect,
    /// Do the work, then close the connection without an answer.
    DisconnectAfter,
    /// Answer as usual, and close the connection after so many bytes of the body.
    Truncate(usize),
}

impl Fault {
    fn new(method: &str, path: &str, effect: Effect) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), skip: 0, times: None, effect }
    }

    /// Answers with this status and body.
    #[must_use]
    pub fn answer(method: &str, path: &str, status: u16, body: Value) -> Self {
        Self::new(method, path, Effect::Answer { status, headers: Vec::new(), body })
    }

    /// Answers with this status and GitHub's error body.
    #[must_use]
    pub fn error(method: &str, path: &str, status: u16, message: &str) -> Self {
        let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()});
        Self::answer(method, path, status, body)
    }

    /// Delays the answer.
    #[must_use]
    pub fn delay(method: &str, path: &str, by: Duration) -> Self {
        Self::new(method, path, Effect::Delay(by))
    }

    /// Closes the connection instead of doing anything.
    #[must_use]
    pub fn disconnect(method: &str, path: &str) -> Self {
        Self::new(method, path, Effect::Disconnect)
    }

    /// Does what was asked and closes the connection instead of answering.
    #[must_use]
    pub fn disconnect_after(method: &str, path: &str) -> Self {
        Self::new(method, path, Effect::DisconnectAfter)
    }

    /// Answers as usual, but closes the connection after `bytes` of the body.
    #[must_use]
    pub fn truncate(method: &str, path: &str, bytes: usize) -> Self {
        Self::new(method, path, Effect::Truncate(bytes))
    }

    /// The primary rate limit is used up (403) until `reset_epoch`, in seconds since 1970.
    #[must_use]
    pub fn rate_limited(method: &str, path: &str, reset_epoch: u64) -> Self {
        Self::error(method, path, 403, "API rate limit exceeded for user ID 1.")
            .header("x-ratelimit-limit", "5000")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", &reset_epoch.to_string())
    }

    /// The secondary rate limit is exceeded (403) with this `Retry-After`.
    #[must_use]
    pub fn secondary_rate_limit(method: &str, path: &str, retry_after: Duration) -> Self {
        Self::error(
            method,
            path,
            403,
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        )
        .header("retry-after", &retry_after.as_secs().to_string())
    }

    /// Adds a header to an injected answer.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Effect::Answer { headers, .. } = &mut self.effect {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Ends after this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Begins after this many requests.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    fn applies(&self, method: &str, path: &str) -> bool {
        (self.method == "*" || self.method.eq_ignore_ascii_case(method)) && pattern_matches(&self.path, path)
    }
}

fn pattern_matches(pattern: &str, path: &str) -> bool {
    let mut path = path.trim_matches('/').split('/');
    for part in pattern.trim_matches('/').split('/') {
        match (part, path.next()) {
            ("**", _) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (part, Some(segment)) if part == segment => {}
            _ => return false,
        }
    }
    path.next().is_none()
}

/// Takes the first fault that applies, counting it.
pub(crate) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Effect> {
    let found = faults.iter().position(|fault| fault.applies(method, path) && fault.skip == 0);
    for fault in faults.iter_mut().filter(|fault| fault.applies(method, path)) {
        fault.skip = fault.skip.saturating_sub(1);
    }
    let index = found?;
    let effect = faults[index].effect.clone();
    if let Some(times) = &mut faults[index].times {
        *times = times.saturating_sub(1);
        if *times == 0 {
            faults.remove(index);
        }
    }
    Some(effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("/repos/*/*/topics", "/repos/o/r/topics", true),
            ("/repos/*/*/topics", "/repos/o/r/topics/x", false),
            ("/repos/*/*", "/repos/o", false),
            ("/repos/**", "/repos/o/r/branches/main/protection", true),
            ("/*/r.git/git-receive-pack", "/o/r.git/git-receive-pack", true),
            ("**", "/user", true),
        ];
        for (pattern, path, wanted) in table {
            assert_eq!(pattern_matches(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn a_fault_begins_and_ends_when_told() {
        let mut faults = vec![Fault::disconnect("GET", "/user").after(1).times(2)];
        let seen: Vec<_> = (0..5).map(|_| take(&mut faults, "GET", "/user").is_some()).collect();
        assert_eq!(seen, [false, true, true, false, false]);
        assert!(take(&mut vec![Fault::disconnect("GET", "/user")], "POST", "/user").is_none());
    }
}
