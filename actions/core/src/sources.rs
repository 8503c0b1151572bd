//! What `fetch:template` and `fetch:template:file` would render, for tools that check templates without running them.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::{Map, Value};
use understudy_scm::Scm;
use understudy_sdk::{ActionError, Workspace, WorkspaceError, workspace::EntryKind};

use crate::{
    binary,
    fetch::{self, LocalSource, Origin},
    fetch_template::Extension,
    globs::Globs,
    skeleton,
    support::blocking,
    templating::Syntax,
};

/// The largest file that is looked at, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// The templates that a step reads.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Where they lie, as the step says.
    pub url: String,
    /// How they are written.
    pub syntax: Syntax,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Tree { copy_only: Vec<String>, extension: Option<String> },
    File,
}

/// A file or directory of a skeleton.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the skeleton; empty for a single file.
    pub path: Utf8PathBuf,
    /// The text that becomes its name, if that is rendered.
    pub name: Option<String>,
    /// Its content, if that is rendered.
    pub content: Option<String>,
    /// Whether it is too large to be looked at.
    pub is_too_large: bool,
}

/// What decides about the rendering. Other members don't matter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    url: String,
    copy_without_templating: Option<Vec<String>>,
    cookiecutter_compat: Option<bool>,
    template_file_extension: Option<Extension>,
    trim_blocks: Option<bool>,
    lstrip_blocks: Option<bool>,
}

impl Sources {
    /// What a step of this action reads; `None` for other actions, and where the input leaves it to the run.
    pub fn of(action: &str, input: &Map<String, Value>) -> Option<Self> {
        let is_file = match action {
            "fetch:template" => false,
            "fetch:template:file" => true,
            _ => return None,
        };
        let input: Input = serde_json::from_value(Value::Object(input.clone())).ok()?;
        let is_open = |text: &str| ["{{", "{%", "{#"].iter().any(|tag| text.contains(tag));
        let copy_only = input.copy_without_templating.unwrap_or_default();
        let extension = input.template_file_extension.as_ref().and_then(Extension::suffix);
        if copy_only.iter().chain(&extension).chain([&input.url]).any(|text| is_open(text)) {
            return None;
        }
        Some(Self {
            url: input.url,
            syntax: Syntax {
                cookiecutter: input.cookiecutter_compat.unwrap_or_default(),
                trim_blocks: input.trim_blocks.unwrap_or_default(),
                lstrip_blocks: input.lstrip_blocks.unwrap_or_default(),
            },
            kind: if is_file { Kind::File } else { Kind::Tree { copy_only, extension } },
        })
    }

