//! Reading from GitHub and GitHub Enterprise over the REST API.

use std::{
    io::{self, Read},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use camino::Utf8PathBuf;
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
use reqwest::Response;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::mpsc;
use understudy_sdk::{ActionContext, ActionError, ErrorName, Secret, Workspace};
use url::Url;

use super::{MAX_FILE, archive, fetch};
use crate::{TreeSummary, integrations::Github};

const JSON: &str = "application/vnd.github.v3+json";
const RAW: &str = "application/vnd.github.v3.raw";
const FAILURE: &str = "Request failed for";
const MAX_JSON: usize = 5 * 1024 * 1024;
/// For downloading and unpacking one tree.
const TREE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A GitHub URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    owner: String,
    repo: String,
    /// What follows `blob`, `tree`, `raw` or `edit`: reference and path, not yet told apart.
    rest: Vec<String>,
}

impl Location {
    fn parse(url: &Url) -> Result<Self, ActionError> {
        let mut segments = Vec::new();
        for segment in url.path().split('/').filter(|segment| !segment.is_empty()) {
            let segment = percent_decode_str(segment).decode_utf8().map_err(|_| incorrect(url))?;
            // Names that only show when decoded; the API would take them as steps upwards.
            if segment.split(['/', '\\']).any(|part| part == ".." || part == ".") || segment.contains('\0') {
                return Err(incorrect(url));
            }
            segments.push(segment.into_owned());
        }
        let mut segments = segments.into_iter();
        let (Some(owner), Some(repo)) = (segments.next(), segments.next()) else { return Err(incorrect(url)) };
        let repo = repo.strip_suffix(".git").unwrap_or(&repo).to_string();
        let rest = match segments.next().as_deref() {
            None => Vec::new(),
            Some("blob" | "tree" | "raw" | "edit") => segments.collect(),
            Some(_) => return Err(incorrect(url)),
        };
        Ok(Self { owner, repo, rest })
    }

    /// The simple reading: one segment of reference, the others are the path.
    fn simple(&self) -> Option<(String, Vec<String>)> {
        let (reference, path) = self.rest.split_first()?;
        Some((reference.clone(), path.to_vec()))
    }
}

/// Owner and name of the repository that a URL leads into.
pub(super) fn repository_of(url: &Url) -> Result<(String, String), ActionError> {
    Location::parse(url).map(|location| (location.owner, location.repo))
}

fn incorrect(url: &Url) -> ActionError {
    ActionError::failed(format!("Incorrect URL: {}, Error: Invalid GitHub URL or file path", fetch::shown(url)))
}

#[derive(Debug, Deserialize)]
struct Repository {
    default_branch: String,
}

#[derive(Debug, Deserialize)]
struct CombinedStatus {
    sha: String,
    repository: StatusRepository,
}

#[derive(Debug, Deserialize)]
struct StatusRepository {
    archive_url: String,
}

#[derive(Debug, Deserialize)]
struct MatchingRef {
    #[serde(rename = "ref")]
    name: String,
}

/// A reader for one request's credentials.
pub(super) struct GithubReader<'a> {
    github: &'a Github,
    pub(super) token: Option<Secret>,
    step: Option<&'a ActionContext>,
}

impl<'a> GithubReader<'a> {
    /// With this token, or anonymously.
    pub(super) fn new(github: &'a Github, token: Option<Secret>, step: Option<&'a ActionContext>) -> Self {
        Self { github, token, step }
    }

    pub(super) async fn read_file(&self, url: &Url) -> Result<Vec<u8>, ActionError> {
        let location = Location::parse(url)?;
        let Some((reference, path)) = location.simple().filter(|(_, path)| !path.is_empty()) else {
            return Err(incorrect(url));
        };
        let response = match self.file(&location, &reference, &path).await {
            Err(error) if *error.name() == ErrorName::NotFoundError => {
                match self.longer_reference(&location, 1).await {
                    Some((reference, path)) => self.file(&location, &reference, &path).await?,
                    None => return Err(error),
                }
            }
            result => result?,
        };
        fetch::content(response, MAX_FILE).await
    }

    async fn file(&self, location: &Location, reference: &str, path: &[String]) -> Result<Response, ActionError> {
        if let (None, Some(raw)) = (&self.token, &self.github.raw_base_url) {
            let mut parts = vec![location.owner.as_str(), &location.repo];
            parts.extend(reference.split('/'));
            parts.extend(path.iter().map(String::as_str));
            return self.get(endpoint(raw, &parts)?, Some(RAW)).await;
        }
        let mut parts = vec!["contents"];
        parts.extend(path.iter().map(String::as_str));
        let mut url = self.repo_endpoint(location, &parts)?;
        url.query_pairs_mut().append_pair("ref", reference);
        self.get(url, Some(RAW)).await
    }

