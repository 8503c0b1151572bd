//! Which files of a directory git would add.

use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use tokio_util::sync::CancellationToken;
use understudy_sdk::{Workspace, WorkspaceError, workspace::EntryKind};

use super::error::PushError;

/// Directories nested deeper than this are refused. Git's own limit (`core.maxTreeDepth`) is 2048, but such trees can hardly
/// be checked out anywhere.
const MAX_DEPTH: usize = 500;
/// A longer `.gitignore` is refused, since every line of it becomes a pattern in memory.
const MAX_GITIGNORE: u64 = 1024 * 1024;

/// Rules longer than this can't match a path, and compiling one recurses as deep as its braces nest.
const MAX_RULE: usize = 4096;
const MAX_BRACES: usize = 64;

/// A file mode of git's trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    File,
    Executable,
    Symlink,
    Tree,
}

impl Mode {
    /// The octal text in a tree.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Tree => "40000",
        }
    }
}

/// A file or link to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Relative to the directory, `/`-separated.
    pub(super) path: Utf8PathBuf,
    pub(super) mode: Mode,
    /// Bytes, as of the scan; of a link: of its target's text.
    pub(super) size: u64,
}

/// What a scan brought.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Sorted by the bytes of the path, which is the order of git's trees at every level.
    pub(super) files: Vec<Found>,
    /// What was left out although no rule says so, one sentence each.
    pub(super) warnings: Vec<String>,
}

/// Lists the files below `dir`: `.git` left out at every level, `.gitignore` files honoured at every level with git's
/// precedence (the deepest file decides, its last match wins, nothing below an ignored directory comes back).
pub(super) fn scan(dir: &Workspace, stop: &CancellationToken) -> Result<Scan, PushError> {
    let mut scan = Scan::default();
    let mut pending = vec![(Utf8PathBuf::new(), None)];
    while let Some((path, rules)) = pending.pop() {
        if stop.is_cancelled() {
            return Err(PushError::Cancelled);
        }
        if path.components().count() > MAX_DEPTH {
            return Err(PushError::Refused(format!(
                "the directories in {} are nested deeper than {MAX_DEPTH} levels",
                dir.root()
            )));
        }
        visit(dir, path, rules, &mut pending, &mut scan)?;
    }
    scan.files.sort_unstable_by(|a, b| a.path.as_str().as_bytes().cmp(b.path.as_str().as_bytes()));
    Ok(scan)
}

/// The rules of one directory's `.gitignore`, and those of the directories above it.
struct Rules {
    dir: Utf8PathBuf,
    patterns: Gitignore,
    above: Option<Rc<Rules>>,
}

/// A directory still to be listed, with the rules that hold above it.
type Pending = (Utf8PathBuf, Option<Rc<Rules>>);

fn visit(
    workspace: &Workspace,
    dir: Utf8PathBuf,
    mut rules: Option<Rc<Rules>>,
    pending: &mut Vec<Pending>,
    scan: &mut Scan,
) -> Result<(), PushError> {
    let entries = workspace.read_dir(dir.as_str())?;
    let gitignore =
        entries.iter().find(|entry| entry.kind == EntryKind::File && entry.path.file_name() == Some(".gitignore"));
    if let Some(entry) = gitignore {
        if entry.size > MAX_GITIGNORE {
            return Err(PushError::Refused(format!("{} is larger than 1 MiB", workspace.display(&entry.path))));
        }
        let patterns = read_patterns(workspace, &entry.path, &mut scan.warnings)?;
        rules = Some(Rc::new(Rules { dir, patterns, above: rules }));
    }
    for entry in entries {
        let is_dir = entry.kind == EntryKind::Dir;
        let name = entry.path.file_name().unwrap_or_default();
        // Other spellings would be `.git` on file systems that ignore case; servers refuse them.
        if name.eq_ignore_ascii_case(".git") {
            if name != ".git" {
                scan.warnings.push(format!("{} was not added: git refuses this name", entry.path));
            }
            continue;
        }
        if ignored(rules.as_deref(), &entry.path, is_dir) {
            continue;
        }
        let mode = match entry.kind {
            EntryKind::Dir => {
                pending.push((entry.path, rules.clone()));
                continue;
            }
            EntryKind::File if entry.mode & 0o100 != 0 => Mode::Executable,
            EntryKind::File => Mode::File,
            EntryKind::Symlink => Mode::Symlink,
            EntryKind::Other => {
                scan.warnings.push(format!("{} was not added: it is neither a file nor a link", entry.path));
                continue;
            }
        };
        scan.files.push(Found { path: entry.path, mode, size: entry.size });
    }
    Ok(())
}

fn read_patterns(
    workspace: &Workspace,
    file: &Utf8Path,
    warnings: &mut Vec<String>,
) -> Result<Gitignore, WorkspaceError> {
    let content = workspace.read(file.as_str())?;
    let content = String::from_utf8_lossy(&content);
    // Matched paths are relative to the rules' directory.
    let mut builder = GitignoreBuilder::new("");
    for line in content.trim_start_matches('\u{feff}').lines() {
        if line.len() > MAX_RULE || line.bytes().filter(|byte| *byte == b'{').count() > MAX_BRACES {
            warnings.push(format!("{file}: a rule was skipped: it is too long or has too many braces"));
        } else if let Err(error) = builder.add_line(None, line) {
            warnings.push(format!("{file}: a rule was skipped: {error}"));
        }
    }
    Ok(builder.build().unwrap_or_else(|error| {
        warnings.push(format!("{file}: its rules were skipped: {error}"));
        Gitignore::empty()
    }))
}

fn ignored(mut rules: Option<&Rules>, path: &Utf8Path, is_dir: bool) -> bool {
    while let Some(level) = rules {
        if let Ok(relative) = path.strip_prefix(&level.dir) {
            match level.patterns.matched(relative, is_dir) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        rules = level.above.as_deref();
    }
    false
}
