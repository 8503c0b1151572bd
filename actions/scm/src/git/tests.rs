//! The real git judges what was packed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use camino::{Utf8Path, Utf8PathBuf};
use understudy_sdk::{LogLevel, LogSink};

use super::*;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn log(&self, level: LogLevel, message: &str) {
        self.0.lock().unwrap().push(format!("{level:?} {message}"));
    }
}

fn log() -> ActionLogger {
    ActionLogger::new(Arc::new(Lines::default()))
}

struct Scratch {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
    workspace: Workspace,
}

fn scratch() -> Scratch {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap();
    let workspace = Workspace::create(path.join("work")).unwrap();
    Scratch { _dir: dir, path, workspace }
}

fn author() -> Author {
    Author { name: "Scaffolder".into(), email: "scaffolder@backstage.io".into() }
}

fn pack(dir: &Workspace) -> Result<(scan::Scan, Pack), PushError> {
    let stop = CancellationToken::new();
    let scan = scan::scan(dir, &stop)?;
    let author = author();
    let info = CommitInfo { author: &author, seconds: 1_700_000_000, message: "initial commit" };
    let pack = pack::build(dir, &scan, &info, &log(), &stop)?;
    Ok((scan, pack))
}

fn bytes(pack: &Pack) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 1000];
    loop {
        match pack.read_at(all.len() as u64, &mut buffer).unwrap() {
            0 => break,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
    assert_eq!(all.len() as u64, pack.len());
    all
}

fn git(dir: &Utf8Path, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(dir)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need git");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // On its own thread, for git may answer before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Puts the pack into a new repository, checked by git, and gives that repository's directory.
fn unpack(scratch: &Scratch, pack: &Pack) -> Utf8PathBuf {
    let repository = scratch.path.join("repository");
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "-q", "-b", "main"], b"");
    git(&repository, &["index-pack", "--strict", "--stdin"], &bytes(pack));
    git(&repository, &["update-ref", "refs/heads/main", &pack.commit.to_string()], b"");
    git(&repository, &["fsck", "--strict", "--full", "--no-dangling"], b"");
    repository
}

/// The tree that git itself makes of the directory.
fn oracle_tree(scratch: &Scratch) -> String {
    let repository = scratch.path.join("oracle");
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "-q", "-b", "main"], b"");
    let work_tree = format!("--work-tree={}", scratch.workspace.root());
    git(&repository, &["-c", "core.autocrlf=false", &work_tree, "add", "-A", "."], b"");
    git(&repository, &["write-tree"], b"").trim().to_string()
}

fn listed(repository: &Utf8Path) -> Vec<String> {
    git(repository, &["ls-tree", "-r", "main"], b"")
        .lines()
        .map(|line| {
            let (mode, rest) = line.split_once(' ').unwrap();
            format!("{mode} {}", rest.split_once('\t').unwrap().1)
        })
        .collect()
}

