//! Reads a location and everything it leads to.

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use understudy_scm::Scm;
use understudy_sdk::{ActionError, EntityRef, ErrorName};

use super::{
    location::{Location, LocationKind},
    validation,
};
use crate::yaml;

/// How many locations may lead to each other in a row.
const MAX_DEPTH: usize = 10;
/// How many files one registered location may lead to.
const MAX_FILES: usize = 2_000;
/// How many directories a pattern may look into.
const MAX_DIRECTORIES: usize = 20_000;
/// How many documents of a file, and how many problems of each, are told.
const MAX_PROBLEMS: usize = 10;

/// An entity as it was read: valid, nothing added yet.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) entity: Value,
    /// `kind:namespace/name`, lower case.
    pub(super) entity_ref: String,
    /// The file it came from.
    pub(super) location: Location,
}

/// A file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or URL.
    pub location: Location,
    /// What is wrong, with the file, and the document and line where they are known.
    pub message: String,
}

/// What a location leads to.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// In the order of a dry run of Backstage's catalog: what was found last is visited first.
    pub(super) items: Vec<Item>,
    /// Files that can't be used; nothing of them is among the items.
    pub(super) problems: Vec<Problem>,
}

/// A step of the way.
#[derive(Debug)]
pub(super) enum Item {
    /// A location that was visited, and the one that led there.
    Visited { location: Location, parent: Location },
    /// An entity.
    Entity(Found),
}

impl Discovery {
    /// The entities alone.
    pub(super) fn entities(&self) -> impl Iterator<Item = &Found> {
        self.items.iter().filter_map(|item| match item {
            Item::Entity(found) => Some(found),
            Item::Visited { .. } => None,
        })
    }
}

/// What is still to be visited.
enum Open {
    Location { location: Location, chain: Vec<Location>, optional: bool },
    Entity { found: Found, chain: Vec<Location> },
}

/// Reads `root` and what it leads to. Problems don't end the search: each is about one file.
pub(super) async fn discover(scm: &Scm, root: &Location) -> Discovery {
    let mut discovery = Discovery::default();
    let mut visited = HashSet::new();
    let mut refs: std::collections::HashMap<String, Location> = std::collections::HashMap::new();
    let mut open = vec![Open::Location { location: root.clone(), chain: Vec::new(), optional: false }];
    while let Some(next) = open.pop() {
        match next {
            Open::Location { location, chain, optional } => {
                if let Some(message) = circle_or_limit(&location, &chain, visited.len()) {
                    discovery.problems.push(Problem { location, message });
                    continue;
                }
                if !visited.insert(location.clone()) {
                    continue;
                }
                let parent = chain.last().unwrap_or(&location).clone();
                discovery.items.push(Item::Visited { location: location.clone(), parent });
                let mut chain = chain;
                chain.push(location.clone());
                for (file, outcome) in read_location(scm, &location).await {
                    match read_entities(&file, outcome).await {
                        Ok(found) => {
                            open.extend(found.into_iter().map(|found| Open::Entity { found, chain: chain.clone() }));
                        }
                        Err(ReadError::Missing(_)) if optional => {}
                        Err(ReadError::Missing(message) | ReadError::Failed(message)) => {
                            discovery.problems.push(Problem { location: file, message });
                        }
                    }
                }
            }
            Open::Entity { found, chain } => {
                if let Some(first) = refs.get(&found.entity_ref) {
                    let message =
                        format!("{}: {} is defined in {first} already", found.location.target, found.entity_ref);
                    discovery.problems.push(Problem { location: found.location, message });
                    continue;
                }
                refs.insert(found.entity_ref.clone(), found.location.clone());
                match targets(scm, &found) {
                    Ok(targets) => {
                        let optional = found.entity.pointer("/spec/presence") == Some(&Value::from("optional"));
                        open.extend(targets.into_iter().map(|location| Open::Location {
                            location,
                            chain: chain.clone(),
                            optional,
                        }));
                        discovery.items.push(Item::Entity(found));
                    }
                    Err(message) => {
                        let message = format!("{}: {message}", found.location.target);
                        discovery.problems.push(Problem { location: found.location, message });
                    }
                }
            }
        }
    }
    // A file is taken whole or not at all.
    let bad: HashSet<&Location> = discovery.problems.iter().map(|problem| &problem.location).collect();
    discovery.items.retain(|item| match item {
        Item::Entity(found) => !bad.contains(&found.location),
        Item::Visited { .. } => true,
    });
    discovery
}

