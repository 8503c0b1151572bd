//! The trait an action implements, and its erased form.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{context::ActionContext, error::ActionError, schema};

/// One worked example of an action, shown in `GET /v2/actions` and in the documentation. Examples are validated against
/// the action's schema by a test, so they can't rot.
#[derive(Debug, Clone, Serialize)]
pub struct ActionExample {
    /// What the example shows, one line.
    pub description: String,
    /// A YAML document with a `steps:` list.
    pub example: String,
}

/// The output of an action that has none.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct NoOutput {}

/// What a step can do, with typed input and output.
///
/// The JSON Schemas that the service publishes and validates against are derived from `Input` and `Output`
/// ([`schema::of`]); a field's `Option` makes it optional, unknown inputs are refused.
#[async_trait]
pub trait Action: Send + Sync + 'static {
    /// The step's rendered `input`.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What the step gives to later steps as `steps.<id>.output`. Serialises to an object; absent members are no outputs.
    type Output: Serialize + Send;

    /// The id used in templates, e.g. `fetch:template`.
    fn id(&self) -> &'static str;
    /// Other ids this action answers to.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }
    /// What the action does, for people.
    fn description(&self) -> &'static str;
    /// Worked examples.
    fn examples(&self) -> Vec<ActionExample> {
        Vec::new()
    }
    /// Whether the action may run in a dry run (then [`ActionContext::is_dry_run`] is true and it has no lasting effects
    /// outside the workspace).
    fn supports_dry_run(&self) -> bool {
        false
    }
    /// The schema of the input. Override only where upstream's shape can't be derived from the type.
    fn input_schema(&self) -> Value {
        schema::of::<Self::Input>()
    }
    /// The schema of the output, `None` where upstream publishes none.
    fn output_schema(&self) -> Option<Value> {
        None
    }
    /// Runs the step.
    ///
    /// # Errors
    /// Whatever went wrong, in words for the person who reads the task log.
    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError>;
}

/// An action with its types erased: what the [`Registry`](crate::Registry) holds and the engine calls. Implement it
/// directly only for actions whose schema is known at run time.
#[async_trait]
pub trait DynAction: Send + Sync + 'static {
    /// See [`Action::id`].
    fn id(&self) -> &str;
    /// See [`Action::aliases`].
    fn aliases(&self) -> Vec<String>;
    /// See [`Action::description`].
    fn description(&self) -> &str;
    /// See [`Action::examples`].
    fn examples(&self) -> Vec<ActionExample>;
    /// See [`Action::supports_dry_run`].
    fn supports_dry_run(&self) -> bool;
    /// See [`Action::input_schema`].
    fn input_schema(&self) -> Option<Value>;
    /// See [`Action::output_schema`].
    fn output_schema(&self) -> Option<Value>;
    /// Runs the step with an input that has been validated against the schema; gives the outputs by name.
    ///
    /// # Errors
    /// As [`Action::run`].
    async fn run(&self, ctx: &ActionContext, input: Value) -> Result<Map<String, Value>, ActionError>;
}

/// Makes a [`DynAction`] of an [`Action`].
#[derive(Debug)]
pub struct Typed<A>(pub A);

#[async_trait]
impl<A: Action> DynAction for Typed<A> {
    fn id(&self) -> &str {
        self.0.id()
    }
    fn aliases(&self) -> Vec<String> {
        self.0.aliases().iter().map(ToString::to_string).collect()
    }
    fn description(&self) -> &str {
        self.0.description()
    }
    fn examples(&self) -> Vec<ActionExample> {
        self.0.examples()
    }
    fn supports_dry_run(&self) -> bool {
        self.0.supports_dry_run()
    }
    fn input_schema(&self) -> Option<Value> {
        Some(self.0.input_schema())
    }
    fn output_schema(&self) -> Option<Value> {
        self.0.output_schema()
    }
    async fn run(&self, ctx: &ActionContext, input: Value) -> Result<Map<String, Value>, ActionError> {
        let input = serde_json::from_value(input).map_err(|error| {
            ActionError::input(format!("Invalid input passed to action {}, {error}", self.0.id())).with_source(error)
        })?;
        let output = self.0.run(ctx, input).await?;
        match serde_json::to_value(output) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(Value::Null) => Ok(Map::new()),
            Ok(other) => Err(ActionError::failed(format!(
                "action {} gave {other} as its output, an object was expected; this is a mistake in the action",
                self.0.id()
            ))),
            Err(error) => {
                Err(ActionError::failed(format!("the output of action {} can't be kept: {error}", self.0.id())))
            }
        }
    }
}
