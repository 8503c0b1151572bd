//! `fetch:template`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use understudy_scm::Scm;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret, Workspace};
use understudy_templating::Context;

use crate::{
    fetch::{self, LocalSource, Origin},
    fields, pipeline,
    skeleton::{self, Rendering},
    support::{blocking, example},
    templating::{Syntax, Templating},
};

/// Fetches a skeleton and renders it.
#[derive(Debug)]
pub(crate) struct FetchTemplate {
    scm: Scm,
    templating: Templating,
}

impl FetchTemplate {
    pub(crate) fn new(scm: Scm, templating: Templating) -> Self {
        Self { scm, templating }
    }
}

/// Input of [`FetchTemplate`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The skeleton to fetch: a URL, or a path relative to the template.
    url: String,
    /// Where to put the result in the workspace; its root by default.
    target_path: Option<String>,
    /// What templates find under `values`.
    values: Option<Map<String, Value>>,
    /// Without effect, as in upstream since 3.0; use `copyWithoutTemplating`.
    #[allow(dead_code)]
    copy_without_render: Option<Vec<String>>,
    /// Glob patterns of files whose contents are copied as they are; their names are rendered all the same.
    copy_without_templating: Option<Vec<String>>,
    /// Whether the skeleton was written for cookiecutter: `{{ }}` for values, which lie under `cookiecutter`.
    cookiecutter_compat: Option<bool>,
    /// Render only files with this extension, and take it off their names; `true` stands for `.njk`.
    template_file_extension: Option<Extension>,
    /// Whether to replace files that are in the workspace already. By default they stay.
    replace: Option<bool>,
    /// Whether to drop the line break after a block tag.
    trim_blocks: Option<bool>,
    /// Whether to drop blanks before a block tag that starts its line.
    lstrip_blocks: Option<bool>,
    /// The token to read with, instead of the integration's.
    token: Option<Secret>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Extension {
    Named(String),
    Default(bool),
}

impl Extension {
    /// With its dot; `None` for `false` and the empty text.
    pub(crate) fn suffix(&self) -> Option<String> {
        match self {
            Self::Default(true) => Some(".njk".to_string()),
            Self::Named(name) if name.starts_with('.') => Some(name.clone()),
            Self::Named(name) if !name.is_empty() => Some(format!(".{name}")),
            Self::Default(false) | Self::Named(_) => None,
        }
    }
}

/// What the templates of `fetch:template` and `fetch:template:file` see: the values, under one name.
pub(crate) fn context(syntax: Syntax, values: Option<Map<String, Value>>) -> Result<Context, ActionError> {
    let name = if syntax.cookiecutter { "cookiecutter" } else { "values" };
    let data: Map<String, Value> = values.map(|values| (name.to_string(), Value::Object(values))).into_iter().collect();
    Context::from_json(&data).map_err(|error| skeleton::template_error(&error))
}

#[async_trait]
impl Action for FetchTemplate {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "fetch:template"
    }
    fn description(&self) -> &'static str {
        "Fetches a skeleton, renders the names and contents of its files, and puts the result into the workspace."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Render the skeleton that lies beside the template",
                "steps:
  - id: fetch
    name: Render the skeleton
    action: fetch:template
    input:
      url: ./skeleton
      values:
        name: ${{ parameters.name }}
        owner: ${{ parameters.owner }}
