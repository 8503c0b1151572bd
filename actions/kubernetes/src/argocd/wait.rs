//! `argocd:wait-app`

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, HumanDuration};

use super::{
    application::{AppRef, Application},
    backend::{Argocd, Backend, Mode, Reach},
    output::AppOutput,
    progress::{Failure, Goal, Verdict, judge, state_line},
    watch::{Seen, Watcher},
};
use crate::client::{Patience, subdomain};

const TIMEOUT: HumanDuration = HumanDuration::from_secs(600);
/// How long a finding that Argo CD may not have got round to taking back must last.
const BLOCKED_FOR: Duration = Duration::from_secs(10);
/// When an application that Argo CD doesn't look at deserves a hint.
const UNNOTICED_FOR: Duration = Duration::from_secs(60);

/// Waits until an application is as its sources say and healthy.
#[derive(Debug)]
pub(crate) struct WaitApp(pub(crate) Arc<Argocd>);

/// The input of [`WaitApp`].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// The application's name.
    name: String,
    /// The namespace of the Application resource; Argo CD's own when left out.
    namespace: Option<String>,
    /// Only if it is in this project.
    project: Option<String>,
    /// `crd`: watch the resource in the cluster; `api`: ask an Argo CD API server. Left out: `api` with an argoInstance, else `crd`.
    mode: Option<Mode>,
    /// The Argo CD instance, by its name in `argocd.appLocatorMethods`.
    argo_instance: Option<String>,
    /// The cluster with the Application resource, by its name in `kubernetes.clusterLocatorMethods` (mode crd).
    cluster_name: Option<String>,
    /// Whether to wait for it to be in sync; true when left out.
    #[schemars(extend("default" = true))]
    sync: Option<bool>,
    /// Whether to wait for it to be healthy; true when left out.
    #[schemars(extend("default" = true))]
    health: Option<bool>,
    /// Whether a running operation must end and must not have failed; true when left out.
    #[schemars(extend("default" = true))]
    operation: Option<bool>,
    /// Whether Suspended will do for healthy.
    suspended: Option<bool>,
    /// Whether Degraded ends the wait as a failure; true when left out.
    #[schemars(extend("default" = true))]
    fail_on_degraded: Option<bool>,
    /// Wait until Argo CD has seen this commit or chart version (its beginning will do), too.
    revision: Option<String>,
    /// How long to wait at most, e.g. `15m`; ten minutes when left out.
    timeout: Option<HumanDuration>,
}

impl Input {
    fn goal(&self) -> Goal {
        Goal {
            sync: self.sync.unwrap_or(true),
            health: self.health.unwrap_or(true),
            operation: self.operation.unwrap_or(true),
            suspended: self.suspended.unwrap_or_default(),
            fail_on_degraded: self.fail_on_degraded.unwrap_or(true),
            revision: self.revision.clone().filter(|revision| !revision.is_empty()),
        }
    }
    fn reach(&self) -> Reach<'_> {
        Reach { mode: self.mode, instance: self.argo_instance.as_deref(), cluster: self.cluster_name.as_deref() }
    }
}

#[async_trait]
impl Action for WaitApp {
    type Input = Input;
    type Output = AppOutput;

    fn id(&self) -> &'static str {
        "argocd:wait-app"
    }
    fn aliases(&self) -> &'static [&'static str] {
        &["argocd:wait"]
    }
    fn description(&self) -> &'static str {
        "Waits until an Argo CD application is in sync and healthy and its operation has ended, without occupying a worker. \
         Ends at once when it is Degraded or its operation failed, with the messages of the resources concerned in the log. \
         Mode crd needs the verbs get, list and watch on applications.argoproj.io in the Application's namespace; mode api \
         an account that may get the application (`p, <account>, applications, get, <project>/<name>, allow`)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            ActionExample {
                description: "Wait for an application whose resource is in the service's own cluster".into(),
                example: "steps:\n  - id: healthy\n    name: Wait for the application\n    action: argocd:wait-app\n    input:\n      name: ${{ parameters.name }}\n      namespace: argocd\n      timeout: 15m\n".into(),
            },
            ActionExample {
                description: "Wait through the API server until a certain commit is deployed".into(),
                example: "steps:\n  - id: healthy\n    name: Wait for the application\n    action: argocd:wait-app\n    input:\n      name: shop\n      argoInstance: main\n      revision: ${{ steps.publish.output.commitHash }}\n".into(),
            },
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(AppOutput::schema())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<AppOutput, ActionError> {
        subdomain(&input.name).map_err(|reason| ActionError::input(format!("name: {reason}")))?;
        let backend = self.0.backend(input.reach())?;
        let at = AppRef {
            name: input.name.clone(),
            namespace: input.namespace.clone().or_else(|| self.0.namespace(&backend)),
            project: input.project.clone(),
        };
        if ctx.is_dry_run {
            ctx.log.info(format!("Dry run: not waiting for the application {at}"));
            return Ok(AppOutput { name: at.name, namespace: at.namespace, ..AppOutput::default() });
        }
        let timeout = input.timeout.unwrap_or(TIMEOUT);
        let wait = Wait { ctx, backend: &backend, at: &at, goal: input.goal(), timeout };
        let app = wait.run().await?;
        let output = self.0.output(input.reach(), &backend, &app);
        let link = output.url.as_ref().map(|url| format!(": {url}")).unwrap_or_default();
        let revision = output.revision.as_ref().map(|revision| format!(" at revision {revision}")).unwrap_or_default();
        ctx.log.info(format!(
            "The application {at} is {}, {}{revision}{link}",
            app.sync().unwrap_or("of unknown sync"),
            app.health().unwrap_or("of unknown health")
        ));
        Ok(output)
    }
}

