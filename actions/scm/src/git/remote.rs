//! Git's smart HTTP protocol, as far as a push of one new branch needs it.

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::Engine as _;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION},
};
use understudy_sdk::{ActionLogger, Secret};
use url::Url;

use super::{
    error::PushError,
    object::Oid,
    pack::{PROGRESS_EVERY, Pack},
    pkt_line::{self, Packet, Packets},
};
use crate::http;

const CHUNK: usize = 128 * 1024;
/// For the answer to the first request, which costs a server nothing.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer advertisements (some 100,000 references) are refused.
const MAX_ADVERTISEMENT: usize = 16 * 1024 * 1024;
const MAX_REPORT: usize = 1024 * 1024;
/// Lines of the server that are passed on to the log.
const MAX_REMOTE_LINES: usize = 200;

/// A repository on a server, with credentials.
pub(super) struct Remote<'a> {
    client: &'a Client,
    url: Url,
    authorization: HeaderValue,
    /// What must not show in a text, whoever wrote it.
    secrets: [String; 2],
}

/// What the server says before a push.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Advertisement {
    refs: BTreeMap<String, Oid>,
    capabilities: Vec<String>,
}

impl Advertisement {
    pub(super) fn branch(&self, branch: &str) -> Option<Oid> {
        self.refs.get(&format!("refs/heads/{branch}")).copied()
    }

    fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }
}

