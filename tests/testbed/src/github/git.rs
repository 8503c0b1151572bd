//! Bare repositories on disk, read and written with the `git` program.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use super::state::folded;
use crate::{Error, Result, programs};

/// Runs before a push is taken. `TESTBED_WITHOUT_WORKFLOW` and `TESTBED_PROTECTED` (branch names, one a line) come from
/// the request; `git` shows what it writes to standard error as `remote:` lines.
const PRE_RECEIVE: &str = r#"#!/bin/sh
zero=0000000000000000000000000000000000000000
while read -r old new ref; do
  branch=${ref#refs/heads/}
  for protected in $TESTBED_PROTECTED; do
    if [ "$branch" = "$protected" ]; then
      echo "error: GH006: Protected branch update failed for $ref." >&2
      echo "error: Changes must be made through a pull request." >&2
      exit 1
    fi
  done
  if [ -n "$TESTBED_WITHOUT_WORKFLOW" ] && [ "$new" != "$zero" ]; then
    if [ "$old" = "$zero" ]; then old=$(git hash-object -t tree /dev/null); fi
    file=$(git diff-tree -r --name-only "$old" "$new" -- .github/workflows | head -n 1)
    if [ -n "$file" ]; then
      echo "refusing to allow a Personal Access Token to create or update workflow \`$file\` without \`workflow\` scope" >&2
      exit 1
    fi
  fi
done
"#;

/// The repositories of one double.
#[derive(Debug, Clone)]
pub(super) struct Store {
    program: PathBuf,
    root: PathBuf,
    home: PathBuf,
}

/// One commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) tree: String,
    pub(super) parents: Vec<String>,
    pub(super) author: Person,
    pub(super) committer: Person,
    pub(super) message: String,
}

/// Author or committer.
#[derive(Debug, Clone, Default)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) email: String,
    /// RFC 3339.
    pub(super) date: String,
}

/// One entry of a tree.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) mode: String,
    /// `blob`, `tree` or `commit`.
    pub(super) kind: String,
    pub(super) sha: String,
    pub(super) size: u64,
    pub(super) name: String,
}

/// A branch or a tag.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// Beginning with `refs/`.
    pub(super) name: String,
    /// `commit` or `tag`.
    pub(super) kind: String,
    pub(super) sha: String,
}

/// A file to be committed.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// Path in the repository, `/` between its parts.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
    /// Whether it is executable.
    pub executable: bool,
}

/// What a repository is filled with.
#[derive(Debug, Clone)]
pub enum Seed {
    /// Everything below a directory.
    Directory(PathBuf),
    /// These files.
    Files(Vec<SeedFile>),
}

impl From<&Path> for Seed {
    fn from(dir: &Path) -> Self {
        Self::Directory(dir.to_owned())
    }
}

impl From<Vec<SeedFile>> for Seed {
    fn from(files: Vec<SeedFile>) -> Self {
        Self::Files(files)
    }
}

impl From<&[(&str, &str)]> for Seed {
    fn from(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| SeedFile {
            path: path.to_owned(),
            content: text.as_bytes().to_vec(),
            executable: false,
        };
        Self::Files(files.iter().map(file).collect())
    }
}

impl<const N: usize> From<&[(&str, &str); N]> for Seed {
    fn from(files: &[(&str, &str); N]) -> Self {
        files.as_slice().into()
    }
}

