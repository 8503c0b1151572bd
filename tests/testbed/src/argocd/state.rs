//! What the double knows, and the rules by which it changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Behaviour, NAMESPACE,
    contract::Contract,
    play,
    policy::{Policy, glob},
};

const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// A request the double got.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its query.
    pub query: String,
    /// Its body, if that is JSON; without a password.
    pub body: Option<Value>,
    /// The answer's status.
    pub status: u16,
}

/// A refusal as gRPC words it; the gateway makes a status of its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Refusal {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
    fn invalid(message: impl Into<String>) -> Self {
        Self::new(3, message)
    }
    fn denied() -> Self {
        Self::new(7, "permission denied")
    }
    fn not_found(name: &str) -> Self {
        Self::new(5, format!("applications.argoproj.io \"{name}\" not found"))
    }
    pub(super) fn unauthenticated(message: &str) -> Self {
        Self::new(16, message)
    }
    /// The gateway's status for the code.
    pub(super) fn status(&self) -> u16 {
        match self.code {
            3 | 9 => 400,
            5 => 404,
            7 => 403,
            16 => 401,
            _ => 500,
        }
    }
    pub(super) fn body(&self) -> Value {
        json!({ "error": self.message, "code": self.code, "message": self.message })
    }
}

type Key = (String, String);
type Event = (&'static str, Value);

pub(super) struct State {
    pub(super) apps: BTreeMap<Key, Value>,
    pub(super) projects: BTreeMap<String, Value>,
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    pub(super) commit: String,
    pub(super) locked_repositories: Vec<String>,
    pub(super) failures: Vec<u16>,
    pub(super) refuses_streams: bool,
    pub(super) requests: Vec<Request>,
    pub(super) violations: Vec<String>,
    passwords: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
    policy: String,
    version: u64,
    contract: Contract,
}

impl State {
    pub(super) fn new(contract: Contract) -> Self {
        let everything = json!({
            "metadata": { "name": "default", "namespace": NAMESPACE },
            "spec": {
                "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
                "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
            },
        });
        let mut state = Self {
            apps: BTreeMap::new(),
            projects: BTreeMap::from([("default".to_owned(), everything)]),
            behaviours: BTreeMap::new(),
            commit: "53e28ff20cc530b9ada2173fbbd64d48338583ba".to_owned(),
            locked_repositories: Vec::new(),
            failures: Vec::new(),
            refuses_streams: false,
            requests: Vec::new(),
            violations: Vec::new(),
            passwords: BTreeMap::new(),
            tokens: BTreeMap::new(),
            policy: String::new(),
            version: 1000,
            contract,
        };
        state.account("admin", "p, admin, *, *, *, allow");
        state
    }

    pub(super) fn account(&mut self, name: &str, policy: &str) {
        self.passwords.insert(name.to_owned(), format!("{name}-password"));
        self.tokens.insert(format!("{name}-token"), name.to_owned());
        self.policy.push_str(policy);
        self.policy.push('\n');
    }

    pub(super) fn expire(&mut self) {
        self.tokens.clear();
    }

    /// The account that a token is for.
    pub(super) fn subject(&self, token: Option<&str>) -> Result<String, Refusal> {
        let token = token.ok_or_else(|| Refusal::unauthenticated("no session information"))?;
        self.tokens
            .get(token)
            .cloned()
            .ok_or_else(|| Refusal::unauthenticated("invalid session: token has invalid claims: token is expired"))
    }

    pub(super) fn log_in(&mut self, body: &Value) -> Result<Value, Refusal> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("username").is_empty() || text("password").is_empty() {
            return Err(Refusal::unauthenticated("no credentials supplied"));
        }
        if self.passwords.get(text("username")).map(String::as_str) != Some(text("password")) {
            return Err(Refusal::unauthenticated("Invalid username or password"));
        }
        self.version += 1;
        let token = format!("session-{}-{}", text("username"), self.version);
        self.tokens.insert(token.clone(), text("username").to_owned());
        Ok(json!({ "token": token }))
    }

    fn enforce(&self, subject: &str, resource: &str, action: &str, object: &str) -> Result<(), Refusal> {
        if Policy::parse(&self.policy).allows(subject, resource, action, object) {
            return Ok(());
        }
        Err(Refusal::new(
            7,
            format!("permission denied: {resource}, {action}, {object}, sub: {subject}, iat: {}", play::now()),
        ))
    }

    /// Argo CD's name of an application for RBAC.
    fn rbac_name(app: &Value) -> String {
        let project = app.pointer("/spec/project").and_then(Value::as_str).filter(|text| !text.is_empty());
        let namespace = app.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or(NAMESPACE);
        let name = app.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let project = project.unwrap_or("default");
        if namespace == NAMESPACE { format!("{project}/{name}") } else { format!("{project}/{namespace}/{name}") }
    }

    /// The application for an action: who may not know of it gets the same answer as for one that isn't there.
    fn enforced(
        &self,
        subject: &str,
        action: &str,
        name: &str,
        namespace: Option<&str>,
        project: Option<&str>,
    ) -> Result<(Key, Value), Refusal> {
        let key = (namespace.unwrap_or(NAMESPACE).to_owned(), name.to_owned());
        if let Some(project) = project {
            let probe = json!({ "metadata": { "name": name, "namespace": key.0 }, "spec": { "project": project } });
            self.enforce(subject, "applications", action, &Self::rbac_name(&probe)).map_err(|_| Refusal::denied())?;
        }
        let missing = || if project.is_some() { Refusal::not_found(name) } else { Refusal::denied() };
        let app = self.apps.get(&key).cloned().ok_or_else(missing)?;
        self.enforce(subject, "applications", action, &Self::rbac_name(&app)).map_err(|_| missing())?;
        let own = app.pointer("/spec/project").and_then(Value::as_str).unwrap_or("default");
        if project.is_some_and(|project| project != own) {
            return Err(Refusal::not_found(name));
        }
        Ok((key, app))
    }

    pub(super) fn list(
        &self,
        subject: &str,
        name: Option<&str>,
        namespace: Option<&str>,
        projects: &[String],
    ) -> Value {
        let items: Vec<_> = self
            .apps
            .iter()
            .filter(|(key, app)| {
                let project = app.pointer("/spec/project").and_then(Value::as_str).unwrap_or("default");
                name.is_none_or(|name| name == key.1)
                    && namespace.is_none_or(|namespace| namespace == key.0)
                    && (projects.is_empty() || projects.iter().any(|wanted| wanted == project))
                    && self.enforce(subject, "applications", "get", &Self::rbac_name(app)).is_ok()
            })
            .map(|(_, app)| app.clone())
            .collect();
        // As Go writes an empty list that was never made.
        json!({ "metadata": { "resourceVersion": self.version.to_string() },
            "items": if items.is_empty() { Value::Null } else { Value::Array(items) } })
    }

    pub(super) fn get(
        &mut self,
        subject: &str,
        name: &str,
        namespace: Option<&str>,
        project: Option<&str>,
        refresh: bool,
    ) -> Result<(Value, Option<Event>), Refusal> {
        let (key, app) = self.enforced(subject, "get", name, namespace, project)?;
        if !refresh {
            return Ok((app, None));
        }
        let mut asked = app.clone();
        asked["metadata"]["annotations"]["argocd.argoproj.io/refresh"] = "normal".into();
        let behaviour = self.behaviours.get(name).cloned().unwrap_or_default();
        match play::step(&asked, &behaviour, &self.commit) {
            Some(next) => {
                let event = self.store(key, next);
                Ok((event.1.clone(), Some(event)))
            }
            None => Ok((app, None)),
        }
    }

    pub(super) fn create(
        &mut self,
        subject: &str,
        mut app: Value,
        upsert: bool,
        validate: bool,
    ) -> Result<(Value, Option<Event>), Refusal> {
        self.violations
            .extend(self.contract.application(&app).iter().map(|error| format!("POST applications: {error}")));
        self.enforce(subject, "applications", "create", &Self::rbac_name(&app))?;
        if app.pointer("/spec/project").and_then(Value::as_str).unwrap_or_default().is_empty() {
            app["spec"]["project"] = "default".into();
        }
        self.validate(&app, validate).map_err(|refusal| {
            // As errors that wrap a status come out of the gateway.
            let name = if refusal.code == 3 { "InvalidArgument" } else { "Unknown" };
            Refusal {
                message: format!(
                    "error while validating and normalizing app: rpc error: code = {name} desc = {}",
                    refusal.message
                ),
                ..refusal
            }
        })?;
        if app.pointer("/metadata/namespace").is_none() {
            app["metadata"]["namespace"] = NAMESPACE.into();
        }
        if let Some(object) = app.as_object_mut() {
            object.shift_remove("operation");
            object.shift_remove("status");
        }
        let text = |pointer: &str| app.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("/metadata/namespace"), text("/metadata/name"));
        let Some(existing) = self.apps.get(&key).cloned() else {
            app["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
            app["metadata"]["creationTimestamp"] = play::now().into();
            app["status"] = json!({});
            let mut event = self.store(key, app);
            event.0 = "ADDED";
            return Ok((event.1.clone(), Some(event)));
        };
        let part = |app: &Value, pointer: &str| app.pointer(pointer).filter(|value| !value.is_null()).cloned();
        let parts = ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/finalizers"];
        if parts.iter().all(|pointer| part(&existing, pointer) == part(&app, pointer)) {
            return Ok((existing, None));
        }
        if !upsert {
            return Err(Refusal::invalid("existing application spec is different, use upsert flag to force update"));
        }
        self.enforce(subject, "applications", "update", &Self::rbac_name(&app))?;
        let mut updated = existing;
        updated["spec"] = app["spec"].clone();
        for member in ["labels", "annotations"] {
            for (name, value) in app["metadata"].get(member).and_then(Value::as_object).into_iter().flatten() {
                updated["metadata"][member][name] = value.clone();
            }
        }
        match app["metadata"].get("finalizers") {
            Some(finalizers) => updated["metadata"]["finalizers"] = finalizers.clone(),
            None => drop(updated["metadata"].as_object_mut().and_then(|metadata| metadata.shift_remove("finalizers"))),
        }
        let event = self.store(key, updated);
        Ok((event.1.clone(), Some(event)))
    }

    fn validate(&self, app: &Value, sources: bool) -> Result<(), Refusal> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text(&app["metadata"], "name");
        let project_name = text(&app["spec"], "project");
        let project = self.projects.get(&project_name).ok_or_else(|| {
            Refusal::invalid(format!("application references project {project_name} which does not exist"))
        })?;
        let invalid = |message: String| {
            Refusal::invalid(format!("application spec for {name} is invalid: InvalidSpecError: {message}"))
        };
        let destination = &app["spec"]["destination"];
        let (server, cluster) = (text(destination, "server"), text(destination, "name"));
        if !server.is_empty() && !cluster.is_empty() {
            let message = "application destination can't have both name and server defined: ".to_owned()
                + &cluster
                + " "
                + &server;
            return Err(Refusal::invalid(format!("application destination spec for {name} is invalid: {message}")));
        }
        if (server.is_empty() && cluster != "in-cluster") || (cluster.is_empty() && server != IN_CLUSTER) {
            let message = if cluster.is_empty() {
                format!("error getting cluster by server \"{server}\": cluster \"{server}\" not found")
            } else {
                format!("unable to find destination server: there are no clusters with this name: {cluster}")
            };
            return Err(Refusal::invalid(format!("application destination spec for {name} is invalid: {message}")));
        }
        let all: Vec<Value> = match app["spec"].get("sources").and_then(Value::as_array) {
            Some(sources) if !sources.is_empty() => sources.clone(),
            _ => vec![app["spec"]["source"].clone()],
        };
        for source in &all {
            let repo = text(source, "repoURL");
            let complete = ["path", "chart"].iter().any(|member| !text(source, member).is_empty())
                || (all.len() > 1 && !text(source, "ref").is_empty());
            if repo.is_empty() || !complete {
                return Err(invalid(
                    "spec.source.repoURL and either spec.source.path or spec.source.chart are required".into(),
                ));
            }
            if sources && self.locked_repositories.contains(&repo) {
                return Err(invalid(format!(
                    "repository not accessible: repository \"{repo}\" not found: failed to list refs: authentication required"
                )));
            }
            let permitted = project.pointer("/spec/sourceRepos").and_then(Value::as_array).into_iter().flatten();
            if !permitted.filter_map(Value::as_str).any(|pattern| glob(pattern, &repo)) {
                return Err(invalid(format!("application repo {repo} is not permitted in project '{project_name}'")));
            }
        }
        let namespace = text(destination, "namespace");
        let mut permitted = project.pointer("/spec/destinations").and_then(Value::as_array).into_iter().flatten();
        let fits = |entry: &Value| {
            (glob(&text(entry, "server"), IN_CLUSTER) || text(entry, "name") == "in-cluster")
                && glob(&text(entry, "namespace"), &namespace)
        };
        if !permitted.any(fits) {
            return Err(invalid(format!(
                "application destination server '{IN_CLUSTER}' and namespace '{namespace}' do not match any of the allowed destinations in project '{project_name}'"
            )));
        }
        Ok(())
    }

    pub(super) fn sync(
        &mut self,
        subject: &str,
        name: &str,
        request: &Value,
    ) -> Result<(Value, Option<Event>), Refusal> {
        let text = |member: &str| request.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (key, mut app) = self.enforced(subject, "get", name, text("appNamespace"), text("project"))?;
        self.enforce(subject, "applications", "sync", &Self::rbac_name(&app))?;
        if app.pointer("/metadata/deletionTimestamp").is_some() {
            return Err(Refusal::new(9, "application is deleting"));
        }
        if app.get("operation").is_some() || app.pointer("/status/operationState/phase") == Some(&"Running".into()) {
            return Err(Refusal::new(9, "error setting app operation: another operation is already in progress"));
        }
        let mut sync = json!({ "revision": text("revision").unwrap_or(&self.commit) });
        for member in ["prune", "dryRun", "resources"] {
            if let Some(value) = request.get(member) {
                sync[member] = value.clone();
            }
        }
        if let Some(options) = request.pointer("/syncOptions/items") {
            sync["syncOptions"] = options.clone();
        }
        app["operation"] = json!({ "initiatedBy": { "username": subject }, "sync": sync });
        if let Some(status) = app["status"].as_object_mut() {
            status.shift_remove("operationState");
        }
        let event = self.store(key, app);
        Ok((event.1.clone(), Some(event)))
    }

    pub(super) fn delete(
        &mut self,
        subject: &str,
        name: &str,
        namespace: Option<&str>,
        project: Option<&str>,
        cascade: bool,
        policy: Option<&str>,
    ) -> Result<Option<Event>, Refusal> {
        let (key, mut app) = self.enforced(subject, "get", name, namespace, project)?;
        self.enforce(subject, "applications", "delete", &Self::rbac_name(&app))?;
        let finalizer = "resources-finalizer.argocd.argoproj.io";
        if !cascade && policy.is_some() {
            return Err(Refusal::invalid("cannot set propagation policy when cascading is disabled"));
        }
        let finalizer = match policy {
            None | Some("" | "foreground") => finalizer.to_owned(),
            Some("background") => format!("{finalizer}/background"),
            Some(other) => return Err(Refusal::invalid(format!("invalid propagation policy: {other}"))),
        };
        app["metadata"]["finalizers"] = if cascade { json!([finalizer]) } else { json!([]) };
        if !cascade {
            self.apps.remove(&key);
            return Ok(Some(("DELETED", app)));
        }
        app["metadata"]["deletionTimestamp"] = play::now().into();
        Ok(Some(self.store(key, app)))
    }

    pub(super) fn project(&self, subject: &str, name: &str) -> Result<Value, Refusal> {
        self.enforce(subject, "projects", "get", name)?;
        let missing = || Refusal::new(5, format!("appprojects.argoproj.io \"{name}\" not found"));
        self.projects.get(name).cloned().ok_or_else(missing)
    }

    pub(super) fn create_project(&mut self, subject: &str, request: &Value) -> Result<Value, Refusal> {
        let mut project = request.get("project").cloned().unwrap_or_default();
        self.violations.extend(self.contract.project(&project).iter().map(|error| format!("POST projects: {error}")));
        let name = project.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.enforce(subject, "projects", "create", &name)?;
        if let Some(existing) = self.projects.get(&name) {
            if existing["spec"] == project["spec"] {
                return Ok(existing.clone());
            }
            let keys: Vec<_> = project["spec"]
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, value)| existing["spec"].get(key.as_str()) != Some(*value))
                .map(|(key, _)| key.as_str())
                .collect();
            return Err(Refusal::invalid(format!(
                "existing project spec is different; use upsert flag to force update; difference in keys \"{}\"",
                keys.join(",")
            )));
        }
        project["metadata"]["namespace"] = NAMESPACE.into();
        self.projects.insert(name, project.clone());
        Ok(project)
    }

    /// Lets the controller look at every application once.
    pub(super) fn play(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let keys: Vec<Key> = self.apps.keys().cloned().collect();
        for key in keys {
            let behaviour = self.behaviours.get(&key.1).cloned().unwrap_or_default();
            let Some(next) = self.apps.get(&key).and_then(|app| play::step(app, &behaviour, &self.commit)) else {
                continue;
            };
            let is_gone = next.pointer("/metadata/deletionTimestamp").is_some()
                && next.pointer("/metadata/finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty);
            if is_gone {
                self.apps.remove(&key);
                events.push(("DELETED", next));
            } else {
                events.push(self.store(key, next));
            }
        }
        events
    }

    pub(super) fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Event> {
        let mut app = self.apps.get(key)?.clone();
        change(&mut app);
        Some(self.store(key.clone(), app))
    }

    fn store(&mut self, key: Key, mut app: Value) -> Event {
        self.version += 1;
        app["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.violations.extend(self.contract.application(&app).iter().map(|error| format!("answer: {error}")));
        self.apps.insert(key, app.clone());
        ("MODIFIED", app)
    }

    /// Whether a change of an application is for this listener.
    pub(super) fn may_see(&self, subject: &str, app: &Value) -> bool {
        self.enforce(subject, "applications", "get", &Self::rbac_name(app)).is_ok()
    }
}
