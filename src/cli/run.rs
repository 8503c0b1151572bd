//! `understudy run`: a template executed here, without a service.

use std::{io::Write, path::Path, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde_json::{Map, Value};

use super::{
    Failure,
    source::{self, Origin, Source},
    values,
    view::{self, View},
};
use crate::{
    api::form,
    app::Parts,
    model::UserSpec,
    tasks::{
        local::{LocalRun, run_local},
        runner::{StopReason, StopSignal},
        spec::build_task_spec,
    },
    yaml,
};

/// The exit code of a run that was interrupted twice: that of a process ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// What is to be run, and with what.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The template: a file, a directory with a template.yaml, or a URL of an integration
    template: String,
    /// A YAML or JSON file with values of the form
    #[arg(long, value_name = "FILE")]
    values: Option<Utf8PathBuf>,
    /// A value of the form, read by the parameter's declared type; members as a.b=value, lists and objects as JSON
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A secret; without =VALUE it is taken from the environment variable of that name
    #[arg(long = "secret", value_name = "NAME[=VALUE]")]
    secrets: Vec<String>,
    /// Only pretend: actions without support for dry runs are skipped
    #[arg(long)]
    dry_run: bool,
    /// Where the workspace is left; files there are replaced, others kept [default: a new temporary directory]
    #[arg(long, value_name = "DIR")]
    out: Option<Utf8PathBuf>,
}

/// Runs the template; prints its output as JSON on standard output.
///
/// # Errors
/// [`Failure::Input`] before anything is run, [`Failure::Task`] when a step fails.
pub(super) async fn run(parts: &Parts, args: RunArgs) -> Result<(), Failure> {
    let source = source::read(parts.scm(), &args.template).await?;
    let (template, template_file) = template_of(&source)?;
    let values = form_values(&template, &args)?;
    let secrets = secrets(&args.secrets)?;
    let mut violations = form::violations(&template, &values).map_err(Failure::Input)?;
    violations.extend(form::secret_violations(&template, &secrets).map_err(Failure::Input)?);
    if !violations.is_empty() {
        let texts: Vec<_> =
            violations.iter().map(|violation| format!("{}: {}", source.shown, violation.stack)).collect();
        return Err(Failure::Input(texts.join("\n")));
    }
    let steps = build_task_spec(&template, Map::new(), UserSpec::default())
        .map_err(|error| Failure::Input(format!("{}: {error}", source.shown)))?
        .steps;

    let place = Place::prepare(args.out.as_deref())?;
    let view = Arc::new(View::new(view::steps(&steps)));
    let stop = Arc::new(StopSignal::default());
    let interrupted = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.stop(StopReason::Cancelled);
            }
            // An action that doesn't listen must not hold the terminal for ever.
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED);
            }
        }
    });
    let result = run_local(
        &parts.runner(),
        LocalRun {
            template,
            template_file,
            values,
            secrets: secrets.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?))).collect(),
            user: UserSpec::default(),
            workspace: place.workspace.clone(),
            stop,
            dry_run: args.dry_run,
        },
        {
            let view = Arc::clone(&view);
            move |event| view.show(event)
        },
    )
    .await;
    interrupted.abort();
    view.finish();
    // The files are worth a look after a failure too.
    let kept = place.keep();
    let output = result.map_err(|error| Failure::Task(error.message().to_string()));
    if let Err(Failure::Task(_)) = &output
        && let Ok(path) = &kept
    {
        eprintln!("The files made until then are in {path}");
    }
    let output = output?;
    let path = kept?;
    let text = serde_json::to_string_pretty(&output).map_err(|error| Failure::Task(error.to_string()))?;
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::Task(format!("standard output: {error}")))?;
    eprintln!("The result is in {path}");
    Ok(())
}

/// The first template of the text, with the place it came from.
fn template_of(source: &Source) -> Result<(Value, Option<Utf8PathBuf>), Failure> {
    let documents =
        yaml::parse_documents(&source.text).map_err(|error| Failure::Input(error.in_file(&source.shown)))?;
    let mut template = documents
        .into_iter()
        .map(|document| document.value)
        .find(|entity| entity["kind"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("template")))
        .ok_or_else(|| Failure::Input(format!("{}: no document of kind Template", source.shown)))?;
    form::check_version(&template).map_err(|reason| Failure::Input(format!("{}: {reason}", source.shown)))?;
    match &source.origin {
        Origin::File(path) => Ok((template, Some(path.clone()))),
        Origin::Url(url) => {
            let location = Value::String(format!("url:{url}"));
            let metadata = member_object(template.as_object_mut(), "metadata");
            if let Some(annotations) = member_object(metadata, "annotations") {
                annotations.insert("backstage.io/managed-by-location".into(), location);
            }
            Ok((template, None))
        }
    }
}

/// The object at a member, which takes the place of anything else there.
fn member_object<'v>(parent: Option<&'v mut Map<String, Value>>, name: &str) -> Option<&'v mut Map<String, Value>> {
    let member = parent?.entry(name).or_insert(Value::Null);
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    member.as_object_mut()
}

