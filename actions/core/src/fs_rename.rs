//! `fs:rename`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use understudy_sdk::{
    Action, ActionContext, ActionError, ActionExample, NoOutput, Workspace, WorkspaceError, workspace::EntryKind,
};

use crate::{
    fields,
    support::{blocking, example},
};

/// Moves files and directories within the workspace.
#[derive(Debug)]
pub(crate) struct FsRename;

/// Input of [`FsRename`].
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Input {
    /// What to move, in this order.
    files: Vec<Move>,
}

/// One move.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Move {
    /// The file or directory to move.
    from: String,
    /// Where to; missing directories are made.
    to: String,
    /// Whether to replace what is there already. By default the step fails then.
    overwrite: Option<bool>,
}

#[async_trait]
impl Action for FsRename {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "fs:rename"
    }
    fn description(&self) -> &'static str {
        "Moves or renames files and directories in the workspace."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![example(
            "Rename a file and move a directory over another",
            "steps:
  - id: rename
    name: Put files where they belong
    action: fs:rename
    input:
      files:
        - from: gitignore.txt
          to: .gitignore
        - from: variants/${{ parameters.language }}
          to: src
          overwrite: true
",
        )]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        for file in input.files {
            ctx.check_cancelled()?;
            if file.from.is_empty() || file.to.is_empty() {
                return Err(ActionError::input("each file must have a from and to property"));
            }
            let workspace = ctx.workspace.clone();
            let from = workspace.display(&workspace.resolve(&file.from)?);
            let to = workspace.display(&workspace.resolve(&file.to)?);
            match blocking(move || move_entry(&workspace, &file)).await {
                Ok(()) => ctx.log.info(format!("File {from} renamed to {to} successfully")),
                Err(error) => {
                    let message = format!("Failed to rename file {from} to {to}:");
                    ctx.log.error(fields::with_fields(&message, &fields::of_error(&error)));
                    return Err(error);
                }
            }
        }
        Ok(NoOutput {})
    }
}

/// Moves with the checks and texts of `fs-extra` 11 (`move`).
fn move_entry(workspace: &Workspace, file: &Move) -> Result<(), ActionError> {
    let source = workspace.entry(&file.from)?;
    let from = workspace.resolve(&file.from)?;
    let to = workspace.resolve(&file.to)?;
    if from == to {
        return Err(ActionError::failed("Source and destination must not be the same."));
    }
    let shown = |path| workspace.display(path);
    let existing = match workspace.entry(&file.to) {
        Ok(entry) => Some(entry),
        Err(WorkspaceError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let is_dir = source.kind == EntryKind::Dir;
    if let Some(existing) = &existing {
        if is_dir && existing.kind != EntryKind::Dir {
            return Err(ActionError::failed(format!(
                "Cannot overwrite non-directory '{}' with directory '{}'.",
                shown(&to),
                shown(&from)
            )));
        }
        if !is_dir && existing.kind == EntryKind::Dir {
            return Err(ActionError::failed(format!(
                "Cannot overwrite directory '{}' with non-directory '{}'.",
                shown(&to),
                shown(&from)
            )));
        }
    }
    if is_dir && to.starts_with(&from) {
        return Err(ActionError::failed(format!(
            "Cannot move '{}' to a subdirectory of itself, '{}'.",
            shown(&from),
            shown(&to)
        )));
    }
    if let Some(existing) = existing {
        if !file.overwrite.unwrap_or_default() {
            return Err(ActionError::failed("dest already exists."));
        }
        match existing.kind {
            EntryKind::Dir => workspace.remove_dir_all(&file.to)?,
            _ => workspace.remove_file(&file.to)?,
        }
    }
    Ok(workspace.rename(&file.from, &file.to)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn moves_files_and_directories() {
        let bench = Bench::new();
        bench.file("a.txt", "a");
        bench.file("dir/b.txt", "b");
        let root = bench.root();
        let files = json!([{"from": "./a.txt", "to": "new/x.txt"}, {"from": "dir", "to": "moved"}]);
        bench.run("fs:rename", json!({"files": files})).await.unwrap();
        assert_eq!(bench.read("new/x.txt"), "a");
        assert_eq!(bench.read("moved/b.txt"), "b");
        assert_eq!(
            bench.log(),
            [
                format!("info: File {root}/a.txt renamed to {root}/new/x.txt successfully"),
                format!("info: File {root}/dir renamed to {root}/moved successfully"),
            ]
        );
    }

    #[tokio::test]
    async fn a_missing_source_is_logged_as_upstream_does() {
        let bench = Bench::new();
        let root = bench.root();
        let error =
            bench.run("fs:rename", json!({"files": [{"from": "nope.txt", "to": "there.txt"}]})).await.unwrap_err();
        let text = format!("ENOENT: no such file or directory, lstat '{root}/nope.txt'");
        assert_eq!(error.to_string(), format!("Error: {text}"));
        assert_eq!(
            bench.log(),
            [format!(
                "error: Failed to rename file {root}/nope.txt to {root}/there.txt: {text} {{\"code\":\"ENOENT\",\"errno\":-2,\"path\":\"{root}/nope.txt\",\"stack\":\"Error: {text}\",\"syscall\":\"lstat\"}}"
            )]
        );
    }

    #[tokio::test]
    async fn existing_targets_need_overwrite() {
        let bench = Bench::new();
        bench.file("a", "a");
        bench.file("b", "b");
        bench.file("d/x", "x");
        bench.file("e/y", "y");
        let fails = [
            (json!({"from": "a", "to": "b"}), "dest already exists.".to_string()),
            (json!({"from": "a", "to": "./a"}), "Source and destination must not be the same.".to_string()),
            (json!({"from": "", "to": "a"}), "each file must have a from and to property".to_string()),
            (
                json!({"from": "d", "to": "b", "overwrite": true}),
                format!("Cannot overwrite non-directory '{0}/b' with directory '{0}/d'.", bench.root()),
            ),
            (
                json!({"from": "a", "to": "d", "overwrite": true}),
                format!("Cannot overwrite directory '{0}/d' with non-directory '{0}/a'.", bench.root()),
            ),
            (
                json!({"from": "d", "to": "d/z/d"}),
                format!("Cannot move '{0}/d' to a subdirectory of itself, '{0}/d/z/d'.", bench.root()),
            ),
            (
                json!({"from": "a", "to": "../a"}),
                "Relative path is not allowed to refer to a directory outside its parent".to_string(),
            ),
        ];
        for (file, expected) in fails {
            let error = bench.run("fs:rename", json!({"files": [file]})).await.unwrap_err();
            assert_eq!(error.message(), expected);
        }
        let files = json!([{"from": "a", "to": "b", "overwrite": true}, {"from": "d", "to": "e", "overwrite": true}]);
        bench.run("fs:rename", json!({"files": files})).await.unwrap();
        assert_eq!((bench.read("b"), bench.read("e/x")), ("a".to_string(), "x".to_string()));
        assert!(!bench.exists("e/y") && !bench.exists("d"));
    }
}
