//! Plain data that everything speaks of.

mod access;
mod task;

pub use access::{AccessRestrictions, PermissionAttributes, RestrictionsByPlugin};
pub use task::{
    EventType, NewEvent, Recovery, SerializedTask, TaskEvent, TaskId, TaskSpec, TaskStatus, TemplateInfoSpec, UserSpec,
};
