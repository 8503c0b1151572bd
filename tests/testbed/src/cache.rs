//! What is expensive to get is kept outside the tree, for all checkouts of a user.

use std::{
    env,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use tokio::process::Command;

use crate::{Error, Result, programs};

/// `$UNDERSTUDY_CACHE`, else `$XDG_CACHE_HOME/understudy`, else `~/.cache/understudy`; what lies there carries its version in
/// its name.
///
/// # Errors
/// None of the variables is an absolute path.
pub fn directory() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("UNDERSTUDY_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join("understudy")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/understudy")))
        .ok_or_else(|| {
            Error::unexpected(
                "the cache directory",
                "none of UNDERSTUDY_CACHE, XDG_CACHE_HOME and HOME is an absolute path; set one of them",
            )
        })
}

/// Waits for a lock that other processes may hold; it is held until the file is dropped.
pub(crate) async fn lock(path: &Path) -> Result<File> {
    let path = path.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let what = format!("locking {}", path.display());
        let file = File::create(&path).map_err(Error::io(&what))?;
        file.lock().map_err(Error::io(what))?;
        Ok(file)
    });
    locked.await.map_err(|error| Error::unexpected("the cache's lock", error.to_string()))?
}

/// Downloads an npm package, `name@version`, and writes one of its files (`package/…`) to `target`, at once or not at all.
pub(crate) async fn npm_file(package: &'static str, member: &'static str, target: &Path) -> Result<()> {
    let dir = target.parent().unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new()
        .prefix("download-")
        .tempdir_in(dir)
        .map_err(Error::io(format!("creating a directory in {}", dir.display())))?;
    let mut command = Command::new(programs::find("npm")?);
    command.args(["pack", "--silent", "--pack-destination"]).arg(scratch.path()).arg(package);
    command.current_dir(scratch.path());
    programs::output(&mut command).await?;
    let (from, to) = (scratch.path().to_owned(), target.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || unpack(package, member, &from, &to));
    unpacked.await.map_err(|error| Error::unexpected(format!("unpacking {package}"), error.to_string()))?
}

fn unpack(package: &str, member: &str, dir: &Path, target: &Path) -> Result<()> {
    let what = || format!("unpacking {package}");
    let archive = fs::read_dir(dir)
        .map_err(Error::io(what()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| Error::unexpected(what(), "npm wrote no .tgz file"))?;
    let file = File::open(&archive).map_err(Error::io(what()))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    for entry in archive.entries().map_err(Error::io(what()))? {
        let mut entry = entry.map_err(Error::io(what()))?;
        if entry.path().is_ok_and(|path| path == Path::new(member)) {
            let partial = target.with_extension("partial");
            let mut file = File::create(&partial).map_err(Error::io(what()))?;
            std::io::copy(&mut entry, &mut file).map_err(Error::io(what()))?;
            return fs::rename(&partial, target).map_err(Error::io(what()));
        }
    }
    Err(Error::unexpected(what(), format!("it has no {member}")))
}