fn circle_or_limit(location: &Location, chain: &[Location], visited: usize) -> Option<String> {
    if let Some(start) = chain.iter().position(|earlier| earlier == location) {
        let circle: Vec<&str> =
            chain[start..].iter().chain([location]).map(|location| location.target.as_str()).collect();
        return Some(format!("{}: locations lead to each other in a circle: {}", location.target, circle.join(" → ")));
    }
    if chain.len() > MAX_DEPTH {
        return Some(format!("{}: more than {MAX_DEPTH} locations lead to each other in a row", location.target));
    }
    (visited >= MAX_FILES).then(|| format!("{}: one location leads to more than {MAX_FILES} others", location.target))
}

/// Why a location can't be read.
enum ReadError {
    /// There is nothing there.
    Missing(String),
    /// Anything else.
    Failed(String),
}

/// The texts at a location: one, or for a pattern any number, each with the location of its file.
async fn read_location(scm: &Scm, location: &Location) -> Vec<(Location, Result<String, ReadError>)> {
    match location.kind {
        LocationKind::Url => vec![(location.clone(), read_url(scm, &location.target).await)],
        LocationKind::File => {
            let target = location.target.clone();
            let read = tokio::task::spawn_blocking(move || read_files(&target)).await;
            read.unwrap_or_else(|error| {
                let message = format!("{}: can't be read: {error}", location.target);
                vec![(location.clone(), Err(ReadError::Failed(message)))]
            })
        }
    }
}

async fn read_url(scm: &Scm, url: &str) -> Result<String, ReadError> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    if path.contains('*') {
        return Err(ReadError::Failed(format!(
            "{url}: patterns are not read in URLs; register each file, or a file of the kind Location that lists them"
        )));
    }
    let bytes = scm.as_service().read_file(url, None).await.map_err(|error: ActionError| {
        let message = format!("{url}: Unable to read url, {error}");
        match error.name() {
            ErrorName::NotFoundError => ReadError::Missing(message),
            _ => ReadError::Failed(message),
        }
    })?;
    text_of(url, bytes)
}

fn text_of(target: &str, bytes: Vec<u8>) -> Result<String, ReadError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ReadError::Failed(format!("{target}: is not UTF-8 text (at byte {at})"))
    })
}

fn read_files(target: &str) -> Vec<(Location, Result<String, ReadError>)> {
    let whole = Location::file(target);
    if !has_pattern(target) {
        return vec![(whole, read_one(Utf8Path::new(target)))];
    }
    match matching(target) {
        Ok(paths) if paths.is_empty() => {
            vec![(whole, Err(ReadError::Missing(format!("{target}: no file matches the pattern"))))]
        }
        Ok(paths) => paths
            .into_iter()
            .map(|path| {
                let text = read_one(&path);
                (Location::file(path), text)
            })
            .collect(),
        Err(message) => vec![(whole, Err(ReadError::Failed(format!("{target}: {message}"))))],
    }
}

fn read_one(path: &Utf8Path) -> Result<String, ReadError> {
    let failed = |error: std::io::Error| {
        let message = format!("{path}: Unable to read file, {error}");
        match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing(message),
            _ => ReadError::Failed(message),
        }
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(ReadError::Failed(format!("{path}: is no file; name the YAML file itself")));
    }
    if metadata.len() > yaml::MAX_BYTES as u64 {
        return Err(ReadError::Failed(format!(
            "{path}: is {} bytes long, at most {} are read",
            metadata.len(),
            yaml::MAX_BYTES
        )));
    }
    text_of(path.as_str(), std::fs::read(path).map_err(failed)?)
}

fn has_pattern(target: &str) -> bool {
    target.contains(['*', '?', '[', '{'])
}

/// The files a pattern matches, sorted. `*` stays within a directory, `**` doesn't; hidden files are left out.
fn matching(pattern: &str) -> Result<Vec<Utf8PathBuf>, String> {
    let matcher = globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| format!("the pattern can't be read: {error}"))?
        .compile_matcher();
    // The directory below which matches can lie.
    let start: Utf8PathBuf =
        Utf8Path::new(pattern).components().take_while(|part| !has_pattern(part.as_str())).collect();
    let deep = pattern.contains("**");
    let levels = Utf8Path::new(pattern).components().count() - start.components().count();
    let mut found = Vec::new();
    let mut directories = vec![(start, 1)];
    let mut looked_into = 0;
    while let Some((directory, level)) = directories.pop() {
        looked_into += 1;
        if looked_into > MAX_DIRECTORIES {
            return Err(format!("the pattern looks into more than {MAX_DIRECTORIES} directories; name a deeper one"));
        }
        let entries = match directory.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{directory} can't be read: {error}")),
        };
        for entry in entries.flatten() {
            if entry.file_name().starts_with('.') {
                continue;
            }
            let path = entry.path().to_owned();
            // A link to a directory is not followed: it may lead round in a circle.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory {
                if deep || level < levels {
                    directories.push((path, level + 1));
                }
            } else if matcher.is_match(&path) && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