#[test]
fn git_accepts_the_pack_and_makes_the_same_tree() {
    let scratch = scratch();
    let dir = &scratch.workspace;
    // Names whose order differs between plain and git's sorting.
    for path in ["a-b", "a.c", "a/b", "a0", "a/b-c/x", "a/b.d", "ab", "dir/same", "dir2/same", "ünï/çode 名", "-dash"]
    {
        dir.write(path, path.rsplit('/').next().unwrap().as_bytes(), 0o644).unwrap();
    }
    dir.write("empty", b"", 0o644).unwrap();
    dir.write("run.sh", b"#!/bin/sh\n", 0o755).unwrap();
    dir.write("group-only.sh", b"x\n", 0o654).unwrap();
    dir.symlink("a/b", "link").unwrap();
    dir.symlink("nowhere", "dangling").unwrap();
    dir.create_dir_all("nothing/here").unwrap();
    let incompressible: Vec<u8> =
        (0..3_000_000_u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    dir.write("big", &incompressible, 0o644).unwrap();
    dir.write("big-twice", &incompressible, 0o644).unwrap();
    let (_, pack) = pack(dir).unwrap();
    let repository = unpack(&scratch, &pack);
    assert_eq!(pack.tree.to_string(), oracle_tree(&scratch));
    let list = listed(&repository);
    for line in ["100644 group-only.sh", "100755 run.sh", "120000 link", "120000 dangling"] {
        assert!(list.iter().any(|known| known == line), "{line}: {list:?}");
    }
    assert!(!list.iter().any(|line| line.contains("nothing")));
    let header = git(&repository, &["cat-file", "-p", "main"], b"");
    assert_eq!(
        header,
        format!(
            "tree {}\nauthor Scaffolder <scaffolder@backstage.io> 1700000000 +0000\ncommitter Scaffolder \
             <scaffolder@backstage.io> 1700000000 +0000\n\ninitial commit\n",
            pack.tree
        )
    );
}

#[test]
fn ignore_rules_are_those_of_git() {
    let scratch = scratch();
    let dir = &scratch.workspace;
    let rules =
        "# comment\n*.log\n!keep.log\n/build\nnode_modules/\ndoc/*.txt\n**/deep/*.tmp\n\\#hash\ntrail \\ \n[ab].c\n";
    for (path, content) in [
        (".gitignore", rules),
        ("x.log", ""),
        ("keep.log", ""),
        ("build/out", ""),
        ("sub/build", ""),
        ("node_modules/p/index.js", ""),
        ("sub/node_modules", "a file, not a directory"),
        ("doc/a.txt", ""),
        ("doc/sub/a.txt", ""),
        ("p/q/deep/x.tmp", ""),
        ("p/q/deep/x.keep", ""),
        ("#hash", ""),
        ("a.c", ""),
        ("c.c", ""),
        ("nested/.gitignore", "!*.log\n*.md\n/only-here\n"),
        ("nested/y.log", ""),
        ("nested/z.md", ""),
        ("nested/only-here", ""),
        ("nested/sub/only-here", ""),
        ("nested/sub/.gitignore", "!z.md\n"),
        ("nested/sub/z.md", ""),
        ("ignored/.gitignore", "*\n"),
        ("ignored/file", ""),
        ("back/.gitignore", "*\n!.gitignore\n!kept\n"),
        ("back/kept", ""),
        ("back/lost", ""),
        ("bom/.gitignore", "\u{feff}*.x\r\n*.y\r\n"),
        ("bom/a.x", ""),
        ("bom/a.y", ""),
        ("bom/a.z", ""),
        ("sub/.GIT/config", ""),
        (".github/workflows/ci.yml", ""),
        (".gitattributes", ""),
    ] {
        dir.write(path, content.as_bytes(), 0o644).unwrap();
    }
    dir.write(".git/config", b"secret", 0o644).unwrap();
    let (scan, pack) = pack(dir).unwrap();
    assert_eq!(scan.warnings, ["sub/.GIT was not added: git refuses this name"]);
    dir.remove_dir_all("sub/.GIT").unwrap();
    dir.remove_dir_all(".git").unwrap();
    assert_eq!(pack.tree.to_string(), oracle_tree(&scratch), "{:#?}", scan.files);
    unpack(&scratch, &pack);
}

#[test]
fn an_empty_directory_gives_an_empty_commit() {
    let scratch = scratch();
    let (_, pack) = pack(&scratch.workspace).unwrap();
    assert_eq!(pack.tree.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    let repository = unpack(&scratch, &pack);
    assert!(listed(&repository).is_empty());
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = scratch();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    std::fs::write(scratch.workspace.root().as_std_path().join(name), b"x").unwrap();
    let error = ActionError::from(pack(&scratch.workspace).unwrap_err());
    assert!(error.message().contains("is not valid UTF-8"), "{error}");
}

#[test]
fn links_that_lead_out_are_committed_as_links() {
    let scratch = scratch();
    std::os::unix::fs::symlink("/etc/passwd", scratch.workspace.root().join("out")).unwrap();
    let (_, pack) = pack(&scratch.workspace).unwrap();
    let repository = unpack(&scratch, &pack);
    assert_eq!(listed(&repository), ["120000 out"]);
    assert_eq!(git(&repository, &["cat-file", "-p", "main:out"], b""), "/etc/passwd");
}

#[test]
fn deep_directories() {
    for (depth, accepted) in [(490, true), (600, false)] {
        let scratch = scratch();
        scratch.workspace.write(&format!("{}file", "d/".repeat(depth)), b"x", 0o644).unwrap();
        match pack(&scratch.workspace) {
            Ok((_, pack)) => {
                assert!(accepted);
                unpack(&scratch, &pack);
            }
            Err(error) => {
                assert!(!accepted);
                assert!(error.to_string().contains("nested deeper than 500 levels"), "{error}");
            }
        }
    }
}

#[test]
fn stopping_ends_the_work() {
    let scratch = scratch();
    scratch.workspace.write("f", b"x", 0o644).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(matches!(scan::scan(&scratch.workspace, &stop), Err(PushError::Cancelled)));
}

/// Compiling such a rule would overflow the stack.
#[test]
fn hostile_rules_are_skipped() {
    let scratch = scratch();
    let rules = format!("{}a{}\n*.log\n", "{".repeat(100_000), "}".repeat(100_000));
    scratch.workspace.write(".gitignore", rules.as_bytes(), 0o644).unwrap();
    scratch.workspace.write("x.log", b"", 0o644).unwrap();
    let scan = scan::scan(&scratch.workspace, &CancellationToken::new()).unwrap();
    assert_eq!(scan.files.len(), 1);
    assert_eq!(scan.warnings, [".gitignore: a rule was skipped: it is too long or has too many braces"]);
}

#[test]
fn branch_names() {
    for good in ["main", "feature/x", "release-1.0", "ü", "a@b"] {
        assert!(check_branch(good).is_ok(), "{good}");
    }
    for bad in [
        "", "/", "a//b", "a/", "/a", ".a", "a/.b", "a.lock", "a..b", "a b", "a~", "a^", "a:b", "a?", "a*", "a[",
        "a\\b", "@", "a@{b", "a.", "-a", "HEAD", "a\nb", "a\0b",
    ] {
        assert!(check_branch(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn pauses_double() {
    for (tried, seconds) in [(0, 2.0), (1, 4.0), (4, 32.0)] {
        let pause = pause(tried).as_secs_f64();
        assert!((seconds..=seconds * 1.1).contains(&pause), "{pause}");
    }
}