impl Store {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let store = Self { program: programs::find("git")?, root: dir.join("git"), home: dir.join("home") };
        for dir in [&store.root, &store.home] {
            fs::create_dir_all(dir).map_err(Error::io(format!("creating {}", dir.display())))?;
        }
        Ok(store)
    }

    /// The directory that `git http-backend` serves.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a repository below [`Store::root`].
    pub(super) fn relative(owner: &str, name: &str) -> String {
        format!("{}/{}.git", folded(owner), folded(name))
    }

    pub(super) fn dir(&self, owner: &str, name: &str) -> PathBuf {
        self.root.join(Self::relative(owner, name))
    }

    /// `git` without the machine's and the user's configuration.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", &self.home).env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        command.current_dir(&self.home).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(super) fn inside(&self, owner: &str, name: &str) -> Command {
        let mut command = self.command();
        command.arg("--git-dir").arg(self.dir(owner, name));
        command
    }

    pub(super) async fn text(mut command: Command) -> Result<String> {
        let out = programs::output(&mut command).await?;
        Ok(String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned())
    }

    /// Makes an empty repository whose HEAD is the unborn `branch`.
    pub(super) async fn create(&self, owner: &str, name: &str, branch: &str) -> Result<()> {
        let dir = self.dir(owner, name);
        let mut command = self.command();
        command.args(["init", "--quiet", "--bare"]).arg(format!("--initial-branch={branch}")).arg(&dir);
        programs::output(&mut command).await?;
        Self::guard(&dir)
    }

    /// Puts the hook in place that pushes meet.
    pub(super) fn guard(dir: &Path) -> Result<()> {
        let hook = dir.join("hooks/pre-receive");
        let written = fs::create_dir_all(dir.join("hooks"))
            .and_then(|()| fs::write(&hook, PRE_RECEIVE))
            .and_then(|()| fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)));
        written.map_err(Error::io(format!("writing {}", hook.display())))
    }

    pub(super) fn remove(&self, owner: &str, name: &str) -> Result<()> {
        let dir = self.dir(owner, name);
        fs::remove_dir_all(&dir).map_err(Error::io(format!("removing {}", dir.display())))
    }

    /// Commits `files` as the whole tree of `branch`.
    pub(super) async fn commit(
        &self,
        (owner, name): (&str, &str),
        branch: &str,
        files: &[SeedFile],
        message: &str,
        author: (&str, &str),
    ) -> Result<String> {
        let work = tempfile::tempdir_in(&self.home).map_err(Error::io("creating a work tree"))?;
        for file in files {
            let path = work.path().join("tree").join(&file.path);
            let mode = if file.executable { 0o755 } else { 0o644 };
            let written = fs::create_dir_all(path.parent().unwrap_or(work.path()))
                .and_then(|()| fs::write(&path, &file.content))
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
            written.map_err(Error::io(format!("writing {}", file.path)))?;
        }
        fs::create_dir_all(work.path().join("tree")).map_err(Error::io("creating a work tree"))?;
        self.commit_dir((owner, name), branch, &work.path().join("tree"), message, author).await
    }

    /// Commits a directory as the whole tree of `branch`.
    pub(super) async fn commit_dir(
        &self,
        (owner, name): (&str, &str),
        branch: &str,
        dir: &Path,
        message: &str,
        author: (&str, &str),
    ) -> Result<String> {
        let index = tempfile::tempdir_in(&self.home).map_err(Error::io("creating an index"))?;
        let with_index = || {
            let mut command = self.inside(owner, name);
            command.env("GIT_INDEX_FILE", index.path().join("index")).env("GIT_WORK_TREE", dir).current_dir(dir);
            command
        };
        let mut add = with_index();
        add.args(["add", "--all", "--force", "."]);
        programs::output(&mut add).await?;
        self.commit_index((owner, name), with_index(), branch, message, author).await
    }

    /// Commits one more file onto `branch`, which is made when the repository is empty.
    pub(super) async fn add_file(
        &self,
        (owner, name): (&str, &str),
        branch: &str,
        file: &SeedFile,
        message: &str,
        author: (&str, &str),
    ) -> Result<String> {
        let scratch = tempfile::tempdir_in(&self.home).map_err(Error::io("creating an index"))?;
        let content = scratch.path().join("content");
        fs::write(&content, &file.content).map_err(Error::io(format!("writing {}", file.path)))?;
        let with_index = || {
            let mut command = self.inside(owner, name);
            command.env("GIT_INDEX_FILE", scratch.path().join("index"));
            command
        };
        if let Some(parent) = self.resolve(owner, name, &format!("heads/{branch}")).await? {
            programs::output(with_index().args(["read-tree", &parent])).await?;
        }
        let mut hash = self.inside(owner, name);
        hash.args(["hash-object", "-w", "--"]).arg(&content);
        let blob = Self::text(hash).await?;
        let mode = if file.executable { "100755" } else { "100644" };
        let entry = format!("{mode},{blob},{}", file.path);
        programs::output(with_index().args(["update-index", "--add", "--cacheinfo", &entry])).await?;
        self.commit_index((owner, name), with_index(), branch, message, author).await
    }

    /// Writes the index of `write` as the next commit of `branch`.
    async fn commit_index(
        &self,
        (owner, name): (&str, &str),
        mut write: Command,
        branch: &str,
        message: &str,
        (author, email): (&str, &str),
    ) -> Result<String> {
        write.arg("write-tree");
        let tree = Self::text(write).await?;
        let parent = self.resolve(owner, name, &format!("heads/{branch}")).await?;
        let mut commit = self.inside(owner, name);
        for role in ["AUTHOR", "COMMITTER"] {
            commit.env(format!("GIT_{role}_NAME"), author).env(format!("GIT_{role}_EMAIL"), email);
        }
        commit.args(["commit-tree", &tree, "-m", message]);
        if let Some(parent) = &parent {
            commit.args(["-p", parent]);
        }
        let sha = Self::text(commit).await?;
        let mut update = self.inside(owner, name);
        update.args(["update-ref", &format!("refs/heads/{branch}"), &sha]);
        programs::output(&mut update).await?;
        Ok(sha)
    }

    /// The commit of a branch, a tag, `heads/…`, `tags/…` or a hash of at least 4 digits.
    pub(super) async fn resolve(&self, owner: &str, name: &str, reference: &str) -> Result<Option<String>> {
        let mut candidates =
            vec![format!("refs/heads/{reference}"), format!("refs/tags/{reference}"), format!("refs/{reference}")];
        if (4..=40).contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            candidates.insert(0, reference.to_owned());
        }
        for candidate in candidates {
            let mut command = self.inside(owner, name);
            command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{candidate}^{{commit}}")]);
            match Self::text(command).await {
                Ok(sha) => return Ok(Some(sha)),
                Err(Error::Program { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Branches and their commits.
    pub(super) async fn branches(&self, owner: &str, name: &str) -> Result<Vec<(String, String)>> {
        let mut command = self.inside(owner, name);
        command.args(["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads"]);
        let text = Self::text(command).await?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(sha, name)| (name.to_owned(), sha.to_owned()))
            .collect())
    }

    /// All references.
    pub(super) async fn references(&self, owner: &str, name: &str) -> Result<Vec<Reference>> {
        let mut command = self.inside(owner, name);
        command.args(["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)"]);
        let parse = |line: &str| {
            let mut parts = line.splitn(3, ' ').map(str::to_owned);
            Some(Reference { sha: parts.next()?, kind: parts.next()?, name: parts.next()? })
        };
        Ok(Self::text(command).await?.lines().filter_map(parse).collect())
    }

    /// Points HEAD at a branch.
    pub(super) async fn set_head(&self, owner: &str, name: &str, branch: &str) -> Result<()> {
        let mut command = self.inside(owner, name);
        command.args(["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]);
        programs::output(&mut command).await.map(|_| ())
    }

    /// The history of a commit, newest first, of those that touched `path` when given.
    pub(super) async fn history(
        &self,
        (owner, name): (&str, &str),
        sha: &str,
        path: Option<&str>,
        skip: usize,
        count: usize,
    ) -> Result<Vec<Commit>> {
        let mut command = self.inside(owner, name);
        command.args(["log", "-z", "--format=%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B"]);
        command.args([format!("--skip={skip}"), format!("--max-count={count}"), sha.to_owned(), "--".to_owned()]);
        command.args(path);
        let text = Self::text(command).await?;
        Ok(text.split('\0').filter(|record| !record.is_empty()).filter_map(parse_commit).collect())
    }

    /// Entries of the tree at `path` (empty: the root); `None` when there is no tree.
    pub(super) async fn tree(&self, owner: &str, name: &str, sha: &str, path: &str) -> Result<Option<Vec<Entry>>> {
        let mut command = self.inside(owner, name);
        command.args(["ls-tree", "-z", "--long", &format!("{sha}:{path}")]);
        match programs::output(&mut command).await {
            Ok(out) => Ok(Some(String::from_utf8_lossy(&out).split('\0').filter_map(parse_entry).collect())),
            Err(Error::Program { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The content of a blob.
    pub(super) async fn blob(&self, owner: &str, name: &str, sha: &str) -> Result<Vec<u8>> {
        let mut command = self.inside(owner, name);
        programs::output(command.args(["cat-file", "blob", sha])).await
    }

    /// The content of a file of a branch, a tag or a commit.
    pub(super) async fn file(&self, owner: &str, name: &str, reference: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(sha) = self.resolve(owner, name, reference).await? else { return Ok(None) };
        match self.blob(owner, name, &format!("{sha}:{path}")).await {
            Ok(content) => Ok(Some(content)),
            Err(Error::Program { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts writing a `.tar.gz` of a commit to the child's standard output.
    pub(super) fn archive(&self, owner: &str, name: &str, sha: &str, prefix: &str) -> io::Result<Child> {
        let mut command = self.inside(owner, name);
        command.args(["archive", "--format=tar.gz", &format!("--prefix={prefix}/"), sha]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    }

    /// Clones with the real client over HTTPS. The token is handed over in the environment.
    pub(super) async fn clone(&self, url: &str, branch: Option<&str>, ca: &Path, token: &str, to: &Path) -> Result<()> {
        let mut command = self.client(ca, token);
        command.args(["clone", "--quiet"]);
        if let Some(branch) = branch {
            command.args(["--branch", branch]);
        }
        command.arg(OsStr::new(url)).arg(to);
        programs::output(&mut command).await.map(|_| ())
    }

    /// A `git` client that trusts `ca` and answers password questions with `token`.
    pub(super) fn client(&self, ca: &Path, token: &str) -> Command {
        let mut command = self.command();
        command.env("GIT_SSL_CAINFO", ca).env("TESTBED_TOKEN", token);
        // The value is a shell command of Git's: the token stays out of the arguments.
        let helper = "credential.helper=!f() { echo username=x-access-token; echo \"password=$TESTBED_TOKEN\"; }; f";
        command.args(["-c", helper]);
        command
    }
}

fn parse_commit(record: &str) -> Option<Commit> {
    let mut fields = record.splitn(10, '\u{1f}').map(str::to_owned);
    let mut next = || fields.next();
    let (sha, tree, parents) = (next()?, next()?, next()?);
    let author = Person { name: next()?, email: next()?, date: next()? };
    let committer = Person { name: next()?, email: next()?, date: next()? };
    let message = next()?.trim_end_matches('\n').to_owned();
    let parents = parents.split_whitespace().map(str::to_owned).collect();
    Some(Commit { sha, tree, parents, author, committer, message })
}

fn parse_entry(record: &str) -> Option<Entry> {
    let (meta, name) = record.split_once('\t')?;
    let mut fields = meta.split_whitespace().map(str::to_owned);
    let (mode, kind, sha) = (fields.next()?, fields.next()?, fields.next()?);
    let size = fields.next()?.parse().unwrap_or(0);
    Some(Entry { mode, kind, sha, size, name: name.to_owned() })
}