/// One wait.
struct Wait<'a> {
    ctx: &'a ActionContext,
    backend: &'a Backend,
    at: &'a AppRef,
    goal: Goal,
    timeout: HumanDuration,
}

/// What has been seen so far.
#[derive(Default)]
struct Memory {
    line: String,
    lacks: String,
    seen: bool,
    blocked: Option<(Instant, Failure)>,
    hinted: bool,
}

impl Wait<'_> {
    async fn run(&self) -> Result<Application, ActionError> {
        let patience = Patience::new(self.timeout.get());
        let mut watcher = self.backend.watch(self.ctx, self.at, patience).await?;
        self.ctx.log.info(format!("Waiting up to {} for the application {}", self.timeout, self.at));
        self.ctx.waiting(self.follow(&mut watcher, patience.deadline)).await?
    }

    async fn follow(&self, watcher: &mut Watcher, deadline: Instant) -> Result<Application, ActionError> {
        let mut memory = Memory::default();
        let began = Instant::now();
        loop {
            let mut wake = deadline;
            if let Some((since, _)) = &memory.blocked {
                wake = wake.min(*since + BLOCKED_FOR);
            }
            if !memory.hinted {
                wake = wake.min(began + UNNOTICED_FOR);
            }
            if let Ok(seen) = timeout_at(wake, watcher.next()).await {
                if let Some(app) = self.take(seen?, &mut memory)? {
                    return Ok(app);
                }
                continue;
            }
            let now = Instant::now();
            if let Some((since, failure)) = &memory.blocked
                && now >= *since + BLOCKED_FOR
            {
                return Err(self.fail(failure));
            }
            if now >= deadline {
                return Err(self.timed_out(&memory, watcher.outage()));
            }
            if now >= began + UNNOTICED_FOR {
                memory.hinted = true;
                self.hint(&memory);
            }
        }
    }

    /// Takes in what was seen; gives the application when it is as wanted.
    fn take(&self, seen: Seen, memory: &mut Memory) -> Result<Option<Application>, ActionError> {
        let log = &self.ctx.log;
        let app = match seen {
            Seen::Is(app) => app,
            Seen::Absent if memory.seen => {
                return Err(ActionError::failed(format!(
                    "The application {} was deleted while the step waited for it",
                    self.at
                )));
            }
            Seen::Absent => {
                say(memory, "there is no such application yet".to_owned(), |line| log.info(self.about(line)));
                memory.lacks = "there is no such application that this service may see".to_owned();
                return Ok(None);
            }
            Seen::Outage(reason) => {
                say(memory, format!("{reason}; the wait goes on"), |line| log.warn(line));
                return Ok(None);
            }
        };
        memory.seen = true;
        say(memory, state_line(&app), |line| log.info(self.about(line)));
        memory.hinted |= app.sync().is_some();
        let verdict = judge(&app, &self.goal);
        if !matches!(verdict, Verdict::Blocked(_)) {
            memory.blocked = None;
        }
        match verdict {
            Verdict::Reached => return Ok(Some(*app)),
            Verdict::Failed(failure) => return Err(self.fail(&failure)),
            Verdict::Waiting(lacks) => memory.lacks = lacks,
            Verdict::Blocked(failure) => {
                memory.lacks.clone_from(&failure.summary);
                let since = memory.blocked.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                memory.blocked = Some((since, failure));
            }
        }
        Ok(None)
    }

    fn fail(&self, failure: &Failure) -> ActionError {
        for line in &failure.details {
            self.ctx.log.error(line);
        }
        let details =
            if failure.details.is_empty() { String::new() } else { format!("; {}", failure.details.join("; ")) };
        ActionError::failed(format!("The application {} won't get there: {}{details}", self.at, failure.summary))
    }

    fn timed_out(&self, memory: &Memory, outage: Option<String>) -> ActionError {
        let lacks = match (outage, memory.lacks.as_str()) {
            (Some(outage), _) => format!("the cluster is {outage}"),
            (None, "") => "nothing was seen of it".to_owned(),
            (None, lacks) => lacks.to_owned(),
        };
        let state = if memory.seen { format!(" ({})", memory.line) } else { String::new() };
        ActionError::failed(format!(
            "The application {} didn't get there within {}: {lacks}{state}. A longer timeout waits longer; a retry of the \
             task goes on waiting",
            self.at, self.timeout
        ))
    }

    fn hint(&self, memory: &Memory) {
        if memory.seen {
            self.ctx.log.warn(self.about(
                "Argo CD still hasn't looked at it: does its controller run, and does it take applications from this \
                 namespace (application.namespaces)?",
            ));
        } else {
            self.ctx.log.warn(self.about("still no such application; is its name right, and its namespace?"));
        }
    }

    fn about(&self, line: &str) -> String {
        format!("{}: {line}", self.at)
    }
}

/// Tells a line unless it was the last one told.
fn say(memory: &mut Memory, line: String, tell: impl FnOnce(&str)) {
    if memory.line != line {
        tell(&line);
        memory.line = line;
    }
}
