//! Where a `url` input leads, and getting what lies there into a workspace.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use understudy_scm::Scm;
use understudy_sdk::{
    ActionContext, ActionError, Secret, Workspace, WorkspaceError,
    workspace::{Entry, EntryKind, Listed},
};
use url::Url;

use crate::{
    pipeline,
    support::blocking,
    tree::{Content, Current, TreeWriter},
};

/// Where a `url` input leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Beside a template that lies on this machine's disk.
    Local {
        /// The template's directory, which can't be left.
        dir: Utf8PathBuf,
        /// Below it.
        path: String,
    },
    /// On a source code host or web server.
    Remote(String),
}

/// Resolves a `url` input against the template's location, as `fetchContents` of `@backstage/plugin-scaffolder-node`
/// 0.13.7 does.
///
/// # Errors
/// `InputError` for a relative URL of a template whose location is unknown or matches no integration.
pub(crate) fn origin(scm: &Scm, url: &str, base: Option<&str>) -> Result<Origin, ActionError> {
    if Url::parse(url).is_ok() {
        return Ok(Origin::Remote(url.to_string()));
    }
    let Some(base) = base.filter(|base| !base.is_empty()) else {
        return Err(ActionError::input(format!(
            "Failed to fetch, template location could not be determined and the fetch URL is relative, {url}"
        )));
    };
    if let Some(path) = base.strip_prefix("file://") {
        let dir = Utf8Path::new(path).parent().unwrap_or(Utf8Path::new("/")).to_owned();
        return Ok(Origin::Local { dir, path: url.to_string() });
    }
    if scm.integration_type(base).is_none() {
        return Err(ActionError::input(format!("No integration found for location {base}")));
    }
    Ok(Origin::Remote(scm.resolve_url(url, base)?))
}

/// The place a context's template lies at.
pub(crate) fn base_url(ctx: &ActionContext) -> Option<&str> {
    ctx.template.as_ref().and_then(|template| template.base_url.as_deref())
}

/// What a local path leads to.
pub(crate) enum LocalSource {
    /// A directory.
    Tree(Workspace),
    /// A file of a directory.
    File(Workspace, Entry),
}

/// Opens a path beside a template.
///
/// # Errors
/// Nothing there, it leads out of the template's directory, or it is neither file nor directory.
pub(crate) fn open_local(dir: &Utf8Path, path: &str) -> Result<LocalSource, ActionError> {
    let root = match Workspace::open(dir) {
        Err(WorkspaceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(WorkspaceError::Io { call: "lstat", path: dir.join(path), source }.into());
        }
        opened => opened?,
    };
    root.entry(path)?;
    let target = root.target_entry(path)?;
    match target.kind {
        EntryKind::Dir => Ok(LocalSource::Tree(root.sub(path)?)),
        EntryKind::File => Ok(LocalSource::File(root, target)),
        EntryKind::Symlink | EntryKind::Other => Err(ActionError::failed(format!(
            "{} is neither a file nor a directory; it can't be fetched",
            root.display(&target.path)
        ))),
    }
}

/// Fetches a directory (or, from the local disk, a file) to a path of the workspace.
///
/// # Errors
/// As [`origin`], [`open_local`], [`copy_tree`] and [`Scm::read_tree`].
pub(crate) async fn fetch_tree(
    ctx: &ActionContext,
    scm: &Scm,
    url: &str,
    token: Option<&Secret>,
    target: &str,
) -> Result<(), ActionError> {
    match origin(scm, url, base_url(ctx))? {
        Origin::Local { dir, path } => {
            let (ctx, target) = (ctx.clone(), target.to_string());
            blocking(move || match open_local(&dir, &path)? {
                LocalSource::Tree(source) => {
                    ctx.workspace.create_dir_all(&target)?;
                    copy_tree(&ctx, &source, &ctx.workspace.sub(&target)?)
                }
                LocalSource::File(root, file) => {
                    if ctx.workspace.target_entry(&target).is_ok_and(|there| there.kind == EntryKind::Dir) {
                        return Err(ActionError::failed(format!(
                            "Cannot overwrite directory '{}' with non-directory '{}'.",
                            ctx.workspace.display(&ctx.workspace.resolve(&target)?),
                            root.display(&file.path)
                        )));
                    }
                    copy_file(&root, &file, &ctx.workspace, &target)
                }
            })
            .await
        }
        Origin::Remote(url) => {
            let summary = scm.in_step(ctx).read_tree(&url, token, &ctx.workspace, target).await?;
            warn_all(ctx, &summary.warnings);
            Ok(())
        }
    }
}

/// Logs what was left out of a tree.
pub(crate) fn warn_all(ctx: &ActionContext, warnings: &[String]) {
    for warning in warnings {
        ctx.log.warn(warning);
    }
}

/// A file's content and permission bits.
pub(crate) struct FetchedFile {
    pub(crate) content: Vec<u8>,
    /// The bits of a local file.
    pub(crate) mode: Option<u32>,
}

