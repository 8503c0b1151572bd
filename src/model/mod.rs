//! Plain data that everything speaks of.

mod task;

pub use task::{
    EventType, NewEvent, Recovery, SerializedTask, TaskEvent, TaskId, TaskSpec, TaskStatus, TemplateInfoSpec, UserSpec,
};
