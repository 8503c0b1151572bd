//! A case: a GitHub double, a workspace, one step.

use std::fs;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use understudy_testbed::github::{DEFAULT_TOKEN, GithubDouble, GithubOptions};

use crate::driver::{Job, Outcome};

pub(crate) struct Case {
    pub(crate) github: GithubDouble,
    pub(crate) job: Job,
    pub(crate) dir: TempDir,
    /// Requests that break GitHub's description on purpose.
    pub(crate) violations_expected: bool,
}

impl Case {
    /// `input` is completed with the `repoUrl` of `owner/shop`.
    pub(crate) async fn new(owner: &str, input: Value) -> Self {
        Self::with(GithubOptions::default(), owner, input).await
    }
    pub(crate) async fn with(options: GithubOptions, owner: &str, mut input: Value) -> Self {
        let github = GithubDouble::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("workspace");
        for (path, text) in [
            ("README.md", "# Shop\n"),
            ("bin/start", "#!/bin/sh\n"),
            (".gitignore", "*.log\n"),
            ("debug.log", "not for git\n"),
            (".github/workflows/ci.yaml", "on: push # ${{ github.sha }}\n"),
        ] {
            let path = workspace.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(workspace.join("bin/start"), executable).unwrap();
        if let Some(members) = input.as_object_mut() {
            members.entry("repoUrl").or_insert_with(|| github.repo_url(owner, "shop").into());
        }
        let config = json!({"integrations": {"github": [
            {"host": github.host(), "apiBaseUrl": github.api_url(), "token": github.token()},
        ]}});
        let job = Job {
            config,
            action: "publish:github".into(),
            input,
            dry_run: false,
            entities: Value::Null,
            default_commit_message: None,
            cancel_after: None,
            concurrency: 1,
            dir: dir.path().to_owned(),
        };
        Self { github, job, dir, violations_expected: false }
    }
    /// Runs the step in a process of its own. No token may show anywhere, no request may break GitHub's description.
    pub(crate) async fn run(&self) -> Outcome {
        let outcome = self.job.run(self.github.ca_file()).await;
        let texts = format!("{outcome:?} {:?} {:?}", self.job.log(), self.job.checkpoints());
        assert!(!texts.contains(DEFAULT_TOKEN), "{texts}");
        let violations = self.github.take_violations();
        assert!(self.violations_expected || violations.is_empty(), "{violations:#?}");
        outcome
    }
    pub(crate) async fn succeed(&self) -> Map<String, Value> {
        self.run().await.result.unwrap_or_else(|error| panic!("{error}\n{}", self.job.log().join("\n")))
    }
    pub(crate) async fn fail(&self) -> String {
        self.run().await.result.unwrap_err()
    }
    /// `METHOD /path` of all API requests so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        let requests = self.github.requests();
        requests.iter().filter(|request| !is_git(&request.path)).map(|request| request.line()).collect()
    }
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.job.log().into_iter().filter_map(|line| line.strip_prefix("Warn ").map(str::to_string)).collect()
    }
}

pub(crate) fn is_git(path: &str) -> bool {
    path.contains(".git/")
}