",
            ),
            example(
                "Leave workflows and charts, which have their own braces, as they are",
                "steps:
  - id: fetch
    name: Render the skeleton
    action: fetch:template
    input:
      url: ./skeleton
      targetPath: service
      copyWithoutTemplating:
        - .github/workflows/*
        - charts
      values:
        name: ${{ parameters.name }}
",
            ),
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        let target = input.target_path.as_deref().unwrap_or("./");
        let output = ctx.workspace.display(&ctx.workspace.resolve(target)?);
        let extension = input.template_file_extension.as_ref().and_then(Extension::suffix);
        let cookiecutter = input.cookiecutter_compat.unwrap_or_default();
        if extension.is_some() && (input.copy_without_templating.is_some() || cookiecutter) {
            return Err(ActionError::input(
                "Fetch action input extension incompatible with copyWithoutTemplating and cookiecutterCompat",
            ));
        }
        ctx.log.info("Fetching template content from remote URL");
        // Removed when it is dropped.
        let mut downloaded = None;
        let source = match fetch::origin(&self.scm, &input.url, fetch::base_url(ctx))? {
            Origin::Local { dir, path } => {
                let tree = blocking(move || local_tree(&dir, &path)).await?;
                let real = ctx.workspace.real_path(target)?;
                if real.starts_with(tree.root()) {
                    return Err(ActionError::input("targetPath must not be within template path"));
                }
                if tree.root().starts_with(&real) {
                    // Written where it is read from, a skeleton would change while it is rendered.
                    let (dir, copy) = temporary(ctx).await?;
                    downloaded = Some(dir);
                    let (ctx, copy_of) = (ctx.clone(), copy.clone());
                    blocking(move || fetch::copy_tree(&ctx, &tree, &copy_of)).await?;
                    copy
                } else {
                    tree
                }
            }
            Origin::Remote(url) => {
                let (dir, tree) = temporary(ctx).await?;
                downloaded = Some(dir);
                let summary = self.scm.in_step(ctx).read_tree(&url, input.token.as_ref(), &tree, ".").await?;
                fetch::warn_all(ctx, &summary.warnings);
                tree
            }
        };
        let syntax = Syntax {
            cookiecutter,
            trim_blocks: input.trim_blocks.unwrap_or_default(),
            lstrip_blocks: input.lstrip_blocks.unwrap_or_default(),
        };
        let (engine, inner, target) = (self.templating.files(syntax).clone(), ctx.clone(), target.to_string());
        blocking(move || {
            let ctx = inner;
            ctx.log.info("Listing files and directories in template");
            let entries = source.list(".")?;
            let message = format!("Processing {} template files/directories with input values", entries.len());
            ctx.log.info(fields::with_fields(&message, input.values.as_ref().unwrap_or(&Map::new())));
            let context = context(syntax, input.values)?;
            let rendering = Rendering {
                engine,
                context,
                copy_only: input.copy_without_templating.unwrap_or_default(),
                extension,
                replace: input.replace.unwrap_or_default(),
            };
            ctx.workspace.create_dir_all(&target)?;
            let out = ctx.workspace.sub(&target)?;
            let rendered = skeleton::render(&ctx, &source, &entries, &out, &rendering, pipeline::parallelism());
            drop(downloaded);
            rendered
        })
        .await?;
        ctx.log.info(format!("Template result written to {output}"));
        Ok(NoOutput {})
    }
}

fn local_tree(dir: &camino::Utf8Path, path: &str) -> Result<Workspace, ActionError> {
    match fetch::open_local(dir, path)? {
        LocalSource::Tree(tree) => Ok(tree),
        LocalSource::File(root, file) => Err(ActionError::input(format!(
            "{} is a file; fetch:template takes a directory, use fetch:template:file for a single file",
            root.display(&file.path)
        ))),
    }
}

/// An empty directory beside the workspace.
async fn temporary(ctx: &ActionContext) -> Result<(tempfile::TempDir, Workspace), ActionError> {
    let root = ctx.temp_root.clone();
    blocking(move || {
        Workspace::create(&root)?;
        let dir = tempfile::Builder::new().prefix("skeleton-").tempdir_in(&root)?;
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).map_err(|path| {
            ActionError::failed(format!(
                "the directory {} is not valid UTF-8; set another working directory",
                path.display()
            ))
        })?;
        let tree = Workspace::open(path)?;
        Ok((dir, tree))
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use camino::Utf8PathBuf;
    use serde_json::{Value, json};

    use crate::testing::Bench;

    fn bench(files: &[(&str, &str)]) -> (Bench, Utf8PathBuf) {
        let mut bench = Bench::new();
        let dir = bench.beside("template");
        bench.base_url = Some(format!("file://{dir}/template.yaml"));
        for (path, content) in files {
            let path = dir.join("skel").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        (bench, dir.join("skel"))
    }

    fn input(more: Value) -> Value {
        let mut input = json!({"url": "./skel", "targetPath": "./out", "values": {"name": "demo", "empty": ""}});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        input
    }

    #[tokio::test]
    async fn renders_names_and_contents_and_logs_each() {
        let (bench, dir) = bench(&[
            ("README.md", "# ${{ values.name }}\n"),
            ("bin.png", "\u{0}${{ values.name }}"),
            ("run.sh", "echo ${{ values.name | upper }}\n"),
            ("src/${{ values.name }}.yaml", "name: ${{ values.name }}\n"),
            ("${{ values.empty }}/hidden.txt", "x"),
            ("src/${{ values.empty }}", "x"),
            ("{% if values.no %}no.txt{% endif %}", "x"),
        ]);
        std::fs::set_permissions(dir.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("README.md", dir.join("link")).unwrap();
        bench.run("fetch:template", input(json!({}))).await.unwrap();
        let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode();
        let lines = [
            "Fetching template content from remote URL".to_string(),
            "Listing files and directories in template".to_string(),
            "Processing 10 template files/directories with input values {\"empty\":\"\",\"name\":\"demo\"}".to_string(),
            format!("Writing file README.md to template output path with mode {}.", mode("README.md")),
            "Copying file binary or symbolic link at bin.png, to template output path.".to_string(),
            "Copying file binary or symbolic link at link, to template output path.".to_string(),
            format!("Writing file run.sh to template output path with mode {}.", mode("run.sh")),
            "Writing directory src/ to template output path.".to_string(),
            format!(
                "Writing file src/${{{{ values.name }}}}.yaml to template output path with mode {}.",
                mode("src/${{ values.name }}.yaml")
            ),
            format!("Template result written to {}/out", bench.root()),
        ];
        assert_eq!(bench.log(), lines.map(|line| format!("info: {line}")));
        assert_eq!(bench.read("out/README.md"), "# demo\n");
        assert_eq!(bench.read("out/bin.png"), "\u{0}${{ values.name }}");
        assert_eq!(bench.read("out/run.sh"), "echo DEMO\n");
        assert_eq!(bench.read("out/src/demo.yaml"), "name: demo\n");
        assert_eq!(std::fs::read_link(bench.root().join("out/link")).unwrap().to_str(), Some("README.md"));
        let executable = std::fs::metadata(bench.root().join("out/run.sh")).unwrap().permissions().mode();
        assert_eq!(executable & 0o111, 0o111);
        assert!(!bench.exists("out/hidden.txt") && !bench.exists("out/no.txt"));
    }

    #[tokio::test]
    async fn existing_files_stay_unless_replaced() {
        let (bench, _) = bench(&[("a.txt", "new"), ("b.txt", "new")]);
        bench.file("out/a.txt", "old");
        bench.run("fetch:template", input(json!({}))).await.unwrap();
        assert_eq!((bench.read("out/a.txt"), bench.read("out/b.txt")), ("old".into(), "new".into()));
        bench.run("fetch:template", input(json!({"replace": true}))).await.unwrap();
        assert_eq!(bench.read("out/a.txt"), "new");
    }

    /// The first of two entries with one target stays, unless later ones replace it.
    #[tokio::test]
    async fn two_names_that_become_one() {
        for (replace, expected) in [(false, "first"), (true, "second")] {
            // `$` sorts before `d`.
            let (bench, _) = bench(&[("demo", "second"), ("${{ values.name }}", "first")]);
            bench.run("fetch:template", input(json!({"replace": replace}))).await.unwrap();
            assert_eq!(bench.read("out/demo"), expected);
        }
    }

    #[tokio::test]
    async fn patterns_exclude_contents_but_not_names() {
        let (bench, _) = bench(&[
            ("raw/${{ values.name }}.txt", "${{ values.name }}"),
            ("raw/sub/x.txt", "${{ values.name }}"),
            ("a.txt", "${{ values.name }}"),
        ]);
        bench.run("fetch:template", input(json!({"copyWithoutTemplating": ["raw", "!raw/sub"]}))).await.unwrap();
        assert_eq!(bench.read("out/raw/demo.txt"), "${{ values.name }}");
        assert_eq!(bench.read("out/raw/sub/x.txt"), "demo");
        assert_eq!(bench.read("out/a.txt"), "demo");
        let note = "info: Copying file/directory raw/${{ values.name }}.txt without processing.";
        assert!(bench.log().iter().any(|line| line == note), "{:#?}", bench.log());
    }

    #[tokio::test]
    async fn extensions_select_what_is_rendered() {
        for (extension, files) in [
            (json!(true), [("a.txt.njk", "out/a.txt"), ("b.txt", "out/b.txt"), (".njk", "out/.njk")]),
            (json!("tpl"), [("a.txt.tpl", "out/a.txt"), ("b.txt", "out/b.txt"), ("c.njk", "out/c.njk")]),
            (json!(".tpl"), [("a.tpl", "out/a"), ("${{ values.name }}.tpl", "out/demo"), ("c.njk", "out/c.njk")]),
        ] {
            let sources = files.map(|(source, _)| (source, "${{ values.name }}"));
            let (bench, _) = bench(&sources);
            bench.run("fetch:template", input(json!({"templateFileExtension": extension}))).await.unwrap();
            for (source, target) in files {
                let suffix = if extension == json!(true) { ".njk" } else { ".tpl" };
                let rendered = source.ends_with(suffix) && source != ".njk";
                assert_eq!(bench.read(target), if rendered { "demo" } else { "${{ values.name }}" }, "{source}");
            }
        }
    }

    #[tokio::test]
    async fn cookiecutter_trim_and_lstrip() {
        let (bench, _) =
            bench(&[("{{ cookiecutter.name }}.txt", "{{ cookiecutter.name }} $ {{ cookiecutter.name | jsonify }}")]);
        bench.run("fetch:template", input(json!({"cookiecutterCompat": true}))).await.unwrap();
        assert_eq!(bench.read("out/demo.txt"), "demo $ \"demo\"");
        let (bench, _) = self::bench(&[("a", "x\n  {% if true %}\ny\n  {% endif %}\nz\n")]);
        bench.run("fetch:template", input(json!({"trimBlocks": true, "lstripBlocks": true}))).await.unwrap();
        assert_eq!(bench.read("out/a"), "x\ny\nz\n");
    }

    #[tokio::test]
    async fn failures_name_the_file_in_the_log() {
        let (bench, _) = bench(&[("a.txt", "fine"), ("bad.txt", "first\n  ${{ values.name | }}\n"), ("c.txt", "fine")]);
        let error = bench.run("fetch:template", input(json!({}))).await.unwrap_err();
        assert!(error.to_string().starts_with("TemplateRenderError: Template error at line 2, column "), "{error}");
        let log = bench.log();
        assert!(log[3].starts_with("info: Writing file a.txt"));
        assert!(log[4].starts_with("info: Writing file bad.txt"));
        assert!(log[5].starts_with("error: bad.txt:2:"), "{}", log[5]);
        let shown = "\n 2 |   ${{ values.name | }}\n   |                     ^";
        assert!(log[5].ends_with(shown), "{}", log[5]);
        assert_eq!(log.len(), 6);
    }

    #[tokio::test]
    async fn nothing_leads_outside() {
        let outside = "NotAllowedError: Relative path is not allowed to refer to a directory outside its parent";
        for name in ["../../evil", "..", "a/../../x"] {
            let (bench, _) = bench(&[("${{ values.evil }}", "x")]);
            let more = json!({"values": {"evil": name}});
            assert_eq!(bench.run("fetch:template", input(more)).await.unwrap_err().to_string(), outside, "{name}");
        }
        let (bench, dir) = bench(&[("a", "x")]);
        let error = bench.run("fetch:template", input(json!({"targetPath": "../x"}))).await.unwrap_err();
        assert_eq!(error.to_string(), outside);
        assert!(bench.log().is_empty());
        symlink("../../../etc", dir.join("link")).unwrap();
        let error = bench.run("fetch:template", input(json!({}))).await.unwrap_err();
        assert!(error.message().contains("skel/link leads to ../../../etc"), "{error}");
        // A link in the workspace is not written through.
        std::fs::remove_file(dir.join("link")).unwrap();
        let elsewhere = bench.beside("elsewhere");
        symlink(&elsewhere, bench.root().join("door")).unwrap();
        let error = bench.run("fetch:template", input(json!({"targetPath": "door"}))).await.unwrap_err();
        assert_eq!(error.to_string(), outside);
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn inputs_that_contradict_each_other_and_cancellation() {
        let (bench, _) = bench(&[("a", "x")]);
        for more in [
            json!({"templateFileExtension": true, "copyWithoutTemplating": []}),
            json!({"templateFileExtension": "x", "cookiecutterCompat": true}),
        ] {
            let error = bench.run("fetch:template", input(more)).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "InputError: Fetch action input extension incompatible with copyWithoutTemplating and cookiecutterCompat"
            );
        }
        bench.cancel.cancel();
        assert!(bench.run("fetch:template", input(json!({}))).await.is_err());
        assert!(!bench.exists("out/a"));
    }

    #[tokio::test]
    async fn skeleton_and_target_within_each_other() {
        // The template lies in the workspace: as a whole, then its skeleton alone.
        let mut bench = Bench::new();
        bench.base_url = Some(format!("file://{}/t/template.yaml", bench.root()));
        bench.file("t/skel/${{ values.name }}.txt", "${{ values.name }}");
        bench.file("t/skel/skel/x", "deeper");
        symlink("t/skel", bench.root().join("door")).unwrap();
        for target in ["t/skel", "t/skel/out/deep", "t/../t/skel/.", "door", "door/out"] {
            let error = bench.run("fetch:template", input(json!({"targetPath": target}))).await.unwrap_err();
            assert_eq!(error.to_string(), "InputError: targetPath must not be within template path", "{target}");
        }
        assert!(!bench.exists("t/skel/out"));
        // Names like those of the skeleton: it is read as it was before.
        bench.run("fetch:template", input(json!({"targetPath": "t", "replace": true}))).await.unwrap();
        assert_eq!((bench.read("t/demo.txt"), bench.read("t/skel/x")), ("demo".into(), "deeper".into()));
        bench.run("fetch:template", input(json!({"targetPath": "t/skel-2"}))).await.unwrap();
        assert_eq!(bench.read("t/skel-2/demo.txt"), "demo");
    }

    #[tokio::test]
    async fn many_files_keep_their_order() {
        let names: Vec<String> = (0..1200).map(|n| format!("d{:02}/f{n:04}.txt", n % 40)).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "${{ values.name }}")).collect();
        let (bench, _) = bench(&files);
        bench.run("fetch:template", input(json!({}))).await.unwrap();
        let log = bench.log();
        let written: Vec<&str> = log.iter().filter_map(|line| line.strip_prefix("info: Writing file ")).collect();
        assert_eq!(written.len(), 1200);
        assert!(written.is_sorted());
        assert!(names.iter().all(|name| bench.read(&format!("out/{name}")) == "demo"));
    }
}
