//! The step algorithm: what happens between a task's first event and its outcome.
//!
//! It knows neither store nor worker: events go to an `EventSink`, what is kept across runs to a `TaskState`. Order,
//! texts and rules are those of `@backstage/plugin-scaffolder-backend` 4.2.0 (`NunjucksWorkflowRunner`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use understudy_actions_core::templating::Templating;
use understudy_sdk::{
    ActionError, Catalog, DynAction, LogLevel, Redactor, Registry, Secrets, TemplateInfo, UserInfo, WorkerSlot,
    schema::Validator,
};

use super::{
    beta2::{self, Part},
    directory::RunDirectory,
    limits::{LimitError, StepLimits},
    lock,
    log::{EventSink, LogEvent, StepStatus, StorageFailed, labelled},
    observe::{Outcome, TaskObserver},
    plugin_actions::PluginActions,
    policy::{ActionGrants, ActionPolicy, AllowAll},
    render::{Renderer, TaskData, Unrendered, check_depth, is_truthy},
    state::TaskState,
    step::{StepEnd, StepRun},
};
use crate::{auth::Credentials, catalog::CatalogFactory, model::TaskSpec};

/// Why a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody cancelled the task.
    Cancelled,
    /// The service shuts down; the task goes back to the queue.
    Shutdown,
    /// The task is no longer ours: somebody else put it back into the queue or ended it.
    Lost,
}

/// Asks a run to stop; the first reason counts.
#[derive(Debug, Default)]
pub struct StopSignal {
    token: CancellationToken,
    reason: OnceLock<StopReason>,
}

impl StopSignal {
    /// Asks to stop.
    pub fn stop(&self, reason: StopReason) {
        // A second reason changes nothing.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }
    /// The reason, once asked.
    pub fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }
    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.reason() == Some(StopReason::Cancelled)
    }
    /// Whether the run must end without an outcome.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.reason(), Some(StopReason::Shutdown | StopReason::Lost))
    }
    /// What actions watch.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

/// What runs templates' steps; the same for stored tasks, dry runs and local runs.
pub struct Runner {
    pub(super) registry: Registry,
    pub(super) templating: Templating,
    pub(super) catalog: CatalogFactory,
    pub(super) policy: Arc<dyn ActionPolicy>,
    pub(super) observer: Arc<dyn TaskObserver>,
    pub(super) environment_parameters: Map<String, Value>,
    pub(super) environment_secrets: Secrets,
    pub(super) log_level: LogLevel,
    pub(super) plugin_actions: Option<PluginActions>,
    validators: Mutex<HashMap<String, Option<Arc<Validator>>>>,
}

