//! Gets GitHub's OpenAPI description from the npm registry, once, and keeps it in the user's cache.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::Path,
};

use serde_json::Value;

use super::{Document, trim};
use crate::{Error, Result, cache};

const PACKAGE: &str = "@octokit/openapi@23.0.2";
const DIRECTORY: &str = "octokit-openapi-23.0.2";
const MEMBER: &str = "package/generated/api.github.com.json";

/// The description of `routes`.
pub(super) async fn document(routes: &[(&str, &str)]) -> Result<Document> {
    let dir = cache::directory()?.join(DIRECTORY);
    let mut hasher = DefaultHasher::new();
    (trim::VERSION, routes).hash(&mut hasher);
    let trimmed = dir.join(format!("routes-{:016x}.json", hasher.finish()));
    if let Some(document) = read_trimmed(&trimmed) {
        return Ok(document);
    }
    fs::create_dir_all(&dir).map_err(Error::io(format!("creating {}", dir.display())))?;
    let _lock = cache::lock(&dir.join("lock")).await?;
    if let Some(document) = read_trimmed(&trimmed) {
        return Ok(document);
    }
    let whole = dir.join("api.github.com.json");
    if !whole.is_file() {
        cache::npm_file(PACKAGE, MEMBER, &whole).await?;
    }
    let text = fs::read(&whole).map_err(Error::io(format!("reading {}", whole.display())))?;
    let parsed: Value = serde_json::from_slice(&text).map_err(|error| Error::File {
        path: whole.clone(),
        detail: format!("no JSON ({error}); delete the file to have it downloaded again"),
    })?;
    let document = trim::trim(&parsed, routes)?;
    let text = serde_json::to_vec(&document)
        .map_err(|error| Error::File { path: trimmed.clone(), detail: error.to_string() })?;
    write_whole(&trimmed, &text)?;
    Ok(document)
}

/// A file that is missing, or that a different version wrote, is made anew.
fn read_trimmed(path: &Path) -> Option<Document> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Readers without the lock see the whole file or none.
fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(Error::io(format!("writing {}", partial.display())))?;
    fs::rename(&partial, path).map_err(Error::io(format!("writing {}", path.display())))
}
