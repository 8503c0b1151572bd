//! The built-in actions: fetch, fs, debug and catalog.
//!
//! One file an action; what they share lies beside them: [`files`] collects a workspace's files, [`filters`] are the
//! template filters of the scaffolder, [`templating`] is the language they belong to. Behaviour follows `@backstage/plugin-scaffolder-backend` 4.2.0.

mod binary;
mod catalog_fetch;
mod catalog_register;
mod catalog_write;
mod debug_log;
mod debug_wait;
mod fetch;
mod fetch_plain;
mod fetch_plain_file;
mod fetch_template;
mod fetch_template_file;
mod fields;
pub mod files;
pub mod filters;
mod fs_delete;
mod fs_readdir;
mod fs_rename;
mod globs;
mod pipeline;
mod skeleton;
pub mod sources;
mod support;
pub mod templating;
#[cfg(test)]
mod testing;
mod tree;
mod yaml;

pub use skeleton::TemplateFileError;
use understudy_scm::Scm;
use understudy_sdk::Registry;

use catalog_fetch::CatalogFetch;
use catalog_register::CatalogRegister;
use catalog_write::CatalogWrite;
use debug_log::DebugLog;
use debug_wait::DebugWait;
use fetch_plain::FetchPlain;
use fetch_plain_file::FetchPlainFile;
use fetch_template::FetchTemplate;
use fetch_template_file::FetchTemplateFile;
use fs_delete::FsDelete;
use fs_readdir::FsReaddir;
use fs_rename::FsRename;
use templating::Templating;

/// What the built-in actions need from the service.
#[derive(Debug, Clone)]
pub struct CoreDeps {
    /// Integrations and readers.
    pub scm: Scm,
    /// The template language.
    pub templating: Templating,
}

impl CoreDeps {
    /// With the template language as it is without any configuration.
    pub fn new(scm: Scm) -> Self {
        Self { templating: Templating::new(&scm), scm }
    }
}

/// Adds all built-in actions.
pub fn register(registry: &mut Registry, deps: CoreDeps) {
    let CoreDeps { scm, templating } = deps;
    registry
        .register(CatalogFetch)
        .register(CatalogRegister::new(scm.clone()))
        .register(CatalogWrite)
        .register(DebugLog)
        .register(DebugWait)
        .register(FetchPlain::new(scm.clone()))
        .register(FetchPlainFile::new(scm.clone()))
        .register(FetchTemplate::new(scm.clone(), templating.clone()))
        .register(FetchTemplateFile::new(scm, templating))
        .register(FsDelete)
        .register(FsReaddir)
        .register(FsRename);
}