    /// The name under which the templates find the step's `values`.
    pub fn root(&self) -> &'static str {
        if self.syntax.cookiecutter { "cookiecutter" } else { "values" }
    }

    /// Reads them, in the order in which they would be rendered. `base` is the URL of the template, `file://` for one on
    /// this machine's disk. A step that runs can't leave a local template's directory; one whose template is read by URL
    /// can, so here the files may lie anywhere in `repository`, the directory that such a URL would lead into.
    ///
    /// # Errors
    /// As when the step ran.
    pub async fn read(
        &self,
        scm: &Scm,
        base: &str,
        repository: Option<&Utf8Path>,
    ) -> Result<Vec<SourceFile>, ActionError> {
        match fetch::origin(scm, &self.url, Some(base))? {
            Origin::Local { dir, path } => {
                let (dir, path) = within(dir, path, repository);
                let sources = self.clone();
                blocking(move || match (fetch::open_local(&dir, &path)?, &sources.kind) {
                    (LocalSource::Tree(tree), Kind::Tree { copy_only, extension }) => {
                        list(&tree, copy_only, extension.as_deref())
                    }
                    (LocalSource::File(root, file), Kind::File) => {
                        Ok(vec![SourceFile { path: Utf8PathBuf::new(), ..read(&root, file.path.as_str(), false)? }])
                    }
                    (LocalSource::File(root, file), Kind::Tree { .. }) => Err(ActionError::input(format!(
                        "{} is a file; fetch:template takes a directory, use fetch:template:file for a single file",
                        root.display(&file.path)
                    ))),
                    (LocalSource::Tree(tree), Kind::File) => Err(ActionError::input(format!(
                        "{} is a directory; fetch:template:file takes a file, use fetch:template for a directory",
                        tree.root()
                    ))),
                })
                .await
            }
            Origin::Remote(url) => match &self.kind {
                Kind::File => {
                    let content = scm.read_file(&url, None).await?;
                    let is_too_large = content.len() as u64 > MAX_BYTES;
                    let content = (!is_too_large).then(|| String::from_utf8_lossy(&content).into_owned());
                    Ok(vec![SourceFile { path: Utf8PathBuf::new(), name: None, content, is_too_large }])
                }
                Kind::Tree { copy_only, extension } => {
                    let dir = tempfile::tempdir()?;
                    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).map_err(|path| {
                        ActionError::failed(format!(
                            "the directory {} is not valid UTF-8; set TMPDIR to another",
                            path.display()
                        ))
                    })?;
                    let tree = Workspace::open(path)?;
                    scm.read_tree(&url, None, &tree, ".").await?;
                    let (copy_only, extension) = (copy_only.clone(), extension.clone());
                    blocking(move || {
                        // Removed when it is dropped.
                        let _dir = dir;
                        list(&tree, &copy_only, extension.as_deref())
                    })
                    .await
                }
            },
        }
    }
}

/// Another way to the same path that begins at the repository, if it leads out of `dir` but not out of that.
fn within(dir: Utf8PathBuf, path: String, repository: Option<&Utf8Path>) -> (Utf8PathBuf, String) {
    let Some(repository) = repository else { return (dir, path) };
    let Ok(below) = dir.strip_prefix(repository) else { return (dir, path) };
    let mut parts: Vec<&str> = below.as_str().split('/').filter(|part| !part.is_empty()).collect();
    let inside = parts.len();
    let mut leaves = false;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return (dir, path);
                }
                leaves |= parts.len() < inside;
            }
            part => parts.push(part),
        }
    }
    if leaves { (repository.to_owned(), parts.join("/")) } else { (dir, path) }
}

fn list(tree: &Workspace, copy_only: &[String], extension: Option<&str>) -> Result<Vec<SourceFile>, ActionError> {
    let is_dir = |path: &str| tree.target_entry(path).is_ok_and(|entry| entry.kind == EntryKind::Dir);
    let copy_only = Globs::new(copy_only, is_dir)?;
    tree.list(".")?
        .into_iter()
        .map(|entry| {
            let is_dir = entry.kind == EntryKind::Dir;
            let path = entry.path.as_str();
            let (name, render) = match extension {
                Some(extension) if !is_dir && skeleton::extension_of(&entry.path) == extension => {
                    (&path[..path.len() - extension.len()], true)
                }
                Some(_) => (path, false),
                None => (path, !copy_only.matches(path, is_dir)),
            };
            let (name, path) = (Some(name.to_string()), entry.path.clone());
            match entry.kind {
                EntryKind::File if render => Ok(SourceFile { name, ..read(tree, path.as_str(), true)? }),
                _ => Ok(SourceFile { path, name, content: None, is_too_large: false }),
            }
        })
        .collect()
}

