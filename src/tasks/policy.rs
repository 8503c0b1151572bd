//! Whether a step may run its action with its input.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use understudy_sdk::ActionError;

use crate::{
    auth::Credentials,
    permission::{Decision, Permissions, known::ACTION_EXECUTE},
};

/// Asked once for a task with steps, with the credentials of its initiator (upstream's permission
/// `scaffolder.action.execute`).
#[async_trait]
pub trait ActionPolicy: Send + Sync + 'static {
    /// What the initiator may run.
    ///
    /// # Errors
    /// Whoever decides can't be asked; the task fails with this.
    async fn grants(&self, initiator: &Credentials) -> Result<Arc<dyn ActionGrants>, ActionError>;
}

/// The answer for one task, applied to each action call.
pub trait ActionGrants: Send + Sync {
    /// Whether the action may be called with this rendered input.
    ///
    /// # Errors
    /// It can't be decided, so it may not.
    fn allow(&self, action_id: &str, input: &Value) -> Result<bool, ActionError>;
}

/// Everybody may run everything: the answer where no permission service is configured.
#[derive(Debug, Clone, Copy)]
pub struct AllowAll;

#[async_trait]
impl ActionPolicy for AllowAll {
    async fn grants(&self, _: &Credentials) -> Result<Arc<dyn ActionGrants>, ActionError> {
        Ok(Arc::new(Self))
    }
}

impl ActionGrants for AllowAll {
    fn allow(&self, _: &str, _: &Value) -> Result<bool, ActionError> {
        Ok(true)
    }
}

#[async_trait]
impl ActionPolicy for Permissions {
    async fn grants(&self, initiator: &Credentials) -> Result<Arc<dyn ActionGrants>, ActionError> {
        let decision = self.decide(initiator, &[ACTION_EXECUTE]).await?.pop();
        Ok(Arc::new(decision.unwrap_or(Decision::Deny)))
    }
}

impl ActionGrants for Decision {
    fn allow(&self, action_id: &str, input: &Value) -> Result<bool, ActionError> {
        Ok(self.allows_action(action_id, input)?)
    }
}
