//! `debug:log`

use std::{collections::HashSet, fmt::Write};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde_json::{Map, Value};
use understudy_sdk::{
    Action, ActionContext, ActionError, ActionExample, NoOutput, Workspace, WorkspaceError, schema,
    workspace::EntryKind,
};

use crate::support::{blocking, example};

/// Writes a message and, if asked, the workspace's files into the task log.
#[derive(Debug)]
pub(crate) struct DebugLog;

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "only the schema is of interest: the input is logged as it came")]
struct Input {
    /// What to write into the log.
    message: Option<String>,
    /// Whether to list the files of the workspace, with `with-contents` what they hold as well.
    list_workspace: Option<ListWorkspace>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum ListWorkspace {
    Flag(bool),
    Style(ListStyle),
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
enum ListStyle {
    WithFilenames,
    WithContents,
}

/// Bytes of a listing with contents; files that don't fit any more are skipped.
const MAX_LISTING: usize = 4 << 20;

#[async_trait]
impl Action for DebugLog {
    type Input = Map<String, Value>;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "debug:log"
    }
    fn description(&self) -> &'static str {
        "Logs a message, the names of the files in the workspace, or their contents."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Log a message",
                "steps:
  - id: greet
    name: Greet
    action: debug:log
    input:
      message: Hello from ${{ user.ref }}
",
            ),
            example(
                "List the files made so far",
                "steps:
  - id: list
    name: List the workspace
    action: debug:log
    input:
      listWorkspace: true
",
            ),
            example(
                "Show the files made so far with what they hold",
                "steps:
  - id: show
    name: Show the workspace
    action: debug:log
    input:
      message: After templating
      listWorkspace: with-contents
",
            ),
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn input_schema(&self) -> Value {
        schema::of::<Input>()
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<NoOutput, ActionError> {
        let message = input.get("message").and_then(Value::as_str).unwrap_or_default().to_string();
        let list = input.get("listWorkspace").cloned().unwrap_or_default();
        ctx.log.info(format!("{:#}", Value::Object(input)));
        if !message.is_empty() {
            ctx.log.info(message);
        }
        if list == Value::Bool(true) || list.is_string() {
            let workspace = ctx.workspace.clone();
            let contents = list == "with-contents";
            ctx.log.info(blocking(move || listing(&workspace, contents)).await?);
        }
        Ok(NoOutput {})
    }
}

fn listing(workspace: &Workspace, contents: bool) -> Result<String, ActionError> {
    let mut files = Vec::new();
    collect(workspace, Utf8Path::new(""), &mut files, &mut HashSet::new())?;
    let mut text = String::from("Workspace:\n");
    for (index, file) in files.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        // Writing to a string can't fail.
        let room = MAX_LISTING.saturating_sub(text.len()) as u64;
        let fits = |file: &str| workspace.target_entry(file).is_ok_and(|entry| entry.size <= room);
        let content = |file: &str| fits(file).then(|| workspace.read(file).ok()).flatten();
        let _ = match contents.then(|| content(file.as_str())) {
            None => write!(text, "  - {file}"),
            Some(Some(content)) => write!(text, " - {file}:\n\n  {}", String::from_utf8_lossy(&content)),
            Some(None) => write!(text, " - {file}: [skipped]"),
        };
    }
    Ok(text)
}

/// The files below a directory in the order of names, links followed. A link that leads out of the workspace is listed
/// itself; a directory that several links lead to is entered through the first of them.
fn collect(
    workspace: &Workspace,
    dir: &Utf8Path,
    files: &mut Vec<Utf8PathBuf>,
    linked: &mut HashSet<(u64, u64)>,
) -> Result<(), ActionError> {
    for entry in workspace.read_dir(dir.as_str())? {
        let enter = match entry.kind {
            EntryKind::Dir => true,
            EntryKind::Symlink => match workspace.target_entry(entry.path.as_str()) {
                Ok(target) if target.kind == EntryKind::Dir => {
                    if !linked.insert(target.identity) {
                        continue;
                    }
                    true
                }
                Ok(_) | Err(WorkspaceError::Escapes { .. }) => false,
                Err(error) => return Err(error.into()),
            },
            EntryKind::File | EntryKind::Other => false,
        };
        if enter {
            collect(workspace, &entry.path, files, linked)?;
        } else {
            files.push(entry.path);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn logs_the_input_then_the_message_then_the_files() {
        let bench = Bench::new();
        bench.file("out/b.txt", "bee");
        bench.file("out/a/c.txt", "sea");
        bench.file("z.txt", "zed");
        bench.run("debug:log", json!({"listWorkspace": true, "message": "hi"})).await.unwrap();
        assert_eq!(
            bench.log(),
            [
                "info: {\n  \"listWorkspace\": true,\n  \"message\": \"hi\"\n}",
                "info: hi",
                "info: Workspace:\n  - out/a/c.txt\n  - out/b.txt\n  - z.txt"
            ]
        );
    }

    #[tokio::test]
    async fn a_listing_is_bounded() {
        let bench = Bench::new();
        bench.file("a", &"a".repeat(3 << 20));
        bench.file("b", &"b".repeat(3 << 20));
        bench.file("c", "sea");
        bench.run("debug:log", json!({"listWorkspace": "with-contents"})).await.unwrap();
        let log = bench.log();
        let listing = log.last().unwrap();
        assert!(listing.len() < 4 << 20 && listing.ends_with("\n - b: [skipped]\n - c:\n\n  sea"));
    }

    #[tokio::test]
    async fn shows_contents_and_skips_what_leads_out() {
        let bench = Bench::new();
        bench.file("a.txt", "x\n");
        std::os::unix::fs::symlink("/etc/passwd", bench.root().join("b.txt")).unwrap();
        bench.run("debug:log", json!({"listWorkspace": "with-contents"})).await.unwrap();
        assert_eq!(bench.log()[1], "info: Workspace:\n - a.txt:\n\n  x\n\n - b.txt: [skipped]");
    }

    #[tokio::test]
    async fn a_dangling_link_fails_and_a_cycle_ends() {
        let bench = Bench::new();
        bench.file("d/a.txt", "x");
        std::os::unix::fs::symlink(".", bench.root().join("d/loop")).unwrap();
        bench.run("debug:log", json!({"listWorkspace": true})).await.unwrap();
        assert_eq!(bench.log()[1], "info: Workspace:\n  - d/a.txt\n  - d/loop/a.txt");
        std::os::unix::fs::symlink("nowhere", bench.root().join("e")).unwrap();
        let error = bench.run("debug:log", json!({"listWorkspace": true})).await.unwrap_err();
        assert_eq!(error.message(), format!("ENOENT: no such file or directory, stat '{}/e'", bench.root()));
    }
}