impl Runner {
    /// A runner of these actions, with `templating` for their values. Every action is allowed, lines of level info are
    /// kept, and the environment is empty, unless said otherwise by the `with_` methods.
    pub fn new(registry: Registry, templating: Templating, catalog: CatalogFactory) -> Self {
        Self {
            registry,
            templating,
            catalog,
            policy: Arc::new(AllowAll),
            observer: Arc::new(super::observe::LogObserver),
            environment_parameters: Map::new(),
            environment_secrets: Secrets::default(),
            log_level: LogLevel::Info,
            plugin_actions: None,
            validators: Mutex::default(),
        }
    }
    /// Sets what templates see as `environment` (`scaffolder.defaultEnvironment`).
    #[must_use]
    pub fn with_environment(mut self, parameters: Map<String, Value>, secrets: Secrets) -> Self {
        self.environment_parameters = parameters;
        self.environment_secrets = secrets;
        self
    }
    /// Sets the least level of lines that go to the task log.
    #[must_use]
    pub fn with_log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }
    /// Sets who decides whether an action may run.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<dyn ActionPolicy>) -> Self {
        self.policy = policy;
        self
    }
    /// Adds the actions that other plugins offer.
    #[must_use]
    pub fn with_plugin_actions(mut self, actions: Option<PluginActions>) -> Self {
        self.plugin_actions = actions;
        self
    }
    /// Sets who is told when steps and tasks end.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn TaskObserver>) -> Self {
        self.observer = observer;
        self
    }
    /// The action of this id, one of the service's own or another plugin's.
    ///
    /// # Errors
    /// There is none, or the plugin that it names can't be asked.
    pub(super) async fn action(&self, id: &str, initiator: &Credentials) -> Result<Arc<dyn DynAction>, ActionError> {
        if let (None, Some(plugins)) = (self.registry.find(id), &self.plugin_actions)
            && let Some(action) = plugins.find(id, initiator).await?
        {
            return Ok(action);
        }
        self.registry.get(id)
    }
    /// The compiled input schema of an action; each is compiled once. (Those of other plugins may change.)
    pub(super) fn validator(&self, action: &dyn DynAction) -> Result<Option<Arc<Validator>>, ActionError> {
        let is_own = self.registry.find(action.id()).is_some();
        if let Some(known) = lock(&self.validators).get(action.id()).filter(|_| is_own) {
            return Ok(known.clone());
        }
        let validator = action.input_schema().map(|schema| Validator::new(&schema)).transpose().map_err(|reason| {
            ActionError::failed(format!(
                "the input schema of action {} is invalid: {reason}; this is a mistake in the action",
                action.id()
            ))
        })?;
        let validator = validator.map(Arc::new);
        if is_own {
            lock(&self.validators).insert(action.id().to_string(), validator.clone());
        }
        Ok(validator)
    }
}

/// One run of one task.
pub(super) struct Job {
    /// The task's id.
    pub(super) task_id: Arc<str>,
    /// What to run.
    pub(super) spec: TaskSpec,
    /// The task's secrets.
    pub(super) secrets: Secrets,
    /// Who started it; the catalog and others are asked in this name.
    pub(super) initiator: Credentials,
    /// Where its files are.
    pub(super) directory: RunDirectory,
    /// Outputs of the steps an earlier run completed.
    pub(super) restored: Map<String, Value>,
    /// Something the log should say first.
    pub(super) notice: Option<String>,
    /// Whether this is a dry run.
    pub(super) dry_run: bool,
    /// How many steps the first event counts that nobody sees.
    pub(super) hidden_steps: usize,
    /// Takes the events.
    pub(super) sink: Arc<dyn EventSink>,
    /// What is kept across runs.
    pub(super) state: Arc<TaskState>,
    /// Whether completed steps are kept there.
    pub(super) resumable: bool,
    /// The worker slot it occupies.
    pub(super) slot: Arc<dyn WorkerSlot>,
    /// Asks it to stop.
    pub(super) stop: Arc<StopSignal>,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum RunEnd {
    /// Well, with this output.
    Completed(Value),
    /// With the first failing step's error, redacted.
    Failed(ActionError),
    /// Not at all: it was asked to stop, and not by a user.
    Interrupted,
}

/// A step's fields, read once.
pub(super) struct Step<'s> {
    pub(super) id: Arc<str>,
    pub(super) name: String,
    pub(super) action: String,
    pub(super) condition: Option<&'s Value>,
    pub(super) each: Option<&'s Value>,
    pub(super) input: Option<&'s Value>,
    pub(super) limits: Result<StepLimits, LimitError>,
}

impl<'s> Step<'s> {
    fn of(step: &'s Map<String, Value>, index: usize, is_beta2: bool) -> Self {
        let text = |name: &str| match step.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            None | Some(Value::Null) => None,
            Some(other) => Some(other.to_string()),
        };
        let (condition, each) = (step.get("if"), step.get("each"));
        let action = text("action").unwrap_or_default();
        Self {
            id: text("id").unwrap_or_else(|| format!("step-{}", index + 1)).into(),
            name: text("name").unwrap_or_else(|| action.clone()),
            action,
            condition: if is_beta2 { beta2::condition(condition) } else { condition },
            each: each.filter(|each| !is_beta2 && (is_truthy(Some(each)) || each.is_array())),
            input: step.get("input"),
            limits: StepLimits::of(step),
        }
    }
}