async fn read_entities(file: &Location, text: Result<String, ReadError>) -> Result<Vec<Found>, ReadError> {
    let text = text?;
    let parsed = {
        let file = file.clone();
        // A text at the limits takes a while.
        tokio::task::spawn_blocking(move || parse(&file, &text)).await
    };
    parsed.unwrap_or_else(|error| Err(ReadError::Failed(format!("{}: can't be read: {error}", file.target))))
}

/// The valid entities of a text.
fn parse(file: &Location, text: &str) -> Result<Vec<Found>, ReadError> {
    let target = &file.target;
    let documents = yaml::parse_documents(text)
        .map_err(|error| ReadError::Failed(format!("YAML error at {}", error.in_file(target))))?;
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let count = documents.len();
    for (index, document) in documents.into_iter().enumerate() {
        if document.value.is_null() {
            continue;
        }
        let place = if count == 1 {
            format!("{target} (line {})", document.line)
        } else {
            format!("{target} document {} (line {})", index + 1, document.line)
        };
        match validation::validate(&document.value) {
            Ok(()) => match EntityRef::of(&document.value) {
                Some(entity_ref) => found.push(Found {
                    entity_ref: entity_ref.canonical(),
                    entity: document.value,
                    location: file.clone(),
                }),
                None => problems.push(format!("{place}: kind and metadata.name are missing")),
            },
            Err(mut reasons) => {
                let more = reasons.len().saturating_sub(MAX_PROBLEMS);
                reasons.truncate(MAX_PROBLEMS);
                if more > 0 {
                    reasons.push(format!("and {more} more problems"));
                }
                problems.push(format!("{place}: {}", reasons.join("; ")));
            }
        }
    }
    if problems.is_empty() {
        if found.is_empty() {
            return Err(ReadError::Failed(format!("{target}: holds no entity")));
        }
        return Ok(found);
    }
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    if more > 0 {
        problems.push(format!("and {more} more documents with problems"));
    }
    Err(ReadError::Failed(problems.join("; ")))
}

/// Where an entity of the kind `Location` leads.
fn targets(scm: &Scm, found: &Found) -> Result<Vec<Location>, String> {
    let is_location =
        found.entity.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("location"))
            && found
                .entity
                .get("apiVersion")
                .and_then(Value::as_str)
                .is_some_and(|version| version.starts_with("backstage.io/"));
    let Some(spec) = found.entity.get("spec").filter(|_| is_location) else { return Ok(Vec::new()) };
    let base = &found.location;
    let kind = match spec.get("type").and_then(Value::as_str) {
        Some(text) => LocationKind::parse(text).ok_or_else(|| format!("locations of the type {text} are not read"))?,
        None => base.kind,
    };
    if (base.kind, kind) == (LocationKind::Url, LocationKind::File) {
        return Err("a location read from a URL can't lead to files of this machine; leave spec.type out".to_string());
    }
    let single = spec.get("target").and_then(Value::as_str);
    let listed = spec.get("targets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    single
        .into_iter()
        .chain(listed)
        .map(|target| Ok(Location { kind, target: resolve(scm, base, kind, target)? }))
        .collect()
}

fn resolve(scm: &Scm, base: &Location, kind: LocationKind, target: &str) -> Result<String, String> {
    match kind {
        LocationKind::File => {
            let directory = Utf8Path::new(&base.target).parent().unwrap_or(Utf8Path::new("/"));
            Ok(normal(&directory.join(target)))
        }
        LocationKind::Url if base.kind == LocationKind::File => match url::Url::parse(target) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(target.to_string()),
            _ => Err(format!("the target {target} is no http or https URL")),
        },
        // Hosts of backend.reading.allow have no integration; there the web's own rules hold.
        LocationKind::Url if scm.integration_type(&base.target).is_none() => url::Url::parse(&base.target)
            .and_then(|base| base.join(target))
            .map(String::from)
            .map_err(|error| format!("the target {target} can't be resolved: {error}")),
        LocationKind::Url => scm.resolve_url(target, &base.target).map_err(|error| error.message().to_string()),
    }
}

/// The path without `.` and `..`, as `path.join` of Node.js gives it.
pub(super) fn normal(path: &Utf8Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.as_str().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
