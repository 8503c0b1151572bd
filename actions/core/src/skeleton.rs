//! Rendering a skeleton: names and contents of a tree of templates, written to the workspace
//! (`fetch:template`, `templateActionHandler` of `@backstage/plugin-scaffolder-backend` 4.2.0).
//!
//! Reading and rendering have no effects and are done by several threads; the [`pipeline`] has everything that can be
//! seen happen in the order of entries, so that the result, the log and the error are those of one thread.

use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use understudy_sdk::{
    ActionContext, ActionError, ErrorName, Workspace, WorkspaceError,
    workspace::{EntryKind, Listed},
};
use understudy_templating::{Context, Engine};

use crate::{
    binary,
    fetch::{checked_link, special},
    globs::Globs,
    pipeline::{self, STACK},
    tree::{self, Content, Current, MAX_READ, TreeWriter},
};

/// The largest file that is rendered, in bytes: more than the language's limit of a source can have.
const MAX_TEMPLATE: u64 = 64 << 20;

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

/// Renders the entries of `source`, as [`Workspace::list`] gives them, into `out`, with so many threads.
///
/// # Errors
/// Of the first entry that fails: a template that doesn't render, a name that leads out, a link that does, or as the file
/// system says. Entries before it have been written, none behind it has.
pub(crate) fn render(
    ctx: &ActionContext,
    source: &Workspace,
    entries: &[Listed],
    out: &Workspace,
    rendering: &Rendering,
    threads: usize,
) -> Result<(), ActionError> {
    let is_dir = |path: &str| source.target_entry(path).is_ok_and(|entry| entry.kind == EntryKind::Dir);
    let copy_only = Globs::new(&rendering.copy_only, is_dir)?;
    // In a directory that was empty there is nothing to keep but what earlier entries made of it.
    let keep = !rendering.replace && !out.read_dir("")?.is_empty();
    let reader = Reader { source, out, rendering, copy_only, keep };
    let mut writer = Writer { ctx, files: TreeWriter::new(out, rendering.replace) };
    pipeline::in_order(
        ctx,
        threads,
        entries,
        |current: &mut Current, entry| reader.prepare(current, entry),
        |entry, plan| writer.carry_out(entry, plan),
    )
}

/// What an entry is to become.
enum Plan {
    /// Nothing.
    Skip,
    /// The name itself is wrong.
    Failed(Failure),
    Target(Target),
}

struct Target {
    /// In the output directory.
    path: Utf8PathBuf,
    /// For the log: what was done, or about to be done when the work failed.
    lines: Vec<String>,
    work: Result<Work, Failure>,
}

enum Work {
    Directory,
    File(Content),
    Link(Utf8PathBuf),
}

impl pipeline::Prepared for Plan {
    fn weight(&self) -> usize {
        match self {
            Self::Target(Target { work: Ok(Work::File(file)), .. }) => file.bytes.capacity(),
            _ => 0,
        }
    }
}

enum Failure {
    Template(understudy_templating::Error),
    Workspace(WorkspaceError),
    Other(ActionError),
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        Self::Workspace(error)
    }
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        Self::Other(error)
    }
}

/// The part without effects.
struct Reader<'a> {
    source: &'a Workspace,
    out: &'a Workspace,
    rendering: &'a Rendering,
    copy_only: Globs,
    /// Whether the output directory may hold files that stay.
    keep: bool,
}

impl Reader<'_> {
    fn prepare(&self, current: &mut Current, entry: &Listed) -> Plan {
        let is_dir = entry.kind == EntryKind::Dir;
        // As the log shows it: directories end in a slash.
        let location = if is_dir { format!("{}/", entry.path) } else { entry.path.to_string() };
        let mut name = location.as_str();
        let render = match &self.rendering.extension {
            Some(extension) => {
                let has_it = !is_dir && extension_of(&entry.path) == extension.as_str();
                if has_it {
                    name = &name[..name.len() - extension.len()];
                }
                has_it
            }
            None => !self.copy_only.matches(entry.path.as_str(), is_dir),
        };
        let name = match render_text(self.rendering, name.to_string()) {
            Ok(name) => name,
            Err(error) => return Plan::Failed(Failure::Template(error)),
        };
        if name.is_empty() || name.starts_with('/') || name.contains("//") {
            return Plan::Skip;
        }
        let path = match self.out.resolve(&name) {
            Ok(path) => path,
            Err(error) => return Plan::Failed(error.into()),
        };
        // What is there now will still be there when it is this entry's turn.
        if self.keep && self.out.exists(path.as_str()).is_ok_and(|exists| exists) {
            return Plan::Skip;
        }
        let mut lines = Vec::new();
        if !render && self.rendering.extension.is_none() {
            lines.push(format!("Copying file/directory {location} without processing."));
        }
        let work = match entry.kind {
            EntryKind::Dir => {
                lines.push(format!("Writing directory {location} to template output path."));
                Ok(Work::Directory)
            }
            EntryKind::Symlink => checked_link(self.source, &entry.path).map_err(Failure::Other).map(|link| {
                lines.push(copying(&entry.path));
                Work::Link(link)
            }),
            EntryKind::File => self.file(current, &entry.path, render, &mut lines).map(Work::File),
            EntryKind::Other => Err(special(self.source, &entry.path).into()),
        };
        Plan::Target(Target { path, lines, work })
    }

    fn file(
        &self,
        current: &mut Current,
        path: &Utf8Path,
        render: bool,
        lines: &mut Vec<String>,
    ) -> Result<Content, Failure> {
        let (mut file, mut bytes) = tree::begin(current, self.source, path)?;
        let mode = file.mode() & 0o777;
        let binary = binary::is_binary(&bytes[..bytes.len().min(binary::SAMPLE)]);
        lines.push(if binary {
            copying(path)
        } else {
            format!("Writing file {path} to template output path with mode {}.", file.mode())
        });
        if binary || !render {
            let mode = if binary { mode | 0o600 } else { mode };
            return Ok(Content { rest: tree::rest(&bytes, file), bytes, mode, exact: binary });
        }
        if bytes.len() as u64 == MAX_READ {
            tree::read(&mut file, MAX_TEMPLATE, &mut bytes)
                .map_err(|error| tree::failed_read(self.source, path, error))?;
        }
        if bytes.len() as u64 > MAX_TEMPLATE {
            return Err(Failure::Other(ActionError::input(format!(
                "{path} has {} bytes; a file of more than {MAX_TEMPLATE} can't be rendered, list it under \
                 copyWithoutTemplating",
                file.size()
            ))));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let text = render_text(self.rendering, text).map_err(Failure::Template)?;
        Ok(Content { bytes: text.into_bytes(), rest: None, mode, exact: false })
    }
}

