//! Rendering a skeleton: names and contents of a tree of templates, written to the workspace
//! (`fetch:template`, `templateActionHandler` of `@backstage/plugin-scaffolder-backend` 4.2.0).
//!
//! Entries are planned one after the other (names, skips, directories) and their files written by several threads, a
//! window of entries at a time: the log keeps the order of entries, and no more files are in memory than threads run.

use std::{
    collections::HashSet,
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use understudy_sdk::{
    ActionContext, ActionError, ErrorName, Workspace,
    workspace::{Entry, EntryKind},
};
use understudy_templating::{Context, Engine};

use crate::{
    binary,
    fetch::{checked_link, clear, copy_file, special},
    globs::Globs,
};

/// How many entries are planned before their files are written.
const WINDOW: usize = 512;
/// Rendering recurses with the nesting of templates.
const STACK: usize = 8 << 20;

/// How a skeleton is rendered.
pub(crate) struct Rendering {
    pub(crate) engine: Engine,
    pub(crate) context: Context,
    /// Whose contents are copied as they are.
    pub(crate) copy_only: Vec<String>,
    /// With an extension, only files that have it are rendered, and lose it.
    pub(crate) extension: Option<String>,
    /// Whether to replace what exists in the workspace already.
    pub(crate) replace: bool,
}

/// What [`render`] does with one file.
struct Job<'a> {
    entry: &'a Entry,
    target: String,
    render: bool,
    /// A line for the log before the file's own.
    note: Option<String>,
}

enum Step<'a> {
    Line(String),
    File(Job<'a>),
}

/// Renders the entries of `source` into `out`.
///
/// # Errors
/// A template that doesn't render, a name that leads out, a link that does, or as the file system says.
pub(crate) fn render(
    ctx: &ActionContext,
    source: &Workspace,
    entries: &[Entry],
    out: &Workspace,
    rendering: &Rendering,
) -> Result<(), ActionError> {
    let is_dir = |path: &str| source.target_entry(path).is_ok_and(|entry| entry.kind == EntryKind::Dir);
    let copy_only = Globs::new(&rendering.copy_only, is_dir)?;
    let mut steps = Vec::new();
    let mut planned = HashSet::new();
    for entry in entries {
        ctx.check_cancelled()?;
        let plan = match plan(entry, out, rendering, &copy_only, &planned) {
            Ok(plan) => plan,
            Err(error) => {
                run(ctx, source, out, rendering, std::mem::take(&mut steps))?;
                return Err(report(ctx, entry, error));
            }
        };
        match plan {
            Plan::Skip => {}
            Plan::Directory(lines) => steps.extend(lines.into_iter().map(Step::Line)),
            Plan::File(job) => {
                // Two entries with one target have to come one after the other.
                if !planned.insert(job.target.clone()) {
                    run(ctx, source, out, rendering, std::mem::take(&mut steps))?;
                }
                steps.push(Step::File(job));
            }
        }
        if steps.len() >= WINDOW {
            run(ctx, source, out, rendering, std::mem::take(&mut steps))?;
            planned.clear();
        }
    }
    run(ctx, source, out, rendering, steps)
}

enum Plan<'a> {
    Skip,
    Directory(Vec<String>),
    File(Job<'a>),
}

/// The entry's name as the log shows it: directories end in a slash.
fn location(entry: &Entry) -> String {
    if entry.kind == EntryKind::Dir { format!("{}/", entry.path) } else { entry.path.to_string() }
}

enum Failure {
    Template(understudy_templating::Error),
    Other(ActionError),
}

impl<E: Into<ActionError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

fn plan<'a>(
    entry: &'a Entry,
    out: &Workspace,
    rendering: &Rendering,
    copy_only: &Globs,
    planned: &HashSet<String>,
) -> Result<Plan<'a>, Failure> {
    let is_dir = entry.kind == EntryKind::Dir;
    let location = location(entry);
    let mut name = location.as_str();
    let render = match &rendering.extension {
        Some(extension) => {
            let has_it = !is_dir && extension_of(&entry.path) == extension.as_str();
            if has_it {
                name = &name[..name.len() - extension.len()];
            }
            has_it
        }
        None => !copy_only.matches(entry.path.as_str(), is_dir),
    };
    let name = render_text(rendering, name).map_err(Failure::Template)?;
    if name.is_empty() || name.starts_with('/') || name.contains("//") {
        return Ok(Plan::Skip);
    }
    let target = out.resolve(&name)?.into_string();
    if !rendering.replace && (planned.contains(&target) || out.exists(&target)?) {
        return Ok(Plan::Skip);
    }
    let note = (!render && rendering.extension.is_none())
        .then(|| format!("Copying file/directory {location} without processing."));
    if is_dir {
        out.create_dir_all(&target)?;
        let line = format!("Writing directory {location} to template output path.");
        return Ok(Plan::Directory(note.into_iter().chain([line]).collect()));
    }
    Ok(Plan::File(Job { entry, target, render, note }))
}

/// Node's `path.extname`: from the last dot of the name, unless that is its first character.
fn extension_of(path: &camino::Utf8Path) -> &str {
    let name = path.file_name().unwrap_or_default();
    match name.rfind('.') {
        Some(at) if at > 0 && name != ".." => &name[at..],
        _ => "",
    }
}

