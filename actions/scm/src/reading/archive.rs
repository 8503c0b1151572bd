//! Unpacking the archives hosts make of a repository: gzipped tar, everything below one directory named by the host.
//!
//! Archives are hostile: names and links may lead anywhere, headers may promise anything. Nothing is held in memory but
//! the entry under work, and long names only up to [`MAX_NAME`].

use std::io::{self, BufRead, BufReader, Read};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry, EntryType, PaxExtensions};
use understudy_sdk::{ActionError, Workspace, WorkspaceError};

use crate::TreeSummary;

/// Bytes written in all.
pub(super) const MAX_EXTRACTED: u64 = 1024 * 1024 * 1024;
/// Bytes decompressed in all; more than what may be written, since the wanted part may be a small one.
const MAX_DECOMPRESSED: u64 = 4 * MAX_EXTRACTED;
/// Entries written.
const MAX_WRITTEN: usize = 200_000;
/// Entries looked at.
const MAX_ENTRIES: usize = 2_000_000;
/// Bytes of a long name with its headers.
const MAX_NAME: u64 = 64 * 1024;
const MAX_WARNINGS: usize = 100;

/// Why an archive was given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The stream broke off or holds something else.
    #[error("the archive can't be read: {0}")]
    Broken(#[source] io::Error),
    /// It holds more than is allowed.
    #[error("the archive holds more than {0}, which is the limit")]
    TooLarge(String),
    /// An entry can't be written.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl ArchiveError {
    fn broken(text: &'static str) -> Self {
        Self::Broken(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// As the error of a step; `url` is where the archive came from.
    pub(super) fn into_action(self, url: &str) -> ActionError {
        match self {
            Self::Workspace(error) => error.into(),
            error => ActionError::failed(format!("Unable to read {url}: {error}")).with_source(error),
        }
    }
}

/// Unpacks what lies below `sub` in the archive's one top directory into `target`. `None` when there is nothing of that
/// name. Blocks.
pub(super) fn extract(
    input: impl Read,
    sub: &Utf8Path,
    target: &Workspace,
) -> Result<Option<TreeSummary>, ArchiveError> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    // A host that labels the archive with a content encoding has it unpacked by the HTTP client already.
    let zipped = input.fill_buf().map_err(ArchiveError::Broken)?.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read + '_> = if zipped { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
    let mut extraction = Extraction {
        sub,
        target,
        found: sub.as_str().is_empty(),
        left: MAX_EXTRACTED,
        written: 0,
        summary: TreeSummary::default(),
        more_warnings: 0,
    };
    let mut archive = Archive::new(Limited { inner: plain, left: MAX_DECOMPRESSED });
    let mut names = LongNames::default();
    let mut count = 0;
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(ArchiveError::TooLarge(format!("{MAX_ENTRIES} entries")));
        }
        if !names.take(&mut entry)? {
            let names = std::mem::take(&mut names);
            extraction.take(&mut entry, names)?;
        }
    }
    Ok(extraction.finish())
}

fn broken(error: io::Error) -> ArchiveError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<OverLimit>()) {
        Some(_) => ArchiveError::TooLarge(format!("{MAX_DECOMPRESSED} bytes")),
        None => ArchiveError::Broken(error),
    }
}

/// Names that don't fit into an entry's own header and come in entries before it.
#[derive(Debug, Default)]
struct LongNames {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl LongNames {
    /// Takes an entry that describes the next one; `false` when it is one in its own right.
    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<bool, ArchiveError> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(true);
        }
        if !(kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions()) {
            return Ok(false);
        }
        if entry.header().entry_size().map_err(broken)? > MAX_NAME {
            return Err(ArchiveError::TooLarge(format!("{MAX_NAME} bytes for a name")));
        }
        let mut content = Vec::new();
        entry.take(MAX_NAME).read_to_end(&mut content).map_err(broken)?;
        if !kind.is_pax_local_extensions() {
            content.truncate(content.iter().position(|byte| *byte == 0).unwrap_or(content.len()));
            *(if kind.is_gnu_longname() { &mut self.path } else { &mut self.link }) = Some(content);
            return Ok(true);
        }
        for extension in PaxExtensions::new(&content) {
            let extension = extension.map_err(broken)?;
            match extension.key_bytes() {
                b"path" => self.path = Some(extension.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                // Only for entries of 8 GiB or more, which are beyond the limit.
                b"size" => return Err(ArchiveError::TooLarge(format!("{MAX_EXTRACTED} bytes"))),
                _ => {}
            }
        }
        Ok(true)
    }
}

