//! The only door to the file system.
//!
//! Every path is resolved beneath an open directory handle, so neither `..` nor a symbolic link can lead out of it, not
//! even one that another process puts there between check and use.

mod folder;

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::Arc,
};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use cap_std::{
    ambient_authority,
    fs::{Dir, DirBuilder, MetadataExt, OpenOptions, PermissionsExt},
};

use rustix::fs::OFlags;

use crate::error::ActionError;
pub use folder::{Folder, NewFile, OpenFile};

/// What can go wrong with a path in a workspace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// The path leads out of the workspace. The text is upstream's (`resolveSafeChildPath`).
    #[error("Relative path is not allowed to refer to a directory outside its parent")]
    Escapes {
        /// The path as given.
        path: String,
    },
    /// The file system refused.
    #[error("{}", node_message(.source, .call, .path))]
    Io {
        /// The system call in Node's words, e.g. `open`.
        call: &'static str,
        /// The absolute path.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file name that is not UTF-8.
    #[error("the name {name:?} in {dir} is not valid UTF-8; rename the file")]
    NotUtf8 {
        /// The name, lossily.
        name: String,
        /// The directory.
        dir: Utf8PathBuf,
    },
}

/// Words an I/O error as Node does (`ENOENT: no such file or directory, open '/x'`), which is what task logs have shown
/// people so far.
fn node_message(error: &io::Error, call: &str, path: &Utf8Path) -> String {
    let code = match error.kind() {
        io::ErrorKind::NotFound => "ENOENT: no such file or directory".to_string(),
        io::ErrorKind::AlreadyExists => "EEXIST: file already exists".to_string(),
        io::ErrorKind::PermissionDenied => "EACCES: permission denied".to_string(),
        io::ErrorKind::IsADirectory => "EISDIR: illegal operation on a directory".to_string(),
        io::ErrorKind::NotADirectory => "ENOTDIR: not a directory".to_string(),
        io::ErrorKind::DirectoryNotEmpty => "ENOTEMPTY: directory not empty".to_string(),
        io::ErrorKind::StorageFull => "ENOSPC: no space left on device".to_string(),
        io::ErrorKind::InvalidFilename => "ENAMETOOLONG: name too long".to_string(),
        // ELOOP; its `ErrorKind` is not stable yet.
        _ if error.raw_os_error() == Some(40) => "ELOOP: too many symbolic links encountered".to_string(),
        _ => error.to_string(),
    };
    format!("{code}, {call} '{path}'")
}

impl From<WorkspaceError> for ActionError {
    fn from(error: WorkspaceError) -> Self {
        match &error {
            WorkspaceError::Escapes { .. } => Self::not_allowed(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
        .with_source(error)
    }
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link, wherever it leads.
    Symlink,
    /// A socket, device or pipe.
    Other,
}

/// An entry of a directory or tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the workspace root, `/`-separated.
    pub path: Utf8PathBuf,
    /// What it is; links are not followed.
    pub kind: EntryKind,
    /// The file's `st_mode`, e.g. `0o100644`.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Device and inode: equal for the same file or directory, however it was reached.
    pub identity: (u64, u64),
    /// Seconds and nanoseconds of the last change of content or attributes (`st_ctime`).
    pub changed: (i64, i64),
}

/// A name of a tree, without what only a look at the entry itself would tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path relative to the workspace root, `/`-separated.
    pub path: Utf8PathBuf,
    /// What it is; links are not followed.
    pub kind: EntryKind,
}

/// Memory set aside for a file's content before it is there.
const MAX_RESERVED: u64 = 1 << 20;
/// Bytes of a path (Linux's `PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Directories above one another: making and removing a tree recurses as deep, with an open directory for each level.
const MAX_DEPTH: usize = 1000;

/// A directory that can't be left. Cheap to clone.
#[derive(Clone)]
pub struct Workspace {
    root: Arc<Utf8PathBuf>,
    dir: Arc<Dir>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workspace({})", self.root)
    }
}

type Result<T> = std::result::Result<T, WorkspaceError>;

