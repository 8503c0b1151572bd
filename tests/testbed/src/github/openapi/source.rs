//! Gets GitHub's OpenAPI description from the npm registry, once, and keeps it in the user's cache.

use std::{
    collections::hash_map::DefaultHasher,
    env,
    fs::{self, File},
    hash::{Hash, Hasher},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde_json::Value;
use tokio::process::Command;

use super::{Document, trim};
use crate::{Error, Result, programs};

const PACKAGE: &str = "@octokit/openapi@23.0.2";
const DIRECTORY: &str = "octokit-openapi-23.0.2";
const MEMBER: &str = "package/generated/api.github.com.json";

/// The description of `routes`.
pub(super) async fn document(routes: &[(&str, &str)]) -> Result<Document> {
    let dir = cache_dir()?.join(DIRECTORY);
    let mut hasher = DefaultHasher::new();
    (trim::VERSION, routes).hash(&mut hasher);
    let trimmed = dir.join(format!("routes-{:016x}.json", hasher.finish()));
    if let Some(document) = read_trimmed(&trimmed) {
        return Ok(document);
    }
    fs::create_dir_all(&dir).map_err(Error::io(format!("creating {}", dir.display())))?;
    let _lock = lock(&dir.join("lock")).await?;
    if let Some(document) = read_trimmed(&trimmed) {
        return Ok(document);
    }
    let whole = dir.join("api.github.com.json");
    if !whole.is_file() {
        download(&dir, &whole).await?;
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

/// `${XDG_CACHE_HOME:-~/.cache}/understudy-testbed`
fn cache_dir() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("understudy-testbed"))
        .ok_or_else(|| Error::unexpected("the cache directory", "neither XDG_CACHE_HOME nor HOME is an absolute path"))
}

/// A file that is missing, or that a different version wrote, is made anew.
fn read_trimmed(path: &Path) -> Option<Document> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

async fn lock(path: &Path) -> Result<File> {
    let path = path.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let what = format!("locking {}", path.display());
        let file = File::create(&path).map_err(Error::io(&what))?;
        file.lock().map_err(Error::io(what))?;
        Ok(file)
    });
    locked.await.map_err(|error| Error::unexpected("the cache's lock", error.to_string()))?
}

async fn download(dir: &Path, target: &Path) -> Result<()> {
    let npm = programs::find("npm")?;
    let scratch = tempfile::Builder::new()
        .prefix("download-")
        .tempdir_in(dir)
        .map_err(Error::io(format!("creating a directory in {}", dir.display())))?;
    let mut command = Command::new(npm);
    command.args(["pack", "--silent", "--pack-destination"]).arg(scratch.path()).arg(PACKAGE);
    command.current_dir(scratch.path());
    programs::output(&mut command).await?;
    let (from, to) = (scratch.path().to_owned(), target.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || unpack(&from, &to));
    unpacked.await.map_err(|error| Error::unexpected(format!("unpacking {PACKAGE}"), error.to_string()))?
}

fn unpack(dir: &Path, target: &Path) -> Result<()> {
    let what = || format!("unpacking {PACKAGE}");
    let archive = fs::read_dir(dir)
        .map_err(Error::io(what()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| Error::unexpected(what(), "npm wrote no .tgz file"))?;
    let file = File::open(&archive).map_err(Error::io(what()))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    for entry in archive.entries().map_err(Error::io(what()))? {
        let mut entry = entry.map_err(Error::io(what()))?;
        if entry.path().is_ok_and(|path| path == Path::new(MEMBER)) {
            let mut text = Vec::new();
            entry.read_to_end(&mut text).map_err(Error::io(what()))?;
            return write_whole(target, &text);
        }
    }
    Err(Error::unexpected(what(), format!("it has no {MEMBER}")))
}

/// Readers without the lock see the whole file or none.
fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(Error::io(format!("writing {}", partial.display())))?;
    fs::rename(&partial, path).map_err(Error::io(format!("writing {}", path.display())))
}
