//! A workspace as one stream: a gzipped tar archive of its files, directories and links, with their modes.
//!
//! Times and owners are left out, so that the same content gives the same archive. What is read back is not trusted: it goes
//! through [`Workspace`], links come last, and nothing grows beyond the size that was recorded.

use std::io::{self, BufReader, Read, Write};

use camino::Utf8PathBuf;
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use ring::digest::{Context, SHA256};
use tar::{Archive, Builder, EntryType, Header};
use understudy_sdk::{
    Workspace, WorkspaceError,
    workspace::{Entry, EntryKind},
};

/// Why a workspace can't be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file can't be read or written.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The stream broke off, or holds something else.
    #[error("the archive can't be written or read: {0}")]
    Broken(#[from] io::Error),
    /// Somebody wrote into the workspace meanwhile.
    #[error("{0} changed while it was read")]
    Changed(Utf8PathBuf),
    /// An entry that is none of ours.
    #[error("the archive holds an entry that does not belong there: {0}")]
    Foreign(String),
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// SHA-256 of the archive before compression, hexadecimal: equal for equal content.
    pub(super) fingerprint: String,
    /// Bytes before compression.
    pub(super) unpacked: u64,
}

/// Packs a workspace. Blocks.
pub(super) fn pack(workspace: &Workspace, entries: &[Entry], out: impl Write) -> Result<Packed, ArchiveError> {
    let zipped = GzEncoder::new(out, Compression::fast());
    let (packed, zipped) = write_tar(workspace, entries, zipped)?;
    zipped.finish()?.flush()?;
    Ok(packed)
}

/// What [`pack`] would give, without a result to be kept. Blocks.
pub(super) fn fingerprint(workspace: &Workspace, entries: &[Entry]) -> Result<Packed, ArchiveError> {
    Ok(write_tar(workspace, entries, io::sink())?.0)
}

fn write_tar<W: Write>(workspace: &Workspace, entries: &[Entry], out: W) -> Result<(Packed, W), ArchiveError> {
    let mut builder = Builder::new(Hashing { inner: out, hash: Context::new(&SHA256), count: 0 });
    for entry in entries {
        let path = entry.path.as_std_path();
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode & 0o777);
        header.set_size(0);
        match entry.kind {
            EntryKind::Dir => {
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, path, io::empty())?;
            }
            EntryKind::File => {
                let file = workspace.open_file(entry.path.as_str())?;
                let size = file.size();
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                header.set_mode(file.mode() & 0o777);
                let mut content = Counted { inner: file.take(size), count: 0 };
                builder.append_data(&mut header, path, &mut content)?;
                if content.count != size {
                    return Err(ArchiveError::Changed(entry.path.clone()));
                }
            }
            EntryKind::Symlink => {
                let target = workspace.read_link(entry.path.as_str())?;
                if !workspace.link_stays_inside(&entry.path, target.as_str()) {
                    tracing::warn!(path = %entry.path, "a link that leads out of its workspace is not saved");
                    continue;
                }
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, path, target.as_std_path())?;
            }
            // Sockets and pipes belong to processes, which are gone when the archive is read.
            EntryKind::Other => {}
        }
    }
    let hashing = builder.into_inner()?;
    let packed = Packed { fingerprint: hex(hashing.hash), unpacked: hashing.count };
    Ok((packed, hashing.inner))
}

/// Unpacks an archive of at most so many bytes into an empty workspace. Blocks.
pub(super) fn unpack(archive: impl Read, unpacked: u64, workspace: &Workspace) -> Result<(), ArchiveError> {
    let mut archive = Archive::new(GzDecoder::new(BufReader::new(archive)).take(unpacked.saturating_add(1)));
    let (mut links, mut modes) = (Vec::new(), Vec::new());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|error| ArchiveError::Foreign(error.to_string()))?;
        let path = name.trim_end_matches('/').to_string();
        let mode = entry.header().mode()? & 0o777;
        match entry.header().entry_type() {
            EntryType::Directory => {
                // Its own mode may forbid to write into it.
                workspace.create_dir(&path, 0o700)?;
                modes.push((path, mode));
            }
            EntryType::Regular => {
                let size = entry.header().size()?;
                let mut file = workspace.create_file(&path, 0o600)?;
                if file.copy_from(&mut entry)? != size {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                file.set_mode(mode)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().map(|target| String::from_utf8(target.into_owned()));
                let Some(Ok(target)) = target else { return Err(ArchiveError::Foreign(name)) };
                links.push((path, target));
            }
            _ => return Err(ArchiveError::Foreign(name)),
        }
    }
    // Through to the end, which is a byte before the limit, so that a stream that was cut off is noticed.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    // Behind all files: no file is written through a link.
    for (path, target) in links {
        workspace.symlink(&target, &path)?;
    }
    for (path, mode) in modes.into_iter().rev() {
        workspace.set_mode(&path, mode)?;
    }
    Ok(())
}