impl<'a> Remote<'a> {
    pub(super) fn new(client: &'a Client, url: &str, username: &str, password: &Secret) -> Result<Self, PushError> {
        let mut parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| PushError::Refused("the remote URL is not an http or https URL".into()))?;
        // Credentials go into a header only. Neither call fails on a URL that has a host.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        parsed.set_query(None);
        parsed.set_fragment(None);
        let path = parsed.path().trim_end_matches('/').to_string();
        parsed.set_path(&path);
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{}", password.expose()));
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}"))
            .map_err(|_| PushError::Refused("the credentials can't be sent in a header".into()))?;
        authorization.set_sensitive(true);
        Ok(Self { client, url: parsed, authorization, secrets: [password.expose().to_string(), basic] })
    }

    /// The URL without credentials.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    fn at(&self, suffix: &str) -> String {
        format!("{}/{suffix}", self.url)
    }

    /// Asks for the references.
    pub(super) async fn advertisement(&self) -> Result<Advertisement, PushError> {
        let request = self
            .client
            .get(self.at("info/refs?service=git-receive-pack"))
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/x-git-receive-pack-advertisement, */*;q=0.1")
            .timeout(DISCOVERY_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let mut response = self.checked(response).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-git-receive-pack-advertisement") {
            return Err(PushError::Refused(format!(
                "{} is not a git repository that can be pushed to: it answered with content of type '{}'",
                self.url,
                self.clean(kind)
            )));
        }
        let mut packets = Packets::default();
        let mut parser = AdvertisementParser::default();
        let mut received = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            received += chunk.len();
            if received > MAX_ADVERTISEMENT {
                return Err(PushError::Refused(format!("{} has more references than can be handled", self.url)));
            }
            packets.push(&chunk);
            while let Some(packet) = packets.next().map_err(|error| self.malformed(&error))? {
                parser.take(packet).map_err(|reason| self.malformed(&reason))?;
            }
        }
        if !packets.is_empty() || !parser.is_complete() {
            return Err(PushError::Transient(format!("{} cut its answer short", self.url)));
        }
        let advertisement = parser.result;
        if let Some(format) = advertisement.capabilities.iter().find_map(|known| known.strip_prefix("object-format="))
            && format != "sha1"
        {
            return Err(PushError::Refused(format!(
                "{} uses the object format {}; only sha1 is supported",
                self.url,
                self.clean(format)
            )));
        }
        if !advertisement.can("report-status") {
            return Err(PushError::Refused(format!("{} can't report whether a push succeeded", self.url)));
        }
        Ok(advertisement)
    }

    /// Creates the branch from the pack.
    pub(super) async fn push(
        &self,
        branch: &str,
        pack: &Pack,
        advertisement: &Advertisement,
        log: &ActionLogger,
    ) -> Result<(), PushError> {
        let reference = format!("refs/heads/{branch}");
        let mut capabilities = format!("report-status agent={}", http::USER_AGENT);
        for optional in ["side-band-64k", "object-format=sha1"] {
            if advertisement.can(optional) {
                capabilities.push(' ');
                capabilities.push_str(optional);
            }
        }
        let mut head =
            pkt_line::encode(format!("{} {} {reference}\0{capabilities}", Oid::ZERO, pack.commit).as_bytes());
        head.extend_from_slice(b"0000");
        let length = head.len() as u64 + pack.len();
        let request = self
            .client
            .post(self.at("git-receive-pack"))
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/x-git-receive-pack-request")
            .header(ACCEPT, "application/x-git-receive-pack-result")
            // Known, so the body isn't chunked, which some servers don't take.
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body(head.into(), Arc::new(pack.clone()), log.clone())));
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let mut response = self.checked(response).await?;
        let mut answer = Answer::new(advertisement.can("side-band-64k"));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            answer.push(&chunk).map_err(|error| self.malformed(&error))?;
            for line in answer.lines.drain(..) {
                log.info(format!("remote: {}", self.clean(&line)));
            }
            if let Some(reason) = answer.fatal.take() {
                return Err(PushError::Refused(format!("{} ended the push: {}", self.url, self.clean(&reason))));
            }
        }
        self.judge(branch, &reference, &answer.report)
    }

    /// What the status report means.
    fn judge(&self, branch: &str, reference: &str, report: &[u8]) -> Result<(), PushError> {
        let mut packets = Packets::default();
        packets.push(report);
        let mut unpacked = false;
        let mut result = None;
        while let Some(packet) = packets.next().map_err(|error| self.malformed(&error))? {
            let Packet::Data(line) = packet else { break };
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(reason) = line.strip_prefix("unpack ") {
                if reason != "ok" {
                    return Err(PushError::Refused(format!(
                        "{} could not store the commit: {}",
                        self.url,
                        self.clean(reason)
                    )));
                }
                unpacked = true;
            } else if line.strip_prefix("ok ") == Some(reference) {
                result = Some(Ok(()));
            } else if let Some(rest) = line.strip_prefix("ng ") {
                let reason = rest.strip_prefix(reference).unwrap_or(rest).trim();
                let lower = reason.to_ascii_lowercase();
                let text = format!(
                    "{} refused the branch '{branch}': {}; the log shows what the server said about it",
                    self.url,
                    self.clean(reason)
                );
                let passing = ["internal server error", "failed to lock", "cannot lock"];
                result = Some(Err(if passing.iter().any(|words| lower.contains(words)) {
                    PushError::Transient(text)
                } else {
                    PushError::Refused(text)
                }));
            }
        }
        match result {
            Some(result) if unpacked => result,
            // Whether the branch exists now is asked before the next try.
            _ => Err(PushError::Transient(format!("{} did not say whether the push succeeded", self.url))),
        }
    }

    /// Gives a successful answer on; everything else becomes an error.
    async fn checked(&self, mut response: Response) -> Result<Response, PushError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = &self.url;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_string);
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= 4096 {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        let said =
            body.lines().map(|line| self.clean(line)).find(|line| !line.trim().is_empty() && !line.contains('<'));
        let said = said.map(|line| format!(" ({line})")).unwrap_or_default();
        let reason = status.canonical_reason().unwrap_or_default();
        let failed = format!("pushing to {url} failed: {} {reason}{said}", status.as_u16());
        Err(match status {
            StatusCode::UNAUTHORIZED => PushError::Refused(format!(
                "{failed}; the token was not accepted, check that it is valid and not expired"
            )),
            StatusCode::FORBIDDEN => PushError::Refused(format!(
                "{failed}; the token may not push to this repository, give it write access to the repository's contents \
                 (and to workflows where files below .github/workflows are pushed)"
            )),
            StatusCode::NOT_FOUND => {
                PushError::Missing(format!("{failed}; the repository does not exist or the token may not see it"))
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                PushError::Refused(format!("{failed}; the server limits the size of a push"))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => PushError::Transient(failed),
            status if status.is_server_error() => PushError::Transient(failed),
            status if status.is_redirection() => {
                let to = location.and_then(|to| self.url.join(&to).ok()).map(|mut to| {
                    let _ = to.set_username("");
                    let _ = to.set_password(None);
                    to.set_query(None);
                    format!(" to {}", self.clean(to.as_str()))
                });
                PushError::Refused(format!(
                    "{failed}; it redirects{}, which is not followed with credentials: use the repository's own URL",
                    to.unwrap_or_default()
                ))
            }
            _ => PushError::Refused(failed),
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> PushError {
        let (closed, untrusted) = (is_closed(&error), http::certificate_refused(&error).is_some());
        let text = http::request_failure(error);
        let text = format!("pushing to {} failed: {}", self.url, self.clean(&text));
        match (closed, untrusted) {
            (true, _) => PushError::Unreachable(text),
            (_, true) => PushError::Refused(text),
            _ => PushError::Transient(text),
        }
    }

    fn malformed(&self, reason: &dyn std::error::Error) -> PushError {
        PushError::Refused(format!("{} does not speak git's smart HTTP protocol: {reason}", self.url))
    }

    /// A server's text made fit for a log: one line, no control characters, no credentials, bounded.
    fn clean(&self, text: &str) -> String {
        let mut text: String = text.chars().filter(|c| !c.is_control()).take(1000).collect();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "***");
        }
        text.trim_end().to_string()
    }
}

/// Whether a connection was refused or reset.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset))
        || error.source().is_some_and(is_closed)
}

/// Head and pack as a stream that can be made anew for every try.
fn body(head: Bytes, pack: Arc<Pack>, log: ActionLogger) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let total = pack.len();
    let chunks = stream::try_unfold((0_u64, Instant::now()), move |(at, mut logged)| {
        let (pack, log) = (pack.clone(), log.clone());
        async move {
            if logged.elapsed() >= PROGRESS_EVERY {
                logged = Instant::now();
                log.info(format!("Pushing: {} % ({} of {})", at * 100 / total.max(1), megabytes(at), megabytes(total)));
            }
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; CHUNK];
                let n = pack.read_at(at, &mut buffer)?;
                buffer.truncate(n);
                io::Result::Ok(buffer)
            });
            let chunk = read.await.map_err(io::Error::other)??;
            let next = at + chunk.len() as u64;
            Ok::<_, io::Error>((!chunk.is_empty()).then(|| (Bytes::from(chunk), (next, logged))))
        }
    });
    let head = stream::iter([Ok::<_, io::Error>(head)]);
    futures_util::StreamExt::chain(head, chunks).into_stream()
}

/// `1.5 MB`
pub(super) fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / 1_000_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[derive(Debug, Default)]
struct AdvertisementParser {
    result: Advertisement,
    flushes: usize,
    refs_seen: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("its list of references can't be read")]
struct BadAdvertisement;

impl AdvertisementParser {
    fn take(&mut self, packet: Packet) -> Result<(), BadAdvertisement> {
        let line = match packet {
            Packet::Flush => {
                self.flushes += 1;
                return Ok(());
            }
            Packet::Data(line) => line,
        };
        if self.flushes == 0 {
            return if line.trim_ascii_end() == b"# service=git-receive-pack" { Ok(()) } else { Err(BadAdvertisement) };
        }
        let line = if self.refs_seen {
            &line[..]
        } else {
            self.refs_seen = true;
            let end = line.iter().position(|byte| *byte == 0).ok_or(BadAdvertisement)?;
            let capabilities = String::from_utf8_lossy(&line[end + 1..]);
            self.result.capabilities = capabilities.split_ascii_whitespace().map(str::to_string).collect();
            &line[..end]
        };
        let line = String::from_utf8_lossy(line);
        let (oid, name) = line.trim_end().split_once(' ').ok_or(BadAdvertisement)?;
        // An empty repository has one line without a reference; a sha256 one has longer names and is refused later.
        if name != "capabilities^{}"
            && let Some(oid) = Oid::parse(oid)
        {
            self.result.refs.insert(name.to_string(), oid);
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.flushes >= 2 && self.refs_seen
    }
}

/// The answer to a push: the status report and, on other bands, progress and fatal errors.
#[derive(Debug)]
struct Answer {
    side_band: bool,
    packets: Packets,
    report: Vec<u8>,
    /// Complete lines of progress not yet logged.
    lines: Vec<String>,
    lines_seen: usize,
    partial: String,
    fatal: Option<String>,
}

impl Answer {
    fn new(side_band: bool) -> Self {
        Self {
            side_band,
            packets: Packets::default(),
            report: Vec::new(),
            lines: Vec::new(),
            lines_seen: 0,
            partial: String::new(),
            fatal: None,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), pkt_line::Malformed> {
        if !self.side_band {
            return self.add_report(bytes);
        }
        self.packets.push(bytes);
        while let Some(packet) = self.packets.next()? {
            let Packet::Data(data) = packet else { continue };
            match data.split_first() {
                Some((1, content)) => self.add_report(content)?,
                Some((2, content)) => self.add_progress(content),
                Some((3, content)) => self.fatal = Some(String::from_utf8_lossy(content).trim().to_string()),
                Some(_) => return Err(pkt_line::Malformed),
                None => {}
            }
        }
        Ok(())
    }

    fn add_report(&mut self, bytes: &[u8]) -> Result<(), pkt_line::Malformed> {
        if self.report.len() + bytes.len() > MAX_REPORT {
            return Err(pkt_line::Malformed);
        }
        self.report.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes whole lines only: `\r` rewrites a line that isn't final yet.
    fn add_progress(&mut self, bytes: &[u8]) {
        for c in String::from_utf8_lossy(bytes).chars() {
            match c {
                '\r' => self.partial.clear(),
                '\n' => {
                    let line = std::mem::take(&mut self.partial);
                    if !line.trim().is_empty() && self.lines_seen < MAX_REMOTE_LINES {
                        self.lines_seen += 1;
                        self.lines.push(line);
                    }
                }
                _ if self.partial.len() < 4096 => self.partial.push(c),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(packets: &[Packet]) -> Result<AdvertisementParser, BadAdvertisement> {
        let mut parser = AdvertisementParser::default();
        packets.iter().cloned().try_for_each(|packet| parser.take(packet))?;
        Ok(parser)
    }

    fn data(text: &str) -> Packet {
        Packet::Data(text.as_bytes().to_vec())
    }

    #[test]
    fn references_and_capabilities() {
        let oid = "ce013625030ba8dba906f756967f9e9ca394464a";
        let service = data("# service=git-receive-pack\n");
        let first = data(&format!("{oid} refs/heads/main\0report-status side-band-64k agent=git/2\n"));
        let second = data(&format!("{oid} refs/tags/v1\n"));
        let parsed = parse(&[service.clone(), Packet::Flush, first.clone(), second, Packet::Flush]).unwrap();
        assert!(parsed.is_complete());
        assert_eq!(parsed.result.branch("main"), Oid::parse(oid));
        assert_eq!(parsed.result.branch("v1"), None);
        assert!(parsed.result.can("side-band-64k"));

        let none = data(&format!("{} capabilities^{{}}\0report-status\n", Oid::ZERO));
        let parsed = parse(&[service.clone(), Packet::Flush, none, Packet::Flush]).unwrap();
        assert!(parsed.is_complete() && parsed.result.refs.is_empty());

        assert!(!parse(&[service.clone(), Packet::Flush, first]).unwrap().is_complete());
        assert!(parse(&[data("# service=git-upload-pack\n")]).is_err());
        assert!(parse(&[service, Packet::Flush, data("no capabilities")]).is_err());
    }

    #[test]
    fn progress_comes_in_whole_lines() {
        let mut answer = Answer::new(true);
        let mut bytes = pkt_line::encode(b"\x02Unpacking:  10%\rUnpacking: 100%, do");
        bytes.extend_from_slice(&pkt_line::encode(b"\x02ne.\n\n"));
        bytes.extend_from_slice(&pkt_line::encode(b"\x01000eunpack ok\n"));
        bytes.extend_from_slice(&pkt_line::encode(b"\x03broken\n"));
        answer.push(&bytes).unwrap();
        assert_eq!(answer.lines, ["Unpacking: 100%, done."]);
        assert_eq!(answer.report, b"000eunpack ok\n");
        assert_eq!(answer.fatal.as_deref(), Some("broken"));
    }

    fn remote(url: &str) -> Result<Remote<'static>, PushError> {
        Remote::new(http::client().unwrap(), url, "x-access-token", &Secret::new("hunter2"))
    }

    #[test]
    fn reports_are_judged() {
        let remote = remote("https://git.example.com/o/r.git").unwrap();
        let judge = |lines: &[&str]| {
            let mut report: Vec<u8> = lines.iter().flat_map(|line| pkt_line::encode(line.as_bytes())).collect();
            report.extend_from_slice(b"0000");
            remote.judge("main", "refs/heads/main", &report)
        };
        assert!(judge(&["unpack ok\n", "ok refs/heads/main\n"]).is_ok());
        assert!(matches!(judge(&["unpack ok\n"]), Err(PushError::Transient(_))));
        assert!(matches!(judge(&[]), Err(PushError::Transient(_))));
        assert!(matches!(
            judge(&["unpack ok\n", "ng refs/heads/main Internal Server Error\n"]),
            Err(PushError::Transient(_))
        ));
        assert_eq!(
            judge(&["unpack index-pack abnormal exit\n"]).unwrap_err().to_string(),
            "https://git.example.com/o/r.git could not store the commit: index-pack abnormal exit"
        );
        assert_eq!(
            judge(&["unpack ok\n", "ng refs/heads/main pre-receive hook declined hunter2\n"]).unwrap_err().to_string(),
            "https://git.example.com/o/r.git refused the branch 'main': pre-receive hook declined ***; the log shows what \
             the server said about it"
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_told_apart() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let remote = remote(&format!("http://127.0.0.1:{port}/o/r.git")).unwrap();
        let error = remote.advertisement().await.unwrap_err();
        assert!(matches!(error, PushError::Unreachable(_)), "{error:?}");
        let error = understudy_sdk::ActionError::from(error);
        assert!(crate::git::is_connection_failure(&error), "{error:?}");
        let other = understudy_sdk::ActionError::from(PushError::Transient("later".into()));
        assert!(!crate::git::is_connection_failure(&other));
    }

    #[test]
    fn credentials_of_the_url_are_dropped() {
        let remote = remote("https://user:hunter2@git.example.com/o/r.git/?x#y").unwrap();
        assert_eq!(remote.at("info/refs"), "https://git.example.com/o/r.git/info/refs");
        assert!(format!("{:?}", remote.authorization).contains("Sensitive"));
    }
}
