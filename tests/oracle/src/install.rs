//! The pinned packages, installed once into a cache outside the tree.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use sha1::{Digest, Sha1};

use crate::Error;

const PACKAGE: &str = include_str!("../node/package.json");
const LOCK: &str = include_str!("../node/package-lock.json");

/// `nunjitsu`, `nunjucks` and Node, on disk.
#[derive(Debug, Clone)]
pub struct Installation {
    directory: PathBuf,
    node: PathBuf,
}

impl Installation {
    /// The installation of the pinned versions; made with npm when it is not there yet.
    ///
    /// It lies in `$UNDERSTUDY_CACHE`, else `$XDG_CACHE_HOME/understudy`, else `~/.cache/understudy`, under a name that
    /// changes with the pins. Several processes may come at once: each makes its own, and the first one's stays.
    ///
    /// # Errors
    /// When npm is missing or fails, when the packages have no Node for this machine, when the cache cannot be written.
    pub fn ensure() -> Result<Self, Error> {
        let digest = Sha1::new().chain_update(PACKAGE).chain_update(LOCK).finalize();
        let key: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let cache = cache_dir()?;
        let directory = cache.join(format!("oracle-{key}"));
        if let Some(installation) = Self::at(&directory) {
            return Ok(installation);
        }
        fs::create_dir_all(&cache).map_err(Error::file(&cache))?;
        let scratch = tempfile::Builder::new().prefix("oracle-").tempdir_in(&cache).map_err(Error::file(&cache))?;
        install(scratch.path())?;
        if Self::at(scratch.path()).is_none() {
            return Err(Error::NoNode(format!("{}-{}", env::consts::OS, env::consts::ARCH)));
        }
        let moved = fs::rename(scratch.path(), &directory);
        match (moved, Self::at(&directory)) {
            // When the rename failed, another process was first, and its installation is as good.
            (_, Some(installation)) => Ok(installation),
            (Err(error), None) => Err(Error::file(&directory)(error)),
            (Ok(()), None) => Err(Error::file(&directory)(std::io::ErrorKind::NotFound.into())),
        }
    }

    fn at(directory: &Path) -> Option<Self> {
        let modules = directory.join("node_modules");
        let packages = fs::read_dir(&modules).ok()?.filter_map(Result::ok);
        let node = packages
            .filter(|package| package.file_name().to_string_lossy().starts_with("node-"))
            .map(|package| package.path().join("bin/node"))
            .find(|node| node.is_file())?;
        let complete = ["nunjitsu", "nunjucks"].iter().all(|name| modules.join(name).join("package.json").is_file());
        complete.then(|| Self { directory: directory.to_owned(), node })
    }

    /// The Node executable.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// The directory that has the packages in its `node_modules`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn cache_dir() -> Result<PathBuf, Error> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("UNDERSTUDY_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join("understudy")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/understudy")))
        .ok_or(Error::NoCache)
}

fn install(directory: &Path) -> Result<(), Error> {
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        let path = directory.join(name);
        fs::write(&path, text).map_err(Error::file(path))?;
    }
    let run = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::NoNpm)?;
    if run.status.success() {
        return Ok(());
    }
    let output = [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Err(Error::Npm { status: run.status, output })
}