struct Extraction<'a> {
    sub: &'a Utf8Path,
    target: &'a Workspace,
    /// Whether something lies at or below `sub`.
    found: bool,
    left: u64,
    written: usize,
    summary: TreeSummary,
    more_warnings: usize,
}

impl Extraction<'_> {
    fn take(&mut self, entry: &mut Entry<'_, impl Read>, names: LongNames) -> Result<(), ArchiveError> {
        let header = entry.header();
        let kind = header.entry_type();
        let path = names.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let Ok(name) = str::from_utf8(&path) else {
            self.warn(format!("{} was left out: its name is not valid UTF-8", String::from_utf8_lossy(&path)));
            return Ok(());
        };
        let Some(path) = inner_path(name) else {
            self.warn(format!("{name} was left out: its name leads outside the archive"));
            return Ok(());
        };
        let Ok(relative) = path.strip_prefix(self.sub) else { return Ok(()) };
        let relative = relative.as_str();
        if kind.is_dir() {
            self.found = true;
            self.count()?;
            return Ok(self.target.create_dir_all(relative)?);
        }
        if relative.is_empty() {
            // The wanted directory is a file.
            return Ok(());
        }
        self.found = true;
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                self.count()?;
                let size = header.entry_size().map_err(broken)?;
                let executable = header.mode().map_err(broken)? & 0o100 != 0;
                self.left = self
                    .left
                    .checked_sub(size)
                    .ok_or_else(|| ArchiveError::TooLarge(format!("{MAX_EXTRACTED} bytes")))?;
                let mut content = Reading { inner: entry, error: None };
                let written = self.target.write_from(relative, &mut content, if executable { 0o755 } else { 0o644 });
                if let Some(error) = content.error {
                    return Err(broken(error));
                }
                if written? != size {
                    return Err(ArchiveError::broken("it ends in the middle of a file"));
                }
                self.summary.files += 1;
            }
            EntryType::Symlink => {
                self.count()?;
                let link = names.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                let link = link.unwrap_or_default();
                self.link(relative, &link)?;
            }
            EntryType::Link => self.warn(format!("{relative} was left out: hard links are not supported")),
            _ => self.warn(format!("{relative} was left out: it is neither a file nor a directory nor a link")),
        }
        Ok(())
    }

    fn link(&mut self, relative: &str, link: &[u8]) -> Result<(), ArchiveError> {
        let leads_outside = |to: &str| format!("The link {relative} was left out: it leads outside, to {to}");
        let Ok(to) = str::from_utf8(link) else {
            self.warn(leads_outside(&String::from_utf8_lossy(link)));
            return Ok(());
        };
        if to.is_empty() || !self.target.link_stays_inside(Utf8Path::new(relative), to) {
            self.warn(leads_outside(to));
            return Ok(());
        }
        if self.target.exists(relative)? {
            self.target.remove_file(relative)?;
        }
        match self.target.symlink(to, relative) {
            Err(WorkspaceError::Escapes { .. }) => self.warn(leads_outside(to)),
            result => result?,
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), ArchiveError> {
        self.written += 1;
        if self.written > MAX_WRITTEN {
            return Err(ArchiveError::TooLarge(format!("{MAX_WRITTEN} files and directories")));
        }
        Ok(())
    }

    fn warn(&mut self, warning: String) {
        if self.summary.warnings.len() < MAX_WARNINGS {
            self.summary.warnings.push(warning.chars().filter(|c| !c.is_control()).take(1000).collect());
        } else {
            self.more_warnings += 1;
        }
    }

    fn finish(mut self) -> Option<TreeSummary> {
        if self.more_warnings > 0 {
            self.summary.warnings.push(format!("{} more entries were left out", self.more_warnings));
        }
        self.found.then_some(self.summary)
    }
}