fn form_values(template: &Value, args: &RunArgs) -> Result<Map<String, Value>, Failure> {
    let mut values = match &args.values {
        None => Map::new(),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| Failure::Input(format!("{file}: {error}")))?;
            match yaml::parse_yaml(&text).map_err(|error| Failure::Input(error.in_file(file.as_str())))? {
                Value::Object(values) => values,
                Value::Null => Map::new(),
                _ => return Err(Failure::Input(format!("{file}: expected an object of values by name"))),
            }
        }
    };
    let pages = form::pages(template);
    for assignment in &args.set {
        values::set(&pages, &mut values, assignment).map_err(Failure::Input)?;
    }
    for page in pages {
        values::fill_defaults(page, &mut values);
    }
    Ok(values)
}

fn secrets(arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut secrets = Map::new();
    for argument in arguments {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, value.to_string()),
            None => {
                let value = std::env::var(argument).map_err(|_| {
                    Failure::Input(format!("--secret {argument}: there is no environment variable of that name"))
                })?;
                (argument.as_str(), value)
            }
        };
        secrets.insert(name.to_string(), Value::String(value));
    }
    Ok(secrets)
}

/// Where the run works, and where its result goes. Both are on one file system, so that moving is renaming.
struct Place {
    directory: tempfile::TempDir,
    workspace: Utf8PathBuf,
    out: Option<Utf8PathBuf>,
}

impl Place {
    fn prepare(out: Option<&Utf8Path>) -> Result<Self, Failure> {
        let fail =
            |path: &dyn std::fmt::Display, error: &dyn std::fmt::Display| Failure::Input(format!("{path}: {error}"));
        let parent = match out {
            None => None,
            Some(out) => {
                let parent = out.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
                std::fs::create_dir_all(parent).map_err(|error| fail(&parent, &error))?;
                if out.exists() && !out.is_dir() {
                    return Err(fail(&out, &"exists and is no directory; give --out another place"));
                }
                Some(parent)
            }
        };
        let mut builder = tempfile::Builder::new();
        let directory = match parent {
            Some(parent) => builder.prefix(".understudy-run-").tempdir_in(parent),
            None => builder.prefix("understudy-run-").tempdir(),
        }
        .map_err(|error| fail(&parent.unwrap_or(Utf8Path::new("the temporary directory")), &error))?;
        let path = Utf8Path::from_path(directory.path())
            .ok_or_else(|| fail(&directory.path().display(), &"the path is not UTF-8; give --out another place"))?
            .canonicalize_utf8()
            .map_err(|error| fail(&directory.path().display(), &error))?;
        Ok(Self { workspace: path.join("workspace"), directory, out: out.map(Utf8Path::to_path_buf) })
    }

    /// Puts the workspace where it was wanted.
    fn keep(self) -> Result<Utf8PathBuf, Failure> {
        let Some(out) = self.out else {
            // From here on nobody removes it.
            let _ = self.directory.keep();
            return Ok(self.workspace);
        };
        if self.workspace.exists() {
            merge(self.workspace.as_std_path(), out.as_std_path())
                .map_err(|error| Failure::Task(format!("the result can't be moved to {out}: {error}")))?;
        }
        Ok(out)
    }
}

/// Moves what `from` holds into `to`. Directories are merged; anything else in the way is removed, links unfollowed.
fn merge(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(to) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            std::fs::remove_file(to)?;
            return std::fs::rename(from, to);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return std::fs::rename(from, to),
        Err(error) => return Err(error),
    }
    if !std::fs::symlink_metadata(from)?.is_dir() {
        std::fs::remove_dir_all(to)?;
        return std::fs::rename(from, to);
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        merge(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn metadata_of_any_kind_is_no_panic() {
        for metadata in ["text", "[]", "1", "{annotations: text}", "~"] {
            for origin in [Origin::Url("https://h/t.yaml".into()), Origin::File("/t.yaml".into())] {
                let text =
                    format!("apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata: {metadata}\n");
                let (template, _) = template_of(&Source { shown: "t.yaml".into(), text, origin }).unwrap();
                assert_eq!(template["kind"], "Template");
            }
        }
    }

    #[test]
    fn results_are_merged_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, elsewhere) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("elsewhere"));
        for path in [from.join("a/b"), from.join("link"), to.join("a"), elsewhere.clone()] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(from.join("a/b/new"), "1").unwrap();
        fs::write(from.join("link/file"), "2").unwrap();
        fs::write(to.join("a/kept"), "3").unwrap();
        std::os::unix::fs::symlink(&elsewhere, to.join("link")).unwrap();
        merge(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/new")).unwrap(), "1");
        assert_eq!(fs::read_to_string(to.join("a/kept")).unwrap(), "3");
        assert_eq!(fs::read_to_string(to.join("link/file")).unwrap(), "2");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
