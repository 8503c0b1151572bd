//! What the routes do, with its beginning and its end in the audit log.

use super::{ApiState, caller::Caller, error::ApiError};
use crate::audit::{Act, Details, Pending};

impl ApiState {
    /// Writes that the caller's request begins to be done, does it, and writes how it ended.
    pub(super) async fn audited<T, const N: usize>(
        &self,
        caller: &Caller,
        act: Act,
        details: impl FnOnce() -> Details<N>,
        work: impl AsyncFnOnce(&mut Pending) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut pending = self.audit(caller, act, details);
        let result = work(&mut pending).await;
        match &result {
            Ok(_) => pending.succeed(),
            Err(error) => fail(pending, act, error),
        }
        result
    }
    /// Writes that the caller's request begins to be done.
    pub(super) fn audit<const N: usize>(
        &self,
        caller: &Caller,
        act: Act,
        details: impl FnOnce() -> Details<N>,
    ) -> Pending {
        self.auditor.requested(act, caller.credentials(), || (caller.origin(), details()))
    }
}

/// Writes that it failed. Upstream says of wrong values what could not be done, not what is wrong with them.
pub(super) fn fail(pending: Pending, act: Act, error: &ApiError) {
    match error {
        ApiError::Named { name, message, .. } => pending.fail(name, message),
        ApiError::SecretViolations(_) => pending.fail("InputError", "Secrets validation failed"),
        ApiError::Violations(_) if act == Act::DryRun => pending.fail("AggregateError", "Could not execute dry run"),
        ApiError::Violations(_) => pending.fail("AggregateError", "Could not create entity"),
    }
}
