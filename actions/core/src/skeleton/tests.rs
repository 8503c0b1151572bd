//! What several threads make of a skeleton is what one would make of it, entry by entry.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::{Value, json};
use understudy_scm::Scm;

use super::*;
use crate::testing::Bench;

const VALUES: [(&str, &str); 6] =
    [("a", "a"), ("ab", "a/b"), ("none", ""), ("dot", "."), ("up", "../outside"), ("slashes", "a//b")];

fn rendering(copy_only: &[&str], extension: Option<&str>, replace: bool) -> Rendering {
    let values: serde_json::Map<String, Value> =
        VALUES.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
    Rendering {
        engine: crate::filters::register(Engine::builder(), Scm::from_config(&json!({})).unwrap()).build(),
        context: Context::try_from(&json!({ "values": values })).unwrap(),
        copy_only: copy_only.iter().map(ToString::to_string).collect(),
        extension: extension.map(str::to_string),
        replace,
    }
}

/// The rules in the plainest words there are: one entry after the other, each path from the root.
fn one_by_one(
    source: &Workspace,
    out: &Workspace,
    rendering: &Rendering,
    log: &mut Vec<String>,
) -> Result<(), ActionError> {
    let is_dir = |path: &str| source.target_entry(path).is_ok_and(|entry| entry.kind == EntryKind::Dir);
    let globs = Globs::new(&rendering.copy_only, is_dir)?;
    for entry in source.walk("")? {
        let is_dir = entry.kind == EntryKind::Dir;
        let location = format!("{}{}", entry.path, if is_dir { "/" } else { "" });
        let extension = rendering.extension.as_deref();
        let suffix = extension.filter(|suffix| !is_dir && extension_of(&entry.path) == *suffix);
        let render = if extension.is_some() { suffix.is_some() } else { !globs.matches(entry.path.as_str(), is_dir) };
        let text = |text: &str, log: &mut Vec<String>| {
            rendering.engine.render_str(text, &rendering.context).map_err(|error| {
                log.push(format!("error: {}", error.report(entry.path.as_str())));
                template_error(&error)
            })
        };
        let name = text(location.strip_suffix(suffix.unwrap_or_default()).unwrap(), log)?;
        if name.is_empty() || name.starts_with('/') || name.contains("//") {
            continue;
        }
        let target = out.resolve(&name)?;
        let target = target.as_str();
        if !rendering.replace && out.exists(target)? {
            continue;
        }
        if !render && extension.is_none() {
            log.push(format!("info: Copying file/directory {location} without processing."));
        }
        let copying = format!("info: Copying file binary or symbolic link at {}, to template output path.", entry.path);
        match entry.kind {
            EntryKind::Dir => {
                log.push(format!("info: Writing directory {location} to template output path."));
                out.create_dir_all(target)?;
            }
            EntryKind::Symlink => {
                let link = checked_link(source, &entry.path)?;
                log.push(copying);
                if out.exists(target)? {
                    out.remove_file(target)?;
                }
                out.symlink(link.as_str(), target)?;
            }
            EntryKind::File => {
                let content = source.read(entry.path.as_str())?;
                if binary::is_binary(&content[..content.len().min(binary::SAMPLE)]) {
                    log.push(copying);
                    out.write(target, &content, 0o600)?;
                    out.set_mode(target, (entry.mode & 0o777) | 0o600)?;
                    continue;
                }
                let mode = entry.mode;
                log.push(format!("info: Writing file {} to template output path with mode {mode}.", entry.path));
                let content = String::from_utf8(content).unwrap();
                let content = if render { text(&content, log)? } else { content };
                out.write(target, content.as_bytes(), mode & 0o777)?;
            }
            EntryKind::Other => unreachable!("not made here"),
        }
    }
    Ok(())
}

/// Everything in a directory: mode, and content or target.
fn snapshot(tree: &Workspace) -> BTreeMap<String, (u32, Vec<u8>)> {
    let entries = tree.walk("").unwrap();
    entries
        .into_iter()
        .map(|entry| {
            let path = entry.path.as_str();
            let content = match entry.kind {
                EntryKind::File => tree.read(path).unwrap(),
                EntryKind::Symlink => tree.read_link(path).unwrap().into_string().into_bytes(),
                _ => Vec::new(),
            };
            (path.to_string(), (entry.mode, content))
        })
        .collect()
}