/// What the steps of one run share.
pub(super) struct Progress {
    pub(super) renderer: Renderer,
    pub(super) data: TaskData,
    pub(super) secrets: Redactor,
    pub(super) grants: Arc<dyn ActionGrants>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) user: UserInfo,
    pub(super) template: Option<TemplateInfo>,
}

impl Runner {
    /// Runs a task to its end.
    ///
    /// # Errors
    /// Only when log or state can't be stored; whatever goes wrong in a step is part of the outcome.
    pub(super) async fn run(&self, job: &Job) -> Result<RunEnd, StorageFailed> {
        let started = Instant::now();
        let end = self.run_steps(job).await?;
        let outcome = match &end {
            RunEnd::Completed(_) => Some(Outcome::Ok),
            RunEnd::Failed(_) if job.stop.is_cancelled() => Some(Outcome::Cancelled),
            RunEnd::Failed(_) => Some(Outcome::Failed),
            RunEnd::Interrupted => None,
        };
        if let Some(outcome) = outcome
            && !job.dry_run
        {
            self.observer.task_ended(job.template_ref(), &job.task_id, outcome, started.elapsed());
        }
        Ok(end)
    }

    async fn run_steps(&self, job: &Job) -> Result<RunEnd, StorageFailed> {
        let is_beta2 = job.spec.api_version == beta2::API_VERSION;
        let steps = job.spec.steps.iter().enumerate().map(|(index, step)| Step::of(step, index, is_beta2));
        let steps: Vec<_> = steps.collect();
        let count = steps.len() + job.hidden_steps;
        job.sink.push(LogEvent::task(format!("Starting up task with {count} steps")));
        if let Some(notice) = &job.notice {
            job.sink.push(LogEvent::task(notice.as_str()));
        }
        let end = match self.begin(job, steps.is_empty()).await {
            Ok((workspace, mut progress)) => {
                let mut first_error: Option<ActionError> = None;
                let mut restoring = false;
                for step in &steps {
                    if job.stop.is_interrupted() {
                        job.sink.flush().await?;
                        return Ok(RunEnd::Interrupted);
                    }
                    if let Some(output) = job.restored.get(&*step.id) {
                        if !std::mem::replace(&mut restoring, true) {
                            job.sink.push(LogEvent::task(format!(
                                "Task recovered - resuming from last known good state. {} step(s) already completed.",
                                job.restored.len()
                            )));
                        }
                        job.sink.push(LogEvent::step(
                            &step.id,
                            StepStatus::Completed,
                            format!("Skipping step {} because it was already completed in a previous run", step.id),
                        ));
                        progress.data.add_step(&step.id, output.clone());
                        continue;
                    }
                    if first_error.is_some()
                        && !progress.renderer.asks_for_status(step.condition, progress.data.public())
                    {
                        job.sink.push(LogEvent::step(
                            &step.id,
                            StepStatus::Skipped,
                            format!("Skipping step {} because a previous step failed", step.id),
                        ));
                        self.step_ended(job, step, Outcome::Skipped, Instant::now());
                        continue;
                    }
                    let started = Instant::now();
                    let end = StepRun { runner: self, job, step, workspace: &workspace }.run(&mut progress).await?;
                    let outcome = match end {
                        StepEnd::Completed => Outcome::Ok,
                        StepEnd::Skipped => Outcome::Skipped,
                        StepEnd::Interrupted => {
                            job.sink.flush().await?;
                            return Ok(RunEnd::Interrupted);
                        }
                        StepEnd::Failed(error) => {
                            progress.renderer.set_failed();
                            if first_error.is_none() {
                                first_error = Some(error);
                            } else {
                                job.sink.push(LogEvent::step(
                                    &step.id,
                                    StepStatus::Failed,
                                    format!("Additional error occurred: {}\n{error}", error.message()),
                                ));
                            }
                            if job.stop.is_cancelled() { Outcome::Cancelled } else { Outcome::Failed }
                        }
                    };
                    self.step_ended(job, step, outcome, started);
                }
                match first_error {
                    Some(error) => RunEnd::Failed(error),
                    None => {
                        let mut unrendered = Vec::new();
                        let output = output(&job.spec.output, &progress, &mut unrendered);
                        for found in unrendered {
                            let line = found.line("the text is used as it stands");
                            let line = progress.secrets.redact(&line);
                            job.sink.push(LogEvent::task(labelled(LogLevel::Warn, &line)));
                        }
                        let output = output.and_then(|output| {
                            check_depth(&output, format_args!("the output of the template"))?;
                            Ok(output)
                        });
                        match output {
                            Ok(output) => RunEnd::Completed(output),
                            Err(error) => RunEnd::Failed(error),
                        }
                    }
                }
            }
            Err(error) => {
                RunEnd::Failed(error.map_message(|message| self.secrets_of(job).redact(message).into_owned()))
            }
        };
        job.sink.flush().await?;
        Ok(end)
    }

