//! `debug:wait`

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput};

use crate::support::example;

const LONGEST: Duration = Duration::from_secs(600);

/// Waits for a while, without occupying a worker slot.
#[derive(Debug)]
pub(crate) struct DebugWait;

/// Input of [`DebugWait`]; the parts add up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// How many minutes to wait.
    minutes: Option<f64>,
    /// How many seconds to wait.
    seconds: Option<f64>,
    /// How many milliseconds to wait.
    milliseconds: Option<f64>,
}

impl Input {
    /// The waiting time in seconds.
    fn total(&self) -> f64 {
        self.minutes.unwrap_or_default() * 60.0
            + self.seconds.unwrap_or_default()
            + self.milliseconds.unwrap_or_default() / 1000.0
    }
}

#[async_trait]
impl Action for DebugWait {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "debug:wait"
    }
    fn description(&self) -> &'static str {
        "Waits for up to ten minutes."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Wait for two minutes",
                "steps:
  - id: wait
    name: Wait for the rollout
    action: debug:wait
    input:
      minutes: 2
",
            ),
            example(
                "Wait for a minute and a half",
                "steps:
  - id: wait
    name: Wait a bit
    action: debug:wait
    input:
      minutes: 1
      seconds: 30
",
            ),
            example(
                "Wait for a quarter of a second",
                "steps:
  - id: wait
    name: Take a breath
    action: debug:wait
    input:
      milliseconds: 250
",
            ),
        ]
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        let seconds = input.total();
        if seconds > LONGEST.as_secs_f64() {
            return Err(ActionError::failed(
                "Waiting duration is longer than the maximum threshold of 0 hours, 10 minutes, 0 seconds",
            ));
        }
        ctx.waiting(tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0)))).await?;
        Ok(NoOutput {})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::Input;
    use crate::testing::Bench;

    #[tokio::test]
    async fn waits_for_the_sum_of_its_parts() {
        let input = Input { minutes: Some(1.0), seconds: Some(2.5), milliseconds: Some(500.0) };
        assert_eq!(input.total(), 63.0);
        let bench = Bench::new();
        bench.run("debug:wait", json!({"milliseconds": 5})).await.unwrap();
        bench.run("debug:wait", json!({"seconds": -5})).await.unwrap();
    }

    #[tokio::test]
    async fn refuses_more_than_ten_minutes_and_ends_on_cancel() {
        let bench = Bench::new();
        let error = bench.run("debug:wait", json!({"minutes": 10, "milliseconds": 1})).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error: Waiting duration is longer than the maximum threshold of 0 hours, 10 minutes, 0 seconds"
        );
        bench.cancel.cancel();
        assert!(bench.run("debug:wait", json!({"minutes": 10})).await.is_err());
    }
}
