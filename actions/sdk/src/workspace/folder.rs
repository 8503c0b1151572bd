//! One open directory, for work on many of its entries.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    sync::Arc,
};

use camino::{Utf8Path, Utf8PathBuf};
use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};

use super::{Result, WorkspaceError};

/// An open directory of a [`Workspace`](super::Workspace).
///
/// Its entries are reached by their names from the open handle: one system call, however deep the directory lies. Names
/// are single ones, and links at their place are never followed, so nothing leads out of the directory.
#[derive(Debug)]
pub struct Folder {
    /// Absolute; for texts.
    path: Utf8PathBuf,
    dir: Arc<Dir>,
}

impl Folder {
    pub(super) fn new(path: Utf8PathBuf, dir: Arc<Dir>) -> Self {
        Self { path, dir }
    }

    fn checked<'n>(&self, name: &'n str) -> Result<&'n str> {
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(WorkspaceError::Escapes { path: name.to_string() });
        }
        Ok(name)
    }

    fn fail(&self, call: &'static str, name: &str) -> impl FnOnce(io::Error) -> WorkspaceError + use<> {
        let path = self.path.join(name);
        move |source| WorkspaceError::Io { call, path, source }
    }

    fn open_at(&self, name: &str, flags: OFlags, mode: u32) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::openat(self.dir.as_fd(), name, flags, Mode::from_raw_mode(mode & 0o7777))?;
        Ok(File::from(fd))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// As the file system says, or it is no regular file; a link is none either.
    pub fn open(&self, name: &str) -> Result<OpenFile> {
        let name = self.checked(name)?;
        // Without `NONBLOCK`, opening a pipe would wait for somebody to write into it.
        let opened = self.open_at(name, OFlags::RDONLY | OFlags::NONBLOCK, 0);
        OpenFile::checked(opened, |call| self.fail(call, name))
    }

    /// Makes a file for writing; `None` when something of that name is there already. `mode` holds permission bits,
    /// umask applies.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(&self, name: &str, mode: u32) -> Result<Option<NewFile>> {
        let name = self.checked(name)?;
        match self.open_at(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(file) => Ok(Some(NewFile { file, path: self.path.join(name) })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(self.fail("open", name)(error)),
        }
    }

    /// Makes a directory; `false` when something of that name is there already. `mode` as for [`Folder::create`].
    ///
    /// # Errors
    /// As the file system says.
    pub fn create_dir(&self, name: &str, mode: u32) -> Result<bool> {
        let name = self.checked(name)?;
        match rustix::fs::mkdirat(self.dir.as_fd(), name, Mode::from_raw_mode(mode & 0o7777)).map_err(io::Error::from) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.fail("mkdir", name)(error)),
        }
    }
}

/// A regular file that is open for reading, with what is known of it.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    mode: u32,
    size: u64,
}

impl OpenFile {
    /// Refuses what is no regular file.
    pub(super) fn checked<F: FnOnce(io::Error) -> WorkspaceError>(
        opened: io::Result<File>,
        fail: impl Fn(&'static str) -> F,
    ) -> Result<Self> {
        let file = opened.map_err(|error| fail("open")(error))?;
        let metadata = file.metadata().map_err(|error| fail("open")(error))?;
        if metadata.is_dir() {
            return Err(fail("read")(io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Err(fail("open")(io::Error::other("not a regular file")));
        }
        Ok(Self { file, mode: metadata.mode(), size: metadata.size() })
    }
    /// The file's `st_mode`, e.g. `0o100644`.
    pub fn mode(&self) -> u32 {
        self.mode
    }
    /// Its size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// A file that was just made and is open for writing.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Absolute; for texts.
    path: Utf8PathBuf,
}

impl NewFile {
    pub(super) fn new(file: File, path: Utf8PathBuf) -> Self {
        Self { file, path }
    }

    fn fail(&self, call: &'static str) -> impl FnOnce(io::Error) -> WorkspaceError + use<> {
        let path = self.path.clone();
        move |source| WorkspaceError::Io { call, path, source }
    }

    /// The absolute path, for texts.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&mut self, content: &[u8]) -> Result<()> {
        self.file.write_all(content).map_err(|error| self.fail("write")(error))
    }

    /// Appends the rest of another file, which need not pass through this process; gives the number of bytes.
    ///
    /// # Errors
    /// As the file system says.
    pub fn copy_rest(&mut self, from: &mut OpenFile) -> Result<u64> {
        io::copy(&mut from.file, &mut self.file).map_err(|error| self.fail("copyfile")(error))
    }

    /// Appends what a reader gives; gives the number of bytes.
    ///
    /// # Errors
    /// As reader and file system say.
    pub fn copy_from(&mut self, content: &mut dyn Read) -> Result<u64> {
        io::copy(content, &mut self.file).map_err(|error| self.fail("write")(error))
    }

    /// Sets permission bits, whatever umask says.
    ///
    /// # Errors
    /// As the file system says.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode & 0o7777)).map_err(|error| self.fail("chmod")(error))
    }
}