/// The path below the archive's top directory; `None` when it leads out of it. Empty for the top directory itself.
fn inner_path(name: &str) -> Option<Utf8PathBuf> {
    if name.contains('\0') {
        return None;
    }
    let mut path = Utf8PathBuf::new();
    for (index, component) in Utf8Path::new(name).components().filter(|c| *c != Utf8Component::CurDir).enumerate() {
        match component {
            Utf8Component::Normal(_) if index == 0 => {}
            Utf8Component::Normal(name) => path.push(name),
            _ => return None,
        }
    }
    Some(path)
}

/// Keeps apart what went wrong while reading from what went wrong while writing.
struct Reading<R> {
    inner: R,
    error: Option<io::Error>,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("over the limit")]
struct OverLimit;

/// Fails, instead of ending, after so many bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(OverLimit))?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use tar::{Builder, Header};

    use super::*;

    struct Made(Builder<Vec<u8>>);

    impl Made {
        fn new() -> Self {
            Self(Builder::new(Vec::new()))
        }

        /// Writes the name unchecked, as an attacker would.
        fn add(mut self, kind: EntryType, name: &str, link: &str, mode: u32, content: &[u8]) -> Self {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_cksum();
            self.0.append(&header, content).unwrap();
            self
        }

        fn file(self, name: &str, content: &str) -> Self {
            self.add(EntryType::Regular, name, "", 0o664, content.as_bytes())
        }

        fn link(self, name: &str, to: &str) -> Self {
            self.add(EntryType::Symlink, name, to, 0o777, b"")
        }

        fn tar(self) -> Vec<u8> {
            self.0.into_inner().unwrap()
        }

        fn gz(self) -> Vec<u8> {
            gz(&self.tar())
        }
    }

    fn gz(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn run(archive: &[u8], sub: &str) -> (tempfile::TempDir, Workspace, Result<Option<TreeSummary>, ArchiveError>) {
        let dir = tempfile::tempdir().unwrap();
        let target = Workspace::create(Utf8Path::from_path(dir.path()).unwrap().join("a/b")).unwrap();
        let result = extract(archive, Utf8Path::new(sub), &target);
        (dir, target, result)
    }

    fn listed(target: &Workspace) -> Vec<String> {
        target.walk("").unwrap().into_iter().map(|entry| format!("{:o} {}", entry.mode, entry.path)).collect()
    }

    #[test]
    fn the_wanted_part_is_unpacked() {
        let archive = Made::new()
            .add(
                EntryType::XGlobalHeader,
                "pax_global_header",
                "",
                0o666,
                b"52 comment=0123456789012345678901234567890123456789\n",
            )
            .add(EntryType::Directory, "o-r-sha/", "", 0o775, b"")
            .file("o-r-sha/README.md", "readme")
            .add(EntryType::Directory, "o-r-sha/tpl/", "", 0o775, b"")
            .file("o-r-sha/tpl/a.txt", "a")
            .add(EntryType::Regular, "o-r-sha/tpl/bin/run", "", 0o775, b"x")
            .link("o-r-sha/tpl/bin/link", "../a.txt")
            .link("o-r-sha/tpl/dangling", "nowhere")
            .file("o-r-sha/tpl-other/b.txt", "b");
        let tar = archive.tar();
        for archive in [gz(&tar), tar] {
            let (_dir, target, result) = run(&archive, "tpl");
            let summary = result.unwrap().unwrap();
            assert_eq!((summary.files, summary.warnings.len()), (2, 0));
            assert_eq!(
                listed(&target),
                ["100644 a.txt", "40755 bin", "120777 dangling", "120777 bin/link", "100755 bin/run"]
            );
            assert_eq!(target.read("bin/link").unwrap(), b"a");
        }
    }

    #[test]
    fn everything_without_a_sub_path() {
        let archive = Made::new().file("top/x", "x").file("./top/y", "y").gz();
        let (_dir, target, result) = run(&archive, "");
        assert_eq!(result.unwrap().unwrap().files, 2);
        assert_eq!(listed(&target), ["100644 x", "100644 y"]);
    }

    #[test]
    fn a_missing_directory_is_noticed() {
        let archive = Made::new().file("top/x", "x").file("top/tplx/y", "y").gz();
        for sub in ["tpl", "x", "tplx/y"] {
            let (_dir, _, result) = run(&archive, sub);
            assert!(result.unwrap().is_none(), "{sub}");
        }
    }

    #[test]
    fn nothing_leaves_the_target() {
        let archive = Made::new()
            .file("top/../../../escaped", "x")
            .file("/etc/escaped", "x")
            .file("../escaped", "x")
            .file("top/ok", "x")
            .link("top/absolute", "/etc/passwd")
            .link("top/up", "../outside")
            .link("top/d/up", "../../outside")
            .link("top/fine", "d/../ok")
            .add(EntryType::Link, "top/hard", "top/ok", 0o644, b"")
            .add(EntryType::Fifo, "top/fifo", "", 0o644, b"")
            .gz();
        let (dir, target, result) = run(&archive, "");
        let summary = result.unwrap().unwrap();
        assert_eq!(
            summary.warnings,
            [
                "top/../../../escaped was left out: its name leads outside the archive",
                "/etc/escaped was left out: its name leads outside the archive",
                "../escaped was left out: its name leads outside the archive",
                "The link absolute was left out: it leads outside, to /etc/passwd",
                "The link up was left out: it leads outside, to ../outside",
                "The link d/up was left out: it leads outside, to ../../outside",
                "hard was left out: hard links are not supported",
                "fifo was left out: it is neither a file nor a directory nor a link",
            ]
        );
        assert_eq!(listed(&target), ["120777 fine", "100644 ok"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn writing_through_a_chain_of_links_stays_inside() {
        // Each link alone looks harmless by its text; the file system decides.
        let archive = Made::new()
            .add(EntryType::Directory, "top/d/e/", "", 0o755, b"")
            .link("top/l1", "d/e")
            .link("top/l2", "l1/../../..")
            .file("top/l2/escaped", "x")
            .gz();
        let (dir, _target, result) = run(&archive, "");
        // Dropped with a warning or refused: either is fine, writing outside is not.
        drop(result);
        assert!(!dir.path().join("escaped").exists());
        assert!(!dir.path().join("a/escaped").exists());
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one() {
        let archive = Made::new().link("top/x", "y").file("top/y", "old").file("top/x", "new").link("top/y", "x").gz();
        let (_dir, target, result) = run(&archive, "");
        result.unwrap().unwrap();
        assert_eq!(listed(&target), ["100644 x", "120777 y"]);
        assert_eq!(target.read("y").unwrap(), b"new");
    }

    #[test]
    fn long_names() {
        let long = format!("top/{}/file", vec!["component"; 30].join("/"));
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
        builder.append_pax_extensions([("path", long.replace("file", "pax").as_bytes())]).unwrap();
        builder.append_data(&mut header, "short", &b"y"[..]).unwrap();
        let archive = gz(&builder.into_inner().unwrap());
        let (_dir, target, result) = run(&archive, "component/component");
        assert_eq!(result.unwrap().unwrap().files, 2);
        let base = vec!["component"; 28].join("/");
        assert_eq!(target.read(&format!("{base}/pax")).unwrap(), b"y");
        assert_eq!(target.read(&format!("{base}/file")).unwrap(), b"x");
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        let long_name = Made::new().add(EntryType::GNULongName, "x", "", 0, &vec![b'a'; 70_000]).file("top/x", "").gz();
        assert!(matches!(run(&long_name, "").2, Err(ArchiveError::TooLarge(_))));

        let mut header = Header::new_gnu();
        header.set_path("top/huge").unwrap();
        header.set_size(MAX_EXTRACTED + 1);
        header.set_mode(0o644);
        header.set_cksum();
        assert!(matches!(run(&gz(header.as_bytes()), "").2, Err(ArchiveError::TooLarge(_))));

        let whole = Made::new().file("top/x", &"x".repeat(5000)).gz();
        for archive in [&b"not an archive, but long enough to be looked at"[..], &whole[..whole.len() / 2], b"\x1f\x8b"]
        {
            assert!(matches!(run(archive, "").2, Err(ArchiveError::Broken(_))), "{archive:?}");
        }
    }
}
