//! Keeps the directions of imports true: an arrow never points up, no provider imports another.

use std::collections::BTreeMap;

use crate::support::manifest_dir;

/// Crate → its folder and the crates of ours it may depend on.
fn allowed() -> BTreeMap<&'static str, (&'static str, &'static [&'static str])> {
    BTreeMap::from([
        ("understudy-regex", ("templating/regex", &[] as &[&str])),
        ("understudy-templating", ("templating", &["understudy-regex"])),
        ("understudy-handlebars", ("templating/handlebars", &["understudy-templating"])),
        ("understudy-sdk", ("actions/sdk", &["understudy-regex"])),
        ("understudy-scm", ("actions/scm", &["understudy-sdk"])),
        ("understudy-actions-core", ("actions/core", &["understudy-sdk", "understudy-scm", "understudy-templating"])),
        ("understudy-actions-github", ("actions/github", &["understudy-sdk", "understudy-scm"])),
        ("understudy-actions-kubernetes", ("actions/kubernetes", &["understudy-sdk"])),
        ("understudy-testbed", ("tests/testbed", &[])),
        ("understudy-bench", ("bench", &["understudy-testbed"])),
        ("understudy-corpus", ("templating/tests/corpus", &["understudy-templating"])),
        ("understudy-oracle", ("tests/oracle", &["understudy-corpus", "understudy-templating"])),
    ])
}

#[test]
fn no_import_points_up() {
    for (name, (folder, may)) in allowed() {
        let path = manifest_dir().join(folder).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        let dependencies: Vec<&str> = manifest
            .split("\n[")
            .filter(|table| table.starts_with("dependencies]"))
            .flat_map(str::lines)
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| dependency.starts_with("understudy"))
            .collect();
        for dependency in &dependencies {
            assert!(may.contains(dependency), "{name} must not depend on {dependency} ({path})");
        }
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{path} is not the manifest of {name}");
    }
}

#[test]
fn shelves_of_the_service_stand_on_those_below() {
    // Lowest first. `yaml`, `zod`, `together` and `telemetry` are tools that any shelf may use.
    let shelves = [
        "model",
        "discovery",
        "config",
        "store",
        "auth",
        "audit",
        "permission",
        "catalog",
        "workspaces",
        "tasks",
        "metrics",
        "api",
        "app",
        "cli",
    ];
    let source = manifest_dir().join("src");
    let mut checked = 0;
    for (height, shelf) in shelves.iter().enumerate() {
        for file in rust_files(&source, shelf) {
            let text = std::fs::read_to_string(&file).unwrap();
            // Tests of a shelf may reach for what they need.
            let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            for above in &shelves[height + 1..] {
                assert!(
                    !code.contains(&format!("crate::{above}::")),
                    "{file} ({shelf}) imports the shelf above it, {above}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > shelves.len(), "only {checked} files were found below {source}");
}

fn rust_files(source: &camino::Utf8Path, shelf: &str) -> Vec<camino::Utf8PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![source.join(shelf)];
    while let Some(folder) = pending.pop() {
        for entry in folder.read_dir_utf8().into_iter().flatten() {
            let path = entry.unwrap().into_path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    let single = source.join(format!("{shelf}.rs"));
    if single.exists() {
        files.push(single);
    }
    files.retain(|file| file.extension() == Some("rs"));
    files
}
