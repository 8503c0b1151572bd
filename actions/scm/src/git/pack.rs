//! A pack of one root commit, spooled to unnamed temporary files.
//!
//! Every worker compresses into a spool of its own, since the order of undeltified objects doesn't matter; the pack is the
//! spools one after the other. Memory holds the list of files and small contents under work, never the pack.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use camino::Utf8Path;
use flate2::{Compression, write::ZlibEncoder};
use sha1::{Digest, Sha1};
use tokio_util::sync::CancellationToken;
use understudy_sdk::{ActionLogger, Workspace};

use super::{
    Author,
    error::PushError,
    object::{self, Kind, Oid},
    scan::{Found, Mode, Scan},
};

/// Larger files are read twice (hash, then compress) instead of being held in memory.
const IN_MEMORY: u64 = 1024 * 1024;
const MAX_WORKERS: usize = 4;
const BUFFER: usize = 64 * 1024;
/// How often progress is logged.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(3);

/// A finished pack.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) commit: Oid,
    pub(super) tree: Oid,
    pub(super) objects: u32,
    header: [u8; 12],
    parts: Vec<(Arc<File>, u64)>,
    trailer: [u8; 20],
}

impl Pack {
    /// Bytes in all.
    pub(super) fn len(&self) -> u64 {
        self.header.len() as u64 + self.parts.iter().map(|(_, len)| len).sum::<u64>() + self.trailer.len() as u64
    }

    /// Reads into `buffer` from the pack's byte `at` on; fewer bytes than asked for don't mean the end, none do. Blocks.
    pub(super) fn read_at(&self, mut at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let memory = |content: &[u8], at: u64, buffer: &mut [u8]| {
            // `at` lies within the content, which is short.
            let rest = &content[usize::try_from(at).unwrap_or(content.len())..];
            let n = rest.len().min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            n
        };
        if at < self.header.len() as u64 {
            return Ok(memory(&self.header, at, buffer));
        }
        at -= self.header.len() as u64;
        for (file, len) in &self.parts {
            if at < *len {
                let wanted = usize::try_from(len - at).map_or(buffer.len(), |left| left.min(buffer.len()));
                return match file.read_at(&mut buffer[..wanted], at)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    n => Ok(n),
                };
            }
            at -= len;
        }
        Ok(if at < self.trailer.len() as u64 { memory(&self.trailer, at, buffer) } else { 0 })
    }
}

/// What the commit says besides its tree.
#[derive(Debug)]
pub(super) struct CommitInfo<'a> {
    pub(super) author: &'a Author,
    /// Seconds since 1970.
    pub(super) seconds: u64,
    pub(super) message: &'a str,
}

/// Hashes and compresses the scanned files, builds trees and commit. Blocks.
pub(super) fn build(
    dir: &Workspace,
    scan: &Scan,
    info: &CommitInfo<'_>,
    log: &ActionLogger,
    stop: &CancellationToken,
) -> Result<Pack, PushError> {
    let shared = Shared {
        dir,
        files: &scan.files,
        next: AtomicUsize::new(0),
        seen: Mutex::new(HashSet::new()),
        progress: Mutex::new(Progress { at: Instant::now(), files: 0 }),
        log,
        stop,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS).min(scan.files.len());
    let mut spools = Vec::new();
    let mut oids = vec![Oid::ZERO; scan.files.len()];
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| shared.work())).collect();
        handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        let (spool, named) = result
            .unwrap_or_else(|_| Err(PushError::Refused("a worker that packs files ended unexpectedly".into())))?;
        for (index, oid) in named {
            oids[index] = oid;
        }
        spools.push(spool);
    }

    let mut last = Spool::create(dir)?;
    let files: Vec<(&str, Mode, Oid)> =
        scan.files.iter().zip(&oids).map(|(file, oid)| (file.path.as_str(), file.mode, *oid)).collect();
    let tree = write_trees(&files, &mut last)?;
    let content = object::commit(tree, info.author, info.seconds, info.message);
    let commit = Kind::Commit.hash(&content);
    last.add(Kind::Commit, content.len() as u64, &mut &content[..])?;
    spools.push(last);
    finish(spools, commit, tree)
}

