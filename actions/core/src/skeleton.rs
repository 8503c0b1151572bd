//! Rendering a skeleton: names and contents of a tree of templates, written to the workspace
//! (`fetch:template`, `templateActionHandler` of `@backstage/plugin-scaffolder-backend` 4.2.0).
//!
//! Reading and rendering have no effects and are done by several threads; the [`pipeline`] has everything that can be
//! seen happen in the order of entries, so that the result, the log and the error are those of one thread.

use std::{io::Read, thread};

use camino::{Utf8Path, Utf8PathBuf};
use understudy_sdk::{
    ActionContext, ActionError, ErrorName, Workspace, WorkspaceError,
    workspace::{EntryKind, Folder, Listed, OpenFile},
};
use understudy_templating::{Context, Engine};

use crate::{
    binary,
    fetch::{checked_link, clear, special},
    globs::Globs,
    pipeline::{self, STACK},
};

/// How much of a file that is copied is read ahead; the rest goes from file to file.
const MAX_READ: u64 = 256 << 10;
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
    let mut writer = Writer { ctx, out, replace: rendering.replace, current: None };
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

/// A file to be made.
struct Content {
    content: Vec<u8>,
    /// Of a long file, what comes after `content`.
    rest: Option<OpenFile>,
    mode: u32,
    /// Whether the file gets these permission bits whatever umask says.
    exact: bool,
}

impl pipeline::Prepared for Plan {
    fn weight(&self) -> usize {
        match self {
            Self::Target(Target { work: Ok(Work::File(file)), .. }) => file.content.capacity(),
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

/// The directory a thread works in, kept open from one entry to the next.
type Current = Option<(Utf8PathBuf, Folder)>;

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
        let (folder, name) = enter(current, self.source, path)?;
        let mut file = folder.open(name)?;
        let (size, mode) = (file.size(), file.mode() & 0o777);
        let mut content = Vec::with_capacity(size.min(MAX_READ) as usize + 1);
        let read = |file: &mut OpenFile, limit: u64, content: &mut Vec<u8>| {
            let read = file.by_ref().take(limit).read_to_end(content);
            read.map_err(|source| WorkspaceError::Io { call: "read", path: self.source.display(path), source })
        };
        read(&mut file, MAX_READ, &mut content)?;
        let binary = binary::is_binary(&content[..content.len().min(binary::SAMPLE)]);
        lines.push(if binary {
            copying(path)
        } else {
            format!("Writing file {path} to template output path with mode {}.", file.mode())
        });
        if binary || !render {
            let rest = (content.len() as u64 == MAX_READ).then_some(file);
            let mode = if binary { mode | 0o600 } else { mode };
            return Ok(Content { content, rest, mode, exact: binary });
        }
        read(&mut file, MAX_TEMPLATE, &mut content)?;
        if content.len() as u64 > MAX_TEMPLATE {
            return Err(Failure::Other(ActionError::input(format!(
                "{path} has {size} bytes; a file of more than {MAX_TEMPLATE} can't be rendered, list it under \
                 copyWithoutTemplating"
            ))));
        }
        let text = match String::from_utf8(content) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let text = render_text(self.rendering, text).map_err(Failure::Template)?;
        Ok(Content { content: text.into_bytes(), rest: None, mode, exact: false })
    }
}

fn copying(path: &Utf8Path) -> String {
    format!("Copying file binary or symbolic link at {path}, to template output path.")
}

/// The open directory of a path, and its name there.
fn enter<'c, 'p>(
    current: &'c mut Current,
    tree: &Workspace,
    path: &'p Utf8Path,
) -> Result<(&'c Folder, &'p str), WorkspaceError> {
    let parent = path.parent().unwrap_or(Utf8Path::new(""));
    let known = current.take().filter(|(known, _)| known == parent);
    let opened = match known {
        Some(opened) => opened,
        None => (parent.to_owned(), tree.folder(parent.as_str())?),
    };
    let (_, folder) = current.insert(opened);
    Ok((folder, path.file_name().unwrap_or_default()))
}

/// The part with effects, one entry after the other.
struct Writer<'a> {
    ctx: &'a ActionContext,
    out: &'a Workspace,
    replace: bool,
    current: Current,
}

