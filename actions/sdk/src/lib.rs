//! What an action is made of: trait, context, registry, workspace, secrets and schemas.
//!
//! A third party needs this crate and nothing else of the project to write an action: implement [`Action`] with typed
//! input and output, register it in a [`Registry`], and hand that to the service. Everything an action may touch comes
//! through its [`ActionContext`]; this crate knows no server, no database and no provider.

pub mod action;
pub mod autocomplete;
pub mod catalog;
pub mod context;
pub mod duration;
pub mod error;
pub mod fingerprint;
pub mod js;
pub mod registry;
pub mod schema;
pub mod secrets;
pub mod workspace;

pub use action::{Action, ActionExample, DynAction, NoOutput, Typed};
pub use autocomplete::AutocompleteProvider;
pub use catalog::{Catalog, Entity, EntityRef, LocationAnswer};
pub use context::{
    ActionContext, ActionLogger, CheckpointStore, LogLevel, LogSink, TemplateInfo, UserInfo, WorkerSlot,
};
pub use duration::HumanDuration;
pub use error::{ActionError, ErrorName};
pub use fingerprint::fingerprint;
pub use registry::Registry;
pub use secrets::{Redactor, Secret, Secrets};
pub use workspace::{Workspace, WorkspaceError};