fn finish(spools: Vec<Spool>, commit: Oid, tree: Oid) -> Result<Pack, PushError> {
    let objects = spools
        .iter()
        .try_fold(0_u32, |sum, spool| sum.checked_add(spool.objects))
        .ok_or_else(|| PushError::Refused("more objects than a pack can hold".into()))?;
    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
    header[8..].copy_from_slice(&objects.to_be_bytes());
    let mut hasher = Sha1::new().chain_update(header);
    let mut parts = Vec::new();
    let mut buffer = vec![0; BUFFER];
    for spool in spools {
        let file = spool.file.into_inner().map_err(|error| spool_failure(&error.into_error()))?;
        let mut at = 0;
        loop {
            match file.read_at(&mut buffer, at).map_err(|error| spool_failure(&error))? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    at += n as u64;
                }
            }
        }
        parts.push((Arc::new(file), at));
    }
    Ok(Pack { commit, tree, objects, header, parts, trailer: hasher.finalize().into() })
}

/// Writes the trees of the files, which are sorted by the bytes of their paths; gives the topmost.
fn write_trees(files: &[(&str, Mode, Oid)], spool: &mut Spool) -> Result<Oid, PushError> {
    let mut seen = HashSet::new();
    let mut write = |content: &[u8]| {
        let oid = Kind::Tree.hash(content);
        if seen.insert(oid) {
            spool.add(Kind::Tree, content.len() as u64, &mut &content[..])?;
        }
        Ok::<_, PushError>(oid)
    };
    let mut top = Vec::new();
    // The directories being filled, outermost first. What lies in one of them stands together, thanks to the order.
    let mut open: Vec<(&str, Vec<u8>)> = Vec::new();
    let end = ("", Mode::File, Oid::ZERO);
    for (path, mode, oid) in files.iter().chain([&end]) {
        let (dirs, name) = path.rsplit_once('/').map_or((None, *path), |(dirs, name)| (Some(dirs), name));
        let dirs = || dirs.into_iter().flat_map(|dirs| dirs.split('/'));
        let shared = open.iter().zip(dirs()).take_while(|((known, _), dir)| known == dir).count();
        while open.len() > shared
            && let Some((dir, content)) = open.pop()
        {
            let tree = write(&content)?;
            object::add_tree_entry(open.last_mut().map_or(&mut top, |(_, above)| above), Mode::Tree, dir, tree);
        }
        open.extend(dirs().skip(shared).map(|dir| (dir, Vec::new())));
        if !name.is_empty() {
            object::add_tree_entry(open.last_mut().map_or(&mut top, |(_, inner)| inner), *mode, name, *oid);
        }
    }
    write(&top)
}

/// What the workers share.
struct Shared<'a> {
    dir: &'a Workspace,
    files: &'a [Found],
    next: AtomicUsize,
    seen: Mutex<HashSet<Oid>>,
    progress: Mutex<Progress>,
    log: &'a ActionLogger,
    stop: &'a CancellationToken,
}

struct Progress {
    at: Instant,
    files: usize,
}

impl Shared<'_> {
    /// Takes files until there are none left; gives the objects and the names by index.
    fn work(&self) -> Result<(Spool, Vec<(usize, Oid)>), PushError> {
        let mut spool = Spool::create(self.dir)?;
        let mut named = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(index) else { return Ok((spool, named)) };
            let added = if self.stop.is_cancelled() { Err(PushError::Cancelled) } else { self.add(file, &mut spool) };
            match added {
                Ok(oid) => named.push((index, oid)),
                Err(error) => {
                    // The others need not go on.
                    self.next.store(self.files.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            self.report();
        }
    }

    fn add(&self, file: &Found, spool: &mut Spool) -> Result<Oid, PushError> {
        let path = file.path.as_str();
        if file.mode == Mode::Symlink {
            let target = self.dir.read_link(path)?;
            return self.add_content(target.as_str().as_bytes(), spool);
        }
        if file.size <= IN_MEMORY {
            let mut content = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
            // One byte more shows that the file has grown.
            let read = self.dir.open_file(path)?.take(file.size + 1).read_to_end(&mut content);
            read.map_err(|error| self.unreadable(&file.path, &error))?;
            if content.len() as u64 != file.size {
                return Err(self.changed(&file.path));
            }
            return self.add_content(&content, spool);
        }
        let mut hasher = Kind::Blob.hasher(file.size);
        let mut left = file.size;
        let mut reader = self.dir.open_file(path)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.stop.is_cancelled() {
                return Err(PushError::Cancelled);
            }
            let n = match reader.read(&mut buffer).map_err(|error| self.unreadable(&file.path, &error))? {
                0 => break,
                n => n,
            };
            left = left.checked_sub(n as u64).ok_or_else(|| self.changed(&file.path))?;
            hasher.update(&buffer[..n]);
        }
        if left != 0 {
            return Err(self.changed(&file.path));
        }
        let oid = Oid(hasher.finalize().into());
        if self.is_new(oid) {
            // Hashed again while it is compressed, for the file may change in between.
            let mut check =
                Hashing { hasher: Kind::Blob.hasher(file.size), inner: self.dir.open_file(path)?, stop: self.stop };
            spool.add(Kind::Blob, file.size, &mut check)?;
            if Oid(check.hasher.finalize().into()) != oid {
                return Err(self.changed(&file.path));
            }
        }
        Ok(oid)
    }

    fn add_content(&self, content: &[u8], spool: &mut Spool) -> Result<Oid, PushError> {
        let oid = Kind::Blob.hash(content);
        if self.is_new(oid) {
            spool.add(Kind::Blob, content.len() as u64, &mut &content[..])?;
        }
        Ok(oid)
    }

    fn is_new(&self, oid: Oid) -> bool {
        // A set is sound whatever a panicking holder was doing.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(oid)
    }

    fn report(&self) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.files += 1;
        if progress.at.elapsed() >= PROGRESS_EVERY {
            progress.at = Instant::now();
            self.log.info(format!("Packing files: {} of {}", progress.files, self.files.len()));
        }
    }

    fn changed(&self, path: &Utf8Path) -> PushError {
        PushError::Refused(format!("{} changed while it was being committed", self.dir.display(path)))
    }

    fn unreadable(&self, path: &Utf8Path, error: &io::Error) -> PushError {
        PushError::Refused(format!("{} can't be read: {error}", self.dir.display(path)))
    }
}