/// The same numbers for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// A small tree of names that often become the same, and of contents of all kinds.
fn random_tree(root: &Utf8Path, random: &mut Random, hazards: bool) {
    fs::create_dir_all(root).unwrap();
    let mut dirs = vec![root.to_owned()];
    for _ in 0..5 + random.below(25) {
        let dir = dirs[random.below(dirs.len())].clone();
        let name = match random.below(if hazards { 60 } else { 56 }) {
            0..20 => random.one_of(&["a", "b", "c", "d"]).to_string(),
            20..48 => format!("f{}{}", random.below(100), random.one_of(&[".txt", ".txt.njk", ".md", ""])),
            48 => "${{ values.a }}".to_string(),
            49 => "${{ values.ab }}".to_string(),
            50 => "${{ values.none }}".to_string(),
            51 => "${{ values.dot }}".to_string(),
            52..54 => "${{ values.slashes }}".to_string(),
            54..56 => "x${{ values.none }}".to_string(),
            56 => "${{ values.up }}".to_string(),
            57 => "{% if %}".to_string(),
            _ => "${{ nothing.at() }}".to_string(),
        };
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        let content: Vec<u8> = match random.below(if hazards { 24 } else { 20 }) {
            0..5 => {
                fs::create_dir(&path).unwrap();
                dirs.push(path);
                continue;
            }
            5 => {
                symlink(random.one_of(&["a", "b/c", "gone", "."]), &path).unwrap();
                continue;
            }
            6 => {
                symlink(if hazards { "../../.." } else { "a" }, &path).unwrap();
                continue;
            }
            7..9 => b"\0binary ${{ values.a }}".to_vec(),
            9 => [b"\0".to_vec(), vec![b'x'; MAX_READ as usize + random.below(3)]].concat(),
            10 => vec![b'y'; MAX_READ as usize - 1 + random.below(3)],
            11 => [b"${{ values.a }}".to_vec(), vec![b'z'; MAX_READ as usize]].concat(),
            12..16 => format!("{} ${{{{ values.a }}}} {{# gone #}}\n", random.below(1000)).into_bytes(),
            20 => b"first\n  ${{ values.a | }}\n".to_vec(),
            21 => b"${{ values.a | upper | nothing }}".to_vec(),
            22 => b"{% for x in [1] %}${{ x.y() }}{% endfor %}".to_vec(),
            _ => "plain\n".repeat(random.below(50)).into_bytes(),
        };
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode([0o644, 0o755, 0o600][random.below(3)])).unwrap();
    }
}

#[test]
fn threads_make_no_difference() {
    let (mut failed, mut written) = (0, 0);
    let bench = Bench::new();
    let ctx = bench.context();
    for seed in 1..=60 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let skeleton = bench.beside(&format!("skeleton{seed}"));
        random_tree(&skeleton, &mut random, seed % 2 == 0);
        let source = Workspace::open(&skeleton).unwrap();
        let rendering = match seed % 5 {
            0 => rendering(&["**/*.md", "a"], None, seed % 4 == 0),
            1 => rendering(&[], Some(".njk"), seed % 4 == 0),
            _ => rendering(&[], None, seed % 4 == 0),
        };
        // A directory of its own for each, some with files in it.
        let out = |name: &str| {
            let name = format!("{seed}-{name}");
            ctx.workspace.create_dir_all(&name).unwrap();
            let out = ctx.workspace.sub(&name).unwrap();
            if seed % 3 == 0 {
                out.write("a", b"was there", 0o644).unwrap();
                out.write("d/c", b"was there", 0o644).unwrap();
                out.symlink("d", "b").unwrap();
            }
            out
        };
        let told = |result: Result<(), ActionError>, out: &Workspace| {
            result.map_err(|error| error.to_string().replace(out.root().as_str(), "/out"))
        };
        let expected = out("expected");
        let mut log = Vec::new();
        let result = told(one_by_one(&source, &expected, &rendering, &mut log), &expected);
        let tree = snapshot(&expected);
        failed += usize::from(result.is_err());
        written += tree.len();
        let entries = source.list("").unwrap();
        for threads in [2, 8] {
            let context = format!("seed {seed}, {threads} threads");
            let (out, lines) = (out(&threads.to_string()), bench.log().len());
            let outcome = told(render(&ctx, &source, &entries, &out, &rendering, threads), &out);
            assert_eq!(outcome, result, "{context}");
            assert_eq!(bench.log()[lines..], log, "{context}");
            let made = snapshot(&out);
            assert_eq!(made.keys().collect::<Vec<_>>(), tree.keys().collect::<Vec<_>>(), "{context}");
            assert!(made == tree, "modes or contents differ: {context}");
        }
    }
    assert!((10..50).contains(&failed) && written > 250, "{failed} failed, {written} written");
}

