//! `fs:delete`

use std::collections::HashSet;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::Deserialize;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Workspace, workspace::EntryKind};

use crate::{
    fields,
    globs::Globs,
    support::{blocking, example},
};

/// Deletes files of the workspace.
#[derive(Debug)]
pub(crate) struct FsDelete;

/// Input of [`FsDelete`].
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Input {
    /// Paths or glob patterns of the files to delete; of a directory, all files in it.
    files: Vec<String>,
}

#[async_trait]
impl Action for FsDelete {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "fs:delete"
    }
    fn description(&self) -> &'static str {
        "Deletes files of the workspace by path or glob pattern."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Delete two files",
                "steps:
  - id: tidy
    name: Tidy up
    action: fs:delete
    input:
      files:
        - NOTES.md
        - docs/draft.md
",
            ),
            example(
                "Delete all files of a kind",
                "steps:
  - id: tidy
    name: Remove sample data
    action: fs:delete
    input:
      files: ['**/*.sample.json']
",
            ),
            example(
                "Delete the files of a directory when a feature is off",
                "steps:
  - id: no-docs
    name: Remove the documentation
    if: ${{ not parameters.docs }}
    action: fs:delete
    input:
      files: [docs]
",
            ),
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        for pattern in input.files {
            let workspace = ctx.workspace.clone();
            let matching = blocking(move || matching(&workspace, &pattern)).await?;
            for path in matching {
                ctx.check_cancelled()?;
                if let Err(error) = ctx.workspace.remove_file(path.as_str()) {
                    let error = ActionError::from(error);
                    ctx.log.error(fields::with_fields("Failed to delete file", &fields::of_error(&error)));
                    return Err(error);
                }
                ctx.log.info(format!("File {} deleted successfully", ctx.workspace.display(&path)));
            }
        }
        Ok(NoOutput {})
    }
}

/// The files a pattern matches. Links count as what they lead to; those to directories are not followed.
fn matching(workspace: &Workspace, pattern: &str) -> Result<Vec<Utf8PathBuf>, ActionError> {
    let pattern = workspace.resolve(pattern)?;
    let entries = workspace.walk(".")?;
    let dirs: HashSet<&str> =
        entries.iter().filter(|entry| entry.kind == EntryKind::Dir).map(|entry| entry.path.as_str()).collect();
    // A path, so that a leading `!` is part of a name.
    let globs = Globs::new(&[format!("./{pattern}")], |path| dirs.contains(path))?;
    let is_file = |path: &Utf8PathBuf, kind| match kind {
        EntryKind::File => true,
        EntryKind::Symlink => workspace.target_entry(path.as_str()).is_ok_and(|target| target.kind == EntryKind::File),
        EntryKind::Dir | EntryKind::Other => false,
    };
    Ok(entries
        .iter()
        .filter(|entry| globs.matches(entry.path.as_str(), false) && is_file(&entry.path, entry.kind))
        .map(|entry| entry.path.clone())
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn deletes_files_by_path_pattern_and_directory() {
        let bench = Bench::new();
        let root = bench.root();
        for file in ["a.txt", "b.txt", "keep.md", "d/x.txt", "d/e/.y", "other/z.txt"] {
            bench.file(file, "");
        }
        bench.run("fs:delete", json!({"files": ["./a.txt", "missing", "d"]})).await.unwrap();
        assert_eq!(
            bench.log(),
            ["a.txt", "d/x.txt", "d/e/.y"].map(|file| format!("info: File {root}/{file} deleted successfully"))
        );
        assert!(bench.exists("d/e") && bench.exists("b.txt"));
        bench.run("fs:delete", json!({"files": [format!("{root}/*.txt")]})).await.unwrap();
        assert!(!bench.exists("b.txt") && bench.exists("other/z.txt"));
        bench.run("fs:delete", json!({"files": ["**"]})).await.unwrap();
        assert!(!bench.exists("keep.md") && !bench.exists("other/z.txt") && bench.exists("other"));
    }

    #[tokio::test]
    async fn never_deletes_outside() {
        let bench = Bench::new();
        let error = bench.run("fs:delete", json!({"files": ["../x"]})).await.unwrap_err();
        assert_eq!(error.message(), "Relative path is not allowed to refer to a directory outside its parent");
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("x"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), bench.root().join("link")).unwrap();
        bench.run("fs:delete", json!({"files": ["**", "link/x", "link"]})).await.unwrap();
        assert!(outside.path().join("x").exists());
    }
}
