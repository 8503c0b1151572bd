//! The workspace as an attacker sees it.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::*;

const OUTSIDE: &str = "Relative path is not allowed to refer to a directory outside its parent";

struct Fixture {
    _dir: tempfile::TempDir,
    base: Utf8PathBuf,
    workspace: Workspace,
}

/// A workspace beside a directory with a secret.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let base = Utf8Path::from_path(dir.path()).unwrap().canonicalize_utf8().unwrap();
    fs::create_dir(base.join("outside")).unwrap();
    fs::write(base.join("outside/secret"), "secret").unwrap();
    let workspace = Workspace::create(base.join("ws")).unwrap();
    Fixture { _dir: dir, base, workspace }
}

impl Fixture {
    fn link(&self, target: &str, path: &str) {
        symlink(target, self.base.join("ws").join(path)).unwrap();
    }
    /// Every way of touching `path` (all but `on_the_link` follow a link at its end) fails with [`OUTSIDE`].
    fn refuses(&self, path: &str) {
        let ws = &self.workspace;
        let results = [
            ("read", ws.read(path).err()),
            ("open_file", ws.open_file(path).err()),
            ("append", ws.append(path, b"x").err()),
            ("set_mode", ws.set_mode(path, 0o777).err()),
            ("target_entry", ws.target_entry(path).err()),
            ("sub", ws.sub(path).err()),
            ("read_dir", ws.read_dir(path).err()),
            ("walk", ws.walk(path).err()),
        ];
        for (call, error) in results {
            let error = error.unwrap_or_else(|| panic!("{call} {path} went through"));
            assert_eq!(error.to_string(), OUTSIDE, "{call} {path}");
        }
    }
    /// As [`Fixture::refuses`], for calls that act on the entry itself.
    fn refuses_entry(&self, path: &str) {
        let ws = &self.workspace;
        ws.write("file", b"x", 0o644).unwrap();
        let results = [
            ("write", ws.write(path, b"x", 0o644).err()),
            ("exists", ws.exists(path).err()),
            ("entry", ws.entry(path).err()),
            ("create_dir_all", ws.create_dir_all(path).err()),
            ("create_dir", ws.create_dir(path, 0o755).err()),
            ("read_link", ws.read_link(path).err()),
            ("symlink", ws.symlink("file", path).err()),
            ("remove_file", ws.remove_file(path).err()),
            ("remove_dir_all", ws.remove_dir_all(path).err()),
            ("rename to", ws.rename("file", path).err()),
            ("rename from", ws.rename(path, "file2").err()),
        ];
        for (call, error) in results {
            let error = error.unwrap_or_else(|| panic!("{call} {path} went through"));
            assert_eq!(error.to_string(), OUTSIDE, "{call} {path}");
        }
    }
    fn untouched(&self) {
        assert_eq!(fs::read_to_string(self.base.join("outside/secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(self.base.join("outside")).unwrap().count(), 1);
    }
}

#[test]
fn paths_are_folded_by_their_text() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    let root = ws.root().to_string();
    let inside = [
        ("", ""),
        (".", ""),
        ("./a//b/.", "a/b"),
        ("a/../b", "b"),
        ("a/b/../..", ""),
        (&format!("{root}/a"), "a"),
        (&root, ""),
        ("...", "..."),
        ("a\\..\\..\\b", "a\\..\\..\\b"),
        ("%2e%2e/x", "%2e%2e/x"),
    ];
    for (path, expected) in inside {
        assert_eq!(ws.resolve(path).unwrap(), expected, "{path}");
    }
    let out = [
        "..",
        "../x",
        "a/../..",
        "a/../../ws/../outside",
        "/",
        "/etc/passwd",
        "a\0b",
        &format!("{root}x/y"),
        &format!("{root}/../outside"),
    ];
    for path in out {
        fixture.refuses(path);
        fixture.refuses_entry(path);
    }
    fixture.untouched();
}

#[test]
fn links_out_are_not_followed() {
    let fixture = fixture();
    let outside = fixture.base.join("outside");
    fixture.link(outside.as_str(), "absolute");
    fixture.link("../outside", "relative");
    fixture.link("relative", "chain1");
    fixture.link("chain1", "chain2");
    fixture.workspace.create_dir_all("d/e").unwrap();
    fixture.link("../../../outside", "d/e/deep");
    fixture.link("d/../../outside", "winding");
    for link in ["absolute", "relative", "chain2", "d/e/deep", "winding"] {
        fixture.refuses(link);
        fixture.refuses(&format!("{link}/secret"));
        fixture.refuses_entry(&format!("{link}/new"));
        fixture.refuses_entry(&format!("{link}/secret"));
    }
    // The links themselves can be looked at and removed.
    assert_eq!(fixture.workspace.entry("absolute").unwrap().kind, EntryKind::Symlink);
    assert_eq!(fixture.workspace.read_link("relative").unwrap(), "../outside");
    fixture.workspace.remove_file("absolute").unwrap();
    assert!(fixture.workspace.create_dir_all("relative").unwrap_err().to_string().contains(OUTSIDE));
    fixture.untouched();
}

#[test]
fn writing_replaces_a_link_instead_of_following_it() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    fixture.link("../outside/secret", "out");
    fixture.link("inner", "in");
    ws.write("inner", b"inner", 0o644).unwrap();
    ws.write("out", b"mine", 0o644).unwrap();
    ws.write("in", b"mine", 0o644).unwrap();
    assert_eq!(ws.read("inner").unwrap(), b"inner");
    assert_eq!(ws.entry("out").unwrap().kind, EntryKind::File);
    fixture.untouched();
}

#[test]
fn links_inside_are_followed_and_loops_end() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    ws.write("d/file", b"x", 0o644).unwrap();
    fixture.link("d", "dir");
    fixture.link("dir/file", "chain");
    fixture.link("nowhere", "dangling");
    fixture.link("loop2", "loop1");
    fixture.link("loop1", "loop2");
    assert_eq!(ws.read("chain").unwrap(), b"x");
    assert_eq!(ws.sub("dir").unwrap().read("file").unwrap(), b"x");
    let missing = ws.read("dangling").unwrap_err().to_string();
    assert_eq!(missing, format!("ENOENT: no such file or directory, open '{}/dangling'", ws.root()));
    assert!(ws.exists("dangling").unwrap() && !ws.exists("d/file/x").unwrap());
    assert!(ws.read("loop1").unwrap_err().to_string().starts_with("ELOOP: too many symbolic links"));
    let paths: Vec<_> = ws.walk("").unwrap().into_iter().map(|entry| entry.path.into_string()).collect();
    assert_eq!(paths, ["chain", "d", "dangling", "dir", "loop1", "loop2", "d/file"]);
    // Removing a directory removes the links in it, not what they lead to.
    ws.create_dir_all("victim").unwrap();
    fixture.link("../d", "victim/d");
    fixture.link("../../outside", "victim/out");
    ws.remove_dir_all("victim").unwrap();
    assert!(ws.exists("d/file").unwrap());
    fixture.untouched();
}

