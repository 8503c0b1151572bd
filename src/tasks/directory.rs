//! The directories of one run: the workspace and, beside it, one for each step's temporary files.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;
use understudy_sdk::{ActionError, Workspace};

/// Where one run keeps its files: `<working directory>/<name>`.
#[derive(Debug, Clone)]
pub(super) struct RunDirectory {
    path: Utf8PathBuf,
}

impl RunDirectory {
    /// The directory of a run below the working directory. `name` is an id made by the service, never a user's text.
    pub(super) fn new(working_directory: &Utf8Path, name: &str) -> Self {
        Self { path: working_directory.join(name) }
    }
    /// All directories below a working directory that are named like tasks, with the ids. Blocks; what can't be read is left
    /// out.
    pub(super) fn all(working_directory: &Utf8Path) -> Vec<(String, Self)> {
        let Ok(entries) = working_directory.read_dir_utf8() else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| uuid::Uuid::try_parse(entry.file_name()).is_ok())
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| (entry.file_name().to_string(), Self::at(entry.path().to_owned())))
            .collect()
    }
    /// A directory somebody chose.
    pub(super) fn at(path: Utf8PathBuf) -> Self {
        Self { path }
    }
    /// The path.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }
    /// Whether an earlier run left it.
    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }
    /// Opens the workspace, created where missing.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn open(&self) -> Result<Workspace, ActionError> {
        Ok(Workspace::create(&self.path)?)
    }
    /// A new directory for a step's temporary files, beside the workspace; removed when dropped.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn step_temp(&self, step_id: &str) -> Result<StepTemp, ActionError> {
        let parent = self.path.parent().unwrap_or(Utf8Path::new("/"));
        let step: String =
            step_id.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let dir = tempfile::Builder::new()
            .prefix(&format!("{}{step}-", self.temp_prefix()))
            .tempdir_in(parent)
            .map_err(|error| ActionError::failed(format!("no temporary directory can be made in {parent}: {error}")))?;
        let path = Utf8PathBuf::from_path_buf(dir.path().to_path_buf()).map_err(|path| {
            ActionError::failed(format!(
                "the path {} is not valid UTF-8; choose another working directory",
                path.display()
            ))
        })?;
        Ok(StepTemp { dir, path })
    }
    fn temp_prefix(&self) -> String {
        format!("{}_step-", self.path.file_name().unwrap_or("run"))
    }
    /// Removes the workspace. Blocks.
    ///
    /// # Errors
    /// As the file system says; nothing there is no error.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_dir(&self.path)
    }
    /// Removes temporary directories that a killed process left. Blocks.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        let Some(parent) = self.path.parent() else { return Ok(()) };
        let prefix = self.temp_prefix();
        let entries = match std::fs::read_dir(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                remove_dir(Utf8Path::from_path(&entry.path()).unwrap_or(Utf8Path::new("")))?;
            }
        }
        Ok(())
    }
}

/// A step's directory for temporary files; removed when dropped.
#[derive(Debug)]
pub(super) struct StepTemp {
    dir: TempDir,
    path: Utf8PathBuf,
}

impl StepTemp {
    /// The path.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }
    /// Removes it now; failures are only logged, because the step's work is done.
    pub(super) async fn remove(self) {
        let path = self.path;
        let dir = self.dir;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || dir.close()).await {
            tracing::warn!(%path, %error, "a temporary directory could not be removed");
        }
    }
}

fn remove_dir(path: &Utf8Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_this_run_are_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        let mine = RunDirectory::new(root, "aaa");
        let other = RunDirectory::new(root, "bbb");
        mine.open().unwrap().write("x/y", b"1", 0o644).unwrap();
        other.open().unwrap();
        let kept = other.step_temp("s").unwrap();
        let lost = mine.step_temp("../../evil id").unwrap();
        assert_eq!(lost.path().parent(), Some(root));
        std::mem::forget(lost);
        mine.remove().unwrap();
        mine.remove_leftovers().unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["bbb", kept.path().file_name().unwrap()]);
        mine.remove().unwrap();
    }
}
