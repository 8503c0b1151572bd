//! `fs:readdir`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_sdk::{
    Action, ActionContext, ActionError, ActionExample, Workspace, schema,
    workspace::{Entry, EntryKind},
};

use crate::support::{blocking, example};

/// Lists files and directories of the workspace.
#[derive(Debug)]
pub(crate) struct FsReaddir;

/// Input of [`FsReaddir`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The directories to list, relative to the workspace.
    #[schemars(inner(length(min = 1)))]
    paths: Vec<String>,
    /// Whether to list what lies in their subdirectories as well.
    #[serde(default)]
    recursive: bool,
}

/// Output of [`FsReaddir`].
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The files, links among them.
    files: Vec<Content>,
    /// The directories.
    folders: Vec<Content>,
}

/// A file or directory.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Content {
    /// Its name.
    name: String,
    /// Its path relative to the workspace.
    path: String,
    /// Its absolute path.
    full_path: String,
}

#[async_trait]
impl Action for FsReaddir {
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "fs:readdir"
    }
    fn description(&self) -> &'static str {
        "Lists the files and directories of one or more directories of the workspace."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "List the top of the workspace",
                "steps:
  - id: top
    name: List the workspace
    action: fs:readdir
    input:
      paths: [.]
",
            ),
            example(
                "List everything below a directory",
                "steps:
  - id: sources
    name: List the sources
    action: fs:readdir
    input:
      paths: [src]
      recursive: true
",
            ),
            example(
                "List several directories",
                "steps:
  - id: list
    name: List charts and manifests
    action: fs:readdir
    input:
      paths:
        - deploy/charts
        - deploy/manifests
      recursive: true
",
            ),
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<Output>())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let workspace = ctx.workspace.clone();
        blocking(move || {
            let mut output = Output::default();
            for path in &input.paths {
                list(&workspace, path, input.recursive, &mut output)?;
            }
            Ok(output)
        })
        .await
    }
}

/// Directories are read as Node's recursive `readdir` does: the last subdirectory first.
fn list(workspace: &Workspace, path: &str, recursive: bool, output: &mut Output) -> Result<(), ActionError> {
    let mut pending = vec![workspace.read_dir(path)?];
    while let Some(entries) = pending.pop() {
        for entry in entries {
            let is_dir = entry.kind == EntryKind::Dir;
            if is_dir && recursive {
                pending.push(workspace.read_dir(entry.path.as_str())?);
            }
            let list = if is_dir { &mut output.folders } else { &mut output.files };
            list.push(content(workspace, &entry));
        }
    }
    Ok(())
}

fn content(workspace: &Workspace, entry: &Entry) -> Content {
    Content {
        name: entry.path.file_name().unwrap_or_default().to_string(),
        path: entry.path.to_string(),
        full_path: workspace.display(&entry.path).to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::Bench;

    fn paths(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|content| content["path"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn lists_in_nodes_order() {
        let bench = Bench::new();
        for file in ["out/README.md", "out/renamed/demo.txt", "out/src/demo.yaml", "out/.hidden", "top.txt"] {
            bench.file(file, "");
        }
        let output = bench.run("fs:readdir", json!({"paths": ["out"], "recursive": true})).await.unwrap();
        assert_eq!(
            paths(&output["files"]),
            ["out/.hidden", "out/README.md", "out/src/demo.yaml", "out/renamed/demo.txt"]
        );
        assert_eq!(paths(&output["folders"]), ["out/renamed", "out/src"]);
        assert_eq!(
            output["folders"][1],
            json!({"name": "src", "path": "out/src", "fullPath": format!("{}/out/src", bench.root())})
        );
        let output = bench.run("fs:readdir", json!({"paths": [".", "./out/../out"]})).await.unwrap();
        assert_eq!(paths(&output["files"]), ["top.txt", "out/.hidden", "out/README.md"]);
    }

    #[tokio::test]
    async fn says_what_is_missing_and_stays_inside() {
        let bench = Bench::new();
        let error = bench.run("fs:readdir", json!({"paths": ["nope"]})).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Error: ENOENT: no such file or directory, scandir '{}/nope'", bench.root())
        );
        let error = bench.run("fs:readdir", json!({"paths": ["a/../.."]})).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "NotAllowedError: Relative path is not allowed to refer to a directory outside its parent"
        );
    }
}