#[test]
fn links_that_lead_out_are_not_made() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    ws.create_dir_all("a/b").unwrap();
    ws.symlink("../x", "a/ok").unwrap();
    ws.symlink("dangling/../y", "fine").unwrap();
    for (target, path) in [("/etc/passwd", "l"), ("..", "l"), ("../../x", "a/l"), ("b/../../../x", "a/l")] {
        assert_eq!(ws.symlink(target, path).unwrap_err().to_string(), OUTSIDE, "{target}");
    }
    // By its text `a/b/up/l` may go up three times; through the link it lies at the root.
    fixture.link("../..", "a/b/up");
    assert_eq!(ws.symlink("../../outside", "a/b/up/l").unwrap_err().to_string(), OUTSIDE);
    ws.symlink("a/b", "a/b/up/l").unwrap();
    assert!(ws.exists("l").unwrap());
}

#[test]
fn modes_and_texts() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    ws.write("run", b"x", 0o755).unwrap();
    assert_eq!(ws.entry("run").unwrap().mode & 0o700, 0o700);
    ws.set_mode("run", 0o600).unwrap();
    assert_eq!(fs::metadata(ws.root().join("run")).unwrap().permissions().mode() & 0o777, 0o600);
    ws.append("run", b"y").unwrap();
    assert_eq!(ws.read("run").unwrap(), b"xy");
    ws.create_dir_all("d").unwrap();
    let root = ws.root().to_string();
    let texts = [
        (ws.read("d").unwrap_err(), format!("EISDIR: illegal operation on a directory, read '{root}/d'")),
        (ws.read("run/x").unwrap_err(), format!("ENOTDIR: not a directory, open '{root}/run/x'")),
        (ws.read_dir("x").unwrap_err(), format!("ENOENT: no such file or directory, scandir '{root}/x'")),
        (ws.create_dir("d", 0o755).unwrap_err(), format!("EEXIST: file already exists, mkdir '{root}/d'")),
        (
            ws.entry(&"n".repeat(300)).unwrap_err(),
            format!("ENAMETOOLONG: name too long, lstat '{root}/{}'", "n".repeat(300)),
        ),
        (ws.write("d", b"x", 0o644).unwrap_err(), format!("EISDIR: illegal operation on a directory, open '{root}/d'")),
        (ws.rename("gone", "x").unwrap_err(), format!("ENOENT: no such file or directory, lstat '{root}/gone'")),
    ];
    for (error, expected) in texts {
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(fs::metadata(ws.root()).unwrap().permissions().mode() & 0o777, 0o700);
    // The root stays, whatever is asked for.
    assert!(ws.remove_dir_all(".").is_err() && ws.rename("d", ".").is_err() && ws.rename(".", "d/x").is_err());
    assert!(ws.exists("d").unwrap());
}