    pub(super) async fn read_tree(&self, url: &Url, target: &Workspace, dir: &str) -> Result<TreeSummary, ActionError> {
        let location = Location::parse(url)?;
        let (reference, path, status) = self.commit(&location).await?;
        let archive = self.archive_url(&location, &status)?;
        let scheme = archive.scheme().to_string();
        let origin = archive.origin();
        let response = fetch::get(
            fetch::Request {
                url: archive,
                accept: None,
                token: self.token.as_ref(),
                step: self.step,
                failure: FAILURE,
            },
            |to| {
                // Hosts hand archives out from another place, for which the redirect itself carries what is needed.
                if to.origin() == origin || to.scheme() == "https" || (to.scheme() == "http" && scheme == "http") {
                    Ok(())
                } else {
                    Err(redirect_refused(to))
                }
            },
        )
        .await?;
        let shown = fetch::shown(response.url());
        let sub: Utf8PathBuf = path.iter().collect();
        let found = tokio::time::timeout(TREE_TIMEOUT, unpack(response, sub, target, dir)).await.map_err(|_| {
            ActionError::failed(format!("Unable to read {shown} within {} minutes", TREE_TIMEOUT.as_secs() / 60))
        })?;
        found?.ok_or_else(|| {
            ActionError::not_found(format!(
                "There is no directory '{}' in {}/{} at {reference}, as {} asks for",
                path.join("/"),
                location.owner,
                location.repo,
                fetch::shown(url)
            ))
        })
    }