/// Others would be done long before the failing one is, which takes long to fail.
#[test]
fn the_first_failure_ends_it_every_time() {
    let bench = Bench::new();
    let skeleton = bench.beside("skeleton");
    for n in 0..80 {
        let content = match n {
            40 => "{% for x in range(5000) %}{% endfor %}${{ values.a.nothing() }}".to_string(),
            41 | 60 => "${{ broken".to_string(),
            _ => format!("{n} ${{{{ values.a }}}}"),
        };
        fs::write(skeleton.join(format!("f{n:03}")), content).unwrap();
    }
    let source = Workspace::open(&skeleton).unwrap();
    let entries = source.list("").unwrap();
    for round in 0..30 {
        let out = format!("out{round}");
        let ctx = bench.context();
        ctx.workspace.create_dir_all(&out).unwrap();
        let out = ctx.workspace.sub(&out).unwrap();
        let error = render(&ctx, &source, &entries, &out, &rendering(&[], None, false), 8).unwrap_err();
        assert!(error.message().contains("line 1, column"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().downcast_ref::<TemplateFileError>().unwrap();
        assert_eq!(cause.path, "f040");
        let names: Vec<String> = out.list("").unwrap().into_iter().map(|entry| entry.path.into_string()).collect();
        assert_eq!(names, (0..40).map(|n| format!("f{n:03}")).collect::<Vec<_>>());
    }
}

/// A file that is there already is not even looked at.
#[test]
fn what_stays_cannot_fail() {
    let bench = Bench::new();
    let skeleton = bench.beside("skeleton");
    fs::write(skeleton.join("a"), "${{ broken").unwrap();
    // Only the first of the two becomes `a`; in a fresh directory that is not known when the second is read.
    fs::create_dir(skeleton.join("z")).unwrap();
    fs::write(skeleton.join("z/${{ values.a }}"), "${{ broken").unwrap();
    fs::write(skeleton.join("${{ values.ab | replace('a', 'z') | replace('b', values.a) }}"), "first").unwrap();
    bench.file("out/a", "old");
    let ctx = bench.context();
    let source = Workspace::open(&skeleton).unwrap();
    let entries = source.list("").unwrap();
    let out = ctx.workspace.sub("out").unwrap();
    render(&ctx, &source, &entries, &out, &rendering(&[], None, false), 4).unwrap();
    let fresh = ctx.workspace.clone();
    fresh.create_dir_all("fresh").unwrap();
    let fresh = fresh.sub("fresh").unwrap();
    let rest: Vec<Listed> = entries.into_iter().filter(|entry| entry.path != "a").collect();
    render(&ctx, &source, &rest, &fresh, &rendering(&[], None, false), 4).unwrap();
    assert_eq!(
        (bench.read("out/a"), bench.read("out/z/a"), bench.read("fresh/z/a")),
        ("old".into(), "first".into(), "first".into())
    );
}

#[test]
fn deep_and_wide_trees() {
    let bench = Bench::new();
    let skeleton = bench.beside("skeleton");
    let mut dir = skeleton.clone();
    for level in 0..200 {
        dir.push("d");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("f"), format!("{level} ${{{{ values.a }}}}")).unwrap();
    }
    for n in 0..100 {
        fs::create_dir(skeleton.join(format!("w{n}"))).unwrap();
        fs::write(skeleton.join(format!("w{n}/f")), "${{ values.a }}").unwrap();
    }
    let ctx = bench.context();
    let source = Workspace::open(&skeleton).unwrap();
    let entries = source.list("").unwrap();
    render(&ctx, &source, &entries, &ctx.workspace, &rendering(&[], None, false), 3).unwrap();
    assert_eq!(bench.read(&format!("{}f", "d/".repeat(200))), "199 a");
    assert_eq!(bench.read("w99/f"), "a");
    assert_eq!(bench.log().len(), 600);
}

/// What was written when a task is cancelled is what the log says, and all that comes before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_in_the_middle() {
    let mut bench = Bench::new();
    let dir = bench.beside("template");
    bench.base_url = Some(format!("file://{dir}/template.yaml"));
    fs::create_dir(dir.join("skel")).unwrap();
    for n in 0..1_000 {
        fs::write(dir.join(format!("skel/f{n:04}")), "{% for x in range(500) %}${{ x }}{% endfor %}").unwrap();
    }
    let input = json!({"url": "./skel", "targetPath": "out"});
    let cancel = async {
        while bench.log().len() < 50 {
            tokio::task::yield_now().await;
        }
        bench.cancel.cancel();
    };
    let (result, ()) = tokio::join!(bench.run("fetch:template", input), cancel);
    assert_eq!(result.unwrap_err().message(), ActionError::cancelled().message());
    let log = bench.log();
    let said: Vec<&str> =
        log.iter().filter_map(|line| line.strip_prefix("info: Writing file ")?.split(' ').next()).collect();
    let out = Workspace::open(bench.root().join("out")).unwrap().list("").unwrap();
    assert_eq!(out.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), said);
    assert!(!said.is_empty() && said.len() < 1_000, "{}", said.len());
    assert_eq!(*said.last().unwrap(), format!("f{:04}", said.len() - 1));
}
