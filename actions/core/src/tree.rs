//! Reading and writing the files of a tree one directory after the other, each kept open while its entries come.

use std::io::{ErrorKind, Read};

use camino::Utf8Path;
use understudy_sdk::{
    Workspace, WorkspaceError,
    workspace::{Folder, OpenFile},
};

/// How much of a file is read ahead of its turn to be written; the rest then goes from file to file.
pub(crate) const MAX_READ: u64 = 256 << 10;

/// The directory that was needed last.
#[derive(Default)]
pub(crate) struct Current(Option<(String, Folder)>);

impl Current {
    /// The open directory of a path as [`Workspace::resolve`] gives it, and the path's name there.
    pub(crate) fn enter<'p>(
        &mut self,
        tree: &Workspace,
        path: &'p Utf8Path,
    ) -> Result<(&Folder, &'p str), WorkspaceError> {
        // Its parts are single names between slashes.
        let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let opened = match self.0.take() {
            Some(opened) if opened.0 == parent => opened,
            _ => (parent.to_owned(), tree.folder(parent)?),
        };
        let (_, folder) = self.0.insert(opened);
        Ok((folder, name))
    }
}

/// A file to be made.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// Of a long file, what comes after `bytes`.
    pub(crate) rest: Option<OpenFile>,
    pub(crate) mode: u32,
    /// Whether the file gets these permission bits whatever umask says.
    pub(crate) exact: bool,
}

impl Content {
    /// A copy of what `source` has at this path; its owner can always write it.
    pub(crate) fn copied(current: &mut Current, source: &Workspace, path: &Utf8Path) -> Result<Self, WorkspaceError> {
        let (file, bytes) = begin(current, source, path)?;
        Ok(Self { mode: (file.mode() & 0o777) | 0o600, exact: true, rest: rest(&bytes, file), bytes })
    }
}

/// Opens a file and reads up to [`MAX_READ`] bytes of it.
pub(crate) fn begin(
    current: &mut Current,
    source: &Workspace,
    path: &Utf8Path,
) -> Result<(OpenFile, Vec<u8>), WorkspaceError> {
    let (folder, name) = current.enter(source, path)?;
    let mut file = folder.open(name)?;
    // One more than needed, so that its end is seen without growing.
    let mut bytes = Vec::with_capacity(file.size().min(MAX_READ) as usize + 1);
    read(&mut file, MAX_READ, &mut bytes).map_err(|error| failed_read(source, path, error))?;
    Ok((file, bytes))
}

/// Reads on, up to `limit` bytes.
pub(crate) fn read(file: &mut OpenFile, limit: u64, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    file.take(limit).read_to_end(bytes)
}

pub(crate) fn failed_read(source: &Workspace, path: &Utf8Path, error: std::io::Error) -> WorkspaceError {
    WorkspaceError::Io { call: "read", path: source.display(path), source: error }
}

/// The file that `bytes` are the beginning of, if there may be more of it.
pub(crate) fn rest(bytes: &[u8], file: OpenFile) -> Option<OpenFile> {
    (bytes.len() as u64 >= MAX_READ).then_some(file)
}

/// Makes the files, directories and links of a tree, parents as needed.
pub(crate) struct TreeWriter<'a> {
    pub(crate) out: &'a Workspace,
    /// Whether what is there gives way.
    pub(crate) replace: bool,
    current: Current,
}

/// The functions give `false` when something stays that was there before.
impl<'a> TreeWriter<'a> {
    pub(crate) fn new(out: &'a Workspace, replace: bool) -> Self {
        Self { out, replace, current: Current::default() }
    }

    /// Whether something is there that is not to be replaced.
    pub(crate) fn stays(&self, path: &Utf8Path) -> Result<bool, WorkspaceError> {
        Ok(!self.replace && self.out.exists(path.as_str())?)
    }

    fn enter<'p>(&mut self, path: &'p Utf8Path) -> Result<(&Folder, &'p str), WorkspaceError> {
        if let Err(WorkspaceError::Io { source, .. }) = self.current.enter(self.out, path).map(drop)
            && source.kind() == ErrorKind::NotFound
            && let Some(parent) = path.parent()
        {
            self.out.create_dir_all(parent.as_str())?;
        }
        self.current.enter(self.out, path)
    }

    /// A directory; one that is there already is fine when things are replaced.
    pub(crate) fn dir(&mut self, path: &Utf8Path, mode: u32) -> Result<bool, WorkspaceError> {
        let quick = self.enter(path).and_then(|(folder, name)| folder.create_dir(name, mode));
        if matches!(quick, Ok(true)) {
            return Ok(true);
        }
        // Something is there or in the way: what that means the path as a whole tells.
        if self.stays(path)? {
            return Ok(false);
        }
        self.out.create_dir_all(path.as_str())?;
        Ok(true)
    }

    pub(crate) fn file(&mut self, path: &Utf8Path, content: Content) -> Result<bool, WorkspaceError> {
        let quick = self.enter(path).and_then(|(folder, name)| folder.create(name, content.mode));
        let mut file = match quick {
            Ok(Some(file)) => file,
            _ if self.stays(path)? => return Ok(false),
            _ => {
                // What is replaced may be a link to the directory that is open.
                self.current = Current::default();
                self.out.create_file(path.as_str(), content.mode)?
            }
        };
        file.write(&content.bytes)?;
        if let Some(mut rest) = content.rest {
            file.copy_rest(&mut rest)?;
        }
        if content.exact {
            file.set_mode(content.mode)?;
        }
        Ok(true)
    }

    pub(crate) fn link(&mut self, path: &Utf8Path, target: &Utf8Path) -> Result<bool, WorkspaceError> {
        if self.stays(path)? {
            return Ok(false);
        }
        self.current = Current::default();
        if self.out.exists(path.as_str())? {
            self.out.remove_file(path.as_str())?;
        }
        self.out.symlink(target.as_str(), path.as_str())?;
        Ok(true)
    }
}