impl Writer<'_> {
    fn carry_out(&mut self, entry: &Listed, plan: Plan) -> Result<(), ActionError> {
        let Target { path, lines, work } = match plan {
            Plan::Skip => return Ok(()),
            Plan::Failed(failure) => return Err(self.report(entry, failure)),
            Plan::Target(target) => target,
        };
        let done = match work {
            Ok(Work::Directory) => self.make_dir(&path),
            Ok(Work::File(content)) => self.make_file(&path, content),
            Ok(Work::Link(link)) => self.make_link(&path, &link),
            // What is left alone can't fail.
            Err(failure) => match self.stays(&path) {
                Ok(false) => Err(failure),
                other => other.map(|_| false).map_err(Failure::from),
            },
        };
        // Whether the way to a target leads out is found out before anything is said.
        let outside = matches!(&done, Err(Failure::Workspace(WorkspaceError::Escapes { .. })));
        if !outside && !matches!(done, Ok(false)) {
            lines.iter().for_each(|line| self.ctx.log.info(line));
        }
        done.map(|_| ()).map_err(|failure| self.report(entry, failure))
    }

    /// Whether something is there that is not to be replaced.
    fn stays(&self, path: &Utf8Path) -> Result<bool, WorkspaceError> {
        Ok(!self.replace && self.out.exists(path.as_str())?)
    }

    /// The open directory that a target lies in, with its parents made where missing.
    fn enter<'p>(&mut self, path: &'p Utf8Path) -> Result<(&Folder, &'p str), WorkspaceError> {
        if let Err(WorkspaceError::Io { source, .. }) = enter(&mut self.current, self.out, path).map(drop)
            && source.kind() == std::io::ErrorKind::NotFound
            && let Some(parent) = path.parent()
        {
            self.out.create_dir_all(parent.as_str())?;
        }
        enter(&mut self.current, self.out, path)
    }

    /// `false` when something stays that was there before, as for the others.
    fn make_dir(&mut self, path: &Utf8Path) -> Result<bool, Failure> {
        let quick = self.enter(path).and_then(|(folder, name)| folder.create_dir(name, 0o777));
        if matches!(quick, Ok(true)) {
            return Ok(true);
        }
        // Something is there or in the way: what that means the path as a whole tells.
        if self.stays(path)? {
            return Ok(false);
        }
        self.out.create_dir_all(path.as_str())?;
        Ok(true)
    }

    fn make_file(&mut self, path: &Utf8Path, content: Content) -> Result<bool, Failure> {
        let mode = content.mode;
        let quick = self.enter(path).and_then(|(folder, name)| folder.create(name, mode));
        let mut file = match quick {
            Ok(Some(file)) => file,
            _ if self.stays(path)? => return Ok(false),
            _ => {
                // What is replaced may be a link to the directory that is open.
                self.current = None;
                self.out.create_file(path.as_str(), mode)?
            }
        };
        file.write(&content.content)?;
        if let Some(mut rest) = content.rest {
            file.copy_rest(&mut rest)?;
        }
        if content.exact {
            file.set_mode(mode)?;
        }
        Ok(true)
    }

    fn make_link(&mut self, path: &Utf8Path, link: &Utf8Path) -> Result<bool, Failure> {
        if self.stays(path)? {
            return Ok(false);
        }
        self.current = None;
        clear(self.out, path.as_str())?;
        self.out.symlink(link.as_str(), path.as_str())?;
        Ok(true)
    }

    /// The step's error; where in which file goes into the log, since upstream's message names no file.
    fn report(&self, entry: &Listed, failure: Failure) -> ActionError {
        match failure {
            Failure::Other(error) => error,
            Failure::Workspace(error) => error.into(),
            Failure::Template(error) => {
                let mut place = entry.path.to_string();
                for part in [error.line(), error.column()].into_iter().flatten() {
                    place.push_str(&format!(":{part}"));
                }
                let line = error.source_line().map(|line| format!("\n  {}", line.trim())).unwrap_or_default();
                self.ctx.log.error(format!("{place}: {}{line}", error.message()));
                template_error(&error)
            }
        }
    }
}

/// Node's `path.extname`: from the last dot of the name, unless that is its first character.
fn extension_of(path: &Utf8Path) -> &str {
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