fn render_text(rendering: &Rendering, source: &str) -> Result<String, understudy_templating::Error> {
    // Text without a tag stays as it is, and most names and many files have none.
    if !["{{", "{%", "{#", "#}"].iter().any(|tag| source.contains(tag)) {
        return Ok(source.to_string());
    }
    rendering.engine.parse(source)?.render(&rendering.context)
}

/// The step's error; where in which file goes into the log, since upstream's message names no file.
fn report(ctx: &ActionContext, entry: &Entry, failure: Failure) -> ActionError {
    match failure {
        Failure::Other(error) => error,
        Failure::Template(error) => {
            let mut place = entry.path.to_string();
            for part in [error.line(), error.column()].into_iter().flatten() {
                place.push_str(&format!(":{part}"));
            }
            let line = error.source_line().map(|line| format!("\n  {}", line.trim())).unwrap_or_default();
            ctx.log.error(format!("{place}: {}{line}", error.message()));
            template_error(&error)
        }
    }
}

/// Renders a text on a thread of its own, as deep as templates may nest.
pub(crate) fn render_on_own_stack(engine: &Engine, context: &Context, source: &str) -> Result<String, ActionError> {
    let work = || engine.render_str(source, context).map_err(|error| template_error(&error));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("render".into()).stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(ActionError::failed("rendering the template broke off; please report it")))
    })
}

/// A template's failure with the class name and message upstream gives it.
pub(crate) fn template_error(error: &understudy_templating::Error) -> ActionError {
    ActionError::new(ErrorName::Other(error.name().to_string()), error.to_string())
}

type Outcome = (Vec<String>, Result<(), Failure>);

/// Writes the files of a window and logs what happened, in the order of entries, up to the first failure.
fn run(
    ctx: &ActionContext,
    source: &Workspace,
    out: &Workspace,
    rendering: &Rendering,
    steps: Vec<Step<'_>>,
) -> Result<(), ActionError> {
    let jobs: Vec<&Job<'_>> = steps
        .iter()
        .filter_map(|step| match step {
            Step::File(job) => Some(job),
            Step::Line(_) => None,
        })
        .collect();
    let outcomes: Vec<Mutex<Option<Outcome>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { break };
            let mut lines = Vec::new();
            let result = ctx
                .check_cancelled()
                .map_err(Failure::Other)
                .and_then(|()| write(job, source, out, rendering, &mut lines));
            if result.is_err() {
                next.store(jobs.len(), Ordering::Relaxed);
            }
            *outcomes[index].lock().unwrap_or_else(PoisonError::into_inner) = Some((lines, result));
        }
    };
    if !jobs.is_empty() {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
        thread::scope(|scope| -> std::io::Result<()> {
            for _ in 0..threads {
                thread::Builder::new().name("render".into()).stack_size(STACK).spawn_scoped(scope, work)?;
            }
            Ok(())
        })?;
    }
    let mut outcomes = outcomes.into_iter();
    for step in &steps {
        match step {
            Step::Line(line) => ctx.log.info(line),
            Step::File(job) => {
                let outcome =
                    outcomes.next().and_then(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
                // Files are taken in order, so only those behind a failed one have no outcome, and it ends this loop.
                let Some((lines, result)) = outcome else { continue };
                lines.iter().for_each(|line| ctx.log.info(line));
                result.map_err(|failure| report(ctx, job.entry, failure))?;
            }
        }
    }
    Ok(())
}

fn write(
    job: &Job<'_>,
    source: &Workspace,
    out: &Workspace,
    rendering: &Rendering,
    lines: &mut Vec<String>,
) -> Result<(), Failure> {
    let (entry, target) = (job.entry, job.target.as_str());
    let path = entry.path.as_str();
    lines.extend(job.note.clone());
    let copying = || format!("Copying file binary or symbolic link at {path}, to template output path.");
    match entry.kind {
        EntryKind::Symlink => {
            let link = checked_link(source, &entry.path)?;
            lines.push(copying());
            clear(out, target)?;
            out.symlink(link.as_str(), target)?;
            return Ok(());
        }
        EntryKind::File => {}
        EntryKind::Dir | EntryKind::Other => return Err(special(source, &entry.path).into()),
    }
    let mut file = source.open_file(path)?;
    let mut content = Vec::new();
    file.by_ref().take(binary::SAMPLE as u64).read_to_end(&mut content)?;
    if binary::is_binary(&content) {
        lines.push(copying());
        return Ok(copy_file(source, entry, out, target)?);
    }
    lines.push(format!("Writing file {path} to template output path with mode {}.", entry.mode));
    let mode = entry.mode & 0o777;
    if !job.render {
        out.write_from(target, &mut content.as_slice().chain(file), mode)?;
        return Ok(());
    }
    file.read_to_end(&mut content)?;
    let text = match String::from_utf8(content) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let text = render_text(rendering, &text).map_err(Failure::Template)?;
    out.write(target, text.as_bytes(), mode)?;
    Ok(())
}
