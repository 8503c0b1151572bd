//! One step of a task.

use std::{any::Any, collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use understudy_sdk::{
    ActionContext, ActionError, ActionLogger, DynAction, ErrorName, LogLevel, LogSink, Workspace,
    duration::HumanDuration,
};

use super::{
    beta2::Part,
    limits::{StepLimits, is_worth_another_attempt, timed_out},
    log::{LogEvent, StepLogger, StepStatus, StorageFailed},
    redact,
    render::{Scope, Unrendered, check_depth, is_truthy, js_string, member_access},
    runner::{Job, Progress, Runner, Step},
    schema_example,
    state::StepCheckpoints,
};

/// How many texts that can't be rendered the log shows at a time.
const MAX_WARNINGS: usize = 20;

/// How long an action that has to stop may take to do so before it is left.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How a step ended.
pub(super) enum StepEnd {
    /// Well; its output is visible to the steps behind it.
    Completed,
    /// Its condition was not met, or a dry run can't run it.
    Skipped,
    /// With an error, redacted.
    Failed(ActionError),
    /// It was asked to stop, and not by a user.
    Interrupted,
}

/// What came of a step that began and did not fail.
enum Done {
    Output(Value),
    Skipped(String),
    /// A dry run leaves the action out and makes up its output.
    Pretended(String, Value),
}

/// One call of the action.
struct Iteration {
    each: Option<(String, Value)>,
    /// `None`: its condition is not met.
    input: Option<Value>,
}

/// A step about to run.
pub(super) struct StepRun<'r> {
    pub(super) runner: &'r Runner,
    pub(super) job: &'r Job,
    pub(super) step: &'r Step<'r>,
    pub(super) workspace: &'r Workspace,
}