#[test]
fn names_that_are_not_utf8_are_named() {
    let fixture = fixture();
    let name = std::ffi::OsStr::from_bytes(b"bad\xff");
    if fs::write(fixture.workspace.root().as_std_path().join(name), "x").is_err() {
        return; // This file system takes UTF-8 only.
    }
    let error = fixture.workspace.read_dir("").unwrap_err().to_string();
    assert!(error.contains("bad\u{fffd}") && error.contains("not valid UTF-8"), "{error}");
}

#[test]
fn pipes_are_not_opened() {
    let fixture = fixture();
    let path = fixture.workspace.root().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        return; // No such tool here.
    }
    assert_eq!(fixture.workspace.entry("pipe").unwrap().kind, EntryKind::Other);
    assert!(fixture.workspace.read("pipe").unwrap_err().to_string().contains("not a regular file"));
    assert!(fixture.workspace.open_file("pipe").is_err());
}

/// A directory that is swapped for a link to the outside again and again never lets a read or write through.
#[test]
fn swapping_a_directory_for_a_link_wins_nothing() {
    let fixture = fixture();
    let root = fixture.workspace.root().to_owned();
    fs::create_dir(root.join("real")).unwrap();
    fs::write(root.join("real/secret"), "mine").unwrap();
    symlink("../outside", root.join("evil")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                for source in ["real", "evil"] {
                    let _ = fs::rename(root.join(source), root.join("door"));
                    let _ = fs::rename(root.join("door"), root.join(source));
                }
            }
        }
    });
    for _ in 0..3_000 {
        if let Ok(content) = fixture.workspace.read("door/secret") {
            assert_eq!(content, b"mine");
        }
        let _ = fixture.workspace.write("door/new", b"x", 0o644);
        let _ = fixture.workspace.remove_file("door/secret2");
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    fixture.untouched();
}

#[test]
fn paths_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::create(Utf8Path::from_path(dir.path()).unwrap().join("w")).unwrap();
    workspace.write(&format!("{}x", "d/".repeat(990)), b"", 0o644).unwrap();
    for path in ["d/".repeat(1001), "d/".repeat(50_000), format!("{}/x", "d".repeat(4096))] {
        for result in [workspace.write(&format!("{path}x"), b"", 0o644), workspace.create_dir_all(&path)] {
            assert!(result.unwrap_err().to_string().starts_with("ENAMETOOLONG: name too long"));
        }
    }
    workspace.remove_dir_all("d").unwrap();
}