    async fn begin(&self, job: &Job, no_steps: bool) -> Result<(understudy_sdk::Workspace, Progress), ActionError> {
        let workspace = job.directory.open()?;
        let grants = if no_steps {
            Arc::new(AllowAll) as Arc<dyn ActionGrants>
        } else {
            self.policy.grants(&job.initiator).await?
        };
        let none = Secrets::default();
        let environment_secrets = if job.dry_run { &none } else { &self.environment_secrets };
        let user = &job.spec.user;
        let renderer = Renderer::new(&self.templating, &job.spec.api_version);
        let mut data = TaskData::new(
            &job.task_id,
            &job.spec.parameters,
            user,
            &self.environment_parameters,
            &job.secrets,
            environment_secrets,
        );
        if renderer.is_beta2() {
            data = data.for_beta2(&job.spec.parameters);
        }
        let progress = Progress {
            renderer,
            data,
            secrets: self.secrets_of(job),
            grants,
            catalog: (self.catalog)(&job.initiator),
            user: UserInfo { entity_ref: user.entity_ref.clone(), entity: user.entity.clone() },
            template: job.spec.template_info.as_ref().map(|info| TemplateInfo {
                entity_ref: info.entity_ref.clone(),
                base_url: info.base_url.clone(),
                entity: info.entity.clone(),
            }),
        };
        Ok((workspace, progress))
    }

    fn secrets_of(&self, job: &Job) -> Redactor {
        let values = job.secrets.values().chain(&job.initiator.token).chain(self.environment_secrets.values());
        Redactor::new(values.map(understudy_sdk::Secret::expose))
    }

    fn step_ended(&self, job: &Job, step: &Step<'_>, outcome: Outcome, started: Instant) {
        if !job.dry_run {
            self.observer.step_ended(job.template_ref(), &step.name, outcome, started.elapsed());
        }
    }
}

impl Job {
    fn template_ref(&self) -> &str {
        self.spec.template_info.as_ref().map_or("", |info| &info.entity_ref)
    }
}

/// The rendered output. Items of `links` and `text` whose `if` is not met are left out; an `if` that renders to
/// `undefined` is gone before it is looked at, so its item stays, as upstream.
///
/// # Errors
/// As [`Renderer::render`].
fn output(output: &Value, progress: &Progress, unrendered: &mut Vec<Unrendered>) -> Result<Value, ActionError> {
    let scope = progress.data.public();
    let mut output = match progress.renderer.render_telling(Part::Output, output, scope, "output", unrendered)? {
        None | Some(Value::Null) => json!({}),
        Some(output) => output,
    };
    if progress.renderer.is_beta2() {
        return Ok(output);
    }
    for list in ["links", "text"] {
        if let Some(Value::Array(items)) = output.get_mut(list) {
            items.retain_mut(|item| match item {
                Value::Object(members) => {
                    members.shift_remove("if").is_none_or(|condition| is_truthy(Some(&condition)))
                }
                _ => true,
            });
        }
    }
    Ok(output)
}