    /// The commit of a URL, with the names of its reference and of the path below.
    async fn commit(&self, location: &Location) -> Result<(String, Vec<String>, CombinedStatus), ActionError> {
        let Some((reference, path)) = location.simple() else {
            let repository: Repository = self.json(self.repo_endpoint(location, &[])?).await?;
            let status = self.status(location, &repository.default_branch).await?;
            return Ok((repository.default_branch, Vec::new(), status));
        };
        match self.status(location, &reference).await {
            Ok(status) => Ok((reference, path, status)),
            // GitHub answers 422 for some texts that are no reference.
            Err(error) if *error.name() == ErrorName::NotFoundError || error.message().contains(", 422 ") => {
                match self.longer_reference(location, 0).await {
                    Some((reference, path)) => {
                        let status = self.status(location, &reference).await?;
                        Ok((reference, path, status))
                    }
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn status(&self, location: &Location, reference: &str) -> Result<CombinedStatus, ActionError> {
        let mut parts = vec!["commits"];
        parts.extend(reference.split('/'));
        parts.push("status");
        let mut url = self.repo_endpoint(location, &parts)?;
        url.set_query(Some("per_page=0"));
        self.json(url).await
    }

    /// Looks for a branch or tag with slashes in its name: the longest that the URL begins with and that leaves at least
    /// `path` segments. Failures count as none, for the caller has a better error.
    async fn longer_reference(&self, location: &Location, path: usize) -> Option<(String, Vec<String>)> {
        if location.rest.len() < 2 + path {
            return None;
        }
        for kind in ["heads", "tags"] {
            let parts = ["git", "matching-refs", kind, &location.rest[0], &location.rest[1]];
            let url = self.repo_endpoint(location, &parts).ok()?;
            let refs: Vec<MatchingRef> = self.json(url).await.ok()?;
            let longest = refs
                .iter()
                .filter_map(|found| found.name.strip_prefix("refs/")?.strip_prefix(kind)?.strip_prefix('/'))
                .map(|name| name.split('/').collect::<Vec<_>>())
                .filter(|name| {
                    name.len() + path <= location.rest.len() && name.iter().zip(&location.rest).all(|(a, b)| a == b)
                })
                .max_by_key(Vec::len);
            if let Some(name) = longest {
                return Some((name.join("/"), location.rest[name.len()..].to_vec()));
            }
        }
        None
    }

    /// Where the API says the archive is, if it is the API's own place, else where the API is known to have it.
    fn archive_url(&self, location: &Location, status: &CombinedStatus) -> Result<Url, ActionError> {
        let default = self.repo_endpoint(location, &["tarball", &status.sha])?;
        let named = status
            .repository
            .archive_url
            .replace("{archive_format}", "tarball")
            .replace("{/ref}", &format!("/{}", status.sha));
        Ok(Url::parse(&named).ok().filter(|named| named.origin() == default.origin()).unwrap_or(default))
    }

    fn repo_endpoint(&self, location: &Location, parts: &[&str]) -> Result<Url, ActionError> {
        let mut all = vec!["repos", &location.owner, &location.repo];
        all.extend(parts);
        endpoint(&self.github.api_base_url, &all)
    }

    async fn json<T: DeserializeOwned>(&self, url: Url) -> Result<T, ActionError> {
        let asked = url.clone();
        let content = fetch::content(self.get(url, Some(JSON)).await?, MAX_JSON).await?;
        serde_json::from_slice(&content)
            .map_err(|error| fetch::unreadable(&asked, &format!("the answer is not what GitHub gives: {error}")))
    }

    /// Follows redirects only within the host (a renamed repository).
    async fn get(&self, url: Url, accept: Option<&'static str>) -> Result<Response, ActionError> {
        let origin = url.origin();
        fetch::get(
            fetch::Request { url, accept, token: self.token.as_ref(), step: self.step, failure: FAILURE },
            |to| {
                if to.origin() == origin { Ok(()) } else { Err(redirect_refused(to)) }
            },
        )
        .await
    }
}

fn redirect_refused(to: &Url) -> ActionError {
    ActionError::not_allowed(format!("The host redirects to {}, which is not followed", fetch::shown(to)))
}

/// A URL below a base; every part becomes one segment, encoded.
fn endpoint(base: &str, parts: &[&str]) -> Result<Url, ActionError> {
    let mut url = Url::parse(base)
        .map_err(|error| ActionError::failed(format!("the integration's URL {base} is not valid: {error}")))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(parts);
    }
    Ok(url)
}

/// Unpacks while it downloads; the archive is never held as a whole.
async fn unpack(
    response: Response,
    sub: Utf8PathBuf,
    target: &Workspace,
    dir: &str,
) -> Result<Option<TreeSummary>, ActionError> {
    let shown = fetch::shown(response.url());
    let (target, dir) = (target.clone(), dir.to_string());
    let (sender, receiver) = mpsc::channel(16);
    let work = tokio::task::spawn_blocking(move || {
        target.create_dir_all(&dir)?;
        let target = target.sub(&dir)?;
        archive::extract(Pipe { receiver, current: Bytes::new(), ended: false }, &sub, &target)
    });
    let mut chunks = std::pin::pin!(fetch::chunks(response));
    loop {
        let piece = match chunks.next().await {
            Some(Ok(chunk)) => Piece::Chunk(chunk),
            Some(Err(reason)) => Piece::Failed(reason),
            None => Piece::End,
        };
        let last = !matches!(piece, Piece::Chunk(_));
        // The receiver goes away when unpacking has failed, or is done before the padding at the end.
        if sender.send(piece).await.is_err() || last {
            break;
        }
    }
    drop(sender);
    let result = work.await.map_err(|_| ActionError::failed(format!("unpacking {shown} ended unexpectedly")))?;
    result.map_err(|error| error.into_action(&shown))
}

enum Piece {
    Chunk(Bytes),
    Failed(String),
    End,
}

/// The blocking end of a download. A sender that goes away without [`Piece::End`] is an error, so an abandoned download is
/// never taken for a short archive.
struct Pipe {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Piece::Chunk(chunk)) => self.current = chunk,
                Some(Piece::Failed(reason)) => return Err(io::Error::other(reason)),
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download was abandoned")),
            }
        }
        let n = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, owner, repo, rest) in [
            ("https://github.com/o/r", "o", "r", &[][..]),
            ("https://github.com/o/r.git", "o", "r", &[]),
            ("https://github.com/o/r/", "o", "r", &[]),
            ("https://github.com/o/r/tree/main", "o", "r", &["main"]),
            ("https://github.com/o/r/blob/main/a%20b/c.txt?x#y", "o", "r", &["main", "a b", "c.txt"]),
            ("https://github.com/o/r/tree/main//a//", "o", "r", &["main", "a"]),
            ("https://github.com/o/r/raw/feature/x/a", "o", "r", &["feature", "x", "a"]),
        ] {
            let location = Location::parse(&Url::parse(url).unwrap()).unwrap();
            assert_eq!((location.owner.as_str(), location.repo.as_str()), (owner, repo), "{url}");
            assert_eq!(location.rest, rest, "{url}");
        }
        for url in [
            "https://github.com/",
            "https://github.com/o",
            "https://github.com/o/r/issues/1",
            "https://github.com/o/r/blob/main/a%2F..%2F..%2F..%2Fuser",
            "https://github.com/o/..%5c/blob/main/a",
            "https://github.com/o/r/blob/main/%ff",
            "https://github.com/o/r/blob/main/a%00b",
        ] {
            let error = Location::parse(&Url::parse(url).unwrap()).unwrap_err();
            assert_eq!(error.message(), format!("Incorrect URL: {url}, Error: Invalid GitHub URL or file path"));
        }
    }

    #[test]
    fn endpoints_are_encoded() {
        assert_eq!(
            endpoint("https://ghe.example.com/api/v3", &["repos", "o", "a b", "c?d#e%f"]).unwrap().as_str(),
            "https://ghe.example.com/api/v3/repos/o/a%20b/c%3Fd%23e%25f"
        );
    }

    #[test]
    fn an_abandoned_download_is_no_end() {
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(Piece::Chunk(Bytes::from_static(b"abc"))).unwrap();
        drop(sender);
        let mut pipe = Pipe { receiver, current: Bytes::new(), ended: false };
        let mut read = Vec::new();
        assert!(pipe.read_to_end(&mut read).is_err());
        assert_eq!(read, b"abc");
    }
}