/// What a folder is asked for is in it, whatever the name says and whoever put a link there.
#[test]
fn folders_cannot_be_left() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    ws.write("d/file", b"content", 0o640).unwrap();
    ws.create_dir_all("d/sub").unwrap();
    fixture.link("../../outside", "d/out");
    fixture.link("../../outside/secret", "d/secret");
    fixture.link("../../outside/new", "d/dangling");
    fixture.link("file", "d/inside");
    fixture.link("../outside", "door");
    fixture.link("d", "d2");
    assert_eq!(ws.folder("door").unwrap_err().to_string(), OUTSIDE);
    assert_eq!(ws.folder("../outside").unwrap_err().to_string(), OUTSIDE);
    let root = ws.root().to_string();
    assert_eq!(
        ws.folder("gone").unwrap_err().to_string(),
        format!("ENOENT: no such file or directory, opendir '{root}/gone'")
    );
    for path in ["d", "d2", "./d/sub/.."] {
        let folder = ws.folder(path).unwrap();
        for name in ["", ".", "..", "../file", "/etc/passwd", "sub/x", "out/secret", "a\0b"] {
            assert_eq!(folder.open(name).unwrap_err().to_string(), OUTSIDE, "{name}");
            assert_eq!(folder.create(name, 0o644).unwrap_err().to_string(), OUTSIDE, "{name}");
            assert_eq!(folder.create_dir(name, 0o755).unwrap_err().to_string(), OUTSIDE, "{name}");
        }
        for link in ["out", "secret", "dangling", "inside"] {
            assert!(folder.open(link).unwrap_err().to_string().starts_with("ELOOP: too many"), "{link}");
            assert!(folder.create(link, 0o644).unwrap().is_none());
            assert!(!folder.create_dir(link, 0o755).unwrap());
        }
        let mut content = String::new();
        let mut file = folder.open("file").unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), file.size(), file.mode() & 0o777), ("content", 7, 0o640));
        assert!(
            folder.open("sub").unwrap_err().to_string().starts_with("EISDIR: illegal operation on a directory, read")
        );
    }
    let folder = ws.folder("d").unwrap();
    let mut copy = folder.create("copy", 0o777).unwrap().unwrap();
    copy.write(b"a ").unwrap();
    assert_eq!(copy.copy_rest(&mut folder.open("file").unwrap()).unwrap(), 7);
    copy.set_mode(0o604).unwrap();
    assert_eq!(ws.read("d/copy").unwrap(), b"a content");
    assert_eq!(
        (ws.entry("d/copy").unwrap().mode & 0o777, copy.path()),
        (0o604, Utf8Path::new(&format!("{root}/d/copy")))
    );
    assert!(folder.create_dir("made", 0o700).unwrap() && ws.entry("d/made").unwrap().kind == EntryKind::Dir);
    let made = std::process::Command::new("mkfifo").arg(ws.root().join("d/pipe")).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(folder.open("pipe").unwrap_err().to_string().contains("not a regular file"));
    }
    // An open folder stays the one it was, whatever takes its place.
    fs::rename(ws.root().join("d"), ws.root().join("moved")).unwrap();
    fixture.link("../outside", "d");
    folder.create("new", 0o644).unwrap().unwrap();
    assert!(ws.exists("moved/new").unwrap());
    fixture.untouched();
}

#[test]
fn lists_are_walks_without_a_look() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    for path in ["b/x", "b/a/y", "a.txt", "a/z", "a-b/c", "B", "ab/c/d/e/f"] {
        ws.write(path, b"", 0o644).unwrap();
    }
    fixture.link("b", "link");
    for start in ["", "b", "ab/c"] {
        let walked: Vec<_> = ws.walk(start).unwrap().into_iter().map(|entry| (entry.path, entry.kind)).collect();
        let listed: Vec<_> = ws.list(start).unwrap().into_iter().map(|entry| (entry.path, entry.kind)).collect();
        assert_eq!(listed, walked);
    }
    assert_eq!(ws.list("").unwrap().len(), 16);
    assert!(ws.list("gone").is_err() && ws.list("..").is_err() && ws.list("B").is_err());
}

#[test]
fn real_paths_resolve_links() {
    let fixture = fixture();
    let ws = &fixture.workspace;
    ws.create_dir_all("d/e").unwrap();
    fixture.link("d/e", "link");
    fixture.link("../outside", "out");
    fixture.link("gone", "dangling");
    let root = ws.root();
    let cases = [
        ("", ""),
        ("d/../d/e", "d/e"),
        ("link", "d/e"),
        ("link/new/deep", "d/e/new/deep"),
        ("new", "new"),
        ("link/..", ""),
    ];
    for (path, expected) in cases {
        let expected = if expected.is_empty() { root.to_owned() } else { root.join(expected) };
        assert_eq!(ws.real_path(path).unwrap(), expected, "{path}");
    }
    assert_eq!(ws.sub("link").unwrap().root(), root.join("d/e"));
    for path in ["out", "out/x", "..", "/etc"] {
        assert_eq!(ws.real_path(path).unwrap_err().to_string(), OUTSIDE, "{path}");
    }
}
