//! `fetch:plain:file`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use understudy_scm::Scm;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{
    fetch,
    support::{blocking, example},
};

/// Fetches one file as it is.
#[derive(Debug)]
pub(crate) struct FetchPlainFile {
    scm: Scm,
}

impl FetchPlainFile {
    pub(crate) fn new(scm: Scm) -> Self {
        Self { scm }
    }
}

/// Input of [`FetchPlainFile`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The file to fetch: a URL, or a path relative to the template.
    url: String,
    /// The path it gets in the workspace.
    target_path: String,
    /// The token to read with, instead of the integration's.
    token: Option<Secret>,
}

#[async_trait]
impl Action for FetchPlainFile {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "fetch:plain:file"
    }
    fn description(&self) -> &'static str {
        "Fetches one file and puts it into the workspace as it is."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![example(
            "Fetch the company's code owners file",
            "steps:
  - id: owners
    name: Fetch CODEOWNERS
    action: fetch:plain:file
    input:
      url: https://github.com/acme/standards/blob/main/CODEOWNERS
      targetPath: .github/CODEOWNERS
",
        )]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        ctx.log.info("Fetching plain content from remote URL");
        ctx.workspace.resolve(&input.target_path)?;
        let file = fetch::fetch_file(ctx, &self.scm, &input.url, input.token.as_ref()).await?;
        let workspace = ctx.workspace.clone();
        blocking(move || {
            let path = &input.target_path;
            workspace.write(path, &file.content, 0o666)?;
            if let Some(mode) = file.mode {
                workspace.set_mode(path, mode | 0o600)?;
            }
            Ok(())
        })
        .await?;
        Ok(NoOutput {})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn copies_one_file_from_beside_the_template() {
        let mut bench = Bench::new();
        let dir = bench.beside("template");
        bench.base_url = Some(format!("file://{dir}/template.yaml"));
        std::fs::write(dir.join("a.bin"), b"\x00\xff${{ x }}").unwrap();
        bench.run("fetch:plain:file", json!({"url": "a.bin", "targetPath": "x/y.bin"})).await.unwrap();
        assert_eq!(std::fs::read(bench.root().join("x/y.bin")).unwrap(), b"\x00\xff${{ x }}");
        let cases = [
            (
                json!({"url": "b", "targetPath": "y"}),
                format!("Error: ENOENT: no such file or directory, lstat '{dir}/b'"),
            ),
            (
                json!({"url": ".", "targetPath": "y"}),
                format!("Error: EISDIR: illegal operation on a directory, read '{dir}'"),
            ),
            (
                json!({"url": "a.bin", "targetPath": "../y"}),
                "NotAllowedError: Relative path is not allowed to refer to a directory outside its parent".to_string(),
            ),
        ];
        for (input, expected) in cases {
            assert_eq!(bench.run("fetch:plain:file", input).await.unwrap_err().to_string(), expected);
        }
    }
}
