//! `fetch:plain`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use understudy_scm::Scm;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput, Secret};

use crate::{fetch, support::example};

/// Fetches a directory as it is.
#[derive(Debug)]
pub(crate) struct FetchPlain {
    scm: Scm,
}

impl FetchPlain {
    pub(crate) fn new(scm: Scm) -> Self {
        Self { scm }
    }
}

/// Input of [`FetchPlain`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The directory to fetch: a URL, or a path relative to the template.
    url: String,
    /// Where to put it in the workspace; its root by default.
    target_path: Option<String>,
    /// The token to read with, instead of the integration's.
    token: Option<Secret>,
}

#[async_trait]
impl Action for FetchPlain {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "fetch:plain"
    }
    fn description(&self) -> &'static str {
        "Fetches a directory and puts it into the workspace as it is."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Fetch a directory that lies beside the template",
                "steps:
  - id: fetch
    name: Fetch the sources
    action: fetch:plain
    input:
      url: ./content
",
            ),
            example(
                "Fetch a directory of another repository into a subdirectory",
                "steps:
  - id: charts
    name: Fetch the shared charts
    action: fetch:plain
    input:
      url: https://github.com/acme/charts/tree/main/base
      targetPath: deploy/charts
",
            ),
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        ctx.log.info("Fetching plain content from remote URL");
        let target = input.target_path.as_deref().unwrap_or("./");
        ctx.workspace.resolve(target)?;
        fetch::fetch_tree(ctx, &self.scm, &input.url, input.token.as_ref(), target).await?;
        Ok(NoOutput {})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::json;

    use crate::testing::Bench;

    fn bench_with_template() -> (Bench, camino::Utf8PathBuf) {
        let mut bench = Bench::new();
        let dir = bench.beside("template");
        bench.base_url = Some(format!("file://{dir}/template.yaml"));
        std::fs::create_dir_all(dir.join("skel/sub/empty")).unwrap();
        std::fs::write(dir.join("skel/run.sh"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(dir.join("skel/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.join("skel/sub/${{ values.x }}"), "${{ values.x }}").unwrap();
        (bench, dir)
    }

    #[tokio::test]
    async fn copies_a_tree_as_it_is() {
        let (bench, dir) = bench_with_template();
        symlink("run.sh", dir.join("skel/link")).unwrap();
        symlink("nowhere", dir.join("skel/dangling")).unwrap();
        bench.file("out/run.sh", "old");
        bench.run("fetch:plain", json!({"url": "./skel", "targetPath": "out"})).await.unwrap();
        assert_eq!(bench.log(), ["info: Fetching plain content from remote URL"]);
        assert_eq!(bench.read("out/run.sh"), "#!/bin/sh\n");
        assert_eq!(bench.read("out/sub/${{ values.x }}"), "${{ values.x }}");
        assert!(bench.exists("out/sub/empty") && bench.exists("out/dangling"));
        let mode = std::fs::metadata(bench.root().join("out/run.sh")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(std::fs::read_link(bench.root().join("out/link")).unwrap().to_str(), Some("run.sh"));
        // Once more over what is there.
        bench.run("fetch:plain", json!({"url": "skel", "targetPath": "./out/"})).await.unwrap();
        bench.run("fetch:plain", json!({"url": "skel/run.sh", "targetPath": "one.sh"})).await.unwrap();
        assert_eq!(bench.read("one.sh"), "#!/bin/sh\n");
    }

    #[tokio::test]
    async fn says_what_is_missing_or_leads_outside() {
        let (bench, dir) = bench_with_template();
        let outside = "NotAllowedError: Relative path is not allowed to refer to a directory outside its parent";
        let cases = [
            (
                json!({"url": "./does-not-exist"}),
                format!("Error: ENOENT: no such file or directory, lstat '{dir}/does-not-exist'"),
            ),
            (json!({"url": "../workspace"}), outside.to_string()),
            (json!({"url": "/etc"}), outside.to_string()),
            (json!({"url": "./skel", "targetPath": "../out"}), outside.to_string()),
            (
                json!({"url": "skel/run.sh"}),
                format!("Error: Cannot overwrite directory '{}' with non-directory '{dir}/skel/run.sh'.", bench.root()),
            ),
        ];
        for (input, expected) in cases {
            assert_eq!(bench.run("fetch:plain", input).await.unwrap_err().to_string(), expected);
        }
        for target in ["/etc/passwd", "../../workspace"] {
            symlink(target, dir.join("skel/sub/bad")).unwrap();
            let error = bench.run("fetch:plain", json!({"url": "./skel"})).await.unwrap_err();
            assert!(error.message().contains(&format!("the link {dir}/skel/sub/bad leads to {target}")), "{error}");
            std::fs::remove_file(dir.join("skel/sub/bad")).unwrap();
        }
        symlink("/etc", dir.join("etc")).unwrap();
        assert_eq!(bench.run("fetch:plain", json!({"url": "./etc"})).await.unwrap_err().to_string(), outside);
    }
}
