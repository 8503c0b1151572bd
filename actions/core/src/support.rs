//! What actions do around their own work.

use understudy_sdk::{ActionError, ActionExample};

/// An example of the documentation: a line on what it shows, and its steps as YAML.
pub(crate) fn example(description: &str, steps: &str) -> ActionExample {
    ActionExample { description: description.to_string(), example: steps.to_string() }
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> Result<T, ActionError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ActionError::failed(format!("the step's file work broke off: {error}")).with_source(error)),
    }
}
