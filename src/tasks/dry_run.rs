//! Dry runs: a template is run without a store and without effects outside its workspace.

use std::{panic::AssertUnwindSafe, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::FutureExt;
use serde_json::{Value, json};
use understudy_actions_core::files::collect_files;
use understudy_sdk::{ActionError, Workspace, WorkspaceError};

use super::{
    DryRunRequest, DryRunResult, EngineSettings,
    directory::RunDirectory,
    local::{Collected, NoSlot, file_url, outcome},
    runner::{Job, Runner},
    spec::build_task_spec,
    state::TaskState,
    step::panic_text,
    worker::secrets,
};
use crate::model::TemplateInfoSpec;

/// The directories of a dry run.
#[derive(Clone)]
struct Directories {
    workspace: RunDirectory,
    contents: RunDirectory,
}

impl Directories {
    fn remove(&self) {
        for directory in [&self.workspace, &self.contents] {
            if let Err(error) = directory.remove() {
                tracing::warn!(path = %directory.path(), %error, "a dry run's directory could not be removed");
            }
        }
    }
}

pub(super) async fn run(
    runner: Arc<Runner>,
    settings: Arc<EngineSettings>,
    request: DryRunRequest,
) -> Result<DryRunResult, ActionError> {
    let id = uuid::Uuid::new_v4().to_string();
    let directory = |prefix: &str| RunDirectory::new(&settings.working_directory, &format!("{prefix}{id}"));
    let directories = Directories { workspace: directory("dry-run-"), contents: directory("dry-run-content-") };
    let result = AssertUnwindSafe(run_in(&directories, id, &runner, request)).catch_unwind().await;
    blocking(move || {
        directories.remove();
        Ok(())
    })
    .await?;
    result.unwrap_or_else(|panic| {
        tracing::error!(reason = panic_text(&*panic), "a dry run panicked");
        Err(ActionError::failed("the dry run stopped by a panic, which is a mistake in the service; its log says more"))
    })
}

async fn run_in(
    directories: &Directories,
    id: String,
    runner: &Runner,
    request: DryRunRequest,
) -> Result<DryRunResult, ActionError> {
    let uploaded = directories.contents.open()?;
    let files = request.directory_contents;
    blocking(move || {
        files
            .iter()
            .try_for_each(|(path, content)| uploaded.write(path, content, 0o666).map_err(|e| upload_error(path, e)))
    })
    .await?;
    let mut spec = build_task_spec(&request.template, request.values, request.user)
        .map_err(|error| ActionError::input(error.to_string()).with_source(error))?;
    spec.template_info = Some(TemplateInfoSpec {
        entity_ref: "template:default/dry-run".into(),
        base_url: Some(file_url(&directories.contents.path().join("template.yaml"))),
        entity: Some(json!({ "metadata": request.template.get("metadata").cloned().unwrap_or_default() })),
    });
    let sink = Arc::new(Collected::default());
    let job = Job {
        task_id: id.into(),
        spec,
        secrets: secrets(&request.secrets),
        initiator: request.initiator,
        directory: directories.workspace.clone(),
        restored: serde_json::Map::new(),
        notice: None,
        dry_run: true,
        // Upstream's dry run has a step of its own at the end that collects the files.
        hidden_steps: 1,
        sink: Arc::clone(&sink) as _,
        state: Arc::new(TaskState::in_memory()),
        resumable: false,
        slot: Arc::new(NoSlot),
        stop: Arc::default(),
    };
    let output = outcome(runner.run(&job).await, &job.stop)?;
    let result = directories.workspace.open()?;
    let directory_contents = blocking(move || collect(&result)).await?;
    Ok(DryRunResult {
        log: sink.take().iter().map(|event| json!({ "body": event.to_dry_run_body() })).collect(),
        directory_contents,
        output,
        steps: job.spec.steps.into_iter().map(Value::Object).collect(),
    })
}

/// What is wrong with the list of files itself is the caller's, the rest (a full disk) ours.
fn upload_error(path: &str, error: WorkspaceError) -> ActionError {
    use std::io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    match &error {
        WorkspaceError::Io { source, .. }
            if matches!(source.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory) =>
        {
            ActionError::input(format!(
                "directoryContents: {path:?} can't be a file beside the others: its name is too long, or it is a \
                 directory of another entry; leave one of them out"
            ))
        }
        _ => error.into(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> Result<T, ActionError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ActionError::failed(format!("reading or writing the files failed: {error}"))))
}

/// The files of a workspace: `[{path, executable, base64Content}]`.
fn collect(workspace: &Workspace) -> Result<Vec<Value>, ActionError> {
    let files = collect_files(workspace, false)?;
    Ok(files
        .into_iter()
        .map(|file| {
            json!({
                "path": file.path, "executable": file.executable, "base64Content": BASE64_STANDARD.encode(file.content),
            })
        })
        .collect())
}
