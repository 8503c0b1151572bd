//! What a template says about a step's patience: `timeout` and `retry`.
//!
//! Keys of our own: `@backstage/plugin-scaffolder-backend` 4.2.0 accepts templates with them and ignores them.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde_json::{Map, Value};
use understudy_sdk::{
    ActionError, ErrorName,
    duration::{EXPECTED, HumanDuration},
};

/// The first pause where `backoff` is not given.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer, unless the first one is.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// More attempts than anybody means.
const MOST_ATTEMPTS: u64 = 100;

/// How long one call of a step's action may take, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLimits {
    /// `timeout`: the longest time of one call, waits included.
    pub timeout: Option<Duration>,
    /// `retry.attempts`: calls in all, at least one.
    pub attempts: u32,
    /// `retry.backoff`: the pause before the second attempt; each pause after it is twice as long, up to five minutes.
    pub backoff: Duration,
}

impl Default for StepLimits {
    fn default() -> Self {
        Self { timeout: None, attempts: 1, backoff: FIRST_PAUSE }
    }
}

/// A step's `timeout` or `retry` can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct LimitError {
    /// The member's path within the step, `retry.attempts`.
    pub path: &'static str,
    /// What was expected and what was found.
    pub reason: String,
}

impl StepLimits {
    /// Reads them from a step.
    ///
    /// # Errors
    /// A member has a value that can't be meant; the first such one.
    pub fn of(step: &Map<String, Value>) -> Result<Self, LimitError> {
        let duration = |path: &'static str, value: Option<&Value>| match value.filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match HumanDuration::from_json(value).map(HumanDuration::get) {
                Some(duration) if !duration.is_zero() => Ok(Some(duration)),
                _ => {
                    Err(LimitError { path, reason: format!("expected {EXPECTED}, longer than nothing; found {value}") })
                }
            },
        };
        let mut limits = Self { timeout: duration("timeout", step.get("timeout"))?, ..Self::default() };
        match step.get("retry") {
            None | Some(Value::Null) => {}
            Some(Value::Object(retry)) => {
                if let Some(name) = retry.keys().find(|name| !["attempts", "backoff"].contains(&name.as_str())) {
                    return Err(LimitError {
                        path: "retry",
                        reason: format!("expected attempts and backoff; found \"{name}\""),
                    });
                }
                limits.attempts = match retry.get("attempts").and_then(Value::as_u64) {
                    Some(attempts @ 1..=MOST_ATTEMPTS) => u32::try_from(attempts).unwrap_or(1),
                    _ => {
                        let found = retry.get("attempts").unwrap_or(&Value::Null);
                        return Err(LimitError {
                            path: "retry.attempts",
                            reason: format!(
                                "expected how often to try in all, a whole number from 1 to {MOST_ATTEMPTS}; found {found}"
                            ),
                        });
                    }
                };
                limits.backoff = duration("retry.backoff", retry.get("backoff"))?.unwrap_or(FIRST_PAUSE);
            }
            Some(other) => {
                return Err(LimitError {
                    path: "retry",
                    reason: format!("expected an object like {{attempts: 3, backoff: 10s}}; found {other}"),
                });
            }
        }
        Ok(limits)
    }

    /// The pauses between attempts: one fewer than there are attempts.
    pub(super) fn pauses(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.backoff)
            .with_max_delay(self.backoff.max(LONGEST_PAUSE))
            .with_max_times(usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(0))
            .build()
    }
}

/// Whether the same call may do better another time: wrong input and missing rights stay what they are.
pub(super) fn is_worth_another_attempt(error: &ActionError) -> bool {
    !matches!(error.name(), ErrorName::InputError | ErrorName::NotAllowedError)
}

/// The error of a call that took too long.
pub(super) fn timed_out(step_id: &str, timeout: Duration) -> ActionError {
    ActionError::new(
        ErrorName::Other("TimeoutError".to_string()),
        format!("Step {step_id} did not finish within {}, its timeout, and was stopped", HumanDuration::from(timeout)),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(step: Value) -> Result<StepLimits, String> {
        StepLimits::of(step.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(of(json!({})).unwrap(), StepLimits::default());
        assert_eq!(of(json!({"timeout": null, "retry": null})).unwrap(), StepLimits::default());
        let found = of(json!({"timeout": "1m 30s", "retry": {"attempts": 4, "backoff": {"seconds": 2}}})).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(found, StepLimits { timeout: Some(seconds(90)), attempts: 4, backoff: seconds(2) });
        assert_eq!(found.pauses().collect::<Vec<_>>(), [seconds(2), seconds(4), seconds(8)]);
        assert_eq!(of(json!({"retry": {"attempts": 2}})).unwrap().pauses().collect::<Vec<_>>(), [seconds(1)]);
        let long = of(json!({"retry": {"attempts": 5, "backoff": "4m"}})).unwrap();
        assert_eq!(long.pauses().map(|pause| pause.as_secs()).collect::<Vec<_>>(), [240, 300, 300, 300]);
        assert_eq!(StepLimits::default().pauses().count(), 0);
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (step, expected) in [
            (json!({"timeout": "soon"}), "timeout: expected a duration"),
            (json!({"timeout": 0}), "timeout: expected a duration"),
            (json!({"timeout": "${{ parameters.t }}"}), "timeout: expected a duration"),
            (json!({"retry": 3}), "retry: expected an object like {attempts: 3, backoff: 10s}; found 3"),
            (json!({"retry": {}}), "retry.attempts: expected how often to try in all"),
            (json!({"retry": {"attempts": 0}}), "retry.attempts: expected how often"),
            (json!({"retry": {"attempts": 1.5}}), "retry.attempts: expected how often"),
            (json!({"retry": {"attempts": 1000}}), "a whole number from 1 to 100; found 1000"),
            (json!({"retry": {"attempts": 2, "backoff": -1}}), "retry.backoff: expected a duration"),
            (json!({"retry": {"atempts": 2}}), "retry: expected attempts and backoff; found \"atempts\""),
        ] {
            let error = of(step.clone()).unwrap_err();
            assert!(error.contains(expected), "{step}: {error}");
        }
    }
}