/// Fetches one file.
///
/// # Errors
/// As [`origin`], [`open_local`] and [`Scm::read_file`].
pub(crate) async fn fetch_file(
    ctx: &ActionContext,
    scm: &Scm,
    url: &str,
    token: Option<&Secret>,
) -> Result<FetchedFile, ActionError> {
    match origin(scm, url, base_url(ctx))? {
        Origin::Local { dir, path } => {
            blocking(move || match open_local(&dir, &path)? {
                LocalSource::Tree(tree) => Err(ActionError::failed(format!(
                    "EISDIR: illegal operation on a directory, read '{}'",
                    tree.root()
                ))),
                LocalSource::File(root, file) => {
                    let content = root.read(file.path.as_str())?;
                    Ok(FetchedFile { content, mode: Some(file.mode & 0o777) })
                }
            })
            .await
        }
        Origin::Remote(url) => Ok(FetchedFile { content: scm.in_step(ctx).read_file(&url, token).await?, mode: None }),
    }
}

/// Copies a tree as it is: modes, links and empty directories kept, existing files replaced.
///
/// # Errors
/// Of the first entry that fails: a link that leads out of the tree, a special file, or as the file system says.
pub(crate) fn copy_tree(ctx: &ActionContext, source: &Workspace, out: &Workspace) -> Result<(), ActionError> {
    let entries = source.list(".")?;
    let mut files = TreeWriter::new(out, true);
    pipeline::in_order(
        ctx,
        pipeline::parallelism(),
        &entries,
        |current: &mut Current, entry| Copy(read_entry(current, source, entry)),
        |entry, Copy(part)| {
            match part? {
                // Its owner can fill it, whatever the source's bits are.
                Part::Dir(mode) => files.dir(&entry.path, (mode & 0o777) | 0o700)?,
                Part::File(content) => files.file(&entry.path, content)?,
                Part::Link(link) => files.link(&entry.path, &link)?,
            };
            Ok(())
        },
    )
}

struct Copy(Result<Part, ActionError>);

/// What of an entry is carried over.
enum Part {
    Dir(u32),
    File(Content),
    Link(Utf8PathBuf),
}

impl pipeline::Prepared for Copy {
    fn weight(&self) -> usize {
        match &self.0 {
            Ok(Part::File(content)) => content.bytes.capacity(),
            _ => 0,
        }
    }
}

fn read_entry(current: &mut Current, source: &Workspace, entry: &Listed) -> Result<Part, ActionError> {
    Ok(match entry.kind {
        EntryKind::Dir => Part::Dir(source.entry(entry.path.as_str())?.mode),
        EntryKind::File => Part::File(Content::copied(current, source, &entry.path)?),
        EntryKind::Symlink => Part::Link(checked_link(source, &entry.path)?),
        EntryKind::Other => return Err(special(source, &entry.path)),
    })
}

/// Copies one file with its permission bits; its owner can always write the copy.
fn copy_file(from: &Workspace, file: &Entry, to: &Workspace, path: &str) -> Result<(), ActionError> {
    let mode = (file.mode & 0o777) | 0o600;
    to.write_from(path, &mut from.open_file(file.path.as_str())?, mode)?;
    Ok(to.set_mode(path, mode)?)
}

/// The text of a link, which must not lead out of its tree.
///
/// # Errors
/// It does; the message names link and target.
pub(crate) fn checked_link(tree: &Workspace, path: &Utf8Path) -> Result<Utf8PathBuf, ActionError> {
    let target = tree.read_link(path.as_str())?;
    if tree.link_stays_inside(path, target.as_str()) {
        return Ok(target);
    }
    Err(ActionError::not_allowed(format!(
        "the link {} leads to {target}, outside of the fetched directory; make it relative to a file within, or replace \
         it by a copy",
        tree.display(path)
    )))
}

/// The error for sockets, pipes and devices.
pub(crate) fn special(tree: &Workspace, path: &Utf8Path) -> ActionError {
    ActionError::failed(format!("{} is neither file, directory nor link; it can't be copied", tree.display(path)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_are_resolved_against_the_template() {
        let scm = Scm::from_config(&json!({})).unwrap();
        let local = |dir: &str, path: &str| Origin::Local { dir: dir.into(), path: path.into() };
        let cases = [
            ("./skeleton", "file:///t/a/template.yaml", local("/t/a", "./skeleton")),
            ("https://x.example/y", "file:///t/a/template.yaml", Origin::Remote("https://x.example/y".into())),
            (
                "./skeleton",
                "https://github.com/o/r/blob/main/tpl/template.yaml",
                Origin::Remote("https://github.com/o/r/tree/main/tpl/skeleton".into()),
            ),
        ];
        for (url, base, expected) in cases {
            assert_eq!(origin(&scm, url, Some(base)).unwrap(), expected);
        }
        let fails = [
            (None, "Failed to fetch, template location could not be determined and the fetch URL is relative, ./x"),
            (
                Some("https://unknown.example/t.yaml"),
                "No integration found for location https://unknown.example/t.yaml",
            ),
        ];
        for (base, expected) in fails {
            assert_eq!(origin(&scm, "./x", base).unwrap_err().to_string(), format!("InputError: {expected}"));
        }
    }
}
