//! The templates and skeletons that both sides run.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Files in one folder of a skeleton.
const FILES_A_FOLDER: u64 = 20;
const FILLER: &str = "The quick brown fox jumps over the lazy dog, and config = { key: \"value\" }; # 0123456789\n";

/// Writes the template `name` with these steps; gives the file, whose name is the template's.
pub(crate) fn template(folder: &Path, name: &str, steps: &Value) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.yaml"));
    let template = json!({
        "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": name},
        "spec": {"owner": "user:guest", "type": "service", "steps": steps},
    });
    fs::write(&path, template.to_string()).map_err(Error::at(&path))?;
    Ok(path)
}

/// A step that runs `debug:log`.
pub(crate) fn log_step(number: u64) -> Value {
    json!({"id": format!("s{number}"), "name": format!("Log {number}"), "action": "debug:log",
        "input": {"message": format!("step {number} of ${{{{ parameters.n }}}}")}})
}

/// The template `trivial`: two steps that log a line.
pub(crate) fn trivial(folder: &Path) -> Result<PathBuf> {
    template(folder, "trivial", &json!([log_step(1), log_step(2)]))
}

/// The values of the skeletons' expressions.
pub(crate) fn values() -> Value {
    json!({
        "name": "payments", "owner": "group:default/team-a", "port": 8000, "flag": true, "items": ["a", "b", "c"],
        "description": "Takes \"payments\"", "repoUrl": "github.com?owner=octo&repo=payments", "language": "go",
        "database": {"engine": "postgres", "size": 20}, "replicas": 3, "regions": ["eu-1", "us-1"],
        "environment": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "REGION", "value": "eu-1"}],
    })
}

/// A file of about 2 KiB with five expressions.
fn plain_file(number: u64) -> String {
    let mut text = format!(
        "# ${{{{ values.name }}}}\nowner: ${{{{ values.owner | upper }}}}\nport: ${{{{ values.port + {number} }}}}\n\
         flag: ${{{{ \"on\" if values.flag else \"off\" }}}}\nitems: ${{{{ values.items | join(\",\") }}}}\n"
    );
    while text.len() + FILLER.len() <= 2048 {
        text.push_str(FILLER);
    }
    text
}

/// Files as they stand in services' templates: a manifest, a deployment, a page and an entity, with conditions, loops, filters
/// and variables.
fn real_file(number: u64) -> (String, &'static str) {
    match number % 4 {
        0 => (
            "{%- set repo = values.repoUrl | parseRepoUrl -%}\n{\n  \"name\": \"@${{ repo.owner }}/${{ values.name }}\",\n  \
             \"description\": ${{ values.description | dump }},\n  \"private\": ${{ \"false\" if values.public else \"true\" }},\n  \
             \"repository\": \"https://${{ repo.host }}/${{ repo.owner }}/${{ repo.repo }}\",\n  \"keywords\": [{% for item in \
             values.items %}\"${{ item }}\"${{ \", \" if not loop.last }}{% endfor %}],\n  \"port\": ${{ values.port | \
             default(8080) }}\n}\n"
                .to_owned(),
            "json",
        ),
        1 => (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: ${{ values.name }}\n  labels:\n    owner: ${{ (values.owner | \
             parseEntityRef).name }}\nspec:\n  replicas: ${{ values.replicas }}\n  template:\n    spec:\n      containers:\n      - \
             name: ${{ values.name | replace(\"_\", \"-\") | lower }}\n{%- if values.environment | length > 0 %}\n        env:\n\
             {%- for variable in values.environment %}\n        - name: ${{ variable.name }}\n          value: ${{ \
             variable.value | dump }}\n{%- endfor %}\n{%- endif %}\n        ports:\n        - containerPort: ${{ values.port }}\n"
                .to_owned(),
            "yaml",
        ),
        2 => (
            "# ${{ values.name | title }}\n\n${{ values.description }}\n\n{% if values.language == \"go\" -%}\n```sh\ngo run \
             .\n```\n{%- elif values.language == \"node\" -%}\n```sh\nnpm start\n```\n{%- else -%}\nSee the wiki.\n{%- endif %}\n\n## \
             Regions\n{% for region in values.regions %}\n* ${{ loop.index }}. ${{ region | upper }}\n{%- endfor %}\n\n{# a remark \
             #}Database: ${{ values.database.engine }} (${{ values.database.size * 2 }} GiB)\n"
                .to_owned(),
            "md",
        ),
        _ => (
            "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: ${{ values.name }}\n  description: ${{ \
             values.description | dump }}\n  annotations:\n    github.com/project-slug: ${{ values.repoUrl | projectSlug }}\nspec:\n  \
             type: service\n  lifecycle: ${{ \"production\" if values.replicas > 2 else \"experimental\" }}\n  owner: ${{ values.owner \
             }}\n{%- if values.system %}\n  system: ${{ values.system }}\n{%- endif %}\n"
                .to_owned(),
            "yaml",
        ),
    }
}

fn write_files(folder: &Path, count: u64, file: impl Fn(u64) -> (String, String)) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    for number in 0..count {
        let (name, text) = file(number);
        let sub = folder.join(format!("d{:04}", number / FILES_A_FOLDER));
        if number % FILES_A_FOLDER == 0 {
            fs::create_dir_all(&sub).map_err(Error::at(&sub))?;
        }
        let path = sub.join(name);
        fs::write(&path, text).map_err(Error::at(&path))?;
    }
    Ok(())
}

/// A skeleton of files of about 2 KiB with five expressions each.
pub(crate) fn skeleton(folder: &Path, count: u64) -> Result<()> {
    write_files(folder, count, |number| (format!("f{number:05}.txt"), plain_file(number)))
}

/// A skeleton of files as they stand in services' templates.
pub(crate) fn real_skeleton(folder: &Path, count: u64) -> Result<()> {
    write_files(folder, count, |number| {
        let (text, extension) = real_file(number);
        (format!("f{number:05}.{extension}"), text)
    })
}

/// Files without expressions, each another text, as a repository has them.
pub(crate) fn sources(folder: &Path, count: u64) -> Result<()> {
    write_files(folder, count, |number| {
        let mut text = String::new();
        for line in 0..24 {
            // Writing to a text can't fail.
            let _ = writeln!(
                text,
                "line {line} of {number}: {:016x} is not what stands anywhere else",
                scatter(number * 31 + line)
            );
        }
        (format!("f{number:05}.txt"), text)
    })
}

/// A number that looks like chance (splitmix64).
fn scatter(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn skeletons_have_so_many_files_of_that_size() {
        let dir = tempfile::tempdir().unwrap();
        for (name, make) in [("a", skeleton as fn(&Path, u64) -> Result<()>), ("b", real_skeleton), ("c", sources)] {
            let folder = dir.path().join(name);
            make(&folder, 45).unwrap();
            let files = crate::compare::files(&folder).unwrap();
            assert_eq!(files.len(), 45, "{name}");
            assert!(folder.join("d0002").exists());
        }
        let text = plain_file(7);
        assert!((1950..=2048).contains(&text.len()) && text.contains("${{ values.port + 7 }}"), "{text}");
        let sources: std::collections::BTreeSet<String> =
            crate::compare::files(&dir.path().join("c")).unwrap().into_values().collect();
        assert_eq!(sources.len(), 45, "no two are the same");
    }
}