fn read(tree: &Workspace, path: &str, leave_binaries: bool) -> Result<SourceFile, ActionError> {
    let mut content = Vec::new();
    let file = tree.open_file(path)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(|source| WorkspaceError::Io {
        call: "read",
        path: tree.display(path.into()),
        source,
    })?;
    let is_binary = leave_binaries && binary::is_binary(&content[..content.len().min(binary::SAMPLE)]);
    let is_too_large = !is_binary && content.len() as u64 > MAX_BYTES;
    let content = (!is_binary && !is_too_large).then(|| String::from_utf8_lossy(&content).into_owned());
    Ok(SourceFile { path: path.into(), name: None, content, is_too_large })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn sources(action: &str, input: &Value) -> Option<Sources> {
        Sources::of(action, input.as_object().unwrap())
    }

    #[tokio::test]
    async fn finds_what_the_action_renders() {
        let bench = Bench::new();
        let dir = bench.beside("template");
        for (path, content) in
            [("a.txt", "A"), ("b.njk", "B"), ("bin.png", "\u{0}"), ("raw/${{ values.x }}", "R"), ("raw/sub/c", "C")]
        {
            let path = dir.join("skel").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::fs::write(dir.join("big"), vec![b'x'; MAX_BYTES as usize + 1]).unwrap();
        let scm = Scm::from_config(&json!({})).unwrap();
        let base = format!("file://{dir}/template.yaml");
        for (more, expected) in [
            (json!({}), "a.txt=A b.njk=B bin.png raw raw/${{ values.x }}=R raw/sub raw/sub/c=C"),
            (
                json!({"copyWithoutTemplating": ["raw", "!raw/sub"]}),
                "a.txt=A b.njk=B bin.png raw raw/${{ values.x }} raw/sub raw/sub/c=C",
            ),
            (
                json!({"templateFileExtension": true}),
                "a.txt b.njk>b=B bin.png raw raw/${{ values.x }} raw/sub raw/sub/c",
            ),
        ] {
            let mut input = json!({"url": "./skel", "values": {"x": "${{ parameters.x }}"}});
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let files = sources("fetch:template", &input).unwrap().read(&scm, &base, None).await.unwrap();
            let shown = files.iter().map(|file| {
                let name = file.name.as_deref().filter(|name| *name != file.path).map(|name| format!(">{name}"));
                let content = file.content.as_ref().map(|content| format!("={content}"));
                format!("{}{}{}", file.path, name.unwrap_or_default(), content.unwrap_or_default())
            });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{more}");
        }
        let file = |url: &str| sources("fetch:template:file", &json!({"url": url})).unwrap();
        assert_eq!(file("skel/bin.png").read(&scm, &base, None).await.unwrap()[0].content.as_deref(), Some("\u{0}"));
        assert!(file("big").read(&scm, &base, None).await.unwrap()[0].is_too_large);
        for url in ["skel", "../outside", "https://example.com/x"] {
            assert!(file(url).read(&scm, &base, None).await.is_err(), "{url}");
        }
        let repository = dir.parent().unwrap();
        std::fs::create_dir_all(repository.join("shared")).unwrap();
        std::fs::write(repository.join("shared/s.txt"), "S").unwrap();
        let shared = sources("fetch:template", &json!({"url": "./skel/../../shared/"})).unwrap();
        assert!(shared.read(&scm, &base, None).await.is_err());
        assert_eq!(shared.read(&scm, &base, Some(repository)).await.unwrap()[0].content.as_deref(), Some("S"));
        assert!(file("../../x").read(&scm, &base, Some(repository)).await.is_err());
        let tree = |url: &str| sources("fetch:template", &json!({"url": url})).unwrap();
        for url in ["big", "nowhere"] {
            assert!(tree(url).read(&scm, &base, None).await.is_err(), "{url}");
        }
    }

    #[test]
    fn what_the_run_decides_is_left_to_it() {
        let cookiecutter = sources("fetch:template", &json!({"url": "x", "cookiecutterCompat": true})).unwrap();
        assert_eq!(cookiecutter.root(), "cookiecutter");
        for input in [
            json!({"url": "${{ parameters.x }}"}),
            json!({"url": "x", "cookiecutterCompat": "${{ parameters.x }}"}),
            json!({"url": "x", "copyWithoutTemplating": ["${{ parameters.x }}/*"]}),
            json!({"values": {}}),
        ] {
            assert!(sources("fetch:template", &input).is_none(), "{input}");
        }
        assert!(sources("fetch:plain", &json!({"url": "x"})).is_none());
    }
}