/// Hashes what is read through it.
struct Hashing<'a, R> {
    hasher: Sha1,
    inner: R,
    stop: &'a CancellationToken,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the task was cancelled"));
        }
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Objects in a temporary file without a name, gone with the process.
struct Spool {
    file: BufWriter<File>,
    objects: u32,
}

impl Spool {
    /// Beside the files if possible: there is room for them already, while `/tmp` may be a small memory disk.
    fn create(dir: &Workspace) -> Result<Self, PushError> {
        let file = tempfile::tempfile_in(dir.root()).or_else(|_| tempfile::tempfile());
        let file = file.map_err(|error| spool_failure(&error))?;
        Ok(Self { file: BufWriter::with_capacity(BUFFER, file), objects: 0 })
    }

    /// Adds an object; `content` must give `size` bytes.
    fn add(&mut self, kind: Kind, size: u64, content: &mut dyn Read) -> Result<(), PushError> {
        let mut write = || -> io::Result<u64> {
            self.file.write_all(&entry_header(kind, size))?;
            let mut encoder = ZlibEncoder::new(&mut self.file, Compression::default());
            let written = io::copy(content, &mut encoder)?;
            encoder.finish()?;
            Ok(written)
        };
        match write() {
            Ok(written) if written == size => {}
            Ok(_) => return Err(PushError::Refused("a file changed while it was being committed".into())),
            Err(error) => return Err(spool_failure(&error)),
        }
        self.objects = self
            .objects
            .checked_add(1)
            .ok_or_else(|| PushError::Refused("more objects than a pack can hold".into()))?;
        Ok(())
    }
}

fn spool_failure(error: &io::Error) -> PushError {
    PushError::Refused(format!("the files can't be packed into a temporary file: {error}"))
}

/// Type and uncompressed size, 4 bits and then 7 a byte, the lowest first.
fn entry_header(kind: Kind, mut size: u64) -> Vec<u8> {
    let low = |value: u64, bits: u32| u8::try_from(value & ((1 << bits) - 1)).unwrap_or_default();
    let mut bytes = vec![((kind as u8) << 4) | low(size, 4)];
    size >>= 4;
    while size > 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push(low(size, 7));
        size >>= 7;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_hold_any_size() {
        for (kind, size, bytes) in [
            (Kind::Blob, 0, vec![0x30]),
            (Kind::Blob, 15, vec![0x3f]),
            (Kind::Tree, 16, vec![0xa0, 0x01]),
            (Kind::Commit, 300, vec![0x9c, 0x12]),
            (Kind::Blob, 60 * 1024 * 1024, vec![0xb0, 0x80, 0x80, 0xf0, 0x01]),
        ] {
            assert_eq!(entry_header(kind, size), bytes, "{size}");
        }
    }
}