impl Workspace {
    /// Opens an existing directory. The path is canonicalised once, here.
    ///
    /// # Errors
    /// It does not exist or can't be opened.
    pub fn open(root: impl AsRef<Utf8Path>) -> Result<Self> {
        let given = root.as_ref();
        let fail = |source| WorkspaceError::Io { call: "opendir", path: given.to_owned(), source };
        let root = given.canonicalize_utf8().map_err(fail)?;
        let dir = Dir::open_ambient_dir(&root, ambient_authority()).map_err(fail)?;
        Ok(Self { root: Arc::new(root), dir: Arc::new(dir) })
    }
    /// Creates the directory (mode 0700) with its parents where missing, and opens it.
    ///
    /// # Errors
    /// It can't be created.
    pub fn create(root: impl AsRef<Utf8Path>) -> Result<Self> {
        let root = root.as_ref();
        let fail = |source| WorkspaceError::Io { call: "mkdir", path: root.to_owned(), source };
        if let Some(parent) = root.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fail(error)),
            _ => {}
        }
        Self::open(root)
    }
    /// The absolute, canonical path of the root; for texts and for handing to other programs, not for file access.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }
    /// Resolves `path` against the root by its text alone: absolute paths inside the root are fine, `.` and `..` are
    /// folded. The result is relative to the root and empty for the root itself.
    ///
    /// # Errors
    /// [`WorkspaceError::Escapes`]; or the path is longer or deeper than a file system is asked for.
    pub fn resolve(&self, path: &str) -> Result<Utf8PathBuf> {
        let escapes = || WorkspaceError::Escapes { path: path.to_string() };
        if path.contains('\0') {
            return Err(escapes());
        }
        let relative = if path.starts_with('/') {
            Utf8Path::new(path).strip_prefix(&*self.root).map_err(|_| escapes())?
        } else {
            Utf8Path::new(path)
        };
        let text = relative.as_str();
        let depth = 1 + text.bytes().filter(|byte| *byte == b'/').count();
        if text.len() < MAX_PATH && depth <= MAX_DEPTH && text.split('/').all(|name| !matches!(name, "" | "." | "..")) {
            // Most paths are folded as they are.
            return Ok(relative.to_owned());
        }
        let mut folded = Utf8PathBuf::new();
        for component in relative.components() {
            match component {
                Utf8Component::Normal(name) => folded.push(name),
                Utf8Component::CurDir => {}
                Utf8Component::ParentDir => {
                    if !folded.pop() {
                        return Err(escapes());
                    }
                }
                Utf8Component::RootDir | Utf8Component::Prefix(_) => return Err(escapes()),
            }
        }
        if folded.as_str().len() >= MAX_PATH || folded.components().count() > MAX_DEPTH {
            let path: String = folded.as_str().chars().take(256).collect();
            return Err(WorkspaceError::Io {
                call: "open",
                path: format!("{path}…").into(),
                source: io::ErrorKind::InvalidFilename.into(),
            });
        }
        Ok(folded)
    }
    /// The absolute path shown in texts for a path relative to the root.
    pub fn display(&self, relative: &Utf8Path) -> Utf8PathBuf {
        if relative.as_str().is_empty() { (*self.root).clone() } else { self.root.join(relative) }
    }

    fn at<'p>(&self, relative: &'p Utf8Path) -> &'p Utf8Path {
        if relative.as_str().is_empty() { Utf8Path::new(".") } else { relative }
    }
    fn fail(&self, call: &'static str, relative: &Utf8Path) -> impl FnOnce(io::Error) -> WorkspaceError + use<> {
        let path = self.display(relative);
        let given = relative.to_string();
        move |source| {
            // cap-std reports a path or link that leaves the root as a permission error without an OS code.
            if source.kind() == io::ErrorKind::PermissionDenied && source.raw_os_error().is_none() {
                WorkspaceError::Escapes { path: given }
            } else {
                WorkspaceError::Io { call, path, source }
            }
        }
    }

    /// A workspace rooted at a directory of this one.
    ///
    /// # Errors
    /// Not a directory, or it leads out.
    pub fn sub(&self, path: &str) -> Result<Self> {
        let relative = self.resolve(path)?;
        let dir = self.dir.open_dir(self.at(&relative)).map_err(self.fail("opendir", &relative))?;
        Ok(Self { root: Arc::new(self.real_path(path)?), dir: Arc::new(dir) })
    }
    /// The absolute path with the links on it resolved; its last parts need not exist. For comparing places and for
    /// texts, not for file access.
    ///
    /// # Errors
    /// It leads out, or as the file system says.
    pub fn real_path(&self, path: &str) -> Result<Utf8PathBuf> {
        let relative = self.resolve(path)?;
        let mut missing = Vec::new();
        let mut existing = relative.as_path();
        while !existing.as_str().is_empty() {
            match self.dir.canonicalize(existing) {
                Ok(real) => {
                    let real = Utf8PathBuf::from_path_buf(real).map_err(|real| WorkspaceError::NotUtf8 {
                        name: real.to_string_lossy().into_owned(),
                        dir: (*self.root).clone(),
                    })?;
                    let start = self.display(&self.resolve(real.as_str())?);
                    return Ok(missing.into_iter().rev().fold(start, |path, name: &str| path.join(name)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.extend(existing.file_name());
                    existing = existing.parent().unwrap_or(Utf8Path::new(""));
                }
                Err(error) => return Err(self.fail("realpath", &relative)(error)),
            }
        }
        Ok(self.display(&relative))
    }
    /// Opens a directory for work on many of its entries; links on the way to it are followed while they stay inside.
    ///
    /// # Errors
    /// Not a directory, or it leads out.
    pub fn folder(&self, path: &str) -> Result<Folder> {
        let relative = self.resolve(path)?;
        if relative.as_str().is_empty() {
            return Ok(Folder::new(self.display(&relative), self.dir.clone()));
        }
        let dir = self.dir.open_dir(&relative).map_err(self.fail("opendir", &relative))?;
        Ok(Folder::new(self.display(&relative), Arc::new(dir)))
    }
    /// Whether something is there; a link counts, wherever it leads.
    ///
    /// # Errors
    /// The path leads out.
    pub fn exists(&self, path: &str) -> Result<bool> {
        let relative = self.resolve(path)?;
        match self.dir.symlink_metadata(self.at(&relative)) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(self.fail("lstat", &relative)(error)),
        }
    }
    /// What is there, links not followed.
    ///
    /// # Errors
    /// Nothing there, or it leads out.
    pub fn entry(&self, path: &str) -> Result<Entry> {
        let relative = self.resolve(path)?;
        let metadata = self.dir.symlink_metadata(self.at(&relative)).map_err(self.fail("lstat", &relative))?;
        Ok(entry(relative, &metadata))
    }
    /// What a path is after following links that stay inside.
    ///
    /// # Errors
    /// Nothing there, a dangling link, or it leads out.
    pub fn target_entry(&self, path: &str) -> Result<Entry> {
        let relative = self.resolve(path)?;
        let metadata = self.dir.metadata(self.at(&relative)).map_err(self.fail("stat", &relative))?;
        Ok(entry(relative, &metadata))
    }
    /// Creates a directory and its parents.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create_dir_all(&self, path: &str) -> Result<()> {
        let relative = self.resolve(path)?;
        if relative.as_str().is_empty() {
            return Ok(());
        }
        self.dir.create_dir_all(&relative).map_err(|error| {
            // A link is in the way: where it leads says more than that it exists.
            let error = match error.kind() {
                io::ErrorKind::AlreadyExists => self.dir.metadata(&relative).err().unwrap_or(error),
                _ => error,
            };
            self.fail("mkdir", &relative)(error)
        })
    }
    fn ensure_parent(&self, relative: &Utf8Path) -> Result<()> {
        match relative.parent() {
            Some(parent) if !parent.as_str().is_empty() => self.create_dir_all(parent.as_str()),
            _ => Ok(()),
        }
    }
    /// A file's content.
    ///
    /// # Errors
    /// As the file system says, or it is no regular file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let relative = self.resolve(path)?;
        let mut file = self.open_regular(&relative)?;
        // Sizes of hostile files may be anything; a byte more shows the end without growing.
        let mut content = Vec::with_capacity(file.size().min(MAX_RESERVED) as usize + 1);
        file.read_to_end(&mut content).map_err(self.fail("read", &relative))?;
        Ok(content)
    }
    /// Opens a file for reading in pieces.
    ///
    /// # Errors
    /// As [`Workspace::read`].
    pub fn open_file(&self, path: &str) -> Result<OpenFile> {
        self.open_regular(&self.resolve(path)?)
    }
    fn open_regular(&self, relative: &Utf8Path) -> Result<OpenFile> {
        let mut options = OpenOptions::new();
        // Without `NONBLOCK`, opening a pipe would wait for somebody to write into it.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        cap_std::fs::OpenOptionsExt::custom_flags(options.read(true), flags as i32);
        let opened = self.dir.open_with(self.at(relative), &options);
        OpenFile::checked(opened.map(cap_std::fs::File::into_std), |call| self.fail(call, relative))
    }
    /// Writes a file, parents created; an existing one is replaced, a link at its place too (never written through).
    /// `mode` holds permission bits, umask applies.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.create_file(path, mode)?.write(content)
    }
    /// As [`Workspace::write`], from a reader; gives the number of bytes.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write_from(&self, path: &str, content: &mut dyn Read, mode: u32) -> Result<u64> {
        self.create_file(path, mode)?.copy_from(content)
    }
    /// Makes a file for writing, with the rules of [`Workspace::write`].
    ///
    /// # Errors
    /// As the file system says.
    pub fn create_file(&self, path: &str, mode: u32) -> Result<NewFile> {
        let relative = self.resolve(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        cap_std::fs::OpenOptionsExt::mode(&mut options, mode & 0o7777);
        let open = || self.dir.open_with(&relative, &options);
        let file = match open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.ensure_parent(&relative)?;
                open().map_err(self.fail("open", &relative))?
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.dir.remove_file(&relative).map_err(self.fail("open", &relative))?;
                open().map_err(self.fail("open", &relative))?
            }
            Err(error) => return Err(self.fail("open", &relative)(error)),
        };
        Ok(NewFile::new(file.into_std(), self.display(&relative)))
    }
    /// Appends to a file, which is created where missing (its parents are not).
    ///
    /// # Errors
    /// As the file system says.
    pub fn append(&self, path: &str, content: &[u8]) -> Result<()> {
        let relative = self.resolve(path)?;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        self.dir
            .open_with(&relative, &options)
            .and_then(|mut file| file.write_all(content))
            .map_err(self.fail("open", &relative))
    }
    /// Sets permission bits of a file.
    ///
    /// # Errors
    /// As the file system says.
    pub fn set_mode(&self, path: &str, mode: u32) -> Result<()> {
        let relative = self.resolve(path)?;
        self.dir
            .set_permissions(self.at(&relative), cap_std::fs::Permissions::from_mode(mode & 0o7777))
            .map_err(self.fail("chmod", &relative))
    }
    /// The text of a link.
    ///
    /// # Errors
    /// Not a link.
    pub fn read_link(&self, path: &str) -> Result<Utf8PathBuf> {
        let relative = self.resolve(path)?;
        let target = self.dir.read_link_contents(&relative).map_err(self.fail("readlink", &relative))?;
        Utf8PathBuf::from_path_buf(target).map_err(|target| WorkspaceError::NotUtf8 {
            name: target.to_string_lossy().into_owned(),
            dir: self.display(&relative),
        })
    }
    /// Makes a link, parents created. Its target may be dangling, but not lead out of the root.
    ///
    /// # Errors
    /// [`WorkspaceError::Escapes`] when the target is absolute or leads out.
    pub fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let relative = self.resolve(path)?;
        let refused = || WorkspaceError::Escapes { path: target.to_string() };
        if !self.link_stays_inside(&relative, target) {
            return Err(refused());
        }
        self.ensure_parent(&relative)?;
        // Where the parent is a link itself, the target's `..` count from where that leads.
        if let Some(parent) = relative.parent().filter(|parent| !parent.as_str().is_empty()) {
            let real = self.dir.canonicalize(parent).map_err(self.fail("symlink", &relative))?;
            let real = Utf8PathBuf::from_path_buf(real).map_err(|_| refused())?;
            if !self.link_stays_inside(&real.join("link"), target) {
                return Err(refused());
            }
        }
        self.dir.symlink(target, &relative).map_err(self.fail("symlink", &relative))
    }
    /// Whether a link at `relative` with this target text stays beneath the root.
    pub fn link_stays_inside(&self, relative: &Utf8Path, target: &str) -> bool {
        if target.starts_with('/') {
            return false;
        }
        let base = relative.parent().unwrap_or(Utf8Path::new(""));
        self.resolve(base.join(target).as_str()).is_ok()
    }
    /// Removes a file or link.
    ///
    /// # Errors
    /// As the file system says.
    pub fn remove_file(&self, path: &str) -> Result<()> {
        let relative = self.resolve(path)?;
        self.dir.remove_file(&relative).map_err(self.fail("unlink", &relative))
    }
    /// Removes a directory with all it holds; links are removed, not followed.
    ///
    /// # Errors
    /// As the file system says.
    pub fn remove_dir_all(&self, path: &str) -> Result<()> {
        let relative = self.resolve(path)?;
        self.dir.remove_dir_all(&relative).map_err(self.fail("rmdir", &relative))
    }
    /// Moves a file, link or directory, the target's parents created.
    ///
    /// # Errors
    /// As the file system says.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let from = self.resolve(from)?;
        let to = self.resolve(to)?;
        self.dir.symlink_metadata(self.at(&from)).map_err(self.fail("lstat", &from))?;
        self.ensure_parent(&to)?;
        self.dir.rename(&from, &self.dir, &to).map_err(self.fail("rename", &from))
    }
    /// The entries of one directory, sorted by name.
    ///
    /// # Errors
    /// Not a directory.
    pub fn read_dir(&self, path: &str) -> Result<Vec<Entry>> {
        let relative = self.resolve(path)?;
        let mut entries = Vec::new();
        for item in self.dir.read_dir(self.at(&relative)).map_err(self.fail("scandir", &relative))? {
            let item = item.map_err(self.fail("scandir", &relative))?;
            let path = relative.join(self.utf8(item.file_name(), &relative)?);
            let metadata = item.metadata().map_err(self.fail("lstat", &path))?;
            entries.push(entry(path, &metadata));
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
    /// Everything below a directory, level by level, names sorted; links are listed, not followed.
    ///
    /// # Errors
    /// Not a directory.
    pub fn walk(&self, path: &str) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        let mut pending = VecDeque::from([self.resolve(path)?]);
        while let Some(dir) = pending.pop_front() {
            let entries = self.read_dir(dir.as_str())?;
            pending.extend(entries.iter().filter(|entry| entry.kind == EntryKind::Dir).map(|entry| entry.path.clone()));
            all.extend(entries);
        }
        Ok(all)
    }
    /// The names of [`Workspace::walk`] in its order, without a look at each entry.
    ///
    /// # Errors
    /// Not a directory.
    pub fn list(&self, path: &str) -> Result<Vec<Listed>> {
        let mut all: Vec<Listed> = Vec::new();
        let mut next = 0;
        let mut dir = self.resolve(path)?;
        loop {
            let start = all.len();
            for item in self.dir.read_dir(self.at(&dir)).map_err(self.fail("scandir", &dir))? {
                let item = item.map_err(self.fail("scandir", &dir))?;
                let path = dir.join(self.utf8(item.file_name(), &dir)?);
                let known = item.file_type().ok().map(kind_of).filter(|kind| *kind != EntryKind::Other);
                let kind = match known {
                    Some(kind) => kind,
                    // Not every file system tells with the name.
                    None => kind_of(item.metadata().map_err(self.fail("lstat", &path))?.file_type()),
                };
                all.push(Listed { path, kind });
            }
            // Of one directory, so the texts sort as the paths do.
            all[start..].sort_unstable_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
            let Some(found) = all[next..].iter().position(|entry| entry.kind == EntryKind::Dir) else { return Ok(all) };
            dir = all[next + found].path.clone();
            next += found + 1;
        }
    }
    fn utf8(&self, name: std::ffi::OsString, dir: &Utf8Path) -> Result<String> {
        name.into_string().map_err(|name| WorkspaceError::NotUtf8 {
            name: name.to_string_lossy().into_owned(),
            dir: self.display(dir),
        })
    }
    /// Creates one directory with the given permission bits.
    ///
    /// # Errors
    /// As the file system says; also when it exists.
    pub fn create_dir(&self, path: &str, mode: u32) -> Result<()> {
        let relative = self.resolve(path)?;
        let mut builder = DirBuilder::new();
        cap_std::fs::DirBuilderExt::mode(&mut builder, mode & 0o7777);
        self.dir.create_dir_with(&relative, &builder).map_err(self.fail("mkdir", &relative))
    }
}

fn kind_of(kind: cap_std::fs::FileType) -> EntryKind {
    if kind.is_symlink() {
        EntryKind::Symlink
    } else if kind.is_dir() {
        EntryKind::Dir
    } else if kind.is_file() {
        EntryKind::File
    } else {
        EntryKind::Other
    }
}

fn entry(path: Utf8PathBuf, metadata: &cap_std::fs::Metadata) -> Entry {
    let kind = kind_of(metadata.file_type());
    Entry {
        path,
        kind,
        mode: metadata.mode(),
        size: metadata.len(),
        identity: (metadata.dev(), metadata.ino()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

#[cfg(test)]
mod tests;
