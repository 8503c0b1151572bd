//! Git's objects and references, written one by one as the API allows.

use std::fs;

use super::git::Store;
use crate::{Error, Result, programs};

/// An entry of a tree to write.
pub(super) struct NewEntry {
    pub(super) path: String,
    pub(super) mode: String,
    /// `None`: the path is removed.
    pub(super) sha: Option<String>,
}

/// A commit to write.
pub(super) struct NewCommit<'a> {
    pub(super) tree: &'a str,
    pub(super) parents: &'a [String],
    pub(super) message: &'a str,
    pub(super) author: (&'a str, &'a str),
}

/// What a reference could be set to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Update {
    Done,
    /// There is no such object.
    NoObject,
    /// The update would lose commits.
    NotForward,
}

impl Store {
    pub(super) async fn write_blob(&self, owner: &str, name: &str, content: &[u8]) -> Result<String> {
        let scratch = self.scratch()?;
        let file = scratch.path().join("content");
        fs::write(&file, content).map_err(Error::io("writing a blob's content"))?;
        let mut hash = self.inside(owner, name);
        hash.args(["hash-object", "-w", "--"]).arg(&file);
        Self::text(hash).await
    }

    /// `None` when the base or an object is not there, or a path to remove is not.
    pub(super) async fn write_tree(
        &self,
        (owner, name): (&str, &str),
        base: Option<&str>,
        entries: &[NewEntry],
    ) -> Result<Option<String>> {
        let scratch = self.scratch()?;
        let with_index = || {
            let mut command = self.inside(owner, name);
            command.env("GIT_INDEX_FILE", scratch.path().join("index"));
            command
        };
        if let Some(base) = base
            && !succeeded(programs::output(with_index().args(["read-tree", base])).await)?
        {
            return Ok(None);
        }
        for entry in entries {
            let mut update = with_index();
            match &entry.sha {
                Some(sha) => {
                    if !self.has(owner, name, sha).await? {
                        return Ok(None);
                    }
                    let info = format!("{},{sha},{}", entry.mode, entry.path);
                    update.args(["update-index", "--add", "--cacheinfo", &info]);
                }
                None => {
                    let mut listed = with_index();
                    listed.args(["ls-files", "--error-unmatch", "--", &entry.path]);
                    if !succeeded(programs::output(&mut listed).await)? {
                        return Ok(None);
                    }
                    // It is an operation of work trees, even though none is looked at.
                    update.env("GIT_WORK_TREE", scratch.path()).current_dir(scratch.path());
                    update.args(["update-index", "--force-remove", "--", &entry.path]);
                }
            }
            programs::output(&mut update).await?;
        }
        let mut write = with_index();
        write.arg("write-tree");
        Self::text(write).await.map(Some)
    }

    pub(super) async fn write_commit(&self, owner: &str, name: &str, commit: &NewCommit<'_>) -> Result<Option<String>> {
        for sha in commit.parents.iter().map(String::as_str).chain([commit.tree]) {
            if !self.has(owner, name, sha).await? {
                return Ok(None);
            }
        }
        let mut write = self.inside(owner, name);
        for role in ["AUTHOR", "COMMITTER"] {
            write.env(format!("GIT_{role}_NAME"), commit.author.0).env(format!("GIT_{role}_EMAIL"), commit.author.1);
        }
        write.args(["commit-tree", commit.tree, "-m", commit.message]);
        for parent in commit.parents {
            write.args(["-p", parent]);
        }
        Self::text(write).await.map(Some)
    }

    /// Sets a reference, given with its `refs/`.
    pub(super) async fn set_reference(
        &self,
        (owner, name): (&str, &str),
        reference: &str,
        sha: &str,
        force: bool,
    ) -> Result<Update> {
        if !self.has(owner, name, sha).await? {
            return Ok(Update::NoObject);
        }
        let known = self.resolve(owner, name, reference.trim_start_matches("refs/")).await?;
        if let Some(known) = known
            && !force
        {
            let mut ancestor = self.inside(owner, name);
            ancestor.args(["merge-base", "--is-ancestor", &known, sha]);
            if !succeeded(programs::output(&mut ancestor).await)? {
                return Ok(Update::NotForward);
            }
        }
        let mut update = self.inside(owner, name);
        update.args(["update-ref", reference, sha]);
        programs::output(&mut update).await?;
        Ok(Update::Done)
    }

    /// Copies a repository.
    pub(super) async fn fork(&self, from: (&str, &str), to: (&str, &str)) -> Result<()> {
        let target = self.dir(to.0, to.1);
        let mut clone = self.command();
        clone.args(["clone", "--quiet", "--bare"]).arg(self.dir(from.0, from.1)).arg(&target);
        programs::output(&mut clone).await?;
        Self::guard(&target)
    }

    async fn has(&self, owner: &str, name: &str, sha: &str) -> Result<bool> {
        let mut command = self.inside(owner, name);
        command.args(["cat-file", "-e", sha]);
        succeeded(programs::output(&mut command).await)
    }

    fn scratch(&self) -> Result<tempfile::TempDir> {
        tempfile::tempdir().map_err(Error::io("creating a temporary directory"))
    }
}

/// Whether a command succeeded; failing to start is an error.
fn succeeded(result: Result<Vec<u8>>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(Error::Program { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
