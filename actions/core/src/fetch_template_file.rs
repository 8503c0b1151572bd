//! `fetch:template:file`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use understudy_scm::Scm;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{
    fetch, fetch_template, fields, skeleton,
    support::{blocking, example},
    templating::{Syntax, Templating},
};

/// Fetches one file and renders it.
#[derive(Debug)]
pub(crate) struct FetchTemplateFile {
    scm: Scm,
    templating: Templating,
}

impl FetchTemplateFile {
    pub(crate) fn new(scm: Scm, templating: Templating) -> Self {
        Self { scm, templating }
    }
}

/// Input of [`FetchTemplateFile`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The file to fetch: a URL, or a path relative to the template.
    url: String,
    /// The path the result gets in the workspace.
    target_path: String,
    /// What the template finds under `values`.
    values: Option<Map<String, Value>>,
    /// Whether the file was written for cookiecutter: `{{ }}` for values, which lie under `cookiecutter`.
    cookiecutter_compat: Option<bool>,
    /// Whether to replace a file that is in the workspace already. By default it stays.
    replace: Option<bool>,
    /// Whether to drop the line break after a block tag.
    trim_blocks: Option<bool>,
    /// Whether to drop blanks before a block tag that starts its line.
    lstrip_blocks: Option<bool>,
    /// The token to read with, instead of the integration's.
    token: Option<Secret>,
}

#[async_trait]
impl Action for FetchTemplateFile {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "fetch:template:file"
    }
    fn description(&self) -> &'static str {
        "Fetches one file, renders its content, and puts it into the workspace."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![example(
            "Render a configuration file of another repository",
            "steps:
  - id: config
    name: Render the configuration
    action: fetch:template:file
    input:
      url: https://github.com/acme/standards/blob/main/renovate.json
      targetPath: renovate.json
      values:
        team: ${{ parameters.owner }}
",
        )]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        let target = &input.target_path;
        let output = ctx.workspace.display(&ctx.workspace.resolve(target)?);
        if !input.replace.unwrap_or_default() && ctx.workspace.exists(target)? {
            ctx.log.info(format!("File {target} already exists in workspace, not replacing."));
            return Ok(NoOutput {});
        }
        ctx.log.info("Fetching template file content from remote URL");
        let file = fetch::fetch_file(ctx, &self.scm, &input.url, input.token.as_ref()).await?;
        let message = "Processing template file with input values";
        ctx.log.info(fields::with_fields(message, input.values.as_ref().unwrap_or(&Map::new())));
        let syntax = Syntax {
            cookiecutter: input.cookiecutter_compat.unwrap_or_default(),
            trim_blocks: input.trim_blocks.unwrap_or_default(),
            lstrip_blocks: input.lstrip_blocks.unwrap_or_default(),
        };
        let engine = self.templating.files(syntax).clone();
        let context = fetch_template::context(syntax, input.values)?;
        let (inner, target, url) = (ctx.clone(), target.clone(), input.url);
        blocking(move || {
            let source = String::from_utf8_lossy(&file.content);
            let text = skeleton::render_file(&inner, &engine, &context, &url, &source)?;
            Ok(inner.workspace.write(&target, text.as_bytes(), 0o666)?)
        })
        .await?;
        ctx.log.info(format!("Template file has been written to {output}"));
        Ok(NoOutput {})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn renders_one_file() {
        let mut bench = Bench::new();
        let dir = bench.beside("template");
        bench.base_url = Some(format!("file://{dir}/template.yaml"));
        std::fs::write(dir.join("a.tpl"), "Hi ${{ values.name }}\n").unwrap();
        let input = json!({"url": "a.tpl", "targetPath": "${{ x }}/a.txt", "values": {"name": "you"}});
        bench.run("fetch:template:file", input.clone()).await.unwrap();
        assert_eq!(bench.read("${{ x }}/a.txt"), "Hi you\n");
        bench.run("fetch:template:file", input).await.unwrap();
        let root = bench.root();
        assert_eq!(
            bench.log(),
            [
                "info: Fetching template file content from remote URL".to_string(),
                "info: Processing template file with input values {\"name\":\"you\"}".to_string(),
                format!("info: Template file has been written to {root}/${{{{ x }}}}/a.txt"),
                "info: File ${{ x }}/a.txt already exists in workspace, not replacing.".to_string(),
            ]
        );
        std::fs::write(dir.join("a.tpl"), "${{ }}").unwrap();
        let error = bench.run("fetch:template:file", json!({"url": "a.tpl", "targetPath": "b"})).await.unwrap_err();
        assert!(error.to_string().starts_with("TemplateRenderError: Template error at line 1"), "{error}");
        let last = bench.log().pop().unwrap();
        assert!(last.starts_with("error: a.tpl:1:") && last.ends_with("\n 1 | ${{ }}\n   |     ^"), "{last}");
        let input = json!({"url": "a.tpl", "targetPath": "../b"});
        assert!(bench.run("fetch:template:file", input).await.is_err());
    }
}