/// A digest as hexadecimal text.
pub(super) fn hex(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Hashing<W> {
    inner: W,
    hash: Context,
    count: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.hash.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn workspace(dir: &tempfile::TempDir, name: &str) -> Workspace {
        Workspace::create(Utf8Path::from_path(dir.path()).unwrap().join(name)).unwrap()
    }

    fn packed(workspace: &Workspace) -> (Vec<u8>, Packed) {
        let mut archive = Vec::new();
        let packed = pack(workspace, &workspace.walk("").unwrap(), &mut archive).unwrap();
        (archive, packed)
    }

    fn shape(workspace: &Workspace) -> Vec<(String, EntryKind, u32, String)> {
        let content = |entry: &Entry| match entry.kind {
            EntryKind::File => String::from_utf8(workspace.read(entry.path.as_str()).unwrap()).unwrap(),
            EntryKind::Symlink => workspace.read_link(entry.path.as_str()).unwrap().to_string(),
            _ => String::new(),
        };
        let entries = workspace.walk("").unwrap();
        let mode = |entry: &Entry| if entry.kind == EntryKind::Symlink { 0 } else { entry.mode & 0o7777 };
        entries.iter().map(|entry| (entry.path.to_string(), entry.kind, mode(entry), content(entry))).collect()
    }

    #[test]
    fn a_workspace_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (workspace(&dir, "from"), workspace(&dir, "to"));
        let long = format!("{}/{}.txt", "directory".repeat(20), "name".repeat(40));
        from.write("src/main.rs", b"fn main() {}", 0o644).unwrap();
        from.write("run.sh", b"#!/bin/sh", 0o755).unwrap();
        from.write("empty", b"", 0o600).unwrap();
        from.write(&long, b"deep", 0o640).unwrap();
        from.write("spa ce/\u{fc}ml\u{e4}ut \u{1f600}", b"x", 0o644).unwrap();
        from.create_dir_all("empty dir/inner").unwrap();
        from.symlink("../run.sh", "src/link").unwrap();
        from.symlink("src", "dirlink").unwrap();
        from.symlink("nowhere", "dangling").unwrap();
        from.set_mode("run.sh", 0o4751).unwrap();
        from.set_mode("empty dir", 0o500).unwrap();
        let (archive, sum) = packed(&from);
        unpack(&archive[..], sum.unpacked, &to).unwrap();
        from.set_mode("run.sh", 0o751).unwrap(); // Other bits than those of permission are not kept.
        assert_eq!(shape(&to), shape(&from));
        assert_eq!(packed(&to).1.fingerprint, packed(&from).1.fingerprint);
        assert_eq!(fingerprint(&to, &to.walk("").unwrap()).unwrap(), packed(&to).1);
        to.write("run.sh", b"#!/bin/sg", 0o751).unwrap();
        assert_ne!(packed(&to).1.fingerprint, sum.fingerprint);
    }

    #[test]
    fn nothing_that_leads_outside_is_saved() {
        let dir = tempfile::tempdir().unwrap();
        let from = workspace(&dir, "from");
        for (target, name) in [("/etc/passwd", "absolute"), ("../../x", "upwards"), ("inside", "fine")] {
            std::os::unix::fs::symlink(target, from.root().join(name)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(from.root().join("socket")).unwrap();
        let (archive, sum) = packed(&from);
        let to = workspace(&dir, "to");
        unpack(&archive[..], sum.unpacked, &to).unwrap();
        assert_eq!(shape(&to).len(), 1);
        assert_eq!(to.read_link("fine").unwrap(), "inside");
    }

    /// Type, name, link's target, content.
    type Hostile<'a> = (EntryType, &'a str, &'a str, &'a [u8]);

    fn hostile(entries: &[Hostile<'_>]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (kind, name, target, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            // The safe way to set names refuses these.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn hostile_archives_write_nothing_outside() {
        use EntryType::{Char, Directory, Link, Regular, Symlink};
        let cases: [&[Hostile<'_>]; 9] = [
            &[(Regular, "../escaped", "", b"x")],
            &[(Regular, "/tmp/understudy-escaped", "", b"x")],
            &[(Regular, "a/../../escaped", "", b"x")],
            &[(Directory, "../escaped", "", b"")],
            &[(Symlink, "out", "..", b""), (Regular, "out/escaped", "", b"x")],
            &[(Symlink, "out", "../", b"")],
            &[(Symlink, "out", "/etc", b"")],
            &[(Link, "hard", "/etc/passwd", b"")],
            &[(Char, "device", "", b"")],
        ];
        for entries in cases {
            let dir = tempfile::tempdir().unwrap();
            let to = workspace(&dir, "a/to");
            let error = unpack(&hostile(entries)[..], 1 << 20, &to).unwrap_err();
            assert!(!dir.path().join("a/escaped").exists() && !dir.path().join("escaped").exists(), "{error}");
            assert!(!std::fs::exists("/tmp/understudy-escaped").unwrap(), "{error}");
        }
    }

    #[test]
    fn damaged_and_oversized_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let from = workspace(&dir, "from");
        from.write("zeros", &vec![0; 3 << 20], 0o644).unwrap();
        let (archive, sum) = packed(&from);
        assert!(archive.len() < 100_000, "{} bytes", archive.len());
        let refused = |name: &str, archive: &[u8], unpacked| {
            let error = unpack(archive, unpacked, &workspace(&dir, name)).expect_err(name);
            // A file that could not be written to its end tells of the stream that fed it.
            assert!(!matches!(error, ArchiveError::Foreign(_) | ArchiveError::Changed(_)), "{error:?}");
        };
        refused("a", &archive, 1 << 20);
        refused("b", &archive[..archive.len() / 2], sum.unpacked);
        refused("c", &archive[..archive.len() - 4], sum.unpacked);
        refused("d", b"not an archive", sum.unpacked);
        let mut flipped = archive.clone();
        // A byte of the checksum: another one might make no difference to so many zeros.
        let checksum = flipped.len() - 6;
        flipped[checksum] ^= 0x55;
        refused("e", &flipped, sum.unpacked);
    }
}
