//! The files of a workspace as publishing actions and dry runs take them.

use camino::{Utf8Path, Utf8PathBuf};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use understudy_sdk::{
    ActionError, Workspace, WorkspaceError,
    workspace::{Entry, EntryKind},
};

/// A file of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedFile {
    /// Its path relative to the workspace.
    pub path: Utf8PathBuf,
    /// Its content; of a link, the text of its target.
    pub content: Vec<u8>,
    /// Whether anyone may execute it.
    pub executable: bool,
    /// Whether this is a link.
    pub symlink: bool,
}

/// Collects the files of a workspace, `.git` left out (`serializeDirectoryContents` of
/// `@backstage/plugin-scaffolder-node` 0.13.7): regular files, and of links those whose target is missing. With
/// `gitignore`, what the workspace's `.gitignore` files exclude is left out.
///
/// # Errors
/// As the file system says, or a `.gitignore` that can't be read.
pub fn collect_files(workspace: &Workspace, gitignore: bool) -> Result<Vec<CollectedFile>, ActionError> {
    let mut files = Vec::new();
    for entry in list_files(workspace, gitignore)? {
        let symlink = entry.kind == EntryKind::Symlink;
        let content = if symlink {
            workspace.read_link(entry.path.as_str())?.into_string().into_bytes()
        } else {
            workspace.read(entry.path.as_str())?
        };
        files.push(CollectedFile { content, executable: entry.mode & 0o111 != 0, symlink, path: entry.path });
    }
    Ok(files)
}

/// The entries that [`collect_files`] reads, for callers that read one file at a time.
///
/// # Errors
/// As [`collect_files`].
pub fn list_files(workspace: &Workspace, gitignore: bool) -> Result<Vec<Entry>, ActionError> {
    let mut files = Vec::new();
    let mut pending = std::collections::VecDeque::from([(Utf8PathBuf::new(), Vec::new())]);
    while let Some((dir, mut rules)) = pending.pop_front() {
        if gitignore {
            rules.extend(rules_of(workspace, &dir)?);
        }
        for entry in workspace.read_dir(dir.as_str())? {
            if entry.path == ".git" || ignored(&rules, &entry) {
                continue;
            }
            match entry.kind {
                EntryKind::Dir => pending.push_back((entry.path, rules.clone())),
                EntryKind::File => files.push(entry),
                EntryKind::Symlink if is_broken(workspace, &entry.path) => files.push(entry),
                EntryKind::Symlink | EntryKind::Other => {}
            }
        }
    }
    Ok(files)
}

fn is_broken(workspace: &Workspace, path: &Utf8Path) -> bool {
    matches!(
        workspace.target_entry(path.as_str()),
        Err(WorkspaceError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound
    )
}

fn rules_of(workspace: &Workspace, dir: &Utf8Path) -> Result<Option<Gitignore>, ActionError> {
    let path = dir.join(".gitignore");
    if !workspace.target_entry(path.as_str()).is_ok_and(|entry| entry.kind == EntryKind::File) {
        return Ok(None);
    }
    let text = workspace.read(path.as_str())?;
    let mut builder = GitignoreBuilder::new(Utf8Path::new("/").join(dir));
    for line in String::from_utf8_lossy(&text).lines() {
        // Compiling a pattern recurses as deep as its braces nest.
        if line.len() > 4096 || line.bytes().filter(|byte| *byte == b'{').count() > 64 {
            continue;
        }
        // A line that is no pattern excludes nothing, as in git.
        let _ = builder.add_line(None, line);
    }
    builder
        .build()
        .map(Some)
        .map_err(|error| ActionError::failed(format!("{} can't be used: {error}", workspace.display(&path))))
}

/// The innermost `.gitignore` that says something about an entry decides.
fn ignored(rules: &[Gitignore], entry: &Entry) -> bool {
    let path = Utf8Path::new("/").join(&entry.path);
    let is_dir = entry.kind == EntryKind::Dir;
    rules
        .iter()
        .rev()
        .map(|rules| rules.matched(&path, is_dir))
        .find(|decision| !decision.is_none())
        .is_some_and(|decision| decision.is_ignore())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::testing::Bench;

    fn paths(files: &[CollectedFile]) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    /// Compiling such a rule would overflow the stack.
    #[test]
    fn hostile_rules_are_skipped() {
        let bench = Bench::new();
        bench.file(".gitignore", &format!("{}a{}\nx\n", "{".repeat(100_000), "}".repeat(100_000)));
        bench.file("x", "");
        let workspace = Workspace::open(bench.root()).unwrap();
        assert_eq!(paths(&collect_files(&workspace, true).unwrap()), [".gitignore"]);
    }

    #[test]
    fn collects_files_and_broken_links() {
        let bench = Bench::new();
        bench.file("run.sh", "x");
        bench.file("d/.hidden", "h");
        bench.file(".git/config", "");
        bench.file("sub/.git/config", "");
        std::fs::set_permissions(bench.root().join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        for (target, link) in [("run.sh", "whole"), ("d", "dir"), ("gone", "broken"), ("/etc/passwd", "outside")] {
            symlink(target, bench.root().join(link)).unwrap();
        }
        let workspace = Workspace::open(bench.root()).unwrap();
        let files = collect_files(&workspace, false).unwrap();
        assert_eq!(paths(&files), ["broken", "run.sh", "d/.hidden", "sub/.git/config"]);
        assert_eq!((files[0].symlink, files[0].content.as_slice()), (true, b"gone".as_slice()));
        assert_eq!((files[1].executable, files[2].executable), (true, false));
    }

    #[test]
    fn gitignore_files_count_from_where_they_lie() {
        let bench = Bench::new();
        bench.file(".gitignore", "*.log\n/build\n!keep.log\n# comment\n");
        bench.file("sub/.gitignore", "secret\n!*.log\n");
        for file in ["a.log", "keep.log", "build/x", "sub/build/x", "sub/secret", "secret", "sub/b.log"] {
            bench.file(file, "");
        }
        let workspace = Workspace::open(bench.root()).unwrap();
        let files = collect_files(&workspace, true).unwrap();
        assert_eq!(paths(&files), [".gitignore", "keep.log", "secret", "sub/.gitignore", "sub/b.log", "sub/build/x"]);
    }
}