impl StepRun<'_> {
    pub(super) async fn run(&self, progress: &mut Progress) -> Result<StepEnd, StorageFailed> {
        let (job, step) = (self.job, self.step);
        self.status(StepStatus::Processing, format!("Beginning step {}", step.name));
        if job.stop.is_cancelled() {
            return Ok(StepEnd::Failed(self.cancelled()));
        }
        let logger = Arc::new(StepLogger::new(
            Arc::clone(&job.sink),
            Arc::clone(&job.task_id),
            Arc::clone(&step.id),
            self.runner.log_level,
            progress.secrets.clone(),
        ));
        let result = match self.execute(progress, &logger).await {
            Ok(Done::Output(output)) => {
                progress.data.add_step(&step.id, output.clone());
                if job.stop.is_cancelled() { Err(self.cancelled()) } else { Ok(Done::Output(output)) }
            }
            Err(_) if job.stop.is_interrupted() => return Ok(StepEnd::Interrupted),
            // What an action says after it noticed the cancellation is no news.
            Err(_) if job.stop.is_cancelled() => Err(self.cancelled()),
            result => result,
        };
        match result {
            Ok(Done::Output(output)) => {
                if job.resumable {
                    // Before the event: a step that is reported as finished is not run again.
                    job.state.step_completed(&step.id, &output).await?;
                }
                self.status(StepStatus::Completed, format!("Finished step {}", step.name));
                Ok(StepEnd::Completed)
            }
            Ok(Done::Skipped(message)) => {
                self.status(StepStatus::Skipped, message);
                Ok(StepEnd::Skipped)
            }
            Ok(Done::Pretended(message, output)) => {
                self.status(StepStatus::Skipped, message);
                progress.data.add_step(&step.id, output);
                Ok(StepEnd::Skipped)
            }
            Err(error) => {
                let error = redacted(error, &logger);
                if job.resumable && !job.stop.is_cancelled() {
                    job.state.step_failed(&step.id).await?;
                }
                self.status(StepStatus::Failed, error.to_string());
                Ok(StepEnd::Failed(error))
            }
        }
    }

    fn status(&self, status: StepStatus, message: String) {
        self.job.sink.push(LogEvent::step(&self.step.id, status, message));
    }

    fn cancelled(&self) -> ActionError {
        ActionError::failed(format!(
            "Step {} ({}) of task {} has been cancelled.",
            self.step.id, self.step.name, self.job.task_id
        ))
    }

    async fn execute(&self, progress: &Progress, logger: &Arc<StepLogger>) -> Result<Done, ActionError> {
        let (job, step) = (self.job, self.step);
        let is_met = match step.condition {
            Some(Value::Bool(false)) => false,
            Some(condition @ Value::String(_)) if step.each.is_none() => {
                self.is_met(progress, logger, condition, progress.data.public())?
            }
            _ => true,
        };
        if !is_met {
            return Ok(Done::Skipped(format!("Skipping step {} because its if condition was false", step.id)));
        }
        let limits = step
            .limits
            .clone()
            .map_err(|error| ActionError::input(format!("{}: {}", self.name_of(error.path), error.reason)))?;
        let action = self.runner.action(&step.action, &job.initiator).await?;
        if job.dry_run {
            let shown = self.input(progress, &progress.data.masked(), &mut Vec::new())?;
            let pretty = serde_json::to_string_pretty(&shown).unwrap_or_default();
            logger.log(
                LogLevel::Info,
                &format!("Running {} in dry-run mode with inputs (secrets redacted): {pretty}", action.id()),
            );
            if !action.supports_dry_run() {
                let output = action.output_schema().map_or_else(|| json!({}), |schema| schema_example::of(&schema));
                return Ok(Done::Pretended(
                    format!("Skipping because {} does not support dry-run", action.id()),
                    output,
                ));
            }
        }
        let iterations = self.iterations(progress, logger, &*action)?;
        let mut outputs = Map::new();
        for Iteration { each, input } in iterations {
            if let Some((key, value)) = &each {
                if job.stop.reason().is_some() {
                    return Err(ActionError::cancelled());
                }
                let verb = if input.is_some() { "Running" } else { "Skipping" };
                let shown = json!({"key": key, "value": js_string(value)});
                logger.log(LogLevel::Info, &format!("{verb} step each: {shown}"));
            }
            let Some(input) = input else { continue };
            let iteration = each.as_ref().map(|(key, _)| key.clone());
            let output = self.attempts(&limits, &*action, progress, logger, input, iteration).await?;
            if each.is_some() {
                for (name, value) in output {
                    if let Value::Array(values) = outputs.entry(name).or_insert_with(|| json!([])) {
                        values.push(value);
                    }
                }
            } else {
                outputs = output;
            }
        }
        let output = Value::Object(outputs);
        check_depth(&output, format_args!("the output of step {}", step.id))?;
        Ok(Done::Output(output))
    }

    /// The rendered input; absent or empty ones are an empty object.
    fn input(
        &self,
        progress: &Progress,
        scope: &Scope,
        unrendered: &mut Vec<Unrendered>,
    ) -> Result<Value, ActionError> {
        let input = self.step.input.filter(|input| is_truthy(Some(input)) || input.is_array());
        let name = self.name_of("input");
        let rendered = input
            .map(|input| progress.renderer.render_telling(Part::Input, input, scope, &name, unrendered))
            .transpose()?;
        Ok(rendered.flatten().unwrap_or_else(|| json!({})))
    }

    /// Whether a condition is met. One that can't be rendered is a text, and so it is.
    fn is_met(
        &self,
        progress: &Progress,
        logger: &StepLogger,
        condition: &Value,
        scope: &Scope,
    ) -> Result<bool, ActionError> {
        let mut unrendered = Vec::new();
        let name = self.name_of("if");
        let rendered = progress.renderer.render_telling(Part::Condition, condition, scope, &name, &mut unrendered)?;
        warn(logger, unrendered, "the condition counts as met");
        Ok(is_truthy(rendered.as_ref()))
    }

    /// A field of the step as messages name it: `steps.publish.input`.
    fn name_of(&self, field: &str) -> String {
        format!("steps{}.{field}", member_access(&self.step.id))
    }

    /// All calls this step makes, each with its input rendered and checked, before the first of them is made.
    fn iterations(
        &self,
        progress: &Progress,
        logger: &StepLogger,
        action: &dyn DynAction,
    ) -> Result<Vec<Iteration>, ActionError> {
        let scope = progress.data.private();
        let may_hold_secrets = progress.data.has_secrets()
            && [self.step.each, self.step.input].into_iter().flatten().any(redact::speaks_of_secrets);
        let without_secrets = may_hold_secrets.then(|| progress.data.without_secrets());
        let each = self.each(progress, logger, action, &scope, without_secrets.as_ref())?;
        let validator = self.runner.validator(action)?;
        let mut iterations = Vec::with_capacity(each.len());
        let mut told = HashSet::new();
        for each in each {
            let with_each = |scope: &Scope| match &each {
                Some((key, value)) => scope.with_each(key, value),
                None => scope.clone(),
            };
            let scope = with_each(&scope);
            if each.is_some()
                && let Some(condition @ Value::String(_)) = self.step.condition
                && !self.is_met(progress, logger, condition, &scope)?
            {
                iterations.push(Iteration { each, input: None });
                continue;
            }
            let mut unrendered = Vec::new();
            let input = self.input(progress, &scope, &mut unrendered)?;
            if let Some(without_secrets) = &without_secrets {
                let other = self.input(progress, &with_each(without_secrets), &mut Vec::new())?;
                logger.redact_also(redact::derived(&input, Some(&other)));
            }
            unrendered.retain(|found| told.insert(found.clone()));
            warn(logger, unrendered, "the text is used as it stands");
            if let Some(validator) = &validator {
                let violations = validator.validate(&input);
                if !violations.is_empty() {
                    let texts: Vec<_> = violations.into_iter().map(|violation| violation.stack).collect();
                    let key = each.as_ref().map(|(key, _)| format!("[{key}]")).unwrap_or_default();
                    return Err(ActionError::input(format!(
                        "Invalid input passed to action {}{key}, {}",
                        action.id(),
                        texts.join(", ")
                    )));
                }
            }
            if !progress.grants.allow(action.id(), &input)? {
                return Err(ActionError::not_allowed(format!(
                    "Unauthorized action: {}. The action is not allowed.",
                    action.id()
                )));
            }
            iterations.push(Iteration { each, input: Some(input) });
        }
        Ok(iterations)
    }

    /// The entries of `each`; one without key where the step has none.
    fn each(
        &self,
        progress: &Progress,
        logger: &StepLogger,
        action: &dyn DynAction,
        scope: &Scope,
        without_secrets: Option<&Scope>,
    ) -> Result<Vec<Option<(String, Value)>>, ActionError> {
        let Some(each) = self.step.each else { return Ok(vec![None]) };
        let mut unrendered = Vec::new();
        let name = self.name_of("each");
        let rendered = progress.renderer.render_telling(Part::Input, each, scope, &name, &mut unrendered)?;
        warn(logger, unrendered, "the text is used as it stands");
        if let (Some(without_secrets), Some(rendered)) = (without_secrets, &rendered) {
            let other = progress.renderer.render(Part::Input, each, without_secrets)?;
            logger.redact_also(redact::derived(rendered, other.as_ref()));
            if let (Value::Object(members), Some(other)) = (rendered, other.as_ref()) {
                let known = |name: &String| other.get(name).is_some();
                logger.redact_also(members.keys().filter(|name| !known(name)).map(String::as_str));
            }
        }
        match rendered {
            None => Err(ActionError::input(format!(
                "Invalid value on action {}.each parameter, \"{}\" cannot be resolved to a value",
                action.id(),
                js_string(each)
            ))),
            Some(Value::Array(items)) => {
                Ok(items.into_iter().enumerate().map(|(index, item)| Some((index.to_string(), item))).collect())
            }
            Some(Value::Object(members)) => Ok(members.into_iter().map(Some).collect()),
            Some(_) => Err(ActionError::input(format!(
                "Invalid value on action {}.each parameter, must resolve to an array or object",
                action.id()
            ))),
        }
    }

    /// Calls the action, as often as the step allows.
    async fn attempts(
        &self,
        limits: &StepLimits,
        action: &dyn DynAction,
        progress: &Progress,
        logger: &Arc<StepLogger>,
        input: Value,
        iteration: Option<String>,
    ) -> Result<Map<String, Value>, ActionError> {
        let job = self.job;
        for (number, pause) in (1..).zip(limits.pauses()) {
            let result = self.call(limits.timeout, action, progress, logger, input.clone(), iteration.clone()).await;
            let error = match result {
                Err(error) if job.stop.reason().is_none() && is_worth_another_attempt(&error) => error,
                result => return result,
            };
            let message = format!(
                "Attempt {number} of {} failed: {error}; trying again in {}",
                limits.attempts,
                HumanDuration::from(pause)
            );
            logger.log(LogLevel::Warn, &message);
            job.slot.release();
            tokio::select! {
                biased;
                () = job.stop.token().cancelled_owned() => return Err(ActionError::cancelled()),
                () = tokio::time::sleep(pause) => {}
            }
            job.slot.acquire().await;
        }
        self.call(limits.timeout, action, progress, logger, input, iteration).await
    }

    /// Calls the action once. A panic in it is its failure, not the task's.
    async fn call(
        &self,
        timeout: Option<Duration>,
        action: &dyn DynAction,
        progress: &Progress,
        logger: &Arc<StepLogger>,
        input: Value,
        iteration: Option<String>,
    ) -> Result<Map<String, Value>, ActionError> {
        let (job, step) = (self.job, self.step);
        job.slot.confirm().await?;
        let temp = job.directory.step_temp(&step.id)?;
        let cancel = job.stop.token().child_token();
        let ctx = ActionContext {
            workspace: self.workspace.clone(),
            log: ActionLogger::new(Arc::clone(logger) as Arc<dyn LogSink>),
            secrets: job.secrets.clone(),
            user: progress.user.clone(),
            template: progress.template.clone(),
            task_id: job.task_id.to_string(),
            step_id: step.id.to_string(),
            iteration,
            step_name: step.name.clone(),
            is_dry_run: job.dry_run,
            cancel: cancel.clone(),
            catalog: Arc::clone(&progress.catalog),
            checkpoints: Arc::new(StepCheckpoints::new(
                Arc::clone(&job.state),
                Arc::clone(&step.id),
                Arc::clone(logger),
            )),
            slot: Arc::clone(&job.slot),
            temp_root: temp.path().to_owned(),
        };
        let mut run = AssertUnwindSafe(action.run(&ctx, input)).catch_unwind();
        let result = match timeout {
            None => run.await,
            Some(timeout) => match tokio::time::timeout(timeout, &mut run).await {
                Ok(result) => result,
                Err(_) => {
                    // It is asked before it is left, so that it can end what it began elsewhere. What it still brings to
                    // its end is not thrown away.
                    cancel.cancel();
                    match tokio::time::timeout(STOP_GRACE, &mut run).await {
                        Ok(Ok(Ok(output))) => Ok(Ok(output)),
                        _ => Ok(Err(timed_out(&step.id, timeout))),
                    }
                }
            },
        };
        if timeout.is_some() {
            // It may have been left while it waited for something.
            job.slot.acquire().await;
        }
        temp.remove().await;
        result.unwrap_or_else(|panic| {
            Err(ActionError::failed(format!(
                "the action {} stopped by a panic, which is a mistake in it: {}",
                action.id(),
                panic_text(&*panic)
            )))
        })
    }
}

/// Tells the log which texts stay as they are: upstream keeps silent about them, and leaves people to guess.
fn warn(logger: &StepLogger, unrendered: Vec<Unrendered>, consequence: &str) {
    for found in unrendered.iter().take(MAX_WARNINGS) {
        logger.log(LogLevel::Warn, &found.line(consequence));
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
}

/// The error as everybody may see it.
fn redacted(error: ActionError, logger: &StepLogger) -> ActionError {
    let name = match error.name() {
        ErrorName::Other(name) => ErrorName::Other(logger.redact(name)),
        name => name.clone(),
    };
    ActionError::new(name, logger.redact(error.message()))
}