fn copying(path: &Utf8Path) -> String {
    format!("Copying file binary or symbolic link at {path}, to template output path.")
}

/// The part with effects, one entry after the other.
struct Writer<'a> {
    ctx: &'a ActionContext,
    files: TreeWriter<'a>,
}

impl Writer<'_> {
    fn carry_out(&mut self, entry: &Listed, plan: Plan) -> Result<(), ActionError> {
        let Target { path, lines, work } = match plan {
            Plan::Skip => return Ok(()),
            Plan::Failed(failure) => return Err(self.report(entry, failure)),
            Plan::Target(target) => target,
        };
        let log = || lines.iter().for_each(|line| self.ctx.log.info(line));
        let done = match work {
            Ok(Work::Directory) => self.files.dir(&path, 0o777),
            Ok(Work::File(content)) => self.files.file(&path, content),
            Ok(Work::Link(link)) => self.files.link(&path, &link),
            // What is left alone can't fail.
            Err(failure) => match self.files.stays(&path) {
                Ok(false) => {
                    log();
                    return Err(self.report(entry, failure));
                }
                other => other.map(|_| false),
            },
        };
        let said = match done {
            Ok(made) => made,
            // When it could not even be told whether something is there, nothing had been said yet.
            Err(_) => self.files.stays(&path).is_ok(),
        };
        if said {
            log();
        }
        Ok(done.map(drop)?)
    }

    /// The step's error; where in which file goes into the log, since upstream's message names no file.
    fn report(&self, entry: &Listed, failure: Failure) -> ActionError {
        match failure {
            Failure::Other(error) => error,
            Failure::Workspace(error) => error.into(),
            Failure::Template(error) => report(self.ctx, entry.path.as_str(), error),
        }
    }
}

/// A template file that could not be parsed or rendered: the cause that a step's error has then.
#[derive(Debug, thiserror::Error)]
#[error("{path}{}: {}", position(.source), .source.message())]
pub struct TemplateFileError {
    /// The file: its path in the skeleton, or the URL it was fetched from.
    pub path: String,
    /// What is wrong with it, and where.
    pub source: understudy_templating::Error,
}

fn position(error: &understudy_templating::Error) -> String {
    [error.line(), error.column()].into_iter().flatten().map(|part| format!(":{part}")).collect()
}

/// The step's error for a file. Which one it is goes into the log, since upstream's message does not tell.
pub(crate) fn report(ctx: &ActionContext, path: &str, error: understudy_templating::Error) -> ActionError {
    let failed = template_error(&error);
    ctx.log.error(error.report(path));
    let cause = TemplateFileError { path: path.to_string(), source: error };
    failed.with_source(cause)
}

/// Node's `path.extname`: from the last dot of the name, unless that is its first character.
pub(crate) fn extension_of(path: &Utf8Path) -> &str {
    let name = path.file_name().unwrap_or_default();
    match name.rfind('.') {
        Some(at) if at > 0 && name != ".." => &name[at..],
        _ => "",
    }
}

fn render_text(rendering: &Rendering, source: String) -> Result<String, understudy_templating::Error> {
    // Text without a tag stays as it is, and most names and many files have none.
    if !["{{", "{%", "{#", "#}"].iter().any(|tag| source.contains(tag)) {
        return Ok(source);
    }
    rendering.engine.parse(&source)?.render(&rendering.context)
}

/// Renders the text of one file on a thread of its own, as deep as templates may nest.
pub(crate) fn render_file(
    ctx: &ActionContext,
    engine: &Engine,
    context: &Context,
    path: &str,
    source: &str,
) -> Result<String, ActionError> {
    let work = || engine.render_str(source, context).map_err(|error| report(ctx, path, error));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("render".into()).stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(ActionError::failed("rendering the template broke off; please report it")))
    })
}

/// A template's failure with the class name and message upstream gives it.
pub(crate) fn template_error(error: &understudy_templating::Error) -> ActionError {
    ActionError::new(ErrorName::Other(error.name().to_string()), error.to_string())
}

#[cfg(test)]
mod tests;
