//! Which files of a directory git would add.

use camino::{Utf8Path, Utf8PathBuf};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use tokio_util::sync::CancellationToken;
use understudy_sdk::{Workspace, WorkspaceError, workspace::EntryKind};

use super::error::PushError;

/// Directories nested deeper than this are refused; servers refuse them too (git's `core.maxTreeDepth` is 2048).
const MAX_DEPTH: usize = 1024;
/// A longer `.gitignore` is refused, since every line of it becomes a pattern in memory.
const MAX_GITIGNORE: u64 = 1024 * 1024;

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
    visit(dir, Utf8Path::new(""), &mut Vec::new(), &mut scan, stop)?;
    scan.files.sort_unstable_by(|a, b| a.path.as_str().as_bytes().cmp(b.path.as_str().as_bytes()));
    Ok(scan)
}

/// The rules of one directory's `.gitignore`.
struct Rules {
    dir: Utf8PathBuf,
    patterns: Gitignore,
}

fn visit(
    workspace: &Workspace,
    dir: &Utf8Path,
    rules: &mut Vec<Rules>,
    scan: &mut Scan,
    stop: &CancellationToken,
) -> Result<(), PushError> {
    if stop.is_cancelled() {
        return Err(PushError::Cancelled);
    }
    if dir.components().count() > MAX_DEPTH {
        return Err(PushError::Refused(format!(
            "the directories in {} are nested deeper than {MAX_DEPTH} levels; git servers refuse that",
            workspace.root()
        )));
    }
    let entries = workspace.read_dir(dir.as_str())?;
    let gitignore =
        entries.iter().find(|entry| entry.kind == EntryKind::File && entry.path.file_name() == Some(".gitignore"));
    let has_rules = match gitignore {
        Some(entry) => {
            if entry.size > MAX_GITIGNORE {
                return Err(PushError::Refused(format!("{} is larger than 1 MiB", workspace.display(&entry.path))));
            }
            rules.push(read_rules(workspace, dir, &entry.path, &mut scan.warnings)?);
            true
        }
        None => false,
    };
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
        if ignored(rules, &entry.path, is_dir) {
            continue;
        }
        let mode = match entry.kind {
            EntryKind::Dir => {
                visit(workspace, &entry.path, rules, scan, stop)?;
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
    if has_rules {
        rules.pop();
    }
    Ok(())
}

fn read_rules(
    workspace: &Workspace,
    dir: &Utf8Path,
    file: &Utf8Path,
    warnings: &mut Vec<String>,
) -> Result<Rules, WorkspaceError> {
    let content = workspace.read(file.as_str())?;
    let content = String::from_utf8_lossy(&content);
    // Matched paths are relative to the rules' directory.
    let mut builder = GitignoreBuilder::new("");
    for line in content.trim_start_matches('\u{feff}').lines() {
        if let Err(error) = builder.add_line(None, line) {
            warnings.push(format!("{file}: a rule was skipped: {error}"));
        }
    }
    let patterns = builder.build().unwrap_or_else(|error| {
        warnings.push(format!("{file}: its rules were skipped: {error}"));
        Gitignore::empty()
    });
    Ok(Rules { dir: dir.to_owned(), patterns })
}

fn ignored(rules: &[Rules], path: &Utf8Path, is_dir: bool) -> bool {
    for rules in rules.iter().rev() {
        let Ok(relative) = path.strip_prefix(&rules.dir) else { continue };
        match rules.patterns.matched(relative, is_dir) {
            Match::None => {}
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
        }
    }
    false
}
